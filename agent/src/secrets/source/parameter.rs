//! Parameters of the Systems Manager Parameter Store.
//!
//! Promises: a look is one `GetParameters`, whose value is kept for the fetch that follows; a parameter's version number is its
//! version's name. Nothing there says what changed without the value.
//! Never: asks for a parameter that is not decrypted; brings in AWS's own client of it, which is larger than all of this agent.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CURRENT, Followed, Seen, Source, SourceFault, SourceFaultKind, Wanted, any::SourceError, any::region_of};
use crate::{
    aws::{Access, Client, Identity},
    limits,
    secrets::{
        settings,
        value::{Content, Value, Version},
    },
};

const TARGET: &str = "AmazonSSM.GetParameters";
const GET: &str = "ssm:GetParameters";

/// One parameter.
pub struct Parameter {
    /// Its name or ARN, without a selector.
    name: String,
    followed: Followed,
    client: Client,
    /// Whether a `SecureString` is decrypted.
    decrypts: bool,
    /// What the last look has brought.
    kept: Mutex<Option<Version>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask<'a> {
    names: [&'a str; 1],
    with_decryption: bool,
}

/// No `Debug`: there are values in it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    parameters: Vec<Said>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    #[serde(rename = "ARN")]
    arn: Option<String>,
    value: String,
    version: u64,
    last_modified_date: Option<serde_json::Number>,
}

impl Parameter {
    /// As `settings` say. Asks nobody.
    pub fn new(settings: &settings::Parameter, access: &Access) -> Result<Self, SourceError> {
        let region = region_of(&settings.name, settings.region.as_deref(), access)?;
        let identity = Identity { role_arn: settings.role_arn.clone(), ..Identity::default() };
        let client = access.client("ssm", &region, settings.endpoint.as_deref(), &identity)?;
        Ok(Self::with(&settings.name, client))
    }

    fn with(name: &str, client: Client) -> Self {
        let (name, selector) = split(name);
        let followed = match selector {
            None => Followed::Stage(CURRENT.to_owned()),
            Some(version) if version.bytes().all(|digit| digit.is_ascii_digit()) => {
                Followed::Version(version.to_owned())
            }
            Some(label) => Followed::Stage(label.to_owned()),
        };
        let client = client.with_answer_bytes_max(limits::SECRET_ANSWER_BYTES_MAX);
        Self { name: name.to_owned(), followed, client, decrypts: true, kept: Mutex::default() }
    }

    /// The same, but a `SecureString` stays encrypted.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { decrypts: false, ..self }
    }

    /// Which version is the current one.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Its ARN or name, and the version that is asked for.
    async fn get(&self, wanted: &Wanted) -> Result<(String, Version), SourceFault> {
        let full = match wanted {
            Wanted::Stage(stage) if stage == CURRENT => self.name.clone(),
            Wanted::Id(selector) | Wanted::Stage(selector) => format!("{}:{selector}", self.name),
        };
        let ask = Ask { names: [&full], with_decryption: self.decrypts };
        let body = Bytes::from(serde_json::to_vec(&ask).expect("texts and a flag are JSON"));
        let reply = self.client.call(TARGET, body, &[]).await;
        let reply = reply.map_err(|fault| SourceFault::of_aws(&full, GET, &fault))?;
        // What serde says of a wrong answer may repeat it.
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| {
            SourceFault::own(
                SourceFaultKind::Invalid,
                format!("`{GET}` of `{full}`: the answer is not as it should be"),
            )
        })?;
        let Some(said) = answer.parameters.into_iter().next() else {
            let what = format!("there is no parameter `{full}`; check its name, version or label, and its region");
            return Err(SourceFault {
                code: Some("ParameterNotFound".to_owned()),
                ..SourceFault::own(SourceFaultKind::Missing, what)
            });
        };
        let content = Content::Text(Value::new(said.value.into_bytes()));
        let id = said.version.to_string();
        if matches!(wanted, Wanted::Id(wanted) if *wanted != id) {
            let what = format!("`{GET}` of `{full}`: the answer has another version than the one that was asked for");
            return Err(SourceFault::own(SourceFaultKind::Transient, what));
        }
        let stage = if let Wanted::Stage(stage) = wanted { stage } else { CURRENT };
        let created = said.last_modified_date.map(|date| date.to_string());
        let name = said.arn.unwrap_or_else(|| self.name.clone());
        Ok((name, Version { id, stages: vec![stage.to_owned()], created, content }))
    }
}

impl Source for Parameter {
    async fn look(&self) -> Result<Seen, SourceFault> {
        let wanted = match &self.followed {
            Followed::Stage(stage) => Wanted::Stage(stage.clone()),
            Followed::Version(id) => Wanted::Id(id.clone()),
        };
        let (id, version) = self.get(&wanted).await?;
        let versions = BTreeMap::from([(version.id.clone(), version.stages.clone())]);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(Seen { id, versions, ..Seen::default() })
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (kept, wanted) {
            (Some(kept), Wanted::Id(id)) if kept.id == *id => Ok(kept),
            _ => Ok(self.get(wanted).await?.1),
        }
    }
}

/// A name or ARN, and what follows its last colon if that is a version or a label.
fn split(name: &str) -> (&str, Option<&str>) {
    // `arn:aws:ssm:REGION:ACCOUNT:parameter/NAME` has five of them itself.
    let own = if name.starts_with("arn:") { 5 } else { 0 };
    match name.rsplit_once(':') {
        Some((name, selector)) if name.matches(':').count() >= own && !selector.is_empty() => (name, Some(selector)),
        _ => (name, None),
    }
}

#[cfg(test)]
#[path = "parameter_tests.rs"]
mod tests;
