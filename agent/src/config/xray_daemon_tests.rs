//! Calls of the X-Ray daemon, loaded as a whole.
//!
//! Promises: flags, file and environment win over each other as in the daemon; each mistake is told with its place.
//! Never: touches the real environment.

use super::*;
use crate::{
    config::{Config, Environment, Level, load_xray_daemon},
    fluentbit::InMemory,
    traces::settings::{Destination, Input},
};

/// What is listened on, region, role, endpoint; memory and level; then the problems.
fn loaded(
    flags: &[(&'static str, &str, &str)],
    variables: &[(&str, &str)],
    file: Option<(&str, &str)>,
) -> (String, String) {
    let files = file.map_or_else(InMemory::default, |(path, text)| InMemory::one(path, text));
    let call = DaemonCall {
        file: file.filter(|(path, _)| path.starts_with("/named")).map(|(path, _)| path.into()),
        flags: flags.iter().map(|(key, flag, value)| (*key, (*flag).to_owned(), (*value).to_owned())).collect(),
    };
    let environment: Environment = variables.iter().copied().collect();
    let loading = load_xray_daemon(&call, &Sources { file: None, environment, files: &files });
    let (Ok((_, problems)) | Err(problems)) = &loading;
    let told = problems.iter().map(|problem| format!("{problem}\n")).collect();
    (loading.map_or_else(|_| "refused".to_owned(), |(config, _)| shown(&config)), told)
}

fn shown(config: &Config) -> String {
    let [Input::Xray(input)] = &config.traces.inputs[..] else { panic!("{:?}", config.traces) };
    let [output] = &config.traces.outputs[..] else { panic!("{:?}", config.traces) };
    let Destination::Xray(output) = &output.to else { panic!("the daemon sends to X-Ray") };
    assert!(config.logs.inputs.is_empty() && output.log_batches);
    let or = |text: Option<&String>| text.map_or("-", String::as_str).to_owned();
    format!(
        "{} {} {} {} {} {} {:?}",
        input.address(),
        input.tcp_address().map_or("off".to_owned(), |address| address.to_string()),
        or(output.region.as_ref().or(config.aws.region.as_ref())),
        or(output.role_arn.as_ref()),
        or(output.endpoint.as_ref()),
        config.memory_hint.map_or("-".to_owned(), |bytes| bytes.to_string()),
        config.log_level
    )
}

const FILE: &str = "TotalBufferSizeMB: 24\nConcurrency: 8\nRegion: \"eu-west-1\"\nEndpoint: \"\"\nSocket:\n  \
    UDPAddress: \"127.0.0.1:3000\"\n  TCPAddress: \"127.0.0.1:3001\"\nLogging:\n  LogRotation: true\n  LogLevel: \"dev\"\n  \
    LogPath: \"\"\nLocalMode: false\nResourceARN: \"\"\nRoleARN: \"arn:aws:iam::123456789012:role/r\"\nNoVerifySSL: false\n\
    ProxyAddress: \"\"\nVersion: 2\n";

#[test]
fn a_call_without_anything_is_the_daemon_s_default() {
    assert_eq!(loaded(&[], &[], None), ("127.0.0.1:2000 127.0.0.1:2000 - - - - Info".to_owned(), String::new()));
}

#[test]
fn flags_go_before_the_file_and_variables_of_ours_before_both() {
    let concurrency = |path: &str| {
        format!(
            "warning: {path}:2 Concurrency: has no effect here; requests are sent beside each other as X-Ray takes them\n"
        )
    };
    for path in ["/named.yaml", "/etc/amazon/xray/cfg.yaml", "cfg.yaml"] {
        let (config, told) = loaded(&[], &[("AWS_REGION", "us-east-2")], Some((path, FILE)));
        let expected = "127.0.0.1:3000 127.0.0.1:3001 eu-west-1 arn:aws:iam::123456789012:role/r - 24 MiB Trace";
        assert_eq!((config.as_str(), told), (expected, concurrency(path)), "{path}");
    }
    let flags = [
        ("Region", "-n", "us-west-2"),
        ("Socket.UDPAddress", "--bind", "localhost:4000"),
        ("Socket.TCPAddress", "-t", "127.0.0.1:4001"),
        ("Logging.LogLevel", "-l", "prod"),
        ("TotalBufferSizeMB", "-m", "100"),
        ("LocalMode", "-o", "true"),
    ];
    let variables =
        [("PILLION__TRACES__OUTPUTS__0__TO__XRAY__ENDPOINT", "http://127.0.0.1:1"), ("AWS_REGION", "us-east-2")];
    let (config, told) = loaded(&flags, &variables, Some(("/named.yaml", FILE)));
    let expected =
        "127.0.0.1:4000 127.0.0.1:4001 us-west-2 arn:aws:iam::123456789012:role/r http://127.0.0.1:1 100 MiB Info";
    assert_eq!((config.as_str(), told), (expected, concurrency("/named.yaml")));
    let (config, _) = loaded(&[("Region", "-n", "")], &[("AWS_REGION", "us-east-2")], None);
    assert!(config.contains(" us-east-2 "), "{config}");
}

#[test]
fn what_reaches_further_and_what_has_no_meaning_is_said_once() {
    let flags = [
        ("Socket.UDPAddress", "-b", "0.0.0.0:2000"),
        ("Socket.TCPAddress", "-t", ":2000"),
        ("Logging.LogPath", "-f", "/var/log/xray.log"),
        ("ResourceARN", "-a", "arn:x"),
        ("ProxyAddress", "-p", "http://proxy:3128"),
        ("Logging.LogLevel", "-l", "loud"),
    ];
    let variables = [("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"), ("PILLION_CONFIG", "/x.yaml")];
    let (config, told) = loaded(&flags, &variables, None);
    assert_eq!(config, "0.0.0.0:2000 0.0.0.0:2000 - - - - Info");
    insta::assert_snapshot!(told, @"
    warning: PILLION_CONFIG: is not read by who is called as the X-Ray daemon; call the agent as `pillion`, and it is
    warning: AWS_XRAY_DAEMON_ADDRESS: has no effect here; SDKs read it; where we listen is said by `-b` and `-t`
    warning: -f: has no effect here; the agent's log is on standard error, which a log driver takes
    warning: -a: has no effect here; telemetry is not sent; see /metrics
    warning: -p: has no effect here; connections are made without a proxy; give X-Ray a VPC endpoint, or `Endpoint`
    warning: -l: not a level; write dev, debug, info, warn, error or prod; it counts as prod
    warning: -b: everybody who reaches the address can send segments in your name; write `127.0.0.1:2000` where the app shares our network
    warning: -t: `0.0.0.0:2000` is not a loopback address; whoever reaches it can use it; write `127.0.0.1` unless something outside of the task needs it
    ");
}

/// The daemon sends through a proxy that the environment names. That we do not is said, without what may be a password in it.
#[test]
fn a_proxy_of_the_environment_is_said_to_have_no_effect() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let (_, told) = loaded(&[], &[(name, "http://user:canary@proxy:3128")], None);
        let expected = "has no effect here; connections are made without a proxy; give X-Ray a VPC endpoint";
        assert_eq!(told, format!("warning: {name}: {expected}\n"));
    }
}

#[test]
fn what_the_daemon_refuses_is_refused_with_a_hint() {
    let of = |text: &str| loaded(&[], &[], Some(("/named.yaml", text)));
    for (text, said) in [
        ("Region: eu-west-1\n", "error: /named.yaml: has no `Version`; add `Version: 2`\n"),
        ("Version: 3\n", "error: /named.yaml:1 Version: is not 1 or 2; write `Version: 2`\n"),
        (
            "Version: 2\nSocket:\n  UDPAdress: x\n",
            "error: /named.yaml:3 Socket.UDPAdress: the X-Ray daemon has no such key; did you mean `Socket.UDPAddress`?\n",
        ),
        (
            "Version: 1\nProcessor:\n  Routine: 2\n",
            "error: /named.yaml:3 Processor.Routine: is of an older form of the file; write `Concurrency`\n",
        ),
        (
            "Version: 1\nSocket:\n  BufferSizeKB: 2\n",
            "error: /named.yaml:3 Socket.BufferSizeKB: is not supported any more, neither by the X-Ray daemon; remove the line\n",
        ),
        (
            "Version: 2\nRegion: [a]\n",
            "error: /named.yaml:2 Region: is not a single value; write it behind the colon\n",
        ),
        (
            "Version: 2\nSocket:\n  UDPAddress: xray:2000\n",
            "error: /named.yaml:3 Socket.UDPAddress: `xray:2000` is no address; write an IP address and a port, for example \
             `0.0.0.0:2000`\n",
        ),
        ("Version: 2\nRegion: EU\n", "error: /named.yaml:2 Region: not a region; write for example `eu-west-1`\n"),
        (
            "Version: 2\nTotalBufferSizeMB: -1\n",
            "error: /named.yaml:2 TotalBufferSizeMB: not a number of megabytes; write a whole number; here it is bytes, not slots \
             of 64 KiB\n",
        ),
    ] {
        assert_eq!(of(text), ("refused".to_owned(), said.to_owned()), "{text}");
    }
    // A file that was not named is not checked by the daemon.
    let (config, told) = loaded(&[], &[], Some(("cfg.yaml", "Version: 2\nColour: red\n")));
    assert_eq!(config, "127.0.0.1:2000 127.0.0.1:2000 - - - - Info");
    assert_eq!(told, "warning: cfg.yaml:2 Colour: the X-Ray daemon has no such key; remove the line\n");
    let call = DaemonCall { file: Some("/none.yaml".into()), flags: Vec::new() };
    let sources = Sources { file: None, environment: Environment::default(), files: &InMemory::default() };
    let problems = load_xray_daemon(&call, &sources).expect_err("there is no such file");
    assert!(problems[0].to_string().starts_with("error: /none.yaml: cannot be read: "), "{problems:?}");
    assert_eq!(Level::Info, Level::default());
}

proptest::proptest! {
    /// Whatever a file says: a report, and no panic.
    #[test]
    fn property_no_file_makes_it_panic(
        text in "(Version: 2\n|Region: |Socket:\n|  UDPAddress: |Logging:\n|  LogLevel: |[a-z:{}\\[\\]\"0-9 \n-]){0,12}",
    ) {
        loaded(&[], &[], Some(("/named.yaml", &text)));
    }
}
