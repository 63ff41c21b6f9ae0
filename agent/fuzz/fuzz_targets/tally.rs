//! Any bytes as lines of a log.
//!
//! Promises: finds what `checks/tally.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/tally.rs"]
mod tally;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tally::check(bytes));
