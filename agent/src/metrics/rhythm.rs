//! When something is due that happens once in an interval.
//!
//! Promises: it is due at the same place of each interval, so that nothing drifts and no interval is left out.
//! Never: reads a clock.

use std::time::Duration;

/// How long it is from `now` until what happens `offset` behind each multiple of `every`.
pub fn until_next(now: Duration, every: Duration, offset: Duration) -> Duration {
    let (now, every, offset) = (now.as_nanos(), every.as_nanos().max(1), offset.as_nanos());
    let past = (now % every + every - offset % every) % every;
    Duration::from_nanos(u64::try_from(every - past).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_has_its_turn_at_the_same_place() {
        let seconds = Duration::from_secs;
        for (now, offset, wait) in [
            (0, 0, 60),
            (0, 7, 7),
            (7, 7, 60),
            (8, 7, 59),
            (66, 7, 1),
            (3_605, 5, 60),
            (3_600, 59, 59),
            (3_599, 0, 1),
            (5, 60, 55),
        ] {
            assert_eq!(until_next(seconds(now), seconds(60), seconds(offset)), seconds(wait), "{now} {offset}");
        }
        assert_eq!(
            until_next(seconds(5), Duration::ZERO, seconds(1)),
            Duration::from_nanos(1),
            "never at once, never without end"
        );
    }
}
