//! OTLP: what OpenTelemetry's clients send, as bytes.
//!
//! ```text
//! 4317, 4318 ─ serve (connections) ─ export (a request) ─ intake (its body) ─ walk (what is in it) ─▶ taker: a job's batch
//!                                                                            a job's batch ─▶ out: any backend of OTLP
//! ```
//!
//! A body stays the bytes that came. [`walk`] finds out what is in it and where it may be cut; nothing is decoded into types,
//! because bodies of requests may be joined by laying them one behind the other, and what leaves is what came.
//!
//! Promises: whatever the bytes are, they are taken or refused with a reason; what is taken can be joined with others.
//! Never: keeps a decoded message; knows who takes what.

pub(crate) mod base64;
#[cfg(test)]
pub(crate) mod by_hand;
pub mod exemplar;
mod exponential;
mod export;
pub mod frame;
pub mod input;
mod intake;
pub mod json;
pub mod metrics;
pub mod out;
pub mod own;
mod paths;
mod reply;
mod schema;
pub mod serve;
mod status;
pub mod taker;
pub mod task;
pub mod value;
pub mod walk;
pub mod wire;
