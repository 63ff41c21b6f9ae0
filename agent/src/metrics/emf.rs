//! Metrics in documents of the embedded metric format.
//!
//! A document's values are what an app saw: they count as of the minute that the document says, if it is another one than that in which it comes,
//! and those by the second (`StorageResolution` 1) as of its second then.
//!
//! Promises: each value is in one series, which feeds one metric of CloudWatch for each set of dimensions; sums, counts and extremes are the
//! document's.
//! Never: waits; keeps a document.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::{
    Seconds,
    store::{
        Store, Writing,
        key::{Key, Kind, Publication, SourceId},
    },
};
use crate::emf::{Document, Metric, Resolution, Statistics, Taker, Values};

/// Takes the metrics of documents for the store.
pub struct Documents {
    setup: Setup,
}

/// How a source of documents is set up.
pub struct Setup {
    /// The name on `/metrics`.
    pub name: String,
    /// Where metrics go.
    pub store: Store,
    /// As whose.
    pub source: SourceId,
    /// Whether CloudWatch gets them from here, and a document need not go to the logs.
    pub is_instead_of_logs: bool,
    /// Whether documents are looked for in records of logs.
    pub wants_records: bool,
    /// The store's clock.
    pub seconds: Seconds,
    /// Values that are in no series, by `input` and `reason`.
    pub rejected: IntCounterVec,
    /// Values that were taken, by `input`.
    pub samples: IntCounterVec,
}

impl Documents {
    /// A source as `setup` says.
    pub fn new(setup: Setup) -> Arc<Self> {
        Arc::new(Self { setup })
    }

    fn put(&self, writing: &mut Writing<'_>, metric: &Metric<'_>, labels: &[(&str, &str)], at: Option<u32>) -> bool {
        let key = Key {
            source: self.setup.source,
            name: metric.name,
            shown: None,
            kind: Kind::Histogram,
            unit: metric.unit.unwrap_or_default(),
            labels,
            publication: Publication::Own {
                namespace: metric.namespace,
                sets: metric.sets,
                is_high_resolution: metric.resolution == Resolution::Second,
            },
        };
        let Some(id) = writing.series(&key) else { return false };
        let mut observe = |value, times| writing.observe_at(id, (value, times), at);
        match metric.values {
            Values::One(value) => observe(value, 1.0),
            Values::Many(numbers) => numbers.iter().for_each(|value| observe(value, 1.0)),
            Values::Weighted { values, counts, statistics } => {
                let mut guessed = 0.0;
                for (value, count) in values.iter().zip(counts.iter()) {
                    observe(value, count);
                    guessed += value * count;
                }
                // They are the middles of buckets; the sum is known.
                let by = statistics.sum - guessed;
                writing.correct_sum_at(id, by, at);
            }
            Values::Statistics(statistics) => {
                spread(statistics).into_iter().for_each(|(value, times)| observe(value, times));
            }
        }
        true
    }
}

/// Values that have these statistics: the extremes, and the others in the middle between them.
fn spread(Statistics { min, max, count, sum }: Statistics) -> Vec<(f64, f64)> {
    if count <= 0.0 {
        return Vec::new();
    }
    if count < 2.0 {
        return vec![(sum / count, count)];
    }
    if count == 2.0 {
        // Two values are the extremes.
        return vec![(min, 1.0), (max, 1.0)];
    }
    let others = count - 2.0;
    vec![(min, 1.0), ((sum - min - max) / others, others), (max, 1.0)]
}

/// All dimensions of the sets together, each once.
fn labels<'m>(metric: &Metric<'m>) -> Vec<(&'m str, &'m str)> {
    let mut labels: Vec<(&str, &str)> = metric.sets.iter().flat_map(|set| set.iter().copied()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

impl Taker for Documents {
    fn take(&self, document: &Document<'_>) {
        let Setup { name, store, seconds, rejected, samples, .. } = &self.setup;
        let mut writing = store.writing(seconds.now());
        let (mut taken, mut unused) = (0, 0);
        document.metrics(|metric| {
            let values = match metric.values {
                Values::Many(numbers) => numbers.len() as u64,
                Values::One(_) | Values::Weighted { .. } | Values::Statistics(_) => 1,
            };
            match self.put(&mut writing, &metric, &labels(&metric), document.other_time(metric.resolution)) {
                true => taken += values,
                false => unused += values,
            }
        });
        drop(writing);
        samples.with_label_values(&[name]).inc_by(taken);
        rejected.with_label_values(&[name, "series_max"]).inc_by(unused);
    }

    fn is_instead_of_logs(&self) -> bool {
        self.setup.is_instead_of_logs
    }

    fn wants_records(&self) -> bool {
        self.setup.wants_records
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        emf,
        metrics::store::{
            Window,
            policy::{Dimensions, Policy},
        },
        tell::counters::Counters,
    };

    const NOW: i64 = 1_795_860_000_000;

    fn documents() -> (Store, Arc<Documents>) {
        let store = Store::default();
        let source = store.source(Policy {
            is_sent: true,
            namespace: "Ours".into(),
            dimensions: Dimensions::All,
            fixed: Vec::new(),
            is_high_resolution: false,
            series_max: 10,
            buckets: [1.0].into(),
        });
        let documents = Documents::new(Setup {
            store: store.clone(),
            source,
            is_instead_of_logs: true,
            wants_records: false,
            seconds: Seconds::new(),
            rejected: Counters::new().metrics.rejected.clone(),
            samples: Counters::new().metrics.samples.clone(),
            name: "emf.0".to_owned(),
        });
        (store, documents)
    }

    /// A document that was written earlier than it comes is of then, as CloudWatch would have it: two weeks back, two hours ahead.
    #[test]
    fn values_are_of_the_minute_or_second_that_their_document_says() {
        let minute = 60_000;
        for (at, expected) in [
            (NOW, (None, Some(0))),
            (NOW + minute - 1, (None, Some(59))),
            (NOW - 1, (Some(-60), Some(-1))),
            (NOW - 59_001, (Some(-60), Some(-60))),
            (NOW - 14 * 1_440 * minute, (Some(-14 * 86_400), Some(-14 * 86_400))),
            (NOW + 119 * minute + 7_300, (Some(119 * 60), Some(119 * 60 + 7))),
            // CloudWatch takes neither, and so they are of now.
            (NOW - 15 * 1_440 * minute, (None, None)),
            (NOW + 121 * minute, (None, None)),
        ] {
            let (store, documents) = documents();
            let text = format!(
                r#"{{"_aws":{{"Timestamp":{at},"CloudWatchMetrics":[{{"Namespace":"shop","Dimensions":[[]],"Metrics":[{{"Name":"one"}},{{"Name":"weighted"}},{{"Name":"fine","StorageResolution":1}}]}}]}},
                "one":2.5,"fine":4,"weighted":{{"Values":[1,3],"Counts":[2,2],"Max":3,"Min":1,"Count":4,"Sum":8.5}}}}"#
            );
            documents.take(&emf::read(text.as_bytes(), NOW).expect("a document"));
            let (mut flush, mut told) = (store.flush(), Vec::new());
            while flush.next(|_, datum| {
                let Window::Values(values) = &datum.window else { panic!("{:?}", datum.window) };
                told.push((datum.at.map(|at| i64::from(at) - NOW / 1_000), values.sum()));
            }) {}
            let (minute, second) = expected;
            assert_eq!(told, [(minute, 2.5), (minute, 8.5), (second, 4.0)], "{at}");
        }
    }

    #[test]
    fn each_form_of_values_comes_to_its_sum_count_and_extremes_in_each_set() {
        let (store, documents) = documents();
        let text = format!(
            r#"{{"_aws":{{"Timestamp":{NOW},"CloudWatchMetrics":[{{"Namespace":"shop","Dimensions":[["a","b"],["b"]],"Metrics":[
            {{"Name":"one","Unit":"Count"}},{{"Name":"many","StorageResolution":1}},{{"Name":"weighted"}},{{"Name":"statistics"}}]}}]}},
            "a":"1","b":"2","one":2.5,"many":[1,2,6],
            "weighted":{{"Values":[1,3],"Counts":[2,2],"Max":3,"Min":1,"Count":4,"Sum":8.5}},
            "statistics":{{"Max":9,"Min":1,"Count":10,"Sum":40}}}}"#
        );
        for _ in 0..2 {
            documents.take(&emf::read(text.as_bytes(), NOW).expect("a document"));
        }
        let (mut flush, mut told) = (store.flush(), BTreeMap::new());
        while flush.next(|namespace, datum| {
            let Window::Values(values) = &datum.window else { panic!("{:?}", datum.window) };
            let numbers = (values.sum(), values.count(), values.least(), values.greatest());
            told.insert(format!("{namespace} {}", datum.head), numbers);
        }) {}
        let expected = [
            ("one", "Count\"", (5.0, 2.0, 2.5, 2.5)),
            ("many", "None\",\"StorageResolution\":1", (18.0, 6.0, 1.0, 6.0)),
            ("weighted", "None\"", (17.0, 8.0, 1.0, 3.0)),
            ("statistics", "None\"", (80.0, 20.0, 1.0, 9.0)),
        ];
        let sets = [r#"{"Name":"a","Value":"1"},{"Name":"b","Value":"2"}"#, r#"{"Name":"b","Value":"2"}"#];
        let heads = expected.iter().flat_map(|(name, unit, numbers)| {
            sets.map(|set| {
                (format!("shop \"MetricName\":\"{name}\",\"Dimensions\":[{set}],\"Unit\":\"{unit}"), *numbers)
            })
        });
        assert_eq!(told, heads.collect::<BTreeMap<_, _>>());
    }

    #[test]
    fn statistics_are_spread_so_that_nothing_of_them_changes() {
        for (statistics, expected) in [
            (Statistics { min: 0.0, max: 0.0, count: 0.0, sum: 0.0 }, vec![]),
            (Statistics { min: 4.0, max: 4.0, count: 1.0, sum: 4.0 }, vec![(4.0, 1.0)]),
            (Statistics { min: 1.0, max: 3.0, count: 2.0, sum: 4.0 }, vec![(1.0, 1.0), (3.0, 1.0)]),
            (Statistics { min: 1.0, max: 9.0, count: 10.0, sum: 40.0 }, vec![(1.0, 1.0), (3.75, 8.0), (9.0, 1.0)]),
        ] {
            assert_eq!(spread(statistics), expected);
        }
    }
}
