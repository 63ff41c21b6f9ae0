//! What must hold of any bytes as a document of CloudWatch's embedded metric format.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::emf::{DOCUMENT_BYTES_MAX, Document, Fault, Metric, Values, read};

/// A time that documents are read at: 2026-11-28.
const NOW: i64 = 1_795_860_000_000;

/// Numbers that a document says, for all sets of dimensions together, and a sum of what tells them apart.
fn said(document: &Document<'_>) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0_u64);
    document.metrics(|metric| {
        let numbers: Vec<u64> = match metric.values {
            Values::One(value) => vec![value.to_bits()],
            Values::Many(numbers) => numbers.iter().map(f64::to_bits).collect(),
            Values::Weighted { values, counts, .. } => values
                .iter()
                .zip(counts.iter())
                .map(|(value, count)| value.to_bits() ^ count.to_bits().rotate_left(7))
                .collect(),
            Values::Statistics(statistics) => vec![statistics.min.to_bits() ^ statistics.max.to_bits().rotate_left(9)],
        };
        for set in metric.sets {
            count += numbers.len();
            let about = about(&metric, set);
            sum = numbers.iter().fold(sum, |sum, number| sum.wrapping_add(number.rotate_left(11) ^ about));
        }
    });
    (count, sum)
}

/// A number that tells metrics apart, mostly.
fn about(metric: &Metric<'_>, set: &[(&str, &str)]) -> u64 {
    let set = set.iter().flat_map(|(key, value)| [*key, *value]);
    let texts =
        [metric.namespace, metric.name, metric.unit.map_or("", pillion::aws::Unit::name)].into_iter().chain(set);
    texts.flat_map(str::bytes).fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// Checks that the parts of what is taken are documents without a mistake that say together what it says.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(document) = read(bytes, NOW) else { return };
    let expected = said(&document);
    let mut together = (0, 0_u64);
    let mut parts = 0;
    document.parts(|part| {
        parts += 1;
        assert!(part.len() <= DOCUMENT_BYTES_MAX);
        let again = read(part.as_bytes(), NOW).expect("a part is a document");
        let (count, sum) = said(&again);
        together = (together.0 + count, together.1.wrapping_add(sum));
        if expected.0 > 0 {
            assert!(again.findings().faults().all(|(fault, _)| fault == Fault::Timestamp), "{part}");
            assert_eq!((again.findings().repairs().count(), again.count()), (0, 1), "{part}");
        }
    });
    assert!(parts == document.count() && together == expected);
}
