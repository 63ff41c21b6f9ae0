//! `bench otlp-xray`: spans in by OTLP, segments out to `PutTraceSegments`.
//!
//! Requests of 512 spans as instrumentations of a web service write them (the [`load`]), at 10,000 spans a second and as fast as they are
//! answered, by HTTP and by gRPC. The service is played, in the clear. CPU is that of the process under test alone. There is no floor
//! beside the figures: nearly all of the work is to make documents of spans, and `cargo bench --bench segment` shows that alone.
//!
//! Promises: each span has an id of its own, so that lost and doubled segments are exact; all ways and rates take turns within a round; who
//! is turned away sends again, and that is counted.
//! Never: trusts what the one under test says about itself.

mod load;

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::{
    clock::Clock,
    otlp::{SPANS, mebibytes},
    plan::{build_own, print, spread},
    process::{Process, sleep_precisely},
    table,
    xray::sink::Sink,
};
use crate::{
    agent::free_address,
    command_line::CommandLine,
    fake_aws::REGION,
    otlp::{
        Client,
        grpc::{Caller, TRACES, framed},
    },
};
use load::Load;

/// What `--help` prints of it.
pub const HELP: &str = "
  bench otlp-xray            spans by OTLP, by HTTP and gRPC, to PutTraceSegments

  --rounds N           interleaved rounds (3)
  --rates N,max        spans a second (10000,max)
  --seconds N          of sending in each cell (5)
  --ways WAYS          of http, grpc; a comma between (both)
  --under-test CMD     another agent; {grpc} {http} are where it listens, {port} is X-Ray's on loopback, {config} a configuration of pillion
";

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing must arrive until what is missing counts as lost.
const QUIET: Duration = Duration::from_secs(5);
/// How long who is turned away waits.
const TURNED_AWAY: Duration = Duration::from_millis(20);
/// A sender that is turned away for so long gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// By what spans come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Http,
    Grpc,
}

#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    rates: Vec<Option<u64>>,
    time: Duration,
    ways: Vec<Way>,
    under_test: Option<String>,
}

/// One way at one rate, measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    way: Way,
    rate: Option<u64>,
    sent: u64,
    missing: u64,
    duplicated: u64,
    violations: u64,
    turned_away: u64,
    spans_per_second: f64,
    spans_per_cpu_second: f64,
    /// Of one core, while spans were sent and until the last one arrived.
    percent_of_a_core: f64,
    rss_idle_mib: f64,
    rss_peak_mib: f64,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    spans: u64,
    turned_away: u64,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let (rates, ways) = (vec![Some(10_000), None], vec![Way::Http, Way::Grpc]);
        let mut options = Self { rounds: 3, rates, time: Duration::from_secs(5), ways, under_test: None };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--rates" => {
                let rate = |text: &str| if text == "max" { Ok(None) } else { text.parse().map(Some) };
                self.rates = value.split(',').map(rate).collect::<Result<_, _>>()?;
                ensure!(!self.rates.contains(&Some(0)), "at least one span a second");
            }
            "--seconds" => self.time = Duration::from_secs(value.parse()?),
            "--ways" => {
                let way = |name: &str| match name {
                    "http" => Ok(Way::Http),
                    "grpc" => Ok(Way::Grpc),
                    _ => bail!("write http, grpc, or both"),
                };
                self.ways = value.split(',').map(way).collect::<anyhow::Result<_>>()?;
            }
            "--under-test" => self.under_test = Some(value.to_owned()),
            _ => bail!("there is no such option; see --help"),
        }
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
    let cells: Vec<_> =
        options.ways.iter().flat_map(|way| options.rates.iter().map(move |rate| (*way, *rate))).collect();
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for &(way, rate) in &cells {
            let measured = Measured { round, ..measure(&command, way, rate, options.time)? };
            print(out, &measured)?;
            all.push(measured);
        }
    }
    let rows = cells.iter().map(|&(way, rate)| {
        let figures = FIGURES.map(|figure| {
            let own = all.iter().filter(|cell| (cell.way, cell.rate) == (way, rate));
            table::cell(&spread(&own.map(figure).collect::<Vec<_>>()))
        });
        let rate = rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
        [format!("{way:?}, {rate}").to_lowercase()].into_iter().chain(figures).collect()
    });
    write!(out, "\n{}\n", table::markdown(&HEAD, &rows.collect::<Vec<_>>()))?;
    print(out, &json!({"bench": "otlp-xray", "summary": true, "rounds": options.rounds, "rates": options.rates}))
}

const HEAD: [&str; 8] =
    ["way, spans/s", "spans/s", "spans per CPU-second", "% of a core", "idle MiB", "peak MiB", "missing", "doubled"];
const FIGURES: [fn(&Measured) -> f64; 7] = [
    |cell| cell.spans_per_second,
    |cell| cell.spans_per_cpu_second,
    |cell| cell.percent_of_a_core,
    |cell| cell.rss_idle_mib,
    |cell| cell.rss_peak_mib,
    |cell| cell.missing as f64,
    |cell| cell.duplicated as f64,
];

fn measure(command: &str, way: Way, rate: Option<u64>, time: Duration) -> anyhow::Result<Measured> {
    let (clock, sink) = (Clock::default(), Sink::start()?);
    let (grpc, http) = (free_address()?, free_address()?);
    let folder = tempfile::tempdir()?;
    let mut process = start(command, (grpc, http), sink.port, folder.path())?;
    let rss_idle = process.status_kb("VmRSS");
    let before = process.cpu();
    sink.begin(clock);
    let (begun, began) = (Instant::now(), clock.now());
    let sending = thread::spawn(move || match way {
        Way::Http => by_http(http, rate, time),
        Way::Grpc => by_grpc(grpc, rate, time),
    });
    while !sending.is_finished() {
        process.cpu();
        thread::sleep(LOOK);
    }
    let sent = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    let sending = begun.elapsed();
    await_all(&sink, sent.spans, &mut process);
    let cpu = (process.cpu() - before).as_secs_f64();
    let ledger = sink.ledger();
    ensure!(ledger.unique <= sent.spans, "more segments arrived than spans were sent");
    let last = ledger.last_arrival.map_or(Duration::ZERO, |last| last.saturating_sub(began));
    let seconds = sending.max(last).as_secs_f64();
    let figure = |number: f64| (number * 10.0).round() / 10.0;
    Ok(Measured {
        bench: "otlp-xray",
        round: 0,
        way,
        rate,
        sent: sent.spans,
        missing: sent.spans - ledger.unique,
        duplicated: ledger.duplicated,
        violations: ledger.violations,
        turned_away: sent.turned_away,
        spans_per_second: (ledger.unique as f64 / seconds).round(),
        spans_per_cpu_second: (ledger.unique as f64 / cpu.max(1e-9)).round(),
        percent_of_a_core: figure(cpu / seconds * 100.0),
        rss_idle_mib: mebibytes(rss_idle),
        rss_peak_mib: mebibytes(process.status_kb("VmHWM")),
    })
}

fn start(command: &str, (grpc, http): (SocketAddr, SocketAddr), port: u16, folder: &Path) -> anyhow::Result<Process> {
    let config = folder.join("pillion.yaml");
    let text = format!(
        "logs: {{inputs: [], outputs: [{{to: discard}}]}}\ntraces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  \
         outputs: [{{to: {{xray: {{region: {REGION}, endpoint: 'http://127.0.0.1:{port}'}}}}}}]\n"
    );
    fs::write(&config, text)?;
    let filled = command
        .replace("{config}", &config.to_string_lossy())
        .replace("{grpc}", &grpc.to_string())
        .replace("{http}", &http.to_string())
        .replace("{port}", &port.to_string());
    Process::launch(&filled, &[], &folder.join("log"), &|| TcpStream::connect(http).is_ok())
}

fn by_http(address: SocketAddr, rate: Option<u64>, time: Duration) -> anyhow::Result<Sent> {
    let mut client = Client::connect(address)?;
    send(rate, time, |body| {
        match client.post_with("/v1/traces", &[("content-type", "application/x-protobuf")], body)? {
            answer if answer.status == 200 => Ok(true),
            answer if answer.status == 503 => Ok(false),
            answer => bail!("a request was answered with {}", answer.status),
        }
    })
}

fn by_grpc(address: SocketAddr, rate: Option<u64>, time: Duration) -> anyhow::Result<Sent> {
    let mut caller = Caller::connect(address)?;
    send(rate, time, |body| match caller.call(TRACES, &[], framed(body, 0))? {
        called if called.status == 0 => Ok(true),
        called if called.may_come_again => Ok(false),
        called => bail!("a call was answered with {}", called.status),
    })
}

/// Sends for `time`; `try_it` says whether a request was taken.
fn send(
    rate: Option<u64>,
    time: Duration,
    mut try_it: impl FnMut(&[u8]) -> anyhow::Result<bool>,
) -> anyhow::Result<Sent> {
    sleep_precisely();
    let (mut load, mut sent, begun) = (Load::new(SPANS), Sent::default(), Instant::now());
    while begun.elapsed() < time {
        let due = rate.map(|rate| Duration::from_secs_f64(sent.spans as f64 / rate as f64));
        if let Some(early) = due.and_then(|due| due.checked_sub(begun.elapsed())) {
            thread::sleep(early);
        }
        let (body, tried) = (load.numbered(sent.spans), Instant::now());
        while !try_it(body)? {
            ensure!(tried.elapsed() < PATIENCE, "turned away for {PATIENCE:?}");
            sent.turned_away += 1;
            thread::sleep(TURNED_AWAY);
        }
        sent.spans += SPANS;
    }
    Ok(sent)
}

/// Waits until all that was sent has arrived, or nothing comes any more.
fn await_all(sink: &Sink, sent: u64, process: &mut Process) {
    let (mut count, mut since) = (0, Instant::now());
    while count < sent && since.elapsed() < QUIET && process.alive() {
        thread::sleep(LOOK);
        process.cpu();
        let now = sink.ledger().unique;
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_how_fast_and_by_what() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("otlp-xray --rates 500,max --seconds 2 --ways grpc").expect("parses");
        assert_eq!((options.rates, options.time.as_secs()), (vec![Some(500), None], 2));
        assert_eq!(options.ways, [Way::Grpc]);
        for wrong in ["otlp-xray --ways smoke", "otlp-xray --rates fast", "otlp-xray --rates 0", "otlp-xray --rates"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
