//! Spans go to X-Ray as the account takes them, if that is left to it.
//!
//! Promises: every span arrives one way or the other, none both ways; every story ends by balancing the books.
//! Never: proves how a span looks as a segment; `traces/segment` does.

use tests::{
    fake_aws::{Action, FakeAws, Operation},
    wait::until,
};

use crate::{otlp::Task, story::SOON};

fn task(aws: &FakeAws, spans: &str) -> Task {
    Task::to(&[format!("xray: {{endpoint: '{}', spans: {spans}}}", aws.url())], "", "")
}

fn until_told(task: &Task, what: &str) {
    until(SOON, || task.agent.log(), || task.agent.log().contains(what));
}

fn asked(aws: &FakeAws) -> usize {
    aws.asked(Operation::GetTraceSegmentDestination)
}

#[test]
fn an_account_without_transaction_search_gets_segments() {
    let aws = FakeAws::start();
    let task = task(&aws, "auto");
    task.send(1, 2);
    until_told(&task, "what comes by otlp goes to x-ray as segments");
    task.send(101, 2);
    let last = task.end();
    assert_eq!((&last["delivered"], &last["refused"], &last["lost"]), (&200.into(), &0.into(), &0.into()), "{last}");
    assert_eq!((aws.segments().len(), aws.spans().len()), (200, 0));
    assert_eq!((asked(&aws), aws.asked(Operation::PutSpans)), (1, 0));
    aws.assert_no_violations();
}

/// Also when it changes its mind: what it turned away is on the books, and what comes then are segments.
#[test]
fn an_account_with_transaction_search_gets_spans_until_it_takes_none() {
    let aws = FakeAws::start();
    aws.take_spans();
    let task = task(&aws, "auto");
    until_told(&task, "what comes by otlp goes to x-ray as spans by otlp");
    let sent = task.send(1, 4);
    task.wait("all spans", |total| total.delivered == 200);
    assert_eq!(aws.spans(), sent);
    assert_eq!(aws.segments().len(), 0);

    aws.take_no_spans();
    task.send(201, 1);
    task.wait("the news", |total| total.refused.get("not_enabled") == Some(&50));
    task.send(251, 2);
    let last = task.end();
    assert_eq!((&last["delivered"], &last["refused"], &last["lost"]), (&300.into(), &50.into(), &0.into()), "{last}");
    assert_eq!((aws.segments().len(), aws.spans().len()), (100, 200));
    aws.assert_no_violations();
}

#[test]
fn who_may_not_ask_sends_segments_and_who_knows_does_not_ask() {
    let aws = FakeAws::start();
    aws.take_spans();
    aws.always(Operation::GetTraceSegmentDestination, Action::Denied);
    let denied = task(&aws, "auto");
    until_told(&denied, "(xray:GetTraceSegmentDestination); they stay segments");
    denied.send(1, 1);
    denied.end();
    assert_eq!((aws.segments().len(), aws.spans().len(), asked(&aws)), (50, 0, 1));

    let knowing = task(&aws, "otlp");
    let sent = knowing.send(51, 1);
    knowing.end();
    assert_eq!((aws.segments().len(), aws.spans(), asked(&aws)), (50, sent, 1));
    aws.assert_no_violations();
}
