//! From a container's line to an event, while all is well.
//!
//! Promises: every record arrives whole, once and in order, under the names that the configuration gives.
//! Never: disturbs the service; `faults` does.

use std::{collections::BTreeMap, thread};

use tests::{
    agent::Setup,
    fake_aws::FakeAws,
    forward_client::{Time, docker_line, docker_part, message},
};

use crate::story::{FIRELENS, SOON, Story, WEB, WEB_STREAM, line, logs, output, record};

/// A fixed second of today, so that the times of a story are within CloudWatch's window.
fn noon() -> u32 {
    match Time::now() {
        Time::Event(seconds, _) => seconds - 60,
        Time::Seconds(seconds) => seconds as u32,
    }
}

#[test]
fn lines_of_several_containers_arrive_in_order_and_exactly_once() {
    const LINES: u32 = 700;
    let aws = FakeAws::start();
    let filter = "[FILTER]\n    Name record_modifier\n    Match *\n    Record ecs_cluster mycluster\n    \
                  Record ecs_task_definition web:7\n\n";
    let out = output(aws.port(), "*", "log_group_name g\nlog_stream_prefix s-");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{filter}{out}")));
    let start = noon();
    let containers = ["web", "worker", "proxy"];
    thread::scope(|scope| {
        for container in containers {
            let mut client = story.connect();
            scope.spawn(move || {
                let tag = format!("{container}-firelens-0123");
                for number in 0..LINES {
                    let source: &[u8] = if number % 3 == 0 { b"stderr" } else { b"stdout" };
                    let log = format!("{container} {number}");
                    let fields: [(&str, &[u8]); 4] = [
                        ("source", source),
                        ("log", log.as_bytes()),
                        ("container_id", b"5f1c"),
                        ("container_name", b"/ecs-app"),
                    ];
                    let time = Time::Event(start + number / 100, number % 100 * 10_000_000 + 123);
                    client.send(&message(&tag, time, &fields, Some(&Default::default()))).unwrap();
                }
            });
        }
    });
    let total = story.settled(3 * u64::from(LINES));
    assert_eq!(total.delivered, 3 * u64::from(LINES));
    for container in containers {
        let events = story.aws.events("g", &format!("s-{container}-firelens-0123"));
        assert_eq!(events.len(), LINES as usize, "{container}");
        for (number, event) in (0..LINES).zip(events) {
            let millisecond = i64::from(start) * 1_000 + i64::from(number) * 10;
            assert_eq!(event.timestamp_ms, millisecond, "{container} {number}");
            let source = if number % 3 == 0 { "stderr" } else { "stdout" };
            assert_eq!(
                event.message,
                format!(
                    r#"{{"source":"{source}","log":"{container} {number}","container_id":"5f1c","container_name":"/ecs-app","ecs_cluster":"mycluster","ecs_task_definition":"web:7"}}"#
                )
            );
        }
    }
    let accounts = story.agent.books();
    for container in containers {
        let account = &accounts.0[&("cloudwatch_logs.0".to_owned(), container.to_owned())];
        assert_eq!(account.delivered, u64::from(LINES), "{container}");
    }
    story.end();
}

#[test]
fn a_group_and_its_streams_are_created_once_with_the_retention() {
    let story = Story::begin("log_retention_days 30\nlog_group_class INFREQUENT_ACCESS");
    let mut client = story.connect();
    for round in 0..3 {
        for tag in 0..8 {
            client.line(&format!("c{tag}"), &format!("{round} {tag}")).unwrap();
        }
        story.settled((round + 1) * 8);
    }
    let group = &story.aws.groups()["bench"];
    assert_eq!((group.retention_days, group.class.as_deref()), (Some(30), Some("INFREQUENT_ACCESS")));
    assert_eq!(group.streams.len(), 8);
    let mut created = BTreeMap::new();
    for request in story.aws.requests() {
        *created.entry((request.operation, request.outcome)).or_insert(0) += 1;
    }
    let count = |operation: &str, outcome: &str| created.get(&(operation.into(), outcome.into())).copied();
    assert_eq!(count("CreateLogGroup", "200"), Some(1));
    assert_eq!(count("PutRetentionPolicy", "200"), Some(1));
    assert_eq!(count("CreateLogStream", "200"), Some(8));
    assert_eq!(count("CreateLogStream", "ResourceAlreadyExistsException"), None);
    assert_eq!(count("CreateLogGroup", "ResourceAlreadyExistsException"), None);
    story.end();
}

/// With `log_key` the message is the field as it was written: no quotes, no escapes, broken text mended.
#[test]
fn with_a_log_key_only_that_field_is_sent() {
    let story = Story::begin("log_key log");
    let mut client = story.connect();
    let now = Time::now();
    client.send(&docker_line(WEB, now, b"say \"hi\"\t\xe2\x82\xac \\o/ \x1b[31m")).unwrap();
    client.send(&docker_line(WEB, now, b"broken \xff\xfe text")).unwrap();
    client.send(&message(WEB, now, &[("other", b"x")], None)).unwrap();
    client.send(&docker_line(WEB, now, b"")).unwrap();
    let total = story.settled(4);
    assert_eq!((total.delivered, total.refused["key_missing"], total.refused["empty"]), (2, 1, 1));
    let expected = ["say \"hi\"\t\u{20ac} \\o/ \u{1b}[31m", "broken \u{fffd}\u{fffd} text"];
    assert_eq!(story.aws.messages("bench", WEB_STREAM), expected);
    story.end();
}

/// Docker cuts lines at 16 KiB; the parts stay parts, as with Fluent Bit without a multiline filter.
#[test]
fn the_parts_of_a_long_line_arrive_with_their_marks() {
    let story = Story::begin("");
    let mut client = story.connect();
    let part = "x".repeat(16 * 1024);
    let mut bytes = Vec::new();
    for ordinal in 1..=3 {
        bytes.extend(docker_part(WEB, Time::now(), part.as_bytes(), "id-1", ordinal, ordinal == 3));
    }
    client.send(&bytes).unwrap();
    story.settled(3);
    for (ordinal, message) in (1..).zip(story.aws.messages("bench", WEB_STREAM)) {
        let record = record(&message);
        assert_eq!(record["log"], part.as_str());
        assert_eq!(record["partial_ordinal"], ordinal.to_string());
        assert_eq!(record["partial_last"], (ordinal == 3).to_string());
    }
    story.end();
}

#[test]
fn names_are_made_of_the_record_and_its_tag() {
    let aws = FakeAws::start();
    let names = "log_group_name fallback\nlog_group_template /ecs/$cluster\nlog_stream_prefix p-\n\
                 log_stream_template $TAG[0]/$labels";
    let out = output(aws.port(), "*", names);
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{out}")));
    let mut client = story.connect();
    let now = Time::now();
    client.send(&message("a.b", now, &[("log", b"1"), ("cluster", b"red"), ("labels", b"x:y*")], None)).unwrap();
    client.send(&message("a.b", now, &[("log", b"2"), ("cluster", b"blue team"), ("labels", b"z")], None)).unwrap();
    client.send(&message("a.b", now, &[("log", b"3"), ("labels", b"z")], None)).unwrap();
    client.send(&message("a.b", now, &[("log", b"4"), ("cluster", b"red")], None)).unwrap();
    story.settled(4);
    let mut there = BTreeMap::new();
    for (name, group) in story.aws.groups() {
        for stream in group.streams.into_keys() {
            there.insert((name.clone(), stream.clone()), logs(&story.aws, &name, &stream).join(","));
        }
    }
    let there: Vec<_> = there.iter().map(|((group, stream), logs)| format!("{group} {stream} {logs}")).collect();
    assert_eq!(there, ["/ecs/blue.team a/z 2", "/ecs/red a/x.y. 1", "/ecs/red p-a.b 4", "fallback a/z 3"]);
    story.end();
}

/// The Go plugin's `$(...)`: the task's own names come from its metadata.
#[test]
fn the_go_plugin_s_names_are_made_of_the_task() {
    let aws = FakeAws::start();
    let out = format!(
        "[OUTPUT]\n    Name cloudwatch\n    Match *\n    region us-east-1\n    endpoint {}\n    \
         log_group_name /ecs/$(ecs_cluster)\n    log_stream_name $(ecs_task_id)/$(tag[0])\n    \
         auto_create_group true\n    default_log_stream_name nowhere\n    new_log_group_tags team=red,stage=test\n",
        aws.url()
    );
    let metadata = aws.metadata_uri();
    let setup = Setup::classic(format!("{FIRELENS}{out}")).with("ECS_CONTAINER_METADATA_URI_V4", metadata);
    let story = Story::with(aws, &setup);
    story.connect().line("web.x", "hello").unwrap();
    story.settled(1);
    let group = &story.aws.groups()["/ecs/mycluster"];
    assert_eq!(group.tags["team"], "red");
    assert_eq!(logs(&story.aws, "/ecs/mycluster", "0123456789abcdef0123456789abcdef/web"), ["hello"]);
    story.end();
}

#[test]
fn the_service_is_told_that_records_hold_metrics() {
    let story = Story::begin("log_format json/emf\nextra_user_agent shop/7");
    story.connect().line(WEB, "x").unwrap();
    story.settled(1);
    let put: Vec<_> = story.aws.requests().into_iter().filter(|request| request.operation == "PutLogEvents").collect();
    assert!(!put.is_empty());
    for request in put {
        let header = |name: &str| request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        assert_eq!(header("x-amzn-logs-format").unwrap().1, "json/emf");
        assert!(header("user-agent").unwrap().1.ends_with(" shop/7"), "{:?}", request.headers);
    }
    story.end();
}

/// Vector #22946: the last event before a silence stuck until the next one came.
#[test]
fn a_single_record_arrives_though_nothing_follows_it() {
    let story = Story::begin("");
    let mut client = story.connect();
    for number in 0..3 {
        let begun = std::time::Instant::now();
        client.line(WEB, &line(number)).unwrap();
        story.aws.wait_for_events(number + 1, SOON);
        // The linger is 0.25 s; the rest is for a busy machine.
        assert!(begun.elapsed().as_secs() < 3, "it took {:?}", begun.elapsed());
    }
    assert_eq!(story.web_lines(), [line(0), line(1), line(2)]);
    story.end();
}

#[test]
fn a_record_goes_to_every_output_that_fits() {
    let aws = FakeAws::start();
    let config = format!(
        "logs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n\
         \x20   - name: all\n      to:\n        cloudwatch: {{group: all, stream_prefix: s-, auto_create_group: true, \
         region: us-east-1, endpoint: '{0}'}}\n\
         \x20   - name: web\n      match: web-firelens*\n      to:\n        cloudwatch: {{group: web, stream: one, \
         log_key: log, auto_create_group: true, region: us-east-1, endpoint: '{0}'}}\n\
         \x20   - name: disk\n      to:\n        file: {{folder: '{{folder}}/out'}}\n",
        aws.url()
    );
    let story = Story::with(aws, &Setup::yaml(config));
    let mut client = story.connect();
    for number in 0..50 {
        client.line(WEB, &line(number)).unwrap();
        client.line("other", &line(number)).unwrap();
    }
    story.settled(50 + 50 + 50 + 50 + 50);
    let lines: Vec<_> = (0..50).map(line).collect();
    assert_eq!(logs(&story.aws, "all", WEB_STREAM), lines);
    assert_eq!(logs(&story.aws, "all", "s-other"), lines);
    assert_eq!(story.aws.messages("web", "one"), lines);
    let mut on_disk = 0;
    for file in std::fs::read_dir(story.agent.folder().join("out")).unwrap() {
        on_disk += std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count();
    }
    assert_eq!(on_disk, 100);
    // The fake has what two of the three outputs delivered.
    let total = story.agent.books().total();
    assert_eq!((total.delivered, story.aws.count()), (250, 150));
    story.aws.assert_no_violations();
    story.agent.stop(SOON).assert_clean();
}
