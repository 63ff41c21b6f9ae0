//! Any bytes as a datagram of the X-Ray daemon's protocol.
//!
//! Promises: finds what `checks/xray_datagram.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/xray_datagram.rs"]
mod xray_datagram;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xray_datagram::check(bytes));
