//! Any bytes as a request whose spans become segments.
//!
//! Promises: finds what `checks/xray_segment.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/xray_segment.rs"]
#![expect(dead_code, reason = "the other target uses the other half")]
mod xray_segment;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xray_segment::check(bytes));
