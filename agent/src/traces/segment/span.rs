//! A span, read in place.
//!
//! Promises: a span with both ids is read, whatever else is in it.
//! Never: copies.

use super::value::Attributes;
use crate::otlp::wire::{Reader, Value};

/// Events and links of a span that are read. SDKs send at most 128 of each.
const EVENTS_MAX: usize = 1_024;

/// What a span is to the one who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    /// True for those that say what another one did.
    pub(super) fn is_dependency(self) -> bool {
        matches!(self, Self::Client | Self::Producer | Self::Consumer)
    }
}

/// A span of OpenTelemetry.
#[derive(Debug)]
pub(super) struct Span<'a> {
    pub(super) trace_id: [u8; 16],
    pub(super) id: u64,
    /// 0 for none.
    pub(super) parent: u64,
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Attributes<'a>,
    /// The message of each event.
    pub(super) events: Vec<&'a [u8]>,
    /// The message of each link.
    pub(super) links: Vec<&'a [u8]>,
    pub(super) failed: bool,
    pub(super) status_message: &'a [u8],
    /// Whether there was more than is read.
    pub(super) overflowed: bool,
}

/// An id of a span, 0 if it is none.
pub(super) fn span_id(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// An id of a trace, zeros if it is none.
pub(super) fn trace_id(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().unwrap_or_default()
}

impl<'a> Span<'a> {
    /// Reads a span. What follows a broken field is not read.
    pub(super) fn read(message: &'a [u8]) -> Self {
        let mut span = Self {
            trace_id: [0; 16],
            id: 0,
            parent: 0,
            name: b"",
            kind: Kind::Unspecified,
            start: 0,
            end: 0,
            attributes: Attributes::read(std::iter::empty()),
            events: Vec::new(),
            links: Vec::new(),
            failed: false,
            status_message: b"",
            overflowed: false,
        };
        for field in Reader::new(message).map_while(Result::ok) {
            span.take(field.number, field.value);
        }
        span.overflowed |= span.attributes.overflowed;
        span
    }

    fn take(&mut self, number: u32, value: Value<'a>) {
        match (number, value) {
            (1, Value::Bytes(id)) => self.trace_id = trace_id(id),
            (2, Value::Bytes(id)) => self.id = span_id(id),
            (4, Value::Bytes(id)) => self.parent = span_id(id),
            (5, Value::Bytes(name)) => self.name = name,
            (6, Value::Varint(kind)) => {
                self.kind = match kind {
                    1 => Kind::Internal,
                    2 => Kind::Server,
                    3 => Kind::Client,
                    4 => Kind::Producer,
                    5 => Kind::Consumer,
                    _ => Kind::Unspecified,
                }
            }
            (7, Value::Fixed64(time)) => self.start = time,
            (8, Value::Fixed64(time)) => self.end = time,
            (9, Value::Bytes(attribute)) => self.attributes.push(attribute),
            (11, Value::Bytes(event)) if self.events.len() < EVENTS_MAX => self.events.push(event),
            (13, Value::Bytes(link)) if self.links.len() < EVENTS_MAX => self.links.push(link),
            (11 | 13, _) => self.overflowed = true,
            (15, Value::Bytes(status)) => {
                for field in Reader::new(status).map_while(Result::ok) {
                    match (field.number, field.value) {
                        (2, Value::Bytes(message)) => self.status_message = message,
                        (3, Value::Varint(code)) => self.failed = code == 2,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// When it ended. X-Ray takes no segment that ends before it begins, or never.
    pub(super) fn end(&self) -> u64 {
        self.end.max(self.start)
    }
}
