//! Once in a while what was gathered goes to the outputs.
//!
//! Windows begin at full multiples of their length since 1970, so that the minute that CloudWatch shows is the minute in which it
//! happened, and so that tasks that send the same metric add up to one value for each minute.
//!
//! Promises: what was gathered before a flush began is in it, with the time at which its window began.
//! Never: waits for a destination.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Seconds, cost, out::Sink, store::Store};
use crate::tell::counters::Counters;

/// Flushes one store.
pub struct Flusher {
    store: Store,
    seconds: Seconds,
    every: Duration,
    forget_after: Duration,
    counters: Counters,
    work: Mutex<Work>,
}

/// What one flush at a time uses.
struct Work {
    sinks: Vec<Sink>,
    /// What the counters show of the samples beyond a cap.
    overflowed: u64,
}

impl Flusher {
    /// Flushes `store` to `sinks`.
    pub fn new(
        store: Store,
        seconds: Seconds,
        (every, forget_after): (Duration, Duration),
        sinks: Vec<Sink>,
        counters: Counters,
    ) -> Self {
        Self { store, seconds, every, forget_after, counters, work: Mutex::new(Work { sinks, overflowed: 0 }) }
    }

    /// Flushes at the end of each window, until `closing`.
    pub async fn run(&self, closing: CancellationToken) {
        loop {
            let (began, left) = window(now(), self.every);
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = sleep(left) => {}
            }
            self.flush(began);
            let forget_after = u32::try_from(self.forget_after.as_secs()).unwrap_or(u32::MAX);
            self.store.forget(self.seconds.now().saturating_sub(forget_after));
        }
    }

    /// Flushes the window that is not over yet.
    pub fn flush_rest(&self) {
        let (began, _) = window(now(), self.every);
        self.flush(began);
    }

    fn flush(&self, began: Duration) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Work { sinks, overflowed } = &mut *work;
        let mut flush = self.store.flush();
        while flush.next(|namespace, datum| {
            for sink in &mut *sinks {
                sink.append(namespace, datum, began.as_secs());
            }
        }) {
            sinks.iter_mut().for_each(Sink::piece_ended);
        }
        sinks.iter_mut().for_each(|sink| sink.append_all(&self.store));
        let size = self.store.size();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.counters.metrics.series.set(number(size.series));
        self.counters.metrics.sent.set(number(size.cells));
        self.counters.metrics.dollars.set(cost::dollars_per_month(size.cells));
        self.counters.metrics.overflowed.inc_by(size.overflowed.saturating_sub(*overflowed));
        *overflowed = size.overflowed;
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// When the window of `now` began, and how long it goes on.
fn window(now: Duration, every: Duration) -> (Duration, Duration) {
    let every_nanos = every.as_nanos().max(1);
    let into = u64::try_from(now.as_nanos() % every_nanos).unwrap_or_default();
    let into = Duration::from_nanos(into);
    (now - into, every - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_full_multiples_of_their_length() {
        let of = |millis, every| {
            let (began, left) = window(Duration::from_millis(millis), Duration::from_secs(every));
            (began.as_millis(), left.as_millis())
        };
        assert_eq!(of(1_764_321_665_250, 60), (1_764_321_660_000, 54_750));
        assert_eq!(of(1_764_321_660_000, 60), (1_764_321_660_000, 60_000));
        assert_eq!(of(1_764_321_665_250, 10), (1_764_321_660_000, 4_750));
        assert_eq!(of(0, 1), (0, 1_000));
    }
}
