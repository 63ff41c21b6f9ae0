//! Adds and removes fields.
//!
//! Promises: Fluent Bit's `record_modifier`; a field that is added stands after the record's own and wins over one of
//! the same name.
//! Never: looks into a value.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::logs::pattern::Pattern;

/// Settings of a `record_modifier` filter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The tags whose records are changed. Default: all of them.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// Fields to add: name and text.
    pub records: Vec<(String, String)>,
    /// Fields to take out.
    pub remove_keys: Vec<String>,
    /// If not empty, the only fields to keep.
    pub allowlist_keys: Vec<String>,
    /// A field to add with a new UUID in each record.
    pub uuid_key: Option<String>,
}
