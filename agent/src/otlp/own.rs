//! Sends the agent's own spans to a backend of OTLP, with OpenTelemetry's exporter over our HTTP client.
//!
//! They do not go through `deliver`: a batch of them would make another span, and so on. So they are not on the books, are tried once, and what
//! becomes of them is counted.
//!
//! Promises: what waits when the agent ends is sent within the time that is left, and what then is left is counted as dropped.
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
    trace::{SpanData, SpanExporter as Exports},
};
use prometheus::IntCounterVec;
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
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Spans of the agent's own work, to a backend of OTLP: one for each request to a destination (which, records, bytes, attempt, outcome, AWS's
    /// request id) and for each look at a secret (its name, version, outcome; nothing of its value). Default: none.
    pub traces: Option<Config>,
}

/// Where the agent's own spans go.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    Some(Exporting::begin(exporter, Waiting::new(spans, outcomes), life))
}

impl Exporting {
    fn begin(exporter: impl Exports + 'static, waiting: Waiting, life: &Life) -> Self {
        let closing = CancellationToken::new();
        let task = life.spawn("own spans", run(exporter, waiting, closing.clone()));
        Self { task, closing }
    }

    /// Sends what waits, until the `deadline`.
    pub async fn end(mut self, deadline: Instant) {
        self.closing.cancel();
        let deadline = deadline.max(Instant::now() + LAST);
        if timeout_at(deadline, &mut self.task).await.is_err() {
            warn!("the agent's last own spans were not sent in time");
            // What is left is counted as the task lets go of it.
            self.task.abort();
            let _ = self.task.await;
        }
    }
}

/// Spans that were not sent yet.
struct Waiting {
    spans: mpsc::Receiver<SpanData>,
    /// Those of the request that is under way.
    sending: usize,
    outcomes: IntCounterVec,
}

impl Waiting {
    fn new(spans: mpsc::Receiver<SpanData>, outcomes: &IntCounterVec) -> Self {
        Self { spans, sending: 0, outcomes: outcomes.clone() }
    }

    fn settle(&mut self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc_by(std::mem::take(&mut self.sending) as u64);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.spans.close();
        self.sending += self.spans.len();
        self.settle("dropped");
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

async fn run(exporter: impl Exports, mut waiting: Waiting, closing: CancellationToken) {
    let warned = RateLimited::new(WARN_EVERY);
    loop {
        let first = tokio::select! {
            first = waiting.spans.recv() => first,
            () = closing.cancelled(), if !waiting.spans.is_closed() => {
                // What has come still comes out.
                waiting.spans.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        // Counted from here on, whatever ends the wait.
        waiting.sending = 1;
        let mut batch = vec![first];
        if waiting.spans.len() < BATCH_MAX - 1 {
            tokio::select! {
                () = sleep(LINGER) => {}
                () = closing.cancelled() => {}
            }
        }
        while batch.len() < BATCH_MAX
            && let Ok(span) = waiting.spans.try_recv()
        {
            batch.push(span);
        }
        waiting.sending = batch.len();
        let outcome = match exporter.export(batch).await {
            Ok(()) => "sent",
            Err(error) => {
                if let Some(suppressed) = warned.allow(Instant::now()) {
                    let spans = waiting.sending;
                    warn!(error = %chain(&error), spans, suppressed, "the agent's own spans were not taken");
                }
                "failed"
            }
        };
        waiting.settle(outcome);
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
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;
    use prometheus::{IntCounter, Opts};

    use super::*;
    use crate::tell::spans::Spans;

    /// Takes requests, and notes how many spans they had and when they came; one that is stuck never answers.
    #[derive(Clone, Debug, Default)]
    struct Noting {
        seen: Arc<Mutex<Vec<(usize, Instant)>>>,
        is_stuck: bool,
    }

    impl Exports for Noting {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.seen.lock().unwrap().push((batch.len(), Instant::now()));
            if self.is_stuck {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }

    fn outcomes() -> IntCounterVec {
        IntCounterVec::new(Opts::new("own", "own"), &["outcome"]).unwrap()
    }

    /// So many spans that wait. Nothing more comes.
    fn waiting(count: usize, outcomes: &IntCounterVec) -> Waiting {
        let (spans, ended) = Spans::new(IntCounter::new("dropped", "dropped").unwrap());
        (0..count).for_each(|_| spans.begin("deliver").end("delivered", true));
        Waiting::new(ended, outcomes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_request_leaves_at_once_and_what_is_less_waits_for_others() {
        let (at_once, later) = (Duration::ZERO, LINGER);
        for (count, expected) in [
            (1, vec![(1, later)]),
            (511, vec![(511, later)]),
            (512, vec![(512, at_once)]),
            (513, vec![(512, at_once), (1, later)]),
            (1_536, vec![(512, at_once), (512, at_once), (512, at_once)]),
        ] {
            let (exporter, outcomes, began) = (Noting::default(), outcomes(), Instant::now());
            run(exporter.clone(), waiting(count, &outcomes), CancellationToken::new()).await;
            let seen: Vec<_> = exporter.seen.lock().unwrap().iter().map(|&(spans, at)| (spans, at - began)).collect();
            assert_eq!(seen, expected, "{count}");
            assert_eq!(outcomes.with_label_values(&["sent"]).get(), count as u64);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_spans_leave_when_the_agent_ends_and_what_is_left_is_counted() {
        for (is_stuck, (sent, dropped)) in [(false, (700, 0)), (true, (0, 700))] {
            let (exporter, outcomes, life) = (Noting { is_stuck, ..Noting::default() }, outcomes(), Life::default());
            let exporting = Exporting::begin(exporter.clone(), waiting(700, &outcomes), &life);
            let began = Instant::now();
            exporting.end(began).await;
            assert_eq!(began.elapsed(), if is_stuck { LAST } else { Duration::ZERO });
            let count = |outcome: &str| outcomes.with_label_values(&[outcome]).get();
            assert_eq!((count("sent"), count("failed"), count("dropped")), (sent, 0, dropped));
            assert_eq!(exporter.seen.lock().unwrap().len(), if is_stuck { 1 } else { 2 });
        }
    }

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
