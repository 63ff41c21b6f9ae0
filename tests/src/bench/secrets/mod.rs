//! `bench secrets`: how fast a rotation reaches the files, what a read through the local API costs, what secrets cost in memory.
//!
//! - `rate`: keep-alive connections that ask for one secret, which is cached, again and again; for this tree's agent, the agent
//!   under test, and a peer such as AWS's own, one right after the other in each round.
//! - `swap`: secrets rotate one by one, and the agent is asked to look. Seen is when the service reads the `DescribeSecret` that
//!   is answered with the new version; swapped is when a watch of the folder sees `..data` renamed.
//! - `memory`: an agent without secrets, with 50, and with 200 of 4 KiB, idle, before and after each was read through the API.
//!
//! Promises: every answer is checked for its status, its length and the secret in it; a cell with a wrong one fails the run.
//! Never: counts the CPU of those who ask.

mod callers;
mod rig;
mod swaps;

use std::{io::Write, path::Path, time::Duration};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::plan::{build_own, print, spread};
use crate::command_line::CommandLine;
use rig::Rig;

/// What `--help` prints of it.
pub const HELP: &str = "
  bench secrets              reads through the local API, rotation to file, memory

  --case CASE          rate, swap, memory or all (all)
  --rounds N           interleaved rounds (3)
  --seconds N          of asking in each cell of rate (5)
  --connections N,N    that ask at a time (1,16,64)
  --secrets N          that there are in rate and swap (50)
  --rotations N        in each round of swap (50)
  --wait TIME          for which a change waits for others, in swap (0s; the agent's default is 500ms)
  --under-test CMD     the agent (this tree's pillion with -c {config})
  --peer CMD           another one, in rate: \"aws-workload-credentials-provider sm start --config {toml}\"

  In commands {config} is a configuration of pillion, {toml} one of AWS's agent.
";

/// Secrets of the cells of memory.
const COUNTS: [usize; 3] = [0, 50, 200];
/// Bytes of a secret's value in memory, and in the other cases: a database's credentials.
const BYTES: [usize; 2] = [4_096, 200];

/// The parsed command line.
#[derive(Clone, Debug)]
struct Options {
    cases: Vec<&'static str>,
    rounds: usize,
    time: Duration,
    connections: Vec<usize>,
    secrets: usize,
    rotations: usize,
    wait: String,
    under_test: Option<String>,
    peer: Option<String>,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let line = CommandLine::parse(words, "say what to measure; see --help")?;
        let mut options = Self {
            cases: vec!["rate", "swap", "memory"],
            rounds: 3,
            time: Duration::from_secs(5),
            connections: vec![1, 16, 64],
            secrets: 50,
            rotations: 50,
            wait: "0s".to_owned(),
            under_test: None,
            peer: None,
        };
        line.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--case" => match ["rate", "swap", "memory"].into_iter().find(|case| *case == value) {
                Some(case) => self.cases = vec![case],
                None if value == "all" => {}
                None => bail!("write `rate`, `swap`, `memory` or `all`"),
            },
            "--rounds" => self.rounds = value.parse()?,
            "--seconds" => self.time = Duration::from_secs_f64(value.parse()?),
            "--connections" => self.connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--secrets" => self.secrets = value.parse()?,
            "--rotations" => self.rotations = value.parse()?,
            "--wait" => self.wait = value.to_owned(),
            "--under-test" => self.under_test = Some(value.to_owned()),
            "--peer" => self.peer = Some(value.to_owned()),
            _ => bail!("there is no such option; see --help"),
        }
        ensure!(self.connections.iter().all(|count| (1..=500).contains(count)), "1 to 500 connections");
        ensure!(self.secrets >= 1, "there must be one secret");
        Ok(())
    }
}

/// Measures as `words` say; a line of JSON for each cell, and one at the end.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let own = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let (mut rates, mut swaps, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        for case in &options.cases {
            match *case {
                "rate" => rates.extend(rate(&options, &own, round, out)?),
                "swap" => swaps.push(swaps::measure(&options, &own, round, out)?),
                _ => memory.extend(measure_memory(&own, round, out)?),
            }
        }
    }
    let summary = json!({
        "bench": "secrets", "summary": true, "rounds": options.rounds, "under_test": own, "peer": options.peer,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "rate": options.connections.iter().map(|count| summary_of(&rates, *count)).collect::<Vec<_>>(),
        "swap": swaps::summary(&swaps),
        "memory": COUNTS.map(|count| memory_of(&memory, count)),
    });
    print(out, &summary)
}

/// One round of rate: each number of connections on everyone, who take turns at going first.
fn rate(options: &Options, own: &str, round: usize, out: &mut dyn Write) -> anyhow::Result<Vec<Value>> {
    let mut who = vec![("agent", own)];
    who.extend(options.peer.as_deref().map(|command| ("peer", command)));
    if round.is_multiple_of(2) {
        who.reverse();
    }
    let mut cells = Vec::new();
    for (name, command) in who {
        let mut rig = Rig::start(command, options.secrets, BYTES[1], "0s")?;
        let request = rig.request(0);
        for &connections in &options.connections {
            let cpu = rig.process.cpu();
            let asked = callers::ask(rig.api, &request, &rig.value(0), connections, options.time)?;
            let cpu = (rig.process.cpu() - cpu).as_secs_f64();
            let (requests, seconds) = (asked.requests() as f64, asked.took.as_secs_f64());
            let cell = json!({
                "bench": "secrets", "case": "rate", "round": round, "who": name, "connections": connections,
                "requests": asked.requests(), "seconds": seconds, "cpu_seconds": cpu,
                "per_second": requests / seconds, "per_cpu_second": requests / cpu, "cpu_us": cpu * 1e6 / requests,
                "p50_us": asked.percentile_us(50), "p99_us": asked.percentile_us(99),
                "rss_kb": rig.process.status_kb("VmRSS"), "rss_anon_kb": rig.process.status_kb("RssAnon"),
            });
            print(out, &cell)?;
            cells.push(cell);
        }
    }
    Ok(cells)
}

fn summary_of(cells: &[Value], connections: usize) -> Value {
    let of = |who: &str, figure: &str| -> Vec<f64> {
        let mine = cells.iter().filter(|cell| cell["who"] == who && cell["connections"] == connections);
        mine.filter_map(|cell| cell[figure].as_f64()).collect()
    };
    let ratios: Vec<f64> =
        of("agent", "per_cpu_second").iter().zip(of("peer", "per_cpu_second")).map(|(own, peer)| own / peer).collect();
    let figures = |who: &str| {
        let names = ["per_second", "per_cpu_second", "cpu_us", "p50_us", "p99_us"];
        Value::Object(names.map(|name| (name.to_owned(), spread(&of(who, name)))).into_iter().collect())
    };
    json!({"connections": connections, "per_cpu_second_to_peer": spread(&ratios), "agent": figures("agent"), "peer": figures("peer")})
}

fn measure_memory(own: &str, round: usize, out: &mut dyn Write) -> anyhow::Result<Vec<Value>> {
    let mut cells = Vec::new();
    for count in COUNTS {
        let rig = Rig::start(own, count, BYTES[0], "0s")?;
        let figures = || [rig.process.status_kb("VmRSS"), rig.process.status_kb("RssAnon")];
        let idle = figures();
        for number in 0..count {
            callers::ask_once(rig.api, &rig.request(number), &rig.value(number))?;
        }
        let read = figures();
        let cell = json!({
            "bench": "secrets", "case": "memory", "round": round, "secrets": count, "bytes": BYTES[0],
            "idle_rss_kb": idle[0], "idle_rss_anon_kb": idle[1], "read_rss_kb": read[0], "read_rss_anon_kb": read[1],
        });
        print(out, &cell)?;
        cells.push(cell);
    }
    Ok(cells)
}

fn memory_of(cells: &[Value], count: usize) -> Value {
    let of = |figure: &str| {
        let mine = cells.iter().filter(|cell| cell["secrets"] == count);
        spread(&mine.filter_map(|cell| cell[figure].as_f64()).collect::<Vec<_>>())
    };
    let names = ["idle_rss_kb", "idle_rss_anon_kb", "read_rss_kb", "read_rss_anon_kb"];
    let mut figures: serde_json::Map<String, Value> =
        names.map(|name| (name.to_owned(), of(name))).into_iter().collect();
    figures.insert("secrets".to_owned(), count.into());
    Value::Object(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_measure() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("secrets --case rate --connections 1,8 --rounds 2 --peer x").expect("parses");
        assert_eq!((options.cases, options.connections, options.rounds), (vec!["rate"], vec![1, 8], 2));
        assert_eq!(parse("secrets").expect("parses").cases, ["rate", "swap", "memory"]);
        for wrong in ["--case x", "--connections 0", "--connections x", "--secrets 0", "--rounds", "--fast 1"] {
            assert!(parse(&format!("secrets {wrong}")).is_err(), "{wrong}");
        }
    }
}
