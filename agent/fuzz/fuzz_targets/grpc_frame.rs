//! Any bytes as a body of gRPC.
//!
//! Promises: finds what `checks/grpc_frame.rs` says must not be.
//! Never: does I/O.

#![no_main]

#[path = "../checks/grpc_frame.rs"]
mod grpc_frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| grpc_frame::check(bytes));
