//! The sending loop of one output. What an answer does to a batch is in [`settle`], what goes to disk in [`keeping`].
//!
//! Promises: batches of a key leave in order; at most one request is under way while the service is down; the loop ends
//! when the output is closed and everything is settled, or at the deadline, with the rest booked as lost.
//! Never: blocks on a destination. A `send` that panics counts as an ambiguous failure.

mod hearing;
mod joining;
mod keeping;
mod settle;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Answer, Cause, Key, Rules,
    books::Lost,
    lane::Output,
    pace::Pace,
    pending::Pending,
    queue::{Age, Listed},
    standing::Standing,
};
use crate::{
    life::Flock,
    tell::{
        RateLimited,
        spans::{Open, Spans},
    },
};
use joining::Flight;
use keeping::Keeping;

/// How often an attempt is made while the agent stops, whatever the backoff.
const STOPPING_BACKOFF: Duration = Duration::from_millis(500);
/// How long a key rests that we may not write to, or that does not exist.
const KEY_REST: Duration = Duration::from_secs(60);
/// A warning about the same output, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Sends what is appended to one [`Output`].
pub struct Engine {
    output: Arc<Output>,
    rules: Rules,
    pace: Pace,
    /// Requests under way. A batch whose request panics comes back from `flights`.
    flying: Flock<u64, Answer>,
    flights: HashMap<u64, Flight>,
    /// Makes the next batch ready while a request is under way: at most one at a time.
    preparing: Flock<(), ()>,
    /// Which batch that was last: it is done once.
    prepared: Option<Age>,
    next: u64,
    busy: HashMap<Key, usize>,
    stopping: bool,
    warned: RateLimited,
    warned_of_disk: RateLimited,
    standing: Arc<Mutex<Standing>>,
    spans: Spans,
    /// With a spool.
    keeping: Option<Keeping>,
}

impl Engine {
    pub(super) fn new(output: Arc<Output>, rules: Rules) -> Self {
        Self {
            pace: Pace::new(rules.workers, rules.linger),
            output,
            rules,
            flying: Flock::default(),
            flights: HashMap::new(),
            preparing: Flock::default(),
            prepared: None,
            next: 0,
            busy: HashMap::new(),
            stopping: false,
            warned: RateLimited::new(WARN_EVERY),
            warned_of_disk: RateLimited::new(WARN_EVERY),
            standing: Arc::default(),
            spans: Spans::off(),
            keeping: None,
        }
    }

    /// The same with a span for each request.
    pub fn with_spans(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// The output's name.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.output.name)
    }

    /// How the output stands; kept up to date while the engine runs.
    pub fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Sends until the output is closed and empty. From `stopping` on it hurries; when `abandon` is cancelled, what is
    /// left is booked as lost.
    pub async fn run(mut self, stopping: CancellationToken, abandon: CancellationToken) {
        loop {
            let now = Instant::now();
            self.hear_disk(now);
            self.send_due(now);
            self.prepare_next();
            self.keep(now);
            self.report();
            if self.has_ended() {
                return self.close_disk().await;
            }
            let wake_at = [self.wakes_at(now), self.keeps_at(now)].into_iter().flatten().min();
            tokio::select! {
                () = self.output.wake.notified() => {}
                Some((number, answer)) = self.flying.next() => self.landed(number, answer),
                Some(_) = self.preparing.next() => {}
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
                () = stopping.cancelled(), if !self.stopping => self.hurry(),
                () = abandon.cancelled() => return self.abandon().await,
            }
        }
    }

    /// From now on nothing waits for company, and backoffs are short: there is little to lose.
    fn hurry(&mut self) {
        self.stopping = true;
        self.output.queue().hasten(Instant::now(), STOPPING_BACKOFF);
    }

    /// How long an open batch waits for company.
    fn linger(&self) -> Duration {
        if self.stopping { Duration::ZERO } else { self.pace.linger() }
    }

    fn is_free(&self, key: &Key) -> bool {
        self.busy.get(key).copied().unwrap_or(0) < self.rules.workers_per_key
    }

    /// Starts as many requests as the pace and the order allow.
    fn send_due(&mut self, now: Instant) {
        if self.stopping {
            self.pace.hasten(now, STOPPING_BACKOFF);
        }
        if self.is_listing() {
            // What an earlier process left comes first.
            return;
        }
        while self.under_way() < self.pace.allowed(now) {
            let Some(pending) = self.take_due(now) else { return };
            if pending.batch.is_none() {
                self.load(pending);
            } else if let Some(flight) = self.join(pending, now) {
                self.send(flight);
            }
        }
    }

    /// Takes the oldest batch that may be sent now. An open one is sealed only here, when it will be sent at once: until
    /// then it goes on filling.
    fn take_due(&self, now: Instant) -> Option<Pending> {
        loop {
            let mut queue = self.output.queue();
            let sealed = queue.sendable(now, |key| self.is_free(key));
            let open = queue.sealable(|key| self.is_free(key));
            let due = open.filter(|&place| queue.open_since(place) + self.linger() <= now);
            match (sealed, due) {
                (Some((since, _)), Some(due)) if queue.open_since(due) < since => {}
                (Some(age), _) => return queue.take(age),
                _ => {}
            }
            let listed = queue.unlist(due?)?;
            drop(queue);
            self.seal(listed, now);
        }
    }

    /// Seals the batch of a lane that was just taken from the queue.
    fn seal(&self, Listed { lane, .. }: Listed, now: Instant) {
        let mut open = lane.lock();
        lane.listed.store(false, Ordering::Relaxed);
        if open.opened() + self.linger() <= now {
            self.output.seal(&lane, &mut open);
        } else if !open.is_empty() {
            // The batch that was listed became full meanwhile, and this is the next one.
            self.output.list(&lane, &mut open);
        }
    }

    /// While a request is under way, has the next batch made ready for its own: read back, if it is on disk, and prepared.
    fn prepare_next(&mut self) {
        if self.flying.is_empty() || !self.preparing.is_empty() {
            return;
        }
        self.load_ahead();
        let next = self.output.queue().next().map(|(age, batch)| (age, Arc::clone(batch)));
        let Some((age, batch)) = next.filter(|(age, _)| self.prepared != Some(*age)) else { return };
        self.prepared = Some(age);
        let destination = Arc::clone(&self.output.destination);
        self.preparing.start((), async move { destination.prepare(&batch).await });
    }

    fn send(&mut self, mut flight: Flight) {
        flight.parts.iter_mut().for_each(|part| part.attempts += 1);
        let batch = Arc::clone(&flight.batch);
        let destination = Arc::clone(&self.output.destination);
        let number = self.next;
        self.next += 1;
        self.occupy(&batch.key);
        flight.span = self.span_of(&flight);
        let span = flight.span.clone();
        self.flights.insert(number, flight);
        self.flying.start(number, span.around(async move { destination.send(&batch).await }));
    }

    fn span_of(&self, flight: &Flight) -> Open {
        let span = self.spans.begin("deliver");
        if span.is_made() {
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            span.say("pillion.output", self.output.name.to_string());
            span.say("pillion.records", count(flight.parts.iter().map(Pending::records).sum()));
            span.say("pillion.bytes", count(flight.batch.body.len()));
            span.say("pillion.attempt", flight.parts.iter().map(|part| i64::from(part.attempts)).max().unwrap_or(1));
        }
        span
    }

    fn landed(&mut self, number: u64, answer: Option<Answer>) {
        let flight = self.flights.remove(&number).expect("every flight is entered before it starts");
        self.free(&flight.batch.key);
        let answer = answer.unwrap_or_else(|| {
            self.output.counters.life_panics.inc();
            let detail = "sending panicked; this is a bug in pillion".to_owned();
            Answer::Again { cause: Cause::Ambiguous, detail, after: None }
        });
        self.settle(flight, answer);
        self.refill_reserve();
    }

    fn occupy(&mut self, key: &Key) {
        *self.busy.entry(key.clone()).or_default() += 1;
    }

    fn free(&mut self, key: &Key) {
        if let Some(count) = self.busy.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(key);
            }
        }
    }

    /// True, for good, if no record will come and none is left.
    fn has_ended(&self) -> bool {
        let mut queue = self.output.queue();
        let idle = queue.is_empty() && self.flying.is_empty() && self.disk_is_idle();
        let ended = queue.closed && idle;
        queue.ended |= ended;
        drop(queue);
        if ended {
            self.output.stock.close();
        } else if idle {
            self.output.stock.clear();
        }
        ended
    }

    /// When something becomes due by itself. Never in the past: what was due at `now` was sent or waits for an answer.
    fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if let Some(opens) = self.pace.opens_at(now) {
            return Some(opens);
        }
        if self.under_way() >= self.pace.allowed(now) {
            return None;
        }
        let queue = self.output.queue();
        let lingers = queue.sealable(|key| self.is_free(key)).map(|place| queue.open_since(place) + self.linger());
        queue.rests_until(now).into_iter().chain(lingers).min()
    }

    fn report(&self) {
        let (waiting, waits, resting_since) = {
            let queue = self.output.queue();
            (queue.len(), !queue.is_empty(), queue.resting_since())
        };
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.flying = self.flying.len();
        standing.waiting = waiting;
        standing.memory_bytes = self.output.share.used();
        (standing.spool_bytes, standing.spool_degraded) = self.on_disk();
        standing.failures = self.pace.failures();
        standing.linger = self.pace.linger();
        standing.stuck_since = match resting_since {
            Some(since) => Some(since),
            None if waits || !self.flying.is_empty() => Some(standing.stuck_since.unwrap_or_else(Instant::now)),
            None => None,
        };
    }

    /// Leaves to the next process what is on disk, and books the rest as lost.
    async fn abandon(mut self) {
        self.keep_all().await;
        self.flying = Flock::default();
        self.output.stock.close();
        let flights = std::mem::take(&mut self.flights).into_values().flat_map(|flight| flight.parts);
        let (sealed, listed) = self.output.queue().end();
        let left = flights.chain(self.take_loading()).chain(sealed);
        let mut lost = left.map(|pending| pending.leave(Lost::Stopped)).sum::<u64>();
        for Listed { lane, .. } in listed {
            let mut open = lane.lock();
            lane.listed.store(false, Ordering::Relaxed);
            lost += open.lose(Lost::Stopped);
        }
        if lost > 0 {
            warn!(
                output = &*self.output.name,
                records = lost,
                "records were not delivered before the agent had to stop"
            );
        }
        self.close_disk().await;
    }
}
