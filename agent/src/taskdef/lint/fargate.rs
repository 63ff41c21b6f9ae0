//! What Fargate does not have.
//!
//! Promises: it is found before a deployment finds it; a task that may run on EC2 too must fit both.
//! Never: judges what a template computes.

use super::{Findings, Scope, Task, is_written, named};
use crate::taskdef::fargate::{cpu_units, cpus, mebibytes, memory_of};

/// Fields of a container that only other network modes and hosts have.
const ABSENT: [&str; 7] =
    ["links", "disableNetworking", "dockerSecurityOptions", "extraHosts", "dnsServers", "dnsSearchDomains", "hostname"];

pub(super) fn check(task: Task<'_>, findings: &mut Findings) {
    size(task, findings);
    whole(task, findings);
    containers(task, findings);
}

/// The task's size must be one of the table.
fn size(task: Task<'_>, findings: &mut Findings) {
    let value = |key, parse: fn(&str) -> Option<i64>| {
        let value = task.0.get(key)?;
        Some((!value.is_computed()).then(|| value.number().or_else(|| parse(&value.text()?))))
    };
    let (cpu, memory) = (value("cpu", cpu_units), value("memory", mebibytes));
    for (key, there) in [("cpu", cpu.is_some()), ("memory", memory.is_some())] {
        if !there {
            findings.add("fargate-size", key, "is missing", "Fargate wants the task's size; the least is 256 and 512");
        }
    }
    if let Some(Some(cpu)) = cpu {
        let sizes = cpu.and_then(memory_of);
        match (sizes, memory) {
            (None, _) => {
                let all: Vec<String> = cpus().map(|cpu| cpu.to_string()).collect();
                findings.add(
                    "fargate-size",
                    "cpu",
                    "is no size that Fargate has",
                    format!("write one of {}", all.join(", ")),
                );
            }
            (Some(sizes), Some(Some(memory))) if !memory.is_some_and(|memory| sizes.contains(&memory)) => {
                let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
                let fix = format!("with {} CPU units Fargate has {first} to {last} MiB", cpu.unwrap_or_default());
                findings.add("fargate-size", "memory", "is no size that goes with this `cpu`", fix);
            }
            (Some(_), _) => {}
        }
    }
}

/// What the task as a whole asks for.
fn whole(task: Task<'_>, findings: &mut Findings) {
    if task.network_mode().is_some_and(|mode| mode != "awsvpc") {
        findings.add("fargate-network", "networkMode", "is not awsvpc", "Fargate has no other network mode");
    }
    let on_fargate = |key: &str| task.0.get(key).filter(|scope| !scope.is_computed());
    if task.0.text_of("pidMode").as_deref() == Some("host") {
        findings.add("fargate-pid-mode", "pidMode", "is `host`", "Fargate has `task` only");
    }
    if on_fargate("ipcMode").is_some() {
        findings.add("fargate-lacks", "ipcMode", "does not exist on Fargate", "take it out");
    }
    if on_fargate("placementConstraints").is_some_and(|scope| scope.items().next().is_some()) {
        findings.add("fargate-lacks", "placementConstraints", "do not exist on Fargate", "take them out");
    }
    for (index, volume) in task.0.items_of("volumes").enumerate() {
        let place = format!("volumes[{index}]");
        if volume.get("host").is_some_and(|host| host.get("sourcePath").is_some()) {
            findings.add(
                "fargate-host-path",
                &place,
                "is a folder of the host",
                "Fargate has no host; leave `host` out, or use EFS",
            );
        }
        if volume.get("dockerVolumeConfiguration").is_some() {
            findings.add(
                "fargate-lacks",
                &place,
                "has a Docker volume driver",
                "Fargate has none; leave it out, or use EFS",
            );
        }
    }
}

/// What its containers ask for.
fn containers(task: Task<'_>, findings: &mut Findings) {
    for (name, container) in named(task) {
        for field in ABSENT {
            if is_written(container.0.get(field)) && container.0.truth_of(field) != Some(false) {
                findings.add(
                    "fargate-lacks",
                    format!("{name}.{field}"),
                    "does not exist on Fargate (awsvpc)",
                    "take it out",
                );
            }
        }
        if container.0.truth_of("privileged") == Some(true) {
            findings.add("fargate-lacks", format!("{name}.privileged"), "does not exist on Fargate", "take it out");
        }
        let linux = container.0.get("linuxParameters");
        for field in ["devices", "sharedMemorySize", "maxSwap", "swappiness"] {
            if linux.is_some_and(|linux| linux.get(field).is_some()) {
                findings.add(
                    "fargate-lacks",
                    format!("{name}.linuxParameters.{field}"),
                    "does not exist on Fargate",
                    "take it out",
                );
            }
        }
        if linux.is_some_and(|linux| linux.get("tmpfs").is_some()) {
            let fix = "mount a volume; a task's own storage is encrypted and goes with it";
            findings.add("fargate-tmpfs", format!("{name}.linuxParameters.tmpfs"), "may not exist on Fargate", fix);
        }
        let is_gpu = |it: &Scope<'_>| it.text_of("type").as_deref() == Some("GPU");
        if container.0.items_of("resourceRequirements").any(|it| is_gpu(&it)) {
            findings.add(
                "fargate-lacks",
                format!("{name}.resourceRequirements"),
                "asks for a GPU",
                "Fargate has none; run on EC2",
            );
        }
    }
}
