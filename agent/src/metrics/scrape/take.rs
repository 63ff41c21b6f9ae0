//! An exposition becomes samples of series.
//!
//! Promises: a counter's first value counts only if it was born after we were, or if nobody answered when we first asked; what
//! shows up later counts whole, and so does all that a process counted which was started again; a spelling that was seen before is
//! neither relabelled nor sorted again, and of a page that has the lines of the one before only the numbers are read ([`again`](super::again)).
//! Never: reads a clock or a socket; holds the store for more than some hundred samples.

use std::{borrow::Cow, collections::HashMap, hash::BuildHasher, mem};

use foldhash::fast::RandomState;

use super::again::Learned;
use crate::{
    aws::Unit,
    metrics::{
        exposition::{
            self, Example, Fault, Format, Known, Label, Limits, Memory, Point, Refused, Told, Value, family,
            line::Exemplar,
        },
        relabel::{Labels, NAME, Rules},
        store::{
            First, Histogram, Kept, Raw, SeriesId, Store, Writing,
            key::{Key, Kind, Publication, SourceId},
        },
    },
};

/// Samples that are written under one lock: some 50 microseconds.
pub(super) const PIECE: usize = 256;
/// What libraries that work out their start anew at each scrape may differ by, in seconds.
const START_TOLERANCE: f64 = 1.0;

/// What is known of a target from one scrape to the next.
#[derive(Debug)]
pub struct Taker {
    pub(super) source: SourceId,
    /// Labels that all its series get.
    pub(super) labels: Vec<(String, String)>,
    rules: Rules,
    /// When we were born, in seconds since 1970.
    our_birth: f64,
    has_answered: bool,
    /// True if there was nobody when we first asked.
    was_absent: bool,
    process_start: Option<f64>,
    /// When series were born that say so, by a hash of their spelling.
    births: HashMap<u64, f64, RandomState>,
    spellings: RandomState,
    /// The same of the scrape before.
    births_before: HashMap<u64, f64, RandomState>,
    bounds: Vec<f64>,
    counts: Vec<f64>,
    memory: Memory,
    /// The last page, if one like it can be taken by its numbers.
    pub(super) learned: Option<Learned>,
    /// Where its points go, while a page is taken; `None` if one of them was not met before.
    series: Option<Vec<Option<Kept>>>,
}

/// What a scrape brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Samples in the exposition.
    pub samples: usize,
    /// Points that rules dropped.
    pub dropped: usize,
    /// Points for which there is no series, because of the cap.
    pub without_series: usize,
    /// Lines that were refused, and histograms without a count.
    pub faults: usize,
    /// The first of the lines.
    pub first_fault: Option<Fault>,
}

/// What a scrape does to series that were known before.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) first: First,
    has_restarted: bool,
}

impl Taker {
    /// Takes what is scraped of one target for `source`. We were born at `our_birth`, in seconds since 1970.
    pub fn new(source: SourceId, labels: Vec<(String, String)>, rules: Rules, our_birth: f64) -> Self {
        Self {
            source,
            labels,
            rules,
            our_birth,
            has_answered: false,
            was_absent: false,
            process_start: None,
            births: HashMap::default(),
            spellings: RandomState::default(),
            births_before: HashMap::default(),
            bounds: Vec::new(),
            counts: Vec::new(),
            memory: Memory::default(),
            learned: None,
            series: None,
        }
    }

    /// As if no line had been met before.
    #[cfg(test)]
    pub(super) fn forget_spellings(&mut self) {
        self.memory = Memory::default();
        self.learned = None;
    }

    /// Nobody listens there, so that who answers later begins later.
    pub fn nobody_there(&mut self) {
        self.was_absent |= !self.has_answered;
    }

    /// True if it answered before.
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Takes an exposition that came at `now`, a time of the store.
    pub fn take(
        &mut self,
        store: &Store,
        now: u32,
        text: &[u8],
        (format, limits): (Format, Limits),
    ) -> Result<Taken, Refused> {
        if let Some(taken) = self.again(store, now, text, (format, limits)) {
            return Ok(taken);
        }
        let mut survey = exposition::survey_again(text, (format, limits), &mut self.memory)?;
        // Nothing of a first page was met before.
        self.series = self.has_answered.then(Vec::new);
        if self.has_answered {
            survey.learn(format, limits);
        }
        let moment = self.moment(survey.process_start);
        self.births_before = mem::take(&mut self.births);
        let mut taken = Taken {
            samples: survey.samples,
            faults: survey.faults,
            first_fault: survey.first_fault,
            ..Taken::default()
        };
        let (mut writing, mut written) = (Some(store.writing(now)), 0);
        let broken = exposition::points_again(text, (format, limits), &mut survey, |told| {
            written += 1;
            if written % PIECE == 0 {
                // Others write meanwhile. First it is let go, then asked for.
                writing = None;
            }
            let writing = writing.get_or_insert_with(|| store.writing(now));
            match told {
                Told::Known(known) => return self.known(&known, moment, writing, &mut taken),
                Told::Point(point) => self.point(point, moment, writing, &mut taken),
            }
            true
        });
        taken.faults += broken;
        if let (Some(script), Some(series), 0) = (survey.learned(), self.series.take(), taken.faults) {
            self.learned = Some(Learned { script, series });
        }
        Ok(taken)
    }

    /// What this scrape means for counters.
    pub(super) fn moment(&mut self, process_start: Option<f64>) -> Moment {
        let is_new = process_start.is_some_and(|start| start > self.our_birth);
        let first = if self.has_answered || self.was_absent || is_new { First::Keep } else { First::Baseline };
        let has_restarted = self.is_another_process(process_start);
        self.has_answered = true;
        self.process_start = process_start.or(self.process_start);
        Moment { first, has_restarted }
    }

    /// True if it was started again since the scrape before.
    pub(super) fn is_another_process(&self, process_start: Option<f64>) -> bool {
        self.process_start.zip(process_start).is_some_and(|(before, now)| now > before + START_TOLERANCE)
    }

    /// Remembers where a point goes that was met before.
    #[inline]
    fn keep(&mut self, writing: &Writing<'_>, series: Option<SeriesId>) {
        if let Some(all) = &mut self.series {
            all.push(series.and_then(|id| writing.keep(id)));
        }
    }

    /// Writes a point that was met before under its spelling. False if it was not.
    #[inline]
    fn known(&mut self, known: &Known<'_>, moment: Moment, writing: &mut Writing<'_>, taken: &mut Taken) -> bool {
        let kind = kind_of(known.kind);
        let (name, tags) = (known.name.as_bytes(), known.spelling.as_bytes());
        let Some(series) = writing.known(&Raw { source: self.source, kind, name, tags }) else { return false };
        self.keep(writing, series);
        match series {
            None => taken.dropped += 1,
            Some(id) => write(writing, (id, kind), known.value, moment),
        }
        true
    }

    fn point(&mut self, point: &Point<'_, '_>, moment: Moment, writing: &mut Writing<'_>, taken: &mut Taken) {
        let moment = self.of_series(point, moment);
        match point.value {
            Value::Number(number) => {
                let kind = kind_of(point.kind);
                let Some(id) = self.series(point, (point.name, kind), writing, taken) else { return };
                write(writing, (id, kind), number, moment);
                if let Some(Exemplar { labels, value, timestamp_ms }) = point.exemplar {
                    exemplify(writing, id, labels, value, timestamp_ms);
                }
            }
            Value::Histogram(histogram) if point.kind == family::Kind::Histogram => {
                let Some(id) = self.series(point, (point.name, Kind::Histogram), writing, taken) else { return };
                if moment.has_restarted {
                    writing.restarted(id);
                }
                let told = self.apart(&histogram);
                if !writing.histogram_total(id, &told, moment.first) {
                    taken.faults += 1;
                }
                for Example { labels, value, timestamp_ms } in point.examples {
                    exemplify(writing, id, labels, *value, *timestamp_ms);
                }
            }
            // Their buckets go up and down: what came between two looks cannot be told.
            Value::Histogram(exposition::Histogram { buckets, sum }) => {
                let count = buckets.last().map(|bucket| bucket.count);
                for (ending, value) in [("_gcount", count), ("_gsum", sum)] {
                    let name = format!("{}{ending}", point.name);
                    if let Some(value) = value
                        && let Some(id) = self.series(point, (&name, Kind::Gauge), writing, taken)
                    {
                        writing.set(id, value);
                    }
                }
            }
            Value::Summary(summary) => {
                let Some(id) = self.series(point, (point.name, Kind::Summary), writing, taken) else { return };
                let (sum, count) = (summary.sum.unwrap_or(0.0), summary.count.unwrap_or(0.0));
                if sum.is_finite() && count.is_finite() {
                    writing.summary_total(id, summary.quantiles, sum, count, moment.first);
                } else {
                    taken.faults += 1;
                }
            }
        }
    }

    /// What the scrape means for a series that says when it was born.
    fn of_series(&mut self, point: &Point<'_, '_>, moment: Moment) -> Moment {
        let Some(born) = point.born else { return moment };
        let labels: Vec<_> = point.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
        let spelling = self.spellings.hash_one((point.name, labels));
        let before = self.births_before.get(&spelling);
        self.births.insert(spelling, born);
        let first = if born > self.our_birth { First::Keep } else { moment.first };
        Moment { first, has_restarted: moment.has_restarted || before.is_some_and(|before| born > *before) }
    }

    /// The series of a point, under a name of its own.
    fn series(
        &mut self,
        point: &Point<'_, '_>,
        (name, kind): (&str, Kind),
        writing: &mut Writing<'_>,
        taken: &mut Taken,
    ) -> Option<SeriesId> {
        let spelling = point.spelling.map(str::as_bytes);
        let raw = spelling.map(|tags| Raw { source: self.source, kind, name: name.as_bytes(), tags });
        if let Some(known) = raw.as_ref().and_then(|raw| writing.known(raw)) {
            taken.dropped += usize::from(known.is_none());
            self.keep(writing, known);
            return known;
        }
        self.series = None;
        let series = match self.labelled(name, point) {
            None => {
                taken.dropped += 1;
                None
            }
            Some(labels) => {
                let met = self.meet(&labels, point, kind, writing);
                taken.without_series += usize::from(met.is_none());
                Some(met?)
            }
        };
        if let Some(raw) = &raw {
            writing.remember(raw, series);
        }
        series
    }

    /// The labels of a new series after the rules; `None` if they drop it.
    fn labelled<'p>(&self, name: &'p str, point: &'p Point<'_, '_>) -> Option<Labels<'p>> {
        let mut labels = Labels::default();
        labels.set(NAME, name);
        for label in point.labels {
            let is_ours = self.labels.iter().any(|(own, _)| *own == label.name);
            // As Prometheus does, unless it is told to honour labels.
            let name =
                if is_ours { Cow::Owned(format!("exported_{}", label.name)) } else { Cow::Borrowed(&*label.name) };
            labels.set(name, &*label.value);
        }
        for (name, value) in &self.labels {
            labels.set(name.clone(), value.clone());
        }
        let is_kept = self.rules.apply(&mut labels) && !labels.get(NAME).is_empty();
        is_kept.then_some(labels)
    }

    fn meet(
        &self,
        labels: &Labels<'_>,
        point: &Point<'_, '_>,
        kind: Kind,
        writing: &mut Writing<'_>,
    ) -> Option<SeriesId> {
        let own: Vec<_> = labels.iter().filter(|(name, _)| !name.starts_with("__")).collect();
        let name = labels.get(NAME);
        let unit = unit_of(name, point.unit, kind);
        let key = Key {
            source: self.source,
            name,
            shown: None,
            kind,
            unit,
            labels: &own,
            publication: Publication::ByPolicy,
        };
        let series = writing.series(&key)?;
        writing.describe(series, point.help);
        Some(series)
    }

    /// The buckets each by itself, as the store takes them.
    pub(super) fn apart(&mut self, histogram: &exposition::Histogram<'_>) -> Histogram<'_> {
        self.bounds.clear();
        self.counts.clear();
        let mut below = 0.0;
        for bucket in histogram.buckets {
            self.bounds.extend(Some(bucket.le).filter(|bound| bound.is_finite()));
            // Below all others there is nothing.
            if bucket.le != f64::NEG_INFINITY {
                self.counts.push(bucket.count - below);
                below = bucket.count;
            }
        }
        // Without a sum it is what the buckets' middles make.
        Histogram { bounds: &self.bounds, counts: &self.counts, sum: histogram.sum.unwrap_or(f64::NAN) }
    }
}

/// Writes the value of a counter, a gauge or the like.
#[inline]
pub(super) fn write(writing: &mut Writing<'_>, (id, kind): (SeriesId, Kind), number: f64, moment: Moment) {
    if kind != Kind::Counter {
        return writing.set(id, number);
    }
    if moment.has_restarted {
        writing.restarted(id);
    }
    // What is no number leaves a counter where it is.
    writing.total(id, number, moment.first);
}

/// Keeps an example of what was counted.
pub(super) fn exemplify(
    writing: &mut Writing<'_>,
    id: SeriesId,
    labels: &[Label<'_>],
    value: f64,
    timestamp_ms: Option<i64>,
) {
    let labels: Vec<_> = labels.iter().map(|label| (&*label.name, &*label.value)).collect();
    writing.exemplify(id, &labels, value, timestamp_ms.and_then(|at| u64::try_from(at).ok()));
}

pub(super) fn kind_of(kind: family::Kind) -> Kind {
    match kind {
        family::Kind::Counter => Kind::Counter,
        family::Kind::Gauge => Kind::Gauge,
        family::Kind::Info => Kind::Info,
        family::Kind::StateSet => Kind::StateSet,
        family::Kind::Histogram | family::Kind::GaugeHistogram | family::Kind::Summary | family::Kind::Unknown => {
            Kind::Unknown
        }
    }
}

/// The unit that is said, or that the name ends with as Prometheus' conventions have it.
fn unit_of(name: &str, said: &str, kind: Kind) -> Unit {
    let bare = name.strip_suffix("_total").unwrap_or(name);
    let word = if said.is_empty() { bare.rsplit('_').next().unwrap_or_default() } else { said };
    match word {
        "seconds" => Unit::SECONDS,
        "milliseconds" => Unit::MILLISECONDS,
        "bytes" => Unit::BYTES,
        "percent" => Unit::PERCENT,
        _ if kind == Kind::Counter => Unit::COUNT,
        _ => Unit::NONE,
    }
}
