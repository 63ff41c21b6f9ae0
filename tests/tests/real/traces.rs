//! AWS's own X-Ray SDKs send, moto keeps, boto3 reads back.
//!
//! And where segments go to a backend of OTLP, OpenTelemetry's own classes receive them as spans.
//!
//! Promises: every segment is there, with its subsegments, also those that the SDK streams as documents of their own.
//! Never: proves what X-Ray makes of them.

use std::{collections::BTreeSet, process::Output};

use tests::{
    agent::{Agent, Setup, free_address},
    wait::until,
};

use crate::{
    SOON, environment,
    program::{Program, command},
};

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

#[test]
fn what_aws_s_sdk_for_python_sends_is_received_as_spans() {
    are_spans("send_with_xray_sdk.py");
}

#[test]
fn what_aws_s_sdk_for_node_sends_is_received_as_spans() {
    are_spans("trace.cjs");
}

/// Two tenths of the segments have 40 subsegments, the others one; each of them failed.
fn are_spans(script: &str) {
    let mut receiver = Program::python("receive_otlp.py", &[]);
    let (backend, daemon) = (receiver.ask("addresses"), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces: {{inputs: [{{xray: {{udp: '{daemon}'}}}}], outputs: [{{to: {{otlp: {{endpoint: 'http://{}'}}}}}}]}}\n",
        backend["http"].as_str().unwrap()
    )));
    let agent = agent.unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let sent = lines(&run(script, &["--segments", &SEGMENTS.to_string()], &daemon.to_string()));
    let expected = SEGMENTS + 18 + 2 * 40;
    agent.wait_for_metrics(SOON, "all spans", |metrics| metrics.books().total().delivered == expected as u64);
    let metrics = agent.metrics();
    assert_eq!(metrics.sum("pillion_traces_overflowed_datagrams_total", &[]), 0.0);
    let refused = metrics.sum("pillion_traces_unmade_spans_total", &[])
        - metrics.sum("pillion_traces_unmade_spans_total", &[("reason", "in_progress")]);
    assert_eq!(refused, 0.0);
    let received = receiver.ask("spans");
    let spans = received["spans"].as_array().unwrap();
    let key = |span: &serde_json::Value, [trace, id]: [&str; 2]| {
        let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
        (text(trace).trim_start_matches("1-").replace('-', ""), text(id), text("name"))
    };
    let ids: BTreeSet<_> = spans.iter().map(|span| key(span, ["trace_id", "span_id"])).collect();
    assert_eq!((ids.len(), spans.len()), (expected, expected), "each once");
    let segments: BTreeSet<_> = sent.iter().map(|segment| key(segment, ["trace_id", "id"])).collect();
    assert!(segments.is_subset(&ids), "{segments:?} {ids:?}");
    let steps: Vec<_> =
        spans.iter().filter(|span| span["name"].as_str().is_some_and(|name| name.starts_with("step-"))).collect();
    assert_eq!(steps.len(), expected - SEGMENTS);
    assert!(steps.iter().all(|span| span["events"] == 1), "each has its exception");
    receiver.end();
    agent.stop(SOON).assert_clean();
}
