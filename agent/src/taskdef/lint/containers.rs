//! How the containers of a task fit together.
//!
//! Promises: a circle of dependencies is found whatever its length, in time that grows with the number of dependencies.
//! Never: looks at logs; `router` does.

use std::collections::{BTreeMap, BTreeSet};

use super::{Container, Findings, Task, is_written, named};

pub(super) fn check(task: Task<'_>, findings: &mut Findings) {
    let containers = named(task);
    let mut seen = BTreeSet::new();
    for (name, container) in &containers {
        if container.name().is_some() && !seen.insert(name.clone()) {
            findings.add(
                "duplicate-container",
                format!("{name}.name"),
                "another container has this name",
                "names are unique in a task",
            );
        }
    }
    let computed =
        |(_, container): &(String, Container<'_>)| container.0.get("essential").is_some_and(super::Scope::is_computed);
    if !containers.is_empty() && !containers.iter().any(|it| it.1.is_essential() || computed(it)) {
        findings.add(
            "nothing-essential",
            "containerDefinitions",
            "no container is essential",
            "the task ends when an essential one does; name one",
        );
    }
    dependencies(&containers, findings);
    circles(&containers, findings);
    volumes(task, &containers, findings);
    ports(task, &containers, findings);
    for (name, container) in &containers {
        times(task, name, *container, findings);
        health(name, *container, findings);
        variables(name, *container, findings);
    }
}

fn dependencies(containers: &[(String, Container<'_>)], findings: &mut Findings) {
    for (name, container) in containers {
        for (other, condition) in container.depends_on() {
            let place = format!("{name}.dependsOn");
            let Some((_, target)) = containers.iter().find(|(known, _)| *known == other) else {
                findings.add(
                    "dependency-unknown",
                    place,
                    format!("`{other}` is no container of this task"),
                    "name one that is",
                );
                continue;
            };
            match condition.as_deref() {
                Some("HEALTHY") if target.0.get("healthCheck").is_none() => {
                    let fix = format!("give `{other}` a healthCheck; that of its image does not count");
                    findings.add(
                        "dependency-health",
                        place,
                        format!("waits for the health of `{other}`, which has no health check"),
                        fix,
                    );
                }
                Some(condition @ ("COMPLETE" | "SUCCESS")) if target.is_essential() => {
                    let fix = format!(
                        "set `essential: false` for `{other}`: when an essential container ends, the task ends"
                    );
                    findings.add(
                        "dependency-essential",
                        place,
                        format!("waits for {condition} of `{other}`, which is essential"),
                        fix,
                    );
                }
                _ => {}
            }
        }
    }
}

/// Takes away who waits for nobody, again and again; whoever is left waits in a circle, or for one.
fn circles(containers: &[(String, Container<'_>)], findings: &mut Findings) {
    let names: BTreeSet<&str> = containers.iter().map(|(name, _)| name.as_str()).collect();
    let mut waits: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, container) in containers {
        let known = container.depends_on().map(|(other, _)| other).filter(|other| names.contains(other.as_str()));
        waits.entry(name).or_default().extend(known);
    }
    loop {
        let free: Vec<&str> = waits.iter().filter(|(_, others)| others.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            break;
        }
        waits.retain(|name, _| !free.contains(name));
        for others in waits.values_mut() {
            others.retain(|other| !free.contains(&other.as_str()));
        }
    }
    if let Some((name, _)) = waits.first_key_value() {
        let all: Vec<&str> = waits.keys().copied().collect();
        findings.add(
            "dependency-circle",
            format!("{name}.dependsOn"),
            format!("these wait for each other: {}", all.join(", ")),
            "let one of them wait for nobody",
        );
    }
}

fn volumes(task: Task<'_>, containers: &[(String, Container<'_>)], findings: &mut Findings) {
    let mut known = BTreeSet::new();
    for (index, volume) in task.0.items_of("volumes").enumerate() {
        if let Some(name) = volume.text_of("name")
            && !known.insert(name.clone())
        {
            findings.add(
                "duplicate-volume",
                format!("volumes[{index}].name"),
                format!("`{name}` is there already"),
                "names are unique in a task",
            );
        }
    }
    let is_computed = task.0.get("volumes").is_some_and(|volumes| {
        volumes.is_computed() || volumes.items().any(|it| it.is_computed() || !is_written(it.get("name")))
    });
    for (name, container) in containers {
        let mut paths = BTreeSet::new();
        for (index, mount) in container.0.items_of("mountPoints").enumerate() {
            let place = format!("{name}.mountPoints[{index}]");
            if let Some(source) = mount.text_of("sourceVolume")
                && !known.contains(&source)
                && !is_computed
                && !task.is_list()
            {
                findings.add(
                    "volume-unknown",
                    &place,
                    format!("`{source}` is no volume of this task"),
                    "add it to `volumes`",
                );
            }
            if let Some(path) = mount.text_of("containerPath")
                && !paths.insert(path.clone())
            {
                findings.add(
                    "duplicate-mount",
                    &place,
                    format!("something is mounted at `{path}` already"),
                    "one of them hides the other",
                );
            }
        }
        for from in container.0.items_of("volumesFrom").filter_map(|from| from.text_of("sourceContainer")) {
            if !containers.iter().any(|(known, _)| *known == from) {
                findings.add(
                    "volume-unknown",
                    format!("{name}.volumesFrom"),
                    format!("`{from}` is no container of this task"),
                    "name one that is",
                );
            }
        }
    }
}

fn ports(task: Task<'_>, containers: &[(String, Container<'_>)], findings: &mut Findings) {
    let mode = task.network_mode();
    let shares = matches!(mode.as_deref(), Some("awsvpc" | "host"));
    let mut taken: BTreeMap<(i64, String), String> = BTreeMap::new();
    for (name, container) in containers {
        if shares && is_written(container.0.get("links")) && container.0.items_of("links").next().is_some() {
            findings.add(
                "links-mode",
                format!("{name}.links"),
                "exist in the network mode `bridge` only",
                "containers find each other at 127.0.0.1",
            );
        }
        for (index, mapping) in container.0.items_of("portMappings").enumerate() {
            let place = format!("{name}.portMappings[{index}]");
            let Some(port) = mapping.number_of("containerPort") else { continue };
            let host = mapping.number_of("hostPort");
            if shares && host.is_some_and(|host| host != port) {
                let what = "another host port than the container's";
                findings.add("port-host", &place, what, "leave `hostPort` out: the container's port is the task's");
            }
            let protocol = mapping.text_of("protocol").unwrap_or_else(|| "tcp".to_owned());
            if shares && let Some(other) = taken.insert((port, protocol), name.clone()) {
                let fix = "containers of a task share one address; give one of them another port";
                findings.add("port-clash", &place, format!("{port} is the port of `{other}` already"), fix);
            }
        }
    }
}

fn times(task: Task<'_>, name: &str, container: Container<'_>, findings: &mut Findings) {
    for field in ["stopTimeout", "startTimeout"] {
        let Some(seconds) = container.0.number_of(field) else { continue };
        if task.is_fargate() && !(2..=120).contains(&seconds) {
            findings.add(
                "time-range",
                format!("{name}.{field}"),
                format!("Fargate takes 2 to 120 s, not {seconds}"),
                "write at most 120",
            );
        } else if seconds < 0 {
            findings.add("time-range", format!("{name}.{field}"), "is negative", "write seconds");
        }
    }
}

fn health(name: &str, container: Container<'_>, findings: &mut Findings) {
    let Some(check) = container.0.get("healthCheck").filter(|check| !check.is_computed()) else { return };
    let place = format!("{name}.healthCheck.command");
    let Some(command) = check.get("command") else {
        findings.add(
            "health-command",
            place,
            "is missing",
            "write for example [\"CMD-SHELL\", \"curl -f http://localhost/\"]",
        );
        return;
    };
    if command.is_computed() {
        return;
    }
    let words: Vec<Option<String>> = command.items().map(super::Scope::text).collect();
    let fix = "begin with CMD (words of a command) or CMD-SHELL (one line for a shell)";
    match words.first() {
        Some(None) => {}
        Some(Some(first)) if matches!(first.as_str(), "CMD" | "CMD-SHELL") && words.len() > 1 => {}
        Some(Some(first)) if matches!(first.as_str(), "CMD" | "CMD-SHELL") => {
            findings.add("health-command", place, "says nothing behind its first word", fix);
        }
        Some(Some(_)) | None => findings.add("health-command", place, "does not begin with CMD or CMD-SHELL", fix),
    }
}

fn variables(name: &str, container: Container<'_>, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for list in ["environment", "secrets"] {
        for pair in container.0.items_of(list) {
            let Some(variable) = pair.text_of("name") else { continue };
            if !seen.insert(variable.clone()) {
                let fix = "ECS refuses a secret that is a variable too, and of two variables one counts";
                findings.add("duplicate-variable", format!("{name}.{list}.{variable}"), "is there already", fix);
            }
        }
    }
}
