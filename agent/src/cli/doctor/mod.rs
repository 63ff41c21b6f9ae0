//! `pillion doctor`: looks at the place where the agent runs, and says what is wrong and what to change.
//!
//! ```text
//! docker exec, ECS Exec: /pillion doctor
//!        configuration ─▶ here:  the running agent, addresses, folders, memory
//!                      └▶ cloud: metadata, credentials, ways to the services, clock, rights
//! ```
//!
//! Promises: it ends within two minutes, whatever does not answer; nothing is written anywhere and nothing changes at AWS unless
//! `--write` asks for it; the exit code is 0 exactly when nothing is wrong, 78 for a wrong configuration.
//! Never: shows a secret, a credential or a token; keeps the value of a secret that it reads.

mod cloud;
mod here;
mod rights;
mod way;

use std::{
    fmt::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde_json::json;
use tokio::time::timeout;

use super::{CONFIG, FAILURE, complain, print, run};
use crate::{problem::Severity, taskdef::iam, tell::chain};

/// The time for everything that is asked of others.
const PATIENCE: Duration = Duration::from_secs(120);

/// How it is called.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(super) struct Doctor {
    /// A YAML file of ours, or a Fluent Bit configuration. Default: what ECS mounted
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Also try what leaves a trace: a log stream and a line, one value of a metric
    #[arg(long)]
    pub(super) write: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How it stands with what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// It was not or could not be tried.
    Untried,
    /// It works, and somebody should know.
    Odd,
    Wrong,
}

/// What was found of one thing.
#[derive(Clone, Debug)]
struct Finding {
    /// What it belongs to: `logs`, `clock`.
    area: &'static str,
    state: State,
    /// What was looked at, and what was seen.
    said: String,
    /// What to do about it; empty if nothing.
    advice: String,
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    /// What the task role must allow, as far as it was seen not to.
    missing: Vec<iam::Statement>,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Untried => "untried",
            Self::Odd => "look",
            Self::Wrong => "WRONG",
        }
    }
}

impl Report {
    fn add(&mut self, area: &'static str, state: State, said: impl fmt::Display, advice: impl Into<String>) {
        self.findings.push(Finding { area, state, said: said.to_string(), advice: advice.into() });
    }

    fn well(&mut self, area: &'static str, said: impl fmt::Display) {
        self.add(area, State::Well, said, "");
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }

    /// For people: a line each, what to do below it, and a sum.
    fn text(&self) -> String {
        let mut text = String::new();
        for Finding { area, state, said, advice } in &self.findings {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<8}{area:<15}{said}", state.word());
            if !advice.is_empty() {
                let _ = writeln!(text, "{:<23}-> {advice}", "");
            }
        }
        if !self.missing.is_empty() {
            let _ =
                writeln!(text, "\nAdd to the policy of the task role:\n{}", iam::document(&self.missing).trim_end());
        }
        let [wrong, odd, untried, well] =
            [State::Wrong, State::Odd, State::Untried, State::Well].map(|state| self.count(state));
        let _ = writeln!(text, "\n{wrong} wrong, {odd} to look at, {untried} untried, {well} ok");
        text
    }

    /// For programs.
    fn json(&self) -> String {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|Finding { area, state, said, advice }| {
                json!({"area": area, "state": state.word().to_lowercase(), "said": said, "advice": advice})
            })
            .collect();
        let policy = (!self.missing.is_empty()).then(|| iam::document(&self.missing));
        format!("{}\n", json!({"wrong": self.count(State::Wrong), "findings": findings, "missing_policy": policy}))
    }
}

pub(super) fn doctor(call: Doctor) -> ExitCode {
    let Doctor { config, write, json } = call;
    let mut report = Report::default();
    let loaded = run::Call { file: config, ..run::Call::default() }.load();
    let (config, problems) = match loaded {
        Ok((config, problems)) => (Some(config), problems),
        Err(problems) => (None, problems),
    };
    for problem in &problems {
        let state = if problem.severity == Severity::Warning { State::Odd } else { State::Wrong };
        report.add("configuration", state, format_args!("{}: {}", problem.place, problem.what), &*problem.hint);
    }
    let Some(config) = config else { return told(&report, json, CONFIG) };
    report.well("configuration", format_args!("read from {}", config.described));
    here::look(&config, &mut report);
    let host = match run::Host::new() {
        Ok(host) => host,
        Err(error) => {
            complain(format_args!("pillion: {}\n", chain(&error)));
            return ExitCode::from(FAILURE);
        }
    };
    match host.unless_stopped(in_time(cloud::look(&config, write, &mut report))) {
        Some(true) => {}
        Some(false) => {
            let advice = "what did not answer is above; what comes after it was not looked at";
            report.add("doctor", State::Wrong, format_args!("stopped after {} s", PATIENCE.as_secs()), advice);
        }
        None => {
            complain("pillion: stopped before everything was looked at\n");
            return ExitCode::from(FAILURE);
        }
    }
    told(&report, json, if report.count(State::Wrong) > 0 { FAILURE } else { 0 })
}

/// False if it would take longer than [`PATIENCE`]: each question has its time, and there may be a thousand secrets.
async fn in_time(looking: impl Future<Output = ()>) -> bool {
    timeout(PATIENCE, looking).await.is_ok()
}

fn told(report: &Report, as_json: bool, code: u8) -> ExitCode {
    let printed = print(if as_json { report.json() } else { report.text() });
    if code == 0 { printed } else { ExitCode::from(code) }
}

#[cfg(test)]
mod tests;
