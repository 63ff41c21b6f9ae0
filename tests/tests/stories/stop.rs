//! The end: SIGTERM is the way in which every agent ends, so it is played more than anything else.
//!
//! Promises: what a peer wrote before it closed is delivered, what could not be is counted, the exit code is 0, and all of
//! it happens in time.
//! Never: kills an agent that should end by itself.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use tests::{
    agent::{Agent, Ended, Setup},
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{Time, docker_line},
    wait,
};

use crate::story::{FIRELENS, SOON, Story, WEB, last_number, line, logs, output};

const PUT: Operation = Operation::PutLogEvents;

fn wait_for_log(agent: &Agent, text: &str) {
    wait::until(SOON, || format!("`{text}` in\n{}", agent.log()), || agent.log().contains(text));
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The last line of an agent whose books nobody could ask any more.
#[track_caller]
fn assert_last(ended: &Ended, accepted: u64, delivered: u64, lost: u64, reason: &str) {
    ended.assert_clean();
    let numbers = ["accepted", "delivered", "lost", "unsettled"].map(|name| last_number(ended, name));
    assert_eq!(numbers, [accepted, delivered, lost, 0], "{}", ended.log);
    assert_eq!(ended.final_line().unwrap()["lost_by_reason"], reason);
}

/// Other routers read their configuration again. A hundred times, under load: nothing is lost, doubled or left open.
#[test]
fn a_signal_to_reload_changes_nothing() {
    let story = Story::begin("");
    let mut writer = story.connect();
    writer.line(WEB, &line(0)).unwrap();
    story.settled(1);
    let before = story.agent.descriptors();
    for number in 1..=1_000 {
        writer.line(WEB, &line(number)).unwrap();
        if number % 10 == 0 {
            story.agent.signal("HUP");
        }
    }
    wait_for_log(&story.agent, "there is no reload");
    story.settled(1_001);
    assert_eq!(story.web_lines(), (0..=1_000).map(line).collect::<Vec<_>>());
    assert!(story.agent.descriptors() <= before + 1, "{} and {before} descriptors", story.agent.descriptors());
    story.end();
}

/// Issue aws-for-fluent-bit#201: the last words of an app, written while the router is already told to stop, were lost.
#[test]
fn what_peers_write_until_they_close_is_delivered_also_after_the_signal() {
    let story = Story::begin("");
    let mut writer = story.connect();
    let mut other = story.connect();
    for number in 0..100 {
        writer.line(WEB, &line(number)).unwrap();
    }
    let Story { aws, agent } = story;
    agent.signal("TERM");
    wait_for_log(&agent, "\"stopping\"");
    for number in 100..400 {
        writer.line(WEB, &line(number)).unwrap();
    }
    // Someone who comes only now is heard too, as long as somebody else is there.
    let mut late = tests::forward_client::ForwardClient::unix(&agent.socket()).unwrap();
    late.line("late", "late words").unwrap();
    other.line("other", "other words").unwrap();
    for number in 400..500 {
        writer.line(WEB, &line(number)).unwrap();
    }
    drop((writer, other, late));
    let ended = agent.wait_for_end(SOON);
    assert_last(&ended, 502, 502, 0, "");
    assert_eq!(logs(&aws, "bench", crate::story::WEB_STREAM), (0..500).map(line).collect::<Vec<_>>());
    assert_eq!(logs(&aws, "bench", "s-late"), ["late words"]);
    assert_eq!(logs(&aws, "bench", "s-other"), ["other words"]);
    aws.assert_no_violations();
}

/// What lies in the socket when the signal comes has no reader yet, and is read all the same.
#[test]
fn a_burst_and_an_exit_at_the_moment_of_the_signal_lose_nothing() {
    let story = Story::begin("");
    let bytes: Vec<u8> = (0..3_000).flat_map(|number| docker_line(WEB, Time::now(), line(number).as_bytes())).collect();
    let mut client = story.connect();
    let writer = thread::spawn(move || client.send(&bytes).unwrap());
    let Story { aws, agent } = story;
    agent.signal("TERM");
    writer.join().unwrap();
    let ended = agent.wait_for_end(SOON);
    assert_last(&ended, 3_000, 3_000, 0, "");
    assert_eq!(aws.count(), 3_000);
    aws.assert_no_violations();
}

#[test]
fn connections_that_are_open_and_quiet_delay_the_end_by_a_second_or_two() {
    for signal in ["TERM", "INT"] {
        let story = Story::begin("");
        let idle: Vec<_> = (0..20).map(|_| story.connect()).collect();
        story.send_lines(0..10);
        story.settled(10);
        let Story { aws, agent } = story;
        let begun = Instant::now();
        agent.signal(signal);
        let ended = agent.wait_for_end(SOON);
        assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
        assert_last(&ended, 10, 10, 0, "");
        aws.assert_no_violations();
        drop(idle);
    }
}

/// As process 1 a signal without a handler does not exist (T22), and nobody reaps or forwards anything.
#[test]
fn as_process_1_the_agent_stops_as_anywhere() {
    let aws = FakeAws::start();
    let setup = Setup::cloudwatch(aws.port(), "").as_process_1();
    let story = Story::with(aws, &setup);
    let stat = std::fs::read_to_string(format!("/proc/{}/status", story.agent.id())).unwrap();
    let inside = stat.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert!(inside.ends_with("\t1"), "{inside}");
    story.send_lines(0..100);
    story.accepted(100);
    let Story { aws, agent } = story;
    let ended = agent.stop(SOON);
    assert_last(&ended, 100, 100, 0, "");
    assert_eq!(logs(&aws, "bench", crate::story::WEB_STREAM), (0..100).map(line).collect::<Vec<_>>());
    aws.assert_no_violations();
}

/// The signal can come before the agent has read a byte, or heard from the task's metadata.
#[test]
fn a_signal_right_after_the_start_is_heard() {
    let aws = FakeAws::start();
    aws.always(Operation::Metadata, Action::Hang);
    let out = "[OUTPUT]\n    Name cloudwatch\n    Match *\n    region us-east-1\n    endpoint http://127.0.0.1:1\n    \
               log_group_name $(ecs_cluster)\n    log_stream_name s\n";
    let setup = Setup::classic(format!("{FIRELENS}{out}")).with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri());
    let agent = Agent::start(&setup.as_process_1()).unwrap();
    let ended = agent.stop(Duration::from_secs(5));
    assert_last(&ended, 0, 0, 0, "");
}

#[test]
fn a_second_signal_hurries() {
    let story = Story::begin("");
    story.send_lines(0..10);
    story.settled(10);
    story.aws.always(PUT, Action::Hang);
    let _idle = story.connect();
    story.send_lines(10..50);
    story.aws.wait_for_requests("PutLogEvents", 2, SOON);
    let Story { aws, agent } = story;
    agent.signal("TERM");
    wait_for_log(&agent, "\"stopping\"");
    let begun = Instant::now();
    agent.signal("TERM");
    let ended = agent.wait_for_end(SOON);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    assert_last(&ended, 50, 10, 40, "stopped 40");
    assert_eq!(aws.count(), 10);
    aws.assert_no_violations();
}

/// T22: a sink that is not there, one that hangs, and one that refuses everything: in time, code 0, all counted.
#[test]
fn with_a_dead_service_the_end_comes_in_time_and_the_rest_is_counted() {
    let hanging = FakeAws::start();
    hanging.always(PUT, Action::Hang);
    let refusing = FakeAws::start();
    refusing.always(PUT, Action::Status(503, None));
    for port in [closed_port(), hanging.port(), refusing.port()] {
        let setup = Setup::cloudwatch(port, "").with("PILLION_STOP_TIMEOUT", "3");
        let agent = Agent::start(&setup).unwrap();
        let mut client = tests::forward_client::ForwardClient::unix(&agent.socket()).unwrap();
        for number in 0..2_500 {
            client.line(WEB, &line(number)).unwrap();
        }
        agent.wait_for_metrics(SOON, "all records", |metrics| metrics.books().total().accepted == 2_500);
        let begun = Instant::now();
        agent.signal("TERM");
        let ended = agent.wait_for_end(SOON);
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
        assert_last(&ended, 2_500, 0, 2_500, "stopped 2500");
    }
}

/// A peer that never stops is waited for half of the time; then there is time to send what it wrote.
#[test]
fn a_peer_that_never_stops_does_not_keep_the_agent() {
    let aws = FakeAws::start();
    let setup = Setup::cloudwatch(aws.port(), "").with("PILLION_STOP_TIMEOUT", "4");
    let story = Story::with(aws, &setup);
    let mut client = story.connect();
    let writer = thread::spawn(move || {
        let mut sent = 0;
        // Ends when the agent closes the connection.
        while client.line(WEB, &line(sent)).is_ok() {
            sent += 1;
            thread::yield_now();
        }
        sent
    });
    story.accepted(1);
    let Story { aws, agent } = story;
    let begun = Instant::now();
    agent.signal("TERM");
    let ended = agent.wait_for_end(SOON);
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    ended.assert_clean();
    let sent = writer.join().unwrap() as u64;
    let delivered = last_number(&ended, "delivered");
    assert_eq!((last_number(&ended, "accepted"), last_number(&ended, "lost")), (delivered, 0), "{}", ended.log);
    assert!(delivered <= sent && delivered > 0);
    // In order and without a hole, as far as it goes.
    let there = logs(&aws, "bench", crate::story::WEB_STREAM);
    assert_eq!(there, (0..delivered as usize).map(line).collect::<Vec<_>>());
    aws.assert_no_violations();
}

/// One output that cannot deliver takes all the time there is; the others have long delivered.
#[test]
fn a_dead_output_does_not_cost_the_records_of_another_at_the_end() {
    let aws = FakeAws::start();
    let dead = output(closed_port(), "*", "log_group_name g\nlog_stream_prefix s-");
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let setup = Setup::classic(format!("{FIRELENS}{dead}{out}")).with("PILLION_STOP_TIMEOUT", "2");
    let story = Story::with(aws, &setup);
    story.send_lines(0..30);
    story.accepted(60);
    let Story { aws, agent } = story;
    let ended = agent.stop(Duration::from_secs(3));
    assert_last(&ended, 60, 30, 30, "stopped 30");
    assert_eq!(aws.count(), 30);
    aws.assert_no_violations();
}

/// T22: a service that takes three mebibytes a second, and twenty to send. The time there is is used, and what is left is
/// known: it is counted, or the next agent delivers it.
fn end_slowly(spooling: bool) {
    const SPEED: u64 = 3 << 20;
    const SECONDS: u64 = 6;
    const LINES: usize = 20_000;
    /// A mebibyte of lines of a kilobyte, each with 26 bytes around it.
    const REQUEST_LINES_MAX: usize = 1_024;
    let (aws, folder) = (FakeAws::start(), tempfile::tempdir().unwrap());
    aws.set_speed(Some(SPEED));
    let spool = format!("spool: {{path: {}}}\n", folder.path().display());
    let config = format!(
        "memory: 48 MiB\n{}logs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n    - name: slow\n      \
         to:\n        cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, region: us-east-1, \
         endpoint: '{}'}}\n",
        if spooling { &spool } else { "" },
        aws.url()
    );
    let setup = Setup::yaml(config).with("PILLION_STOP_TIMEOUT", SECONDS.to_string());
    let agent = Agent::start(&setup).unwrap();
    let mut client = tests::forward_client::ForwardClient::unix(&agent.socket()).unwrap();
    let padding = "x".repeat(1_000);
    for number in 0..LINES {
        client.line(WEB, &format!("{} {padding}", line(number))).unwrap();
        if number == 0 {
            // So that group and stream are there.
            aws.wait_for_events(1, SOON);
        }
    }
    agent.wait_for_metrics(SOON, "all records", |metrics| metrics.books().total().accepted == LINES as u64);
    drop(client);
    let before = aws.taken_bytes();
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert!(ended.took < Duration::from_secs(SECONDS), "it took {:?}", ended.took);
    let (bytes, count) = (aws.taken_bytes() - before, aws.count());
    // Nine tenths of what fits the time but for two seconds: the one to spare, and one to find out that it is the end.
    assert!(bytes >= SPEED * (SECONDS - 2) * 9 / 10, "{bytes} bytes were taken\n{}", ended.log);
    assert!(count < LINES, "all was delivered: that was not slow");
    // Of the request that is under way at the very end, the service may have everything and the agent no answer.
    let delivered = last_number(&ended, "delivered") as usize;
    assert!((count - REQUEST_LINES_MAX..=count).contains(&delivered), "{delivered} of {count}\n{}", ended.log);
    let rest = (LINES - delivered) as u64;
    let numbers = ["accepted", "lost", "spooled"].map(|name| last_number(&ended, name));
    let expected = if spooling { [0, rest] } else { [rest, 0] };
    assert_eq!(numbers, [LINES as u64, expected[0], expected[1]], "{}", ended.log);
    let mut expected: Vec<usize> = (0..count).collect();
    if spooling {
        aws.set_speed(None);
        let agent = Agent::start(&setup).unwrap();
        let settled = |metrics: &tests::metrics::Metrics| metrics.books().total().delivered == rest;
        agent.wait_for_metrics(SOON, "the rest to be delivered", settled);
        agent.stop(SOON).assert_clean();
        expected.extend(delivered..LINES);
    }
    assert_eq!(crate::spool::arrived(&aws), expected, "in order, and once but for what was under way");
    aws.assert_no_violations();
}

#[test]
fn with_a_slow_service_the_end_uses_its_time_and_counts_what_is_left() {
    end_slowly(false);
}

#[test]
fn with_a_slow_service_the_end_uses_its_time_and_spools_what_is_left() {
    end_slowly(true);
}

/// Why did it end, and how did it stand then: one record in the log, and the last line of the agent's own.
#[test]
fn what_there_is_to_know_of_the_end_is_one_record() {
    let aws = FakeAws::start();
    let out = |tag: &str, stream: &str, port: u16| {
        format!(
            "[OUTPUT]\n    Name cloudwatch_logs\n    Match {tag}\n    region us-east-1\n    endpoint http://127.0.0.1:{port}\n    \
             log_group_name bench\n    log_stream_name {stream}\n    log_key log\n    auto_create_group true\n"
        )
    };
    let outputs =
        [out("web-*", "web", aws.port()), out("pillion.stop", "stop", aws.port()), out("dead-*", "dead", 1)].concat();
    let setup = Setup::classic(format!("{FIRELENS}{outputs}")).with("PILLION_STOP_TIMEOUT", "4s");
    let setup =
        setup.with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri()).with("PILLION__STOP_RECORD", "pillion.stop");
    let story = Story::with(aws, &setup);
    story.send_lines(0..10);
    story.connect().line("dead-firelens-1", "nobody hears it").unwrap();
    let says_why = |agent: &Agent| agent.get("/status").1.contains("127.0.0.1:1");
    wait::until(SOON, || story.agent.log(), || says_why(&story.agent));
    let Story { aws, agent } = story;
    let ended = agent.stop(SOON);
    // Ten lines, the one that nobody hears, and the record itself.
    assert_last(&ended, 12, 11, 1, "stopped 1");
    let written = aws.messages("bench", "stop");
    let [record] = &written[..] else { panic!("{written:?}") };
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!((&record["record"], &record["stopped_by"]), (&"pillion.stop".into(), &"SIGTERM".into()));
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&record["task"]["definition"], &record["task"]["cluster"]), (&"web:7".into(), &"mycluster".into()));
    assert_eq!(record["task"]["ended"], serde_json::json!([{"name": "migrate", "exit_code": 3}]));
    // It is made while outputs still deliver.
    let books = ["accepted", "delivered", "in_flight"].map(|name| record["books"][name].as_u64().unwrap());
    assert!(books[0] == 11 && books[1] + books[2] == 11 && books[2] >= 1, "{record}");
    let why = record["failures"]["cloudwatch_logs.2"].as_str().unwrap();
    assert!(why.contains("127.0.0.1:1"), "{record}");
    let last = ended.final_line().unwrap();
    assert_eq!((&last["definition"], &last["stopped_by"]), (&"web:7".into(), &"SIGTERM".into()));
    assert_eq!(last["ended"], "migrate 3");
    assert!(last["failures"].as_str().unwrap().starts_with("cloudwatch_logs.2: "), "{last}");
    aws.assert_no_violations();
}
