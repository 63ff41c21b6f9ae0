//! OTLP from outside: requests as SDKs write them, a client of both protocols, and a backend with faults on demand.
//!
//! Promises: uses none of the agent's code: spans are written and read by a writer and a reader of its own.
//! Never: uses a fixed port, or a network other than loopback.

pub mod backend;
pub mod client;
pub mod grpc;
pub mod span;

pub use backend::{Act, Backend};
pub use client::{Answer, Client};
pub use span::{Span, request, spans};
