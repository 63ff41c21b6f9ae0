//! Prefetch: a secret is in memory before the first who asks for it.
//!
//! Promises: requests are counted; the secret is asked for by another of its names than it was fetched by.
//! Never: has a file.

use tests::{agent::Setup, fake_aws::Operation, wait::until};

use crate::{
    secrets_task::{Task, end},
    story::SOON,
};

/// The original keeps what it fetched by name, and misses when it is asked by ARN.
#[test]
fn a_prefetched_secret_is_answered_from_memory_by_whichever_name() {
    let task = Task::new();
    let arn = task.aws.with_secret("prod/more", "v1", "canary-more");
    let setup = task.setup();
    let own = "region: us-east-1}\n";
    assert!(setup.config.contains(own));
    let api = format!("region: us-east-1, prefetch: [{{id: '{arn}'}}, {{id: nowhere}}]}}\n");
    let config = setup.config.replacen(own, &api, 1);
    let agent = tests::agent::Agent::start(&Setup { config, ..setup }).unwrap();
    until(
        SOON,
        || format!("the secrets: {}", agent.log()),
        || agent.get("/readyz").0 == 200 && !task.token().is_empty(),
    );
    until(SOON, || "the API".to_owned(), || task.ask("GET", "/ping").0 == 200);
    // One for the file, one that nobody has asked for yet; the one that is nowhere has been looked for.
    until(
        SOON,
        || agent.log(),
        || task.aws.asked(Operation::GetSecretValue) == 2 && task.aws.asked(Operation::DescribeSecret) >= 3,
    );
    let (status, body) = task.ask("GET", "/secretsmanager/get?secretId=prod/more");
    assert!(status == 200 && body.contains("canary-more"), "{status}");
    assert_eq!(task.aws.asked(Operation::GetSecretValue), 2, "its value was in memory");
    task.aws.assert_no_violations();
    end(agent);
}
