//! The counters of the traces job.
//!
//! Promises: a label `reason` is of a closed list.
//! Never: counts what the books count.

use prometheus::{IntCounter, IntCounterVec};

use super::Registering;

/// The counters of the traces job.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Datagrams that came, whatever was in them.
    pub received: IntCounter,
    /// Those that were no segments, by `reason`.
    pub rejected: IntCounterVec,
    /// Those that the kernel dropped because they were not read in time.
    pub overflowed: IntCounter,
    /// Requests of SDKs to the TCP port, by `path` and `outcome`.
    pub proxied: IntCounterVec,
    /// Spans that sampling kept or not, by `rule`.
    pub sampled: IntCounterVec,
    /// Segments and subsegments that became no spans, by `output` and `reason`.
    pub unmade: IntCounterVec,
    /// Segments made of spans that had to be shrunk, by `output`.
    pub shrunk: IntCounterVec,
}

impl Traces {
    pub(super) fn new(to: &Registering) -> Self {
        Self {
            received: to
                .counter("pillion_traces_received_datagrams_total", "Datagrams that came for the X-Ray daemon."),
            rejected: to.counters(
                "pillion_traces_rejected_datagrams_total",
                &["reason"],
                "Datagrams that were no segments as the X-Ray daemon takes them.",
            ),
            overflowed: to.counter(
                "pillion_traces_overflowed_datagrams_total",
                "Datagrams that the kernel dropped because they were not read in time; not among those received.",
            ),
            proxied: to.counters(
                "pillion_traces_proxied_requests_total",
                &["path", "outcome"],
                "Requests of SDKs to the X-Ray daemon's TCP port. `path` is one that is passed on, else `other`; `kept` were answered as another one was.",
            ),
            sampled: to.counters(
                "pillion_traces_sampled_spans_total",
                &["rule"],
                "Spans that sampling at the edge kept because of an `error`, because one was `slow`, by `probability`; and those `dropped`.",
            ),
            unmade: to.counters(
                "pillion_traces_unmade_spans_total",
                &["output", "reason"],
                "Segments and subsegments for an `otlp` output that became no span. Those `in_progress` come again when they are complete, and `unsampled` \
                 ones are not to be shown; all others are refused.",
            ),
            shrunk: to.counters(
                "pillion_traces_shrunk_segments_total",
                &["output"],
                "Segments made of spans of which something was left out or cut, because X-Ray takes no more.",
            ),
        }
    }
}
