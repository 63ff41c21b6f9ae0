//! What a fleet goes through: how many tasks, how much they write, what the service takes, when it is down.
//!
//! Promises: plain numbers, the same for the real pipelines and for the model.
//! Never: simulates anything.

use std::time::Duration;

/// The most that one request holds, in bytes. CloudWatch Logs takes 1 MiB.
pub const REQUEST_BYTES: u64 = 1 << 20;

/// One scenario. Time is counted from the start of the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// Tasks, each with one agent, one output and one stream.
    pub agents: usize,
    /// Requests per second that the service takes from all of them together.
    pub quota: f64,
    /// What a rejected request costs the service, in accepted ones.
    pub burn: f64,
    /// Bytes of a record, as the service counts them.
    pub record_bytes: u64,
    /// A task writes one record so often.
    pub record_every: Duration,
    /// From request to answer.
    pub latency: Duration,
    /// From the start of the tasks to the outage.
    pub before: Duration,
    /// How long no request is answered.
    pub outage: Duration,
    /// What is looked at behind the outage.
    pub after: Duration,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Scenario {
    /// A fleet of `agents` that write 512 bytes a second each, at a quota of 5,000 requests a second for each 100,000 of
    /// them; ten minutes, half an hour of outage, ten minutes.
    pub fn of(agents: usize) -> Self {
        Self {
            agents,
            quota: agents as f64 / 20.0,
            burn: 0.05,
            record_bytes: 512,
            record_every: Duration::from_secs(1),
            latency: Duration::from_millis(100),
            before: Duration::from_secs(600),
            outage: Duration::from_secs(1_800),
            after: Duration::from_secs(600),
            seed: 1,
        }
    }

    /// When the outage ends.
    pub fn heals(&self) -> Duration {
        self.before + self.outage
    }

    /// When the simulation ends.
    pub fn ends(&self) -> Duration {
        self.heals() + self.after
    }

    /// True while the service is down.
    pub fn is_down(&self, at: Duration) -> bool {
        self.before <= at && at < self.heals()
    }

    /// Records that a request holds.
    pub fn records_max(&self) -> u64 {
        REQUEST_BYTES / self.record_bytes
    }

    /// Records of a task that writes its first at `phase`, up to `at`.
    pub fn written(&self, phase: Duration, at: Duration) -> u64 {
        match at.checked_sub(phase) {
            Some(since) => (since.as_nanos() / self.record_every.as_nanos()) as u64 + 1,
            None => 0,
        }
    }

    /// When a task that writes its first record at `phase` writes record `number`, counted from 0.
    pub fn written_at(&self, phase: Duration, number: u64) -> Duration {
        phase + Duration::from_nanos(self.record_every.as_nanos() as u64 * number)
    }

    /// Records that a task writes in a minute: whoever waits with less has drained.
    pub fn minute_of_records(&self) -> u64 {
        (60.0 / self.record_every.as_secs_f64()).ceil() as u64
    }

    /// The least time in which the service could take what piles up in the outage, in requests that are full.
    pub fn drain_ideal(&self) -> Duration {
        let bytes = self.outage.as_secs_f64() / self.record_every.as_secs_f64() * self.record_bytes as f64;
        Duration::from_secs_f64(bytes * self.agents as f64 / REQUEST_BYTES as f64 / self.quota)
    }
}
