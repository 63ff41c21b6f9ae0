//! Any bytes as documents of the task metadata endpoint.
//!
//! Promises: finds what `checks/task_stats.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/task_stats.rs"]
mod task_stats;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| task_stats::check(bytes));
