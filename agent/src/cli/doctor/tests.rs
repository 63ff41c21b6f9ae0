//! What the report says and ends with.
//!
//! Promises: as people and programs read it.
//! Never: asks anybody; `stories/doctor.rs` does.

use super::*;

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
