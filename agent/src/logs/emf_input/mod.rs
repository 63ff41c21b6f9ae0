//! Documents of CloudWatch's embedded metric format, as AWS's libraries send them to an agent: TCP and UDP, port 25888.
//!
//! ```text
//! TCP ─ session ─ lines ─┐                      ┌─ a record that is sent as it is, to the group it names ─▶ route
//! UDP ─ datagrams ───────┴─ mask ─ emf::read ───┤
//!                                               └─ its metrics, if the metrics job takes them
//! ```
//! A line is a document; so is a datagram, which may hold several lines. What is no document becomes a record with the field `log`, as
//! Fluent Bit's `tcp` input makes of any line.
//!
//! Promises: reads as fast as an app writes, whatever becomes of what it writes: libraries block the app when nobody reads; a line
//! is on the books, or counted with a reason; a document is masked before anybody else looks at it.
//! Never: closes a connection that is used; waits for room.

mod datagrams;
mod lines;
mod outlet;
pub mod session;

use std::sync::Arc;

pub use datagrams::Reader;
pub use lines::{Broken, Lines};
pub use outlet::Made;

use crate::{
    emf::{self, Document, Fault},
    logs::{
        forward::Meters,
        mask::{Masker, Masks},
        record::{DOCUMENT, Directions, EventTime, Pair, Record, Value},
        route::{Pass, Route},
        settings::Routing,
    },
    tell::counters,
};

/// What all connections and sockets of an input share.
pub struct Input {
    /// Where records go.
    pub route: Arc<Route>,
    /// What is masked in them.
    pub masks: Masks,
    /// Counters of what is read.
    pub meters: Meters,
    /// Who says where a document goes.
    pub routing: Routing,
    /// The group of documents that name none, unless the output says.
    pub log_group: Option<String>,
    /// Who takes the metrics in documents, too.
    pub taker: Option<Arc<dyn emf::Taker>>,
    /// Counters of documents.
    pub counters: counters::Emf,
}

/// What becomes of the lines of one connection or socket.
pub struct Taking {
    input: Arc<Input>,
    masker: Masker,
    /// The entry that the line becomes for whoever masks: no time, and a map with one text.
    entry: Vec<u8>,
}

/// `[nil, {"log": text}]`, without the text's length and the text.
const ENTRY: &[u8] = b"\x92\xc0\x81\xa3log\xdb";

impl Input {
    /// For one connection or socket.
    pub fn taking(self: &Arc<Self>) -> Taking {
        Taking { masker: self.masks.masker(), input: Arc::clone(self), entry: Vec::new() }
    }
}

impl Taking {
    /// Lines above this give their buffer back.
    const KEPT_BYTES: usize = 64 * 1024;

    /// Takes one line, which came `now`.
    pub fn take(&mut self, line: &[u8], pass: &mut Pass<'_>, now: EventTime) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        self.entry.clear();
        self.entry.extend_from_slice(ENTRY);
        let length = u32::try_from(line.len()).expect("a line has at most a megabyte");
        self.entry.extend_from_slice(&length.to_be_bytes());
        self.entry.extend_from_slice(line);
        self.masker.entries(&mut self.entry, self.input.route.source());
        self.input.line(&self.entry[ENTRY.len() + 4..], pass, now);
        if self.entry.capacity() > Self::KEPT_BYTES {
            self.entry = Vec::new();
        }
    }
}

impl Input {
    fn line(&self, line: &[u8], pass: &mut Pass<'_>, now: EventTime) {
        if !emf::is_likely(line) {
            self.counters.documents.with_label_values(&["plain"]).inc();
            return push(line, None, now, pass);
        }
        let document = match emf::read(line, now.milliseconds()) {
            Ok(document) => document,
            Err(fault) => return self.pass_on(fault, line, now, pass),
        };
        match &self.taker {
            Some(taker) if !taker.is_instead_of_logs() => taker.take(&document),
            Some(taker) if document.is_whole() => {
                taker.take(&document);
                return count(&self.counters, &document, "metrics");
            }
            // One with mistakes goes to the logs alone: there they can be seen, and taken twice it would count twice.
            Some(_) | None => {}
        }
        count(&self.counters, &document, "logs");
        self.send(&document, now, pass);
    }

    /// A document that is none goes on as it is.
    fn pass_on(&self, fault: Fault, line: &[u8], now: EventTime, pass: &mut Pass<'_>) {
        self.counters.faults.with_label_values(&[fault.label()]).inc();
        self.counters.documents.with_label_values(&["broken"]).inc();
        push(line, Some(self.directions(None)), now, pass);
    }

    fn send(&self, document: &Document<'_>, now: EventTime, pass: &mut Pass<'_>) {
        self.counters.more_documents.inc_by(document.count().saturating_sub(1) as u64);
        let time = document.time().map_or(now, EventTime::of_milliseconds);
        let directions = self.directions(Some(document));
        document.parts(|part| push(part.as_bytes(), Some(directions), time, pass));
    }

    fn directions<'a>(&'a self, document: Option<&'a Document<'_>>) -> Directions<'a> {
        let document = document.filter(|_| self.routing == Routing::Document);
        let group = document.and_then(Document::group).or(self.log_group.as_deref());
        Directions { group, stream: document.and_then(Document::stream) }
    }
}

/// Counts a document, and what was found in it.
pub(super) fn count(counters: &counters::Emf, document: &Document<'_>, outcome: &str) {
    counters.documents.with_label_values(&[outcome]).inc();
    for (fault, times) in document.findings().faults() {
        counters.faults.with_label_values(&[fault.label()]).inc_by(u64::from(times));
    }
    for (repair, times) in document.findings().repairs() {
        counters.repairs.with_label_values(&[repair.label()]).inc_by(u64::from(times));
    }
}

/// Sends a record with the field `log` on its way.
fn push(text: &[u8], directions: Option<Directions<'_>>, time: EventTime, pass: &mut Pass<'_>) {
    let pair = Pair { key: Value::Str(DOCUMENT), value: Value::Str(text) };
    let mut record = Record { time, bytes: text.len(), pairs: vec![pair], directions };
    pass.push_one(&mut record, time);
}
