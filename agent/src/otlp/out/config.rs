//! Settings of an output that speaks OTLP.
//!
//! Promises: a header's value is never shown.
//! Never: checks one field against another; `config` does.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;

use crate::{ecs::Metadata, otlp::task::Task, units::Span};

/// Settings of the `otlp` output.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the backend, as in `OTEL_EXPORTER_OTLP_ENDPOINT`: `https://otlp.example.com` or `http://127.0.0.1:4318`; by HTTP
    /// `/v1/traces` or `/v1/metrics` is added to its path. Default: AWS's own endpoint, if `aws` is given.
    pub endpoint: Option<String>,
    /// The whole URL, in place of `endpoint`, as in `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. HTTP only.
    pub traces_endpoint: Option<String>,
    /// The same for metrics, as in `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`.
    pub metrics_endpoint: Option<String>,
    /// `http` (default; protobuf over HTTP/1.1) or `grpc`.
    pub protocol: Protocol,
    /// `gzip` (default) or `none`.
    pub compression: Compression,
    /// Headers of every request, for example a backend's key. Values are never shown.
    pub headers: BTreeMap<String, Hidden>,
    /// Time for one request, answer included, 1s to 60s. Default 10s.
    pub timeout: Span,
    /// Signs requests for AWS. Alone, without `endpoint`, it is AWS's own OTLP endpoint: for spans X-Ray's, which needs Transaction
    /// Search, for metrics CloudWatch's.
    pub aws: Option<Aws>,
    /// Whether what a resource does not say of its task (account, region, cluster, task, zone) is filled in from the task's metadata; what it
    /// says stays. Turn it off if data of other tasks comes in, too. Default: true.
    pub fill_from_task: Option<bool>,
}

/// How requests are signed for AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// The service that the signature is for, for example `osis`. Default: `xray` for spans, `monitoring` for metrics.
    pub service: Option<String>,
    /// Default: that of the task.
    pub region: Option<String>,
    /// A role to send as. Default: the task's own. X-Ray wants `xray:PutSpans` and `xray:PutSpansForIndexing`,
    /// CloudWatch `cloudwatch:PutMetricData`.
    pub role_arn: Option<String>,
}

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Protobuf in HTTP/1.1.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// A value that is never shown.
#[derive(Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Hidden(String);

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            traces_endpoint: None,
            metrics_endpoint: None,
            protocol: Protocol::default(),
            compression: Compression::default(),
            headers: BTreeMap::new(),
            timeout: Span(Duration::from_secs(10)),
            aws: None,
            fill_from_task: None,
        }
    }
}

impl Config {
    /// What fills the gaps of resources.
    pub fn task(&self, task: &Metadata) -> Task {
        if self.fills() { Task::new(task) } else { Task::default() }
    }

    /// Whether gaps are filled.
    pub fn fills(&self) -> bool {
        self.fill_from_task.unwrap_or(true)
    }
}

impl Hidden {
    /// The value, for the one who sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}
