//! Reads what SDKs send to the X-Ray daemon's UDP port.
//!
//! A thread waits for a datagram, takes all that are there with it, and appends them under one lock. Where many come it naps for a
//! moment afterwards, so that the next ones come together: a wake-up costs more than all else that is done for a segment.
//!
//! Promises: a datagram that is wrong is counted and harms no other; an error of the socket never ends the reading; once the
//! agent stops it goes on until nothing came for half a second.
//! Never: waits for anything but datagrams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use prometheus::{IntCounter, IntCounterVec};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    header::document,
    out::{Appender, Sink},
};
use crate::{
    net::datagram::{DATAGRAM_BYTES_MAX, Datagrams},
    tell::{RateLimited, chain, counters::Counters},
};

/// Datagrams that are appended under one lock. With segments of 1.5 KB that is some 100 us.
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
pub struct Reader {
    datagrams: Datagrams,
    sinks: Vec<Sink>,
    received: IntCounter,
    rejected: IntCounterVec,
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

impl Reader {
    /// Appends the documents that come to each of `sinks`.
    pub fn new(
        datagrams: Datagrams,
        sinks: Vec<Sink>,
        counters: &Counters,
        stopping: CancellationToken,
        closing: CancellationToken,
    ) -> Self {
        Self {
            datagrams,
            sinks,
            received: counters.traces.received.clone(),
            rejected: counters.traces.rejected.clone(),
            overflowed: counters.traces.overflowed.clone(),
            known_overflow: AtomicU64::new(0),
            warned: RateLimited::new(WARN_EVERY),
            warned_of_overflow: RateLimited::new(WARN_EVERY),
            stopping,
            closing,
        }
    }

    /// Reads until the agent stops and nothing comes any more. Blocks: it wants a thread of its own.
    pub fn read(&self) {
        let (mut buffer, mut asked) = (vec![0; DATAGRAM_BYTES_MAX], Instant::now());
        while !self.closing.is_cancelled() {
            match self.datagrams.next(&mut buffer) {
                Ok(Some(bytes)) => {
                    if self.take(&mut buffer, bytes) > 1 {
                        thread::sleep(NAP);
                    }
                }
                Ok(None) if self.stopping.is_cancelled() => break,
                Ok(None) => {}
                Err(error) => {
                    if let Some(suppressed) = self.warned.allow(Instant::now()) {
                        warn!(error = %chain(&error), suppressed, "segments cannot be read; it is tried again");
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

    /// Takes the datagram of so many `bytes` in `buffer`, and those that are there already. Returns how many that were.
    fn take(&self, buffer: &mut [u8], bytes: usize) -> usize {
        let mut appenders: Vec<Appender<'_>> = self.sinks.iter().map(Sink::appender).collect();
        let (mut bytes, mut count) = (bytes, 0);
        loop {
            self.append(&buffer[..bytes], &mut appenders);
            count += 1;
            if count == BURST_MAX {
                break;
            }
            // An error is told by the next read that waits.
            let Ok(Some(next)) = self.datagrams.next_at_once(buffer) else { break };
            bytes = next;
        }
        count
    }

    fn append(&self, datagram: &[u8], appenders: &mut [Appender<'_>]) {
        if datagram.is_empty() {
            return;
        }
        self.received.inc();
        match document(datagram) {
            Ok(document) => appenders.iter_mut().for_each(|appender| appender.append(document)),
            Err(rejected) => {
                self.rejected.with_label_values(&[rejected.label()]).inc();
                if let Some(suppressed) = self.warned.allow(Instant::now()) {
                    let why = rejected.label();
                    warn!(why, suppressed, "a datagram is no segment as the X-Ray daemon takes them");
                }
            }
        }
    }

    fn count_overflow(&self, now: Instant) {
        let Some(overflowed) = self.datagrams.dropped() else { return };
        let more = overflowed.saturating_sub(self.known_overflow.swap(overflowed, Ordering::Relaxed));
        self.overflowed.inc_by(more);
        if more > 0
            && let Some(suppressed) = self.warned_of_overflow.allow(now)
        {
            warn!(segments = more, suppressed, "the kernel dropped segments; raise net.core.rmem_max of the host");
        }
    }
}

/// Runs `reader` on a thread. A panic there is one of the task.
pub async fn run(reader: Arc<Reader>) {
    if let Err(error) = tokio::task::spawn_blocking(move || reader.read()).await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
