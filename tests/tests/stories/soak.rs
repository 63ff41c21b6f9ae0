//! A long life (T39): phases of random trouble and of calm, at the load of an ordinary task.
//!
//! Promises: after each calm phase every line has arrived, nothing is left in memory or on disk, and the books say so; at
//! the end neither memory nor file descriptors have grown. `PILLION_SOAK_SECONDS` says how long (20; `tests/run long`: half
//! an hour), `PILLION_SOAK_SEED` what happens (1). Both are printed.
//! Never: kills the agent; a story of the spool does.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tests::{
    agent::{Agent, Setup},
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{ForwardClient, Time, docker_line},
    wait,
};

use crate::{
    spool::arrived,
    story::{WEB, line},
};

const PUT: Operation = Operation::PutLogEvents;
/// The load: 2,000 lines of 200 bytes a second, in groups.
const LINES_PER_SECOND: usize = 2_000;
const GROUP: usize = 20;
/// A calm phase ends when everything has been delivered. After trouble the agent may rest for up to a minute.
const CALM_MAX: Duration = Duration::from_secs(120);
/// What resident memory may grow by from the first third of the calm phases to the last: pages of the allocator's, and the
/// pages of a binary that was not optimised.
const GROWTH_KB: u64 = 8 * 1_024;
/// Connections come and go.
const DESCRIPTORS: usize = 8;

/// A number from the environment.
fn asked(name: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test reads how long it may take, and which life to lead")]
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A task's life: who writes, who takes, and what has happened so far.
struct Life {
    aws: FakeAws,
    agent: Agent,
    client: ForwardClient,
    random: Rng,
    sent: usize,
    /// What happened in this phase, for the one who must understand a failure.
    events: Vec<String>,
    /// Answers that were lost after the request was taken, in this phase.
    ambiguous: usize,
}

impl Life {
    fn begin(seed: u64, folder: &Path) -> Self {
        let aws = FakeAws::start();
        let config = format!(
            "memory: 8 MiB\nspool: {{path: {}}}\nlogs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n    - \
             name: cloud\n      to:\n        cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, region: \
             us-east-1, endpoint: '{}'}}\n",
            folder.display(),
            aws.url()
        );
        let setup = Setup::yaml(config).with_credentials_from(aws.credentials_uri());
        let agent = Agent::start(&setup).unwrap();
        let client = ForwardClient::unix(&agent.socket()).unwrap();
        let random = Rng::with_seed(seed);
        Self { aws, agent, client, random, sent: 0, events: Vec::new(), ambiguous: 0 }
    }

    /// Writes for so many lines, each group when it is due.
    fn write(&mut self, lines: usize) {
        let padding = "x".repeat(188);
        let begun = Instant::now();
        for group in 0..lines / GROUP {
            let due = Duration::from_micros((group * GROUP * 1_000_000 / LINES_PER_SECOND) as u64);
            wait::until(CALM_MAX, || "the time of the next lines".to_owned(), || begun.elapsed() >= due);
            let lines = self.sent..self.sent + GROUP;
            let bytes: Vec<u8> = lines
                .flat_map(|number| docker_line(WEB, Time::now(), format!("{} {padding}", line(number)).as_bytes()))
                .collect();
            self.client.send(&bytes).unwrap();
            self.sent += GROUP;
        }
    }

    /// Some trouble, drawn.
    fn trouble(&mut self) {
        let percent = self.random.u8(10..=100);
        let seed = self.random.u64(..);
        let some = |action: Action| (percent, action);
        let drawn = match self.random.u8(0..14) {
            0 => some(Action::Status(500, None)),
            1 => some(Action::Status(503, None)),
            2 => some(Action::ResetBeforeAnswer),
            3 => some(Action::ResetMidBody),
            4 => some(Action::Garbage),
            5 => some(Action::HtmlError),
            6 => some(Action::EndlessBody),
            7 => some(Action::Hang),
            8 => some(Action::SlowBody(2)),
            9 => some(Action::Informational(20)),
            10 => {
                self.ambiguous += 1;
                self.aws.script(PUT, [Action::reset_after_serving()]);
                (0, Action::Serve)
            }
            11 => {
                self.aws.script(PUT, [Action::Throttle]);
                (0, Action::Serve)
            }
            12 => {
                self.aws.expire_credentials();
                (0, Action::Serve)
            }
            _ => {
                let mut crowd: Vec<_> = (0..50).map(|_| ForwardClient::unix(&self.agent.socket()).unwrap()).collect();
                for client in &mut crowd {
                    // Half a message, and gone.
                    let _ = client.send(&docker_line(WEB, Time::now(), b"never whole")[..60]);
                }
                (0, Action::Serve)
            }
        };
        self.events.push(format!("{percent} % {drawn:?}"));
        self.aws.sometimes(PUT, drawn.0, seed, drawn.1);
    }

    /// Everything is well: waits until all has arrived, and compares it to the line.
    fn calm(&mut self, first: usize) {
        self.aws.heal(PUT);
        self.aws.release();
        self.write(LINES_PER_SECOND / 4);
        let sent = self.sent as u64;
        let context = format!("lines {first}..{sent} after {:?}", self.events);
        self.agent.wait_for_metrics(CALM_MAX, &context, |metrics| {
            let total = metrics.books().total();
            assert!(total.balanced(), "{context}: {total:?}");
            total.accepted == sent && total.in_flight + total.spooled == 0
        });
        let total = self.agent.books().total();
        assert_eq!((total.delivered, total.lost.len(), total.refused.len()), (sent, 0, 0), "{context}: {total:?}");
        let all = arrived(&self.aws);
        let set: BTreeSet<_> = all.iter().copied().collect();
        assert!(set.into_iter().eq(first..self.sent), "{context}: a line is missing");
        if self.ambiguous == 0 {
            assert!(all.is_sorted() && all.len() == self.sent - first, "{context}: twice, or out of order");
        }
        self.aws.assert_no_violations();
        self.aws.forget();
        self.events.clear();
        self.ambiguous = 0;
    }
}

/// The middle one of the first third, and of the last.
fn ends(numbers: &[u64]) -> (u64, u64) {
    let middle = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let third = numbers.len().div_ceil(3);
    (middle(&numbers[..third]), middle(&numbers[numbers.len() - third..]))
}

#[test]
fn a_long_life_of_trouble_and_calm_loses_nothing_and_grows_nothing() {
    let (seconds, seed) = (asked("PILLION_SOAK_SECONDS", 20), asked("PILLION_SOAK_SEED", 1));
    println!("PILLION_SOAK_SECONDS={seconds} PILLION_SOAK_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut life = Life::begin(seed, folder.path());
    let begun = Instant::now();
    let (mut resident, mut descriptors) = (Vec::new(), Vec::new());
    // Not less than three, so that there is a first third and a last.
    while begun.elapsed() < Duration::from_secs(seconds) || resident.len() < 3 {
        let first = life.sent;
        for _ in 0..life.random.usize(1..=4) {
            life.trouble();
            let lines = life.random.usize(1..=LINES_PER_SECOND / GROUP / 2) * GROUP;
            life.write(lines);
        }
        life.calm(first);
        resident.push(life.agent.status_kb("VmRSS"));
        descriptors.push(life.agent.descriptors() as u64);
    }
    let context =
        format!("seed {seed}, {} phases, {} lines: {resident:?} KiB, {descriptors:?}", resident.len(), life.sent);
    println!("{context}");
    let (early, late) = ends(&resident);
    assert!(late <= early + GROWTH_KB, "memory grows: {context}");
    let (early, late) = ends(&descriptors);
    assert!(late <= early + DESCRIPTORS as u64, "descriptors leak: {context}");
    assert_eq!(life.agent.metrics().sum("pillion_life_panics_total", &[]), 0.0);
    let ended = life.agent.stop(CALM_MAX);
    ended.assert_clean();
    let last = ["accepted", "delivered", "lost"].map(|name| crate::story::last_number(&ended, name));
    assert_eq!(last, [life.sent as u64, life.sent as u64, 0], "{}", ended.log);
}
