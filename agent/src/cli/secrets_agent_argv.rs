//! The command line of AWS's Secrets Manager Agent, and of the Workload Credentials Provider that it became.
//!
//! ```text
//! aws_secretsmanager_agent [--config FILE]
//! aws-workload-credentials-provider sm start [--config FILE]
//! ```
//!
//! Promises: takes what the original's parser takes (`-c FILE`, `-cFILE`, `--config FILE`, `--config=FILE`), and refuses what that
//! refuses.
//! Never: writes certificates: the original does not do that in containers either.

use std::{ffi::OsString, path::PathBuf};

/// The names that it is called by, old and new.
pub(super) const NAMES: [&str; 2] = ["aws_secretsmanager_agent", "aws-workload-credentials-provider"];

/// What it was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To run, with this file if one was named.
    Run(Option<PathBuf>),
    Version,
    Help,
}

/// Why the call cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("`{0}` needs a value")]
    MissingValue(&'static str),
    #[error("`sm` needs the word `start` behind it")]
    NoStart,
    #[error("certificates are not written here; secrets are, with `sm start`")]
    Certificates,
    #[error("argument {0} is none of AWS's agent for secrets")]
    Unknown(usize),
}

/// Reads the arguments of a program with this `name`.
pub(super) fn read(name: &str, arguments: &[OsString]) -> Result<Action, Wrong> {
    let mut rest = arguments.iter().enumerate().map(|(number, argument)| (number + 1, argument)).peekable();
    match rest.peek().and_then(|(_, first)| first.to_str()) {
        Some("sm") => {
            rest.next();
            match rest.next().and_then(|(_, second)| second.to_str()) {
                Some("start") => {}
                Some("-h" | "--help" | "help") => return Ok(Action::Help),
                _ => return Err(Wrong::NoStart),
            }
        }
        Some("acm" | "setup-config-based-permissions") => return Err(Wrong::Certificates),
        // The original that has `sm` does nothing without it, but to say how it is called.
        None if name == NAMES[1] => return Ok(Action::Help),
        _ => {}
    }
    let mut file = None;
    while let Some((number, argument)) = rest.next() {
        let text = argument.to_string_lossy();
        let value = match &*text {
            "-h" | "--help" | "help" => return Ok(Action::Help),
            "-V" | "--version" => return Ok(Action::Version),
            "-c" | "--config" => {
                let (_, value) = rest.next().ok_or(Wrong::MissingValue("--config"))?;
                value.clone()
            }
            _ => match text.strip_prefix("--config=").or_else(|| text.strip_prefix("-c")) {
                Some(value) if !text.starts_with("--c") || text.starts_with("--config=") => {
                    OsString::from(value.strip_prefix('=').unwrap_or(value))
                }
                // Its number, not its text: it may be a token.
                _ => return Err(Wrong::Unknown(number)),
            },
        };
        file = Some(PathBuf::from(value));
    }
    Ok(Action::Run(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_as_the_original_is() {
        let run = |file: &str| Ok(Action::Run(Some(PathBuf::from(file))));
        for (line, expected) in [
            ("aws_secretsmanager_agent", Ok(Action::Run(None))),
            ("aws_secretsmanager_agent --config a.toml", run("a.toml")),
            ("aws_secretsmanager_agent --config=a.toml", run("a.toml")),
            ("aws_secretsmanager_agent -c a.toml", run("a.toml")),
            ("aws_secretsmanager_agent -ca.toml", run("a.toml")),
            ("aws_secretsmanager_agent -c=a.toml", run("a.toml")),
            ("aws_secretsmanager_agent --version", Ok(Action::Version)),
            ("aws_secretsmanager_agent --config", Err(Wrong::MissingValue("--config"))),
            ("aws_secretsmanager_agent --token", Err(Wrong::Unknown(1))),
            ("aws_secretsmanager_agent --conf", Err(Wrong::Unknown(1))),
            ("aws-workload-credentials-provider sm start", Ok(Action::Run(None))),
            ("aws-workload-credentials-provider sm start -c a.toml", run("a.toml")),
            ("aws-workload-credentials-provider sm start a.toml", Err(Wrong::Unknown(3))),
            ("aws-workload-credentials-provider", Ok(Action::Help)),
            ("aws-workload-credentials-provider --version", Ok(Action::Version)),
            ("aws-workload-credentials-provider sm", Err(Wrong::NoStart)),
            ("aws-workload-credentials-provider sm stop", Err(Wrong::NoStart)),
            ("aws-workload-credentials-provider acm start", Err(Wrong::Certificates)),
            ("pillion sm start --config a.toml", run("a.toml")),
        ] {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            let arguments: Vec<OsString> = words.map(OsString::from).collect();
            assert_eq!(read(name, &arguments), expected, "{line}");
        }
    }
}
