//! Any bytes on a forward connection, cut at any places.
//!
//! Promises: finds what `checks/forward_frame.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/forward_frame.rs"]
mod forward_frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forward_frame::check(bytes));
