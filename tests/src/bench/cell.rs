//! One measured cell: one agent, one load, one service.
//!
//! Promises: a fresh process for every cell; its CPU counts from before the first write until the last record has
//! arrived (or nothing has come for a while); what has not arrived by then is lost.
//! Never: measures two processes at once.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    clock::Clock,
    floor::FIXED,
    process::{Places, Process, own_cpu_ticks},
    sender::{self, Load, Sent},
    sink::Sink,
};
use crate::{agent, metrics::Metrics};

/// How long a process is left alone before its idle figures are taken.
const IDLE: Duration = Duration::from_secs(1);
/// How often threads and arrivals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Records that have not come when nothing has come for so long are lost. Fluent Bit tries again within 5 to 10 s.
const QUIET_MAX: Duration = Duration::from_secs(12);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The one under test.
    Agent,
    /// The other one.
    Peer,
    /// A process that only reads.
    Bare,
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Whose command it is.
    pub who: Who,
    /// The command.
    pub command: &'a str,
    /// What is sent.
    pub load: Load,
    /// How fast the service is, in bytes per second.
    pub sink_speed: Option<u64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The scenario.
    pub bench: &'static str,
    /// The round, from 1.
    pub round: usize,
    /// Whose figures these are.
    pub who: Who,
    /// Records in a write.
    pub shape: &'static str,
    /// Records per second asked for; null: flat out.
    pub rate: Option<u64>,
    /// Records written to the socket.
    pub sent: u64,
    /// Different records that arrived at the service. For the bare reader: read.
    pub accepted: u64,
    /// Sent and not arrived.
    pub lost: u64,
    /// What the process itself says it lost.
    pub lost_counted: Option<u64>,
    /// Arrived again.
    pub duplicated: u64,
    /// Arrived after a later one.
    pub reordered: u64,
    /// Arrived without a mark.
    pub unmarked: u64,
    /// CPU of the process per record, from schedstat.
    pub cpu_ns_per_record: f64,
    /// The same from ticks of 10 ms, to cross-check.
    pub cpu_ns_per_record_by_ticks: f64,
    /// Records per second of CPU.
    pub records_per_cpu_second: f64,
    /// Records per second by the clock.
    pub records_per_second: f64,
    /// Resident memory after a second of idling.
    pub rss_idle_kb: u64,
    /// The most resident memory.
    pub rss_peak_kb: u64,
    /// From exec to a socket that accepts.
    pub start_to_bound_ms: f64,
    /// Connections that the process closed.
    pub closed: u64,
    /// Writes that had to wait.
    pub blocked_times: u64,
    /// Time in them.
    pub blocked_ms: f64,
    /// The longest of them.
    pub blocked_worst_ms: f64,
    /// Time from the first write to the last.
    pub send_ms: f64,
    /// From written to accepted.
    pub latency_p50_ms: f64,
    /// From written to accepted.
    pub latency_p99_ms: f64,
    /// PutLogEvents requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub request_bytes: u64,
    /// Requests the service would have refused.
    pub violations: u64,
    /// Why, the first few.
    pub reasons: Vec<String>,
    /// CPU of the bench itself per record: what it takes away from the process on a small machine.
    pub bench_ns_per_record: f64,
}

/// Measures one cell.
pub fn measure(bench: &'static str, round: usize, order: &Order<'_>) -> anyhow::Result<Cell> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (config, socket) = (folder.path().join("bench.conf"), folder.path().join("forward.sock"));
    let clock = Clock::default();
    let sink = Sink::start(clock, order.sink_speed).context("cannot play the service")?;
    fs::write(&config, configuration(&socket, sink.port, &Lines::default()))
        .context("cannot write the configuration")?;
    let places = Places { config: &config, socket: &socket, port: sink.port };
    let mut process = Process::start(order.command, &places, &folder.path().join("log"))?;
    thread::sleep(IDLE);
    let rss_idle_kb = process.status_kb("VmRSS");
    let (cpu, ticks, own) = (process.cpu(), process.cpu_ticks(), own_cpu_ticks());
    let begun = clock.now();
    let sent = watch(&mut process, &socket, order, &clock, &sink)?;
    let cpu = process.cpu().saturating_sub(cpu);
    let ticks = process.cpu_ticks().saturating_sub(ticks);
    let own = own_cpu_ticks().saturating_sub(own);
    let lost_counted = if order.who == Who::Bare { None } else { lost_counted(process.admin) };
    let mut ledger = sink.ledger();
    let accepted = if order.who == Who::Bare { sent.records } else { ledger.unique };
    let until = if order.who == Who::Bare { begun + sent.time } else { ledger.last_arrival };
    let per_record = |time: Duration| time.as_nanos() as f64 / accepted.max(1) as f64;
    Ok(Cell {
        bench,
        round,
        who: order.who,
        shape: order.load.shape.label(),
        rate: order.load.rate,
        sent: sent.records,
        accepted,
        lost: sent.records.saturating_sub(accepted),
        lost_counted,
        duplicated: ledger.duplicated,
        reordered: ledger.reordered,
        unmarked: ledger.unmarked,
        cpu_ns_per_record: tenth(per_record(cpu)),
        cpu_ns_per_record_by_ticks: tenth(per_record(ticks)),
        records_per_cpu_second: (accepted as f64 / cpu.as_secs_f64().max(1e-9)).round(),
        records_per_second: (accepted as f64 / until.saturating_sub(begun).as_secs_f64().max(1e-9)).round(),
        rss_idle_kb,
        rss_peak_kb: process.status_kb("VmHWM"),
        start_to_bound_ms: millis(process.start_to_bound),
        closed: sent.closed,
        blocked_times: sent.blocked_times,
        blocked_ms: millis(sent.blocked),
        blocked_worst_ms: millis(sent.blocked_worst),
        send_ms: millis(sent.time),
        latency_p50_ms: ledger.latency_ms(50),
        latency_p99_ms: ledger.latency_ms(99),
        requests: ledger.requests,
        request_bytes: ledger.bytes,
        violations: ledger.violations,
        reasons: ledger.reasons.clone(),
        bench_ns_per_record: tenth(per_record(own)),
    })
}

/// Sends and waits until everything has arrived, looking at the process all the while.
fn watch(process: &mut Process, socket: &Path, order: &Order<'_>, clock: &Clock, sink: &Sink) -> anyhow::Result<Sent> {
    thread::scope(|scope| {
        let sending = scope.spawn(|| sender::send(socket, &order.load, clock));
        while !sending.is_finished() {
            process.cpu();
            thread::sleep(LOOK);
        }
        let sent = sending.join().expect("the sender does not panic").context("cannot send")?;
        if order.who == Who::Bare {
            return Ok(sent);
        }
        let ended = clock.now();
        loop {
            process.cpu();
            let (unique, last) = {
                let ledger = sink.ledger();
                (ledger.unique, ledger.last_arrival)
            };
            let quiet = clock.now().saturating_sub(last.max(ended));
            if unique >= sent.records || quiet > QUIET_MAX || !process.alive() {
                return Ok(sent);
            }
            thread::sleep(LOOK);
        }
    })
}

/// Lines to add to the sections of a configuration, each with its end.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// To `SERVICE`.
    pub service: String,
    /// To `INPUT`.
    pub input: String,
    /// To `OUTPUT`.
    pub output: String,
}

/// A file that pillion and Fluent Bit both understand, as long as no lines are added.
pub fn configuration(socket: &Path, port: u16, lines: &Lines) -> String {
    let mut text = format!(
        "[SERVICE]\n    flush 1\n    log_level info\n{}\n\
         [INPUT]\n    name forward\n    unix_path {}\n    mem_buf_limit 25MB\n{}\n\
         [FILTER]\n    name record_modifier\n    match *\n",
        lines.service,
        socket.display(),
        lines.input
    );
    for (key, value) in FIXED {
        writeln!(text, "    record {key} {value}").expect("a String takes everything");
    }
    write!(
        text,
        "\n[OUTPUT]\n    name cloudwatch_logs\n    match *\n    region us-east-1\n    endpoint 127.0.0.1\n    \
         port {port}\n    tls off\n    log_group_name bench\n    log_stream_prefix s-\n    auto_create_group true\n{}",
        lines.output
    )
    .expect("a String takes everything");
    text
}

/// What the process itself counts as lost or refused; `None` if it has no page that says so.
fn lost_counted(admin: SocketAddr) -> Option<u64> {
    let (_, page) = agent::get(admin, "/metrics").ok()?;
    let total = Metrics::parse(&page).ok()?.books().total();
    (total.accepted > 0).then(|| total.lost.values().chain(total.refused.values()).sum())
}

/// In milliseconds, to the microsecond.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
