//! One run of one setting with a service that is not always well: what `outage` and `spool` are made of.
//!
//! Promises: a fresh process and a fresh folder for every run; the run ends when every record has arrived, or when the
//! process itself says that it has none left, or when nothing has come for long.
//! Never: believes the process about anything but what it lost, which is compared with what is missing.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    cell::{Lines, configuration},
    clock::Clock,
    process::{Places, Process},
    sender::{self, Load, Sent},
    sink::{Health, Ledger, Sink},
};
use crate::{
    agent,
    metrics::{Account, Metrics},
};

/// How long a process is left alone before its idle figures are taken.
const IDLE: Duration = Duration::from_millis(500);
/// How often the process and its folder are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Where a folder lies in memory.
const IN_MEMORY: &str = "/dev/shm";

/// Who is measured, and how it is set up.
#[derive(Clone, Debug)]
pub struct Setting {
    /// For reports.
    pub name: &'static str,
    /// Its command. `{folder}` stands for its own folder.
    pub command: String,
    /// Where its folder is made.
    pub place: Place,
    /// What its configuration has besides. `{folder}` is the same.
    pub lines: Lines,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory.
    Memory,
    /// The one of the temporary folder.
    Disk,
}

/// What is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What is sent.
    pub load: Load,
    /// When the service changes, since the first record, ...
    pub turns: Turns,
    /// Records that have not come when nothing has come for so long are lost.
    pub quiet: Duration,
}

/// How the service fares.
#[derive(Clone, Copy, Debug)]
pub enum Turns {
    /// It stays well.
    Well,
    /// It is so from the first time on until the second, counted from the beginning.
    Between(Health, Duration, Duration),
    /// It is slow until all is accepted.
    UntilAccepted,
}

/// What was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Records written to the socket.
    pub sent: u64,
    /// Different records that arrived.
    pub arrived: u64,
    /// Those that did not.
    pub missing: u64,
    /// What the process says it lost, if it says anything.
    pub lost_counted: Option<u64>,
    /// The same, by reason.
    pub lost_by_reason: BTreeMap<String, u64>,
    /// Arrived again.
    pub duplicated: u64,
    /// Arrived after a later one of their stream.
    pub reordered: u64,
    /// Requests the service would have refused.
    pub violations: u64,
    /// Why, the first few.
    pub reasons: Vec<String>,
    /// Requests that were taken.
    pub requests: u64,
    /// Requests that reached the service, for each that was taken.
    pub offered_per_taken: f64,
    /// Attempts, whether they reached it or not, for each that was taken: as the process counts them.
    pub attempts_per_taken: Option<f64>,
    /// Connections that the process closed.
    pub closed: u64,
    /// The longest that one write of the sender had to wait.
    pub blocked_worst_ms: f64,
    /// The same, all of it.
    pub blocked_ms: f64,
    /// CPU of the process.
    pub cpu_seconds: f64,
    /// Resident memory before the first record.
    pub rss_idle_kb: u64,
    /// The most resident memory.
    pub rss_peak_kb: u64,
    /// The most bytes in its folder.
    pub folder_peak_bytes: u64,
    /// From the first record until all of them were written.
    pub send_seconds: f64,
    /// From the first record to the last arrival.
    pub seconds: f64,
    /// From the heal to the first request that was taken behind it.
    pub first_taken_seconds: Option<f64>,
    /// From the heal to the last arrival.
    pub drain_seconds: Option<f64>,
}

/// What was seen, with what figures are worked out of.
#[derive(Debug)]
pub struct Run {
    /// The figures.
    pub seen: Seen,
    /// When the first record was due.
    pub begun: Duration,
    /// When the service was well again.
    pub healed: Option<Duration>,
    sink: Sink,
}

impl Run {
    /// Works something out of what has arrived.
    pub fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.sink.ledger())
    }
}

/// Runs `setting` once.
pub fn run(setting: &Setting, order: &Order) -> anyhow::Result<Run> {
    let folder = match setting.place {
        Place::Memory if Path::new(IN_MEMORY).is_dir() => tempfile::tempdir_in(IN_MEMORY),
        _ => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;
    let own = folder.path().join("own");
    fs::create_dir(&own).context("cannot make a folder for the process")?;
    let fill = |text: &str| text.replace("{folder}", &own.to_string_lossy());
    let Lines { service, input, output } = &setting.lines;
    let lines = Lines { service: fill(service), input: fill(input), output: fill(output) };
    let (config, socket) = (folder.path().join("bench.conf"), folder.path().join("forward.sock"));
    let clock = Clock::default();
    let sink = Sink::start(clock, None).context("cannot play the service")?;
    fs::write(&config, configuration(&socket, sink.port, &lines)).context("cannot write the configuration")?;
    let places = Places { config: &config, socket: &socket, port: sink.port };
    let mut process = Process::start(&fill(&setting.command), &places, &folder.path().join("log"))?;
    thread::sleep(IDLE);
    let rss_idle_kb = process.status_kb("VmRSS");
    let cpu = process.cpu();
    let mut watch = Watch { order, own: &own, sink: &sink, clock, folder_peak: 0, begun: clock.now(), healed: None };
    let sent = watch.watch(&mut process, &socket)?;
    let cpu_seconds = process.cpu().saturating_sub(cpu).as_secs_f64();
    let (folder_peak_bytes, healed) = (watch.folder_peak, watch.healed);
    ensure!(process.alive(), "{} ended in the middle:\n{}", setting.name, log_of(folder.path()));
    let page = page(&process);
    let lost = page.as_ref().map(|page| {
        let Account { lost, refused, .. } = page.books().total();
        lost.into_iter().chain(refused).collect::<BTreeMap<_, _>>()
    });
    let ledger = sink.ledger();
    let since_heal = |at: Duration| healed.map(|healed| hundredth(at.saturating_sub(healed).as_secs_f64()));
    let first_taken = ledger.course.iter().find(|(at, _)| Some(*at) >= healed);
    let (requests, per_taken) = (ledger.requests, |count: f64| hundredth(count / ledger.requests.max(1) as f64));
    let seen = Seen {
        sent: sent.records,
        arrived: ledger.unique,
        missing: sent.records.saturating_sub(ledger.unique),
        lost_counted: lost.as_ref().map(|lost| lost.values().sum()),
        lost_by_reason: lost.unwrap_or_default(),
        duplicated: ledger.duplicated,
        reordered: ledger.reordered,
        violations: ledger.violations,
        reasons: ledger.reasons.clone(),
        requests,
        offered_per_taken: per_taken((requests + ledger.rejected) as f64),
        attempts_per_taken: page.map(|page| per_taken(page.sum("pillion_deliver_requests_total", &[]))),
        closed: sent.closed,
        blocked_worst_ms: super::cell::millis(sent.blocked_worst),
        blocked_ms: super::cell::millis(sent.blocked),
        cpu_seconds: hundredth(cpu_seconds),
        rss_idle_kb,
        rss_peak_kb: process.status_kb("VmHWM"),
        folder_peak_bytes,
        send_seconds: hundredth(sent.time.as_secs_f64()),
        seconds: hundredth(ledger.last_arrival.saturating_sub(sent.begun).as_secs_f64()),
        first_taken_seconds: first_taken.and_then(|(at, _)| since_heal(*at)),
        drain_seconds: since_heal(ledger.last_arrival),
    };
    drop(ledger);
    Ok(Run { seen, begun: sent.begun, healed, sink })
}

/// To two digits behind the point.
pub fn hundredth(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

struct Watch<'a> {
    order: &'a Order,
    own: &'a Path,
    sink: &'a Sink,
    clock: Clock,
    folder_peak: u64,
    begun: Duration,
    healed: Option<Duration>,
}

impl Watch<'_> {
    /// Sends and waits until there is nothing left, looking at the process all the while.
    fn watch(&mut self, process: &mut Process, socket: &Path) -> anyhow::Result<Sent> {
        let (load, clock) = (self.order.load, self.clock);
        if matches!(self.order.turns, Turns::UntilAccepted) {
            self.sink.is(Health::Hold);
        }
        self.begun = clock.now();
        thread::scope(|scope| {
            let sending = scope.spawn(move || sender::send(socket, &load, &clock));
            while !sending.is_finished() {
                self.look(process, None);
                thread::sleep(LOOK);
            }
            let sent = sending.join().expect("the sender does not panic").context("cannot send")?;
            let ended = clock.now();
            loop {
                let books = page(process).map(|page| page.books().total());
                self.look(process, books.as_ref().map(|books| books.accepted >= sent.records));
                let (unique, last) = {
                    let ledger = self.sink.ledger();
                    (ledger.unique, ledger.last_arrival)
                };
                let empty = books.is_some_and(|books| is_done(&books, sent.records));
                let since = last.max(ended).max(self.healed.unwrap_or_default());
                let quiet = clock.now().saturating_sub(since);
                if unique >= sent.records || empty || quiet > self.order.quiet || !process.alive() {
                    return Ok(sent);
                }
                thread::sleep(LOOK);
            }
        })
    }

    /// One look. `accepted` says whether all is; nobody knows for a process without books.
    fn look(&mut self, process: &mut Process, accepted: Option<bool>) {
        process.cpu();
        self.folder_peak = self.folder_peak.max(bytes_in(self.own));
        let now = self.clock.now() - self.begun;
        match self.order.turns {
            Turns::Between(health, from, to) if now >= from && now < to => self.sink.is(health),
            Turns::Between(_, _, to) if now >= to => self.heal(),
            Turns::UntilAccepted if accepted == Some(true) => self.heal(),
            _ => {}
        }
    }

    fn heal(&mut self) {
        if self.healed.is_none() {
            self.healed = Some(self.clock.now());
            self.sink.is(Health::Well);
        }
    }
}

/// True if the process has got all that was sent and has none of it left.
fn is_done(books: &Account, sent: u64) -> bool {
    books.accepted >= sent && books.spooled + books.in_flight == 0
}

/// Its page, if it has one.
fn page(process: &Process) -> Option<Metrics> {
    let (status, page) = agent::get(process.admin, "/metrics").ok()?;
    let page = Metrics::parse(&page).ok()?;
    (status == 200).then_some(page)
}

/// Bytes of all files below `folder`.
fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // What vanishes meanwhile takes no room.
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += bytes_in(&entry.path()),
            Ok(about) => bytes += about.len(),
            Err(_) => {}
        }
    }
    bytes
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_folder_are_those_of_all_files_below() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("a")).expect("made");
        fs::write(folder.path().join("a/b"), [0; 300]).expect("written");
        fs::write(folder.path().join("c"), [0; 7]).expect("written");
        assert_eq!(bytes_in(folder.path()), 307);
        assert_eq!(bytes_in(&folder.path().join("nowhere")), 0);
    }

    #[test]
    fn a_process_is_done_when_it_has_all_and_none_is_left() {
        let books = |accepted, spooled, in_flight| Account { accepted, spooled, in_flight, ..Account::default() };
        assert!(is_done(&books(10, 0, 0), 10));
        for (left, why) in [(books(9, 0, 0), "not read"), (books(10, 1, 0), "on disk"), (books(10, 0, 1), "in memory")]
        {
            assert!(!is_done(&left, 10), "{why}");
        }
    }
}
