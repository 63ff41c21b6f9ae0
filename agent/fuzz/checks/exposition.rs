//! What must hold of any bytes as an exposition of Prometheus.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use std::fmt::Write;

use pillion::metrics::exposition::{Format, Limits, Point, Value, points, replay::Played, survey};

const LIMITS: Limits = Limits { samples: 200, labels: 8, name_bytes: 32, value_bytes: 64 };

/// Checks that what is taken keeps to the limits, that histograms grow, that each line of 0.0.4 is read alone, that what was read
/// and is written again is read as the same, and that the same page taken by its numbers says the same.
pub(crate) fn check(bytes: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        let Ok(mut survey) = survey(bytes, format, LIMITS) else { continue };
        survey.learn(format, LIMITS);
        let samples = survey.samples;
        let (mut simple, mut told) = (Vec::new(), Vec::new());
        let broken = points(bytes, (format, LIMITS), &mut survey, |point| {
            judge(point);
            told.push(format!("{:?} {:?}", point.kind, point.value));
            if let Value::Number(number) = point.value {
                simple.push(written(point, number));
            }
        });
        assert!(simple.len() + broken <= samples && samples <= LIMITS.samples);
        again(&simple);
        let Some(script) = survey.learned() else { continue };
        // Blanks before a line are read, and are not played.
        let Some(numbers) = script.numbers(bytes, (format, LIMITS)) else { continue };
        assert_eq!(numbers.count(), samples);
        let mut played = vec![String::new(); told.len()];
        let is_whole = script.play(&numbers, |one| {
            if let Played::Point(number, kind, value) = one {
                played[number] = format!("{kind:?} {value:?}");
            }
            true
        });
        assert_eq!((is_whole, played), (broken == 0, told));
    }
}

fn judge(point: &Point<'_, '_>) {
    assert!(!point.name.is_empty() && point.name.len() <= LIMITS.name_bytes);
    assert!(point.labels.len() <= LIMITS.labels);
    for (place, label) in point.labels.iter().enumerate() {
        assert!(label.name.len() <= LIMITS.name_bytes && label.value.len() <= LIMITS.value_bytes);
        assert!(point.labels[..place].iter().all(|other| other.name != label.name));
    }
    if let Value::Histogram(histogram) = point.value {
        assert!(histogram.buckets.is_sorted_by(|a, b| a.le < b.le && a.count <= b.count));
        assert_eq!(histogram.buckets.last().map(|bucket| bucket.le), Some(f64::INFINITY));
    }
}

/// As a line of its own, with its name among the labels, since it may be any text.
fn written(point: &Point<'_, '_>, number: f64) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut line = format!("{{\"{}\"", escaped(point.name));
    for label in point.labels {
        write!(line, ",\"{}\"=\"{}\"", escaped(&label.name), escaped(&label.value)).expect("a text takes all");
    }
    write!(line, "}} {number}").expect("a text takes all");
    line
}

fn again(lines: &[String]) {
    // What was escaped is longer.
    let limits = Limits { name_bytes: 4 * LIMITS.name_bytes, value_bytes: 4 * LIMITS.value_bytes, ..LIMITS };
    let text = lines.join("\n");
    let mut survey = survey(text.as_bytes(), Format::Text, limits).expect("they were good");
    assert_eq!((survey.samples, survey.faults), (lines.len(), 0));
    let mut read = Vec::new();
    points(text.as_bytes(), (Format::Text, limits), &mut survey, |point| {
        let Value::Number(number) = point.value else { panic!("there are no others") };
        read.push(written(point, number));
    });
    assert_eq!(read, lines);
}
