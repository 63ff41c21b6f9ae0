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

use aws_credential_types::{
    Credentials as Keys,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
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
        let chain = ProviderChain::new(identity, region, Bridge::for_providers(http.clone(), clock.clone()))?;
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

/// For the SDK's clients: they share what is held.
impl ProvideCredentials for Credentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let held = self.get().await.map_err(CredentialsError::provider_error)?;
            held.identity.data::<Keys>().cloned().ok_or_else(|| CredentialsError::unhandled("not AWS keys"))
        })
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
    const ADVICE: &str =
        "no AWS credentials found; give the task definition a `taskRoleArn` with the permissions it needs";
    let text = chain(error);
    let message = match error {
        CredentialsError::CredentialsNotLoaded(_) => ADVICE.to_owned(),
        // The chain ends with the instance's metadata service. To get there means that nothing else was configured.
        _ if text.contains("IMDS") => format!("{ADVICE} ({text})"),
        _ => format!("cannot get AWS credentials: {text}"),
    };
    Fault::own(FaultKind::Credentials, "no_credentials", &message)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Mutex as StdMutex, atomic::AtomicUsize, atomic::Ordering},
        time::UNIX_EPOCH,
    };

    use aws_credential_types::{Credentials as Keys, provider::future};

    use super::*;

    const HOUR: u64 = 3_600;

    /// What the provider does at one fetch.
    #[derive(Clone, Debug)]
    enum Step {
        /// Gives credentials with this name, which expire so many seconds after the test began.
        Give(&'static str, u64),
        Fail,
        Hang,
        /// Gives credentials an hour long, after a while.
        Slow(&'static str, Duration),
    }

    /// A provider that follows a script, and the credentials over it. Time is tokio's, which is paused.
    struct Script {
        steps: StdMutex<VecDeque<Step>>,
        fetches: AtomicUsize,
        began: Instant,
    }

    #[derive(Clone)]
    struct Scripted(Arc<Script>);

    impl fmt::Debug for Scripted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Scripted")
        }
    }

    impl Scripted {
        /// The last step is repeated for ever.
        fn credentials(steps: &[Step]) -> (Self, Credentials) {
            let steps = StdMutex::new(steps.iter().cloned().collect());
            let began = Instant::now();
            let script = Self(Arc::new(Script { steps, fetches: AtomicUsize::new(0), began }));
            let clock = Clock::new(move || UNIX_EPOCH + began.elapsed());
            (script.clone(), Credentials::from_provider(script, clock))
        }

        fn fetches(&self) -> usize {
            self.0.fetches.load(Ordering::Relaxed)
        }

        fn next(&self) -> Step {
            self.0.fetches.fetch_add(1, Ordering::Relaxed);
            let mut steps = self.0.steps.lock().expect("not poisoned");
            if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() }.expect("a script has a step")
        }
    }

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let keys = |name: &str, end| Keys::new(name, "SECRET", Some("TOKEN".into()), Some(end), "script");
            let step = self.next();
            let began = self.0.began;
            future::ProvideCredentials::new(async move {
                match step {
                    Step::Give(name, end) => Ok(keys(name, UNIX_EPOCH + Duration::from_secs(end))),
                    Step::Fail => Err(CredentialsError::provider_error("status 500")),
                    Step::Hang => std::future::pending().await,
                    Step::Slow(name, time) => {
                        tokio::time::sleep(time).await;
                        Ok(keys(name, UNIX_EPOCH + began.elapsed() + Duration::from_secs(HOUR)))
                    }
                }
            })
        }
    }

    fn name(held: &Held) -> &str {
        held.identity.data::<Keys>().expect("credentials are inside").access_key_id()
    }

    async fn advance(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_before_it_is_needed_and_then_once_for_all() {
        let (script, credentials) = Scripted::credentials(&[Step::Slow("a", Duration::from_secs(2))]);
        assert!(!credentials.are_held());
        assert_eq!(script.fetches(), 0);
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let credentials = credentials.clone();
                async move { credentials.get().await.map(|held| name(&held).to_owned()) }
            })
            .collect();
        let mut all = tokio::task::JoinSet::new();
        for caller in callers {
            all.spawn(caller);
        }
        for outcome in all.join_all().await {
            assert_eq!(outcome, Ok("a".to_owned()));
        }
        assert_eq!(script.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_starts_between_a_quarter_and_five_minutes_before_the_end() {
        let mut early = 0;
        for _ in 0..50 {
            let (script, credentials) = Scripted::credentials(&[Step::Give("a", 6 * HOUR), Step::Give("b", 12 * HOUR)]);
            credentials.get().await.expect("a");
            advance(6 * HOUR * 3 / 4).await;
            assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("a".into()));
            advance(6 * HOUR / 4 - 600).await; // 10 minutes are left
            credentials.get().await.expect("a or b");
            early += script.fetches() - 1;
            advance(300).await;
            assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("b".into()));
        }
        assert!((25..=50).contains(&early), "{early} of 50 renewed more than ten minutes early");
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_caller_waits_for_a_renewal() {
        let (script, credentials) = Scripted::credentials(&[Step::Give("a", HOUR), Step::Hang]);
        credentials.get().await.expect("a");
        advance(HOUR - 120).await;
        let began = Instant::now();
        let (first, second) = tokio::join!(credentials.get(), async {
            let held = credentials.get().await;
            assert_eq!(began.elapsed(), Duration::ZERO, "the old ones are good");
            held
        });
        assert_eq!(began.elapsed(), limits::CREDENTIALS_TIMEOUT);
        assert_eq!((name(&first.expect("old")), name(&second.expect("old"))), ("a", "a"));
        assert_eq!(script.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_ones_are_used_until_they_expire() {
        let (_, credentials) = Scripted::credentials(&[Step::Give("a", HOUR), Step::Fail]);
        credentials.get().await.expect("a");
        advance(HOUR - 11).await;
        assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("a".into()));
        advance(10).await;
        let fault = credentials.get().await.expect_err("expired");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Credentials, "no_credentials"));
        assert!(
            fault.message.starts_with("cannot get AWS credentials: ") && fault.message.ends_with("status 500"),
            "{fault}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_spaced_and_recovery_is_quick() {
        let mut steps = vec![Step::Fail; 9];
        steps.push(Step::Slow("a", Duration::ZERO));
        let (script, credentials) = Scripted::credentials(&steps);
        let mut times = Vec::new();
        while !credentials.are_held() {
            let before = script.fetches();
            let outcome = credentials.get().await;
            if script.fetches() > before {
                times.push(Instant::now());
            } else {
                let wait = outcome.expect_err("resting").retry_after.expect("says how long");
                assert!(wait <= PAUSE_MAX.mul_f64(1.0 + SPREAD), "{wait:?}");
            }
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        for pair in times.windows(2) {
            let pause = pair[1] - pair[0];
            assert!(pause >= PAUSE_MIN && pause <= Duration::from_secs(10), "{pause:?}");
        }
        assert_eq!(times.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_costs_five_seconds() {
        let (_, credentials) = Scripted::credentials(&[Step::Hang]);
        let began = Instant::now();
        let fault = credentials.get().await.expect_err("nothing came");
        assert_eq!(began.elapsed(), limits::CREDENTIALS_TIMEOUT);
        assert_eq!(fault.message, "no AWS credentials within 5s; is the credential endpoint up?");
    }

    /// With a clock that is a day ahead all credentials look expired; only AWS can tell us that they are not.
    #[tokio::test(start_paused = true)]
    async fn credentials_that_look_expired_are_tried_for_a_minute() {
        let (script, credentials) = Scripted::credentials(&[Step::Give("a", 0)]);
        advance(86_400).await;
        assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("a".into()));
        advance(29).await;
        credentials.get().await.expect("still tried");
        assert_eq!(script.fetches(), 1);
        advance(31).await;
        credentials.get().await.expect("fetched again");
        assert_eq!(script.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_fetched_again_at_most_once_a_second() {
        let (script, credentials) = Scripted::credentials(&[Step::Give("a", HOUR), Step::Give("b", HOUR)]);
        let first = credentials.get().await.expect("a");
        credentials.forget(&first);
        let fault = credentials.get().await.expect_err("too early");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Credentials, "credentials_refused"));
        assert!(fault.retry_after.is_some_and(|wait| wait <= PAUSE_MIN));
        advance(1).await;
        let second = credentials.get().await.expect("b");
        assert_eq!(name(&second), "b");
        credentials.forget(&first); // a late refusal of the old ones
        assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("b".into()));
        assert_eq!(script.fetches(), 2);
    }

    /// Only a cancelled caller: the next one must not wait for it, nor be told to rest.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_the_way_free() {
        let (script, credentials) = Scripted::credentials(&[Step::Hang, Step::Give("b", HOUR)]);
        timeout(Duration::from_secs(1), credentials.get()).await.expect_err("it hangs");
        assert_eq!(credentials.get().await.map(|held| name(&held).to_owned()), Ok("b".into()));
        assert_eq!(script.fetches(), 2);
    }

    #[tokio::test]
    async fn credentials_without_an_end_are_kept_and_never_shown() {
        let keys = Keys::new("AKID", "SECRET", Some("TOKEN".into()), None, "test");
        let credentials = Credentials::from_provider(keys, Clock::system());
        let held = credentials.get().await.expect("fixed ones");
        assert_eq!((held.renew_at, held.use_until), (None, None));
        let shown = format!("{credentials:?} {held:?}");
        assert!(!shown.contains("SECRET") && !shown.contains("TOKEN"), "{shown}");
    }

    #[test]
    fn who_gives_the_task_no_role_is_told_so() {
        for error in [
            CredentialsError::not_loaded("nothing configured"),
            CredentialsError::provider_error("failed to load IMDS session token"),
        ] {
            let fault = fault(&error);
            assert_eq!(fault.kind, FaultKind::Credentials);
            assert!(fault.message.contains("taskRoleArn"), "{fault}");
        }
    }
}
