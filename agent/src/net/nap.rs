//! Naps shorter than the runtime's timer knows, whose tick is a millisecond.
//!
//! Promises: others have their turn meanwhile; the time is kept to some ten microseconds if a CPU is free.
//! Never: naps by the clock that tests pause.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timer of the kernel's.
#[derive(Debug)]
pub struct Nap(AsyncFd<OwnedFd>);

impl Nap {
    /// A timer, to be used again and again.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "its successor asks the caller to promise what an OwnedFd keeps by itself")]
        AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
    }

    /// Sleeps for `time`, at least a microsecond.
    pub async fn take(&self, time: Duration) -> io::Result<()> {
        let time = time.max(Duration::from_micros(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                return read.map(|_| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_nap_is_as_long_as_was_asked_for() {
        let nap = Nap::new().expect("a timer");
        for micros in [0, 1, 300, 2_000] {
            let (begun, asked) = (Instant::now(), Duration::from_micros(micros));
            nap.take(asked).await.expect("a nap");
            assert!(begun.elapsed() >= asked);
        }
    }

    #[tokio::test]
    async fn a_nap_that_was_broken_off_does_not_shorten_the_next() {
        let nap = Nap::new().expect("a timer");
        tokio::select! {
            biased;
            _ = nap.take(Duration::from_micros(1)) => {}
            () = tokio::task::yield_now() => {}
        }
        let (begun, asked) = (Instant::now(), Duration::from_millis(5));
        nap.take(asked).await.expect("a nap");
        assert!(begun.elapsed() >= asked, "{:?}", begun.elapsed());
    }
}
