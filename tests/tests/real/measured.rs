//! OpenTelemetry's own SDK for Python sends metrics and logs, by gRPC and HTTP, in deltas and in totals, from several processes.
//!
//! Promises: sums, counts and extremes in CloudWatch are what the apps counted; every line is in CloudWatch Logs.
//! Never: proves what a later version of the SDK sends.

use serde_json::Value;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::FakeAws,
    wait::until,
};

use crate::{SOON, program::command};

fn send(protocol: &str, temporality: &str, endpoint: &str, process: usize) -> Value {
    let process = process.to_string();
    let arguments =
        ["--protocol", protocol, "--temporality", temporality, "--endpoint", endpoint, "--process", &process];
    let output = command("send_metrics_with_opentelemetry.py", &arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.to_lowercase().contains("failed"), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

#[test]
fn what_opentelemetry_s_sdk_counts_and_logs_arrives_to_the_last_unit() {
    let (aws, grpc, http) = (FakeAws::start(), free_address().unwrap(), free_address().unwrap());
    let listen = format!("grpc: '{grpc}', http: '{http}'");
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}, {{otlp: {{{listen}}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: ours, \
         stream_prefix: s-, auto_create_group: true, region: us-east-1, endpoint: '{url}'}}}}}}]\n\
         metrics:\n  inputs: [{{otlp: {{listen: {{{listen}}}, publish: {{namespace: Shop, dimensions: [route]}}}}}}]\n  \
         outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n",
        url = aws.url()
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let mut all = Vec::new();
    for (process, (protocol, temporality)) in
        [("grpc", "cumulative"), ("http", "cumulative"), ("grpc", "delta"), ("http", "delta")].into_iter().enumerate()
    {
        let address = if protocol == "grpc" { grpc } else { http };
        all.push(send(protocol, temporality, &format!("http://{address}"), process));
    }
    let lines: Vec<&str> =
        all.iter().flat_map(|sent| sent["lines"].as_array().unwrap()).map(|line| line.as_str().unwrap()).collect();
    // A minute may be over meanwhile, and then metrics are delivered too.
    aws.wait_for_events(lines.len(), SOON);

    let page = agent.metrics();
    assert_eq!(page.sum("pillion_otlp_refused_requests_total", &[]), 0.0);
    assert_eq!(page.sum("pillion_metrics_rejected_total", &[]), 0.0);
    let orders: f64 = all.iter().map(|sent| sent["orders"].as_f64().unwrap()).sum();
    assert_eq!(page.sum("orders_total", &[("route", "/cart"), ("service_name", "shop")]), orders);
    assert_eq!(page.sum("load_ratio", &[]), 0.25);
    agent.stop(SOON).assert_clean();

    let told = |name: &str| {
        let metrics = aws.metrics();
        let (metric, told) =
            metrics.iter().find(|(metric, _)| metric.name == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(metric.namespace, "Shop");
        (told.sum, told.count)
    };
    assert_eq!(told("orders").0, orders);
    let (sum, count) = told("load");
    assert_eq!(sum, 0.25 * count, "once for each minute");
    for name in ["took", "exponential"] {
        let values: Vec<f64> =
            all.iter().flat_map(|sent| sent[name].as_array().unwrap()).map(|value| value.as_f64().unwrap()).collect();
        let (sum, count) = told(name);
        assert_eq!(count, values.len() as f64, "{name}");
        let expected: f64 = values.iter().sum();
        assert!((sum - expected).abs() <= expected * 1e-9, "{name}: {sum}, not {expected}");
    }

    let records: Vec<Value> =
        aws.messages("ours", "s-otlp").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let mut bodies: Vec<&str> = records.iter().map(|record| record["body"].as_str().unwrap()).collect();
    let mut expected = lines.clone();
    bodies.sort_unstable();
    expected.sort_unstable();
    assert_eq!(bodies, expected);
    for record in &records {
        assert_eq!((&record["severity_text"], &record["severity_number"]), (&"WARN".into(), &13.into()), "{record}");
        assert_eq!(record["resource"]["service.name"], "shop");
        assert!(record["attributes"]["order"].is_u64(), "{record}");
    }
    aws.assert_no_violations();
}
