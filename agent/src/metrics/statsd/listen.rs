//! Where StatsD's packets come in: datagrams, and packets in a stream with their lengths before them.
//!
//! Promises: a burst of datagrams costs one lock of the store; a stream that is slow, or says that a packet is too long, costs its own
//! connection only.
//! Never: answers.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    time::Duration,
};

use prometheus::IntCounter;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::take::{REASONS, Taker, Tally};
use crate::{
    limits::STATSD_PACKET_BYTES_MAX,
    metrics::{Seconds, store::Store},
    net::{burst::Bursts, listen::Socket},
    tell::counters::Counters,
};

/// Once the agent stops, a connection ends that says nothing for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How long an unfinished packet may take. Its sender is on the same host.
const PACKET_TIMEOUT: Duration = Duration::from_secs(30);

/// What takes the packets of one input, wherever they come in.
pub struct Intake {
    taker: Taker,
    store: Store,
    seconds: Seconds,
    meters: Meters,
}

/// The counters of one input.
struct Meters {
    samples: IntCounter,
    filtered: IntCounter,
    without_series: IntCounter,
    too_long: IntCounter,
    rejected: Vec<IntCounter>,
}

/// Reads datagrams.
pub struct Reader {
    bursts: Bursts,
    intake: Arc<Intake>,
}

impl Intake {
    /// Puts what `taker` takes into `store`, and counts for `input`.
    pub fn new(taker: Taker, store: Store, seconds: Seconds, input: &str, counters: &Counters) -> Self {
        let rejected = |reason: &str| counters.metrics.rejected.with_label_values(&[input, reason]);
        let meters = Meters {
            samples: counters.metrics.samples.with_label_values(&[input]),
            filtered: counters.metrics.filtered.with_label_values(&[input]),
            without_series: rejected("series_max"),
            too_long: rejected("packet_length"),
            rejected: REASONS.iter().map(|reason| rejected(reason.label())).collect(),
        };
        Self { taker, store, seconds, meters }
    }

    /// Takes all packets that `next` gives.
    fn take<'a>(&self, mut next: impl FnMut(&mut dyn FnMut(&[u8])) -> Option<()> + 'a) {
        let mut tally = Tally::default();
        let mut writing = self.store.writing(self.seconds.now());
        while next(&mut |packet| self.taker.packet(packet, &mut writing, &mut tally)).is_some() {}
        drop(writing);
        self.count(&tally);
    }

    fn count(&self, tally: &Tally) {
        let Meters { samples, filtered, without_series, rejected, .. } = &self.meters;
        samples.inc_by(tally.samples);
        for (counter, more) in [(filtered, tally.filtered), (without_series, tally.without_series)] {
            if more > 0 {
                counter.inc_by(more);
            }
        }
        for (counter, more) in rejected.iter().zip(tally.rejected).filter(|(_, more)| *more > 0) {
            counter.inc_by(more);
        }
    }
}

impl Reader {
    /// Reads `bursts`.
    pub fn new(bursts: Bursts, intake: Arc<Intake>) -> Self {
        Self { bursts, intake }
    }

    /// Reads until the agent stops and nothing comes any more. Blocks: it wants a thread of its own.
    pub fn read(&self) {
        self.bursts.read(|burst| self.intake.take(|take| burst.datagram().map(take)));
    }
}

/// Serves a connection whose packets have their lengths before them, until it ends or, once the agent stops, is quiet.
pub async fn serve(intake: Arc<Intake>, socket: Socket, stopping: CancellationToken, closing: CancellationToken) {
    let Ok(mut polled) = socket.polled() else { return };
    let mut buffer = Vec::new();
    let mut unfinished: Option<Instant> = None;
    loop {
        let quiet = async {
            stopping.cancelled().await;
            sleep(QUIET).await;
        };
        let stalled = async {
            match unfinished {
                Some(since) => tokio::time::sleep_until(since + PACKET_TIMEOUT).await,
                None => pending().await,
            }
        };
        let held = buffer.len();
        buffer.resize(held + STATSD_PACKET_BYTES_MAX / 4, 0);
        let read = tokio::select! {
            biased;
            read = poll_fn(|cx| polled.poll_read(cx, &mut buffer[held..])) => read,
            () = closing.cancelled() => return,
            () = quiet => return,
            () = stalled => return,
        };
        let Ok(read @ 1..) = read else { return };
        buffer.truncate(held + read);
        match intake.packets(&buffer) {
            Ok(used) => {
                buffer.drain(..used);
            }
            Err(TooLong) => {
                intake.meters.too_long.inc();
                return;
            }
        }
        unfinished = if buffer.is_empty() { None } else { unfinished.or_else(|| Some(Instant::now())) };
    }
}

/// A packet says that it is longer than any.
struct TooLong;

impl Intake {
    /// Takes the whole packets in `bytes`. Returns how many bytes those are.
    fn packets(&self, bytes: &[u8]) -> Result<usize, TooLong> {
        let (mut used, mut fault) = (0, None);
        self.take(|take| {
            let (length, rest) = bytes[used..].split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > STATSD_PACKET_BYTES_MAX {
                fault = Some(TooLong);
                return None;
            }
            take(rest.get(..length)?);
            used += 4 + length;
            Some(())
        });
        fault.map_or(Ok(used), Err)
    }
}
