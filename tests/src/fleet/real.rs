//! A fleet of real pipelines in simulated time: for each task an output, its engine, a budget of memory and its books, all of
//! them the agent's own; only the service is simulated.
//!
//! A record is nine bytes here (who wrote it, and its number) and counts as [`Scenario::record_bytes`]: the limits of a
//! request are reached as with real ones, in a fiftieth of the memory.
//!
//! Promises: what the service took is read record by record: each once, in order, and of the right task. In the end the
//! books of every task balance, and say what the service has.
//! Never: sleeps in real time; draws from anything but the seed (the order in which the runtime polls apart).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use pillion::{
    deliver::{
        Answer, Cause, Destination, Doing, Key, Limits, Rules,
        batch::{Batch, Frame},
        books::Account,
        budget::Budget,
        deliver,
        lane::{Lane, Output},
    },
    life::Life,
    tell::counters::Counters,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ledger::{Ledger, Report},
    scenario::{REQUEST_BYTES, Scenario},
    service::{Said, Second, Service},
};

/// How finely the tasks' first records are spread. One timer serves all tasks of a place.
const PLACES: usize = 100;
/// Memory for records of each task. It is enough for everything here: what is lost was lost by a mistake.
const MEMORY: u64 = 16 << 20;
/// How long the end may take once nothing comes any more.
const DRAIN_MAX: Duration = Duration::from_secs(900);

/// The service, and what it has of each task.
struct Shared {
    begun: Instant,
    latency: Duration,
    state: Mutex<State>,
}

struct State {
    service: Service,
    ledger: Ledger,
    /// Batches that were not as they must be.
    wrong: Vec<String>,
}

/// One task's way to the service.
struct Line {
    who: usize,
    shared: Arc<Shared>,
}

/// One task.
struct Task {
    output: Arc<Output>,
    lane: Arc<Lane>,
    account: Arc<Account>,
    budget: Budget,
    engine: JoinHandle<Option<()>>,
    written: u32,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination for Line {
    fn limits(&self) -> Limits {
        Limits { bytes: REQUEST_BYTES as usize, records: 10_000, span_milliseconds: 86_400_000 }
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame { head: Bytes::from_static(b"["), separator: b",", tail: b"]" }
    }

    fn knows(&self, _: &Key) -> bool {
        true
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async move {
            let again = |cause| Answer::Again { cause, detail: "simulated".to_owned(), after: None };
            let said = self.shared.state().service.ask(self.shared.begun.elapsed());
            sleep(self.shared.latency).await;
            match said {
                Said::Down => again(Cause::Unavailable),
                Said::Throttled => again(Cause::Throttled),
                Said::Taken => {
                    let mut state = self.shared.state();
                    let taken = state.ledger.taken(self.who);
                    if let Err(wrong) = read(batch, &self.frame(&batch.key), self.who, taken) {
                        state.wrong.push(format!("{wrong:#}"));
                    }
                    state.ledger.delivered(self.who, batch.entries.len() as u64, self.shared.begun.elapsed());
                    Answer::Delivered
                }
            }
        })
    }
}

/// Looks whether a batch holds the records of task `who` from number `first` on, all of them and nothing else.
fn read(batch: &Batch, frame: &Frame, who: usize, first: u64) -> anyhow::Result<()> {
    for place in 0..batch.entries.len() {
        let expected = record(who, first + place as u64);
        let found = batch.record(place, frame);
        ensure!(found == expected, "task {who}: record {} is {found:?}", first + place as u64);
    }
    Ok(())
}

fn record(who: usize, number: u64) -> [u8; 9] {
    let mut bytes = [b':'; 9];
    bytes[..4].copy_from_slice(&(who as u32).to_be_bytes());
    bytes[5..].copy_from_slice(&(number as u32).to_be_bytes());
    bytes
}

impl Task {
    fn new(who: usize, shared: &Arc<Shared>, counters: &Counters, life: &Life) -> Self {
        let line = Arc::new(Line { who, shared: Arc::clone(shared) });
        let budget = Budget::new(MEMORY, 1);
        let (output, engine) = deliver("fleet", line, Rules::default(), &budget, counters);
        let lane = output.lane(&Key::new(""));
        let engine = life.spawn("engine", engine.run(CancellationToken::new(), CancellationToken::new()));
        Self { output, lane, account: Arc::default(), budget, engine, written: 0 }
    }

    fn write(&mut self, who: usize, bytes: u64) {
        let mut appending = self.output.append(&self.lane, &self.account);
        appending.begin().put(&record(who, u64::from(self.written)));
        appending.commit(i64::from(self.written), bytes as usize);
        self.written += 1;
    }

    /// Waits for the engine's end and compares the books with what was written and with what the service has.
    async fn ends(self, who: usize, shared: &Shared) -> anyhow::Result<()> {
        self.engine.await?.context("an engine panicked")?;
        let (totals, taken) = (self.account.totals(), shared.state().ledger.taken(who));
        ensure!(totals.balanced(), "the books of task {who} do not balance: {totals:?}");
        let written = u64::from(self.written);
        let same = [totals.accepted, totals.delivered, taken].iter().all(|&records| records == written);
        ensure!(same, "task {who} wrote {written}, the service has {taken}, the books say {totals:?}");
        ensure!(self.budget.used() == 0, "task {who} holds {} bytes", self.budget.used());
        Ok(())
    }
}

/// Runs the fleet in simulated time, in a runtime of its own.
///
/// # Errors
///
/// If a record is lost, doubled or out of order, or any task's books do not balance in the end.
pub fn run(scenario: Scenario) -> anyhow::Result<(Report, Vec<Second>)> {
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(simulate(scenario))
}

async fn simulate(scenario: Scenario) -> anyhow::Result<(Report, Vec<Second>)> {
    let places: Vec<usize> = (0..scenario.agents).map(|_| fastrand::usize(0..PLACES)).collect();
    let phase = |place: usize| scenario.record_every.mul_f64(place as f64 / PLACES as f64);
    let ledger = Ledger::new(scenario, places.iter().map(|&place| phase(place)));
    let state = Mutex::new(State { service: Service::new(scenario), ledger, wrong: Vec::new() });
    let shared = Arc::new(Shared { begun: Instant::now(), latency: scenario.latency, state });
    let (life, counters) = (Life::default(), Counters::new());
    let mut tasks: Vec<Task> = (0..scenario.agents).map(|who| Task::new(who, &shared, &counters, &life)).collect();
    let mut neighbours = vec![Vec::new(); PLACES];
    places.iter().enumerate().for_each(|(who, &place)| neighbours[place].push(who));
    for round in 0.. {
        let at = scenario.record_every * round;
        if at >= scenario.ends() {
            break;
        }
        for (place, neighbours) in neighbours.iter().enumerate() {
            sleep_until(shared.begun + at + phase(place)).await;
            neighbours.iter().for_each(|&who| tasks[who].write(who, scenario.record_bytes));
        }
    }
    let (report, seconds) = {
        let state = shared.state();
        (state.ledger.report("ours, real", state.service.seconds()), state.service.seconds().to_vec())
    };
    tasks.iter().for_each(|task| task.output.close());
    let ends = async {
        for (who, task) in tasks.into_iter().enumerate() {
            task.ends(who, &shared).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DRAIN_MAX, ends).await.context("the fleet did not drain")??;
    match shared.state().wrong.first() {
        Some(wrong) => bail!("{} batches were wrong: {wrong}", shared.state().wrong.len()),
        None => Ok((report, seconds)),
    }
}
