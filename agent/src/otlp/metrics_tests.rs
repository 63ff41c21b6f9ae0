//! Tests of points.
//!
//! Promises: requests written by hand, field by field; what is odd is counted; bounds of exponential histograms against their definition.
//! Never: shares a writer of points with the code under test.

use proptest::prelude::*;

use super::*;
use crate::otlp::{
    by_hand::{attribute, fixed, message, packed, text, uint},
    wire::put_varint,
};

fn double(number: u32, value: f64) -> Vec<u8> {
    fixed(number, value.to_bits())
}

/// A request with one metric, whose data are in the field `kind`. The resource stands behind it.
fn request(kind: u32, data: &[Vec<u8>]) -> Vec<u8> {
    let metric = message(2, &[text(1, "m"), text(2, "help"), text(3, "ms"), message(kind, data)]);
    let resource = message(1, &[attribute(1, "service.name", "shop")]);
    message(1, &[message(2, &[metric]), resource])
}

/// What is seen of a request, a line for each point.
fn seen(request: &[u8]) -> (Vec<String>, Seen) {
    let mut all = Vec::new();
    let seen = points(request, |point| {
        let Metric { name, unit, description, temporality, is_monotonic } = point.metric;
        assert_eq!((unit, description), (&b"ms"[..], &b"help"[..]));
        let pairs = |attributes: &mut dyn Iterator<Item = (&[u8], Any<'_>)>| {
            let pair = |(key, value): (&[u8], Any<'_>)| {
                let mut text = String::from_utf8_lossy(key).into_owned() + "=";
                value.put(&mut text);
                text
            };
            attributes.map(pair).collect::<Vec<_>>().join(",")
        };
        all.push(format!(
            "{} {temporality:?} {is_monotonic} [{}] [{}] {}..{} {:?}",
            String::from_utf8_lossy(name),
            pairs(&mut point.resource()),
            pairs(&mut point.attributes()),
            point.start,
            point.time,
            point.data
        ));
    });
    (all, seen.expect("a good request"))
}

fn one(request: &[u8]) -> String {
    let (mut all, seen) = seen(request);
    assert_eq!((all.len(), seen), (1, Seen { points: 1, ..Seen::default() }));
    all.remove(0)
}

#[test]
fn numbers_are_read_with_all_that_is_said_of_them() {
    let point = message(1, &[attribute(7, "a", "b"), fixed(2, 5), fixed(3, 9), double(4, 1.5), attribute(7, "c", "d")]);
    assert_eq!(
        one(&request(5, std::slice::from_ref(&point))),
        "m Cumulative false [service.name=shop] [a=b,c=d] 5..9 Gauge(1.5)"
    );
    assert_eq!(
        one(&request(7, &[point, uint(2, 1), uint(3, 1)])),
        "m Delta true [service.name=shop] [a=b,c=d] 5..9 Sum(1.5)"
    );
    let whole = message(1, &[fixed(6, (-3_i64).cast_unsigned())]);
    assert_eq!(one(&request(7, &[uint(2, 2), whole])), "m Cumulative false [service.name=shop] [] 0..0 Sum(-3.0)");
}

#[test]
fn histograms_and_summaries_are_read_however_they_are_packed() {
    let bounds = [1.0_f64, 2.5].map(f64::to_bits);
    let expected = "m Delta false [service.name=shop] [] 0..0 Histogram { bounds: [1.0, 2.5], counts: [1.0, 0.0, 4.0], sum: Some(9.0) }";
    let together = message(1, &[fixed(4, 5), double(5, 9.0), packed(6, &[1, 0, 4]), packed(7, &bounds)]);
    let apart =
        message(1, &[fixed(6, 1), fixed(7, bounds[0]), fixed(6, 0), double(5, 9.0), fixed(7, bounds[1]), fixed(6, 4)]);
    for point in [together, apart] {
        assert_eq!(one(&request(9, &[point, uint(2, 1)])), expected);
    }
    let bare = message(1, &[fixed(4, 5), attribute(9, "k", "v")]);
    assert_eq!(
        one(&request(9, &[bare])),
        "m Cumulative false [service.name=shop] [k=v] 0..0 Histogram { bounds: [], counts: [5.0], sum: None }"
    );
    let quantile = message(6, &[double(1, 0.99), double(2, 7.0)]);
    let summary = message(1, &[fixed(4, 3), double(5, 8.0), quantile, attribute(7, "k", "v")]);
    assert_eq!(
        one(&request(11, &[summary])),
        "m Cumulative false [service.name=shop] [k=v] 0..0 Summary { quantiles: [(0.99, 7.0)], sum: 8.0, count: 3.0 }"
    );
}

#[test]
fn what_is_odd_is_counted_and_the_others_are_given() {
    let good = message(1, &[double(4, 1.0)]);
    for (kind, point, odd, absent) in [
        (5, message(1, &[""]), 1, 0),
        (5, message(1, &[uint(8, 1)]), 0, 1),
        (7, message(1, &[double(4, 1.0), uint(8, 1)]), 0, 1),
        (9, message(1, &[packed(6, &[1, 2])]), 1, 0),
        (9, message(1, &[packed(6, &[1, 2, 3]), packed(7, &[2.0_f64.to_bits(), 1.0_f64.to_bits()])]), 1, 0),
        (9, message(1, &[packed(6, &[1, 2]), packed(7, &[f64::NAN.to_bits()])]), 1, 0),
        (9, message(1, &[packed(6, &[1, 2]), packed(7, &[f64::INFINITY.to_bits()])]), 1, 0),
        (9, message(1, &[message(6, &[vec![1, 2, 3]])]), 1, 0),
        (9, message(1, &[packed(6, &[0; 1_003]), packed(7, &[0; 1_002])]), 1, 0),
        (10, message(1, &[uint(6, 50)]), 1, 0),
        (10, message(1, &[message(8, &[message(2, &[vec![0x80]])])]), 1, 0),
        (10, message(1, &[message(8, &[vec![0x0f]])]), 1, 0),
    ] {
        let (all, seen) =
            seen(&[request(kind, std::slice::from_ref(&point)), request(5, std::slice::from_ref(&good))].concat());
        assert_eq!((all.len(), seen), (1, Seen { points: 1, odd, absent }), "{kind} {point:x?}");
    }
    assert_eq!(seen(b""), (Vec::new(), Seen::default()));
    // A metric without data has no points.
    assert_eq!(seen(&message(1, &[message(2, &[message(2, &[text(1, "m")])])])).1, Seen::default());
}

fn exponents(number: u32, offset: i32, counts: &[u64]) -> Vec<u8> {
    let zigzag = ((offset << 1) ^ (offset >> 31)).cast_unsigned();
    let mut packed = Vec::new();
    counts.iter().for_each(|count| put_varint(&mut packed, *count));
    message(number, &[uint(1, u64::from(zigzag)), message(2, &[packed])])
}

fn scale(scale: i32) -> Vec<u8> {
    uint(6, u64::from(((scale << 1) ^ (scale >> 31)).cast_unsigned()))
}

#[test]
fn exponential_histograms_have_the_bounds_of_their_definition() {
    let point = message(
        1,
        &[fixed(4, 15), double(5, 20.0), scale(0), fixed(7, 3), exponents(8, 1, &[4, 0, 1]), exponents(9, -1, &[2, 5])],
    );
    assert_eq!(
        one(&request(10, &[point, uint(2, 1)])),
        "m Delta false [service.name=shop] [] 0..0 Histogram { bounds: [-2.0, -1.0, -0.5, 0.0, 2.0, 4.0, 8.0, 16.0], \
         counts: [0.0, 5.0, 2.0, 3.0, 0.0, 4.0, 0.0, 1.0, 0.0], sum: Some(20.0) }"
    );
    let nothing = message(1, &[fixed(7, 2), attribute(1, "k", "v")]);
    assert_eq!(
        one(&request(10, &[nothing])),
        "m Cumulative false [service.name=shop] [k=v] 0..0 Histogram { bounds: [0.0], counts: [2.0, 0.0], sum: None }"
    );
    // The coarsest scale: one bucket from 2^-1024 to 1, and one from there to infinity.
    let coarse = message(1, &[scale(-10), exponents(8, -1, &[6, 7])]);
    assert_eq!(
        one(&request(10, &[coarse])),
        "m Cumulative false [service.name=shop] [] 0..0 Histogram { bounds: [0.0, 5.562684646268003e-309, 1.0], counts: [0.0, 0.0, 6.0, 7.0], sum: None }"
    );
}

/// A million buckets that are said to be there are few when they are given, and the same bound is the same number at every scale.
#[test]
fn too_many_buckets_are_joined_at_bounds_that_both_have() {
    let bounds_of = |scale_: i32, counts: &[u64]| {
        let mut found = (Vec::new(), Vec::new());
        let point = message(1, &[scale(scale_), exponents(8, -700, counts)]);
        points(&request(10, &[point]), |point| match point.data {
            Data::Histogram { bounds, counts, .. } => found = (bounds.to_vec(), counts.to_vec()),
            other => panic!("{other:?}"),
        })
        .expect("a good request");
        found
    };
    let (fine, _) = bounds_of(10, &[1; 100]);
    let (coarse, counts) = bounds_of(10, &[1; 1_000_000][..]);
    assert!(coarse.len() <= BUCKETS_MAX + 2, "{}", coarse.len());
    assert_eq!(counts.iter().sum::<f64>(), 1_000_000.0);
    let (twice, counts) = bounds_of(10, &[1; 200]);
    assert_eq!(counts.iter().sum::<f64>(), 200.0);
    let shared = twice.iter().filter(|bound| fine.contains(bound)).count();
    assert!(shared >= 49, "{shared}");
}

proptest! {
    /// Whatever the bytes are, they are read to an end, and what is given is in order.
    #[test]
    fn property_no_bytes_do_harm(kind in prop::sample::select(&[5_u32, 7, 9, 10, 11][..]), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let request = request(kind, &[message(1, &[bytes])]);
        let seen = points(&request, |point| {
            if let Data::Histogram { bounds, counts, .. } = point.data {
                assert!(counts.len() == bounds.len() + 1 && bounds.is_sorted_by(|a, b| a < b));
            }
        });
        prop_assert!(seen.is_ok_and(|seen| seen.points + seen.odd + seen.absent == 1));
    }
}
