//! The thread that owns an output's spool, how the engine speaks with it, and how a batch lies on disk.
//!
//! ```text
//! engine ── orders: save, load, settle ──▶ thread ── append, sync, read ──▶ spool::Store
//!        ◀── events: saved, loaded, .. ───
//! entry on disk:  length of head u32, crc32c of head u32, head (JSON), entries of 16 bytes, body     (little-endian)
//! ```
//!
//! Orders that come while the disk is busy are done together, with one sync for all. An entry is settled when the last
//! handle to it is dropped, which is when the last of its records is delivered, refused or lost.
//!
//! Promises: nobody but this thread waits for the disk; what was reported as saved was synced; each order is answered.
//! Never: holds more orders than there are batches that wait.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Deserialize;

use super::{
    entry::{Head, MARK_BYTES, head_bytes, read_head},
    spool::{AppendError, Found, Id, NotDurable, ReadError, Store},
};
use crate::tell::chain;

/// How often what was settled is noted on disk. What is not noted is sent again after a crash.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a head that are read at once.
const HEAD_BYTES: usize = 4_096;

/// What to do when the spool is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest records on disk are given up.
    #[default]
    DropOldest,
    /// What is on disk stays; new records are kept in memory as long as there is room.
    DropNewest,
}

/// What the engine wants of the thread.
#[derive(Debug)]
pub(super) enum Order {
    Save { ticket: u64, records: NonZeroU32, head: Vec<u8>, body: Bytes },
    Load { ticket: u64, id: Id },
    Settle(Id),
    Close,
}

/// What the thread tells the engine.
#[derive(Debug)]
pub(super) enum Event {
    /// An earlier process left this. They come before everything else.
    Found {
        id: Id,
        head: Head,
    },
    /// That was all. So many records were damaged.
    Listed {
        lost: u64,
    },
    Saved {
        ticket: u64,
        id: Id,
    },
    NotSaved {
        ticket: u64,
        why: String,
    },
    Loaded {
        ticket: u64,
        bytes: Vec<u8>,
    },
    /// Another time it may be read.
    NotLoaded {
        ticket: u64,
        why: String,
        again: bool,
    },
    /// These were given up to make room.
    Evicted(Vec<Id>),
    /// The thread has ended.
    Closed,
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct Disk(Arc<Desk>);

struct Desk {
    orders: Mutex<Vec<Order>>,
    ordered: Condvar,
    events: Mutex<Vec<Event>>,
    /// What is written and not yet synced. It survives the process, but perhaps not the machine.
    written: Mutex<Vec<(u64, Id)>>,
    /// Nothing more is to be written.
    ends: AtomicBool,
    /// Tells the engine to look.
    wake: Box<dyn Fn() + Send + Sync>,
    used: AtomicU64,
    degraded: AtomicBool,
}

/// Stands for an entry on disk. When the last one is dropped, the entry is settled.
#[derive(Debug)]
pub struct Stored {
    id: Id,
    desk: Arc<Desk>,
    keep: AtomicBool,
}

impl Stored {
    /// Which entry.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Leaves the entry to the next process.
    pub(super) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Relaxed) {
            self.desk.order(Order::Settle(self.id));
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("used", &self.used).field("degraded", &self.degraded).finish_non_exhaustive()
    }
}

impl Desk {
    fn order(&self, order: Order) {
        lock(&self.orders).push(order);
        self.ordered.notify_one();
    }

    fn tell(&self, events: Vec<Event>) {
        if !events.is_empty() {
            lock(&self.events).extend(events);
            (self.wake)();
        }
    }

    /// The orders that came, after at most `wait`.
    fn take(&self, wait: Duration) -> Vec<Order> {
        let orders = lock(&self.orders);
        let waited = self.ordered.wait_timeout_while(orders, wait, |orders| orders.is_empty());
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *orders)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Starts the thread over `store`, in which `found` was found. `wake` is called when there are events.
    pub(super) fn start(
        store: Store,
        found: Found,
        when_full: WhenFull,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            orders: Mutex::default(),
            ordered: Condvar::new(),
            events: Mutex::default(),
            written: Mutex::default(),
            ends: AtomicBool::new(false),
            wake: Box::new(wake),
            used: AtomicU64::new(store.used()),
            degraded: AtomicBool::new(store.is_degraded()),
        });
        let told = Arc::clone(&desk);
        thread::Builder::new().name("spool".to_owned()).spawn(move || {
            // Also if it panics: the engine must not wait for it for ever.
            let _closed = Closing(Arc::clone(&told));
            Keeper { store, when_full, desk: told, noted: Instant::now(), to_note: false }.work(found);
        })?;
        Ok(Self(desk))
    }

    pub(super) fn order(&self, order: Order) {
        self.0.order(order);
    }

    /// What was told since the last call.
    pub(super) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.0.events))
    }

    /// A handle to an entry.
    pub(super) fn stored(&self, id: Id) -> Arc<Stored> {
        Arc::new(Stored { id, desk: Arc::clone(&self.0), keep: AtomicBool::new(false) })
    }

    /// The end does not wait for the disk any longer: no other batch is written from now on. Gives what is written and was not
    /// reported, since the next process finds it. If the thread is within a write, that one batch may be found besides.
    pub(super) fn give_up(&self) -> Vec<(u64, Id)> {
        self.0.ends.store(true, Ordering::SeqCst);
        lock(&self.0.written).clone()
    }

    /// Bytes on disk.
    pub(super) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// True if the disk refused what was to be written last, or nobody writes any more.
    pub(super) fn is_degraded(&self) -> bool {
        self.0.degraded.load(Ordering::Relaxed)
    }
}

struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.degraded.store(true, Ordering::Relaxed);
        }
        self.0.tell(vec![Event::Closed]);
    }
}

/// What the thread has.
struct Keeper {
    store: Store,
    when_full: WhenFull,
    desk: Arc<Desk>,
    noted: Instant,
    /// Something was appended or settled since.
    to_note: bool,
}

impl Keeper {
    fn work(mut self, found: Found) {
        let lost = self.list(&found);
        self.desk.tell(vec![Event::Listed { lost }]);
        // What is known to be lost need not be found again.
        let _ = self.store.save_cursor();
        while self.serve() {}
        // What is settled and not noted is sent once more by the next process.
        let _ = self.store.save_cursor();
    }

    /// Tells what an earlier process left. Returns how many records of it cannot be read.
    fn list(&mut self, found: &Found) -> u64 {
        let mut lost = found.lost.records();
        for entry in &found.waiting {
            match self.head_of(entry.id) {
                Some(head) => self.desk.tell(vec![Event::Found { id: entry.id, head }]),
                None => {
                    self.store.settle(entry.id);
                    lost += u64::from(entry.records);
                }
            }
        }
        lost
    }

    fn head_of(&mut self, id: Id) -> Option<Head> {
        let start = self.store.peek(id, HEAD_BYTES).ok()?;
        let bytes = MARK_BYTES + head_bytes(&start)?;
        let start = if bytes > start.len() { self.store.peek(id, bytes).ok()? } else { start };
        read_head(&start).map(|(head, _)| head)
    }

    /// Does all orders there are. False if the last one was to close.
    fn serve(&mut self) -> bool {
        let mut events = Vec::new();
        let mut saved: Vec<(u64, Id)> = Vec::new();
        let mut closes = false;
        const IDLE: Duration = Duration::from_secs(3_600);
        for order in self.desk.take(if self.to_note { NOTE_EVERY } else { IDLE }) {
            self.to_note |= matches!(order, Order::Save { .. } | Order::Settle(_));
            match order {
                Order::Save { ticket, .. } if self.desk.ends.load(Ordering::SeqCst) => {
                    events.push(Event::NotSaved { ticket, why: "the agent ends".to_owned() });
                }
                Order::Save { ticket, records, head, body } => {
                    match self.append(records, &[&head, &body], &mut saved, &mut events) {
                        Ok(id) => saved.push((ticket, id)),
                        Err(error) => events.push(Event::NotSaved { ticket, why: error.to_string() }),
                    }
                    lock(&self.desk.written).clone_from(&saved);
                }
                Order::Load { ticket, id } => events.push(match self.store.read(id) {
                    Ok(bytes) => Event::Loaded { ticket, bytes },
                    Err(error) => {
                        let again = matches!(error, ReadError::Io { .. });
                        Event::NotLoaded { ticket, why: chain(&error).to_string(), again }
                    }
                }),
                Order::Settle(id) => {
                    self.store.settle(id);
                }
                Order::Close => closes = true,
            }
        }
        if !saved.is_empty()
            && let Err(NotDurable { ids, source }) = self.store.sync()
        {
            let (lost, kept) = saved.into_iter().partition(|(_, id)| ids.contains(id));
            saved = kept;
            let tell = |(ticket, _): (u64, Id)| Event::NotSaved { ticket, why: source.to_string() };
            events.extend(<Vec<(u64, Id)>>::into_iter(lost).map(tell));
        }
        lock(&self.desk.written).clear();
        events.extend(saved.into_iter().map(|(ticket, id)| Event::Saved { ticket, id }));
        if !closes && self.to_note && self.noted.elapsed() >= NOTE_EVERY {
            // Also if nothing was settled: what vanishes from the end after this leaves no trace. If it fails, the next time
            // may not.
            self.to_note = self.store.save_cursor().is_err();
            self.noted = Instant::now();
        }
        self.desk.used.store(self.store.used(), Ordering::Relaxed);
        self.desk.degraded.store(self.store.is_degraded(), Ordering::Relaxed);
        self.desk.tell(events);
        !closes
    }

    fn append(
        &mut self,
        records: NonZeroU32,
        parts: &[&[u8]],
        saved: &mut Vec<(u64, Id)>,
        events: &mut Vec<Event>,
    ) -> Result<Id, AppendError> {
        loop {
            match self.store.append(records, parts) {
                Err(AppendError::Full) if self.when_full == WhenFull::DropOldest => {
                    let Some(evicted) = self.store.evict_oldest() else { return Err(AppendError::Full) };
                    saved.retain(|(ticket, id)| {
                        let stays = !evicted.ids.contains(id);
                        if !stays {
                            let why = "it was given up to make room".to_owned();
                            events.push(Event::NotSaved { ticket: *ticket, why });
                        }
                        stays
                    });
                    events.push(Event::Evicted(evicted.ids));
                }
                outcome => return outcome,
            }
        }
    }
}
