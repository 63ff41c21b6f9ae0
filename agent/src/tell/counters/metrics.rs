//! The counters of the metrics job.
//!
//! Promises: a label `reason` is of a closed list.
//! Never: counts what the books count.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use super::Registering;

/// The counters of the metrics job.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Samples taken, by `input`.
    pub samples: IntCounterVec,
    /// Lines or values that are not taken, by `input` and `reason`.
    pub rejected: IntCounterVec,
    /// What inputs asked for, by `input`, what was `asked`, and `outcome`.
    pub asked: IntCounterVec,
    /// Samples that a rule leaves out, by `input`.
    pub filtered: IntCounterVec,
    /// Samples that count only in the series that stands for those beyond the cap.
    pub overflowed: IntCounter,
    /// Packets that the kernel dropped because they were not read in time.
    pub dropped: IntCounter,
    /// Series that are known.
    pub series: IntGauge,
    /// Metrics that CloudWatch gets.
    pub sent: IntGauge,
    /// What those cost.
    pub dollars: Gauge,
}

impl Metrics {
    pub(super) fn new(to: &Registering) -> Self {
        Self {
            samples: to.counters("pillion_metrics_samples_total", &["input"], "Samples taken."),
            rejected: to.counters(
                "pillion_metrics_rejected_total",
                &["input", "reason"],
                "Lines or values that were not taken, and why. `series_max`: there is no series for them.",
            ),
            asked: to.counters(
                "pillion_metrics_questions_total",
                &["input", "asked", "outcome"],
                "What inputs asked for: targets that are scraped, the stats of the task, queues and services; and what came of it.",
            ),
            filtered: to.counters(
                "pillion_metrics_filtered_total",
                &["input"],
                "Samples that a rule or a setting leaves out.",
            ),
            overflowed: to.counter(
                "pillion_metrics_overflowed_total",
                "Samples of series beyond `series_max`; they count in the one of their name labelled `overflow`.",
            ),
            dropped: to.counter(
                "pillion_metrics_dropped_packets_total",
                "Packets that the kernel dropped because they were not read in time.",
            ),
            series: to.gauge("pillion_metrics_series", "Series that are known."),
            sent: to.gauge("pillion_metrics_cloudwatch_metrics", "Metrics that CloudWatch gets: names with their dimensions."),
            dollars: to.number(
                "pillion_metrics_cloudwatch_dollars_per_month",
                "What these metrics cost in a month at the list price of us-east-1, if this task were the only one to send them.",
            ),
        }
    }
}
