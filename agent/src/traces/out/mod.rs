//! The destinations of segments and spans, one file each.
//!
//! Promises: adding one touches its own file, its settings' variant, the enums here, and the wiring.
//! Never: queues, retries or counts; `deliver` does.

pub mod segments;
pub mod spans_of_segments;
pub mod xray;

use std::{net::SocketAddr, sync::Arc};

use spans_of_segments::{Making, SpansOfSegments};
use tracing::error;

use crate::{
    deliver::{
        ack::Ack,
        books::{Account, Lost},
        lane::Appending,
    },
    otlp::{out::Sink as OtlpSink, task::Task},
    traces::choice::Choice,
};

/// An output that takes segments.
pub enum Sink {
    /// AWS X-Ray.
    Xray(xray::Sink),
    /// A backend of OTLP, as spans.
    Otlp(Box<SpansOfSegments>),
    /// One that cannot work here: what goes there is lost, and counted.
    Nowhere(Arc<Account>),
}

/// Appends what came together.
pub enum Appender<'a> {
    /// To AWS X-Ray.
    Xray(Appending<'a>),
    /// To a backend of OTLP, by way of spans.
    Otlp(Making<'a>),
    /// Counts it.
    Nowhere(Counting<'a>),
}

/// Counts documents that go nowhere, and books them at the end.
pub struct Counting<'a> {
    account: &'a Arc<Account>,
    documents: u32,
}

/// An output that takes spans.
pub enum SpanSink {
    /// A backend of OTLP, and what resources are filled with.
    Otlp(OtlpSink, Task),
    /// AWS X-Ray, as segments.
    Xray(segments::Segments),
    /// AWS X-Ray, one way or the other.
    Chosen(Box<Choice>),
    /// One that cannot work here: what goes there is lost, and counted.
    Nowhere(Arc<Account>),
}

impl SpanSink {
    /// True if `bytes` more cost nobody else's.
    pub fn has_room(&self, bytes: usize) -> bool {
        match self {
            Self::Otlp(sink, _) => sink.has_room(bytes),
            Self::Xray(segments) => segments.has_room(bytes),
            Self::Chosen(choice) => choice.has_room(bytes),
            Self::Nowhere(_) => true,
        }
    }

    /// Appends a request of so many `spans`, of which `ack` hears.
    pub fn append(&self, request: &[u8], spans: usize, ack: Option<&Arc<Ack>>) {
        match self {
            Self::Otlp(sink, task) => append_filled(sink, task, request, spans, ack),
            Self::Xray(segments) => segments.append(request, ack),
            Self::Chosen(choice) => choice.append(request, spans, ack),
            Self::Nowhere(account) => {
                let spans = u32::try_from(spans).unwrap_or(u32::MAX);
                account.accept(spans).lost(spans, Lost::OutputUnusable);
            }
        }
    }
}

/// Appends a request of so many `spans`, of which `ack` hears, with what the `task` knows of it.
fn append_filled(sink: &OtlpSink, task: &Task, request: &[u8], spans: usize, ack: Option<&Arc<Ack>>) {
    let request = &task.filled(request);
    let mut appending = sink.appending();
    appending.of_message(ack);
    if let Err(error) = sink.append(&mut appending, request, spans) {
        // It was counted, so it can be cut, unless one of the two is wrong.
        error!(error = %error, "a request could not be cut; this is a bug in pillion");
    }
}

impl Sink {
    /// True if it wants to know where a document came from.
    pub fn asks_for_sources(&self) -> bool {
        matches!(self, Self::Otlp(_))
    }

    /// Begins to append.
    pub fn appender(&self) -> Appender<'_> {
        match self {
            Self::Xray(sink) => Appender::Xray(sink.appending()),
            Self::Otlp(spans) => Appender::Otlp(spans.making()),
            Self::Nowhere(account) => Appender::Nowhere(Counting { account, documents: 0 }),
        }
    }
}

impl Appender<'_> {
    /// Appends one document, which came from `source`.
    pub fn append(&mut self, document: &[u8], source: Option<SocketAddr>) {
        match self {
            Self::Xray(appending) => xray::append(appending, document),
            Self::Otlp(spans) => spans.append(document, source),
            Self::Nowhere(counting) => counting.documents += 1,
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.account.accept(self.documents).lost(self.documents, Lost::OutputUnusable);
    }
}
