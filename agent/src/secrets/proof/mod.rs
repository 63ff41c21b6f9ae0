//! Proof of use: which version of each secret somebody has taken up, as far as that can be seen.
//!
//! | what is seen | way |
//! |---|---|
//! | the local API answered with the version | `read` |
//! | a webhook answered with 2xx | `webhook` |
//! | a signal was delivered to a process that catches it | `signal` |
//! | a reader of events came back with the number of the generation | `events` |
//! | an app said so: `POST /v1/agent/ack?generation=N` | `ack` |
//!
//! A program that only reads files cannot be seen: the kernel does not tell (the time of the last access is not kept on most
//! volumes). So a secret of which nobody has been seen yet has no verdict, rather than a false alarm.
//!
//! Promises: a rotation counts as untaken from the moment it stands on the volume until somebody is seen with that version or a
//! later generation; a number that no generation has had proves nothing; labels are the names of the configuration, and all
//! other secrets that are read through the API are counted in one sum.
//! Never: holds a value; says that somebody *uses* a version: whoever was told may still ignore it.

mod page;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::IntCounter;
use tokio::time::Instant;
use tracing::warn;

use super::{item::Item, place::Adopted, tell::Generation};
use crate::tell::counters::{Counters, Secrets as Gauges};

/// A rotation that nobody has taken up for so long is told once: an app that reconnects at its leisure has done so by then, and
/// the alternate user's old password still works.
const UNTAKEN_MAX: Duration = Duration::from_secs(600);
/// The label of reads of all secrets that the configuration does not name.
const UNNAMED: &str = "";

/// How somebody was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The local API answered with it.
    Read,
    /// A webhook has heard.
    Webhook,
    /// A signal was delivered.
    Signal,
    /// A reader of events knows the generation.
    Events,
    /// An app says so.
    Ack,
}

/// What is known of the use of all secrets. Clones share it.
#[derive(Clone)]
pub(super) struct Proof {
    items: Arc<[Arc<Item>]>,
    gauges: Gauges,
    unnamed: IntCounter,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    newest: u64,
    secrets: Vec<Secret>,
    /// Places in `secrets`, by what the service calls the secret.
    called: HashMap<String, Vec<usize>>,
    /// The newest generation that was acknowledged in each way.
    acknowledged: Vec<(Way, u64)>,
    /// Somebody is told, or has said a number: then each secret's use can be seen.
    is_seen: bool,
}

/// One secret of the configuration.
struct Secret {
    name: String,
    reads: IntCounter,
    /// The version that the API answered with last.
    read: Option<String>,
    shown: Option<Shown>,
}

/// What the newest generation shows of a secret.
struct Shown {
    version: String,
    /// The generation in which it came; if it was taken over from an earlier process, the one that was found.
    generation: u64,
    /// When it came, if that was in our time.
    came: Option<Instant>,
    /// Since when it waits to be taken up.
    waits: Option<Instant>,
    taken: Option<(Way, Instant)>,
    is_told: bool,
}

impl Way {
    const ALL: [Self; 5] = [Self::Read, Self::Webhook, Self::Signal, Self::Events, Self::Ack];

    /// Its name on pages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Webhook => "webhook",
            Self::Signal => "signal",
            Self::Events => "events",
            Self::Ack => "ack",
        }
    }
}

impl Proof {
    /// Nothing is known yet of `items`. `is_told` if there is anybody who is told of each generation.
    pub(super) fn new(items: &[Arc<Item>], is_told: bool, counters: &Counters) -> Self {
        let gauges = counters.secrets.clone();
        let names = items.iter().map(|item| item.settings.name.clone());
        let state = State::new(names, is_told, |name| gauges.reads.with_label_values(&[name]));
        let unnamed = gauges.reads.with_label_values(&[UNNAMED]);
        Self { items: items.into(), gauges, unnamed, state: Arc::new(Mutex::new(state)) }
    }

    /// The service calls the `number`-th secret `id`.
    pub(super) fn is_called(&self, number: usize, id: &str) {
        self.state().is_called(number, id);
    }

    /// An earlier process has left this.
    pub(super) fn adopted(&self, adopted: &Adopted) {
        self.state().adopted(adopted, Instant::now());
    }

    /// This is on the volume.
    pub(super) fn placed(&self, generation: &Generation) {
        self.state().placed(generation, Instant::now());
    }

    /// The API has answered with a version of what the service calls `id`.
    pub(super) fn read(&self, id: &str, version: &str) {
        if !self.state().read(id, version, Instant::now) {
            self.unnamed.inc();
        }
    }

    /// Somebody has all up to generation `number`. False if there is no such generation.
    pub(super) fn acknowledged(&self, way: Way, number: u64) -> bool {
        self.state().acknowledged(way, number, Instant::now())
    }

    /// Tells the log of each rotation that nobody has taken up for long, once.
    pub(super) fn tell_overdue(&self) {
        for (secret, generation, waited) in self.state().overdue(Instant::now()) {
            let seconds = waited.as_secs();
            warn!(secret, generation, seconds, "nobody was seen to take up a rotated secret; its files have it");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each member stands for itself, so that a panic elsewhere cannot have left a half of anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(names: impl Iterator<Item = String>, is_told: bool, reads: impl Fn(&str) -> IntCounter) -> Self {
        let secret = |name: String| Secret { reads: reads(&name), name, read: None, shown: None };
        Self { secrets: names.map(secret).collect(), is_seen: is_told, ..Self::default() }
    }

    fn is_called(&mut self, number: usize, id: &str) {
        if self.called.get(id).is_some_and(|all| all.contains(&number)) {
            return;
        }
        // A secret that was made anew under its name has another ARN.
        self.called.retain(|_, all| {
            all.retain(|other| *other != number);
            !all.is_empty()
        });
        self.called.entry(id.to_owned()).or_default().push(number);
    }

    fn adopted(&mut self, adopted: &Adopted, now: Instant) {
        let Adopted { marker, told } = adopted;
        self.newest = marker.number;
        // Who is told, and was not, is what an earlier process leaves of what it knew.
        let waits = (self.is_seen && *told < marker.number).then_some(now);
        for secret in &mut self.secrets {
            let version = marker.versions.get(&secret.name).and_then(|ids| ids.first());
            secret.shown = version.map(|version| Shown::new(version, marker.number, None, waits));
        }
    }

    fn placed(&mut self, generation: &Generation, now: Instant) {
        // New ids of the same bytes come without a new generation: there is nothing to take up.
        let is_new = generation.number != self.newest;
        self.newest = generation.number;
        for secret in &mut self.secrets {
            let Some(version) = generation.versions.get(&secret.name) else {
                secret.shown = None;
                continue;
            };
            match &mut secret.shown {
                Some(shown) if shown.version == *version => {}
                Some(shown) if !is_new => shown.version.clone_from(version),
                before => {
                    // The first version is not a rotation.
                    let waits = before.is_some().then_some(now);
                    let mut shown = Shown::new(version, generation.number, Some(now), waits);
                    shown.taken = (secret.read.as_ref() == Some(version)).then_some((Way::Read, now));
                    *before = Some(shown);
                }
            }
        }
    }

    /// False if no secret is called `id`. The time is only asked for when there is something new.
    fn read(&mut self, id: &str, version: &str, now: impl Fn() -> Instant) -> bool {
        let Some(numbers) = self.called.get(id) else { return false };
        for number in numbers {
            let secret = &mut self.secrets[*number];
            secret.reads.inc();
            if secret.read.as_deref() != Some(version) {
                secret.read = Some(version.to_owned());
            }
            if let Some(shown) = secret.shown.as_mut().filter(|shown| shown.taken.is_none() && shown.version == version)
            {
                shown.taken = Some((Way::Read, now()));
            }
        }
        true
    }

    fn acknowledged(&mut self, way: Way, number: u64, now: Instant) -> bool {
        if number == 0 || number > self.newest {
            return false;
        }
        self.is_seen = true;
        match self.acknowledged.iter_mut().find(|(other, _)| *other == way) {
            Some((_, newest)) => *newest = number.max(*newest),
            None => self.acknowledged.push((way, number)),
        }
        let shown = self.secrets.iter_mut().filter_map(|secret| secret.shown.as_mut());
        for shown in shown.filter(|shown| shown.taken.is_none() && shown.generation <= number) {
            shown.taken = Some((way, now));
        }
        true
    }

    /// How long what this secret shows has waited to be taken up. `None` if nobody who could has been seen yet.
    fn untaken(&self, secret: &Secret, now: Instant) -> Option<Duration> {
        if !self.is_seen && secret.read.is_none() {
            return None;
        }
        Some(secret.shown.as_ref().map_or(Duration::ZERO, |shown| shown.waited(now)))
    }

    /// Names, generations and times of what has waited for too long. Each once.
    fn overdue(&mut self, now: Instant) -> Vec<(String, u64, Duration)> {
        let waited: Vec<_> = self.secrets.iter().map(|secret| self.untaken(secret, now).unwrap_or_default()).collect();
        let all = self.secrets.iter_mut().zip(waited);
        let late = all.filter(|(_, waited)| *waited >= UNTAKEN_MAX).filter_map(|(secret, waited)| {
            let shown = secret.shown.as_mut().filter(|shown| !shown.is_told)?;
            shown.is_told = true;
            Some((secret.name.clone(), shown.generation, waited))
        });
        late.collect()
    }
}

impl Shown {
    fn new(version: &str, generation: u64, came: Option<Instant>, waits: Option<Instant>) -> Self {
        Self { version: version.to_owned(), generation, came, waits, taken: None, is_told: false }
    }

    fn waited(&self, now: Instant) -> Duration {
        match (self.waits, self.taken) {
            (Some(since), None) => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
