//! What must hold of any bytes as the body of an OTLP request.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    ecs::Metadata,
    otlp::{
        metrics::{BOUNDS_MAX, Data, points},
        task::Task,
        walk::{Signal, Splitter, count},
        wire::Reader,
    },
};

/// Checks that points are given no more often than they were counted, and what is given of histograms.
fn check_points(bytes: &[u8], items: usize) {
    let seen = points(bytes, |point| {
        if let Data::Histogram { bounds, counts, .. } = point.data {
            assert!(counts.len() == bounds.len() + 1 && bounds.len() <= BOUNDS_MAX);
            assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite()));
        }
    })
    .expect("what was counted can be read");
    assert!(seen.points + seen.odd + seen.absent <= items);
}

/// A task of which some is known.
fn task() -> Task {
    let known = |text: &str| Some(text.to_owned());
    Task::new(&Metadata {
        task_arn: known("arn:aws:ecs:eu-west-1:123456789012:task/shop/0a1b"),
        region: known("eu-west-1"),
        ..Metadata::default()
    })
}

/// Checks that a body is counted or refused, that fields are pieces of it, and that neither cutting it nor filling its resources loses
/// anything.
pub(crate) fn check(bytes: &[u8]) {
    let read: usize = Reader::new(bytes).map_while(Result::ok).map(|field| field.raw.len()).sum();
    assert!(read <= bytes.len());
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        let Ok(items) = count(signal, bytes) else { continue };
        assert_eq!(read, bytes.len(), "what is counted is whole");
        assert_eq!(count(signal, &bytes.repeat(2)), Ok(2 * items));
        assert_eq!(count(signal, &task().filled(bytes)), Ok(items));
        if signal == Signal::Metrics {
            check_points(bytes, items);
        }
        for (bytes_max, items_max) in [(64, 1), (200, 3), (1 << 20, 1_000)] {
            let mut found = 0;
            let splitter = Splitter { signal, bytes_max, items_max };
            splitter
                .split(bytes, |piece| {
                    assert_eq!(count(signal, piece.bytes), Ok(piece.items));
                    found += piece.items;
                })
                .expect("what was counted can be cut");
            assert_eq!(found, items);
        }
    }
}
