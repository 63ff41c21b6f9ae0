//! What the local API is answered from: a cache of any secret, and the items of the configuration.
//!
//! Promises: a refresh ends when the files show what came of it.
//! Never: keeps a secret longer than the cache does.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    api::{Ask, Freshness, Generation, Given, Kind, Refusal, Vault, Way, cache::Cache},
    hide::{Hidden, Hider},
    item::Item,
    passes::Passes,
    proof::Proof,
    settings,
    source::{AnySource, Parameter, Seen, Source, SourceError, SourceFault, SourceFaultKind, Wanted},
    value::Version,
};
use crate::aws::Access;

/// How long a refresh may take. The source has 45 s for one question.
const REFRESH_MAX: Duration = Duration::from_secs(50);

/// Opens the source of what is asked for.
pub(super) type Opening = Box<dyn Fn(&Ask) -> Asked + Send + Sync>;

/// The job, as the API sees it.
pub(super) struct JobVault {
    pub(super) cache: Cache<Opening, Asked>,
    pub(super) items: Vec<Arc<Item>>,
    /// Has the files written.
    pub(super) passes: Arc<Passes>,
    pub(super) generations: watch::Receiver<Arc<Generation>>,
    pub(super) proof: Proof,
}

/// A source, or why there is none.
pub(super) enum Asked {
    Source(Box<Hiding>),
    Fault(SourceError),
}

/// A source whose values are hidden before they are given to anybody.
pub(super) struct Hiding {
    source: AnySource,
    /// What was asked for.
    id: String,
    /// What the user wants for the secret with this id.
    mask: settings::Mask,
    hider: Hider,
}

/// The name by which what apps ask for is counted. Its own name may be anything.
const NAME: &str = "api";

/// How sources are opened for the API, whose settings name region and endpoint of what names none.
pub(super) fn opening(api: &settings::Api, items: &[settings::Item], access: Arc<Access>, hider: Hider) -> Opening {
    let (region, endpoint) = (api.region.clone(), api.endpoint.clone());
    let wishes: Vec<(String, settings::Mask)> = items
        .iter()
        .filter(|item| item.mask != settings::Mask::Auto)
        .filter_map(|item| Some((id_of(&item.from)?.to_owned(), item.mask)))
        .collect();
    Box::new(move |ask| {
        let parameter = || settings::Parameter {
            name: match ask.version_id.as_ref().or(ask.version_stage.as_ref()) {
                Some(selector) => format!("{}:{selector}", ask.id),
                None => ask.id.clone(),
            },
            region: region.clone().filter(|_| !ask.id.starts_with("arn:")),
            role_arn: ask.role_arn.clone(),
            endpoint: endpoint.clone(),
        };
        let opened = match ask.kind {
            Kind::Secret => {
                let secret = settings::SecretsManager {
                    id: ask.id.clone(),
                    version: ask.version_id.clone(),
                    stage: ask.version_stage.clone(),
                    region: region.clone().filter(|_| !ask.id.starts_with("arn:")),
                    failover_regions: Vec::new(),
                    failover_endpoints: Vec::new(),
                    role_arn: ask.role_arn.clone(),
                    endpoint: endpoint.clone(),
                };
                AnySource::new(&settings::From::SecretsManager(secret), &access)
            }
            Kind::Parameter => AnySource::new(&settings::From::Parameter(parameter()), &access),
            Kind::SealedParameter => {
                Parameter::sealed(&parameter(), &access).map(|parameter| AnySource::Parameter(Box::new(parameter)))
            }
        };
        let wish = wishes.iter().find(|(id, _)| is_same(id, &ask.id));
        let mask = wish.map_or(settings::Mask::Auto, |(_, mask)| *mask);
        let hiding =
            |source| Asked::Source(Box::new(Hiding { source, id: ask.id.clone(), mask, hider: Arc::clone(&hider) }));
        opened.map_or_else(Asked::Fault, hiding)
    })
}

/// By which an item is known to its service, if it is one secret.
fn id_of(from: &settings::From) -> Option<&str> {
    match from {
        settings::From::SecretsManager(secret) => Some(&secret.id),
        settings::From::Parameter(parameter) => Some(&parameter.name),
        settings::From::Parameters(_) | settings::From::File(_) => None,
    }
}

/// True if both are the same secret or parameter: by its name, its ARN, or its ARN without the end.
fn is_same(one: &str, other: &str) -> bool {
    let names = |id: &str| {
        let Some((_, name)) = id.strip_prefix("arn:").and_then(|rest| rest.split_once(":secret:")) else {
            // Of a parameter; the colon is before a version or a label.
            let name = id.split_once(":parameter").filter(|_| id.starts_with("arn:")).map_or(id, |(_, name)| name);
            let name = name.split(':').next().unwrap_or_default();
            return [name.to_owned(), name.to_owned()];
        };
        let end = name.len().saturating_sub(7);
        let is_end = name.is_char_boundary(end) && name[end..].starts_with('-');
        [name.to_owned(), if is_end { name[..end].to_owned() } else { name.to_owned() }]
    };
    let other = names(other);
    names(one).iter().any(|name| other.contains(name))
}

impl Source for Asked {
    async fn look(&self) -> Result<Seen, SourceFault> {
        match self {
            Self::Source(hiding) => hiding.source.look().await,
            Self::Fault(error) => Err(fault(error)),
        }
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        match self {
            Self::Source(hiding) => hiding.fetch(wanted).await,
            Self::Fault(error) => Err(fault(error)),
        }
    }
}

impl Hiding {
    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let version = self.source.fetch(wanted).await?;
        let (value, mask) = (version.content.value().clone(), self.mask);
        let called = self.id.rsplit('/').next().unwrap_or_default().to_owned();
        let hidden =
            Hidden { name: NAME.to_owned(), called, version: format!("{} {}", self.id, version.id), value, mask };
        self.hider.also(vec![hidden]).await;
        Ok(version)
    }
}

fn fault(error: &SourceError) -> SourceFault {
    SourceFault { kind: SourceFaultKind::Invalid, what: error.to_string(), code: None, status: None }
}

impl Vault for JobVault {
    async fn get(&self, ask: &Ask, freshness: Freshness) -> Result<Given, Refusal> {
        let given = self.cache.get(ask, freshness).await?;
        let (id, version) = given.answer.of();
        self.proof.read(id, version);
        Ok(given)
    }

    fn knows(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.settings.name == name)
    }

    async fn refresh(&self, names: Vec<String>) -> Result<(), Refusal> {
        let is_meant = |item: &&Arc<Item>| names.is_empty() || names.contains(&item.settings.name);
        let meant: Vec<&Arc<Item>> = self.items.iter().filter(is_meant).collect();
        let looks: Vec<_> = meant.iter().map(|item| item.look_soon()).collect();
        let all = async {
            for look in looks {
                look.await;
            }
            self.passes.one_more().await;
        };
        if timeout(REFRESH_MAX, all).await.is_err() {
            return Err(Refusal::new(504, "TimeoutError", "Timeout"));
        }
        match meant.iter().find_map(|item| item.trouble()) {
            None => Ok(()),
            Some(fault) => {
                let code = fault.code.clone().unwrap_or_else(|| "InternalFailure".to_owned());
                Err(Refusal::new(fault.status.unwrap_or(502), &code, &fault.what))
            }
        }
    }

    fn generations(&self) -> watch::Receiver<Arc<Generation>> {
        self.generations.clone()
    }

    fn acknowledged(&self, way: Way, number: u64) -> bool {
        self.proof.acknowledged(way, number)
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn a_secret_is_the_same_by_each_of_its_names() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db";
        let full = format!("{arn}-AbCdEf");
        let parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/orders/flag";
        for (one, other, expected) in [
            ("prod/db", "prod/db", true),
            ("prod/db", arn, true),
            ("prod/db", full.as_str(), true),
            (arn, full.as_str(), true),
            ("prod/other", full.as_str(), false),
            ("prod/db-AbCdEf", "prod/db", false),
            ("/orders/flag", parameter, true),
            ("/orders/flag:prod", parameter, true),
            ("/orders/flag", "/orders/flags", false),
            ("", arn, false),
        ] {
            assert_eq!((is_same(one, other), is_same(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
