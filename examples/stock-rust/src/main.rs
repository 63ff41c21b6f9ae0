//! Says how many there are.
//!
//! ```text
//! GET /stock/7       {"number": 7, "stock": 3}
//! GET /health
//! ```
//!
//! Lines go to standard output as JSON, spans and metrics by OTLP to where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

use std::{error::Error, io, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::get,
};
use opentelemetry::{
    KeyValue, global,
    metrics::Counter,
    propagation::{Extractor, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::SdkTracerProvider,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tracing::{Instrument, Span, info, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

const PORT: u16 = 8082;
/// How often metrics are told.
const TELL: Duration = Duration::from_secs(10);

/// What must be told before the process ends.
struct Telemetry {
    spans: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Lines to standard output; spans and metrics by OTLP.
    fn start() -> Result<Self, Box<dyn Error>> {
        let resource = Resource::builder().with_service_name("stock").build();
        let exporter = SpanExporter::builder().with_tonic().build()?;
        let spans = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build();
        let exporter = MetricExporter::builder().with_tonic().build()?;
        let reader = PeriodicReader::builder(exporter).with_interval(TELL).build();
        let metrics = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        global::set_meter_provider(metrics.clone());
        let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer("stock"));
        // The SDK and its client say a lot below that.
        let level = tracing_subscriber::filter::LevelFilter::INFO;
        let lines =
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_target(false);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(level).with(lines).with(layer))?;
        Ok(Self { spans, metrics })
    }

    /// Tells what is left. It blocks, as the SDK does.
    fn end(self) {
        for ended in [self.spans.shutdown(), self.metrics.shutdown()] {
            if let Err(error) = ended {
                eprintln!("telemetry did not end well: {error}");
            }
        }
    }
}

/// Headers of a request, for who looks for a trace in them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

async fn stock(State(asked): State<Counter<u64>>, Path(number): Path<u64>, headers: HeaderMap) -> Json<Value> {
    let span = info_span!("GET /stock/{number}", otel.kind = "server", number);
    // Before it is entered, for then it has its place. A caller without a trace is no parent, and the span begins one.
    if let Err(error) = span.set_parent(TraceContextPropagator::new().extract(&Headers(&headers))) {
        warn!(%error, "the caller's trace is left alone");
    }
    let answer = async {
        asked.add(1, &[KeyValue::new("Service", "stock")]);
        let stock = number % 5;
        let trace = Span::current().context().span().span_context().trace_id().to_string();
        info!(number, stock, trace, "stock asked");
        Json(json!({"number": number, "stock": stock}))
    };
    answer.instrument(span).await
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let asked = global::meter("stock").u64_counter("StockAsked").build();
    let app = Router::new().route("/stock/{number}", get(stock)).route("/health", get(|| async { "ok\n" }));
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await?;
    info!("stock ready");
    let stopped = async move {
        terminated.recv().await;
    };
    axum::serve(listener, app.with_state(asked)).with_graceful_shutdown(stopped).await?;
    info!("stock stopped");
    tokio::task::spawn_blocking(|| telemetry.end()).await?;
    Ok(())
}

/// The container's health check: asks the service on its own port.
async fn health() -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.contains(" 200 "))
}

#[tokio::main]
async fn main() -> ExitCode {
    let well = match std::env::args().nth(1).as_deref() {
        Some("health") => health().await.unwrap_or(false),
        Some(other) => {
            eprintln!("stock takes no argument but `health`, not `{other}`");
            false
        }
        None => serve().await.inspect_err(|error| eprintln!("stock: {error}")).is_ok(),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
