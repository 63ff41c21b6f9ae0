//! A segment or a subsegment: its members, found in one pass, and what makes it a span.
//!
//! Promises: what lacks an id, a name or a time, or is not complete, is told so by its reason.
//! Never: looks into a block.

use std::borrow::Cow;

use super::{Unmade, json::Value};

/// The members of a segment or subsegment that mean something here.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    id: Option<Value<'a>>,
    trace_id: Option<Value<'a>>,
    parent_id: Option<Value<'a>>,
    name: Option<Value<'a>>,
    start: Option<Value<'a>>,
    end: Option<Value<'a>>,
    in_progress: bool,
    pub(super) is_subsegment: bool,
    pub(super) namespace: Namespace,
    pub(super) flags: Flags,
    pub(super) http: Option<Value<'a>>,
    pub(super) aws: Option<Value<'a>>,
    pub(super) sql: Option<Value<'a>>,
    pub(super) cause: Option<Value<'a>>,
    pub(super) annotations: Option<Value<'a>>,
    pub(super) metadata: Option<Value<'a>>,
    pub(super) links: Option<Value<'a>>,
    pub(super) service: Option<Value<'a>>,
    pub(super) origin: Option<Value<'a>>,
    pub(super) user: Option<Value<'a>>,
    pub(super) precursors: Option<Value<'a>>,
    pub(super) subsegments: Option<Value<'a>>,
}

/// Whose a subsegment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Namespace {
    /// The service's own.
    #[default]
    Own,
    /// A call to AWS.
    Aws,
    /// A call to somebody else.
    Remote,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) fault: bool,
    pub(super) error: bool,
    pub(super) throttle: bool,
}

/// What every span has.
#[derive(Debug)]
pub(super) struct Core<'a> {
    pub(super) id: [u8; 8],
    pub(super) name: Cow<'a, str>,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl<'a> Part<'a> {
    pub(super) fn read(object: Value<'a>) -> Self {
        let mut part = Self::default();
        for (name, value) in object.members() {
            let place = match &*name {
                "id" => &mut part.id,
                "trace_id" => &mut part.trace_id,
                "parent_id" => &mut part.parent_id,
                "name" => &mut part.name,
                "start_time" => &mut part.start,
                "end_time" => &mut part.end,
                "http" => &mut part.http,
                "aws" => &mut part.aws,
                "sql" => &mut part.sql,
                "cause" => &mut part.cause,
                "annotations" => &mut part.annotations,
                "metadata" => &mut part.metadata,
                "links" => &mut part.links,
                "service" => &mut part.service,
                "origin" => &mut part.origin,
                "user" => &mut part.user,
                "precursor_ids" => &mut part.precursors,
                "subsegments" => &mut part.subsegments,
                other => {
                    part.take(other, value);
                    continue;
                }
            };
            *place = Some(value);
        }
        part
    }

    fn take(&mut self, name: &str, value: Value<'_>) {
        let is = |wanted| value.text().as_deref() == Some(wanted);
        match name {
            "in_progress" => self.in_progress = value.is_true(),
            "fault" => self.flags.fault = value.is_true(),
            "error" => self.flags.error = value.is_true(),
            "throttle" => self.flags.throttle = value.is_true(),
            "type" => self.is_subsegment = is("subsegment"),
            "namespace" if is("aws") => self.namespace = Namespace::Aws,
            "namespace" if is("remote") => self.namespace = Namespace::Remote,
            _ => {}
        }
    }

    /// What makes it a span, or why it is none.
    pub(super) fn core(&self) -> Result<Core<'a>, Unmade> {
        self.named().and_then(|(id, name)| self.timed(id, name))
    }

    /// Its id and its name.
    pub(super) fn named(&self) -> Result<([u8; 8], Cow<'a, str>), Unmade> {
        let id = self.id.and_then(span_id).ok_or(Unmade::NoId)?;
        let name = self.name.and_then(Value::text).filter(|name| !name.trim().is_empty()).ok_or(Unmade::NoName)?;
        Ok((id, name))
    }

    /// The rest of what makes it a span.
    pub(super) fn timed(&self, id: [u8; 8], name: Cow<'a, str>) -> Result<Core<'a>, Unmade> {
        if self.in_progress || self.end.is_none_or(Value::is_null) {
            return Err(Unmade::InProgress);
        }
        let time = |value: Option<Value<'_>>| value.and_then(Value::nanoseconds).filter(|&time| time > 0);
        let (start, end) = time(self.start).zip(time(self.end)).ok_or(Unmade::NoTime)?;
        // Clocks are set back.
        Ok(Core { id, name, start, end: end.max(start) })
    }

    pub(super) fn trace(&self) -> Result<[u8; 16], Unmade> {
        self.trace_id.and_then(trace_id).ok_or(Unmade::NoTrace)
    }

    /// The span above, if it has one.
    pub(super) fn parent(&self) -> Option<[u8; 8]> {
        self.parent_id.and_then(span_id)
    }
}

/// An id of a segment: 16 hexadecimal digits, not all 0.
pub(super) fn span_id(value: Value<'_>) -> Option<[u8; 8]> {
    hex(&value.text()?)
}

/// An id of a trace: `1-`, 8 digits, `-`, 24 digits.
pub(super) fn trace_id(value: Value<'_>) -> Option<[u8; 16]> {
    let text = value.text()?;
    let (time, rest) = text.strip_prefix("1-")?.split_once('-')?;
    if time.len() == 8 { hex(&format!("{time}{rest}")) } else { None }
}

/// The bytes that `text` has the digits of, unless there is another number of them, or all are 0.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = Some(text.as_bytes()).filter(|digits| digits.len() == 2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(digit).to_digit(16)?).ok()?;
        }
    }
    (bytes != [0; N]).then_some(bytes)
}
