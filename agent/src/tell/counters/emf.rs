//! The counters of documents of the embedded metric format.
//!
//! Promises: labels are of closed lists.
//! Never: counts what the books count.

use prometheus::{IntCounter, IntCounterVec};

use super::Registering;

/// The counters of documents of the embedded metric format.
#[derive(Clone, Debug)]
pub struct Emf {
    /// Lines and datagrams, by `outcome`.
    pub documents: IntCounterVec,
    /// What was wrong with documents, by `reason`.
    pub faults: IntCounterVec,
    /// What was mended in them, by `kind`.
    pub repairs: IntCounterVec,
    /// Documents that were made of others by splitting.
    pub more_documents: IntCounter,
    /// Datagrams that the kernel dropped.
    pub overflowed: IntCounter,
}

impl Emf {
    pub(super) fn new(to: &Registering) -> Self {
        Self {
            documents: to.counters(
                "pillion_emf_documents_total",
                &["outcome"],
                "Lines that came for the embedded metric format: sent to `logs`, or taken as `metrics` in place of that, or found in a `record`; `broken` and `plain` ones are no documents and go to the logs as they are.",
            ),
            faults: to.counters(
                "pillion_emf_faults_total",
                &["reason"],
                "What was wrong with documents. `malformed`, `no_metadata`, `too_large` and `too_many` are of a whole document, which goes on as it is; the others cost a directive, a set of dimensions, a metric or less.",
            ),
            repairs: to.counters("pillion_emf_repairs_total", &["kind"], "What was mended in documents."),
            more_documents: to.counter(
                "pillion_emf_split_documents_total",
                "Documents that there are more because one had more values or metrics than CloudWatch takes.",
            ),
            overflowed: to.counter(
                "pillion_emf_overflowed_datagrams_total",
                "Datagrams that the kernel dropped because they were not read in time.",
            ),
        }
    }
}
