//! Any bytes as an exposition of Prometheus.
//!
//! Promises: finds what `checks/exposition.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/exposition.rs"]
mod exposition;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exposition::check(bytes));
