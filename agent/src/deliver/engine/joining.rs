//! Small batches that follow each other leave in one request.
//!
//! A batch stays small if it was sealed before it was full: because it was sent and not taken, or because its records had to
//! go to disk at once. While it waits, others come up behind it. Each alone would cost a request.
//!
//! Promises: the order of the key, and the service's limits; if the request fails, each batch is what it was before.
//! Never: joins what is in pieces, or what an earlier process left: how the service counts their bytes is not known.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::Engine;
use crate::{
    deliver::{
        Key, Limits,
        batch::{Batch, RECEIPTS_MAX, join},
        budget::Lease,
        pending::{DiskCopy, Pending},
        queue::Listed,
    },
    tell::spans::Open,
};

/// What still fits behind a batch.
struct Room {
    bytes: usize,
    records: usize,
    receipts: usize,
    /// The earliest time in it, and the latest.
    earliest: i64,
    latest: i64,
    span_milliseconds: u64,
    is_on_disk: bool,
}

/// What a batch takes of it.
struct Size {
    counted: usize,
    records: usize,
    receipts: usize,
    earliest: i64,
    latest: i64,
}

impl Room {
    fn behind(pending: &Pending, limits: &Limits) -> Option<Self> {
        let batch = pending.batch.as_ref()?;
        Some(Self {
            bytes: limits.bytes.checked_sub(pending.counted?)?,
            records: limits.records.checked_sub(pending.records())?,
            receipts: RECEIPTS_MAX.checked_sub(pending.receipts())?,
            earliest: batch.entries.first()?.time,
            latest: batch.entries.last()?.time,
            span_milliseconds: limits.span_milliseconds,
            is_on_disk: is_on_disk(pending)?,
        })
    }

    /// Takes room for a batch, if it fits.
    fn take(&mut self, size: &Size) -> bool {
        let fits = size.counted <= self.bytes
            && size.records <= self.records
            && size.receipts <= self.receipts
            && size.earliest >= self.latest
            && size.latest.abs_diff(self.earliest) <= self.span_milliseconds;
        if fits {
            self.bytes -= size.counted;
            self.records -= size.records;
            self.receipts -= size.receipts;
            self.latest = size.latest;
        }
        fits
    }

    fn take_sealed(&mut self, next: &Pending) -> bool {
        let (Some(counted), Some(batch)) = (next.counted, &next.batch) else { return false };
        let (Some(first), Some(last)) = (batch.entries.first(), batch.entries.last()) else { return false };
        let (records, receipts) = (next.records(), next.receipts());
        let size = Size { counted, records, receipts, earliest: first.time, latest: last.time };
        is_on_disk(next) == Some(self.is_on_disk) && self.take(&size)
    }
}

/// Whether its records are safe on disk. `None` while they are being written.
fn is_on_disk(pending: &Pending) -> Option<bool> {
    match pending.copy {
        DiskCopy::None => Some(false),
        DiskCopy::Asked(_) => None,
        DiskCopy::Stored(_) | DiskCopy::Part(_) => Some(true),
    }
}

/// Batches that are sent in one request.
pub(super) struct Flight {
    /// They follow each other.
    pub(super) parts: Vec<Pending>,
    /// What is sent: what all of them say.
    pub(super) batch: Arc<Batch>,
    pub(super) started: Instant,
    /// The memory of what is sent, unless it is the only part's.
    pub(super) lease: Option<Lease>,
    /// What is told of it.
    pub(super) span: Open,
}

impl Flight {
    /// The parts as one batch.
    pub(super) fn join(mut self) -> Option<Pending> {
        if self.parts.len() == 1 {
            return self.parts.pop();
        }
        let whole = Pending::join(self.parts, self.batch);
        whole.map(|mut whole| {
            self.lease.into_iter().for_each(|lease| whole.lease.join(lease));
            whole
        })
    }
}

impl Engine {
    /// What leaves with a batch that was just taken from the queue: what comes behind it and fits into the same request.
    pub(super) fn join(&self, pending: Pending, now: Instant) -> Option<Flight> {
        let first = Arc::clone(pending.batch.as_ref()?);
        let room = Room::behind(&pending, &self.output.limits);
        let mut parts = vec![pending];
        if let Some(mut room) = room {
            parts.extend(self.output.queue().take_while(&first.key, |next| room.take_sealed(next)));
            parts.extend(self.seal_behind(&first.key, &mut room));
        }
        let mut flight = Flight { parts, batch: first, started: now, lease: None, span: Open::default() };
        if flight.parts.len() > 1 {
            self.join_parts(&mut flight);
        }
        Some(flight)
    }

    /// Makes one body of the parts, or leaves only the first one if there is no memory for that.
    fn join_parts(&self, flight: &mut Flight) {
        let bytes = flight.parts.iter().filter_map(|part| Some(part.batch.as_ref()?.memory())).sum();
        let mut lease = self.output.share.lease();
        if !lease.resize(bytes) {
            let mut queue = self.output.queue();
            return flight.parts.drain(1..).for_each(|part| queue.put_back(part));
        }
        let frame = self.output.destination.frame(&flight.batch.key);
        let parts: Vec<_> = flight.parts.iter().map(|part| (part.content(), part.receipts())).collect();
        flight.batch = Arc::new(join(flight.batch.key.clone(), &parts, &frame));
        flight.lease = Some(lease);
    }

    /// Seals the open batch of `key`, if it comes next and fits.
    fn seal_behind(&self, key: &Key, room: &mut Room) -> Option<Pending> {
        if room.is_on_disk {
            return None;
        }
        let Listed { lane, .. } = self.output.queue().unlist_key(key)?;
        let mut open = lane.lock();
        lane.listed.store(false, Ordering::Relaxed);
        // While nobody looked, it may have been sealed because it was full; what is open now comes after that.
        let is_next = !open.is_empty() && !self.output.queue().has_sealed(key);
        let (earliest, latest) = open.times();
        let (counted, records, receipts) = (open.counted(), open.records(), open.receipts());
        if is_next && room.take(&Size { counted, records, receipts, earliest, latest }) {
            let mut pending = self.output.seal_alone(&lane, &mut open);
            self.output.queue().number(&mut pending);
            return Some(pending);
        }
        if !open.is_empty() {
            self.output.list(&lane, &mut open);
        }
        None
    }
}
