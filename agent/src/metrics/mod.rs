//! The metrics job: what apps count and measure, for CloudWatch and for whoever scrapes the agent.
//!
//! ```text
//! StatsD ──┐            ┌─ series ─▶ /metrics
//! others ──┴─▶ store ───┤
//!                       └─ cells ── once a minute ─▶ out ─▶ deliver
//! ```
//!
//! Promises: a sample that was taken is told by exactly one flush; sums and counts are exact; there are never more series than the
//! settings say.
//! Never: holds up who sends.

pub mod asking;
pub mod cost;
pub mod declared;
pub mod distribution;
pub mod emf;
pub mod expose;
pub mod exposition;
mod expression;
pub mod flush;
pub mod job;
pub mod otlp;
pub mod out;
pub mod queue;
pub mod records;
pub mod relabel;
pub mod rhythm;
pub mod scrape;
pub mod settings;
pub mod statsd;
pub mod store;
pub mod task;

use tokio::time::Instant;

/// The clock of the store: seconds since the job began.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(Instant);

impl Seconds {
    /// Begins now.
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// How many have passed.
    pub fn now(self) -> u32 {
        u32::try_from(self.0.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self::new()
    }
}
