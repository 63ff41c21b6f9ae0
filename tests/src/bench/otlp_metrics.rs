//! `bench otlp-metrics`: points of metrics by OTLP, into the series of the agent.
//!
//! Requests of 500 points (what an SDK sends of that many series), encoded beforehand, come one after the other over HTTP, as fast as they are
//! answered or at a rate. Each request counts one in each of its series; what arrived is read off the page at the end and added up.
//!
//! Promises: what is missing is exact; CPU is that of the process under test, without the reading of the page; kinds take turns within a round.
//! Never: trusts what the one under test says about itself.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::{
    otlp::mebibytes,
    plan::{build_own, print, spread},
    process::Process,
    statsd::{counted, some_of},
    table,
};
use crate::{
    agent::free_address,
    command_line::CommandLine,
    otlp::{
        Client,
        client::gzip,
        span::{attribute, field, fixed},
    },
};

/// What `--help` prints of it.
pub const HELP: &str = "
  bench otlp-metrics         points of metrics by OTLP (HTTP) into series

  --rounds N           interleaved rounds (3)
  --rate N|max         points per second (max)
  --seconds N          of sending in each cell (5)
  --series N,N         how many series there are (1000,10000)
  --kinds KINDS        of delta, cumulative (counters), histogram (delta, 15 bounds) (all)
  --compression WHAT   none or gzip (none)
  --under-test CMD     the agent (this tree's pillion with -c {config})
";

/// Points of a request.
const POINTS: usize = 500;
/// Bounds of a histogram, as OpenTelemetry's SDKs have them by default.
const BOUNDS: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0, 7_500.0, 10_000.0];
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Counters that tell what is new.
    Delta,
    /// Counters that tell all since the start.
    Cumulative,
    /// Histograms that tell what is new.
    Histogram,
}

const KINDS: [(&str, Kind); 3] =
    [("delta", Kind::Delta), ("cumulative", Kind::Cumulative), ("histogram", Kind::Histogram)];

#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    rate: Option<u64>,
    time: Duration,
    series: Vec<usize>,
    kinds: Vec<(&'static str, Kind)>,
    is_gzip: bool,
    under_test: Option<String>,
}

/// One cell, measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    kind: &'static str,
    series: usize,
    sent: u64,
    missing: u64,
    points_per_second: f64,
    points_per_cpu_second: f64,
    rss_idle_mib: f64,
    rss_peak_mib: f64,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let (time, series, kinds) = (Duration::from_secs(5), vec![1_000, 10_000], KINDS.to_vec());
        let mut options = Self { rounds: 3, rate: None, time, series, kinds, is_gzip: false, under_test: None };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--rate" => self.rate = if value == "max" { None } else { Some(value.parse()?) },
            "--seconds" => self.time = Duration::from_secs_f64(value.parse()?),
            "--series" => {
                let numbers = value.split(',').map(|number| number.parse().context("write numbers"));
                self.series = numbers.collect::<Result<_, _>>()?;
            }
            "--kinds" => self.kinds = some_of(&KINDS, value)?,
            "--compression" => {
                self.is_gzip = match value {
                    "none" => false,
                    "gzip" => true,
                    _ => bail!("write `none` or `gzip`"),
                }
            }
            "--under-test" => self.under_test = Some(value.to_owned()),
            _ => bail!("there is no such option; see --help"),
        }
        ensure!(self.rate != Some(0), "at least a point per second");
        ensure!(self.series.iter().all(|series| (1..=1_000_000).contains(series)), "1 to 1000000 series");
        Ok(())
    }
}

/// Measures what `words` ask for.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let cells = || options.kinds.iter().flat_map(|kind| options.series.iter().map(move |series| (*kind, *series)));
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for (kind, series) in cells() {
            let measured = measure(&command, round, (kind, series), &options)?;
            print(out, &measured)?;
            all.push(measured);
        }
    }
    let rows = cells().map(|((kind, _), series)| {
        let is_it = |cell: &&Measured| (cell.kind, cell.series) == (kind, series);
        let of = |figure| spread(&all.iter().filter(is_it).map(figure).collect::<Vec<f64>>());
        [format!("{kind}, {series}")].into_iter().chain(FIGURES.map(|figure| table::cell(&of(figure)))).collect()
    });
    write!(out, "\n{}\n", table::markdown(&HEAD, &rows.collect::<Vec<_>>()))?;
    let Options { rounds, rate, is_gzip, .. } = options;
    print(out, &json!({"bench": "otlp-metrics", "summary": true, "rounds": rounds, "rate": rate, "gzip": is_gzip}))
}

const HEAD: [&str; 6] = ["kind, series", "points/s", "points per CPU-second", "idle MiB", "peak MiB", "missing"];
const FIGURES: [fn(&Measured) -> f64; 5] = [
    |cell| cell.points_per_second,
    |cell| cell.points_per_cpu_second,
    |cell| cell.rss_idle_mib,
    |cell| cell.rss_peak_mib,
    |cell| cell.missing as f64,
];

fn measure(
    command: &str,
    round: usize,
    ((name, kind), series): ((&'static str, Kind), usize),
    options: &Options,
) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (http, config) = (free_address()?, folder.path().join("pillion.yaml"));
    fs::write(&config, configuration((free_address()?, http), series, folder.path()))?;
    let command = command.replace("{config}", &config.to_string_lossy());
    let accepts = || std::net::TcpStream::connect(http).is_ok();
    let mut process = Process::launch(&command, &[], &folder.path().join("log"), &accepts)?;
    let rss_idle = process.status_kb("VmRSS");
    let (rate, time, is_gzip) = (options.rate, options.time, options.is_gzip);
    // Series are made before it is measured.
    let made = send(http, (kind, series), (None, None, is_gzip))?;
    let before = process.cpu();
    let begun = Instant::now();
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| send(http, (kind, series), (rate, Some(time), is_gzip)));
        while !sending.is_finished() {
            process.cpu();
            thread::sleep(LOOK);
        }
        sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    })?;
    // An answer comes when its points are in their series.
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (process.cpu() - before).as_secs_f64();
    let rss_peak = process.status_kb("VmHWM");
    let arrived = counted(process.admin, &["bench_hits_total{", "bench_hits_count{"])?;
    ensure!(arrived <= made + sent, "more points arrived than were sent");
    Ok(Measured {
        bench: "otlp-metrics",
        round,
        kind: name,
        series,
        sent: made + sent,
        missing: made + sent - arrived,
        points_per_second: (sent as f64 / seconds).round(),
        points_per_cpu_second: (sent as f64 / cpu.max(1e-9)).round(),
        rss_idle_mib: mebibytes(rss_idle),
        rss_peak_mib: mebibytes(rss_peak),
    })
}

/// Sends requests in rounds through all series for `time`, or one round if there is none. Says how many points that were.
fn send(
    to: SocketAddr,
    (kind, series): (Kind, usize),
    (rate, time, is_gzip): (Option<u64>, Option<Duration>, bool),
) -> anyhow::Result<u64> {
    let mut client = Client::connect(to)?;
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let headers = if is_gzip { &headers[..] } else { &headers[..1] };
    let packed = |body: Vec<u8>| if is_gzip { gzip(&body) } else { body };
    let starts: Vec<usize> = (0..series).step_by(POINTS).collect();
    let bodies = |turn: u64| starts.iter().map(move |start| (*start..series.min(start + POINTS), turn));
    // What tells a total has another one each time: those are encoded while it is sent, by the sender, which is not measured.
    let same: Vec<Vec<u8>> = bodies(1).map(|(numbers, turn)| packed(request(kind, numbers, turn))).collect();
    let (begun, mut sent) = (Instant::now(), 0);
    // The first round of totals was another call's.
    let first = if time.is_some() { 2 } else { 1 };
    for turn in first.. {
        for (place, (numbers, turn)) in bodies(turn).enumerate() {
            if time.is_some_and(|time| begun.elapsed() >= time) {
                return Ok(sent);
            }
            let due = rate.map(|rate| Duration::from_secs_f64(sent as f64 / rate as f64));
            if let Some(early) = due.and_then(|due| due.checked_sub(begun.elapsed())) {
                thread::sleep(early);
            }
            let points = numbers.len() as u64;
            let answer = match kind {
                Kind::Cumulative => client.post_with("/v1/metrics", headers, &packed(request(kind, numbers, turn)))?,
                _ => client.post_with("/v1/metrics", headers, &same[place])?,
            };
            ensure!(answer.status == 200, "a request was not taken");
            sent += points;
        }
        if time.is_none() {
            break;
        }
    }
    Ok(sent)
}

/// A request with a point of each series, which counts one. `turn` is how many there were, this one too.
fn request(kind: Kind, series: std::ops::Range<usize>, turn: u64) -> Vec<u8> {
    // Counting began in the year 2100: after the agent did, so that the first total is counted from nothing.
    let (start, at) = (4_102_444_800_000_000_000_u64, 4_102_444_801_000_000_000);
    let double = |number, value: f64| fixed(number, value.to_bits());
    let points = series.flat_map(|number| {
        let route =
            field(if kind == Kind::Histogram { 9 } else { 7 }, &attribute("route", &format!("/items/{number:06}")));
        let point = match kind {
            Kind::Delta => double(4, 1.0),
            Kind::Cumulative => double(4, turn as f64),
            Kind::Histogram => {
                let eights =
                    |values: &mut dyn Iterator<Item = u64>| values.flat_map(u64::to_le_bytes).collect::<Vec<_>>();
                let counts = eights(&mut (0..=BOUNDS.len()).map(|place| u64::from(place == number % BOUNDS.len())));
                let bounds = eights(&mut BOUNDS.iter().map(|bound| bound.to_bits()));
                [fixed(4, 1), double(5, 7.0), field(6, &counts), field(7, &bounds)].concat()
            }
        };
        field(1, &[fixed(2, start), fixed(3, at), point, route].concat())
    });
    let points: Vec<u8> = points.collect();
    let temporality = [2 << 3, if kind == Kind::Cumulative { 2 } else { 1 }];
    let data = match kind {
        Kind::Histogram => field(9, &[points, temporality.to_vec()].concat()),
        _ => field(7, &[points, temporality.to_vec(), vec![3 << 3, 1]].concat()),
    };
    let metric = field(2, &[field(1, b"bench.hits"), data].concat());
    let resource = field(1, &field(1, &attribute("service.name", "shop")));
    field(1, &[resource, field(2, &metric)].concat())
}

fn configuration((grpc, http): (SocketAddr, SocketAddr), series: usize, folder: &Path) -> String {
    format!(
        "logs: {{inputs: [{{forward: {{unix: '{}'}}}}], outputs: [{{to: discard}}]}}\nmetrics:\n  inputs:\n    - otlp:\n        \
         listen: {{grpc: '{grpc}', http: '{http}'}}\n        publish: {{series_max: {series}}}\n",
        folder.join("forward.socket").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_measure() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("otlp-metrics --series 7 --kinds histogram,delta --rate 100 --compression gzip").unwrap();
        assert_eq!((options.series, options.rate, options.is_gzip), (vec![7], Some(100), true));
        assert_eq!(options.kinds, [KINDS[0], KINDS[2]]);
        for wrong in [
            "otlp-metrics --kinds gauge",
            "otlp-metrics --rate 0",
            "otlp-metrics --compression zip",
            "otlp-metrics --series",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// A request has a point of each series, and no more bytes than a server takes.
    #[test]
    fn a_request_has_a_point_of_each_series() {
        for (name, kind) in KINDS {
            let body = request(kind, 0..POINTS, 1);
            let routes = body.windows(7).filter(|window| window == b"/items/").count();
            assert_eq!(routes, POINTS, "{name}");
            assert!(body.len() < 1 << 20, "{name}: {}", body.len());
        }
    }
}
