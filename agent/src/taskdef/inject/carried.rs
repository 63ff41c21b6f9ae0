//! What AWS's collector and the CloudWatch agent were told to do, as variables of pillion.
//!
//! Promises: the agent's own readers of such configurations decide what they mean, so that what is put in does what the agent does
//! when it is given the configuration itself; what has no meaning to it, or is not seen here, is a reason for the sidecar to stay.
//! Never: carries an address of health checks, or how much is logged: that was the sidecar's own.

use std::collections::BTreeSet;

use super::{
    Container,
    plan::{Input, Plan},
};
use crate::config::{self, Setting};

/// Files of the collector's image that send nowhere but where pillion does. The others write to Amazon Managed Prometheus.
const OF_COLLECTOR: [&str; 5] = [
    "/etc/ecs/ecs-default-config.yaml",
    "/etc/ecs/ecs-xray.yaml",
    "/etc/ecs/ecs-cloudwatch.yaml",
    "/etc/ecs/ecs-cloudwatch-xray.yaml",
    "/etc/ecs/container-insights/otel-task-metrics-config.yaml",
];
/// Sections that are carried over.
const SECTIONS: [&str; 4] = ["aws", "logs", "metrics", "traces"];
/// Settings of inputs that are addresses to listen at.
const LISTENERS: [&str; 4] = ["grpc", "http", "tcp", "udp"];
/// The tag of documents of the embedded metric format.
const DOCUMENTS: &str = "emf";

/// What a collector does, or why that is not known.
pub(super) fn of_collector(collector: Container<'_>) -> Result<Vec<Setting>, String> {
    const CONTENT: &str = "AOT_CONFIG_CONTENT";
    if collector.has_variable(CONTENT) {
        let content = collector.variable(CONTENT);
        return understood(CONTENT, &content.ok_or_else(|| not_seen(CONTENT))?);
    }
    let file = collector.0.items_of("command").filter_map(|word| word.text()).find_map(|word| {
        word.strip_prefix("--config=").or_else(|| word.starts_with('/').then_some(&*word)).map(str::to_owned)
    });
    let file = file.ok_or("it has no `--config`, and what its image does without is not known")?;
    match config::file_of_collector(&file).filter(|_| OF_COLLECTOR.contains(&&*file)) {
        Some(text) => understood(&file, &text),
        None => Err(format!("its configuration `{file}` is not carried over")),
    }
}

/// What a CloudWatch agent does, or why that is not known.
pub(super) fn of_cloudwatch_agent(agent: Container<'_>) -> Result<Vec<Setting>, String> {
    const CONTENT: &str = "CW_CONFIG_CONTENT";
    understood(CONTENT, &agent.variable(CONTENT).ok_or_else(|| not_seen(CONTENT))?)
}

fn not_seen(what: &str) -> String {
    format!("what its configuration {what} asks for is not seen here")
}

fn understood(name: &str, text: &str) -> Result<Vec<Setting>, String> {
    let mut settings = config::settings_of(name, text)
        .map_err(|problem| format!("its configuration is not carried over: {}: {}", problem.place, problem.what))?;
    settings.retain(|(steps, _)| SECTIONS.contains(&&*steps[0]));
    let is_records =
        |(steps, _): &Setting| starts(steps, &["logs", "inputs"]) && steps.get(3).is_none_or(|it| it != "emf");
    if settings.iter().any(is_records) {
        return Err("it takes log records by OTLP, whose way beside FireLens is yours to choose".to_owned());
    }
    Ok(settings)
}

fn starts(steps: &[String], with: &[&str]) -> bool {
    steps.len() > with.len() && steps.iter().zip(with).all(|(step, with)| step == with)
}

/// The settings of several sidecars as those of one agent: the lists of the second go on where those of the first end.
pub(super) fn together<'a>(all: impl Iterator<Item = &'a [Setting]>) -> Vec<Setting> {
    let mut together: Vec<Setting> = Vec::new();
    for settings in all {
        let before = together.clone();
        for (steps, value) in settings {
            let mut steps = steps.clone();
            if steps.len() > 2
                && let Ok(number) = steps[2].parse::<usize>()
            {
                steps[2] = (number + length(&before, &steps[0], &steps[1])).to_string();
            }
            together.push((steps, value.clone()));
        }
    }
    together
}

/// How many items a list has, such as `metrics.inputs`.
pub(super) fn length(settings: &[Setting], section: &str, list: &str) -> usize {
    let numbers = settings.iter().filter(|(steps, _)| starts(steps, &[section, list]));
    numbers.filter_map(|(steps, _)| steps[2].parse::<usize>().ok()).max().map_or(0, |last| last + 1)
}

/// The settings without those of an input; the inputs behind it move up.
pub(super) fn without(settings: Vec<Setting>, input: Input) -> Vec<Setting> {
    let (section, kind, _) = input.place();
    let number =
        |(steps, _): &Setting| starts(steps, &[section, "inputs"]).then(|| steps[2].parse::<usize>().ok()).flatten();
    let is_one = |setting: &&Setting| setting.0.get(3).is_some_and(|step| step == kind);
    let gone: BTreeSet<usize> = settings.iter().filter(is_one).filter_map(number).collect();
    let stay = settings.into_iter().filter(|setting| number(setting).is_none_or(|number| !gone.contains(&number)));
    stay.map(|mut setting| {
        if let Some(number) = number(&setting) {
            setting.0[2] = (number - gone.range(..number).count()).to_string();
        }
        setting
    })
    .collect()
}

/// True if an input is carried over.
pub(super) fn listens(settings: &[Setting], input: Input) -> bool {
    let (_, _, keys) = input.place();
    keys.iter().any(|key| port(settings, input, key).is_some())
}

/// The port of an input that is carried over.
pub(super) fn port(settings: &[Setting], input: Input, key: &str) -> Option<u16> {
    let (section, kind, _) = input.place();
    let fits = |(steps, _): &&Setting| {
        starts(steps, &[section, "inputs"])
            && steps.get(3).is_some_and(|step| step == kind)
            && steps.last().is_some_and(|last| last == key)
    };
    settings.iter().find(fits).and_then(|(_, value)| value.rsplit_once(':')?.1.parse().ok())
}

/// As variables of the container. Listeners listen where the task's containers reach them.
pub(super) fn variables(plan: &Plan) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (steps, value) in &plan.carried {
        let name = |steps: &[String]| format!("PILLION__{}", steps.join("__").to_ascii_uppercase());
        let is_address = steps.last().is_some_and(|last| LISTENERS.contains(&&**last));
        let value = match value.rsplit_once(':') {
            Some(("0.0.0.0" | "127.0.0.1", port)) if is_address => format!("{}:{port}", plan.listen),
            _ => value.clone(),
        };
        // Beside the outputs of FireLens it takes nothing but documents.
        let matched = format!("{}__MATCH", name(&steps[..steps.len().min(3)]));
        if starts(steps, &["logs", "outputs"]) && !variables.iter().any(|(known, _)| *known == matched) {
            variables.push((matched, DOCUMENTS.to_owned()));
        }
        variables.push((name(steps), value));
    }
    variables
}

/// What changes with it, for people.
pub(super) fn told(settings: &[Setting]) -> Vec<String> {
    let values = |key: &str| {
        let found = settings.iter().filter(|(steps, _)| steps.last().is_some_and(|last| last == key));
        let mut values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        values.dedup();
        values
    };
    let mut told = Vec::new();
    let namespaces = values("namespace");
    if !namespaces.is_empty() {
        told.push(format!("metrics go to CloudWatch from here, in the namespaces {}", namespaces.join(", ")));
    }
    if let Some(group) = values("group").first() {
        told.push(format!("documents of the embedded metric format that name no log group go to `{group}`"));
    }
    if !told.is_empty() {
        told.push("the task role needs other rights for that than the sidecar did: see `pillion iam`".to_owned());
    }
    told
}
