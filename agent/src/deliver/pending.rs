//! A batch that waits to be sent, in memory, on disk, or both.
//!
//! Promises: whatever becomes of it, each of its records is settled once, by its receipt; parts of it keep their receipts and
//! the copy on disk.
//! Never: reads or writes the disk.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Key,
    batch::{Batch, Entry, Frame, carve, memory},
    books::{Account, Lost, Receipt, Refused},
    budget::Lease,
    disk::Stored,
    queue::Age,
    spool::Id,
};

/// Bytes of memory that a batch holds which is only on disk: receipts, lease, its place in the queue.
pub(super) const STUB_BYTES: u64 = 512;

/// The copy of a batch on disk.
#[derive(Clone, Debug)]
pub(super) enum DiskCopy {
    /// There is none.
    None,
    /// It is being written, under this number.
    Asked(u64),
    /// It says the same.
    Stored(Arc<Stored>),
    /// These entries hold the records, and others too. Each stays until all of its records are settled.
    Part(Vec<Arc<Stored>>),
}

impl DiskCopy {
    /// True if it is, or is part of, an entry for which `is_it`.
    pub(super) fn is_of(&self, is_it: impl Fn(Id) -> bool) -> bool {
        match self {
            Self::None | Self::Asked(_) => false,
            Self::Stored(stored) => is_it(stored.id()),
            Self::Part(entries) => entries.iter().any(|stored| is_it(stored.id())),
        }
    }

    fn of_part(&self) -> Self {
        match self {
            Self::None | Self::Asked(_) => Self::None,
            Self::Stored(stored) => Self::Part(vec![Arc::clone(stored)]),
            Self::Part(entries) => Self::Part(entries.clone()),
        }
    }

    /// The entries that hold the records.
    fn entries(&self) -> &[Arc<Stored>] {
        match self {
            Self::None | Self::Asked(_) => &[],
            Self::Stored(stored) => std::slice::from_ref(stored),
            Self::Part(entries) => entries,
        }
    }
}

/// A batch that waits to be sent, with all that must be settled for it.
#[derive(Debug)]
pub struct Pending {
    /// Where it goes.
    pub key: Key,
    /// What is sent, unless it is only on disk.
    pub batch: Option<Arc<Batch>>,
    records: usize,
    /// Its bytes as the service counts them, if that is known.
    pub(super) counted: Option<usize>,
    receipts: Vec<Receipt>,
    /// Its copy on disk.
    pub(super) copy: DiskCopy,
    /// The memory it holds.
    pub lease: Lease,
    /// When its first record was accepted.
    pub since: Instant,
    /// Its place among those of one `since`.
    pub(super) number: u64,
    /// Times it was sent.
    pub attempts: u32,
    /// Times the disk could not read it.
    pub(super) reads_failed: u32,
    /// Not to be sent before this.
    pub not_before: Option<Instant>,
}

pub(super) fn lose_all(receipt: &mut Receipt, reason: Lost) -> u64 {
    let records = receipt.unsettled();
    receipt.lost(records, reason);
    u64::from(records)
}

fn records(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.records() as usize).sum()
}

impl Pending {
    /// A batch that was just sealed; its first record was accepted at `since`.
    pub(super) fn sealed(batch: Batch, counted: usize, receipts: Vec<Receipt>, lease: Lease, since: Instant) -> Self {
        Self {
            key: batch.key.clone(),
            records: records(&batch.entries),
            counted: Some(counted),
            batch: Some(Arc::new(batch)),
            receipts,
            copy: DiskCopy::None,
            lease,
            since,
            number: 0,
            attempts: 0,
            reads_failed: 0,
            not_before: None,
        }
    }

    /// A batch of an earlier process, of which nothing is in memory. Its first record was accepted at `since`.
    pub(super) fn adopted(key: Key, receipts: Vec<Receipt>, stored: Arc<Stored>, since: Instant, lease: Lease) -> Self {
        let records = receipts.iter().map(|receipt| receipt.unsettled() as usize).sum();
        let copy = DiskCopy::Stored(stored);
        Self {
            key,
            batch: None,
            records,
            counted: None,
            receipts,
            copy,
            lease,
            since,
            number: 0,
            attempts: 0,
            reads_failed: 0,
            not_before: None,
        }
    }

    /// What is sent. It must be in memory.
    pub(super) fn content(&self) -> &Batch {
        self.batch.as_deref().expect("only what is in memory is sent, and only what was sent is settled in parts")
    }

    /// Records that are not settled yet, if there are any.
    pub(super) fn unsettled(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.receipts.iter().map(Receipt::unsettled).sum())
    }

    /// How many records it has of each account, in the order in which its entries name them.
    pub(super) fn sources(&self) -> Vec<(&Arc<Account>, u32)> {
        self.receipts.iter().map(|receipt| (receipt.account(), receipt.unsettled())).collect()
    }

    /// From now on there is a copy on disk.
    pub(super) fn is_stored(&mut self, stored: Arc<Stored>) {
        self.copy = DiskCopy::Stored(stored);
        self.receipts.iter_mut().for_each(|receipt| receipt.set_on_disk(true));
    }

    /// The copy on disk is gone. False if there is nothing else: then the records are lost.
    pub(super) fn is_stored_no_more(&mut self) -> bool {
        self.copy = DiskCopy::None;
        self.receipts.iter_mut().for_each(|receipt| receipt.set_on_disk(false));
        self.batch.is_some()
    }

    /// Gives back the memory of a batch whose copy on disk says the same. False if that is not so.
    pub(super) fn release(&mut self) -> bool {
        let stored = matches!(self.copy, DiskCopy::Stored(_)) && self.batch.is_some();
        if stored {
            self.batch = None;
            self.lease.resize(STUB_BYTES + self.ack_bytes());
        }
        stored
    }

    /// Keeps what was read from the copy on disk. False if there is no memory for it.
    pub(super) fn load(&mut self, batch: &Arc<Batch>) -> bool {
        let bytes = memory(batch.body.len(), &batch.entries) + self.ack_bytes();
        let fits = self.lease.bytes() >= bytes || self.lease.resize(bytes);
        if fits {
            self.batch = Some(Arc::clone(batch));
        }
        fits
    }

    fn ack_bytes(&self) -> u64 {
        self.receipts.iter().map(Receipt::ack_bytes).sum()
    }

    /// Takes the memory for `batch` from `reserve`. False if that has not enough.
    pub(super) fn lease_from(&mut self, reserve: &mut Lease, batch: &Batch) -> bool {
        let bytes = memory(batch.body.len(), &batch.entries) + self.ack_bytes();
        let enough = reserve.bytes() >= bytes;
        if enough {
            self.lease = reserve.split(bytes);
        }
        enough
    }

    /// Leaves it to the next process if there is a copy on disk. Otherwise all records are booked as lost; says how many.
    pub(super) fn leave(mut self, reason: Lost) -> u64 {
        let entries = self.copy.entries();
        if entries.is_empty() {
            return self.lost(reason);
        }
        entries.iter().for_each(|stored| stored.keep());
        self.receipts.drain(..).for_each(Receipt::leave);
        0
    }

    /// Books all its records as delivered.
    pub fn delivered(mut self) {
        for receipt in &mut self.receipts {
            receipt.delivered(receipt.unsettled());
        }
    }

    /// Books all its records as refused.
    pub fn refused(mut self, reason: Refused) {
        for receipt in &mut self.receipts {
            receipt.refused(receipt.unsettled(), reason);
        }
    }

    /// Books all its records as lost and says how many.
    pub fn lost(mut self, reason: Lost) -> u64 {
        self.receipts.iter_mut().map(|receipt| lose_all(receipt, reason)).sum()
    }

    /// How many accounts it has records of.
    pub(super) fn receipts(&self) -> usize {
        self.receipts.len()
    }

    /// Records in it.
    pub fn records(&self) -> usize {
        self.records
    }

    /// What can be cut apart of it. It must be in memory.
    pub fn places(&self) -> usize {
        self.content().entries.len()
    }

    /// Books the records at `places` as refused.
    pub fn refuse(&mut self, places: impl IntoIterator<Item = usize>, reason: Refused) {
        for place in places {
            let entry = self.content().entries[place];
            self.receipts[entry.source as usize].refused(entry.records(), reason);
        }
    }

    /// Books so many `records` as refused, nobody knows which.
    pub fn refuse_some(&mut self, mut records: u32, reason: Refused) {
        for receipt in &mut self.receipts {
            let refused = records.min(receipt.unsettled());
            receipt.refused(refused, reason);
            records -= refused;
        }
    }

    /// Cuts out the records at `places` (ascending) as a batch of their own, to be sent again; they are no longer this
    /// one's, nor is the memory they take. Until this one is dropped, its body stands beside the copy for a moment.
    pub fn cut(&mut self, places: &[usize], frame: &Frame) -> Self {
        let content = self.content();
        let (mut body, entries) = carve(&content.body, &content.entries, frame, places);
        body.put(frame.tail);
        let body = body.into_bytes();
        let mut counts = vec![0; self.receipts.len()];
        for entry in &entries {
            counts[entry.source as usize] += entry.records();
        }
        let receipts = self.receipts.iter_mut().zip(counts).map(|(receipt, count)| receipt.split(count)).collect();
        let lease = self.lease.split(memory(body.capacity(), &entries));
        Self {
            key: self.key.clone(),
            records: records(&entries),
            counted: None,
            batch: Some(Arc::new(Batch::new(self.key.clone(), body.into(), entries))),
            receipts,
            copy: self.copy.of_part(),
            lease,
            since: self.since,
            number: self.number,
            attempts: self.attempts,
            reads_failed: 0,
            not_before: None,
        }
    }

    /// One batch of all `parts`, which follow each other; `batch` is what they say together.
    pub(super) fn join(parts: Vec<Self>, batch: Arc<Batch>) -> Option<Self> {
        let entries: Vec<_> = parts.iter().flat_map(|part| part.copy.entries()).cloned().collect();
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        if !entries.is_empty() {
            whole.copy = DiskCopy::Part(entries);
        }
        for part in parts {
            whole.records += part.records;
            whole.receipts.extend(part.receipts);
            whole.lease.join(part.lease);
        }
        (whole.batch, whole.counted) = (Some(batch), None);
        Some(whole)
    }

    /// Rests no longer than `at_most` from `now`.
    pub(super) fn hasten(&mut self, now: Instant, at_most: Duration) {
        self.not_before = self.not_before.map(|time| time.min(now + at_most));
    }

    /// What orders batches: the older is less. Parts of one batch are of one age.
    pub(super) fn age(&self) -> Age {
        (self.since, self.number)
    }
}
