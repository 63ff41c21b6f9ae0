//! Writes records to files in a folder, one JSON line a record, one file a tag.
//!
//! Promises: a line is whole; files are bounded in size.
//! Never: writes outside its folder, whatever the tag says.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::ByteSize;

/// Settings of the `file` destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder. Created if it is missing.
    pub folder: PathBuf,
    /// A file that has grown to this size is renamed to `.1`, in place of the one before. Default 64 MiB.
    #[serde(default)]
    pub file_bytes_max: Option<ByteSize>,
}
