//! What must hold of any bytes as the documents of the task metadata endpoint.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::metrics::{
    scrape::target::discovered,
    task::{
        document::{Stats, Task},
        events::events,
        measure::Meter,
        names::Names,
    },
};
use serde_json::Value;

/// Targets that are taken.
const TARGETS_MAX: usize = 8;

/// Checks that documents, which stand behind each other between empty lines, first the task, then stats, give figures that are none
/// below zero, events that are JSON, and targets that can be asked.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut documents = text.split("\n\n");
    let Some(task) = documents.next().and_then(|task| Task::read(task.as_bytes())) else { return };
    let targets = discovered(&task, TARGETS_MAX, |_, _| {});
    assert!(targets.len() <= TARGETS_MAX);
    for target in targets {
        assert!(
            matches!(target.address.uri().scheme_str(), Some("http" | "https"))
                && !target.address.instance().is_empty()
        );
    }
    let mut meter = Meter::default();
    for stats in documents.filter_map(|stats| Stats::read(stats.as_bytes())) {
        let measured = meter.measure(&task, &stats);
        for made in events((&task, &stats), &measured, 0, Some("N")) {
            assert!(matches!(serde_json::from_str(&made.text), Ok(Value::Object(_))), "{}", made.text);
        }
        let containers = measured.containers.iter().map(|(_, figures)| (figures, true));
        for (figures, is_container) in containers.chain([(&measured.task, false)]) {
            for names in [Names::Own, Names::Insights] {
                for metric in figures.metrics(names, is_container) {
                    assert!(metric.value.is_finite() && metric.value >= 0.0, "{metric:?}");
                }
            }
        }
    }
}
