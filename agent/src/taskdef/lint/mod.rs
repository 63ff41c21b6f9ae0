//! What is wrong with a task definition: what ECS refuses, at registration or when the task starts, and what people regret.
//!
//! Promises: each finding has the id of a rule, the place, what is wrong and what to do; what a template computes is not judged;
//! all rules stand in [`RULES`], and a test plants each mistake and finds it.
//! Never: shows the value of a variable.
//!
//! `shape` knows fields, words and ranges; `task`, `fargate`, `containers` and `router` how they fit together; `regret` what works and should
//! not be so; `ours` what pillion would say at its start; `template` what stands around task definitions in a template.

mod containers;
mod fargate;
mod ours;
mod regret;
mod router;
mod rules;
mod shape;
mod task;
mod template;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display};

pub use rules::{RULES, Rule};

use super::view::{Container, Scope, Task};
use crate::problem::{Problem, Severity};

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// Where.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Findings in the making.
struct Findings {
    found: Vec<Finding>,
    title: String,
}

impl Findings {
    fn add(&mut self, id: &str, place: impl Display, what: impl Into<String>, fix: impl Into<String>) {
        let rule =
            RULES.iter().find(|rule| rule.id == id).expect("every id that is used stands in RULES; the tests use each");
        self.found.push(Finding { rule, place: format!("{}{place}", self.title), what: what.into(), fix: fix.into() });
    }
}

/// Everything that is wrong with the task definitions of a document: errors first, otherwise in their order.
pub fn lint(bytes: &[u8]) -> Result<Vec<Finding>, Problem> {
    let (document, places) = super::read(bytes)?;
    let mut found = Vec::new();
    for place in &places {
        let Some(task) = place.task(&document.root) else { continue };
        let mut findings = Findings { found: Vec::new(), title: place.title.clone() };
        let is_answer = place.path == ["taskDefinition"] || task.0.get("taskDefinitionArn").is_some();
        shape::check(task, is_answer, &mut findings);
        task::check(task, bytes.len(), places.len() == 1, &mut findings);
        containers::check(task, &mut findings);
        router::check(task, &mut findings);
        regret::check(task, &mut findings);
        ours::check(task, &mut findings);
        found.append(&mut findings.found);
    }
    let mut around = Findings { found: Vec::new(), title: String::new() };
    template::check(&document.root, &mut around);
    found.append(&mut around.found);
    found.sort_by_key(|finding| finding.rule.severity);
    Ok(found)
}

/// What a container is called in places.
fn called(container: Container<'_>, index: usize) -> String {
    container.name().unwrap_or_else(|| format!("containerDefinitions[{index}]"))
}

/// The containers of a task with what they are called.
fn named(task: Task<'_>) -> Vec<(String, Container<'_>)> {
    task.containers().into_iter().enumerate().map(|(index, container)| (called(container, index), container)).collect()
}

/// True for a member that is there and not computed.
fn is_written(scope: Option<Scope<'_>>) -> bool {
    scope.is_some_and(|scope| !scope.is_computed())
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.rule.severity {
            Severity::Error => "error",
            Severity::Loss => "loss",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}: {}", self.rule.id, self.place, self.what)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
