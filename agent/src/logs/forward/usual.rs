//! The message that Docker's driver writes, read in one pass.
//!
//! Nearly every message is one of these. To find its end first and then read it, as [`frame`](super::frame) must for all
//! others, looks at each of its values twice and costs 60 ns more (measured).
//!
//! Promises: what it reads is what [`frame`](super::frame) would read; the fuzz target compares them.
//! Never: says why it did not read something: then it is another message, or not whole, and `frame` decides.

use crate::{
    limits::TAG_BYTES_MAX,
    logs::{
        msgpack::Cursor,
        record::{EventTime, Pair, Record, Value},
    },
};

/// A message whose record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual<'a> {
    /// The tag.
    pub tag: &'a [u8],
    /// Bytes of the message.
    pub length: usize,
}

/// Reads `[tag, EventTime, {text: text, ...}, {} or nil or nothing]` and puts its record into `record`, all in one pass.
/// `None` if `bytes` begin with anything else, or are not whole; then nothing is known of them, and `record` is of no use.
#[inline]
pub fn usual<'a>(bytes: &'a [u8], record: &mut Record<'a>) -> Option<Usual<'a>> {
    let with_option = match bytes.first()? {
        0x93 => false,
        0x94 => true,
        _ => return None,
    };
    let mut cursor = Cursor::new(&bytes[1..]);
    let tag = cursor.usual_text().filter(|tag| tag.len() <= TAG_BYTES_MAX)?;
    let [0xd7, 0, time @ ..] = cursor.take(10).ok()? else { return None };
    record.time = event_time(time.try_into().ok()?)?;
    let before = cursor.rest().len();
    let &[map @ 0x80..=0x8f] = cursor.take(1).ok()? else { return None };
    record.pairs.clear();
    for _ in 0..map & 0x0f {
        let (key, value) = (cursor.usual_text()?, cursor.usual_text()?);
        record.pairs.push(Pair { key: Value::Str(key), value: Value::Str(value) });
    }
    record.bytes = before - cursor.rest().len();
    if with_option && !matches!(cursor.take(1).ok()?, [0x80 | 0xc0]) {
        return None;
    }
    Some(Usual { tag, length: bytes.len() - cursor.rest().len() })
}

/// Fluent's EventTime: seconds and nanoseconds. `None` if there are too many of the latter.
#[inline]
pub(super) fn event_time(bytes: &[u8; 8]) -> Option<EventTime> {
    let both = u64::from_be_bytes(*bytes);
    let nanos = both as u32;
    (nanos < 1_000_000_000).then_some(EventTime { seconds: (both >> 32) as i64, nanos })
}
