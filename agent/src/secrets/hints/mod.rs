//! Hints that something changed: messages of a queue of SQS, into which EventBridge puts what happens to secrets.
//!
//! ```text
//! Secrets Manager, Parameter Store ─ event ─▶ EventBridge ─▶ (SNS ─▶) SQS ─▶ receive ─▶ event: whose? ─▶ Item::look_soon
//!                                                                              └────────────────────────▶ delete
//! ```
//!
//! A message is a reason to look, never data: whoever can write to the queue can make us ask AWS sooner, at most once a second for
//! each secret, and nothing else. Looks go on at their own rhythm, since events are lost, late, doubled and out of order.
//!
//! Promises: every message that was received is deleted, whatever is in it, so that one which means nothing to us does not come
//! back for days; trouble with the queue harms nothing but the hints.
//! Never: believes a message; shows one.

mod event;
mod queue;

use std::{sync::Arc, time::Duration};

use prometheus::IntCounterVec;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};

pub use self::event::{Hint, read};
use self::queue::{MESSAGES_MAX, Message, Queue};
use super::{item::Item, settings, watch::rhythm::backoff};
use crate::{aws::Access, life::Life, tell::RateLimited, tell::counters::Counters};

/// An answer without messages that comes sooner is not that of a queue that waits. It is not asked again before.
const EMPTY_MIN: Duration = Duration::from_secs(1);
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The queue, and who is to hear.
struct Listener {
    queue: Queue,
    items: Vec<Arc<Item>>,
    counted: IntCounterVec,
    warned: RateLimited,
}

/// Listens to the queue of `settings` as long as the agent lives.
pub(super) fn listen(
    settings: &settings::Hints,
    items: Vec<Arc<Item>>,
    access: &Access,
    counters: &Counters,
    life: &Life,
) {
    let queue = match Queue::open(settings, access) {
        Ok(queue) => queue,
        Err(why) => return error!(%why, "there are no hints; secrets are looked at in their own time"),
    };
    let counted = counters.secrets.hints.clone();
    let listener = Arc::new(Listener { queue, items, counted, warned: RateLimited::new(WARN_EVERY) });
    let stopping = life.stopping();
    life.keep("secrets-hints", move || {
        let (listener, stopping) = (Arc::clone(&listener), stopping.clone());
        async move {
            stopping.run_until_cancelled(listener.run()).await;
        }
    });
}

impl Listener {
    async fn run(&self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            match self.pass(failures).await {
                Ok(0) => {
                    failures = 0;
                    sleep(EMPTY_MIN.saturating_sub(begun.elapsed())).await;
                }
                Ok(_) => failures = 0,
                Err(fault) => {
                    failures += 1;
                    self.counted.with_label_values(&["failed"]).inc();
                    if let Some(suppressed) = self.warned.allow(Instant::now()) {
                        warn!(error = %fault, suppressed, "the queue of hints cannot be read; secrets are looked at in their own time");
                    }
                    sleep(backoff(failures, fastrand::f64())).await;
                }
            }
        }
    }

    /// One receive, and what follows. Says how many messages there were.
    async fn pass(&self, failures: u32) -> Result<usize, crate::aws::Fault> {
        // Ten of the largest messages may be more than is read of one answer; one of them is not.
        let messages = self.queue.receive(if failures == 0 { MESSAGES_MAX } else { 1 }).await?;
        if messages.is_empty() {
            return Ok(0);
        }
        for message in &messages {
            let outcome = self.heard(message);
            self.counted.with_label_values(&[outcome]).inc();
        }
        self.queue.delete(&messages).await?;
        Ok(messages.len())
    }

    fn heard(&self, message: &Message) -> &'static str {
        let Some(event) = read(message.body()) else { return "unreadable" };
        let mut outcome = "foreign";
        for item in self.items.iter().filter(|item| event.iter().any(|hint| hint.concerns(&item.settings.from))) {
            debug!(secret = item.settings.name, "a change was announced");
            // It goes on by itself. Nobody waits for what comes of it.
            drop(item.look_soon());
            outcome = "taken";
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
