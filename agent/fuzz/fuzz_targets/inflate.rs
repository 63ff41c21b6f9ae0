//! Any bytes as gzip and as zstd.
//!
//! Promises: finds what `checks/inflate.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/inflate.rs"]
mod inflate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inflate::check(bytes));
