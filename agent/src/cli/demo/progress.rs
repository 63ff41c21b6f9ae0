//! What the made-up containers have sent so far, and what came of it.
//!
//! Promises: may be counted in and read by any thread.
//! Never: counts what no socket took.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been sent so far; shared with the display.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    looked: AtomicU64,
    acknowledged: AtomicU64,
    spans: AtomicU64,
    drawn: AtomicU64,
}

impl Progress {
    /// Records that the sockets took.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Records since the last call of this.
    pub(super) fn sent_since_last_look(&self) -> u64 {
        let sent = self.sent();
        sent - self.looked.swap(sent, Ordering::Relaxed)
    }

    /// Spans that the sockets took.
    pub(super) fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Counts spans that a socket took.
    pub(super) fn count_spans(&self, count: u64) {
        self.spans.fetch_add(count, Ordering::Relaxed);
    }

    /// Spans that the backend got.
    pub(super) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Counts spans that the backend got.
    pub(super) fn count_drawn(&self, count: u64) {
        self.drawn.fetch_add(count, Ordering::Relaxed);
    }

    /// Batches that the agent acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Counts a record, if a socket took it.
    pub(super) fn count(&self, taken: bool) {
        self.sent.fetch_add(u64::from(taken), Ordering::Relaxed);
    }

    /// Counts the records of a batch that the agent acknowledged.
    pub(super) fn count_batch(&self, records: u64) {
        self.sent.fetch_add(records, Ordering::Relaxed);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
