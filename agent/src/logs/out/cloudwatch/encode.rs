//! A record as an event of a `PutLogEvents` request.
//!
//! ```text
//! {"logGroupName":"G","logStreamName":"S","logEvents":[{"timestamp":1700000000123,"message":"..."},{...}]}
//! ```
//!
//! The message is the record as JSON, escaped once more on the way: bytes are looked at once. The service counts a message
//! as its UTF-8 bytes, without that escaping, plus 26; the encoder knows both lengths.
//!
//! Promises: what it counts is what the service counts; a message over the limit is cut, marked, and counted as cut.
//! Never: allocates for a record under the limit.

use bytes::Bytes;

use super::Key;
use crate::{
    deliver::{Destination, batch::Frame, body::Body, books::Refused, lane::Appending},
    logs::{
        json,
        record::{Record, Value},
        render,
    },
};

/// What the service adds to each message when it counts, in bytes (PutLogEvents API).
pub const EVENT_OVERHEAD: usize = 26;
/// Longest message, in bytes. The quota says "1 MB" and not how many bytes that is, so we take the smaller reading, as
/// Fluent Bit does. Where the service still has its old limit of 256 KB it refuses such a record, alone.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// What a cut message ends with, as with the Go plugin `cloudwatch`.
const CUT_MARK: &[u8] = b"[Truncated...]";

/// What of a record is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// All of it, as a JSON object.
    Record,
    /// What one field holds.
    Field(String),
}

/// What became of a record in the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// It is in the batch.
    Whole,
    /// It is in the batch, but not all of it.
    Cut,
    /// It is not in the batch.
    Refused(Refused),
}

/// What stands around the events for `key`.
pub fn frame(key: &Key) -> Frame {
    let mut head = Body::default();
    head.put(b"{\"logGroupName\":\"");
    json::once(&mut head, key.group.as_bytes());
    head.put(b"\",\"logStreamName\":\"");
    json::once(&mut head, key.stream.as_bytes());
    head.put(b"\",\"logEvents\":[");
    Frame { head: Bytes::from(head.into_bytes()), separator: b",", tail: b"]}" }
}

/// Appends `record`, which happened `time` milliseconds after 1970.
#[inline]
pub fn append<D: Destination>(
    to: &mut Appending<'_, D>,
    record: &Record<'_>,
    time: i64,
    message: &Message,
    scratch: &mut Body,
) -> Encoded {
    let body = to.begin();
    let time = time.max(0);
    begin_event(body, time);
    let start = body.len();
    let added = match message {
        Message::Record => render::object_in_string(body, record, scratch),
        Message::Field(name) => match record.get(name.as_bytes()) {
            Some(value) => field(body, &value, scratch),
            None => return refuse(to, Refused::KeyMissing),
        },
    };
    let mut counted = body.len() - start - added;
    if counted == 0 {
        return refuse(to, Refused::Empty);
    }
    let mut encoded = Encoded::Whole;
    if counted > MESSAGE_BYTES_MAX {
        body.truncate(start);
        counted = cut(body, record, message, scratch);
        encoded = Encoded::Cut;
    }
    body.put(b"\"}");
    to.commit(time, counted + EVENT_OVERHEAD);
    encoded
}

fn refuse<D: Destination>(to: &mut Appending<'_, D>, reason: Refused) -> Encoded {
    to.refuse(reason);
    Encoded::Refused(reason)
}

/// The field's text, or its JSON if it is not text. Returns what the escaping added.
fn field(body: &mut Body, value: &Value<'_>, scratch: &mut Body) -> usize {
    let before = body.len();
    match value.text() {
        Some(text) => {
            json::once(body, text);
            // Only the length of broken text changes when it is mended, and then we count what we send.
            let counted = std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text).len(), str::len);
            body.len() - before - counted
        }
        None => {
            let mut inner = Body::default();
            render::value(&mut inner, value, scratch);
            json::once(body, inner.as_slice());
            body.len() - before - inner.len()
        }
    }
}

/// Writes the longest part of the message that the service takes, and the mark. Returns its length as counted.
#[cold]
fn cut(body: &mut Body, record: &Record<'_>, message: &Message, scratch: &mut Body) -> usize {
    let mut inner = Body::default();
    let text = match message {
        Message::Record => {
            render::object(&mut inner, record, scratch);
            String::from_utf8_lossy(inner.as_slice())
        }
        Message::Field(name) => match record.get(name.as_bytes()) {
            Some(value) if value.text().is_some() => String::from_utf8_lossy(value.text().unwrap_or_default()),
            Some(value) => {
                render::value(&mut inner, &value, scratch);
                String::from_utf8_lossy(inner.as_slice())
            }
            None => String::new().into(),
        },
    };
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX - CUT_MARK.len());
    json::once(body, &text.as_bytes()[..end]);
    body.put(CUT_MARK);
    end + CUT_MARK.len()
}

#[inline]
fn begin_event(body: &mut Body, time: i64) {
    const HEAD: &[u8; 13] = b"{\"timestamp\":";
    const BETWEEN: &[u8; 12] = b",\"message\":\"";
    body.reserve(HEAD.len() + 20 + BETWEEN.len());
    body.put_block(HEAD, HEAD.len());
    put_number(body, time.unsigned_abs());
    body.put_block(BETWEEN, BETWEEN.len());
}

/// Appends a number of up to 20 digits; the caller has reserved them.
#[inline]
fn put_number(body: &mut Body, number: u64) {
    let mut digits = [b'0'; 20];
    let mut place = digits.len();
    let mut rest = number;
    loop {
        place -= 1;
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    body.put(&digits[place..]);
}
