//! The command line of the bench.
//!
//! Promises: every mistake is named together with what to write instead.
//! Never: reads the environment.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::sender::Shape;
use crate::command_line::CommandLine;

/// What `--help` prints.
pub const HELP: &str = "\
Measures agents that take logs on a FireLens socket and put them into CloudWatch Logs.

  bench forward-cloudwatch   CPU per record, memory, latency; at a rate and flat out
  bench overload             the same against a service that is too slow: is the sender held up, what is lost
  bench burst                N lines and then the end of the container
  bench isolation            what one output's trouble costs another; see isolation --help
  bench floor                only what this machine needs for the same work

  --seconds N          of sending in each cell (5; overload 10)
  --rounds N           interleaved rounds (3)
  --rate N|max|both    records per second; both: 20000 and max (both; overload and burst: max)
  --shape one|32|both  records per write(2) (both; overload and burst: one)
  --records N          of a burst (20000)
  --sink-speed N       bytes per second that the slow service of overload takes (2000000)
  --under-test CMD     the agent (this tree's pillion, built for it in release, with -c {config})
  --peer CMD           another agent, measured in the same rounds

In commands {config} is a Fluent Bit configuration file made for the run, {socket} the socket in it, {port} the port
where CloudWatch Logs is played. Words are separated by spaces. Every cell prints a line of JSON, the last line sums up.
";

/// The rate that figures are compared at.
const RATE: u64 = 20_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A service that takes everything.
    ForwardCloudwatch,
    /// A service that is too slow.
    Overload,
    /// A fixed number of records, then the connection is closed.
    Burst,
    /// Only the floor.
    Floor,
}

impl Scenario {
    /// Its name on the command line and in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::ForwardCloudwatch => "forward-cloudwatch",
            Self::Overload => "overload",
            Self::Burst => "burst",
            Self::Floor => "floor",
        }
    }
}

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured.
    pub scenario: Scenario,
    /// Of sending in each cell.
    pub time: Duration,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Records per second; `None`: flat out.
    pub rates: Vec<Option<u64>>,
    /// Records in a write.
    pub shapes: Vec<Shape>,
    /// The most records of a cell.
    pub records: u64,
    /// Bytes per second that the service takes; `None`: everything.
    pub sink_speed: Option<u64>,
    /// The agent's command; `None`: this tree's own pillion, which must be built first.
    pub under_test: Option<String>,
    /// The peer's.
    pub peer: Option<String>,
}

impl Options {
    /// Reads the words behind the program's name.
    pub fn parse(words: &[String]) -> anyhow::Result<Self> {
        let line = CommandLine::parse(words, "say what to measure; see --help")?;
        let mut options = Self::of(line.what)?;
        line.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn of(name: &str) -> anyhow::Result<Self> {
        let mut options = Self {
            scenario: Scenario::ForwardCloudwatch,
            time: Duration::from_secs(5),
            rounds: 3,
            rates: vec![Some(RATE), None],
            shapes: vec![Shape::One, Shape::ThirtyTwo],
            records: u64::MAX / 2,
            sink_speed: None,
            under_test: None,
            peer: None,
        };
        match name {
            "forward-cloudwatch" => {}
            "floor" => options.scenario = Scenario::Floor,
            "overload" => {
                options.scenario = Scenario::Overload;
                options.time = Duration::from_secs(10);
                options.rates = vec![None];
                options.shapes = vec![Shape::One];
                options.sink_speed = Some(2_000_000);
            }
            "burst" => {
                options.scenario = Scenario::Burst;
                options.time = Duration::from_secs(60);
                options.rates = vec![None];
                options.shapes = vec![Shape::One];
                options.records = 20_000;
            }
            _ => bail!("`{name}` is nothing to measure; see --help"),
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--seconds" => self.time = Duration::from_secs_f64(value.parse()?),
            "--rounds" => self.rounds = value.parse()?,
            "--records" => self.records = value.parse()?,
            "--sink-speed" => self.sink_speed = Some(value.parse()?),
            "--under-test" => self.under_test = Some(value.to_owned()),
            "--peer" => self.peer = Some(value.to_owned()),
            "--rate" => {
                self.rates = match value {
                    "both" => vec![Some(RATE), None],
                    "max" => vec![None],
                    number => vec![Some(number.parse().context("write a number, `max` or `both`")?)],
                };
            }
            "--shape" => {
                self.shapes = match value {
                    "both" => vec![Shape::One, Shape::ThirtyTwo],
                    "one" => vec![Shape::One],
                    "32" => vec![Shape::ThirtyTwo],
                    _ => bail!("write `one`, `32` or `both`"),
                };
            }
            _ => bail!("there is no such option; see --help"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Options> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn the_command_line_says_what_to_measure() {
        let options = parse("forward-cloudwatch").unwrap();
        assert_eq!((options.under_test, options.peer), (None, None));
        assert_eq!(options.rates, [Some(20_000), None]);
        let options = parse("overload --rate 100000 --shape 32 --seconds 0.5 --peer p").unwrap();
        assert_eq!((options.rates, options.shapes), (vec![Some(100_000)], vec![Shape::ThirtyTwo]));
        assert_eq!((options.sink_speed, options.peer.as_deref()), (Some(2_000_000), Some("p")));
        for wrong in ["", "frwrd", "burst --rate", "burst --rate fast", "burst --fast 1", "burst --shape 33"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
