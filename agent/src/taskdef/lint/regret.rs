//! What ECS takes and people regret.
//!
//! Promises: says nothing of a value but the name of the variable that holds it.
//! Never: an error; all of these are warnings.

use super::{Container, Findings, Task, named};

/// Parts of names of variables whose values nobody should see.
const SECRET_NAMES: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "ACCESS_KEY",
    "CONNECTION_STRING",
];
/// Endings of names that hold where a secret is, not what it is.
const NO_SECRET_ENDINGS: [&str; 11] =
    ["_FILE", "_PATH", "_ARN", "_NAME", "_ID", "_URL", "_ENDPOINT", "_TTL", "_HEADER", "_REGION", "_ENABLED"];
/// Names of roles that are made once for everybody.
const SHARED_ROLES: [&str; 4] = ["ecsTaskRole", "ecsTaskExecutionRole", "ecsExecutionRole", "ecsInstanceRole"];

pub(super) fn check(task: Task<'_>, findings: &mut Findings) {
    let containers = named(task);
    for (name, container) in &containers {
        image(name, *container, findings);
        confinement(name, *container, findings);
        if container.is_essential() && container.0.get("healthCheck").is_none() {
            let fix =
                "add a `healthCheck`: that of the image does not count, and without one ECS takes a hung app for well";
            findings.add("no-health-check", format!("{name}.healthCheck"), "is missing in an essential container", fix);
        }
        if container.0.get("logConfiguration").is_none() && !container.is_router() {
            findings.add(
                "no-log",
                format!("{name}.logConfiguration"),
                "is missing: what the container prints cannot be read",
                "add one",
            );
        }
        plain_secrets(name, *container, findings);
        endpoints(name, *container, findings);
        if container
            .image_name()
            .is_some_and(|image| matches!(&*image, "aws-xray-daemon" | "aws-otel-collector" | "aws-for-fluent-bit"))
        {
            let fix = "`pillion inject` puts one container in the place of these";
            findings.add("replaceable-sidecar", name, "is a sidecar that pillion takes the place of", fix);
        }
    }
    roles(task, findings);
}

fn image(name: &str, container: Container<'_>, findings: &mut Findings) {
    let Some(image) = container.0.text_of("image") else { return };
    let last = image.rsplit('/').next().unwrap_or_default();
    let tag = last.split('@').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    if image.contains("@sha256:") || tag.is_some_and(|tag| tag != "latest") {
        return;
    }
    let what = if tag.is_some() { "is `latest`" } else { "has no tag, which means `latest`" };
    let fix = "name a version or a digest: only then two tasks of one revision run the same, and an older revision brings the older image back";
    findings.add("image-latest", format!("{name}.image"), what, fix);
}

fn confinement(name: &str, container: Container<'_>, findings: &mut Findings) {
    let user = container.0.get("user");
    let is_root = match user.map(super::Scope::text) {
        None => true,
        Some(Some(user)) => matches!(user.split(':').next(), Some("root" | "0" | "")),
        Some(None) => false,
    };
    if is_root {
        let what = if user.is_some() { "is root" } else { "is not set: the image decides, and most are root" };
        findings.add("root-user", format!("{name}.user"), what, "write a number, for example 1000");
    }
    match container.0.get("readonlyRootFilesystem") {
        Some(value) if value.truth() == Some(true) || value.is_computed() => {}
        _ => {
            let fix = "set it, and mount a volume where the app must write (AWS Security Hub, ECS.5)";
            findings.add("writable-root", format!("{name}.readonlyRootFilesystem"), "is not true", fix);
        }
    }
    if container.0.truth_of("privileged") == Some(true) {
        findings.add(
            "privileged",
            format!("{name}.privileged"),
            "is true: the container is root on the host",
            "take it out",
        );
    }
}

fn plain_secrets(name: &str, container: Container<'_>, findings: &mut Findings) {
    for (variable, value) in container.environment() {
        let Some(value) = value.text().filter(|value| !value.is_empty()) else { continue };
        let upper = variable.to_ascii_uppercase();
        // What pillion is told about secrets is where they are.
        let by_name = !upper.starts_with("PILLION__SECRETS__")
            && SECRET_NAMES.iter().any(|part| upper.contains(part))
            && !NO_SECRET_ENDINGS.iter().any(|ending| upper.ends_with(ending))
            && value.parse::<f64>().is_err()
            && !matches!(value.as_str(), "true" | "false");
        // The form of AWS's keys; a password in a URL.
        let is_key = value.len() == 20 && ["AKIA", "ASIA"].iter().any(|head| value.starts_with(head));
        let in_url = value.split_once("://").is_some_and(|(_, rest)| {
            rest.split('/').next().and_then(|place| place.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
        });
        if by_name || is_key || in_url {
            let fix = "put it into Secrets Manager, and name it under `secrets`, or as a file (`pillion inject --secrets-as-files`)";
            findings.add(
                "plain-secret",
                format!("{name}.environment.{variable}"),
                "looks like a secret: whoever may describe the task definition reads it",
                fix,
            );
        }
    }
}

/// A database's address, and no secret that could open it.
fn endpoints(name: &str, container: Container<'_>, findings: &mut Findings) {
    if container.0.items_of("secrets").next().is_some()
        || container.environment().any(|(variable, _)| variable.ends_with("_FILE"))
    {
        return;
    }
    let found = container.environment().find(|(variable, value)| {
        let by_name =
            ["DB_HOST", "DATABASE_HOST", "POSTGRES_HOST", "MYSQL_HOST", "PGHOST"].contains(&variable.as_str());
        by_name || value.text().is_some_and(|value| value.contains(".rds.amazonaws.com"))
    });
    if let Some((variable, _)) = found {
        let fix = "name its password under `secrets`, or as a file that follows each rotation";
        findings.add(
            "database-secret",
            format!("{name}.environment.{variable}"),
            "is a database, and no secret opens it",
            fix,
        );
    }
}

fn roles(task: Task<'_>, findings: &mut Findings) {
    if task.is_list() {
        return;
    }
    let (role, execution) = (task.0.text_of("taskRoleArn"), task.0.text_of("executionRoleArn"));
    if task.0.get("taskRoleArn").is_none() {
        let fix = "name one, with the rights of this service alone; `pillion iam` prints what pillion needs";
        findings.add(
            "task-role",
            "taskRoleArn",
            "is missing: on EC2 the containers have the rights of the instance",
            fix,
        );
    }
    if role.is_some() && role == execution {
        let fix = "make two: the app needs no right to pull images, and ECS none of the app's";
        findings.add("task-role", "taskRoleArn", "is the execution role too", fix);
    }
    let name = role.as_deref().and_then(|role| role.rsplit('/').next());
    if let Some(name) = name.filter(|name| SHARED_ROLES.iter().any(|shared| shared.eq_ignore_ascii_case(name))) {
        let fix = "give each service a role of its own, with its own log group, queue and secrets";
        findings.add("shared-role", "taskRoleArn", format!("`{name}` is a name that all services share"), fix);
    }
}
