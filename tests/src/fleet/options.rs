//! The command line of the fleet.
//!
//! Promises: every mistake is named together with what to write instead.
//! Never: reads the environment.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};

use super::scenario::Scenario;
use crate::command_line::CommandLine;

/// What `--help` prints.
pub const HELP: &str = "\
Simulates a fleet of tasks that send to one service with one quota, before, during and after an outage.

  fleet real    the agent's own delivery for each task, in simulated time
  fleet model   a model of many tasks: our pace, and the retries of others

  --agents N      tasks (real: 1000; model: 100000)
  --quota N       requests per second that the service takes (a twentieth of the tasks)
  --burn X        what a rejected request costs the service, in accepted ones (0.05)
  --bytes N       bytes of a record (512)
  --every S       seconds from record to record of a task (1)
  --before S      seconds before the outage (600)
  --outage S      seconds of outage (1800)
  --after S       seconds behind it, which the figures are of (600)
  --seed N        of everything that is drawn (1)
  --policy NAME   of the model, several times: ours, fixed, sdk, fluent-bit, no-limits, otel (all)
  --plot FILE     draws ours, sdk and fluent-bit as an SVG

Every policy prints a line of JSON. Take fewer tasks for no-limits: it keeps a chunk for every five seconds of the outage.
";

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real pipelines.
    Real,
    /// The model.
    Model,
}

/// How the agents of the model send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// With our pace.
    Ours,
    /// Again after five seconds.
    Fixed,
    /// Like an AWS SDK in a loop.
    Sdk,
    /// Like Fluent Bit as it comes.
    FluentBit,
    /// Like Fluent Bit without a limit of retries.
    NoLimits,
    /// Like the OpenTelemetry collector with its queue in memory.
    Otel,
}

impl Sender {
    /// All of them, with their names on the command line.
    pub const ALL: [(&'static str, Self); 6] = [
        ("ours", Self::Ours),
        ("fixed", Self::Fixed),
        ("sdk", Self::Sdk),
        ("fluent-bit", Self::FluentBit),
        ("no-limits", Self::NoLimits),
        ("otel", Self::Otel),
    ];
}

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is simulated.
    pub mode: Mode,
    /// What the fleet goes through.
    pub scenario: Scenario,
    /// Who sends, in the model.
    pub senders: Vec<Sender>,
    /// Where to draw.
    pub plot: Option<PathBuf>,
}

impl Options {
    /// Reads the words behind the program's name.
    pub fn parse(words: &[String]) -> anyhow::Result<Self> {
        let line = CommandLine::parse(words, "say `real` or `model`; see --help")?;
        let (mode, agents) = match line.what {
            "real" => (Mode::Real, 1_000),
            "model" => (Mode::Model, 100_000),
            what => bail!("`{what}` is neither `real` nor `model`; see --help"),
        };
        let agents = match line.value("--agents") {
            Some(value) => value.parse().context("--agents takes a number")?,
            None => agents,
        };
        let mut options = Self { mode, scenario: Scenario::of(agents), senders: Vec::new(), plot: None };
        line.each(|word, value| options.set(word, value))?;
        if options.senders.is_empty() {
            options.senders = Sender::ALL.map(|(_, sender)| sender).to_vec();
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        let scenario = &mut self.scenario;
        let seconds = || anyhow::Ok(Duration::try_from_secs_f64(value.parse()?)?);
        match word {
            "--agents" => {}
            "--quota" => scenario.quota = value.parse()?,
            "--burn" => scenario.burn = value.parse()?,
            "--bytes" => scenario.record_bytes = value.parse()?,
            "--every" => scenario.record_every = seconds()?,
            "--before" => scenario.before = seconds()?,
            "--outage" => scenario.outage = seconds()?,
            "--after" => scenario.after = seconds()?,
            "--seed" => scenario.seed = value.parse()?,
            "--plot" => self.plot = Some(value.into()),
            "--policy" => {
                let sender = Sender::ALL.iter().find(|(name, _)| *name == value);
                self.senders.push(sender.context("there is no such policy; see --help")?.1);
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
    fn the_command_line_says_what_to_simulate() {
        let options = parse("real").expect("parses");
        assert_eq!((options.mode, options.scenario), (Mode::Real, Scenario::of(1_000)));
        let options = parse("model --burn 0.2 --agents 10000 --quota 5000 --policy sdk --policy ours").expect("parses");
        assert_eq!(options.scenario, Scenario { quota: 5_000.0, burn: 0.2, ..Scenario::of(10_000) });
        assert_eq!(options.senders, [Sender::Sdk, Sender::Ours]);
        for wrong in
            ["", "reel", "real --seed", "real --seed x", "real --speed 1", "model --policy theirs", "real --every -1"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
