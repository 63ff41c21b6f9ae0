//! What must hold of any bytes as a request of OTLP in JSON.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::otlp::{
    json::{NotJson, transcode},
    walk::{Signal, count},
};

/// Checks that what is taken is JSON, becomes a good request of the size that was allowed, and that what is refused leaves nothing.
pub(crate) fn check(bytes: &[u8]) {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        for bytes_max in [16, 1 << 20] {
            let mut out = b"before".to_vec();
            match transcode(signal, bytes, bytes_max, &mut out) {
                Ok(()) => {
                    assert!(is_json);
                    // Headers of the messages that are open when the limit is looked at.
                    assert!(out.len() <= 6 + bytes_max + 1_024);
                    count(signal, &out[6..]).expect("a good request");
                }
                Err(error) => {
                    assert_eq!(out, b"before");
                    assert!(error != NotJson::TooLarge || bytes_max == 16 || bytes.len() > 1 << 17);
                }
            }
        }
    }
}
