//! The file that ECS generates for a FireLens router.
//!
//! Promises: it has what the ECS agent writes, in its order (`agent/taskresource/firelens` of amazon-ecs-agent: the template, inputs
//! by network mode, options sorted by name); our reader is tested on files of the same form in `agent/testdata/fluentbit`.
//! Never: fills in a secret: the agent writes `${name_index}`, and gives the router a variable.

use std::fmt::Write;

use super::view::{Container, Task};

/// Options that are for the agent or for Docker, and do not reach the output.
const NOT_FOR_THE_OUTPUT: [&str; 4] = ["include-pattern", "exclude-pattern", "log-driver-buffer-limit", "mode"];
/// Undelivered bytes if the router's memory is not limited.
const MEMORY_DEFAULT: &str = "25MB";

/// Who the task is, for its records.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The task's ARN.
    pub task_arn: String,
    /// Family and revision: `web:7`.
    pub definition: String,
}

/// The file for the router of a task. `None` if the task has none.
pub fn generated(task: Task<'_>, identity: &Identity) -> Option<String> {
    let containers = task.containers();
    let router = containers.iter().find(|container| container.is_router())?;
    let firelens = router.0.get("firelensConfiguration")?.get("options");
    let option = |name: &str| firelens.and_then(|options| options.raw(name)).and_then(|value| value.text());
    let mut text = String::new();
    let memory = router.reserved().map_or(MEMORY_DEFAULT.to_owned(), |mebibytes| format!("{}MB", mebibytes / 2));
    section(
        &mut text,
        "INPUT",
        &[("Name", "forward"), ("Mem_Buf_Limit", &memory), ("unix_path", "/var/run/fluent.sock")],
    );
    let listen = match task.network_mode().as_deref() {
        Some("host") => None,
        Some("bridge") => Some("0.0.0.0"),
        Some(_) | None => Some("127.0.0.1"),
    };
    if let Some(listen) = listen {
        section(&mut text, "INPUT", &[("Name", "forward"), ("Listen", listen), ("Port", "24224")]);
    }
    let health = [("Name", "tcp"), ("Tag", "firelens-healthcheck"), ("Listen", "127.0.0.1"), ("Port", "8877")];
    section(&mut text, "INPUT", &health);
    let senders = || containers.iter().enumerate().filter(|(_, it)| it.log_driver().as_deref() == Some("awsfirelens"));
    for (_, sender) in senders() {
        for (name, rule) in [("include-pattern", "Regex"), ("exclude-pattern", "Exclude")] {
            if let Some(pattern) = sender.log_option(name) {
                let (tag, pattern) = (tag_pattern(*sender), format!("log {pattern}"));
                section(&mut text, "FILTER", &[("Name", "grep"), ("Match", &tag), (rule, &pattern)]);
            }
        }
    }
    if option("enable-ecs-log-metadata").as_deref() != Some("false") {
        let fields = [
            ("Name", "record_modifier"),
            ("Match", "*"),
            ("Record", &*format!("ecs_cluster {}", identity.cluster)),
            ("Record", &*format!("ecs_task_arn {}", identity.task_arn)),
            ("Record", &*format!("ecs_task_definition {}", identity.definition)),
        ];
        section(&mut text, "FILTER", &fields);
    }
    match (option("config-file-type").as_deref(), option("config-file-value")) {
        (Some("s3"), Some(_)) => text.push_str("\n@INCLUDE /fluent-bit/etc/external.conf\n"),
        (Some("file"), Some(path)) => {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n@INCLUDE {path}");
        }
        _ => {}
    }
    section(&mut text, "OUTPUT", &[("Name", "null"), ("Match", "firelens-healthcheck")]);
    for (index, sender) in senders() {
        output(&mut text, *sender, index);
    }
    Some(text)
}

/// The variables by which the agent gives a router the secrets of its senders' options, and where each comes from.
pub fn secret_variables(task: Task<'_>) -> Vec<(String, String)> {
    let containers = task.containers();
    let senders = containers.iter().enumerate().filter(|(_, it)| it.log_driver().as_deref() == Some("awsfirelens"));
    let mut variables = Vec::new();
    for (index, sender) in senders {
        let secrets = sender.0.get("logConfiguration").into_iter().flat_map(|log| log.items_of("secretOptions"));
        for secret in secrets {
            if let (Some(name), Some(from)) = (secret.text_of("name"), secret.text_of("valueFrom")) {
                variables.push((format!("{name}_{index}"), from));
            }
        }
    }
    variables
}

fn output(text: &mut String, sender: Container<'_>, index: usize) {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut name = None;
    for (option, value) in sender.log_options().into_iter().flat_map(|options| options.members()) {
        // What a template computes is a word here: nobody but a reader of this file sees it.
        let value = value.text().unwrap_or_else(|| "computed".to_owned());
        match option {
            "Name" => name = Some(value),
            _ if NOT_FOR_THE_OUTPUT.contains(&option) => {}
            _ => options.push((option.to_owned(), value)),
        }
    }
    for secret in sender.0.get("logConfiguration").into_iter().flat_map(|log| log.items_of("secretOptions")) {
        if let Some(option) = secret.text_of("name") {
            let value = format!("${{{option}_{index}}}");
            options.push((option, value));
        }
    }
    // Without a name the router's own configuration has the output.
    let Some(name) = name else { return };
    options.sort_unstable();
    let tag = tag_pattern(sender);
    let mut lines = vec![("Name", &*name), ("Match", &*tag)];
    lines.extend(options.iter().map(|(option, value)| (&**option, &**value)));
    section(text, "OUTPUT", &lines);
}

fn tag_pattern(container: Container<'_>) -> String {
    format!("{}-firelens*", container.name().unwrap_or_default())
}

fn section(text: &mut String, title: &str, lines: &[(&str, &str)]) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n[{title}]\n");
    for (key, value) in lines {
        // A line break would begin a line of its own in the file.
        let _ = writeln!(text, "    {key} {}", value.replace(['\n', '\r'], " "));
    }
}
