//! The time of day as AWS sees it.
//!
//! Promises: [`Clock::now`] is the system's time plus the offset learned from AWS's own answers; clones learn together.
//! Never: moves for less than [`TOLERANCE`], or at once for more than [`BELIEVABLE`]; is used for the time of an event.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_async::time::TimeSource;
use http::{HeaderMap, header::DATE};

/// AWS accepts signatures up to 5 minutes off. An offset below this is not why a request was refused.
const TOLERANCE: Duration = Duration::from_secs(4 * 60);
/// A larger offset is believed when two answers in a row agree on it: one broken proxy must not stop all signing.
const BELIEVABLE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The corrected time of day; clones share what they learn.
#[derive(Clone)]
pub struct Clock(Arc<Shared>);

struct Shared {
    system: Box<dyn Fn() -> SystemTime + Send + Sync>,
    /// Seconds to add to the system's time.
    offset: AtomicI64,
    /// The last offset that was too large to believe; 0 if there was none.
    doubted: AtomicI64,
}

impl Clock {
    /// The system's clock, not yet corrected.
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// A clock of one's own, for tests.
    pub fn new(system: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { system: Box::new(system), offset: AtomicI64::new(0), doubted: AtomicI64::new(0) }))
    }

    /// The time to sign with, and to compare expiry with.
    pub fn now(&self) -> SystemTime {
        shift((self.0.system)(), self.0.offset.load(Ordering::Relaxed))
    }

    /// Seconds that are added to the system's time.
    pub fn offset_seconds(&self) -> i64 {
        self.0.offset.load(Ordering::Relaxed)
    }

    /// Learns from the `Date` of an answer that refused our time. True if the clock was moved, so that signing again
    /// makes sense.
    pub fn learn(&self, headers: &HeaderMap) -> bool {
        let Some(date) = date(headers.get(DATE)) else {
            return false;
        };
        if difference(date, self.now()).unsigned_abs() <= TOLERANCE.as_secs() {
            return false;
        }
        let offset = difference(date, (self.0.system)());
        if offset.unsigned_abs() > BELIEVABLE.as_secs() {
            let doubted = self.0.doubted.swap(offset, Ordering::Relaxed);
            if doubted == 0 || doubted.abs_diff(offset) > TOLERANCE.as_secs() {
                return false;
            }
        }
        self.0.offset.store(offset, Ordering::Relaxed);
        true
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("offset_seconds", &self.offset_seconds()).finish_non_exhaustive()
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }
}

/// Seconds by which `now` is ahead of the `Date` of an answer, if it has one.
pub fn ahead_of(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    Some(difference(now, date(headers.get(DATE))?))
}

/// Reads an HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`). Anything else, or a year before 1970, is `None`.
pub(super) fn date(value: Option<&http::HeaderValue>) -> Option<SystemTime> {
    let text = value?.to_str().ok()?;
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(time.as_second()).ok()?))
}

/// Seconds from `b` to `a`.
pub(super) fn difference(a: SystemTime, b: SystemTime) -> i64 {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match a.duration_since(b) {
        Ok(later) => seconds(later),
        Err(earlier) => -seconds(earlier.duration()),
    }
}

fn shift(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z.
    fn at_system_time() -> Clock {
        Clock::new(|| UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    }

    fn dated(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(DATE, text.parse().expect("a header value"))])
    }

    #[test]
    fn the_clock_is_moved_only_by_a_date_that_explains_the_refusal() {
        for (date, offset) in [
            ("Tue, 14 Nov 2023 22:33:20 GMT", Some(20 * 60)),
            ("Tue, 14 Nov 2023 21:53:20 GMT", Some(-20 * 60)),
            ("Mon, 13 Nov 2023 22:13:20 GMT", Some(-86_400)),
            ("Tue, 14 Nov 2023 22:17:21 GMT", Some(241)),
            ("Tue, 14 Nov 2023 22:17:20 GMT", None), // 4 minutes: within what AWS accepts
            ("Tue, 14 Nov 2023 22:13:20 GMT", None),
            ("Thu, 23 Nov 2023 22:13:20 GMT", None), // 9 days: not believed at once
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("Tue, 14 Nov 1923 22:13:20 GMT", None),
            ("Tue, 14 Nov 9999999 22:13:20 GMT", None),
            ("2023-11-14T22:33:20Z", None),
            ("", None),
        ] {
            let clock = at_system_time();
            assert_eq!(clock.learn(&dated(date)).then(|| clock.offset_seconds()), offset, "{date}");
        }
        assert!(!at_system_time().learn(&HeaderMap::new()), "no Date");
    }

    /// A container whose clock says 1970 must be able to send; one proxy with a broken clock must stop nobody.
    #[test]
    fn a_date_many_days_off_is_believed_when_it_is_repeated() {
        let clock = at_system_time();
        assert!(!clock.learn(&dated("Thu, 14 Nov 2024 22:13:20 GMT")));
        assert!(!clock.learn(&dated("Thu, 20 Nov 2003 22:13:20 GMT")), "another one");
        assert!(!clock.learn(&dated("Thu, 14 Nov 2024 22:13:20 GMT")));
        assert!(clock.learn(&dated("Thu, 14 Nov 2024 22:13:50 GMT")));
        assert_eq!(difference(clock.now(), UNIX_EPOCH), 1_731_622_430);
    }

    #[test]
    fn a_corrected_clock_can_be_corrected_back() {
        let clock = at_system_time();
        assert!(clock.learn(&dated("Tue, 14 Nov 2023 22:33:20 GMT")));
        assert!(!clock.learn(&dated("Tue, 14 Nov 2023 22:33:20 GMT")), "it is right now");
        assert!(clock.learn(&dated("Tue, 14 Nov 2023 22:13:20 GMT")));
        assert_eq!(clock.offset_seconds(), 0);
    }
}
