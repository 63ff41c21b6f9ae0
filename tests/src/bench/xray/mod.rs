//! `bench xray-udp`: what a segment costs from the X-Ray daemon's UDP port to `PutTraceSegments`, and whether it arrives.
//!
//! Segments of 1.3 KB, each in a datagram, at given rates and flat out. The service is played, in the clear. Beside each cell stands the
//! machine's [`floor`]: reading the datagrams, escaping, hashing and writing them, with nothing around it.
//!
//! Promises: lost and doubled segments are exact; what the kernel dropped at the socket is told apart; agent and peer take turns at
//! going first, and a ratio is taken within its round.
//! Never: trusts what the one under test says about itself.

mod floor;
mod load;
pub(super) mod sink;

use std::{fs, io::Write, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::{
    clock::Clock,
    plan::{build_own, print, spread},
    process::Process,
};
use crate::{agent::free_address, command_line::CommandLine, fake_aws::REGION};
pub(super) use load::row;
use sink::Sink;

/// What `--help` prints of it.
pub const HELP: &str = "
  bench xray-udp             segments from the X-Ray daemon's UDP port to PutTraceSegments

  --rates N,N,max      segments per second (1000,3000,5000,max)
  --seconds N          of sending in each cell (5)
  --rounds N           interleaved rounds (3)
  --under-test CMD     the agent (this tree's pillion with -c {config})
  --peer CMD           another one, for example \"xray -o -c {cfg}\"

  In commands {config} is a configuration of pillion, {cfg} one of the X-Ray daemon.
";

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing must arrive until what is missing counts as lost: longer than the daemon's pause and a retry of it.
const QUIET_MAX: Duration = Duration::from_secs(4);
/// Rest before the load.
const IDLE: Duration = Duration::from_millis(500);

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    rates: Vec<Option<u64>>,
    time: Duration,
    rounds: usize,
    under_test: Option<String>,
    peer: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let line = CommandLine::parse(words, "say what to measure; see --help")?;
        let rates = vec![Some(1_000), Some(3_000), Some(5_000), None];
        let mut options = Self { rates, time: Duration::from_secs(5), rounds: 3, under_test: None, peer: None };
        line.each(|word, value| {
            match word {
                "--rates" => options.rates = value.split(',').map(rate).collect::<anyhow::Result<_>>()?,
                "--seconds" => options.time = Duration::from_secs_f64(value.parse()?),
                "--rounds" => options.rounds = value.parse()?,
                "--under-test" => options.under_test = Some(value.to_owned()),
                "--peer" => options.peer = Some(value.to_owned()),
                _ => bail!("there is no such option; see --help"),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

fn rate(text: &str) -> anyhow::Result<Option<u64>> {
    if text == "max" {
        return Ok(None);
    }
    let rate = text.parse().context("write numbers and `max`")?;
    ensure!((1..=1_000_000).contains(&rate), "1 to 1000000 segments per second");
    Ok(Some(rate))
}

/// Measures as `words` say; a line of JSON for each cell, and one at the end.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let own = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let mut cells = Vec::new();
    for round in 1..=options.rounds {
        for &rate in &options.rates {
            let floor = floor::measure().context("cannot measure the floor")?;
            let mut who = vec![("agent", own.as_str())];
            who.extend(options.peer.as_deref().map(|command| ("peer", command)));
            if round.is_multiple_of(2) {
                who.reverse();
            }
            for (name, command) in who {
                let mut cell = measure(command, rate, options.time)?;
                cell["round"] = round.into();
                cell["who"] = name.into();
                cell["floor_us"] = json!(floor);
                print(out, &cell)?;
                cells.push(cell);
            }
        }
    }
    let summary = json!({
        "bench": "xray-udp", "summary": true, "rounds": options.rounds, "seconds": options.time.as_secs_f64(),
        "under_test": own, "peer": options.peer,
        "processors": thread::available_parallelism().map_or(0, usize::from),
        "rates": options.rates.iter().map(|rate| summary_of(&cells, *rate)).collect::<Vec<_>>(),
    });
    print(out, &summary)
}

/// One rate on one process.
fn measure(command: &str, rate: Option<u64>, time: Duration) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (clock, sink, udp) = (Clock::default(), Sink::start().context("cannot play the service")?, free_address()?);
    let (config, cfg) = (folder.path().join("pillion.yaml"), folder.path().join("cfg.yaml"));
    fs::write(&config, configuration(udp, sink.port))?;
    fs::write(&cfg, daemon_configuration(udp, sink.port))?;
    let command = command.replace("{config}", &config.to_string_lossy()).replace("{cfg}", &cfg.to_string_lossy());
    let mut process = Process::launch(&command, &[], &folder.path().join("log"), &|| row(udp.port()).is_some())?;
    thread::sleep(IDLE);
    let (rss_idle_kb, cpu, ticks) = (process.status_kb("VmRSS"), process.cpu(), process.cpu_ticks());
    let begun = clock.now();
    let sent = watch(&mut process, udp, rate, time, &clock, &sink)?;
    let cpu = process.cpu().saturating_sub(cpu).as_secs_f64();
    let ticks = process.cpu_ticks().saturating_sub(ticks).as_secs_f64();
    let kernel_drops = row(udp.port()).unwrap_or(0);
    let ledger = sink.ledger();
    let accepted = ledger.unique.max(1) as f64;
    let wall = ledger.last_arrival.map_or(0.0, |last| (last - begun).as_secs_f64());
    ensure!(ledger.unique <= sent, "more segments arrived than were sent");
    Ok(json!({
        "bench": "xray-udp", "rate": rate, "sent": sent, "accepted": ledger.unique, "lost": sent - ledger.unique,
        "kernel_drops": kernel_drops, "duplicated": ledger.duplicated, "violations": ledger.violations,
        "requests": ledger.requests, "request_bytes": ledger.bytes,
        "cpu_us_per_segment": round(cpu * 1e6 / accepted), "cpu_us_by_ticks": round(ticks * 1e6 / accepted),
        "segments_per_cpu_second": (accepted / cpu.max(1e-9)).round(),
        "segments_per_second": (accepted / wall.max(1e-9)).round(),
        "rss_idle_kb": rss_idle_kb, "rss_peak_kb": process.status_kb("VmHWM"),
    }))
}

/// Sends and waits until all has arrived, looking at the process all the while. Says how many were sent.
fn watch(
    process: &mut Process,
    udp: SocketAddr,
    rate: Option<u64>,
    time: Duration,
    clock: &Clock,
    sink: &Sink,
) -> anyhow::Result<u64> {
    sink.begin(*clock);
    thread::scope(|scope| {
        let sending = scope.spawn(|| load::send(udp, rate, time, clock));
        while !sending.is_finished() {
            process.cpu();
            thread::sleep(LOOK);
        }
        let sent = sending.join().expect("the sender does not panic").context("cannot send")?;
        let ended = clock.now();
        loop {
            process.cpu();
            let (unique, last) = {
                let ledger = sink.ledger();
                (ledger.unique, ledger.last_arrival.unwrap_or_default())
            };
            let quiet = clock.now().saturating_sub(last.max(ended));
            if unique >= sent || quiet > QUIET_MAX || !process.alive() {
                return Ok(sent);
            }
            thread::sleep(LOOK);
        }
    })
}

fn summary_of(cells: &[Value], rate: Option<u64>) -> Value {
    let of = |who: &str| -> Vec<&Value> {
        cells.iter().filter(|cell| cell["who"] == who && cell["rate"] == json!(rate)).collect()
    };
    let (agent, peer) = (of("agent"), of("peer"));
    let figure = |cell: &Value, name: &str| cell[name].as_f64().unwrap_or(f64::NAN);
    let ratios: Vec<f64> = peer
        .iter()
        .zip(&agent)
        .map(|(peer, agent)| figure(peer, "cpu_us_per_segment") / figure(agent, "cpu_us_per_segment"))
        .collect();
    let to_floor: Vec<f64> = agent
        .iter()
        .map(|cell| cell["floor_us"]["total"].as_f64().unwrap_or(f64::NAN) / figure(cell, "cpu_us_per_segment"))
        .collect();
    let figures = |cells: &[&Value]| {
        let spread_of = |name: &str| spread(&cells.iter().map(|cell| figure(cell, name)).collect::<Vec<_>>());
        let sum_of = |name: &str| cells.iter().filter_map(|cell| cell[name].as_u64()).sum::<u64>();
        json!({
            "cpu_us_per_segment": spread_of("cpu_us_per_segment"),
            "segments_per_cpu_second": spread_of("segments_per_cpu_second"),
            "segments_per_second": spread_of("segments_per_second"),
            "rss_idle_kb": spread_of("rss_idle_kb"), "rss_peak_kb": spread_of("rss_peak_kb"),
            "sent": sum_of("sent"), "lost": sum_of("lost"), "kernel_drops": sum_of("kernel_drops"),
            "duplicated": sum_of("duplicated"), "violations": sum_of("violations"),
        })
    };
    json!({
        "rate": rate, "times_the_peer": spread(&ratios), "of_the_floor": spread(&to_floor),
        "agent": figures(&agent), "peer": if peer.is_empty() { Value::Null } else { figures(&peer) },
    })
}

fn configuration(udp: SocketAddr, port: u16) -> String {
    format!(
        "logs: {{inputs: [], outputs: [{{to: discard}}]}}\ntraces:\n  inputs: [{{xray: {{udp: '{udp}'}}}}]\n  \
         outputs: [{{to: {{xray: {{region: {REGION}, endpoint: 'http://127.0.0.1:{port}'}}}}}}]\n"
    )
}

fn daemon_configuration(udp: SocketAddr, port: u16) -> String {
    format!(
        "Region: \"{REGION}\"\nEndpoint: \"http://127.0.0.1:{port}\"\nSocket:\n  UDPAddress: \"{udp}\"\n  \
         TCPAddress: \"{udp}\"\nLocalMode: true\nVersion: 2\n"
    )
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_measure() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("xray-udp --rates 5000,max --seconds 0.5 --rounds 1 --peer p").unwrap();
        assert_eq!((options.rates, options.peer.as_deref()), (vec![Some(5_000), None], Some("p")));
        for wrong in ["xray-udp --rates", "xray-udp --rates fast", "xray-udp --rates 0", "xray-udp --fast 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// The service counts what the load sends, however it is cut up.
    #[test]
    fn what_is_sent_is_what_is_counted() {
        let sink = Sink::start().unwrap();
        sink.begin(Clock::default());
        let documents: Vec<String> = [3_u64, 4, 3]
            .iter()
            .map(|number| {
                let text = String::from_utf8(load::segment(*number)).unwrap();
                assert!((1_200..1_400).contains(&text.len()), "{}", text.len());
                let _: Value = serde_json::from_str(&text).unwrap();
                text
            })
            .collect();
        let body = json!({ "TraceSegmentDocuments": documents }).to_string();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", sink.port)).unwrap();
        let head = format!("POST /TraceSegments HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 12]).unwrap();
        let ledger = sink.ledger();
        assert_eq!((ledger.unique, ledger.duplicated, ledger.violations, ledger.requests), (2, 1, 0, 1));
    }
}
