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

/// What the items hold at one moment, and the files that can be made of it.
struct Made {
    files: Vec<Rendered>,
    held: BTreeMap<String, Held>,
    /// The secrets of which a version that files show has not come yet.
    partial: BTreeSet<String>,
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
        let Made { files, held, partial } = self.rendered();
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
            let lacks = planned.of.iter().any(|name| self.is_coming(name, held.get(name), &partial));
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
    fn is_coming(&self, name: &str, held: Option<&Held>, partial: &BTreeSet<String>) -> bool {
        let Some(held) = held else { return true };
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = shown.get(name).and_then(|ids| ids.first()) == Some(&held.current.id);
        is_shown && partial.contains(name)
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
    fn rendered(&self) -> Made {
        loop {
            let (mut held, mut partial) = (BTreeMap::new(), BTreeSet::new());
            for item in self.items.iter().filter(|item| !item.is_removed()) {
                // What comes from here on is the next generation's, also in what is missing.
                let (holds, is_whole) = item.held();
                held.extend(holds.map(|holds| (item.settings.name.clone(), holds)));
                partial.extend((!is_whole).then(|| item.settings.name.clone()));
            }
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
                return Made { files: outcome.files, held, partial };
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

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use prometheus::{IntCounterVec, IntGauge, Opts};

    use super::*;
    use crate::secrets::{
        hide::{Hidden, Hide, Hiding},
        source::{CURRENT, Followed, PREVIOUS, Seen, Wanted},
        value::{Content, Version},
        watch::Moment,
    };

    /// The previous version comes while others are being told what to hide.
    #[derive(Default)]
    struct Meanwhile(OnceLock<Arc<Item>>);

    impl Hide for Meanwhile {
        fn held(&self, _: Vec<Hidden>) -> Hiding {
            if let Some(item) = self.0.get() {
                fetched(item, "v1");
            }
            Box::pin(std::future::ready(()))
        }

        fn also(&self, _: Vec<Hidden>) -> Hiding {
            Box::pin(std::future::ready(()))
        }
    }

    fn now() -> Moment {
        Moment { at: tokio::time::Instant::now(), unix: 100, random: 0.5 }
    }

    fn fetched(item: &Item, id: &str) {
        let content = Content::Text(Value::new(id.as_bytes().to_vec()));
        let version = Version { id: id.to_owned(), stages: Vec::new(), created: None, content };
        item.watched(|watch| watch.fetched(now(), &Wanted::Id(id.to_owned()), Ok(version)));
    }

    /// A secret of which v2 is current and v1 previous, and the files of which show both.
    fn item(settings: &Secrets) -> Arc<Item> {
        let gauge = IntGauge::new("a", "b").expect("a name");
        let answers = IntCounterVec::new(Opts::new("c", "d"), &["e"]).expect("a name");
        let item = Item::new(settings.items[0].clone(), Followed::Stage(CURRENT.to_owned()), gauge, answers);
        let mut seen = Seen { id: "db".to_owned(), ..Seen::default() };
        seen.versions.insert("v2".to_owned(), vec![CURRENT.to_owned()]);
        seen.versions.insert("v1".to_owned(), vec![PREVIOUS.to_owned()]);
        item.watched(|watch| watch.looked(now(), Ok(seen)));
        fetched(&item, "v2");
        Arc::new(item)
    }

    /// An agent that had just begun asked first what is missing after it had looked at what is there: the file of the previous version, which
    /// an earlier agent had written, was gone for some milliseconds, in a generation of its own.
    #[tokio::test]
    async fn what_comes_meanwhile_does_not_take_away_what_is_on_the_volume() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings: Secrets = serde_json::from_value(serde_json::json!({
            "folder": folder.path(),
            "items": [{
                "name": "db", "from": {"secrets_manager": {"id": "db"}},
                "files": [{"path": "now"}, {"path": "before", "of": "previous"}],
            }],
        }))
        .expect("settings");
        let settings = Arc::new(settings);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let publish = async |item: &Arc<Item>, hider: Hider, shown| {
            let (place, _) = Place::open(&settings.place()).expect("a folder");
            let place = Arc::new(Mutex::new(place));
            let publisher = Publisher::new(Arc::clone(&settings), vec![Arc::clone(item)], place, hider, shown);
            let Outcome::Placed(generation, changed) = publisher.publish().await else { panic!("it is placed") };
            (generation.number, changed)
        };
        let whole = item(&settings);
        fetched(&whole, "v1");
        assert_eq!(publish(&whole, Arc::new(hide::Nobody), BTreeMap::new()).await, (1, true));
        assert_eq!((read("now"), read("before")), ("v2".to_owned(), "v1".to_owned()));

        let (young, meanwhile) = (item(&settings), Meanwhile::default());
        assert!(meanwhile.0.set(Arc::clone(&young)).is_ok());
        let shown = BTreeMap::from([("db".to_owned(), vec!["v2".to_owned(), "v1".to_owned()])]);
        publish(&young, Arc::new(meanwhile), shown).await;
        assert_eq!((read("now"), read("before")), ("v2".to_owned(), "v1".to_owned()));
        assert!(young.held().1, "it came meanwhile");
    }
}
