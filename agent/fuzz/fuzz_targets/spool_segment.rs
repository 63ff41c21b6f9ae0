//! Any bytes as a segment of a spool, and any damage to a good one.
//!
//! Promises: finds what `checks/spool_segment.rs` says must not be.
//! Never: touches the disk.

#![no_main]

#[path = "../checks/spool_segment.rs"]
mod spool_segment;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spool_segment::check(bytes));
