//! Asks for secrets before anybody else does, so that the first who does need not wait.
//!
//! Promises: one after another, after a random wait if there is to be one, so that a fleet that starts is no storm; at most as
//! many as tags may bring; what cannot be had is told, and asked for again by who wants it.
//! Never: counts as one who reads; holds up anything.

use std::{sync::Arc, time::Duration};

use aws_sdk_secretsmanager::{
    operation::list_secrets::ListSecretsOutput,
    types::{Filter, FilterNameStringType, SecretListEntry},
};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    api::{Ask, Freshness},
    settings::{Api, Prefetch},
    source::region_of,
    vault::JobVault,
};
use crate::{
    aws::{Access, Identity},
    life::Life,
};

/// Entries of a page (API reference: at most 100).
const PAGE: i32 = 100;
/// Pauses before a list that could not be had is asked for again. Who starts while AWS is away finds it back within a minute, or
/// has other trouble.
const PAUSES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(50)];

/// Begins to ask.
pub(super) fn start(settings: &Api, vault: &Arc<JobVault>, access: &Arc<Access>, life: &Life) {
    if settings.prefetch.is_empty() {
        return;
    }
    let (vault, access, settings, stopping) =
        (Arc::clone(vault), Arc::clone(access), settings.clone(), life.stopping());
    life.spawn("secrets-prefetch", async move {
        stopping.run_until_cancelled(all(&settings, &vault, &access)).await;
    });
}

async fn all(settings: &Api, vault: &JobVault, access: &Access) {
    let longest = settings.prefetch_splay.map_or(Duration::ZERO, |splay| splay.0);
    sleep(longest.mul_f64(fastrand::f64())).await;
    let mut left = settings.prefetch_max();
    for Prefetch { id, tag, role_arn } in &settings.prefetch {
        let ids = match (id, tag) {
            (Some(id), _) => vec![id.clone()],
            (None, Some(tag)) => {
                let mut ids = tagged(tag, role_arn.as_ref(), settings, access, left).await;
                ids.truncate(left);
                left -= ids.len();
                info!(tag, secrets = ids.len(), "secrets with a tag are asked for");
                ids
            }
            (None, None) => Vec::new(),
        };
        for id in ids {
            let ask = Ask { id, role_arn: role_arn.clone(), ..Ask::default() };
            // Not as one who reads: nobody has used it yet.
            let _ = vault.cache.get(&ask, Freshness::Cached).await;
        }
    }
}

/// The ARNs of secrets that have this tag, `most` or a few more.
async fn tagged(tag: &str, role: Option<&String>, settings: &Api, access: &Access, most: usize) -> Vec<String> {
    let mut pauses = PAUSES.iter();
    loop {
        let why = match list(tag, role, settings, access, most).await {
            Ok(ids) => return ids,
            Err(why) => why,
        };
        warn!(tag, why, "secrets with a tag cannot be listed; allow `secretsmanager:ListSecrets`");
        match pauses.next() {
            Some(pause) => sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await,
            None => return Vec::new(),
        }
    }
}

async fn list(
    tag: &str,
    role: Option<&String>,
    settings: &Api,
    access: &Access,
    most: usize,
) -> Result<Vec<String>, String> {
    let region = region_of("", settings.region.as_deref(), access).map_err(|error| error.to_string())?;
    let identity = Identity { role_arn: role.cloned(), ..Identity::default() };
    let sdk = access.secrets_manager(&region, settings.endpoint.as_deref(), &identity);
    let sdk = sdk.map_err(|error| error.to_string())?;
    let filter = Filter::builder().key(FilterNameStringType::TagKey).values(tag).build();
    let (mut ids, mut token) = (Vec::new(), None);
    while ids.len() < most {
        let page = sdk.client().list_secrets().max_results(PAGE).filters(filter.clone()).set_next_token(token.take());
        let mut page: ListSecretsOutput = sdk.call(|| page.clone().send()).await.map_err(|fault| fault.to_string())?;
        let entries = page.secret_list.take().unwrap_or_default();
        ids.extend(entries.into_iter().filter(|entry| has(entry, tag)).filter_map(|entry| entry.arn));
        token = page.next_token.take().filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Ok(ids)
}

/// The service's filter is one of beginnings: `Team` finds `TeamLead` too.
fn has(entry: &SecretListEntry, tag: &str) -> bool {
    entry.tags().iter().any(|one| one.key() == Some(tag))
}
