//! Any source, as the settings name it.
//!
//! Promises: what is wrong with a source's settings is told before anything is asked of it.
//! Never: connects.

use std::time::Duration;

use super::{File, Followed, Manager, Parameter, Seen, Source, SourceFault, Wanted};
use crate::{
    aws::{Access, EndpointError},
    secrets::{settings, value::Version},
};

/// One secret's source, whichever it is.
pub enum AnySource {
    /// AWS Secrets Manager.
    Manager(Box<Manager>),
    /// The Parameter Store.
    Parameter(Box<Parameter>),
    /// A local file.
    File(File),
}

/// Why a source cannot be asked at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody says in which region it is.
    #[error("`{0}` has no region; write `region:` beside it, give its ARN, or set AWS_REGION")]
    Region(String),
    /// The service's address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl AnySource {
    /// The source that `from` names.
    pub fn new(from: &settings::From, access: &Access) -> Result<Self, SourceError> {
        Ok(match from {
            settings::From::SecretsManager(secret) => Self::Manager(Box::new(Manager::new(secret, access)?)),
            settings::From::Parameter(parameter) => Self::Parameter(Box::new(Parameter::new(parameter, access)?)),
            settings::From::File(path) => Self::File(File::new(path.clone())),
        })
    }

    /// The time between looks when nothing is expected: nobody but the poller says that a parameter changed, and a file costs
    /// nothing.
    pub fn every(&self) -> Duration {
        match self {
            Self::Manager(_) => Duration::from_secs(900),
            Self::Parameter(_) => Duration::from_secs(300),
            Self::File(_) => Duration::from_secs(2),
        }
    }

    /// Which version is the current one.
    pub fn followed(&self) -> &Followed {
        match self {
            Self::Manager(manager) => manager.followed(),
            Self::Parameter(parameter) => parameter.followed(),
            Self::File(file) => file.followed(),
        }
    }
}

impl Source for AnySource {
    async fn look(&self) -> Result<Seen, SourceFault> {
        match self {
            Self::Manager(manager) => manager.look().await,
            Self::Parameter(parameter) => parameter.look().await,
            Self::File(file) => file.look().await,
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        match self {
            Self::Manager(manager) => manager.fetch(wanted).await,
            Self::Parameter(parameter) => parameter.fetch(wanted).await,
            Self::File(file) => file.fetch(wanted).await,
        }
    }
}

/// The region of a secret: as written, else as its ARN says, else the task's own.
pub(super) fn region_of(id: &str, written: Option<&str>, access: &Access) -> Result<String, SourceError> {
    let mut parts = id.split(':');
    let of_arn = (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty());
    let region = written.or(of_arn).or(access.region());
    region.map(str::to_owned).ok_or_else(|| SourceError::Region(id.to_owned()))
}
