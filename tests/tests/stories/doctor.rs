//! `pillion doctor`, run where the agent runs: what it finds, what it says to change, and that it changes nothing.
//!
//! Promises: each fault is made for real: a right is denied, a port is taken, a clock is off, a service is not there.
//! Never: looks at more of the text than a person would.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

use serde_json::Value;
use tests::{
    agent::{Agent, Setup, binary, free_address},
    fake_aws::{Action, FakeAws, Operation},
};

/// One output of each kind, and a secret.
fn configuration(aws: &FakeAws, more: &str) -> String {
    let url = aws.url();
    format!(
        "logs:\n  inputs: [{{forward: {{tcp: '{{forward}}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: /ecs/web, stream_prefix: web/, \
         endpoint: '{url}'}}}}}}]\ntraces:\n  inputs: [{{xray: {{udp: '{{udp}}', tcp: '{{tcp}}'}}}}]\n  outputs: [{{to: {{xray: {{endpoint: \
         '{url}'}}}}}}]\nmetrics:\n  inputs: [{{statsd: {{udp: '{{statsd}}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{endpoint: \
         '{url}'}}}}}}]\nsecrets:\n  folder: {{folder}}\n  items: [{{name: db, from: {{secrets_manager: {{id: prod/db, endpoint: \
         '{url}'}}}}}}]\n{more}"
    )
}

fn world() -> (FakeAws, tempfile::TempDir, String) {
    let aws = FakeAws::start();
    aws.with_streams("/ecs/web", &[]);
    aws.with_secret("prod/db", "v1", "canary-doctor-1");
    let folder = tempfile::tempdir().unwrap();
    let mut text = configuration(&aws, "");
    for name in ["{forward}", "{udp}", "{tcp}", "{statsd}"] {
        text = text.replace(name, &free_address().unwrap().to_string());
    }
    let text = text.replace("{folder}", &folder.path().to_string_lossy());
    (aws, folder, text)
}

/// What the doctor says, and its exit code.
fn doctor(aws: &FakeAws, text: &str, arguments: &[&str], more: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pillion.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(binary().unwrap());
    command
        .arg("doctor")
        .arg("--config")
        .arg(&file)
        .args(arguments)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_STS", aws.url())
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", aws.credentials_uri())
        .env("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())
        .env("PILLION__ADMIN__LISTEN", free_address().unwrap().to_string())
        .envs(more.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!said.contains("canary-doctor"), "{said}");
    (status.code().unwrap(), said)
}

/// The findings of one area, by state.
fn states<'a>(report: &'a Value, area: &str) -> Vec<(&'a str, &'a str)> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["area"] == area);
    findings.map(|finding| (finding["state"].as_str().unwrap(), finding["said"].as_str().unwrap())).collect()
}

#[test]
fn where_all_is_well_it_says_so_and_leaves_no_trace() {
    let (aws, folder, text) = world();
    let (code, said) = doctor(&aws, &text, &["--json"], &[]);
    assert_eq!(code, 0, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    for (area, state) in [
        ("task", "ok"),
        ("credentials", "ok"),
        ("network", "ok"),
        ("clock", "ok"),
        ("logs", "ok"),
        ("traces", "ok"),
        ("secrets", "ok"),
    ] {
        let states = states(&report, area);
        assert!(!states.is_empty() && states.iter().all(|(is, _)| *is == state), "{area}: {said}");
    }
    assert!(states(&report, "metrics").iter().any(|(state, _)| *state == "untried"), "{said}");
    assert_eq!(report["missing_policy"], Value::Null);
    // It asked for all of it, and nothing came of it.
    for operation in [Operation::PutLogEvents, Operation::PutTraceSegments, Operation::GetSamplingRules] {
        assert_eq!(aws.asked(operation), 1, "{operation:?}");
    }
    assert!(aws.groups()["/ecs/web"].streams.is_empty() && aws.segments().is_empty() && aws.metrics().is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
    aws.assert_no_violations();
}

#[test]
fn what_is_denied_is_shown_as_the_policy_that_is_missing() {
    let (aws, _folder, text) = world();
    aws.always(Operation::PutLogEvents, Action::Denied);
    aws.always(Operation::GetSecretValue, Action::Denied);
    aws.always(Operation::DescribeSecret, Action::Denied);
    let (code, said) = doctor(&aws, &text, &[], &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("WRONG") && said.contains("logs:PutLogEvents into /ecs/web"), "{said}");
    let policy = said.split_once("Add to the policy of the task role:").unwrap_or_else(|| panic!("{said}")).1;
    let policy: Value = serde_json::from_str(policy.rsplit_once("\n\n").unwrap().0).unwrap();
    let sids: Vec<&str> =
        policy["Statement"].as_array().unwrap().iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
    assert_eq!(sids, ["DeliverLogs", "ReadSecrets"]);
}

/// The backlog of a queue needs a right at SQS and one at ECS; AWS's own OTLP endpoint has one of its own.
#[test]
fn rights_at_queues_services_and_otlp_of_aws_are_tried_and_nothing_comes_of_it() {
    let aws = FakeAws::start();
    aws.take_spans();
    let url = aws.url();
    let text = format!(
        "traces:\n  inputs: [{{otlp: {{grpc: '{}', http: '{}'}}}}]\n  outputs: [{{to: {{otlp: {{endpoint: '{url}', aws: {{}}}}}}}}]\nmetrics:\n  \
         inputs: [{{queue: {{sqs: '{url}/123456789012/jobs', ecs_endpoint: '{url}', region: us-east-1, cluster: shop, service: cart}}}}]\n",
        free_address().unwrap(),
        free_address().unwrap()
    );
    let (code, said) = doctor(&aws, &text, &["--json"], &[]);
    assert_eq!(code, 0, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let said_of =
        |area| states(&report, area).into_iter().filter(|(_, said)| said.ends_with(": allowed")).collect::<Vec<_>>();
    assert_eq!(said_of("traces"), [("ok", "xray:PutSpans by OTLP (/v1/traces): allowed")]);
    assert_eq!(said_of("queue").len(), 2, "{said}");
    assert!(said_of("queue").contains(&("ok", "ecs:DescribeServices of cart: allowed")), "{said}");
    assert_eq!((aws.asked(Operation::PutSpans), aws.asked(Operation::DescribeServices)), (1, 1));
    assert!(aws.spans().is_empty(), "{said}");
    aws.assert_no_violations();

    // An account may have Transaction Search off: then the service itself says what is missing.
    aws.take_no_spans();
    let (_, said) = doctor(&aws, &text, &[], &[]);
    assert!(
        said.contains("look    traces")
            && said.contains("supported with CloudWatch Logs as a Trace Segment Destination"),
        "{said}"
    );

    for operation in [Operation::PutSpans, Operation::DescribeServices] {
        aws.always(operation, Action::Denied);
    }
    let (code, said) = doctor(&aws, &text, &[], &[]);
    assert_eq!(code, 1, "{said}");
    let policy = said.split_once("Add to the policy of the task role:").unwrap_or_else(|| panic!("{said}")).1;
    let policy: Value = serde_json::from_str(policy.rsplit_once("\n\n").unwrap().0).unwrap();
    let sids = policy["Statement"].as_array().unwrap().iter().map(|statement| statement["Sid"].as_str().unwrap());
    let mut sids: Vec<&str> = sids.collect();
    sids.sort_unstable();
    assert_eq!(sids, ["CountTasks", "DeliverSpans"]);
}

#[test]
fn a_group_that_is_missing_and_a_port_that_is_taken_are_wrong() {
    let aws = FakeAws::start();
    aws.with_secret("prod/db", "v1", "canary-doctor-1");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let text = format!(
        "logs:\n  inputs: [{{forward: {{tcp: '{}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: /ecs/none, stream_prefix: s, endpoint: \
         '{}'}}}}}}]\n",
        taken.local_addr().unwrap(),
        aws.url()
    );
    let (code, said) = doctor(&aws, &text, &["--json"], &[]);
    assert_eq!(code, 1, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let logs = states(&report, "logs");
    assert!(logs.iter().all(|(state, _)| *state == "wrong") && logs.len() == 2, "{said}");
    assert!(said.contains("auto_create_group") && said.contains("another process has it"), "{said}");
}

#[test]
fn a_wrong_clock_missing_credentials_and_a_service_that_is_away_are_told() {
    let (aws, _folder, text) = world();
    aws.set_skew(-900);
    let (code, said) = doctor(&aws, &text, &["--json"], &[]);
    let report: Value = serde_json::from_str(&said).unwrap();
    let [(state, clock)] = states(&report, "clock")[..] else { panic!("{said}") };
    let seconds: u64 =
        clock.split_once(" s ahead of the service's").unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    assert!(code == 1 && state == "wrong" && seconds >= 900, "{said}");
    aws.set_skew(0);
    let (code, said) = doctor(&aws, &text, &[], &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/creds")]);
    assert!(code == 1 && said.contains("taskRoleArn"), "{said}");
    let away = text.replace(&aws.url(), "http://127.0.0.1:1");
    let (code, said) = doctor(&aws, &away, &["--json"], &[]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 1 && states(&report, "network").iter().any(|(state, _)| *state == "wrong"), "{said}");
    assert!(states(&report, "traces").iter().any(|(state, _)| *state == "untried"), "{said}");
}

#[test]
fn with_write_it_tries_what_leaves_a_trace_too() {
    let (aws, _folder, text) = world();
    let (code, said) = doctor(&aws, &text, &["--write"], &[]);
    assert_eq!(code, 0, "{said}");
    let groups = aws.groups();
    let stream = groups["/ecs/web"].streams.keys().next().unwrap_or_else(|| panic!("{said}"));
    assert!(stream.starts_with("web/pillion-doctor-"), "{stream}");
    assert_eq!(aws.messages("/ecs/web", stream), ["pillion doctor was here"]);
    assert!(aws.metrics().keys().any(|metric| format!("{metric:?}").contains("PillionDoctor")), "{said}");
    aws.assert_no_violations();
}

/// Beside an agent its own addresses are not in the way, and it is asked how it is.
#[test]
fn beside_a_running_agent_it_asks_the_agent() {
    let (aws, _folder, text) = world();
    let agent = Agent::start(&Setup::yaml(text.clone())).unwrap();
    tests::wait::until(crate::story::SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let (code, said) = doctor(&aws, &text, &[], &[("PILLION__ADMIN__LISTEN", &agent.admin().to_string())]);
    assert!(code == 0 && said.contains("runs and is well") && said.contains("the agent listens on"), "{said}");
    agent.stop(crate::story::SOON).assert_clean();
}
