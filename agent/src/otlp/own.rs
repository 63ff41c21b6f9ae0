//! Sends the agent's own spans to a backend of OTLP, with OpenTelemetry's exporter over our HTTP client.
//!
//! They do not go through `deliver`: a batch of them would make another span, and so on. So they are not on the books, are tried once, and what
//! becomes of them is counted.
//!
//! Promises: what waits when the agent ends is sent within the time that is left.
//! Never: makes a span; shows a header's value.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::USER_AGENT};
use opentelemetry::KeyValue;
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use prometheus::IntCounterVec;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    out::{self, Hidden, Target, TargetError},
    task::Task,
    value::entry,
    walk::Signal,
};
use crate::{
    ecs::Metadata,
    life::Life,
    net::http::{Bounds, HttpClient},
    tell::{RateLimited, chain},
};

/// Spans of a request, as in the SDK's own batches.
const BATCH_MAX: usize = 512;
/// How long a span waits for others, as there.
const LINGER: Duration = Duration::from_secs(5);
/// A request, and its answer.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), answer_bytes: 64 * 1024 };
/// What is left for the last request where the agent's time is used up.
const LAST: Duration = Duration::from_millis(300);
/// A warning, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the agent tells of its own work.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Spans of the agent's own work, to a backend of OTLP: one for each request to a destination (which, records, bytes, attempt, outcome, AWS's
    /// request id) and for each look at a secret (its name, version, outcome; nothing of its value). Default: none.
    pub traces: Option<Config>,
}

/// Where the agent's own spans go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the backend, as in `OTEL_EXPORTER_OTLP_ENDPOINT`, for example `http://127.0.0.1:4318`; `/v1/traces` is added to its path. By
    /// HTTP, protobuf. It may be the agent's own `otlp` input: then the outputs of `traces` make no spans, since each would make another.
    pub to: String,
    /// Headers of every request, for example a backend's key. Values are never shown.
    #[serde(default)]
    pub headers: BTreeMap<String, Hidden>,
}

/// Sends until it is ended.
#[derive(Debug)]
pub struct Exporting {
    task: JoinHandle<Option<()>>,
    closing: CancellationToken,
}

/// Our HTTP client as OpenTelemetry's exporter wants one.
#[derive(Debug)]
struct Client {
    http: HttpClient,
    headers: HeaderMap,
}

impl Config {
    fn backend(&self) -> out::Config {
        out::Config { endpoint: Some(self.to.clone()), headers: self.headers.clone(), ..out::Config::default() }
    }

    /// Where that is, with headers.
    pub fn target(&self) -> Result<(Target, HeaderMap), TargetError> {
        let backend = self.backend();
        Ok((Target::of(&backend, Signal::Traces)?.ok_or(TargetError::Missing)?, out::headers(&backend)?))
    }

    /// True if spans come back to one of `addresses`, on which we listen ourselves.
    pub fn is_at(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> bool {
        let Ok((target, _)) = self.target() else { return false };
        let Some(authority) = target.uri().authority() else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if target.uri().scheme_str() == Some("http") { 80 } else { 443 });
        let ip = if host == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { host.parse::<IpAddr>().ok() };
        addresses.into_iter().any(|address| {
            address.port() == port && ip.is_some_and(|ip| ip == address.ip() || ip.is_loopback() || ip.is_unspecified())
        })
    }
}

/// Begins to send what comes out of `spans`. A configuration that cannot work is said, and then spans are counted as dropped.
pub fn start(
    config: &Config,
    spans: mpsc::Receiver<SpanData>,
    task: &Metadata,
    http: &HttpClient,
    (life, outcomes): (&Life, &IntCounterVec),
) -> Option<Exporting> {
    let exporter = match exporter(config, task, http) {
        Ok(exporter) => exporter,
        Err(problem) => {
            warn!(problem, "the agent's own spans cannot be sent");
            return None;
        }
    };
    let closing = CancellationToken::new();
    let task = life.spawn("own spans", run(exporter, spans, outcomes.clone(), closing.clone()));
    Some(Exporting { task, closing })
}

impl Exporting {
    /// Sends what waits, until the `deadline`.
    pub async fn end(self, deadline: Instant) {
        self.closing.cancel();
        let deadline = deadline.max(Instant::now() + LAST);
        if timeout_at(deadline, self.task).await.is_err() {
            warn!("the agent's last own spans were not sent in time");
        }
    }
}

fn exporter(config: &Config, task: &Metadata, http: &HttpClient) -> Result<SpanExporter, String> {
    let (target, headers) = config.target().map_err(|error| chain(&error).to_string())?;
    // Headers are not given to the exporter, so that it cannot show them. What it would take from the environment is given here.
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { http: http.clone(), headers })
        .with_endpoint(target.uri().to_string())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(BOUNDS.time)
        .build();
    let mut exporter = exporter.map_err(|error| chain(&error).to_string())?;
    exporter.set_resource(&resource(task));
    Ok(exporter)
}

/// Who we are.
fn resource(task: &Metadata) -> Resource {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let task = Task::new(task);
    let known = task.messages().map(entry).map(|(name, value)| KeyValue::new(text(name), text(value.text())));
    let own = [KeyValue::new("service.name", "pillion"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    Resource::builder_empty().with_attributes(own.into_iter().chain(known)).build()
}

async fn run(
    exporter: SpanExporter,
    mut spans: mpsc::Receiver<SpanData>,
    outcomes: IntCounterVec,
    closing: CancellationToken,
) {
    let (warned, mut batch) = (RateLimited::new(WARN_EVERY), Vec::new());
    loop {
        let first = tokio::select! {
            first = spans.recv() => first,
            () = closing.cancelled(), if !spans.is_closed() => {
                // What has come still comes out.
                spans.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        batch.push(first);
        if spans.len() < BATCH_MAX - 1 {
            tokio::select! {
                () = sleep(LINGER) => {}
                () = closing.cancelled() => {}
            }
        }
        while batch.len() < BATCH_MAX
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        let count = batch.len() as u64;
        let outcome = match exporter.export(std::mem::take(&mut batch)).await {
            Ok(()) => "sent",
            Err(error) => {
                if let Some(suppressed) = warned.allow(Instant::now()) {
                    warn!(error = %chain(&error), spans = count, suppressed, "the agent's own spans were not taken");
                }
                "failed"
            }
        };
        outcomes.with_label_values(&[outcome]).inc_by(count);
    }
}

#[async_trait::async_trait]
impl opentelemetry_http::HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().insert(USER_AGENT, out::AGENT);
        request.headers_mut().extend(self.headers.clone());
        Ok(self.http.send_within(request, BOUNDS).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_to_itself_is_found_out() {
        let ours = [SocketAddr::from(([127, 0, 0, 1], 4317)), SocketAddr::from(([10, 0, 0, 7], 4318))];
        let is_at = |to: &str| Config { to: to.to_owned(), headers: BTreeMap::new() }.is_at(ours);
        for own in ["http://127.0.0.1:4317", "http://localhost:4318", "http://10.0.0.7:4318/x", "http://[::1]:4317"] {
            assert!(is_at(own), "{own}");
        }
        for other in [
            "http://127.0.0.1:9999",
            "https://otlp.example.com:4318",
            "http://10.0.0.8:4318",
            "https://localhost",
            "no address",
        ] {
            assert!(!is_at(other), "{other}");
        }
    }

    #[test]
    fn the_resource_says_who_we_are() {
        let arn = "arn:aws:ecs:eu-west-1:7:task/shop/8f";
        let resource = resource(&Metadata { task_arn: Some(arn.to_owned()), ..Metadata::default() });
        let said = |name: &'static str| resource.get(&name.into()).map(|value| value.to_string());
        assert_eq!(said("service.name").as_deref(), Some("pillion"));
        assert_eq!(said("aws.ecs.task.arn").as_deref(), Some(arn));
        assert_eq!(said("cloud.account.id").as_deref(), Some("7"));
    }
}
