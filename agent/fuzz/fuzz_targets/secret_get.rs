//! Any bytes that a connection of the local API begins with.
//!
//! Promises: finds what `checks/secret_get.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/secret_get.rs"]
mod secret_get;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secret_get::check(bytes));
