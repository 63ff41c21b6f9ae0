//! Segments that become spans on their way into an output to a backend of OTLP.
//!
//! Promises: each document is appended as one request with a span for each complete segment and subsegment in it; what cannot be a span is booked as
//! refused; what is in progress or was not sampled is no loss, and is counted.
//! Never: keeps a document; holds the open batch while one is read.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::IntCounterVec;
use tokio::time::Instant;
use tracing::warn;

use super::append_filled;
use crate::{
    deliver::books::{Account, Refused},
    otlp::{out::Sink, task::Task},
    tell::RateLimited,
    traces::from_segment::{self, Services, Unmade},
};

/// A warning, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Makes spans of documents.
pub struct SpansOfSegments {
    sink: Sink,
    account: Arc<Account>,
    task: Task,
    name: Arc<str>,
    unmade: IntCounterVec,
    warned: RateLimited,
    services: Mutex<Services>,
}

/// Makes spans of what came together.
pub struct Making<'a> {
    of: &'a SpansOfSegments,
    services: MutexGuard<'a, Services>,
    /// A buffer for the spans of one document.
    request: Vec<u8>,
}

impl SpansOfSegments {
    /// Appends to `sink` of the output `name`, books what is refused on `account`, fills resources with what the `task` knows, and counts what
    /// becomes no span in `unmade`.
    pub fn new(sink: Sink, account: Arc<Account>, task: Task, name: &Arc<str>, unmade: &IntCounterVec) -> Self {
        let (name, unmade, warned) = (Arc::clone(name), unmade.clone(), RateLimited::new(WARN_EVERY));
        Self { sink, account, task, name, unmade, warned, services: Mutex::default() }
    }

    /// Begins to append. One at a time does: an input has a reader, and each input an appender of its own.
    pub fn making(&self) -> Making<'_> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        Making { of: self, services, request: Vec::new() }
    }

    fn told(&self, why: Unmade) {
        let why_label = why.label();
        self.unmade.with_label_values(&[&self.name, why_label]).inc();
        if !why.is_fault() {
            return;
        }
        self.account.accept(1).refused(1, Refused::Invalid);
        if let Some(suppressed) = self.warned.allow(Instant::now()) {
            warn!(output = &*self.name, why = why_label, suppressed, "a segment cannot become a span");
        }
    }
}

impl Making<'_> {
    /// Appends one document, which came from `source`.
    pub fn append(&mut self, document: &[u8], source: Option<SocketAddr>) {
        let Self { of, services, request } = self;
        request.clear();
        let spans = from_segment::request(document, services.heard_from(source), request, &mut |why| of.told(why));
        if spans > 0 {
            append_filled(&of.sink, &of.task, request, spans, None);
        }
    }
}
