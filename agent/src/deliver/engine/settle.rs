//! What an answer does to a batch.
//!
//! Promises: every record of a batch that was sent is settled, or waits again in its old place.
//! Never: sends.

use std::{sync::PoisonError, time::Duration};

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Engine, Flight, KEY_REST, STOPPING_BACKOFF};
use crate::deliver::{
    Answer, Cause, Fate, Retry, Verdict,
    books::{Lost, Refused},
    pace::backoff,
    pending::Pending,
};

impl Engine {
    pub(super) fn settle(&mut self, mut flight: Flight, answer: Answer) {
        let started = flight.started;
        let label = match &answer {
            Answer::Delivered => "delivered",
            Answer::Partial(_) | Answer::Short { .. } => "partial",
            Answer::Again { cause, .. } | Answer::Unprepared { cause, .. } => cause.label(),
            Answer::Divide { .. } => "divide",
        };
        let counters = &self.output.counters;
        counters.deliver_requests.with_label_values(&[&*self.output.name, label]).inc();
        let seconds = counters.deliver_request_seconds.with_label_values(&[&*self.output.name]);
        seconds.observe(started.elapsed().as_secs_f64());
        flight.span.clone().end(label, matches!(answer, Answer::Delivered | Answer::Partial(_) | Answer::Short { .. }));
        if matches!(answer, Answer::Unprepared { .. }) {
            flight.parts.iter_mut().for_each(|part| part.attempts -= 1);
        }
        match answer {
            Answer::Delivered => {
                self.succeeded(started);
                flight.parts.into_iter().for_each(Pending::delivered);
            }
            Answer::Partial(verdicts) => {
                self.succeeded(started);
                if let Some(pending) = flight.join() {
                    self.settle_parts(pending, verdicts);
                }
            }
            Answer::Short { refused, detail } => {
                self.succeeded(started);
                self.settle_short(flight, refused, &detail);
            }
            Answer::Again { cause, detail, after } | Answer::Unprepared { cause, detail, after } => {
                let now = Instant::now();
                let rest = self.slow_down(cause, after, started, now);
                self.settle_again(flight.parts, cause, detail, rest, now);
            }
            Answer::Divide { detail } => {
                // The service is well; it is the batch.
                self.pace.succeeded(Instant::now(), started, fastrand::f64());
                self.divide(flight.parts, &detail);
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

    fn settle_parts(&mut self, mut pending: Pending, verdicts: Vec<Verdict>) {
        let places = pending.places();
        let mut again = Vec::new();
        for Verdict { records: range, fate } in verdicts {
            let range = range.start.min(places)..range.end.min(places);
            match fate {
                Fate::Refused(reason) => pending.refuse(range, reason),
                Fate::Again => again.extend(range),
            }
        }
        if !again.is_empty() {
            again.sort_unstable();
            again.dedup();
            let now = Instant::now();
            let frame = self.output.destination.frame(&pending.key);
            let mut rest = pending.cut(&again, &frame);
            rest.not_before = Some(now + backoff(rest.attempts, fastrand::f64()));
            self.keep_or_give_up(rest, now);
        }
        pending.delivered();
    }

    fn settle_short(&self, flight: Flight, refused: u32, detail: &str) {
        if let Some(suppressed) = self.warned.allow(Instant::now()) {
            warn!(
                output = &*self.output.name,
                records = refused,
                detail,
                suppressed,
                "output refused records of a batch"
            );
        }
        if let Some(mut pending) = flight.join() {
            pending.refuse_some(refused, Refused::Invalid);
            pending.delivered();
        }
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
        parts: Vec<Pending>,
        cause: Cause,
        detail: String,
        rest: Option<Duration>,
        now: Instant,
    ) {
        if let Some(suppressed) = self.warned.allow(now) {
            warn!(
                output = &*self.output.name,
                cause = cause.label(),
                detail,
                records = parts.iter().map(Pending::records).sum::<usize>(),
                attempt = parts.iter().map(|part| part.attempts).max(),
                suppressed,
                "output did not take a batch"
            );
        }
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).last_failure = Some(detail);
        for mut part in parts {
            part.not_before = rest.map(|rest| now + rest);
            self.keep_or_give_up(part, now);
        }
    }

    /// Puts what was not taken back in its old place, unless it was tried for long enough.
    fn keep_or_give_up(&self, mut pending: Pending, now: Instant) {
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

    fn gives_up(&self, pending: &Pending, now: Instant) -> Option<Lost> {
        let age = now.duration_since(pending.since);
        match self.rules.retry {
            Retry::Never if pending.attempts > 0 => Some(Lost::NoRetries),
            Retry::AtLeast(retries) if pending.attempts > retries && age > self.rules.patience => Some(Lost::TooLate),
            _ if age > self.rules.age_max => Some(Lost::TooLate),
            _ => None,
        }
    }

    /// Sends the parts alone, or the halves of the only one, the first one first. One record that is refused alone is refused
    /// for good.
    fn divide(&mut self, mut parts: Vec<Pending>, detail: &str) {
        if parts.len() > 1 {
            let mut queue = self.output.queue();
            return parts.into_iter().for_each(|mut part| {
                // What is not known to fit is not joined again.
                part.counted = None;
                queue.put_back(part);
            });
        }
        let Some(mut pending) = parts.pop() else { return };
        let (places, records) = (pending.places(), pending.records());
        if places <= 1 {
            warn!(output = &*self.output.name, detail, records, "a record was refused");
            return pending.refused(Refused::Invalid);
        }
        debug!(output = &*self.output.name, detail, records, "a batch was refused; its halves are sent alone");
        let frame = self.output.destination.frame(&pending.key);
        let (first, second): (Vec<_>, Vec<_>) = (0..places).partition(|&place| place < places / 2);
        // Parts of one age are put before each other: the first half last.
        let halves = [second, first].map(|places| pending.cut(&places, &frame));
        let mut queue = self.output.queue();
        for half in halves {
            queue.put_back(half);
        }
    }
}
