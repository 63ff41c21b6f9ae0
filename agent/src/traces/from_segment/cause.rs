//! Why a segment failed: exceptions as events, their stacks as the text that the language writes.
//!
//! X-Ray has a list of exceptions, each of which may name another one as its cause. Where a language tells causes in one text, a run of them
//! becomes one event, as OpenTelemetry's SDKs record it. A segment that passes an exception on names it by its id alone; it gets an event with the
//! type and the message of that exception, without the stack, which is where it was thrown.
//!
//! Promises: each exception that is looked at is in one event or in the text of one; events hold ids, by which they can be found from each other.
//! Never: looks at more than [`EXCEPTIONS_MAX`] of a segment, or remembers more of a document.

use std::{borrow::Cow, fmt::Write};

use super::{
    attributes::Attributes,
    json::{Value, text},
};
use crate::otlp::wire::{begin, end, put_bytes, put_fixed64};

/// Exceptions of a segment that are looked at, and those of a document that others may name.
const EXCEPTIONS_MAX: usize = 64;
/// Exceptions of one text, and frames of one exception, as many as the way back reads.
const CHAIN_MAX: usize = 16;
const FRAMES_MAX: usize = 256;
/// The field of a span that holds its events.
const EVENTS: u32 = 11;
/// What Python writes between an exception and the one that came of it.
const LINK: &str = "\nDuring handling of the above exception, another exception occurred:\n\n";

/// An exception.
#[derive(Clone, Debug)]
struct Exception<'a> {
    id: Cow<'a, str>,
    kind: Cow<'a, str>,
    message: Cow<'a, str>,
    cause: Cow<'a, str>,
    stack: Option<Value<'a>>,
}

/// The exceptions of a document so far.
#[derive(Debug)]
pub(super) struct Exceptions<'a> {
    known: Vec<Exception<'a>>,
    /// Of the SDK, as OpenTelemetry calls it.
    language: String,
}

impl<'a> Exceptions<'a> {
    /// None yet, of a document whose SDK is for a `language`.
    pub(super) fn of(language: String) -> Self {
        Self { known: Vec::new(), language }
    }

    /// Writes the events of a span that ended at `time` for this `cause`, and gives the first message. Of an exception that has nothing but a message
    /// there is no event if the span `failed`: its status says it, from which the way back makes that exception.
    pub(super) fn write(&mut self, cause: Value<'a>, (time, failed): (u64, bool), out: &mut Vec<u8>) -> Cow<'a, str> {
        let list = || cause.member("exceptions").into_iter().flat_map(Value::elements).filter(|one| one.is_object());
        let thrown: Vec<_> = list().take(EXCEPTIONS_MAX).map(read).collect();
        if thrown.is_empty() {
            let id = cause.text().unwrap_or_else(|| text(cause.member("id")));
            return if id.is_empty() { id } else { self.passed_on(id, time, out) };
        }
        let is_message = |one: &Exception<'_>| one.kind.is_empty() && !has_frames(one) && !one.message.is_empty();
        let mut rest = if failed && thrown.len() == 1 && is_message(&thrown[0]) { &[] } else { &thrown[..] };
        while let Some(first) = rest.first() {
            let length = self.chain(rest);
            let (chain, others) = rest.split_at(length);
            let text = if length > 1 || has_frames(first) { self.text(chain) } else { String::new() };
            let cause = &chain[length - 1].cause;
            event(first, &text, cause, time, out);
            rest = others;
        }
        let message = thrown[0].message.clone();
        let room = EXCEPTIONS_MAX.saturating_sub(self.known.len());
        self.known.extend(thrown.into_iter().filter(|one| !one.id.is_empty()).take(room));
        message
    }

    fn passed_on(&self, id: Cow<'a, str>, time: u64, out: &mut Vec<u8>) -> Cow<'a, str> {
        let empty = Exception { id, kind: "".into(), message: "".into(), cause: "".into(), stack: None };
        let known = self.known.iter().find(|known| known.id == empty.id).unwrap_or(&empty);
        event(known, "", "", time, out);
        known.message.clone()
    }

    /// How many of `exceptions` are told in one text: the first one, what caused it, and so on.
    fn chain(&self, exceptions: &[Exception<'_>]) -> usize {
        if matches!(&*self.language, "nodejs" | "javascript" | "webjs" | "dotnet" | "go") {
            return 1;
        }
        let causes = exceptions.windows(2).take_while(|pair| !pair[1].id.is_empty() && pair[0].cause == pair[1].id);
        1 + causes.take(CHAIN_MAX - 1).count()
    }

    /// The text of a chain of exceptions, as the language writes it; as Java does where it is not known.
    fn text(&self, chain: &[Exception<'_>]) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        match &*self.language {
            "python" => {
                for (place, exception) in chain.iter().rev().enumerate() {
                    text.push_str(if place > 0 { LINK } else { "" });
                    text.push_str("Traceback (most recent call last):\n");
                    let frames: Vec<_> = frames(exception).collect();
                    for (path, line, label) in frames.into_iter().rev() {
                        let within = if label.is_empty() { "" } else { ", in " };
                        let _ = writeln!(text, "  File \"{path}\", line {line}{within}{label}");
                    }
                    head(&mut text, exception);
                }
            }
            "go" => {
                text.push_str("goroutine 1 [running]:\n");
                for (path, line, label) in chain.iter().flat_map(frames) {
                    let _ = writeln!(text, "{label}\n\t{path}:{line}");
                }
            }
            language => {
                for (place, exception) in chain.iter().enumerate() {
                    text.push_str(if place > 0 { "Caused by: " } else { "" });
                    head(&mut text, exception);
                    for (path, line, label) in frames(exception) {
                        let _ = match language {
                            "nodejs" | "javascript" | "webjs" if label.is_empty() => {
                                writeln!(text, "    at {path}:{line}")
                            }
                            "nodejs" | "javascript" | "webjs" => writeln!(text, "    at {label} ({path}:{line})"),
                            "dotnet" => writeln!(text, "   at {label} in {path}:line {line}"),
                            _ => writeln!(text, "\tat {label}({path}:{line})"),
                        };
                    }
                }
            }
        }
        text
    }
}

fn read(exception: Value<'_>) -> Exception<'_> {
    let [id, kind, message, cause, stack] = exception.pick(["id", "type", "message", "cause", "stack"]);
    Exception { id: text(id), kind: text(kind), message: text(message), cause: text(cause), stack }
}

fn has_frames(exception: &Exception<'_>) -> bool {
    exception.stack.is_some_and(|stack| stack.elements().next().is_some())
}

/// Path, line and label of each frame, the newest first.
fn frames<'a>(exception: &Exception<'a>) -> impl Iterator<Item = (Cow<'a, str>, i64, Cow<'a, str>)> + use<'a> {
    let frames = exception.stack.into_iter().flat_map(Value::elements).take(FRAMES_MAX);
    frames.map(|frame| {
        let [path, line, label] = frame.pick(["path", "line", "label"]);
        (text(path), line.and_then(Value::whole).unwrap_or(0), text(label))
    })
}

/// The line that says what it is.
fn head(text: &mut String, Exception { kind, message, .. }: &Exception<'_>) {
    let colon = if kind.is_empty() || message.is_empty() { "" } else { ": " };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{kind}{colon}{message}");
}

fn event(exception: &Exception<'_>, text: &str, cause: &str, time: u64, out: &mut Vec<u8>) {
    let begun = begin(out, EVENTS);
    // When it was thrown is not told; the span ended by it.
    put_fixed64(out, 1, time);
    put_bytes(out, 2, b"exception");
    let mut attributes = Attributes::new(out, Attributes::OF_EVENT);
    attributes.text("exception.type", &exception.kind);
    attributes.text("exception.message", &exception.message);
    attributes.text("exception.stacktrace", text);
    attributes.text("aws.xray.exception.id", &exception.id);
    attributes.text("aws.xray.exception.cause", cause);
    end(out, begun);
}
