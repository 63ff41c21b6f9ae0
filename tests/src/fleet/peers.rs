//! How others retry, as their documentation has it: those that send everything that waits in one request.
//!
//! Promises: like ours, they send up to a full request of what waits, and lose nothing in memory that is large enough.
//! Never: more than the retry policy: no other habit of these programs is modelled.

use std::time::Duration;

use super::{
    model::{Policy, World},
    service::Said,
};

/// How long they gather records, and how long they wait after the last attempt failed.
const FLUSH: Duration = Duration::from_secs(5);

/// Five seconds after every failure.
pub struct Fixed(Vec<Gatherer>);

/// The standard retries of AWS's SDKs, and around them a loop that begins again after five seconds.
///
/// Three attempts, full jitter of one second and then two between them (at most 20 s), and the SDK's quota of retries: 500,
/// of which each retry takes 5, given back when it succeeds; a first attempt that succeeds gives 1.
pub struct Sdk(Vec<(Gatherer, Attempts)>);

/// Records that wait, and the request under way.
struct Gatherer {
    /// Records that were taken by the service, or are in the request that waits or is under way.
    sealed: u64,
    waiting: u64,
    flying: Option<Said>,
}

struct Attempts {
    made: u32,
    quota: u32,
}

/// Attempts that an SDK makes for one call.
const SDK_ATTEMPTS: u32 = 3;
/// The longest backoff of an SDK.
const SDK_BACKOFF_MAX: f64 = 20.0;
/// What an SDK may spend on retries, and what one costs.
const SDK_QUOTA: u32 = 500;
const SDK_RETRY: u32 = 5;

impl Gatherer {
    /// Gathers from a time of its own on.
    fn new(who: usize, world: &mut World) -> Self {
        let phase = FLUSH.mul_f64(world.random.f64());
        world.wake(who as u32, phase);
        Self { sealed: 0, waiting: 0, flying: None }
    }

    /// What the service said to the request that was under way, if one was.
    fn landed(&mut self, who: usize, world: &mut World) -> Option<Said> {
        let said = self.flying.take()?;
        if said == Said::Taken {
            world.ledger.delivered(who, std::mem::take(&mut self.waiting), world.now);
        }
        Some(said)
    }

    /// Sends all that waits, up to a full request. False if nothing does.
    fn send(&mut self, who: usize, world: &mut World) -> bool {
        let begun = self.sealed - self.waiting;
        let open = world.ledger.written(who, world.now) - begun;
        self.waiting = open.min(world.scenario.records_max());
        self.sealed = begun + self.waiting;
        if self.waiting == 0 {
            return false;
        }
        self.flying = Some(world.ask());
        world.wake(who as u32, world.now + world.scenario.latency);
        true
    }

    /// When to send next after a success: at once if there is more than a request holds.
    fn next(&self, who: usize, world: &World) -> Duration {
        let open = world.ledger.written(who, world.now) - self.sealed;
        if open >= world.scenario.records_max() { world.now } else { world.now + FLUSH }
    }
}

impl Policy for Fixed {
    const NAME: &'static str = "fixed 5 s";

    fn new(world: &mut World) -> Self {
        Self((0..world.scenario.agents).map(|who| Gatherer::new(who, world)).collect())
    }

    fn woken(&mut self, what: u32, world: &mut World) {
        let (who, agent) = (what as usize, &mut self.0[what as usize]);
        match agent.landed(who, world) {
            Some(Said::Taken) => world.wake(what, agent.next(who, world)),
            Some(_) => world.wake(what, world.now + FLUSH),
            None if agent.send(who, world) => {}
            None => world.wake(what, world.now + FLUSH),
        }
    }
}

impl Policy for Sdk {
    const NAME: &'static str = "sdk";

    fn new(world: &mut World) -> Self {
        let attempts = || Attempts { made: 0, quota: SDK_QUOTA };
        Self((0..world.scenario.agents).map(|who| (Gatherer::new(who, world), attempts())).collect())
    }

    fn woken(&mut self, what: u32, world: &mut World) {
        let (who, (agent, attempts)) = (what as usize, &mut self.0[what as usize]);
        match agent.landed(who, world) {
            Some(Said::Taken) => {
                attempts.succeeded();
                world.wake(what, agent.next(who, world));
            }
            Some(_) => {
                let wait = attempts.failed(world.random.f64());
                world.wake(what, world.now + wait);
            }
            None if agent.send(who, world) => attempts.made += 1,
            None => world.wake(what, world.now + FLUSH),
        }
    }
}

impl Attempts {
    fn succeeded(&mut self) {
        let back = if self.made > 1 { SDK_RETRY } else { 1 };
        self.quota = (self.quota + back).min(SDK_QUOTA);
        self.made = 0;
    }

    /// How long to wait before the next attempt.
    fn failed(&mut self, random: f64) -> Duration {
        if self.made >= SDK_ATTEMPTS || self.quota < SDK_RETRY {
            self.made = 0;
            return FLUSH;
        }
        self.quota -= SDK_RETRY;
        let ceiling = f64::from(1 << (self.made - 1)).min(SDK_BACKOFF_MAX);
        Duration::from_secs_f64(ceiling * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries end when the quota is spent, and come back with success.
    #[test]
    fn an_sdk_retries_twice_until_its_quota_is_spent() {
        let mut attempts = Attempts { made: 0, quota: SDK_QUOTA };
        let mut waits = Vec::new();
        for _ in 0..160 {
            attempts.made += 1;
            waits.push(attempts.failed(1.0).as_secs());
        }
        assert_eq!(waits[..6], [1, 2, 5, 1, 2, 5]);
        assert_eq!(waits.iter().filter(|&&wait| wait < 5).count(), 100);
        assert_eq!(waits[150..], [5; 10]);
        attempts.quota = 4;
        attempts.made = 1;
        attempts.succeeded();
        assert_eq!((attempts.quota, attempts.made), (5, 0));
    }
}
