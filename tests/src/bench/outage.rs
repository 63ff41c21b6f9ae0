//! `bench outage`: a steady sender, and a service that is down for a while in the middle.
//!
//! ```text
//! sent      ├── before ──┼──────── outage ────────┼───── after ─────┤
//! taken     ├────────────┤                        ├─ catching up ─┬─ as before ─┤
//! ```
//!
//! Promises: the backlog is worked out of what was sent and what arrived, so it is the same figure for whoever is measured; the
//! run fails if the process does not count exactly the records that are missing.
//! Never: counts records that never arrive as backlog.

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
    sink::{Health, Ledger},
    table,
    trial::{self, Order, Place, Run, Seen, Setting, Turns, hundredth},
};
use crate::command_line::CommandLine;

/// What `--help` prints of it.
pub const HELP: &str = "
  bench outage               a service that is down for a while: what is lost, how large it becomes, how soon it is over

  --rounds N           rounds (1)
  --before S, --outage S, --after S   seconds of sending before, in and behind the outage (5, 30, 25)
  --kind KIND          error (answers 503), refuse (nobody listens) or hang (no answer) (error)
  --rate-bytes SIZE    of records a second, as the sender writes them (5MB)
  --under-test CMD     as above; run with memory only, and with a spool of 2 GiB in memory and on the disk
  --peer CMD           Fluent Bit; run with its storage on the disk
";

/// Records of a peer that tries again late are waited for.
const QUIET_LEAST: Duration = Duration::from_secs(12);
/// The start, of which the usual backlog is not taken.
const WARM_UP: Duration = Duration::from_secs(1);

/// The parsed command line.
#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    before: Duration,
    outage: Duration,
    after: Duration,
    kind: Health,
    rate_bytes: u64,
    under_test: Option<String>,
    peer: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let [before, outage, after] = [5, 30, 25].map(Duration::from_secs);
        let (kind, rate_bytes) = (Health::Error, 5_000_000);
        let mut options = Self { rounds: 1, before, outage, after, kind, rate_bytes, under_test: None, peer: None };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        let seconds = || anyhow::Ok(Duration::try_from_secs_f64(value.parse()?)?);
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--before" => self.before = seconds()?,
            "--outage" => self.outage = seconds()?,
            "--after" => self.after = seconds()?,
            "--rate-bytes" => self.rate_bytes = ByteSize::parse(value).map_err(anyhow::Error::msg)?.0,
            "--under-test" => self.under_test = Some(value.to_owned()),
            "--peer" => self.peer = Some(value.to_owned()),
            "--kind" => {
                self.kind = match value {
                    "error" => Health::Error,
                    "refuse" => Health::Refuse,
                    "hang" => Health::Hang,
                    _ => bail!("write `error`, `refuse` or `hang`"),
                };
            }
            _ => bail!("there is no such option; see --help"),
        }
        Ok(())
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    setting: &'static str,
    kind: String,
    #[serde(flatten)]
    seen: Seen,
    /// From the heal until less than a second of records waited.
    under_a_second_seconds: Option<f64>,
    /// From the heal until no more waited than before the outage.
    as_before_seconds: Option<f64>,
}

/// Measures what `words` ask for.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let settings = settings(&command, options.peer.as_deref());
    let rate = (options.rate_bytes as f64 / Pool::default().record_bytes()) as u64;
    let time = options.before + options.outage + options.after;
    let load = Load { shape: Shape::One, rate: Some(rate), time, records_max: u64::MAX / 2 };
    let turns = Turns::Between(options.kind, options.before, options.before + options.outage);
    let order = Order { load, turns, quiet: QUIET_LEAST + 2 * options.outage };
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for setting in &settings {
            let run = trial::run(setting, &order)?;
            let measured = measured(round, setting.name, &options, rate, &run);
            print(out, &measured)?;
            all.push(measured);
        }
    }
    write!(out, "\n{}\n", table(&settings, &all))?;
    print(out, &summary(&options, &settings, rate, &all))?;
    for Measured { round, setting, seen, .. } in &all {
        let counted = seen.lost_counted.unwrap_or(seen.missing);
        ensure!(counted == seen.missing, "round {round}, {setting}: {} missing, {counted} counted", seen.missing);
    }
    Ok(())
}

fn settings(command: &str, peer: Option<&str>) -> Vec<Setting> {
    let spool = format!("env PILLION__SPOOL__PATH={{folder}} PILLION__SPOOL__BYTES_MAX=2GiB {command}");
    let ours =
        |name, command: &str, place| Setting { name, command: command.to_owned(), place, lines: Lines::default() };
    let mut settings = vec![
        ours("memory only", command, Place::Memory),
        ours("spool in memory", &spool, Place::Memory),
        ours("spool on disk", &spool, Place::Disk),
    ];
    settings.extend(peer.map(|command| Setting {
        name: "peer, on disk",
        command: command.to_owned(),
        place: Place::Disk,
        lines: Lines {
            service: "    storage.path {folder}\n".to_owned(),
            input: "    storage.type filesystem\n".to_owned(),
            output: "    retry_limit no_limits\n".to_owned(),
        },
    }));
    settings
}

fn measured(round: usize, setting: &'static str, options: &Options, rate: u64, run: &Run) -> Measured {
    let healed = run.healed.unwrap_or_default();
    let down = run.begun + options.before;
    let peaks = run.ledger(|ledger| backlog(ledger, run.begun, rate, run.seen.sent));
    let usual = peaks.iter().filter(|peak| (run.begun + WARM_UP..down).contains(&peak.at));
    let usual = usual.map(|peak| peak.before).max().unwrap_or(0);
    let until = |limit: u64| {
        let peak = peaks.iter().find(|peak| peak.at >= healed && peak.after <= limit);
        peak.map(|peak| hundredth((peak.at - healed).as_secs_f64()))
    };
    Measured {
        bench: "outage",
        round,
        setting,
        kind: format!("{:?}", options.kind).to_lowercase(),
        seen: run.seen.clone(),
        under_a_second_seconds: until(rate),
        as_before_seconds: until(usual),
    }
}

/// The backlog around the taking of a request, in records that arrive in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peak {
    at: Duration,
    before: u64,
    after: u64,
}

fn backlog(ledger: &Ledger, begun: Duration, rate: u64, sent: u64) -> Vec<Peak> {
    let mut arrived = 0;
    let peak = |&(at, unique): &(Duration, u64)| {
        let due = at.saturating_sub(begun).as_nanos() * u128::from(rate) / 1_000_000_000;
        let written = ledger.arrived_before(sent.min(u64::try_from(due).unwrap_or(u64::MAX)));
        let before = written.saturating_sub(arrived);
        arrived = unique;
        Peak { at, before, after: written.saturating_sub(unique) }
    };
    ledger.course.iter().map(peak).collect()
}

const HEAD: [&str; 13] = [
    "setting",
    "sent",
    "lost",
    "counted as lost",
    "doubled",
    "out of order",
    "memory at most, MiB",
    "on disk at most, MB",
    "s until taken again",
    "s until under 1 s",
    "s until as before",
    "requests for one taken",
    "longest write, ms",
];

fn table(settings: &[Setting], all: &[Measured]) -> String {
    let row = |setting: &Setting| {
        let figures = figures(setting.name, all);
        let names = FIGURES.iter().map(|(name, _)| *name);
        [setting.name.to_owned()].into_iter().chain(names.map(|name| table::cell(&figures[name]))).collect()
    };
    table::markdown(&HEAD, &settings.iter().map(row).collect::<Vec<_>>())
}

/// A figure and its name.
type Figure = (&'static str, fn(&Measured) -> Option<f64>);

const FIGURES: [Figure; 12] = [
    ("sent", |cell| Some(cell.seen.sent as f64)),
    ("missing", |cell| Some(cell.seen.missing as f64)),
    ("lost_counted", |cell| cell.seen.lost_counted.map(|count| count as f64)),
    ("duplicated", |cell| Some(cell.seen.duplicated as f64)),
    ("reordered", |cell| Some(cell.seen.reordered as f64)),
    ("rss_peak_mib", |cell| Some(hundredth(cell.seen.rss_peak_kb as f64 / 1_024.0))),
    ("folder_peak_mb", |cell| Some(hundredth(cell.seen.folder_peak_bytes as f64 / 1e6))),
    ("first_taken_seconds", |cell| cell.seen.first_taken_seconds),
    ("under_a_second_seconds", |cell| cell.under_a_second_seconds),
    ("as_before_seconds", |cell| cell.as_before_seconds),
    ("attempts_per_taken", |cell| cell.seen.attempts_per_taken.or(Some(cell.seen.offered_per_taken))),
    ("blocked_worst_ms", |cell| Some(cell.seen.blocked_worst_ms)),
];

fn figures(setting: &str, all: &[Measured]) -> Value {
    let of = |figure: fn(&Measured) -> Option<f64>| {
        spread(&all.iter().filter(|cell| cell.setting == setting).filter_map(figure).collect::<Vec<_>>())
    };
    FIGURES.iter().map(|(name, figure)| ((*name).to_owned(), of(*figure))).collect()
}

fn summary(options: &Options, settings: &[Setting], rate: u64, all: &[Measured]) -> Value {
    let settings: Vec<_> = settings
        .iter()
        .map(|setting| json!({"setting": setting.name, "figures": figures(setting.name, all)}))
        .collect();
    json!({
        "bench": "outage",
        "summary": true,
        "rounds": options.rounds,
        "kind": format!("{:?}", options.kind).to_lowercase(),
        "outage_seconds": options.outage.as_secs_f64(),
        "rate_bytes": options.rate_bytes,
        "rate": rate,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "settings": settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::records::Mark;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_says_what_goes_wrong_for_how_long() {
        let options = parse("outage --kind hang --outage 0.5 --rate-bytes 1MiB --peer p").expect("parses");
        assert_eq!((options.kind, options.outage), (Health::Hang, Duration::from_millis(500)));
        assert_eq!((options.rate_bytes, options.peer.as_deref()), (1 << 20, Some("p")));
        for wrong in ["outage --kind off", "outage --outage -1", "outage --rate-bytes fast", "outage --seconds 3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// Ten records a second; numbers 2 and 3 never arrive.
    #[test]
    fn a_backlog_holds_what_arrives_in_the_end_and_has_not_yet() {
        let mut ledger = Ledger::default();
        let at = Duration::from_millis;
        for (time, sequences) in [(at(1_100), vec![0]), (at(1_850), vec![1, 4, 5]), (at(2_000), vec![7, 6])] {
            ledger.take(sequences.into_iter().map(|sequence| Mark { sequence, sent_us: 0 }), time);
        }
        let peaks = backlog(&ledger, at(1_000), 10, 8);
        let expected = [(1_100, 1, 0), (1_850, 5, 2), (2_000, 2, 0)];
        assert_eq!(peaks, expected.map(|(time, before, after)| Peak { at: at(time), before, after }));
    }
}
