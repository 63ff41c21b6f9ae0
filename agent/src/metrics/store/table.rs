//! Series and their families, and how they are found.
//!
//! Promises: there are at most twice as many series as the policies of their sources say; on `/metrics` no two families have a sample's
//! name in common, and no two series of a family have the same labels.
//! Never: looks at the time; changes a value.

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    cell::{Cells, Seen, put},
    hash,
    key::{Kind, SourceId},
};

/// The names that are ours on `/metrics`.
const OWN_PREFIX: &str = "pillion_";
/// Spellings of series that are remembered, for each series that there may be: clients write tags in one order.
const ALIASES_PER_SERIES: usize = 4;
/// Spellings that are looked ahead for at once.
pub const AHEAD: usize = 16;
/// With fewer spellings all is in the processor's caches.
const AHEAD_FROM: usize = 4_096;

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) family: u32,
    pub(super) source: SourceId,
    pub(super) namespace: u16,
    /// As they stand between the braces.
    pub(super) labels: Box<str>,
    /// Which one it is of all that were ever made, so that it is not taken for the one that had its place before.
    pub(super) serial: u32,
    /// False if `/metrics` has another one of its name and labels.
    pub(super) is_shown: bool,
    /// False until it has a value from somebody who accumulates.
    pub(super) is_born: bool,
    /// When it was made: seconds of the store.
    pub(super) made: u32,
    /// When it was written to last.
    pub(super) touched: u32,
    pub(super) cells: Fed,
    pub(super) value: Value,
}

/// The cells that a series feeds.
#[derive(Debug)]
pub(super) enum Fed {
    None,
    One(u32),
    Many(Box<[u32]>),
}

/// What a series has come to.
#[derive(Debug)]
pub(super) enum Value {
    Counter(f64),
    Gauge { value: f64, is_fresh: bool },
    Set { last: usize, seen: Seen },
    Histogram(Box<Buckets>),
    Summary(Box<Quantiles>),
}

/// A histogram with fixed bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Buckets {
    /// Sorted; the last bucket, without a bound, is not named.
    pub(super) bounds: Arc<[f64]>,
    /// How many are in each bucket alone; one more than there are bounds.
    pub(super) counts: Box<[f64]>,
    pub(super) sum: f64,
    /// What a value is multiplied with to be shown.
    pub(super) scale: f64,
}

/// Quantiles that somebody else worked out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Quantiles {
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// Series of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// The name on `/metrics`, without the ending that samples have.
    pub(super) name: Box<str>,
    /// The name that its source gave it.
    pub(super) source_name: Box<str>,
    pub(super) kind: Kind,
    pub(super) help: Box<str>,
    /// False if another family has a sample of the same name.
    pub(super) is_shown: bool,
    pub(super) members: Vec<u32>,
}

/// What a source wrote, as it wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The source.
    pub source: SourceId,
    /// What the source says it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// All that tells it from others of the name.
    pub tags: &'a [u8],
}

#[derive(Debug)]
struct Alias {
    source: SourceId,
    kind: Kind,
    name_bytes: u16,
    /// Name and tags.
    text: Box<[u8]>,
    /// None: what is written so is not wanted.
    series: Option<u32>,
    /// Of its hash, so that others are seldom looked at.
    mark: u32,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_labels: HashTable<u32>,
    pub(super) families: Vec<Option<Family>>,
    free_families: Vec<u32>,
    by_name: HashMap<(Box<str>, Kind), u32, RandomState>,
    /// The names of samples on `/metrics`.
    taken: HashSet<Box<str>, RandomState>,
    aliases: HashTable<Alias>,
    /// Series that were ever made.
    made: u32,
    state: RandomState,
}

impl Raw<'_> {
    fn hash(&self, state: &RandomState) -> u64 {
        hash(state, u64::from(self.source.0) << 8 | self.kind as u64, self.name, self.tags)
    }
}

/// The bits of a hash by which the table does not find it.
fn mark(hash: u64) -> u32 {
    (hash >> 24) as u32
}

impl Alias {
    fn hash(&self, state: &RandomState) -> u64 {
        let (name, tags) = self.text.split_at(usize::from(self.name_bytes));
        Raw { source: self.source, kind: self.kind, name, tags }.hash(state)
    }
}

impl Family {
    /// The names of its samples.
    fn samples(name: &str, kind: Kind) -> impl Iterator<Item = String> {
        let endings: &[&str] = match kind {
            Kind::Counter => &["", "_total", "_created"],
            Kind::Histogram | Kind::Timer => &["", "_bucket", "_count", "_sum", "_created"],
            Kind::Summary => &["", "_count", "_sum", "_created"],
            Kind::Info => &["", "_info"],
            Kind::Gauge | Kind::Set | Kind::StateSet | Kind::Unknown => &[""],
        };
        endings.iter().map(move |ending| format!("{name}{ending}"))
    }
}

impl Table {
    /// The series that was written so before. `Some(None)` if it is not wanted.
    #[inline]
    pub(super) fn known(&self, raw: &Raw<'_>, hash: u64) -> Option<Option<u32>> {
        let is_it = |alias: &Alias| {
            let names = usize::from(alias.name_bytes);
            alias.mark == mark(hash)
                && alias.source == raw.source
                && alias.kind == raw.kind
                && alias.text.len() == names + raw.tags.len()
                && alias.text[..names] == *raw.name
                && alias.text[names..] == *raw.tags
        };
        self.aliases.find(hash, is_it).map(|alias| alias.series)
    }

    /// By what a spelling is found.
    #[inline]
    pub(super) fn hash(&self, raw: &Raw<'_>) -> u64 {
        raw.hash(&self.state)
    }

    /// Looks at what will be looked at for spellings of these hashes, for all of them one step and then for all the next: so the processor
    /// waits for the memory of all at once. Nothing depends on it.
    pub(super) fn look_ahead(&self, cells: &Cells, hashes: &[u64; AHEAD]) {
        if self.aliases.len() < AHEAD_FROM {
            return;
        }
        let found = hashes.map(|hash| self.aliases.find(hash, |alias| alias.mark == mark(hash)));
        let fed = found.map(|alias| {
            let alias = alias?;
            black_box((alias.text.first().copied(), alias.text.last().copied()));
            let series = self.series[alias.series? as usize].as_ref()?;
            black_box((series.touched, matches!(series.value, Value::Counter(_))));
            series.cells.first()
        });
        for cell in fed.into_iter().flatten() {
            black_box(cells.is_empty(cell));
        }
    }

    /// Remembers how a series is written, if that is worth it.
    pub(super) fn remember(&mut self, raw: &Raw<'_>, series: Option<u32>, series_max: usize) {
        let Ok(name_bytes) = u16::try_from(raw.name.len()) else { return };
        if self.aliases.len() >= series_max.saturating_mul(ALIASES_PER_SERIES) {
            return;
        }
        let text = [raw.name, raw.tags].concat().into();
        let state = &self.state;
        let hash = raw.hash(state);
        let alias = Alias { source: raw.source, kind: raw.kind, name_bytes, text, series, mark: mark(hash) };
        self.aliases.insert_unique(hash, alias, |alias| alias.hash(state));
    }

    /// The family of this name, made if need be.
    pub(super) fn family(&mut self, name: &str, source_name: &str, kind: Kind) -> u32 {
        let key = (Box::from(name), kind);
        if let Some(&id) = self.by_name.get(&key) {
            return id;
        }
        let samples: Vec<Box<str>> = Family::samples(name, kind).map(String::into_boxed_str).collect();
        let is_shown = !name.starts_with(OWN_PREFIX) && samples.iter().all(|sample| !self.taken.contains(sample));
        if is_shown {
            self.taken.extend(samples);
        }
        let (name, source_name) = (name.into(), source_name.into());
        let family = Family { name, source_name, kind, help: "".into(), is_shown, members: Vec::new() };
        let id = put(&mut self.families, &mut self.free_families, family);
        self.by_name.insert(key, id);
        id
    }

    /// The series of these labels, and whether there is one that `/metrics` shows.
    pub(super) fn find(&self, family: u32, labels: &str, source: SourceId, namespace: u16) -> (Option<u32>, bool) {
        let mut is_shown = false;
        let is_it = |&id: &u32| {
            let Some(series) = &self.series[id as usize] else { return false };
            if series.family != family || *series.labels != *labels {
                return false;
            }
            is_shown |= series.is_shown;
            series.source == source && series.namespace == namespace
        };
        let wanted = hash(&self.state, u64::from(family), labels.as_bytes(), b"");
        let found = self.by_labels.find(wanted, is_it).copied();
        (found, is_shown)
    }

    /// Adds a series.
    pub(super) fn insert(&mut self, mut series: Series) -> u32 {
        (series.serial, self.made) = (self.made, self.made.wrapping_add(1));
        let family = series.family;
        let wanted = hash(&self.state, u64::from(family), series.labels.as_bytes(), b"");
        let id = put(&mut self.series, &mut self.free, series);
        let (all, state) = (&self.series, &self.state);
        self.by_labels.insert_unique(wanted, id, |&id| {
            all[id as usize]
                .as_ref()
                .map_or(0, |series| hash(state, u64::from(series.family), series.labels.as_bytes(), b""))
        });
        if let Some(family) = &mut self.families[family as usize] {
            family.members.push(id);
        }
        id
    }

    /// A family that nobody needs after all.
    pub(super) fn forget_if_empty(&mut self, family: u32) {
        let Some(Family { name, kind, is_shown, members, .. }) = &self.families[family as usize] else { return };
        if !members.is_empty() {
            return;
        }
        if *is_shown {
            for sample in Family::samples(name, *kind) {
                self.taken.remove(&*sample);
            }
        }
        self.by_name.remove(&(name.clone(), *kind));
        self.families[family as usize] = None;
        self.free_families.push(family);
    }

    /// Removes all that `is_over` says of, and returns them.
    pub(super) fn remove(&mut self, mut is_over: impl FnMut(&Series) -> bool) -> Vec<Series> {
        let over: HashSet<u32, RandomState> = (0u32..)
            .zip(&self.series)
            .filter(|(_, series)| series.as_ref().is_some_and(&mut is_over))
            .map(|(id, _)| id)
            .collect();
        if over.is_empty() {
            return Vec::new();
        }
        self.aliases.retain(|alias| alias.series.is_none_or(|id| !over.contains(&id)));
        self.by_labels.retain(|id| !over.contains(id));
        let mut removed = Vec::with_capacity(over.len());
        let mut families = HashSet::with_hasher(RandomState::default());
        for id in over {
            let Some(series) = self.series[id as usize].take() else { continue };
            families.insert(series.family);
            self.free.push(id);
            removed.push(series);
        }
        for family in families {
            let series = &self.series;
            if let Some(family) = &mut self.families[family as usize] {
                family.members.retain(|&id| series[id as usize].is_some());
            }
            self.forget_if_empty(family);
        }
        removed
    }

    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.by_labels.len()
    }
}
