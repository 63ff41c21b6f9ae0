//! The sections of our own configuration file, as serde reads them. The comments here are the user's documentation:
//! `docs/config.md` and the JSON schema are made of them.
//!
//! Promises: every field has a default; a value with a wrong unit or range is refused where it stands.
//! Never: checks one field against another; `check` does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::{
    deliver::disk::WhenFull,
    logs::settings::Logs,
    metrics::settings::Metrics,
    otlp::own::Telemetry,
    secrets::settings::Secrets,
    traces::settings::Traces,
    units::{ByteSize, Listen, Span},
};

/// The configuration of pillion. Every section may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// The logs job: where records come in, what is done to them, where they go.
    pub logs: Logs,
    /// The traces job: where segments come in, where they go.
    pub traces: Traces,
    /// The metrics job: where metrics come from, where they go.
    pub metrics: Metrics,
    /// The secrets job: what is read, which files it becomes, who is told.
    pub secrets: Secrets,
    /// The agent's own HTTP address, for `/metrics`, `/healthz`, `/readyz` and `/status`.
    pub admin: Admin,
    /// Memory that undelivered records may take. Default: at most half of the container's memory limit. A value that does not
    /// fit into the limit with what the agent itself needs is refused; `pillion check` shows the numbers.
    pub memory: Option<ByteSize>,
    /// Where undelivered records go that memory does not hold, or that wait for long. Default: nowhere.
    pub spool: Spool,
    /// Time from SIGTERM to SIGKILL: the container's `stopTimeout`, 1s to 24h. Default 30s, as ECS does. One second of
    /// it is kept in spare. The variable `PILLION_STOP_TIMEOUT` goes before it.
    pub stop_timeout: Option<Span>,
    /// The tag of one record that the agent sends on the way of logs when it stops, for who asks afterwards why a task ended: versions,
    /// the task, why it stopped, what outputs said last, the books, versions of secrets. It needs an output whose `match` takes the
    /// tag. Default: none; the last line of the agent's own log says the same.
    pub stop_record: Option<String>,
    /// The agent's own log, on standard error.
    pub log: Log,
    /// AWS settings that all destinations share.
    pub aws: Aws,
    /// What the agent tells of its own work, besides `/metrics`. Default: nothing.
    pub telemetry: Telemetry,
}

/// Undelivered records on disk. Without a `path` there are none: what the agent cannot deliver before it ends is lost.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// A folder for this agent alone, made if need be. On a volume that outlives the task, records outlive it too; on the
    /// disk of a Fargate task they outlive only the container.
    pub path: Option<PathBuf>,
    /// Bytes on disk for all outputs together, at least 16 MiB for each output that keeps records. Default 1 GiB, and what
    /// outputs ask for themselves with `spool_bytes_max`.
    pub bytes_max: Option<ByteSize>,
    /// Which records are given up when that is not enough.
    pub when_full: WhenFull,
    /// With `true` the agent does not start if the folder cannot be used. Default `false`: it starts, says so, and keeps
    /// records in memory only.
    pub required: bool,
}

/// The agent's own HTTP address.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// IP address and port, or `"off"`. Default `127.0.0.1:9464`. Whoever reaches it can read counters and names, so
    /// leave it on the loopback address unless something outside of the task must scrape it.
    pub listen: Listen,
    /// `/healthz` turns bad when an output has had something to deliver, and delivered nothing, for so long. 1s to 24h, or
    /// `0s` to switch that off. Default 15m.
    pub stuck_after: Option<Span>,
}

/// The agent's own log.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least important messages that are written. Default `info`. The variables `PILLION_LOG_LEVEL` and
    /// `FLB_LOG_LEVEL` go before it.
    pub level: Option<Level>,
    /// How messages are written. Default: `human` on a terminal, else `json`.
    pub format: Option<Format>,
}

/// How important a message must be to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is written.
    Off,
    /// Someone must act.
    Error,
    /// The agent recovered, but you should know.
    Warn,
    /// A dozen lines in a healthy day.
    #[default]
    Info,
    /// For those who look for a fault in the agent.
    Debug,
    /// Everything.
    Trace,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// AWS settings that all destinations share.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// The region of destinations that name none. Default: `AWS_REGION`, `AWS_DEFAULT_REGION`, or where the task runs.
    pub region: Option<String>,
    /// A PEM file of certificate authorities to trust besides the usual ones. Default: `AWS_CA_BUNDLE` or
    /// `SSL_CERT_FILE`.
    pub ca_bundle: Option<PathBuf>,
    /// The address of all services that name none of their own, for what stands in for AWS on a laptop (moto, LocalStack). Default:
    /// `AWS_ENDPOINT_URL`, or each service's own.
    pub endpoint: Option<String>,
    /// Where roles are asked for, for private endpoints and tests. Default: `AWS_ENDPOINT_URL_STS`, or the region's own STS.
    pub sts_endpoint: Option<String>,
}

impl Level {
    /// The name of the level in lower case: `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of this name, ours or Fluent Bit's.
    pub fn parse(text: &str) -> Option<Self> {
        let levels = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let name = crate::fluentbit::level(text)?;
        levels.into_iter().find(|level| level.as_str() == name)
    }
}

/// The admin address if none is given.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);
/// What ECS waits between SIGTERM and SIGKILL if the task definition does not say otherwise.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How old an undelivered record may be before the agent calls itself unhealthy.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);
