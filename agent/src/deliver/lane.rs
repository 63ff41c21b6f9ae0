//! Where a job's records become batches: one open batch per destination key.
//!
//! Promises: appending never waits; a batch never exceeds the destination's limits, and its last record never has to be
//! encoded again; what memory cannot hold is dropped oldest first and booked.
//! Never: sends. The engine takes sealed batches from the [`Output`]'s queue.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    Destination, Key, Limits,
    ack::Ack,
    batch::{Frame, Open},
    body::Body,
    books::{Account, Lost, Refused},
    budget::Share,
    pending::Pending,
    queue::Queue,
    stock::Stock,
};
use crate::tell::counters::Counters;

/// What job and engine share of one output.
pub struct Output {
    /// The output's name, for example `cloudwatch_logs.0`.
    pub name: Arc<str>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) limits: Limits,
    pub(super) share: Share,
    pub(super) counters: Counters,
    pub(super) wake: Notify,
    pub(super) stock: Arc<Stock>,
    lanes: Mutex<HashMap<Key, Arc<Lane>>>,
    queue: Mutex<Queue>,
}

/// One key's open batch.
pub struct Lane {
    pub(super) key: Key,
    pub(super) frame: Frame,
    open: Mutex<Open>,
    /// True while it stands in the queue, or the engine has just taken it from there. Changes only under the lock of
    /// `open`.
    pub(super) listed: AtomicBool,
}

/// A lane while a chunk's records are appended.
pub struct Appending<'a> {
    output: &'a Output,
    lane: &'a Arc<Lane>,
    open: MutexGuard<'a, Open>,
    account: &'a Arc<Account>,
    source: u16,
    /// Records committed since the account last heard of them.
    unbooked: u32,
    /// Of the message that they are of.
    ack: Option<Arc<Ack>>,
    /// Dropped behind `open`: an engine on another thread that is woken before would wait for the lane.
    wake: Wake<'a>,
}

/// Wakes the engine at its end, if there is something to do.
struct Wake<'a> {
    engine: &'a Notify,
    is_due: bool,
}

/// However little memory there is, a batch may have so many bytes.
const BATCH_BYTES_LEAST: usize = 64 * 1024;
/// Lanes beyond which idle ones are forgotten. A task has one per container; templates can make many.
const LANES_MANY: usize = 1_024;

impl Output {
    pub(super) fn new(name: Arc<str>, destination: Arc<dyn Destination>, share: Share, counters: Counters) -> Self {
        let mut limits = destination.limits();
        // One under way, one that fills, and twice that because buffers grow by doubling: that much is nobody else's. With
        // larger batches, a neighbour that fills the rest of the memory would cost records of this output.
        let own = usize::try_from(share.own() / 4).unwrap_or(usize::MAX);
        limits.bytes = limits.bytes.min(own.max(BATCH_BYTES_LEAST));
        // Beside what the service counts there is what it does not: escapes, and what stands around the records.
        let room = limits.bytes + limits.bytes / 4;
        Self {
            name,
            limits,
            destination,
            stock: Arc::new(Stock::new(share.clone(), room)),
            share,
            counters,
            wake: Notify::new(),
            lanes: Mutex::default(),
            queue: Mutex::default(),
        }
    }

    /// The lane of `key`, made if need be.
    pub fn lane(&self, key: &Key) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(key) {
            return Arc::clone(lane);
        }
        if lanes.len() >= LANES_MANY {
            // Whoever holds a lane besides the map still uses it.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.lock().is_empty());
        }
        let lane = Arc::new(Lane {
            key: key.clone(),
            frame: self.destination.frame(key),
            open: Mutex::new(Open::new(self.share.lease())),
            listed: AtomicBool::new(false),
        });
        lanes.insert(key.clone(), Arc::clone(&lane));
        lane
    }

    /// Begins to append records of `account` to `lane`.
    pub fn append<'a>(&'a self, lane: &'a Arc<Lane>, account: &'a Arc<Account>) -> Appending<'a> {
        let mut open = lane.lock();
        let source = open.source(account);
        let wake = Wake { engine: &self.wake, is_due: false };
        Appending { output: self, lane, open, account, source, unbooked: 0, ack: None, wake }
    }

    /// True if about `bytes` more can be kept without giving up what waits already. Who can send again later asks before.
    pub fn has_room(&self, bytes: usize) -> bool {
        // A body that grows doubles; behind one that is full comes another with room for a whole batch.
        let room = self.limits.bytes + self.limits.bytes / 4;
        let wanted = ((2 * bytes).max(room) + BATCH_BYTES_LEAST) as u64;
        let mut lease = self.share.lease();
        lease.resize(wanted) || (self.stock.clear() && lease.resize(wanted)) || self.queue().could_release()
    }

    /// No more records will come: the engine may end when all are settled.
    pub fn close(&self) {
        self.queue().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the oldest batch that waits. False if none does.
    fn evict(&self) -> bool {
        let evicted = self.queue().evict();
        if evicted == Some(true) {
            self.counters.deliver_batches_evicted.with_label_values(&[&*self.name]).inc();
        }
        evicted.is_some()
    }

    /// Moves the open batch of `lane` to the queue.
    pub(super) fn seal(&self, lane: &Lane, open: &mut Open) {
        if !open.is_empty() {
            self.push(self.seal_alone(lane, open));
        }
    }

    /// Takes the open batch of `lane`.
    pub(super) fn seal_alone(&self, lane: &Lane, open: &mut Open) -> Pending {
        open.seal(lane.key.clone(), &lane.frame, self.share.lease(), &self.stock)
    }

    /// Adds a batch that was just sealed to the queue, and wakes the engine.
    pub(super) fn push(&self, pending: Pending) {
        if self.push_alone(pending) {
            self.wake.notify_one();
        }
    }

    /// Adds a batch that was just sealed to the queue. True if the engine has it.
    fn push_alone(&self, pending: Pending) -> bool {
        let mut queue = self.queue();
        if queue.ended {
            drop(queue);
            pending.lost(Lost::Stopped);
            return false;
        }
        queue.push(pending);
        true
    }

    /// Makes the engine look after the open batch of `lane`, and wakes it.
    pub(super) fn list(&self, lane: &Arc<Lane>, open: &mut Open) {
        if self.list_alone(lane, open) {
            self.wake.notify_one();
        }
    }

    /// Puts the open batch of `lane` on the engine's list. True if it is there.
    fn list_alone(&self, lane: &Arc<Lane>, open: &mut Open) -> bool {
        let mut queue = self.queue();
        if queue.ended {
            drop(queue);
            open.lose(Lost::Stopped);
            return false;
        }
        lane.listed.store(true, Ordering::Relaxed);
        queue.list(Arc::clone(lane), open.opened());
        true
    }
}

impl Lane {
    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless somebody has it: it must not be waited for by one who holds the queue's.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Open>> {
        match self.open.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Appending<'_> {
    /// Writes what stands before a record and returns the body to write it to.
    #[inline]
    pub fn begin(&mut self) -> &mut Body {
        if self.open.wants_room()
            && let Some(body) = self.output.stock.take()
        {
            self.open.body = body;
        }
        self.open.begin(&self.lane.frame);
        &mut self.open.body
    }

    /// Keeps the record written since [`begin`](Self::begin): it happened at `time` (milliseconds since 1970) and the
    /// service counts it as `counted` bytes. If it does not fit the limits, it becomes the first of a new batch.
    #[inline]
    pub fn commit(&mut self, time: i64, counted: usize) {
        self.commit_records(time, counted, 1);
    }

    /// The same for what cannot be cut apart and is so many `records`, 1 to [`Entry::RECORDS_MAX`](super::batch::Entry::RECORDS_MAX).
    #[inline]
    pub fn commit_records(&mut self, time: i64, counted: usize, records: u32) {
        let limits = &self.output.limits;
        let fits = self.open.counted() + counted <= limits.bytes
            && self.open.records() + records as usize <= limits.records
            && self.open.span_with(time) <= limits.span_milliseconds;
        if !fits && !self.open.is_empty() {
            self.begin_another();
        }
        self.open.commit(time, counted, self.source, records);
        self.unbooked += records;
    }

    /// What comes from here on is of a message that waits for `ack`, or of one that does not wait.
    pub fn of_message(&mut self, ack: Option<&Arc<Ack>>) {
        self.book();
        self.ack = ack.cloned();
    }

    /// Takes the record back and books it as refused.
    #[cold]
    pub fn refuse(&mut self, reason: Refused) {
        self.open.cancel(&self.lane.frame);
        self.account.accept(1).refused(1, reason);
    }

    /// Seals the batch without the record just written, which moves to the next one.
    #[cold]
    fn begin_another(&mut self) {
        let limits = &self.output.limits;
        // Another one as large may follow. But where times jump to and fro, each record has a batch of its own, and an
        // empty megabyte for each would fill the memory and take all the time.
        let full = self.open.counted() > limits.bytes / 2;
        let record = self.open.written().to_vec();
        self.open.cancel(&self.lane.frame);
        self.book();
        if self.lease() && !self.open.is_empty() {
            let pending = self.output.seal_alone(self.lane, &mut self.open);
            self.wake.is_due |= self.output.push_alone(pending);
        }
        self.source = self.open.source(self.account);
        if full {
            // The next one is likely to become as large. To grow there would copy it twice.
            self.open.body = self.output.stock.take_or_make();
        }
        self.open.begin(&self.lane.frame);
        self.open.body.put(&record);
    }

    fn book(&mut self) {
        self.open.accept(self.source, std::mem::take(&mut self.unbooked), self.ack.as_ref());
    }

    /// Covers the memory of the open batch. Makes room if need be; false if there is none, and the batch is lost.
    fn lease(&mut self) -> bool {
        if self.open.is_empty() {
            // Records that were refused leave no memory behind.
            self.open.clear();
            return true;
        }
        let bytes = self.open.memory();
        while !self.open.lease().resize(bytes) {
            if !self.output.stock.clear() && !self.output.evict() {
                self.open.lose(Lost::MemoryFull);
                return false;
            }
        }
        true
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.book();
        if self.lease() && !self.open.is_empty() && !self.lane.listed.load(Ordering::Relaxed) {
            // The first records of a batch: the engine must know when to seal it.
            self.wake.is_due |= self.output.list_alone(self.lane, &mut self.open);
        }
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        if self.is_due {
            self.engine.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::deliver::{self, Answer, Doing, Rules, batch::Batch, budget::Budget};

    struct Daily;

    impl Destination for Daily {
        fn limits(&self) -> Limits {
            Limits { bytes: 1 << 20, records: 10_000, span_milliseconds: 86_400_000 }
        }

        fn frame(&self, _: &Key) -> Frame {
            Frame { head: Bytes::from_static(b"["), separator: b",", tail: b"]" }
        }

        fn knows(&self, _: &Key) -> bool {
            true
        }

        fn send<'a>(&'a self, _: &'a Batch) -> Doing<'a, Answer> {
            Box::pin(std::future::ready(Answer::Delivered))
        }
    }

    /// A sender whose clock jumps gets a batch for each record. An empty megabyte for each pushed everybody's records
    /// out of the memory.
    #[tokio::test]
    async fn records_whose_times_jump_hold_little_memory_each() {
        let budget = Budget::new(64 << 20, 1);
        let (output, _engine) = deliver::deliver("daily", Arc::new(Daily), Rules::default(), &budget, &Counters::new());
        let (account, lane) = (Arc::new(Account::default()), output.lane(&Key::new("")));
        let mut appending = output.append(&lane, &account);
        for number in 0..1_000 {
            appending.begin().put(b"a record");
            appending.commit(number % 2 * 100_000_000, 8);
        }
        drop(appending);
        assert_eq!(output.queue().len(), 999);
        assert_eq!(account.totals().in_flight, 1_000);
        assert!(budget.used() < 1_500 * 1_000, "{} bytes", budget.used());
    }
}
