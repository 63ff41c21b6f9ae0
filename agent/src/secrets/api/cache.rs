//! Answers in memory: what is known is given at once, and looked at again behind the reader's back.
//!
//! An entry is one secret, one stage or version, and one role. Name, ARN and ARN without its end lead to the same entry: the
//! service says once for each spelling which secret it means. Roles do not share, since they may not read the same.
//!
//! | asked | known | what happens |
//! |---|---|---|
//! | within the time to live | yes | from memory |
//! | after it | yes | from memory, and one look is begun if none is under way |
//! | any time, time to live 0 | yes | after a look that begins after the question |
//! | `refreshNow` | either | the same, at most one a second; if it fails, so does the request |
//! | any time | no | after the look that is under way or begins now |
//!
//! When a look fails because AWS cannot be reached or throttles, what is known stays, and the next look waits 1 s to 60 s. When
//! AWS says that we may not read the secret, or that it is gone, it is forgotten, and requests get AWS' answer, as from the
//! original: withdrawn rights must take effect. (Files stay, since an app that restarts needs them.)
//!
//! Promises: a reader of a known secret waits for nobody, but for the two cases above; readers together cause one look; at most
//! `size` entries, the least recently read goes first; a version that was replaced comes back only if two looks say so.
//! Never: keeps an answer of one role for another.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{Answer, Ask, Freshness, Given, Kind, Refusal, flight::Flights};
use crate::{
    life::Life,
    secrets::{
        source::{CURRENT, Seen, Source, SourceFault, SourceFaultKind, Wanted},
        value::Version,
    },
    tell::RateLimited,
};

/// Roles, as the original allows. Each has a client of its own, so they are never forgotten.
pub const ROLES_MAX: usize = 20;
/// Spellings for each entry: name, ARN, and ARN without its end; one to spare.
const SPELLINGS_MAX: usize = 4;
/// Time for one look with its fetch. A request to AWS has 10 s.
const LOOK_TIMEOUT: Duration = Duration::from_secs(25);
/// The first and the longest pause after a look that failed.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The pause before a question to which AWS gave a contradictory answer is asked again: its nodes agree within that (measured
/// by the tests of AWS' own agent).
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

static FAILED: RateLimited = RateLimited::new(Duration::from_secs(10));

/// Answers in memory, each with a source that `open` makes.
#[derive(Debug)]
pub struct Cache<F, S> {
    open: F,
    ttl: Duration,
    size: usize,
    /// Roles that secrets are read as; [`ROLES_MAX`] unless it is set.
    pub roles_max: usize,
    life: Life,
    ticks: AtomicU64,
    table: Arc<Mutex<Table<S>>>,
}

#[derive(Debug)]
struct Table<S> {
    spelled: HashMap<Ask, Arc<Entry<S>>>,
    entries: Vec<Arc<Entry<S>>>,
    roles: HashSet<String>,
}

#[derive(Debug)]
struct Entry<S> {
    ask: Ask,
    source: S,
    read: AtomicU64,
    state: Mutex<State>,
    flights: Flights,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// What the last look said, if it failed.
    refused: Option<Refusal>,
    /// No look is begun before, unless somebody insists.
    look_at: Option<Instant>,
    failures: u32,
}

#[derive(Clone, Debug)]
struct Known {
    answer: Arc<Answer>,
    id: String,
    version: String,
    /// The version before.
    replaced: Option<String>,
    looked: Instant,
}

/// What to do for a reader.
enum Step {
    Give(Given),
    GiveAndLook(Given),
    Refuse(Refusal),
    Join,
    LookFirst,
    LookNow,
}

impl<F, S> Cache<F, S>
where
    F: Fn(&Ask) -> S,
    S: Source,
{
    /// At most `size` entries that are looked at again after `ttl`, in tasks of `life`.
    pub fn new(open: F, ttl: Duration, size: usize, life: Life) -> Self {
        let table = Table { spelled: HashMap::new(), entries: Vec::new(), roles: HashSet::new() };
        Self {
            open,
            ttl,
            size: size.max(1),
            roles_max: ROLES_MAX,
            life,
            ticks: AtomicU64::new(0),
            table: Arc::new(Mutex::new(table)),
        }
    }

    /// The answer to `ask`.
    pub async fn get(&self, ask: &Ask, freshness: Freshness) -> Result<Given, Refusal> {
        let entry = self.entry(ask)?;
        let ticket = match entry.step(Instant::now(), freshness, self.ttl) {
            Step::Give(given) => return Ok(given),
            Step::GiveAndLook(given) => {
                let ticket = entry.flights.any();
                self.drive(&entry, ticket.drive);
                return Ok(given);
            }
            Step::Refuse(refusal) => return Err(refusal),
            Step::Join => entry.flights.any(),
            Step::LookFirst => entry.flights.next(),
            Step::LookNow => entry.flights.next_forced(),
        };
        self.drive(&entry, ticket.drive);
        entry.flights.wait(ticket.number).await;
        let state = entry.state();
        match (&state.known, &state.refused) {
            (_, Some(refusal)) if freshness == Freshness::Now => Err(refusal.clone()),
            (Some(known), _) => Ok(known.given(Instant::now())),
            (None, Some(refusal)) => Err(refusal.clone()),
            (None, None) => Err(Refusal::internal()),
        }
    }

    /// Entries in memory.
    pub fn len(&self) -> usize {
        lock(&self.table).entries.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry for `ask`, made if it is new.
    fn entry(&self, ask: &Ask) -> Result<Arc<Entry<S>>, Refusal> {
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed);
        let mut table = lock(&self.table);
        if let Some(entry) = table.spelled.get(ask) {
            entry.read.store(tick, Ordering::Relaxed);
            return Ok(Arc::clone(entry));
        }
        if let Some(role) = &ask.role_arn
            && !table.roles.contains(role)
        {
            if table.roles.len() >= self.roles_max {
                return Err(Refusal::new(400, "MaxRolesExceeded", "this agent reads secrets as no more roles"));
            }
            table.roles.insert(role.clone());
        }
        let entry = Arc::new(Entry {
            ask: ask.clone(),
            source: (self.open)(ask),
            read: AtomicU64::new(tick),
            state: Mutex::default(),
            flights: Flights::default(),
        });
        while table.entries.len() >= self.size || table.spelled.len() >= SPELLINGS_MAX * self.size {
            table.evict();
        }
        table.entries.push(Arc::clone(&entry));
        table.spelled.insert(ask.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// Has somebody drive the looks of `entry`, whoever goes away meanwhile.
    fn drive(&self, entry: &Arc<Entry<S>>, drive: bool) {
        if drive {
            let (table, entry, ttl) = (Arc::clone(&self.table), Arc::clone(entry), self.ttl);
            self.life.spawn("secrets api look", async move {
                entry.flights.drive(|| entry.look(&table, ttl)).await;
            });
        }
    }
}

impl<S> Table<S> {
    /// Forgets an entry: one without a value if there is one, so that names which do not exist push nothing out, else the least
    /// recently read.
    fn evict(&mut self) {
        let rank = |entry: &Arc<Entry<S>>| (entry.state().known.is_some(), entry.read.load(Ordering::Relaxed));
        let Some(at) = (0..self.entries.len()).min_by_key(|at| rank(&self.entries[*at])) else { return };
        let gone = self.entries.swap_remove(at);
        self.spelled.retain(|_, entry| !Arc::ptr_eq(entry, &gone));
    }

    /// What is known of the entry for `ask`.
    fn known(&self, ask: &Ask) -> Option<Known> {
        self.spelled.get(ask)?.state().known.clone()
    }

    /// Has all spellings of `entry` lead to the one entry of the secret `id`.
    fn unite(&mut self, entry: &Arc<Entry<S>>, id: &str) {
        if !self.entries.iter().any(|other| Arc::ptr_eq(other, entry)) {
            return;
        }
        let canonical = entry.canonical(id);
        let Some(first) = self.spelled.get(&canonical).cloned() else {
            // A secret that was made anew under its name has another ARN: the old one must not lead here.
            self.spelled.retain(|ask, other| !Arc::ptr_eq(other, entry) || *ask == entry.ask);
            self.spelled.insert(canonical, Arc::clone(entry));
            return;
        };
        if !Arc::ptr_eq(&first, entry) && first.knows(id) {
            self.spelled.insert(entry.ask.clone(), first);
            self.entries.retain(|other| !Arc::ptr_eq(other, entry));
            self.spelled.retain(|_, other| !Arc::ptr_eq(other, entry));
        }
    }
}

impl<S> Entry<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What is asked, by what the service calls the secret.
    fn canonical(&self, id: &str) -> Ask {
        Ask { id: id.to_owned(), ..self.ask.clone() }
    }

    fn knows(&self, id: &str) -> bool {
        self.state().known.as_ref().is_some_and(|known| known.id == id)
    }

    fn step(&self, now: Instant, freshness: Freshness, ttl: Duration) -> Step {
        let state = self.state();
        let early = state.look_at.is_some_and(|at| now < at);
        match (&state.known, &state.refused) {
            _ if freshness == Freshness::Now => Step::LookNow,
            (Some(known), _) if early => Step::Give(known.given(now)),
            (Some(_), _) if ttl.is_zero() => Step::LookFirst,
            (Some(known), _) => Step::GiveAndLook(known.given(now)),
            (None, Some(refusal)) if early => Step::Refuse(refusal.clone()),
            (None, _) => Step::Join,
        }
    }
}

impl<S: Source> Entry<S> {
    /// One look, and a fetch if there is something new.
    async fn look(self: &Arc<Self>, table: &Mutex<Table<S>>, ttl: Duration) {
        let known = self.state().known.clone();
        let outcome = match timeout(LOOK_TIMEOUT, self.renew(known.as_ref(), table)).await {
            Ok(outcome) => outcome,
            Err(_) => Err((SourceFaultKind::Transient, Refusal::late())),
        };
        match outcome {
            Ok(found) => {
                lock(table).unite(self, &found.id);
                self.state().found(found, ttl);
            }
            Err((kind, refusal)) => {
                if let Some(suppressed) = FAILED.allow(Instant::now()) {
                    warn!(error = %refusal, suppressed, "a secret for the local api could not be looked at");
                }
                self.state().failed(kind, refusal);
            }
        }
    }

    async fn renew(&self, known: Option<&Known>, table: &Mutex<Table<S>>) -> Result<Known, (SourceFaultKind, Refusal)> {
        let mut seen = self.source.look().await.map_err(told)?;
        let mut wanted = self.wanted(&seen)?;
        if known.is_some_and(|known| known.id == seen.id && known.replaced.as_ref() == Some(&wanted)) {
            // A node that lags behind says so once; a person who moved the label back, for ever.
            sleep(CONFIRM_AFTER).await;
            seen = self.source.look().await.map_err(told)?;
            wanted = self.wanted(&seen)?;
        }
        let now = Instant::now();
        // Another spelling may have led to it before.
        let other = if known.is_none() { lock(table).known(&self.canonical(&seen.id)) } else { None };
        let same = known.or(other.as_ref()).filter(|known| known.id == seen.id);
        if let Some(known) = same.filter(|known| known.version == wanted) {
            return Ok(Known { looked: now, ..known.clone() });
        }
        let version = self.fetch(wanted).await?;
        let answer =
            Answer::new(&self.ask, &seen.id, &version).map_err(|refusal| (SourceFaultKind::Invalid, refusal))?;
        let replaced = same.map(|known| known.version.clone());
        Ok(Known { answer: Arc::new(answer), id: seen.id, version: version.id, replaced, looked: now })
    }

    /// The version that is to be answered.
    fn wanted(&self, seen: &Seen) -> Result<String, (SourceFaultKind, Refusal)> {
        let Ask { kind, version_id, version_stage, .. } = &self.ask;
        let stage = version_stage.as_deref().unwrap_or(CURRENT);
        let missing = || {
            let what = format!("Secrets Manager can't find the specified secret value for staging label: {stage}");
            let code = if *kind == Kind::Secret { "ResourceNotFoundException" } else { "ParameterVersionNotFound" };
            (SourceFaultKind::Missing, Refusal::new(400, code, &what))
        };
        match version_id {
            Some(id) => Ok(id.clone()),
            None => seen.version_of(stage).map(str::to_owned).ok_or_else(missing),
        }
    }

    /// Fetches by id, so that a node which lags behind cannot answer with another version.
    async fn fetch(&self, id: String) -> Result<Version, (SourceFaultKind, Refusal)> {
        let by_id = Wanted::Id(id.clone());
        let version = match self.source.fetch(&by_id).await {
            Err(fault) if fault.kind == SourceFaultKind::Missing && self.ask.version_id.is_none() => {
                sleep(CONFIRM_AFTER).await;
                // A version that was just named is not gone, whatever the second answer is: what is known stays.
                self.source.fetch(&by_id).await.map_err(|fault| match told(fault) {
                    (SourceFaultKind::Missing, refusal) => (SourceFaultKind::Transient, refusal),
                    other => other,
                })?
            }
            answer => answer.map_err(told)?,
        };
        if version.id != id {
            return Err((SourceFaultKind::Invalid, Refusal::broken()));
        }
        match (&self.ask.version_id, &self.ask.version_stage) {
            (Some(_), Some(stage)) if !version.stages.contains(stage) => {
                let what = "You provided a VersionStage that is not associated to the provided VersionId.";
                Err((SourceFaultKind::Missing, Refusal::new(400, "InvalidRequestException", what)))
            }
            _ => Ok(version),
        }
    }
}

fn told(fault: SourceFault) -> (SourceFaultKind, Refusal) {
    (fault.kind, Refusal::from(&fault))
}

impl Known {
    fn given(&self, now: Instant) -> Given {
        Given { answer: Arc::clone(&self.answer), age: now.saturating_duration_since(self.looked) }
    }
}

impl State {
    fn found(&mut self, found: Known, ttl: Duration) {
        // Up to a tenth sooner, so that tasks which started together do not look together for ever.
        self.look_at = Some(found.looked + ttl.mul_f64(1.0 - fastrand::f64() / 10.0));
        *self = Self { known: Some(found), look_at: self.look_at, ..Self::default() };
    }

    fn failed(&mut self, kind: SourceFaultKind, refusal: Refusal) {
        if matches!(kind, SourceFaultKind::Denied | SourceFaultKind::Missing) {
            self.known = None;
        }
        let [first, longest] = PAUSES;
        // Without a value somebody waits for one: then the pause stays at a second.
        let most = first.saturating_mul(1 << self.failures.min(6)).min(longest);
        let pause = if self.known.is_some() { first + (most - first).mul_f64(fastrand::f64()) } else { first };
        self.failures = self.failures.saturating_add(1);
        self.refused = Some(refusal);
        self.look_at = Some(Instant::now() + pause);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is replaced as a whole, so that a panic elsewhere cannot have left it half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
