//! Exemplars of a point, read in place.
//!
//! ```text
//! Exemplar = 2: time, 3: as double | 6: as int, 4: span id, 5: trace id, 7: filtered attributes*
//! ```
//!
//! Promises: one that cannot be read, or has no value, is none; labels keep to OpenMetrics' bound, and the ids of trace and span come first.
//! Never: copies to read.

use super::{
    value::{Any, entry, fields},
    wire::{Reader, Value},
};

/// An example of what was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Its value.
    pub value: f64,
    /// When it was, in nanoseconds since 1970; 0 if that is not known.
    pub time: u64,
    trace: &'a [u8],
    span: &'a [u8],
    message: &'a [u8],
}

impl<'a> Exemplar<'a> {
    /// Reads an exemplar.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let (mut exemplar, mut value) = (Self { value: 0.0, time: 0, trace: b"", span: b"", message }, None);
        for field in Reader::new(message) {
            let field = field.ok()?;
            match (field.number, field.value) {
                (2, Value::Fixed64(time)) => exemplar.time = time,
                (3, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
                (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
                (4, Value::Bytes(id)) => exemplar.span = id,
                (5, Value::Bytes(id)) => exemplar.trace = id,
                _ => {}
            }
        }
        Some(Self { value: value?, ..exemplar })
    }

    /// The ids in hexadecimal digits, and attributes that the point has not, as far as all of it has at most so many characters.
    pub fn labels(&self, characters_max: usize) -> Vec<(String, String)> {
        let ids = [("trace_id", self.trace, 16), ("span_id", self.span, 8)];
        let ids = ids.into_iter().filter(|(_, id, length)| id.len() == *length && id.iter().any(|byte| *byte != 0));
        let mut labels: Vec<_> = ids.map(|(name, id, _)| (name.to_owned(), hex(id))).collect();
        let mut left =
            labels.iter().fold(characters_max, |left, (name, id)| left.saturating_sub(name.len() + id.len()));
        for (name, value) in fields(self.message, 7).map(|attribute| entry(attribute)) {
            let mut text = String::new();
            // A text that is far too long is not even written.
            if matches!(value, Any::Text(text) if text.len() > 4 * characters_max) {
                continue;
            }
            value.put(&mut text);
            let name = String::from_utf8_lossy(name).into_owned();
            // One more for a name that would begin with a digit.
            let characters = name.chars().count() + 1 + text.chars().count();
            if !name.is_empty() && characters <= left && labels.iter().all(|(known, _)| *known != name) {
                left -= characters;
                labels.push((name, text));
            }
        }
        labels
    }
}

/// Where exemplars stand in a point of this kind; only what counts has some that OpenMetrics shows.
pub(super) const fn exemplars_of(kind: u32) -> u32 {
    match kind {
        7 => 5,
        9 => 8,
        10 => 11,
        _ => 0,
    }
}

/// Adds an exemplar to those of its point, if there are not too many.
pub(super) fn keep<'a>(value: Value<'a>, exemplars: &mut Vec<&'a [u8]>) {
    /// Of a point: SDKs keep one for each bucket, and one for each processor of a counter.
    const OF_A_POINT_MAX: usize = 64;
    if let Value::Bytes(message) = value
        && exemplars.len() < OF_A_POINT_MAX
    {
        exemplars.push(message);
    }
}

fn hex(id: &[u8]) -> String {
    id.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::otlp::by_hand::{attribute, fixed, message, text};

    const TRACE: &[u8; 16] = b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";
    const SPAN: &[u8; 8] = b"\x00\xf0\x67\xaa\x0b\xa9\x02\xb7";

    fn bytes(number: u32, id: &[u8]) -> Vec<u8> {
        message(number, &[id.to_vec()])
    }

    fn told(parts: &[Vec<u8>]) -> Option<(f64, u64, Vec<String>)> {
        let all = parts.concat();
        let exemplar = Exemplar::read(&all)?;
        let labels = exemplar.labels(128).iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some((exemplar.value, exemplar.time, labels))
    }

    #[test]
    fn an_exemplar_leads_to_a_trace() {
        let value = || fixed(3, 0.25_f64.to_bits());
        let (trace, span) = ("trace_id=4bf92f3577b34da6a3ce929d0e0e4736", "span_id=00f067aa0ba902b7");
        let long = |length| attribute(7, "long", &"x".repeat(length));
        for (parts, expected) in [
            (vec![value(), fixed(2, 9), bytes(5, TRACE), bytes(4, SPAN)], Some((0.25, 9, vec![trace, span]))),
            (vec![attribute(7, "user", "7"), value(), bytes(5, TRACE)], Some((0.25, 0, vec![trace, "user=7"]))),
            (vec![fixed(6, 3), bytes(5, &[0; 16]), bytes(4, &[0; 8])], Some((3.0, 0, vec![]))),
            (vec![fixed(6, u64::MAX), bytes(5, &TRACE[..15]), bytes(4, b"")], Some((-1.0, 0, vec![]))),
            (
                vec![
                    value(),
                    attribute(7, "trace_id", "x"),
                    bytes(5, TRACE),
                    attribute(7, "a", "1"),
                    attribute(7, "a", "2"),
                    text(7, ""),
                ],
                Some((0.25, 0, vec![trace, "a=1"])),
            ),
            (vec![value(), long(124), attribute(7, "a", "b")], Some((0.25, 0, vec!["a=b"]))),
            (vec![value(), long(9_000)], Some((0.25, 0, vec![]))),
            (vec![bytes(5, TRACE)], None),
            (vec![value(), b"\xff".to_vec()], None),
        ] {
            let expected =
                expected.map(|(value, time, labels)| (value, time, labels.into_iter().map(str::to_owned).collect()));
            assert_eq!(told(&parts), expected, "{parts:?}");
        }
        let longest = "x".repeat(123);
        let all = [value(), attribute(7, "long", &longest)].concat();
        assert_eq!(Exemplar::read(&all).expect("one").labels(128), [("long".to_owned(), longest)]);
    }

    proptest! {
        /// Any bytes, and any attributes.
        #[test]
        fn property_labels_keep_the_bound(bytes: Vec<u8>, names in proptest::collection::vec(".{0,40}", 0..12)) {
            let named: Vec<u8> = names.iter().flat_map(|name| attribute(7, name, name)).collect();
            for message in [bytes, [fixed(3, 0), named].concat()] {
                let labels = Exemplar::read(&message).map(|one| one.labels(128)).unwrap_or_default();
                let characters = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
                prop_assert!(characters.sum::<usize>() <= 128);
            }
        }
    }
}
