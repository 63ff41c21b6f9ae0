//! What log records count: levels of what containers print, and rules, on `/metrics` and in CloudWatch; and metrics that go out as log events.
//!
//! Promises: every record is counted once, whatever becomes of it; the records go on as they came; what is counted is in documents, also at the
//! end.
//! Never: proves each form of a line; `tally` has the table.

use tests::{
    agent::{Agent, Setup},
    fake_aws::FakeAws,
    forward_client::ForwardClient,
};

use serde_json::Value;

use crate::story::{SOON, WEB, WEB_STREAM, last_number, logs, record};

const LINES: [&str; 6] = [
    "2026-01-02 03:04:05 INFO  shop started",
    "2026-01-02 03:04:06 ERROR shop broke",
    r#"{"level":"info","event":"order","country":"at","amount":12.5}"#,
    r#"{"level":"info","event":"order","country":"de","amount":7.5}"#,
    r#"{"level":"warn","event":"order","country":"at","amount":"none"}"#,
    "GET /healthz 200",
];

#[test]
fn records_are_counted_by_level_and_by_rule() {
    let aws = FakeAws::start();
    let to = format!("region: us-east-1, endpoint: '{}'", aws.url());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}]\n  filters: [{{grep: {{rules: [{{exclude: {{key: log, regex: healthz}}}}]}}}}]\n  \
         outputs: [{{to: {{cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, {to}}}}}}}]\n\
         metrics:\n  inputs:\n    - logs:\n        publish: {{namespace: Shop, dimensions: [container, level, country]}}\n        rules:\n          \
         - {{name: orders, when: [{{field: event, equals: order}}], labels: {{country: country}}}}\n          \
         - {{name: revenue, container: 'w*', when: [{{field: event, equals: order}}], sum: amount}}\n          \
         - {{name: probes, when: [{{glob: '*healthz*'}}]}}\n          \
         - {{name: others, container: other}}\n  outputs: [{{to: {{cloudwatch: {{{to}}}}}}}]\n"
    )))
    .unwrap();
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    for line in LINES {
        client.line(WEB, line).unwrap();
    }
    // The last one is left out by the filter, and counted all the same.
    let counted = |metrics: &tests::metrics::Metrics| metrics.sum("log_records_total", &[]) == 6.0;
    agent.wait_for_metrics(SOON, "all records are counted", counted);
    aws.wait_for_events(5, SOON);
    let page = agent.metrics();
    for (level, count) in [("info", 3.0), ("warn", 1.0), ("error", 1.0), ("none", 1.0)] {
        assert_eq!(page.sum("log_records_total", &[("container", "web"), ("level", level)]), count, "{level}");
    }
    assert_eq!(page.sum("orders_total", &[("container", "web"), ("country", "at")]), 2.0);
    assert_eq!(page.sum("orders_total", &[("country", "de")]), 1.0);
    assert_eq!(page.sum("revenue_total", &[("container", "web")]), 20.0);
    assert_eq!((page.sum("probes_total", &[]), page.sum("others_total", &[])), (1.0, 0.0));
    assert_eq!(page.sum("pillion_metrics_rejected_total", &[("reason", "no_number")]), 1.0);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!((last_number(&ended, "lost"), ended.final_line().unwrap()["balanced"].as_bool()), (0, Some(true)));
    assert_eq!(logs(&aws, "bench", WEB_STREAM), LINES[..5].to_vec(), "they go on as they came");
    let all = aws.metrics();
    let sum = |name: &str, level: Option<&str>| {
        let is_it = |metric: &tests::fake_aws::Metric| {
            let named = metric.dimensions.iter().find(|(name, _)| name == "level").map(|(_, value)| value.as_str());
            metric.namespace == "Shop" && metric.name == name && (level.is_none() || named == level)
        };
        all.iter().filter(|(metric, _)| is_it(metric)).map(|(_, told)| told.sum).sum::<f64>()
    };
    assert_eq!((sum("log_records", None), sum("log_records", Some("info"))), (6.0, 3.0));
    assert_eq!((sum("orders", None), sum("revenue", None), sum("probes", None)), (3.0, 20.0, 1.0));
    aws.assert_no_violations();
}

/// Metrics leave as documents of the embedded metric format, by the logs' output: what was gathered last too, which is after the last record came.
#[test]
fn metrics_go_out_as_documents_by_the_logs() {
    let aws = FakeAws::start();
    let to = format!("region: us-east-1, endpoint: '{}'", aws.url());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: bench, stream_prefix: s-, \
         auto_create_group: true, {to}}}}}}}]\n\
         metrics:\n  inputs: [{{logs: {{publish: {{namespace: Shop}}}}}}]\n  outputs: [{{to: {{emf: {{group: of-metrics}}}}}}]\n"
    )))
    .unwrap();
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    for line in LINES {
        client.line(WEB, line).unwrap();
    }
    let counted = |metrics: &tests::metrics::Metrics| metrics.sum("log_records_total", &[]) == 6.0;
    agent.wait_for_metrics(SOON, "all records are counted", counted);
    aws.wait_for_events(6, SOON);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((last_number(&ended, "lost"), last["balanced"].as_bool()), (0, Some(true)), "{last}");
    assert_eq!(logs(&aws, "bench", WEB_STREAM), LINES);
    let documents: Vec<Value> = aws.messages("of-metrics", "s-metrics").iter().map(|text| record(text)).collect();
    let mut counts = std::collections::BTreeMap::new();
    for document in &documents {
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&directive["Namespace"], &directive["Dimensions"]),
            (&"Shop".into(), &serde_json::json!([["container", "level"]]))
        );
        assert_eq!(document["container"], "web");
        let level = document["level"].as_str().unwrap().to_owned();
        *counts.entry(level).or_insert(0.0) += document["log_records"].as_f64().unwrap();
    }
    let expected = [("error", 1.0), ("info", 3.0), ("none", 1.0), ("warn", 1.0)];
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        expected.map(|(level, count)| (level.to_owned(), count)),
        "{documents:#?}"
    );
    assert_eq!(last_number(&ended, "accepted"), 6 + documents.len() as u64);
    aws.assert_no_violations();
}
