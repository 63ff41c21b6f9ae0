//! How an output stands.
//!
//! Promises: plain numbers of one moment.
//! Never: decides whether they are good or bad.

use std::time::Duration;

use tokio::time::Instant;

/// How an output stands, for health and status.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Requests under way.
    pub flying: usize,
    /// Batches that wait.
    pub waiting: usize,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
    /// Bytes on disk.
    pub spool_bytes: u64,
    /// The disk refused what was to be written last.
    pub spool_degraded: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// How long records wait for others now.
    pub linger: Duration,
    /// Since when nothing was delivered although something waits, or since when records wait of a key that is denied or
    /// missing.
    pub stuck_since: Option<Instant>,
    /// The last failure, for a person.
    pub last_failure: Option<String>,
}
