//! FireLens, and how containers log.
//!
//! Promises: what makes a task fail to start, and what loses lines, are different rules.
//! Never: judges the options of an output; `ours` does, for pillion.

use super::{Container, Findings, Task, is_written, named};

/// The least events that the driver of FireLens should be able to keep: a busy container writes as many in seconds.
const BUFFER_EVENTS_LEAST: i64 = 10_000;
/// Drivers that Fargate has.
const FARGATE_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

pub(super) fn check(task: Task<'_>, findings: &mut Findings) {
    let containers = named(task);
    let routers: Vec<&(String, Container<'_>)> = containers.iter().filter(|(_, it)| it.is_router()).collect();
    let senders: Vec<&(String, Container<'_>)> =
        containers.iter().filter(|(_, it)| it.log_driver().as_deref() == Some("awsfirelens")).collect();
    if let [_, second, ..] = routers.as_slice() {
        findings.add(
            "firelens-routers",
            format!("{}.firelensConfiguration", second.0),
            "is the second of the task",
            "a task has one log router",
        );
    }
    if routers.is_empty() {
        for (name, _) in &senders {
            let fix = "add a container with `firelensConfiguration`; `pillion inject` does";
            findings.add(
                "firelens-no-router",
                format!("{name}.logConfiguration"),
                "goes to a log router, and there is none",
                fix,
            );
        }
    }
    for (name, container) in &containers {
        let Some(driver) = container.log_driver() else { continue };
        if task.is_fargate() && !FARGATE_DRIVERS.contains(&driver.as_str()) && super::shape::is_driver(&driver) {
            let fix = format!("Fargate has {}", FARGATE_DRIVERS.join(", "));
            findings.add(
                "fargate-log-driver",
                format!("{name}.logConfiguration.logDriver"),
                format!("`{driver}` does not exist on Fargate"),
                fix,
            );
        }
        if driver == "awslogs" {
            of_awslogs(task, name, *container, findings);
        }
    }
    for (name, router) in &routers {
        of_router(task, name, *router, senders.is_empty(), findings);
    }
    for (name, sender) in &senders {
        of_sender(name, *sender, &routers, findings);
    }
}

fn of_awslogs(task: Task<'_>, name: &str, container: Container<'_>, findings: &mut Findings) {
    let place = format!("{name}.logConfiguration.options");
    let options = container.log_options();
    for (option, wanted) in
        [("awslogs-group", true), ("awslogs-region", true), ("awslogs-stream-prefix", task.is_fargate())]
    {
        if wanted && options.is_none_or(|options| options.raw(option).is_none()) {
            findings.add(
                "awslogs-options",
                format!("{place}.{option}"),
                "is missing",
                "the task does not start without it",
            );
        }
    }
    match container.log_option("mode").as_deref() {
        None if options.is_some_and(|options| options.raw("mode").is_some()) => {}
        None => {
            let fix = "write `non-blocking`, with a `max-buffer-size`, if lines may be lost, or `blocking` if the app may wait for CloudWatch";
            findings.add(
                "log-mode",
                format!("{place}.mode"),
                "is not set: what happens when CloudWatch is slow depends on when the account was made",
                fix,
            );
        }
        Some("blocking") => {
            let fix = "write `non-blocking`, or send logs through a router";
            findings.add(
                "log-blocking",
                format!("{place}.mode"),
                "is `blocking`: the app stands still when CloudWatch is slow",
                fix,
            );
        }
        Some(_) => {}
    }
}

fn of_router(task: Task<'_>, name: &str, router: Container<'_>, idle: bool, findings: &mut Findings) {
    let place = |field: &str| format!("{name}.{field}");
    if idle {
        let fix = "let a container log by `awsfirelens`, or take `firelensConfiguration` out";
        findings.add(
            "firelens-no-sender",
            place("firelensConfiguration"),
            "nobody logs through it, which ECS refuses",
            fix,
        );
    }
    if router.log_driver().as_deref() == Some("awsfirelens") {
        findings.add(
            "firelens-itself",
            place("logConfiguration"),
            "a log router cannot log through itself",
            "give it `awslogs`",
        );
    }
    if router.0.items_of("dependsOn").next().is_some() {
        let fix = "take it out: only a router that waits for nobody starts before those that log through it, and stops after them";
        findings.add("firelens-depends", place("dependsOn"), "a log router waits for another container", fix);
    }
    let options = router.0.get("firelensConfiguration").and_then(|it| it.get("options"));
    let kind = options.and_then(|options| options.raw("config-file-type")).and_then(|kind| kind.text());
    if task.is_fargate() && kind.as_deref() == Some("s3") {
        let fix = "put the file into the image and write `file`, or read it from S3 at the start (AWS's init image)";
        findings.add("firelens-s3", place("firelensConfiguration"), "Fargate reads no configuration from S3", fix);
    }
    if router.0.get("logConfiguration").is_none() {
        findings.add(
            "router-log",
            place("logConfiguration"),
            "the router's own log goes nowhere",
            "give it `awslogs`, mode `non-blocking`",
        );
    }
    let is_restarted = router.0.get("restartPolicy").is_some_and(|policy| policy.truth_of("enabled") == Some(true));
    if !is_restarted && !router.is_essential() {
        let fix = "add a `restartPolicy`: without a router its senders stand still when their buffers are full";
        findings.add(
            "router-restart",
            place("essential"),
            "a router that ends is neither started again nor ends the task",
            fix,
        );
    }
    let own = router.0.number_of("stopTimeout").unwrap_or(30);
    for (other, container) in named(task) {
        let stops = container.0.number_of("stopTimeout").unwrap_or(30);
        if !container.is_router() && stops > own {
            let fix = format!("give the router at least {stops} s, and the app less");
            findings.add(
                "stop-order",
                format!("{other}.stopTimeout"),
                format!("takes {stops} s to stop, longer than its router's {own}"),
                fix,
            );
        }
    }
}

fn of_sender(name: &str, sender: Container<'_>, routers: &[&(String, Container<'_>)], findings: &mut Findings) {
    let place = format!("{name}.logConfiguration.options");
    let options = sender.log_options();
    let limit = options.and_then(|options| options.raw("log-driver-buffer-limit"));
    if let Some(limit) = limit.and_then(super::Scope::number).filter(|&limit| limit < BUFFER_EVENTS_LEAST) {
        let fix = "it counts events, not bytes; leave it out for 1,048,576";
        findings.add(
            "log-buffer",
            format!("{place}.log-driver-buffer-limit"),
            format!("{limit} events are full within seconds, and then lines are lost"),
            fix,
        );
    }
    let Some((router_name, router)) = routers.first() else { return };
    let has_own = router
        .0
        .get("firelensConfiguration")
        .and_then(|it| it.get("options"))
        .is_some_and(|it| it.raw("config-file-value").is_some());
    let names_output = options.is_some_and(|options| options.members().any(|(option, _)| option == "Name"));
    if !names_output && !has_own && is_written(Some(sender.0)) {
        findings.add(
            "firelens-output",
            format!("{place}.Name"),
            "names no output: what the container prints goes nowhere",
            "write for example `cloudwatch_logs`",
        );
    }
    let waits =
        sender.depends_on().any(|(other, condition)| other == *router_name && condition.as_deref() == Some("HEALTHY"));
    if router.0.get("healthCheck").is_some() && !waits {
        let fix = format!("add {{\"containerName\": \"{router_name}\", \"condition\": \"HEALTHY\"}}");
        findings.add("router-first", format!("{name}.dependsOn"), "does not wait until its router is well", fix);
    }
}
