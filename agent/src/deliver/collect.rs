//! The books and the outputs' standing as metrics, read when the page is asked for.
//!
//! Promises: the numbers of one output and container come from one instant, so that the page always balances.
//! Never: counts anything itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::time::Instant;

use super::{
    Standing,
    books::{Books, Lost, Refused},
    budget::Budget,
};
use crate::tell::books::{self as names, Family};

/// What is to be shown.
#[derive(Clone, Default)]
pub struct Ledger {
    /// What became of every record.
    pub books: Books,
    budget: Option<Budget>,
    outputs: Arc<Mutex<Vec<Entered>>>,
    without_spool: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

/// An output that is shown.
struct Entered {
    name: Arc<str>,
    standing: Arc<Mutex<Standing>>,
}

impl Ledger {
    /// An empty one over `budget`.
    pub fn new(budget: Budget) -> Self {
        Self { budget: Some(budget), ..Self::default() }
    }

    /// Shows how the output called `name` stands.
    pub fn enter(&self, name: Arc<str>, standing: Arc<Mutex<Standing>>) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push(Entered { name, standing });
    }

    /// These outputs should have a spool and have none: they show as degraded for good.
    pub fn are_without_spool(&self, outputs: &[Arc<str>]) {
        self.without_spool.lock().unwrap_or_else(PoisonError::into_inner).extend(outputs.iter().cloned());
    }

    /// How each output stands.
    pub fn standings(&self) -> Vec<(Arc<str>, Standing)> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let without_spool = self.without_spool.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |output: &Entered| {
            let mut standing = output.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            standing.spool_degraded |= without_spool.contains(&output.name);
            (Arc::clone(&output.name), standing)
        };
        outputs.iter().map(read).collect()
    }

    /// Bytes of memory in use for data, and how many there are.
    pub fn memory(&self) -> (u64, u64) {
        self.budget.as_ref().map_or((0, 0), |budget| (budget.used(), budget.total()))
    }

    fn books_families(&self) -> Vec<Family> {
        let mut families = names::BOOKS.map(Family::new);
        let [accepted, delivered, refused, lost, spooled, in_flight] = &mut families;
        for (holder, totals) in self.books.list() {
            let labels = [&*holder.output, &*holder.source];
            accepted.set(&labels, totals.accepted);
            delivered.set(&labels, totals.delivered);
            spooled.set(&labels, totals.spooled);
            in_flight.set(&labels, totals.in_flight);
            for reason in Refused::ALL {
                refused.set(&[labels[0], labels[1], reason.label()], totals.refused[reason as usize]);
            }
            for reason in Lost::ALL {
                lost.set(&[labels[0], labels[1], reason.label()], totals.lost[reason as usize]);
            }
        }
        families.into()
    }

    fn standing_families(&self) -> Vec<Family> {
        let mut families = names::STANDING.map(Family::new);
        let [requests, batches, bytes, linger, stuck, spool, degraded, used, limit] = &mut families;
        let now = Instant::now();
        for (name, standing) in self.standings() {
            let labels = [&*name];
            requests.set(&labels, standing.flying as u64);
            batches.set(&labels, standing.waiting as u64);
            bytes.set(&labels, standing.memory_bytes);
            spool.set(&labels, standing.spool_bytes);
            degraded.set(&labels, u64::from(standing.spool_degraded));
            linger.set(&labels, u64::try_from(standing.linger.as_millis()).unwrap_or(u64::MAX));
            stuck.set(&labels, standing.stuck_since.map_or(0, |since| now.duration_since(since).as_secs()));
        }
        let memory = self.memory();
        used.set(&[], memory.0);
        limit.set(&[], memory.1);
        families.into()
    }
}

impl Collector for Ledger {
    fn desc(&self) -> Vec<&Desc> {
        names::descriptors()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.books_families().into_iter().chain(self.standing_families()).flat_map(Family::collect).collect()
    }
}
