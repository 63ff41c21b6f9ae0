//! `bench spool`: what a spool costs, against memory alone, in the same rounds.
//!
//! - `unused`: the service is well, both have memory for everything, and one of them has a spool besides.
//! - `through`: the service takes nothing until the agent has accepted everything, and then all it is given. One agent has
//!   memory for it; the other one has little, writes the rest to its spool and reads it back.
//!
//! Promises: both get the same records at the same speed, and take turns at going first; a ratio is taken within its round.
//! Never: takes a ratio of a round in which records were lost, or hides them: they are in the table. A sender that nothing
//! holds up can be faster than the disk, and then what memory does not hold is lost by policy; take a lower rate.

use std::{io::Write, path::Path, time::Duration};

use anyhow::{bail, ensure};
use pillion::units::ByteSize;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    cell::Lines,
    plan::{build_own, print, spread},
    records::Pool,
    sender::{Load, Shape},
    table,
    trial::{self, Order, Place, Seen, Setting, Turns, hundredth},
};
use crate::command_line::CommandLine;

/// What `--help` prints of it.
pub const HELP: &str = "
  bench spool                what a spool costs, unused and with everything going through it

  --rounds N           interleaved rounds (3)
  --case CASE          unused (the service is well), through (it waits until all is accepted) or both (both)
  --bytes SIZE         of records, as the sender writes them, in each run (200MB)
  --rate-bytes SIZE    of records a second, or max (max)
  --memory SIZE        for the agent whose records go through the spool (64MB)
  --place PLACE        of the spool: memory or disk (memory)
  --under-test CMD     as above
";

/// A run that does nothing for so long is over.
const QUIET: Duration = Duration::from_secs(12);
/// No run takes longer to send.
const SEND_MAX: Duration = Duration::from_secs(300);

/// The parsed command line.
#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    cases: Vec<(&'static str, Turns)>,
    bytes: u64,
    rate_bytes: Option<u64>,
    memory: u64,
    place: Place,
    under_test: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let (bytes, memory, place) = (200_000_000, 64_000_000, Place::Memory);
        let mut options =
            Self { rounds: 3, cases: CASES.to_vec(), bytes, rate_bytes: None, memory, place, under_test: None };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        let size = || anyhow::Ok(ByteSize::parse(value).map_err(anyhow::Error::msg)?.0);
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--bytes" => self.bytes = size()?,
            "--rate-bytes" => self.rate_bytes = if value == "max" { None } else { Some(size()?) },
            "--memory" => self.memory = size()?,
            "--case" => {
                let cases = CASES.iter().filter(|(case, _)| [*case, "both"].contains(&value));
                self.cases = cases.copied().collect();
                ensure!(!self.cases.is_empty(), "write `unused`, `through` or `both`");
            }
            "--under-test" => self.under_test = Some(value.to_owned()),
            "--place" => {
                self.place = match value {
                    "memory" => Place::Memory,
                    "disk" => Place::Disk,
                    _ => bail!("write `memory` or `disk`"),
                };
            }
            _ => bail!("there is no such option; see --help"),
        }
        Ok(())
    }
}

/// What is measured, and how the service is.
const CASES: [(&str, Turns); 2] = [("unused", Turns::Well), ("through", Turns::UntilAccepted)];

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    case: &'static str,
    spool: &'static str,
    #[serde(flatten)]
    seen: Seen,
    /// Of records as the sender wrote them: of those that arrived, from the first write to the last arrival.
    mb_per_second: f64,
    /// CPU of the process for each megabyte of them.
    cpu_ms_per_mb: f64,
}

/// Measures what `words` ask for.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let record_bytes = Pool::default().record_bytes();
    let records = |bytes: u64| (bytes as f64 / record_bytes) as u64;
    let rate = options.rate_bytes.map(records);
    let load = Load { shape: Shape::One, rate, time: SEND_MAX, records_max: records(options.bytes) };
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for &(case, turns) in &options.cases {
            let mut settings = settings(&options, &command, case);
            if round.is_multiple_of(2) {
                settings.reverse();
            }
            for setting in &settings {
                let seen = trial::run(setting, &Order { load, turns, quiet: QUIET })?.seen;
                let megabytes = seen.arrived as f64 * record_bytes / 1e6;
                let mb_per_second = hundredth(megabytes / seen.seconds.max(1e-3));
                let cpu_ms_per_mb = hundredth(seen.cpu_seconds * 1e3 / megabytes.max(1e-3));
                let spool = setting.name;
                let measured = Measured { bench: "spool", round, case, spool, seen, mb_per_second, cpu_ms_per_mb };
                print(out, &measured)?;
                all.push(measured);
            }
        }
    }
    write!(out, "\n{}\n", table(&options, &all))?;
    print(out, &summary(&options, &all))
}

/// The one without a spool first.
fn settings(options: &Options, command: &str, case: &str) -> [Setting; 2] {
    let memory = if case == "unused" { "2GiB".to_owned() } else { options.memory.to_string() };
    let spool = "PILLION__SPOOL__PATH={folder} PILLION__SPOOL__BYTES_MAX=4GiB";
    let commands = [
        ("off", format!("env PILLION__MEMORY=2GiB {command}")),
        ("on", format!("env {spool} PILLION__MEMORY={memory} {command}")),
    ];
    commands.map(|(name, command)| Setting { name, command, place: options.place, lines: Lines::default() })
}

const HEAD: [&str; 10] = [
    "service, spool",
    "MB/s",
    "s to write",
    "s to drain",
    "CPU ms for 1 MB",
    "memory at most, MiB",
    "on disk at most, MB",
    "lost",
    "MB/s, on to off",
    "CPU, on to off",
];

fn table(options: &Options, all: &[Measured]) -> String {
    let mut rows = Vec::new();
    for &(case, _) in &options.cases {
        let (speed, cpu) = ratios(case, all);
        for spool in ["off", "on"] {
            let figures = figures(case, spool, all);
            let mut row = vec![format!("{case}, {spool}")];
            row.extend(FIGURES.map(|(name, _)| table::cell(&figures[name])));
            let of = |ratio: &Value| if spool == "on" { table::cell(ratio) } else { String::new() };
            row.extend([of(&speed), of(&cpu)]);
            rows.push(row);
        }
    }
    table::markdown(&HEAD, &rows)
}

/// A figure and its name.
type Figure = (&'static str, fn(&Measured) -> Option<f64>);

const FIGURES: [Figure; 7] = [
    ("mb_per_second", |cell| Some(cell.mb_per_second)),
    ("send_seconds", |cell| Some(cell.seen.send_seconds)),
    ("drain_seconds", |cell| cell.seen.drain_seconds),
    ("cpu_ms_per_mb", |cell| Some(cell.cpu_ms_per_mb)),
    ("rss_peak_mib", |cell| Some(hundredth(cell.seen.rss_peak_kb as f64 / 1_024.0))),
    ("folder_peak_mb", |cell| Some(hundredth(cell.seen.folder_peak_bytes as f64 / 1e6))),
    ("missing", |cell| Some(cell.seen.missing as f64)),
];

fn of<'a>(case: &'a str, spool: &'a str, all: &'a [Measured]) -> impl Iterator<Item = &'a Measured> {
    all.iter().filter(move |cell| cell.case == case && cell.spool == spool)
}

fn figures(case: &str, spool: &str, all: &[Measured]) -> Value {
    let spread_of =
        |figure: fn(&Measured) -> Option<f64>| spread(&of(case, spool, all).filter_map(figure).collect::<Vec<_>>());
    FIGURES.iter().map(|(name, figure)| ((*name).to_owned(), spread_of(*figure))).collect()
}

/// Throughput and CPU with a spool, as parts of those without, each within its round.
fn ratios(case: &str, all: &[Measured]) -> (Value, Value) {
    let ratio = |figure: fn(&Measured) -> f64| {
        let whole = |cell: &&Measured| cell.seen.missing == 0;
        let rounds = of(case, "on", all).filter(whole).filter_map(|on| {
            let off = of(case, "off", all).filter(whole).find(|off| off.round == on.round)?;
            Some(hundredth(figure(on) / figure(off).max(1e-9)))
        });
        spread(&rounds.collect::<Vec<_>>())
    };
    (ratio(|cell| cell.mb_per_second), ratio(|cell| cell.cpu_ms_per_mb))
}

fn summary(options: &Options, all: &[Measured]) -> Value {
    let case = |&(case, _): &(&'static str, Turns)| {
        let (speed, cpu) = ratios(case, all);
        let [off, on] = ["off", "on"].map(|spool| figures(case, spool, all));
        json!({"case": case, "off": off, "on": on, "mb_per_second_on_to_off": speed, "cpu_on_to_off": cpu})
    };
    json!({
        "bench": "spool",
        "summary": true,
        "rounds": options.rounds,
        "bytes": options.bytes,
        "rate_bytes": options.rate_bytes,
        "memory": options.memory,
        "place": format!("{:?}", options.place).to_lowercase(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "cases": options.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(round: usize, spool: &'static str, mb_per_second: f64) -> Measured {
        let seen = Seen::default();
        Measured { bench: "spool", round, case: "through", spool, seen, mb_per_second, cpu_ms_per_mb: 1.0 }
    }

    #[test]
    fn the_command_line_says_how_much_and_where() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("spool --bytes 1GB --rate-bytes 50MB --memory 64MiB --place disk").expect("parses");
        assert_eq!((options.bytes, options.rate_bytes), (1_000_000_000, Some(50_000_000)));
        assert_eq!((options.memory, options.place), (64 << 20, Place::Disk));
        assert_eq!(parse("spool --rate-bytes max").expect("parses").rate_bytes, None);
        for wrong in
            ["spool --place tape", "spool --case none", "spool --bytes many", "spool --outage 3", "spool --rounds"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// The machine was half as fast in the second round; the ratio is the same. The third one lost a record.
    #[test]
    fn ratios_are_taken_within_their_rounds() {
        let all = [("off", 100.0, 1), ("on", 80.0, 1), ("on", 40.0, 2), ("off", 50.0, 2)];
        let mut all = all.map(|(spool, speed, round)| measured(round, spool, speed)).to_vec();
        let mut lossy = [measured(3, "off", 50.0), measured(3, "on", 500.0)];
        lossy[1].seen.missing = 1;
        all.extend(lossy);
        assert_eq!(ratios("through", &all).0, json!({"min": 0.8, "median": 0.8, "max": 0.8}));
    }
}
