//! The machine's floor for forward -> CloudWatch Logs: the same work with nothing around it, measured in the same run.
//!
//! Promises: CPU nanoseconds per record of each step no agent can leave out: reading the socket (32 records a write),
//! walking the msgpack, escaping the whole record twice in one pass into the request's body, SHA-256 of the body, and
//! writing it to a loopback connection. One thread, the bench's own records.
//! Never: filters, routes, checks limits or UTF-8, waits, or speaks HTTP: an agent must, so it stays above.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use aws_lc_rs::digest;

use super::{
    process::thread_cpu,
    records::{Mark, Pool},
    words,
};

/// Bytes of one body.
const BODY_BYTES: usize = 1_048_576;
/// CPU time that each step is repeated for. The kernel's clock is exact to some microseconds here.
const STEP: Duration = Duration::from_millis(120);
/// Records in a write and in a read.
const BLOCK: usize = 32;
/// What `record_modifier` adds in the bench's configuration, escaped twice.
pub const FIXED: [(&str, &str); 3] = [
    ("ecs_cluster", "mycluster"),
    ("ecs_task_arn", "arn:aws:ecs:us-east-1:123456789012:task/mycluster/0123456789abcdef0123456789abcdef"),
    ("ecs_task_definition", "web:7"),
];

/// CPU nanoseconds per record.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Floor {
    /// recv from the unix socket.
    pub read: f64,
    /// Finding every value of the record.
    pub walk: f64,
    /// JSON inside JSON.
    pub escape: f64,
    /// SHA-256 of the body.
    pub hash: f64,
    /// send to the service over loopback TCP.
    pub write: f64,
    /// The sum.
    pub total: f64,
}

impl Floor {
    /// Measures all steps; takes a bit more than half a second.
    pub fn measure() -> io::Result<Self> {
        let pool = Pool::default();
        let records: Vec<_> = pool.each().collect();
        let walk = step(|| records.iter().map(|record| u64::from(black_box(walk(record)) > 0)).sum());
        let fixed = fixed();
        let mut body = Vec::with_capacity(2 * BODY_BYTES);
        let both = step(|| {
            body.clear();
            let mut fitted = 0;
            for record in records.iter().cycle() {
                event(record, &fixed, &mut body);
                fitted += 1;
                if body.len() > BODY_BYTES {
                    break;
                }
            }
            black_box(&body);
            fitted
        });
        let body_records = body.len() as f64 / (body_bytes(&records) / records.len() as f64);
        let per_body = |cost: f64| cost / body_records;
        let hash = per_body(step(|| {
            black_box(digest::digest(&digest::SHA256, &body));
            1
        }));
        let write = per_body(write_cost(&body)?);
        let read = read_cost()?;
        let escape = (both - walk).max(0.0);
        let total = read + walk + escape + hash + write;
        let [read, walk, escape, hash, write, total] =
            [read, walk, escape, hash, write, total].map(|cost| (cost * 10.0).round() / 10.0);
        Ok(Self { read, walk, escape, hash, write, total })
    }
}

fn body_bytes(records: &[&[u8]]) -> f64 {
    let (mut body, fixed) = (Vec::new(), fixed());
    for record in records {
        event(record, &fixed, &mut body);
    }
    body.len() as f64
}

/// Repeats `work`, which says how many units it did, and gives the CPU nanoseconds of one.
pub(super) fn step(mut work: impl FnMut() -> u64) -> f64 {
    work();
    let (begun, mut units) = (thread_cpu(), 0);
    loop {
        for _ in 0..8 {
            units += work();
        }
        let used = thread_cpu() - begun;
        if used > STEP {
            return used.as_nanos() as f64 / units as f64;
        }
    }
}

fn read_cost() -> io::Result<f64> {
    let (mut writer, mut reader) = UnixStream::pair()?;
    let sender = thread::spawn(move || {
        let mut pool = Pool::default();
        // Ends when the reader is dropped.
        while writer.write_all(pool.next(BLOCK, Mark { sequence: 0, sent_us: 0 }, 0)).is_ok() {}
    });
    let record_bytes =
        Pool::default().each().map(<[u8]>::len).sum::<usize>() as f64 / Pool::default().each().count() as f64;
    let mut buffer = vec![0; 128 * 1024];
    let mut broken = None;
    let cost = step(|| match reader.read(&mut buffer) {
        Ok(count) => count as u64,
        Err(error) => {
            broken = Some(error);
            BODY_BYTES as u64
        }
    });
    drop(reader);
    let _ = sender.join();
    broken.map_or(Ok(cost * record_bytes), Err)
}

pub(super) fn write_cost(body: &[u8]) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while matches!(reader.read(&mut buffer), Ok(1..)) {}
    });
    let mut broken = None;
    let cost = step(|| {
        if let Err(error) = writer.write_all(body) {
            broken = Some(error);
        }
        1
    });
    drop(writer);
    let _ = receiver.join();
    broken.map_or(Ok(cost), Err)
}

/// Visits every value of a record of the pool and gives their number.
fn walk(record: &[u8]) -> usize {
    let mut found = 0;
    fields(record, |key, value| found += key.len() + value.len());
    found
}

/// Calls `each` with the fields of a Message-mode record as the pool makes them.
fn fields<'a>(record: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let (_tag, rest) = string(record.get(1..)?)?;
    let (&map, mut rest) = rest.get(10..)?.split_first()?;
    for _ in 0..map & 15 {
        let (key, after) = string(rest)?;
        let (value, after) = string(after)?;
        each(key, value);
        rest = after;
    }
    Some(())
}

fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match *text.first()? {
        short @ 0xa0..=0xbf => text[1..].split_at_checked(usize::from(short & 31)),
        0xd9 => text[2..].split_at_checked(usize::from(text[1])),
        0xda => text[3..].split_at_checked(usize::from(text[1]) << 8 | usize::from(text[2])),
        _ => None,
    }
}

/// Appends the record as one event: `{"timestamp":T,"message":"{...}"},` with the inner object escaped. `fixed` is
/// what [`fixed`] gave: what never changes needs no work per record.
fn event(record: &[u8], fixed: &[u8], body: &mut Vec<u8>) {
    body.extend_from_slice(br#"{"timestamp":1700000000000,"message":"{"#);
    fields(record, |key, value| pair(key, value, body));
    body.extend_from_slice(fixed);
}

/// The fields that every record gets, and the end of the event.
fn fixed() -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in FIXED {
        pair(key.as_bytes(), value.as_bytes(), &mut out);
    }
    out.pop();
    out.extend_from_slice(br#"}"},"#);
    out
}

fn pair(key: &[u8], value: &[u8], body: &mut Vec<u8>) {
    body.extend_from_slice(br#"\""#);
    escape_twice(key, body);
    body.extend_from_slice(br#"\":\""#);
    escape_twice(value, body);
    body.extend_from_slice(br#"\","#);
}

/// Appends `text` as it stands in a JSON string inside a JSON string.
fn escape_twice(text: &[u8], out: &mut Vec<u8>) {
    let (mut at, mut clean_from) = (0, 0);
    while at < text.len() {
        let (word, length) = match words::word(&text[at..]) {
            Some(word) => (word, 8),
            None => (padded(&text[at..]), text.len() - at),
        };
        let mut mask = words::equal(word, b'"') | words::equal(word, b'\\') | words::control(word);
        while mask != 0 {
            let place = at + words::first(mask);
            mask &= mask - 1;
            out.extend_from_slice(&text[clean_from..place]);
            escape_byte(text[place], out);
            clean_from = place + 1;
        }
        at += length;
    }
    out.extend_from_slice(&text[clean_from..]);
}

/// Up to seven bytes and then blanks, which need no escape.
fn padded(text: &[u8]) -> u64 {
    let mut bytes = [b' '; 8];
    bytes[..text.len()].copy_from_slice(text);
    u64::from_le_bytes(bytes)
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(br#"\\\""#),
        b'\\' => out.extend_from_slice(br"\\\\"),
        b'\n' => out.extend_from_slice(br"\\n"),
        b'\r' => out.extend_from_slice(br"\\r"),
        b'\t' => out.extend_from_slice(br"\\t"),
        control => {
            out.extend_from_slice(br"\\u00");
            out.extend([control >> 4, control & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The floor must do the whole work, or the ratio to it would be a lie.
    #[test]
    fn the_floor_encodes_records_that_read_back_as_they_were() {
        let pool = Pool::default();
        for record in pool.each() {
            let (mut body, fixed) = (Vec::new(), fixed());
            event(record, &fixed, &mut body);
            assert_eq!(body.pop(), Some(b','));
            let outer: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let inner: serde_json::Value = serde_json::from_str(outer["message"].as_str().unwrap()).unwrap();
            fields(record, |key, value| {
                let key = std::str::from_utf8(key).unwrap();
                assert_eq!(inner[key].as_str().unwrap().as_bytes(), value);
            })
            .unwrap();
            assert_eq!(inner["ecs_task_definition"], "web:7");
            assert_eq!(inner.as_object().unwrap().len(), 7);
        }
    }

    #[test]
    fn every_byte_survives_two_escapes() {
        for byte in (0..0x80_u8).chain([0x7f]) {
            for length in [1, 8, 9, 20] {
                let text = vec![byte; length];
                let mut out = br#""\""#.to_vec();
                escape_twice(&text, &mut out);
                out.extend(br#"\"""#);
                let inner: String = serde_json::from_slice(&out).unwrap();
                let back: String = serde_json::from_str(&inner).unwrap();
                assert_eq!(back.as_bytes(), text);
            }
        }
    }
}
