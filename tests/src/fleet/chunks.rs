//! How others retry, as their documentation has it: those that cut a chunk every five seconds and retry each by itself.
//!
//! Promises: a chunk is sent by itself as long as its policy says, and then given up and counted.
//! Never: more than the retry policy: no limit of memory, no other habit of these programs is modelled.

use std::time::Duration;

use super::{
    model::{Policy, World},
    service::Said,
};

/// How long a chunk gathers records.
const FLUSH: Duration = Duration::from_secs(5);
/// Fluent Bit's `scheduler.base` and `scheduler.cap`, in seconds.
const BASE: f64 = 5.0;
const CAP: f64 = 2_000.0;
/// The OpenTelemetry collector's consumers of a queue, batches in it, and `retry_on_failure`.
const CONSUMERS: usize = 10;
const QUEUE: u64 = 1_000;
const OTEL_FIRST: f64 = 5.0;
const OTEL_FACTOR: f64 = 1.5;
const OTEL_MAX: f64 = 30.0;
const OTEL_GIVE_UP: Duration = Duration::from_secs(300);

/// Fluent Bit: every chunk has a timer of its own. `LIMIT` is its `Retry_Limit`; 0 means `no_limits`.
///
/// The wait before retry n is drawn between 5 s and 5 s times 2 to the n, at most 2,000 s. Where no answer comes, its AWS
/// client asks a second time at once (`auto_retry_requests`).
pub struct FluentBit<const LIMIT: u32> {
    /// Records that each task has put into chunks.
    cut: Vec<u64>,
    chunks: Vec<Chunk>,
    free: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Chunk {
    who: u32,
    records: u32,
    attempts: u32,
    flying: Option<Said>,
}

/// The OpenTelemetry collector's exporter with its queue in memory: ten batches at a time are tried for five minutes.
pub struct Otel {
    tasks: Vec<Queue>,
}

struct Queue {
    cut: u64,
    /// Batches that wait for a consumer, each of the records of a flush.
    waiting: u64,
    consumers: [Option<Batch>; CONSUMERS],
}

#[derive(Clone, Copy)]
struct Batch {
    begun: Duration,
    interval: f64,
    flying: Option<Said>,
}

/// Cuts a chunk of task `who`, and says how many records are in it.
fn cut(who: usize, cut: &mut u64, world: &mut World) -> u64 {
    let written = world.ledger.written(who, world.now);
    let records = written - *cut;
    *cut = written;
    records
}

impl<const LIMIT: u32> Policy for FluentBit<LIMIT> {
    const NAME: &'static str = if LIMIT == 0 { "fluent-bit no_limits" } else { "fluent-bit" };

    fn new(world: &mut World) -> Self {
        for who in 0..world.scenario.agents {
            let phase = FLUSH.mul_f64(world.random.f64());
            world.wake(who as u32, phase);
        }
        Self { cut: vec![0; world.scenario.agents], chunks: Vec::new(), free: Vec::new() }
    }

    fn woken(&mut self, what: u32, world: &mut World) {
        let who = what as usize;
        let Some(number) = who.checked_sub(self.cut.len()) else {
            world.wake(what, world.now + FLUSH);
            let records = cut(who, &mut self.cut[who], world) as u32;
            if records > 0 {
                let chunk = Chunk { who: what, records, attempts: 0, flying: None };
                let number = self.place(chunk);
                self.send(number, world);
            }
            return;
        };
        let chunk = self.chunks[number];
        match chunk.flying {
            None => self.send(number, world),
            Some(Said::Taken) => {
                world.ledger.delivered(chunk.who as usize, u64::from(chunk.records), world.now);
                self.free.push(number as u32);
            }
            Some(_) if LIMIT > 0 && chunk.attempts > LIMIT => {
                world.ledger.lost(u64::from(chunk.records));
                self.free.push(number as u32);
            }
            Some(_) => {
                self.chunks[number].flying = None;
                let ceiling = (BASE * 2_f64.powi(chunk.attempts.min(20) as i32)).min(CAP);
                let wait = BASE + (ceiling - BASE) * world.random.f64();
                world.wake(what, world.now + Duration::from_secs_f64(wait));
            }
        }
    }
}

impl<const LIMIT: u32> FluentBit<LIMIT> {
    fn place(&mut self, chunk: Chunk) -> usize {
        match self.free.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number as usize
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }
        }
    }

    fn send(&mut self, number: usize, world: &mut World) {
        let mut said = world.ask();
        if said == Said::Down {
            said = world.ask();
        }
        let chunk = &mut self.chunks[number];
        chunk.attempts += 1;
        chunk.flying = Some(said);
        world.wake((self.cut.len() + number) as u32, world.now + world.scenario.latency);
    }
}

impl Otel {
    /// What is woken of each task: its timer, and its consumers.
    const EACH: usize = CONSUMERS + 1;

    fn take(&mut self, who: usize, world: &mut World) {
        let queue = &mut self.tasks[who];
        while queue.waiting > 0
            && let Some(free) = queue.consumers.iter().position(Option::is_none)
        {
            queue.waiting -= 1;
            let flying = Some(world.ask());
            queue.consumers[free] = Some(Batch { begun: world.now, interval: OTEL_FIRST, flying });
            world.wake((who * Self::EACH + free) as u32, world.now + world.scenario.latency);
        }
    }
}

impl Policy for Otel {
    const NAME: &'static str = "otel";

    fn new(world: &mut World) -> Self {
        for who in 0..world.scenario.agents {
            let phase = FLUSH.mul_f64(1.0 + world.random.f64());
            world.wake((who * Self::EACH + CONSUMERS) as u32, phase);
        }
        let queue = |_| Queue { cut: 0, waiting: 0, consumers: [None; CONSUMERS] };
        Self { tasks: (0..world.scenario.agents).map(queue).collect() }
    }

    fn woken(&mut self, what: u32, world: &mut World) {
        let (who, place) = (what as usize / Self::EACH, what as usize % Self::EACH);
        let each = (FLUSH.as_secs_f64() / world.scenario.record_every.as_secs_f64()) as u64;
        let queue = &mut self.tasks[who];
        let Some(Some(batch)) = queue.consumers.get_mut(place) else {
            world.wake(what, world.now + FLUSH);
            let records = cut(who, &mut queue.cut, world);
            match (records, queue.waiting < QUEUE) {
                (0, _) => {}
                (_, true) => queue.waiting += 1,
                (records, false) => world.ledger.lost(records),
            }
            return self.take(who, world);
        };
        match batch.flying.take() {
            None => {
                batch.flying = Some(world.ask());
                return world.wake(what, world.now + world.scenario.latency);
            }
            Some(Said::Taken) => world.ledger.delivered(who, each, world.now),
            Some(_) => {
                let wait = Duration::from_secs_f64(batch.interval * (0.5 + world.random.f64()));
                batch.interval = (batch.interval * OTEL_FACTOR).min(OTEL_MAX);
                if world.now + wait - batch.begun <= OTEL_GIVE_UP {
                    return world.wake(what, world.now + wait);
                }
                world.ledger.lost(each);
            }
        }
        self.tasks[who].consumers[place] = None;
        self.take(who, world);
    }
}
