//! OpenTelemetry's own SDK sends spans, moto keeps the segments that they became, boto3 reads them back.
//!
//! Promises: every span is there under its X-Ray name, with its attributes, its exception and its links.
//! Never: proves what X-Ray makes of them.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{
    agent::{Agent, Setup, free_address},
    wait::until,
};

use crate::{SOON, environment, program::lines};

const SPANS: usize = 20;

#[test]
fn what_opentelemetry_s_sdk_sends_is_read_back_from_x_ray() {
    let (moto, grpc, http) = (environment("MOTO_URL"), free_address().unwrap(), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  outputs: [{{to: {{xray: {{endpoint: '{moto}'}}}}}}]\n"
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let spans = SPANS.to_string();
    let mut sent = Vec::new();
    for (protocol, address) in [("grpc", grpc), ("http", http)] {
        let endpoint = format!("http://{address}");
        let arguments = ["--protocol", protocol, "--endpoint", &endpoint, "--spans", &spans];
        sent.extend(lines("send_with_opentelemetry.py", &arguments));
    }
    agent.wait_for_metrics(SOON, "all segments", |metrics| metrics.books().total().delivered == 2 * SPANS as u64);
    let traces: Vec<String> = sent
        .iter()
        .map(|span| {
            let id = span["trace_id"].as_str().unwrap();
            format!("1-{}-{}", &id[..8], &id[8..])
        })
        .collect();
    let at_least = sent.len().to_string();
    let mut arguments = vec!["--endpoint", &moto, "--at-least", &at_least];
    arguments.extend(traces.iter().map(String::as_str));
    let read = lines("read_traces_back.py", &arguments);
    let by_id: BTreeMap<_, _> = read.iter().map(|segment| (segment["id"].as_str().unwrap(), segment)).collect();
    assert_eq!((by_id.len(), read.len()), (sent.len(), sent.len()), "each once");
    for (number, (span, trace)) in sent.iter().zip(&traces).enumerate() {
        let segment = by_id[span["span_id"].as_str().unwrap()];
        assert_eq!((&segment["name"], &segment["trace_id"]), (&span["name"], &Value::from(trace.as_str())));
        let metadata = &segment["metadata"]["default"];
        assert_eq!((&metadata["text"], &metadata["otel.resource.service.name"]), (&span["text"], &"shop".into()));
        assert_eq!((&metadata["numbers"][2], &metadata["ratio"]), (&3.into(), &0.5.into()));
        let exception = &segment["cause"]["exceptions"][0];
        assert_eq!((&exception["type"], &exception["message"]), (&"ValueError".into(), &"not enough \u{20ac}".into()));
        assert_eq!(segment["aws"]["xray"]["sdk"], "opentelemetry for python");
        assert_eq!(segment["links"].is_array(), number % SPANS > 0, "all but the first have one");
    }
    agent.stop(SOON).assert_clean();
}
