//! The bench's clock: one base for sender, sink and sampler.
//!
//! Promises: all times of a run are comparable, in microseconds since the run began.
//! Never: steps back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Copies of it agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
    unix: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("the year is past 1970");
        Self { base: Instant::now(), unix }
    }
}

impl Clock {
    /// Since the run began.
    pub fn now(&self) -> Duration {
        self.base.elapsed()
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.now().as_micros() as u64
    }

    /// The time of day at `since` the beginning, in nanoseconds since 1970.
    pub fn unix_nanos(&self, since: Duration) -> u128 {
        (self.unix + since).as_nanos()
    }
}
