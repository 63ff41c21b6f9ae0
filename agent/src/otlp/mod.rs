//! OTLP: what OpenTelemetry's clients send, as bytes.
//!
//! A body stays the bytes that came. [`walk`] finds out what is in it and where it may be cut; nothing is decoded into types,
//! because bodies of requests may be joined by laying them one behind the other, and what leaves is what came.
//!
//! Promises: whatever the bytes are, they are taken or refused with a reason; what is taken can be joined with others.
//! Never: keeps a decoded message.

pub mod json;
mod schema;
pub mod walk;
pub mod wire;
