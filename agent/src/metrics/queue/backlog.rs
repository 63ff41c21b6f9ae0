//! From the depth of a queue and the number of tasks to what is published.
//!
//! Promises: pure; the same numbers as AWS's own reference (Copilot's `backlog-per-task-calculator`): what waits, divided by the tasks
//! that run, rounded up, where none counts as one.
//! Never: makes up a number.

use std::time::Duration;

use tokio::time::Instant;

/// How long the last count of tasks holds. A scaling alarm looks at three minutes; longer, and a scale-out would divide by tasks
/// that were long gone.
pub const RUNNING_HOLDS_FOR: Duration = Duration::from_secs(300);

/// What a queue says of itself. All numbers are approximate, and right a minute after its writers stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that somebody received and did not delete yet.
    pub in_flight: u64,
    /// Messages that cannot be received yet.
    pub delayed: u64,
}

/// What is published in a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// What waits for each task; `None` if nobody knows how many there are.
    pub backlog_per_task: Option<f64>,
    /// The queue.
    pub depth: Depth,
}

/// Remembers how many tasks ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Whether messages that are being worked on count.
    pub include_in_flight: bool,
    running: Option<(u64, Instant)>,
}

impl Backlog {
    /// Counts messages in flight too if `include_in_flight`.
    pub fn new(include_in_flight: bool) -> Self {
        Self { include_in_flight, running: None }
    }

    /// Remembers how many tasks run at `now`, if the service told it.
    pub fn note(&mut self, running: Option<u64>, now: Instant) {
        if let Some(running) = running {
            self.running = Some((running, now));
        }
    }

    /// What is published at `now`, if the service told how many tasks run, or told it lately.
    pub fn publish(&mut self, depth: Depth, running: Option<u64>, now: Instant) -> Published {
        self.note(running, now);
        let holds = |at: Instant| now.saturating_duration_since(at) <= RUNNING_HOLDS_FOR;
        let running = self.running.filter(|(_, at)| holds(*at)).map(|(running, _)| running);
        Published { backlog_per_task: running.map(|running| self.per_task(depth, running)), depth }
    }

    fn per_task(&self, depth: Depth, running: u64) -> f64 {
        let in_flight = if self.include_in_flight { depth.in_flight } else { 0 };
        depth.visible.saturating_add(in_flight).div_ceil(running.max(1)) as f64
    }
}

/// The target for a target-tracking policy: how many messages may wait for a task that takes `each` for one, so that none waits for
/// longer than `latency`. At least 1: a target of 0 cannot be tracked.
pub fn target(latency: Duration, each: Duration) -> Option<f64> {
    (!each.is_zero()).then(|| (latency.as_secs_f64() / each.as_secs_f64()).floor().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_shared_by_the_tasks_that_run() {
        let now = Instant::now();
        for (visible, in_flight, running, counts_in_flight, expected) in [
            (0, 0, 3, false, 0.0),
            (0, 9, 3, false, 0.0),
            (0, 9, 3, true, 3.0),
            (1, 0, 3, false, 1.0),
            (100, 0, 3, false, 34.0),
            (1_500, 20, 10, false, 150.0),
            (1_500, 20, 10, true, 152.0),
            (7, 0, 0, false, 7.0),
            (u64::MAX, u64::MAX, 1, true, u64::MAX as f64),
        ] {
            let depth = Depth { visible, in_flight, delayed: 5 };
            let published = Backlog::new(counts_in_flight).publish(depth, Some(running), now);
            assert_eq!(
                published,
                Published { backlog_per_task: Some(expected), depth },
                "{visible} {in_flight} {running}"
            );
        }
    }

    /// A service that cannot be asked for a while is scaled by what was known of it, and then not at all.
    #[test]
    fn the_last_count_of_tasks_holds_for_five_minutes() {
        let begun = Instant::now();
        let depth = Depth { visible: 100, ..Depth::default() };
        let mut backlog = Backlog::new(false);
        let mut told = |minute: u64, running| {
            backlog.publish(depth, running, begun + Duration::from_secs(60 * minute)).backlog_per_task
        };
        assert_eq!(told(0, None), None, "nobody said it yet");
        assert_eq!(told(1, Some(4)), Some(25.0));
        assert_eq!(told(2, None), Some(25.0));
        assert_eq!(told(6, None), Some(25.0));
        assert_eq!(told(7, None), None);
        assert_eq!(told(8, Some(5)), Some(20.0));
    }

    #[test]
    fn the_target_is_how_many_a_task_gets_done_in_time() {
        let ms = Duration::from_millis;
        for (latency, each, expected) in [
            (ms(600_000), ms(250), Some(2_400.0)),
            (ms(10_000), ms(3_000), Some(3.0)),
            (ms(100), ms(3_000), Some(1.0)),
            (ms(0), ms(1), Some(1.0)),
            (ms(600_000), ms(0), None),
        ] {
            assert_eq!(target(latency, each), expected, "{latency:?} {each:?}");
        }
    }
}
