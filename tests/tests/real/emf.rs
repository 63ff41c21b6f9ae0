//! AWS's own libraries for the embedded metric format, in Python and Node, send as they do beside FireLens.
//!
//! Promises: every value is read back, out of the documents in CloudWatch Logs, or as metrics of CloudWatch where the agent brings them
//! there.
//! Never: proves what CloudWatch makes of a document.

use std::{net::Ipv4Addr, process::Command};

use serde_json::Value;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::FakeAws,
    wait::until,
};

use crate::{SOON, program::command};

/// What a program says that it sent.
fn sent(mut command: Command) -> Value {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.to_lowercase().contains("fail"), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

fn python(address: &str) -> Value {
    let mut command = command("send_with_embedded_metrics.py", &[]);
    command.env("AWS_EMF_AGENT_ENDPOINT", format!("tcp://{address}")).env("AWS_EMF_ENVIRONMENT", "default");
    command.env("AWS_EMF_SERVICE_NAME", "cart");
    sent(command)
}

/// Beside FireLens the library asks for nothing but a host.
fn node(host: Ipv4Addr) -> Value {
    let nobody = format!("http://{}", free_address().unwrap());
    let mut command = command("send_with_embedded_metrics.cjs", &[]);
    command.env("ECS_CONTAINER_METADATA_URI", nobody).env("FLUENT_HOST", host.to_string());
    sent(command)
}

/// An address of its own, since the port cannot be chosen.
fn host() -> Ipv4Addr {
    let [.., low, high] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 88, low, high.clamp(1, 254))
}

fn begin(aws: &FakeAws, host: Ipv4Addr, metrics: &str) -> Agent {
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{emf: {{tcp: '{host}:25888', udp: 'off', log_group: of-nobody}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: ours, \
         stream_prefix: s-, auto_create_group: true, region: us-east-1, endpoint: '{url}'}}}}}}]\n\
         metrics:\n  inputs: [{{emf: {{{metrics}}}}}]\n  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n",
        url = aws.url()
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    agent
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = match value {
        Value::Array(numbers) => numbers.iter().filter_map(Value::as_f64).collect(),
        one => one.as_f64().into_iter().collect::<Vec<_>>(),
    };
    assert!(!numbers.is_empty(), "{value}");
    numbers
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

#[test]
fn what_aws_s_libraries_measure_is_in_the_documents_and_on_the_page() {
    let (aws, host) = (FakeAws::start(), host());
    let agent = begin(&aws, host, "");
    let (python, node) = (python(&format!("{host}:25888")), node(host));
    let values = |what: &str| [numbers(&python[what]), numbers(&node[what])].concat();
    let all = (values("latency").len() + values("size").len()) as f64;
    agent.wait_for_metrics(SOON, "all values", |metrics| {
        let books = metrics.books().total();
        metrics.sum("pillion_metrics_samples_total", &[("input", "emf.0")]) == all && books.delivered == books.accepted
    });
    // Python's library names a group of its own.
    for (group, sent) in [("cart-metrics", &python), ("of-nobody", &node)] {
        let documents = aws.messages(group, "s-emf");
        let documents: Vec<Value> = documents.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for what in ["latency", "size"] {
            let found = documents.iter().filter(|document| document.get(what).is_some());
            let found = found.flat_map(|document| numbers(&document[what])).collect();
            assert_eq!(sorted(found), sorted(numbers(&sent[what])), "{what} in {group}");
        }
        assert!(documents.iter().all(|document| document["_aws"].get("LogGroupName").is_none()));
    }
    let page = agent.metrics();
    let sum = |what: &str| values(what).iter().sum::<f64>();
    assert_eq!(page.sum("latency_sum", &[]), sum("latency"));
    assert_eq!(page.sum("size_count", &[]), values("size").len() as f64);
    assert_eq!(page.sum("pillion_emf_faults_total", &[]), 0.0);
    agent.stop(SOON).assert_clean();
    assert!(aws.metrics().is_empty(), "CloudWatch takes them out of the logs");
    aws.assert_no_violations();
}

#[test]
fn in_place_of_the_logs_the_agent_brings_them_to_cloudwatch() {
    let (aws, [a, b, c, d]) = (FakeAws::start(), host().octets());
    let host = Ipv4Addr::new(a, b + 1, c, d);
    let agent = begin(&aws, host, "deliver: metrics");
    let node = node(host);
    let all = (numbers(&node["latency"]).len() + numbers(&node["size"]).len()) as f64;
    agent.wait_for_metrics(SOON, "all values", |metrics| {
        metrics.sum("pillion_metrics_samples_total", &[("input", "emf.0")]) == all
    });
    agent.stop(SOON).assert_clean();
    assert_eq!(aws.count(), 0, "no document is in the logs");
    let metrics = aws.metrics();
    for what in ["latency", "size"] {
        let sent = numbers(&node[what]);
        let found: Vec<_> = metrics.iter().filter(|(metric, _)| metric.name == what).collect();
        let routes: Vec<_> = found.iter().flat_map(|(metric, _)| metric.dimensions.clone()).collect();
        assert_eq!(routes, [("route".to_owned(), "/0".to_owned()), ("route".to_owned(), "/1".to_owned())]);
        assert_eq!(found.iter().map(|(_, told)| told.sum).sum::<f64>(), sent.iter().sum::<f64>(), "{what}");
        assert_eq!(found.iter().map(|(_, told)| told.count).sum::<f64>(), sent.len() as f64, "{what}");
        let extremes = (sent.iter().copied().fold(f64::MAX, f64::min), sent.iter().copied().fold(f64::MIN, f64::max));
        let least = found.iter().map(|(_, told)| told.least).fold(f64::MAX, f64::min);
        let greatest = found.iter().map(|(_, told)| told.greatest).fold(f64::MIN, f64::max);
        assert_eq!((least, greatest), extremes, "{what}");
        assert!(found.iter().all(|(metric, _)| metric.namespace == "shop"));
    }
    aws.assert_no_violations();
}
