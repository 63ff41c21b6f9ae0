//! One parameter of the Systems Manager Parameter Store.
//!
//! Promises: a look is one `GetParameters`, which it shares with the others of its [`batch`](super::batch), and whose value is kept
//! for the fetch that follows; a parameter's version number is its version's name. Nothing there says what changed without the
//! value.
//! Never: asks for a parameter that is not decrypted, unless it is told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    CURRENT, Followed, Seen, Source, SourceFault, SourceFaultKind, Wanted,
    any::{SourceError, region_of},
    batch::{Batch, Batches, Brought, Key, is_fixed, missing, split},
    store::{Operation, Said, Store},
};
use crate::{
    aws::Access,
    secrets::{
        settings,
        value::{Content, Version},
    },
};

/// One parameter.
pub struct Parameter {
    /// Its name or ARN, without a selector.
    name: String,
    followed: Followed,
    batch: Arc<Batch>,
    member: usize,
    /// What the last look has brought.
    kept: Mutex<Option<Version>>,
}

impl Parameter {
    /// As `settings` say, in a batch with others. Asks nobody.
    pub fn among(settings: &settings::Parameter, access: &Access, batches: &mut Batches) -> Result<Self, SourceError> {
        let region = region_of(&settings.name, settings.region.as_deref(), access)?;
        let key = Key {
            region: region.clone(),
            role_arn: settings.role_arn.clone(),
            endpoint: settings.endpoint.clone(),
            is_fixed: is_fixed(&settings.name),
        };
        let open = || Store::open(&region, settings.role_arn.as_ref(), settings.endpoint.as_deref(), access);
        let (batch, member) = batches.place(key, &settings.name, open)?;
        Ok(Self::with(&settings.name, batch, member))
    }

    /// By itself, and a `SecureString` stays encrypted.
    pub fn sealed(settings: &settings::Parameter, access: &Access) -> Result<Self, SourceError> {
        let region = region_of(&settings.name, settings.region.as_deref(), access)?;
        let store = Store::open(&region, settings.role_arn.as_ref(), settings.endpoint.as_deref(), access)?.sealed();
        Ok(Self::with(&settings.name, Arc::new(Batch::of_one(&settings.name, store)), 0))
    }

    fn with(name: &str, batch: Arc<Batch>, member: usize) -> Self {
        let followed = followed(name);
        Self { name: split(name).0.to_owned(), followed, batch, member, kept: Mutex::default() }
    }

    /// Which version is the current one.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Keeps what a look has brought, and says what was seen.
    fn keep(&self, brought: Brought) -> Result<Seen, SourceFault> {
        let (id, version) = self.version(&self.wanted(), brought?)?;
        let versions = BTreeMap::from([(version.id.clone(), version.stages.clone())]);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(Seen { id, versions, ..Seen::default() })
    }

    /// What is followed.
    fn wanted(&self) -> Wanted {
        match &self.followed {
            Followed::Stage(stage) => Wanted::Stage(stage.clone()),
            Followed::Version(id) => Wanted::Id(id.clone()),
        }
    }

    /// Its ARN or name, and the version that is asked for.
    async fn get(&self, wanted: &Wanted) -> Result<(String, Version), SourceFault> {
        if *wanted == self.wanted() {
            return self.version(wanted, self.batch.look(self.member).await?);
        }
        let full = match wanted {
            Wanted::Stage(stage) if stage == CURRENT => self.name.clone(),
            Wanted::Id(selector) | Wanted::Stage(selector) => format!("{}:{selector}", self.name),
        };
        let said = self.batch.store.get(&[&full]).await.map_err(|failure| failure.of(Operation::Get, &full))?;
        self.version(wanted, said.into_iter().next().ok_or_else(|| missing(&full))?)
    }

    fn version(&self, wanted: &Wanted, said: Said) -> Result<(String, Version), SourceFault> {
        let id = said.version.to_string();
        if matches!(wanted, Wanted::Id(wanted) if *wanted != id) {
            let what = "the answer has another version than the one that was asked for";
            return Err(SourceFault { kind: SourceFaultKind::Transient, ..Operation::Get.nonsense(&self.name, what) });
        }
        let stage = if let Wanted::Stage(stage) = wanted { stage } else { CURRENT };
        let created = said.last_modified_date.map(|date| date.to_string());
        let name = said.arn.unwrap_or_else(|| self.name.clone());
        Ok((name, Version { id, stages: vec![stage.to_owned()], created, content: Content::Text(said.value) }))
    }
}

impl Source for Parameter {
    async fn look(&self) -> Result<Seen, SourceFault> {
        self.keep(self.batch.look(self.member).await)
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (kept, wanted) {
            (Some(kept), Wanted::Id(id)) if kept.id == *id => Ok(kept),
            _ => Ok(self.get(wanted).await?.1),
        }
    }

    async fn overheard(&self) -> Result<Seen, SourceFault> {
        self.keep(self.batch.overheard(self.member).await)
    }

    fn random(&self) -> f64 {
        self.batch.random()
    }
}

/// Which version a name asks for.
fn followed(name: &str) -> Followed {
    match split(name).1 {
        None => Followed::Stage(CURRENT.to_owned()),
        Some(version) if is_fixed(name) => Followed::Version(version.to_owned()),
        Some(label) => Followed::Stage(label.to_owned()),
    }
}

#[cfg(test)]
#[path = "parameter_tests.rs"]
mod tests;
