//! Our container.
//!
//! Promises: it depends on nothing, for only then does ECS let each container that logs through it start after it and stop
//! before it; it is a user without rights on a read-only root, and is started again in place when it ends.
//! Never: publishes a port.

use super::{
    Case, LABEL, NAME, Options, carried,
    plan::{Input, Plan},
    secrets::{FOLDER, VOLUME},
};
use crate::taskdef::tree::Node;

/// The container definition.
pub(super) fn ours(plan: &Plan, options: &Options, case: Case) -> Node {
    let mut members = vec![
        ("name", Node::of(NAME)),
        ("image", Node::of(&options.image)),
        ("essential", Node::truth(true)),
        ("memoryReservation", Node::number(options.memory.into())),
    ];
    if let Some(user) = &options.user {
        members.push(("user", Node::of(user)));
    }
    members.push(("readonlyRootFilesystem", Node::truth(true)));
    if plan.routes {
        let metadata = Node::map([("enable-ecs-log-metadata", Node::of("true"))]);
        members.push(("firelensConfiguration", record(case, [("type", Node::of("fluentbit")), ("options", metadata)])));
    }
    let pair = |(name, value): &(String, String)| record(case, [("name", Node::of(name)), ("value", Node::of(value))]);
    members.push(("environment", Node::list(settings(plan, options).iter().map(pair))));
    let mounts = mounts(plan, case);
    if !mounts.is_empty() {
        members.push(("mountPoints", Node::list(mounts)));
    }
    members.push(("stopTimeout", Node::number(options.stop_timeout.into())));
    // One that ends is back within a second, on the same socket; only one that ends again within a minute ends the task.
    let policy = [("enabled", Node::truth(true)), ("restartAttemptPeriod", Node::number(60))];
    members.push(("restartPolicy", record(case, policy)));
    let command = Node::list(["CMD", "/pillion", "healthcheck"].map(Node::of));
    let check = [
        ("command", command),
        ("interval", Node::number(5)),
        ("timeout", Node::number(5)),
        ("retries", Node::number(3)),
        ("startPeriod", Node::number(30)),
    ];
    members.push(("healthCheck", record(case, check)));
    if let Some(log) = &plan.own_log {
        members.push(("logConfiguration", log.clone()));
    }
    members.push(("dockerLabels", Node::map([(LABEL, Node::of(""))])));
    record(case, members)
}

/// An object whose members have names of the API.
pub(super) fn record<'a>(case: Case, members: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
    let named: Vec<(String, Node)> = members.into_iter().map(|(key, value)| (case.key(key), value)).collect();
    Node::map(named.iter().map(|(key, value)| (key.as_str(), value.clone())))
}

/// Variables of pillion. A file of FireLens says what it says about logs only; all else is said by variables.
fn settings(plan: &Plan, options: &Options) -> Vec<(String, String)> {
    let mut settings = vec![("PILLION_STOP_TIMEOUT".to_owned(), format!("{}s", options.stop_timeout))];
    let mut set = |name: String, value: String| settings.push((name, value));
    if !plan.routes {
        // Without this it would listen where the router that stays does.
        set("PILLION_CONFIG_CONTENT".to_owned(), "logs: {inputs: []}".to_owned());
    }
    carried::variables(plan).into_iter().for_each(|(name, value)| set(name, value));
    let mut numbers = ["traces", "metrics"].map(|job| carried::length(&plan.carried, job, "inputs"));
    for input in plan.inputs.iter().filter(|input| !carried::listens(&plan.carried, **input)) {
        let (job, kind, keys) = input.place();
        let number = &mut numbers[usize::from(job == "metrics")];
        for key in keys {
            let setting = format!("{job}__INPUTS__{number}__{kind}__{key}").to_ascii_uppercase();
            set(format!("PILLION__{setting}"), format!("{}:{}", plan.listen, input.usual(key)));
        }
        *number += 1;
    }
    if plan.has_files() {
        set("PILLION__SECRETS__FOLDER".to_owned(), FOLDER.to_owned());
        // Apps have users of their own; who does not mount the volume does not see it.
        set("PILLION__SECRETS__MODE".to_owned(), "0444".to_owned());
        settings.extend(plan.secrets.settings.iter().cloned());
    }
    if let Some((path, _)) = &plan.token {
        settings.push(("PILLION__SECRETS__API__LISTEN".to_owned(), "127.0.0.1:2773".to_owned()));
        settings.push(("PILLION__SECRETS__API__TOKEN_FILE".to_owned(), path.clone()));
    }
    settings
}

fn mounts(plan: &Plan, case: Case) -> Vec<Node> {
    let mut mounts = Vec::new();
    if plan.has_files() {
        mounts.push(record(case, [("sourceVolume", Node::of(VOLUME)), ("containerPath", Node::of(FOLDER))]));
    }
    mounts.extend(plan.token.iter().map(|(_, mount)| mount.clone()));
    mounts
}

impl Input {
    /// Where its settings are: the job, the kind of input, and what says where it listens.
    pub(super) fn place(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::Xray => ("traces", "xray", &["udp", "tcp"]),
            Self::Otlp => ("traces", "otlp", &["grpc", "http"]),
            Self::Statsd => ("metrics", "statsd", &["udp"]),
            Self::Emf => ("logs", "emf", &["tcp", "udp"]),
        }
    }

    /// The port that clients take if they are told nothing.
    fn usual(self, key: &str) -> u16 {
        match self {
            Self::Xray => 2000,
            Self::Otlp if key == "grpc" => 4317,
            Self::Otlp => 4318,
            Self::Statsd => 8125,
            Self::Emf => 25888,
        }
    }

    /// The variables by which clients find it.
    pub(super) fn variables(self, plan: &Plan) -> Vec<(&'static str, String)> {
        let host = plan.host;
        let port = |key| carried::port(&plan.carried, self, key).unwrap_or_else(|| self.usual(key));
        match self {
            Self::Xray => vec![("AWS_XRAY_DAEMON_ADDRESS", format!("{host}:{}", port("udp")))],
            // Both ports take gRPC and HTTP: SDKs differ in which is their default.
            Self::Otlp => vec![("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{host}:{}", port("http")))],
            Self::Statsd => vec![("DD_AGENT_HOST", host.to_owned()), ("STATSD_HOST", host.to_owned())],
            Self::Emf => {
                let kind = if carried::port(&plan.carried, self, "tcp").is_some() { "tcp" } else { "udp" };
                vec![("AWS_EMF_AGENT_ENDPOINT", format!("{kind}://{host}:{}", port(kind)))]
            }
        }
    }
}
