//! Failover: a region that cannot be reached or is broken is not the end while the secret has a replica.
//!
//! Promises: two services, each of which takes only what is signed for its own region.
//! Never: says that throttled means broken: a herd that is throttled here must not go there.

use std::fs;

use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, Content, FakeAws, Operation},
    wait::until,
};

use crate::{
    secrets_task::{DB, Task, end, value},
    story::SOON,
};

const LOOKS: [Operation; 2] = [Operation::DescribeSecret, Operation::GetSecretValue];

/// The task's setup, with a replica of its secret.
fn with_replica(task: &Task, first: &str, replica: &FakeAws) -> Setup {
    let own = format!("secrets_manager: {{id: {DB}, region: us-east-1, endpoint: '{}'}}", task.aws.url());
    let both = format!(
        "secrets_manager: {{id: {DB}, region: us-east-1, endpoint: '{first}', failover_regions: [eu-west-1], \
         failover_endpoints: ['{}']}}",
        replica.url()
    );
    let setup = task.setup();
    assert!(setup.config.contains(&own));
    Setup { config: setup.config.replace(&own, &both), ..setup }
}

fn rotate(aws: &FakeAws, number: u32) {
    aws.change_secret(DB, |secret| {
        secret.put(&format!("v{number}"), Content::Text(value(number)), "AWSPENDING");
        secret.move_stage("AWSCURRENT", &format!("v{number}"));
    });
}

fn start(task: &Task, setup: &Setup) -> Agent {
    let agent = Agent::start(setup).unwrap();
    until(SOON, || format!("the secrets: {}", agent.log()), || agent.get("/readyz").0 == 200);
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    agent
}

#[test]
fn the_replica_answers_while_the_first_region_does_not_and_only_then() {
    let task = Task::new();
    let replica = FakeAws::start_in("eu-west-1");
    replica.with_secret(DB, "v1", &value(1));
    let asked = || LOOKS.map(|operation| replica.asked(operation)).iter().sum::<usize>();
    let agent = start(&task, &with_replica(&task, &task.aws.url(), &replica));
    assert_eq!(asked(), 0);

    // What is broken there is had here.
    let mut number = 1;
    for trouble in [Action::Status(500, None), Action::Status(503, None), Action::ResetBeforeAnswer, Action::HtmlError]
    {
        number += 1;
        LOOKS.iter().for_each(|operation| task.aws.always(*operation, trouble.clone()));
        rotate(&replica, number);
        let before = asked();
        assert_eq!(task.refresh(), 200, "{trouble:?}: {}", agent.log());
        task.is_whole(number);
        assert_eq!(asked() - before, 2, "a look and a fetch: {trouble:?}");
        LOOKS.iter().for_each(|operation| task.aws.heal(*operation));
        rotate(&task.aws, number);
        // Back again: the same version, so nothing but a look, and that where it belongs.
        let before = asked();
        assert_eq!(task.refresh(), 200);
        assert_eq!(asked(), before, "{trouble:?}");
    }
    // Denied and throttled are answers. Who may not describe looks by fetching for a while.
    let looks = || LOOKS.map(|operation| task.aws.asked(operation)).iter().sum::<usize>();
    for answer in [Action::Denied, Action::Throttle] {
        LOOKS.iter().for_each(|operation| task.aws.always(*operation, answer.clone()));
        let before = (asked(), looks());
        let _ = task.refresh();
        until(SOON, || format!("a look: {answer:?}"), || looks() > before.1);
        assert_eq!(asked(), before.0, "{answer:?}");
        task.is_whole(number);
        LOOKS.iter().for_each(|operation| task.aws.heal(*operation));
    }
    task.aws.assert_no_violations();
    replica.assert_no_violations();
    end(agent);
}

/// A task that starts while its region is gone starts.
#[test]
fn a_task_starts_from_the_replica_while_nobody_listens_in_the_first_region() {
    let task = Task::new();
    let replica = FakeAws::start_in("eu-west-1");
    replica.with_secret(DB, "v1", &value(1));
    let nowhere = format!("http://{}", free_address().unwrap());
    let agent = start(&task, &with_replica(&task, &nowhere, &replica));
    task.is_whole(1);
    rotate(&replica, 2);
    assert_eq!(task.refresh(), 200);
    task.is_whole(2);
    replica.assert_no_violations();
    end(agent);
}

/// For an app that must follow a single user's rotation: the version to come has a file of its own while there is one.
#[test]
fn a_version_that_a_rotation_is_making_has_a_file_until_it_is_the_current_one() {
    let task = Task::new();
    let mut setup = task.setup();
    let previous = "        - {path: previous.json, of: previous}\n";
    assert!(setup.config.contains(previous));
    setup.config = setup.config.replace(
        previous,
        &format!("{previous}        - {{path: pending.json, of: pending}}\n        - {{path: next/password, of: pending, as: {{key: password}}}}\n"),
    );
    let agent = start(&task, &setup);
    let pending = || fs::read_to_string(task.folder().join("pending.json")).ok();
    assert_eq!(pending(), None);
    // A rotation that failed early leaves a version without a value.
    task.aws.change_secret(DB, |secret| secret.put_empty("v2", "AWSPENDING"));
    assert_eq!(task.refresh(), 200, "{}", agent.log());
    task.is_whole(1);
    assert_eq!(pending(), None);
    task.aws.change_secret(DB, |secret| secret.put("v3", Content::Text(value(3)), "AWSPENDING"));
    assert_eq!(task.refresh(), 200);
    task.is_whole(1);
    assert_eq!((pending(), task.file("next/password")), (Some(value(3)), "canary-3#/?$\"".to_owned()));
    let fetched = task.aws.asked(Operation::GetSecretValue);
    task.aws.change_secret(DB, |secret| secret.move_stage("AWSCURRENT", "v3"));
    assert_eq!(task.refresh(), 200);
    task.is_whole(3);
    assert_eq!((pending(), task.file("previous.json")), (None, value(1)));
    assert!(!task.folder().join("next/password").exists());
    assert_eq!(task.aws.asked(Operation::GetSecretValue), fetched, "what was pending is had already");
    task.aws.assert_no_violations();
    end(agent);
}
