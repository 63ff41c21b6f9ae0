//! The reader as a whole, on files.
//!
//! Promises: what ECS generates is read exactly, and whatever else comes gives problems with their place.
//! Never: touches the environment; only the first test touches the disk.

use std::{
    fmt::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    logs::{
        filter::grep::Rule,
        out::{RetryLimit, cloudwatch},
        pattern::Pattern,
        settings::{Destination, Filter, Input},
    },
    problem::Severity,
};

const MAIN: &str = "/fluent-bit/etc/fluent-bit.conf";

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/fluentbit")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(testdata().join(name)).expect("the file is in testdata")
}

fn with(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn read_text(text: impl Into<Vec<u8>>) -> Reading {
    read(Path::new(MAIN), &BTreeMap::new(), &InMemory::one(MAIN, text))
}

fn report(reading: &Reading) -> String {
    reading.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn errors(reading: &Reading) -> Vec<String> {
    let errors = reading.problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

fn cloudwatch(reading: &Reading, index: usize) -> &cloudwatch::Config {
    match &reading.logs.outputs[index].to {
        Destination::Cloudwatch(config) => config,
        other => panic!("output {index} is {other:?}"),
    }
}

/// Inputs, filters and outputs in a few words each.
fn summary(reading: &Reading) -> String {
    let mut out = String::new();
    for input in &reading.logs.inputs {
        match input {
            Input::Forward(it) => writeln!(out, "forward unix={:?} tcp={:?}", it.unix, it.tcp),
            Input::Json(it) => writeln!(out, "json {} tag={}", it.tcp, it.tag),
            Input::Otlp(it) => writeln!(out, "otlp {:?}", it.addresses()),
            Input::Emf(it) => writeln!(out, "emf {:?} {:?} tag={} {:?}", it.tcp, it.udp, it.tag(), it.routing),
        }
        .expect("text can be written");
    }
    for filter in &reading.logs.filters {
        match filter {
            Filter::Grep(it) => writeln!(out, "grep {} {:?} {:?}", tags(&it.pattern), it.logical_op, it.rules),
            Filter::RecordModifier(it) => writeln!(out, "modify {} {:?}", tags(&it.pattern), it.records),
        }
        .expect("text can be written");
    }
    for output in &reading.logs.outputs {
        let name = output.name.as_deref().unwrap_or_default();
        let to = match &output.to {
            Destination::Cloudwatch(it) => format!("cloudwatch {:?} {:?}", it.group, it.stream_prefix),
            other => format!("{other:?}"),
        };
        writeln!(out, "{name} {} -> {to}", tags(&output.pattern)).expect("text can be written");
    }
    out
}

fn tags(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Wildcard(text) => text.clone(),
        Pattern::Regex(regex) => format!("/{}/", regex.as_str()),
        Pattern::Nothing => "(nothing)".to_owned(),
    }
}

/// The file of a Fargate task, from the disk as the agent meets it.
#[test]
fn the_file_of_an_awsvpc_task_is_read_exactly() {
    let reading = read(&testdata().join("generated-awsvpc.conf"), &BTreeMap::new(), &Disk);
    assert_eq!(report(&reading), "");
    insta::assert_snapshot!(summary(&reading), @r#"
    forward unix=Some("/var/run/fluent.sock") tcp=None
    forward unix=None tcp=Some(127.0.0.1:24224)
    json 127.0.0.1:8877 tag=firelens-healthcheck
    modify * [("ecs_cluster", "mycluster"), ("ecs_task_arn", "arn:aws:ecs:us-west-2:012345678910:task/mycluster/3d3ba1cf2f4d4f8b9a0d1a2b3c4d5e6f"), ("ecs_task_definition", "web:7")]
    null.0 firelens-healthcheck -> Discard(Discard)
    cloudwatch_logs.0 app-firelens* -> cloudwatch Some("/ecs/web") Some("app/")
    "#);
    assert_eq!(reading.memory_hint, Some(ByteSize(25_000_000)));
    let config = cloudwatch(&reading, 1);
    assert_eq!(config.region.as_deref(), Some("us-west-2"));
    assert!(config.auto_create_group);
    assert_eq!(config.retry_limit, RetryLimit::AtLeast(2));
    assert_eq!(config.templates, cloudwatch::Templates::FluentBit);
}

#[test]
fn the_file_of_a_bridge_task_with_everything_is_read_exactly() {
    let files = InMemory::one(MAIN, file("generated-bridge-ec2-s3-patterns.conf"))
        .and("/fluent-bit/etc/external.conf", file("external.conf"));
    let reading = read(Path::new(MAIN), &BTreeMap::new(), &files);
    insta::assert_snapshot!(summary(&reading), @r#"
    forward unix=Some("/var/run/fluent.sock") tcp=None
    forward unix=None tcp=Some(0.0.0.0:24224)
    json 127.0.0.1:8877 tag=firelens-healthcheck
    grep container-firelens* Legacy [Regex { key: "log", regex: "*failure*" }]
    grep container-firelens* Legacy [Exclude { key: "log", regex: "*success*" }]
    modify * [("ec2_instance_id", "i-123456789a"), ("ecs_cluster", "mycluster"), ("ecs_task_arn", "arn:aws:ecs:us-west-2:012345678910:task/mycluster/3d3ba1cf2f4d4f8b9a0d1a2b3c4d5e6f"), ("ecs_task_definition", "web:7")]
    null.0 firelens-healthcheck -> Discard(Discard)
    kinesis_firehose.0 container-firelens* -> Unsupported { plugin: "kinesis_firehose" }
    cloudwatch.0 other-firelens* -> cloudwatch Some("/ecs/$(ecs_cluster)") None
    "#);
    // The agent's own tests give ECS these expressions; Fluent Bit refuses to start with them too.
    insta::assert_snapshot!(report(&reading), @r#"
    loss: /fluent-bit/etc/fluent-bit.conf:42 [OUTPUT] kinesis_firehose: output `kinesis_firehose` is not supported by this version; its records are counted as lost (`output_not_supported`)
    warning: /fluent-bit/etc/fluent-bit.conf:21 [FILTER] grep regex: the `*` at character 0 repeats what stands before it, and nothing does; to find a text anywhere write it without `*` around it, to match any text write `.*`; the whole filter is left out, and records pass it unchanged
    warning: /fluent-bit/etc/fluent-bit.conf:26 [FILTER] grep exclude: the `*` at character 0 repeats what stands before it, and nothing does; to find a text anywhere write it without `*` around it, to match any text write `.*`; the whole filter is left out, and records pass it unchanged
    warning: /fluent-bit/etc/external.conf:7 [FILTER] parser: filter `parser` is not supported by this version; records pass unchanged
    "#);
    assert_eq!(reading.memory_hint, Some(ByteSize(50_000_000)));
    assert_eq!(reading.service.log_level, Some("debug"));
    let go = cloudwatch(&reading, 2);
    assert_eq!(go.templates, cloudwatch::Templates::GoPlugin);
    assert_eq!(go.stream.as_deref(), Some("$(ecs_task_id)-$(tag[0])"));
    assert_eq!(go.default_group.as_deref(), Some("fallback"));
    assert_eq!(go.group_tags, with(&[("team", "a"), ("env", "test")]));
}

#[test]
fn the_file_of_a_host_mode_task_has_no_tcp_forward_and_outputs_are_numbered() {
    let reading = read_text(file("generated-host-without-metadata.conf"));
    assert_eq!(report(&reading), "");
    insta::assert_snapshot!(summary(&reading), @r#"
    forward unix=Some("/var/run/fluent.sock") tcp=None
    json 127.0.0.1:8877 tag=firelens-healthcheck
    null.0 firelens-healthcheck -> Discard(Discard)
    cloudwatch_logs.0 a-firelens* -> cloudwatch Some("g") None
    cloudwatch_logs.1 b-firelens* -> cloudwatch Some("g") None
    "#);
    assert_eq!(reading.memory_hint, None);
}

#[test]
fn secret_options_are_filled_in_from_variables_with_odd_names() {
    let variables = with(&[
        ("extra_user_agent_1", "agent-x"),
        ("LOG_GROUP", "/ecs/web"),
        ("HOSTNAME", "ip-10-0-0-1"),
        ("role.arn-x@y_1", "arn:aws:iam::1:role/x"),
        ("apikey_2", "k"),
    ]);
    let reading = read(Path::new(MAIN), &variables, &InMemory::one(MAIN, file("generated-secret-options.conf")));
    let config = cloudwatch(&reading, 1);
    assert_eq!(config.extra_user_agent.as_deref(), Some("agent-x"));
    assert_eq!(config.group.as_deref(), Some("/ecs/web"));
    assert_eq!(config.stream_prefix.as_deref(), Some("ip-10-0-0-1/"));
    assert_eq!(config.role_arn.as_deref(), Some("arn:aws:iam::1:role/x"));
    assert_eq!(config.region, None);
    insta::assert_snapshot!(report(&reading), @r#"
    loss: /fluent-bit/etc/fluent-bit.conf:38 [OUTPUT] datadog: output `datadog` is not supported by this version; its records are counted as lost (`output_not_supported`)
    warning: /fluent-bit/etc/fluent-bit.conf:35 [OUTPUT]: the variable `AWS_REGION` is not set; the option counts as not given
    "#);
}

#[test]
fn any_indentation_case_and_line_end_is_read() {
    let reading = read_text(file("mixed-style.conf"));
    assert_eq!(report(&reading), "");
    let config = cloudwatch(&reading, 0);
    assert_eq!(config.group.as_deref(), Some("/from/set"));
    assert_eq!(config.stream.as_deref(), Some("s # not a comment"));
    assert_eq!(config.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.retry_limit, RetryLimit::Unlimited);
}

#[test]
fn every_mistake_of_a_file_is_in_one_report() {
    let reading = read_text(file("many-mistakes.conf"));
    insta::assert_snapshot!(report(&reading), @r#"
    error: /fluent-bit/etc/fluent-bit.conf:1: the line stands in no section; write for example `[SERVICE]` above it
    error: /fluent-bit/etc/fluent-bit.conf:2: cannot include `/missing.conf`: there is no such file; put the file there, or remove the `@INCLUDE`
    error: /fluent-bit/etc/fluent-bit.conf:3: `@INCLUDE` without a path; write `@INCLUDE path`
    error: /fluent-bit/etc/fluent-bit.conf:4: `@SET` without a name and a value; write `@SET name=value`
    error: /fluent-bit/etc/fluent-bit.conf:6: the section's header is broken; write for example `[OUTPUT]`
    error: /fluent-bit/etc/fluent-bit.conf:44: `auto_create_group` has no value; give it one, or remove the line
    error: /fluent-bit/etc/fluent-bit.conf:8 [INPUT]: has no `Name`; name the plugin, for example `Name forward`
    error: /fluent-bit/etc/fluent-bit.conf:12 [INPUT] forward port: `99999` is not a port; write a number from 1 to 65535
    error: /fluent-bit/etc/fluent-bit.conf:13 [INPUT] forward unix_perm: `999` is not an octal permission; write for example `0660`
    error: /fluent-bit/etc/fluent-bit.conf:14 [INPUT] forward security.users: needs a name and a password; write `security.users name password`
    error: /fluent-bit/etc/fluent-bit.conf:14 [INPUT] forward security.users: users are checked in the handshake only, and there is none without a key; give `shared_key` too
    error: /fluent-bit/etc/fluent-bit.conf:24 [FILTER] grep regex: needs a key and a regular expression; write for example `Regex log error`
    error: /fluent-bit/etc/fluent-bit.conf:30 [FILTER] record_modifier allowlist_key: cannot stand beside `remove_key`; use one of the two
    error: /fluent-bit/etc/fluent-bit.conf:35 [OUTPUT] cloudwatch_logs: has no `log_group_name`; name the log group
    error: /fluent-bit/etc/fluent-bit.conf:35 [OUTPUT] cloudwatch_logs: has neither `log_stream_name` nor `log_stream_prefix`; give one of the two
    error: /fluent-bit/etc/fluent-bit.conf:47 [OUTPUT] cloudwatch_logs match_regex: `(` is not a regular expression we can read; use `Match` with `*`, or a simpler expression
    error: /fluent-bit/etc/fluent-bit.conf:52 [OUTPUT] cloudwatch_logs port: `http` is not a port; write a number from 1 to 65535
    error: /fluent-bit/etc/fluent-bit.conf:45 [OUTPUT] cloudwatch_logs: has both `log_stream_name` and `log_stream_prefix`; give one of the two
    loss: /fluent-bit/etc/fluent-bit.conf:53 [OUTPUT] splunk: output `splunk` is not supported by this version; its records are counted as lost (`output_not_supported`)
    warning: /fluent-bit/etc/fluent-bit.conf:5: `@WHAT` is not a directive; it is ignored
    warning: /fluent-bit/etc/fluent-bit.conf:15 [INPUT] tail: input `tail` is not supported by this version; it is not opened; `forward` and `tcp` are
    warning: /fluent-bit/etc/fluent-bit.conf:20 [INPUT] tcp format: `hex` is not supported by this version; the input is not opened; `json` and `none` are supported
    warning: /fluent-bit/etc/fluent-bit.conf:25 [FILTER] grep logical_op: `XOR` is not known; write `legacy`, `AND` or `OR`; it counts as `legacy`
    warning: /fluent-bit/etc/fluent-bit.conf:26 [FILTER] record_modifier: has no `Match`; no record ever gets here; write for example `Match *`
    warning: /fluent-bit/etc/fluent-bit.conf:28 [FILTER] record_modifier record: needs a key and a value; write `Record key value`; it is ignored
    warning: /fluent-bit/etc/fluent-bit.conf:31 [FILTER] lua: filter `lua` is not supported by this version; records pass unchanged
    warning: /fluent-bit/etc/fluent-bit.conf:40 [OUTPUT] cloudwatch_logs log_retention_days: `8` is not a retention that CloudWatch Logs knows; a group we create keeps events for ever; write for example `30`
    warning: /fluent-bit/etc/fluent-bit.conf:41 [OUTPUT] cloudwatch_logs retry_limit: is less than 1; it counts as 1; `no_retries` means never
    warning: /fluent-bit/etc/fluent-bit.conf:42 [OUTPUT] cloudwatch_logs workers: `99` is not between 1 and 32; it counts as not given
    warning: /fluent-bit/etc/fluent-bit.conf:43 [OUTPUT] cloudwatch_logs tls: `perhaps` is neither on nor off; write `on` or `off`; it counts as not given
    warning: /fluent-bit/etc/fluent-bit.conf:39 [OUTPUT] cloudwatch_logs: `log_grup_name` is not an option that is known; did you mean `log_group_name`? It is ignored
    warning: /fluent-bit/etc/fluent-bit.conf:57 [PARSER]: sections of this kind are not supported by this version; it is not read
    "#);
}

/// A value out of a variable may be a secret: whatever is wrong with it, the report names the option only.
#[test]
fn no_problem_shows_a_value_that_came_out_of_a_variable() {
    let variables = with(&[("S", "hunter2 hunter2")]);
    let keys = [
        "Name",
        "Match",
        "Match_Regex",
        "Listen",
        "Port",
        "unix_perm",
        "Mem_Buf_Limit",
        "buffer_max_size",
        "Regex",
        "Exclude",
        "Logical_Op",
        "Record",
        "log_retention_days",
        "retry_limit",
        "workers",
        "tls",
        "endpoint",
        "port",
        "log_group_class",
        "new_log_group_tags",
        "Format",
        "log_level",
        "http_server",
        "shared_key",
        "security.users",
        "storage.type",
        "storage.path",
        "storage.sync",
        "storage.total_limit_size",
        "empty_shared_key",
        "nonsense",
    ];
    for head in [
        "[SERVICE]",
        "[INPUT]\nName forward",
        "[INPUT]\nName tcp",
        "[FILTER]\nName grep",
        "[OUTPUT]\nName cloudwatch_logs",
        "[OUTPUT]\nName cloudwatch",
        "[OUTPUT]\nName null",
        "[OUTPUT]\nName splunk",
    ] {
        for key in keys {
            for value in ["${S}", "(${S}", "a${S}"] {
                let text = format!("{head}\n{key} {value}\n");
                let reading = read(Path::new(MAIN), &variables, &InMemory::one(MAIN, text.clone()));
                assert!(!report(&reading).contains("hunter2"), "{text}\n{}", report(&reading));
            }
        }
    }
}

/// What a file with these lines in `[SERVICE]`, its input and its output asks for, and what is said about it.
fn storage(service: &str, input: &str, output: &str) -> (Option<(PathBuf, String)>, Option<ByteSize>, String) {
    let text = format!(
        "[SERVICE]\nFlush 1\n{service}\n[INPUT]\nName forward\n{input}\n[OUTPUT]\nName cloudwatch_logs\nMatch *\n\
         log_group_name g\nlog_stream_name s\n{output}\n"
    );
    let reading = read_text(text);
    let mut problems = Problems::default();
    problems.extend(reading.problems);
    let wanted = reading.storage.settle(false, &mut problems).map(|wanted| (wanted.path, wanted.place));
    let told = problems.into_sorted().iter().map(|problem| format!("{problem}\n")).collect();
    (wanted, reading.logs.outputs[0].spool_bytes_max, told)
}

#[test]
fn a_path_and_an_input_that_uses_it_turn_the_spool_on_beside_fluent_bits_chunks() {
    let on = Some(("/data/flb/pillion".into(), format!("{MAIN}:3 [SERVICE] storage.path")));
    for (service, input, wanted) in [
        ("storage.path /data/flb", "storage.type filesystem", on.clone()),
        ("Storage.Path /data/flb/", "Storage.Type Filesystem", on.clone()),
        ("storage.path /data/flb\nstorage.inherit on\nstorage.type filesystem", "", on.clone()),
        ("storage.path /data/flb\nstorage.type filesystem", "", None),
        ("storage.path /data/flb\nstorage.inherit on\nstorage.type filesystem", "storage.type memory", None),
        ("storage.path /data/flb", "storage.type memrb", None),
        ("storage.path /data/flb", "", None),
        ("", "storage.type filesystem", None),
        ("", "storage.type memory", None),
        ("", "", None),
    ] {
        assert_eq!(storage(service, input, "").0, wanted, "{service} {input}");
    }
    let told = |service: &str, input: &str| storage(service, input, "").2;
    assert_eq!(told("storage.path /data", "storage.type filesystem"), "");
    assert_eq!(told("", "storage.type memory\nstorage.pause_on_chunks_overlimit off"), "");
    insta::assert_snapshot!(told("storage.path /data", ""), @"warning: /fluent-bit/etc/fluent-bit.conf:3 [SERVICE] storage.path: has no effect, since no input that is opened has `storage.type filesystem`; records are kept in memory only; write that at an input, or set `PILLION__SPOOL__PATH`");
    insta::assert_snapshot!(told("", "storage.type filesystem"), @"warning: /fluent-bit/etc/fluent-bit.conf:6 [INPUT] forward storage.type: has no effect without `storage.path` in [SERVICE]; records are kept in memory only; name a folder there, or set `PILLION__SPOOL__PATH`");
    insta::assert_snapshot!(told("storage.path /data", "storage.type disk"), @"
    warning: /fluent-bit/etc/fluent-bit.conf:6 [INPUT] forward storage.type: `disk` is not a type of storage; write `filesystem` or `memory`; it counts as `memory`
    warning: /fluent-bit/etc/fluent-bit.conf:3 [SERVICE] storage.path: has no effect, since no input that is opened has `storage.type filesystem`; records are kept in memory only; write that at an input, or set `PILLION__SPOOL__PATH`
    ");
}

#[test]
fn an_output_has_the_part_of_the_disk_that_it_asks_for() {
    for (line, bytes, problems) in [
        ("", None, 0),
        ("storage.total_limit_size 500M", Some(ByteSize(500_000_000)), 0),
        ("storage.total_limit_size off", None, 0),
        ("storage.total_limit_size False", None, 0),
        ("storage.total_limit_size 0", None, 0),
        ("storage.total_limit_size 5M", Some(ByteSize::mebibytes(16)), 1),
        ("storage.total_limit_size plenty", None, 1),
        ("storage.total_limit_size 99999999999999999999G", None, 1),
    ] {
        let (_, got, told) = storage("storage.path /data", "storage.type filesystem", line);
        assert_eq!((got, told.lines().count()), (bytes, problems), "{line}: {told}");
    }
    insta::assert_snapshot!(storage("storage.path /data", "storage.type filesystem", "storage.total_limit_size 5M").2, @"warning: /fluent-bit/etc/fluent-bit.conf:12 [OUTPUT] cloudwatch_logs storage.total_limit_size: `5M` is less than 16 MiB; it counts as 16 MiB, the smallest spool of an output");
    assert_eq!(storage("", "", "storage.total_limit_size 5M").2, "", "without a spool nobody needs to know");
}

#[test]
fn what_a_spool_of_ours_does_not_need_or_have_says_why() {
    let service = "storage.path /data\nstorage.sync full\nstorage.checksum off\nstorage.max_chunks_up 64\n\
                   storage.backlog.mem_limit 5M\nstorage.metrics on\nstorage.trim_files on";
    let (wanted, _, told) = storage(service, "storage.type filesystem\nstorage.pause_on_chunks_overlimit on", "");
    assert!(wanted.is_some());
    insta::assert_snapshot!(told, @"
    warning: /fluent-bit/etc/fluent-bit.conf:4 [SERVICE] storage.sync: needs nothing; what is on disk counts as kept only when it is synced
    warning: /fluent-bit/etc/fluent-bit.conf:5 [SERVICE] storage.checksum: needs nothing; every entry on disk has a checksum
    warning: /fluent-bit/etc/fluent-bit.conf:6 [SERVICE] storage.max_chunks_up: has no effect; one number bounds the memory of all records, and what is beyond it goes to disk; see `PILLION__MEMORY`
    warning: /fluent-bit/etc/fluent-bit.conf:7 [SERVICE] storage.backlog.mem_limit: has no effect; what is read back from disk has a part of that output's memory for itself
    warning: /fluent-bit/etc/fluent-bit.conf:13 [INPUT] forward storage.pause_on_chunks_overlimit: has no effect; reading never pauses: what memory does not hold goes to disk, and what the disk does not hold is given up and counted
    ");
}

/// A private key that was pasted with its line ends becomes lines of the file. None of them is shown.
#[test]
fn lines_of_a_value_that_went_astray_are_not_shown() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let text = format!("[OUTPUT]\nName null\nMatch *\nkey -----BEGIN\n{line}\n{line} x\n@{line}\n[{line}]\n");
    let reading = read_text(text);
    assert_eq!(errors(&reading).len(), 1);
    assert!(!report(&reading).contains("MIIE"), "{}", report(&reading));
}

#[test]
fn options_mean_what_they_mean_to_fluent_bit() {
    let output = |lines: &str| {
        read_text(format!("[OUTPUT]\nName cloudwatch_logs\nMatch *\nlog_group_name g\nlog_stream_name s\n{lines}\n"))
    };
    for (line, limit, problems) in [
        ("", RetryLimit::Unlimited, 0),
        ("Retry_Limit 3", RetryLimit::AtLeast(3), 0),
        ("Retry_Limit no_limits", RetryLimit::Unlimited, 0),
        ("retry_limit False", RetryLimit::Unlimited, 0),
        ("retry_limit off", RetryLimit::Unlimited, 0),
        ("retry_limit no_retries", RetryLimit::None, 0),
        ("retry_limit 0", RetryLimit::AtLeast(1), 1),
        ("retry_limit -5", RetryLimit::AtLeast(1), 1),
        ("retry_limit many", RetryLimit::Unlimited, 1),
        ("retry_limit 99999999999", RetryLimit::AtLeast(u32::MAX), 0),
    ] {
        let reading = output(line);
        assert_eq!((cloudwatch(&reading, 0).retry_limit, reading.problems.len()), (limit, problems), "{line}");
    }
    for (lines, url) in [
        ("endpoint logs.local", Some("https://logs.local")),
        ("endpoint https://logs.local/", Some("https://logs.local")),
        ("endpoint http://logs.local", Some("http://logs.local")),
        ("endpoint 127.0.0.1\nport 5000\ntls off", Some("http://127.0.0.1:5000")),
        ("endpoint https://127.0.0.1\nport 5000\ntls Off", Some("http://127.0.0.1:5000")),
        ("port 443", None),
    ] {
        assert_eq!(cloudwatch(&output(lines), 0).endpoint.as_deref(), url, "{lines}");
    }
    for (line, days) in
        [("log_retention_days 30", Some(30)), ("log_retention_days 0", None), ("log_retention_days 8", None)]
    {
        assert_eq!(cloudwatch(&output(line), 0).retention_days, days, "{line}");
    }
    for harmless in [
        "workers 2",
        "net.keepalive off",
        "tls.verify on",
        "storage.total_limit_size 5M",
        "mode blocking",
        "log_level debug",
        "auto_retry_requests true",
        "log-driver-buffer-limit 1",
        "max-buffer-size 10m",
    ] {
        assert_eq!(report(&output(harmless)), "", "{harmless}");
    }
    assert_eq!(output("Alias main").logs.outputs[0].name.as_deref(), Some("main"));
}

/// Once such a filter was left out at run time, with a line in the log, and `check` said that all was well.
#[test]
fn what_a_job_could_not_be_built_of_is_a_mistake_of_the_file() {
    let text = "[FILTER]\nName grep\nMatch *\nExclude log (open\nRegex $a['b x\nRegex log ${SECRET}\n\
        [FILTER]\nName grep\nMatch *\nLogical_Op AND\nRegex a b\nExclude a c\n\
        [FILTER]\nName record_modifier\nMatch *\nUuid_Key id\n\
        [OUTPUT]\nName cloudwatch_logs\nMatch *\nlog_group_name g\nlog_stream_name s\nlog_group_template $a['b\n\
        [OUTPUT]\nName cloudwatch\nMatch *\nlog_group_name $(open\nlog_stream_name s\n";
    let reading = read(Path::new("/f.conf"), &with(&[("SECRET", "(hunter2")]), &InMemory::one("/f.conf", text));
    insta::assert_snapshot!(report(&reading), @r#"
    error: /f.conf:17 [OUTPUT] cloudwatch_logs: has a name that cannot be filled in; write `$field`, `$field['sub']`, `$TAG[n]` in templates, `$(field)` for `cloudwatch`
    error: /f.conf:23 [OUTPUT] cloudwatch: has a name that cannot be filled in; write `$field`, `$field['sub']`, `$TAG[n]` in templates, `$(field)` for `cloudwatch`
    warning: /f.conf:4 [FILTER] grep exclude: a `(` has no `)`; the whole filter is left out, and records pass it unchanged
    warning: /f.conf:5 [FILTER] grep regex: `$a['b` does not name a field; write `name`, `$name['key']['key']` or `$name['key'][0]`; the whole filter is left out, and records pass it unchanged
    warning: /f.conf:6 [FILTER] grep regex: the value of its variable cannot be read; the whole filter is left out, and records pass it unchanged
    warning: /f.conf:7 [FILTER] grep: with the logical_op AND or OR all rules must be `regex`, or all `exclude`; the whole filter is left out, and records pass it unchanged
    "#);
    assert!(!report(&reading).contains("hunter2"));
}

#[test]
fn quoted_records_and_quoted_regular_expressions_are_told_apart() {
    let reading = read_text(
        "[FILTER]\nName record_modifier\nMatch *\nRecord \"a b\" \"c d\"\nRecord e f g\nWhitelist_key k\n\
         [FILTER]\nName grep\nMatch_Regex ^a$\nRegex log \"x\"\nExclude $k['s'] ^y z$\n",
    );
    assert_eq!(report(&reading), "");
    let [Filter::RecordModifier(modifier), Filter::Grep(grep)] = &reading.logs.filters[..] else {
        panic!("{:?}", reading.logs.filters)
    };
    let records: Vec<_> = modifier.records.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(records, [("a b", "c d"), ("e", "f g")]);
    assert_eq!(modifier.allowlist_keys, ["k"]);
    let [Rule::Regex { regex, .. }, Rule::Exclude { key, .. }] = &grep.rules[..] else { panic!("{:?}", grep.rules) };
    assert_eq!((regex.as_str(), key.as_str()), ("\"x\"", "$k['s']"));
    assert!(grep.pattern.fits("x\na") && !grep.pattern.fits("ab"));
}

#[test]
fn users_without_a_key_do_not_start() {
    let forward = |lines: &str| read_text(format!("[INPUT]\nName forward\n{lines}\n"));
    let open = forward("security.users alice secret");
    assert_eq!(errors(&open).len(), 1);
    assert!(!report(&open).contains("secret"));
    for lines in ["shared_key k\nsecurity.users alice secret", "empty_shared_key on\nsecurity.users alice secret"] {
        let reading = forward(lines);
        assert_eq!(report(&reading), "");
        let Input::Forward(input) = &reading.logs.inputs[0] else { panic!("{:?}", reading.logs.inputs) };
        assert_eq!((input.users[0].name.as_str(), input.users[0].password.expose()), ("alice", "secret"));
        assert!(input.shared_key.is_some());
    }
}

/// As AWS's examples have it for the embedded metric format.
#[test]
fn lines_over_tcp_are_taken_as_documents() {
    let text = "[INPUT]\nName tcp\nTag emf-a\nListen 0.0.0.0\nPort 25888\nChunk_Size 32\nBuffer_Size 64\nFormat none\n";
    let reading = read_text(text);
    insta::assert_snapshot!(summary(&reading), @"emf At(0.0.0.0:25888) Off tag=emf-a Output");
    assert_eq!(report(&reading), "");
    for (separator, opened) in [("\\n", 1), ("|", 0)] {
        let reading = read_text(format!("{text}Separator {separator}\n"));
        assert_eq!((reading.logs.inputs.len(), reading.problems.len()), (opened, 1 - opened), "{separator}");
    }
}

#[test]
fn an_input_that_asks_for_tls_is_not_opened_without() {
    let reading = read_text("[INPUT]\nName forward\ntls on\ntls.crt_file /x\n");
    assert!(reading.logs.inputs.is_empty());
    assert_eq!(reading.problems.len(), 1);
}

#[test]
fn includes_are_found_beside_the_including_file_and_by_star() {
    let files = InMemory::one("/etc/a.conf", "@INCLUDE sub/*.conf\n@include ${F}\n")
        .and("/etc/sub/2.conf", "@INCLUDE more.conf\n")
        .and("/etc/sub/1.conf", "[INPUT]\nName tcp\nTag one\n")
        .and("/etc/sub/.hidden.conf", "nonsense")
        .and("/etc/sub/more.conf", "[INPUT]\nName tcp\nTag two\n@INCLUDE last.conf\nPort 9\n")
        .and("/etc/last.conf", "[SERVICE]\nflush 1\n")
        .and("/etc/f.conf", "[INPUT]\nName tcp\nTag three\n");
    let reading = read(Path::new("/etc/a.conf"), &with(&[("F", "f.conf")]), &files);
    // `more.conf` fits the star too, after `2.conf` has included it.
    insta::assert_snapshot!(report(&reading), @r#"error: /etc/a.conf:1: `/etc/sub/more.conf` is included twice; include it once"#);
    insta::assert_snapshot!(summary(&reading), @r#"
    json 0.0.0.0:5170 tag=one
    json 0.0.0.0:9 tag=two
    json 0.0.0.0:5170 tag=three
    "#);
}

#[test]
fn what_cannot_be_included_says_where_it_was_asked_for() {
    let files = InMemory::one(
        MAIN,
        "@INCLUDE a.conf\n@INCLUDE gone.conf\n@INCLUDE no*\n@INCLUDE /ecs/cloudwatch.conf\n\
        @INCLUDE /fluent-bit/configs/minimize-log-loss.conf\n@INCLUDE ${UNSET}\n",
    )
    .and("/fluent-bit/etc/a.conf", "\n@INCLUDE b.conf")
    .and("/fluent-bit/etc/b.conf", "@INCLUDE a.conf\n@INCLUDE ./b.conf\n@INCLUDE fluent-bit.conf");
    let reading = read(Path::new(MAIN), &BTreeMap::new(), &files);
    insta::assert_snapshot!(report(&reading), @r#"
    error: /fluent-bit/etc/b.conf:1: `/fluent-bit/etc/a.conf` is included twice; include it once
    error: /fluent-bit/etc/b.conf:2: `/fluent-bit/etc/./b.conf` is included twice; include it once
    error: /fluent-bit/etc/b.conf:3: `/fluent-bit/etc/fluent-bit.conf` is included twice; include it once
    error: /fluent-bit/etc/fluent-bit.conf:2: cannot include `/fluent-bit/etc/gone.conf`: there is no such file; put the file there, or remove the `@INCLUDE`
    error: /fluent-bit/etc/fluent-bit.conf:3: no file fits `no*`; remove the `@INCLUDE`, or put a file there
    error: /fluent-bit/etc/fluent-bit.conf:6: `@INCLUDE` without a path; write `@INCLUDE path`
    warning: /fluent-bit/etc/fluent-bit.conf:4: the built-in `/ecs/cloudwatch.conf` is not supported by this version; it is left out
    warning: /fluent-bit/etc/fluent-bit.conf:6: the variable `UNSET` is not set; it counts as empty
    "#);
    let missing = read(Path::new("/gone.conf"), &BTreeMap::new(), &files);
    insta::assert_snapshot!(report(&missing), @"error: /gone.conf: cannot be read: there is no such file; give the path of a Fluent Bit configuration");
}

/// A chain of includes longer than the limit ends, and so does a folder of more files than the limit.
#[test]
fn includes_are_bounded_by_depth_and_number() {
    let mut files = InMemory::default();
    for n in 0..100 {
        files = files.and(format!("/c/{n}.conf"), format!("@INCLUDE {}.conf", n + 1));
    }
    let reading = read(Path::new("/c/0.conf"), &BTreeMap::new(), &files);
    assert_eq!(errors(&reading), ["error: /c/32.conf:1: includes are nested deeper than 32; include less"]);
    let mut files = InMemory::one("/main.conf", "@INCLUDE many/*");
    for n in 0..1_100 {
        files = files.and(format!("/many/{n}"), "");
    }
    let reading = read(Path::new("/main.conf"), &BTreeMap::new(), &files);
    assert_eq!(errors(&reading), ["error: /main.conf:1: more than 1000 files are included; include less"]);
}

/// What a hostile or broken file comes to. The answer is a problem or a value, never a panic or a long wait.
#[test]
#[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
fn hostile_files_are_answered_quickly() {
    let long = "x".repeat(1 << 20);
    let started = Instant::now();
    for (name, text, first) in [
        ("empty", String::new(), ""),
        ("NUL", "[OUTPUT]\nName nu\0ll\nMatch *\n".into(), "error: /f:2: the line holds a NUL byte; remove it"),
        ("long value", format!("[SERVICE]\nflush {long}\n"), ""),
        (
            "long key",
            format!("[SERVICE]\n{long} 1\n"),
            "warning: /f:2 [SERVICE]: `(not a name)` is not an option that is known; it is ignored",
        ),
        (
            "long line without end",
            long.clone(),
            "error: /f:1: `(not a name)` has no value; give it one, or remove the line",
        ),
        (
            "long header",
            format!("[{long}]\n"),
            "warning: /f:1 [(not a name)]: sections of this kind are not supported by this version; it is not read",
        ),
        ("open variable", "[OUTPUT]\nName null\nMatch ${\n".into(), ""),
        (
            "many headers",
            "[OUTPUT]\n".repeat(10_000),
            "error: /f:1 [OUTPUT]: has no `Name`; name the plugin, for example `Name forward`",
        ),
        (
            "garbage",
            "\u{1b}[31m\u{7f} \u{202e}x\n".repeat(10_000),
            "error: /f:1: the line stands in no section; write for example `[SERVICE]` above it",
        ),
        (
            "negative size",
            "[INPUT]\nName forward\nMem_Buf_Limit -1MB\n".into(),
            "warning: /f:3 [INPUT] forward mem_buf_limit: `-1MB` is not a size; write for example `25MB`; it counts as not given",
        ),
        (
            "huge size",
            "[INPUT]\nName forward\nMem_Buf_Limit 1e9GB\n".into(),
            "warning: /f:3 [INPUT] forward mem_buf_limit: `1e9GB` is not a size; write for example `25MB`; it counts as not given",
        ),
        (
            "foreign digits",
            "[INPUT]\nName forward\nPort ٣٣\n".into(),
            "error: /f:3 [INPUT] forward port: `٣٣` is not a port; write a number from 1 to 65535",
        ),
        (
            "twice",
            "[INPUT]\nName forward\nPort 1\nport 2\n".into(),
            "warning: /f:3 [INPUT] forward port: is given again further down; only the last one counts",
        ),
        ("stars", format!("[OUTPUT]\nName null\nMatch {}\n", "*a".repeat(10_000)), ""),
        (
            "nested regex",
            format!("[OUTPUT]\nName null\nMatch_Regex {}\n", "(".repeat(10_000)),
            "error: /f:3 [OUTPUT] null match_regex: `((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((…` is not a regular expression we can read; use `Match` with `*`, or a simpler expression",
        ),
        (
            "huge regex",
            "[OUTPUT]\nName null\nMatch_Regex a{9999}{9999}\n".into(),
            "error: /f:3 [OUTPUT] null match_regex: `a{9999}{9999}` is not a regular expression we can read; use `Match` with `*`, or a simpler expression",
        ),
    ] {
        let reading = read(Path::new("/f"), &BTreeMap::new(), &InMemory::one("/f", text));
        let got = reading.problems.first().map(ToString::to_string).unwrap_or_default();
        assert_eq!(got, first, "{name}");
    }
    let latin1 = read(Path::new("/f"), &BTreeMap::new(), &InMemory::one("/f", *b"# caf\xe9\n[SERVICE]\nflush \xe9\n"));
    assert_eq!(report(&latin1), "warning: /f:3: the line is not UTF-8; the bytes that are not are replaced\n");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// All files of the corpus, as the fuzz target reads them.
#[test]
fn the_corpus_is_read_without_a_panic() {
    let mut read_files = 0;
    for entry in std::fs::read_dir(testdata()).expect("the folder exists") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|ending| ending == "conf") {
            let bytes = std::fs::read(&path).expect("the file can be read");
            let reading = read_text(bytes.clone());
            assert!(reading.problems.len() <= 202);
            // Any prefix too: a file that is being written.
            for end in 0..bytes.len() {
                read_text(&bytes[..end]);
            }
            read_files += 1;
        }
    }
    assert!(read_files >= 7, "only {read_files} files");
}

proptest! {
    /// A real file with some bytes changed gets deeper than bytes by chance.
    #[test]
    fn property_a_damaged_file_is_read_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = include_bytes!("../../testdata/fluentbit/generated-bridge-ec2-s3-patterns.conf").to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(read_text(bytes).problems.len() <= 202);
    }

    #[test]
    fn property_any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(read_text(bytes).problems.len() <= 202);
    }

    #[test]
    fn property_any_lines_are_read_without_a_panic(
        lines in prop::collection::vec("(\\[[A-Z]{0,6}\\]|@INCLUDE|@SET|[ \t]*[a-zA-Z_.]{1,12}|\\$\\{[A-Z]*\\}?)[ \t=*$\\{\\}\"a-z0-9]{0,20}", 0..40)
    ) {
        prop_assert!(read_text(lines.join("\n")).problems.len() <= 202);
    }
}
