//! What waits at one output: sealed batches, the one with the oldest record first, and lanes with an open batch, the one
//! open for longest first.
//!
//! Promises: the order of age, also for batches that come back, so that the front is always the oldest; what may be sent next
//! is found without a look at the batches behind, however many wait.
//! Never: waits for a lane: its lock comes before the queue's, so from here it is only tried.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Destination, batch::Pending, books::Lost, lane::Lane};

/// What orders batches: when the first record came, and among those of one instant the number.
pub(super) type Age = (Instant, u64);

/// Batches and lanes in the order in which they wait.
pub(super) struct Queue<D: Destination> {
    /// The sealed batches of each key, the oldest first. No key without one.
    sealed: HashMap<D::Key, VecDeque<Pending<D::Key>>>,
    /// The oldest batch of each key: only these can be sent next.
    fronts: BTreeMap<Age, D::Key>,
    open: VecDeque<Listed<D>>,
    /// Sealed batches.
    waiting: usize,
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
            sealed: HashMap::new(),
            fronts: BTreeMap::new(),
            open: VecDeque::new(),
            waiting: 0,
            numbered: 0,
            closed: false,
            ended: false,
        }
    }
}

impl<D: Destination> Queue<D> {
    /// Sealed batches that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// True if nothing waits, sealed or open.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0 && self.open.is_empty()
    }

    /// Adds a batch that was just sealed.
    pub(super) fn push(&mut self, mut pending: Pending<D::Key>) {
        pending.number = self.numbered;
        self.numbered += 1;
        self.put_back(pending);
    }

    /// Adds a batch that waited before, or a part of one, in its old place.
    pub(super) fn put_back(&mut self, pending: Pending<D::Key>) {
        let (key, age) = (&pending.batch.key, pending.age());
        if !self.sealed.contains_key(key) {
            self.sealed.insert(key.clone(), VecDeque::new());
        }
        let Some(batches) = self.sealed.get_mut(key) else { return };
        let place = batches.partition_point(|other| other.age() < age);
        if place == 0 {
            if let Some(front) = batches.front() {
                self.fronts.remove(&front.age());
            }
            self.fronts.insert(age, key.clone());
        }
        batches.insert(place, pending);
        self.waiting += 1;
    }

    /// Adds a lane whose batch was opened at `since`.
    pub(super) fn list(&mut self, lane: Arc<Lane<D>>, since: Instant) {
        let place = self.open.partition_point(|other| other.since <= since);
        self.open.insert(place, Listed { since, lane });
    }

    /// The oldest batch that may be sent at `now`: its key is free and does not rest.
    pub(super) fn sendable(&self, now: Instant, is_free: impl Fn(&D::Key) -> bool) -> Option<Age> {
        let rests = |batch: &Pending<D::Key>| batch.not_before.is_some_and(|time| now < time);
        self.fronts().find(|batch| !rests(batch) && is_free(&batch.batch.key)).map(Pending::age)
    }

    /// The place of the longest open batch that would be sent next of its key.
    pub(super) fn sealable(&self, is_free: impl Fn(&D::Key) -> bool) -> Option<usize> {
        self.open.iter().position(|listed| is_free(&listed.lane.key) && !self.sealed.contains_key(&listed.lane.key))
    }

    /// When the open batch at `place` was opened.
    pub(super) fn open_since(&self, place: usize) -> Instant {
        self.open[place].since
    }

    /// Takes the oldest batch of a key, which is of this `age`.
    pub(super) fn take(&mut self, age: Age) -> Option<Pending<D::Key>> {
        let key = self.fronts.remove(&age)?;
        let batches = self.sealed.get_mut(&key)?;
        let pending = batches.pop_front();
        match batches.front() {
            Some(next) => drop(self.fronts.insert(next.age(), key)),
            None => drop(self.sealed.remove(&key)),
        }
        self.waiting -= usize::from(pending.is_some());
        pending
    }

    /// The oldest batch of each key, the oldest of all first.
    fn fronts(&self) -> impl Iterator<Item = &Pending<D::Key>> {
        self.fronts.values().filter_map(|key| self.sealed.get(key)?.front())
    }

    /// Takes the lane at `place`. Its mark `listed` is the caller's to change, under the lane's lock.
    pub(super) fn unlist(&mut self, place: usize) -> Option<Listed<D>> {
        self.open.remove(place)
    }

    /// Since when the oldest batch waits whose key rests.
    pub(super) fn resting_since(&self) -> Option<Instant> {
        self.fronts().find(|pending| pending.not_before.is_some()).map(|pending| pending.since)
    }

    /// When the next batch that rests may be sent.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.fronts().filter_map(|pending| pending.not_before).filter(|&time| time > now).min()
    }

    /// Lets no batch rest longer than `at_most` from `now`.
    pub(super) fn hasten(&mut self, now: Instant, at_most: Duration) {
        self.sealed.values_mut().flatten().for_each(|pending| pending.hasten(now, at_most));
    }

    /// Gives up the oldest records, a whole batch of them. False if there are none that can be given up.
    pub(super) fn evict(&mut self) -> bool {
        let oldest = self.fronts.keys().next().copied();
        if self.evict_open(oldest.map(|(since, _)| since)) {
            return true;
        }
        match oldest.and_then(|age| self.take(age)) {
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
    pub(super) fn end(&mut self) -> (Vec<Pending<D::Key>>, VecDeque<Listed<D>>) {
        self.ended = true;
        self.fronts.clear();
        self.waiting = 0;
        let sealed = std::mem::take(&mut self.sealed).into_values().flatten().collect();
        (sealed, std::mem::take(&mut self.open))
    }
}
