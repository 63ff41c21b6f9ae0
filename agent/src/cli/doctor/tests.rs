//! What the report says and ends with.
//!
//! Promises: as people and programs read it.
//! Never: asks anybody; `stories/doctor.rs` does.

use std::collections::BTreeSet;

use super::*;
use crate::{
    agent,
    aws::Access,
    config::{Config, Sources, load},
    ecs::Metadata,
    fluentbit::InMemory,
    taskdef::iam::Account,
    tell::counters::Counters,
};

fn report() -> Report {
    let mut report = Report::default();
    report.well("region", "eu-west-1");
    report.add("metrics", State::Untried, "cloudwatch:PutMetricData into app", "`--write` tries it");
    report.add("logs", State::Wrong, "logs:PutLogEvents into /ecs/web: AccessDeniedException: no", "see below");
    report
}

#[test]
fn people_read_what_is_wrong_and_what_to_do() {
    insta::assert_snapshot!(report().text(), @r"
    ok      region         eu-west-1
    untried metrics        cloudwatch:PutMetricData into app
                           -> `--write` tries it
    WRONG   logs           logs:PutLogEvents into /ecs/web: AccessDeniedException: no
                           -> see below

    1 wrong, 0 to look at, 1 untried, 1 ok
    ");
}

#[test]
fn programs_read_the_same() {
    let read: serde_json::Value = serde_json::from_str(&report().json()).expect("it is JSON");
    assert_eq!(read["wrong"], 1);
    assert_eq!(read["findings"][2]["state"], "wrong");
    assert_eq!(read["findings"][1]["advice"], "`--write` tries it");
    assert_eq!(read["missing_policy"], serde_json::Value::Null);
}

#[test]
fn a_right_that_is_missing_is_shown_as_a_policy() {
    let mut report = report();
    report.missing.push(iam::Statement {
        sid: "DeliverLogs",
        actions: vec!["logs:PutLogEvents"],
        resources: ["arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/web:*".to_owned()].into(),
        condition: None,
    });
    let text = report.text();
    let shown = text.split_once("Add to the policy of the task role:").expect("it is there").1;
    let policy: serde_json::Value =
        serde_json::from_str(shown.rsplit_once("\n\n").expect("the sum follows").0).expect("it is JSON");
    assert_eq!(policy["Statement"][0]["Sid"], "DeliverLogs");
}

#[tokio::test(start_paused = true)]
async fn what_never_answers_ends_after_two_minutes() {
    let begun = tokio::time::Instant::now();
    assert!(!in_time(std::future::pending()).await);
    assert_eq!(begun.elapsed(), PATIENCE);
    assert!(in_time(async {}).await);
}

/// What is tried of a configuration, and as whom, is what `pillion iam` asks for, so that a policy which is missing can be shown. Sampling
/// was once asked for as the wrong role there, and metrics by OTLP were forgotten.
#[test]
fn whatever_is_tried_is_in_the_policy() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/other";
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/q";
    let with = |role: &str| {
        [
            format!("logs: {{outputs: [to: {{cloudwatch: {{group: /a, stream: s{role}}}}}]}}"),
            format!(
                "traces: {{inputs: [xray: {{}}, otlp: {{}}], outputs: [to: {{xray: {{region: eu-west-1{role}}}}}]}}"
            ),
            format!("traces: {{inputs: [otlp: {{}}], outputs: [to: {{otlp: {{aws: {{region: eu-west-1{role}}}}}}}]}}"),
            format!("metrics: {{inputs: [statsd: {{}}], outputs: [to: {{cloudwatch: {{region: eu-west-1{role}}}}}]}}"),
            format!(
                "metrics: {{inputs: [statsd: {{}}], outputs: [to: {{otlp: {{aws: {{region: eu-west-1{role}}}}}}}]}}"
            ),
            format!("metrics: {{inputs: [queue: {{sqs: \"{queue}\", cluster: c, service: s{role}}}]}}"),
            format!("secrets: {{folder: /s, items: [{{name: a, from: {{secrets_manager: {{id: a{role}}}}}}}]}}"),
            format!("secrets: {{folder: /s, items: [{{name: a, from: {{parameter: {{name: /a{role}}}}}}}]}}"),
            format!("secrets: {{folder: /s, items: [{{name: a, from: {{parameters: {{path: /a{role}}}}}}}]}}"),
        ]
    };
    let account =
        Account { partition: "aws".to_owned(), region: "eu-west-1".to_owned(), id: "123456789012".to_owned() };
    let mut seen = BTreeSet::new();
    for (role, texts) in [(None, with("")), (Some(ROLE), with(&format!(", role_arn: \"{ROLE}\"")))] {
        for text in texts {
            let (config, tries) = tried(&text);
            assert!(!tries.is_empty(), "{text}");
            let policy = iam::task_role(&config, &account, None);
            let allowed: BTreeSet<&str> = policy.iter().flat_map(|statement| statement.actions.clone()).collect();
            for (action, tried_as) in tries {
                assert_eq!(tried_as.as_deref(), role, "{action} of {text}");
                match role {
                    None => assert!(allowed.contains(action), "{action} of {text}: {allowed:?}"),
                    Some(_) => assert_eq!(allowed, BTreeSet::from(["sts:AssumeRole"]), "{text}"),
                }
                seen.insert(action);
            }
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

/// A configuration, and what is tried of it: action and role.
fn tried(text: &str) -> (Config, Vec<(&'static str, Option<String>)>) {
    let variables = [("PILLION_CONFIG_CONTENT", text), ("AWS_REGION", "eu-west-1")];
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let sources = Sources { file: None, environment, files: &InMemory::default() };
    let (config, _) = load(&sources).expect("it starts");
    let access = Access::new(&agent::aws_settings(&config), &Counters::new());
    let mut report = Report::default();
    let tries = rights::wanted(&config, &access, &Metadata::default(), "eu-west-1", &mut report);
    assert!(report.findings.is_empty(), "{text}: {}", report.text());
    let tries = tries.iter().map(|wanted| (wanted.action(), wanted.role.clone())).collect();
    (config, tries)
}
