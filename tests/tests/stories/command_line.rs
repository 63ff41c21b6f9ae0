//! The ways in which task definitions and people call the binary.
//!
//! Promises: exit codes as the help says: 0 well, 1 failed, 64 wrong call, 78 wrong configuration.
//! Never: needs the paths of the image; symbolic links stand for them.

use std::{
    io::Read,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use tests::{
    agent::{Setup, binary, free_address},
    fake_aws::{Action, FakeAws, Operation},
    wait,
};

use crate::story::{SOON, Story, WEB, line, logs};

fn pillion(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary().unwrap()).args(arguments).env_clear().output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// As ECS task definitions with a `command` of their own call it.
#[test]
fn called_as_fluent_bit_it_runs_with_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("fluent-bit");
    symlink(binary().unwrap(), &name).unwrap();
    let aws = FakeAws::start();
    let plugins = ["-e", "/fluent-bit/firehose.so", "-e", "/fluent-bit/cloudwatch.so", "-v"];
    let command: Vec<&str> = std::iter::once(name.to_str().unwrap()).chain(plugins).collect();
    let setup = Setup::cloudwatch(aws.port(), "").by(&command);
    let story = Story::with(aws, &setup);
    let lines = story.send_lines(0..10);
    story.settled(10);
    assert_eq!(story.web_lines(), lines);
    let ended = story.end();
    assert!(!ended.log.contains("arguments have no effect"), "{}", ended.log);
}

/// The image's entry point takes no arguments, and finds its configuration by itself.
#[test]
fn called_as_the_image_s_script_it_runs_with_its_own_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("entrypoint.sh");
    symlink(binary().unwrap(), &name).unwrap();
    let aws = FakeAws::start();
    let content = format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: {{cloudwatch: {{group: a, stream: s, \
         auto_create_group: true, endpoint: '{}'}}}}}}]}}",
        aws.url()
    );
    let setup = Setup::yaml("# {socket}").with("PILLION_CONFIG_CONTENT", content).by(&[name.to_str().unwrap()]);
    let story = Story::with(aws, &setup);
    story.connect().line(WEB, &line(0)).unwrap();
    story.settled(1);
    assert_eq!(logs(&story.aws, "a", "s"), [line(0)]);
    let ended = story.end();
    assert!(ended.log.contains("arguments have no effect here"), "{}", ended.log);
}

#[test]
fn our_own_commands_end_with_the_codes_that_the_help_promises() {
    let (code, said) = pillion(&["version"]);
    assert_eq!((code, said.as_str()), (Some(0), concat!("pillion ", env!("CARGO_PKG_VERSION"), "\n")));
    assert_eq!(pillion(&["--version"]), (code, said.clone()));
    assert_eq!(pillion(&["-V"]), (code, said));
    let (code, said) = pillion(&["--help"]);
    assert!(code == Some(0) && said.contains("healthcheck"), "{said}");
    let (code, said) = pillion(&["nonsense"]);
    assert!(code == Some(64) && said.contains("nonsense"), "{said}");
    let (code, said) = pillion(&["-c"]);
    assert!(code == Some(64) && said.contains("`-c` needs a value"), "{said}");
    let (code, said) = pillion(&["run", "--config", "/no/such/file.yaml"]);
    assert!(code == Some(78) && said.contains("/no/such/file.yaml"), "{said}");
    let (code, said) = pillion(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, schema["$schema"].is_string()), (Some(0), true));
}

/// ECS asks `["CMD", "/pillion", "healthcheck"]`; a router that delivers nothing must not count as healthy.
#[test]
fn the_health_check_fails_while_nothing_is_delivered_and_passes_again_after() {
    let aws = FakeAws::start();
    let config = format!(
        "admin: {{stuck_after: 1s}}\nlogs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n    - name: out\n      \
         to:\n        cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, region: us-east-1, \
         endpoint: '{}'}}\n",
        aws.url()
    );
    let story = Story::with(aws, &Setup::yaml(config));
    let address = story.agent.admin().to_string();
    let check = || pillion(&["healthcheck", "--address", &address]);
    assert_eq!(check(), (Some(0), "ok\n".to_owned()));
    story.aws.always(Operation::PutLogEvents, Action::Hang);
    story.send_lines(0..10);
    wait::until(SOON, || format!("a bad health check, not {:?}", check()), || check().0 == Some(1));
    let (_, said) = check();
    assert!(said.starts_with("not well (503): output out has delivered nothing for "), "{said}");
    let (status, why) = story.agent.get("/healthz");
    assert!(status == 503 && why.contains("output out"), "{why}");
    // Ready means that it listens, and that it does.
    assert_eq!(story.agent.get("/readyz").0, 200);
    assert!(story.agent.status()["alive"].as_str().unwrap().contains("output out"));
    story.aws.heal(Operation::PutLogEvents);
    story.aws.release();
    story.settled(10);
    assert_eq!(check(), (Some(0), "ok\n".to_owned()));
    story.end();
    let (code, said) = pillion(&["healthcheck", "--address", &free_address().unwrap().to_string()]);
    assert!(code == Some(1) && said.contains("nobody answers at"), "{said}");
}

/// The demo needs nothing, draws a trace of two containers, and ends with books in which everything was delivered.
#[test]
fn the_demo_shows_records_a_trace_and_the_books() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("demo");
    let mut demo = Command::new(binary().unwrap());
    demo.args(["demo", "--rate", "50", "--folder"]).arg(&place).env_clear();
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let drawn = || std::fs::read_to_string(place.join("trace.txt")).unwrap_or_default();
    wait::until(SOON, drawn, || drawn().lines().count() == 5);
    // The process may have ended, which its exit code says.
    let _ = Command::new("kill").args(["-INT", &demo.id().to_string()]).status();
    let mut said = String::new();
    demo.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let ended = demo.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    let drawn = drawn();
    let names = ["web     web ", "web       orders@db.example.com ", "web       worker ", "worker      charge-card "];
    for (line, name) in drawn.lines().skip(1).zip(names) {
        assert!(line.trim_start().starts_with(name), "{drawn}");
    }
    assert!(said.contains("Every record and every span that was sent was delivered."), "{said}");
}
