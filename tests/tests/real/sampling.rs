//! AWS's own X-Ray SDKs sample by the rules of X-Ray, which they ask for through the agent; the fake AWS has the rules.
//!
//! Promises: what an SDK decides follows the rules and not its own; every segment of what it sampled arrives; it reports its
//! statistics, which the service takes.
//! Never: says what X-Ray makes of the statistics.

use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{FakeAws, Operation},
    wait::until,
};

use crate::{SOON, program::Program};

/// Decisions for each path.
const REQUESTS: u64 = 200;

#[test]
fn sdks_in_python_and_node_sample_by_the_rules_of_x_ray() {
    let (aws, daemon) = (FakeAws::start(), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces: {{inputs: [{{xray: {{udp: '{daemon}'}}}}], outputs: [{{to: {{xray: {{endpoint: '{}'}}}}}}]}}\n",
        aws.url()
    )));
    let agent = agent.unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let (address, requests) = (daemon.to_string(), REQUESTS.to_string());
    let variables = [("AWS_XRAY_DAEMON_ADDRESS", address.as_str())];
    for (script, round) in [("sample_with_xray_sdk.py", 1), ("sample.cjs", 2)] {
        let mut sdk = Program::beside(script, &["--requests", &requests], &variables);
        let counts = sdk.ask("");
        assert_eq!((&counts["checkout"], &counts["health"]), (&REQUESTS.into(), &0.into()), "{script}");
        let reported = || aws.sampling_bodies(Operation::GetSamplingTargets).len() >= round;
        until(SOON, || format!("statistics of {script}\n{}", agent.log()), reported);
        sdk.end();
        let body = aws.sampling_bodies(Operation::GetSamplingTargets).pop().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let statistics = body["SamplingStatisticsDocuments"].as_array().unwrap();
        let checkout = statistics.iter().find(|one| one["RuleName"] == "checkout").unwrap();
        assert_eq!(checkout["SampledCount"], REQUESTS, "{script}: {checkout}");
    }
    let named = |name: &str| {
        let marked = format!("\"name\":\"{name}\"");
        let spaced = format!("\"name\": \"{name}\"");
        aws.segments().iter().filter(|segment| segment.contains(&marked) || segment.contains(&spaced)).count() as u64
    };
    until(SOON, || format!("{} segments", named("checkout")), || named("checkout") == 2 * REQUESTS);
    // Until an SDK has the rules it samples by its own: the first request of a second.
    assert!(named("health") <= 1, "{}", named("health"));
    assert_eq!(agent.metrics().sum("pillion_traces_overflowed_datagrams_total", &[]), 0.0);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(ended.final_line().unwrap()["balanced"], true);
    aws.assert_no_violations();
}
