//! What must hold of any datagram.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    deliver::{body::Body, escape},
    traces::header::document,
};

/// Checks that a document is what follows the first newline, that its header means the same with a blank before it, and that it
/// becomes a string of JSON.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(found) = document(bytes) else { return };
    let end = bytes.iter().position(|&byte| byte == b'\n').expect("there is a header");
    assert_eq!(found, &bytes[end + 1..]);
    let with_blank = [b" ", bytes].concat();
    // One more byte may be one too many.
    assert!(end >= 1_024 || document(&with_blank) == Ok(found));
    let mut body = Body::default();
    body.put(b"\"");
    escape::once(&mut body, found);
    body.put(b"\"");
    let text: String = serde_json::from_slice(body.as_slice()).expect("a string of JSON");
    assert_eq!(text, String::from_utf8_lossy(found));
}
