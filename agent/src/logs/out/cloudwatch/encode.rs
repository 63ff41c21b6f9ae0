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

use std::borrow::Cow;

use bytes::Bytes;

use super::Place;
use crate::{
    deliver::{batch::Frame, body::Body, books::Refused, escape, lane::Appending},
    logs::{
        known::Workspace,
        record::{Record, Value},
        render,
    },
};

/// What the service adds to each message when it counts, in bytes (PutLogEvents API).
pub const EVENT_OVERHEAD: usize = 26;
/// Longest message, in bytes. The quota says "1 MB" and not how many bytes that is, so we take the smaller reading, as
/// Fluent Bit does. Where the service still has its old limit of 256 KB it refuses such a record, alone.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// Records of more bytes are rendered no further than the service takes: of one byte up to seven are made.
const LARGE_BYTES: usize = MESSAGE_BYTES_MAX / 4;
/// What a cut message ends with, as with the Go plugin `cloudwatch`.
const CUT_MARK: &[u8] = b"[Truncated...]";

/// What of a record is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// All of it, as a JSON object.
    Record,
    /// What one field holds.
    Field(Cow<'static, str>),
}

/// What is sent of a document.
pub(super) static DOCUMENT: Message = Message::Field(Cow::Borrowed("log"));

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

/// What stands around the events of `place`.
pub fn frame(place: Place<'_>) -> Frame {
    let mut head = Body::default();
    head.put(b"{\"logGroupName\":\"");
    escape::once(&mut head, place.group.as_bytes());
    head.put(b"\",\"logStreamName\":\"");
    escape::once(&mut head, place.stream.as_bytes());
    head.put(b"\",\"logEvents\":[");
    Frame { head: Bytes::from(head.into_bytes()), separator: b",", tail: b"]}" }
}

/// Appends `record`, which happened `time` milliseconds after 1970.
#[inline]
pub fn append(
    to: &mut Appending<'_>,
    record: &Record<'_>,
    time: i64,
    message: &Message,
    workspace: &mut Workspace,
) -> Encoded {
    let body = to.begin();
    let time = time.max(0);
    begin_event(body, time);
    let start = body.len();
    let large = record.bytes > LARGE_BYTES;
    let added = match message {
        Message::Record if large => 0,
        Message::Record => render::object_in_string(body, record, workspace),
        Message::Field(name) => match record.get(name.as_bytes()) {
            Some(_) if large => 0,
            Some(value) => field(body, &value, workspace),
            None => return refuse(to, Refused::KeyMissing),
        },
    };
    let (mut counted, mut encoded) = (body.len() - start - added, Encoded::Whole);
    if large || counted > MESSAGE_BYTES_MAX {
        body.truncate(start);
        (counted, encoded) = beginning(body, record, message, workspace);
    }
    if counted == 0 {
        return refuse(to, Refused::Empty);
    }
    body.put(b"\"}");
    to.commit(time, counted + EVENT_OVERHEAD);
    encoded
}

fn refuse(to: &mut Appending<'_>, reason: Refused) -> Encoded {
    to.refuse(reason);
    Encoded::Refused(reason)
}

/// The field's text, or its JSON if it is not text. Returns what the escaping added.
fn field(body: &mut Body, value: &Value<'_>, workspace: &mut Workspace) -> usize {
    let before = body.len();
    let counted = value.with_text(|text| {
        escape::once(body, text);
        // Only the length of broken text changes when it is mended, and then we count what we send.
        std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text).len(), str::len)
    });
    let counted = counted.unwrap_or_else(|| {
        let mut inner = Body::default();
        render::value_beginning(&mut inner, value, workspace, usize::MAX);
        escape::once(body, inner.as_slice());
        inner.len()
    });
    body.len() - before - counted
}

/// Writes the message, or the longest part of it that the service takes and the mark. Returns its length as counted.
/// What is left out is not rendered either: six megabytes of control characters would take forty.
#[cold]
fn beginning(body: &mut Body, record: &Record<'_>, message: &Message, workspace: &mut Workspace) -> (usize, Encoded) {
    const ENOUGH: usize = MESSAGE_BYTES_MAX + 1;
    let mut inner = Body::default();
    let text = match message {
        Message::Record => {
            render::object_beginning(&mut inner, record, workspace, ENOUGH);
            inner.as_slice()
        }
        Message::Field(name) => match record.get(name.as_bytes()) {
            Some(value) => match value.text() {
                Some(text) => &text[..text.len().min(ENOUGH)],
                None => {
                    render::value_beginning(&mut inner, &value, workspace, ENOUGH);
                    inner.as_slice()
                }
            },
            None => b"",
        },
    };
    let text = String::from_utf8_lossy(text);
    if text.len() <= MESSAGE_BYTES_MAX {
        escape::once(body, text.as_bytes());
        return (text.len(), Encoded::Whole);
    }
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX - CUT_MARK.len());
    escape::once(body, &text.as_bytes()[..end]);
    body.put(CUT_MARK);
    (end + CUT_MARK.len(), Encoded::Cut)
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
    while rest >= 100 {
        place -= 2;
        digits[place..place + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    place -= 2;
    digits[place..place + 2].copy_from_slice(&PAIRS[rest as usize]);
    body.put(&digits[place + usize::from(rest < 10)..]);
}

/// `00` to `99`.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        deliver::{
            self, Answer, Destination, Doing, Key, Limits, Rules,
            batch::Batch,
            books::{Account, Lost},
            budget::Budget,
        },
        logs::record::Pair,
        tell::counters::Counters,
    };

    /// Keeps what it is sent.
    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Bytes>>);

    impl Destination for Kept {
        fn limits(&self) -> Limits {
            Limits { bytes: 1_048_576, records: 10_000, span_milliseconds: 1_000 }
        }

        fn frame(&self, _: &Key) -> Frame {
            Frame { head: Bytes::from_static(b"["), separator: b",", tail: b"]" }
        }

        fn knows(&self, _: &Key) -> bool {
            true
        }

        fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
            self.0.lock().expect("nobody panics").push(batch.body.clone());
            Box::pin(std::future::ready(Answer::Delivered))
        }
    }

    /// What becomes of a record with the field `log`, what is sent, and the bytes of memory that took.
    async fn sent(log: Value<'_>, bytes: usize, message: &Message) -> (Encoded, Option<String>, u64) {
        let (budget, kept) = (Budget::new(1 << 30, 1), Arc::new(Kept::default()));
        let (output, engine) = deliver::deliver("kept", Arc::clone(&kept), Rules::default(), &budget, &Counters::new());
        let account = Arc::new(Account::default());
        let record = Record { bytes, pairs: vec![Pair { key: Value::Str(b"log"), value: log }], ..Record::default() };
        let mut workspace = Workspace::default();
        let lane = output.lane(&Key::new(""));
        let mut appending = output.append(&lane, &account);
        let encoded = append(&mut appending, &record, 7, message, &mut workspace);
        drop(appending);
        let memory = budget.used() + workspace.scratch.capacity() as u64;
        output.close();
        engine.run(CancellationToken::new(), CancellationToken::new()).await;
        assert!(account.totals().balanced() && account.totals().lost[Lost::Unsettled as usize] == 0);
        let bodies = kept.0.lock().expect("nobody panics");
        let message = bodies.first().map(|body| {
            let events: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            events[0]["message"].as_str().expect("text").to_owned()
        });
        (encoded, message, memory)
    }

    /// Whatever the record, however large: what the service takes of it is sent, and memory is a few times that.
    #[tokio::test]
    async fn a_large_record_is_whole_or_cut_and_costs_no_more_than_the_message() {
        let field = Message::Field("log".into());
        let numbers = [&[0xdd, 0, 1, 0, 0][..], &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0].repeat(65_536)].concat();
        let texts = [&[0xdd, 0, 0x20, 0, 0][..], &[0xa0].repeat(0x20_0000)].concat();
        for (what, log, bytes, whole) in [
            ("letters", Value::Str(&[b'x'; 6_000_000][..]), 6_000_000, false),
            ("controls", Value::Str(&[1; 6_000_000]), 6_000_000, false),
            ("no text at all", Value::Bin(&[0xff; 6_000_000]), 6_000_000, false),
            ("quotes that fit after all", Value::Str(&[b'"'; 400_000]), 400_000, true),
            ("controls below the threshold", Value::Str(&[1; 200_000]), 200_000, false),
            ("numbers that take less as JSON", Value::Raw(&numbers), numbers.len(), true),
            ("a list of texts", Value::Raw(&texts), texts.len(), false),
        ] {
            for message in [&Message::Record, &field] {
                // As it is, text of 200,000 bytes fits.
                let whole = whole || what.ends_with("threshold") && *message == field;
                let (encoded, text, memory) = sent(log, bytes, message).await;
                let text = text.expect("an event");
                assert_eq!(encoded, if whole { Encoded::Whole } else { Encoded::Cut }, "{what}");
                assert_eq!(text.ends_with("[Truncated...]"), !whole, "{what}");
                assert!(whole || text.len() > MESSAGE_BYTES_MAX - 20, "{what}: {}", text.len());
                assert!(text.len() <= MESSAGE_BYTES_MAX, "{what}: {}", text.len());
                assert!(memory <= 9 << 20, "{what}: {memory} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_large_record_without_the_field_is_refused_as_any_other() {
        let missing = Message::Field("none".into());
        for bytes in [10, 1 << 20] {
            let (encoded, text, _) = sent(Value::Str(b"x"), bytes, &missing).await;
            assert_eq!((encoded, text), (Encoded::Refused(Refused::KeyMissing), None));
        }
    }
}
