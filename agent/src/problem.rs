//! A mistake in what a person wrote: where it is, what is wrong, and what to do about it.
//!
//! Promises: every problem names its place; problems are collected and shown together, errors before warnings.
//! Never: holds a value that could be a secret. `what` quotes keys and short values of options that are not secret.

use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The agent does not start with it.
    Error,
    /// The agent starts, and does something other than was written.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the agent can start in spite of it.
    pub severity: Severity,
    /// Where: `fluent-bit.conf:12 [OUTPUT]`, `pillion.yaml:7 logs.out[1].cloudwatch.group`, `PILLION_STOP_TIMEOUT`.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty if `what` says it all.
    pub hint: String,
}

/// All the mistakes found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problem {
    /// A problem that stops the start.
    pub fn error(place: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.into(), what: what.into(), hint: hint.into() }
    }

    /// A problem the agent can live with.
    pub fn warning(place: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place: place.into(), what: what.into(), hint: hint.into() }
    }
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// True if one of them stops the start.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    /// All of them: errors first, otherwise in the order in which they were found.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|p| p.severity);
        self.0
    }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        self.0.extend(problems);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{kind}: {}: {}", self.place, self.what)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}
