//! What waits at one output: sealed batches, the one with the oldest record first, and lanes with an open batch, the one
//! open for longest first.
//!
//! Promises: the order of age, also for batches that come back, so that the front is always the oldest; whether a key has a
//! batch that waits is known without a search.
//! Never: waits for a lane: its lock comes before the queue's, so from here it is only tried.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Destination, batch::Pending, books::Lost, lane::Lane};

/// Batches and lanes in the order in which they wait.
pub(super) struct Queue<D: Destination> {
    sealed: VecDeque<Pending<D::Key>>,
    open: VecDeque<Listed<D>>,
    /// How many sealed batches each key has.
    waiting: HashMap<D::Key, usize>,
    /// Batches sealed so far: the number of the next.
    numbered: u64,
    /// No more records will come.
    pub(super) closed: bool,
    /// Nobody sends any more: what still comes is lost.
    pub(super) ended: bool,
}

/// A lane with an open batch.
pub(super) struct Listed<D: Destination> {
    /// When the batch was opened. If it was sealed meanwhile because it was full, the lane's own time is later.
    pub(super) since: Instant,
    pub(super) lane: Arc<Lane<D>>,
}

impl<D: Destination> Default for Queue<D> {
    fn default() -> Self {
        Self {
            sealed: VecDeque::new(),
            open: VecDeque::new(),
            waiting: HashMap::new(),
            numbered: 0,
            closed: false,
            ended: false,
        }
    }
}

impl<D: Destination> Queue<D> {
    /// Sealed batches that wait.
    pub(super) fn len(&self) -> usize {
        self.sealed.len()
    }

    /// True if nothing waits, sealed or open.
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_empty()
    }

    /// Adds a batch that was just sealed.
    pub(super) fn push(&mut self, mut pending: Pending<D::Key>) {
        pending.number = self.numbered;
        self.numbered += 1;
        self.put_back(pending);
    }

    /// Adds a batch that waited before, or a part of one, in its old place.
    pub(super) fn put_back(&mut self, pending: Pending<D::Key>) {
        *self.waiting.entry(pending.batch.key.clone()).or_default() += 1;
        let place = self.sealed.partition_point(|other| other.age() < pending.age());
        self.sealed.insert(place, pending);
    }

    /// Adds a lane whose batch was opened at `since`.
    pub(super) fn list(&mut self, lane: Arc<Lane<D>>, since: Instant) {
        let place = self.open.partition_point(|other| other.since <= since);
        self.open.insert(place, Listed { since, lane });
    }

    /// The place of the oldest batch that may be sent at `now`: its key is free, and no older batch of its key waits.
    pub(super) fn sendable(&self, now: Instant, is_free: impl Fn(&D::Key) -> bool) -> Option<usize> {
        let mut blocked: HashSet<&D::Key> = HashSet::new();
        self.sealed.iter().position(|pending| {
            let key = &pending.batch.key;
            let rests = pending.not_before.is_some_and(|time| now < time);
            if !rests && is_free(key) && !blocked.contains(key) {
                return true;
            }
            blocked.insert(key);
            false
        })
    }

    /// The place of the longest open batch that would be sent next of its key.
    pub(super) fn sealable(&self, is_free: impl Fn(&D::Key) -> bool) -> Option<usize> {
        self.open.iter().position(|listed| is_free(&listed.lane.key) && !self.waiting.contains_key(&listed.lane.key))
    }

    /// When the oldest record of the sealed batch at `place` came.
    pub(super) fn sealed_since(&self, place: usize) -> Instant {
        self.sealed[place].since
    }

    /// When the open batch at `place` was opened.
    pub(super) fn open_since(&self, place: usize) -> Instant {
        self.open[place].since
    }

    /// Takes the sealed batch at `place`.
    pub(super) fn take(&mut self, place: usize) -> Option<Pending<D::Key>> {
        let pending = self.sealed.remove(place)?;
        let key = &pending.batch.key;
        match self.waiting.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.waiting.remove(key)),
        }
        Some(pending)
    }

    /// Takes the lane at `place`. Its mark `listed` is the caller's to change, under the lane's lock.
    pub(super) fn unlist(&mut self, place: usize) -> Option<Listed<D>> {
        self.open.remove(place)
    }

    /// Since when the oldest batch waits whose key rests.
    pub(super) fn resting_since(&self) -> Option<Instant> {
        self.sealed.iter().find(|pending| pending.not_before.is_some()).map(|pending| pending.since)
    }

    /// When the next batch that rests may be sent.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.sealed.iter().filter_map(|pending| pending.not_before).filter(|&time| time > now).min()
    }

    /// Lets no batch rest longer than `at_most` from `now`.
    pub(super) fn hasten(&mut self, now: Instant, at_most: Duration) {
        self.sealed.iter_mut().for_each(|pending| pending.hasten(now, at_most));
    }

    /// Gives up the oldest records, a whole batch of them. False if there are none that can be given up.
    pub(super) fn evict(&mut self) -> bool {
        let sealed = self.sealed.front().map(|pending| pending.since);
        if self.evict_open(sealed) {
            return true;
        }
        match self.take(0) {
            Some(pending) => {
                pending.lost(Lost::MemoryFull);
                true
            }
            None => false,
        }
    }

    /// Gives up the longest open batch, if it is older than `sealed` and nobody appends to it just now.
    fn evict_open(&mut self, sealed: Option<Instant>) -> bool {
        for place in 0..self.open.len() {
            let Listed { since, lane } = &self.open[place];
            if sealed.is_some_and(|sealed| sealed <= *since) {
                return false;
            }
            let Some(mut open) = lane.try_lock() else { continue };
            open.lose(Lost::MemoryFull);
            lane.listed.store(false, Ordering::Relaxed);
            drop(open);
            self.open.remove(place);
            return true;
        }
        false
    }

    /// Ends the queue and returns what is left in it.
    pub(super) fn end(&mut self) -> (VecDeque<Pending<D::Key>>, VecDeque<Listed<D>>) {
        self.ended = true;
        self.waiting.clear();
        (std::mem::take(&mut self.sealed), std::mem::take(&mut self.open))
    }
}
