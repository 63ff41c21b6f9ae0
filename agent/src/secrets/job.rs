//! The secrets job put together: items, publisher, tellers, API.
//!
//! Promises: ready means that every required secret is on the volume, from us or from an earlier process; once ready, always
//! ready: what was written stays.
//! Never: ends the agent, or holds up another job.

use std::{
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    api::{self, ApiSettings, cache::Cache},
    hide::{self, Hider},
    hints,
    item::{self, Item},
    passes::Passes,
    place::{Adopted, Marker, Place},
    prefetch,
    proof::Proof,
    publish::{Outcome, Publisher, generation, report},
    settings::{Api, Secrets},
    source::{AnySource, Batches},
    standing::Standing,
    tell::{Generation, Heard, tellers},
    vault::{JobVault, opening},
};
use crate::{
    aws::Access,
    life::Life,
    net::listen::Listener,
    tell::{chain, counters::Counters, spans::Spans},
};

/// Between tries to write a volume that refused, and between looks whether an old generation can go.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// Between tries to read or make the token.
const API_TRY_EVERY: Duration = Duration::from_millis(200);

/// The API's listener, bound.
#[derive(Debug, Default)]
pub struct Bound(Option<TcpListener>);

/// What the job needs of the rest of the agent.
pub struct Means<'a> {
    /// To run tasks.
    pub life: &'a Life,
    /// To count with.
    pub counters: &'a Counters,
    /// To speak to AWS.
    pub access: &'a Arc<Access>,
    /// Who is told of values before anybody can have them.
    pub hider: &'a Hider,
    /// To tell of looks with.
    pub spans: &'a Spans,
}

/// The running job.
pub struct Job {
    standing: Standing,
    ready: watch::Receiver<bool>,
    adopted: watch::Receiver<bool>,
}

/// Binds the API's listener, if there is to be one.
pub fn bind(secrets: &Secrets) -> Bound {
    let address = secrets.api.as_ref().map(Api::address);
    Bound(address.and_then(|address| TcpListener::bind(address).ok()))
}

impl Job {
    /// Starts everything, if there is something to do.
    pub fn start(secrets: &Secrets, bound: Bound, means: &Means<'_>) -> Option<Self> {
        if !secrets.is_wanted() {
            return None;
        }
        shut_memory();
        let (items, sources) = followed(secrets, means);
        let proof = Proof::new(&items, !secrets.tell.is_empty(), means.counters);
        let standing = Standing::new(proof.clone());
        standing.state().waiting = required(secrets);
        let (ready, is_ready) = watch::channel(secrets.items.is_empty());
        standing.state().ready = secrets.items.is_empty();
        let (adopted, is_adopted) = watch::channel(secrets.items.is_empty());
        let job = Self { standing: standing.clone(), ready: is_ready, adopted: is_adopted };
        let parts = Parts::new(secrets, (items, sources), standing, (ready, adopted), means);
        let generations = parts.generations.subscribe();
        let (passes, items) = (Arc::clone(&parts.passes), parts.items.clone());
        if let Some(settings) = &secrets.hints {
            hints::listen(settings, items.clone(), means.access, means.counters, means.life);
        }
        parts.start(means);
        if let Some(settings) = &secrets.api {
            let (ttl, size) = settings.cache();
            let open = opening(settings, &secrets.items, Arc::clone(means.access), Arc::clone(means.hider));
            let mut cache = Cache::new(open, ttl, size, means.life.clone());
            cache.roles_max = settings.roles_max();
            let vault = Arc::new(JobVault { cache, items, passes, generations, proof });
            prefetch::start(settings, &vault, means.access, means.life);
            serve(settings, secrets, bound, vault, means.life);
        }
        Some(job)
    }

    /// How it stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Waits until what an earlier process left on the volume is hidden, for at most `within`.
    pub async fn has_hidden_what_was_there(&mut self, within: Duration) {
        let _ = timeout(within, self.adopted.wait_for(|adopted| *adopted)).await;
    }

    /// Waits until every required secret is written, for as long as a start may take. Else says what is missing.
    pub async fn is_written(&mut self, within: Duration) -> Result<(), Vec<String>> {
        let written = timeout(within, self.ready.wait_for(|ready| *ready)).await;
        match written {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.standing.waiting().unwrap_or_default()),
        }
    }
}

/// A core file would hold every value, and so would `/proc/PID/mem` for a program of the same user, which also finds our
/// credentials in `/proc/PID/environ`. What we ourselves read below `/proc` stays readable.
fn shut_memory() {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(why) = setrlimit(Resource::Core, nothing) {
        warn!(%why, "the kernel may write core files, which would hold secrets");
    }
    if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%why, "programs of the same user may read the memory of the agent, which holds secrets");
    }
}

fn required(secrets: &Secrets) -> Vec<String> {
    secrets.items.iter().filter(|item| item.required).map(|item| item.name.clone()).collect()
}

fn serve(settings: &Api, secrets: &Secrets, bound: Bound, vault: Arc<JobVault>, life: &Life) {
    let address = settings.address();
    let listener = bound.0.and_then(|listener| listener.set_nonblocking(true).is_ok().then_some(listener));
    let Some(listener) = listener else {
        error!(%address, "the address of the secrets API is taken; there is no API");
        return;
    };
    let (settings, folder) = (settings.clone(), secrets.folder());
    let makes_folder = settings.has_token_in_folder() && secrets.items.is_empty();
    // Apps need secrets until their own end.
    let (own, closing) = (life.clone(), life.hurrying());
    life.spawn("secrets-api", async move {
        let settings = usable(&settings, &folder, makes_folder).await;
        let served = api::serve(Listener::Tcp(listener), vault, settings, &own, closing).await;
        if let Err(why) = served {
            error!(%why, "the secrets API ended; restart the agent");
        }
    });
}

/// The settings with the token, which stands in the folder of secrets. Who makes that is `place`, if there are files.
async fn usable(settings: &Api, folder: &Path, makes_folder: bool) -> ApiSettings {
    let mut told = false;
    loop {
        if makes_folder && let Err(why) = std::fs::create_dir_all(folder) {
            warn!(%why, "the folder of the secrets API's token cannot be made");
        }
        match settings.usable(folder.to_owned()) {
            Ok(settings) => return settings,
            Err(why) if !told && folder.exists() => {
                error!(why, "there is no secrets API yet; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
        sleep(API_TRY_EVERY).await;
    }
}

/// Secrets that can be read, and what each is read from.
type Followed = (Vec<Arc<Item>>, Vec<Arc<AnySource>>);

fn followed(secrets: &Secrets, means: &Means<'_>) -> Followed {
    let (mut items, mut sources) = (Vec::new(), Vec::new());
    let (mut batches, turns) = (Batches::default(), item::turns());
    for settings in &secrets.items {
        let source = match AnySource::among(&settings.from, means.access, &mut batches) {
            Ok(source) => Arc::new(source),
            Err(why) => {
                error!(secret = settings.name, %why, "a secret can never be read");
                continue;
            }
        };
        let confirmed = means.counters.secrets.confirmed.with_label_values(&[&settings.name]);
        let answers = means.counters.secrets.answers.clone();
        let item = Item::new(settings.clone(), source.followed().clone(), confirmed, answers);
        items.push(Arc::new(item.with_spans(means.spans.clone()).with_turns(&turns)));
        sources.push(source);
    }
    (items, sources)
}

/// What the publishing task has.
struct Parts {
    settings: Arc<Secrets>,
    standing: Standing,
    ready: watch::Sender<bool>,
    adopted: watch::Sender<bool>,
    hider: Hider,
    items: Vec<Arc<Item>>,
    sources: Vec<Arc<AnySource>>,
    passes: Arc<Passes>,
    generations: watch::Sender<Arc<Generation>>,
    counters: Counters,
}

impl Parts {
    fn new(
        secrets: &Secrets,
        (items, sources): Followed,
        standing: Standing,
        (ready, adopted): (watch::Sender<bool>, watch::Sender<bool>),
        means: &Means<'_>,
    ) -> Self {
        Self {
            settings: Arc::new(secrets.clone()),
            standing,
            ready,
            adopted,
            hider: Arc::clone(means.hider),
            items,
            sources,
            passes: Arc::default(),
            generations: watch::Sender::new(Arc::default()),
            counters: means.counters.clone(),
        }
    }

    fn start(self, means: &Means<'_>) {
        for (number, (item, source)) in self.items.iter().zip(&self.sources).enumerate() {
            let (item, source, passes) = (Arc::clone(item), Arc::clone(source), Arc::clone(&self.passes));
            let proof = self.standing.proof().clone();
            means.life.keep("secret", move || {
                let (passes, proof, of) = (Arc::clone(&passes), proof.clone(), Arc::clone(&item));
                let changed = move || {
                    of.id().into_iter().for_each(|id| proof.is_called(number, &id));
                    passes.want();
                };
                Arc::clone(&item).run(Arc::clone(&source), changed)
            });
        }
        if self.settings.items.is_empty() {
            return;
        }
        let (life, http) = (means.life.clone(), means.access.http().clone());
        means.life.spawn("secrets", async move {
            let Some((place, adopted)) = self.open().await else { return };
            let place = Arc::new(Mutex::new(place));
            hide::what_was_there(&self.settings, &place, &self.hider).await;
            self.adopted.send_replace(true);
            self.standing.proof().adopted(&adopted);
            self.generations.send_replace(Arc::new(generation(adopted.marker.number, &adopted.marker.versions)));
            self.start_tellers(&life, &http, adopted.told, &place);
            let shown = adopted.marker.versions;
            let (settings, hider) = (Arc::clone(&self.settings), Arc::clone(&self.hider));
            let publisher = Publisher::new(settings, self.items.clone(), Arc::clone(&place), hider, shown);
            self.publish(&publisher, &place, life.stopping()).await;
        });
    }

    /// The folder on the volume. It may be mounted, or given to us, a moment later.
    async fn open(&self) -> Option<(Place, Adopted)> {
        let settings = self.settings.place();
        loop {
            let wanted = settings.clone();
            match tokio::task::spawn_blocking(move || Place::open(&wanted)).await {
                Ok(Ok((place, adopted))) => {
                    let nothing = Adopted { marker: Marker::default(), told: 0 };
                    self.standing.state().degraded = None;
                    return Some((place, adopted.unwrap_or(nothing)));
                }
                Ok(Err(why)) => {
                    let why = format!("secrets cannot be written: {}", chain(&why));
                    if self.standing.state().degraded.replace(why.clone()).is_none() {
                        error!(why, "the folder of secrets cannot be used; it is tried again");
                    }
                }
                Err(_) => return None,
            }
            sleep(TIDY_EVERY / 30).await;
        }
    }

    fn start_tellers(&self, life: &Life, http: &crate::net::http::HttpClient, told: u64, place: &Arc<Mutex<Place>>) {
        let tellers = tellers(&self.settings.tell, http);
        let heard = Arc::new(Heard::new(tellers.len(), told));
        for (who, teller) in tellers.into_iter().enumerate() {
            let (place, all, gauge) = (Arc::clone(place), Arc::clone(&heard), self.counters.secrets.heard.clone());
            let (proof, way) = (self.standing.proof().clone(), teller.way());
            let has_heard = move |number| {
                proof.acknowledged(way, number);
                let Some(number) = all.by_all() else { return };
                gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
                let place = Arc::clone(&place);
                tokio::task::spawn_blocking(move || {
                    let noted = place.lock().unwrap_or_else(PoisonError::into_inner).told(number);
                    if let Err(why) = noted {
                        warn!(why = %chain(&why), "who was told could not be noted; a restart may tell again");
                    }
                });
            };
            let generations = self.generations.subscribe();
            let (heard, tells) = (Arc::clone(&heard), self.counters.secrets.tells.clone());
            life.spawn("secrets-teller", teller.run(who, generations, heard, tells, has_heard));
        }
    }

    /// Publishes whenever something changed, and what could not be written again after a while.
    async fn publish(&self, publisher: &Publisher, place: &Arc<Mutex<Place>>, stopping: CancellationToken) {
        let wait = self.settings.wait();
        loop {
            self.passes.begin();
            let outcome = publisher.publish().await;
            let refused = matches!(outcome, Outcome::Refused(_));
            self.note(outcome);
            self.passes.end();
            tokio::select! {
                () = self.passes.wanted() => {
                    // Others may come with it. Until the app has anything at all, nobody waits.
                    if *self.ready.borrow() && !wait.is_zero() {
                        sleep(wait).await;
                    }
                }
                () = sleep(if refused { TIDY_EVERY / 6 } else { TIDY_EVERY }) => {
                    self.standing.proof().tell_overdue();
                    let place = Arc::clone(place);
                    let tidying = tokio::task::spawn_blocking(move || {
                        place.lock().unwrap_or_else(PoisonError::into_inner).prune(Instant::now())
                    });
                    let _ = tidying.await;
                }
                () = stopping.cancelled() => return,
            }
        }
    }

    fn note(&self, outcome: Outcome) {
        let mut state = self.standing.state();
        let news = match &outcome {
            Outcome::Waiting(names) => std::mem::replace(&mut state.waiting, names.clone()) != *names,
            Outcome::Refused(why) => {
                let why = format!("secrets cannot be written: {}", chain(why));
                state.degraded.replace(why.clone()) != Some(why)
            }
            Outcome::Placed(generation, _) => {
                (state.ready, state.waiting, state.degraded) = (true, Vec::new(), None);
                state.generation = generation.clone();
                true
            }
        };
        drop(state);
        if news {
            report(&outcome);
        }
        if let Outcome::Placed(generation, _) = outcome {
            self.standing.proof().placed(&generation);
            self.counters.secrets.generation.set(i64::try_from(generation.number).unwrap_or(i64::MAX));
            self.generations.send_replace(Arc::new(generation));
            self.ready.send_replace(true);
        }
    }
}
