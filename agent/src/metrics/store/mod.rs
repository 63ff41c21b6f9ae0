//! Every series that the agent knows, in two views of the same samples.
//!
//! ```text
//! sample ─▶ series (all labels, accumulated)  ─▶ /metrics
//!             └─▶ cell (dimensions only, since the last flush) ─▶ CloudWatch
//! ```
//!
//! A sample costs one lookup by the bytes that the source wrote, and two additions. Only a spelling that was not seen before is taken
//! apart, mapped, sorted and checked against the caps. A series takes about 450 bytes: its spelling, its labels, the head of its
//! datum.
//!
//! Promises: whatever comes, there are at most twice as many series as the policies say, and known ones stay exact; sums and counts are
//! exact, in any order of samples and flushes; what is flushed is flushed once.
//! Never: waits, does I/O, or reads a clock: callers say what time it is.

mod cell;
mod cumulative;
pub mod examples;
mod flush;
mod kept;
pub mod key;
pub mod policy;
mod sample;
mod show;
mod table;
#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use cell::{Cells, Class};
pub use cell::{Datum, Seen, Window};
pub use cumulative::{Extremes, First, Histogram, counts_between};
use examples::Examples;
pub use flush::Flush;
pub use kept::Kept;
use key::{Key, Kind, Publication, SourceId, label_text, shown_name};
use policy::Policy;
pub use show::{Shown, ShownValue};
pub use table::{AHEAD, Raw};
use table::{Buckets, Fed, Series, Table, Value};

/// The label of the series that stands for all those beyond a cap.
const OVERFLOW: [(&str, &str); 1] = [("overflow", "true")];
/// Namespaces that are told apart; a series of a further one is in its source's.
const NAMESPACES_MAX: usize = 256;

/// A series. It is good until the store forgets it, so nobody keeps one for longer than a [`Writing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesId(u32);

/// All series. A handle.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    cells: Cells,
    examples: Examples,
    sources: Vec<Source>,
    namespaces: Vec<Arc<str>>,
    labels: String,
}

#[derive(Debug)]
struct Source {
    policy: Policy,
    /// Series that are its own, without those that stand for others.
    series: usize,
    /// Those that stand for others.
    overflow: usize,
    /// Samples that went to one that stands for others.
    overflowed: u64,
}

/// The store while a batch of samples is written.
pub struct Writing<'a> {
    inner: MutexGuard<'a, Inner>,
    now: u32,
}

/// What there is, for the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Series.
    pub series: usize,
    /// Metrics of CloudWatch.
    pub cells: usize,
    /// Samples that went to a series that stands for those beyond the cap.
    pub overflowed: u64,
}

/// A hash of what tells things apart.
#[inline]
fn hash(state: &RandomState, number: u64, text: &[u8], more: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u64(number ^ (text.len() as u64) << 32);
    hasher.write(text);
    hasher.write(more);
    hasher.finish()
}

impl Store {
    /// A source of series for which `policy` holds.
    pub fn source(&self, policy: Policy) -> SourceId {
        let mut inner = self.lock();
        let id = u16::try_from(inner.sources.len()).expect("a configuration has fewer inputs");
        inner.sources.push(Source { policy, series: 0, overflow: 0, overflowed: 0 });
        SourceId(id)
    }

    /// Begins to write samples that come at `now`: seconds of a clock that never goes back.
    pub fn writing(&self, now: u32) -> Writing<'_> {
        Writing { inner: self.lock(), now }
    }

    /// What there is.
    pub fn size(&self) -> Size {
        let inner = self.lock();
        let overflowed = inner.sources.iter().map(|source| source.overflowed).sum();
        Size { series: inner.table.len(), cells: inner.cells.len(), overflowed }
    }

    /// Forgets the series that nobody wrote to since `before`. Returns how many.
    pub fn forget(&self, before: u32) -> usize {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let removed = inner.table.remove(|series| series.touched < before && series.is_at_rest());
        for series in &removed {
            let source = &mut inner.sources[usize::from(series.source.0)];
            if *series.labels == *OVERFLOW_TEXT {
                source.overflow = source.overflow.saturating_sub(1);
            } else {
                source.series = source.series.saturating_sub(1);
            }
            series.cells.each(|cell| inner.cells.leave(cell));
        }
        inner.examples.forget(&inner.table);
        removed.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`OVERFLOW`] as it stands between braces.
const OVERFLOW_TEXT: &str = "overflow=\"true\"";

impl Writing<'_> {
    /// The series that was written so before: `None` if that is not known, `Some(None)` if it is not wanted.
    #[inline]
    pub fn known(&self, raw: &Raw<'_>) -> Option<Option<SeriesId>> {
        self.known_by(raw, self.hash(raw))
    }

    /// The same for who has its hash.
    #[inline]
    pub fn known_by(&self, raw: &Raw<'_>, hash: u64) -> Option<Option<SeriesId>> {
        self.inner.table.known(raw, hash).map(|known| known.map(SeriesId))
    }

    /// By what a spelling is found.
    #[inline]
    pub fn hash(&self, raw: &Raw<'_>) -> u64 {
        self.inner.table.hash(raw)
    }

    /// Has the processor fetch what is known of spellings with these hashes, for who comes with all of them next.
    pub fn look_ahead(&self, hashes: &[u64; AHEAD]) {
        self.inner.table.look_ahead(&self.inner.cells, hashes);
    }

    /// Remembers that `series` is written so, or that what is written so is not wanted.
    pub fn remember(&mut self, raw: &Raw<'_>, series: Option<SeriesId>) {
        let inner = &mut *self.inner;
        let is_overflow = |SeriesId(id): SeriesId| {
            inner.table.series[id as usize].as_ref().is_none_or(|series| *series.labels == *OVERFLOW_TEXT)
        };
        // A flood of labels would fill the memory with spellings of one series.
        if series.is_some_and(is_overflow) {
            return;
        }
        let series_max = inner.sources[usize::from(raw.source.0)].policy.series_max;
        inner.table.remember(raw, series.map(|SeriesId(id)| id), series_max);
    }

    /// The series of `key`, made if need be. Beyond its source's cap it is the one of its name that stands for all others, and none
    /// if there are too many names as well.
    pub fn series(&mut self, key: &Key<'_>) -> Option<SeriesId> {
        let inner = &mut *self.inner;
        let name = key.shown.map_or_else(|| shown_name(key.name, key.kind), |shown| shown_name(shown, key.kind));
        let family = inner.table.family(&name, key.name, key.kind);
        let found = inner.find_or_make(key, family, self.now);
        if found.is_none() {
            inner.table.forget_if_empty(family);
        }
        found.map(SeriesId)
    }

    /// True if it stands for those beyond a cap: what others accumulate cannot be told apart in it.
    pub fn is_overflow(&self, SeriesId(id): SeriesId) -> bool {
        self.inner
            .table
            .series
            .get(id as usize)
            .and_then(Option::as_ref)
            .is_none_or(|series| *series.labels == *OVERFLOW_TEXT)
    }

    /// What `/metrics` says of the family of `series`, if nobody said anything yet.
    pub fn describe(&mut self, SeriesId(id): SeriesId, help: &str) {
        let table = &mut self.inner.table;
        let Some(Some(series)) = table.series.get(id as usize) else { return };
        if let Some(Some(family)) = table.families.get_mut(series.family as usize)
            && family.help.is_empty()
        {
            family.help = help.into();
        }
    }

    #[inline]
    fn touch(&mut self, SeriesId(id): SeriesId) -> Option<(&mut Series, &mut Cells)> {
        let inner = &mut *self.inner;
        let series = inner.table.series.get_mut(id as usize)?.as_mut()?;
        series.touched = self.now;
        Some((series, &mut inner.cells))
    }
}

impl Inner {
    fn find_or_make(&mut self, key: &Key<'_>, family: u32, now: u32) -> Option<u32> {
        let Self { table, cells, sources, namespaces, labels: text, .. } = self;
        let source = &mut sources[usize::from(key.source.0)];
        let namespace = match key.publication {
            Publication::ByPolicy => &source.policy.namespace,
            Publication::Own { namespace, .. } => namespace,
        };
        let namespace = number_of(namespace, &source.policy, namespaces);
        label_text(key.labels, text);
        let (found, is_taken) = table.find(family, text, key.source, namespace);
        if found.is_some() {
            return found;
        }
        if source.series < source.policy.series_max {
            source.series += 1;
            let series = make(key, key.labels, (family, namespace), &source.policy, cells, namespaces);
            let series =
                Series { labels: text.as_str().into(), is_shown: !is_taken, made: now, touched: now, ..series };
            return Some(table.insert(series));
        }
        source.overflowed += 1;
        let (found, is_taken) = table.find(family, OVERFLOW_TEXT, key.source, namespace);
        if found.is_some() || source.overflow >= source.policy.series_max {
            return found;
        }
        source.overflow += 1;
        let key = Key { publication: Publication::ByPolicy, labels: &OVERFLOW, ..*key };
        let series = make(&key, &OVERFLOW, (family, namespace), &source.policy, cells, namespaces);
        Some(table.insert(Series {
            labels: OVERFLOW_TEXT.into(),
            is_shown: !is_taken,
            made: now,
            touched: now,
            ..series
        }))
    }
}

/// The number of the namespace, or of the source's own if there are too many.
fn number_of(namespace: &str, policy: &Policy, namespaces: &mut Vec<Arc<str>>) -> u16 {
    let known = |name: &str, namespaces: &[Arc<str>]| namespaces.iter().position(|known| **known == *name);
    let place = known(namespace, namespaces).or_else(|| {
        let wanted = if namespaces.len() < NAMESPACES_MAX { namespace } else { &policy.namespace };
        known(wanted, namespaces).or_else(|| {
            // Those of the policies are few, and always have a place.
            namespaces.push(wanted.into());
            Some(namespaces.len() - 1)
        })
    });
    place.and_then(|place| u16::try_from(place).ok()).unwrap_or_default()
}

fn make(
    key: &Key<'_>,
    labels: &[(&str, &str)],
    (family, namespace): (u32, u16),
    policy: &Policy,
    cells: &mut Cells,
    namespaces: &mut Vec<Arc<str>>,
) -> Series {
    let mut fed = Vec::new();
    policy.heads(&Key { labels, ..*key }, |name, head| {
        let id = cells.feed(number_of(name, policy, namespaces), Class::of(key.kind), &head);
        // Two sets that became the same one.
        if fed.contains(&id) {
            cells.leave(id);
        } else {
            fed.push(id);
        }
    });
    let value = match key.kind {
        Kind::Counter => Value::Counter(0.0),
        Kind::Gauge | Kind::Info | Kind::StateSet | Kind::Unknown => Value::Gauge { value: f64::NAN, is_fresh: false },
        Kind::Set => Value::Set { last: 0, seen: Seen::default() },
        Kind::Histogram => Value::Histogram(Box::new(Buckets::new(&policy.buckets, 1.0))),
        Kind::Timer => Value::Histogram(Box::new(Buckets::new(&policy.buckets, 0.001))),
        Kind::Summary => Value::Summary(Box::default()),
    };
    Series {
        family,
        source: key.source,
        namespace,
        labels: "".into(),
        serial: 0,
        is_shown: true,
        is_born: false,
        made: 0,
        touched: 0,
        cells: Fed::from(fed),
        value,
    }
}
