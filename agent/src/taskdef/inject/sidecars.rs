//! The sidecars that pillion takes the place of, and what keeps one in place.
//!
//! Promises: one that does something which pillion would not do stays, and why is said; whoever names it in `--replace` decides
//! otherwise.
//! Never: goes by a container's name: that is the user's. The image tells, or FireLens.

use super::{Options, carried};
use crate::{
    config::Setting,
    taskdef::view::{Container, Task},
};

/// What a sidecar is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The FireLens router.
    Router,
    /// The X-Ray daemon.
    XrayDaemon,
    /// AWS's distribution of the OpenTelemetry collector.
    Collector,
    /// The CloudWatch agent.
    CloudWatchAgent,
    /// AWS's Secrets Manager Agent.
    SecretsAgent,
}

/// A sidecar of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sidecar {
    /// The container's name.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Why it stays; none if it goes.
    pub(super) stays: Option<String>,
    /// What it was told to do, if it goes.
    pub(super) settings: Vec<Setting>,
}

/// Outputs of Fluent Bit that pillion has.
const OUTPUTS: [&str; 3] = ["cloudwatch_logs", "cloudwatch", "null"];
/// Flags of the X-Ray daemon that say where it listens, how much it says and that it runs outside of EC2.
const DAEMON_FLAGS: [&str; 11] = [
    "-o",
    "--local-mode",
    "-t",
    "--bind-tcp",
    "-b",
    "--bind",
    "-l",
    "--log-level",
    "-f",
    "--log-file",
    "--log-rotation",
];

impl Kind {
    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Router => "log router",
            Self::XrayDaemon => "X-Ray daemon",
            Self::Collector => "OpenTelemetry collector",
            Self::CloudWatchAgent => "CloudWatch agent",
            Self::SecretsAgent => "secrets agent",
        }
    }

    fn of(container: Container<'_>) -> Option<Self> {
        if container.is_router() {
            return Some(Self::Router);
        }
        match container.image_name()?.as_str() {
            "aws-xray-daemon" | "xray-daemon" => Some(Self::XrayDaemon),
            "aws-otel-collector" => Some(Self::Collector),
            "cloudwatch-agent" | "amazon-cloudwatch-agent" => Some(Self::CloudWatchAgent),
            "aws-secretsmanager-agent" | "aws-secrets-manager-agent" | "aws-workload-credentials-provider" => {
                Some(Self::SecretsAgent)
            }
            _ => None,
        }
    }
}

/// All sidecars of a task that pillion knows.
pub(super) fn of(task: Task<'_>, options: &Options) -> Vec<Sidecar> {
    let mut found = Vec::new();
    for container in task.containers() {
        let (Some(kind), Some(name)) = (Kind::of(container), container.name()) else { continue };
        let understood = understood(task, container, kind);
        let stays = match (options.keep.contains(&name), options.replace.contains(&name)) {
            (true, _) => Some("as asked".to_owned()),
            (false, true) => None,
            (false, false) => understood.as_ref().err().cloned().or_else(|| lends_volumes(task, &name)),
        };
        let settings = if stays.is_none() { understood.unwrap_or_default() } else { Vec::new() };
        found.push(Sidecar { name, kind, stays, settings });
    }
    found
}

/// What it was told to do, as settings of ours, or why pillion could not do what it does.
fn understood(task: Task<'_>, container: Container<'_>, kind: Kind) -> Result<Vec<Setting>, String> {
    let obstacle = match kind {
        Kind::Collector => return carried::of_collector(container),
        Kind::CloudWatchAgent => return carried::of_cloudwatch_agent(container),
        Kind::Router => of_router(task, container),
        Kind::XrayDaemon => of_daemon(container),
        Kind::SecretsAgent => of_secrets_agent(container),
    };
    obstacle.map_or(Ok(Vec::new()), Err)
}

fn of_router(task: Task<'_>, router: Container<'_>) -> Option<String> {
    let firelens = router.0.get("firelensConfiguration")?;
    if firelens.text_of("type").is_some_and(|kind| kind != "fluentbit") {
        return Some("its configuration is Fluentd's".to_owned());
    }
    let file = firelens.get("options").and_then(|options| options.raw("config-file-value"));
    if let Some(file) = file {
        let name = file.text().unwrap_or_else(|| "a file".to_owned());
        return Some(format!("what its own configuration `{name}` asks for is not seen here"));
    }
    for app in task.containers().into_iter().filter(|app| app.log_driver().as_deref() == Some("awsfirelens")) {
        let Some(options) = app.log_options() else { continue };
        let output =
            options.members().find(|(name, _)| name.eq_ignore_ascii_case("name")).and_then(|(_, it)| it.text());
        let output = output.unwrap_or_else(|| "that is computed".to_owned());
        if !OUTPUTS.contains(&output.as_str()) {
            return Some(format!("pillion has no output `{output}`"));
        }
    }
    None
}

fn of_daemon(daemon: Container<'_>) -> Option<String> {
    let words = daemon.0.items_of("command").chain(daemon.0.items_of("entryPoint"));
    let unknown = words.filter_map(|word| word.text()).find(|word| {
        let flag = word.split('=').next().unwrap_or_default();
        word.starts_with('-') && !DAEMON_FLAGS.contains(&flag)
    })?;
    Some(format!("its flag `{unknown}` is not carried over"))
}

fn of_secrets_agent(agent: Container<'_>) -> Option<String> {
    let Some(token) = super::secrets::token_file(agent) else {
        return Some("its token is in no file on a volume (AWS_TOKEN=file://..)".to_owned());
    };
    let word = agent.0.items_of("command").filter_map(|word| word.text()).find(|word| word.contains("config"))?;
    Some(format!("its configuration `{word}` is not carried over (token file {token})"))
}

/// Who takes a container's volumes could not go on without it.
fn lends_volumes(task: Task<'_>, name: &str) -> Option<String> {
    let borrower = task.containers().into_iter().find(|other| {
        other.0.items_of("volumesFrom").any(|from| from.text_of("sourceContainer").as_deref() == Some(name))
    })?;
    Some(format!("`{}` takes its volumes (volumesFrom)", borrower.name().unwrap_or_default()))
}
