//! Metrics that come by OTLP.
//!
//! ```text
//! monotonic sum, delta            counter, so much more
//! monotonic sum, cumulative       counter: what is new since the point before of the same process (see `streams`)
//! other sum                       gauge: the value, or so much more or less
//! gauge                           gauge
//! histogram, exponential or not   histogram, the sum and count of which are the app's
//! summary                         summary
//! ```
//! A first point of a cumulative counter counts as a whole if counting began after the agent did; else it is where we begin.
//!
//! Promises: each point is in one series, or counted; what is counted between two points is counted once, however many processes of the app
//! count, and whenever they begin anew.
//! Never: waits; makes a client send again what cannot be understood.

pub mod streams;
#[cfg(test)]
mod tests;

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;
use prometheus::IntCounterVec;

use super::{
    Seconds,
    store::{
        Extremes, First, Histogram, SeriesId, Store, Writing,
        examples::CHARACTERS_MAX,
        key::{Key, Kind, Publication, SourceId},
    },
};
use crate::{
    aws::Unit,
    deliver::ack::Ack,
    otlp::{
        metrics::{Data, Metric, Point, Temporality, points},
        taker::{Taken, Taker},
    },
};
use streams::{New, Streams};

/// Attributes of a point that become labels.
const LABELS_MAX: usize = 64;
/// Streams of processes for each series that there may be.
pub const STREAMS_FOR_EACH: usize = 4;

/// Takes requests with metrics for the store.
pub struct Points {
    store: Store,
    source: SourceId,
    /// Attributes of the resource that become labels.
    resource_labels: Vec<String>,
    /// When the agent began, in nanoseconds since 1970.
    began: u64,
    seconds: Seconds,
    streams: Mutex<Streams>,
    /// Tells streams apart.
    state: RandomState,
    name: String,
    rejected: IntCounterVec,
    samples: IntCounterVec,
}

/// How a source of points is set up.
pub struct Setup {
    /// The name on `/metrics`.
    pub name: String,
    /// Where they go.
    pub store: Store,
    /// As whose.
    pub source: SourceId,
    /// Attributes of the resource that become labels.
    pub resource_labels: Vec<String>,
    /// Series that there may be.
    pub series_max: usize,
    /// When the agent began, in nanoseconds since 1970.
    pub began: u64,
    /// The store's clock.
    pub seconds: Seconds,
    /// Points that are in no series, by `input` and `reason`.
    pub rejected: IntCounterVec,
    /// Points that were taken, by `input`.
    pub samples: IntCounterVec,
}

impl Points {
    /// A source as `setup` says.
    pub fn new(setup: Setup) -> Arc<Self> {
        let Setup { name, store, source, resource_labels, series_max, began, seconds, rejected, samples } = setup;
        let streams = Mutex::new(Streams::new(series_max.saturating_mul(STREAMS_FOR_EACH)));
        let state = RandomState::default();
        Arc::new(Self { store, source, resource_labels, began, seconds, streams, state, name, rejected, samples })
    }
}

impl Taker for Points {
    fn take(&self, request: &[u8], _: usize, _: Option<&Arc<Ack>>) -> Taken {
        let now = self.seconds.now();
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writing = self.store.writing(now);
        let (mut odd, mut full) = (0, 0);
        let seen = points(request, |point| match self.write(&mut writing, (&mut streams, now), point) {
            Written::Whole => {}
            Written::Odd => odd += 1,
            Written::NoRoom => full += 1,
        });
        drop(writing);
        // The request was looked at before; what is broken within a point is odd.
        let seen = seen.unwrap_or_default();
        self.samples.with_label_values(&[&*self.name]).inc_by((seen.points - odd - full) as u64);
        for (reason, points) in [("odd", seen.odd + odd), ("absent", seen.absent), ("series_max", full)] {
            self.rejected.with_label_values(&[&*self.name, reason]).inc_by(points as u64);
        }
        Taken::Kept
    }
}

/// What became of a point.
enum Written {
    /// It is in a series.
    Whole,
    /// It has a value that no series can have.
    Odd,
    /// There are too many series.
    NoRoom,
}

impl Points {
    fn write(&self, writing: &mut Writing<'_>, streams: (&mut Streams, u32), point: &Point<'_>) -> Written {
        let name = String::from_utf8_lossy(point.metric.name);
        if name.is_empty() {
            return Written::Odd;
        }
        let texts = self.labels(point);
        let labels: Vec<(&str, &str)> = texts.iter().map(|(key, value)| (&**key, &**value)).collect();
        let kind = kind_of(&point.metric, &point.data);
        let unit = str::from_utf8(point.metric.unit).unwrap_or("");
        let shown = shown(&name, unit, kind);
        let key = Key {
            source: self.source,
            name: &name,
            shown: Some(&shown),
            kind,
            unit: cloudwatch_unit(unit, kind),
            labels: &labels,
            publication: Publication::ByPolicy,
        };
        let Some(id) = writing.series(&key) else { return Written::NoRoom };
        writing.describe(id, &String::from_utf8_lossy(point.metric.description));
        match point.data {
            Data::Gauge(value) => writing.set(id, value),
            Data::Sum(value) if !value.is_finite() => return Written::Odd,
            Data::Sum(value) if point.metric.is_monotonic => return self.count(writing, streams, (point, id), value),
            Data::Sum(value) if point.metric.temporality == Temporality::Delta => writing.shift(id, value),
            Data::Sum(value) => writing.set(id, value),
            Data::Histogram { bounds, counts, sum } => {
                let sum = sum.filter(|sum| sum.is_finite()).unwrap_or_else(|| guessed_sum(bounds, counts));
                return self.gather(writing, streams, (point, id), &Histogram { bounds, counts, sum });
            }
            Data::Summary { sum, .. } if !sum.is_finite() => return Written::Odd,
            Data::Summary { quantiles, sum, count } => {
                writing.summary_total(id, quantiles, sum, count, self.first(point));
            }
        }
        Written::Whole
    }

    /// A counter.
    fn count(
        &self,
        writing: &mut Writing<'_>,
        (streams, now): (&mut Streams, u32),
        (point, id): (&Point<'_>, SeriesId),
        value: f64,
    ) -> Written {
        // What only grows is never below nothing.
        if value < 0.0 {
            return Written::Odd;
        }
        let new = match point.metric.temporality {
            Temporality::Delta => Ok(Some(value)),
            Temporality::Cumulative => streams.number(self.stream(point), value, self.first(point), now),
        };
        match new {
            Ok(new) => writing.add(id, new.unwrap_or(0.0)),
            Err(_) => return Written::NoRoom,
        }
        exemplify(writing, point, id);
        Written::Whole
    }

    /// A histogram.
    fn gather(
        &self,
        writing: &mut Writing<'_>,
        (streams, now): (&mut Streams, u32),
        (point, id): (&Point<'_>, SeriesId),
        told: &Histogram<'_>,
    ) -> Written {
        let is_good = match point.metric.temporality {
            Temporality::Delta => writing.histogram_delta(id, told, point.extremes.map(Extremes::known)),
            Temporality::Cumulative => {
                match streams.histogram(self.stream(point), (told, point.extremes), self.first(point), now) {
                    Ok(Some(New { counts, sum, extremes })) => {
                        writing.histogram_delta(id, &Histogram { counts: &counts, sum, ..*told }, extremes)
                    }
                    Ok(None) => true,
                    Err(_) => return Written::NoRoom,
                }
            }
        };
        if !is_good {
            return Written::Odd;
        }
        exemplify(writing, point, id);
        Written::Whole
    }

    /// What the first value of a point's stream means.
    fn first(&self, point: &Point<'_>) -> First {
        if point.start > self.began { First::Keep } else { First::Baseline }
    }

    /// What tells the point's stream from others: all that is said of who counts what, and since when.
    fn stream(&self, point: &Point<'_>) -> u64 {
        // In whatever order attributes come.
        let all = |attributes: &[&[u8]]| {
            attributes.iter().fold(0_u64, |sum, attribute| sum.wrapping_add(self.state.hash_one(attribute)))
        };
        let (resource, own) = (all(point.resource), all(point.attributes));
        self.state.hash_one((point.metric.name, resource, point.scope, own, point.start))
    }

    /// Its attributes, and those of its resource that are wished for.
    fn labels(&self, point: &Point<'_>) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for (name, value) in point.resource() {
            if self.resource_labels.iter().any(|wanted| wanted.as_bytes() == name) {
                labels.push(label(name, value));
            }
        }
        labels.extend(point.attributes().take(LABELS_MAX).map(|(name, value)| label(name, value)));
        labels
    }
}

/// Keeps what leads from a count to traces.
fn exemplify(writing: &mut Writing<'_>, point: &Point<'_>, id: SeriesId) {
    for exemplar in point.exemplars() {
        let texts = exemplar.labels(CHARACTERS_MAX);
        let labels: Vec<(&str, &str)> = texts.iter().map(|(key, value)| (&**key, &**value)).collect();
        writing.exemplify(id, &labels, exemplar.value, Some(exemplar.time / 1_000_000).filter(|at| *at > 0));
    }
}

fn label(name: &[u8], value: crate::otlp::value::Any<'_>) -> (String, String) {
    let mut text = String::new();
    value.put(&mut text);
    (String::from_utf8_lossy(name).into_owned(), text)
}

fn kind_of(metric: &Metric<'_>, data: &Data<'_>) -> Kind {
    match data {
        Data::Sum(_) if metric.is_monotonic => Kind::Counter,
        Data::Sum(_) | Data::Gauge(_) => Kind::Gauge,
        Data::Histogram { .. } => Kind::Histogram,
        Data::Summary { .. } => Kind::Summary,
    }
}

/// The sum of values of which nobody says it: each in the middle of its bucket.
fn guessed_sum(bounds: &[f64], counts: &[f64]) -> f64 {
    let middle = |place: usize| match (place.checked_sub(1).map(|before| bounds[before]), bounds.get(place)) {
        (Some(lower), Some(upper)) => f64::midpoint(lower, *upper),
        (None, Some(upper)) => upper.min(upper / 2.0),
        (Some(lower), None) => lower,
        (None, None) => 0.0,
    };
    counts.iter().enumerate().map(|(place, count)| middle(place) * count).sum()
}

/// Units of UCUM that SDKs use: as Prometheus names end in them, and CloudWatch's.
const UNITS: [(&str, &str, &str); 17] = [
    ("s", "seconds", "Seconds"),
    ("ms", "milliseconds", "Milliseconds"),
    ("us", "microseconds", "Microseconds"),
    ("ns", "nanoseconds", "None"),
    ("min", "minutes", "None"),
    ("h", "hours", "None"),
    ("d", "days", "None"),
    ("By", "bytes", "Bytes"),
    ("kBy", "kilobytes", "Kilobytes"),
    ("MBy", "megabytes", "Megabytes"),
    ("GBy", "gigabytes", "Gigabytes"),
    ("KiBy", "kibibytes", "None"),
    ("MiBy", "mebibytes", "None"),
    ("GiBy", "gibibytes", "None"),
    ("%", "percent", "Percent"),
    ("By/s", "bytes_per_second", "Bytes/Second"),
    ("Cel", "celsius", "None"),
];

/// The name on `/metrics`: with its unit, as OpenTelemetry's own exporter for Prometheus has it.
fn shown(name: &str, unit: &str, kind: Kind) -> String {
    let ending = match unit {
        "1" if kind == Kind::Gauge => "ratio",
        _ => UNITS.iter().find(|(ucum, ..)| *ucum == unit).map_or("", |(_, ending, _)| ending),
    };
    let bare = if kind == Kind::Counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
    if ending.is_empty() || bare.ends_with(ending) { bare.to_owned() } else { format!("{bare}_{ending}") }
}

fn cloudwatch_unit(unit: &str, kind: Kind) -> Unit {
    let known = UNITS.iter().find(|(ucum, ..)| *ucum == unit).and_then(|(.., name)| Unit::named(name));
    // `{request}` and the like are counts.
    let is_count =
        kind == Kind::Counter && (unit.is_empty() || unit == "1") || unit.starts_with('{') && unit.ends_with('}');
    known.unwrap_or(if is_count { Unit::COUNT } else { Unit::NONE })
}
