//! Secrets never leave in a log: every value that the agent manages is masked in every record before any output sees it.
//!
//! ```text
//! secrets ─ agent.rs ─▶ Keeper (what is looked for) ─ which, encode ─▶ Filter ─ one pointer ─▶ Masker of each connection
//!                                                                                                 │ scan, walk if something is there
//!                                                              read ─────────────────────────────▶ masked in place ─▶ parse, filters, outputs
//! ```
//!
//! It happens in the buffer that was read, before a message is parsed, so that nothing behind it can show what was there. A read in
//! which nothing is found pays the scan and nothing else: 2 to 6 % of a record (docs/performance.md). How it finds, what it fills, which
//! values it looks for and in which forms: the modules of this folder.
//!
//! Promises: a value is masked in every text of every record that is read after [`Masks::replace`] has returned; bytes keep their
//! number; nothing is locked per record.
//! Never: shows a value, its length or a hash, or does I/O.

mod apply;
mod encode;
mod filter;
mod keep;
mod parts;
mod patterns;
mod table;
mod which;

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::time::Instant;
use tracing::{error, warn};

pub use keep::{Keeper, Secret};

use self::{
    apply::{Look, Plan},
    filter::{Filter, Found},
    parts::{MARK, MARKER, Parts},
    patterns::Patterns,
};
use super::forward::frame::{Entries, Finder};
use crate::{
    limits::{MASK_FOUND_MAX, MASK_PATTERNS_MAX},
    tell::{RateLimited, counters::Counters},
};

/// Secret bytes, wiped when they are dropped.
pub type Plain = zeroize::Zeroizing<Vec<u8>>;

/// Whether the values of a secret are masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// By the rules of [`which`].
    #[default]
    Auto,
    /// Also what looks like a word.
    Always,
    /// Not at all.
    Never,
}

/// Containers whose counters a connection keeps.
const COUNTED_MAX: usize = 16;
/// Pairs of container and secret that are told of.
const TOLD_MAX: usize = 1_024;
/// Warnings about apps that print secrets, at most so often.
static PRINTED: RateLimited = RateLimited::new(Duration::from_secs(10));

/// What is looked for in logs now. Clones share it.
#[derive(Clone)]
pub struct Masks(Arc<Shared>);

struct Shared {
    /// The number of the newest set. A reader that has it needs no lock.
    newest: AtomicU64,
    set: Mutex<Arc<Set>>,
    masked: IntCounterVec,
    left_out: IntGauge,
    /// Who was told of already: container and secret.
    told: Mutex<HashSet<(String, Arc<str>)>>,
    /// Secrets of which it was said that they cannot be masked.
    unfit: Mutex<HashSet<Arc<str>>>,
}

/// Patterns, and the names of the secrets they belong to.
struct Set {
    filter: Filter,
    names: Vec<Arc<str>>,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks(..)")
    }
}

impl Masks {
    /// Nothing is looked for yet.
    pub fn new(counters: &Counters) -> Self {
        Self(Arc::new(Shared {
            newest: AtomicU64::new(0),
            set: Mutex::new(Arc::new(Set { filter: Filter::new(&Patterns::default()), names: Vec::new() })),
            masked: counters.masking.spans.clone(),
            left_out: counters.masking.left_out.clone(),
            told: Mutex::default(),
            unfit: Mutex::default(),
        }))
    }

    /// From when this returns, what is read is searched for `secrets`, the first ones if there are too many. Takes milliseconds:
    /// not for a thread that serves others.
    pub fn replace(&self, secrets: &[Secret]) {
        let (set, left_out, unfit) = Set::new(secrets);
        for name in unfit {
            if lock(&self.0.unfit).insert(Arc::clone(&name)) {
                let hint = "it has less than 8 bytes, or is a number";
                warn!(secret = &*name, hint, "a secret has `mask: always`, and nothing in it that can be masked");
            }
        }
        if left_out > 0 && self.0.left_out.get() == 0 {
            error!(
                values = left_out,
                "there are more values of secrets than can be masked in logs; the oldest are not"
            );
        }
        self.0.left_out.set(i64::try_from(left_out).unwrap_or(i64::MAX));
        *lock(&self.0.set) = Arc::new(set);
        self.0.newest.fetch_add(1, Ordering::Release);
    }

    /// Bytes that the patterns take.
    pub fn bytes(&self) -> usize {
        lock(&self.0.set).filter.bytes()
    }

    /// For one connection.
    pub fn masker(&self) -> Masker {
        let (number, set) = self.current();
        Masker {
            masks: self.clone(),
            number,
            set,
            found: Vec::new(),
            is_flooded: false,
            scanned: 0,
            plan: Plan::default(),
            parts: Parts::default(),
            counted: Counted::default(),
        }
    }

    fn current(&self) -> (u64, Arc<Set>) {
        // The number first: what comes between is looked at again with the next read.
        let number = self.0.newest.load(Ordering::Acquire);
        (number, Arc::clone(&lock(&self.0.set)))
    }

    /// Counts what was masked in records of `container`, and says so the first time.
    fn count(&self, set: &Set, secrets: &[u32], counted: &mut Counted, container: &str) {
        let counters = counted.of(container);
        for &secret in secrets {
            let place = secret as usize;
            if let Some(Some(counter)) = counters.get(place) {
                counter.inc();
                continue;
            }
            let Some(name) = set.names.get(place) else { continue };
            let counter = self.0.masked.with_label_values(&[container, name]);
            counter.inc();
            if self.is_told(name, container) {
                counters.resize(counters.len().max(place + 1), None);
                counters[place] = Some(counter);
            }
        }
    }

    /// Says it, unless that was done or others were told of just now. True if it need not be said any more.
    fn is_told(&self, name: &Arc<str>, container: &str) -> bool {
        let mut told = lock(&self.0.told);
        let pair = (container.to_owned(), Arc::clone(name));
        // Made-up tags make more containers than a task can have.
        if told.len() >= TOLD_MAX || told.contains(&pair) {
            return true;
        }
        let Some(suppressed) = PRINTED.allow(Instant::now()) else { return false };
        told.insert(pair);
        warn!(container, secret = &**name, suppressed, "an app writes a secret to its log; it is masked");
        true
    }
}

impl Set {
    /// The patterns of `secrets`, how many values there was no room for, and the names of those that should be masked whatever
    /// they are, and cannot be.
    fn new(secrets: &[Secret]) -> (Self, usize, Vec<Arc<str>>) {
        let mut unfit = Vec::new();
        let mut patterns = Patterns::default();
        let mut names: Vec<Arc<str>> = Vec::new();
        // A secret that apps read by the API and find in a file is told of twice. Its forms take room once.
        let (hasher, mut told) = (RandomState::new(), HashSet::new());
        let mut left_out = 0;
        for secret in secrets {
            let known = names.iter().position(|name| *name == secret.name);
            let number = known.unwrap_or_else(|| {
                names.push(Arc::clone(&secret.name));
                names.len() - 1
            });
            let parts = which::parts(&secret.called, &secret.value, secret.mask);
            if parts.is_empty() && secret.mask == Mask::Always {
                unfit.push(Arc::clone(&secret.name));
            }
            for part in parts.into_iter().filter(|part| told.insert((hasher.hash_one(&part[..]), part.len()))) {
                let forms = encode::forms(&part);
                if patterns.len() + forms.len() > MASK_PATTERNS_MAX {
                    left_out += 1;
                    continue;
                }
                patterns.push_forms(forms.iter().map(|text| &text[..]), number as u32);
            }
        }
        if !patterns.is_empty() {
            patterns.push(MARK, MARKER);
        }
        (Self { filter: Filter::new(&patterns), names }, left_out, unfit)
    }
}

/// Masks what one connection brings.
pub struct Masker {
    masks: Masks,
    number: u64,
    set: Arc<Set>,
    /// What was found in the messages that are not taken yet, by where they begin.
    found: Vec<Found>,
    /// Not all of it.
    is_flooded: bool,
    /// Bytes of them that were searched.
    scanned: usize,
    plan: Plan,
    parts: Parts,
    counted: Counted,
}

/// Counters of what is counted and told of already, by container, each in the place of its secret: to find one among the metrics
/// costs as much as to mask.
#[derive(Default)]
struct Counted(Vec<(String, Vec<Option<IntCounter>>)>);

impl Counted {
    fn of(&mut self, container: &str) -> &mut Vec<Option<IntCounter>> {
        let known = self.0.iter().position(|(of, _)| of == container);
        let place = known.unwrap_or_else(|| {
            // Made-up tags make more containers than a task can have.
            if self.0.len() >= COUNTED_MAX {
                self.0.clear();
            }
            self.0.push((container.to_owned(), Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(..)")
    }
}

impl Masker {
    /// Masks the whole messages that `bytes` begin with, which are those of the last call without what was
    /// [taken](Self::taken), and more. `count` gets the tag of messages in which something was masked, and what
    /// [`Masked::count`] takes. `finder` is the connection's own.
    pub fn messages(
        &mut self,
        bytes: &mut [u8],
        finder: &mut Finder,
        bytes_max: usize,
        mut count: impl FnMut(&[u8], Masked<'_>),
    ) {
        self.scan(bytes);
        if self.found.is_empty() {
            return;
        }
        let look = Look { filter: &self.set.filter, bytes, found: &self.found, is_flooded: self.is_flooded };
        look.messages(finder, bytes_max, &mut self.parts, &mut self.plan);
        self.plan.carry_out(bytes);
        for (tag, secrets) in self.plan.masked() {
            count(&bytes[tag], Masked { masks: &self.masks, set: &self.set, secrets, counted: &mut self.counted });
        }
        self.plan.clear();
    }

    /// The messages in the first `bytes` are done with.
    pub fn taken(&mut self, bytes: usize) {
        if bytes > 0 && self.is_flooded {
            // Not all was found that stands behind them.
            self.forget();
        }
        self.scanned = self.scanned.saturating_sub(bytes);
        if self.found.is_empty() {
            return;
        }
        self.found.retain_mut(|found| {
            let stays = found.start >= bytes;
            if stays {
                found.start -= bytes;
                found.end -= bytes;
            }
            stays
        });
    }

    /// Masks the entries of one message, which come without one: opened, or made of JSON.
    pub fn entries(&mut self, entries: &mut [u8], container: &str) {
        self.refresh();
        let mut found = Vec::new();
        self.set.filter.scan(entries, &mut found);
        if found.is_empty() {
            return;
        }
        found.sort_unstable();
        let is_flooded = found.len() >= MASK_FOUND_MAX;
        let look = Look { filter: &self.set.filter, bytes: entries, found: &found, is_flooded };
        self.plan.begin(entries, 0..0);
        // What is broken ends the entries here and for who reads them.
        let _ = look.entries(Entries::Packed(entries), 0, &found, &mut self.parts, &mut self.plan);
        self.plan.carry_out(entries);
        for (_, secrets) in self.plan.masked() {
            self.masks.count(&self.set, secrets, &mut self.counted, container);
        }
        self.plan.clear();
    }

    fn scan(&mut self, bytes: &[u8]) {
        self.refresh();
        let filter = &self.set.filter;
        let from = self.scanned.saturating_sub(filter.longest().saturating_sub(1));
        let before = self.found.len();
        filter.scan(&bytes[from..], &mut self.found);
        self.is_flooded |= self.found.len() >= MASK_FOUND_MAX;
        if self.found.len() > before {
            let mut place = 0;
            let scanned = self.scanned;
            self.found.retain_mut(|found| {
                place += 1;
                if place > before {
                    found.start += from;
                    found.end += from;
                }
                // What ends before was found the last time.
                place <= before || found.end > scanned
            });
            self.found.sort_unstable();
        }
        self.scanned = bytes.len();
    }

    fn forget(&mut self) {
        (self.scanned, self.found, self.is_flooded) = (0, Vec::new(), false);
    }

    /// Takes what is looked for now. Bytes that were searched for less are searched again.
    fn refresh(&mut self) {
        if self.masks.0.newest.load(Ordering::Acquire) != self.number {
            (self.number, self.set) = self.masks.current();
            // Their numbers are those of the set.
            self.counted = Counted::default();
            self.forget();
        }
    }
}

/// What was masked in messages with one tag.
pub struct Masked<'a> {
    masks: &'a Masks,
    set: &'a Set,
    secrets: &'a [u32],
    counted: &'a mut Counted,
}

impl Masked<'_> {
    /// Counts it for `container`.
    pub fn count(self, container: &str) {
        self.masks.count(self.set, self.secrets, self.counted, container);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
