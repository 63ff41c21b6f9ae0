//! Any source, as the settings name it.
//!
//! Promises: what is wrong with a source's settings is told before anything is asked of it.
//! Never: connects.

use super::{Batches, ByPath, File, Followed, Manager, Parameter, Seen, Source, SourceFault, Wanted};
use crate::{
    aws::{Access, EndpointError},
    secrets::{settings, value::Version},
};

/// One secret's source, whichever it is.
pub enum AnySource {
    /// AWS Secrets Manager.
    Manager(Box<Manager>),
    /// One parameter of the Parameter Store.
    Parameter(Box<Parameter>),
    /// All parameters below a path.
    ByPath(Box<ByPath>),
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
    /// The source that `from` names, by itself.
    pub fn new(from: &settings::From, access: &Access) -> Result<Self, SourceError> {
        Self::among(from, access, &mut Batches::default())
    }

    /// The source that `from` names. Parameters that can be asked for together are placed in `batches`.
    pub fn among(from: &settings::From, access: &Access, batches: &mut Batches) -> Result<Self, SourceError> {
        Ok(match from {
            settings::From::SecretsManager(secret) => Self::Manager(Box::new(Manager::new(secret, access)?)),
            settings::From::Parameter(parameter) => {
                Self::Parameter(Box::new(Parameter::among(parameter, access, batches)?))
            }
            settings::From::Parameters(parameters) => Self::ByPath(Box::new(ByPath::new(parameters, access)?)),
            settings::From::File(path) => Self::File(File::new(path.clone())),
        })
    }

    /// Which version is the current one.
    pub fn followed(&self) -> &Followed {
        match self {
            Self::Manager(manager) => manager.followed(),
            Self::Parameter(parameter) => parameter.followed(),
            Self::ByPath(parameters) => parameters.followed(),
            Self::File(file) => file.followed(),
        }
    }
}

impl Source for AnySource {
    async fn look(&self) -> Result<Seen, SourceFault> {
        match self {
            Self::Manager(manager) => manager.look().await,
            Self::Parameter(parameter) => parameter.look().await,
            Self::ByPath(parameters) => parameters.look().await,
            Self::File(file) => file.look().await,
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        match self {
            Self::Manager(manager) => manager.fetch(wanted).await,
            Self::Parameter(parameter) => parameter.fetch(wanted).await,
            Self::ByPath(parameters) => parameters.fetch(wanted).await,
            Self::File(file) => file.fetch(wanted).await,
        }
    }

    async fn overheard(&self) -> Result<Seen, SourceFault> {
        match self {
            // On the heap: every secret waits here for as long as the agent runs, few of them for this.
            Self::Parameter(parameter) => Box::pin(parameter.overheard()).await,
            Self::Manager(_) | Self::ByPath(_) | Self::File(_) => std::future::pending().await,
        }
    }

    fn random(&self) -> f64 {
        match self {
            Self::Parameter(parameter) => parameter.random(),
            Self::Manager(_) | Self::ByPath(_) | Self::File(_) => fastrand::f64(),
        }
    }
}

/// The region of a secret: as written, else as its ARN says, else the task's own.
pub(in crate::secrets) fn region_of(id: &str, written: Option<&str>, access: &Access) -> Result<String, SourceError> {
    let mut parts = id.split(':');
    let of_arn = (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty());
    let region = written.or(of_arn).or(access.region());
    region.map(str::to_owned).ok_or_else(|| SourceError::Region(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::Settings, tell::counters::Counters};

    fn access(region: Option<&str>) -> Access {
        Access::new(&Settings { region: region.map(str::to_owned), ..Settings::default() }, &Counters::new())
    }

    #[test]
    fn the_region_is_the_written_one_or_that_of_the_arn_or_that_of_the_task() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3";
        for (id, written, own, region) in [
            (arn, Some("eu-south-1"), Some("us-east-1"), Some("eu-south-1")),
            (arn, None, Some("us-east-1"), Some("eu-west-1")),
            ("db", None, Some("us-east-1"), Some("us-east-1")),
            ("db:with:many:colons", None, Some("us-east-1"), Some("us-east-1")),
            ("arn:aws:ssm::1:parameter/x", None, Some("us-east-1"), Some("us-east-1")),
            ("db", None, None, None),
        ] {
            let found = region_of(id, written, &access(own));
            assert_eq!(found.ok().as_deref(), region, "{id}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_at_start() {
        let secret = |id: &str, endpoint: Option<&str>| {
            let settings = settings::SecretsManager {
                id: id.to_owned(),
                endpoint: endpoint.map(str::to_owned),
                failover_regions: vec!["eu-west-1".to_owned()],
                ..Default::default()
            };
            AnySource::new(&settings::From::SecretsManager(settings), &access(Some("us-east-1"))).map(|_| ())
        };
        assert_eq!(secret("db", None), Ok(()));
        let refused = secret("db", Some("ftp://x")).expect_err("not http");
        assert!(matches!(refused, SourceError::Endpoint(EndpointError::Scheme(_))), "{refused}");
        let parameter = settings::Parameter { name: "/a".to_owned(), ..Default::default() };
        let refused = AnySource::new(&settings::From::Parameter(parameter), &access(None)).err().expect("no region");
        assert_eq!(refused, SourceError::Region("/a".to_owned()));
    }

    #[tokio::test]
    async fn each_source_follows_its_own_version_and_is_asked_as_itself() {
        let secret =
            settings::SecretsManager { id: "db".to_owned(), version: Some("v1".to_owned()), ..Default::default() };
        let parameter = settings::Parameter { name: "/a:prod".to_owned(), ..Default::default() };
        for (from, followed) in [
            (settings::From::SecretsManager(secret), Followed::Version("v1".to_owned())),
            (settings::From::Parameter(parameter), Followed::Stage("prod".to_owned())),
            (settings::From::File("/nowhere/at/all".into()), Followed::Stage(super::super::CURRENT.to_owned())),
        ] {
            let source = AnySource::new(&from, &access(Some("us-east-1"))).expect("a source");
            assert_eq!(source.followed(), &followed);
        }
        let file = AnySource::new(&settings::From::File("/nowhere/at/all".into()), &access(None)).expect("a source");
        let fault = file.look().await.expect_err("it is not there");
        assert!(fault.to_string().contains("/nowhere/at/all"), "{fault}");
    }
}
