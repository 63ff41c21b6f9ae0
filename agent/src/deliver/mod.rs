//! The delivery engine: keeps batches, sends them, understands the answer, sends again what must be sent again, and
//! balances the books.
//!
//! ```text
//! job ─ append ─▶ open batch (per key) ─ full, or old enough ─▶ queue ─ engine ─▶ Destination::send ─▶ Answer
//!                                                                 ▲                                     │
//!                                                                 └──── again, in its old place ◀───────┘
//! ```
//!
//! Batches of one key are sent one after another, in order; those of different keys beside each other, as many as the
//! service bears ([`pace`]), the oldest first. An open batch is sealed only when it is full or will be sent at once. While
//! its key or the service is busy or down, it goes on filling: an outage makes batches larger, not more.
//!
//! Locks, in this order: a lane's open batch, then the queue, then accounts and budget.
//!
//! Promises: accepted = delivered + refused + lost + spooled + in flight, always; a failed batch is sent again whole only
//! if nothing of it was taken; memory stays within the [`budget`].
//! Never: knows what a record is, or decides what an answer of AWS means.
//!
//! With a spool, what is not delivered soon, or does not fit the memory, is copied to disk by a thread of its own ([`disk`]) and
//! read back when its turn comes. Where a batch is, in memory, on disk or both, changes nothing of its place in the queue.

pub mod ack;
pub mod batch;
pub mod body;
pub mod books;
pub mod budget;
pub mod collect;
pub mod disk;
#[cfg(test)]
mod disk_tests;
mod engine;
mod entry;
pub mod escape;
pub mod lane;
pub mod outputs;
pub mod pace;
pub mod pending;
#[cfg(test)]
mod prepare_tests;
mod queue;
pub mod spool;
pub mod spooling;
mod standing;
pub mod stock;
#[cfg(test)]
mod tests;

use std::{ops::Range, pin::Pin, sync::Arc, time::Duration};

pub use engine::Engine;
pub use standing::Standing;

use batch::{Batch, Frame};
use books::Refused;
use budget::Budget;
use lane::Output;

use crate::tell::counters::Counters;

/// What tells batches apart that must not be mixed, for example group and stream: a text, by which a later process finds it
/// again on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a destination does in its own time.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where batches go.
///
/// The engine knows it by this trait alone: one engine in the binary, not one for each kind of destination. What is called here
/// is called for each batch; nothing is for each record.
pub trait Destination: Send + Sync + 'static {
    /// How large a batch may be.
    fn limits(&self) -> Limits;

    /// What stands around and between the records of a body for `key`.
    fn frame(&self, key: &Key) -> Frame;

    /// True if `key` is one that this destination makes. What stands on disk may be anybody's.
    fn knows(&self, key: &Key) -> bool;

    /// Works out what can be known before a batch is sent, while another one is under way. Keeps it in the batch's
    /// [`memo`](Batch::memo).
    fn prepare<'a>(&'a self, _batch: &'a Batch) -> Doing<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Sends one batch and says what the answer means. Makes no second attempt: the engine does.
    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer>;
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, as the service counts them.
    pub bytes: usize,
    /// Records.
    pub records: usize,
    /// Between the earliest and the latest record.
    pub span_milliseconds: u64,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Answer {
    /// All of it was taken.
    Delivered,
    /// All but these was taken.
    Partial(Vec<Verdict>),
    /// All but so many records was taken. Which those are, the service does not say, and it will not take them later.
    Short {
        /// Records that were not taken.
        refused: u32,
        /// Why, for a person. Never holds a record or a secret.
        detail: String,
    },
    /// Nothing was taken; it may be later.
    Again {
        /// Why, for the pace and the counter.
        cause: Cause,
        /// Why, for a person. Never holds a record or a secret.
        detail: String,
        /// Not before that, said the service.
        after: Option<Duration>,
    },
    /// Nothing was taken, because what must be there first is not, and could not be made. That is no attempt of the batch.
    Unprepared {
        /// Why, for the pace and the counter.
        cause: Cause,
        /// Why, for a person. Never holds a record or a secret.
        detail: String,
        /// Not before that, said the service.
        after: Option<Duration>,
    },
    /// Nothing was taken, and this batch will not be, because of its size or of a record in it: halves may.
    Divide {
        /// Why, for a person. Never holds a record or a secret.
        detail: String,
    },
}

/// What became of some records of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Their places among the entries.
    pub records: Range<usize>,
    /// What became of them.
    pub fate: Fate,
}

/// What became of a record that was not taken with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never will be.
    Refused(Refused),
    /// It is to be sent again, alone.
    Again,
}

/// Why a batch must be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The service asked us to slow down.
    Throttled,
    /// The service answered that it cannot now.
    Unavailable,
    /// The service was not reached.
    Unreachable,
    /// No answer came in time, or it broke off: the batch may have been taken.
    Ambiguous,
    /// We have no valid credentials.
    Credentials,
    /// We are not allowed to. Only this key is concerned.
    Denied,
    /// What we send to does not exist, and we may not create it. Only this key is concerned.
    Missing,
}

impl Cause {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Ambiguous => "ambiguous",
            Self::Credentials => "credentials",
            Self::Denied => "denied",
            Self::Missing => "missing",
        }
    }

    /// True if other keys of the output can still be sent.
    pub const fn is_of_the_key(self) -> bool {
        matches!(self, Self::Denied | Self::Missing)
    }
}

/// When to give a batch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After the first failure.
    Never,
    /// After so many retries, but not before [`Rules::patience`].
    AtLeast(u32),
    /// Not before [`Rules::age_max`].
    Unlimited,
}

/// How an output delivers.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The longest that a record waits for others while all is well.
    pub linger: Duration,
    /// Requests at a time for one key. 1 keeps the order.
    pub workers_per_key: usize,
    /// Requests at a time for the output.
    pub workers: usize,
    /// When to give a batch up.
    pub retry: Retry,
    /// With [`Retry::AtLeast`]: how long to go on trying even if the retries are used up.
    pub patience: Duration,
    /// A record older than this is given up.
    pub age_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            // A quarter of a second of company halves the requests of a chatty task and is not noticed by a reader.
            linger: Duration::from_millis(250),
            workers_per_key: 1,
            workers: 8,
            retry: Retry::Unlimited,
            patience: Duration::from_secs(30 * 60),
            age_max: Duration::from_secs(24 * 3_600),
        }
    }
}

/// Makes an output: the handle to append to, and the engine to run.
pub fn deliver(
    name: &str,
    destination: Arc<impl Destination>,
    rules: Rules,
    budget: &Budget,
    counters: &Counters,
) -> (Arc<Output>, Engine) {
    let output = Arc::new(Output::new(name.into(), destination, budget.share(), counters.clone()));
    (Arc::clone(&output), Engine::new(output, rules))
}
