//! A network between the agent and its service that loses packets, resets connections, and swallows everything for a while.
//!
//! Promises: the kernel's packet filter does it, in a namespace of the agent's own; nothing is lost, and what arrives twice
//! is what was under way when a connection was reset.
//! Never: waits for the network to have done enough: packets and failed requests are counted.

use std::ops::Range;

use tests::{agent::Setup, fake_aws::FakeAws, network::Network, wait};

use crate::story::{FIRELENS, SOON, Story, line, output};

/// Lines of a batch, for they are sent after the one before has arrived.
const BATCH: usize = 50;

fn begin(network: &Network) -> Story {
    let aws = FakeAws::start_at(network.ours());
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let out = out.replace("endpoint 127.0.0.1", &format!("endpoint {}", network.ours()));
    let setup = network.around(Setup::classic(format!("{FIRELENS}{out}")));
    Story::with(aws, &setup)
}

/// Sends each batch when the one before has arrived.
fn batches(story: &Story, numbers: Range<usize>) {
    for first in numbers.step_by(BATCH) {
        story.send_lines(first..first + BATCH);
        let arrived = || story.web_lines().iter().any(|text| *text == line(first + BATCH - 1));
        wait::until(SOON, || format!("line {first} and its batch\n{}", story.agent.log()), arrived);
    }
}

/// What a request that a network broke is counted as.
const FAILURES: [&str; 3] = ["ambiguous", "unavailable", "unreachable"];

/// Requests that were answered so, or not.
fn answers(story: &Story, answer: &str) -> usize {
    story.agent.metrics().sum("pillion_deliver_requests_total", &[("answer", answer)]) as usize
}

/// The lines that arrived, each once, in the order in which they first came.
fn first_arrivals(story: &Story) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    story.web_lines().into_iter().filter(|text| seen.insert(text.clone())).collect()
}

#[test]
fn a_network_that_loses_every_tenth_packet_delays_and_loses_no_record() {
    let network = Network::new();
    let story = begin(&network);
    batches(&story, 0..BATCH);
    for chain in ["INPUT -p tcp --sport", "OUTPUT -p tcp --dport"] {
        network.add(&format!("{chain} {} -m statistic --mode random --probability 0.1 -j DROP", story.aws.port()));
    }
    batches(&story, BATCH..20 * BATCH);
    assert!(network.met() > 0, "no packet was lost");
    network.heal();
    story.settled(20 * BATCH as u64);
    assert_eq!(story.web_lines(), (0..20 * BATCH).map(line).collect::<Vec<_>>());
    story.end();
}

#[test]
fn connections_that_the_network_resets_double_one_batch_each_at_most() {
    const RESETS: usize = 4;
    let network = Network::new();
    let story = begin(&network);
    for round in 0..RESETS {
        let first = round * 2 * BATCH;
        batches(&story, first..first + BATCH);
        let failed = || FAILURES.iter().map(|answer| answers(&story, answer)).sum::<usize>();
        let before = failed();
        network.add(&format!("OUTPUT -p tcp --dport {} -j REJECT --reject-with tcp-reset", story.aws.port()));
        story.send_lines(first + BATCH..first + 2 * BATCH);
        wait::until(SOON, || format!("a reset\n{}", story.agent.get("/metrics").1), || failed() > before);
        network.heal();
        story.settled((round as u64 + 1) * 2 * BATCH as u64);
    }
    assert_eq!(first_arrivals(&story), (0..RESETS * 2 * BATCH).map(line).collect::<Vec<_>>());
    let ambiguous = answers(&story, "ambiguous");
    assert!(ambiguous <= RESETS, "{ambiguous} requests of which nobody knows, after {RESETS} resets");
    story.end_with_duplicates(ambiguous * BATCH);
}

/// Nothing comes through for a while, in either direction, and nobody says so.
#[test]
fn a_network_that_swallows_everything_for_a_while_delays_and_loses_no_record() {
    let network = Network::new();
    let story = begin(&network);
    for (round, rule) in ["INPUT -p tcp --sport", "OUTPUT -p tcp --dport"].into_iter().enumerate() {
        let first = round * 2 * BATCH;
        batches(&story, first..first + BATCH);
        network.add(&format!("{rule} {} -j DROP", story.aws.port()));
        story.send_lines(first + BATCH..first + 2 * BATCH);
        wait::until(SOON, || "packets to be swallowed".to_owned(), || network.met() >= 4);
        network.heal();
        story.settled((round as u64 + 1) * 2 * BATCH as u64);
    }
    assert_eq!(first_arrivals(&story), (0..4 * BATCH).map(line).collect::<Vec<_>>());
    let ambiguous = answers(&story, "ambiguous");
    story.end_with_duplicates(ambiguous * BATCH);
}
