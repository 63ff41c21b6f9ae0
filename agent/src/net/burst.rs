//! Reads datagrams in bursts: a thread waits for one, takes all that are there with it, and naps for a moment where more are expected
//! within it, so that the next ones come together. A wake-up costs more than all else that is done for a datagram.
//!
//! Promises: an error of the socket never ends the reading; what the kernel dropped is counted; once the agent stops it goes on until
//! nothing came for half a second.
//! Never: looks into a datagram, or waits for anything but datagrams.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::datagram::{DATAGRAM_BYTES_MAX, Datagrams, Received};
use crate::tell::{RateLimited, chain};

/// Datagrams of a burst. With segments of 1.5 KB that is some 100 us of work.
const BURST_MAX: usize = 64;
/// The longest nap. With twenty datagrams in each the wake-up is a tenth of what they cost.
const NAP_MAX: Duration = Duration::from_millis(4);
/// Bytes that may come in a millisecond of nap until the kernel has no place for them: 90 segments of 1.3 KB, or 270 lines of StatsD, with
/// what the kernel adds. With the 212,992 bytes (`net.core.rmem_max`, which counts twice) of a host that nobody has changed, a nap is 2 ms.
const BYTES_PER_MILLISECOND: usize = 208 * 1_024;
/// So many naps' time is what is known of the rate.
const MEMORY: f64 = 4.0;
/// The pause behind an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// How often the kernel is asked what it dropped.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A warning of one kind, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Reads one socket.
pub struct Bursts {
    datagrams: Datagrams,
    overflowed: IntCounter,
    /// What the kernel had dropped when it was asked last.
    known_overflow: AtomicU64,
    warned: RateLimited,
    warned_of_overflow: RateLimited,
    /// Cancelled when the agent stops.
    stopping: CancellationToken,
    /// Cancelled when nothing more is to be read.
    closing: CancellationToken,
}

/// Datagrams that are there already.
pub struct Burst<'a> {
    datagrams: &'a Datagrams,
    buffer: &'a mut [u8],
    /// The one that was waited for.
    first: Option<Received>,
    count: usize,
}

impl Burst<'_> {
    /// The next one, if it is there and has its place in this burst.
    pub fn datagram(&mut self) -> Option<&[u8]> {
        self.datagram_and_source().map(|(datagram, _)| datagram)
    }

    /// The same, and who sent it if the socket tells.
    pub fn datagram_and_source(&mut self) -> Option<(&[u8], Option<SocketAddr>)> {
        let Received { bytes, source } = match self.first.take() {
            Some(received) => received,
            None if self.count == BURST_MAX => return None,
            // An error is told by the next read that waits.
            None => self.datagrams.next_at_once(self.buffer).ok().flatten()?,
        };
        self.count += 1;
        Some((&self.buffer[..bytes], source))
    }
}

impl Bursts {
    /// Reads `datagrams` until `stopping` and nothing comes, or until `closing`. Counts in `overflowed` what the kernel dropped.
    pub fn new(
        datagrams: Datagrams,
        overflowed: IntCounter,
        stopping: CancellationToken,
        closing: CancellationToken,
    ) -> Self {
        Self {
            datagrams,
            overflowed,
            known_overflow: AtomicU64::new(0),
            warned: RateLimited::new(WARN_EVERY),
            warned_of_overflow: RateLimited::new(WARN_EVERY),
            stopping,
            closing,
        }
    }

    /// Gives each burst to `take`, which takes what is in it. Blocks: it wants a thread of its own.
    pub fn read(&self, mut take: impl FnMut(&mut Burst<'_>)) {
        let (mut buffer, mut asked) = (vec![0; DATAGRAM_BYTES_MAX], Instant::now());
        let mut pace = Pace::new(self.datagrams.kept_bytes(), asked);
        while !self.closing.is_cancelled() {
            match self.datagrams.next(&mut buffer) {
                Ok(first @ Some(_)) => {
                    let mut burst = Burst { datagrams: &self.datagrams, buffer: &mut buffer, first, count: 0 };
                    take(&mut burst);
                    if let Some(nap) = pace.nap(burst.count, Instant::now()) {
                        thread::sleep(nap);
                    }
                }
                Ok(None) if self.stopping.is_cancelled() => break,
                Ok(None) => {}
                Err(error) => {
                    if let Some(suppressed) = self.warned.allow(Instant::now()) {
                        let place = self.datagrams.place();
                        warn!(place, error = %chain(&error), suppressed, "datagrams cannot be read; it is tried again");
                    }
                    thread::sleep(ERROR_PAUSE);
                }
            }
            let now = Instant::now();
            if now.saturating_duration_since(asked) >= ASK_EVERY {
                asked = now;
                self.count_overflow(now);
            }
        }
        self.count_overflow(Instant::now());
    }

    fn count_overflow(&self, now: Instant) {
        let Some(overflowed) = self.datagrams.dropped() else { return };
        let more = overflowed.saturating_sub(self.known_overflow.swap(overflowed, Ordering::Relaxed));
        self.overflowed.inc_by(more);
        if more > 0
            && let Some(suppressed) = self.warned_of_overflow.allow(now)
        {
            let place = self.datagrams.place();
            warn!(
                place,
                datagrams = more,
                suppressed,
                "the kernel dropped datagrams; raise net.core.rmem_max of the host"
            );
        }
    }
}

/// Knows how many datagrams come in a nap, and so whether one is worth it.
struct Pace {
    nap: Duration,
    looked: Instant,
    expected: f64,
}

impl Pace {
    /// For a socket that keeps so many bytes. One that keeps none gets no naps: who sends to it would be held up, or drop what it has.
    fn new(kept_bytes: usize, now: Instant) -> Self {
        let milliseconds = kept_bytes as f64 / BYTES_PER_MILLISECOND as f64;
        Self { nap: NAP_MAX.min(Duration::from_secs_f64(milliseconds / 1_000.0)), looked: now, expected: 0.0 }
    }

    /// The nap behind a burst of so many.
    fn nap(&mut self, count: usize, now: Instant) -> Option<Duration> {
        if self.nap.is_zero() {
            return None;
        }
        let passed = now.saturating_duration_since(self.looked).as_secs_f64() / self.nap.as_secs_f64();
        self.looked = now;
        // A moving mean: what came, in the time that passed, weighed by that time.
        self.expected = (self.expected * MEMORY + count as f64) / (MEMORY + passed);
        // A full burst has more behind it.
        (self.expected >= 1.0 && count < BURST_MAX).then_some(self.nap)
    }
}

/// Runs `reader` on a thread. A panic there is one of the task.
pub async fn run<R: Send + Sync + 'static>(reader: Arc<R>, read: impl FnOnce(&R) + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(move || read(&reader)).await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an unchanged host lets a socket keep, and what it says of it.
    const USUAL: usize = 2 * 212_992;

    /// Datagrams that come `gap` apart, read as [`Bursts::read`] does, for a second: how many there were in a burst on average, and the most.
    fn paced(kept_bytes: usize, gap: Duration) -> (f64, usize) {
        let begun = Instant::now();
        let (mut pace, mut now, mut next) = (Pace::new(kept_bytes, begun), begun, begun + gap);
        let (mut bursts, mut all, mut most) = (0, 0, 0);
        while now < begun + Duration::from_secs(1) {
            now = now.max(next);
            let mut count = 0;
            while next <= now && count < BURST_MAX {
                (next, count) = (next + gap, count + 1);
            }
            (bursts, all, most) = (bursts + 1, all + count, most.max(count));
            now += pace.nap(count, now).unwrap_or_default();
        }
        (f64::from(bursts).recip() * all as f64, most)
    }

    #[test]
    fn naps_are_as_long_as_what_the_kernel_keeps_allows() {
        let now = Instant::now();
        for (kept_bytes, nap) in [(USUAL, 2_000), (8 << 20, 4_000), (1 << 30, 4_000), (4_096, 19), (0, 0)] {
            let is = Pace::new(kept_bytes, now).nap.as_micros();
            assert!((nap..=nap + 20).contains(&is), "{kept_bytes}: {is} us");
        }
    }

    #[test]
    fn who_comes_often_comes_together_and_who_comes_seldom_is_read_at_once() {
        for (kept_bytes, per_second, least, most) in [
            (USUAL, 5_000, 9.0, 12),
            (8 << 20, 5_000, 18.0, 22),
            (8 << 20, 1_000, 3.5, 5),
            (8 << 20, 200, 1.0, 1),
            (USUAL, 100, 1.0, 1),
            // A nap's worth is more than a burst may have: it goes on at once.
            (8 << 20, 40_000, 50.0, BURST_MAX),
            // Nothing is kept: no naps.
            (0, 5_000, 1.0, 1),
        ] {
            let (mean, max) = paced(kept_bytes, Duration::from_secs(1) / per_second);
            assert!(
                mean >= least && max <= most,
                "{kept_bytes} bytes, {per_second}/s: {mean} of a burst, {max} at most"
            );
        }
    }

    /// One datagram behind a long silence is not followed by a nap; nor is a burst that was full.
    #[test]
    fn what_comes_alone_and_what_comes_without_end_is_not_waited_behind() {
        let begun = Instant::now();
        let mut pace = Pace::new(8 << 20, begun);
        assert_eq!(pace.nap(1, begun + Duration::from_secs(9)), None);
        assert_eq!(pace.nap(BURST_MAX, begun + Duration::from_secs(9)), None);
        assert_eq!(pace.nap(BURST_MAX - 1, begun + Duration::from_secs(9)), Some(NAP_MAX));
    }
}
