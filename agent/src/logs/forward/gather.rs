//! When to read a busy connection again.
//!
//! Docker's log driver writes each line by itself. A reader that sleeps in the poll is woken for every one of them, and the
//! wake-up costs 3 to 4 us, five times what the line costs. So while lines come small and fast the connection leaves the
//! poll, and is read by the clock: often enough that the kernel's buffer (about 160 such lines) never fills. What this
//! cannot save is the 0.5 to 0.7 us that the kernel takes to copy and free each small write.
//!
//! Measured: a constant wait blocks the writer at high rates (at 200,000 lines/s for 60 % of the time), steering by the
//! last read's size oscillates, and waiting for writes that are large anyway costs 20 to 50 % (cold cache).
//!
//! Promises: a wait is at most [`FORWARD_GATHER_MAX`]; nobody waits while the buffer could be more than a third full.
//! Never: looks at a clock.

use std::time::Duration;

use crate::limits::FORWARD_GATHER_MAX;

/// Bytes to let come together between two reads: 48 lines of 424 bytes, a third of what the kernel holds.
const GATHER_BYTES: f64 = 20_000.0;
/// Reads that bring more than this on average are left as they are.
const SMALL_READ_BYTES: f64 = 4_096.0;
/// The timer's tick. A wait shorter than one and a half of it would not be kept.
const TICK: Duration = Duration::from_millis(1);
/// Reads by the clock before the size of the sender's writes is looked at again.
const LOOK_AGAIN: u32 = 512;
/// Reads in the poll by which the sender's writes are judged.
const JUDGED: u32 = 8;
/// The weight of the newest rate.
const WEIGHT: f64 = 0.25;

/// Steers the reads of one connection.
#[derive(Debug, Default)]
pub struct Gather {
    /// Bytes a second, smoothed.
    rate: f64,
    /// Bytes a read in the poll, smoothed.
    size: f64,
    in_poll: u32,
    by_clock: u32,
}

impl Gather {
    /// A read in the poll brought `bytes`, `elapsed` after the one before. Returns how long to wait before the next read
    /// out of the poll, or `None` to stay in it.
    pub fn in_poll(&mut self, bytes: usize, elapsed: Duration) -> Option<Duration> {
        self.measure(bytes, elapsed);
        self.size += (bytes as f64 - self.size) * WEIGHT;
        self.in_poll = self.in_poll.saturating_add(1);
        if self.in_poll < JUDGED || self.size > SMALL_READ_BYTES {
            return None;
        }
        self.by_clock = 0;
        self.wait()
    }

    /// A read by the clock brought `bytes`, `elapsed` after the one before. Returns how long to wait before the next, or
    /// `None` to go back into the poll.
    pub fn by_clock(&mut self, bytes: usize, elapsed: Duration) -> Option<Duration> {
        self.measure(bytes, elapsed);
        self.by_clock += 1;
        if bytes == 0 || self.by_clock >= LOOK_AGAIN {
            self.in_poll = 0;
            return None;
        }
        self.wait()
    }

    fn measure(&mut self, bytes: usize, elapsed: Duration) {
        // The poll can bring several reads within a microsecond; they are one for this purpose.
        let rate = bytes as f64 / elapsed.as_secs_f64().max(50e-6);
        self.rate += (rate - self.rate) * WEIGHT;
    }

    fn wait(&self) -> Option<Duration> {
        let wait = Duration::from_secs_f64(GATHER_BYTES / self.rate.max(1.0)).min(FORWARD_GATHER_MAX);
        // The timer fires up to a tick late: ask for a tick less.
        (wait >= TICK.mul_f64(1.5)).then(|| (wait - TICK).max(TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `reads` equal reads and returns the last advice.
    fn advice(bytes: usize, every: Duration, reads: u32) -> Option<Duration> {
        let mut gather = Gather::default();
        (0..reads).map(|_| gather.in_poll(bytes, every)).last().flatten()
    }

    #[test]
    fn small_writes_at_a_high_rate_are_gathered() {
        // 20,000 lines of 424 bytes in a second.
        let wait = advice(424, Duration::from_micros(50), 100).expect("gathers");
        assert!(wait >= Duration::from_millis(1) && wait < Duration::from_millis(2), "{wait:?}");
        // 1,000 lines in a second: as long as allowed.
        assert_eq!(advice(424, Duration::from_millis(1), 100), Some(FORWARD_GATHER_MAX - TICK));
    }

    #[test]
    fn a_sender_faster_than_the_timer_is_read_at_once() {
        assert_eq!(advice(424, Duration::from_micros(5), 100).map(|wait| wait > TICK * 2), Some(false));
        assert_eq!(advice(40_000, Duration::from_micros(100), 100), None);
    }

    #[test]
    fn large_writes_are_read_at_once() {
        assert_eq!(advice(13_568, Duration::from_micros(1_600), 100), None);
    }

    #[test]
    fn an_empty_read_goes_back_to_the_poll_and_so_does_every_512th() {
        let mut gather = Gather::default();
        for _ in 0..20 {
            let _ = gather.in_poll(424, Duration::from_micros(50));
        }
        assert!(gather.by_clock(20_000, Duration::from_millis(2)).is_some());
        assert_eq!(gather.by_clock(0, Duration::from_millis(2)), None);
        let mut reads = 0;
        let _ = (0..20).map(|_| gather.in_poll(424, Duration::from_micros(50))).last();
        while gather.by_clock(20_000, Duration::from_micros(2_350)).is_some() {
            reads += 1;
        }
        assert_eq!(reads, LOOK_AGAIN - 1);
    }
}
