//! What the `traces` section of the configuration says.
//!
//! Promises: values of these types have been checked, field by field.
//! Never: checks one field against another; `config` does.

use std::{net::SocketAddr, sync::Arc};

use serde::Deserialize;

use super::{out::xray, proxy::Service, sampling::Sampling};
use crate::{
    deliver::{ack::AckLevel, outputs},
    otlp,
    units::{ByteSize, Listen},
};

/// The traces job. Without `inputs` there is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Where segments come in. Default: nowhere.
    pub inputs: Vec<Input>,
    /// Where segments go; each goes to every output. Default: AWS X-Ray, in the region of the task.
    pub outputs: Vec<Output>,
    /// Which spans that come by OTLP are sent on. Default: all. Segments of the X-Ray daemon's port are not sampled here.
    pub sampling: Option<Sampling>,
}

/// A place where segments come in.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The protocol of the X-Ray daemon.
    Xray(Xray),
    /// OTLP, as OpenTelemetry's SDKs send it.
    Otlp(otlp::input::Config),
}

/// Settings of an `xray` input.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Xray {
    /// Address of the UDP socket. Default `127.0.0.1:2000`, where SDKs send if `AWS_XRAY_DAEMON_ADDRESS` says nothing else.
    pub udp: Option<SocketAddr>,
    /// Bytes that the kernel may keep until they are read, 64 KiB to 64 MiB; it gives no more than the host's
    /// `net.core.rmem_max`. Default 4 MiB.
    pub receive_bytes: Option<ByteSize>,
    /// Address of the TCP port through which SDKs ask X-Ray for sampling rules and targets, or `"off"`. Default: `127.0.0.1`
    /// and the port of `udp`. Who reaches it can ask in the task's name, but just for what is on its list.
    pub tcp: Listen,
    /// What is passed on there, and as whom.
    pub proxy: Proxy,
}

/// What is passed on from the TCP port.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// The region that is asked. Default: that of the first `xray` output, else that of the task.
    pub region: Option<String>,
    /// A role to ask as. Default: that of the first `xray` output, else the task's own. It needs `xray:GetSamplingRules`,
    /// `xray:GetSamplingTargets` and `xray:GetSamplingStatisticSummaries`.
    pub role_arn: Option<String>,
    /// Another address of X-Ray. Default: that of the first `xray` output.
    pub endpoint: Option<String>,
    /// Another address of Application Signals.
    pub application_signals_endpoint: Option<String>,
    /// More paths that are passed on, besides `/GetSamplingRules`, `/SamplingTargets` and `/SamplingStatisticSummaries`. At
    /// most 32.
    pub allow: Vec<Allowed>,
}

impl Proxy {
    /// What it leaves open is as in the first of the `outputs` to X-Ray.
    pub fn beside(mut self, outputs: &[Output]) -> Self {
        let mut to_x_ray = outputs.iter().filter_map(|output| match &output.to {
            Destination::Xray(config) => Some(config),
            Destination::Otlp(_) => None,
        });
        if let Some(first) = to_x_ray.next() {
            self.region = self.region.or_else(|| first.region.clone());
            self.role_arn = self.role_arn.or_else(|| first.role_arn.clone());
            self.endpoint = self.endpoint.or_else(|| first.endpoint.clone());
        }
        self
    }
}

/// A path that is passed on.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// The path, to the letter and without a query, for example `/GetTraceSegmentDestination`.
    pub path: String,
    /// The service that it is for. `/list-instrumentation-configurations` and
    /// `/report-instrumentation-configuration-status` are for `application-signals`. Default `xray`.
    #[serde(default)]
    pub service: Service,
}

impl Xray {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.udp.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 2000)))
    }

    /// Where the TCP port is, if there is one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.address(SocketAddr::from(([127, 0, 0, 1], self.address().port())))
    }

    /// Bytes that the kernel may keep.
    pub fn receive(&self) -> ByteSize {
        self.receive_bytes.unwrap_or(ByteSize::mebibytes(4))
    }
}

/// A destination of segments.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name on `/metrics` and in our own log. Default: the kind and its number, for example `xray.0`.
    #[serde(default)]
    pub name: Option<String>,
    /// Bytes of the spool for this output, at least 16 MiB. Default: an equal part of what `spool.bytes_max` leaves to the
    /// outputs that do not say.
    #[serde(default)]
    pub spool_bytes_max: Option<ByteSize>,
    /// Whether what `xray` inputs take goes to this output. `xray` gets the segments as they came; for `otlp` they become spans (one for each
    /// segment and subsegment that is complete). Default: true for `xray`; for `otlp` true if there is no `xray` output.
    #[serde(default)]
    pub segments: Option<bool>,
    /// The destination.
    pub to: Destination,
    /// The number of the output that says with `xray.spans` that it has this one beside it.
    #[serde(skip)]
    pub beside: Option<usize>,
}

/// The kinds of destinations.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// AWS X-Ray.
    Xray(xray::Config),
    /// Any backend that takes OTLP.
    Otlp(Box<otlp::out::Config>),
}

impl Output {
    /// How spans go to this output, if it is one that can choose.
    pub fn spans(&self) -> xray::Spans {
        match &self.to {
            Destination::Xray(config) => config.spans,
            Destination::Otlp(_) => xray::Spans::Segments,
        }
    }

    /// True if what `xray` inputs take goes there, being one of `outputs`.
    pub fn takes_segments(&self, outputs: &[Self]) -> bool {
        let is_xray = |output: &Self| matches!(output.to, Destination::Xray(_));
        self.segments.unwrap_or_else(|| is_xray(self) || !outputs.iter().any(is_xray))
    }
}

impl Destination {
    /// The kind's name, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Xray(_) => "xray",
            Self::Otlp(_) => "otlp",
        }
    }
}

impl Traces {
    /// True if an input wants what comes to be copied to disk at once.
    pub fn copies_at_once(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Otlp(otlp) if otlp.ack == AckLevel::Spooled))
    }

    /// True if the task's metadata fills what spans do not say.
    pub fn needs_task(&self) -> bool {
        let spans = self.otlp().next().is_some();
        let segments = self.inputs.iter().any(|input| matches!(input, Input::Xray(_)));
        let outputs = self.running();
        outputs.iter().any(|output| match &output.to {
            // Segments that go to X-Ray stay as they came.
            Destination::Xray(config) => spans && config.fill_from_task.unwrap_or(true),
            Destination::Otlp(config) => (spans || segments && output.takes_segments(&outputs)) && config.fills(),
        })
    }

    /// The inputs for OTLP.
    pub fn otlp(&self) -> impl Iterator<Item = &otlp::input::Config> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Otlp(otlp) => Some(otlp),
            Input::Xray(_) => None,
        })
    }

    /// The outputs, if anything can come in: the default one if none is named, and behind them those that `xray.spans` asks for.
    pub fn running(&self) -> Vec<Output> {
        let mut outputs = self.named();
        if self.otlp().next().is_none() {
            return outputs;
        }
        let names = names(&outputs);
        let beside = outputs.iter().zip(names).enumerate().filter_map(|(number, (output, name))| {
            let Destination::Xray(config) = &output.to else { return None };
            let to = Destination::Otlp(Box::new(config.by_otlp()));
            let beside = Output {
                name: Some(format!("{name}.otlp")),
                spool_bytes_max: output.spool_bytes_max,
                segments: Some(false),
                to,
                beside: Some(number),
            };
            (config.spans != xray::Spans::Segments).then_some(beside)
        });
        let beside: Vec<_> = beside.collect();
        outputs.extend(beside);
        outputs
    }

    /// The outputs that the user named, or the default one.
    fn named(&self) -> Vec<Output> {
        if self.inputs.is_empty() {
            return Vec::new();
        }
        if !self.outputs.is_empty() {
            return self.outputs.clone();
        }
        let to = Destination::Xray(xray::Config::default());
        vec![Output { name: None, spool_bytes_max: None, segments: None, to, beside: None }]
    }

    /// Segments point to these `groups` of CloudWatch Logs, unless the user named others.
    pub fn link_to_logs(&mut self, groups: &[String]) {
        self.outputs = self.named();
        for output in &mut self.outputs {
            if let Destination::Xray(config) = &mut output.to
                && config.log_groups.is_empty()
            {
                config.log_groups = groups.to_vec();
            }
        }
    }
}

/// The names of outputs: their own, else the kind and its number.
pub fn names(outputs: &[Output]) -> Vec<Arc<str>> {
    outputs::names(outputs.iter().map(|output| (output.to.kind(), output.name.as_deref())))
}
