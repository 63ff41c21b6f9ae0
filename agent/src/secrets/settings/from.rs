//! Where a secret comes from: the part of the settings that names a source.
//!
//! Promises: two items that are equal here are the same secret.
//! Never: says what becomes of it.

use std::path::PathBuf;

use serde::Deserialize;

/// Where a secret comes from.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// AWS Secrets Manager.
    SecretsManager(SecretsManager),
    /// One parameter of the Systems Manager Parameter Store.
    Parameter(Parameter),
    /// All parameters of the Parameter Store below a path, as one secret: a JSON object with a member for each, whose name is what
    /// stands behind the path. Without `files` each becomes a file (`each`) in a folder with the secret's `name`.
    Parameters(Parameters),
    /// A file, for development.
    File(PathBuf),
}

/// A secret of AWS Secrets Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretsManager {
    /// Its name, its ARN, or its ARN without the six characters at the end.
    pub id: String,
    /// Always this version, which never changes. Default: the one with `stage`.
    #[serde(default)]
    pub version: Option<String>,
    /// The stage whose version is current. Default `AWSCURRENT`.
    #[serde(default)]
    pub stage: Option<String>,
    /// Default: the region in the ARN, or that of the task.
    #[serde(default)]
    pub region: Option<String>,
    /// Regions of its replicas, asked in this order when the first one cannot be reached.
    #[serde(default)]
    pub failover_regions: Vec<String>,
    /// Other addresses of the service in those regions, in the same order. Default: the public ones.
    #[serde(default)]
    pub failover_endpoints: Vec<String>,
    /// A role to read it as. Default: the task's own.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// Another address of the service in the first region, for tests and private endpoints.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// A parameter of the Parameter Store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name or ARN, perhaps with `:3` for a version or `:label`.
    pub name: String,
    /// Default: the region in the ARN, or that of the task.
    #[serde(default)]
    pub region: Option<String>,
    /// A role to read it as. Default: the task's own.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// Another address of the service, for tests and private endpoints.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Parameters below a path. At most 500, and 1 MiB together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The path, which begins with `/`.
    pub path: String,
    /// With `false` only those directly below it. Default `true`.
    #[serde(default = "super::yes")]
    pub recursive: bool,
    /// Only those that have this label, and the versions of them that have it. Default: all, as they are now.
    #[serde(default)]
    pub label: Option<String>,
    /// Default: that of the task.
    #[serde(default)]
    pub region: Option<String>,
    /// A role to read them as. Default: the task's own.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// Another address of the service, for tests and private endpoints.
    #[serde(default)]
    pub endpoint: Option<String>,
}
