//! From what is held to files on the volume: one generation of all secrets at a time.
//!
//! Promises: nothing is published before every required secret is there; a version that cannot be rendered leaves the one before
//! in place, of all files; what an earlier process published and we cannot have yet stays as it is.
//! Never: asks a source, or tells anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::{error, info, warn};

use super::{
    hide::{self, Hider},
    item::Item,
    place::{self, Place, PlaceError, Published},
    render::{self, Planned, Rendered, render},
    settings::{Secrets, Stage},
    tell::Generation,
    value::{Held, Value},
};
use crate::{tell::chain, units::Permissions};

/// Publishes what the items hold.
pub(super) struct Publisher {
    settings: Arc<Secrets>,
    items: Vec<Arc<Item>>,
    place: Arc<Mutex<Place>>,
    hider: Hider,
    planned: Vec<Planned>,
    /// The version ids that the files on the volume show.
    shown: Mutex<BTreeMap<String, Vec<String>>>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// These required secrets are not there yet.
    Waiting(Vec<String>),
    /// This generation is on the volume; true if it is a new one.
    Placed(Generation, bool),
    /// The volume could not be written. What was there stays.
    Refused(PlaceError),
}

impl Publisher {
    /// Publishes the files of `items` to `place`, where an earlier process may have `shown` these versions.
    pub(super) fn new(
        settings: Arc<Secrets>,
        items: Vec<Arc<Item>>,
        place: Arc<Mutex<Place>>,
        hider: Hider,
        shown: BTreeMap<String, Vec<String>>,
    ) -> Self {
        let planned = render::planned(&settings);
        Self { settings, items, place, hider, planned, shown: Mutex::new(shown) }
    }

    /// One generation of what is held now.
    pub(super) async fn publish(&self) -> Outcome {
        let (files, held) = self.rendered();
        // Before a file shows a value, nobody prints it.
        self.hide(&held).await;
        let removed: BTreeSet<&str> =
            self.items.iter().filter(|item| item.is_removed()).map(|item| item.settings.name.as_str()).collect();
        let is_waited_for = |item: &&Arc<Item>| {
            let name = item.settings.name.as_str();
            item.settings.required && !held.contains_key(name) && !removed.contains(name)
        };
        let waiting: Vec<String> =
            self.items.iter().filter(is_waited_for).map(|item| item.settings.name.clone()).collect();
        let mut plan = self.planned.clone();
        // What belongs to a removed secret goes; what is made, or has no such version any more, is not carried over.
        plan.retain(|planned| {
            let lacks = planned.of.iter().any(|name| self.is_coming(name, held.get(name)));
            let gone = planned.of.iter().any(|name| removed.contains(name.as_str()));
            !gone && (lacks || planned.stage.is_none()) && !files.iter().any(|file| file.path == planned.path)
        });
        let mut versions = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        versions.retain(|name, _| {
            let is_known = self.items.iter().any(|item| item.settings.name == *name);
            is_known && !removed.contains(name.as_str())
        });
        versions.extend(held.iter().map(|(name, held)| (name.clone(), ids(held))));
        drop(held);
        let shown = versions.clone();
        let place = Arc::clone(&self.place);
        let placing = tokio::task::spawn_blocking(move || {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            put(&mut place, &files, &plan, waiting, &versions)
        });
        match placing.await {
            Ok(Ok(Ok(Published { number, changed, remains }))) => {
                if let Some(remains) = remains {
                    warn!(why = %chain(&remains), "the volume of secrets is not tidy; it will be with the next change");
                }
                let generation = generation(number, &shown);
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
                Outcome::Placed(generation, changed)
            }
            Ok(Ok(Err(waiting))) => Outcome::Waiting(waiting),
            Ok(Err(error)) => Outcome::Refused(error),
            Err(_) => Outcome::Waiting(vec!["a writer of files that panicked; this is a bug in pillion".to_owned()]),
        }
    }

    /// True if something of the secret has not come yet to this process, and what is on the volume fits to what has.
    fn is_coming(&self, name: &str, held: Option<&Held>) -> bool {
        let Some(held) = held else { return true };
        let item = self.items.iter().find(|item| item.settings.name == name);
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = shown.get(name).and_then(|ids| ids.first()) == Some(&held.current.id);
        is_shown && item.is_some_and(|item| !item.is_whole())
    }

    /// Has everything that is held hidden.
    async fn hide(&self, held: &BTreeMap<String, Held>) {
        let mut hidden = Vec::new();
        for settings in self.items.iter().map(|item| &item.settings) {
            let held = held.get(&settings.name);
            hidden.extend(held.into_iter().flat_map(|held| hide::versions(&settings.name, held, settings.mask)));
        }
        self.hider.held(hidden).await;
    }

    /// All files that can be made. A version of which one cannot is given up for the one before.
    fn rendered(&self) -> (Vec<Rendered>, BTreeMap<String, Held>) {
        loop {
            let present = self.items.iter().filter(|item| !item.is_removed());
            let held: BTreeMap<String, Held> =
                present.filter_map(|item| Some((item.settings.name.clone(), item.held()?))).collect();
            let outcome = render(&self.settings, &held);
            let mut all_usable = true;
            for fault in &outcome.faults {
                let Some((item, version)) = self.version_at_fault(fault, &held) else {
                    if fault.of.iter().all(|name| held.contains_key(name)) {
                        error!(why = %fault, "a file of secrets cannot be made; what was there stays");
                    }
                    continue;
                };
                error!(why = %fault, version, "a version of a secret cannot be shown; the one before stays");
                item.is_unusable(&version);
                all_usable = false;
            }
            // Each round gives up a version, and there are three of each secret at most.
            if all_usable {
                return (outcome.files, held);
            }
        }
    }

    /// The version of a secret that a file could not show, if the file is that secret's alone.
    fn version_at_fault(&self, fault: &render::Fault, held: &BTreeMap<String, Held>) -> Option<(&Arc<Item>, String)> {
        let planned = self.planned.iter().find(|planned| planned.path == fault.path)?;
        let stage = planned.stage?;
        let item = self.items.iter().find(|item| fault.of.contains(&item.settings.name))?;
        let version = render::version_of(held.get(&item.settings.name)?, stage)?;
        Some((item, version.id.clone()))
    }
}

/// A generation, for those who are told: the current version of each secret.
pub(super) fn generation(number: u64, shown: &BTreeMap<String, Vec<String>>) -> Generation {
    let current = shown.iter().filter_map(|(name, ids)| Some((name.clone(), ids.first()?.clone())));
    Generation { number, versions: current.collect() }
}

/// The version ids that files can show, the current one first.
fn ids(held: &Held) -> Vec<String> {
    let all = [Some(&held.current), held.previous.as_ref(), held.pending.as_ref()];
    all.into_iter().flatten().map(|version| version.id.clone()).collect()
}

/// Places `files`, beside what is there already of what was planned and could not be made. Says for which secrets it waits
/// if something of theirs is neither made nor there.
fn put(
    place: &mut Place,
    files: &[Rendered],
    plan: &[Planned],
    waiting: Vec<String>,
    versions: &BTreeMap<String, Vec<String>>,
) -> Result<Result<Published, Vec<String>>, PlaceError> {
    let mut kept: Vec<(Option<Permissions>, String, Value)> = Vec::new();
    for planned in plan {
        let shown = match planned.is_folder {
            true => place.shown_below(&planned.path),
            false => place.shown(&planned.path).map(|value| (planned.path.clone(), value)).into_iter().collect(),
        };
        let must_be_there = planned.stage.is_none_or(|stage| stage == Stage::Current)
            && planned.of.iter().any(|name| waiting.contains(name));
        if shown.is_empty() && must_be_there {
            return Ok(Err(waiting));
        }
        kept.extend(shown.into_iter().map(|(path, value)| (planned.mode, path, value)));
    }
    let mode = |mode: Option<Permissions>| mode.map(|mode| mode.0);
    let made =
        files.iter().map(|file| place::File { path: file.path.clone(), bytes: &file.bytes, mode: mode(file.mode) });
    let kept = kept.iter().map(|(bits, path, bytes)| place::File { path: path.clone(), bytes, mode: mode(*bits) });
    let all: Vec<_> = made.chain(kept).collect();
    place.publish(&all, versions, Instant::now()).map(Ok)
}

/// Says in the log what came of it.
pub(super) fn report(outcome: &Outcome) {
    match outcome {
        Outcome::Waiting(names) => info!(secrets = names.join(", "), "waiting for secrets"),
        Outcome::Placed(generation, true) => {
            let versions = generation.versions.iter().map(|(name, id)| format!("{name}={id}"));
            let versions: Vec<String> = versions.collect();
            info!(generation = generation.number, versions = versions.join(" "), "secrets are written");
        }
        Outcome::Placed(_, false) => {}
        Outcome::Refused(why) => {
            error!(why = %chain(why), "secrets could not be written; what was there stays");
        }
    }
}
