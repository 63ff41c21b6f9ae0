//! What must hold of any packet of StatsD.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    metrics::{
        expose::expose,
        statsd::{
            mapping::Mappings,
            take::{Taker, Tally},
        },
        store::{
            Store, Window,
            policy::{Dimensions, Policy},
        },
    },
    tell::exposition::{Form, Page},
};

/// Series of the source: so few that a packet can go beyond.
const SERIES_MAX: usize = 8;

/// Checks that a packet costs a bounded number of series, that what is flushed is JSON with finite numbers, and that every line of both
/// pages is a comment or ends with a number.
pub(crate) fn check(bytes: &[u8]) {
    let store = Store::default();
    let source = store.source(Policy {
        is_sent: true,
        namespace: "App".into(),
        dimensions: Dimensions::All,
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max: SERIES_MAX,
        buckets: [0.1, 1.0].into(),
    });
    let taker = Taker::new(source, Mappings::default(), true, true);
    let mut tally = Tally::default();
    taker.packet(bytes, &mut store.writing(0), &mut tally);
    let before = tally;
    taker.packet(bytes, &mut store.writing(1), &mut tally);
    assert_eq!(tally.samples, 2 * before.samples, "what was met before is taken as it was then");
    assert!(store.size().series <= 2 * SERIES_MAX);
    for form in [Form::Text, Form::OpenMetrics] {
        let mut page = Page::new(form);
        expose(&store, &mut page);
        for line in page.finish().lines().filter(|line| !line.starts_with('#')) {
            let number = line.rsplit(' ').next().expect("a line has a part");
            let number = number.replace("+Inf", "inf").replace("-Inf", "-inf");
            assert!(number.parse::<f64>().is_ok(), "{line}");
        }
    }
    let mut flush = store.flush();
    while flush.next(|_, datum| {
        serde_json::from_str::<serde_json::Value>(&format!("{{{}}}", datum.head)).expect("members of JSON");
        match &datum.window {
            Window::Empty => panic!("nothing is told of nothing"),
            Window::Sum(_) | Window::Set(_) => {}
            Window::Values(values) => {
                let mut count = 0;
                values.each(|value, weight| {
                    assert!(value.is_finite() && weight > 0.0);
                    count += 1;
                });
                assert!((1..=150).contains(&count));
            }
        }
    }) {}
    store.forget(u32::MAX);
    assert_eq!(store.size().series, 0);
}
