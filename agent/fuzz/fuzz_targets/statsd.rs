//! Any bytes as a packet of StatsD.
//!
//! Promises: finds what `checks/statsd.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/statsd.rs"]
mod statsd;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| statsd::check(bytes));
