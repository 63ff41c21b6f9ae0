//! The store as a whole, against a model that keeps every sample.
//!
//! Promises: what is told adds up to what came, in whatever order.
//! Never: measures how long it takes; `benches/` does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{policy::Dimensions, *};
use crate::aws::Unit;

fn policy(dimensions: Dimensions, series_max: usize) -> Policy {
    Policy {
        is_sent: true,
        namespace: "App".into(),
        dimensions,
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max,
        buckets: [1.0, 10.0].into(),
    }
}

fn key<'a>(source: SourceId, kind: Kind, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> Key<'a> {
    Key { source, name, shown: None, kind, unit: Unit::NONE, labels, publication: Publication::ByPolicy }
}

/// All that a flush tells, by name and dimensions: what was summed, counted, and the extremes.
fn flushed(store: &Store) -> BTreeMap<String, (f64, f64, f64, f64)> {
    let (mut flush, mut told) = (store.flush(), BTreeMap::new());
    while flush.next(|namespace, datum| {
        let name = match datum.at {
            Some(minute) => format!("{namespace} {} at {minute}", datum.head),
            None => format!("{namespace} {}", datum.head),
        };
        let numbers = match &datum.window {
            Window::Sum(sum) => (*sum, 1.0, *sum, *sum),
            Window::Values(values) => (values.sum(), values.count(), values.least(), values.greatest()),
            Window::Set(seen) => (seen.len() as f64, 1.0, 0.0, 0.0),
            Window::Empty => panic!("nothing is told of nothing"),
        };
        assert!(told.insert(name, numbers).is_none(), "told twice");
    }) {}
    told
}

fn head(name: &str, dimensions: &[(&str, &str)]) -> String {
    let dimensions: Vec<_> =
        dimensions.iter().map(|(name, value)| format!("{{\"Name\":\"{name}\",\"Value\":\"{value}\"}}")).collect();
    let dimensions =
        if dimensions.is_empty() { String::new() } else { format!(",\"Dimensions\":[{}]", dimensions.join(",")) };
    format!("App \"MetricName\":\"{name}\"{dimensions},\"Unit\":\"None\"")
}

#[test]
fn series_that_differ_in_what_is_no_dimension_are_one_metric() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::Named(vec!["route".into()]), 100));
    let mut writing = store.writing(0);
    for user in ["1", "2", "3"] {
        let labels = [("user", user), ("route", "/")];
        let hits = writing.series(&key(source, Kind::Counter, "hits", &labels)).expect("room");
        writing.add(hits, 2.0);
        let load = writing.series(&key(source, Kind::Gauge, "load", &labels)).expect("room");
        writing.set(load, user.parse().expect("a number"));
        let users = writing.series(&key(source, Kind::Set, "users", &labels)).expect("room");
        writing.see(users, 7);
        writing.see(users, user.len() as u64 + 7);
        let took = writing.series(&key(source, Kind::Timer, "took", &labels)).expect("room");
        writing.observe(took, 5.0, 2.0);
    }
    drop(writing);
    let of = |name| head(name, &[("route", "/")]);
    let expected = BTreeMap::from([
        (of("hits"), (6.0, 1.0, 6.0, 6.0)),
        (of("load"), (6.0, 3.0, 1.0, 3.0)),
        (of("users"), (2.0, 1.0, 0.0, 0.0)),
        (of("took"), (30.0, 6.0, 5.0, 5.0)),
    ]);
    assert_eq!(flushed(&store), expected);
    assert_eq!(flushed(&store), BTreeMap::new());
    assert_eq!((store.size().series, store.size().cells), (12, 4));
}

/// A counter and a gauge of one name are two metrics to us, and one to CloudWatch: neither takes the other's place.
#[test]
fn a_counter_and_a_gauge_of_one_name_are_both_told() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 100));
    let mut writing = store.writing(0);
    let counter = writing.series(&key(source, Kind::Counter, "x", &[])).expect("room");
    let gauge = writing.series(&key(source, Kind::Gauge, "x", &[])).expect("room");
    writing.add(counter, 3.0);
    writing.set(gauge, 7.0);
    drop(writing);
    let mut told = Vec::new();
    let mut flush = store.flush();
    while flush.next(|_, datum| told.push(format!("{:?}", datum.window).split('(').next().map(str::to_owned))) {}
    told.sort();
    assert_eq!(told, [Some("Sum".to_owned()), Some("Values".to_owned())]);
}

#[test]
fn a_relative_gauge_survives_a_flush() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 100));
    let gauge = |by: f64| {
        let mut writing = store.writing(0);
        let gauge = writing.series(&key(source, Kind::Gauge, "queue", &[])).expect("room");
        writing.shift(gauge, by);
    };
    gauge(-2.0);
    gauge(10.0);
    assert_eq!(flushed(&store)[&head("queue", &[])], (8.0, 1.0, 8.0, 8.0));
    gauge(-3.0);
    assert_eq!(flushed(&store)[&head("queue", &[])], (5.0, 1.0, 5.0, 5.0));
}

#[test]
fn beyond_the_cap_one_series_of_the_name_stands_for_all_others_and_known_ones_stay_exact() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 2));
    for round in 0..3 {
        for user in 0..100 {
            let user = user.to_string();
            let labels = [("user", &*user)];
            let mut writing = store.writing(round);
            let hits = writing.series(&key(source, Kind::Counter, "hits", &labels)).expect("one stands for it");
            writing.add(hits, 1.0);
        }
    }
    let told = flushed(&store);
    assert_eq!(told[&head("hits", &[("user", "0")])].0, 3.0);
    assert_eq!(told[&head("hits", &[("overflow", "true")])].0, 294.0);
    assert_eq!((told.len(), store.size()), (3, Size { series: 3, cells: 3, overflowed: 294 }));
    // Names are labels to whoever makes them up.
    let mut writing = store.writing(3);
    let kept =
        (0..100).filter(|n| writing.series(&key(source, Kind::Gauge, &format!("name{n}"), &[])).is_some()).count();
    drop(writing);
    assert_eq!((kept, store.size().series), (1, 4));
}

#[test]
fn what_nobody_writes_to_is_forgotten_and_comes_back() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 2));
    let raw = Raw { source, kind: Kind::Counter, name: b"hits", tags: b"a" };
    let mut writing = store.writing(10);
    let hits = writing.series(&key(source, Kind::Counter, "hits", &[("a", "")])).expect("room");
    writing.remember(&raw, Some(hits));
    writing.add(hits, 1.0);
    let other = writing.series(&key(source, Kind::Gauge, "load", &[])).expect("room");
    writing.set(other, 1.0);
    drop(writing);
    assert_eq!(store.forget(10), 0);
    assert_eq!(store.forget(11), 1, "the gauge was not flushed");
    assert_eq!(store.writing(11).known(&raw), None);
    assert_eq!(flushed(&store).len(), 2, "what was counted is told all the same");
    assert_eq!((store.forget(11), store.size()), (1, Size::default()));
    let mut writing = store.writing(12);
    let hits = writing.series(&key(source, Kind::Counter, "hits", &[("a", "")])).expect("room again");
    writing.add(hits, 5.0);
    drop(writing);
    assert_eq!(flushed(&store)[&head("hits", &[("a", "<empty>")])].0, 5.0);
}

#[test]
fn spellings_are_told_apart_by_all_that_makes_them() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let other = store.source(policy(Dimensions::All, 10));
    let mut writing = store.writing(0);
    let hits = writing.series(&key(source, Kind::Counter, "hits", &[]));
    let raw = Raw { source, kind: Kind::Counter, name: b"ab", tags: b"c" };
    writing.remember(&raw, hits);
    assert_eq!(writing.known(&raw), Some(hits));
    for unknown in [
        Raw { name: b"a", tags: b"bc", ..raw },
        Raw { name: b"abc", tags: b"", ..raw },
        Raw { tags: b"d", ..raw },
        Raw { name: b"ad", ..raw },
        Raw { kind: Kind::Gauge, ..raw },
        Raw { source: other, ..raw },
    ] {
        assert_eq!(writing.known(&unknown), None, "{unknown:?}");
        // Not by the hash alone, which another may have.
        assert_eq!(writing.known_by(&unknown, writing.hash(&raw)), None, "{unknown:?}");
    }
    writing.remember(&Raw { name: b"dropped", ..raw }, None);
    assert_eq!(writing.known(&Raw { name: b"dropped", ..raw }), Some(None));
}

#[test]
fn what_is_said_to_be_of_a_minute_is_told_of_it() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let mut writing = store.writing(0);
    let hits = writing.series(&key(source, Kind::Counter, "hits", &[])).expect("room");
    let load = writing.series(&key(source, Kind::Gauge, "load", &[])).expect("room");
    writing.add(hits, 1.0);
    writing.add_at(hits, 2.0, Some(420));
    writing.add_at(hits, 3.0, Some(479));
    writing.set_at(load, 4.0, Some(480));
    writing.set_at(load, f64::NAN, Some(480));
    drop(writing);
    let expected = BTreeMap::from([
        (head("hits", &[]), (1.0, 1.0, 1.0, 1.0)),
        (format!("{} at 420", head("hits", &[])), (5.0, 1.0, 5.0, 5.0)),
        (format!("{} at 480", head("load", &[])), (4.0, 1.0, 4.0, 4.0)),
    ]);
    assert_eq!(flushed(&store), expected);
    assert_eq!(store.size().cells, 2);
}

/// Whoever writes another minute with each sample fills no memory, and loses no more than the minutes.
#[test]
fn a_flood_of_minutes_is_told_of_now_and_its_sum_is_exact() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let mut writing = store.writing(0);
    let hits = writing.series(&key(source, Kind::Counter, "hits", &[])).expect("room");
    (0..10_000).for_each(|minute| writing.add_at(hits, 1.0, Some(minute * 60)));
    // A minute that is known goes on.
    writing.add_at(hits, 1.0, Some(3 * 60));
    assert_eq!(writing.inner.cells.len(), 4_097);
    drop(writing);
    let told = flushed(&store);
    assert_eq!(told.values().map(|(sum, ..)| sum).sum::<f64>(), 10_001.0);
    assert_eq!(told[&head("hits", &[])].0, 5_904.0);
    assert_eq!(told[&format!("{} at 180", head("hits", &[]))].0, 2.0);
    store.writing(0).add_at(hits, 1.0, Some(1_200_000));
    assert_eq!(flushed(&store).len(), 1, "there is room again");
}

#[test]
fn counters_of_others_are_counted_from_their_first_value_or_from_nothing() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let look = |name: &str, total: f64, first| {
        let mut writing = store.writing(0);
        let id = writing.series(&key(source, Kind::Counter, name, &[])).expect("room");
        writing.total(id, total, first);
        drop(writing);
        flushed(&store).get(&head(name, &[])).map(|told| told.0)
    };
    assert_eq!(look("old", 100.0, First::Baseline), None);
    assert_eq!(look("old", 100.0, First::Baseline), Some(0.0));
    assert_eq!(look("old", 130.0, First::Baseline), Some(30.0));
    assert_eq!(look("old", 20.0, First::Baseline), Some(20.0), "it began anew");
    assert_eq!(look("old", f64::NAN, First::Baseline), None);
    assert_eq!(look("old", 21.0, First::Baseline), Some(1.0));
    assert_eq!(look("young", 100.0, First::Keep), Some(100.0));
    assert_eq!(look("young", 101.0, First::Keep), Some(1.0));
    let mut writing = store.writing(0);
    let id = writing.series(&key(source, Kind::Counter, "young", &[])).expect("room");
    writing.restarted(id);
    writing.total(id, 300.0, First::Baseline);
    drop(writing);
    assert_eq!(flushed(&store)[&head("young", &[])].0, 300.0, "it began anew, and is already more than it was");
}

#[test]
fn histograms_of_others_keep_their_sum_and_count() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let bounds = [0.1, 1.0];
    let look = |counts: &[f64], sum: f64, first| {
        let mut writing = store.writing(0);
        let id = writing.series(&key(source, Kind::Histogram, "took", &[])).expect("room");
        let is_good = writing.histogram_total(id, &Histogram { bounds: &bounds, counts, sum }, first);
        drop(writing);
        is_good.then(|| flushed(&store).get(&head("took", &[])).copied())
    };
    assert_eq!(look(&[5.0, 5.0, 1.0], 8.0, First::Baseline), Some(None));
    assert_eq!(look(&[5.0, 7.0, 2.0], 11.25, First::Baseline), Some(Some((3.25, 3.0, 0.55, 1.0))));
    assert_eq!(look(&[5.0, 7.0, 2.0], 11.25, First::Baseline), Some(None), "nothing came on top");
    assert_eq!(look(&[1.0, 0.0, 0.0], 0.03, First::Baseline), Some(Some((0.03, 1.0, 0.05, 0.05))), "it began anew");
    for counts in [&[1.0, 2.0][..], &[1.0, -1.0, 0.0], &[f64::NAN, 0.0, 0.0]] {
        assert_eq!(look(counts, 1.0, First::Keep), None, "{counts:?}");
    }
}

/// Buckets of exponential histograms are joined when there are too many of them, and there are more when values spread.
#[test]
fn a_histogram_of_others_may_become_coarser_and_wider() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let key = |name| key(source, Kind::Histogram, name, &[]);
    for (bounds, counts, sum, total, delta) in [
        (&[1.0, 2.0, 3.0, 4.0][..], &[0.0, 5.0, 0.0, 2.0, 0.0][..], 14.0, Some((14.0, 7.0)), Some((14.0, 7.0))),
        // 1 to 2 and 2 to 3 are one bucket now, and there is one more.
        (&[1.0, 3.0, 4.0, 9.0], &[0.0, 6.0, 2.0, 1.0, 0.0], 21.5, Some((7.5, 2.0)), Some((21.5, 9.0))),
        // A bound that cuts a bucket in two says nothing of what was in it.
        (&[1.0, 2.5, 4.0, 9.0], &[0.0, 7.0, 2.0, 1.0, 0.0], 24.0, Some((24.0, 10.0)), Some((24.0, 10.0))),
    ] {
        let told = Histogram { bounds, counts, sum };
        let mut writing = store.writing(0);
        let id = writing.series(&key("total")).expect("room");
        assert!(writing.histogram_total(id, &told, First::Keep));
        let id = writing.series(&key("delta")).expect("room");
        assert!(writing.histogram_delta(id, &told, None));
        drop(writing);
        let flushed = flushed(&store);
        let of = |name| flushed.get(&head(name, &[])).map(|told| (told.0, told.1));
        assert_eq!((of("total"), of("delta")), (total, delta), "{bounds:?}");
    }
}

#[test]
fn summaries_of_others_give_sum_and_count() {
    let store = Store::default();
    let source = store.source(policy(Dimensions::All, 10));
    let look = |sum, count| {
        let mut writing = store.writing(0);
        let id = writing.series(&key(source, Kind::Summary, "took", &[])).expect("room");
        writing.summary_total(id, &[(0.5, 2.0)], sum, count, First::Baseline);
        drop(writing);
        flushed(&store).get(&head("took", &[])).map(|told| (told.0, told.1))
    };
    assert_eq!(look(10.0, 4.0), None);
    assert_eq!(look(16.0, 6.0), Some((6.0, 2.0)));
    assert_eq!(look(3.0, 1.0), Some((3.0, 1.0)));
}

/// Sum and count of each metric.
type Sums = BTreeMap<String, (f64, f64)>;

/// One sample of the property below.
#[derive(Clone, Debug)]
enum Sample {
    Add(u8, f64),
    Observe(u8, f64, u8),
    Flush,
    Forget,
}

fn sample() -> impl Strategy<Value = Sample> {
    let number = (-1_000i32..1_000).prop_map(|n| f64::from(n) / 8.0);
    prop_oneof![
        8 => (0u8..20, number.clone()).prop_map(|(series, amount)| Sample::Add(series, amount)),
        8 => (0u8..20, number, 1u8..5).prop_map(|(series, value, times)| Sample::Observe(series, value, times)),
        1 => Just(Sample::Flush),
        1 => Just(Sample::Forget),
    ]
}

proptest! {
    /// Whatever comes in which order, and whenever it is flushed or forgotten, what is told adds up to what came.
    #[test]
    fn property_any_stream_of_samples_adds_up_as_in_a_naive_model(samples in prop::collection::vec(sample(), 0..400)) {
        let store = Store::default();
        let source = store.source(policy(Dimensions::Named(vec!["even".into()]), 12));
        let (mut expected, mut told) = (Sums::new(), Sums::new());
        let gather = |told: &mut Sums| {
            for (name, (sum, count, ..)) in flushed(&store) {
                let is_sum = name.contains("hits");
                let entry = told.entry(name).or_default();
                entry.0 += sum;
                entry.1 += if is_sum { 0.0 } else { count };
            }
        };
        for (now, sample) in (0u32..).zip(samples) {
            let write = |series: u8, kind, name: &str, change: &dyn Fn(&mut Writing<'_>, SeriesId)| {
                let (number, even) = (series.to_string(), series.is_multiple_of(2).to_string());
                let labels = [("number", &*number), ("even", &*even)];
                let mut writing = store.writing(now);
                let before = store_overflowed(&writing);
                let id = writing.series(&key(source, kind, name, &labels))?;
                change(&mut writing, id);
                // What stands for others has none of their dimensions.
                let is_overflow = store_overflowed(&writing) > before;
                Some(if is_overflow { head(name, &[]) } else { head(name, &[("even", &even)]) })
            };
            match sample {
                Sample::Add(series, amount) => {
                    let name = write(series, Kind::Counter, "hits", &|writing, id| writing.add(id, amount));
                    let entry = expected.entry(name.expect("one stands for all")).or_default();
                    entry.0 += amount;
                }
                Sample::Observe(series, value, times) => {
                    let times = f64::from(times);
                    let name = write(series, Kind::Histogram, "took", &|writing, id| writing.observe(id, value, times));
                    let entry = expected.entry(name.expect("one stands for all")).or_default();
                    entry.0 += value * times;
                    entry.1 += times;
                }
                Sample::Flush => gather(&mut told),
                Sample::Forget => {
                    store.forget(now.saturating_sub(10));
                }
            }
        }
        gather(&mut told);
        prop_assert_eq!(told, expected);
        prop_assert!(store.size().series <= 24);
        store.forget(u32::MAX);
        gather(&mut Sums::new());
        prop_assert_eq!((store.size().series, store.size().cells), (0, 0));
    }
}

fn store_overflowed(writing: &Writing<'_>) -> u64 {
    writing.inner.sources.iter().map(|source| source.overflowed).sum()
}
