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
//! A reader that is late makes the writer wait, and a writer that waits looks slow: the rate alone would settle there. So a
//! read that finds the buffer nearly full ends the gathering, and each time it happens again it ends it for longer. And what a
//! container writes in a burst right before it exits is lost in Docker's queue if its reader is slow: so only a sender that
//! has been at it for a second is gathered from.
//!
//! Promises: a wait is at most [`FORWARD_GATHER_MAX`]; nobody waits while the buffer could be more than half full, and who
//! was late reads at once for a while.
//! Never: looks at a clock.

use std::time::Duration;

use crate::limits::FORWARD_GATHER_MAX;

/// Messages to let come together between two reads: less than a third of the 160 that the kernel holds if each was a
/// write of its own.
const GATHER_MESSAGES: f64 = 48.0;
/// A read that finds so many came too late.
const LATE_MESSAGES: u32 = 128;
/// Reads that bring more than this on average are left as they are.
const SMALL_READ_BYTES: f64 = 4_096.0;
/// The timer's tick. A wait shorter than one and a half of it would not be kept.
const TICK: Duration = Duration::from_millis(1);
/// Reads by the clock before the size of the sender's writes is looked at again.
const LOOK_AGAIN: u32 = 512;
/// Reads in the poll by which the sender's writes are judged.
const JUDGED: u32 = 8;
/// How long a sender must have been at it without a pause: before, it may be a burst.
const STEADY: Duration = Duration::from_secs(1);
/// A pause: what comes after it is looked at anew.
const PAUSE: Duration = Duration::from_millis(100);
/// The same after a late read; four times as many after each further one, up to the most. A burst of 20,000 lines sees two
/// late reads at most.
const JUDGED_AFTER_LATE: u32 = 4_096;
const JUDGED_MOST: u32 = 65_536;
/// Messages a second from which on they are put aside. At fewer there is time to look at each.
const BURST_RATE: f64 = 10_000.0;
/// The weight of the newest rate.
const WEIGHT: f64 = 0.25;

/// What a read brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought {
    /// Bytes.
    pub bytes: usize,
    /// Whole messages.
    pub messages: u32,
}

/// Steers the reads of one connection.
#[derive(Debug)]
pub struct Gather {
    /// Messages a second, smoothed.
    rate: f64,
    /// Bytes a read in the poll, smoothed.
    size: f64,
    in_poll: u32,
    by_clock: u32,
    /// Reads in the poll before the next wait.
    judged: u32,
    /// Time since the last pause.
    busy: Duration,
    /// The last reads were those of a burst.
    after_burst: bool,
    /// Bytes of a message, smoothed.
    message: f64,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            rate: 0.0,
            size: 0.0,
            in_poll: 0,
            by_clock: 0,
            judged: JUDGED,
            busy: Duration::ZERO,
            after_burst: false,
            message: 424.0,
        }
    }
}

impl Gather {
    /// A read in the poll brought this, `elapsed` after the one before. Returns how long to wait before the next read out
    /// of the poll, or `None` to stay in it.
    pub fn in_poll(&mut self, brought: Brought, elapsed: Duration) -> Option<Duration> {
        self.measure(brought, elapsed);
        // What came together while a burst was looked at says nothing of the writes.
        if !std::mem::take(&mut self.after_burst) {
            self.size += (brought.bytes as f64 - self.size) * WEIGHT;
        }
        self.in_poll = self.in_poll.saturating_add(1);
        if self.in_poll < self.judged || self.size > SMALL_READ_BYTES || self.busy < STEADY {
            return None;
        }
        self.by_clock = 0;
        self.wait()
    }

    /// True if small writes come faster than the timer ticks: then it pays to put them aside first.
    pub fn is_burst(&self) -> bool {
        self.in_poll >= JUDGED && self.size <= SMALL_READ_BYTES && self.rate >= BURST_RATE
    }

    /// True if the sender began or came back less than a second ago.
    pub fn is_young(&self) -> bool {
        self.busy < STEADY
    }

    /// The bytes that should come together between two reads.
    pub fn gathered_bytes(&self) -> f64 {
        GATHER_MESSAGES * self.message
    }

    /// In what time they would come.
    pub fn nap(&self) -> Duration {
        Duration::from_secs_f64(GATHER_MESSAGES / self.rate.max(1.0))
    }

    /// The reads of a burst brought this together, `elapsed` after the read before them.
    pub fn in_burst(&mut self, brought: Brought, elapsed: Duration) {
        self.measure(brought, elapsed);
        self.after_burst = true;
    }

    /// A read by the clock brought this, `elapsed` after the one before. Returns how long to wait before the next, or
    /// `None` to go back into the poll.
    pub fn by_clock(&mut self, brought: Brought, elapsed: Duration) -> Option<Duration> {
        self.measure(brought, elapsed);
        self.by_clock += 1;
        if brought.messages >= LATE_MESSAGES {
            self.judged = self.judged.saturating_mul(4).clamp(JUDGED_AFTER_LATE, JUDGED_MOST);
            self.in_poll = 0;
            return None;
        }
        if self.by_clock >= LOOK_AGAIN {
            self.judged = JUDGED;
        }
        if brought.bytes == 0 || self.by_clock >= LOOK_AGAIN {
            self.in_poll = 0;
            return None;
        }
        self.wait()
    }

    fn measure(&mut self, brought: Brought, elapsed: Duration) {
        // The poll can bring several reads within a microsecond; they are one for this purpose.
        let rate = f64::from(brought.messages) / elapsed.as_secs_f64().max(50e-6);
        self.rate += (rate - self.rate) * WEIGHT;
        if brought.messages > 0 {
            self.message += (brought.bytes as f64 / f64::from(brought.messages) - self.message) * WEIGHT;
        }
        self.busy = if elapsed > PAUSE { Duration::ZERO } else { self.busy.saturating_add(elapsed) };
    }

    fn wait(&self) -> Option<Duration> {
        let wait = Duration::from_secs_f64(GATHER_MESSAGES / self.rate.max(1.0)).min(FORWARD_GATHER_MAX);
        // The timer fires up to a tick late: ask for a tick less.
        (wait >= TICK.mul_f64(1.5)).then(|| (wait - TICK).max(TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Brought = Brought { bytes: 424, messages: 1 };

    /// Feeds `reads` equal reads and returns the last advice.
    fn advice(brought: Brought, every: Duration, reads: u32) -> Option<Duration> {
        let mut gather = Gather { busy: STEADY, ..Gather::default() };
        (0..reads).map(|_| gather.in_poll(brought, every)).last().flatten()
    }

    fn gathering() -> Gather {
        let mut gather = Gather { busy: STEADY, ..Gather::default() };
        let waits = (0..20).filter(|_| gather.in_poll(LINE, Duration::from_micros(50)).is_some()).count();
        assert!(waits > 0, "20,000 lines a second are gathered");
        gather
    }

    fn lines(messages: u32) -> Brought {
        Brought { bytes: messages as usize * 424, messages }
    }

    #[test]
    fn small_writes_at_a_high_rate_are_gathered() {
        // 20,000 lines in a second.
        let wait = advice(LINE, Duration::from_micros(50), 100).expect("gathers");
        assert!(wait >= Duration::from_millis(1) && wait < Duration::from_millis(2), "{wait:?}");
        // 1,000 lines in a second: as long as allowed.
        assert_eq!(advice(LINE, Duration::from_millis(1), 100), Some(FORWARD_GATHER_MAX - TICK));
    }

    /// A container that writes much and exits has no second, and one that was quiet before begins anew.
    #[test]
    fn a_burst_is_read_at_once() {
        let mut gather = Gather::default();
        assert!((0..19_000).all(|_| gather.in_poll(LINE, Duration::from_micros(50)).is_none()));
        assert!((0..2_000).any(|_| gather.in_poll(LINE, Duration::from_micros(50)).is_some()));
        assert_eq!(gather.by_clock(Brought::default(), Duration::from_millis(2)), None);
        assert_eq!(gather.in_poll(LINE, Duration::from_millis(500)), None);
        assert!((0..19_000).all(|_| gather.in_poll(LINE, Duration::from_micros(50)).is_none()));
    }

    #[test]
    fn a_sender_faster_than_the_timer_is_read_at_once() {
        assert_eq!(advice(lines(2), Duration::from_micros(50), 100), None);
        assert_eq!(advice(lines(20), Duration::from_micros(100), 100), None);
    }

    #[test]
    fn large_writes_are_read_at_once() {
        assert_eq!(advice(lines(32), Duration::from_micros(1_600), 100), None);
        // One message in many reads.
        assert_eq!(advice(Brought { bytes: 100_000, messages: 0 }, Duration::from_millis(1), 100), None);
    }

    #[test]
    fn an_empty_read_goes_back_to_the_poll_and_so_does_every_512th() {
        let mut gather = gathering();
        assert!(gather.by_clock(lines(48), Duration::from_micros(2_400)).is_some());
        assert_eq!(gather.by_clock(Brought::default(), Duration::from_millis(2)), None);
        let mut gather = gathering();
        let mut reads = 0;
        while gather.by_clock(lines(48), Duration::from_micros(2_400)).is_some() {
            reads += 1;
        }
        assert_eq!(reads, LOOK_AGAIN - 1);
    }

    /// A burst before the exit of its container: a reader that was late once must not be so again and again.
    #[test]
    fn who_was_late_reads_at_once_for_longer_each_time() {
        let mut gather = gathering();
        for reads in [4_096, 16_384, 65_536, 65_536] {
            assert_eq!(gather.by_clock(lines(160), Duration::from_millis(6)), None);
            for read in 1..reads {
                assert_eq!(gather.in_poll(LINE, Duration::from_micros(40)), None, "read {read} of {reads}");
            }
            assert!(gather.in_poll(LINE, Duration::from_micros(40)).is_none_or(|wait| wait < Duration::from_millis(2)));
        }
        // After a long time without being late, it is forgotten.
        for _ in 0..LOOK_AGAIN {
            let _ = gather.by_clock(lines(48), Duration::from_micros(2_400));
        }
        assert_eq!(gather.judged, JUDGED);
    }

    #[test]
    fn small_writes_faster_than_the_timer_are_a_burst() {
        for (brought, every, burst) in [
            (LINE, 50, true),
            (LINE, 99, true),
            (LINE, 150, false),
            (LINE, 1_000, false),
            (lines(2), 50, true),
            (lines(32), 1_600, false),
        ] {
            let mut gather = Gather::default();
            for _ in 0..50 {
                let _ = gather.in_poll(brought, Duration::from_micros(every));
            }
            assert_eq!(gather.is_burst(), burst, "{brought:?} every {every} us");
        }
    }

    /// What came together while a burst was looked at says nothing of the size of the writes.
    #[test]
    fn a_burst_goes_on_while_it_is_fast() {
        let mut gather = Gather::default();
        for _ in 0..20 {
            let _ = gather.in_poll(LINE, Duration::from_micros(20));
        }
        for _ in 0..20 {
            gather.in_burst(lines(300), Duration::from_millis(2));
            assert_eq!(gather.in_poll(lines(60), Duration::from_micros(60)), None);
            assert!(gather.is_burst());
            let nap = gather.nap();
            assert!(nap > Duration::from_micros(40) && nap < Duration::from_micros(400), "{nap:?}");
            assert_eq!(gather.gathered_bytes().round(), 48.0 * 424.0);
        }
        for _ in 0..20 {
            gather.in_burst(Brought::default(), Duration::from_millis(2));
        }
        assert!(!gather.is_burst(), "it is over");
    }
}
