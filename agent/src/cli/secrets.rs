//! `pillion secrets --once`: an init container that ends when every required secret is on the volume.
//!
//! Promises: exit code 0 means that they are there, whole; 1 that they could not be had or written in time, and which.
//! Never: tells anybody, opens an API, or takes a secret back.

use std::{path::PathBuf, process::ExitCode};

use super::{CONFIG, FAILURE, complain, run};
use crate::{
    agent,
    config::{self, Config},
    tell::{self, chain},
};

pub(super) fn once(file: Option<PathBuf>) -> ExitCode {
    let config = match config::load(&run::sources(file)) {
        Ok((config, _)) => config,
        Err(problems) => {
            complain(run::listed(&problems));
            return ExitCode::from(CONFIG);
        }
    };
    if config.secrets.items.is_empty() {
        complain("pillion: there are no secrets to write; name them under `secrets.items`\n");
        return ExitCode::from(CONFIG);
    }
    // Without a log of its own it still does its work.
    let log = tell::logs::install(config.log_level.as_str(), run::format_of(config.log_format)).ok();
    let code = write(&config);
    drop(log);
    code
}

fn write(config: &Config) -> ExitCode {
    let host = match run::Host::new() {
        Ok(host) => host,
        Err(error) => {
            complain(format_args!("pillion: {}\n", chain(&error)));
            return ExitCode::from(FAILURE);
        }
    };
    match host.unless_stopped(agent::write_secrets(config)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(missing)) => {
            let within = config.secrets.startup().as_secs();
            complain(format_args!("pillion: not written within {within} s: {}\n", missing.join(", ")));
            ExitCode::from(FAILURE)
        }
        None => {
            complain("pillion: stopped before all secrets were written\n");
            ExitCode::from(FAILURE)
        }
    }
}
