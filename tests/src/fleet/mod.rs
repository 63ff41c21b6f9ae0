//! A fleet of tasks that send to one service with one quota, before, during and after an outage.
//!
//! [`real`] runs the agent's own delivery for a thousand tasks in simulated time; [`model`](mod@model) stands for a hundred
//! thousand, with our pace and with the retries of others. What is found: docs/fleet.md.
//!
//! Promises: simulated time and a simulated service only; whatever is drawn comes from one seed.
//! Never: opens a socket, or reads a clock that runs.

pub mod chunks;
pub mod ledger;
pub mod model;
pub mod options;
pub mod ours;
pub mod peers;
pub mod plot;
pub mod real;
pub mod scenario;
pub mod service;

use std::{fs, io::Write};

use anyhow::Context as _;

use chunks::{FluentBit, Otel};
use ledger::Report;
use options::{Mode, Options, Sender};
use ours::Ours;
use peers::{Fixed, Sdk};
use plot::Panel;
use scenario::Scenario;
use service::Second;

/// Runs what the command line asks for, prints a line of JSON for each policy, and draws.
pub fn run(options: &Options, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut drawn = Vec::new();
    let senders = if options.mode == Mode::Real { &[Sender::Ours][..] } else { &options.senders };
    for &sender in senders {
        let (report, seconds) = match options.mode {
            Mode::Real => real::run(options.scenario)?,
            Mode::Model => model(sender, options.scenario),
        };
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        if matches!(sender, Sender::Ours | Sender::Sdk | Sender::FluentBit) {
            drawn.push((title(sender), seconds));
        }
    }
    if let Some(file) = &options.plot {
        let panels: Vec<_> = drawn.iter().map(|(name, seconds)| Panel { name: (*name).to_owned(), seconds }).collect();
        let drawing = plot::draw(&options.scenario, &panels);
        fs::write(file, drawing).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(())
}

/// Runs the model with one policy.
pub fn model(sender: Sender, scenario: Scenario) -> (Report, Vec<Second>) {
    match sender {
        Sender::Ours => model::run::<Ours>(scenario),
        Sender::Fixed => model::run::<Fixed>(scenario),
        Sender::Sdk => model::run::<Sdk>(scenario),
        Sender::FluentBit => model::run::<FluentBit<1>>(scenario),
        Sender::NoLimits => model::run::<FluentBit<0>>(scenario),
        Sender::Otel => model::run::<Otel>(scenario),
    }
}

fn title(sender: Sender) -> &'static str {
    match sender {
        Sender::Sdk => "AWS SDK: three attempts, full jitter, again after 5 s",
        Sender::FluentBit => "Fluent Bit as it comes: a chunk every 5 s, one retry",
        _ => "pillion",
    }
}
