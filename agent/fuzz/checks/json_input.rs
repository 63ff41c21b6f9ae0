//! What must hold of any bytes on a connection that sends JSON.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::logs::{
    forward::frame::Entries,
    json_input::{Decoder, transcode},
};

/// The largest object and the deepest nesting, here.
const OBJECT_BYTES_MAX: usize = 2_048;
const DEPTH_MAX: usize = 64;

/// Checks `bytes` as a stream, however it is cut, and as one object.
pub(crate) fn check(bytes: &[u8]) {
    let whole = outcomes(bytes, bytes.len().max(1));
    for size in [1, 3, 17, 250] {
        assert_eq!(outcomes(bytes, size), whole, "in pieces of {size}");
    }
    for record in whole.iter().flatten() {
        let mut entry = vec![0x92, 0xc0];
        entry.extend_from_slice(record);
        super::forward_frame::entries(Entries::Packed(&entry));
    }
    one(bytes);
}

fn outcomes(stream: &[u8], size: usize) -> Vec<Result<Vec<u8>, &'static str>> {
    let mut decoder = Decoder::new(OBJECT_BYTES_MAX, DEPTH_MAX);
    let mut outcomes = Vec::new();
    for piece in stream.chunks(size) {
        decoder.feed(piece, |outcome| outcomes.push(outcome.map(<[u8]>::to_vec).map_err(|error| error.label())));
        assert!(decoder.pending_bytes() <= OBJECT_BYTES_MAX);
    }
    outcomes.extend(decoder.finish().err().map(|error| Err(error.label())));
    outcomes
}

/// What is taken is one msgpack map and nothing else; what serde_json takes is taken.
fn one(bytes: &[u8]) {
    let mut map = Vec::new();
    let taken = transcode(bytes, DEPTH_MAX, &mut map).is_ok();
    if taken {
        let value: serde::de::IgnoredAny = rmp_serde::from_slice(&map).expect("msgpack");
        let _ = value;
        assert!(map.len() <= 5 * bytes.len() + 8, "a digit and a comma become at most nine bytes");
    } else {
        assert!(map.is_empty(), "an error leaves nothing behind");
    }
    let container = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    let deep = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() > DEPTH_MAX;
    if container && !deep && serde_json::from_slice::<serde_json::Value>(bytes).is_ok() {
        assert!(taken, "serde_json takes it");
    }
}
