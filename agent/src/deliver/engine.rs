//! The sending loop of one output.
//!
//! Promises: batches of a key leave in order; at most one request is under way while the service is down; the loop ends
//! when the output is closed and everything is settled, or at the deadline, with the rest booked as lost.
//! Never: blocks on a destination. A `send` that panics counts as an ambiguous failure.

use std::{
    collections::{HashMap, HashSet},
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
    pace::Pace,
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

/// How an output stands, for health and status.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Requests under way.
    pub flying: usize,
    /// Batches that wait.
    pub waiting: usize,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// How long records wait for others now.
    pub linger: Duration,
    /// Since when nothing was delivered although something waits.
    pub stuck_since: Option<Instant>,
    /// The last failure, for a person.
    pub last_failure: Option<String>,
}

fn hasten<K>(pending: &mut Pending<K>, now: Instant) {
    pending.not_before = pending.not_before.map(|time| time.min(now + STOPPING_BACKOFF));
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
            self.seal_due();
            self.send_due();
            self.report();
            if self.is_done() {
                return;
            }
            let wake_at = self.wakes_at();
            tokio::select! {
                () = self.output.wake.notified() => {}
                Some((number, answer)) = self.flying.next() => self.landed(number, answer),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                () = stopping.cancelled(), if !self.stopping => self.hurry(),
                () = abandon.cancelled() => return self.abandon(),
            }
        }
    }

    /// From now on nothing waits for company, and backoffs are short: there is little to lose.
    fn hurry(&mut self) {
        self.stopping = true;
        let now = Instant::now();
        for pending in &mut self.output.queue().sealed {
            hasten(pending, now);
        }
    }

    /// Seals open batches that have waited long enough and whose key is free.
    fn seal_due(&mut self) {
        let now = Instant::now();
        if self.pace.opens_at(now).is_some() && !self.stopping {
            return;
        }
        let lanes = self.output.queue().open.clone();
        for lane in lanes {
            let mut open = lane.lock();
            let due = self.stopping || now >= open.opened() + self.pace.linger();
            if open.is_empty() {
                self.unlist(&lane);
            } else if due && (self.stopping || self.is_free(&lane.key)) {
                self.unlist(&lane);
                self.output.seal(&lane, &mut open);
            }
        }
    }

    /// Takes `lane`, whose lock the caller holds, out of the list of lanes with an open batch.
    fn unlist(&self, lane: &Arc<super::lane::Lane<D>>) {
        lane.listed.store(false, Ordering::Relaxed);
        self.output.queue().open.retain(|other| !Arc::ptr_eq(other, lane));
    }

    fn is_free(&self, key: &D::Key) -> bool {
        self.busy.get(key).copied().unwrap_or(0) < self.rules.workers_per_key
    }

    /// Starts as many requests as the pace and the order allow.
    fn send_due(&mut self) {
        let now = Instant::now();
        if self.stopping {
            self.pace.hasten(now, STOPPING_BACKOFF);
        }
        while self.flying.len() < self.pace.allowed(now) {
            let Some(pending) = self.take_due(now) else { return };
            self.send(pending, now);
        }
    }

    /// Takes the first batch that may be sent now: its key is free, and no older batch of its key waits.
    fn take_due(&mut self, now: Instant) -> Option<Pending<D::Key>> {
        let mut queue = self.output.queue();
        let mut blocked: HashSet<&D::Key> = HashSet::new();
        let place = queue.sealed.iter().position(|pending| {
            let key = &pending.batch.key;
            let rests = pending.not_before.is_some_and(|time| now < time);
            if !rests && self.is_free(key) && !blocked.contains(key) {
                return true;
            }
            blocked.insert(key);
            false
        })?;
        queue.sealed.remove(place)
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
                self.succeeded();
                pending.delivered();
            }
            Answer::Partial(verdicts) => {
                self.succeeded();
                self.settle_parts(pending, verdicts);
            }
            Answer::Again { cause, detail, after } => self.settle_again(pending, cause, detail, after),
            Answer::Divide { detail } => self.divide(pending, &detail),
        }
    }

    fn succeeded(&mut self) {
        if self.pace.failures() > 0 {
            info!(output = &*self.output.name, failures = self.pace.failures(), "output takes records again");
        }
        self.pace.succeeded();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.stuck_since = None;
        standing.last_failure = None;
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
            let frame = self.output.destination.frame(&pending.batch.key);
            let rest = pending.cut(&again, &frame, self.output.share.lease());
            self.output.queue().sealed.push_front(rest);
        }
        pending.delivered();
    }

    fn settle_again(&mut self, mut pending: Pending<D::Key>, cause: Cause, detail: String, after: Option<Duration>) {
        let now = Instant::now();
        let random = fastrand::f64();
        if cause.is_of_the_key() {
            pending.not_before = Some(now + after.unwrap_or(KEY_REST).mul_f64(1.0 + random / 4.0));
        } else if cause == Cause::Throttled {
            self.pace.throttled(now, after, random);
        } else {
            self.pace.failed(now, after, random);
        }
        if self.stopping {
            hasten(&mut pending, now);
        }
        if let Some(suppressed) = self.warned.allow(now) {
            warn!(
                output = &*self.output.name,
                cause = cause.label(),
                detail,
                records = pending.records(),
                attempt = pending.attempts,
                suppressed,
                "output did not take a batch; it will be sent again"
            );
        }
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).last_failure = Some(detail);
        match self.gives_up(&pending, now) {
            Some(reason) => {
                let lost = pending.lost(reason);
                warn!(output = &*self.output.name, records = lost, reason = reason.label(), "records were given up");
            }
            None => self.output.queue().sealed.push_front(pending),
        }
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
        let halves = [second, first].map(|places| pending.cut(&places, &frame, self.output.share.lease()));
        let mut queue = self.output.queue();
        for half in halves {
            queue.sealed.push_front(half);
        }
    }

    fn is_done(&self) -> bool {
        let queue = self.output.queue();
        queue.closed && queue.sealed.is_empty() && queue.open.is_empty() && self.flying.is_empty()
    }

    /// When something becomes due by itself.
    fn wakes_at(&self) -> Option<Instant> {
        let now = Instant::now();
        if let Some(opens) = self.pace.opens_at(now) {
            return Some(opens);
        }
        let queue = self.output.queue();
        let rests = queue.sealed.iter().filter_map(|pending| pending.not_before).filter(|&time| time > now).min();
        let lanes = queue.open.clone();
        drop(queue);
        let lingers = lanes.iter().filter(|lane| self.is_free(&lane.key));
        let lingers = lingers.map(|lane| lane.lock().opened() + self.pace.linger()).min();
        rests.into_iter().chain(lingers).min()
    }

    fn report(&self) {
        let (waiting, waits) = {
            let queue = self.output.queue();
            (queue.sealed.len(), !queue.sealed.is_empty() || !queue.open.is_empty())
        };
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.flying = self.flying.len();
        standing.waiting = waiting;
        standing.memory_bytes = self.output.share.used();
        standing.failures = self.pace.failures();
        standing.linger = self.pace.linger();
        if waits || !self.flying.is_empty() {
            standing.stuck_since.get_or_insert_with(Instant::now);
        } else {
            standing.stuck_since = None;
        }
    }

    /// Books everything that is left as lost.
    fn abandon(mut self) {
        self.flying = Flock::default();
        let mut lost = 0;
        for (_, flight) in std::mem::take(&mut self.flights) {
            lost += flight.pending.lost(Lost::Stopped);
        }
        let (sealed, lanes) = {
            let mut queue = self.output.queue();
            (std::mem::take(&mut queue.sealed), std::mem::take(&mut queue.open))
        };
        lost += sealed.into_iter().map(|pending| pending.lost(Lost::Stopped)).sum::<u64>();
        lost += lanes.iter().map(|lane| lane.lock().lose(Lost::Stopped)).sum::<u64>();
        if lost > 0 {
            warn!(
                output = &*self.output.name,
                records = lost,
                "records were not delivered before the agent had to stop"
            );
        }
    }
}
