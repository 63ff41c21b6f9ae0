//! The container that runs pillion: what pillion itself would say at its start, before anything is deployed.
//!
//! Promises: the configuration is loaded as in the container, from the file that ECS would generate and its variables.
//! Never: shows a value of a variable.

use super::{Findings, Task};
use crate::{
    logs::settings::Destination,
    problem::Severity,
    taskdef::{
        iam::{self, Account},
        view::Container,
    },
};

pub(super) fn check(task: Task<'_>, findings: &mut Findings) {
    let Some(ours) = iam::ours(task) else { return };
    let name = ours.name().unwrap_or_default();
    health(&name, ours, findings);
    stop(&name, ours, findings);
    match iam::loaded(task, ours, &Account::of(task)) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                let id = if warning.severity == Severity::Warning { "pillion-warning" } else { "pillion-loses" };
                findings.add(id, format!("{name}: {}", warning.place), &*warning.what, &*warning.hint);
            }
            for output in &config.logs.outputs {
                if let Destination::Unsupported { plugin } = &output.to {
                    let fix = "use `cloudwatch_logs`, or leave these logs with their router";
                    findings.add(
                        "pillion-loses",
                        format!("{name}: output `{plugin}`"),
                        "does not exist in pillion: records for it are lost",
                        fix,
                    );
                }
            }
            if config.secrets.is_wanted() {
                volume(&name, ours, config.secrets.folder().to_string_lossy().as_ref(), findings);
            }
        }
        Err(problems) => {
            for problem in problems {
                let id = if problem.severity == Severity::Warning { "pillion-warning" } else { "pillion-config" };
                findings.add(id, format!("{name}: {}", problem.place), problem.what, problem.hint);
            }
        }
    }
}

fn health(name: &str, ours: Container<'_>, findings: &mut Findings) {
    let words: Vec<String> = ours
        .0
        .get("healthCheck")
        .into_iter()
        .flat_map(|check| check.items_of("command"))
        .filter_map(|word| word.text())
        .collect();
    if words.first().is_some_and(|first| first == "CMD-SHELL") {
        let fix = "write [\"CMD\", \"/pillion\", \"healthcheck\"]";
        findings.add("pillion-shell", format!("{name}.healthCheck.command"), "the image has no shell", fix);
    }
}

/// ECS does not tell a container how long it has.
fn stop(name: &str, ours: Container<'_>, findings: &mut Findings) {
    let given = ours.0.number_of("stopTimeout").unwrap_or(30);
    let told = ours.variable("PILLION_STOP_TIMEOUT");
    let seconds = told.as_deref().map_or(Some(30), |told| told.trim_end_matches('s').parse().ok());
    if seconds != Some(given) && !ours.has_variable("PILLION__STOP_TIMEOUT") {
        let fix = format!("set PILLION_STOP_TIMEOUT to {given}s: ECS tells no container its `stopTimeout`");
        findings.add("pillion-stop", format!("{name}.stopTimeout"), "is another time than pillion is told", fix);
    }
}

/// Secrets on the container's own disk help nobody.
fn volume(name: &str, ours: Container<'_>, folder: &str, findings: &mut Findings) {
    let mount = ours.0.items_of("mountPoints").find(|mount| {
        mount.text_of("containerPath").is_some_and(|path| {
            let path = path.trim_end_matches('/').to_owned();
            folder == path || folder.starts_with(&format!("{path}/"))
        })
    });
    match mount {
        None => {
            let fix = "mount a volume there, and in the apps with `readOnly`";
            findings.add(
                "pillion-volume",
                format!("{name}.mountPoints"),
                format!("no volume is mounted at `{folder}`, where the secrets are written"),
                fix,
            );
        }
        Some(mount) if mount.truth_of("readOnly") == Some(true) => {
            findings.add(
                "pillion-volume",
                format!("{name}.mountPoints"),
                format!("the volume at `{folder}` is read-only"),
                "take `readOnly` out here",
            );
        }
        Some(_) => {}
    }
}
