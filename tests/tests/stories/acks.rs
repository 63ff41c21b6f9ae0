//! Senders that wait for their acknowledgement, and repeat what was not acknowledged, as Fluent Bit and fluentd do.
//!
//! Promises: at the moment of a kill, what was acknowledged is where the level says: with the service, or on disk and with the
//! service later. In the end every line is there.
//! Never: counts how often a line came that was not acknowledged: at least once is what such a sender asks for.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tempfile::TempDir;
use tests::{
    agent::{Agent, Setup},
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{ForwardClient, Options, Time, message},
    metrics::Account,
    wait::until,
};

use crate::{
    spool::{arrived, seeds},
    story::{SOON, WEB, line},
};

const PUT: Operation = Operation::PutLogEvents;
/// Messages that a sender sends before it waits for their acknowledgements.
const WINDOW: usize = 20;

fn setup(aws: &FakeAws, level: &str, spool: Option<&Path>) -> Setup {
    let spool = spool.map(|folder| format!("spool: {{path: {}}}\n", folder.display())).unwrap_or_default();
    Setup::yaml(format!(
        "memory: 8 MiB\n{spool}logs:\n  inputs:\n    - forward: {{unix: '{{socket}}', ack: {level}}}\n  \
         outputs:\n    - name: cloud\n      to:\n        cloudwatch: {{group: bench, stream_prefix: s-, \
         auto_create_group: true, region: us-east-1, endpoint: '{}'}}\n",
        aws.url()
    ))
    .with("PILLION_STOP_TIMEOUT", "5")
}

fn wait(agent: &Agent, what: &str, condition: impl Fn(&Account) -> bool) {
    agent.wait_for_metrics(SOON, what, |metrics| condition(&metrics.books().total()));
}

/// Sends `lines` one message each, and counts in `acked` how many of them, from the first on, were acknowledged. Ends at the
/// last, or when the agent is gone.
fn send_until_acked(socket: &Path, lines: std::ops::Range<usize>, acked: &AtomicUsize) {
    let Ok(mut client) = ForwardClient::unix(socket) else { return };
    let padding = "x".repeat(200);
    let all: Vec<usize> = lines.collect();
    for window in all.chunks(WINDOW) {
        let mut bytes = Vec::new();
        for number in window {
            let (text, chunk) = (format!("{} {padding}", line(*number)), number.to_string());
            let fields: [(&str, &[u8]); 2] = [("log", text.as_bytes()), ("source", b"stdout")];
            let options = Options { chunk: Some(&chunk), ..Options::default() };
            bytes.extend(message(WEB, Time::now(), &fields, Some(&options)));
        }
        if client.send(&bytes).is_err() {
            return;
        }
        let mut answered = BTreeSet::new();
        for _ in window {
            match client.acknowledgement() {
                Ok(chunk) => assert!(answered.insert(chunk), "answered twice"),
                // The kill. What was answered of this window is looked at too: its lines follow each other.
                Err(_) => break,
            }
        }
        let in_order = window.iter().take_while(|number| answered.contains(&number.to_string())).count();
        acked.fetch_add(in_order, Ordering::Relaxed);
        if in_order < window.len() {
            return;
        }
    }
}

/// T17: whatever was acknowledged as spooled before a kill arrives, with the service down, hanging, or up by turns. The
/// sender goes on with the next agent where it was not answered.
#[test]
fn what_was_acknowledged_as_spooled_survives_a_kill() {
    for seed in 0..seeds(3) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
        match seed % 3 {
            0 => aws.always(PUT, Action::Status(503, None)),
            1 => aws.always(PUT, Action::Hang),
            _ => aws.sometimes(PUT, 50, seed, Action::Status(500, None)),
        }
        let setup = setup(&aws, "spooled", Some(folder.path()));
        let acked = AtomicUsize::new(0);
        let lives = 3;
        for life in 0..lives {
            let agent = Agent::start(&setup).unwrap();
            let (from, more) = (acked.load(Ordering::Relaxed), random.usize(40..400));
            thread::scope(|scope| {
                let (socket, acked) = (agent.socket(), &acked);
                scope.spawn(move || send_until_acked(&socket, from..from + 1_000, acked));
                until(SOON, || "acknowledgements".to_owned(), || acked.load(Ordering::Relaxed) >= from + more);
                if random.bool() {
                    aws.release();
                }
                agent.signal("KILL");
                drop(agent.wait_for_end(SOON));
            });
            let acked = acked.load(Ordering::Relaxed);
            assert!(acked >= from + more, "seed {seed}, life {life}");
        }
        aws.heal(PUT);
        aws.release();
        let agent = Agent::start(&setup).unwrap();
        let from = acked.load(Ordering::Relaxed);
        send_until_acked(&agent.socket(), from..from + 100, &acked);
        wait(&agent, "all to be delivered", |total| total.in_flight + total.spooled == 0);
        let ended = agent.stop(SOON);
        ended.assert_clean();
        let arrived: BTreeSet<_> = arrived(&aws).into_iter().collect();
        let missing: Vec<_> = (0..from + 100).filter(|number| !arrived.contains(number)).collect();
        assert!(missing.is_empty(), "seed {seed}: acknowledged and lost: {missing:?}");
        aws.assert_no_violations();
    }
}

/// Whatever was acknowledged as delivered is with the service at that moment, and nothing is acknowledged while it is down.
#[test]
fn what_was_acknowledged_as_delivered_is_with_the_service() {
    let aws = FakeAws::start();
    aws.always(PUT, Action::Status(503, None));
    let agent = Agent::start(&setup(&aws, "delivered", None)).unwrap();
    let acked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (socket, counted) = (agent.socket(), &acked);
        scope.spawn(move || send_until_acked(&socket, 0..10_000, counted));
        wait(&agent, "a window", |total| total.in_flight == WINDOW as u64);
        aws.wait_for_requests("PutLogEvents", 2, SOON);
        assert_eq!(acked.load(Ordering::Relaxed), 0, "nothing was delivered");
        aws.heal(PUT);
        until(SOON, || "acknowledgements".to_owned(), || acked.load(Ordering::Relaxed) >= 10 * WINDOW);
        // What is counted after the agent is gone was answered before.
        agent.signal("KILL");
        drop(agent.wait_for_end(SOON));
    });
    let arrived: BTreeSet<_> = arrived(&aws).into_iter().collect();
    let acked = acked.load(Ordering::Relaxed);
    assert!((0..acked).all(|number| arrived.contains(&number)), "{acked} acknowledged, {} arrived", arrived.len());
    aws.assert_no_violations();
}

/// While the agent stops, senders that wait are answered before their connections are closed.
#[test]
fn who_waits_at_the_end_is_answered() {
    let aws = FakeAws::start();
    aws.always(PUT, Action::Status(503, None));
    let agent = Agent::start(&setup(&aws, "delivered", None)).unwrap();
    let acked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (socket, counted) = (agent.socket(), &acked);
        scope.spawn(move || send_until_acked(&socket, 0..WINDOW, counted));
        wait(&agent, "a window", |total| total.in_flight == WINDOW as u64);
        agent.signal("TERM");
        aws.heal(PUT);
        let ended = agent.wait_for_end(SOON);
        ended.assert_clean();
    });
    assert_eq!(acked.load(Ordering::Relaxed), WINDOW);
    assert_eq!(arrived(&aws).len(), WINDOW);
}
