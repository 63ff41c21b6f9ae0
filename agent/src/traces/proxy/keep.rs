//! Answers that everybody gets who asks the same: kept for some seconds, and asked for once.
//!
//! Promises: of many who ask at once one asks the service, and all get its answer, also one that says no; who comes later gets
//! what is younger than [`RULES_KEPT`]; a caller that leaves while it asks leaves that to the next.
//! Never: holds more than [`KEPT_MAX`](crate::limits::PROXY_KEPT_MAX) answers.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Mutex as Turn, time::Instant};

use super::answer::{Answer, Outcome};
use crate::limits::PROXY_KEPT_MAX;

/// How long rules are kept. SDKs ask for them every five minutes, so that ten seconds make no change slower.
const RULES_KEPT: Duration = Duration::from_secs(10);
/// How long an answer is kept that says no: a service that throttles is not asked by each process in turn.
const REFUSAL_KEPT: Duration = Duration::from_secs(1);

/// The answers, by the body of the request; the one that was asked for last is at the end.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<VecDeque<Arc<Slot>>>);

#[derive(Debug)]
struct Slot {
    body: Bytes,
    /// Who holds it asks.
    answer: Turn<Option<Fresh>>,
}

#[derive(Debug)]
struct Fresh {
    answer: Answer,
    came: Instant,
}

impl Fresh {
    /// An answer that came after the question is one to it.
    fn answers(&self, asked: Instant, now: Instant) -> bool {
        let kept = if self.answer.outcome == Outcome::Answered { RULES_KEPT } else { REFUSAL_KEPT };
        self.came >= asked || now.duration_since(self.came) < kept
    }
}

impl Kept {
    /// The answer to `body`: one that is known, or the one that `ask` brings.
    pub(super) async fn get(&self, body: &Bytes, ask: impl Future<Output = Answer>) -> Answer {
        let asked = Instant::now();
        let slot = self.slot(body);
        let mut fresh = slot.answer.lock().await;
        if let Some(known) = fresh.as_ref().filter(|fresh| fresh.answers(asked, Instant::now())) {
            let mut answer = known.answer.clone();
            if answer.outcome == Outcome::Answered {
                answer.outcome = Outcome::Kept;
            }
            return answer;
        }
        let answer = ask.await;
        *fresh = Some(Fresh { answer: answer.clone(), came: Instant::now() });
        answer
    }

    fn slot(&self, body: &Bytes) -> Arc<Slot> {
        // Entries are put in and taken out whole: a panic elsewhere cannot have left it half-changed.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|slot| slot.body == *body);
        let slot = match known.and_then(|place| slots.remove(place)) {
            Some(slot) => slot,
            // Whoever waits for the oldest has it still.
            None => {
                if slots.len() >= PROXY_KEPT_MAX {
                    slots.pop_front();
                }
                Arc::new(Slot { body: body.clone(), answer: Turn::new(None) })
            }
        };
        slots.push_back(Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{HeaderMap, StatusCode};
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::life::Life;

    fn answer(outcome: Outcome, text: &str) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from(text.to_owned()), outcome }
    }

    /// Asks, and says whether the service was.
    async fn ask(kept: &Kept, body: &'static str, brings: Outcome) -> (Outcome, bool) {
        let mut was_asked = false;
        let asking = async {
            was_asked = true;
            answer(brings, body)
        };
        let given = kept.get(&Bytes::from_static(body.as_bytes()), asking).await;
        assert_eq!(given.body, body);
        (given.outcome, was_asked)
    }

    #[tokio::test(start_paused = true)]
    async fn rules_are_kept_for_ten_seconds_and_refusals_for_one() {
        let kept = Kept::default();
        assert_eq!(ask(&kept, "{}", Outcome::Answered).await, (Outcome::Answered, true));
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(ask(&kept, "{}", Outcome::Failed).await, (Outcome::Kept, false));
        assert_eq!(ask(&kept, "{\"NextToken\":null}", Outcome::Refused).await, (Outcome::Refused, true));
        advance(Duration::from_millis(1)).await;
        assert_eq!(ask(&kept, "{}", Outcome::Failed).await, (Outcome::Failed, true));
        advance(Duration::from_millis(999)).await;
        assert_eq!(ask(&kept, "{}", Outcome::Answered).await, (Outcome::Failed, false));
        advance(Duration::from_millis(1)).await;
        assert_eq!(ask(&kept, "{}", Outcome::Answered).await, (Outcome::Answered, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_are_one_request_also_if_it_fails() {
        for brings in [Outcome::Answered, Outcome::Failed] {
            let (life, kept, requests) = (Life::default(), Arc::new(Kept::default()), Arc::new(AtomicUsize::new(0)));
            let mut callers = Vec::new();
            for number in 0..100 {
                let (kept, requests) = (Arc::clone(&kept), Arc::clone(&requests));
                callers.push(life.spawn("caller", async move {
                    // Each asks while the first waits, which takes longer than a refusal is kept.
                    sleep(Duration::from_millis(number * 20)).await;
                    let asking = async {
                        requests.fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_secs(3)).await;
                        answer(brings, "rules")
                    };
                    kept.get(&Bytes::from_static(b"{}"), asking).await
                }));
            }
            for caller in callers {
                let given = caller.await.expect("not cancelled").expect("no panic");
                assert_eq!(given.body, "rules");
            }
            assert_eq!(requests.load(Ordering::Relaxed), 1);
        }
    }

    /// The first to ask hangs up, as a process that ends does. The next one asks.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_leaves_the_question_to_the_next() {
        let kept = Kept::default();
        let body = Bytes::from_static(b"{}");
        tokio::select! {
            biased;
            _ = kept.get(&body, std::future::pending()) => panic!("there is no answer"),
            () = sleep(Duration::from_millis(5)) => {}
        }
        assert_eq!(ask(&kept, "{}", Outcome::Answered).await, (Outcome::Answered, true));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_few_answers_are_kept() {
        let kept = Kept::default();
        for number in 0..100 {
            let body = Bytes::from(format!("{{\"NextToken\":\"{number}\"}}"));
            kept.get(&body, async { answer(Outcome::Answered, "rules") }).await;
            // This one is asked for again and again, and stays.
            let (_, was_asked) = ask(&kept, "{}", Outcome::Answered).await;
            assert_eq!(was_asked, number == 0, "{number}");
            let slots = kept.0.lock().expect("not poisoned").len();
            assert!(slots <= PROXY_KEPT_MAX, "{slots}");
        }
    }
}
