//! Targets, each scraped by its own clock until the agent stops.
//!
//! Promises: targets are spread over the interval; one that does not answer yet is asked again soon; one that is not there any more is
//! forgotten; when the agent stops each is scraped once more, in little time.
//! Never: has one target wait for another, unless both are large.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::{Request, StatusCode};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    SMALL_BYTES,
    fetch::{Failure, Fetched, fetch},
    settings::Scrape,
    take::{Taken, Taker},
    target::{Address, Named, Target, discovered},
};
use crate::{
    life::Life,
    limits::{METADATA_BYTES_MAX, METADATA_TIMEOUT, SCRAPE_TARGETS_MAX},
    metrics::{
        Seconds,
        exposition::{Format, Limits},
        relabel::Rules,
        rhythm::until_next,
        store::{Store, key::SourceId, policy::Policy},
        task::document::Task,
    },
    net::http::{Bounds, HttpClient},
    tell::{RateLimited, chain, counters::Counters},
};

/// How soon a target is asked again that has not answered yet.
const EAGER_EVERY: Duration = Duration::from_secs(5);
/// For how long: an app that starts for longer is scraped at its usual time.
const EAGER_FOR: Duration = Duration::from_secs(300);
/// For how long nobody is told that nobody listens.
const STARTING_FOR: Duration = Duration::from_secs(60);
/// How often the labels of the task's containers are looked at.
const DISCOVER_EVERY: Duration = Duration::from_secs(60);
/// How long the last scrape may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an exposition that is read where it comes: a third of a millisecond of work.
const INLINE_BYTES: usize = 64 * 1024;
const WARN_EVERY: Duration = Duration::from_secs(300);

/// What all targets of an input share.
pub struct Scraper {
    store: Store,
    seconds: Seconds,
    http: HttpClient,
    counters: Counters,
    life: Life,
    closing: CancellationToken,
    /// The input's name on `/metrics`.
    input: String,
    policy: Policy,
    rules: Rules,
    limits: Limits,
    bytes_max: usize,
    every: Duration,
    timeout: Duration,
    our_birth: f64,
    begun: Instant,
    spread: RandomState,
    /// Large bodies are read one at a time, and what is compressed is opened one at a time.
    large: Semaphore,
    opening: Semaphore,
    sources: Mutex<HashMap<Address, SourceId>>,
}

/// What the input needs of the rest of the agent.
pub struct Means<'a> {
    /// Where samples go.
    pub store: &'a Store,
    /// Its clock.
    pub seconds: Seconds,
    /// To ask with.
    pub http: &'a HttpClient,
    /// To count.
    pub counters: &'a Counters,
    /// To run in.
    pub life: &'a Life,
    /// Ends everything.
    pub closing: &'a CancellationToken,
}

/// A target while it is scraped.
struct Follower {
    scraper: Arc<Scraper>,
    target: Target,
    taker: Arc<Mutex<Taker>>,
    gone: CancellationToken,
    warned: RateLimited,
}

impl Scraper {
    /// As `settings` say; `input` is the name on `/metrics`.
    pub fn new(settings: &Scrape, input: &str, policy: Policy, means: &Means<'_>) -> Arc<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Self {
            store: means.store.clone(),
            seconds: means.seconds,
            http: means.http.clone(),
            counters: means.counters.clone(),
            life: means.life.clone(),
            closing: means.closing.clone(),
            input: input.to_owned(),
            policy,
            // `config` has told what is wrong with them.
            rules: Rules::new(&settings.relabel).unwrap_or_default(),
            limits: settings.limits(),
            bytes_max: settings.bytes_max(),
            every: settings.every(),
            timeout: settings.timeout(),
            our_birth: since_1970.as_secs_f64(),
            begun: Instant::now(),
            spread: RandomState::default(),
            large: Semaphore::new(1),
            opening: Semaphore::new(1),
            sources: Mutex::default(),
        })
    }

    /// Scrapes what `settings` name until the agent stops. `metadata` is where the task's labels are told.
    pub async fn run(self: Arc<Self>, settings: Scrape, metadata: Option<String>) {
        let mut named: Vec<&Address> = Vec::new();
        for target in settings.targets() {
            if let Named::Address(address) = target
                && !named.contains(&address)
            {
                named.push(address);
            }
        }
        let follow = |address: &&Address| self.follow(Target::of(address, settings.job()), CancellationToken::new());
        let following: Vec<_> = named.iter().filter_map(follow).collect();
        if settings.targets().contains(&Named::Auto) {
            match metadata {
                Some(uri) => self.discover(&uri, &named).await,
                None => info!("there is no task metadata endpoint; targets are those that are named"),
            }
        }
        for one in following {
            // A panic was told by `life`.
            let _ = one.await;
        }
    }

    /// Follows what the labels of the task's containers tell, without those that are `named` too.
    async fn discover(self: &Arc<Self>, uri: &str, named: &[&Address]) {
        let mut following: HashMap<Address, (Target, CancellationToken, JoinHandle<()>)> = HashMap::new();
        let warned = RateLimited::new(WARN_EVERY);
        let warn = |what: &str, why: &str| {
            if let Some(suppressed) = warned.allow(Instant::now()) {
                warn!(container = what, why, suppressed, "a container's labels name no target");
            }
        };
        loop {
            if let Some(task) = self.task(uri).await {
                let mut found = discovered(&task, SCRAPE_TARGETS_MAX, |container, why| warn(container, &why));
                found.retain(|target| !named.contains(&&target.address));
                following.retain(|_, (target, gone, handle)| {
                    let is_there = found.contains(target) && !handle.is_finished();
                    if !is_there {
                        gone.cancel();
                    }
                    is_there
                });
                for target in found {
                    if following.contains_key(&target.address) {
                        continue;
                    }
                    let gone = CancellationToken::new();
                    if let Some(handle) = self.follow(target.clone(), gone.clone()) {
                        info!(target = %target.address.uri(), "scraping what a container's labels name");
                        following.insert(target.address.clone(), (target, gone, handle));
                    }
                }
            }
            // Containers that depend on us start after us.
            let is_young = self.begun.elapsed() < EAGER_FOR;
            let pause = if is_young { EAGER_EVERY } else { DISCOVER_EVERY };
            if !self.waited(Instant::now() + pause, &CancellationToken::new()).await {
                break;
            }
        }
        for (_, (.., handle)) in following {
            let _ = handle.await;
        }
    }

    async fn task(&self, uri: &str) -> Option<Task> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("{}/task", uri.trim_end_matches('/')).parse().ok()?;
        let bounds = Bounds { time: METADATA_TIMEOUT, answer_bytes: METADATA_BYTES_MAX };
        let answer = self.http.send_within(request, bounds).await.ok()?;
        Some(answer).filter(|answer| answer.status() == StatusCode::OK).and_then(|answer| Task::read(answer.body()))
    }

    /// Begins to scrape a target. `None` if there were more than are followed.
    fn follow(self: &Arc<Self>, target: Target, gone: CancellationToken) -> Option<JoinHandle<()>> {
        let source = self.source(&target.address)?;
        let taker = Taker::new(source, target.labels.clone(), self.rules.clone(), self.our_birth);
        let follower = Arc::new(Follower {
            scraper: Arc::clone(self),
            target,
            taker: Arc::new(Mutex::new(taker)),
            gone,
            warned: RateLimited::new(WARN_EVERY),
        });
        Some(self.life.keep("scrape", move || Arc::clone(&follower).run()))
    }

    /// The source of a target, the same for the same address. There is no end of addresses that containers can have, but of sources.
    fn source(&self, address: &Address) -> Option<SourceId> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(address) {
            return Some(*source);
        }
        if sources.len() >= SCRAPE_TARGETS_MAX {
            return None;
        }
        let source = self.store.source(self.policy.clone());
        sources.insert(address.clone(), source);
        Some(source)
    }

    /// Waits until `then`. False if the agent stops or what is waited for is gone.
    async fn waited(&self, then: Instant, gone: &CancellationToken) -> bool {
        tokio::select! {
            () = sleep_until(then) => true,
            () = self.life.stopping().cancelled_owned() => false,
            () = self.closing.cancelled() => false,
            () = gone.cancelled() => false,
        }
    }
}

impl Follower {
    async fn run(self: Arc<Self>) {
        let (scraper, every) = (&self.scraper, self.scraper.every);
        let share = scraper.spread.hash_one(&self.target.address) as f64 / u64::MAX as f64;
        let offset = every.mul_f64(share.clamp(0.0, 1.0));
        let mut is_large = false;
        loop {
            self.scrape(&mut is_large, scraper.timeout).await;
            let now = scraper.begun.elapsed();
            let is_eager = !self.taker().has_answered() && now < EAGER_FOR;
            let wait = if is_eager { EAGER_EVERY.min(every) } else { until_next(now, every, offset) };
            if !scraper.waited(Instant::now() + wait, &self.gone).await {
                break;
            }
        }
        // What was counted since the last scrape would be lost.
        if !self.gone.is_cancelled() && self.taker().has_answered() {
            let last = self.scrape(&mut is_large, LAST_TIMEOUT.min(scraper.timeout));
            scraper.closing.run_until_cancelled(timeout(LAST_TIMEOUT, last)).await;
        }
    }

    fn taker(&self) -> std::sync::MutexGuard<'_, Taker> {
        self.taker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One scrape.
    async fn scrape(&self, is_large: &mut bool, patience: Duration) {
        let scraper = &self.scraper;
        let begun = Instant::now();
        let result = self.bring(is_large, patience).await;
        let outcome = result.as_ref().map_or_else(Failure::label, |_| "success");
        let counters = &scraper.counters.metrics;
        counters.asked.with_label_values(&[&*scraper.input, "target", outcome]).inc();
        match &result {
            Ok(taken) => self.count(taken),
            Err(failure) => {
                let is_nobody_there = failure.is_nobody_there();
                if is_nobody_there {
                    self.taker().nobody_there();
                }
                // Apps begin to listen when they are ready.
                let is_starting = is_nobody_there && scraper.begun.elapsed() < STARTING_FOR;
                if !is_starting && let Some(suppressed) = self.warned.allow(Instant::now()) {
                    let target = self.target.address.uri();
                    warn!(%target, error = %chain(failure), suppressed, "scrape failed");
                }
            }
        }
        let now = scraper.seconds.now();
        self.taker().report(&scraper.store, now, result.as_ref().ok(), begun.elapsed().as_secs_f64());
    }

    fn count(&self, taken: &Taken) {
        let (input, counters) = (&*self.scraper.input, &self.scraper.counters.metrics);
        counters.samples.with_label_values(&[input]).inc_by(taken.samples as u64);
        counters.filtered.with_label_values(&[input]).inc_by(taken.dropped as u64);
        for (reason, count) in [("line", taken.faults), ("series_max", taken.without_series)] {
            if count > 0 {
                counters.rejected.with_label_values(&[input, reason]).inc_by(count as u64);
            }
        }
        if let Some(fault) = taken.first_fault
            && let Some(suppressed) = self.warned.allow(Instant::now())
        {
            let target = self.target.address.uri();
            warn!(%target, first = %fault, lines = taken.faults, suppressed, "parts of an exposition are not taken");
        }
    }

    /// Asks, and takes what comes.
    async fn bring(&self, is_large: &mut bool, patience: Duration) -> Result<Taken, Failure> {
        let scraper = &self.scraper;
        let (fetched, _alone) = self.fetch(is_large, patience).await?;
        let format = fetched.format;
        if fetched.len() <= INLINE_BYTES && !fetched.is_compressed() {
            return scraper.take(&self.taker, &fetched.text(scraper.bytes_max)?, format);
        }
        let _opening = scraper.opening.acquire().await;
        let (scraper, taker) = (Arc::clone(scraper), Arc::clone(&self.taker));
        let work = move || scraper.take(&taker, &fetched.text(scraper.bytes_max)?, format);
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Failure::Panicked))
    }

    /// Asks; for a body that is large, when no other such one is asked for.
    async fn fetch(
        &self,
        is_large: &mut bool,
        time: Duration,
    ) -> Result<(Fetched, Option<SemaphorePermit<'_>>), Failure> {
        let (scraper, uri) = (&self.scraper, self.target.address.uri());
        let small = SMALL_BYTES.min(scraper.bytes_max);
        if !*is_large {
            match fetch(uri, &scraper.http, Bounds { time, answer_bytes: small }).await {
                Err(failure) if failure.is_too_large() && small < scraper.bytes_max => *is_large = true,
                done => return done.map(|fetched| (fetched, None)),
            }
        }
        let alone = scraper.large.acquire().await.ok();
        let fetched = fetch(uri, &scraper.http, Bounds { time, answer_bytes: scraper.bytes_max }).await?;
        *is_large = fetched.len() > small;
        Ok((fetched, alone))
    }
}

impl Scraper {
    fn take(&self, taker: &Mutex<Taker>, text: &[u8], format: Format) -> Result<Taken, Failure> {
        let mut taker = taker.lock().unwrap_or_else(PoisonError::into_inner);
        taker.take(&self.store, self.seconds.now(), text, (format, self.limits)).map_err(Failure::Refused)
    }
}
