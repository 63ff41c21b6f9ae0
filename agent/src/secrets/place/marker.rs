//! What a generation says of itself: `.generation`.
//!
//! ```json
//! {"format":1,"generation":5,"versions":{"db":["v1","v2"]},"files":["db.json"],"unfinished":false}
//! ```
//!
//! Promises: names and version ids only; what a newer version wrote, or nobody can read, is no reason to fail.
//! Never: holds a value, a length or a hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::paths;

/// Its file.
pub(super) const NAME: &str = ".generation";
/// How it is written.
const FORMAT: u32 = 1;

/// What the newest generation on the volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Its number. It only grows.
    pub number: u64,
    /// The version ids that its files show, for each secret by its name. Empty if that is not known.
    pub versions: BTreeMap<String, Vec<String>>,
}

/// A marker as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    format: u32,
    #[serde(rename = "generation")]
    pub(super) number: u64,
    pub(super) versions: BTreeMap<String, Vec<String>>,
    pub(super) files: Vec<String>,
    /// Files are being replaced one by one, with the plain layout: some are of this generation, some of the next.
    pub(super) unfinished: bool,
}

impl Stored {
    pub(super) fn new(number: u64, versions: &BTreeMap<String, Vec<String>>, files: Vec<String>) -> Self {
        Self { format: FORMAT, number, versions: versions.clone(), files, unfinished: false }
    }

    /// Reads it. What is not in our format has no versions that we could trust.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut stored: Self = serde_json::from_slice(bytes).unwrap_or_default();
        // Whoever wrote into the marker must not make us reach out of the folder.
        stored.files.retain(|path| paths::check(path).is_ok());
        if stored.format != FORMAT || stored.unfinished {
            stored.versions.clear();
        }
        stored
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("names and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// For those who ask what is there.
    pub(super) fn marker(&self) -> Marker {
        Marker { number: self.number, versions: self.versions.clone() }
    }
}
