//! Whether a span failed, and why: flags, exceptions and their stacks.
//!
//! Promises: the ids of exceptions follow from the span's own, so that a span that comes twice gives one document twice.
//! Never: takes the text of an exception that is not UTF-8 for a reason to leave it out.

use std::borrow::Cow;

use super::{
    derived_id, http,
    json::{Json, cut},
    keys::Key,
    level::Level,
    name,
    span::{Kind, Span},
    stack,
    value::{Attributes, fields},
};
use crate::otlp::wire::{Reader, Value};

/// Bytes of a stack trace that are looked at: three times what a document can hold.
const STACK_BYTES_MAX: usize = 192 * 1024;

/// What X-Ray asks of every segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Our side failed.
    pub(super) fault: bool,
    /// The client did.
    pub(super) error: bool,
    /// It asked too often.
    pub(super) throttle: bool,
}

pub(super) fn flags(span: &Span<'_>) -> Flags {
    match http::status(&span.attributes) {
        Some(status @ 400..=499) => Flags { error: true, throttle: status == 429, fault: false },
        Some(500..=599) => Flags { fault: true, ..Flags::default() },
        _ => Flags { fault: span.failed, ..Flags::default() },
    }
}

/// An event of a span.
struct Event<'a> {
    name: &'a [u8],
    time: u64,
    message: &'a [u8],
}

impl<'a> Event<'a> {
    fn read(message: &'a [u8]) -> Self {
        let mut event = Self { name: b"", time: 0, message };
        for field in Reader::new(message).map_while(Result::ok) {
            match (field.number, field.value) {
                (1, Value::Fixed64(time)) => event.time = time,
                (2, Value::Bytes(name)) => event.name = name,
                _ => {}
            }
        }
        event
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes::read(fields(self.message, 3))
    }
}

/// The list of exceptions while it is written.
struct Exceptions<'j, 'b, 's, 'a> {
    json: &'j mut Json<'b>,
    span: &'s Span<'a>,
    language: &'s str,
    level: &'s Level,
    written: u64,
}

/// Writes the cause, if there is one.
pub(super) fn write(json: &mut Json<'_>, span: &Span<'_>, resource: &Attributes<'_>, level: &Level) {
    let mark = json.mark();
    json.name("cause");
    json.open(b'{');
    json.name("exceptions");
    json.open(b'[');
    let language = String::from_utf8_lossy(resource.text(Key::TelemetrySdkLanguage));
    let mut exceptions = Exceptions { json, span, language: &language, level, written: 0 };
    exceptions.events();
    if exceptions.written == 0 && span.failed {
        let text = span.status_message;
        let text = if text.is_empty() { span.attributes.text(Key::HttpStatusText) } else { text };
        if !text.is_empty() {
            exceptions.message_only(text);
        }
    }
    if exceptions.written == 0 {
        return json.back_to(mark);
    }
    json.close(b']');
    json.close(b'}');
}

impl Exceptions<'_, '_, '_, '_> {
    fn events(&mut self) {
        let is_aws_api = name::is_aws_api(&self.span.attributes);
        for event in &self.span.events {
            if self.is_full() {
                return;
            }
            let event = Event::read(event);
            match event.name {
                b"exception" => self.exception(&event.attributes()),
                b"HTTP request failure" if is_aws_api => self.failed_request(&event),
                _ => {}
            }
        }
    }

    fn is_full(&self) -> bool {
        self.written >= self.level.exceptions || self.json.len() > self.level.document_bytes
    }

    fn open(&mut self) {
        self.json.open(b'{');
        self.json.hex_member("id", derived_id(self.span.id, self.written));
        self.written += 1;
    }

    fn message_only(&mut self, text: &[u8]) {
        self.open();
        self.json.text_member("message", text);
        self.json.close(b'}');
    }

    fn exception(&mut self, attributes: &Attributes<'_>) {
        let text = attributes.text(Key::ExceptionStacktrace);
        let text: Cow<'_, str> = if self.level.frames == 0 {
            // What caused it is told by the same text, and goes with it.
            Cow::Borrowed("")
        } else {
            String::from_utf8_lossy(cut(text, STACK_BYTES_MAX))
        };
        let parsed = stack::parse(self.language, &text);
        let parts = parsed.len();
        for (index, part) in parsed.iter().enumerate() {
            if self.is_full() {
                return;
            }
            let follows = index + 1 < parts && self.written + 1 < self.level.exceptions;
            self.open();
            let (message, kind) = match index {
                0 => (attributes.text(Key::ExceptionMessage), attributes.text(Key::ExceptionType)),
                _ => (part.message.as_bytes(), part.kind.as_bytes()),
            };
            self.json.name("message");
            self.json.text(message);
            self.json.name("type");
            self.json.text(kind);
            self.json.truth_member("remote", matches!(self.span.kind, Kind::Client | Kind::Producer));
            if follows {
                self.json.hex_member("cause", derived_id(self.span.id, self.written));
            }
            self.frames(&part.frames);
            self.json.close(b'}');
        }
    }

    fn frames(&mut self, frames: &[stack::Frame<'_>]) {
        if frames.is_empty() || self.level.frames == 0 {
            return;
        }
        self.json.name("stack");
        self.json.open(b'[');
        for frame in frames.iter().take(self.level.frames) {
            self.json.open(b'{');
            self.json.name("path");
            self.json.text(frame.path.as_bytes());
            self.json.name("line");
            self.json.number(i64::from(frame.line));
            self.json.name("label");
            self.json.text(frame.label.as_bytes());
            self.json.close(b'}');
        }
        self.json.close(b']');
        if frames.len() > self.level.frames {
            self.json.name("truncated");
            self.json.number((frames.len() - self.level.frames) as i64);
        }
    }

    /// A try of an AWS SDK that failed.
    fn failed_request(&mut self, event: &Event<'_>) {
        let attributes = event.attributes();
        let (Some(status), text) =
            (attributes.first_int([Key::HttpResponseStatusCode]), attributes.text(Key::AwsHttpErrorMessage))
        else {
            return;
        };
        if text.is_empty() {
            return;
        }
        let (seconds, microseconds) = (event.time / 1_000_000_000, event.time % 1_000_000_000 / 1_000);
        let message = [format!("{status}@{seconds}.{microseconds:06}@").as_bytes(), text].concat();
        self.open();
        self.json.text_member("message", &message);
        self.json.text_member("type", b"aws.http.error.event");
        self.json.truth_member("remote", true);
        self.json.close(b'}');
    }
}
