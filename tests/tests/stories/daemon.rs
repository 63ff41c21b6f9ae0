//! Task definitions that ran AWS's X-Ray daemon run the agent: the same flags, the same file, the same lines in the log.
//!
//! Promises: every call goes through the real binary, by the names that images and packages give the daemon.
//! Never: needs the paths of the image; symbolic links stand for them.

use std::{
    net::UdpSocket,
    os::unix::fs::symlink,
    process::{Command, Output},
};

use tests::{
    agent::{Agent, Setup, binary, free_address, get},
    fake_aws::{FakeAws, Operation},
    wait::until,
};

use crate::story::SOON;

const SEGMENT: &str = "{\"format\":\"json\",\"version\":1}\n{\"name\":\"shop\",\"id\":\"0123456789abcdef\",\
     \"trace_id\":\"1-58406520-a006649127e371903a2de979\",\"start_time\":1.5E9,\"end_time\":1.5E9}";

/// What a call prints, and its exit code.
fn call(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("xray");
    symlink(binary().unwrap(), &name).unwrap();
    let Output { status, stdout, stderr } =
        Command::new(&name).args(arguments).env_clear().current_dir(folder.path()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// As a task definition calls the daemon's image, with a file and flags over it.
#[test]
fn called_as_the_x_ray_daemon_it_does_what_the_daemon_does() {
    let (aws, folder, port) = (FakeAws::start(), tempfile::tempdir().unwrap(), free_address().unwrap());
    let name = folder.path().join("xray");
    symlink(binary().unwrap(), &name).unwrap();
    let file = format!(
        "TotalBufferSizeMB: 16\nRegion: \"eu-west-1\"\nEndpoint: \"{}\"\nSocket:\n  UDPAddress: \"127.0.0.1:1\"\n  \
         TCPAddress: \"127.0.0.1:1\"\nLogging:\n  LogLevel: \"error\"\nLocalMode: true\nVersion: 2\n",
        aws.url()
    );
    let mut setup = Setup::yaml(file).by(&[name.to_str().unwrap()]);
    let port_text = port.to_string();
    setup.arguments =
        ["-o", "-n", "us-east-1", "--bind", &port_text, "-t", &port_text, "-l", "prod"].map(str::to_owned).to_vec();
    let agent = Agent::start(&setup).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let sdk = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..5 {
        sdk.send_to(SEGMENT.as_bytes(), port).unwrap();
    }
    agent.wait_for_metrics(SOON, "five segments", |metrics| metrics.books().total().delivered == 5);
    // The log is written by another thread than the one that sends; one batch, or several if the segments did not come together.
    let told = || agent.log().split("Successfully sent batch of ").skip(1).map(sent).sum::<u32>();
    until(SOON, || agent.log(), || told() == 5);
    let log = agent.log();
    // The TCP port is there too; a GET is none of its business.
    assert_eq!(get(port, "/GetSamplingRules").unwrap().0, 405);
    assert!(!log.contains("have no effect here"), "{log}");
    let timestamp = |request: &tests::fake_aws::Logged| {
        request.operation == format!("{:?}", Operation::PutTraceSegments)
            && request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-amzn-xray-timestamp"))
    };
    assert!(aws.requests().iter().any(timestamp), "the daemon tells when it sent");
    let ended = agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["delivered"], &last["balanced"]), (&5.into(), &true.into()), "{last}");
    aws.assert_no_violations();
}

/// The segments that the daemon's line tells of, which gives a time with it.
fn sent(line: &str) -> u32 {
    let (count, rest) = line.split_once(" segments (").unwrap_or_else(|| panic!("{line}"));
    let seconds = rest.split(" seconds)").next().unwrap();
    assert!(seconds.len() >= 5 && seconds.parse::<f64>().is_ok(), "{line}");
    count.parse().unwrap()
}

/// Help and version; what it would do; and what the daemon does not take either.
#[test]
fn wrong_calls_of_the_daemon_say_what_is_wrong() {
    let (code, text) = call(&["-h"]);
    assert!(code == Some(0) && text.contains("--bind-tcp ADDRESS"), "{text}");
    assert_eq!(call(&["-v"]), (Some(0), format!("pillion {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, text) = call(&["-k"]);
    assert!(code == Some(64) && text.starts_with("xray: there is no flag `-k`\n\nUsage: xray"), "{text}");
    let (code, text) = call(&["-n"]);
    assert!(code == Some(64) && text.starts_with("xray: `-n` needs a value"), "{text}");
    let (code, text) = call(&["-n", "Ireland"]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.starts_with("error: -n: not a region; write for example `eu-west-1`"), "{text}");
    let (code, text) = call(&["-c", "/none.yaml"]);
    assert!(code == Some(78) && text.starts_with("error: /none.yaml: cannot be read"), "{text}");
    let (code, text) = call(&["--check", "-o", "-n", "eu-west-1", "-f", "/var/log/xray.log"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "configuration: the X-Ray daemon's command line",
        "UDP 127.0.0.1:2000",
        "TCP 127.0.0.1:2000",
        "warning: -f: has no effect here",
        "the agent would start",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("logs come in"), "{text}");
}
