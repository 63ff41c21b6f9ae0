//! Credentials: asked for when first needed, shared by everyone who signs, renewed before they expire.
//!
//! Promises: one fetch at a time, at most one per second; nobody waits for a renewal while the old credentials are good,
//! except the one caller who asks for it, and that one at most [`limits::CREDENTIALS_TIMEOUT`]; the last good ones are
//! used until they expire. Renewal starts at least 5 minutes before that, and up to a fifth of their life earlier, so that
//! tasks that started together do not renew together.
//! Never: asks at start, writes a credential anywhere, reads the environment itself (`aws-config`'s providers do, as
//! documented by AWS: variables, profile, web identity, container endpoint, instance metadata).

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError};
use aws_smithy_runtime_api::client::identity::Identity as SigningIdentity;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout},
};

use super::{
    Clock, EndpointError, Fault, FaultKind, Identity,
    error::chain,
    sdk::{Bridge, ProviderChain},
};
use crate::{limits, net::http::HttpClient};

/// Renewal starts this long before the end, at the latest.
const LEAD: Duration = Duration::from_secs(5 * 60);
/// Renewal starts up to this share of the credentials' life earlier.
const SPREAD: f64 = 0.2;
/// New credentials are used at least this long, even if by our clock they have expired: only by using them do we learn
/// from AWS that it is our clock that is wrong.
const LIFE_MIN: Duration = Duration::from_secs(60);
/// What a request may take from signing to being checked.
const MARGIN: Duration = Duration::from_secs(10);
/// The shortest time between two fetches, and the pause after the first failure. It doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause. The providers are on the host or in the region; nobody is helped by waiting longer.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The credentials of one identity; clones share them.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    source: Source,
    clock: Clock,
    held: RwLock<Option<Held>>,
    flight: Mutex<Flight>,
}

/// Where credentials come from.
enum Source {
    Provider(SharedCredentialsProvider),
    Chain(Box<ProviderChain>),
}

/// Credentials that were fetched.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) identity: SigningIdentity,
    /// Counts fetches.
    generation: u64,
    renew_at: Option<SystemTime>,
    use_until: Option<SystemTime>,
}

/// Belongs to whoever is fetching.
#[derive(Default)]
struct Flight {
    provider: Option<SharedCredentialsProvider>,
    fetches: u64,
    failures: u32,
    rest_until: Option<Instant>,
    fault: Option<Fault>,
}

impl Credentials {
    /// The credentials of `identity`, found as AWS documents it for its SDKs. Nothing is asked yet. STS, where a role is
    /// to be assumed, is asked in `region`.
    pub fn new(identity: &Identity, region: &str, http: &HttpClient, clock: Clock) -> Result<Self, EndpointError> {
        let chain = ProviderChain::new(identity, region, Bridge { http: http.clone(), clock: clock.clone() })?;
        Ok(Self::from_source(Source::Chain(Box::new(chain)), clock))
    }

    /// The credentials of a provider, which can be fixed ones: `aws_credential_types::Credentials` is a provider too.
    pub fn from_provider(provider: impl ProvideCredentials + 'static, clock: Clock) -> Self {
        Self::from_source(Source::Provider(SharedCredentialsProvider::new(provider)), clock)
    }

    fn from_source(source: Source, clock: Clock) -> Self {
        Self(Arc::new(Shared { source, clock, held: RwLock::default(), flight: Mutex::default() }))
    }

    /// The clock that expiry is compared with, and that signatures should use.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// True if there are credentials that can be used now. Asks nobody.
    pub fn are_held(&self) -> bool {
        self.held(Held::use_until).is_some()
    }

    /// Credentials to sign with.
    pub(super) async fn get(&self) -> Result<Held, Fault> {
        if let Some(fresh) = self.held(Held::renew_at) {
            return Ok(fresh);
        }
        if let Some(old) = self.held(Held::use_until) {
            return match self.0.flight.try_lock() {
                Ok(flight) => match self.held(Held::renew_at) {
                    Some(fresh) => Ok(fresh),
                    None => Ok(self.fetch(flight).await.unwrap_or(old)),
                },
                Err(_) => Ok(old),
            };
        }
        let flight = self.0.flight.lock().await;
        match self.held(Held::use_until) {
            Some(held) => Ok(held), // fetched while we waited
            None => self.fetch(flight).await,
        }
    }

    /// Drops credentials that a service refused, unless there are newer ones already.
    pub(super) fn forget(&self, refused: &Held) {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.generation == refused.generation) {
            *held = None;
        }
    }

    fn held(&self, until: fn(&Held) -> Option<SystemTime>) -> Option<Held> {
        let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        until(&held).is_none_or(|until| self.0.clock.now() < until).then_some(held)
    }

    async fn fetch(&self, mut flight: MutexGuard<'_, Flight>) -> Result<Held, Fault> {
        if let Some(fault) = flight.resting(Instant::now()) {
            return Err(fault);
        }
        match self.ask(&mut flight).await {
            Ok(credentials) => {
                flight.succeeded(Instant::now());
                let held = Held::new(credentials, flight.fetches, self.0.clock.now());
                *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
                Ok(held)
            }
            Err(fault) => {
                flight.failed(Instant::now(), fault.clone());
                Err(fault)
            }
        }
    }

    async fn ask(&self, flight: &mut Flight) -> Result<aws_credential_types::Credentials, Fault> {
        let asking = async {
            let provider = match (flight.provider.take(), &self.0.source) {
                (Some(provider), _) => provider,
                (None, Source::Provider(provider)) => provider.clone(),
                (None, Source::Chain(chain)) => chain.provider().await,
            };
            flight.provider.insert(provider).provide_credentials().await
        };
        // Boxed: the SDK's future is larger than all of ours together.
        match timeout(limits::CREDENTIALS_TIMEOUT, Box::pin(asking)).await {
            Ok(result) => result.map_err(|error| fault(&error)),
            Err(_) => {
                let text = format!(
                    "no AWS credentials within {:?}; is the credential endpoint up?",
                    limits::CREDENTIALS_TIMEOUT
                );
                Err(Fault::own(FaultKind::Credentials, "no_credentials", &text))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("are_held", &self.are_held()).finish_non_exhaustive()
    }
}

impl Held {
    fn new(credentials: aws_credential_types::Credentials, generation: u64, now: SystemTime) -> Self {
        let life = credentials.expiry().map(|end| end.duration_since(now).unwrap_or_default());
        let lead = |life: Duration| LEAD + life.mul_f64(SPREAD * fastrand::f64());
        let renew = life.map(|life| life.saturating_sub(lead(life)).max(life / 2).max(LIFE_MIN / 2));
        let until = life.map(|life| life.saturating_sub(MARGIN).max(LIFE_MIN));
        // A date that cannot be expressed is as good as none.
        let at = |after: Option<Duration>| after.and_then(|after| now.checked_add(after));
        Self { identity: credentials.into(), generation, renew_at: at(renew), use_until: at(until) }
    }

    fn renew_at(&self) -> Option<SystemTime> {
        self.renew_at
    }

    fn use_until(&self) -> Option<SystemTime> {
        self.use_until
    }
}

impl Flight {
    /// What to answer instead of fetching, if it is too early for that.
    fn resting(&self, now: Instant) -> Option<Fault> {
        let left = self.rest_until?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let refused =
            || Fault::own(FaultKind::Credentials, "credentials_refused", "new AWS credentials were refused too");
        let fault = self.fault.clone().unwrap_or_else(refused);
        Some(Fault { retry_after: Some(left), ..fault })
    }

    fn succeeded(&mut self, now: Instant) {
        let (provider, fetches) = (self.provider.take(), self.fetches + 1);
        *self = Self { provider, fetches, rest_until: Some(now + PAUSE_MIN), ..Self::default() };
    }

    fn failed(&mut self, now: Instant, fault: Fault) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX);
        self.failures += 1;
        self.rest_until = Some(now + pause.mul_f64(1.0 + SPREAD * fastrand::f64()));
        self.fault = Some(fault);
        // Some providers remember for ever what they could not use; the next fetch begins anew.
        self.provider = None;
    }
}

fn fault(error: &CredentialsError) -> Fault {
    let text = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no AWS credentials found; give the task definition a `taskRoleArn` with the permissions it needs"
                .to_owned()
        }
        error => format!("cannot get AWS credentials: {}", chain(error)),
    };
    Fault::own(FaultKind::Credentials, "no_credentials", &text)
}
