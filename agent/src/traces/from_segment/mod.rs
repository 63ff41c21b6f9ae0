//! A document of X-Ray as spans of OpenTelemetry: the other way round than [`super::segment`].
//!
//! ```text
//! document ─ is it JSON? ─▶ Part::read ─▶ resource group ─┬─ resource: service, origin, platform, SDK
//!                                                         └─ spans: subsegments first, each below its own, then the segment
//! ```
//!
//! | in X-Ray | in OpenTelemetry |
//! |---|---|
//! | segment; subsegment of `aws` or `remote`; any other | a span of kind SERVER; CLIENT; INTERNAL |
//! | `fault`, `error`, `throttle` | status ERROR; a flag that the status of the answer does not say is an attribute, `aws.xray.fault` ... |
//! | annotations | attributes, whose names are in `aws.xray.annotations`, by which the way back finds them |
//! | metadata | an attribute `aws.xray.metadata.NAMESPACE` with the object as JSON |
//!
//! What each block becomes stands in its file and in `docs/traces.md`. A document is found to be JSON once. Then the members of each part, and
//! those of each block, are found in one pass, and written straight as protobuf: no tree, no map. A subsegment is passed over once for each part above it.
//!
//! Promises: every complete segment or subsegment with id, name and times becomes one span with the same ids, below the same one; each that does
//! not is told with its reason; what comes out is a request of OTLP that [`walk::count`] takes.
//! Never: makes a span of what is in progress: its complete version comes later, with all that is below it; goes deeper than
//! [`DEPTH_MAX`]; does I/O; reads a clock.

mod attributes;
mod blocks;
mod cause;
mod json;
mod part;
mod resource;
mod services;

use std::borrow::Cow;

pub use services::Services;

use attributes::Attributes;
use cause::Exceptions;
use json::{Value, text};
use part::{Core, Flags, Namespace, Part, span_id, trace_id};

use crate::{
    otlp::{
        base64,
        walk::{self, GROUPS, HEAD, MEMBERS, Signal},
        wire::{begin, end, put_bytes, put_fixed32, put_fixed64, put_uint},
    },
    traces::segment,
};

/// How deep subsegments are looked for. SDKs nest what calls each other in the code that was instrumented.
pub const DEPTH_MAX: usize = 32;
/// Bytes of a document. A datagram can have no more.
pub const DOCUMENT_BYTES_MAX: usize = 65_536;
/// What is before a request of OTLP in base64: spans that were sampled, and that were not.
const SAMPLED: &[u8] = b"T1S";
const UNSAMPLED: &[u8] = b"T1U";
/// `Span.flags`: it is sampled, whether its parent is elsewhere is known, and that it is.
const FLAGS: u32 = 0x101;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Why something became no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmade {
    /// It goes on; what it becomes is sent again when it is complete.
    InProgress,
    /// Its SDK decided that it is not to be shown.
    Unsampled,
    /// No JSON, or neither an object nor a list of them.
    NotJson,
    /// Larger than a document of X-Ray may be.
    TooLarge,
    /// Below more than [`DEPTH_MAX`] others.
    TooDeep,
    /// No id of 16 digits.
    NoId,
    /// No id of a trace, `1-` and 8 and 24 digits.
    NoTrace,
    /// No name.
    NoName,
    /// No times in seconds.
    NoTime,
    /// What follows `T1S` is no request of OTLP.
    NotOtlp,
}

impl Unmade {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::InProgress,
        Self::Unsampled,
        Self::NotJson,
        Self::TooLarge,
        Self::TooDeep,
        Self::NoId,
        Self::NoTrace,
        Self::NoName,
        Self::NoTime,
        Self::NotOtlp,
    ];

    /// The name on `/metrics`.
    pub fn label(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Unsampled => "unsampled",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NoId => "no_id",
            Self::NoTrace => "no_trace",
            Self::NoName => "no_name",
            Self::NoTime => "no_time",
            Self::NotOtlp => "not_otlp",
        }
    }

    /// True if somebody lost something by it.
    pub fn is_fault(self) -> bool {
        !matches!(self, Self::InProgress | Self::Unsampled)
    }
}

/// Appends the spans of `document` to `out` as a request of OTLP, and says how many there are. What becomes none is told to `unmade`. Segments tell
/// `services` of theirs, which tell it of subsegments that come alone.
pub fn request(document: &[u8], services: &mut Services, out: &mut Vec<u8>, unmade: &mut dyn FnMut(Unmade)) -> usize {
    if let Some(packed) = document.strip_prefix(SAMPLED) {
        return unpacked(packed, out).unwrap_or_else(|| refused(Unmade::NotOtlp, unmade));
    }
    if document.starts_with(UNSAMPLED) {
        return refused(Unmade::Unsampled, unmade);
    }
    if document.len() > DOCUMENT_BYTES_MAX {
        return refused(Unmade::TooLarge, unmade);
    }
    // What checks without replacing is much faster.
    let text = str::from_utf8(document).map_or_else(|_| String::from_utf8_lossy(document), Cow::Borrowed);
    match Value::parse(&text) {
        Some(one) if one.is_object() => group(one, services, out, unmade),
        // X-Ray takes a list of subsegments for a document, too.
        Some(list) if list.is_list() => list.elements().map(|one| group(one, services, out, unmade)).sum(),
        _ => refused(Unmade::NotJson, unmade),
    }
}

fn refused(why: Unmade, unmade: &mut dyn FnMut(Unmade)) -> usize {
    unmade(why);
    0
}

/// What a `T1S` document holds is what is to be sent.
fn unpacked(packed: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let request = base64::decoded(packed.trim_ascii())?;
    let spans = walk::count(Signal::Traces, &request).ok().filter(|&spans| spans > 0)?;
    out.extend_from_slice(&request);
    Some(spans)
}

/// Appends a resource group with the spans of one segment, or of a subsegment that comes alone.
fn group(object: Value<'_>, services: &mut Services, out: &mut Vec<u8>, unmade: &mut dyn FnMut(Unmade)) -> usize {
    if !object.is_object() {
        return refused(Unmade::NotJson, unmade);
    }
    let part = Part::read(object);
    let (named, trace) = (part.named(), part.trace());
    if let (Ok((id, name)), Ok(trace), false) = (&named, trace, part.is_subsegment) {
        services.tell((trace, *id), name);
    }
    let (core, trace) = match named.and_then(|(id, name)| Ok((part.timed(id, name)?, trace?))) {
        Ok(found) => found,
        Err(why) => return refused(why, unmade),
    };
    let service = if part.is_subsegment { services.of(trace, part.parent()).unwrap_or("") } else { &core.name };
    let group = begin(out, GROUPS);
    let head = begin(out, HEAD);
    let language = resource::write(&part, service, out);
    end(out, head);
    let scope = begin(out, MEMBERS);
    let exceptions = Exceptions::of(language);
    let mut spans = Spans { out, unmade, trace, exceptions, written: 0 };
    spans.below(&part, core.id, DEPTH_MAX);
    spans.write(&part, &core, part.parent(), if part.is_subsegment { Level::Subsegment } else { Level::Segment });
    let written = spans.written;
    end(out, scope);
    end(out, group);
    written
}

/// What a part is of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// The work of a service, below the span of another one.
    Segment,
    /// A piece of it.
    Subsegment,
}

/// The spans of a document while they are written.
struct Spans<'o, 'a> {
    out: &'o mut Vec<u8>,
    unmade: &'o mut dyn FnMut(Unmade),
    trace: [u8; 16],
    exceptions: Exceptions<'a>,
    written: usize,
}

impl<'a> Spans<'_, 'a> {
    /// Writes the subsegments of `part`, which are below the span `parent`. They come first because what they throw is passed on upwards.
    fn below(&mut self, part: &Part<'a>, parent: [u8; 8], depth: usize) {
        for object in part.subsegments.into_iter().flat_map(Value::elements) {
            if depth == 0 {
                (self.unmade)(Unmade::TooDeep);
                continue;
            }
            let part = Part::read(object);
            match part.core() {
                Ok(core) => {
                    self.below(&part, core.id, depth - 1);
                    self.write(&part, &core, Some(parent), Level::Subsegment);
                }
                Err(why) => {
                    (self.unmade)(why);
                    // What is in progress brings what is below it when it is complete.
                    if why.is_fault() {
                        self.below(&part, parent, depth - 1);
                    }
                }
            }
        }
    }

    fn write(&mut self, part: &Part<'a>, core: &Core<'a>, parent: Option<[u8; 8]>, level: Level) {
        let out = &mut *self.out;
        let span = begin(out, MEMBERS);
        put_bytes(out, 1, &self.trace);
        put_bytes(out, 2, &core.id);
        if let Some(parent) = parent {
            put_bytes(out, 4, &parent);
        }
        put_bytes(out, 5, core.name.as_bytes());
        put_uint(out, 6, kind(part, level));
        put_fixed64(out, 7, core.start);
        put_fixed64(out, 8, core.end);
        let mut attributes = Attributes::new(out, Attributes::OF_SPAN);
        let is_query = part.sql.is_some_and(|sql| sql.members().next().is_some());
        if level == Level::Subsegment && (part.namespace == Namespace::Remote || is_query) {
            attributes.text("peer.service", &core.name);
        }
        let status = blocks::http(part, level, &mut attributes);
        blocks::sql(part, &mut attributes);
        blocks::aws(part, &core.name, level, &mut attributes);
        own(part, status, &mut attributes);
        let failed = part.flags != Flags::default();
        let message = part.cause.map(|cause| self.exceptions.write(cause, (core.end, failed), out)).unwrap_or_default();
        links(part, out);
        if failed {
            let status = begin(out, 15);
            if !message.is_empty() {
                put_bytes(out, 2, message.as_bytes());
            }
            put_uint(out, 3, 2);
            end(out, status);
        }
        let is_remote = level == Level::Segment && parent.is_some();
        put_fixed32(out, 16, if is_remote { FLAGS | PARENT_IS_REMOTE } else { FLAGS });
        end(out, span);
        self.written += 1;
    }
}

/// The kind of span that a part is: 1 internal, 2 server, 3 client.
fn kind(part: &Part<'_>, level: Level) -> u64 {
    match (level, part.namespace) {
        (Level::Segment, _) => 2,
        (Level::Subsegment, Namespace::Own) => 1,
        (Level::Subsegment, Namespace::Aws | Namespace::Remote) => 3,
    }
}

/// What a segment says beside its blocks.
fn own(part: &Part<'_>, status: Option<i64>, attributes: &mut Attributes<'_>) {
    // What the way back takes from the status of the answer, or from that of the span.
    let told = match status {
        Some(status @ 400..=499) => Flags { error: true, throttle: status == 429, fault: false },
        Some(500..=599) => Flags { fault: true, ..Flags::default() },
        _ => Flags { fault: part.flags != Flags::default(), ..Flags::default() },
    };
    if part.flags != told {
        let Flags { fault, error, throttle } = part.flags;
        for (name, flag) in [("aws.xray.fault", fault), ("aws.xray.error", error), ("aws.xray.throttle", throttle)] {
            if flag {
                attributes.truth(name, true);
            }
        }
    }
    attributes.text("enduser.id", &text(part.user));
    attributes
        .texts("aws.xray.precursor_ids", part.precursors.into_iter().flat_map(Value::elements).filter_map(Value::text));
    for (namespace, value) in part.metadata.into_iter().flat_map(Value::members) {
        attributes.text_of("aws.xray.metadata.", &namespace, value.raw());
    }
    let annotations = || part.annotations.into_iter().flat_map(Value::members);
    let annotations = || annotations().filter(|(name, value)| !name.is_empty() && !value.is_null());
    // One that has the name of something else that is written here would be written over it.
    let prefix = |name: &str| {
        let is_taken = name.starts_with("aws.xray.") || segment::is_known(name.as_bytes());
        if is_taken { "annotation." } else { "" }
    };
    for (name, value) in annotations() {
        attributes.value(prefix(&name), &name, value);
    }
    attributes.texts("aws.xray.annotations", annotations().map(|(name, _)| format!("{}{name}", prefix(&name))));
}

fn links(part: &Part<'_>, out: &mut Vec<u8>) {
    for link in part.links.into_iter().flat_map(Value::elements) {
        let [trace, id, told] = link.pick(["trace_id", "id", "attributes"]);
        if let Some((trace, id)) = trace.and_then(trace_id).zip(id.and_then(span_id)) {
            let begun = begin(out, 13);
            put_bytes(out, 1, &trace);
            put_bytes(out, 2, &id);
            let mut attributes = Attributes::new(out, Attributes::OF_LINK);
            for (name, value) in told.into_iter().flat_map(Value::members) {
                attributes.value("", &name, value);
            }
            end(out, begun);
        }
    }
}

#[cfg(test)]
mod tests;
