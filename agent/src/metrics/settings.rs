//! What the `metrics` section of the configuration says.
//!
//! Promises: values of these types have been checked, field by field.
//! Never: checks one field against another; `config` does.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    declared::{Declaration, Declared},
    out::{cloudwatch, emf},
    queue::settings::Queue,
    scrape::settings::Scrape,
    statsd::mapping,
    store::policy::{Dimensions, Policy},
    task::settings::TaskStats,
};
use crate::{
    otlp::{input, out},
    tally::Rule,
    units::{ByteSize, Count, Listen, Permissions, Span},
};

/// The namespace if nobody names another one.
pub const NAMESPACE: &str = "ECS/Sidecar";
/// Upper bounds of histograms on `/metrics`, in seconds for durations: those of Prometheus' clients.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The label that says whose record it was.
pub const CONTAINER: &str = "container";
/// The label that says its level.
pub const LEVEL: &str = "level";
/// Stands for all labels in a list of dimensions.
pub const ALL: &str = "*";

/// The metrics job. Without `inputs` there is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where metrics come from. All of them are on the agent's own `/metrics`. Default: nowhere.
    pub inputs: Vec<Input>,
    /// Where they are sent besides; each goes to every output. Default: nowhere.
    pub outputs: Vec<Output>,
    /// How often outputs get what was gathered, 1s to 1h, at full multiples since midnight UTC. Default 60s: CloudWatch charges by
    /// request, and keeps minutes unless `high_resolution` is asked for.
    pub flush_every: Option<Span>,
    /// A series that nobody wrote to for so long is forgotten, 1m to 7d; a counter that comes back begins at 0 on `/metrics`. Default 1h.
    pub forget_after: Option<Span>,
}

/// A place where metrics come from.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// StatsD and DogStatsD.
    Statsd(Box<Statsd>),
    /// Documents of CloudWatch's embedded metric format, which come to an `emf` input of the logs.
    Emf(Emf),
    /// What the logs job's records count.
    Logs(Box<Records>),
    /// OTLP, as OpenTelemetry's SDKs send it.
    Otlp(Box<Otlp>),
    /// What the app exposes for Prometheus.
    Scrape(Box<Scrape>),
    /// What the task and its containers use.
    Task(TaskStats),
    /// The backlog of a queue, for scaling.
    Queue(Box<Queue>),
}

/// How the series of an input are published.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The namespace in CloudWatch, 1 to 255 characters. Default `ECS/Sidecar`.
    pub namespace: Option<String>,
    /// Labels that are dimensions in CloudWatch, or `["*"]` for all (30 at most). Every combination of their values is a metric that
    /// costs money; what is no dimension is added up, and stays on `/metrics`. Default: none.
    pub dimensions: Vec<String>,
    /// In place of `dimensions`: which metrics are CloudWatch's, and in which sets of dimensions, at most 64. What none of these selects
    /// is on `/metrics` alone.
    pub declarations: Vec<Declaration>,
    /// Dimensions with a value that is always the same, for example `{Service: cart}`.
    pub fixed_dimensions: BTreeMap<String, String>,
    /// Whether CloudWatch keeps what it gets by the second for three hours (`StorageResolution` 1). It still gets a value for each
    /// `flush_every`. Default: false.
    pub high_resolution: bool,
    /// How many series there may be, 1 to 1000000. Of those beyond, one per name is kept, with the label `overflow="true"`.
    /// Default 10000.
    pub series_max: Option<Count<1, 1_000_000>>,
    /// Upper bounds of histograms on `/metrics`, rising, at most 64. Default: 0.005 to 10 as Prometheus' clients have them.
    pub buckets: Vec<f64>,
}

/// Settings of a `statsd` input.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Statsd {
    /// Address of the UDP socket, or `"off"`. Default `127.0.0.1:8125`.
    pub udp: Listen,
    /// Path of a unix socket for datagrams. Who writes to it is held up rather than robbed where it writes too fast.
    pub unix: Option<PathBuf>,
    /// Path of a unix stream socket, where each packet has its length before it (4 bytes, the least first).
    pub unix_stream: Option<PathBuf>,
    /// Permission bits of the unix sockets, octal. Default `"0666"`: the app's user is another one.
    pub unix_permissions: Option<Permissions>,
    /// Bytes that the kernel may keep until they are read, 64 KiB to 64 MiB; it gives no more than the host's
    /// `net.core.rmem_max`. Default 4 MiB.
    pub receive_bytes: Option<ByteSize>,
    /// How its series are published.
    pub publish: Publish,
    /// Rules for other names and labels; the first that matches counts. At most 256.
    pub mappings: Vec<mapping::Rule>,
    /// Whether a value with a sign moves a gauge, as StatsD says. Write `false` for clients of Datadog that send negative values.
    /// Default: true.
    pub signs_move_gauges: Option<bool>,
    /// Whether what Datadog's clients say of themselves (`datadog.dogstatsd.client.*`) is taken. Default: false.
    pub client_metrics: bool,
}

/// Settings of an `emf` input. Namespaces and dimensions are the documents' own.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Emf {
    /// Who brings the metrics in documents to CloudWatch.
    pub deliver: Deliver,
    /// Whether documents are looked for in records of other inputs of the logs, too, in their field `log`: so they come on the standard
    /// output of containers. The records go on as they are. Default: false.
    pub in_records: bool,
    /// How many series there may be, 1 to 1000000. Of those beyond, one per name is kept, with the label `overflow="true"`.
    /// Default 10000.
    pub series_max: Option<Count<1, 1_000_000>>,
    /// Upper bounds of histograms on `/metrics`, rising, at most 64. Default: 0.005 to 10 as Prometheus' clients have them.
    pub buckets: Vec<f64>,
}

/// Who brings the metrics in documents to CloudWatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Deliver {
    /// The logs: CloudWatch takes them out of there. Here they are shown on `/metrics`.
    #[default]
    Logs,
    /// The outputs for metrics. A document without a mistake that came to an `emf` input of the logs goes to no output for logs.
    Metrics,
}

/// Settings of a `logs` input: what is counted of the records that the logs job takes, before filters leave any out.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    /// Whether records are counted by container and level, as `log_records_total{container=..,level=..}`. Default: true.
    pub levels: Option<bool>,
    /// What else is counted, at most 64 rules. Each series has the label `container`.
    pub rules: Vec<Rule>,
    /// How its series are published. Here `dimensions` is `[container, level]` by default; name rules' labels there too, where they are to
    /// be dimensions.
    pub publish: Publish,
}

/// Settings of an `otlp` input.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// Where it listens. What it says of `ack` is of no interest for metrics, which are in memory until they are flushed.
    pub listen: input::Config,
    /// How its series are published. Names and labels are OpenTelemetry's, for example `service.name`.
    pub publish: Publish,
    /// Attributes of the resource that become labels. Default: `[service.name]`.
    pub resource_labels: Option<Vec<String>>,
}

/// A destination of metrics.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name on `/metrics` and in our own log. Default: the kind and its number, for example `cloudwatch.0`.
    #[serde(default)]
    pub name: Option<String>,
    /// Bytes of the spool for this output, at least 16 MiB. Default: an equal part of what `spool.bytes_max` leaves to the
    /// outputs that do not say.
    #[serde(default)]
    pub spool_bytes_max: Option<ByteSize>,
    /// The destination.
    pub to: Destination,
}

/// The kinds of destinations.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Amazon CloudWatch (`PutMetricData`).
    Cloudwatch(cloudwatch::Config),
    /// Amazon CloudWatch Logs, as documents of the embedded metric format: they go to an output of the logs.
    Emf(emf::Config),
    /// Any backend that takes OTLP: all series with all labels, as they are on `/metrics`.
    Otlp(Box<out::Config>),
}

impl Destination {
    /// The kind's name, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cloudwatch(_) => "cloudwatch_metrics",
            Self::Emf(_) => "emf_metrics",
            Self::Otlp(_) => "otlp_metrics",
        }
    }
}

impl Output {
    /// True if it keeps what it is given until it is delivered; documents are kept by an output of the logs.
    pub fn keeps(&self) -> bool {
        !matches!(self.to, Destination::Emf(_))
    }
}

impl Input {
    /// The namespace that its metrics go to; `None` where documents name theirs, or go by the logs.
    pub fn namespace(&self) -> Option<&str> {
        let named = match self {
            Self::Statsd(statsd) => &statsd.publish.namespace,
            Self::Otlp(otlp) => &otlp.publish.namespace,
            Self::Scrape(scrape) => &scrape.publish.namespace,
            Self::Logs(records) => &records.publish.namespace,
            Self::Queue(queue) => &queue.namespace,
            Self::Task(task) => return task.namespace_of_events().is_none().then(|| task.namespace()),
            Self::Emf(_) => return None,
        };
        Some(named.as_deref().unwrap_or(NAMESPACE))
    }

    /// The name on `/metrics`: the kind and its number.
    pub fn name(&self, number: usize) -> String {
        match self {
            Self::Statsd(_) => format!("statsd.{number}"),
            Self::Emf(_) => format!("emf.{number}"),
            Self::Logs(_) => format!("logs.{number}"),
            Self::Otlp(_) => format!("otlp.{number}"),
            Self::Scrape(_) => format!("scrape.{number}"),
            Self::Task(_) => format!("task.{number}"),
            Self::Queue(_) => format!("queue.{number}"),
        }
    }
}

impl Metrics {
    /// The outputs, if anything can come in.
    pub fn running(&self) -> &[Output] {
        if self.inputs.is_empty() { &[] } else { &self.outputs }
    }

    /// The outputs that keep what they are given until it is delivered.
    pub fn keeping(&self) -> impl Iterator<Item = &Output> {
        self.running().iter().filter(|output| output.keeps())
    }

    /// True if an input must know who we are.
    pub fn needs_task(&self) -> bool {
        let is_incomplete =
            |queue: &Queue| queue.cluster.is_none() || queue.service.is_none() || queue.publishers.is_some();
        let fills = |output: &Output| matches!(&output.to, Destination::Otlp(config) if config.fills());
        let asks = |input: &Input| match input {
            Input::Queue(queue) => is_incomplete(queue),
            Input::Task(task) => task.performance_events.is_some(),
            _ => false,
        };
        self.inputs.iter().any(asks) || self.running().iter().any(fills)
    }

    /// How often outputs get what was gathered.
    pub fn flush_every(&self) -> Duration {
        self.flush_every.map_or(Duration::from_secs(60), |every| every.0)
    }

    /// How long a series is kept that nobody writes to.
    pub fn forget_after(&self) -> Duration {
        self.forget_after.map_or(Duration::from_secs(3_600), |after| after.0)
    }

    /// How many series there may be.
    pub fn series_max(&self) -> usize {
        let of = |input: &Input| match input {
            Input::Statsd(statsd) => statsd.publish.series_max(),
            Input::Emf(emf) => emf.publish().series_max(),
            Input::Logs(records) => records.publish.series_max(),
            Input::Otlp(otlp) => otlp.publish.series_max(),
            Input::Scrape(scrape) => scrape.publish.series_max().saturating_mul(scrape.targets_counted()),
            // A few of each container, and of each queue.
            Input::Task(_) => 1_000,
            Input::Queue(_) => 5,
        };
        self.inputs.iter().map(of).sum()
    }
}

impl Metrics {
    /// The inputs for OTLP.
    pub fn otlp(&self) -> impl Iterator<Item = &input::Config> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Otlp(otlp) => Some(&otlp.listen),
            _ => None,
        })
    }
}

impl Emf {
    /// How its series are published.
    pub fn publish(&self) -> Publish {
        Publish { series_max: self.series_max, buckets: self.buckets.clone(), ..Publish::default() }
    }
}

impl Records {
    /// How its series are published.
    pub fn publish(&self) -> Publish {
        let mut publish = self.publish.clone();
        if publish.dimensions.is_empty() && publish.declarations.is_empty() {
            // There are few of both, and a sum over them says little.
            publish.dimensions = [CONTAINER, LEVEL].map(str::to_owned).into();
        }
        publish
    }
}

impl Otlp {
    /// Attributes of the resource that become labels.
    pub fn resource_labels(&self) -> Vec<String> {
        self.resource_labels.clone().unwrap_or_else(|| vec!["service.name".to_owned()])
    }
}

impl Publish {
    /// How many series there may be, without those that stand for others.
    pub fn series_max(&self) -> usize {
        self.series_max.map_or(10_000, |most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }

    /// The policy that this says. Without outputs nothing is gathered for them.
    pub fn policy(&self, has_outputs: bool) -> Policy {
        let all = self.dimensions.iter().any(|name| name == ALL);
        let dimensions = match Declared::new(&self.declarations) {
            // Whether they are expressions was looked at before.
            Ok(declared) if !self.declarations.is_empty() => Dimensions::Declared(declared),
            _ if all => Dimensions::All,
            _ => Dimensions::Named(self.dimensions.clone()),
        };
        Policy {
            is_sent: has_outputs,
            namespace: self.namespace.as_deref().unwrap_or(NAMESPACE).into(),
            dimensions,
            fixed: self.fixed_dimensions.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            is_high_resolution: self.high_resolution,
            series_max: self.series_max(),
            buckets: if self.buckets.is_empty() { BUCKETS.into() } else { self.buckets.as_slice().into() },
        }
    }
}

impl Statsd {
    /// Where UDP is taken, if at all.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp.address(SocketAddr::from(([127, 0, 0, 1], 8125)))
    }

    /// Bytes that the kernel may keep.
    pub fn receive(&self) -> ByteSize {
        self.receive_bytes.unwrap_or(ByteSize::mebibytes(4))
    }

    /// Permission bits of the unix sockets.
    pub fn permissions(&self) -> u32 {
        self.unix_permissions.map_or(0o666, |permissions| permissions.0)
    }
}
