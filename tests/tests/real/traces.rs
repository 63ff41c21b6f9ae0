//! AWS's own X-Ray SDKs send, moto keeps, boto3 reads back.
//!
//! Promises: every segment is there, with its subsegments, also those that the SDK streams as documents of their own.
//! Never: proves what X-Ray makes of them.

use std::{collections::BTreeSet, process::Output};

use tests::{
    agent::{Agent, Setup, free_address},
    wait::until,
};

use crate::{SOON, environment, program::command};

/// Segments that are sent. Every tenth streams forty subsegments.
const SEGMENTS: usize = 20;

fn run(script: &str, arguments: &[&str], daemon: &str) -> Output {
    command(script, arguments).env("AWS_XRAY_DAEMON_ADDRESS", daemon).output().unwrap()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn what_aws_s_sdk_for_python_sends_is_read_back_from_x_ray() {
    is_read_back("send_with_xray_sdk.py");
}

#[test]
fn what_aws_s_sdk_for_node_sends_is_read_back_from_x_ray() {
    is_read_back("trace.cjs");
}

fn is_read_back(script: &str) {
    let (moto, daemon) = (environment("MOTO_URL"), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces: {{inputs: [{{xray: {{udp: '{daemon}'}}}}], outputs: [{{to: {{xray: {{endpoint: '{moto}'}}}}}}]}}\n"
    )));
    let agent = agent.unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let sent = lines(&run(script, &["--segments", &SEGMENTS.to_string()], &daemon.to_string()));
    assert_eq!(sent.len(), SEGMENTS);
    agent.wait_for_metrics(SOON, "all documents", |metrics| {
        let total = metrics.books().total();
        total.accepted > SEGMENTS as u64 && total.delivered == total.accepted
    });
    assert_eq!(agent.metrics().sum("pillion_traces_overflowed_datagrams_total", &[]), 0.0);
    let delivered = agent.books().total().delivered.to_string();
    let ids: Vec<&str> = sent.iter().map(|segment| segment["trace_id"].as_str().unwrap()).collect();
    let arguments = [&["--endpoint", &moto, "--at-least", &delivered][..], &ids].concat();
    let read = lines(&run("read_traces_back.py", &arguments, ""));
    assert_eq!(read.len().to_string(), delivered, "as many as we say");
    let of = |key: &str, document: &serde_json::Value| document[key].as_str().unwrap_or_default().to_owned();
    let whole: BTreeSet<_> = read
        .iter()
        .filter(|document| document.get("type").is_none())
        .map(|document| (of("id", document), of("trace_id", document), of("name", document)))
        .collect();
    let expected: BTreeSet<_> =
        sent.iter().map(|sent| (of("id", sent), of("trace_id", sent), of("name", sent))).collect();
    assert_eq!(whole, expected);
    let streamed = read.iter().filter(|document| document["type"] == "subsegment").count();
    assert!(streamed >= 2 * 30, "{streamed} streamed subsegments");
    let text = serde_json::json!("\u{e4} \"quoted\" \\ \n line");
    let inner = read.iter().filter_map(|document| document["subsegments"].as_array()).flatten();
    let all = inner.chain(read.iter().filter(|document| document["type"] == "subsegment"));
    assert!(all.clone().count() >= SEGMENTS && all.clone().all(|part| part["metadata"]["default"]["text"] == text));
    agent.stop(SOON).assert_clean();
}
