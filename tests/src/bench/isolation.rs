//! What one output's trouble costs another: the p99 of a healthy output's latency, beside a healthy one and beside an ill one.
//!
//! Promises: both outputs get every record; the healthy one's latency is measured from the time a record was to be written
//! to its arrival; each round measures every trouble after a well neighbour, in a turned order, and the ratio is taken within
//! the round.
//! Never: decides what ratio is good enough: a shared machine moves it, so no test asserts it.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{
    clock::Clock,
    plan::{build_own, print, spread},
    process::{Places, Process},
    sender::{self, Load, Shape},
    sink::Sink,
};
use crate::{agent, metrics::Metrics};

/// What `bench isolation --help` prints.
pub const HELP: &str = "\
Measures what one output's trouble costs another: bench isolation [options]

  --seconds N       of sending in each cell (10)
  --rounds N        interleaved rounds (5)
  --rate N          records per second (2000)
  --under-test CMD  the agent (this tree's pillion, built for it in release, with -c {config})
";

/// Records that are sent before what is measured, in every cell: about 48 MB, more than the ill one's memory and disk hold.
const FILL: u64 = 80_000;
/// No machine that can be measured on takes longer to send them.
const FILL_MAX: Duration = Duration::from_secs(60);
/// Records that have not come when nothing has come for so long are lost.
const QUIET_MAX: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(20);
/// Small, so that it is full soon.
const MEMORY: &str = "8 MiB";
/// Of both outputs together.
const SPOOL: &str = "32 MiB";
/// Bytes that the slow neighbour takes per second.
const SLOW: u64 = 20_000;

/// What the other output's service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    Well,
    /// Nobody listens.
    Dead,
    /// It accepts and never answers.
    Hanging,
    /// It takes a little.
    Slow,
    /// Nobody listens, and what waits goes to a disk that has no room for it.
    SpoolFull,
}

const TROUBLES: [Neighbour; 4] = [Neighbour::Dead, Neighbour::Hanging, Neighbour::Slow, Neighbour::SpoolFull];

/// The parsed command line.
#[derive(Clone, Debug)]
struct Options {
    time: Duration,
    rounds: usize,
    rate: u64,
    under_test: Option<String>,
}

/// One cell's figures.
#[derive(Clone, Copy, Debug)]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    lost: u64,
}

/// Measures as the words behind `isolation` say.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    if words.first().is_some_and(|word| word == "--help") {
        return Ok(out.write_all(HELP.as_bytes())?);
    }
    let options = parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let mut ratios = vec![Vec::new(); TROUBLES.len()];
    for round in 1..=options.rounds {
        for turn in 0..TROUBLES.len() {
            let place = (turn + round) % TROUBLES.len();
            let well = measure(&command, &options, Neighbour::Well)?;
            let ill = measure(&command, &options, TROUBLES[place])?;
            let ratio = ill.p99_ms / well.p99_ms;
            ratios[place].push(ratio);
            let figures = |of: Figures| json!({"p50_ms": of.p50_ms, "p99_ms": of.p99_ms, "lost": of.lost});
            let neighbour = format!("{:?}", TROUBLES[place]);
            print(
                out,
                &json!({"bench": "isolation", "round": round, "neighbour": neighbour, "ratio": ratio,
                        "beside_well": figures(well), "beside_ill": figures(ill)}),
            )?;
        }
    }
    let ratios: Vec<Value> = TROUBLES
        .iter()
        .zip(&ratios)
        .map(|(neighbour, ratios)| json!({"neighbour": format!("{neighbour:?}"), "p99_to_well": spread(ratios)}))
        .collect();
    print(
        out,
        &json!({"bench": "isolation", "summary": true, "rounds": options.rounds, "seconds": options.time.as_secs_f64(),
                "rate": options.rate, "under_test": command, "neighbours": ratios}),
    )
}

fn parse(words: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { time: Duration::from_secs(10), rounds: 5, rate: 2_000, under_test: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("`{word}` needs a value; see isolation --help"))?;
        match word.as_str() {
            "--seconds" => options.time = Duration::from_secs_f64(value.parse().context("write a number of seconds")?),
            "--rounds" => options.rounds = value.parse().context("write a number")?,
            "--rate" => options.rate = value.parse().context("write a number")?,
            "--under-test" => options.under_test = Some(value.clone()),
            _ => bail!("there is no option `{word}`; see isolation --help"),
        }
    }
    Ok(options)
}

fn measure(command: &str, options: &Options, neighbour: Neighbour) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (config, socket) = (folder.path().join("bench.yaml"), folder.path().join("forward.sock"));
    let clock = Clock::default();
    let sink = Sink::start(clock, None).context("cannot play the service")?;
    let speed = (neighbour == Neighbour::Slow).then_some(SLOW);
    let other = Sink::start(clock, speed).context("cannot play the neighbour's service")?;
    // Connections wait in its queue, for nobody accepts them. One that is closed again is a port that nobody has.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let silent_port = silent.local_addr()?.port();
    let port = match neighbour {
        Neighbour::Well | Neighbour::Slow => other.port,
        Neighbour::Dead | Neighbour::Hanging | Neighbour::SpoolFull => silent_port,
    };
    let _hanging = (neighbour == Neighbour::Hanging).then_some(silent);
    let spool = if neighbour == Neighbour::SpoolFull {
        format!(
            "spool: {{path: {}, bytes_max: {SPOOL}, when_full: drop_oldest}}\n",
            folder.path().join("spool").display()
        )
    } else {
        String::new()
    };
    fs::write(&config, configuration(&socket, &spool, sink.port, port)).context("cannot write the configuration")?;
    let places = Places { config: &config, socket: &socket, port: sink.port };
    let process = Process::start(command, &places, &folder.path().join("log"))?;
    let load = Load { shape: Shape::One, rate: Some(options.rate), time: options.time, records_max: u64::MAX / 2 };
    let fill = Load { shape: Shape::ThirtyTwo, rate: Some(FILL / 4), time: FILL_MAX, records_max: FILL };
    let filled = arrive(&socket, &fill, &clock, &sink)?;
    let missing = filled - std::mem::take(&mut *sink.ledger()).unique;
    let sent = arrive(&socket, &load, &clock, &sink)?;
    if neighbour == Neighbour::SpoolFull {
        let (_, page) = agent::get(process.admin, "/metrics")?;
        let full = Metrics::parse(&page)?.sum("pillion_deliver_lost_records_total", &[("reason", "spool_full")]);
        anyhow::ensure!(full > 0.0, "the spool did not get full: send longer or faster");
    }
    let mut ledger = sink.ledger();
    let lost = missing + sent - ledger.unique;
    Ok(Figures { p50_ms: ledger.latency_ms(50), p99_ms: ledger.latency_ms(99), lost })
}

/// Sends `load` and waits until it has arrived at `sink`; gives how many records it was.
fn arrive(socket: &Path, load: &Load, clock: &Clock, sink: &Sink) -> anyhow::Result<u64> {
    let sent = sender::send(socket, load, clock).context("cannot send")?;
    let ended = clock.now();
    loop {
        let (unique, last) = {
            let ledger = sink.ledger();
            (ledger.unique, ledger.last_arrival)
        };
        if unique >= sent.records || clock.now().saturating_sub(last.max(ended)) > QUIET_MAX {
            return Ok(sent.records);
        }
        thread::sleep(LOOK);
    }
}

fn configuration(socket: &Path, spool: &str, healthy: u16, other: u16) -> String {
    let output = |name: &str, port: u16| {
        format!(
            "    - name: {name}\n      to:\n        cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, \
             region: us-east-1, endpoint: 'http://127.0.0.1:{port}'}}\n"
        )
    };
    format!(
        "memory: {MEMORY}\n{spool}logs:\n  inputs:\n    - forward: {{unix: '{}'}}\n  outputs:\n{}{}",
        socket.display(),
        output("healthy", healthy),
        output("other", other)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_how_long_and_how_fast() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--seconds 0.5 --rate 10 --rounds 2 --under-test x")).unwrap();
        assert_eq!((options.time, options.rate, options.rounds), (Duration::from_millis(500), 10, 2));
        for wrong in ["--seconds", "--seconds soon", "--fast 1"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
