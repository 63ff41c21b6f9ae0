//! What a backend's answer means (opentelemetry.io, OTLP 1.x: "Failures", "OTLP/HTTP Response").
//!
//! Promises: what the specification has a client send again is sent again; what it calls final is looked for in halves, so that
//! one bad request costs no other; what only a change of the configuration mends is kept, and tried once a minute.
//! Never: keeps more of an answer than a line.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::{
    aws::retry_after,
    deliver::{Answer, Cause},
    otlp::{
        base64,
        wire::{Reader, Value, each},
    },
};

/// Bytes of a backend's message that are told.
const MESSAGE_BYTES_MAX: usize = 256;
/// The longest wait that a backend can make us take.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The meaning of an answer of HTTP.
pub(super) fn of_http(answer: &Response<Bytes>) -> Answer {
    let status = answer.status();
    let again =
        |cause| Answer::Again { cause, detail: detail(status, answer.body()), after: retry_after(answer.headers()) };
    match status.as_u16() {
        200..=299 => of_success(answer.body()),
        429 => again(Cause::Throttled),
        502..=504 => again(Cause::Unavailable),
        // Nobody's spans are at fault: who sends, or where to.
        401 | 403 | 407 => again(Cause::Denied),
        300..=399 | 404 | 405 | 415 => again(Cause::Missing),
        _ => Answer::Divide { detail: detail(status, answer.body()) },
    }
}

/// What a backend says that took a request: all of it, or how many not. `ExportTraceServiceResponse { 1: partial_success { 1:
/// rejected, 2: message } }`, the same for all signals. An answer that cannot be read says nothing else.
pub(super) fn of_success(body: &[u8]) -> Answer {
    let (mut rejected, mut message) = (0_i64, String::new());
    for partial in each(body, 1).map_while(Result::ok) {
        for field in Reader::new(partial).map_while(Result::ok) {
            match (field.number, field.value) {
                (1, Value::Varint(number)) => rejected = number.cast_signed(),
                (2, Value::Bytes(text)) => message = line(text),
                _ => {}
            }
        }
    }
    if rejected > 0 {
        let refused = u32::try_from(rejected).unwrap_or(u32::MAX);
        return Answer::Short { refused, detail: format!("the backend took all but {rejected}: {message}") };
    }
    if !message.is_empty() {
        tracing::debug!(message, "the backend took everything, and says");
    }
    Answer::Delivered
}

/// The meaning of a status of gRPC. `headers` are those that have it: the trailers, or the headers if there is no message.
pub(super) fn of_grpc(code: u32, headers: &HeaderMap) -> Answer {
    let message = headers.get("grpc-message").map(|text| line(&percent_decoded(text.as_bytes()))).unwrap_or_default();
    let detail = format!("grpc status {code}: {message}");
    let after = headers.get("grpc-status-details-bin").and_then(|text| retry_info(&base64::decoded(text.as_bytes())?));
    let again = |cause| Answer::Again { cause, detail: detail.clone(), after };
    match code {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 10 | 11 | 14 | 15 => again(Cause::Unavailable),
        4 => again(Cause::Ambiguous),
        // RESOURCE_EXHAUSTED: only who says when wants it again; else the request is too large.
        8 if after.is_some() => again(Cause::Throttled),
        // PERMISSION_DENIED, UNAUTHENTICATED
        7 | 16 => again(Cause::Denied),
        // NOT_FOUND, UNIMPLEMENTED: it is no backend of OTLP.
        5 | 12 => again(Cause::Missing),
        _ => Answer::Divide { detail },
    }
}

/// google.rpc.Status { 3: Any { 1: type, 2: RetryInfo { 1: Duration { 1: seconds, 2: nanoseconds } } } }.
fn retry_info(status: &[u8]) -> Option<Duration> {
    let any = each(status, 3)
        .flatten()
        .find(|any| each(any, 1).flatten().any(|kind| kind.ends_with(b"google.rpc.RetryInfo")))?;
    let info = each(any, 2).flatten().last()?;
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in each(info, 1).flatten().flat_map(Reader::new).map_while(Result::ok) {
        match (field.number, field.value) {
            (1, Value::Varint(number)) => seconds = number,
            (2, Value::Varint(number)) => nanoseconds = number,
            _ => {}
        }
    }
    // A negative number is a large one here, and no wait.
    let seconds = if seconds > i64::MAX as u64 { 0 } else { seconds };
    let wait = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.min(999_999_999)));
    Some(wait.min(WAIT_MAX))
}

/// The status and what the backend says: google.rpc.Status { 2: message }, or text.
fn detail(status: StatusCode, body: &[u8]) -> String {
    let said =
        each(body, 2).map_while(Result::ok).find(|text| std::str::from_utf8(text).is_ok_and(|text| !text.is_empty()));
    format!("status {}: {}", status.as_u16(), line(said.unwrap_or(body)))
}

/// The first line of a text from outside, without control characters, cut.
fn line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MESSAGE_BYTES_MAX)]);
    let line = text.trim().lines().next().unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    clean[..clean.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let code = if *byte == b'%' {
            after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        } else {
            None
        };
        out.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    out
}

#[cfg(test)]
#[path = "meaning_tests.rs"]
mod tests;
