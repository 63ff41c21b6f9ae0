//! Records that come by OTLP.
//!
//! ```text
//! {"body": ..., "severity_text": "INFO", "severity_number": 9, "event_name": ..., "trace_id": hex, "span_id": hex, "flags": 1,
//!  "attributes": {...}, "resource": {...}, "scope": {"name", "version", "attributes"}}
//! ```
//! So OpenTelemetry's exporter for CloudWatch Logs writes them. What is absent is left out. A record happened when it says, else when it was
//! observed, else when it came.
//!
//! Promises: each record of a request is on the books before the request is answered; it is masked as those of other inputs.
//! Never: waits; turns a request away.

use std::sync::{Arc, Mutex, PoisonError};

use rmp::encode;

use super::{
    forward::{
        Meters,
        frame::{Entries, EntryReader},
    },
    mask::{Masker, Masks},
    record::{EventTime, Record},
    route::Route,
};
use crate::{
    deliver::ack::Ack,
    otlp::{
        base64,
        taker::{Taken, Taker},
        value::{Any, DEPTH_MAX, entries, fields, values},
        walk::{GROUPS, HEAD, MEMBERS},
        wire::{Reader, Value},
    },
};

/// The tag of records that come by OTLP.
pub const TAG: &[u8] = b"otlp";

/// Takes requests with records.
pub struct Records {
    route: Arc<Route>,
    masker: Mutex<Masker>,
    meters: Meters,
}

/// A record as it was written.
#[derive(Default)]
struct Written<'a> {
    time: u64,
    observed: u64,
    severity_number: u64,
    severity_text: &'a [u8],
    body: Option<Any<'a>>,
    has_attributes: bool,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a [u8],
}

impl Records {
    /// Sends records on `route`.
    pub fn new(route: Arc<Route>, masks: &Masks, meters: Meters) -> Arc<Self> {
        Arc::new(Self { route, masker: Mutex::new(masks.masker()), meters })
    }
}

impl Taker for Records {
    fn take(&self, request: &[u8], _: usize, ack: Option<&Arc<Ack>>) -> Taken {
        let mut packed = Vec::with_capacity(request.len());
        put_request(request, &mut packed);
        self.masker.lock().unwrap_or_else(PoisonError::into_inner).entries(&mut packed, self.route.source());
        let mut pass = self.route.begin();
        pass.of_message(ack);
        let outcome = pass.push(EntryReader::new(Entries::Packed(&packed)), &mut Record::default(), EventTime::now());
        debug_assert!(outcome.is_ok(), "whole maps were written");
        self.meters.bytes.inc_by(request.len() as u64);
        self.meters.records.inc_by(pass.records());
        Taken::Kept
    }
}

/// Appends `[time, record]` for each record of `request`.
fn put_request(request: &[u8], out: &mut Vec<u8>) {
    for group in fields(request, GROUPS) {
        let resource: Vec<&[u8]> = fields(group, HEAD).collect();
        let resource = attributes(resource.iter().flat_map(|resource| fields(resource, 1)));
        for scope in fields(group, MEMBERS) {
            let head = self::scope(fields(scope, HEAD).last().unwrap_or_default());
            for record in fields(scope, MEMBERS) {
                put_record(record, &resource, &head, out);
            }
        }
    }
}

fn put_record(message: &[u8], resource: &[u8], scope: &[u8], out: &mut Vec<u8>) {
    let record = Written::read(message);
    out.push(0x92);
    put_time(if record.time == 0 { record.observed } else { record.time }, out);
    let head = out.len();
    // At most ten members, which one byte can count.
    out.push(0x80);
    let mut count = 0;
    let mut name = |name: &str, out: &mut Vec<u8>| {
        put_text(name.as_bytes(), out);
        count += 1;
    };
    if let Some(body) = record.body {
        name("body", out);
        put(body, DEPTH_MAX, out);
    }
    for (key, text) in [("severity_text", record.severity_text), ("event_name", record.event_name)] {
        if !text.is_empty() {
            name(key, out);
            put_text(text, out);
        }
    }
    for (key, number) in [("severity_number", record.severity_number), ("flags", u64::from(record.flags))] {
        if number != 0 {
            name(key, out);
            put(Any::Int(number.cast_signed()), DEPTH_MAX, out);
        }
    }
    for (key, id) in [("trace_id", record.trace_id), ("span_id", record.span_id)] {
        if !id.is_empty() {
            name(key, out);
            put_text(hex(id).as_bytes(), out);
        }
    }
    if record.has_attributes {
        name("attributes", out);
        out.extend_from_slice(&attributes(fields(message, 6)));
    }
    for (key, map) in [("resource", resource), ("scope", scope)] {
        if map != [0x80] {
            name(key, out);
            out.extend_from_slice(map);
        }
    }
    out[head] = 0x80 | count;
}

impl<'a> Written<'a> {
    fn read(message: &'a [u8]) -> Self {
        let mut record = Self::default();
        for field in Reader::new(message).map_while(Result::ok) {
            match (field.number, field.value) {
                (1, Value::Fixed64(time)) => record.time = time,
                (2, Value::Varint(number)) => record.severity_number = number,
                (3, Value::Bytes(text)) => record.severity_text = text,
                (5, Value::Bytes(body)) => record.body = Some(Any::read(body)).filter(|body| *body != Any::Empty),
                (6, Value::Bytes(_)) => record.has_attributes = true,
                (8, Value::Fixed32(flags)) => record.flags = flags,
                (9, Value::Bytes(id)) => record.trace_id = id,
                (10, Value::Bytes(id)) => record.span_id = id,
                (11, Value::Fixed64(time)) => record.observed = time,
                (12, Value::Bytes(name)) => record.event_name = name,
                _ => {}
            }
        }
        record
    }
}

/// A map of attributes; of two that have one name both are there, and the last one counts.
fn attributes<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_map(messages.map(crate::otlp::value::entry), DEPTH_MAX, &mut out);
    out
}

/// A scope as a map.
fn scope(message: &[u8]) -> Vec<u8> {
    let text = |number| fields(message, number).last().filter(|text| !text.is_empty());
    let (name, version) = (text(1), text(2));
    let own = attributes(fields(message, 3));
    let texts = [("name", name), ("version", version)].into_iter().filter_map(|(key, text)| Some((key, text?)));
    let has_attributes = own != [0x80];
    let mut out = vec![0x80 | (texts.clone().count() as u8 + u8::from(has_attributes))];
    for (key, text) in texts {
        put_text(key.as_bytes(), &mut out);
        put_text(text, &mut out);
    }
    if has_attributes {
        put_text(b"attributes", &mut out);
        out.extend_from_slice(&own);
    }
    out
}

/// As Fluent's `EventTime`; nothing if it is not known.
fn put_time(nanoseconds: u64, out: &mut Vec<u8>) {
    let seconds = u32::try_from(nanoseconds / 1_000_000_000).unwrap_or(0);
    if seconds == 0 {
        return out.push(0xc0);
    }
    out.extend([0xd7, 0x00]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&((nanoseconds % 1_000_000_000) as u32).to_be_bytes());
}

fn put(value: Any<'_>, depth: usize, out: &mut Vec<u8>) {
    match value {
        Any::Empty => out.push(0xc0),
        Any::Text(text) => put_text(text, out),
        Any::Truth(truth) => out.push(if truth { 0xc3 } else { 0xc2 }),
        // Writing to a vector cannot fail.
        Any::Int(number) => {
            let _ = encode::write_sint(out, number);
        }
        Any::Double(number) => {
            out.push(0xcb);
            out.extend_from_slice(&number.to_bits().to_be_bytes());
        }
        Any::List(_) | Any::Map(_) if depth == 0 => put_text(b"nested too deeply", out),
        Any::List(list) => {
            let count = u32::try_from(values(list).count()).unwrap_or(u32::MAX);
            let _ = encode::write_array_len(out, count);
            values(list).for_each(|value| put(value, depth - 1, out));
        }
        Any::Map(map) => put_map(entries(map), depth - 1, out),
        Any::Bytes(bytes) => put_text(base64::encoded(bytes, true).as_bytes(), out),
    }
}

fn put_map<'a>(pairs: impl Iterator<Item = (&'a [u8], Any<'a>)>, depth: usize, out: &mut Vec<u8>) {
    let (mut inner, mut count) = (Vec::new(), 0);
    for (name, value) in pairs {
        put_text(name, &mut inner);
        put(value, depth, &mut inner);
        count += 1;
    }
    let _ = encode::write_map_len(out, count);
    out.extend_from_slice(&inner);
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    // A request has at most 64 MiB.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let _ = encode::write_str_len(out, length);
    out.extend_from_slice(text);
}

fn hex(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{json, walk::Signal};

    /// What becomes of a request in JSON: times, and records as text.
    fn records(json: &str) -> Vec<String> {
        let (mut request, mut packed) = (Vec::new(), Vec::new());
        json::transcode(Signal::Logs, json.as_bytes(), 1 << 20, &mut request).expect("a request");
        put_request(&request, &mut packed);
        let mut rest = &packed[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            seen.push(rmpv::decode::read_value(&mut rest).expect("msgpack").to_string());
        }
        // The reader of entries takes the same.
        let (mut reader, mut record) = (EntryReader::new(Entries::Packed(&packed)), Record::default());
        let mut read = 0;
        while reader.next_into(&mut record).expect("entries") {
            read += 1;
        }
        assert_eq!(read, seen.len());
        seen
    }

    #[test]
    fn a_record_has_all_that_was_said_and_nothing_else() {
        let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeLogs":[{"scope":{"name":"lib","version":"1"},"logRecords":[
              {"timeUnixNano":"1700000000123456789","severityNumber":9,"severityText":"INFO","body":{"stringValue":"hello \"x\""},
               "attributes":[{"key":"n","value":{"intValue":"5"}},{"key":"l","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":0.5}]}}}],
               "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1,"eventName":"e"},
              {"observedTimeUnixNano":"1700000001000000000","body":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AAE="}},{"key":"z","value":{}}]}}},
              {}]}]},{"scopeLogs":[{"logRecords":[{"body":{"intValue":"-3"}}]}]}]}"#;
        assert_eq!(
            records(text),
            [
                "[[0, [101, 83, 241, 0, 7, 91, 205, 21]], {\"body\": \"hello \\\"x\\\"\", \"severity_text\": \"INFO\", \
                 \"event_name\": \"e\", \"severity_number\": 9, \"flags\": 1, \"trace_id\": \"5b8efff798038103d269b633813fc60c\", \
                 \"span_id\": \"eee19b7ec3c1b174\", \"attributes\": {\"n\": 5, \"l\": [true, 0.5]}, \"resource\": \
                 {\"service.name\": \"shop\"}, \"scope\": {\"name\": \"lib\", \"version\": \"1\"}}]",
                "[[0, [101, 83, 241, 1, 0, 0, 0, 0]], {\"body\": {\"k\": \"AAE=\", \"z\": nil}, \"resource\": \
                 {\"service.name\": \"shop\"}, \"scope\": {\"name\": \"lib\", \"version\": \"1\"}}]",
                "[nil, {\"resource\": {\"service.name\": \"shop\"}, \"scope\": {\"name\": \"lib\", \"version\": \"1\"}}]",
                "[nil, {\"body\": -3}]",
            ]
        );
    }

    #[test]
    fn a_body_that_is_nested_too_deeply_ends_somewhere() {
        let deep = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(30), "]}}".repeat(30));
        let text = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{deep}}}]}}]}}]}}"#);
        let open = "[".repeat(DEPTH_MAX);
        assert_eq!(
            records(&text),
            [format!("[nil, {{\"body\": {open}\"nested too deeply\"{}}}]", "]".repeat(DEPTH_MAX))]
        );
    }

    proptest::proptest! {
        /// Whatever a record's bytes are, what is written of it can be read.
        #[test]
        fn property_no_bytes_do_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let (mut message, mut packed) = (Vec::new(), Vec::new());
            for number in [2, 2, 1] {
                let inner = if message.is_empty() { &bytes } else { &message };
                let mut outer = Vec::new();
                crate::otlp::wire::put_bytes(&mut outer, number, inner);
                message = outer;
            }
            put_request(&message, &mut packed);
            let (mut reader, mut record) = (EntryReader::new(Entries::Packed(&packed)), Record::default());
            proptest::prop_assert!(reader.next_into(&mut record).is_ok());
        }
    }
}
