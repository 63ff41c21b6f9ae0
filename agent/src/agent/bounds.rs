//! What the agent may take of the container's memory: a table of every bound, and the records' part that follows from it.
//!
//! Promises: a `memory` that the container certainly cannot hold is a problem before anything is opened; what is derived from
//! the container's limit fits into it with what the agent always needs.
//! Never: refuses a start over a number that the user did not write.

use std::fmt::Write;

use crate::{
    config::Config,
    limits::{
        CONNECTIONS_MAX, FORWARD_BURST_BYTES, FORWARD_MESSAGE_BYTES_MAX, FORWARD_READ_BYTES, OTLP_CONNECTIONS_MAX,
        OTLP_FRAME_BYTES_MAX, OTLP_WINDOW, OWN_SPANS_MAX, PARTIAL_BYTES_FREE, PARTIAL_MESSAGES_MAX,
        PARTIAL_WAITING_MAX, PROXY_ANSWER_BYTES_MAX, PROXY_BODY_BYTES_MAX, PROXY_CONNECTIONS_MAX, PROXY_HEAD_BYTES_MAX,
        PROXY_KEPT_MAX, PROXY_LARGE_BODIES_MAX, PROXY_SMALL_BODY_BYTES, PROXY_UNDER_WAY_MAX, STATSD_CONNECTIONS_MAX,
        STATSD_PACKET_BYTES_MAX,
    },
    logs::settings::Input,
    metrics::{
        otlp::{STREAMS_FOR_EACH, streams::BUCKETS_MAX},
        scrape::SMALL_BYTES,
        settings as metrics,
    },
    net::{datagram::DATAGRAM_BYTES_MAX, inflate::ZSTD_WINDOW_BYTES_MAX},
    otlp::input,
    problem::Problem,
    traces::settings as traces,
    units::ByteSize,
};

/// Memory for data when nothing says how much there is.
const MEMORY_DEFAULT: ByteSize = ByteSize::mebibytes(64);
/// The least that makes sense: a few batches of 1 MiB.
const MEMORY_LEAST: ByteSize = ByteSize::mebibytes(8);
/// What an idle agent takes: 9.5 to 9.8 MiB, measured (docs/performance.md).
const PROGRAM: u64 = 10 * 1024 * 1024;
/// Buffers that are kept for reading.
const READ_BUFFERS: u64 = 2;
/// Bytes on their way to the disk for each output.
const DISK_WRITES: u64 = 4 * 1024 * 1024;
/// One of our own spans with its attributes, and 512 of them as a request.
const OWN_SPAN: usize = 1_024;
const OWN_REQUEST: usize = 512 * 512;
/// Patterns of a secret with its version before, in the set that is in use and the one that is built.
const MASKS: u64 = 24 * 1024;
/// Two sets of the most patterns, their text, and the places of the most secrets in one read.
const MASKS_MOST: u64 = 64 * 1024 * 1024;
/// Connections of a listener, however small the container is. A task has one for each of its ten containers.
const CONNECTIONS_LEAST: usize = 64;
/// What one port for SDKs holds at worst: small bodies and heads, large bodies with the room of a growing buffer, answers.
const PROXY: u64 = (PROXY_CONNECTIONS_MAX * (PROXY_HEAD_BYTES_MAX + PROXY_SMALL_BODY_BYTES)
    + 2 * PROXY_LARGE_BODIES_MAX * PROXY_BODY_BYTES_MAX
    + (PROXY_UNDER_WAY_MAX + PROXY_KEPT_MAX) * PROXY_ANSWER_BYTES_MAX) as u64;
/// A series (450 bytes, `cargo bench --bench statsd`), and a distribution of 150 values with twice their room.
const SERIES: u64 = 450 + 2 * 16 * 150;
/// Connections to the admin address, and the head of a request on each.
const ADMIN: u64 = 64 * 8 * 1024;

/// When a row is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In ordinary operation: this must fit.
    Ordinary,
    /// Only if peers use every limit that they have at once.
    AtWorst,
}

/// One bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is for.
    pub name: &'static str,
    /// Bytes at most.
    pub bytes: u64,
    /// When they are used.
    pub when: When,
    /// Where the number comes from.
    pub source: String,
}

/// All bounds.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The rows.
    pub rows: Vec<Row>,
    /// Memory for undelivered records.
    pub records: ByteSize,
    /// Connections of one listener at a time.
    pub connections: usize,
    limit: Option<u64>,
}

impl Bounds {
    /// The bounds of `config` in a container with `limit` bytes of memory, if it has a limit.
    pub fn of(config: &Config, limit: Option<u64>) -> Self {
        let connections = connections(listeners(config), limit);
        let mut bounds = Self { rows: fixed(config, connections), records: ByteSize(0), connections, limit };
        bounds.records = config.memory.unwrap_or_else(|| derived(config.memory_hint, limit, bounds.ordinary()));
        let source = match (config.memory, limit) {
            (Some(_), _) => "`memory`".to_owned(),
            (None, _) if config.memory_hint == Some(bounds.records) => {
                "`Mem_Buf_Limit` of the socket, or `-m` of the X-Ray daemon".to_owned()
            }
            (None, Some(limit)) => format!("derived from the container's {}", ByteSize(limit)),
            (None, None) => "derived; the container has no limit".to_owned(),
        };
        let row = Row { name: "undelivered records", bytes: bounds.records.0, when: When::Ordinary, source };
        bounds.rows.insert(0, row);
        bounds
    }

    /// The problem of a `memory` that the container cannot hold.
    pub fn problem(&self, config: &Config) -> Option<Problem> {
        let limit = self.limit.filter(|&limit| config.memory.is_some() && self.ordinary() > limit)?;
        let mut largest: Vec<&Row> = self.rows.iter().filter(|row| row.when == When::Ordinary).collect();
        largest.sort_by_key(|row| std::cmp::Reverse(row.bytes));
        let largest: Vec<String> =
            largest.iter().take(3).map(|row| format!("{} {}", row.name, ByteSize(row.bytes))).collect();
        let what = format!("does not fit into the container's {}: {}", ByteSize(limit), largest.join(", "));
        let most = ByteSize(limit.saturating_sub(self.ordinary() - self.records.0));
        let hint = format!("give at most {most}, leave it out, or give the container more memory");
        Some(Problem::error(&config.memory_place, what, hint))
    }

    /// The table, for a person.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for Row { name, bytes, when, source } in &self.rows {
            let worst = if *when == When::AtWorst { "at worst " } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {name:<36} {:>10}  {worst}{source}", ByteSize(*bytes).to_string());
        }
        let all = ByteSize(self.rows.iter().map(|row| row.bytes).sum());
        let limit = self.limit.map_or("no limit".to_owned(), |limit| ByteSize(limit).to_string());
        let ordinary = ByteSize(self.ordinary());
        let _ = writeln!(
            text,
            "    {:<36} {:>10}  {all} at worst; the container has {limit}",
            "together",
            ordinary.to_string()
        );
        text
    }

    fn ordinary(&self) -> u64 {
        let ordinary = self.rows.iter().filter(|row| row.when == When::Ordinary);
        ordinary.fold(0, |sum, row| sum.saturating_add(row.bytes))
    }
}

/// Half of the container's memory, or what the rest leaves of it, or what ECS wrote into the file.
fn derived(hint: Option<ByteSize>, limit: Option<u64>, ordinary: u64) -> ByteSize {
    let room = limit.map(|limit| ByteSize((limit / 2).min(limit.saturating_sub(ordinary))));
    let known = [room, hint].into_iter().flatten().min();
    known.unwrap_or(MEMORY_DEFAULT).max(MEMORY_LEAST)
}

fn listeners(config: &Config) -> u64 {
    let listeners = config.logs.inputs.iter().map(|input| match input {
        Input::Forward(forward) => u64::from(forward.unix.is_some()) + u64::from(forward.tcp.is_some()),
        Input::Json(_) => 1,
        Input::Emf(emf) => u64::from(emf.tcp_address().is_some()),
        Input::Otlp(_) => 0,
    });
    listeners.sum()
}

/// So many connections that their unfinished messages take a sixteenth of the container. A thousand senders, each in the
/// middle of a line, ended an agent in 72 MiB (measured).
fn connections(listeners: u64, limit: Option<u64>) -> usize {
    let most = limit.map_or(u64::MAX, |limit| limit / 16 / PARTIAL_BYTES_FREE as u64 / listeners.max(1));
    usize::try_from(most).unwrap_or(usize::MAX).clamp(CONNECTIONS_LEAST, CONNECTIONS_MAX)
}

/// Every bound but that of the records.
fn fixed(config: &Config, connections: usize) -> Vec<Row> {
    let messages = config.logs.inputs.iter().filter_map(|input| match input {
        Input::Forward(forward) => forward.message_bytes_max.map(|bytes| bytes.0),
        Input::Json(_) | Input::Emf(_) | Input::Otlp(_) => None,
    });
    let message = messages.max().unwrap_or(FORWARD_MESSAGE_BYTES_MAX as u64);
    let spooled = if config.spool.path.is_some() { config.keeping() as u64 } else { 0 };
    let read = (PARTIAL_BYTES_FREE + FORWARD_READ_BYTES) as u64;
    // A growing buffer has up to a third to spare; a burst takes its bytes, and a read and its doubling more.
    let large = (message.saturating_mul(4) / 3).max(FORWARD_BURST_BYTES as u64 + 4 * read);
    let unfinished = connections as u64 * listeners(config) * PARTIAL_BYTES_FREE as u64;
    // While it is decompressed there is the window, and afterwards the record that is written.
    let open = message.saturating_add(ZSTD_WINDOW_BYTES_MAX.max(message.saturating_mul(8) / 7));
    let secrets = config.secrets.items.len() as u64;
    let own_spans = if config.telemetry.traces.is_some() { (OWN_SPANS_MAX * OWN_SPAN + OWN_REQUEST) as u64 } else { 0 };
    // While a set is built there is the one before, and the text of the patterns.
    let masks_most = if config.secrets.is_wanted() { MASKS_MOST } else { 0 };
    let mut rows = vec![
        row("the program", PROGRAM, When::Ordinary, "measured"),
        row("read buffers", READ_BUFFERS * read, When::Ordinary, "two, kept"),
        row("the admin address", ADMIN, When::Ordinary, "64 connections"),
        row("own spans", own_spans, When::Ordinary, "2,048 that wait, and a request of 512"),
        row("on the way to disk", spooled * DISK_WRITES, When::Ordinary, "4 MiB for each output with a spool"),
        row(
            "masks of secrets",
            secrets.saturating_mul(MASKS),
            When::Ordinary,
            "24 KiB for each secret: old and new, twice",
        ),
        row("masks of secrets, at most", masks_most, When::AtWorst, "65,536 patterns, and what is found in a read"),
        row(
            "unfinished messages",
            unfinished,
            When::AtWorst,
            &format!("32 KiB for each of {connections} connections of a listener"),
        ),
        row(
            "large unfinished messages",
            large.saturating_mul(PARTIAL_MESSAGES_MAX as u64),
            When::AtWorst,
            "four, of `message_bytes_max` and what a growing buffer has to spare",
        ),
        row("reads that wait for their room", PARTIAL_WAITING_MAX as u64 * read, When::AtWorst, "64 connections"),
        row("a message being opened and written", open, When::AtWorst, "one at a time"),
    ];
    rows.extend(of_traces(config));
    rows.extend(of_metrics(config));
    rows
}

fn row(name: &'static str, bytes: u64, when: When, source: &str) -> Row {
    Row { name, bytes, when, source: source.to_owned() }
}

fn of_traces(config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    for input in &config.traces.inputs {
        match input {
            // The kernel keeps twice what is asked for, and counts it as the container's.
            traces::Input::Xray(xray) => {
                let bytes = xray.receive().0.saturating_mul(2) + DATAGRAM_BYTES_MAX as u64;
                let source = "`receive_bytes` in the kernel, which keeps twice that";
                rows.push(row("segments not yet read", bytes, When::AtWorst, source));
                if xray.tcp_address().is_some() {
                    let source = "256 connections, 16 requests, 8 answers kept";
                    rows.push(row("what SDKs ask X-Ray", PROXY, When::AtWorst, source));
                }
            }
            traces::Input::Otlp(_) => {}
        }
    }
    // For each address: two bodies, what one of them becomes, and what connections may send ahead.
    let places = input::places(config.otlp());
    if !places.is_empty() {
        let each = |place: &input::Place| {
            let bodies = (place.request_bytes_max as u64).saturating_mul(3);
            bodies.saturating_add(OTLP_CONNECTIONS_MAX as u64 * u64::from(OTLP_WINDOW + OTLP_FRAME_BYTES_MAX))
        };
        let bytes = places.iter().map(each).fold(0, u64::saturating_add);
        let source = "each port with two bodies and an open one of `request_bytes_max`, and 256 KiB a connection";
        rows.push(row("requests of OTLP", bytes, When::AtWorst, source));
    }
    rows
}

/// What is kept of a counter of OTLP: a hash, a number, and its place in a table.
const STREAM: u64 = 64;
/// A bucket of a histogram there: a bound and a count.
const BUCKET: u64 = 16;

fn of_metrics(config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    for input in &config.metrics.inputs {
        match input {
            metrics::Input::Statsd(statsd) => {
                let bytes = statsd.receive().0.saturating_mul(2) + DATAGRAM_BYTES_MAX as u64;
                let source = "`receive_bytes` in the kernel, which keeps twice that";
                rows.push(row("packets not yet read", bytes, When::AtWorst, source));
                if statsd.unix_stream.is_some() {
                    // A packet, and a quarter of one that is read behind it.
                    let bytes = (STATSD_CONNECTIONS_MAX * STATSD_PACKET_BYTES_MAX * 5 / 4) as u64;
                    rows.push(row("streams of statsd", bytes, When::AtWorst, "64 connections of 80 KiB"));
                }
            }
            metrics::Input::Emf(_) => {}
            metrics::Input::Otlp(otlp) => {
                let streams = otlp.publish.series_max().saturating_mul(STREAMS_FOR_EACH) as u64;
                let bytes = streams.saturating_mul(STREAM).saturating_add(BUCKETS_MAX as u64 * BUCKET);
                let source = "four for each of `series_max`, and a million buckets";
                rows.push(row("where apps' counters stand", bytes, When::AtWorst, source));
            }
            metrics::Input::Scrape(scrape) => {
                let small = scrape.targets_counted().saturating_mul(SMALL_BYTES);
                let bytes = scrape.bytes_max().saturating_mul(3).saturating_add(small) as u64;
                let source = "a large body while it grows, what it becomes, and 1 MiB a target";
                rows.push(row("what is scraped", bytes, When::AtWorst, source));
            }
            metrics::Input::Logs(_) | metrics::Input::Task(_) | metrics::Input::Queue(_) => {}
        }
    }
    // Each may have one that stands for others of its name.
    let series = 2 * config.metrics.series_max() as u64;
    if series > 0 {
        let source = "twice `series_max` of all inputs, with 150 values each";
        rows.push(row("series of metrics", series.saturating_mul(SERIES), When::AtWorst, source));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Environment, Sources},
        fluentbit::InMemory,
    };

    const MIB: u64 = 1 << 20;

    fn config(text: &str) -> Config {
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let outputs = "    - to: {file: {folder: /x}}\n".repeat(3);
        let files = InMemory::one("p.yaml", format!("{text}logs:\n  outputs:\n{outputs}"));
        config::load(&Sources { file: Some("p.yaml".into()), environment, files: &files }).expect("it is well").0
    }

    #[test]
    fn a_small_container_takes_fewer_connections_at_a_time() {
        for (listeners, mib, expected) in [
            (1, None, 1_024),
            (1, Some(4_096), 1_024),
            (1, Some(72), 144),
            (3, Some(72), 64),
            (2, Some(512), 512),
            (0, Some(32), 64),
        ] {
            assert_eq!(connections(listeners, mib.map(|mib: u64| mib * MIB)), expected, "{listeners} in {mib:?}");
        }
    }

    /// The agent is never the reason a task fails: what nobody wrote fits, with a spool for some outputs too.
    #[test]
    fn what_is_derived_fits_into_every_container_from_32_mib_on() {
        for text in ["", "spool: {path: /s}\n"] {
            for mib in [32, 33, 40, 48, 64, 100, 128, 256, 512, 4_096] {
                let bounds = Bounds::of(&config(text), Some(mib * MIB));
                assert!(bounds.ordinary() <= mib * MIB, "{mib} MiB {text}: {}", bounds.table());
                assert!(
                    bounds.records >= MEMORY_LEAST && bounds.records.0 <= mib * MIB / 2,
                    "{mib}: {}",
                    bounds.records
                );
            }
        }
        assert_eq!(Bounds::of(&config(""), None).records, MEMORY_DEFAULT);
        assert_eq!(Bounds::of(&config(""), Some(512 * MIB)).records, ByteSize::mebibytes(256));
        let hinted = Config { memory_hint: Some(ByteSize::mebibytes(25)), ..config("") };
        assert_eq!(Bounds::of(&hinted, Some(512 * MIB)).records, ByteSize::mebibytes(25));
    }

    #[test]
    fn only_a_memory_that_was_written_is_refused() {
        let problem = |text: &str, mib: u64| {
            let config = config(text);
            Bounds::of(&config, Some(mib * MIB)).problem(&config).map(|problem| problem.to_string())
        };
        assert_eq!(problem("", 8), None, "smaller than the agent itself, and it tries");
        assert_eq!(problem("memory: 64 MiB\n", 128), None);
        let refused = problem("memory: 64 MiB\n", 64).expect("it cannot fit");
        assert!(refused.starts_with("error: p.yaml:1 memory: does not fit into the container's 64 MiB: "), "{refused}");
        assert!(refused.contains("undelivered records 64 MiB, the program 10 MiB"), "{refused}");
        let config = config("memory: 64 MiB\n");
        assert_eq!(Bounds::of(&config, None).problem(&config), None, "without a limit nothing is too much");
    }
}
