//! What must hold of any bytes on a forward connection: found, parsed, read, rendered.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    deliver::body::Body,
    logs::{
        accessor::{Accessor, NAME_BYTES_MAX},
        forward::{
            frame::{Entries, EntryReader, Finder, Frame, Malformed},
            usual,
        },
        known::Workspace,
        msgpack,
        record::{Record, Value},
        render,
    },
    net::inflate::{gunzip, unzstd},
};

/// The largest message, here.
const BYTES_MAX: usize = 1 << 20;

/// Checks `bytes` as a stream, however it is cut, and as one message.
pub(crate) fn check(bytes: &[u8]) {
    let (whole, failed) = found(bytes, &[bytes.len().max(1)], BYTES_MAX);
    assert!(whole.iter().sum::<usize>() <= bytes.len());
    // Cuts that the input itself decides on, so that a run can be repeated.
    let seed = bytes.iter().fold(bytes.len(), |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    for cuts in [&[1][..], &[7, 1, 64, 3], &[seed % 61 + 1, seed / 61 % 251 + 1]] {
        assert_eq!(found(bytes, cuts, BYTES_MAX), (whole.clone(), failed), "cut as {cuts:?}");
    }
    for length in found(bytes, &[5], 100).0 {
        assert!(length <= 100);
    }
    let mut start = 0;
    for length in whole {
        let whole = &bytes[start..start + length];
        let mut finder = Finder::default();
        assert_eq!(finder.find(whole, BYTES_MAX), Ok(Some(length)));
        let found = Frame::parse_found(whole, finder.last_element());
        assert_eq!(parts(&Frame::parse(whole)), parts(&found), "with a walk and without");
        usual(&bytes[start..]);
        message(whole);
        start += length;
    }
    if found(bytes, &[bytes.len().max(1)], BYTES_MAX).0 != [bytes.len()] {
        message(bytes);
    }
}

/// If `bytes` begin with a message of the usual form: it is what the general way makes of it.
fn usual(bytes: &[u8]) {
    let (mut record, mut same) = (Record::default(), Record::default());
    let Some(usual) = usual::usual(bytes, &mut record) else { return };
    assert_eq!(Finder::default().find(bytes, usize::MAX), Ok(Some(usual.length)));
    let Ok(Frame::Message(message)) = Frame::parse(&bytes[..usual.length]) else { panic!("a message") };
    assert_eq!((usual.tag, message.option.chunk), (message.tag, None));
    let mut reader = EntryReader::new(message.entries);
    assert_eq!(reader.next_into(&mut same), Ok(true));
    assert_eq!(format!("{record:?}"), format!("{same:?}"));
    assert_eq!(reader.next_into(&mut same), Ok(false));
}

/// The lengths of the messages in `stream` if it comes in pieces of the sizes `cuts`, and whether it ends in an error.
fn found(stream: &[u8], cuts: &[usize], bytes_max: usize) -> (Vec<usize>, bool) {
    let mut finder = Finder::default();
    let (mut start, mut have, mut lengths) = (0, 0, Vec::new());
    for cut in cuts.iter().cycle() {
        have = (have + cut).min(stream.len());
        loop {
            match finder.find(&stream[start..have], bytes_max) {
                Ok(Some(length)) => {
                    assert!(length > 0 && length <= have - start);
                    lengths.push(length);
                    start += length;
                }
                Ok(None) => break,
                Err(_) => return (lengths, true),
            }
        }
        assert!(start == have || finder.needs() > have - start, "it must need more than it has");
        if have == stream.len() {
            return (lengths, false);
        }
    }
    unreachable!("cuts are repeated for ever")
}

/// What two frames have in common that are the same: tag, entries, their number, the id.
fn parts<'a>(frame: &Result<Frame<'a>, Malformed>) -> Option<([&'a [u8]; 3], usize)> {
    let Ok(Frame::Message(message)) = frame else { return None };
    let (count, bytes) = match message.entries {
        Entries::One(bytes) => (usize::MAX, bytes),
        Entries::Many(count, bytes) => (count, bytes),
        Entries::Packed(bytes) => (usize::MAX - 1, bytes),
    };
    Some(([message.tag, bytes, message.option.chunk.unwrap_or_default()], count))
}

/// Reads `bytes` as one message, whole or not, and renders its records.
fn message(bytes: &[u8]) {
    let Ok(Frame::Message(message)) = Frame::parse(bytes) else { return };
    let Entries::Packed(packed) = message.entries else { return entries(message.entries) };
    match message.option.compressed {
        Some(b"gzip") => gunzip(packed, BYTES_MAX).iter().for_each(|plain| entries(Entries::Packed(plain))),
        Some(b"zstd") => unzstd(packed, BYTES_MAX).iter().for_each(|plain| entries(Entries::Packed(plain))),
        _ => entries(message.entries),
    }
}

/// Reads and renders all of `entries`.
pub(crate) fn entries(entries: Entries<'_>) {
    let size = match entries {
        Entries::One(bytes) | Entries::Many(_, bytes) | Entries::Packed(bytes) => bytes.len(),
    };
    let mut reader = EntryReader::new(entries);
    let (mut record, mut workspace, mut rendered) = (Record::default(), Workspace::default(), 0);
    let (mut plain, mut inside, mut beginning) = (Body::default(), Body::default(), Body::default());
    while let Ok(true) = reader.next_into(&mut record) {
        assert!(record.time.nanos < 1_000_000_000);
        plain.truncate(0);
        render::object(&mut plain, &record, &mut workspace);
        serde_json::from_slice::<serde::de::IgnoredAny>(plain.as_slice()).expect("JSON");
        inside.truncate(0);
        inside.put(b"\"");
        let added = render::object_in_string(&mut inside, &record, &mut workspace);
        inside.put(b"\"");
        let decoded: String = serde_json::from_slice(inside.as_slice()).expect("a JSON string");
        assert_eq!(decoded.as_bytes(), plain.as_slice(), "the same, plain and in a string");
        assert_eq!(inside.len(), plain.len() + added + 2, "what the escaping added");
        rendered += inside.len();
        for bytes_max in [40, usize::MAX] {
            beginning.truncate(0);
            render::object_beginning(&mut beginning, &record, &mut workspace, bytes_max);
            // A value that is nested too deeply is `null`, unless the beginning ends before that shows.
            if bytes_max == usize::MAX || !too_deep(&record) {
                let same = plain.len().min(bytes_max);
                assert_eq!(
                    beginning.as_slice()[..same],
                    plain.as_slice()[..same],
                    "the beginning is that of the whole"
                );
                assert_eq!(beginning.len() > bytes_max, plain.len() > bytes_max, "and as long as asked for");
            }
        }
        for accessor in ["$log", "$a['b'][1]['c']", "$k['x']"] {
            let accessor = Accessor::parse(accessor).expect("names a field");
            let name = accessor.text("tag", &record).unwrap_or_default().len();
            assert!(name <= NAME_BYTES_MAX, "a name of {name} bytes");
        }
    }
    // A key and a value of a byte each, both `false` or empty text, become up to 15 bytes.
    assert!(rendered <= 64 + 16 * size, "{rendered} bytes were made of {size}");
}

fn too_deep(record: &Record<'_>) -> bool {
    let fails = |value| matches!(value, Value::Raw(raw) if msgpack::render(&mut Body::default(), raw).is_err());
    record.pairs.iter().any(|pair| fails(pair.value))
}
