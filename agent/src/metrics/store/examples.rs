//! Examples of what was counted: exemplars, which lead from a number to a trace.
//!
//! Promises: the last one of each counter and of each bucket of a histogram; no more than [`EXAMPLES_MAX`] in all, each with as many characters
//! of labels as OpenMetrics allows; those of a series end with it.
//! Never: sent to CloudWatch, which has no place for them; takes room from series, of which most have none.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    SeriesId, Writing,
    key::{label_characters, label_text},
    table::{Table, Value},
};

/// Examples in all: with a trace's and a span's id in each they take some 150 KB. One that would be more is not kept.
const EXAMPLES_MAX: usize = 1_024;
/// Characters of names and values of an example's labels (OpenMetrics 1.0).
pub const CHARACTERS_MAX: usize = 128;

/// An example of what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// As they stand between the braces; may be empty.
    pub labels: Box<str>,
    /// Its value.
    pub value: f64,
    /// When it was, in milliseconds since 1970, if that is known.
    pub milliseconds: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Examples {
    by_series: HashMap<u32, Vec<Example>, RandomState>,
    count: usize,
}

impl Examples {
    /// Those of a series, in no order.
    pub(super) fn of(&self, series: u32) -> &[Example] {
        self.by_series.get(&series).map(Vec::as_slice).unwrap_or_default()
    }

    /// Keeps `example` instead of the one for which `is_same` holds.
    fn put(&mut self, series: u32, example: Example, is_same: impl Fn(&Example) -> bool) {
        if let Some(known) = self.by_series.get_mut(&series).and_then(|all| all.iter_mut().find(|one| is_same(one))) {
            *known = example;
        } else if self.count < EXAMPLES_MAX {
            self.count += 1;
            self.by_series.entry(series).or_default().push(example);
        }
    }

    /// Forgets those of series that are not in `table` any more.
    pub(super) fn forget(&mut self, table: &Table) {
        self.by_series.retain(|&id, _| table.series.get(id as usize).is_some_and(Option::is_some));
        self.count = self.by_series.values().map(Vec::len).sum();
    }
}

impl Writing<'_> {
    /// What a counter or a histogram was written to counted this, for example. One with too many labels is not kept.
    pub fn exemplify(
        &mut self,
        SeriesId(id): SeriesId,
        labels: &[(&str, &str)],
        value: f64,
        milliseconds: Option<u64>,
    ) {
        if !value.is_finite() || label_characters(labels) > CHARACTERS_MAX {
            return;
        }
        let inner = &mut *self.inner;
        let Some(Some(series)) = inner.table.series.get(id as usize) else { return };
        label_text(labels, &mut inner.labels);
        let example = Example { labels: inner.labels.as_str().into(), value, milliseconds };
        match &series.value {
            Value::Counter(_) => inner.examples.put(id, example, |_| true),
            Value::Histogram(buckets) => {
                let place = |value: f64| bucket_of(&buckets.bounds, value);
                inner.examples.put(id, example, |known| place(known.value) == place(value));
            }
            // Nothing else may have one.
            Value::Gauge { .. } | Value::Set { .. } | Value::Summary(_) => {}
        }
    }
}

/// The bucket that a value is in. The last one has no bound.
pub fn bucket_of(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Shown, Store,
            key::{Key, Kind, Publication},
            policy::{Dimensions, Policy},
        },
        *,
    };
    use crate::aws::Unit;

    fn store() -> (Store, super::super::key::SourceId) {
        let store = Store::default();
        let source = store.source(Policy {
            is_sent: true,
            namespace: "N".into(),
            dimensions: Dimensions::All,
            fixed: Vec::new(),
            is_high_resolution: false,
            series_max: 10_000,
            buckets: [1.0, 2.0].into(),
        });
        (store, source)
    }

    fn series(writing: &mut Writing<'_>, source: super::super::key::SourceId, kind: Kind, label: &str) -> SeriesId {
        let labels = [("of", label)];
        let (unit, publication) = (Unit::NONE, Publication::ByPolicy);
        let name = match kind {
            Kind::Counter => "hits",
            Kind::Histogram => "wait",
            _ => "temperature",
        };
        let key = Key { source, name, shown: None, kind, unit, labels: &labels, publication };
        writing.series(&key).expect("room")
    }

    fn shown(store: &Store) -> Vec<Vec<Example>> {
        let mut all = Vec::new();
        store.show(|shown| {
            if let Shown::Series { examples, .. } = shown {
                all.push(examples.to_vec());
            }
        });
        all
    }

    fn example(trace: &str, value: f64) -> Example {
        Example { labels: format!("trace_id=\"{trace}\"").into(), value, milliseconds: Some(7) }
    }

    #[test]
    fn each_counter_and_each_bucket_keeps_its_last_example() {
        let (store, source) = store();
        let mut writing = store.writing(0);
        let (hits, wait) =
            (series(&mut writing, source, Kind::Counter, "a"), series(&mut writing, source, Kind::Histogram, "a"));
        let gauge = series(&mut writing, source, Kind::Gauge, "a");
        for (id, trace, value) in [
            (hits, "1", 1.0),
            (hits, "2", 5.0),
            (gauge, "3", 1.0),
            (wait, "4", 0.5),
            (wait, "5", 1.0),
            (wait, "6", 1.5),
            (wait, "7", 9.0),
            (wait, "8", 3.0),
            (wait, "9", f64::NAN),
        ] {
            writing.exemplify(id, &[("trace_id", trace)], value, Some(7));
        }
        drop(writing);
        assert_eq!(
            shown(&store),
            [vec![example("2", 5.0)], vec![example("5", 1.0), example("6", 1.5), example("8", 3.0)], vec![]]
        );
    }

    /// A label that is one character too long for OpenMetrics, and examples without end. A series that is forgotten makes room again.
    #[test]
    fn what_is_kept_is_bounded() {
        let (store, source) = store();
        let mut writing = store.writing(0);
        let counter = series(&mut writing, source, Kind::Counter, "a");
        for (length, name, is_kept) in
            [(121, "trace_id", false), (127, "9", false), (126, "9", true), (120, "trace_id", true)]
        {
            writing.exemplify(counter, &[(name, &"\u{e4}".repeat(length))], 1.0, None);
            let kept = writing
                .inner
                .examples
                .of(0)
                .first()
                .is_some_and(|kept| kept.labels.chars().filter(|c| *c == '\u{e4}').count() == length);
            assert_eq!(kept, is_kept, "{length} {name}");
        }
        for number in 0..2_000 {
            let of = series(&mut writing, source, Kind::Counter, &number.to_string());
            writing.exemplify(of, &[("trace_id", "x")], 1.0, None);
        }
        assert_eq!(
            (writing.inner.examples.count, writing.inner.examples.by_series.len()),
            (EXAMPLES_MAX, EXAMPLES_MAX)
        );
        drop(writing);
        let mut flush = store.flush();
        while flush.next(|_, _| {}) {}
        assert_eq!(store.forget(1), 2_001);
        assert_eq!(store.lock().examples.count, 0);
        let mut writing = store.writing(2);
        let again = series(&mut writing, source, Kind::Counter, "again");
        assert_eq!(writing.inner.examples.of(again.0), []);
    }
}
