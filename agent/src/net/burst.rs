//! Reads datagrams in bursts: a thread waits for one, takes all that are there with it, and naps for a moment where many come, so that
//! the next ones come together. A wake-up costs more than all else that is done for a datagram.
//!
//! Promises: an error of the socket never ends the reading; what the kernel dropped is counted; once the agent stops it goes on until
//! nothing came for half a second.
//! Never: looks into a datagram, or waits for anything but datagrams.

use std::{
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

use super::datagram::{DATAGRAM_BYTES_MAX, Datagrams};
use crate::tell::{RateLimited, chain};

/// Datagrams of a burst. With segments of 1.5 KB that is some 100 us of work.
const BURST_MAX: usize = 64;
/// The pause behind a burst. With 4 MiB to keep them in, the kernel holds what comes in ten times that at a million a second.
const NAP: Duration = Duration::from_micros(500);
/// The pause behind an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// How often the kernel is asked what it dropped.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A warning of one kind, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Reads one socket.
pub struct Bursts {
    datagrams: Datagrams,
    /// A unix socket keeps ten datagrams (`net.unix.max_dgram_qlen`), and clients that do not wait drop the next.
    naps: bool,
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
    /// Bytes of the one that was waited for.
    first: Option<usize>,
    count: usize,
}

impl Burst<'_> {
    /// The next one, if it is there and has its place in this burst.
    pub fn datagram(&mut self) -> Option<&[u8]> {
        let bytes = match self.first.take() {
            Some(bytes) => bytes,
            None if self.count == BURST_MAX => return None,
            // An error is told by the next read that waits.
            None => self.datagrams.next_at_once(self.buffer).ok().flatten()?,
        };
        self.count += 1;
        Some(&self.buffer[..bytes])
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
            naps: matches!(datagrams, Datagrams::Udp { .. }),
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
        while !self.closing.is_cancelled() {
            match self.datagrams.next(&mut buffer) {
                Ok(Some(bytes)) => {
                    let mut burst =
                        Burst { datagrams: &self.datagrams, buffer: &mut buffer, first: Some(bytes), count: 0 };
                    take(&mut burst);
                    // A full one has more behind it.
                    if self.naps && (2..BURST_MAX).contains(&burst.count) {
                        thread::sleep(NAP);
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

/// Runs `reader` on a thread. A panic there is one of the task.
pub async fn run<R: Send + Sync + 'static>(reader: Arc<R>, read: impl FnOnce(&R) + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(move || read(&reader)).await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
