//! Any bytes as the PING of a client, and as every message of the forward types.
//!
//! Promises: finds what `checks/handshake.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/handshake.rs"]
mod handshake;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| handshake::check(bytes));
