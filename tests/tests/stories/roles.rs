//! Roles: a secret is read as the role that may read it.
//!
//! Promises: the fake gives a secret to nobody but its role; the role is asked for with signed requests.
//! Never: uses another way to a role than the one of ECS tasks.

use tests::{
    agent::Agent,
    fake_aws::{Action, Content, Operation, Secret},
    wait::until,
};

use crate::{
    secrets_task::{Task, end},
    story::SOON,
};

const ROLE: &str = "arn:aws:iam::999999999999:role/shared/reader";

/// A secret of another account, as a file and by the API; all others as the task. STS fails at first, and is asked once.
#[test]
fn a_secret_with_a_role_is_read_as_that_role() {
    let task = Task::new();
    task.aws.with_role(ROLE);
    task.aws.change_secret("shared/key", |secret| {
        *secret = Secret::new("v1", "canary-shared-1");
        secret.role = Some(ROLE.to_owned());
    });
    task.aws.script(Operation::AssumeRole, [Action::Status(500, None)]);
    let (mut setup, url) = (task.setup(), task.aws.url());
    setup.config.push_str(&format!(
        "    - name: shared\n      from: {{secrets_manager: {{id: shared/key, region: us-east-1, endpoint: '{url}', role_arn: '{ROLE}'}}}}\n"
    ));
    let setup = setup.with("AWS_ENDPOINT_URL_STS", task.aws.url());
    let agent = Agent::start(&setup).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    task.is_whole(1);
    assert_eq!(task.file("shared"), "canary-shared-1");

    task.aws.change_secret("shared/key", |secret| {
        secret.put("v2", Content::Text("canary-shared-2".to_owned()), "AWSCURRENT");
    });
    assert_eq!(task.refresh(), 200, "{}", agent.log());
    assert_eq!(task.file("shared"), "canary-shared-2");
    // By the API: as the role it is given, as the task it is not, and one's answer is not the other's.
    let role = ROLE.replace(':', "%3A").replace('/', "%2F");
    let (status, body) = task.ask("GET", &format!("/secretsmanager/get?secretId=shared/key&roleArn={role}"));
    assert!(status == 200 && body.contains("canary-shared-2"), "{status}");
    let (status, body) = task.ask("GET", "/secretsmanager/get?secretId=shared/key");
    assert!(status == 400 && body.contains("AccessDenied"), "{status} {body}");
    let unknown = role.replace("reader", "nobody");
    let (status, _) = task.ask("GET", &format!("/secretsmanager/get?secretId=shared/key&roleArn={unknown}"));
    assert!((400..=599).contains(&status), "{status}");
    let asked = task.aws.requests().iter().filter(|one| one.operation == "AssumeRole" && one.outcome == "200").count();
    assert_eq!(asked, 1, "credentials of a role are shared and kept");
    task.aws.assert_no_violations();
    end(agent);
}
