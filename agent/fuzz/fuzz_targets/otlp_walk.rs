//! Any bytes as the body of an OTLP request.
//!
//! Promises: finds what `checks/otlp_walk.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/otlp_walk.rs"]
mod otlp_walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| otlp_walk::check(bytes));
