//! Our policy in the model: the real [`Pace`], and in a few lines what the engine makes of it for one stream.
//!
//! Promises: not a formula of the pace is copied. As in the engine, one request is under way for the stream, a batch that
//! came back is sent again, with the open one if both fit into a request; else that goes on filling until it may go.
//! Never: has more than one stream for each agent.

use std::time::Duration;

use pillion::deliver::{Rules, pace::Pace};
use tokio::time::Instant;

use super::{
    model::{Policy, World},
    service::Said,
};

/// Agents as we make them.
pub struct Ours {
    agents: Vec<Agent>,
    /// The instant that stands for the start: the pace counts in these.
    start: Instant,
}

struct Agent {
    pace: Pace,
    /// Records that were taken out of the open batch so far.
    sealed: u64,
    /// Records of the batch that waits or is under way.
    waiting: u64,
    flying: Option<(Said, Duration)>,
}

impl Policy for Ours {
    const NAME: &'static str = "ours";

    fn new(world: &mut World) -> Self {
        let rules = Rules::default();
        let mut agents = Vec::with_capacity(world.scenario.agents);
        for who in 0..world.scenario.agents {
            agents.push(Agent { pace: Pace::new(rules.workers, rules.linger), sealed: 0, waiting: 0, flying: None });
            world.wake(who as u32, world.ledger.phase(who));
        }
        Self { agents, start: Instant::now() }
    }

    fn woken(&mut self, what: u32, world: &mut World) {
        let who = what as usize;
        let (agent, now) = (&mut self.agents[who], self.start + world.now);
        if let Some((said, sent)) = agent.flying.take() {
            agent.landed(said, self.start + sent, now, &mut world.random);
            if said == Said::Taken {
                world.ledger.delivered(who, std::mem::take(&mut agent.waiting), world.now);
            }
        }
        if let Some(opens) = agent.pace.opens_at(now) {
            return world.wake(what, opens - self.start);
        }
        if agent.waiting == 0 {
            let due = agent.due(world, who);
            if due > world.now {
                return world.wake(what, due);
            }
        }
        let (open, room) = (agent.open(world, who), world.scenario.records_max() - agent.waiting);
        if agent.waiting == 0 || open <= room {
            let sealed = open.min(room);
            agent.waiting += sealed;
            agent.sealed += sealed;
        }
        agent.flying = Some((world.ask(), world.now));
        world.wake(what, world.now + world.scenario.latency);
    }
}

impl Agent {
    fn landed(&mut self, said: Said, sent: Instant, now: Instant, random: &mut fastrand::Rng) {
        match said {
            Said::Taken => self.pace.succeeded(now, sent, random.f64()),
            Said::Throttled => self.pace.throttled(now, sent, None, random.f64()),
            Said::Down => self.pace.failed(now, sent, None, random.f64()),
        }
    }

    /// Records of the open batch.
    fn open(&self, world: &World, who: usize) -> u64 {
        world.ledger.written(who, world.now) - self.sealed
    }

    /// When the open batch may go: it is full, or was open for long enough.
    fn due(&self, world: &World, who: usize) -> Duration {
        let phase = world.ledger.phase(who);
        let first = world.scenario.written_at(phase, self.sealed);
        let full = world.scenario.written_at(phase, self.sealed + world.scenario.records_max());
        (first + self.pace.linger()).min(full)
    }
}
