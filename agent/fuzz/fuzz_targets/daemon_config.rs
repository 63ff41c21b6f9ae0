//! Any bytes as the X-Ray daemon's `cfg.yaml`.
//!
//! Promises: finds what `checks/daemon_config.rs` says must not be.
//! Never: touches the disk.

#![no_main]

#[path = "../checks/daemon_config.rs"]
mod daemon_config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| daemon_config::check(bytes));
