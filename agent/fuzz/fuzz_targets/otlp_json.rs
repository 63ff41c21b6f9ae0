//! Any bytes as a request of OTLP in JSON.
//!
//! Promises: finds what `checks/otlp_json.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/otlp_json.rs"]
mod otlp_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otlp_json::check(bytes));
