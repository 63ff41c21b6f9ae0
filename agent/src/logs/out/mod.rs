//! The destinations of log records, one file or folder each.
//!
//! Promises: adding a destination is a new file here and one arm in `Output`.
//! Never: queues, retries or counts; `deliver` does.

pub mod cloudwatch;
pub mod file;

use schemars::JsonSchema;
use serde::Deserialize;

/// How often a batch is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryLimit {
    /// As long as memory lasts and the service would still take it.
    #[default]
    Unlimited,
    /// Never.
    None,
    /// At least so often, and at least for the time that `docs/decisions/0005-retry-limit.md` gives reasons for.
    AtLeast(u32),
}
