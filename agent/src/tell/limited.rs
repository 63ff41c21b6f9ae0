//! A limit on how often the same warning is said.
//!
//! Promises: at most one `Some` per period; the number of the suppressed ones is never lost, it comes with the next.
//! Never: reads the clock.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// One repeated warning. Share it, or keep it in a `static`.
///
/// ```
/// # use std::time::Duration;
/// # use pillion::tell::RateLimited;
/// static SLOW: RateLimited = RateLimited::new(Duration::from_secs(10));
/// if let Some(suppressed) = SLOW.allow(tokio::time::Instant::now()) {
///     tracing::warn!(suppressed, "output is slow");
/// }
/// ```
#[derive(Debug)]
pub struct RateLimited {
    per: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    said: Option<Instant>,
    suppressed: u64,
}

impl RateLimited {
    /// Allows one event in `per`; the first is always allowed.
    pub const fn new(per: Duration) -> Self {
        Self { per, state: Mutex::new(State { said: None, suppressed: 0 }) }
    }

    /// `Some(n)` if the event may be said now; `n` were suppressed since the last one that was.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        // Two plain numbers: a panic elsewhere cannot have left them half-written.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let too_soon = state.said.is_some_and(|said| now.saturating_duration_since(said) < self.per);
        if too_soon {
            state.suppressed += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_event_a_period_is_allowed_and_carries_the_number_of_the_others() {
        let limited = RateLimited::new(Duration::from_secs(10));
        assert_eq!(limited.allow(Instant::now()), Some(0));
        for _ in 0..41 {
            assert_eq!(limited.allow(Instant::now()), None);
        }
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(limited.allow(Instant::now()), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(limited.allow(Instant::now()), Some(42));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(limited.allow(Instant::now()), Some(0));
    }

    /// A clock that goes back must not silence a warning for ever, nor panic.
    #[tokio::test(start_paused = true)]
    async fn a_time_in_the_past_is_only_too_soon() {
        let limited = RateLimited::new(Duration::from_secs(10));
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limited.allow(Instant::now()), Some(0));
        assert_eq!(limited.allow(before), None);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(limited.allow(Instant::now()), Some(1));
    }
}
