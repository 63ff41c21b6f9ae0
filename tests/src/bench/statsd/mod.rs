//! `bench statsd`: what a line of StatsD costs from the socket to its series, what series take of memory, and what is lost.
//!
//! First each series is written once, slowly: so they are made. Then they are written in rounds, at a rate or flat out. What arrived is read off the
//! page of the one under test at the end: the counters (or counts of distributions) themselves, added up.
//!
//! Promises: every line counts one (a packed one eight), so that what is lost is exact; what the kernel dropped at the UDP port is told apart; on a
//! unix socket the sender is held up instead. CPU is that of the process under test, without the reading of the page.
//! Never: trusts what the one under test says about itself.

mod load;

use std::{fs, io::Write, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::{
    clock::Clock,
    otlp::mebibytes,
    plan::{build_own, print, spread},
    process::Process,
    table, xray,
};
use crate::{
    agent::{free_address, get},
    command_line::CommandLine,
};
use load::{Shape, Socket, Way};

/// What `--help` prints of it.
pub const HELP: &str = "
  bench statsd               lines of StatsD by UDP and unix datagrams, few and many series, packed and not

  --rounds N           interleaved rounds (3)
  --rate N|max         lines per second (max)
  --seconds N          of sending in each cell (5)
  --series N,N         how many series there are (10000,100000)
  --ways WAYS          of udp, unix; a comma between (all)
  --shapes SHAPES      of single (a line a packet), lines (packets as clients with a buffer write them), packed (eight values a line) (all)
  --under-test CMD     the agent (this tree's pillion with -c {config})
";

/// Lines per second at which series are made.
const MAKING: u64 = 50_000;
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// CPU time between two looks of a process that has nothing to do any more, and how many looks must have seen no more.
const IDLE: (Duration, usize) = (Duration::from_millis(1), 10);
/// How long it may take until it has nothing to do any more.
const IDLE_WAIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    rate: Option<u64>,
    time: Duration,
    series: Vec<usize>,
    ways: Vec<(&'static str, Way)>,
    shapes: Vec<(&'static str, Shape)>,
    under_test: Option<String>,
}

/// One cell, measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    way: &'static str,
    shape: &'static str,
    series: usize,
    rate: Option<u64>,
    lines: u64,
    /// Lines that did not arrive, and those of them of which nobody but the kernel ever knew, in packets.
    lost: u64,
    kernel_drops: u64,
    lines_per_second: f64,
    lines_per_cpu_second: f64,
    /// CPU time for each series that was made.
    us_per_new_series: f64,
    rss_idle_mib: f64,
    rss_series_mib: f64,
    rss_peak_mib: f64,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            rounds: 3,
            rate: None,
            time: Duration::from_secs(5),
            series: vec![10_000, 100_000],
            ways: Way::ALL.to_vec(),
            shapes: Shape::ALL.to_vec(),
            under_test: None,
        };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--rate" => self.rate = if value == "max" { None } else { Some(value.parse()?) },
            "--seconds" => self.time = Duration::from_secs_f64(value.parse()?),
            "--series" => {
                self.series =
                    value.split(',').map(|number| number.parse().context("write numbers")).collect::<Result<_, _>>()?;
            }
            "--ways" => self.ways = some_of(&Way::ALL, value)?,
            "--shapes" => self.shapes = some_of(&Shape::ALL, value)?,
            "--under-test" => self.under_test = Some(value.to_owned()),
            _ => bail!("there is no such option; see --help"),
        }
        ensure!(self.rate != Some(0), "at least a line per second");
        ensure!(self.series.iter().all(|series| (1..=1_000_000).contains(series)), "1 to 1000000 series");
        Ok(())
    }
}

pub(super) fn some_of<T: Copy>(all: &[(&'static str, T)], named: &str) -> anyhow::Result<Vec<(&'static str, T)>> {
    let named: Vec<_> = named.split(',').collect();
    let some: Vec<_> = all.iter().filter(|(name, _)| named.contains(name)).copied().collect();
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    ensure!(some.len() == named.len(), "write some of {}", names.join(", "));
    Ok(some)
}

/// Measures what `words` ask for.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let cells = || {
        let of_way = |way| options.shapes.iter().map(move |shape| (way, *shape));
        let ways = options.ways.iter().flat_map(move |way| of_way(*way));
        ways.flat_map(|(way, shape)| options.series.iter().map(move |series| (way, shape, *series)))
    };
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for (way, shape, series) in cells() {
            let measured = measure(&command, round, (way, shape, series), &options)?;
            print(out, &measured)?;
            all.push(measured);
        }
    }
    let rows = cells().map(|((way, _), (shape, _), series)| {
        let is_it = |cell: &&Measured| (cell.way, cell.shape, cell.series) == (way, shape, series);
        let figures =
            FIGURES.map(|figure| table::cell(&spread(&all.iter().filter(is_it).map(figure).collect::<Vec<_>>())));
        [format!("{way}, {shape}, {series}")].into_iter().chain(figures).collect()
    });
    write!(out, "\n{}\n", table::markdown(&HEAD, &rows.collect::<Vec<_>>()))?;
    print(
        out,
        &json!({"bench": "statsd", "summary": true, "rounds": options.rounds, "rate": options.rate, "under_test": command}),
    )
}

const HEAD: [&str; 8] = [
    "way, shape, series",
    "lines/s",
    "lines per CPU-second",
    "us per new series",
    "idle MiB",
    "with series MiB",
    "peak MiB",
    "lost lines",
];
const FIGURES: [fn(&Measured) -> f64; 7] = [
    |cell| cell.lines_per_second,
    |cell| cell.lines_per_cpu_second,
    |cell| cell.us_per_new_series,
    |cell| cell.rss_idle_mib,
    |cell| cell.rss_series_mib,
    |cell| cell.rss_peak_mib,
    |cell| cell.lost as f64,
];

fn measure(
    command: &str,
    round: usize,
    ((way_name, way), (shape_name, shape), series): ((&'static str, Way), (&'static str, Shape), usize),
    options: &Options,
) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (udp, unix) = (free_address()?, folder.path().join("statsd.socket"));
    let config = folder.path().join("pillion.yaml");
    fs::write(&config, configuration(udp, &unix, series, folder.path()))?;
    let command = command.replace("{config}", &config.to_string_lossy());
    let accepts = || unix.exists() && xray::row(udp.port()).is_some();
    let mut process = Process::launch(&command, &[], &folder.path().join("log"), &accepts)?;
    let (socket, clock) = (Socket::open(way, udp, &unix)?, Clock::default());
    let packets = load::packets(way, shape, series);
    idle(&mut process)?;
    let (rss_idle, before) = (process.status_kb("VmRSS"), process.cpu());
    let made = watched(&mut process, || socket.load(&packets, Some(MAKING), None, clock))?;
    idle(&mut process)?;
    let (rss_series, after_making) = (process.status_kb("VmRSS"), process.cpu());
    let begun = clock.now();
    let lines = watched(&mut process, || socket.load(&packets, options.rate, Some(options.time), clock))?;
    idle(&mut process)?;
    let time = clock.now() - begun;
    let cpu = (process.cpu() - after_making).as_secs_f64();
    let (rss_peak, kernel_drops) = (process.status_kb("VmHWM"), xray::row(udp.port()).unwrap_or(0));
    let arrived = counted(process.admin, &["bench_hits_total{", "bench_hits_count{"])? / shape.samples() as u64;
    ensure!(arrived <= made + lines, "more lines arrived than were sent");
    // What got lost while series were made is lost, too; it costs nothing of what is measured.
    let lost = made + lines - arrived;
    let taken = lines.saturating_sub(lost) as f64;
    // Until it has nothing to do takes some looks more than it had to do.
    let seconds = (time.as_secs_f64() - (LOOK * IDLE.1 as u32).as_secs_f64()).max(1e-9);
    Ok(Measured {
        bench: "statsd",
        round,
        way: way_name,
        shape: shape_name,
        series,
        rate: options.rate,
        lines,
        lost,
        kernel_drops,
        lines_per_second: (taken / seconds).round(),
        lines_per_cpu_second: (taken / cpu.max(1e-9)).round(),
        us_per_new_series: ((after_making - before).as_secs_f64() * 1e8 / series as f64).round() / 100.0,
        rss_idle_mib: mebibytes(rss_idle),
        rss_series_mib: mebibytes(rss_series),
        rss_peak_mib: mebibytes(rss_peak),
    })
}

/// Does `work` in a thread of its own, and looks at the process all the while, so that no thread of it ends unseen.
fn watched(process: &mut Process, work: impl FnOnce() -> anyhow::Result<u64> + Send) -> anyhow::Result<u64> {
    thread::scope(|scope| {
        let working = scope.spawn(work);
        while !working.is_finished() {
            process.cpu();
            thread::sleep(LOOK);
        }
        working.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    })
}

/// Waits until the process has nothing to do.
fn idle(process: &mut Process) -> anyhow::Result<()> {
    let (clock, mut before, mut looks) = (Clock::default(), process.cpu(), 0);
    let begun = clock.now();
    while looks < IDLE.1 {
        ensure!(process.alive(), "the process ended");
        ensure!(clock.now() - begun < IDLE_WAIT, "the process does not come to rest");
        thread::sleep(LOOK);
        let now = process.cpu();
        looks = if now - before < IDLE.0 { looks + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// What all series have come to: counters, or counts of distributions.
pub(super) fn counted(admin: SocketAddr, names: &[&str]) -> anyhow::Result<u64> {
    let (status, page) = get(admin, "/metrics").context("cannot read the page")?;
    ensure!(status == 200, "the page answers with {status}");
    let is_ours = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let values =
        page.lines().filter(is_ours).map(|line| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()));
    Ok(values.sum::<Option<f64>>().context("a series has no number")? as u64)
}

fn configuration(udp: SocketAddr, unix: &Path, series: usize, folder: &Path) -> String {
    format!(
        "logs: {{inputs: [{{forward: {{unix: '{}'}}}}], outputs: [{{to: discard}}]}}\nmetrics:\n  inputs:\n    - statsd:\n        \
         udp: '{udp}'\n        unix: '{}'\n        publish: {{series_max: {series}, buckets: [1]}}\n",
        folder.join("forward.socket").display(),
        unix.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_measure() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options =
            parse("statsd --series 5,10 --ways unix --shapes packed,single --rate 1000 --seconds 0.5").unwrap();
        assert_eq!((options.series, options.ways), (vec![5, 10], vec![("unix", Way::Unix)]));
        assert_eq!(options.shapes, [("single", Shape::Single), ("packed", Shape::Packed)]);
        assert_eq!((options.rate, options.time), (Some(1_000), Duration::from_millis(500)));
        for wrong in [
            "statsd --series 0",
            "statsd --series x",
            "statsd --ways tcp",
            "statsd --shapes",
            "statsd --rate 0",
            "statsd --fast 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
