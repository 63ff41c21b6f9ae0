//! What the agent was told to do: from a file, from the environment, or by default.
//!
//! Promises: every mistake is in one report, with its place and what to do about it; no configuration at all is one that
//! works; a value of [`Config`] has been checked.
//! Never: opens a socket or a connection; shows a secret.
//!
//! ```text
//! --config, PILLION_CONFIG, /etc/pillion/pillion.yaml, FireLens' file, PILLION_CONFIG_CONTENT --choose--> one source
//! ours: YAML -> tree with places -> overrides PILLION__.. -> typed, mistake by mistake -> checked -> Config
//! Fluent Bit's: `fluentbit::read` -> logs; overrides add to them, and say all else        -> Config
//! ```

mod check;
mod checking;
mod choose;
mod cloudwatch_agent;
mod collector;
mod document;
mod environment;
mod extension;
mod firelens;
mod foreign;
mod metrics;
mod node;
mod overrides;
mod reference;
mod secrets;
mod secrets_agent;
mod source;
mod spool;
mod traces;
mod typed;
mod variables;
mod xray_daemon;

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use choose::{Chosen, choose, read_own};
pub use document::{Admin, Aws, Document, Format, Level, Log, Spool};
pub use environment::Environment;
pub use foreign::{Setting, file_of_collector, settings_of};
pub use reference::{reference, schema};
use source::Tree;
pub use xray_daemon::DaemonCall;

use crate::{
    fluentbit::{self, Files},
    logs::settings::{Forward, Input, Logs},
    metrics::settings::Metrics,
    otlp::{input, own::Telemetry, walk::Signal},
    problem::{Problem, Problems, shown},
    secrets::settings::Secrets,
    traces::settings::Traces,
    units::ByteSize,
};

/// Our own file, if nothing else is given.
pub const OWN_FILE: &str = "/etc/pillion/pillion.yaml";
/// Where AWS's agent for secrets looks.
pub const SECRETS_AGENT_FILE: &str = "/etc/aws-workload-credentials-provider/config.toml";
/// Where ECS mounts the file it generates for FireLens.
pub const FIRELENS_FILE: &str = "/fluent-bit/etc/fluent-bit.conf";
/// The socket to which FireLens sends the containers' output.
pub const FIRELENS_SOCKET: &str = "/var/run/fluent.sock";
/// Where the fluent-logger libraries send by default.
pub const FORWARD_PORT: u16 = 24224;

/// All that decides what the configuration is. Tests make one up.
pub struct Sources<'a> {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// Where files are read.
    pub files: &'a dyn Files,
}

/// What the agent was told to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The logs job.
    pub logs: Logs,
    /// The traces job.
    pub traces: Traces,
    /// The metrics job.
    pub metrics: Metrics,
    /// The secrets job.
    pub secrets: Secrets,
    /// Where the agent's own HTTP interface listens, if at all.
    pub admin: Option<SocketAddr>,
    /// Memory that undelivered records may take, if the user set it.
    pub memory: Option<ByteSize>,
    /// Where it was set; for problems.
    pub memory_place: String,
    /// `Mem_Buf_Limit` of the FireLens socket: half of the container's memory, if ECS generated the file. Or what the X-Ray daemon was
    /// given for its buffers.
    pub memory_hint: Option<ByteSize>,
    /// Where undelivered records go that memory does not hold.
    pub spool: Spool,
    /// Where its folder was named; for problems.
    pub spool_place: String,
    /// Time from SIGTERM in which the agent must be done: the stop timeout with the spare taken off.
    pub stop_budget: Duration,
    /// The tag of the record that is sent at the stop.
    pub stop_record: Option<String>,
    /// How old an undelivered record may be before the agent calls itself unhealthy.
    pub stuck_after: Duration,
    /// What the environment and the file say about AWS.
    pub aws: Aws,
    /// What is told of our own work.
    pub telemetry: Telemetry,
    /// Base URL of the task's metadata, version 4.
    pub ecs_metadata_uri: Option<String>,
    /// The least important messages that are written.
    pub log_level: Level,
    /// How messages are written; None: as it suits standard error.
    pub log_format: Option<Format>,
    /// Where the configuration came from, for the first line of the log.
    pub described: String,
}

/// Reads the configuration. Gives it with the warnings, or all problems, errors first.
pub fn load(sources: &Sources<'_>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let chosen = choose(sources, &mut problems);
    let loaded = match chosen {
        Chosen::SecretsAgent { name, text } => agent_of_aws(&name, &text, sources, &mut problems),
        Chosen::Nothing => own(Tree::empty("the environment"), sources, &mut problems),
        Chosen::Own { name, text } => own(read_own(&name, &text, &mut problems), sources, &mut problems),
        Chosen::FluentBit(path) => firelens::load(&path, sources, &mut problems),
    };
    finished(loaded, sources, problems)
}

fn finished(
    mut loaded: Loaded,
    sources: &Sources<'_>,
    mut problems: Problems,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    variables::apply(&sources.environment, &mut loaded, &mut problems);
    let has_logs = loaded.has_logs && !problems.has_errors();
    if loaded.document.logs.outputs.is_empty() && has_logs {
        let what = "there is no output: records are taken and counted, but go nowhere";
        problems.push(Problem::warning(&*loaded.described, what, "name one under `logs.outputs`"));
    }
    if loaded.document.logs.inputs.is_empty() && has_logs {
        let what = "there is no input: no record ever comes in";
        problems.push(Problem::warning(&*loaded.described, what, "name one, for example `forward`"));
    }
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    let groups = loaded.document.logs.groups();
    loaded.document.traces.link_to_logs(&groups);
    Ok((loaded.config(&sources.environment), problems.into_sorted()))
}

/// Reads what the X-Ray daemon would, called with these flags: there are traces, and no logs unless variables say so.
pub fn load_xray_daemon(call: &DaemonCall, sources: &Sources<'_>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    for name in ["PILLION_CONFIG", "PILLION_CONFIG_CONTENT"] {
        if sources.environment.get(name).is_some() {
            let hint = "call the agent as `pillion`, and it is";
            problems.push(Problem::warning(name, "is not read by who is called as the X-Ray daemon", hint));
        }
    }
    let xray_daemon::Reading { mut tree, memory_hint } = xray_daemon::read(call, sources, &mut problems);
    tree.put_overrides(&sources.environment, &mut problems);
    let described = tree.name.clone();
    let loaded = Loaded { memory_hint, has_logs: false, ..checked(tree, described, &mut problems) };
    finished(loaded, sources, problems)
}

/// Reads what AWS's Secrets Manager Agent would, called with this file or without one. Nothing but its API runs then.
pub fn load_secrets_agent(sources: &Sources<'_>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let usual = PathBuf::from(SECRETS_AGENT_FILE);
    let path = sources.file.clone().unwrap_or(usual);
    let name = shown(&path.display().to_string());
    let loaded = match sources.files.read(&path) {
        Ok(text) => agent_of_aws(&name, &text, sources, &mut problems),
        Err(error) if error.kind() == io::ErrorKind::NotFound && sources.file.is_none() => {
            agent_of_aws("the environment", b"", sources, &mut problems)
        }
        Err(error) => {
            let what = format!("cannot be read: {}", fluentbit::reason(&error));
            problems.push(Problem::error(name, what, "give the path of a configuration file"));
            return Err(problems.into_sorted());
        }
    };
    finished(loaded, sources, problems)
}

/// The configuration in the making.
struct Loaded {
    document: Document,
    spool_place: String,
    memory_place: String,
    memory_hint: Option<ByteSize>,
    described: String,
    /// False for who is called as a program that has nothing to do with logs.
    has_logs: bool,
}

fn own(mut tree: Tree, sources: &Sources<'_>, problems: &mut Problems) -> Loaded {
    let described = tree.name.clone();
    if tree.root.find(&node::Path::of("pipeline")).is_some() {
        let hint = "write it as a classic `.conf` file, or in our own form";
        problems.push(Problem::error(&*described, "Fluent Bit's YAML is not supported by this version", hint));
        let spool_place = String::new();
        let memory_place = String::new();
        let document = Document::default();
        return Loaded { document, spool_place, memory_place, memory_hint: None, described, has_logs: true };
    }
    let is_collector = collector::is_one(&tree.root);
    let is_cloudwatch_agent = cloudwatch_agent::is_one(&tree.root);
    if is_collector {
        tree = collector::translated(&tree, &sources.environment, problems);
    } else if is_cloudwatch_agent {
        tree = cloudwatch_agent::translated(&tree, &sources.environment, problems);
    }
    tree.put_overrides(&sources.environment, problems);
    let gives_inputs = tree.root.find(&node::Path::of("logs.inputs")).is_some();
    let mut loaded = checked(tree, described, problems);
    match (gives_inputs, is_collector || is_cloudwatch_agent) {
        (true, _) => {}
        (false, true) => loaded.has_logs = false,
        (false, false) => loaded.document.logs.inputs = default_inputs(),
    }
    loaded
}

/// What AWS's agent for secrets would do with this text.
fn agent_of_aws(name: &str, text: &[u8], sources: &Sources<'_>, problems: &mut Problems) -> Loaded {
    let secrets_agent::Reading { mut tree, token } = secrets_agent::read(name, text, &sources.environment, problems);
    tree.put_overrides(&sources.environment, problems);
    let mut loaded = checked(tree, name.to_owned(), problems);
    loaded.has_logs = false;
    if let Some(api) = &mut loaded.document.secrets.api {
        match token {
            Some(secrets_agent::Given::File(path)) => api.token_file = api.token_file.take().or(Some(path.into())),
            Some(secrets_agent::Given::Text(text)) => api.token = Some(text),
            None => {}
        }
    }
    loaded
}

/// The document of a tree, looked at as a whole.
fn checked(mut tree: Tree, described: String, problems: &mut Problems) -> Loaded {
    let document = tree.document(problems);
    check::check(&document, &tree, problems);
    secrets::check(&document, &tree, problems);
    spool::required(&document, &tree, problems);
    let spool_place = tree.place(&node::Path::of("spool.path"));
    let memory_place = tree.place(&node::Path::of("memory"));
    Loaded { document, spool_place, memory_place, memory_hint: None, described, has_logs: true }
}

/// Where FireLens and the fluent-logger libraries send.
fn default_inputs() -> Vec<Input> {
    let socket = Forward { unix: Some(FIRELENS_SOCKET.into()), ..Forward::default() };
    let tcp = Forward { tcp: Some(SocketAddr::from(([127, 0, 0, 1], FORWARD_PORT))), ..Forward::default() };
    vec![Input::Forward(socket), Input::Forward(tcp)]
}

impl Config {
    /// How many outputs keep records until they are delivered: those that have a share of the memory and of the disk.
    pub fn keeping(&self) -> usize {
        self.logs.keeping().count() + self.traces.running().len() + self.metrics.keeping().count()
    }

    /// The inputs for OTLP of all sections, and what each wants.
    pub fn otlp(&self) -> impl Iterator<Item = (Signal, &input::Config)> {
        let traces = self.traces.otlp().map(|otlp| (Signal::Traces, otlp));
        let logs = self.logs.otlp().map(|otlp| (Signal::Logs, otlp));
        traces.chain(logs).chain(self.metrics.otlp().map(|otlp| (Signal::Metrics, otlp)))
    }
}

impl Loaded {
    fn config(self, environment: &Environment) -> Config {
        let Document {
            logs,
            traces,
            metrics,
            secrets,
            admin,
            memory,
            spool,
            stop_timeout,
            stop_record,
            log,
            aws,
            telemetry,
        } = self.document;
        let stop_timeout = stop_timeout.map_or(document::STOP_TIMEOUT, |timeout| timeout.0);
        // One second to say goodbye in, or half of a time that is shorter than two.
        let spare = Duration::from_secs(1).min(stop_timeout / 2);
        Config {
            logs,
            traces,
            metrics,
            secrets,
            admin: admin.listen.address(document::ADMIN),
            memory,
            memory_place: self.memory_place,
            memory_hint: self.memory_hint,
            spool,
            spool_place: self.spool_place,
            stop_budget: stop_timeout - spare,
            stop_record,
            stuck_after: admin.stuck_after.map_or(document::STUCK_AFTER, |after| after.0),
            aws,
            telemetry,
            ecs_metadata_uri: environment.get("ECS_CONTAINER_METADATA_URI_V4").map(str::to_owned),
            log_level: log.level.unwrap_or_default(),
            log_format: log.format,
            described: self.described,
        }
    }
}

#[cfg(test)]
mod tests;
