//! Any secret, in any format, and any template.
//!
//! Promises: finds what `checks/secret_files.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/secret_files.rs"]
mod secret_files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secret_files::check(bytes));
