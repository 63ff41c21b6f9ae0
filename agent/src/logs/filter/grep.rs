//! Keeps or drops records by what a field holds.
//!
//! Promises: Fluent Bit's `grep`, rule by rule.
//! Never: changes a record.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::logs::pattern::Pattern;

/// Settings of a `grep` filter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The tags whose records are looked at. Default: all of them.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// How the rules work together.
    pub logical_op: LogicalOp,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Keep the record only if the field matches.
    Regex {
        /// The field: a name, or `$name['sub']`.
        key: String,
        /// The regular expression, in Ruby's dialect.
        regex: String,
    },
    /// Drop the record if the field matches.
    Exclude {
        /// The field: a name, or `$name['sub']`.
        key: String,
        /// The regular expression, in Ruby's dialect.
        regex: String,
    },
}

/// How the rules of one `grep` work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogicalOp {
    /// In order: a `regex` that does not match drops the record, one that matches keeps it at once; an `exclude` that
    /// matches drops it.
    #[default]
    #[serde(rename = "legacy")]
    Legacy,
    /// All rules must match.
    And,
    /// One rule must match.
    Or,
}
