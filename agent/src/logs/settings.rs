//! What the `logs` section of the configuration says: where records come from, what is done to them, where they go.
//!
//! Promises: values of these types have been checked; both our own YAML and Fluent Bit's files end here.
//! Never: reads a file or the environment.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;

use super::{
    filter::{grep, record_modifier},
    out::{cloudwatch, file},
    pattern::Pattern,
};
use crate::{
    deliver::ack::AckLevel,
    otlp,
    units::{ByteSize, Listen, Permissions},
};

/// The logs job.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Where records come in. Default: the FireLens socket `/var/run/fluent.sock` and TCP 127.0.0.1:24224.
    pub inputs: Vec<Input>,
    /// What is done to records on the way, in this order.
    pub filters: Vec<Filter>,
    /// Where records go. A record goes to every output whose `match` fits its tag.
    pub outputs: Vec<Output>,
}

impl Logs {
    /// True if a sender waits until its records are on disk.
    pub fn copies_at_once(&self) -> bool {
        let ack = |input: &Input| match input {
            Input::Forward(forward) => forward.ack,
            Input::Otlp(otlp) => otlp.ack,
            Input::Json(_) | Input::Emf(_) => AckLevel::Accepted,
        };
        self.inputs.iter().any(|input| ack(input) == AckLevel::Spooled)
    }

    /// The inputs for OTLP.
    pub fn otlp(&self) -> impl Iterator<Item = &otlp::input::Config> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Otlp(otlp) => Some(otlp),
            Input::Forward(_) | Input::Json(_) | Input::Emf(_) => None,
        })
    }

    /// Names of the groups of CloudWatch Logs that records go to, whatever is in them; each once.
    pub fn groups(&self) -> Vec<String> {
        let mut groups = Vec::new();
        for output in &self.outputs {
            if let Destination::Cloudwatch(config) = &output.to
                && config.group_template.is_none()
                && let Some(group) = config.group.as_ref().filter(|group| !group.contains('$'))
                && !groups.contains(group)
            {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// The outputs that keep records until they are delivered: those that have a share of the memory and of the disk.
    pub fn keeping(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| output.to.keeps_records())
    }
}

/// A place where records come in.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Fluent Forward, the protocol of Docker's `fluentd` log driver and of the fluent-logger libraries.
    Forward(Forward),
    /// JSON objects over TCP, one after another.
    Json(Json),
    /// CloudWatch's embedded metric format, as AWS's libraries send it to an agent.
    Emf(Emf),
    /// Records by OTLP, as OpenTelemetry's SDKs send them, with the tag `otlp`.
    Otlp(otlp::input::Config),
}

/// Settings of a `forward` input.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Forward {
    /// Path of the unix socket. A stale socket there is replaced; anything else there is an error.
    pub unix: Option<PathBuf>,
    /// Address of the TCP listener, for example `127.0.0.1:24224`. Give `unix`, `tcp` or both.
    pub tcp: Option<SocketAddr>,
    /// Permission bits of the unix socket, octal, for example `"0660"`. Default: what the umask leaves.
    pub unix_permissions: Option<Permissions>,
    /// A tag for all records of this input, in place of their own.
    pub tag: Option<String>,
    /// Text to put before each record's tag.
    pub tag_prefix: Option<String>,
    /// Clients must prove that they know this key before they may send.
    pub shared_key: Option<Secret>,
    /// The name we give ourselves in the handshake. Default `localhost`.
    pub self_hostname: Option<String>,
    /// Users of whom one must log in. Needs `shared_key`.
    pub users: Vec<User>,
    /// What it means that a message's `chunk` is acknowledged: its records are `accepted` (default: in memory), `spooled`
    /// (on disk or delivered; needs `spool.path`, and has all records copied to disk at once) or `delivered`. If one of
    /// them is lost, no acknowledgement is given, and the sender may send the message again.
    pub ack: AckLevel,
    /// The largest message taken, before and after decompression. Default 6144000 bytes. A larger one closes its
    /// connection.
    pub message_bytes_max: Option<ByteSize>,
}

/// A user of the forward handshake.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Settings of a `json` input.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Address of the TCP listener, for example `127.0.0.1:8877`.
    pub tcp: SocketAddr,
    /// The tag that the records get.
    pub tag: String,
}

/// Settings of an `emf` input. A document is sent as it is: a CloudWatch output puts it into the log group that it names, and there
/// CloudWatch makes metrics of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Emf {
    /// Address of the TCP listener, or `"off"`. Default `127.0.0.1:25888`.
    pub tcp: Listen,
    /// Address of the UDP socket, or `"off"`. Default `127.0.0.1:25888`.
    pub udp: Listen,
    /// The tag that documents get. Default `emf`.
    pub tag: Option<String>,
    /// The log group of documents that name none, as those of libraries that see FireLens. Default: the group of the output that
    /// they go to.
    pub log_group: Option<String>,
    /// Whether a document's own `LogGroupName` and `LogStreamName` say where it goes, or the outputs alone. A group that does not
    /// exist needs an output with `auto_create_group`.
    pub routing: Routing,
}

/// Who says where a document goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// The document, if it does.
    #[default]
    Document,
    /// The outputs.
    Output,
}

impl Emf {
    /// Where AWS's libraries send.
    const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25888);

    /// Where it listens for connections.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.address(Self::ADDRESS)
    }

    /// Where it listens for datagrams.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp.address(Self::ADDRESS)
    }

    /// The tag that documents get.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("emf")
    }
}

/// A step between inputs and outputs.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Keeps or drops records by what a field holds.
    Grep(grep::Config),
    /// Adds and removes fields.
    RecordModifier(record_modifier::Config),
}

/// A destination and the records that go there.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The tags whose records go here. `*` stands for any text. Default: all of them.
    #[serde(default, rename = "match")]
    pub pattern: Pattern,
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
    /// Amazon CloudWatch Logs.
    Cloudwatch(Box<cloudwatch::Config>),
    /// Files in a folder, one JSON line a record.
    File(file::Config),
    /// Nowhere: records are taken and forgotten, as asked.
    Discard(Discard),
    /// A kind that this version does not have, from a Fluent Bit file: its records count as lost with the reason
    /// `output_not_supported`.
    #[serde(skip)]
    Unsupported {
        /// What the file called it.
        plugin: String,
    },
}

impl Destination {
    /// True if it keeps records until they are delivered. The others need neither memory nor disk.
    pub fn keeps_records(&self) -> bool {
        !matches!(self, Self::Discard(_) | Self::Unsupported { .. })
    }

    /// The kind's name, as in the configuration.
    pub fn kind(&self) -> &str {
        match self {
            Self::Cloudwatch(_) => "cloudwatch",
            Self::File(_) => "file",
            Self::Discard(_) => "discard",
            Self::Unsupported { plugin } => plugin,
        }
    }
}

/// The `discard` destination has no settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Discard {}

/// A value that is never shown.
#[derive(Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
