//! The task as a whole.
//!
//! Promises: limits of ECS itself, memory that does not add up, and the execution role where a task does not start without one.
//! Never: judges a container by itself; `containers` does.

use super::{Findings, Task, fargate, is_written, named};
use crate::taskdef::fargate::mebibytes;

/// Bytes of a task definition, as the quotas of ECS say.
const BYTES_MAX: usize = 64 * 1024;

pub(super) fn check(task: Task<'_>, bytes: usize, alone: bool, findings: &mut Findings) {
    let written = if alone && task.0.get("Resources").is_none() { bytes } else { 0 };
    // Without the white space, as it is sent.
    if written > BYTES_MAX && task.0.node.compact().len() > BYTES_MAX {
        let fix = "move configuration into the image, S3 or the Parameter Store";
        findings.add("size", "task definition", "has more than 64 KiB", fix);
    }
    if task.is_list() {
        return;
    }
    if task.containers().is_empty() && is_written(task.0.get("containerDefinitions")) {
        findings.add("no-containers", "containerDefinitions", "is empty", "a task has at least one container");
    }
    if task.containers().len() > 10 {
        findings.add(
            "too-many-containers",
            "containerDefinitions",
            "has more than 10 containers",
            "ECS takes 10 in one task",
        );
    }
    if task.is_fargate() {
        fargate::check(task, findings);
    } else if task.0.get("memory").is_none() {
        for (name, container) in named(task) {
            if container.reserved().is_none() && !is_written(container.0.get("memory")) {
                let fix = "give the container `memory` or `memoryReservation`, or the task `memory`";
                findings.add("memory-missing", &name, "has no memory, and neither has the task", fix);
            }
        }
    }
    memory(task, findings);
    execution_role(task, findings);
}

fn memory(task: Task<'_>, findings: &mut Findings) {
    let of_task = task.0.get("memory").and_then(|it| it.number().or_else(|| mebibytes(&it.text()?)));
    let mut sum = 0;
    for (name, container) in named(task) {
        let (hard, soft) = (container.0.number_of("memory"), container.0.number_of("memoryReservation"));
        if let (Some(hard), Some(soft)) = (hard, soft)
            && soft >= hard
        {
            findings.add(
                "memory-order",
                format!("{name}.memoryReservation"),
                "is not less than `memory`",
                "the limit is above what is reserved",
            );
        }
        for (field, value) in [("memory", hard), ("memoryReservation", soft)] {
            if value.is_some_and(|value| value < 6) {
                findings.add(
                    "memory-least",
                    format!("{name}.{field}"),
                    "is less than 6 MiB",
                    "Docker starts no container with less",
                );
            }
            if let (Some(of_task), Some(value)) = (of_task, value)
                && value > of_task
            {
                findings.add(
                    "memory-over-task",
                    format!("{name}.{field}"),
                    format!("is more than the task's {of_task} MiB"),
                    "give the task more, or the container less",
                );
            }
        }
        sum += container.reserved().unwrap_or(0);
    }
    if let Some(of_task) = of_task.filter(|&of_task| sum > of_task) {
        findings.add(
            "memory-sum",
            "memory",
            format!("the containers reserve {sum} MiB of {of_task}"),
            "give the task more, or the containers less",
        );
    }
}

/// What ECS does with the execution role; without one the task does not start.
fn execution_role(task: Task<'_>, findings: &mut Findings) {
    if task.0.get("executionRoleArn").is_some() {
        return;
    }
    let fix = "name a role that ECS may use to start the task; `pillion iam --execution-role` prints its policy";
    for (name, container) in named(task) {
        let log = container.0.get("logConfiguration");
        let why = if container.0.items_of("secrets").next().is_some() {
            "its `secrets` are read"
        } else if log.is_some_and(|log| log.items_of("secretOptions").next().is_some()) {
            "its `secretOptions` are read"
        } else if task.is_fargate() && container.log_driver().as_deref() == Some("awslogs") {
            "its log is written (Fargate)"
        } else if task.is_fargate() && container.image().is_some_and(|image| image.contains(".dkr.ecr.")) {
            "its image is pulled from ECR (Fargate)"
        } else {
            continue;
        };
        findings.add(
            "execution-role-missing",
            "executionRoleArn",
            format!("is missing, and with it {why}: {name}"),
            fix,
        );
        return;
    }
}
