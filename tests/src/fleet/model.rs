//! A discrete-event model of a fleet: no records, no tasks of a runtime, only who asks when and what the service says.
//!
//! Time goes in ticks of 100 ms. What is due within a tick comes in an order drawn anew, so that nobody is first for ever.
//!
//! Promises: the same seed gives the same run; a hundred thousand agents for an hour take minutes.
//! Never: stands for the pipeline: [`real`](super::real) runs that. The pace of our agents is the real one, though.

use std::time::Duration;

use super::{
    ledger::{Ledger, Report},
    scenario::Scenario,
    service::{Said, Second, Service},
};

/// One tick of the wheel.
const TICK: Duration = Duration::from_millis(100);

/// How agents send. What is woken are numbers that the policy gave.
pub trait Policy {
    /// Its name in reports.
    const NAME: &'static str;

    /// Makes the agents, and wakes each for the first time.
    fn new(world: &mut World) -> Self;

    /// What was to be woken as `what` is due.
    fn woken(&mut self, what: u32, world: &mut World);
}

/// What a policy acts upon.
pub struct World {
    /// What the fleet goes through.
    pub scenario: Scenario,
    /// What became of the records.
    pub ledger: Ledger,
    /// Everything that is drawn.
    pub random: fastrand::Rng,
    /// Now.
    pub now: Duration,
    service: Service,
    wheel: Vec<Vec<u32>>,
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut random = fastrand::Rng::with_seed(scenario.seed);
        let phases: Vec<_> = (0..scenario.agents).map(|_| scenario.record_every.mul_f64(random.f64())).collect();
        Self {
            scenario,
            ledger: Ledger::new(scenario, phases),
            random,
            now: Duration::ZERO,
            service: Service::new(scenario),
            wheel: vec![Vec::new(); (scenario.ends().as_millis() / TICK.as_millis()) as usize],
        }
    }

    /// Wakes `what` in the tick that holds `at`, or in the next one; not at all if that is behind the end.
    pub fn wake(&mut self, what: u32, at: Duration) {
        let tick = at.as_nanos().div_ceil(TICK.as_nanos()).max(self.now.as_nanos() / TICK.as_nanos() + 1) as usize;
        if let Some(due) = self.wheel.get_mut(tick) {
            due.push(what);
        }
    }

    /// Sends a request now.
    pub fn ask(&mut self) -> Said {
        self.service.ask(self.now)
    }
}

/// Runs a fleet of one policy.
pub fn run<P: Policy>(scenario: Scenario) -> (Report, Vec<Second>) {
    let mut world = World::new(scenario);
    let mut policy = P::new(&mut world);
    for tick in 0..world.wheel.len() {
        world.now = TICK * tick as u32;
        let mut due = std::mem::take(&mut world.wheel[tick]);
        world.random.shuffle(&mut due);
        for what in due {
            policy.woken(what, &mut world);
        }
    }
    let seconds = world.service.seconds().to_vec();
    (world.ledger.report(P::NAME, &seconds), seconds)
}
