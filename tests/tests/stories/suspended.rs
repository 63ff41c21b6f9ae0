//! A process that does not run for a while (T13): its machine slept, or somebody stopped it.
//!
//! Promises: what is under way then is not lost, credentials that expired meanwhile are renewed before they are used, and
//! nothing that fell due meanwhile is done all at once.
//! Never: waits for credentials to expire: the time of day is the agent's and the service's own, and is put forward.

use std::time::Duration;

use tests::{
    agent::Setup,
    fake_aws::{Action, FakeAws, Logged, Operation},
    false_clock::FalseClock,
    wait,
};

use crate::story::{SOON, Story, is_long_run, line};

const PUT: Operation = Operation::PutLogEvents;
/// The agent's own limit for a request, and a little; in a long run the five minutes that the row names.
fn long_enough() -> Duration {
    if is_long_run() { Duration::from_secs(300) } else { Duration::from_millis(10_500) }
}

fn of(requests: &[Logged], operation: &str) -> usize {
    requests.iter().filter(|request| request.operation == operation).count()
}

/// Two hours pass at once, with credentials for one. A request is under way, and is answered meanwhile.
#[test]
fn credentials_that_expired_while_it_was_stopped_are_renewed_before_they_are_used() {
    let (aws, clock) = (FakeAws::start(), FalseClock::new());
    aws.set_credentials_last(Duration::from_secs(3_600));
    let setup = Setup::cloudwatch(aws.port(), "").with_credentials_from(aws.credentials_uri());
    let story = Story::with(aws, &clock.on(setup));
    story.send_lines(0..10);
    story.settled(10);
    for round in 1..=3_u32 {
        let from = 10 + (round as usize - 1) * 50;
        let hours = Duration::from_secs(u64::from(round) * 7_200);
        story.aws.always(PUT, Action::Hang);
        story.send_lines(from..from + 20);
        wait::until(SOON, || "a request to be under way".to_owned(), || story.aws.held() == 1);
        story.agent.suspend();
        let before = story.aws.requests().len();
        // It is served and answered while nobody reads the answer.
        story.aws.heal(PUT);
        story.aws.release();
        story.aws.wait_for_events(from + 20, SOON);
        story.send_lines(from + 20..from + 40);
        clock.set_ahead(hours);
        story.aws.set_skew(hours.as_secs() as i64);
        story.agent.signal("CONT");
        story.aws.wait_for_events(from + 40, SOON);
        // The probe.
        story.send_lines(from + 40..from + 50);
        story.settled(from as u64 + 50);
        let requests = &story.aws.requests()[before..];
        assert_eq!(of(requests, "Credentials"), 1, "{requests:#?}");
        assert!(of(requests, "PutLogEvents") <= 3, "a burst: {requests:#?}");
        assert!(requests.iter().all(|request| request.outcome == "200"), "before they are used: {requests:#?}");
    }
    assert_eq!(story.web_lines(), (0..160).map(line).collect::<Vec<_>>());
    story.end();
}

/// Stopped for longer than any of its timers with a request under way. All of them are due at once then.
#[test]
fn timers_that_fell_due_while_it_was_stopped_make_no_burst() {
    let story = Story::begin("");
    story.send_lines(0..10);
    story.settled(10);
    story.aws.always(PUT, Action::Hang);
    story.send_lines(10..30);
    wait::until(SOON, || "a request to be under way".to_owned(), || story.aws.held() == 1);
    story.agent.suspend();
    let requests = story.aws.requests();
    let (before, sent) = (requests.len(), requests.last().unwrap().at);
    story.send_lines(30..50);
    wait::until(SOON + long_enough(), || "the request to be too old".to_owned(), || sent.elapsed() > long_enough());
    story.aws.heal(PUT);
    story.agent.signal("CONT");
    story.send_lines(50..60);
    story.settled(60);
    let requests = &story.aws.requests()[before..];
    // The one that timed out once more, what came meanwhile, and the probe.
    assert!(requests.len() <= 3, "a burst: {requests:#?}");
    assert_eq!(story.web_lines(), (0..60).map(line).collect::<Vec<_>>());
    story.end();
}
