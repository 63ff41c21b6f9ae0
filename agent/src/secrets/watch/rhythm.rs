//! How often a secret is looked at.
//!
//! Promises: no two looks within less than a tenth of a second, and after the first trouble ever fewer; each wait is spread.
//! Never: looks at a clock or a random source of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::Moment;
use super::doubt::CONFIRM;
use crate::secrets::source::{SourceFault, SourceFaultKind};

/// Between looks in the time in which a secret rotates.
pub(in crate::secrets) const NEAR: Duration = Duration::from_secs(15);
/// Between looks while a rotation is under way, and for how long that may go on.
const ROTATING: Duration = Duration::from_secs(2);
const ROTATING_MAX: Duration = Duration::from_secs(120);
/// A rotation that takes longer is looked at this often in the time that it took so far.
const ROTATING_PARTS: u32 = 30;
/// The window of a rotation that names none, in seconds, and the longest that there can be.
const WINDOW: u64 = 3_600;
const WINDOW_MAX: u64 = 86_400;
/// So many seconds before its window a rotation is expected: clocks differ.
const WINDOW_LEAD: i64 = 300;
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// What throttling can make of the waits, at most.
const SLOWDOWN_MAX: u32 = 16;

/// The waits between looks.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// Far from a rotation.
    every: Duration,
    has_phase: bool,
    failures: u32,
    /// How many of them were throttled. Those alone decide how long a throttled look waits: nobody may hurry it, so an outage
    /// before it must not have made it late.
    throttles: u32,
    slowdown: u32,
    pending_since: Option<(String, Instant)>,
    window: Option<Window>,
}

/// When a rotation is expected, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Window {
    date: i64,
    opens: i64,
    closes: i64,
    /// The rotation was seen.
    is_over: bool,
}

impl Rhythm {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, has_phase: false, failures: 0, throttles: 0, slowdown: 1, pending_since: None, window: None }
    }

    /// What a look has told: the next rotation and its length, the version that is pending, and whether the current one moved.
    pub(super) fn heard(
        &mut self,
        now: Moment,
        dates: (Option<i64>, Option<u64>),
        pending: Option<&str>,
        has_moved: bool,
    ) {
        if let Some(window) = self.window.as_mut().filter(|_| has_moved) {
            window.is_over = true;
        }
        self.window = match (dates.0, self.window) {
            (Some(date), Some(window)) if window.date == date => Some(window),
            (Some(date), _) => Some(Window::new(date, dates.1)),
            (None, _) => None,
        };
        self.pending_since = pending.map(|id| match self.pending_since.take() {
            Some((same, since)) if same == id => (same, since),
            _ => (id.to_owned(), now.at),
        });
    }

    /// The wait after a look that succeeded: sooner, if what it said must be confirmed.
    pub(super) fn succeeded(&mut self, now: Moment, is_believed: bool) -> Duration {
        (self.failures, self.throttles) = (0, 0);
        let wait = if is_believed { self.wait(now) } else { spread(CONFIRM, now.random) };
        self.slowdown = (self.slowdown / 2).max(1);
        wait
    }

    /// The wait after a look that failed.
    pub(super) fn failed(&mut self, now: Moment, fault: &SourceFault) -> Duration {
        self.failures += 1;
        self.slow_down(fault);
        if fault.kind == SourceFaultKind::Throttled {
            self.throttles += 1;
            return backoff(self.throttles, now.random);
        }
        backoff(self.failures, now.random)
    }

    /// Doubles the waits to come, if `fault` asks for that.
    pub(super) fn slow_down(&mut self, fault: &SourceFault) {
        if fault.kind == SourceFaultKind::Throttled {
            self.slowdown = (self.slowdown * 2).min(SLOWDOWN_MAX);
        }
    }

    /// How long until the next look, if all is well.
    fn wait(&mut self, now: Moment) -> Duration {
        let window = self.window.filter(|window| !window.is_over);
        let is_open = window.is_some_and(|window| (window.opens..window.closes).contains(&now.unix));
        let usual = if is_open { NEAR.min(self.every) } else { self.every };
        let every = match self.pending_since.as_ref().map(|(_, since)| now.at.saturating_duration_since(*since)) {
            None => usual,
            Some(lasted) if lasted <= ROTATING_MAX => ROTATING.min(usual),
            Some(lasted) => (lasted / ROTATING_PARTS).max(ROTATING).min(usual),
        };
        let has_phase = std::mem::replace(&mut self.has_phase, true);
        let wait = match has_phase || every < self.every {
            true => spread(every * self.slowdown, now.random),
            false => every.mul_f64(now.random).max(ROTATING),
        };
        let opens_in = window.map(|window| window.opens.saturating_sub(now.unix)).filter(|&left| left > 0);
        match opens_in.and_then(|left| u64::try_from(left).ok()) {
            // Not all at the first second of it.
            Some(left) => wait.min(Duration::from_secs(left).saturating_add(NEAR.mul_f64(now.random))).max(ROTATING),
            None => wait,
        }
    }
}

impl Window {
    /// The service says by when it will rotate at the latest; rotations that fail are tried again after that.
    fn new(date: i64, length: Option<u64>) -> Self {
        let length = i64::try_from(length.unwrap_or(WINDOW).min(WINDOW_MAX)).unwrap_or(0);
        let opens = date.saturating_sub(length).saturating_sub(WINDOW_LEAD);
        Self { date, opens, closes: date.saturating_add(length), is_over: false }
    }
}

/// Up to a tenth less or more.
pub(super) fn spread(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(0.9 + 0.2 * random)
}

/// Between a tenth of a wait that doubles with each failure, and all of it.
pub(in crate::secrets) fn backoff(failures: u32, random: f64) -> Duration {
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(BACKOFF_MAX);
    ceiling.mul_f64(0.1 + 0.9 * random)
}
