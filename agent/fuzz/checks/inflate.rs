//! What must hold of any bytes that call themselves compressed.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use std::io::Read;

use pillion::net::inflate::{gunzip, unzstd};

/// Checks `bytes` with caps that fit them and caps that do not.
pub(crate) fn check(bytes: &[u8]) {
    if bytes.is_empty() {
        // Nothing is nothing, says `inflate`; an error, says the crate.
        return;
    }
    for max in [0, 1, 1_000, 300_000] {
        if let Ok(plain) = gunzip(bytes, max) {
            assert!(plain.len() <= max);
            let mut other = Vec::new();
            flate2::bufread::MultiGzDecoder::new(bytes).read_to_end(&mut other).expect("the crate's own reader agrees");
            assert_eq!(plain, other);
        }
        if let Ok(plain) = unzstd(bytes, max) {
            assert!(plain.len() <= max);
            assert_eq!(unzstd(bytes, plain.len()).expect("the exact cap"), plain);
        }
    }
}
