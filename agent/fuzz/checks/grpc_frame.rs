//! What must hold of any bytes as a body of gRPC.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::otlp::frame::{HEAD, NoFrame, declared, head, message};

/// Checks that a body that is taken is one frame, to the byte, and becomes the same again; and that what is declared does not
/// change while more of it comes.
pub(crate) fn check(bytes: &[u8]) {
    match message(bytes) {
        Ok(found) => {
            let head = head(found.is_compressed, found.bytes.len()).expect("no longer than a frame is");
            assert_eq!([&head[..], found.bytes].concat(), bytes);
            let longer = [bytes, &[0]].concat();
            assert_eq!(message(&longer), Err(NoFrame::Length));
        }
        Err(NoFrame::Short) => assert!(bytes.len() < HEAD),
        Err(NoFrame::Length) => assert_ne!(declared(bytes), Some(bytes.len())),
        Err(NoFrame::Flag) => assert!(bytes[0] > 1),
    }
    for end in 0..bytes.len().min(2 * HEAD) {
        let known = declared(&bytes[..end]);
        assert_eq!(known, if end < HEAD { None } else { declared(bytes) });
    }
    // Whatever the bytes are, as a message they come back.
    for is_compressed in [false, true] {
        let frame = [&head(is_compressed, bytes.len()).expect("short"), bytes].concat();
        let found = message(&frame).expect("a frame");
        assert_eq!((found.is_compressed, found.bytes), (is_compressed, bytes));
    }
}
