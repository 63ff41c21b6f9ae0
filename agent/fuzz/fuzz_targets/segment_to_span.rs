//! Any bytes as a document of X-Ray that becomes spans.
//!
//! Promises: finds what `checks/segment_to_span.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/segment_to_span.rs"]
mod segment_to_span;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| segment_to_span::check(bytes));
