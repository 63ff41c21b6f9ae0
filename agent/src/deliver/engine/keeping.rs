//! What goes to disk, and when, if there is a spool.
//!
//! - Memory is short (half of it is used, and this output has its part in that): everything that waits is copied, the oldest first, so that a spool that is full
//!   gives up the oldest; and what is on disk gives its memory back, the newest first, because it is sent last.
//! - A batch has waited for [`SAVE_AFTER`], or for [`SAVE_SOON_AFTER`] while its service fails. It is copied, and stays in
//!   memory while there is room, so that a crash costs the last seconds only, and a disk that pauses may do so for as long
//!   as it takes to fill the memory that is free.
//! - The agent stops: what was not delivered within [`STOP_SAVES_AFTER`] is copied.
//! - A sender waits until its records are on disk: everything is copied within [`AT_ONCE_AFTER`], which is what one sync has
//!   for company. What is sealed for that waits for company of its own before it is sent ([`super::joining`]).
//!
//! Promises: the order of a key's batches is the same on disk and in memory; nothing is sent before what an earlier process
//! left is known; a disk that fails costs what memory cannot hold, and nothing else.
//! Never: waits for the disk, but at the end.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::Engine;
use crate::deliver::{
    Key,
    books::{Books, Lost},
    budget::Lease,
    disk::{Disk, Order, WhenFull},
    entry::{Head, write_head},
    pending::{DiskCopy, Pending},
    queue::Age,
    spool::{Found, Id, Store},
};
use crate::tell::chain;

/// How long a batch waits before it is copied although there is memory.
const SAVE_AFTER: Duration = Duration::from_secs(5);
/// The same while the service fails: nobody expects it to be taken in a moment.
const SAVE_SOON_AFTER: Duration = Duration::from_secs(1);
/// How long an open batch goes on filling before it is sealed to be copied.
const SEAL_AFTER: Duration = Duration::from_secs(30);
/// How long a record waits for others before it is copied while somebody waits for that. A sync takes some 4 ms.
const AT_ONCE_AFTER: Duration = Duration::from_millis(10);
/// How long a batch waits before it is copied while the agent stops.
const STOP_SAVES_AFTER: Duration = Duration::from_secs(1);
/// Bytes on their way to the disk at a time, and so beyond what the budget says if they are delivered meanwhile.
const WRITING_MAX: u64 = 4 * 1024 * 1024;
/// How long a disk that refused is left alone.
pub(super) const DISK_REST: Duration = Duration::from_secs(1);
/// How often batches are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the end may wait for the disk: to copy what is left, and to note what was settled.
const LAST_COPIES_MAX: Duration = Duration::from_millis(200);
const CLOSING_MAX: Duration = Duration::from_millis(150);

/// What the engine knows of the disk.
pub(super) struct Keeping {
    pub(super) disk: Disk,
    pub(super) books: Books,
    /// Somebody waits until records are on disk.
    at_once: bool,
    /// Batches that are being written, and their bytes.
    pub(super) writing: HashMap<u64, (Key, Age, u64)>,
    pub(super) loading: HashMap<u64, Pending>,
    next: u64,
    /// What an earlier process left is not all known yet.
    pub(super) listing: bool,
    pub(super) found: Vec<(Id, Head)>,
    /// Which process this is, of those that used the spool.
    pub(super) run: u64,
    pub(super) begun: Instant,
    pub(super) rests_until: Option<Instant>,
    /// Memory for batches that are read back, which new records cannot take.
    pub(super) reserve: Lease,
    reserve_bytes: u64,
    stops_since: Option<Instant>,
    pub(super) closed: bool,
}

impl Engine {
    /// Keeps in `store` what does not fit the memory or is not delivered soon, or everything `at_once`, and delivers what was
    /// `found` there. If there cannot be a thread for that, it does without, and what was found stays there.
    #[must_use]
    pub fn with_spool(mut self, store: Store, found: Found, when_full: WhenFull, at_once: bool, books: Books) -> Self {
        let output = Arc::clone(&self.output);
        let started = Disk::start(store, found, when_full, move || output.wake.notify_one());
        let disk = match started {
            Ok(disk) => disk,
            Err(error) => {
                error!(output = &*self.output.name, error = %chain(&error), "no thread for the spool; there is none");
                return self;
            }
        };
        self.keeping = Some(Keeping {
            disk,
            books,
            at_once,
            writing: HashMap::new(),
            loading: HashMap::new(),
            next: 0,
            listing: true,
            found: Vec::new(),
            run: 0,
            begun: Instant::now(),
            rests_until: None,
            reserve: self.output.share.lease(),
            // Two of the largest batches, if that is within what is this output's own.
            reserve_bytes: (2 * self.output.stock.room()).min(self.output.share.own()),
            stops_since: None,
            closed: false,
        });
        self
    }

    pub(super) fn is_listing(&self) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| keeping.listing)
    }

    pub(super) fn disk_is_idle(&self) -> bool {
        self.keeping
            .as_ref()
            .is_none_or(|keeping| !keeping.listing && keeping.writing.is_empty() && keeping.loading.is_empty())
    }

    /// Requests and loads under way.
    pub(super) fn under_way(&self) -> usize {
        self.flying.len() + self.keeping.as_ref().map_or(0, |keeping| keeping.loading.len())
    }

    /// Bytes on disk, and whether it refused something.
    pub(super) fn on_disk(&self) -> (u64, bool) {
        self.keeping.as_ref().map_or((0, false), |keeping| (keeping.disk.used(), keeping.disk.is_degraded()))
    }

    /// Asks for a batch that is only on disk.
    pub(super) fn load(&mut self, pending: Pending) {
        let open = self.keeping.as_mut().filter(|keeping| !keeping.closed);
        let (Some(keeping), DiskCopy::Stored(stored)) = (open, &pending.copy) else {
            // Nobody reads the disk any more: the next process will.
            pending.leave(Lost::SpoolDamaged);
            return;
        };
        let ticket = keeping.ticket();
        keeping.disk.order(Order::Load { ticket, id: stored.id() });
        let key = pending.key.clone();
        keeping.loading.insert(ticket, pending);
        self.occupy(&key);
    }

    /// Has the next batch read back while a request is under way to a service that is well, one at a time: the reserve holds two. Its key is occupied
    /// until it is there, so that nothing that comes after it is sent before it.
    pub(super) fn load_ahead(&mut self) {
        let idle = self.keeping.as_ref().is_some_and(|keeping| keeping.loading.is_empty() && !keeping.closed);
        if !idle || self.stopping || self.pace.failures() > 0 {
            return;
        }
        let next = self.output.queue().take_next_on_disk(Instant::now());
        if let Some(pending) = next {
            self.load(pending);
        }
    }

    /// Makes sure that the next batch can be read back.
    pub(super) fn refill_reserve(&mut self) {
        if let Some(Keeping { reserve, reserve_bytes, .. }) = &mut self.keeping {
            reserve.resize(*reserve_bytes);
        }
    }

    /// Copies to disk what should be there, and gives back the memory of what is, if memory is short.
    pub(super) fn keep(&mut self, now: Instant) {
        self.refill_reserve();
        let Some(keeping) = &mut self.keeping else { return };
        let is_short = |engine: &Self| engine.output.share.is_short();
        if self.stopping && keeping.stops_since.is_none() {
            keeping.stops_since = Some(now);
        }
        if keeping.closed || keeping.listing {
            return;
        }
        let (seal_after, save_after) = match self.pace.failures() {
            _ if keeping.at_once => (AT_ONCE_AFTER, Duration::ZERO),
            0 => (SEAL_AFTER, SAVE_AFTER),
            _ => (SEAL_AFTER, SAVE_SOON_AFTER),
        };
        let stops = keeping.stops_since.is_some_and(|since| now >= since + STOP_SAVES_AFTER);
        let rests = keeping.rests_until.is_some_and(|until| now < until);
        while is_short(self) && self.output.queue().release() {}
        if rests {
            return;
        }
        let short = is_short(self);
        if stops || short || self.output.queue().is_open_since(before(now, seal_after)) {
            self.seal_to_save(before(now, seal_after), stops, short);
        }
        let waited = before(now, save_after);
        self.save(|(since, _)| stops || short || since <= waited, WRITING_MAX);
    }

    /// Seals what is open: all of it while we stop, what was opened `before` a time, and while memory is short the oldest if
    /// nothing else can be copied.
    fn seal_to_save(&mut self, before: Instant, stops: bool, short: bool) {
        let idle = self.keeping.as_ref().is_some_and(|keeping| keeping.writing.is_empty());
        let mut one = short && idle && self.output.queue().unsaved().is_empty();
        loop {
            let mut queue = self.output.queue();
            if !stops && !one && !queue.is_open_since(before) {
                return;
            }
            one = false;
            let Some(listed) = queue.unlist(0) else { return };
            drop(queue);
            let mut open = listed.lane.lock();
            listed.lane.listed.store(false, Ordering::Relaxed);
            if !open.is_empty() {
                let mut pending = self.output.seal_alone(&listed.lane, &mut open);
                pending.not_before = Some(pending.since + self.linger());
                self.output.push(pending);
            }
        }
    }

    /// Orders copies of the batches for which `is_due`, as long as fewer than `bytes_max` bytes are on their way.
    fn save(&mut self, is_due: impl Fn(Age) -> bool, bytes_max: u64) {
        let Some(keeping) = &mut self.keeping else { return };
        let mut queue = self.output.queue();
        for (key, age) in queue.unsaved() {
            if keeping.bytes_writing() >= bytes_max {
                return;
            }
            let is_it = |batch: &Pending| matches!(batch.copy, DiskCopy::None) && batch.batch.is_some();
            let Some(pending) = queue.find(&key, age, is_it).filter(|_| is_due(age)) else { continue };
            let (Some(batch), Some(records)) = (pending.batch.clone(), pending.unsettled()) else { continue };
            let ticket = keeping.next;
            keeping.next += 1;
            let sources = pending.sources();
            let head = Head {
                key: key.as_str().to_owned(),
                run: keeping.run,
                number: age.1,
                since: now_in_milliseconds() - i64::try_from(age.0.elapsed().as_millis()).unwrap_or(0),
                sources: sources.iter().map(|(account, count)| (account.source().to_string(), *count)).collect(),
                entries: u32::try_from(batch.entries.len()).unwrap_or(u32::MAX),
            };
            pending.copy = DiskCopy::Asked(ticket);
            keeping.writing.insert(ticket, (key, age, batch.body.len() as u64));
            let order = Order::Save { ticket, records, head: write_head(&head, &batch), body: batch.body.clone() };
            keeping.disk.order(order);
        }
    }

    /// When batches should be looked at again.
    pub(super) fn keeps_at(&self, now: Instant) -> Option<Instant> {
        let keeping = self.keeping.as_ref().filter(|keeping| !keeping.closed)?;
        let waits = !self.output.queue().is_empty();
        let rests = keeping.rests_until.filter(|&until| until > now);
        let open = self.output.queue().oldest_open().filter(|_| keeping.at_once).map(|since| since + AT_ONCE_AFTER);
        waits.then(|| rests.or(open).unwrap_or(now + LOOK_EVERY))
    }

    /// Copies everything that is left, as far as that is done in a moment.
    pub(super) async fn keep_all(&mut self) {
        if self.keeping.is_none() {
            return;
        }
        let now = Instant::now();
        self.seal_to_save(now, true, false);
        for part in std::mem::take(&mut self.flights).into_values().flat_map(|flight| flight.parts) {
            // Whether they were taken will not be known any more.
            self.output.queue().put_back(part);
        }
        // A process that ends as soon as it has begun has not heard yet what is there.
        self.until_disk(|engine| !engine.is_listing(), LAST_COPIES_MAX).await;
        if self.is_listing() {
            return;
        }
        self.save(|_| true, u64::MAX);
        let written = |engine: &Self| engine.keeping.as_ref().is_none_or(|keeping| keeping.writing.is_empty());
        self.until_disk(written, LAST_COPIES_MAX).await;
        let unreported = self.keeping.as_ref().map(|keeping| keeping.disk.give_up());
        for (ticket, id) in unreported.unwrap_or_default() {
            self.saved(ticket, id);
        }
    }

    pub(super) fn take_loading(&mut self) -> Vec<Pending> {
        let loading = self.keeping.as_mut().map(|keeping| std::mem::take(&mut keeping.loading));
        loading.unwrap_or_default().into_values().collect()
    }

    /// Notes on disk what was settled, and lets go of it.
    pub(super) async fn close_disk(mut self) {
        let Some(keeping) = &self.keeping else { return };
        keeping.disk.order(Order::Close);
        let closed = |engine: &Self| engine.keeping.as_ref().is_none_or(|keeping| keeping.closed);
        self.until_disk(closed, CLOSING_MAX).await;
    }

    async fn until_disk(&mut self, is_done: impl Fn(&Self) -> bool, at_most: Duration) {
        let wait = async {
            loop {
                self.hear_disk(Instant::now());
                if is_done(self) {
                    return;
                }
                self.output.wake.notified().await;
            }
        };
        if timeout(at_most, wait).await.is_err() {
            warn!(output = &*self.output.name, "the disk of the spool does not answer; it is not waited for");
        }
    }
}

impl Keeping {
    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn bytes_writing(&self) -> u64 {
        self.writing.values().map(|(_, _, bytes)| bytes).sum()
    }
}

pub(super) fn before(now: Instant, time: Duration) -> Instant {
    now.checked_sub(time).unwrap_or(now)
}

pub(super) fn now_in_milliseconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
