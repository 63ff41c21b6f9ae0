//! What goes over the wire to the Parameter Store.
//!
//! Promises: one request for each call; a value goes from the answer into memory that is wiped; a failure names the operation and
//! what it was asked for.
//! Never: decides what an answer is good for; brings in AWS's own client, which is larger than all of this agent.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::{SourceFault, SourceFaultKind, any::SourceError};
use crate::{
    aws::{Access, Client, Fault, FaultKind, Identity},
    limits,
    secrets::value::Value,
};

/// Names that one `GetParameters` takes, and parameters that one page of `GetParametersByPath` has.
pub(super) const NAMES_MAX: usize = 10;

/// One region of the Parameter Store, as one identity.
pub(super) struct Store {
    client: Client,
    /// Whether a `SecureString` is decrypted.
    decrypts: bool,
}

/// What is asked of it. The words are those of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Get,
    ByPath,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// The service, or the way to it.
    Aws(Fault),
    /// An answer that is not as it should be. What serde says of it may repeat it.
    Nonsense,
}

/// One parameter, as the service tells of it. No `Debug`: there is a value in it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Said {
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "ARN")]
    pub(super) arn: Option<String>,
    #[serde(deserialize_with = "value")]
    pub(super) value: Value,
    pub(super) version: u64,
    pub(super) last_modified_date: Option<serde_json::Number>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Get<'a> {
    names: &'a [&'a str],
    with_decryption: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ByPath<'a> {
    path: &'a str,
    recursive: bool,
    with_decryption: bool,
    max_results: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_filters: Option<[Filter<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter<'a> {
    key: &'a str,
    option: &'a str,
    values: [&'a str; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    parameters: Vec<Said>,
    next_token: Option<String>,
}

fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    String::deserialize(deserializer).map(|text| Value::new(text.into_bytes()))
}

impl Store {
    /// Asks nobody.
    pub(super) fn open(
        region: &str,
        role_arn: Option<&String>,
        endpoint: Option<&str>,
        access: &Access,
    ) -> Result<Self, SourceError> {
        let identity = Identity { role_arn: role_arn.cloned(), ..Identity::default() };
        Ok(Self::with(access.client("ssm", region, endpoint, &identity)?))
    }

    pub(super) fn with(client: Client) -> Self {
        Self { client: client.with_answer_bytes_max(limits::SECRET_ANSWER_BYTES_MAX), decrypts: true }
    }

    /// The same, but a `SecureString` stays encrypted.
    pub(super) fn sealed(self) -> Self {
        Self { decrypts: false, ..self }
    }

    /// The parameters of these names that there are, in no order.
    pub(super) async fn get(&self, names: &[&str]) -> Result<Vec<Said>, Failure> {
        debug_assert!((1..=NAMES_MAX).contains(&names.len()), "the service takes no other number of names");
        let ask = Get { names, with_decryption: self.decrypts };
        Ok(self.call(Operation::Get, &ask).await?.parameters)
    }

    /// One page of the parameters below `path`, with this `label` if one is given, and where the next one begins. A page may be empty and yet not be the last.
    pub(super) async fn by_path(
        &self,
        path: &str,
        recursive: bool,
        label: Option<&str>,
        next_token: Option<&str>,
    ) -> Result<(Vec<Said>, Option<String>), Failure> {
        // Of those with a label only the names count here.
        let with_decryption = self.decrypts && label.is_none();
        let filter = |label| [Filter { key: "Label", option: "Equals", values: [label] }];
        let parameter_filters = label.map(filter);
        let ask = ByPath { path, recursive, with_decryption, max_results: NAMES_MAX, next_token, parameter_filters };
        let answer = self.call(Operation::ByPath, &ask).await?;
        Ok((answer.parameters, answer.next_token.filter(|token| !token.is_empty())))
    }

    async fn call(&self, operation: Operation, ask: &impl Serialize) -> Result<Answer, Failure> {
        let body = Bytes::from(serde_json::to_vec(ask).expect("texts, numbers and flags are JSON"));
        let reply = self.client.call(operation.target(), body, &[]).await.map_err(Failure::Aws)?;
        serde_json::from_slice(&reply.body).map_err(|_| Failure::Nonsense)
    }
}

impl Operation {
    const fn target(self) -> &'static str {
        match self {
            Self::Get => "AmazonSSM.GetParameters",
            Self::ByPath => "AmazonSSM.GetParametersByPath",
        }
    }

    const fn permission(self) -> &'static str {
        match self {
            Self::Get => "ssm:GetParameters",
            Self::ByPath => "ssm:GetParametersByPath",
        }
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(self, name: &str, what: &str) -> SourceFault {
        SourceFault::own(SourceFaultKind::Invalid, format!("`{}` of `{name}`: {what}", self.permission()))
    }
}

impl Failure {
    /// What it means for the parameter or path `name`.
    pub(super) fn of(&self, operation: Operation, name: &str) -> SourceFault {
        match self {
            Self::Aws(fault) => SourceFault::of_aws(name, operation.permission(), fault),
            Self::Nonsense => operation.nonsense(name, "the answer is not as it should be"),
        }
    }

    /// True if one of several names may be the cause: the service refuses all of them for one that is not allowed, has a key
    /// that is disabled, or is no name.
    pub(super) fn may_be_of_one(&self) -> bool {
        match self {
            Self::Aws(fault) => matches!(fault.kind, FaultKind::Denied | FaultKind::Invalid | FaultKind::NotFound),
            Self::Nonsense => false,
        }
    }
}
