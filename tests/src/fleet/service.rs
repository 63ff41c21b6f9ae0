//! The simulated service: one quota for the whole fleet, and an outage.
//!
//! Promises: a token bucket that holds a second of the quota; each rejected request burns its part of a token; what was
//! asked and what was taken is kept for every second.
//! Never: looks at a clock: the time of a request is an argument.

use std::time::Duration;

use super::scenario::Scenario;

/// What the service says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is taken.
    Taken,
    /// There is no token left.
    Throttled,
    /// It is down.
    Down,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Requests that came.
    pub offered: u64,
    /// Requests that were taken.
    pub accepted: u64,
}

/// The service that all agents share.
#[derive(Clone, Debug)]
pub struct Service {
    scenario: Scenario,
    tokens: f64,
    refilled: Duration,
    seconds: Vec<Second>,
}

impl Service {
    /// With a full bucket.
    pub fn new(scenario: Scenario) -> Self {
        let seconds = vec![Second::default(); scenario.ends().as_secs() as usize + 2];
        Self { scenario, tokens: scenario.quota, refilled: Duration::ZERO, seconds }
    }

    /// Answers a request that comes at `at`. Times may not go back.
    pub fn ask(&mut self, at: Duration) -> Said {
        let Scenario { quota, burn, .. } = self.scenario;
        let last = self.seconds.len() - 1;
        let second = &mut self.seconds[(at.as_secs() as usize).min(last)];
        second.offered += 1;
        self.tokens = (self.tokens + at.saturating_sub(self.refilled).as_secs_f64() * quota).min(quota);
        self.refilled = at;
        if self.scenario.is_down(at) {
            return Said::Down;
        }
        if self.tokens < 1.0 {
            // It may owe a second of work: more asks than it can turn away leave it no time for any.
            self.tokens = (self.tokens - burn).max(-quota);
            return Said::Throttled;
        }
        self.tokens -= 1.0;
        second.accepted += 1;
        Said::Taken
    }

    /// What happened in each second since the start.
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_for_everybody_and_rejections_burn_a_part_of_it() {
        let scenario = Scenario { burn: 0.5, before: Duration::from_secs(100), ..Scenario::of(200) };
        let mut service = Service::new(scenario);
        let mut taken = |at: f64, asks: usize| {
            (0..asks).filter(|_| service.ask(Duration::from_secs_f64(at)) == Said::Taken).count()
        };
        for (at, asks, expected, why) in [
            (0.0, 12, 10, "a second of the quota is in store"),
            (0.5, 4, 4, "half a second makes half of it, less what two rejections burned"),
            (1.0, 5, 5, "half a second"),
            (2.0, 110, 10, "all that is in store"),
            (3.0, 1, 0, "a hundred rejections burned the next second, and no more than that"),
            (3.2, 3, 1, "two tenths, less half of one"),
        ] {
            assert_eq!(taken(at, asks), expected, "{why}");
        }
        assert_eq!(taken(100.0, 3), 0, "down");
        assert_eq!(service.seconds()[100], Second { offered: 3, accepted: 0 });
        assert_eq!(service.ask(scenario.heals()), Said::Taken);
    }
}
