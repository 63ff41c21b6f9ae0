//! What must hold of any bytes as the body of an OTLP request.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::otlp::{
    walk::{Signal, Splitter, count},
    wire::Reader,
};

/// Checks that a body is counted or refused, that fields are pieces of it, and that cutting it loses nothing.
pub(crate) fn check(bytes: &[u8]) {
    let read: usize = Reader::new(bytes).map_while(Result::ok).map(|field| field.raw.len()).sum();
    assert!(read <= bytes.len());
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        let Ok(items) = count(signal, bytes) else { continue };
        assert_eq!(read, bytes.len(), "what is counted is whole");
        assert_eq!(count(signal, &bytes.repeat(2)), Ok(2 * items));
        for (bytes_max, items_max) in [(64, 1), (200, 3), (1 << 20, 1_000)] {
            let mut found = 0;
            let splitter = Splitter { signal, bytes_max, items_max };
            splitter
                .split(bytes, |piece| {
                    assert_eq!(count(signal, piece.bytes), Ok(piece.items));
                    found += piece.items;
                })
                .expect("what was counted can be cut");
            assert_eq!(found, items);
        }
    }
}
