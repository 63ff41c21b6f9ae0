//! Any message in the queue of hints.
//!
//! Promises: finds what `checks/secret_event.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/secret_event.rs"]
mod secret_event;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secret_event::check(bytes));
