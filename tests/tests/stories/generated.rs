//! The configuration that ECS generates, as it generates it: its greps, its metadata, its health-check input, secrets in
//! `${...}`, an included file, outputs of several containers.
//!
//! Promises: but for paths and ports, which must be free here, the file is the one of the ECS agent's own example.
//! Never: asks for options that ECS does not write.

use std::{io::Write, net::TcpStream};

use tests::{agent::Setup, fake_aws::FakeAws, forward_client::Time, forward_client::message};

use crate::story::{SOON, Story, connect_tcp, record};

const TASK: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn file(aws: u16, forward: u16, health: u16) -> String {
    format!(
        "
[INPUT]
    Name forward
    Mem_Buf_Limit 50MB
    unix_path {{socket}}

[INPUT]
    Name forward
    Listen 127.0.0.1
    Port {forward}

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port {health}

[FILTER]
    Name   grep
    Match container-firelens*
    Regex  log failure

[FILTER]
    Name   grep
    Match container-firelens*
    Exclude log success

[FILTER]
    Name record_modifier
    Match *
    Record ec2_instance_id i-123456789a
    Record ecs_cluster mycluster
    Record ecs_task_arn arn:aws:ecs:us-east-1:123456789012:task/mycluster/{TASK}
    Record ecs_task_definition taskdefinition:1

@INCLUDE {{folder}}/external.conf

[OUTPUT]
    Name null
    Match firelens-healthcheck

[OUTPUT]
    Name kinesis_firehose
    Match firehose-firelens*
    deliver_stream_name my-stream
    region us-west-2

[OUTPUT]
    Name cloudwatch_logs
    Match container-firelens*
    auto_create_group true
    endpoint 127.0.0.1
    log_group_name ${{log_group_name_0}}
    log_stream_prefix ${{secret_0}}
    mode non-blocking
    port {aws}
    region us-east-1
    tls off

[OUTPUT]
    Name cloudwatch_logs
    Match other-firelens*
    auto_create_group true
    endpoint 127.0.0.1
    log_group_name ${{a.b-c@d_1}}
    log_key log
    log_stream_prefix x-
    port {aws}
    region us-east-1
    tls off
"
    )
}

#[test]
fn the_file_that_ecs_generates_does_what_it_says() {
    let aws = FakeAws::start();
    let (forward, health) = (tests::agent::free_address().unwrap(), tests::agent::free_address().unwrap());
    let external = "[SERVICE]\n    Flush 1\n    Grace 30\n\n[FILTER]\n    Name record_modifier\n    Match other*\n    \
                    Remove_key noise\n";
    let setup = Setup::classic(file(aws.port(), forward.port(), health.port()))
        .with_file("external.conf", external)
        .with("log_group_name_0", "group-of-secret")
        .with("secret_0", "s3cr3t-")
        .with("a.b-c@d_1", "/other");
    let story = Story::with(aws, &setup);
    let mut unix = story.connect();
    let mut tcp = connect_tcp(forward);
    let tag = format!("container-firelens-{TASK}");
    for (number, log) in
        ["failure 0", "success", "a failure, then success", "nothing", "my failure 1"].into_iter().enumerate()
    {
        let client = if number % 2 == 0 { &mut unix } else { &mut tcp };
        client.line(&tag, log).unwrap();
    }
    tcp.line(&format!("other-firelens-{TASK}"), "of another container").unwrap();
    tcp.line(&format!("firehose-firelens-{TASK}"), "lost").unwrap();
    tcp.line(&format!("unknown-firelens-{TASK}"), "for nobody").unwrap();
    // What ECS' own health check says, as `nc` sends it.
    let mut probe = TcpStream::connect(health).unwrap();
    probe.write_all(b"{\"health\": \"check\"}\n").unwrap();
    drop(probe);

    // The health check's record is delivered to nowhere, as asked.
    let total = story.settled(5);
    assert_eq!((total.delivered, total.lost["output_not_supported"]), (4, 1));
    assert_eq!(story.aws.count(), 3);
    let mut messages = story.aws.messages("group-of-secret", &format!("s3cr3t-{tag}"));
    messages.sort();
    let logs: Vec<_> = messages.iter().map(|message| record(message)["log"].as_str().unwrap().to_owned()).collect();
    assert_eq!(logs, ["failure 0", "my failure 1"]);
    let first = record(&messages[0]);
    let fields = [
        ("ec2_instance_id", "i-123456789a"),
        ("ecs_cluster", "mycluster"),
        ("ecs_task_definition", "taskdefinition:1"),
        ("source", "stdout"),
    ];
    for (key, value) in fields {
        assert_eq!(first[key], value);
    }
    assert!(
        messages[0].ends_with(&format!(
            r#""ecs_cluster":"mycluster","ecs_task_arn":"arn:aws:ecs:us-east-1:123456789012:task/mycluster/{TASK}","ecs_task_definition":"taskdefinition:1"}}"#
        )),
        "{}",
        messages[0]
    );
    assert_eq!(story.aws.messages("/other", &format!("x-other-firelens-{TASK}")), ["of another container"]);

    story.agent.wait_for_metrics(SOON, "the health check's record", |metrics| {
        metrics.sum("pillion_logs_received_records_total", &[("input", "json.2")]) == 1.0
    });
    let metrics = story.agent.metrics();
    assert_eq!(metrics.sum("pillion_logs_filtered_records_total", &[("container", "container")]), 3.0);
    assert_eq!(metrics.sum("pillion_logs_unrouted_records_total", &[("container", "unknown")]), 1.0);
    // Half of the container's memory, as ECS' own line says.
    assert_eq!(story.agent.status()["memory"]["limit_bytes"], 50_000_000);
    story.aws.assert_no_violations();
    let ended = story.agent.stop(SOON);
    ended.assert_clean();
    assert!(!ended.log.contains("s3cr3t"), "a secret is in the log:\n{}", ended.log);
}

/// The example in ECS' documentation has a pattern that begins with `*`, which is no regular expression in Ruby either.
/// A task that starts with it must go on starting.
#[test]
fn the_patterns_of_the_ecs_example_do_not_keep_a_task_from_starting() {
    let aws = FakeAws::start();
    let (forward, health) = (tests::agent::free_address().unwrap(), tests::agent::free_address().unwrap());
    let file = file(aws.port(), forward.port(), health.port())
        .replace("log failure", "log *failure*")
        .replace("log success", "log *success*");
    let setup = Setup::classic(file)
        .with_file("external.conf", "")
        .with("log_group_name_0", "g")
        .with("secret_0", "s-")
        .with("a.b-c@d_1", "/other");
    let story = Story::with(aws, &setup);
    story.connect().send(&message("other-firelens-1", Time::now(), &[("log", b"x")], None)).unwrap();
    story.settled(1);
    story.end();
}
