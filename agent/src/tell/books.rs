//! The names of the metrics that `deliver` reads from the books when the page is asked for.
//!
//! Promises: one name for each column of the books, so that on any page
//! `accepted = delivered + refused + lost + spooled + in_flight` for each output and container.
//! Never: holds a number longer than one page takes.

use std::sync::LazyLock;

use prometheus::{
    IntCounterVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Name, labels and meaning of a metric.
pub type Name = (&'static str, &'static [&'static str], &'static str);

/// The columns of the books.
pub const BOOKS: [Name; 6] = [
    ("pillion_deliver_accepted_records_total", &["output", "container"], "Records handed to the output."),
    ("pillion_deliver_delivered_records_total", &["output", "container"], "Records the destination took."),
    (
        "pillion_deliver_refused_records_total",
        &["output", "container", "reason"],
        "Records the destination, or a rule of it, will never take.",
    ),
    ("pillion_deliver_lost_records_total", &["output", "container", "reason"], "Records lost, and why."),
    ("pillion_deliver_spooled_records", &["output", "container"], "Records on disk now."),
    ("pillion_deliver_in_flight_records", &["output", "container"], "Records in memory now, or on their way."),
];

/// How outputs stand.
pub const STANDING: [Name; 9] = [
    ("pillion_deliver_requests_in_flight", &["output"], "Requests under way now."),
    ("pillion_deliver_waiting_batches", &["output"], "Batches that wait to be sent."),
    ("pillion_deliver_memory_bytes", &["output"], "Memory that the output's records take."),
    ("pillion_deliver_linger_milliseconds", &["output"], "How long records wait for others now."),
    ("pillion_deliver_stuck_seconds", &["output"], "Time since something waits and nothing was delivered."),
    ("pillion_deliver_spool_bytes", &["output"], "Bytes that the output's records take on disk."),
    ("pillion_deliver_spool_degraded", &["output"], "1 while the disk refuses what is to be written to the spool."),
    ("pillion_deliver_memory_used_bytes", &[], "Memory that all outputs' records take."),
    ("pillion_deliver_memory_limit_bytes", &[], "Memory that all outputs' records may take."),
];

static DESCRIPTORS: LazyLock<Vec<Desc>> =
    LazyLock::new(|| BOOKS.into_iter().chain(STANDING).flat_map(|name| Family::new(name).descriptors()).collect());

/// What stands on the page.
pub fn descriptors() -> Vec<&'static Desc> {
    DESCRIPTORS.iter().collect()
}

/// One metric for one page.
#[derive(Debug)]
pub struct Family(Kind);

#[derive(Debug)]
enum Kind {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
}

impl Family {
    /// An empty one. A name that ends with `_total` is a counter.
    pub fn new((name, labels, help): Name) -> Self {
        const GOOD: &str = "the names above are good, and a test renders them";
        let options = Opts::new(name, help);
        Self(match name.ends_with("_total") {
            true => Kind::Counter(IntCounterVec::new(options, labels).expect(GOOD)),
            false => Kind::Gauge(IntGaugeVec::new(options, labels).expect(GOOD)),
        })
    }

    /// Sets the number for `labels`.
    pub fn set(&mut self, labels: &[&str], number: u64) {
        match &self.0 {
            Kind::Counter(counter) => counter.with_label_values(labels).inc_by(number),
            Kind::Gauge(gauge) => gauge.with_label_values(labels).set(i64::try_from(number).unwrap_or(i64::MAX)),
        }
    }

    /// The metric as the page's writer takes it.
    pub fn collect(self) -> Vec<MetricFamily> {
        match self.0 {
            Kind::Counter(counter) => counter.collect(),
            Kind::Gauge(gauge) => gauge.collect(),
        }
    }

    fn descriptors(&self) -> Vec<Desc> {
        match &self.0 {
            Kind::Counter(counter) => counter.desc().into_iter().cloned().collect(),
            Kind::Gauge(gauge) => gauge.desc().into_iter().cloned().collect(),
        }
    }
}
