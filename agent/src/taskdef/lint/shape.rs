//! Fields, words and ranges, as botocore's model of `RegisterTaskDefinition` and its documentation have them.
//!
//! Promises: knows every field of the model (`tests/python/check_task_definitions.py` compares the lists with botocore's).
//! Never: judges what a template computes.

use super::{Findings, Scope, Task, called, is_written};
use crate::{problem::nearest, taskdef::view::Case};

/// Fields of a task definition.
pub(super) const TASK: [&str; 19] = [
    "family",
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "containerDefinitions",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "tags",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "inferenceAccelerators",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
    "trustedExecutionConfiguration",
];
/// Fields that the answer of `DescribeTaskDefinition` has besides.
const ANSWER: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "deregisteredAt",
    "registeredBy",
    "deleteRequestedAt",
];
/// Fields of a container definition.
pub(super) const CONTAINER: [&str; 42] = [
    "name",
    "image",
    "repositoryCredentials",
    "cpu",
    "memory",
    "memoryReservation",
    "links",
    "portMappings",
    "essential",
    "restartPolicy",
    "entryPoint",
    "command",
    "environment",
    "environmentFiles",
    "mountPoints",
    "volumesFrom",
    "linuxParameters",
    "secrets",
    "dependsOn",
    "startTimeout",
    "stopTimeout",
    "versionConsistency",
    "hostname",
    "user",
    "workingDirectory",
    "disableNetworking",
    "privileged",
    "readonlyRootFilesystem",
    "dnsServers",
    "dnsSearchDomains",
    "extraHosts",
    "dockerSecurityOptions",
    "interactive",
    "pseudoTerminal",
    "dockerLabels",
    "ulimits",
    "logConfiguration",
    "healthCheck",
    "systemControls",
    "resourceRequirements",
    "firelensConfiguration",
    "credentialSpecs",
];
/// Fields of what stands in a container definition, by the field that it stands in.
const INNER: [(&str, &[&str]); 14] = [
    ("logConfiguration", &["logDriver", "options", "secretOptions"]),
    ("healthCheck", &["command", "interval", "timeout", "retries", "startPeriod"]),
    ("firelensConfiguration", &["type", "options"]),
    ("restartPolicy", &["enabled", "ignoredExitCodes", "restartAttemptPeriod"]),
    ("dependsOn", &["containerName", "condition"]),
    ("environment", &["name", "value"]),
    ("environmentFiles", &["value", "type"]),
    ("secrets", &["name", "valueFrom"]),
    ("mountPoints", &["sourceVolume", "containerPath", "readOnly"]),
    ("volumesFrom", &["sourceContainer", "readOnly"]),
    ("portMappings", &["containerPort", "hostPort", "protocol", "name", "appProtocol", "containerPortRange"]),
    ("ulimits", &["name", "softLimit", "hardLimit"]),
    ("repositoryCredentials", &["credentialsParameter"]),
    (
        "linuxParameters",
        &["capabilities", "devices", "initProcessEnabled", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness"],
    ),
];
/// Words that a field may hold: the field's owner (`""`: the task, `"."`: the container), the field, the words.
const WORDS: [(&str, &str, &[&str]); 13] = [
    ("", "networkMode", &["bridge", "host", "awsvpc", "none"]),
    ("", "pidMode", &["host", "task"]),
    ("", "ipcMode", &["host", "task", "none"]),
    (".", "versionConsistency", &["enabled", "disabled"]),
    ("dependsOn", "condition", &["START", "COMPLETE", "SUCCESS", "HEALTHY"]),
    ("firelensConfiguration", "type", &["fluentd", "fluentbit"]),
    (
        "logConfiguration",
        "logDriver",
        &["json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "awsfirelens"],
    ),
    ("portMappings", "protocol", &["tcp", "udp"]),
    ("portMappings", "appProtocol", &["http", "http2", "grpc"]),
    ("environmentFiles", "type", &["s3"]),
    ("runtimePlatform", "cpuArchitecture", &["X86_64", "ARM64"]),
    ("", "requiresCompatibilities", &["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"]),
    (
        "ulimits",
        "name",
        &[
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ],
    ),
];
/// Ranges of numbers: owner, field, least, most, the rule.
const RANGES: [(&str, &str, i64, i64, &str); 7] = [
    ("healthCheck", "interval", 5, 300, "health-range"),
    ("healthCheck", "timeout", 2, 60, "health-range"),
    ("healthCheck", "retries", 1, 10, "health-range"),
    ("healthCheck", "startPeriod", 0, 300, "health-range"),
    ("restartPolicy", "restartAttemptPeriod", 60, 1_800, "restart-period"),
    ("portMappings", "containerPort", 1, 65_535, "number-range"),
    ("portMappings", "hostPort", 0, 65_535, "number-range"),
];

pub(super) fn check(task: Task<'_>, is_answer: bool, findings: &mut Findings) {
    if !task.is_list() {
        let known: Vec<&str> = if is_answer { [&TASK[..], &ANSWER].concat() } else { TASK.to_vec() };
        fields(task.0, "", &known, findings);
        words(task.0, "", "", findings);
        if let Some(platform) = task.0.get("runtimePlatform") {
            words(platform, "runtimePlatform", "runtimePlatform.", findings);
        }
        if task.0.get("family").is_none() && task.0.case() == Case::Api {
            findings.add("family-missing", "family", "is missing", "name the family that revisions belong to");
        }
    }
    for (index, container) in task.containers().into_iter().enumerate() {
        let name = called(container, index);
        if container.0.node.object().is_none() {
            findings.add("unknown-field", &name, "is no object", "write a container definition");
            continue;
        }
        for (field, id) in [("name", "container-name"), ("image", "container-image")] {
            if container.0.get(field).is_none() {
                findings.add(
                    id,
                    format!("{name}.{field}"),
                    "is missing",
                    "ECS wants a name and an image for each container",
                );
            }
        }
        if let Some(written) = container.name() {
            let fits = written.len() <= 255 && !written.is_empty();
            if !fits || !written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                let fix = "use letters, digits, `-` and `_`, at most 255";
                findings.add("container-name", format!("{name}.name"), "is not a name that ECS takes", fix);
            }
        }
        fields(container.0, &format!("{name}."), &CONTAINER, findings);
        words(container.0, ".", &format!("{name}."), findings);
        for (owner, known) in INNER {
            for (at, inner) in inner(container.0, owner) {
                let place = format!("{name}.{owner}{at}.");
                fields(inner, &place, known, findings);
                words(inner, owner, &place, findings);
                ranges(inner, owner, &place, findings);
            }
        }
    }
}

/// True for a log driver that ECS knows.
pub(super) fn is_driver(driver: &str) -> bool {
    WORDS.iter().any(|(owner, _, words)| *owner == "logConfiguration" && words.contains(&driver))
}

/// The objects that a field holds: itself, or the elements of its list with their places.
fn inner<'a>(container: Scope<'a>, field: &str) -> Vec<(String, Scope<'a>)> {
    match container.get(field) {
        Some(scope) if scope.node.array().is_some() => {
            scope.items().enumerate().map(|(index, item)| (format!("[{index}]"), item)).collect()
        }
        Some(scope) => vec![(String::new(), scope)],
        None => Vec::new(),
    }
}

fn fields(object: Scope<'_>, place: &str, known: &[&str], findings: &mut Findings) {
    if object.is_computed() {
        return;
    }
    for (name, _) in object.members() {
        if known.iter().any(|field| object.case().key(field) == name) {
            continue;
        }
        let keys: Vec<String> = known.iter().map(|field| object.case().key(field)).collect();
        let meant = nearest(name, keys.iter().map(String::as_str));
        let fix = meant.map_or("take it out".to_owned(), |meant| format!("perhaps you mean `{meant}`"));
        findings.add(
            "unknown-field",
            format!("{place}{}", crate::problem::shown(name)),
            "is no field that ECS knows",
            fix,
        );
    }
}

fn words(object: Scope<'_>, owner: &str, place: &str, findings: &mut Findings) {
    for (of, field, allowed) in WORDS.iter().filter(|(of, ..)| *of == owner) {
        let Some(value) = object.get(field) else { continue };
        let values: Vec<Scope<'_>> = if value.node.array().is_some() { value.items().collect() } else { vec![value] };
        for word in values.iter().filter(|value| !value.is_computed()) {
            let text = word.text();
            if text.as_deref().is_some_and(|text| allowed.contains(&text)) {
                continue;
            }
            let id = match (*of, *field) {
                ("logConfiguration", _) => "log-driver",
                ("firelensConfiguration", _) => "firelens-type",
                ("dependsOn", _) => "dependency-condition",
                _ => "unknown-word",
            };
            let shown = text.map_or("this".to_owned(), |text| format!("`{}`", crate::problem::shown(&text)));
            findings.add(
                id,
                format!("{place}{field}"),
                format!("{shown} is none of its words"),
                format!("write one of {}", allowed.join(", ")),
            );
        }
    }
}

fn ranges(object: Scope<'_>, owner: &str, place: &str, findings: &mut Findings) {
    for (_, field, least, most, id) in RANGES.iter().filter(|(of, ..)| *of == owner) {
        if !is_written(object.get(field)) {
            continue;
        }
        let fits = object.number_of(field).is_some_and(|number| (*least..=*most).contains(&number));
        if !fits {
            let fix = format!("write a number from {least} to {most}");
            findings.add(id, format!("{place}{field}"), "is out of range", fix);
        }
    }
}
