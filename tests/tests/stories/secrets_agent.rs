//! The agent in the place of AWS's Secrets Manager Agent: its command line, its file, its variables.
//!
//! Promises: asked as its clients ask; nothing of ours is configured.
//! Never: has a file on a volume.

use std::{fs, os::unix::fs::PermissionsExt};

use tests::{
    agent::{Agent, PILLION, Setup, free_address},
    fake_aws::Operation,
    wait::until,
};

use crate::{
    secrets_task::{Task, end},
    story::SOON,
};

/// The address of the API, and its configuration in AWS's words, nested or flat.
fn setup(task: &Task, text: &str) -> Setup {
    let mut setup = Setup::yaml(text.replace("{port}", &task.api.port().to_string()));
    setup.file = "agent.toml";
    let endpoint = task.aws.url();
    setup.with("PILLION__SECRETS__API__ENDPOINT", endpoint)
}

fn wait(task: &Task, agent: &Agent, token: &str) {
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200 && task.ask_with(token, "GET", "/ping").0 == 200);
}

/// As its own image is called, with a token in a file, a nested configuration, and secrets that are asked for by their tag.
#[test]
fn a_task_of_aws_s_agent_goes_on_with_another_image() {
    let task = Task::new();
    for (name, tags) in [("a", "Team"), ("b", "Team"), ("c", "TeamLead"), ("d", "Team")] {
        task.aws.with_secret(name, "v1", &format!("canary-{name}"));
        task.aws.change_secret(name, |secret| secret.tags = vec![tags.to_owned()]);
    }
    let text = "[logging]\nlog_level = 'DEBUG'\n[capabilities.secrets_manager]\nhttp_port = {port}\npath_prefix = '/sm/'\n\
                region = 'us-east-1'\n[capabilities.secrets_manager.cache]\nttl_seconds = 300\n\
                [capabilities.secrets_manager.security]\nssrf_headers = ['X-Mine']\n\
                [capabilities.secrets_manager.prefetch]\nfilter_tags = [{ key = 'Team' }]\n";
    let token = task.volume.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o400)).unwrap();
    let setup = setup(&task, text)
        .by(&[PILLION, "sm", "start"])
        .with("AWS_TOKEN", format!("file://{}", token.display()))
        .with("AWS_SESSION_TOKEN", "");
    let agent = Agent::start(&setup).unwrap();
    wait(&task, &agent, "");
    let said = |header: &str, path: &str| {
        task.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost:2773\r\n{header}\r\nConnection: close\r\n\r\n"))
    };
    until(SOON, || agent.log(), || task.aws.asked(Operation::GetSecretValue) == 3);
    let (status, body) = said("X-Mine: 0123456789abcdef", "/sm/b");
    assert!(status == 200 && body.contains("\"SecretString\":\"canary-b\""), "{status} {body}");
    assert_eq!(task.aws.asked(Operation::GetSecretValue), 3, "it was in memory");
    assert_eq!(
        said("X-Aws-Parameters-Secrets-Token: 0123456789abcdef", "/sm/b").0,
        403,
        "only the header that was named"
    );
    assert_eq!(said("X-Mine: wrong", "/sm/b").0, 403);
    let (status, _) = said("X-Mine: 0123456789abcdef", "/sm/c");
    assert_eq!((status, task.aws.asked(Operation::GetSecretValue)), (200, 4), "a tag is all of its key");
    assert!(!agent.log().contains("there is no output"), "nobody wants logs: {}", agent.log());
    assert!(!agent.log().contains("0123456789abcdef"));
    task.aws.assert_no_violations();
    end(agent);
}

/// As version 1 and 2 are called, with a flat configuration and a token in a variable.
#[test]
fn the_old_agent_s_file_and_its_token_in_a_variable_are_understood() {
    let task = Task::new();
    let text = "http_port = '{port}'\nregion = 'us-east-1'\nttl_seconds = 0\n";
    let setup = setup(&task, text).with("AWS_TOKEN", "").with("AWS_SESSION_TOKEN", "t0k3n-of-the-session");
    // With temporary credentials that variable is theirs, and the fake knows none of its own.
    let setup = setup.with_credentials_from(task.aws.credentials_uri());
    let agent = Agent::start(&setup).unwrap();
    wait(&task, &agent, "");
    let (status, body) = task.ask_with("t0k3n-of-the-session", "GET", "/v1/prod/orders/db");
    assert!(status == 200 && body.contains("canary-1"), "{status} {}", agent.log());
    let looks = task.aws.asked(Operation::DescribeSecret);
    assert_eq!(task.ask_with("t0k3n-of-the-session", "GET", "/v1/prod/orders/db").0, 200);
    assert!(task.aws.asked(Operation::DescribeSecret) > looks, "with ttl 0 it is looked at each time");
    assert_eq!(task.ask_with("t0k3n", "GET", "/v1/prod/orders/db").0, 403);
    let log = agent.log();
    assert!(!log.contains("t0k3n-of"), "{log}");
    task.aws.assert_no_violations();
    end(agent);
}

/// What it would refuse, we refuse, with place and hint, and nothing listens.
#[test]
fn a_wrong_file_of_aws_s_agent_is_refused_with_its_place() {
    let task = Task::new();
    let mut setup = setup(&task, "http_prot = 1\nttl_seconds = []\n");
    setup.admin = Some(free_address().unwrap());
    let agent = Agent::start(&setup).unwrap();
    let ended = agent.wait_for_end(SOON);
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    for part in ["agent.toml:1 http_prot", "did you mean `http_port`?", "agent.toml:2 ttl_seconds"] {
        assert!(ended.log.contains(part), "{part}: {}", ended.log);
    }
}
