//! Parameters: in batches of ten, and all that are below a path.
//!
//! Promises: requests are counted where they are the promise; files are read as a program would.
//! Never: waits for the rhythm of looks; the local API has the agent look.

use std::fs;

use tests::{
    agent::{Agent, Setup},
    fake_aws::{Action, Operation},
    wait::until,
};

use crate::{
    secrets_task::{Task, end},
    story::SOON,
};

/// The task's setup with more items.
fn with(task: &Task, items: &str) -> Setup {
    let mut setup = task.setup();
    setup.config.push_str(items);
    setup
}

fn start(task: &Task, setup: &Setup) -> Agent {
    let agent = Agent::start(setup).unwrap();
    until(SOON, || format!("the secrets: {}", agent.log()), || agent.get("/readyz").0 == 200);
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    agent
}

/// Below a path only what has a label, in the version that has it; a label that moves is a change.
#[test]
fn of_the_parameters_below_a_path_those_with_a_label_are_files() {
    let task = Task::new();
    for (name, versions) in [("a", 3), ("b", 2), ("deep/c", 1), ("d", 1)] {
        (1..=versions).for_each(|at| task.aws.put_parameter(&format!("/shop/{name}"), &format!("canary-{name}-{at}")));
    }
    for (name, version) in [("a", 2), ("b", 2), ("deep/c", 1)] {
        task.aws.label_parameter(&format!("/shop/{name}"), "prod", version);
    }
    let from = format!("{{path: /shop, label: prod, region: us-east-1, endpoint: '{}'}}", task.aws.url());
    let agent = start(&task, &with(&task, &format!("    - {{name: shop, from: {{parameters: {from}}}}}\n")));
    let files = || ["a", "b", "deep/c", "d"].map(|name| task.file(&format!("shop/{name}")));
    assert_eq!(files(), ["canary-a-2", "canary-b-2", "canary-deep/c-1", ""]);
    task.aws.put_parameter("/shop/b", "canary-b-3");
    assert_eq!(task.refresh(), 200);
    assert_eq!(files(), ["canary-a-2", "canary-b-2", "canary-deep/c-1", ""], "what has no label is not there yet");
    task.aws.label_parameter("/shop/a", "prod", 3);
    task.aws.label_parameter("/shop/d", "prod", 1);
    assert_eq!(task.refresh(), 200);
    assert_eq!(files(), ["canary-a-3", "canary-b-2", "canary-deep/c-1", "canary-d-1"]);
    task.aws.assert_no_violations();
    end(agent);
}

/// Ten names are one request, at the start and whenever one of them is looked at; one that is not there, or may not be read, is
/// its own trouble; labels and versions are what they say.
#[test]
fn parameters_are_asked_for_ten_at_a_time() {
    let task = Task::new();
    let url = task.aws.url();
    let mut items = String::new();
    let mut item = |name: &str, parameter: &str, more: &str| {
        items.push_str(&format!(
            "    - {{name: {name}, {more}from: {{parameter: {{name: '{parameter}', region: us-east-1, endpoint: '{url}'}}}}}}\n"
        ));
    };
    for at in 1..10 {
        task.aws.put_parameter(&format!("/orders/p{at}"), &format!("canary-p{at}"));
        item(&format!("p{at}"), &format!("/orders/p{at}"), "");
    }
    for value in ["old", "new", "newest"] {
        task.aws.put_parameter("/orders/labelled", value);
        task.aws.put_parameter("/orders/fixed", value);
    }
    task.aws.label_parameter("/orders/labelled", "prod", 2);
    item("labelled", "/orders/labelled:prod", "");
    item("fixed", "/orders/fixed:1", "");
    item("none", "/orders/none", "required: false, ");
    let agent = start(&task, &with(&task, &items));
    // `flag` and nine in one; `labelled` and `none` in another; `fixed` never changes, so it is by itself.
    assert_eq!(task.aws.asked(Operation::GetParameters), 3, "{}", agent.log());
    assert_eq!(
        (task.file("p9"), task.file("labelled"), task.file("fixed")),
        ("canary-p9".into(), "new".into(), "old".into())
    );

    task.aws.put_parameter("/orders/p5", "canary-five");
    task.aws.label_parameter("/orders/labelled", "prod", 3);
    task.aws.put_parameter("/orders/none", "there now");
    let before = task.aws.asked(Operation::GetParameters);
    assert_eq!(task.refresh(), 200, "{}", agent.log());
    assert_eq!(
        (task.file("p5"), task.file("labelled"), task.file("none")),
        ("canary-five".into(), "newest".into(), "there now".into())
    );
    // The one that was not there has been asked for alone.
    assert_eq!(task.aws.asked(Operation::GetParameters) - before, 3);
    // Who looks for one of them brings news to all ten.
    task.aws.put_parameter("/orders/p1", "canary-one");
    let before = task.aws.asked(Operation::GetParameters);
    assert_eq!(task.refresh_only("p9"), 200);
    until(SOON, || "what was overheard".to_owned(), || task.file("p1") == "canary-one");
    assert_eq!(task.aws.asked(Operation::GetParameters) - before, 1);
    task.aws.assert_no_violations();
    end(agent);
}

/// A path is a folder of files and a file of variables; what is added, changed and removed below it follows. What cannot be a file
/// is told once, and all stays; the next agent takes the folder over while the service is down.
#[test]
fn all_parameters_below_a_path_are_files_that_come_and_go() {
    let task = Task::new();
    let url = task.aws.url();
    let items = format!(
        "    - name: cfg\n      from: {{parameters: {{path: /shop/prod, region: us-east-1, endpoint: '{url}'}}}}\n      \
         files:\n        - {{path: cfg, as: each, mode: '0400'}}\n        - {{path: cfg.env, as: dotenv}}\n"
    );
    for at in 0..12 {
        task.aws.put_parameter(&format!("/shop/prod/many/{at}"), &format!("canary-{at}"));
    }
    task.aws.put_parameter("/shop/prod/level", "info");
    task.aws.put_parameter("/shop/production/other", "not below it");
    let setup = with(&task, &items);
    let agent = start(&task, &setup);
    let files = || -> Vec<String> {
        let names = fs::read_dir(task.folder().join("..data/cfg/many"));
        let mut names: Vec<String> =
            names.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!((files().len(), task.file("cfg/many/11")), (12, "canary-11".to_owned()));
    assert!(task.file("cfg.env").starts_with("LEVEL=info\nMANY_0=canary-0\n"), "{}", agent.log());

    task.aws.put_parameter("/shop/prod/level", "debug");
    task.aws.put_parameter("/shop/prod/many/new", "canary-new");
    task.aws.remove_parameter("/shop/prod/many/3");
    assert_eq!(task.refresh(), 200);
    assert_eq!((task.file("cfg/level"), task.file("cfg/many/new")), ("debug".to_owned(), "canary-new".to_owned()));
    assert!(!files().contains(&"3".to_owned()) && files().len() == 12, "{:?}", files());

    task.aws.put_parameter("/shop/prod/level/deep", "canary-deep");
    let _ = task.refresh();
    let told = "member `level` of the secret would have to be a folder, too, because of member `level/deep`";
    until(SOON, || agent.log(), || agent.log().contains(told));
    assert_eq!((task.file("cfg/level"), files().len()), ("debug".to_owned(), 12));
    task.aws.remove_parameter("/shop/prod/level/deep");
    task.aws.put_parameter("/shop/prod/..", "canary-up");
    let _ = task.refresh();
    until(SOON, || agent.log(), || agent.log().contains("member `..` of the secret cannot be a file"));
    assert_eq!((task.file("cfg/level"), files().len()), ("debug".to_owned(), 12));
    task.aws.remove_parameter("/shop/prod/..");
    end(agent);

    for operation in [Operation::DescribeSecret, Operation::GetSecretValue, Operation::GetParameters] {
        task.aws.always(operation, Action::Status(503, None));
    }
    task.aws.always(Operation::GetParametersByPath, Action::Throttle);
    let agent = start(&task, &setup);
    assert_eq!((task.file("cfg/level"), files().len()), ("debug".to_owned(), 12));
    task.aws.heal(Operation::GetParametersByPath);
    task.aws.put_parameter("/shop/prod/level", "warn");
    until(SOON, || agent.log(), || task.file("cfg/level") == "warn");
    task.aws.assert_no_violations();
    end(agent);
}
