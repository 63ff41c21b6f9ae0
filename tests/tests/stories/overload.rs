//! More than the service takes (T32): the sender is never held up or closed, memory stays in its bound, and what does not
//! fit is the oldest, to the last record.
//!
//! Promises: the books' `memory_full` is exactly the set of lines that are missing.
//! Never: measures speed; the bench does.

use std::{collections::BTreeSet, time::Instant};

use tests::{
    agent::Setup,
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{Time, docker_line},
    wait,
};

use crate::story::{SOON, Story, WEB, WEB_STREAM, line, number_of, record};

const LINES: usize = 150_000;
const MIB: u64 = 1 << 20;

#[test]
fn what_is_too_much_is_dropped_oldest_first_and_counted_to_the_record() {
    let aws = FakeAws::start();
    let config = format!(
        "memory: 8 MiB\nlogs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n    - name: slow\n      \
         to:\n        cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, region: us-east-1, \
         endpoint: '{}'}}\n",
        aws.url()
    );
    let story = Story::with(aws, &Setup::yaml(config));
    story.send_lines(0..1);
    story.settled(1);
    // An answer of some 70 bytes that takes nearly a second: about 1 MB/s are taken.
    story.aws.always(Operation::PutLogEvents, Action::SlowBody(10));
    let mut client = story.connect();
    let padding = "x".repeat(150);
    let begun = Instant::now();
    for first in (1..=LINES).step_by(100) {
        let mut bytes = Vec::new();
        for number in first..(first + 100).min(LINES + 1) {
            bytes.extend(docker_line(WEB, Time::now(), format!("{} {padding}", line(number)).as_bytes()));
        }
        // Fails if the agent closed the connection.
        client.send(&bytes).unwrap();
    }
    let took = begun.elapsed();
    story.accepted(LINES as u64 + 1);
    let peak = story.agent.peak_bytes();
    assert!(peak <= 8 * MIB + 10 * MIB, "{peak} bytes of memory at the peak");
    let memory = &story.agent.status()["memory"];
    assert!(memory["used_bytes"].as_u64().unwrap() <= 8 * MIB, "{memory}");
    client.line(WEB, &line(LINES + 1)).unwrap();
    story.aws.heal(Operation::PutLogEvents);
    let total = story.settled(LINES as u64 + 2);

    let arrived: Vec<usize> = story
        .aws
        .messages("bench", WEB_STREAM)
        .iter()
        .map(|message| number_of(record(message)["log"].as_str().unwrap()))
        .collect();
    let set: BTreeSet<_> = arrived.iter().copied().collect();
    assert_eq!(set.len(), arrived.len(), "nothing twice");
    assert!(arrived.is_sorted(), "in order");
    let missing: Vec<_> = (0..=LINES + 1).filter(|number| !set.contains(number)).collect();
    assert!(missing.len() > LINES / 20, "{} missing of {LINES} sent in {took:?}: that was no overload", missing.len());
    assert_eq!(total.lost["memory_full"], missing.len() as u64);
    assert_eq!(total.lost.len(), 1, "{:?}", total.lost);
    // Oldest first: what was on its way when memory ran out arrived, and so did the newest, all that memory holds.
    let newest = (0..=LINES + 1).rev().take_while(|number| set.contains(number)).count();
    // The service counts about 350 bytes for each. The rest of the 8 MiB is what was on its way, and JSON's escapes.
    assert!(newest as u64 * 350 > 3 * MIB, "only {newest} of the newest lines were kept");
    story.end();
}

/// One output's trouble takes its own share of memory and disk and what is common, never another's share. Of 16 MiB each
/// output has 4 for itself: room for the batch under way and the one being filled, which may hold twice what is in them.
fn neighbours(trouble: &str, lines: usize) {
    let (ill, aws, folder) = (FakeAws::start(), FakeAws::start(), tempfile::tempdir().unwrap());
    let mut spool = String::new();
    match trouble {
        "dead" => ill.always(Operation::PutLogEvents, Action::Hang),
        "slow" => ill.set_speed(Some(100_000)),
        _ => {
            ill.always(Operation::PutLogEvents, Action::Status(503, None));
            spool =
                format!("spool: {{path: {}, bytes_max: 32 MiB, when_full: drop_oldest}}\n", folder.path().display());
        }
    }
    let to = |name: &str, url: String| {
        format!(
            "    - name: {name}\n      to:\n        cloudwatch: {{group: bench, stream_prefix: s-, \
             auto_create_group: true, region: us-east-1, endpoint: '{url}'}}\n"
        )
    };
    let config = format!(
        "memory: 8 MiB\n{spool}logs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n{}{}",
        to("ill", ill.url()),
        to("well", aws.url())
    );
    let setup = Setup::yaml(config).with("PILLION_STOP_TIMEOUT", "2");
    let story = Story::with(aws, &setup);
    let mut client = story.connect();
    let padding = "x".repeat(2_000);
    for first in (0..lines).step_by(500) {
        let mut bytes = Vec::new();
        for number in first..first + 500 {
            bytes.extend(docker_line(WEB, Time::now(), format!("{} {padding}", line(number)).as_bytes()));
        }
        client.send(&bytes).unwrap();
        let arrived = || story.aws.count() >= first + 500;
        wait::until(SOON, || format!("{trouble}: line {first} and on\n{:#?}", story.agent.books()), arrived);
    }
    // The service takes a batch a moment before its answer is heard.
    story.agent.wait_for_metrics(SOON, "the last answer", |metrics| {
        metrics.sum("pillion_deliver_delivered_records_total", &[("output", "well")]) == lines as f64
    });
    let books = story.agent.books();
    let well = &books.0[&("well".to_owned(), "web".to_owned())];
    assert_eq!((well.delivered, well.lost.len(), well.spooled), (lines as u64, 0, 0), "{trouble}");
    let others = &books.0[&("ill".to_owned(), "web".to_owned())];
    let reason = if trouble == "full" { "spool_full" } else { "memory_full" };
    assert!(others.lost.get(reason).is_some_and(|&lost| lost > 2_000), "{trouble}: {others:?}");
    assert!(story.agent.status()["memory"]["used_bytes"].as_u64().unwrap() <= 16 * MIB);
    let Story { aws, agent } = story;
    drop(client);
    agent.stop(SOON).assert_clean();
    assert_eq!((aws.count(), aws.duplicates()), (lines, 0), "{trouble}");
    aws.assert_no_violations();
    ill.assert_no_violations();
}

/// T35.
#[test]
fn the_backlog_of_a_dead_output_costs_the_other_nothing() {
    neighbours("dead", 10_000);
}

/// T35.
#[test]
fn the_backlog_of_a_slow_output_costs_the_other_nothing() {
    neighbours("slow", 10_000);
}

/// T35: its part of the disk is full, and so is its memory.
#[test]
fn the_full_spool_of_one_output_costs_the_other_nothing() {
    neighbours("full", 17_000);
}
