//! Any bytes on a forward connection, parts of which are secrets.
//!
//! Promises: finds what `checks/masking.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/masking.rs"]
mod masking;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masking::check(bytes));
