//! Spans that become segments on their way into the output to AWS X-Ray.
//!
//! Promises: each span of a request is appended as one document or two, or booked as refused because it has no id; a document that
//! had to be shrunk is counted.
//! Never: keeps a span; holds the open batch for longer than [`AT_ONCE`] spans take.

use std::sync::Arc;

use prometheus::IntCounter;

use super::xray;
use crate::{
    deliver::{ack::Ack, books::Refused},
    otlp::{
        walk::{GROUPS, MEMBERS},
        wire::each,
    },
    traces::segment::{Fit, Mapper, Resource, Settings},
};

/// Spans that are made segments while the open batch is held: 0.5 ms for spans of ordinary size.
const AT_ONCE: usize = 100;
/// How much larger segments are than spans: names and ids are text (measured: `cargo bench --bench segment`).
const GROWTH: usize = 3;

/// Makes segments of spans.
pub struct Segments {
    sink: xray::Sink,
    settings: Arc<Settings>,
    shrunk: IntCounter,
}

impl Segments {
    /// Appends to `sink`, as `settings` say, and counts what is shrunk.
    pub fn new(sink: xray::Sink, settings: Arc<Settings>, shrunk: IntCounter) -> Self {
        Self { sink, settings, shrunk }
    }

    /// True if the segments of a request of so many `bytes` cost nobody else's.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.sink.has_room(bytes.saturating_mul(GROWTH))
    }

    /// Appends the spans of `request`, of which `ack` hears.
    pub fn append(&self, request: &[u8], ack: Option<&Arc<Ack>>) {
        let mut mapper = Mapper::new(Arc::clone(&self.settings));
        for group in each(request, GROUPS).map_while(Result::ok) {
            let resource = Resource::read(group).filled(&self.settings.task);
            let scopes = each(group, MEMBERS).map_while(Result::ok);
            let mut spans = scopes.flat_map(|scope| each(scope, MEMBERS).map_while(Result::ok)).peekable();
            while spans.peek().is_some() {
                let mut appending = self.sink.appending();
                appending.of_message(ack);
                for span in spans.by_ref().take(AT_ONCE) {
                    let mapped = mapper.map(&resource, span, |document, fit| {
                        xray::append(&mut appending, document);
                        if fit == Fit::Shrunk {
                            self.shrunk.inc();
                        }
                    });
                    if mapped.is_err() {
                        appending.begin();
                        appending.refuse(Refused::Invalid);
                    }
                }
            }
        }
    }
}
