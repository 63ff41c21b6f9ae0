//! OpenTelemetry's own SDKs send, in Python and Node, by every protocol that they have; its own classes receive.
//!
//! Promises: each span is compared with what was sent, also one that came by JSON.
//! Never: proves what a vendor's backend makes of them.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;
use tests::{
    agent::{Agent, Setup, free_address},
    wait::until,
};

use crate::{SOON, environment, program::Program};

const SPANS: usize = 20;

fn sent(mut command: Command) -> Vec<Value> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // An exporter that fails says so in the log, and the program ends well.
    assert!(output.status.success() && !errors.to_lowercase().contains("fail"), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let spans: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(spans.len(), SPANS, "{errors}");
    spans
}

fn python(protocol: &str, compression: &str, endpoint: &str) -> Vec<Value> {
    let mut command = Command::new(environment("PILLION_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/send_with_opentelemetry.py"));
    command.args(["--protocol", protocol, "--compression", compression, "--endpoint", endpoint]);
    command.args(["--spans", &SPANS.to_string()]);
    sent(command)
}

fn node(protocol: &str, compression: &str, endpoint: &str) -> Vec<Value> {
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("node/send_with_opentelemetry.cjs"));
    command.args([protocol, compression, endpoint, &SPANS.to_string()]);
    command.env("NODE_PATH", environment("PILLION_NODE_MODULES"));
    sent(command)
}

fn key(span: &Value) -> (String, String) {
    let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
    (text("span_id"), text("trace_id"))
}

#[test]
fn what_sdks_send_by_otlp_is_received_by_opentelemetry_s_own_classes() {
    let mut receiver = Program::python("receive_otlp.py", &[]);
    let places = receiver.ask("addresses");
    let (grpc, http) = (free_address().unwrap(), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  outputs:\n    \
         - {{to: {{otlp: {{endpoint: 'http://{}', protocol: grpc}}}}}}\n    - {{to: {{otlp: {{endpoint: 'http://{}'}}}}}}\n",
        places["grpc"].as_str().unwrap(),
        places["http"].as_str().unwrap(),
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let (grpc, http) = (format!("http://{grpc}"), format!("http://{http}"));
    let mut all = Vec::new();
    for compression in ["none", "gzip"] {
        all.extend(python("grpc", compression, &grpc));
        all.extend(python("http", compression, &http));
        all.extend(node("grpc", compression, &grpc));
        all.extend(node("proto", compression, &http));
        all.extend(node("json", compression, &http));
    }
    let count = all.len() as u64;
    agent.wait_for_metrics(SOON, "all spans", |metrics| metrics.books().total().delivered == 2 * count);
    assert_eq!(agent.metrics().sum("pillion_otlp_refused_requests_total", &[]), 0.0);
    let received = receiver.ask("spans");
    let received = received["spans"].as_array().unwrap();
    for by in ["grpc", "http"] {
        let mine: BTreeMap<_, _> =
            received.iter().filter(|span| span["by"] == by).map(|span| (key(span), span)).collect();
        assert_eq!(mine.len(), all.len(), "by {by}: each once");
        for span in &all {
            let arrived = mine[&key(span)];
            assert_eq!((&arrived["name"], &arrived["text"]), (&span["name"], &span["text"]));
            assert_eq!(
                (&arrived["service"], &arrived["scope"], &arrived["events"]),
                (&"shop".into(), &"orders".into(), &1.into())
            );
        }
    }
    assert_eq!(received.len(), 2 * all.len());
    receiver.end();
    agent.stop(SOON).assert_clean();
}
