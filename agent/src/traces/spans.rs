//! Takes requests of OTLP for the outputs that send them on.
//!
//! Promises: a request is turned away only if no output could keep it, since then nobody but its sender has it.
//! Never: waits.

use std::sync::Arc;

use super::out::SpanSink;
use crate::{
    deliver::ack::Ack,
    otlp::taker::{Taken, Taker},
};

/// Where spans go.
pub struct Spans(Vec<SpanSink>);

impl Spans {
    /// Hands each request to all `sinks`.
    pub fn new(sinks: Vec<SpanSink>) -> Self {
        Self(sinks)
    }
}

impl Taker for Spans {
    fn take(&self, request: &[u8], spans: usize, ack: Option<&Arc<Ack>>) -> Taken {
        if !self.0.iter().any(|sink| sink.has_room(request.len())) {
            return Taken::Busy;
        }
        self.0.iter().for_each(|sink| sink.append(request, spans, ack));
        Taken::Kept
    }
}
