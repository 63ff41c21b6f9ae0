//! The sending loop of one output.
//!
//! Promises: batches of a key leave in order; at most one request is under way while the service is down; the loop ends
//! when the output is closed and everything is settled, or at the deadline, with the rest booked as lost.
//! Never: blocks on a destination. A `send` that panics counts as an ambiguous failure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Answer, Cause, Destination, Fate, Retry, Rules, Verdict,
    batch::Pending,
    books::{Lost, Refused},
    lane::Output,
    pace::{Pace, backoff},
    queue::Listed,
    standing::Standing,
};
use crate::{life::Flock, tell::RateLimited};

/// How often an attempt is made while the agent stops, whatever the backoff.
const STOPPING_BACKOFF: Duration = Duration::from_millis(500);
/// How long a key rests that we may not write to, or that does not exist.
const KEY_REST: Duration = Duration::from_secs(60);
/// A warning about the same output, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Sends what is appended to one [`Output`].
pub struct Engine<D: Destination> {
    output: Arc<Output<D>>,
    rules: Rules,
    pace: Pace,
    /// Requests under way. A batch whose request panics comes back from `flights`.
    flying: Flock<u64, Answer>,
    flights: HashMap<u64, Flight<D>>,
    next: u64,
    busy: HashMap<D::Key, usize>,
    stopping: bool,
    warned: RateLimited,
    standing: Arc<Mutex<Standing>>,
}

struct Flight<D: Destination> {
    pending: Pending<D::Key>,
    started: Instant,
}

impl<D: Destination> Engine<D> {
    pub(super) fn new(output: Arc<Output<D>>, rules: Rules) -> Self {
        Self {
            pace: Pace::new(rules.workers, rules.linger),
            output,
            rules,
            flying: Flock::default(),
            flights: HashMap::new(),
            next: 0,
            busy: HashMap::new(),
            stopping: false,
            warned: RateLimited::new(WARN_EVERY),
            standing: Arc::default(),
        }
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
            self.send_due(now);
            self.report();
            if self.has_ended() {
                return;
            }
            let wake_at = self.wakes_at(now);
            tokio::select! {
                () = self.output.wake.notified() => {}
                Some((number, answer)) = self.flying.next() => self.landed(number, answer),
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
                () = stopping.cancelled(), if !self.stopping => self.hurry(),
                () = abandon.cancelled() => return self.abandon(),
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

    fn is_free(&self, key: &D::Key) -> bool {
        self.busy.get(key).copied().unwrap_or(0) < self.rules.workers_per_key
    }

    /// Starts as many requests as the pace and the order allow.
    fn send_due(&mut self, now: Instant) {
        if self.stopping {
            self.pace.hasten(now, STOPPING_BACKOFF);
        }
        while self.flying.len() < self.pace.allowed(now) {
            let Some(pending) = self.take_due(now) else { return };
            self.send(pending, now);
        }
    }

    /// Takes the oldest batch that may be sent now. An open one is sealed only here, when it will be sent at once: until
    /// then it goes on filling.
    fn take_due(&self, now: Instant) -> Option<Pending<D::Key>> {
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
    fn seal(&self, Listed { lane, .. }: Listed<D>, now: Instant) {
        let mut open = lane.lock();
        lane.listed.store(false, Ordering::Relaxed);
        if open.opened() + self.linger() <= now {
            self.output.seal(&lane, &mut open);
        } else if !open.is_empty() {
            // The batch that was listed became full meanwhile, and this is the next one.
            self.output.list(&lane, &mut open);
        }
    }

    fn send(&mut self, mut pending: Pending<D::Key>, now: Instant) {
        pending.attempts += 1;
        let batch = Arc::clone(&pending.batch);
        let destination = Arc::clone(&self.output.destination);
        let number = self.next;
        self.next += 1;
        *self.busy.entry(batch.key.clone()).or_default() += 1;
        self.flights.insert(number, Flight { pending, started: now });
        self.flying.start(number, async move { destination.send(&batch).await });
    }

    fn landed(&mut self, number: u64, answer: Option<Answer>) {
        let flight = self.flights.remove(&number).expect("every flight is entered before it starts");
        self.free(&flight.pending.batch.key);
        let answer = answer.unwrap_or_else(|| {
            self.output.counters.life_panics.inc();
            let detail = "sending panicked; this is a bug in pillion".to_owned();
            Answer::Again { cause: Cause::Ambiguous, detail, after: None }
        });
        self.settle(flight, answer);
    }

    fn free(&mut self, key: &D::Key) {
        if let Some(count) = self.busy.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(key);
            }
        }
    }

    fn settle(&mut self, flight: Flight<D>, answer: Answer) {
        let Flight { pending, started } = flight;
        let label = match &answer {
            Answer::Delivered => "delivered",
            Answer::Partial(_) => "partial",
            Answer::Again { cause, .. } => cause.label(),
            Answer::Divide { .. } => "divide",
        };
        let counters = &self.output.counters;
        counters.deliver_requests.with_label_values(&[&*self.output.name, label]).inc();
        let seconds = counters.deliver_request_seconds.with_label_values(&[&*self.output.name]);
        seconds.observe(started.elapsed().as_secs_f64());
        match answer {
            Answer::Delivered => {
                self.succeeded(started);
                pending.delivered();
            }
            Answer::Partial(verdicts) => {
                self.succeeded(started);
                self.settle_parts(pending, verdicts);
            }
            Answer::Again { cause, detail, after } => {
                let now = Instant::now();
                let rest = self.slow_down(cause, after, started, now);
                self.settle_again(pending, cause, detail, rest, now);
            }
            Answer::Divide { detail } => {
                // The service is well; it is the batch.
                self.pace.succeeded(Instant::now(), started, fastrand::f64());
                self.divide(pending, &detail);
            }
        }
    }

    fn succeeded(&mut self, started: Instant) {
        let failures = self.pace.failures();
        self.pace.succeeded(Instant::now(), started, fastrand::f64());
        if failures > 0 && self.pace.failures() == 0 {
            info!(output = &*self.output.name, failures, "output takes records again");
        }
        // A key that rests because it is denied or missing is no better for what its neighbours achieve.
        let rests = self.output.queue().resting_since().is_some();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.stuck_since = None;
        if !rests {
            standing.last_failure = None;
        }
    }

    fn settle_parts(&mut self, mut pending: Pending<D::Key>, verdicts: Vec<Verdict>) {
        let records = pending.records();
        let mut again = Vec::new();
        for Verdict { records: range, fate } in verdicts {
            let range = range.start.min(records)..range.end.min(records);
            match fate {
                Fate::Refused(reason) => pending.refuse(range, reason),
                Fate::Again => again.extend(range),
            }
        }
        if !again.is_empty() {
            again.sort_unstable();
            again.dedup();
            let now = Instant::now();
            let frame = self.output.destination.frame(&pending.batch.key);
            let mut rest = pending.cut(&again, &frame);
            rest.not_before = Some(now + backoff(rest.attempts, fastrand::f64()));
            self.keep_or_give_up(rest, now);
        }
        pending.delivered();
    }

    /// Lets the pace know that a batch was not taken. Returns how long its key must rest, if only the key is concerned.
    fn slow_down(&mut self, cause: Cause, after: Option<Duration>, sent: Instant, now: Instant) -> Option<Duration> {
        let random = fastrand::f64();
        if cause.is_of_the_key() {
            return Some(after.unwrap_or(KEY_REST).mul_f64(1.0 + random / 4.0));
        }
        match cause {
            Cause::Throttled => self.pace.throttled(now, sent, after, random),
            _ => self.pace.failed(now, sent, after, random),
        }
        None
    }

    fn settle_again(
        &mut self,
        mut pending: Pending<D::Key>,
        cause: Cause,
        detail: String,
        rest: Option<Duration>,
        now: Instant,
    ) {
        pending.not_before = rest.map(|rest| now + rest);
        if let Some(suppressed) = self.warned.allow(now) {
            warn!(
                output = &*self.output.name,
                cause = cause.label(),
                detail,
                records = pending.records(),
                attempt = pending.attempts,
                suppressed,
                "output did not take a batch"
            );
        }
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).last_failure = Some(detail);
        self.keep_or_give_up(pending, now);
    }

    /// Puts what was not taken back in its old place, unless it was tried for long enough.
    fn keep_or_give_up(&self, mut pending: Pending<D::Key>, now: Instant) {
        if let Some(reason) = self.gives_up(&pending, now) {
            let lost = pending.lost(reason);
            warn!(output = &*self.output.name, records = lost, reason = reason.label(), "records were given up");
            return;
        }
        if self.stopping {
            pending.hasten(now, STOPPING_BACKOFF);
        }
        self.output.queue().put_back(pending);
    }

    fn gives_up(&self, pending: &Pending<D::Key>, now: Instant) -> Option<Lost> {
        let age = now.duration_since(pending.since);
        match self.rules.retry {
            Retry::Never => Some(Lost::NoRetries),
            Retry::AtLeast(retries) if pending.attempts > retries && age > self.rules.patience => Some(Lost::TooLate),
            _ if age > self.rules.age_max => Some(Lost::TooLate),
            _ => None,
        }
    }

    /// Sends the halves alone, the first one first. One record that is refused alone is refused for good.
    fn divide(&mut self, mut pending: Pending<D::Key>, detail: &str) {
        let records = pending.records();
        if records <= 1 {
            warn!(output = &*self.output.name, detail, "a record was refused");
            return pending.refused(Refused::Invalid);
        }
        debug!(output = &*self.output.name, detail, records, "a batch was refused; its halves are sent alone");
        let frame = self.output.destination.frame(&pending.batch.key);
        let (first, second): (Vec<_>, Vec<_>) = (0..records).partition(|&place| place < records / 2);
        // Parts of one age are put before each other: the first half last.
        let halves = [second, first].map(|places| pending.cut(&places, &frame));
        let mut queue = self.output.queue();
        for half in halves {
            queue.put_back(half);
        }
    }

    /// True, for good, if no record will come and none is left.
    fn has_ended(&self) -> bool {
        let mut queue = self.output.queue();
        let idle = queue.is_empty() && self.flying.is_empty();
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
        if self.flying.len() >= self.pace.allowed(now) {
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
        standing.failures = self.pace.failures();
        standing.linger = self.pace.linger();
        standing.stuck_since = match resting_since {
            Some(since) => Some(since),
            None if waits || !self.flying.is_empty() => Some(standing.stuck_since.unwrap_or_else(Instant::now)),
            None => None,
        };
    }

    /// Books everything that is left as lost.
    fn abandon(mut self) {
        self.flying = Flock::default();
        let mut lost = 0;
        for (_, flight) in std::mem::take(&mut self.flights) {
            lost += flight.pending.lost(Lost::Stopped);
        }
        self.output.stock.close();
        let (sealed, listed) = self.output.queue().end();
        lost += sealed.into_iter().map(|pending| pending.lost(Lost::Stopped)).sum::<u64>();
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
    }
}
