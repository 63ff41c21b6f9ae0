//! CloudWatch's embedded metric format: metrics that a program writes as one JSON object.
//!
//! ```text
//! { "_aws": { "Timestamp": milliseconds,
//!             "LogGroupName"?, "LogStreamName"?                                 where it is to go; taken out on the way
//!             "CloudWatchMetrics": [ { "Namespace": text, "Dimensions": [[key, ...], ...],
//!                                      "Metrics": [ { "Name": text, "Unit"?: text, "StorageResolution"?: 1 | 60 } ] } ] },
//!   key: text,                                                                  for each dimension
//!   name: number | [number, ...] | {"Values": [..], "Counts": [..], "Max", "Min", "Count", "Sum"},   for each metric
//!   anything else }
//! ```
//!
//! - The older form has `CloudWatchMetrics` and `Timestamp` at the top, and `log_group_name` and `log_stream_name` for the route.
//! - CloudWatch takes no metric at all out of a document that has one mistake in it. Here a mistake costs what it is in: a metric
//!   without a number, a set of dimensions of which one has no value. What can be mended is.
//! - A document with more values than CloudWatch takes in one becomes several, each with all other members.
//!
//! [`read()`] finds the members of the object and what its metadata says; nothing is copied but names with escapes. [`Document::parts`]
//! gives the documents that go on, byte for byte the one that came if nothing had to be changed. [`Document::metrics`] gives what they say.
//!
//! Promises: whatever the bytes are, they are read or refused with a reason; each part is a document that CloudWatch takes; splitting loses no
//! value; members that are not metadata or values stay as they came.
//! Never: reads a clock; nests; takes a document of more than [`DOCUMENT_BYTES_MAX`].

mod directive;
mod fault;
mod json;
mod part;
mod read;
mod target;
#[cfg(test)]
mod tests;

pub use directive::Resolution;
pub use fault::{Fault, Findings, Repair};
pub use read::{Document, read};
pub use target::{Numbers, Statistics, Values};

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::aws::Unit;

/// Bytes of a document. CloudWatch Logs takes 1 MB in an event, and how many bytes that is it does not say.
pub const DOCUMENT_BYTES_MAX: usize = 1_000_000;
/// Members of a document's object, each of which takes 72 bytes while it is read.
pub const MEMBERS_MAX: usize = 16_384;
/// Metrics of one directive (the format's specification).
pub const METRICS_MAX: usize = 100;
/// Values of a metric (the format's specification).
pub const VALUES_MAX: usize = 100;
/// Dimensions of a set (the format's specification).
pub const DIMENSIONS_MAX: usize = 30;
/// Metrics times sets of dimensions that are looked at in a document; with more it is passed on as it is. CloudWatch's agent is
/// sized for 10,000 in a minute.
pub const SERIES_MAX: usize = 10_000;

/// A metric of a document, with one directive's dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'m> {
    /// The namespace.
    pub namespace: &'m str,
    /// The sets of dimensions: each value counts once for each of them.
    pub sets: &'m [&'m [(&'m str, &'m str)]],
    /// The name.
    pub name: &'m str,
    /// One of CloudWatch's units.
    pub unit: Option<Unit>,
    /// The resolution.
    pub resolution: Resolution,
    /// The values.
    pub values: Values<'m>,
    /// When, in milliseconds since 1970. `None` if the document's time is one that CloudWatch does not take.
    pub time: Option<i64>,
}

/// Takes the metrics of documents.
pub trait Taker: Send + Sync {
    /// Takes what `document` says. Never waits.
    fn take(&self, document: &Document<'_>);

    /// True if that is how CloudWatch gets it, so that a document which came as one need not go to the logs.
    fn is_instead_of_logs(&self) -> bool;

    /// True if documents are looked for in records of logs.
    fn wants_records(&self) -> bool;
}

/// A document that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// When, in milliseconds since 1970.
    pub milliseconds: i64,
    /// Its text.
    pub text: String,
}

/// Sends documents as records of the logs.
pub trait Outlet: Send + Sync {
    /// Puts `documents` on the books. Never waits for a destination.
    fn send(&self, documents: &[Made]);
}

/// What every document has in it.
static DIRECTIVES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"CloudWatchMetrics\""));

/// True if `text` may be a document: cheap, and never false for one that a library writes.
pub fn is_likely(text: &[u8]) -> bool {
    DIRECTIVES.find(text).is_some()
}

/// The same of a line of a log, of which most are no documents: one that does not begin as an object is not searched.
#[inline]
pub fn is_likely_line(line: &[u8]) -> bool {
    line.trim_ascii_start().first() == Some(&b'{') && is_likely(line)
}
