//! Any bytes as a document of CloudWatch's embedded metric format.
//!
//! Promises: finds what `checks/emf.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/emf.rs"]
mod emf;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emf::check(bytes));
