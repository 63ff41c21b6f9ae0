//! A service that fails, throttles, lies or is not there (facts: the reliability matrix, T1 to T12).
//!
//! Promises: nothing is lost while memory lasts; what was refused whole is never there twice; one output's trouble is not
//! another's.
//! Never: waits out the agent's long timers; the fake is healed, or the agent stopped, before.

use std::time::Duration;

use tests::{
    agent::Setup,
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{Fields, Time, docker_line, forward},
};

use crate::story::{FIRELENS, SOON, Story, WEB, line, logs, output};

const PUT: Operation = Operation::PutLogEvents;

/// Sends `rounds` times ten lines, each round after the one before was delivered, and checks that all came in order.
fn rounds(story: &Story, from: usize, rounds: usize) {
    for round in 0..rounds {
        let first = from + round * 10;
        story.send_lines(first..first + 10);
        story.aws.wait_for_events(first + 10, SOON);
    }
}

fn all(lines: usize) -> Vec<String> {
    (0..lines).map(line).collect()
}

/// T1: what is refused whole is sent again whole, in its old place.
#[test]
fn a_burst_of_server_errors_loses_and_doubles_nothing() {
    let story = Story::begin("");
    let bursts = [
        vec![Action::Status(500, None), Action::Status(503, None), Action::Status(502, None)],
        vec![Action::HtmlError, Action::NoRequestId, Action::Status(429, None)],
    ];
    for (number, burst) in bursts.into_iter().enumerate() {
        let failures = burst.len();
        story.aws.script(PUT, burst);
        story.send_lines(number * 500..(number + 1) * 500);
        story.settled((number as u64 + 1) * 500);
        let puts = story.aws.requests().iter().filter(|request| request.operation == "PutLogEvents").count();
        assert!(puts > (number + 1) * failures, "the burst was used up");
    }
    assert_eq!(story.web_lines(), all(1_000));
    story.end();
}

/// T2: not before the service's time, and slower from then on.
#[test]
fn a_throttled_output_waits_as_long_as_it_is_told() {
    let story = Story::begin("");
    story.aws.script(PUT, [Action::Throttle, Action::Status(429, Some(1)), Action::Throttle]);
    let lines = story.send_lines(0..200);
    story.settled(200);
    assert_eq!(story.web_lines(), lines);
    let puts: Vec<_> = story.aws.requests().into_iter().filter(|request| request.operation == "PutLogEvents").collect();
    let told = puts.iter().position(|request| request.outcome.starts_with("Status(429")).unwrap();
    let waited = puts[told + 1].at - puts[told].at;
    assert!(waited >= Duration::from_secs(1), "waited {waited:?}");
    let metrics = story.agent.metrics();
    assert_eq!(metrics.sum("pillion_deliver_requests_total", &[("answer", "throttled")]), 3.0);
    story.end();
}

/// T3: new credentials are fetched when the service refuses the old ones, and nothing is lost over it.
#[test]
fn credentials_that_expire_or_change_in_mid_flight_are_renewed() {
    let aws = FakeAws::start();
    let uri = aws.credentials_uri();
    let setup = Setup::cloudwatch(aws.port(), "").with_credentials_from(uri);
    let story = Story::with(aws, &setup);
    rounds(&story, 0, 2);
    story.aws.expire_credentials();
    rounds(&story, 20, 2);
    story.aws.rotate_credentials();
    rounds(&story, 40, 1);
    story.aws.expire_credentials();
    rounds(&story, 50, 1);
    assert_eq!(story.web_lines(), all(60));
    let fetched = story.aws.requests().iter().filter(|request| request.operation == "Credentials").count();
    assert_eq!(fetched, 3, "one at the first need, and one after each expiry");
    story.end();
}

/// T3: an endpoint that is not ready when the task starts.
#[test]
fn credentials_that_come_late_delay_but_lose_nothing() {
    let aws = FakeAws::start();
    aws.script(Operation::Credentials, [Action::Garbage, Action::Status(404, None), Action::EndlessBody]);
    let uri = aws.credentials_uri();
    let setup = Setup::cloudwatch(aws.port(), "").with_credentials_from(uri);
    let story = Story::with(aws, &setup);
    let lines = story.send_lines(0..100);
    story.aws.wait_for_requests("Credentials", 1, SOON);
    story.agent.wait_for_metrics(SOON, "a failure for want of credentials", |metrics| {
        metrics.sum("pillion_deliver_requests_total", &[("answer", "credentials")]) > 0.0
    });
    story.settled(100);
    assert_eq!(story.web_lines(), lines);
    story.end();
}

/// T5: before the whole request was read nothing can have been taken.
#[test]
fn connections_that_break_before_an_answer_double_nothing_that_was_not_taken() {
    let story = Story::begin("");
    story.aws.script(PUT, [Action::ResetBeforeAnswer, Action::ResetMidBody, Action::ResetBeforeAnswer]);
    let lines = story.send_lines(0..100);
    story.settled(100);
    assert_eq!(story.web_lines(), lines);
    story.end();
}

/// T5: an answer that is lost after the batch was taken is the one case of duplicates, of one batch at most.
#[test]
fn a_lost_answer_doubles_one_batch_at_most() {
    let story = Story::begin("");
    rounds(&story, 0, 1);
    story.aws.script(PUT, [Action::reset_after_serving()]);
    story.send_lines(10..40);
    story.settled(40);
    assert_eq!(story.aws.duplicates(), 30, "the batch of the lost answer, once more");
    rounds(&story, 70, 0);
    story.end_with_duplicates(30);
}

/// T6: what hangs holds its own output only.
#[test]
fn a_service_that_hangs_does_not_hold_up_another_output() {
    let (dead, aws) = (FakeAws::start(), FakeAws::start());
    dead.always(PUT, Action::Hang);
    let first = output(dead.port(), "*", "log_group_name g\nlog_stream_prefix s-");
    let second = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{first}{second}")));
    story.send_lines(0..10);
    dead.wait_for_requests("PutLogEvents", 1, SOON);
    rounds(&story, 10, 5);
    assert_eq!(story.web_lines(), all(60));
    assert_eq!(dead.count(), 0);
    dead.heal(PUT);
    dead.release();
    story.settled(120);
    assert_eq!(dead.count(), 60);
    assert_eq!(dead.duplicates(), 0);
    dead.assert_no_violations();
    story.agent.stop(SOON).assert_clean();
    story.aws.assert_no_violations();
}

/// T7 and T8: the service takes the request and rejects some of it, by age.
#[test]
fn events_that_are_rejected_are_booked_with_their_reason() {
    const HOUR: i64 = 3_600;
    let aws = FakeAws::start();
    aws.set_retention("bench", 7);
    let setup = Setup::cloudwatch(aws.port(), "log_key log");
    let story = Story::with(aws, &setup);
    let Time::Event(now, _) = Time::now() else { panic!("the time has nanoseconds") };
    let ages = [
        (15 * 24 * HOUR, "too_old"),
        (14 * 24 * HOUR + HOUR, "too_old"),
        (8 * 24 * HOUR, "expired"),
        (7 * 24 * HOUR + HOUR / 2, "expired"),
        (7 * 24 * HOUR - HOUR / 2, "kept"),
        (HOUR, "kept"),
        (0, "kept"),
        (-HOUR, "kept"),
        (-3 * HOUR, "too_new"),
    ];
    let texts: Vec<_> = ages.iter().map(|(age, fate)| format!("{fate} {age}")).collect();
    let records: Vec<[(&str, &[u8]); 1]> = texts.iter().map(|text| [("log", text.as_bytes())]).collect();
    let time = |age: i64| Time::Event((i64::from(now) - age) as u32, 0);
    let entries: Vec<(Time, &Fields<'_>)> =
        records.iter().zip(ages).map(|(fields, (age, _))| (time(age), &fields[..])).collect();
    story.connect().send(&forward(WEB, &entries, None)).unwrap();
    let total = story.settled(9);
    assert_eq!((total.refused["too_old"], total.refused["expired"], total.refused["too_new"]), (2, 2, 1));
    assert_eq!(total.delivered, 4);
    assert!(story.aws.messages("bench", crate::story::WEB_STREAM).iter().all(|message| message.starts_with("kept")));
    story.end();
}

/// One record that the service never takes must not keep its neighbours from being taken, or be sent for ever.
#[test]
fn a_poisonous_record_is_found_and_refused_alone() {
    let story = Story::begin("");
    story.aws.always(PUT, Action::Poisoned("POISON"));
    let mut bytes = Vec::new();
    for number in 0..200 {
        let text = if [17, 130].contains(&number) { format!("POISON {number}") } else { line(number) };
        bytes.extend(docker_line(WEB, Time::now(), text.as_bytes()));
    }
    story.connect().send(&bytes).unwrap();
    let total = story.settled(200);
    assert_eq!((total.delivered, total.refused["invalid"]), (198, 2));
    let expected: Vec<_> = (0..200).filter(|number| ![17, 130].contains(number)).map(line).collect();
    assert_eq!(story.web_lines(), expected, "in order, all the same");
    story.end();
}

/// T8: "too large" without a word about which record.
#[test]
fn a_request_that_is_too_large_for_the_service_is_divided() {
    let story = Story::begin("");
    story.aws.script(PUT, [Action::TooLarge, Action::TooLarge]);
    let lines = story.send_lines(0..100);
    let total = story.settled(100);
    assert_eq!(total.delivered, 100);
    assert_eq!(story.web_lines(), lines);
    story.end();
}

/// T9: creating is throttled, fails, or someone else was first.
#[test]
fn a_stream_that_cannot_be_created_yet_delays_but_loses_nothing() {
    let story = Story::begin("");
    story.aws.script(Operation::CreateLogStream, [Action::Throttle, Action::Status(500, None), Action::Serve]);
    story.aws.script(
        Operation::CreateLogGroup,
        [Action::Throttle, Action::Error(400, "OperationAbortedException", "A conflicting operation is in progress")],
    );
    let lines = story.send_lines(0..50);
    story.settled(50);
    assert_eq!(story.web_lines(), lines);
    story.end();
}

#[test]
fn a_group_or_stream_that_someone_else_creates_first_is_no_failure() {
    let aws = FakeAws::start();
    aws.with_streams("bench", &[crate::story::WEB_STREAM]);
    // The service does not know yet what another of its machines created.
    let missing = Action::Error(400, "ResourceNotFoundException", "The specified log group does not exist.");
    aws.script(PUT, [missing.clone()]);
    aws.script(Operation::CreateLogStream, [missing]);
    let setup = Setup::cloudwatch(aws.port(), "");
    let story = Story::with(aws, &setup);
    let lines = story.send_lines(0..50);
    story.settled(50);
    assert_eq!(story.web_lines(), lines);
    let exists = |operation: &str| {
        story
            .aws
            .requests()
            .iter()
            .any(|request| request.operation == operation && request.outcome == "ResourceAlreadyExistsException")
    };
    assert!(exists("CreateLogGroup") && exists("CreateLogStream"));
    story.end();
}

/// A group that its owner deletes while we write to it comes back, with all that is written from then on.
#[test]
fn a_group_that_is_deleted_is_created_again() {
    let story = Story::begin("");
    story.send_lines(0..10);
    story.settled(10);
    story.aws.delete_group("bench");
    story.send_lines(10..20);
    story.settled(20);
    assert_eq!(story.web_lines(), all(20)[10..]);
    story.aws.assert_no_violations();
    story.agent.stop(SOON).assert_clean();
}

/// T11: answers made to hurt. What they cost is counted from a peak that the agent had before.
#[test]
fn hostile_answers_cost_neither_records_nor_memory() {
    let story = Story::begin("");
    rounds(&story, 0, 1);
    let before = story.agent.status_kb("VmHWM");
    let hostile = [
        Action::EndlessBody,
        Action::Redirect("http://169.254.169.254/latest/meta-data/"),
        Action::Garbage,
        Action::Informational(500),
        Action::HtmlError,
        Action::Redirect("http://127.0.0.1:1/"),
    ];
    story.aws.script(PUT, hostile);
    story.send_lines(10..60);
    story.settled(60);
    rounds(&story, 60, 1);
    assert_eq!(story.web_lines(), all(70));
    let grown = story.agent.status_kb("VmHWM") - before;
    assert!(grown < 4 * 1_024, "grew by {grown} KiB");
    story.end();
}

/// T12: signatures follow the service's clock, events keep ours.
#[test]
fn a_clock_that_is_wrong_is_corrected_for_signatures_alone() {
    for skew in [20 * 60, -20 * 60, 24 * 3_600] {
        let aws = FakeAws::start();
        aws.set_skew(skew);
        let setup = Setup::cloudwatch(aws.port(), "");
        let story = Story::with(aws, &setup);
        let Time::Event(now, _) = Time::now() else { panic!("the time has nanoseconds") };
        rounds(&story, 0, 2);
        for event in story.aws.events("bench", crate::story::WEB_STREAM) {
            assert!((event.timestamp_ms / 1_000 - i64::from(now)).abs() < 60, "{skew}: {event:?}");
        }
        let refused =
            story.aws.requests().iter().filter(|request| request.outcome == "InvalidSignatureException").count();
        assert_eq!(refused, 1, "{skew}: one refusal teaches it");
        story.end();
    }
}

/// Denied is not dropped: whoever made the mistake can still correct it. And it shows.
#[test]
fn a_denied_output_keeps_its_records_and_says_why() {
    let story = Story::begin("");
    story.aws.always(PUT, Action::Denied);
    let lines = story.send_lines(0..50);
    story.agent.wait_for_metrics(SOON, "an answer", |metrics| {
        metrics.sum("pillion_deliver_requests_total", &[("answer", "denied")]) > 0.0
    });
    let status = story.agent.status();
    let why = status["outputs"]["cloudwatch_logs.0"]["last_failure"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("AccessDenied"), "{status}");
    let total = story.agent.books().total();
    assert_eq!((total.accepted, total.in_flight), (50, 50));
    // At the end every batch gets another chance, however long it should have rested.
    story.aws.heal(PUT);
    let Story { aws, agent } = story;
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(crate::story::last_number(&ended, "delivered"), 50);
    assert_eq!(logs(&aws, "bench", crate::story::WEB_STREAM), lines);
    aws.assert_no_violations();
}

#[test]
fn a_group_that_may_not_be_created_is_named_and_its_records_wait() {
    let aws = FakeAws::start();
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-").replace("true", "false");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{out}")));
    let lines = story.send_lines(0..5);
    story.agent.wait_for_metrics(SOON, "an answer", |metrics| {
        metrics.sum("pillion_deliver_requests_total", &[("answer", "missing")]) > 0.0
    });
    let status = story.agent.status().to_string();
    assert!(status.contains("log group `bench` does not exist"), "{status}");
    story.aws.with_streams("bench", &[]);
    let Story { aws, agent } = story;
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(crate::story::last_number(&ended, "delivered"), 5);
    assert_eq!(logs(&aws, "bench", crate::story::WEB_STREAM), lines);
    let created = aws.requests().iter().any(|request| request.operation == "CreateLogGroup");
    assert!(!created);
    aws.assert_no_violations();
}

/// An output of another kind comes in a later version: its records are lost, loudly, and nothing else is.
#[test]
fn an_output_that_is_not_supported_costs_its_own_records_only() {
    let aws = FakeAws::start();
    let kinesis =
        "[OUTPUT]\n    Name kinesis_firehose\n    Match worker*\n    delivery_stream x\n    region us-west-2\n\n";
    let out = output(aws.port(), "web*", "log_group_name bench\nlog_stream_prefix s-");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{kinesis}{out}")));
    let lines = story.send_lines(0..5);
    story.connect().line("worker-firelens-1", "gone").unwrap();
    let total = story.settled(6);
    assert_eq!((total.delivered, total.lost["output_not_supported"]), (5, 1));
    assert_eq!(story.web_lines(), lines);
    assert_eq!(story.agent.get("/readyz").0, 200);
    let log = story.agent.log();
    assert!(log.contains("output is not supported; its records are counted as lost"), "{log}");
    story.end();
}

/// T4: a name that does not resolve is an outage of that output, and the end keeps to its time.
#[test]
fn a_name_that_does_not_resolve_holds_up_neither_another_output_nor_the_end() {
    let aws = FakeAws::start();
    let dead = output(443, "*", "log_group_name g\nlog_stream_prefix s-").replace("127.0.0.1", "no-such-host.invalid");
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let setup = Setup::classic(format!("{FIRELENS}{dead}{out}")).with("PILLION_STOP_TIMEOUT", "3");
    let story = Story::with(aws, &setup);
    rounds(&story, 0, 3);
    assert_eq!(story.web_lines(), all(30));
    let Story { aws, agent } = story;
    let ended = agent.stop(Duration::from_secs(5));
    ended.assert_clean();
    assert_eq!(crate::story::last_number(&ended, "lost"), 30);
    assert_eq!(crate::story::last_number(&ended, "delivered"), 30);
    aws.assert_no_violations();
}
