//! The logs job: records come in by Fluent Forward, pass filters, and go to destinations.
//!
//! Promises: reading never waits for a destination; a record is parsed once and encoded once.
//! Never: queues or retries; `deliver` does.

pub mod accessor;
mod counted;
pub mod emf_input;
pub mod filter;
pub mod forward;
pub mod job;
pub mod json_input;
pub mod known;
pub mod mask;
pub mod msgpack;
pub mod otlp_input;
pub mod out;
pub mod pattern;
pub mod record;
pub mod render;
pub mod route;
pub mod settings;
