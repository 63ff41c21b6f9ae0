//! Tests of points in the store.
//!
//! Promises: what CloudWatch gets of requests written by hand, sum by sum.
//! Never: reads a request otherwise than the product does.

use std::collections::BTreeMap;

use super::*;
use crate::{
    metrics::store::{
        Shown, Window,
        policy::{Dimensions, Policy},
    },
    otlp::by_hand::{attribute, fixed, message, packed, text, uint},
    tell::counters::Counters,
};

/// The second, in nanoseconds, at which the agent began.
const BEGAN: u64 = 1_000_000_000_000;

/// A request with one metric of the process `process`.
fn request(process: &str, name: &str, unit: &str, kind: u32, data: &[Vec<u8>]) -> Vec<u8> {
    let metric = message(2, &[text(1, name), text(3, unit), message(kind, data)]);
    let resource = message(1, &[attribute(1, "service.name", "shop"), attribute(1, "process.pid", process)]);
    message(1, &[resource, message(2, &[metric])])
}

/// A cumulative counter's request.
fn counter(process: &str, start: u64, value: f64) -> Vec<u8> {
    let point = message(1, &[fixed(2, start), fixed(4, value.to_bits()), attribute(7, "route", "/")]);
    request(process, "hits", "1", 7, &[point, uint(2, 2), uint(3, 1)])
}

fn points_of(series_max: usize) -> (Store, Arc<Points>) {
    let store = Store::default();
    let source = store.source(Policy {
        is_sent: true,
        namespace: "App".into(),
        dimensions: Dimensions::All,
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max,
        buckets: [1.0].into(),
    });
    let points = Points::new(Setup {
        store: store.clone(),
        source,
        resource_labels: vec!["service.name".into()],
        series_max,
        began: BEGAN,
        seconds: Seconds::new(),
        rejected: Counters::new().metrics.rejected.clone(),
        samples: Counters::new().metrics.samples.clone(),
        name: "otlp.0".to_owned(),
    });
    (store, points)
}

/// Sum and count of what is told of each metric, by its head.
fn flushed(store: &Store) -> BTreeMap<String, (f64, f64)> {
    let (mut flush, mut told) = (store.flush(), BTreeMap::new());
    while flush.next(|_, datum| {
        let numbers = match &datum.window {
            Window::Sum(sum) => (*sum, 1.0),
            Window::Values(values) => (values.sum(), values.count()),
            other => panic!("{other:?}"),
        };
        told.insert(datum.head.to_string(), numbers);
    }) {}
    told
}

fn one(store: &Store) -> Option<(f64, f64)> {
    let told = flushed(store);
    assert!(told.len() <= 1, "{told:?}");
    told.into_values().next()
}

#[test]
fn a_counter_is_counted_from_its_birth_if_it_was_born_after_the_agent() {
    let (store, points) = points_of(10);
    let look = |request: Vec<u8>| {
        assert_eq!(points.take(&request, 1, None), Taken::Kept);
        one(&store).map(|(sum, _)| sum)
    };
    assert_eq!(look(counter("1", BEGAN - 1, 100.0)), Some(0.0), "it was counted before anybody looked");
    assert_eq!(look(counter("1", BEGAN - 1, 103.0)), Some(3.0));
    assert_eq!(look(counter("2", BEGAN + 1, 40.0)), Some(40.0), "another process of the same name");
    assert_eq!(look(counter("1", BEGAN - 1, 104.0)), Some(1.0));
    assert_eq!(look(counter("2", BEGAN + 1, 41.0)), Some(1.0));
    // It begins anew and is already more than it was.
    assert_eq!(look(counter("2", BEGAN + 9, 50.0)), Some(50.0));
}

#[test]
fn each_kind_of_point_becomes_what_it_means() {
    let (store, points) = points_of(20);
    let number = |value: f64| message(1, &[fixed(4, value.to_bits())]);
    let histogram = |counts: &[u64], sum: f64| {
        message(
            1,
            &[
                fixed(2, BEGAN + 1),
                fixed(5, sum.to_bits()),
                packed(6, counts),
                packed(7, &[10.0_f64.to_bits(), 20.0_f64.to_bits()]),
            ],
        )
    };
    for request in [
        request("1", "load", "%", 5, &[number(0.5)]),
        request("1", "load", "%", 5, &[number(0.75)]),
        request("1", "waiting", "{job}", 7, &[number(7.0), uint(2, 2)]),
        request("1", "moved", "By", 7, &[number(3.0), uint(2, 1)]),
        request("1", "moved", "By", 7, &[number(-1.0), uint(2, 1)]),
        request("1", "sent", "By", 7, &[number(3.0), uint(2, 1), uint(3, 1)]),
        request("1", "sent", "By", 7, &[number(4.0), uint(2, 1), uint(3, 1)]),
        request("1", "took", "ms", 9, &[histogram(&[1, 2, 0], 31.5), uint(2, 2)]),
        request("1", "took", "ms", 9, &[histogram(&[1, 3, 1], 70.0), uint(2, 2)]),
        request("1", "delta", "s", 9, &[histogram(&[1, 0, 0], 5.0), uint(2, 1)]),
        request("1", "delta", "s", 9, &[histogram(&[2, 0, 0], 7.0), uint(2, 1)]),
        request(
            "1",
            "summary",
            "",
            11,
            &[message(1, &[fixed(2, BEGAN + 1), fixed(4, 4), fixed(5, 8.0_f64.to_bits())])],
        ),
    ] {
        assert_eq!(points.take(&request, 1, None), Taken::Kept);
    }
    let head = |name: &str, unit: &str| {
        format!(
            "\"MetricName\":\"{name}\",\"Dimensions\":[{{\"Name\":\"service.name\",\"Value\":\"shop\"}}],\"Unit\":\"{unit}\""
        )
    };
    assert_eq!(
        flushed(&store),
        BTreeMap::from([
            (head("load", "Percent"), (0.75, 1.0)),
            (head("waiting", "Count"), (7.0, 1.0)),
            (head("moved", "Bytes"), (2.0, 1.0)),
            (head("sent", "Bytes"), (7.0, 1.0)),
            (head("took", "Milliseconds"), (70.0, 5.0)),
            (head("delta", "Seconds"), (12.0, 3.0)),
            (head("summary", "None"), (8.0, 4.0)),
        ])
    );
}

#[test]
fn what_cannot_be_in_a_series_is_counted() {
    let (_, points) = points_of(1);
    let number = |value: f64| message(1, &[fixed(4, value.to_bits())]);
    let sum = |value| [number(value), uint(2, 1), uint(3, 1)];
    for request in [
        request("1", "", "", 5, &[number(1.0)]),
        request("1", "a", "", 7, &sum(-1.0)),
        request("1", "a", "", 7, &sum(f64::NAN)),
        request("1", "a", "", 5, &[message(1, &[uint(8, 1)])]),
        request("1", "a", "", 9, &[message(1, &[message(6, &[vec![1]])])]),
    ] {
        assert_eq!(points.take(&request, 1, None), Taken::Kept);
    }
    let unused = |reason| points.rejected.with_label_values(&["otlp.0", reason]).get();
    assert_eq!((unused("odd"), unused("absent"), unused("series_max")), (4, 1, 0));
    for name in 0..5 {
        points.take(&request("1", &format!("n{name}"), "", 5, &[number(1.0)]), 1, None);
    }
    assert_eq!(unused("series_max"), 4, "one was there already, and one stands for all of its name");
}

#[test]
fn names_end_in_their_unit_as_prometheus_has_them() {
    for (name, unit, kind, expected) in [
        ("http.server.request.duration", "s", Kind::Histogram, "http.server.request.duration_seconds"),
        ("took_seconds", "s", Kind::Histogram, "took_seconds"),
        ("sent", "By", Kind::Counter, "sent_bytes"),
        ("sent_total", "By", Kind::Counter, "sent_bytes"),
        ("used", "1", Kind::Gauge, "used_ratio"),
        ("hits", "1", Kind::Counter, "hits"),
        ("hits", "{request}", Kind::Counter, "hits"),
        ("odd", "furlong", Kind::Gauge, "odd"),
    ] {
        assert_eq!(shown(name, unit, kind), expected);
    }
}

/// A counter and a histogram lead to their traces, on `/metrics`; a gauge may not.
#[test]
fn exemplars_lead_from_counts_to_traces() {
    let exemplar = |field, value: f64, trace: u8| {
        let id = message(5, &[[trace; 16]]);
        message(field, &[fixed(2, 1_795_860_060_007_000_000), fixed(3, value.to_bits()), id, attribute(7, "user", "7")])
    };
    let (store, taker) = points_of(10);
    let hits = message(1, &[fixed(4, 3.0_f64.to_bits()), exemplar(5, 1.0, 0xab)]);
    let depth = message(1, &[fixed(4, 3.0_f64.to_bits()), exemplar(5, 1.0, 0xab)]);
    let wait = message(
        1,
        &[
            fixed(4, 2),
            fixed(5, 9.5_f64.to_bits()),
            packed(6, &[1, 1]),
            packed(7, &[1.0_f64.to_bits()]),
            exemplar(8, 0.5, 0x01),
            exemplar(8, 9.0, 0x02),
            b"\x42\x01\xff".to_vec(),
        ],
    );
    for (name, kind, data) in [
        ("hits", 7, vec![hits, uint(2, 1), uint(3, 1)]),
        ("depth", 7, vec![depth, uint(2, 2)]),
        ("wait", 9, vec![wait, uint(2, 1)]),
    ] {
        taker.take(&request("1", name, "1", kind, &data), 1, None);
    }
    let mut told = Vec::new();
    store.show(|shown| {
        if let Shown::Series { examples, .. } = shown {
            told.push(
                examples
                    .iter()
                    .map(|one| format!("{{{}}} {} {:?}", one.labels, one.value, one.milliseconds))
                    .collect::<Vec<_>>(),
            );
        }
    });
    let like = |trace: &str, value: &str| {
        format!("{{trace_id=\"{}\",user=\"7\"}} {value} Some(1795860060007)", trace.repeat(16))
    };
    assert_eq!(told, [vec![like("ab", "1")], vec![], vec![like("01", "0.5"), like("02", "9")]]);
}

/// A histogram that accumulates tells the extremes of its whole life: of a window they are told only where they moved, and else the middles of
/// buckets within them.
#[test]
fn of_what_accumulates_an_extreme_is_told_in_the_window_in_which_it_moved() {
    let (store, taker) = points_of(10);
    for (counts, sum, extremes, expected) in [
        ([1, 0, 1], 8.0, (0.9, 7.0), (0.9, 7.0)),
        // One more in the first bucket, whose middle is 0.5, and no value was less than 0.9.
        ([2, 0, 1], 9.0, (0.9, 7.0), (0.9, 0.9)),
        ([3, 0, 1], 9.2, (0.2, 7.0), (0.2, 0.5)),
        ([3, 1, 2], 21.0, (0.2, 9.5), (3.0, 9.5)),
    ] {
        let number = |value: f64| value.to_bits();
        let point = message(
            1,
            &[
                fixed(2, BEGAN + 1),
                fixed(4, counts.iter().sum()),
                fixed(5, number(sum)),
                packed(6, &counts),
                packed(7, &[number(1.0), number(5.0)]),
                fixed(11, number(extremes.0)),
                fixed(12, number(extremes.1)),
            ],
        );
        taker.take(&request("1", "wait", "s", 9, &[point, uint(2, 2)]), 1, None);
        let mut told = Vec::new();
        let mut flush = store.flush();
        while flush.next(|_, datum| {
            let Window::Values(values) = &datum.window else { panic!("{:?}", datum.window) };
            told.push((values.least(), values.greatest()));
        }) {}
        assert_eq!(told, [expected], "{counts:?}");
    }
}

/// The least and the greatest value that an app tells are CloudWatch's `Minimum` and `Maximum`; nonsense is not believed, and then it is the
/// middles of buckets.
#[test]
fn the_extremes_of_a_histogram_are_those_that_the_app_saw() {
    for (least, greatest, expected) in [
        (Some(0.2), Some(7.5), (0.2, 7.5)),
        (Some(0.9), Some(5.1), (0.9, 5.1)),
        (Some(1.5), Some(7.5), (0.5, 5.0)),
        (Some(0.2), Some(4.0), (0.5, 5.0)),
        (Some(0.2), Some(f64::INFINITY), (0.5, 5.0)),
        (Some(f64::NAN), Some(7.5), (0.5, 5.0)),
        (None, Some(7.5), (0.5, 5.0)),
        (None, None, (0.5, 5.0)),
    ] {
        let (store, taker) = points_of(10);
        let mut point = vec![
            fixed(4, 3),
            fixed(5, 8.0_f64.to_bits()),
            packed(6, &[2, 0, 1]),
            packed(7, &[1.0_f64.to_bits(), 5.0_f64.to_bits()]),
        ];
        point.extend(least.map(|least: f64| fixed(11, least.to_bits())));
        point.extend(greatest.map(|greatest: f64| fixed(12, greatest.to_bits())));
        taker.take(&request("1", "wait", "s", 9, &[message(1, &point), uint(2, 1)]), 1, None);
        let mut told = Vec::new();
        let mut flush = store.flush();
        while flush.next(|_, datum| {
            let Window::Values(values) = &datum.window else { panic!("{:?}", datum.window) };
            told.push((values.least(), values.greatest(), values.sum(), values.count()));
        }) {}
        assert_eq!(told, [(expected.0, expected.1, 8.0, 3.0)], "{least:?} {greatest:?}");
    }
}
