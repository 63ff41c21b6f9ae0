//! Which way spans go to X-Ray, where the configuration leaves it to the account (`spans: auto`).
//!
//! Promises: they are segments until X-Ray has said that it takes spans, and again when it says that it does not any more; a question
//! that is not answered, or not allowed, changes nothing.
//! Never: asks more than once a minute for long, or holds up a span.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::info;

use super::out::SpanSink;
use crate::{aws::Fault, deliver::ack::Ack, otlp::out::search::Open};

/// How often X-Ray is asked again, less up to a tenth: the setting of an account changes once in its life.
const EVERY: Duration = Duration::from_secs(3_600);
/// How long it is left alone after a question without an answer: twice as long each time, up to [`EVERY`].
const AGAIN: Duration = Duration::from_secs(5);

/// The two ways of one output.
pub struct Choice {
    /// Whether X-Ray takes spans.
    pub open: Arc<Open>,
    /// As they are.
    pub spans: SpanSink,
    /// As segments.
    pub segments: SpanSink,
}

impl Choice {
    /// True if `bytes` more cost nobody else's.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.way().has_room(bytes)
    }

    /// Appends a request of so many `spans`, of which `ack` hears.
    pub fn append(&self, request: &[u8], spans: usize, ack: Option<&Arc<Ack>>) {
        self.way().append(request, spans, ack);
    }

    fn way(&self) -> &SpanSink {
        if self.open.is_open() { &self.spans } else { &self.segments }
    }
}

/// Keeps `open` as X-Ray says it is when it is `ask`ed, on behalf of `output`, without end.
pub async fn follow<F>(output: &str, open: &Open, ask: impl Fn() -> F)
where
    F: Future<Output = Result<bool, Fault>>,
{
    let (mut failures, mut has_said) = (0, false);
    loop {
        let pause = match ask().await {
            Ok(is_on) => {
                failures = 0;
                if open.set(is_on) || !has_said {
                    let ways = if is_on { "spans by otlp" } else { "segments" };
                    info!(output, transaction_search = is_on, "what comes by otlp goes to x-ray as {ways}");
                }
                has_said = true;
                EVERY
            }
            Err(fault) => {
                if failures == 0 {
                    let way = if open.is_open() { "spans by otlp" } else { "segments" };
                    info!(
                        output,
                        fault = %fault,
                        "x-ray does not say whether it takes spans (xray:GetTraceSegmentDestination); they stay {way}"
                    );
                }
                failures += 1;
                AGAIN.saturating_mul(1 << (failures - 1).min(20)).min(EVERY)
            }
        };
        sleep(pause.mul_f64(1.0 - 0.1 * fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{HeaderMap, StatusCode};
    use tokio::time::Instant;

    use super::*;
    use crate::aws::error::classify;

    /// Asks a script: what is answered, and when it was asked.
    async fn asked(answers: &[Option<bool>]) -> (Vec<Duration>, Vec<bool>) {
        let (open, begun) = (Open::default(), Instant::now());
        let seen = Mutex::new((Vec::new(), Vec::new()));
        let ask = async || {
            let number = {
                let mut seen = seen.lock().expect("nobody panics with it");
                seen.0.push(begun.elapsed());
                seen.1.push(open.is_open());
                seen.0.len() - 1
            };
            match answers.get(number) {
                Some(Some(is_on)) => Ok(*is_on),
                Some(None) => Err(classify(StatusCode::FORBIDDEN, &HeaderMap::new(), b"{}")),
                None => std::future::pending().await,
            }
        };
        let all = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(all, follow("xray.0", &open, ask)).await.is_err(), "it has no end");
        seen.into_inner().expect("nobody panicked")
    }

    #[tokio::test(start_paused = true)]
    async fn spans_go_as_x_ray_says_and_stay_when_it_says_nothing() {
        let answers = [Some(false), Some(true), None, None, Some(true), Some(false)];
        let (times, open) = asked(&answers).await;
        assert_eq!(open, [false, false, true, true, true, true, false]);
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, most) in pauses.iter().zip([3_600, 3_600, 5, 10, 3_600, 3_600]) {
            let most = Duration::from_secs(most);
            assert!((most.mul_f64(0.89)..=most + Duration::from_millis(2)).contains(pause), "{pause:?} of {most:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_ask_asks_ever_more_seldom() {
        let (times, open) = asked(&[None; 40]).await;
        assert!(open.iter().all(|is_open| !is_open));
        // 5 s doubled to an hour takes ten questions; a day has another 23 to 26.
        assert!((30..=40).contains(&times.len()), "{}", times.len());
    }
}
