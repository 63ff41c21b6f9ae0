//! Secrets of AWS Secrets Manager, through AWS's own client of it.
//!
//! Promises: looks with `DescribeSecret`, which shows no value; fetches by an explicit version or stage, and takes only the
//! version that was asked for; where describing is denied, it looks with `GetSecretValue` and says so once. The regions of
//! replicas are asked, in order, when a region cannot be reached or answers 5xx; any other answer is an answer.
//! Never: asks for a secret without saying which version: the service and its doubles differ in what they give then.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_sdk_secretsmanager::operation::{
    RequestId, describe_secret::DescribeSecretOutput, get_secret_value::GetSecretValueOutput,
};
use tracing::warn;
use zeroize::Zeroize;

use super::{CURRENT, Followed, Seen, Source, SourceFault, SourceFaultKind, Wanted, any::SourceError, any::region_of};
use crate::{
    aws::{Access, Fault, FaultKind, Identity, SdkAccess},
    secrets::{
        settings,
        value::{Content, Value, Version},
    },
};

const DESCRIBE: &str = "secretsmanager:DescribeSecret";
const GET: &str = "secretsmanager:GetSecretValue";
/// So many looks after a denied `DescribeSecret` it is tried again: someone may have allowed it.
const DENIED_LOOKS: u32 = 16;

/// One secret.
pub struct Manager {
    id: String,
    followed: Followed,
    places: Vec<Place>,
    /// Looks that are still made with `GetSecretValue`.
    denied_looks: AtomicU32,
    /// What such a look has brought.
    kept: Mutex<Option<Version>>,
}

/// One region.
struct Place {
    id: String,
    access: SdkAccess,
}

impl Manager {
    /// As `settings` say. Asks nobody.
    pub fn new(settings: &settings::SecretsManager, access: &Access) -> Result<Self, SourceError> {
        let region = region_of(&settings.id, settings.region.as_deref(), access)?;
        let identity = Identity { role_arn: settings.role_arn.clone(), ..Identity::default() };
        let place = |region: &str, endpoint: Option<&String>| {
            let sdk = access.secrets_manager(region, endpoint.map(String::as_str), &identity)?;
            Ok::<_, SourceError>(Place::new(in_region(&settings.id, region), sdk))
        };
        let mut places = vec![place(&region, settings.endpoint.as_ref())?];
        for (at, region) in settings.failover_regions.iter().enumerate() {
            // The first region's private endpoint knows nothing of another region.
            places.push(place(region, settings.failover_endpoints.get(at))?);
        }
        let stage = || settings.stage.clone().unwrap_or_else(|| CURRENT.to_owned());
        let followed = settings.version.clone().map_or_else(|| Followed::Stage(stage()), Followed::Version);
        Ok(Self::at(settings.id.clone(), followed, places))
    }

    fn at(id: String, followed: Followed, places: Vec<Place>) -> Self {
        Self { id, followed, places, denied_looks: AtomicU32::new(0), kept: Mutex::default() }
    }

    /// Which version is the current one.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Asks one region after another, until there is an answer. If there is none, the first region's trouble is told.
    async fn ask<'a, T, F>(&'a self, asked: &str, ask: impl Fn(&'a Place) -> F) -> Result<T, SourceFault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut first: Option<Fault> = None;
        for place in &self.places {
            match ask(place).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    let is_answer = !is_trouble_of_region(&fault);
                    first.get_or_insert(fault);
                    if is_answer {
                        break;
                    }
                }
            }
        }
        let fault = first.expect("there is at least one region");
        Err(SourceFault::of_aws(&self.id, asked, &fault))
    }

    async fn describe(&self) -> Result<Seen, SourceFault> {
        let mut said = self.ask(DESCRIBE, |place| place.describe()).await?;
        if said.deleted_date.is_some() {
            let what = format!("`{}` is marked for deletion; restore it, or take it out of `secrets.items`", self.id);
            return Err(SourceFault::own(SourceFaultKind::Missing, what));
        }
        let window = said.rotation_rules.as_ref().and_then(|rules| seconds(rules.duration()?));
        let versions = said.version_ids_to_stages.take().unwrap_or_default();
        Ok(Seen {
            id: said.arn.take().unwrap_or_else(|| self.id.clone()),
            versions: versions.into_iter().filter(|(_, stages)| !stages.is_empty()).collect(),
            next_rotation: said.next_rotation_date.map(|date| date.secs()),
            rotation_window: window,
        })
    }

    /// Looks by fetching the value, which shows only this one version.
    async fn look_by_value(&self) -> Result<Seen, SourceFault> {
        let wanted = match &self.followed {
            Followed::Stage(stage) => Wanted::Stage(stage.clone()),
            Followed::Version(id) => Wanted::Id(id.clone()),
        };
        let (arn, version) = self.get(&wanted).await?;
        let mut stages = version.stages.clone();
        if let Wanted::Stage(stage) = wanted
            && !stages.contains(&stage)
        {
            stages.push(stage);
        }
        let versions = BTreeMap::from([(version.id.clone(), stages)]);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(Seen { id: arn, versions, ..Seen::default() })
    }

    async fn get(&self, wanted: &Wanted) -> Result<(String, Version), SourceFault> {
        let mut said = self.ask(GET, |place| place.get(wanted)).await?;
        let arn = said.arn.take().unwrap_or_else(|| self.id.clone());
        let nonsense = |why: &str| {
            let what = format!("`{GET}` of `{}`: the answer has {why}", self.id);
            SourceFault::own(SourceFaultKind::Invalid, what)
        };
        let content = match (said.secret_string.take(), said.secret_binary.take()) {
            (Some(text), None) => Content::Text(Value::new(text.into_bytes())),
            (None, Some(bytes)) => Content::Binary(Value::new(bytes.into_inner())),
            (Some(mut text), Some(bytes)) => {
                text.zeroize();
                bytes.into_inner().zeroize();
                return Err(nonsense("both a text and a binary value"));
            }
            (None, None) => return Err(nonsense("no value")),
        };
        let id = said.version_id.take().filter(|id| !id.is_empty()).ok_or_else(|| nonsense("no version"))?;
        if let Wanted::Id(wanted) = wanted
            && *wanted != id
        {
            return Err(SourceFault {
                kind: SourceFaultKind::Transient,
                ..nonsense("another version than the one that was asked for")
            });
        }
        let created = said.created_date.map(|date| written(date.secs(), date.subsec_nanos()));
        Ok((arn, Version { id, stages: said.version_stages.take().unwrap_or_default(), created, content }))
    }
}

impl Source for Manager {
    async fn look(&self) -> Result<Seen, SourceFault> {
        let left = self.denied_looks.load(Ordering::Relaxed);
        if left > 1 {
            self.denied_looks.store(left - 1, Ordering::Relaxed);
            return self.look_by_value().await;
        }
        match self.describe().await {
            Err(fault) if fault.kind == SourceFaultKind::Denied => {
                if self.denied_looks.swap(DENIED_LOOKS, Ordering::Relaxed) == 0 {
                    warn!(secret = self.id, error = %fault, "cannot describe a secret; its value is fetched to look at it");
                }
                self.look_by_value().await
            }
            seen => {
                if seen.is_ok() {
                    self.denied_looks.store(0, Ordering::Relaxed);
                }
                seen
            }
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (kept, wanted) {
            (Some(kept), Wanted::Id(id)) if kept.id == *id => Ok(kept),
            _ => Ok(self.get(wanted).await?.1),
        }
    }
}

impl Place {
    fn new(id: String, access: SdkAccess) -> Self {
        Self { id, access }
    }

    async fn describe(&self) -> Result<DescribeSecretOutput, Fault> {
        let said = self.access.call(|| self.access.client().describe_secret().secret_id(&self.id).send()).await?;
        from_aws(said)
    }

    async fn get(&self, wanted: &Wanted) -> Result<GetSecretValueOutput, Fault> {
        let request = self.access.client().get_secret_value().secret_id(&self.id);
        let request = match wanted {
            Wanted::Id(id) => request.version_id(id),
            Wanted::Stage(stage) => request.version_stage(stage),
        };
        let said = self.access.call(|| request.clone().send()).await?;
        from_aws(said)
    }
}

/// A success has the service's request id. Without one it comes from a proxy or a captive portal.
fn from_aws<T: RequestId>(said: T) -> Result<T, Fault> {
    match said.request_id() {
        Some(id) if !id.is_empty() => Ok(said),
        _ => Err(Fault::no_request_id()),
    }
}

/// True if another region may know better.
fn is_trouble_of_region(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Unreachable | FaultKind::Ambiguous | FaultKind::Transient => {
            fault.status.is_none_or(|status| status >= 500)
        }
        _ => false,
    }
}

/// The same secret in another region: its ARN differs in nothing else.
fn in_region(id: &str, region: &str) -> String {
    let mut parts: Vec<&str> = id.split(':').collect();
    if parts.len() > 5 && parts[0] == "arn" {
        parts[3] = region;
    }
    parts.join(":")
}

/// Reads the length of a rotation window: `3h`.
fn seconds(duration: &str) -> Option<u64> {
    duration.strip_suffix('h')?.parse::<u64>().ok()?.checked_mul(3_600)
}

/// A time as the service writes it: seconds, and milliseconds if there are any.
fn written(seconds: i64, nanoseconds: u32) -> String {
    match nanoseconds / 1_000_000 {
        0 => seconds.to_string(),
        milliseconds => format!("{seconds}.{milliseconds:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
