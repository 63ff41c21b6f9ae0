//! The agent's own counters: the one place where a metric gets its name.
//!
//! Promises: names are `pillion_<job>_<what>_<unit>`, with `_total` for what only grows; label values come from closed
//! or bounded sets; `docs/metrics.md` is generated from what is registered here, and a test keeps it fresh.
//! Never: carries the app's metrics, which have a store of their own, or a value that a record holds.
//!
//! The books (what became of every record) are not counters of their own: `deliver` registers a
//! [`Collector`] that reads them when the page is asked for, so that the page always balances.

mod emf;
mod metrics;
mod otlp;
mod secrets;
mod traces;

use std::{fmt::Write, ops::Deref, sync::Arc};

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::{self, MetricType},
};
use std::sync::{Mutex, PoisonError};
use tracing::error;

use super::exposition::{Form, Page, Type, escape_label};

pub use emf::Emf;
pub use metrics::Metrics;
pub use otlp::Otlp;
pub use secrets::Secrets;
pub use traces::Traces;

/// Upper bounds of [`Set::deliver_request_seconds`], in seconds. A request to a service in the same region takes 5 to
/// 50 ms; the last bound is [`REQUEST_TIMEOUT`](crate::limits::REQUEST_TIMEOUT).
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All counters of one agent. Clones share them.
#[derive(Clone, Debug)]
pub struct Counters(Arc<Set>);

/// The counters, by job. Reached through [`Counters`].
#[derive(Debug)]
pub struct Set {
    registry: Registry,
    described: Mutex<Vec<Described>>,

    /// Records received, by `input`.
    pub logs_received_records: IntCounterVec,
    /// Bytes read from senders, as they came (compressed if they were), by `input`.
    pub logs_received_bytes: IntCounterVec,
    /// Connections accepted, by `input`.
    pub logs_connections_opened: IntCounterVec,
    /// Connections open now, by `input`.
    pub logs_connections_open: IntGaugeVec,
    /// Connections that were closed because others needed their places, by `listener`.
    pub connections_gave_way: IntCounterVec,
    /// What could not be read, by `kind`. Ends a forward connection, except `signal`; a JSON connection goes on.
    pub logs_forward_errors: IntCounterVec,
    /// Acknowledgements not given because a record of the message was lost, by `input`.
    pub logs_withheld_acks: IntCounterVec,
    /// Records that a filter dropped as configured, by `container`.
    pub logs_filtered_records: IntCounterVec,
    /// Records that no output takes, by `container`.
    pub logs_unrouted_records: IntCounterVec,
    /// Of secrets in records.
    pub masking: Masking,
    /// Records cut because they were larger than the service takes, by `output`.
    pub logs_truncated_records: IntCounterVec,

    /// Requests sent, by `output` and kind of `answer`.
    pub deliver_requests: IntCounterVec,
    /// Time from the first byte of a request to the last of its answer, by `output`.
    pub deliver_request_seconds: HistogramVec,
    /// Batches given up because memory was full, by `output`. Their records stand in the books.
    pub deliver_batches_evicted: IntCounterVec,

    /// Connections to services that could not be made, by `reason`.
    pub net_connect_failures: IntCounterVec,

    /// Of the secrets job.
    pub secrets: Secrets,

    /// Of the traces job.
    pub traces: Traces,

    /// Of the metrics job.
    pub metrics: Metrics,

    /// Of what comes by OTLP.
    pub otlp: Otlp,

    /// Of documents of the embedded metric format.
    pub emf: Emf,

    /// The agent's own spans, by `outcome`.
    pub own_spans: IntCounterVec,

    /// Tasks that panicked. Each is a bug.
    pub life_panics: IntCounter,
}

/// The counters of secrets in log records.
#[derive(Debug)]
pub struct Masking {
    /// Places at which one was masked, by `container` and `secret`.
    pub spans: IntCounterVec,
    /// Values that are not looked for because there are too many.
    pub left_out: IntGauge,
}

/// One line of `docs/metrics.md`.
#[derive(Clone, Debug)]
struct Described {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Counters {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.0
    }
}

impl Masking {
    fn new(to: &Registering) -> Self {
        Self {
            spans: to.counters(
                "pillion_logs_masked_spans_total",
                &["container", "secret"],
                "Places in records at which a value of this secret was masked.",
            ),
            left_out: to.gauge(
                "pillion_logs_unmasked_values",
                "Values of secrets that are not looked for in records because there are too many.",
            ),
        }
    }
}

fn connect_failures(to: &Registering) -> IntCounterVec {
    let help = "Connections to services that could not be made, and why; nothing was sent.";
    to.counters("pillion_net_connect_failures_total", &["reason"], help)
}

fn gave_way(to: &Registering) -> IntCounterVec {
    let help = "Connections that did nothing and were closed because there were too many.";
    to.counters("pillion_net_connections_gave_way_total", &["listener"], help)
}

fn own_spans(to: &Registering) -> IntCounterVec {
    let help = "The agent's own spans: `sent`, `failed` to be taken by the backend, or `dropped` because too many waited, or because the agent ended before they were sent.";
    to.counters("pillion_telemetry_own_spans_total", &["outcome"], help)
}

impl Counters {
    /// All counters, at zero.
    pub fn new() -> Self {
        let to = Registering::default();
        let build = to.gauges("pillion_build_info", &["version"], "Always 1; the label says which version runs.");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self(Arc::new(Set {
            logs_received_records: to.counters("pillion_logs_received_records_total", &["input"], "Records received."),
            logs_received_bytes: to.counters(
                "pillion_logs_received_bytes_total",
                &["input"],
                "Bytes read from senders, as they came.",
            ),
            logs_connections_opened: to.counters(
                "pillion_logs_connections_opened_total",
                &["input"],
                "Connections accepted.",
            ),
            logs_connections_open: to.gauges("pillion_logs_connections_open", &["input"], "Connections open now."),
            connections_gave_way: gave_way(&to),
            logs_forward_errors: to.counters(
                "pillion_logs_forward_errors_total",
                &["kind"],
                "What could not be read, by kind. Ends a forward connection, except `signal`; a JSON connection goes on.",
            ),
            logs_withheld_acks: to.counters(
                "pillion_logs_withheld_acks_total",
                &["input"],
                "Acknowledgements not given because a record of the message was lost.",
            ),
            logs_filtered_records: to.counters(
                "pillion_logs_filtered_records_total",
                &["container"],
                "Records that a filter dropped, as configured.",
            ),
            logs_unrouted_records: to.counters(
                "pillion_logs_unrouted_records_total",
                &["container"],
                "Records that no output takes; they go nowhere.",
            ),
            logs_truncated_records: to.counters(
                "pillion_logs_truncated_records_total",
                &["output"],
                "Records cut because they were larger than the service takes.",
            ),
            masking: Masking::new(&to),
            deliver_requests: to.counters(
                "pillion_deliver_requests_total",
                &["output", "answer"],
                "Requests sent, by the kind of answer.",
            ),
            deliver_request_seconds: to.histograms(
                "pillion_deliver_request_seconds",
                &["output"],
                "Time from the first byte of a request to the last of its answer.",
            ),
            deliver_batches_evicted: to.counters(
                "pillion_deliver_batches_evicted_total",
                &["output"],
                "Batches given up because memory was full; their records stand in the books as lost.",
            ),
            net_connect_failures: connect_failures(&to),
            secrets: Secrets::new(&to),
            traces: Traces::new(&to),
            metrics: Metrics::new(&to),
            otlp: Otlp::new(&to),
            emf: Emf::new(&to),
            own_spans: own_spans(&to),
            life_panics: to.counter("pillion_life_panics_total", "Tasks that panicked; each is a bug."),
            registry: to.registry,
            described: to.described,
        }))
    }

    /// Adds what is collected elsewhere, such as the books. A name that is taken already is a bug, and is logged.
    pub fn register(&self, collector: Box<dyn Collector>) {
        let described = collector.desc().into_iter().map(|desc| Described::new(desc, kind_by_name(&desc.fq_name)));
        let described: Vec<_> = described.collect();
        match self.registry.register(collector) {
            Ok(()) => self.described.lock().unwrap_or_else(PoisonError::into_inner).extend(described),
            Err(error) => error!(error = %error, "metrics could not be registered; this is a bug in pillion"),
        }
    }

    /// The registry behind the counters.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Writes all of them on the page `/metrics`.
    pub fn expose(&self, page: &mut Page) {
        let mut labels = String::new();
        for family in self.registry.gather() {
            let kind = match family.get_field_type() {
                MetricType::COUNTER => Type::Counter,
                MetricType::GAUGE => Type::Gauge,
                MetricType::HISTOGRAM => Type::Histogram,
                MetricType::SUMMARY => Type::Summary,
                MetricType::UNTYPED => Type::Unknown,
            };
            let name = family.name().strip_suffix(kind.ending()).unwrap_or(family.name());
            page.family(name, kind, family.help());
            for metric in family.get_metric() {
                labels.clear();
                for label in metric.get_label() {
                    labels.push_str(if labels.is_empty() { "" } else { "," });
                    labels.push_str(label.name());
                    labels.push_str("=\"");
                    escape_label(label.value(), &mut labels);
                    labels.push('"');
                }
                put(page, name, kind, &labels, metric);
            }
        }
    }

    /// The page in Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        let mut page = Page::new(Form::Text);
        self.expose(&mut page);
        page.finish()
    }

    /// The page `docs/metrics.md`: every metric with its kind, labels and meaning, by name.
    pub fn markdown(&self) -> String {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner).clone();
        described.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut page = String::from(MARKDOWN_HEAD);
        for Described { name, kind, labels, help } in described {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), help.replace('|', "\\|"));
        }
        page
    }
}

fn put(page: &mut Page, name: &str, kind: Type, labels: &str, metric: &proto::Metric) {
    match kind {
        Type::Counter => page.sample((name, kind.ending()), labels, None, metric.get_counter().get_value()),
        Type::Histogram => {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket() {
                let bound = Some(("le", bucket.upper_bound()));
                page.sample((name, "_bucket"), labels, bound, bucket.cumulative_count() as f64);
            }
            let count = histogram.get_sample_count() as f64;
            page.sample((name, "_bucket"), labels, Some(("le", f64::INFINITY)), count);
            page.sample((name, "_sum"), labels, None, histogram.get_sample_sum());
            page.sample((name, "_count"), labels, None, count);
        }
        // There are no others of ours.
        _ => page.sample((name, ""), labels, None, metric.get_gauge().get_value()),
    }
}

const MARKDOWN_HEAD: &str = "\
# Metrics of the agent itself

`GET http://127.0.0.1:9464/metrics` answers in Prometheus' text format. These are the agent's own numbers.
This page is generated: `cargo run -- metrics --markdown > docs/metrics.md`.

| name | kind | labels | meaning |
|---|---|---|---|
";

impl Described {
    fn new(desc: &Desc, kind: &'static str) -> Self {
        Self { name: desc.fq_name.clone(), kind, labels: desc.variable_labels.clone(), help: desc.help.clone() }
    }
}

/// What a collector's metric is, by our rule for names.
fn kind_by_name(name: &str) -> &'static str {
    if name.ends_with("_total") { "counter" } else { "gauge" }
}

/// The counters while they are made.
#[derive(Default)]
struct Registering {
    registry: Registry,
    described: Mutex<Vec<Described>>,
}

impl Registering {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(Opts::new(name, help)), "counter")
    }

    fn counters(&self, name: &str, labels: &[&str], help: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels), "counter")
    }

    fn gauges(&self, name: &str, labels: &[&str], help: &str) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels), "gauge")
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(Opts::new(name, help)), "gauge")
    }

    fn number(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::with_opts(Opts::new(name, help)), "gauge")
    }

    fn histograms(&self, name: &str, labels: &[&str], help: &str) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(REQUEST_SECONDS.to_vec());
        self.add(HistogramVec::new(options, labels), "histogram")
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>, kind: &'static str) -> C {
        let metric = made.expect("names and labels are constants, valid as a test shows");
        let described = metric.desc().into_iter().map(|desc| Described::new(desc, kind));
        self.described.lock().unwrap_or_else(PoisonError::into_inner).extend(described);
        self.registry.register(Box::new(metric.clone())).expect("names are constants, distinct as a test shows");
        metric
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntGauge, proto::MetricFamily};

    use super::*;

    /// The rule of names, for every metric there is: prefix, job, and `_total` exactly for what only grows.
    #[test]
    fn every_name_keeps_the_rule() {
        let counters = Counters::new();
        let described = counters.described.lock().unwrap().clone();
        assert!(described.len() >= 12);
        for metric in described {
            assert!(metric.name.starts_with("pillion_"), "{metric:?}");
            assert_eq!(metric.name.ends_with("_total"), metric.kind == "counter", "{metric:?}");
            assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{metric:?}");
        }
    }

    #[test]
    fn the_page_shows_what_was_counted_and_escapes_labels() {
        let counters = Counters::new();
        counters.clone().logs_received_records.with_label_values(&["forward.0"]).inc_by(3);
        counters.logs_filtered_records.with_label_values(&["a\"b\nc\\"]).inc();
        let page = counters.render();
        assert!(page.contains("pillion_logs_received_records_total{input=\"forward.0\"} 3\n"), "{page}");
        assert!(page.contains("{container=\"a\\\"b\\nc\\\\\"} 1\n"), "{page}");
        assert!(page.contains("pillion_life_panics_total 0\n"), "{page}");
        assert!(page.contains("pillion_build_info{version="), "{page}");
    }

    struct Gauge(IntGauge);

    impl Collector for Gauge {
        fn desc(&self) -> Vec<&Desc> {
            self.0.desc()
        }
        fn collect(&self) -> Vec<MetricFamily> {
            self.0.collect()
        }
    }

    #[test]
    fn a_registered_collector_is_rendered_and_described() {
        let counters = Counters::new();
        let gauge = IntGauge::new("pillion_example_bytes", "An example | with a bar.").unwrap();
        gauge.set(7);
        counters.register(Box::new(Gauge(gauge.clone())));
        counters.register(Box::new(Gauge(gauge)));
        assert!(counters.render().contains("pillion_example_bytes 7\n"));
        assert!(counters.markdown().contains("| `pillion_example_bytes` | gauge |  | An example \\| with a bar. |\n"));
        assert_eq!(counters.markdown().matches("pillion_example_bytes").count(), 1, "the second one is refused");
    }
}
