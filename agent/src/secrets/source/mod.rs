//! Where secrets come from.
//!
//! Promises: one request for each call, and one kind of failure for each answer; a fault names the secret and what to do,
//! never what is in it.
//! Never: caches, retries or decides when to ask: `watch` does.

mod any;
mod batch;
mod by_path;
mod file;
mod manager;
mod parameter;
mod store;

use std::{collections::BTreeMap, future::Future};

pub(in crate::secrets) use any::region_of;
pub use any::{AnySource, SourceError};
pub use batch::{Batches, requests};
pub use by_path::ByPath;
pub use file::File;
pub use manager::Manager;
pub use parameter::Parameter;

use super::value::Version;
use crate::aws::{Fault, FaultKind};

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

    /// Ends with what a look of another secret has told of this one. Most sources know of nothing but their own.
    fn overheard(&self) -> impl Future<Output = Result<Seen, SourceFault>> + Send {
        std::future::pending()
    }

    /// A number in 0.0..1.0 that spreads the next wait. Secrets that are looked at together have the same.
    fn random(&self) -> f64 {
        fastrand::f64()
    }
}

/// Which version of a secret is the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The one that has this stage, whichever that is.
    Stage(String),
    /// Always this one. It never changes.
    Version(String),
}

impl SourceFault {
    /// What a fault of AWS means for `secret`, after `asked` of it: an operation, with the permission's name.
    fn of_aws(secret: &str, asked: &str, fault: &Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::Throttled => SourceFaultKind::Throttled,
            FaultKind::Denied => SourceFaultKind::Denied,
            FaultKind::NotFound => SourceFaultKind::Missing,
            // Secrets Manager says so of a secret that was deleted, or is about to be.
            FaultKind::Invalid if fault.message.contains("delet") => SourceFaultKind::Missing,
            FaultKind::Invalid | FaultKind::TooLarge | FaultKind::AlreadyExists => SourceFaultKind::Invalid,
            FaultKind::Transient | FaultKind::Unreachable | FaultKind::Ambiguous | FaultKind::Credentials => {
                SourceFaultKind::Transient
            }
        };
        let hint = match kind {
            SourceFaultKind::Denied => {
                format!("; allow the task role `{asked}` on it, and `kms:Decrypt` if it has a key of its own")
            }
            SourceFaultKind::Missing => {
                "; check its name and region, and whether it was deleted or has a value yet".to_owned()
            }
            _ => String::new(),
        };
        // Words of ours are in lower case; what a service calls its errors begins with a capital.
        let code = fault.code.starts_with(|letter: char| letter.is_ascii_uppercase()).then(|| fault.code.clone());
        Self { kind, what: format!("`{asked}` of `{secret}`: {fault}{hint}"), code, status: fault.status }
    }

    /// A fault that no service told us.
    fn own(kind: SourceFaultKind, what: String) -> Self {
        Self { kind, what, code: None, status: None }
    }
}
