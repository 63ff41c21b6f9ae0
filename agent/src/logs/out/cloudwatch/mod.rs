//! Puts log records into Amazon CloudWatch Logs.
//!
//! Promises: see `send.rs`.
//! Never: creates what the user did not ask for.

mod settings;

pub use settings::{Config, GroupClass, RETENTION_DAYS, Templates};
