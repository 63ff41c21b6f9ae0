//! The counters of what comes by OTLP.
//!
//! Promises: labels are of closed lists.
//! Never: counts what the books count.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Registering;

/// The counters of what comes by OTLP.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Requests that were taken, by `protocol`.
    pub received_requests: IntCounterVec,
    /// Spans, records and points of metrics in them, by `signal`.
    pub received_items: IntCounterVec,
    /// Bytes of bodies, as they came.
    pub received_bytes: IntCounter,
    /// Requests that were not taken, by `reason`.
    pub refused_requests: IntCounterVec,
    /// Connections open now.
    pub connections_open: IntGauge,
}

impl Otlp {
    pub(super) fn new(to: &Registering) -> Self {
        Self {
            received_requests: to.counters(
                "pillion_otlp_received_requests_total",
                &["protocol"],
                "Requests of OTLP that were taken.",
            ),
            received_items: to.counters(
                "pillion_otlp_received_items_total",
                &["signal"],
                "Spans, log records and points of metrics in the requests that were taken.",
            ),
            received_bytes: to.counter("pillion_otlp_received_bytes_total", "Bytes of bodies, as they came."),
            refused_requests: to.counters(
                "pillion_otlp_refused_requests_total",
                &["reason"],
                "Requests of OTLP that were not taken. `busy` and `not_kept` ask the client to send again.",
            ),
            connections_open: to.gauge("pillion_otlp_connections_open", "Connections open now."),
        }
    }
}
