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

use super::{
    Key,
    batch::Batch,
    books::Lost,
    lane::Lane,
    pending::{DiskCopy, Pending},
    spool::Id,
};

/// What orders batches: when the first record came, and among those of one instant the number.
pub(super) type Age = (Instant, u64);

/// Batches and lanes in the order in which they wait.
pub(super) struct Queue {
    /// The sealed batches of each key, the oldest first. No key without one.
    sealed: HashMap<Key, VecDeque<Pending>>,
    /// The oldest batch of each key: only these can be sent next.
    fronts: BTreeMap<Age, Key>,
    open: VecDeque<Listed>,
    /// Sealed batches.
    waiting: usize,
    /// Batches of earlier processes so far: the number of the next.
    adopted: u64,
    /// The number of the next batch that is sealed.
    numbered: u64,
    /// No more records will come.
    pub(super) closed: bool,
    /// Nobody sends any more: what still comes is lost.
    pub(super) ended: bool,
}

/// A lane with an open batch.
pub(super) struct Listed {
    /// When the batch was opened. If it was sealed meanwhile because it was full, the lane's own time is later.
    pub(super) since: Instant,
    pub(super) lane: Arc<Lane>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            sealed: HashMap::new(),
            fronts: BTreeMap::new(),
            open: VecDeque::new(),
            waiting: 0,
            adopted: 0,
            // Behind all that could be adopted.
            numbered: 1 << 40,
            closed: false,
            ended: false,
        }
    }
}

impl Queue {
    /// Sealed batches that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// True if nothing waits, sealed or open.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0 && self.open.is_empty()
    }

    /// Adds a batch of an earlier process. They come in order.
    pub(super) fn adopt(&mut self, mut pending: Pending) {
        pending.number = self.adopted;
        self.adopted += 1;
        self.put_back(pending);
    }

    /// Adds a batch that was just sealed.
    pub(super) fn push(&mut self, mut pending: Pending) {
        self.number(&mut pending);
        self.put_back(pending);
    }

    /// Gives a batch that was just sealed its place among those of one instant.
    pub(super) fn number(&mut self, pending: &mut Pending) {
        pending.number = self.numbered;
        self.numbered += 1;
    }

    /// Adds a batch that waited before, or a part of one, in its old place.
    pub(super) fn put_back(&mut self, pending: Pending) {
        let (key, age) = (&pending.key, pending.age());
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
    pub(super) fn list(&mut self, lane: Arc<Lane>, since: Instant) {
        let place = self.open.partition_point(|other| other.since <= since);
        self.open.insert(place, Listed { since, lane });
    }

    /// The oldest batch that may be sent at `now`: its key is free and does not rest.
    pub(super) fn sendable(&self, now: Instant, is_free: impl Fn(&Key) -> bool) -> Option<Age> {
        let rests = |batch: &Pending| batch.not_before.is_some_and(|time| now < time);
        self.fronts().find(|batch| !rests(batch) && is_free(&batch.key)).map(Pending::age)
    }

    /// The place of the longest open batch that would be sent next of its key.
    pub(super) fn sealable(&self, is_free: impl Fn(&Key) -> bool) -> Option<usize> {
        self.open.iter().position(|listed| is_free(&listed.lane.key) && !self.sealed.contains_key(&listed.lane.key))
    }

    /// When the open batch at `place` was opened.
    pub(super) fn open_since(&self, place: usize) -> Instant {
        self.open[place].since
    }

    /// Takes the oldest batch of a key, which is of this `age`.
    pub(super) fn take(&mut self, age: Age) -> Option<Pending> {
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

    /// Takes the batches of `key` that come next, as long as `is_wanted`.
    pub(super) fn take_while(&mut self, key: &Key, mut is_wanted: impl FnMut(&Pending) -> bool) -> Vec<Pending> {
        let mut taken = Vec::new();
        while let Some(next) = self.sealed.get(key).and_then(|batches| batches.front()).filter(|next| is_wanted(next)) {
            let age = next.age();
            taken.extend(self.take(age));
        }
        taken
    }

    /// True if a sealed batch of `key` waits.
    pub(super) fn has_sealed(&self, key: &Key) -> bool {
        self.sealed.contains_key(key)
    }

    /// Takes the lane of `key`, if it has an open batch and no sealed one waits. Its mark `listed` is the caller's to change.
    pub(super) fn unlist_key(&mut self, key: &Key) -> Option<Listed> {
        let place = self.open.iter().position(|listed| listed.lane.key == *key)?;
        if self.has_sealed(key) { None } else { self.unlist(place) }
    }

    /// The batch that is likely to be sent next, if it is in memory.
    pub(super) fn next(&self) -> Option<(Age, &Arc<Batch>)> {
        let front = self.fronts().next()?;
        Some((front.age(), front.batch.as_ref()?))
    }

    /// Takes the batch that is likely to be sent next, if it is only on disk and does not rest.
    pub(super) fn take_next_on_disk(&mut self, now: Instant) -> Option<Pending> {
        let next = self.fronts().next()?;
        let rests = next.not_before.is_some_and(|time| now < time);
        if next.batch.is_some() || rests || !matches!(next.copy, DiskCopy::Stored(_)) {
            return None;
        }
        let age = next.age();
        self.take(age)
    }

    /// The oldest batch of each key, the oldest of all first.
    fn fronts(&self) -> impl Iterator<Item = &Pending> {
        self.fronts.values().filter_map(|key| self.sealed.get(key)?.front())
    }

    /// Takes the lane at `place`. Its mark `listed` is the caller's to change, under the lane's lock.
    pub(super) fn unlist(&mut self, place: usize) -> Option<Listed> {
        self.open.remove(place)
    }

    /// Since when the oldest batch waits whose key rests.
    pub(super) fn resting_since(&self) -> Option<Instant> {
        // One that was never sent only waits for company.
        let rests = |pending: &&Pending| pending.not_before.is_some() && pending.attempts > 0;
        self.fronts().find(rests).map(|pending| pending.since)
    }

    /// When the next batch that rests may be sent.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.fronts().filter_map(|pending| pending.not_before).filter(|&time| time > now).min()
    }

    /// Lets no batch rest longer than `at_most` from `now`.
    pub(super) fn hasten(&mut self, now: Instant, at_most: Duration) {
        self.sealed.values_mut().flatten().for_each(|pending| pending.hasten(now, at_most));
    }

    /// Makes room: gives back the memory of a batch that is on disk too, else gives up the oldest records, a whole batch of
    /// them. `None` if there is nothing that can be given up, else whether records were.
    pub(super) fn evict(&mut self) -> Option<bool> {
        if self.release() {
            return Some(false);
        }
        let oldest = self.oldest_in_memory();
        if self.evict_open(oldest.as_ref().map(|(_, (since, _))| *since)) {
            return Some(true);
        }
        let (key, age) = oldest?;
        self.remove(&key, age)?.lost(Lost::MemoryFull);
        Some(true)
    }

    /// Gives back the memory of the newest batch that is on disk too. False if there is none.
    pub(super) fn release(&mut self) -> bool {
        let stored = |batch: &&mut Pending| batch.batch.is_some() && matches!(batch.copy, DiskCopy::Stored(_));
        let newest = self.sealed.values_mut().filter_map(|batches| batches.iter_mut().rev().find(stored));
        newest.max_by_key(|batch| batch.age()).is_some_and(Pending::release)
    }

    /// True if a batch is in memory of which there is, or will be, a copy on disk.
    pub(super) fn could_release(&self) -> bool {
        let kept = |batch: &Pending| batch.batch.is_some() && !matches!(batch.copy, DiskCopy::None | DiskCopy::Part(_));
        self.sealed.values().flatten().any(kept)
    }

    fn oldest_in_memory(&self) -> Option<(Key, Age)> {
        let in_memory = |batch: &&Pending| batch.batch.is_some();
        // Without a spool that is the first one looked at.
        let front = self.fronts().next().filter(in_memory);
        let search = || {
            let oldest = self.sealed.values().filter_map(|batches| batches.iter().find(in_memory));
            oldest.min_by_key(|batch| batch.age())
        };
        front.or_else(search).map(|batch| (batch.key.clone(), batch.age()))
    }

    /// Takes the batch of this key and age, wherever it stands.
    fn remove(&mut self, key: &Key, age: Age) -> Option<Pending> {
        let batches = self.sealed.get_mut(key)?;
        let place = batches.iter().position(|batch| batch.age() == age)?;
        if place == 0 {
            return self.take(age);
        }
        self.waiting -= 1;
        batches.remove(place)
    }

    /// The batch of this key and age for which `is_it`, if it waits here.
    pub(super) fn find(&mut self, key: &Key, age: Age, is_it: impl Fn(&Pending) -> bool) -> Option<&mut Pending> {
        let batches = self.sealed.get_mut(key)?;
        let from = batches.partition_point(|batch| batch.age() < age);
        batches.iter_mut().skip(from).take_while(|batch| batch.age() == age).find(|batch| is_it(batch))
    }

    /// Batches that are in memory only, the oldest first.
    pub(super) fn unsaved(&self) -> Vec<(Key, Age)> {
        let all = self.sealed.values().flatten().filter(|batch| matches!(batch.copy, DiskCopy::None));
        let mut found: Vec<_> = all.map(|batch| (batch.key.clone(), batch.age())).collect();
        found.sort_unstable_by_key(|(_, age)| *age);
        found
    }

    /// Takes every batch whose copy on disk has an id for which `is_gone`, if there is nothing else of it. The others are in
    /// memory only from now on.
    pub(super) fn forget(&mut self, is_gone: impl Fn(Id) -> bool) -> Vec<Pending> {
        let mut gone = Vec::new();
        for batch in self.sealed.values_mut().flatten() {
            if batch.copy.is_of(&is_gone) && !batch.is_stored_no_more() {
                gone.push((batch.key.clone(), batch.age()));
            }
        }
        gone.into_iter().filter_map(|(key, age)| self.remove(&key, age)).collect()
    }

    /// When the longest open batch was opened.
    pub(super) fn oldest_open(&self) -> Option<Instant> {
        self.open.front().map(|listed| listed.since)
    }

    /// True if open batches wait, of which the first was opened before `time`.
    pub(super) fn is_open_since(&self, time: Instant) -> bool {
        self.oldest_open().is_some_and(|since| since <= time)
    }

    /// Gives up the longest open batch, if it is older than `sealed` and nobody appends to it just now.
    fn evict_open(&mut self, sealed: Option<Instant>) -> bool {
        for place in 0..self.open.len() {
            let Listed { since, lane } = &self.open[place];
            if sealed.is_some_and(|sealed| sealed <= *since) {
                return false;
            }
            let Some(mut open) = lane.try_lock() else { continue };
            // The batch that was listed may have been sealed because it was full, and this is a newer one.
            if sealed.is_some_and(|sealed| sealed <= open.opened()) {
                continue;
            }
            open.lose(Lost::MemoryFull);
            lane.listed.store(false, Ordering::Relaxed);
            drop(open);
            self.open.remove(place);
            return true;
        }
        false
    }

    /// Ends the queue and returns what is left in it.
    pub(super) fn end(&mut self) -> (Vec<Pending>, VecDeque<Listed>) {
        self.ended = true;
        self.fronts.clear();
        self.waiting = 0;
        let sealed = std::mem::take(&mut self.sealed).into_values().flatten().collect();
        (sealed, std::mem::take(&mut self.open))
    }
}
