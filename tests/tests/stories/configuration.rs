//! Where the configuration comes from, what is said about mistakes in it, and that the start waits for nothing.
//!
//! Promises: every mistake is in the one report, with its file and line.
//! Never: reads the words of each message: the readers' own tests do.

use std::{
    net::TcpListener,
    process::{Command, Output},
    time::Duration,
};

use tests::{
    agent::{Agent, Setup, binary, free_address},
    fake_aws::{Action, FakeAws, Operation},
    forward_client::ForwardClient,
};

use crate::story::{FIRELENS, SOON, Story, WEB, line, logs, output};

fn pillion(arguments: &[&str]) -> Output {
    Command::new(binary().unwrap()).args(arguments).env_clear().output().unwrap()
}

/// The report of `check`, and of an agent that was started with the same file all the same.
#[track_caller]
fn refused(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let path = file.to_string_lossy();
    let check = pillion(&["check", "--config", &path]);
    assert_eq!(check.status.code(), Some(78), "{check:?}");
    let report = String::from_utf8(check.stderr).unwrap();
    for call in [&["-c", &*path][..], &["run", "--config", &path]] {
        let run = pillion(call);
        assert_eq!(run.status.code(), Some(78), "{run:?}");
        assert_eq!(String::from_utf8(run.stderr).unwrap(), report);
    }
    report.replace(&*path, name)
}

#[track_caller]
fn assert_reports(report: &str, places: &[&str]) {
    for place in places {
        assert!(report.lines().any(|line| line.starts_with(place)), "nothing about `{place}` in\n{report}");
    }
    let all = report.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(all, places.len(), "{report}");
    assert!(report.contains("problems in the configuration"), "{report}");
}

#[test]
fn every_mistake_of_our_own_form_is_in_one_report() {
    let report = refused(
        "bad.yaml",
        "logs:\n  inputs:\n    - forward: {unix: ''}\n    - forwrd: {}\n  filters:\n    - grep:\n        rules:\n          \
         - regex: {key: log, regex: '('}\n  outputs:\n    - to:\n        cloudwatch:\n          group: 'a b'\n          \
         stream: x\n          linger: 5\n          retention_days: 8\n    - to:\n        cloudwatch:\n          group: \
         g\n          stream: s\n          stream_template: $a[\nmemory: lots\nstop_timeout: 0s\nnonsense: 1\n",
    );
    assert_reports(
        &report,
        &[
            "error: bad.yaml:3 ",
            "error: bad.yaml:4 ",
            "error: bad.yaml:8 ",
            "error: bad.yaml:12 ",
            "error: bad.yaml:14 ",
            "error: bad.yaml:15 ",
            "error: bad.yaml:17 ",
            "error: bad.yaml:21 ",
            "error: bad.yaml:22 ",
            "error: bad.yaml:23 ",
        ],
    );
}

#[test]
fn every_mistake_of_a_fluent_bit_file_is_in_one_report() {
    let report = refused(
        "bad.conf",
        "[INPUT]\n    Name forward\n    Listen nowhere\n    Port 99999\n[INPUT]\n    Tag x\n@INCLUDE missing.conf\n[OUTPUT]\n    \
         Name cloudwatch_logs\n    Match *\n[OUTPUT]\n    Name cloudwatch_logs\n    Match *\n    log_group_name g\n    \
         log_stream_name s\n    log_stream_template $a[\n    port http\n    endpoint x\n[FILTER]\n    Name grep\n    \
         Match *\n    Regex log\n",
    );
    assert_reports(
        &report,
        &[
            "error: bad.conf:3 ",
            "error: bad.conf:4 ",
            "error: bad.conf:5 ",
            "error: bad.conf:7",
            "error: bad.conf:8 [OUTPUT] cloudwatch_logs: has no `log_group_name`",
            "error: bad.conf:8 [OUTPUT] cloudwatch_logs: has neither",
            "error: bad.conf:11 ",
            "error: bad.conf:17 ",
            "error: bad.conf:22 ",
        ],
    );
}

/// An output that this version does not have costs its records: `check` says no, although the agent would start.
#[test]
fn what_ecs_generates_passes_the_check_but_for_an_output_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fluent-bit.conf");
    std::fs::write(folder.path().join("external.conf"), "").unwrap();
    let text = crate::generated::file(1, 24_224, 8_877).replace("{folder}", &folder.path().to_string_lossy());
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let checked = Command::new(binary().unwrap())
            .args(["check", "-c", &file.to_string_lossy()])
            .env_clear()
            .envs([("log_group_name_0", "g"), ("secret_0", "s3cr3t"), ("a.b-c@d_1", "o")])
            .output()
            .unwrap();
        let (said, complained) =
            (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
        assert!(!said.contains("s3cr3t") && !complained.contains("s3cr3t"));
        (checked.status.code(), said, complained)
    };
    let (code, _, complained) = check(&text);
    assert_eq!(code, Some(78), "{complained}");
    assert!(complained.contains("output `kinesis_firehose` is not supported by this version"), "{complained}");
    let (code, said, complained) = check(&text.replace("kinesis_firehose", "null"));
    assert_eq!(code, Some(0), "{complained}");
    for part in ["the agent would start", "TCP 127.0.0.1:8877, tag firelens-healthcheck"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_variable_takes_the_place_of_a_file_or_of_one_value() {
    let aws = FakeAws::start();
    let content = format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: {{cloudwatch: {{group: a, stream: s, \
         auto_create_group: true, endpoint: '{}'}}}}}}]}}",
        aws.url()
    );
    // The file has a mistake, and is not read.
    let setup = Setup::yaml("nonsense: '{socket}'")
        .with("PILLION_CONFIG_CONTENT", content)
        .with("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__GROUP", "b");
    let story = Story::with(aws, &setup);
    story.connect().line(WEB, &line(0)).unwrap();
    story.settled(1);
    assert_eq!(logs(&story.aws, "b", "s"), [line(0)]);
    story.end();
}

/// Containers of the task start as soon as we run, and their first words must find a socket.
#[test]
fn the_socket_is_bound_before_the_task_s_metadata_answers() {
    let aws = FakeAws::start();
    aws.always(Operation::Metadata, Action::Hang);
    aws.always(Operation::Credentials, Action::Hang);
    let out = format!(
        "[OUTPUT]\n    Name cloudwatch\n    Match *\n    region us-east-1\n    endpoint {}\n    \
         log_group_name g\n    log_stream_name $(ecs_task_id)\n    auto_create_group true\n    \
         default_log_stream_name fallback\n",
        aws.url()
    );
    let setup = Setup::classic(format!("{FIRELENS}{out}"))
        .with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())
        .with_credentials_from(aws.credentials_uri());
    let story = Story::with(aws, &setup);
    // Asking takes up to 2 s; bound is milliseconds. One second is for a busy machine.
    assert!(story.agent.start_to_bound < Duration::from_secs(1), "{:?}", story.agent.start_to_bound);
    let mut client = story.connect();
    client.line(WEB, &line(0)).unwrap();
    let (status, why) = story.agent.get("/readyz");
    assert_eq!((status, why.trim()), (503, "starting"));
    assert_eq!(story.agent.get("/healthz").0, 200);
    story.aws.wait_for_requests("Credentials", 1, SOON);
    story.aws.heal(Operation::Credentials);
    story.aws.release();
    story.settled(1);
    assert_eq!(story.agent.get("/readyz").0, 200);
    assert_eq!(logs(&story.aws, "g", "fallback"), [line(0)]);
    story.end();
}

/// The admin address is the least of the listeners; the logs are not lost for it.
#[test]
fn a_taken_admin_address_does_not_keep_the_agent_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let aws = FakeAws::start();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::cloudwatch(aws.port(), "").with("PILLION__ADMIN__LISTEN", address);
    let agent = Agent::start(&setup).unwrap();
    ForwardClient::unix(&agent.socket()).unwrap().line(WEB, &line(0)).unwrap();
    aws.wait_for_events(1, SOON);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert!(ended.log.contains("admin address is taken"), "{}", ended.log);
    assert_eq!(crate::story::last_number(&ended, "delivered"), 1);
    aws.assert_no_violations();
}

#[test]
fn a_listener_that_is_taken_ends_the_start_and_is_named() {
    let aws = FakeAws::start();
    let address = free_address().unwrap();
    let _taken = TcpListener::bind(address).unwrap();
    let out = output(aws.port(), "*", "log_group_name g\nlog_stream_name s");
    let tcp = crate::story::tcp_input(address);
    let ended = Agent::start(&Setup::classic(format!("{tcp}{out}"))).unwrap().wait_for_end(SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(
        ended.log.contains(&format!("cannot listen on {address}; another process may use the port")),
        "{}",
        ended.log
    );

    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{out}")));
    let socket = story.agent.socket();
    let config = format!("{FIRELENS}{out}").replace("{socket}", &socket.to_string_lossy());
    let ended = Agent::start(&Setup::classic(config)).unwrap().wait_for_end(SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains("another process listens on"), "{}", ended.log);
    // The first one has its socket still.
    story.connect().line(WEB, &line(0)).unwrap();
    story.settled(1);
    story.end();
}
