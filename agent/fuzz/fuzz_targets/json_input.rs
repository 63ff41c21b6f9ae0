//! Any bytes on a connection that sends JSON, cut at any places.
//!
//! Promises: finds what `checks/json_input.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[expect(dead_code, reason = "only records are rendered here")]
#[path = "../checks/forward_frame.rs"]
mod forward_frame;
#[path = "../checks/json_input.rs"]
mod json_input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| json_input::check(bytes));
