//! `pillion run`: from the configuration to the end of the process.
//!
//! Promises: the sockets are bound before anything that takes time; a signal begins to stop, a second one hurries; the
//! end is clean on every way out.
//! Never: knows what the agent does in between; `agent` does.

use std::{fmt::Write, io, path::PathBuf, pin::pin, process::ExitCode};

use tokio::runtime::Runtime;
use tracing::{info, warn};

use super::{CONFIG, FAILURE, complain};
use crate::{
    agent::{self, Bound, Bounds, Outcome, Spool},
    config::{self, Config, DaemonCall, Environment, Sources},
    ecs::memory,
    fluentbit::Disk,
    life::{Life, Signals},
    problem::Problem,
    tell::{self, chain, logs::Format},
};

/// Threads for blocking work: name look-ups and files. A task has few vCPUs, and each thread costs memory.
const BLOCKING_THREADS_MAX: usize = 4;

/// How many tasks have their turn before the sockets are looked at again. A turn may take 60 us, and a fast container fills
/// the kernel's buffer in 200 us; a look costs 0.3 us.
const TURNS_BETWEEN_LOOKS: u32 = 2;

/// How we were called.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The configuration file, if one was named.
    pub(super) file: Option<PathBuf>,
    /// A log level that wins over the configured one.
    pub(super) level: Option<&'static str>,
    /// What was given and has no effect.
    pub(super) ignored: Vec<String>,
    /// Whose command line it was.
    pub(super) called_as: CalledAs,
}

/// Whose command line we were called with, as far as the configuration depends on it.
#[derive(Debug, Default)]
pub(super) enum CalledAs {
    /// Our own, or Fluent Bit's.
    #[default]
    Ours,
    /// That of AWS's agent for secrets: nothing but its API is wanted.
    SecretsAgent,
    /// That of the X-Ray daemon, with these flags.
    XrayDaemon(DaemonCall),
}

impl Call {
    /// The configuration that it asks for.
    pub(super) fn load(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let sources = sources(self.file.clone());
        match &self.called_as {
            CalledAs::Ours => config::load(&sources),
            CalledAs::SecretsAgent => config::load_secrets_agent(&sources),
            CalledAs::XrayDaemon(daemon) => config::load_xray_daemon(daemon, &sources),
        }
    }
}

/// Why the agent could not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot install the signal handlers")]
    Signals(#[source] io::Error),
}

pub(super) fn run(call: Call) -> ExitCode {
    let (config, warnings) = match call.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(listed(&problems));
            return ExitCode::from(CONFIG);
        }
    };
    if let Some(problem) = Bounds::of(&config, memory::limit()).problem(&config) {
        complain(listed(&[problem]));
        return ExitCode::from(CONFIG);
    }
    let host = match Host::new() {
        Ok(host) => host,
        Err(error) => {
            complain(format_args!("pillion: {}\n", chain(&error)));
            return ExitCode::from(FAILURE);
        }
    };
    // From here on whoever writes to us is heard. Everything else comes after.
    let bound = match agent::bind(&config) {
        Ok(bound) => bound,
        Err(error) => {
            complain(format_args!("pillion: {}\n", chain(&error)));
            return ExitCode::from(FAILURE);
        }
    };
    let level = call.level.unwrap_or(config.log_level.as_str());
    let log = match tell::logs::install(level, format_of(config.log_format)) {
        Ok(log) => Some(log),
        // Without a log of its own the agent still does its work.
        Err(error) => {
            complain(format_args!("pillion: {}\n", chain(&error)));
            None
        }
    };
    for Problem { place, what, hint, .. } in &warnings {
        warn!(place, what, hint, "configuration has a mistake");
    }
    if !call.ignored.is_empty() {
        warn!(ignored = call.ignored.join(" "), "arguments have no effect here");
    }
    let spool = match Spool::open(&config) {
        Ok(spool) => spool,
        Err(problems) => {
            drop(log);
            complain(listed(&problems));
            return ExitCode::from(CONFIG);
        }
    };
    host.drive(config, bound, spool, &Life::default());
    drop(log);
    ExitCode::SUCCESS
}

/// The sources of a configuration: the file, if one was named, and this process's environment and disk.
pub(super) fn sources(file: Option<PathBuf>) -> Sources<'static> {
    Sources { file, environment: Environment::of_process(), files: &Disk }
}

pub(super) fn format_of(configured: Option<config::Format>) -> Format {
    match configured {
        Some(config::Format::Json) => Format::Json,
        Some(config::Format::Human) => Format::Human,
        None => Format::of_stderr(),
    }
}

/// What the agent runs on.
pub(super) struct Host {
    runtime: Runtime,
    signals: Signals,
}

impl Host {
    /// A runtime that hears signals. As process 1 of a container we would not hear them before, so this comes first; it
    /// takes a tenth of a millisecond.
    pub(super) fn new() -> Result<Self, RunError> {
        // One thread: a task's agent has a fraction of a vCPU, and the hot path never waits.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Work that is done in pieces is always ready to go on: whoever has something to read must be looked for in
            // between.
            .event_interval(TURNS_BETWEEN_LOOKS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()
            .map_err(RunError::Runtime)?;
        let signals = {
            let _inside = runtime.enter();
            Signals::install().map_err(RunError::Signals)?
        };
        Ok(Self { runtime, signals })
    }

    /// Runs `work` to its end; `None` if a signal comes first.
    pub(super) fn unless_stopped<T>(mut self, work: impl Future<Output = T>) -> Option<T> {
        let outcome = self.runtime.block_on(async {
            tokio::select! {
                done = work => Some(done),
                _ = self.signals.next() => None,
            }
        });
        self.runtime.shutdown_background();
        outcome
    }

    /// Runs the agent until it has stopped, which a signal or `life` may ask for.
    pub(super) fn drive(self, config: Config, bound: Bound, spool: Spool, life: &Life) -> Outcome {
        let outcome = self.runtime.block_on(until_stopped(config, bound, spool, life, self.signals));
        // A name look-up that hangs must not keep the process.
        self.runtime.shutdown_background();
        outcome
    }
}

async fn until_stopped(config: Config, bound: Bound, spool: Spool, life: &Life, mut signals: Signals) -> Outcome {
    let budget = config.stop_budget;
    let mut agent = pin!(agent::run(config, bound, spool, life.clone()));
    loop {
        tokio::select! {
            outcome = &mut agent => return outcome,
            signal = signals.next() => match life.stopping().is_cancelled() {
                false => {
                    info!(signal, budget = ?budget, "stopping");
                    life.stop_for(signal, budget);
                }
                true => {
                    warn!(signal, "asked again to stop, hurrying");
                    life.hurry();
                }
            },
        }
    }
}

/// All problems, one a line, and how many there are.
pub(super) fn listed(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
    }
    let _ = match problems.len() {
        1 => writeln!(text, "pillion: 1 problem in the configuration"),
        n => writeln!(text, "pillion: {n} problems in the configuration"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_listed_and_counted() {
        let problems = [
            Problem::error("pillion.yaml:7 logs.outputs[0]", "unknown key `goup`", "did you mean `group`?"),
            Problem::warning("fluent-bit.conf:3 [SERVICE]", "`Grace` has no effect", ""),
        ];
        insta::assert_snapshot!(listed(&problems), @"
        error: pillion.yaml:7 logs.outputs[0]: unknown key `goup`; did you mean `group`?
        warning: fluent-bit.conf:3 [SERVICE]: `Grace` has no effect
        pillion: 2 problems in the configuration
        ");
        assert!(listed(&problems[..1]).ends_with("pillion: 1 problem in the configuration\n"));
    }
}
