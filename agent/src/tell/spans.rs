//! Spans of the agent's own work: a request to a destination, a look at a secret.
//!
//! They are made by OpenTelemetry's SDK and wait in a bounded queue for who sends them, which is above this layer. Off, which is the default,
//! nothing is made, and it costs a branch.
//!
//! Promises: who works never waits for a span; a span for which there is no room is counted.
//! Never: tells of a value of a secret, nor of its length or hash; makes a span of sending spans.

use std::{future::Future, time::Duration};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
pub use opentelemetry_sdk::trace::SpanData;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanProcessor},
};
use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::limits::OWN_SPANS_MAX;

/// Makes spans, or none. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<SdkTracer>);

/// A span that was begun. It ends when the last clone is dropped, or with [`end`](Self::end).
#[derive(Clone, Debug, Default)]
pub struct Open(Option<Context>);

/// Where spans go that have ended.
#[derive(Debug)]
struct Queue {
    ended: mpsc::Sender<SpanData>,
    dropped: IntCounter,
}

impl Spans {
    /// Makes none.
    pub fn off() -> Self {
        Self(None)
    }

    /// Makes spans, which come out of the queue that is returned. Those for which it has no room are counted as `dropped`.
    pub fn new(dropped: IntCounter) -> (Self, mpsc::Receiver<SpanData>) {
        let (ended, spans) = mpsc::channel(OWN_SPANS_MAX);
        let provider = SdkTracerProvider::builder()
            // Else the SDK would ask the environment.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(Resource::builder_empty().build())
            .with_span_processor(Queue { ended, dropped })
            .build();
        (Self(Some(provider.tracer("pillion"))), spans)
    }

    /// Begins a span of something that is asked of somebody else.
    pub fn begin(&self, name: &'static str) -> Open {
        Open(self.0.as_ref().map(|tracer| {
            // A trace of its own, whatever it happens within.
            let span =
                tracer.span_builder(name).with_kind(SpanKind::Client).start_with_context(tracer, &Context::new());
            Context::new().with_span(span)
        }))
    }
}

impl Open {
    /// False where spans are off, and what would be said of them need not be made.
    pub fn is_made(&self) -> bool {
        self.0.is_some()
    }

    /// Says something of it.
    pub fn say(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Does `work` as what the span is of, so that [`note`] finds it.
    pub async fn around<F: Future>(self, work: F) -> F::Output {
        match self.0 {
            Some(context) => work.with_context(context).await,
            None => work.await,
        }
    }

    /// Ends it: well, or as something that failed.
    pub fn end(self, outcome: &'static str, is_well: bool) {
        self.say("pillion.outcome", outcome);
        if let Some(context) = self.0 {
            context.span().set_status(if is_well { Status::Ok } else { Status::error(outcome) });
            context.span().end();
        }
    }
}

/// Says something of the span of what is being done, if there is one.
pub fn note(name: &'static str, value: &str) {
    Context::map_current(|context| {
        if context.has_active_span() {
            context.span().set_attribute(KeyValue::new(name, value.to_owned()));
        }
    });
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.ended.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> (Spans, mpsc::Receiver<SpanData>, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").expect("a counter");
        let (spans, ended) = Spans::new(dropped.clone());
        (spans, ended, dropped)
    }

    #[tokio::test]
    async fn what_is_said_of_the_work_is_on_its_span() {
        let (spans, mut ended, _) = spans();
        let (first, second) = (spans.begin("deliver"), spans.begin("deliver"));
        first.say("pillion.records", 7);
        first.clone().around(async { note("aws.request_id", "7f6d") }).await;
        note("aws.request_id", "of nobody");
        first.end("delivered", true);
        second.end("throttled", false);
        let ended = [ended.try_recv().expect("the first"), ended.try_recv().expect("the second")];
        let said = |span: &SpanData| -> Vec<String> {
            span.attributes.iter().map(|said| format!("{}={}", said.key, said.value)).collect()
        };
        assert_eq!(said(&ended[0]), ["pillion.records=7", "aws.request_id=7f6d", "pillion.outcome=delivered"]);
        assert_eq!(said(&ended[1]), ["pillion.outcome=throttled"]);
        assert_eq!((&ended[0].status, &ended[1].status), (&Status::Ok, &Status::error("throttled")));
        assert_ne!(ended[0].span_context.trace_id(), ended[1].span_context.trace_id());
    }

    #[test]
    fn who_works_does_not_wait_and_what_is_dropped_is_counted() {
        let (spans, mut ended, dropped) = spans();
        for _ in 0..OWN_SPANS_MAX + 3 {
            spans.begin("deliver").end("delivered", true);
        }
        assert_eq!((dropped.get(), ended.len()), (3, OWN_SPANS_MAX));
        ended.close();
        spans.begin("deliver").end("delivered", true);
        assert_eq!(dropped.get(), 4);
    }

    #[tokio::test]
    async fn where_it_is_off_the_work_is_done_all_the_same() {
        let open = Spans::off().begin("deliver");
        open.say("pillion.records", 7);
        assert_eq!(open.clone().around(async { 42 }).await, 42);
        open.end("delivered", true);
    }
}
