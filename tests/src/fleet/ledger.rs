//! What became of every task's records, and the figures of a run.
//!
//! Promises: figures are taken from what the service took and when, the same way for the real pipelines and for the model.
//! Never: believes an agent.

use std::time::Duration;

use serde::Serialize;

use super::{scenario::Scenario, service::Second};

/// The second in which a fleet has settled: from here on it offers at most so much of the quota.
const SETTLED: f64 = 1.2;
/// The window over which that is looked at, in seconds: shorter ones show chance.
const SETTLED_SECONDS: usize = 30;

/// What the service took of each task.
#[derive(Clone, Debug)]
pub struct Ledger {
    scenario: Scenario,
    tasks: Vec<Task>,
    lost: u64,
}

#[derive(Clone, Debug)]
struct Task {
    /// When it writes its first record.
    phase: Duration,
    /// Records that the service took.
    delivered: u64,
    /// Of these, behind the outage.
    recovered: u64,
    /// Requests that it took behind the outage.
    requests: u64,
    /// When, behind the outage, less than a minute of records waited.
    drained: Option<Duration>,
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Who sends.
    pub policy: &'static str,
    /// Tasks.
    pub agents: usize,
    /// Requests per second that the service takes.
    pub quota: f64,
    /// What a rejected request costs.
    pub burn: f64,
    /// Of everything that was drawn.
    pub seed: u64,
    /// Requests offered per request accepted, behind the outage.
    pub amplification: Option<f64>,
    /// Part of the quota that was used by what was taken, in all the time behind the outage.
    pub goodput: f64,
    /// The same until 99 % of the tasks had drained, at least ten seconds. Who needs fewer requests leaves more of it unused.
    pub goodput_draining: f64,
    /// Time from the end of the outage until half of the tasks had less than a minute of records waiting.
    pub drain_p50_seconds: Option<f64>,
    /// The same for 99 % of the tasks.
    pub drain_p99_seconds: Option<f64>,
    /// How long that would take with full requests at the full quota.
    pub drain_ideal_seconds: f64,
    /// The most requests that came in one second behind the outage.
    pub peak_per_second: u64,
    /// The same, as a part of the quota.
    pub peak: f64,
    /// The same at most in ten seconds, per second.
    pub peak_of_ten_seconds: f64,
    /// Jain's index of the bytes that were taken of each task behind the outage.
    pub jain: f64,
    /// Jain's index of the requests that were taken of each task behind the outage.
    pub jain_requests: f64,
    /// Part of the records written that were given up.
    pub lost: f64,
    /// Records given up.
    pub lost_records: u64,
    /// From the start: when, before the outage, the fleet last offered more than 1.2 times the quota, over ten seconds.
    pub settled_seconds: f64,
}

impl Ledger {
    /// For tasks that write their first records at `phases`.
    pub fn new(scenario: Scenario, phases: impl IntoIterator<Item = Duration>) -> Self {
        let task = |phase| Task { phase, delivered: 0, recovered: 0, requests: 0, drained: None };
        Self { scenario, tasks: phases.into_iter().map(task).collect(), lost: 0 }
    }

    /// When task `who` writes its first record.
    pub fn phase(&self, who: usize) -> Duration {
        self.tasks[who].phase
    }

    /// Records that task `who` has written at `at`.
    pub fn written(&self, who: usize, at: Duration) -> u64 {
        self.scenario.written(self.tasks[who].phase, at)
    }

    /// Records of task `who` that the service took.
    pub fn taken(&self, who: usize) -> u64 {
        self.tasks[who].delivered
    }

    /// The service took a request of task `who` with so many records.
    pub fn delivered(&mut self, who: usize, records: u64, at: Duration) {
        let written = self.written(who, at);
        let task = &mut self.tasks[who];
        task.delivered += records;
        let Some(since) = at.checked_sub(self.scenario.heals()) else { return };
        task.recovered += records;
        task.requests += 1;
        if task.drained.is_none() && written - task.delivered < self.scenario.minute_of_records() {
            task.drained = Some(since);
        }
    }

    /// Records were given up.
    pub fn lost(&mut self, records: u64) {
        self.lost += records;
    }

    /// The figures.
    pub fn report(&self, policy: &'static str, seconds: &[Second]) -> Report {
        let Scenario { agents, quota, burn, seed, .. } = self.scenario;
        let heals = self.scenario.heals().as_secs() as usize;
        let after = &seconds[heals..self.scenario.ends().as_secs() as usize];
        let (offered, accepted) = sum(after);
        let p99 = self.drained(0.99);
        let window = p99.map_or(after.len(), |p99| (p99.ceil() as usize).clamp(10.min(after.len()), after.len()));
        let used = |seconds: &[Second]| sum(seconds).1 as f64 / (quota * seconds.len() as f64);
        let peak = after.iter().map(|second| second.offered).max().unwrap_or(0);
        let ten = after.windows(10).map(|ten| sum(ten).0).max().unwrap_or(0);
        let written: u64 = (0..agents).map(|who| self.written(who, self.scenario.ends())).sum();
        Report {
            policy,
            agents,
            quota,
            burn,
            seed,
            amplification: (accepted > 0).then(|| round(offered as f64 / accepted as f64)),
            goodput: round(used(after)),
            goodput_draining: round(used(&after[..window])),
            drain_p50_seconds: self.drained(0.5).map(round),
            drain_p99_seconds: p99.map(round),
            drain_ideal_seconds: round(self.scenario.drain_ideal().as_secs_f64()),
            peak_per_second: peak,
            peak: round(peak as f64 / quota),
            peak_of_ten_seconds: round(ten as f64 / 10.0 / quota),
            jain: round(jain(self.tasks.iter().map(|task| task.recovered as f64))),
            jain_requests: round(jain(self.tasks.iter().map(|task| task.requests as f64))),
            lost: round(self.lost as f64 / written as f64),
            lost_records: self.lost,
            settled_seconds: self.settled(seconds),
        }
    }

    /// When this part of the tasks had drained; `None` if it never had.
    fn drained(&self, part: f64) -> Option<f64> {
        let mut drained: Vec<Duration> = self.tasks.iter().filter_map(|task| task.drained).collect();
        drained.sort_unstable();
        let place = ((self.tasks.len() as f64 * part).ceil() as usize).saturating_sub(1);
        drained.get(place).map(Duration::as_secs_f64)
    }

    fn settled(&self, seconds: &[Second]) -> f64 {
        let before = &seconds[..self.scenario.before.as_secs() as usize];
        let most = (SETTLED * self.scenario.quota * SETTLED_SECONDS as f64) as u64;
        let last = before.windows(SETTLED_SECONDS).rposition(|window| sum(window).0 > most);
        last.map_or(0.0, |last| (last + SETTLED_SECONDS) as f64)
    }
}

fn sum(seconds: &[Second]) -> (u64, u64) {
    seconds.iter().fold((0, 0), |(offered, accepted), second| (offered + second.offered, accepted + second.accepted))
}

/// Jain's index of fairness: 1 if all have the same, 1/n if one has everything.
fn jain(shares: impl Iterator<Item = f64>) -> f64 {
    let (mut number, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for share in shares {
        number += 1.0;
        sum += share;
        squares += share * share;
    }
    if squares == 0.0 { 0.0 } else { sum * sum / (number * squares) }
}

/// To four digits behind the point: the rest is chance.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn jains_index_is_one_for_equals_and_falls_with_privilege() {
        for (shares, index) in [(vec![3.0; 5], 1.0), (vec![1.0, 0.0, 0.0, 0.0], 0.25), (vec![1.0, 3.0], 0.8)] {
            assert!((jain(shares.iter().copied()) - index).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn figures_are_of_the_time_behind_the_outage() {
        let scenario = Scenario { before: 60 * SECOND, outage: 100 * SECOND, after: 50 * SECOND, ..Scenario::of(2) };
        let mut ledger = Ledger::new(Scenario { quota: 2.0, ..scenario }, [Duration::ZERO; 2]);
        ledger.delivered(0, 10, 10 * SECOND);
        ledger.delivered(0, 141, 170 * SECOND);
        ledger.delivered(1, 100, 165 * SECOND);
        ledger.delivered(1, 72, 175 * SECOND);
        let mut seconds = vec![Second::default(); 212];
        seconds[5].offered = 100;
        seconds[165] = Second { offered: 4, accepted: 2 };
        seconds[175] = Second { offered: 1, accepted: 1 };
        let report = ledger.report("test", &seconds);
        assert_eq!((report.drain_p50_seconds, report.drain_p99_seconds), (Some(10.0), Some(15.0)));
        assert_eq!((report.amplification, report.peak_per_second, report.peak), (Some(1.6667), 4, 2.0));
        assert_eq!((report.goodput, report.goodput_draining), (0.03, 0.0667));
        assert_eq!((report.settled_seconds, report.lost), (35.0, 0.0));
    }
}
