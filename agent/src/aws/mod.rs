//! One signed client for all of AWS: credentials, signing, endpoints, and the one place that says what an answer means.
//!
//! Promises: a request is signed anew each time it is sent, with credentials that are valid and a clock that is
//! corrected; an answer becomes a [`Reply`] or a [`Fault`], and [`error::classify`] alone decides which kind of fault.
//! Never: retries, beyond one immediate resend after it learned the time or new credentials (retrying is `deliver`'s);
//! looks at bodies it is given; reads the environment, except that `aws-config` itself reads what it documents
//! (`AWS_ACCESS_KEY_ID`, `AWS_CONTAINER_CREDENTIALS_*`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_PROFILE`, ...).
//!
//! A call: [`Credentials::get`] -> sign -> [`HttpClient`](crate::net::http::HttpClient) -> `classify`. A client of
//! the AWS SDK goes the same way: [`SdkAccess`].

use std::path::PathBuf;

mod access;
mod client;
mod clock;
mod credentials;
mod endpoint;
pub mod error;
mod meaning;
pub mod queue;
mod sdk;
mod sdk_client;
mod sign;
mod unit;

pub use access::Access;
pub use client::{Client, Operation, Reply};
pub use clock::{Clock, ahead_of};
pub use credentials::Credentials;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Fault, FaultKind, retry_after};
pub use sdk_client::SdkAccess;
pub use sign::sha256_hex;
pub use unit::Unit;

/// What the environment says about AWS. `config` fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_CA_BUNDLE`, else `SSL_CERT_FILE`: a PEM file with more certificate authorities.
    pub ca_bundle: Option<PathBuf>,
    /// Where all services are that name no address of their own. Default: each has its own, in its region.
    pub endpoint: Option<String>,
    /// Where roles are asked for: a URL or a host. Default: the region's own STS endpoint.
    pub sts_endpoint: Option<String>,
}

/// As whom an output speaks to AWS. All empty: as the task. Outputs with the same identity can share [`Credentials`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// Where to ask for the role: a URL or a host. Default: the region's own STS endpoint.
    pub sts_endpoint: Option<String>,
    /// A profile in the shared AWS configuration files.
    pub profile: Option<String>,
}
