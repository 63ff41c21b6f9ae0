//! Fluent Forward: the protocol of Docker's `fluentd` log driver and of the fluent-logger libraries.
//!
//! Promises: reads as fast as the sender writes, closes no connection because it is busy, and ends a connection at its
//! first malformed message, keeping what came whole before.
//! Never: waits for a destination.

pub mod frame;
