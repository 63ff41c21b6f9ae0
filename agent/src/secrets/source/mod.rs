//! Where secrets come from.
//!
//! Promises: one request for each call, and one kind of failure for each answer; a fault names the secret and what to do,
//! never what is in it.
//! Never: caches, retries or decides when to ask: `watch` does.

use std::{collections::BTreeMap, future::Future};

use super::value::Version;

/// The stage that applications use.
pub const CURRENT: &str = "AWSCURRENT";
/// The stage of the version before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// The stage of a version that a rotation is making.
pub const PENDING: &str = "AWSPENDING";

/// What can be known of a secret without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its ARN, or its name where there is none.
    pub id: String,
    /// The versions that have a stage, and their stages.
    pub versions: BTreeMap<String, Vec<String>>,
    /// When it will rotate next, in seconds since 1970.
    pub next_rotation: Option<i64>,
    /// For how long a rotation may last from then on, in seconds.
    pub rotation_window: Option<u64>,
}

impl Seen {
    /// The version with this stage.
    pub fn version_of(&self, stage: &str) -> Option<&str> {
        let has = |(_, stages): &(&String, &Vec<String>)| stages.iter().any(|other| other == stage);
        self.versions.iter().find(has).map(|(id, _)| id.as_str())
    }
}

/// Which version is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Id(String),
    /// The one that has this stage, or this label.
    Stage(String),
}

/// Why a secret could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SourceFault {
    /// What that means for what to do next.
    pub kind: SourceFaultKind,
    /// For a person: what was asked for, what was answered, and what to do. No value.
    pub what: String,
    /// The service's own code, `ResourceNotFoundException` for example, if it gave one.
    pub code: Option<String>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
}

/// What a fault means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFaultKind {
    /// It may be there in a moment: not reached, 5xx, no credentials yet.
    Transient,
    /// The service asked to slow down. HTTP 400 or 429.
    Throttled,
    /// We may not read it, or not use its key.
    Denied,
    /// It is not there, or not any more, or has no such version.
    Missing,
    /// What was asked for cannot be, or the answer makes no sense.
    Invalid,
}

/// One secret's source.
pub trait Source: Send + Sync + 'static {
    /// Which versions there are. Where the service cannot say that without the value, it is fetched and kept for the next
    /// [`fetch`](Self::fetch).
    fn look(&self) -> impl Future<Output = Result<Seen, SourceFault>> + Send;

    /// One version with its value.
    fn fetch(&self, wanted: &Wanted) -> impl Future<Output = Result<Version, SourceFault>> + Send;
}
