//! All parameters below a path of the Parameter Store, as one secret: a JSON object with a member for each.
//!
//! The members' names are what stands behind the path: `db/password` of `/orders/db/password` below `/orders`. The version's name
//! is made of which parameters there are, their versions and when those were made, so that a parameter that comes, goes or
//! changes makes a new version of the whole.
//!
//! Promises: every page is read, or there is a fault; members are in the order of their names, so that the same parameters make the
//! same bytes.
//! Never: makes a version's name of a value; takes a path without parameters for one whose parameters were all removed, since it
//! is more often misspelt.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    sync::{Mutex, PoisonError},
};

use super::{
    CURRENT, Followed, Seen, Source, SourceFault, SourceFaultKind, Wanted,
    any::{SourceError, region_of},
    store::{NAMES_MAX, Operation, Said, Store},
};
use crate::{
    aws::{Access, sha256_hex},
    limits::{PARAMETER_PAGES_MAX, PARAMETERS_BELOW_MAX, SECRET_FILE_BYTES_MAX},
    secrets::{
        settings,
        value::{Content, Value, Version},
    },
};

/// Letters of a version's name. A prefix of a hash of 128 bits is as good as the service's own ids.
const VERSION_LETTERS: usize = 32;

/// All parameters below one path.
pub struct ByPath {
    /// It begins with `/` and does not end with it, unless it is the root.
    path: String,
    recursive: bool,
    label: Option<String>,
    followed: Followed,
    store: Store,
    /// What the last look has brought.
    kept: Mutex<Option<Version>>,
}

impl ByPath {
    /// As `settings` say. Asks nobody.
    pub fn new(settings: &settings::Parameters, access: &Access) -> Result<Self, SourceError> {
        let region = region_of(&settings.path, settings.region.as_deref(), access)?;
        let store = Store::open(&region, settings.role_arn.as_ref(), settings.endpoint.as_deref(), access)?;
        Ok(Self { label: settings.label.clone(), ..Self::with(&settings.path, settings.recursive, store) })
    }

    fn with(path: &str, recursive: bool, store: Store) -> Self {
        let trimmed = path.trim_end_matches('/');
        let path = if trimmed.is_empty() { "/" } else { trimmed }.to_owned();
        let label = None;
        Self { path, recursive, label, followed: Followed::Stage(CURRENT.to_owned()), store, kept: Mutex::default() }
    }

    /// Which version is the current one: all parameters as they are.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// All pages.
    async fn list(&self) -> Result<BTreeMap<String, Said>, SourceFault> {
        let mut found = BTreeMap::new();
        let mut token = None;
        for _ in 0..PARAMETER_PAGES_MAX {
            let page = self.store.by_path(&self.path, self.recursive, self.label.as_deref(), token.as_deref()).await;
            let (said, next) = page.map_err(|failure| failure.of(Operation::ByPath, &self.path))?;
            for said in self.labelled(said).await? {
                found.insert(self.member(&said.name)?, said);
            }
            if found.len() > PARAMETERS_BELOW_MAX {
                let what = format!("there are more than {PARAMETERS_BELOW_MAX} parameters; name a longer path");
                return Err(Operation::ByPath.nonsense(&self.path, &what));
            }
            match next {
                Some(next) => token = Some(next),
                None => return Ok(found),
            }
        }
        Err(Operation::ByPath.nonsense(&self.path, "its pages do not end"))
    }

    /// The versions that have the label, of parameters of which some version has it. The list does not say which version it
    /// shows, so they are asked for by the label.
    async fn labelled(&self, said: Vec<Said>) -> Result<Vec<Said>, SourceFault> {
        let Some(label) = self.label.as_ref().filter(|_| !said.is_empty()) else { return Ok(said) };
        let names: Vec<String> = said.iter().map(|said| format!("{}:{label}", said.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut labelled = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES_MAX) {
            let said = self.store.get(names).await.map_err(|failure| failure.of(Operation::Get, &self.path))?;
            labelled.extend(said);
        }
        Ok(labelled)
    }

    /// A parameter's name as it stands behind the path.
    fn member(&self, name: &str) -> Result<String, SourceFault> {
        let rest = name.strip_prefix(&self.path).map(|rest| rest.strip_prefix('/').unwrap_or(rest));
        // Below the root there are names without a `/` before them.
        let rest = if self.path == "/" { Some(name.trim_start_matches('/')) } else { rest };
        match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(Operation::ByPath.nonsense(&self.path, "the answer has a parameter that is not below it")),
        }
    }

    async fn get(&self) -> Result<Version, SourceFault> {
        let found = self.list().await?;
        if found.is_empty() {
            let labelled = self.label.as_ref().map(|label| format!(" with the label `{label}`")).unwrap_or_default();
            let what = format!("there is no parameter{labelled} below `{}`; check the path and its region", self.path);
            return Err(SourceFault::own(SourceFaultKind::Missing, what));
        }
        let id = version_of(&found).await;
        let value = object(&found).ok_or_else(|| {
            let most = SECRET_FILE_BYTES_MAX >> 20;
            Operation::ByPath.nonsense(&self.path, &format!("its parameters have more than {most} MiB together"))
        })?;
        // No time: when one is removed, what is left is older than what there was before.
        Ok(Version { id, stages: vec![CURRENT.to_owned()], created: None, content: Content::Text(value) })
    }
}

impl Source for ByPath {
    async fn look(&self) -> Result<Seen, SourceFault> {
        let version = self.get().await?;
        let versions = BTreeMap::from([(version.id.clone(), version.stages.clone())]);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(Seen { id: self.path.clone(), versions, ..Seen::default() })
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let version = match kept {
            Some(kept) => kept,
            None => self.get().await?,
        };
        match wanted {
            Wanted::Id(id) if version.id != *id => {
                let what = "its parameters changed between two requests".to_owned();
                Err(SourceFault::own(SourceFaultKind::Transient, format!("`{}`: {what}", self.path)))
            }
            _ => Ok(version),
        }
    }
}

/// A name for these parameters as they are. A parameter that was deleted and made anew begins again with version 1, so the time
/// belongs to it.
async fn version_of(found: &BTreeMap<String, Said>) -> String {
    let mut text = String::new();
    for (name, said) in found {
        let time = said.last_modified_date.as_ref().map(ToString::to_string).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}\0{}\0{time}", said.version);
    }
    let mut id = sha256_hex(text.as_bytes()).await;
    id.truncate(VERSION_LETTERS);
    id
}

/// The parameters as a JSON object, if they are not too much. It is measured before it is written, so that no buffer grows, which
/// would leave copies behind.
fn object(found: &BTreeMap<String, Said>) -> Option<Value> {
    let texts: Option<BTreeMap<&str, &str>> =
        found.iter().map(|(name, said)| Some((name.as_str(), said.value.expose_text()?))).collect();
    let texts = texts?;
    let mut length = Length(0);
    serde_json::to_writer(&mut length, &texts).ok()?;
    if length.0 > SECRET_FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut bytes, &texts).ok()?;
    Some(Value::new(bytes))
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "by_path_tests.rs"]
mod tests;
