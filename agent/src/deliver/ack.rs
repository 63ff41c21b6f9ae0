//! Acknowledgements that wait for the disk or the service.
//!
//! A sender's message may become records of several outputs, in several batches, which are cut, halved, copied to disk and
//! delivered at different times. So nobody counts: each [`Receipt`](super::books::Receipt) with records of the message holds
//! the [`Ack`], a receipt that has done what was asked lets go of it, and whoever lets go last tells the sender.
//!
//! Promises: an answer is given at most once, and only if every record of the message is where the [`AckLevel`] says or was
//! refused for good; a record that was lost takes the answer back.
//! Never: waits, or costs anything at [`AckLevel::Accepted`], where no such thing is made.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Deserialize;

/// What an acknowledgement says of a message's records. A record that a filter drops, or that a service refuses for good,
/// is as good as delivered: to send it again would change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// They are in memory, and stand in the books.
    #[default]
    Accepted,
    /// They are safe in the spool, or were delivered.
    Spooled,
    /// The services have taken them.
    Delivered,
}

/// One message's acknowledgement, held by all that have records of it.
pub struct Ack {
    level: AckLevel,
    bytes: u64,
    broken: AtomicBool,
    tell: Option<Box<dyn FnOnce(bool) + Send + Sync>>,
}

impl Ack {
    /// An acknowledgement that holds `bytes` of memory. `tell` hears whether it may be given; it must not wait, because
    /// locks are held.
    pub fn new(level: AckLevel, bytes: usize, tell: impl FnOnce(bool) + Send + Sync + 'static) -> Self {
        let bytes = (bytes + size_of::<Self>()) as u64;
        Self { level, bytes, broken: AtomicBool::new(false), tell: Some(Box::new(tell)) }
    }

    /// It must not be given: a record is lost, or the message was not whole.
    pub fn take_back(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// True if records on disk are not enough.
    pub(super) fn awaits_delivery(&self) -> bool {
        self.level == AckLevel::Delivered
    }

    /// Bytes of memory that it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(!self.broken.load(Ordering::Relaxed));
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("level", &self.level).field("broken", &self.broken).finish_non_exhaustive()
    }
}
