//! Spans, metrics and records by OTLP on one pair of ports, each taken by the section that names them.
//!
//! Promises: what is counted and logged is compared with what was sent; a signal that no section wants is refused where another is taken.
//! Never: proves what SDKs send; `tests/tests/real/measured.rs` does.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::FakeAws,
    otlp::Client,
    wait::until,
};

use crate::story::{SOON, record};

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn three_signals_come_to_one_address_and_each_to_its_section() {
    let (aws, http, other) = (FakeAws::start(), free_address().unwrap(), free_address().unwrap());
    let (grpc, others) = (free_address().unwrap(), free_address().unwrap());
    let shared = format!("grpc: '{grpc}', http: '{http}'");
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}, {{otlp: {{{shared}}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: ours, \
         stream: one, auto_create_group: true, region: us-east-1, endpoint: '{url}'}}}}}}]\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{others}', http: '{other}'}}}}]\n  outputs: [{{to: {{xray: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n\
         metrics:\n  inputs: [{{otlp: {{listen: {{{shared}}}, publish: {{namespace: Shop, dimensions: ['*']}}}}}}]\n  \
         outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n",
        url = aws.url()
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let metrics = |total: u32| {
        let point = json!({"asInt": total.to_string(), "startTimeUnixNano": now.to_string(),
            "attributes": [{"key": "route", "value": {"stringValue": "/cart"}}]});
        json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [
            {"name": "hits", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point]}}]}]}]})
    };
    let logs = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [
        {"timeUnixNano": now.to_string(), "severityText": "INFO", "body": {"stringValue": "hello \u{e4}"}, "traceId": "5b8efff798038103d269b633813fc60c"}]}]}]});
    let mut client = Client::connect(http).unwrap();
    for total in [7, 7, 12] {
        let answer = client.send("POST", "/v1/metrics", &[JSON], metrics(total).to_string().as_bytes()).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    }
    assert_eq!(client.send("POST", "/v1/logs", &[JSON], logs.to_string().as_bytes()).unwrap().status, 200);
    // Nobody wants spans there, and nobody metrics at the other address.
    assert_eq!(client.send("POST", "/v1/traces", &[JSON], b"{}").unwrap().status, 404);
    let mut client = Client::connect(other).unwrap();
    assert_eq!(client.send("POST", "/v1/traces", &[JSON], b"{}").unwrap().status, 200);
    assert_eq!(client.send("POST", "/v1/metrics", &[JSON], b"{}").unwrap().status, 404);
    // A minute may be over meanwhile, and then metrics are delivered too.
    aws.wait_for_events(1, SOON);
    assert_eq!(agent.metrics().sum("hits_total", &[("route", "/cart"), ("service_name", "shop")]), 12.0);
    assert_eq!(agent.metrics().sum("pillion_otlp_refused_requests_total", &[("reason", "no_taker")]), 2.0);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["balanced"], &last["unsettled"]), (&true.into(), &0.into()), "{last}");

    let told = aws.metrics();
    let (hits, told) = told.iter().next().unwrap_or_else(|| panic!("no metric"));
    let dimensions =
        [("route", "/cart"), ("service.name", "shop")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((hits.name.as_str(), &hits.dimensions[..], told.sum), ("hits", &dimensions[..], 12.0));
    let expected = json!({"body": "hello \u{e4}", "severity_text": "INFO", "trace_id": "5b8efff798038103d269b633813fc60c",
        "resource": {"service.name": "shop"}});
    let records: Vec<_> = aws.messages("ours", "one").iter().map(|text| record(text)).collect();
    assert_eq!(records, [expected]);
    let at = aws.events("ours", "one")[0].timestamp_ms;
    assert_eq!(u128::try_from(at).unwrap(), now / 1_000_000);
    aws.assert_no_violations();
}
