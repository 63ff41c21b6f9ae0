//! Puts pillion into task definitions, and takes it out again.
//!
//! Promises: inject of inject is inject, whatever the options of the first were, since what is there is taken out before;
//! [`remove`] of [`inject`] gives the bytes that were given; what pillion cannot do as well as what is there stays as it is,
//! and is told.
//! Never: changes a task's size or roles; sets a variable that is set; touches a container that runs pillion already, or a
//! document that has no task definition.

mod apps;
mod carried;
#[cfg(test)]
mod carried_tests;
mod container;
mod logs;
mod plan;
mod report;
pub mod secrets;
mod sidecars;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yaml_tests;

pub use report::Report;
pub use sidecars::Kind;

use super::{
    edit::{self, Editor},
    find::Place,
    tree::{Document, Style, Syntax},
    view::{Case, Container, Scope, Task},
};
use crate::problem::Problem;
use plan::Plan;

/// The label of our container that holds what it takes to undo it all.
pub const LABEL: &str = "pillion.undo";
/// What our container is called.
pub const NAME: &str = "pillion";

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our image.
    pub image: String,
    /// MiB that the scheduler keeps for it.
    pub memory: u32,
    /// As whom it runs; none: as the image says, which is root.
    pub user: Option<String>,
    /// Seconds from SIGTERM to SIGKILL.
    pub stop_timeout: u32,
    /// What happens to logs.
    pub logs: Logs,
    /// What an event holds of a container that had `awslogs`.
    pub records: Records,
    /// What happens to ECS `secrets`.
    pub secrets: SecretsAs,
    /// What apps wait for.
    pub wait: Wait,
    /// Sidecars that stay.
    pub keep: Vec<String>,
    /// Sidecars that go, whatever they do beyond what pillion does.
    pub replace: Vec<String>,
}

/// What happens to logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// They go through pillion.
    Route,
    /// They stay as they are.
    Keep,
}

/// What an event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// The line, as `awslogs` has it.
    Lines,
    /// The whole record as JSON: the line, the stream, the container, the task.
    Whole,
}

/// What happens to ECS `secrets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsAs {
    /// They stay variables.
    Variables,
    /// They become files.
    Files,
    /// They become files too.
    Both,
}

/// What apps wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// That pillion is well.
    Healthy,
    /// That it was started.
    Start,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: String::new(),
            memory: 64,
            // The user that the image's own volume belongs to.
            user: Some("65532".to_owned()),
            // The most that Fargate gives.
            stop_timeout: 120,
            logs: Logs::Route,
            records: Records::Lines,
            secrets: SecretsAs::Variables,
            wait: Wait::Healthy,
            keep: Vec::new(),
            replace: Vec::new(),
        }
    }
}

/// A document with pillion in it, or without it again.
#[derive(Debug)]
pub struct Changed {
    /// The whole document.
    pub text: String,
    /// One for each task definition.
    pub reports: Vec<Report>,
}

/// Puts pillion into each task definition of a document.
pub fn inject(bytes: &[u8], options: &Options) -> Result<Changed, Problem> {
    let (mut document, places) = super::read(bytes)?;
    let mut reports = Vec::new();
    for place in &places {
        let mut report = Report::new(place.title.clone());
        take_out(&mut document, place, &mut report);
        // What was there before is put in again: the user knows.
        report.done.clear();
        put_in(&mut document, place, options, &mut report);
        reports.push(report);
    }
    finished(&document, reports)
}

/// Takes pillion out of each task definition of a document.
pub fn remove(bytes: &[u8]) -> Result<Changed, Problem> {
    let (mut document, places) = super::read(bytes)?;
    let mut reports = Vec::new();
    for place in &places {
        let mut report = Report::new(place.title.clone());
        if !take_out(&mut document, place, &mut report) {
            report.done.push("nothing that inject put in".to_owned());
        }
        reports.push(report);
    }
    finished(&document, reports)
}

/// The document as text. YAML can be written in more ways than anybody thinks of, so that the result is read once more: what does
/// not say what was meant is not given to anybody.
fn finished(document: &Document, reports: Vec<Report>) -> Result<Changed, Problem> {
    let text = document.printed();
    let is_meant = |read: Document| read.root.compact() == document.root.compact();
    if document.syntax() == Syntax::Yaml && !document.syntax().parse(text.as_bytes()).is_ok_and(is_meant) {
        let hint = "make JSON of it, for example with `cdk synth --json` or cfn-flip; and please tell us";
        return Err(Problem::error("the document", "is written in a way that cannot be changed here", hint));
    }
    Ok(Changed { text, reports })
}

/// True if there was something to take out.
fn take_out(document: &mut Document, place: &Place, report: &mut Report) -> bool {
    let Some(task) = place.task(&document.root) else { return false };
    let ours = task.containers().into_iter().find_map(|container| Some((container.name()?, container.label(LABEL)?)));
    let Some((name, memory)) = ours else { return false };
    let syntax = document.syntax();
    let Some(changes) = edit::recalled(&memory, syntax) else {
        let other = if syntax == Syntax::Json { Syntax::Yaml } else { Syntax::Json };
        let (what, hint) = match edit::recalled(&memory, other) {
            Some(_) if other == Syntax::Yaml => {
                ("was written when the file was YAML", "make YAML of it, and try again")
            }
            Some(_) => ("was written when the file was JSON", "make JSON of it, and try again"),
            None => (
                "does not say how to undo what inject did: somebody changed it",
                "take the container out by hand, or start from the file as it was",
            ),
        };
        report.care.push(Problem::warning(format!("{}{name}.dockerLabels.{LABEL}", place.title), what, hint));
        return false;
    };
    let case = place.case;
    let Some(root) = place.node_mut(&mut document.root) else { return false };
    for what in edit::undo(root, case, syntax, changes) {
        report.care.push(Problem::warning(place.title.trim_end_matches('.'), what, ""));
    }
    edit::drop_container(root, case, &name);
    report.done.push(format!("took `{name}` out, and gave back what was there"));
    true
}

fn put_in(document: &mut Document, place: &Place, options: &Options, report: &mut Report) {
    let (style, syntax) = (Style::of(document), document.syntax());
    let Some(task) = place.task(&document.root) else { return };
    if let Some(why) = left_alone(task) {
        report.done.push(format!("left alone: {why}"));
        return;
    }
    let plan = Plan::of(task, options, &place.title);
    report.care.extend(plan.care.iter().cloned());
    report.tell(task, &plan, options);
    let case = place.case;
    let Some(root) = place.node_mut(&mut document.root) else { return };
    let mut editor = Editor::new(root, case, style);
    editor.push_container(container::ours(&plan, options, case));
    apps::change(&mut editor, &plan, options);
    let memory = edit::remembered(editor.changes(), syntax);
    editor.set_label(NAME, LABEL, &memory);
}

/// Why nothing is put in.
fn left_alone(task: Task<'_>) -> Option<String> {
    let containers = task.containers();
    if let Some(ours) = containers.iter().find(|container| container.image_name().as_deref() == Some("pillion")) {
        return Some(format!(
            "`{}` runs pillion already, and inject did not put it there",
            ours.name().unwrap_or_default()
        ));
    }
    if containers.is_empty() {
        return Some("it has no containers that can be seen here".to_owned());
    }
    if containers.iter().any(|container| container.name().as_deref() == Some(NAME)) {
        return Some(format!("another container is called `{NAME}`"));
    }
    let family = task.0.get("runtimePlatform").and_then(|platform| platform.text_of("operatingSystemFamily"));
    if let Some(family) = family.filter(|family| family.starts_with("WINDOWS")) {
        return Some(format!("pillion does not run on {family}"));
    }
    if task.network_mode().as_deref() == Some("none") {
        return Some("without a network (networkMode none) nothing can be sent".to_owned());
    }
    None
}
