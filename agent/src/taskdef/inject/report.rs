//! What was done to a task definition, in words for a person.
//!
//! Promises: says what each sidecar that went had, and what that is worth; sums are of what the definition reserves, not of what
//! is used.
//! Never: shows a value of a variable.

use std::fmt::{self, Display};

use super::{Options, SecretsAs, Task, carried, plan::Plan};
use crate::{
    problem::Problem,
    taskdef::fargate::{cpu_units, mebibytes, monthly, smallest},
};

/// What was done to one task definition.
#[derive(Debug, Default)]
pub struct Report {
    /// Which of a template's; empty for a document that is one.
    pub title: String,
    /// What was done.
    pub done: Vec<String>,
    /// What to look at.
    pub care: Vec<Problem>,
}

impl Report {
    pub(super) fn new(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    pub(super) fn tell(&mut self, task: Task<'_>, plan: &Plan, options: &Options) {
        let mut done = Vec::new();
        if plan.routes {
            let moved: Vec<&str> = plan.logs.iter().map(|(name, _)| name.as_str()).collect();
            let from = if moved.is_empty() { String::new() } else { format!(", from awslogs: {}", moved.join(", ")) };
            done.push(format!("logs go through pillion{from}"));
        }
        let clients: Vec<&str> =
            plan.inputs.iter().flat_map(|input| input.variables(plan)).map(|(variable, _)| variable).collect();
        if !clients.is_empty() {
            done.push(format!("where not set already: {}", clients.join(", ")));
        }
        for (name, files) in &plan.secrets.files {
            let listed: Vec<&str> = files.iter().map(|(variable, _)| variable.as_str()).collect();
            let also = if options.secrets == SecretsAs::Both { ", and stay variables" } else { "" };
            done.push(format!("{name}: files that follow each rotation{also}: {}", listed.join(", ")));
        }
        if plan.has_files() {
            done.push("the task role must be allowed to read these secrets: see `pillion iam`".to_owned());
        }
        done.extend(replaced(task, plan, options));
        done.extend(carried::told(&plan.carried));
        self.done.append(&mut done);
        self.care.extend(too_small(task, plan, options, &self.title));
    }
}

/// What goes, and what that frees.
fn replaced(task: Task<'_>, plan: &Plan, options: &Options) -> Vec<String> {
    let (mut said, mut cpu, mut memory) = (Vec::new(), 0, 0);
    for sidecar in plan.replaced() {
        let Some(container) = task.container(&sidecar.name) else { continue };
        let had = (container.0.number_of("cpu").unwrap_or(0), container.reserved().unwrap_or(0));
        (cpu, memory) = (cpu + had.0, memory + had.1);
        let (name, label) = (&sidecar.name, sidecar.kind.label());
        said.push(format!("took out `{name}`, the {label}: {} CPU units, {} MiB", had.0, had.1));
    }
    if said.is_empty() {
        return said;
    }
    let net = memory - i64::from(options.memory);
    said.push(format!(
        "that frees {cpu} CPU units and {net} MiB of memory ({memory} less the {} of pillion)",
        options.memory
    ));
    said.extend(cheaper(task, cpu, net));
    said
}

/// The smaller size that the task would fit into, if its size was chosen for what it reserves.
fn cheaper(task: Task<'_>, cpu: i64, memory: i64) -> Option<String> {
    let has = size(task).filter(|_| task.is_fargate())?;
    let fits = smallest(has.0 - cpu, has.1 - memory)?;
    let saved = monthly(has.0, has.1) - monthly(fits.0, fits.1);
    (saved > 0.0).then(|| {
        format!(
            "if the task's {}/{} was chosen for them, {}/{} does: ${saved:.2} a month less for each task (Fargate, us-east-1)",
            has.0, has.1, fits.0, fits.1
        )
    })
}

/// CPU units and MiB of the task.
fn size(task: Task<'_>) -> Option<(i64, i64)> {
    let read = |key, parse: fn(&str) -> Option<i64>| {
        let value = task.0.get(key)?;
        value.number().or_else(|| parse(&value.text()?))
    };
    Some((read("cpu", cpu_units)?, read("memory", mebibytes)?))
}

/// A warning if the task has no room for what is reserved now.
fn too_small(task: Task<'_>, plan: &Plan, options: &Options, title: &str) -> Option<Problem> {
    let has = size(task)?;
    let goes = |name: &Option<String>| plan.replaced().any(|sidecar| Some(&sidecar.name) == name.as_ref());
    let left = task.containers().into_iter().filter(|container| !goes(&container.name()));
    let wanted = left.filter_map(|container| container.reserved()).sum::<i64>() + i64::from(options.memory);
    if wanted <= has.1 {
        return None;
    }
    let hint = match smallest(has.0, wanted).filter(|_| task.is_fargate()) {
        Some((cpu, memory)) => {
            format!("the next size of Fargate is {cpu}/{memory}; or reserve less for the containers")
        }
        None => "give the task more memory, or reserve less for the containers".to_owned(),
    };
    let what = format!("reserves {wanted} MiB for its containers, and has {}", has.1);
    Some(Problem::warning(format!("{title}memory"), what, hint))
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.trim_end_matches('.');
        if !title.is_empty() {
            writeln!(f, "{title}:")?;
        }
        for line in &self.done {
            writeln!(f, "  {line}")?;
        }
        self.care.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}
