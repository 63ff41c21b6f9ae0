//! A record, as [`tally`] looks at it.
//!
//! Promises: the line is the field `log`, else `message`, `msg` or `body`; the level is that of a field, if one says it; a line that Docker
//! cut into parts counts once, with its first one.
//! Never: copies a text.

use std::borrow::Cow;

use super::{
    msgpack::{Cursor, Marker},
    record::{Record, Value},
};
use crate::tally::{self, Field, Level, Said};

/// Docker's driver writes four fields of each line, and four more of one in parts.
const FIELDS_OF_PARTS: usize = 8;

/// True if `record` counts. Documents are counted as metrics, and the parts of a line behind the first one with that.
#[inline]
pub(super) fn counts(record: &Record<'_>) -> bool {
    record.directions.is_none() && (record.pairs.len() < FIELDS_OF_PARTS || is_first(record))
}

fn is_first(record: &Record<'_>) -> bool {
    record.get(b"partial_ordinal").and_then(|value| value.text()).is_none_or(|ordinal| ordinal == b"1")
}

impl tally::Record for Record<'_> {
    fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        self.get(name).map(|value| field(&value))
    }

    #[inline]
    fn said(&self) -> Said<'_> {
        let (mut log, mut other, mut level) = (None, None, None);
        for pair in &self.pairs {
            match pair.name() {
                Some(b"log") => log = pair.value.text(),
                Some(b"message" | b"msg" | b"body") => other = pair.value.text().or(other),
                Some(b"level" | b"severity" | b"log.level" | b"severity_text") => {
                    level = level_of(&pair.value).or(level);
                }
                Some(b"severity_number") if level.is_none() => {
                    level = number(&pair.value).and_then(Level::of_severity);
                }
                _ => {}
            }
        }
        Said { line: log.or(other).unwrap_or_default(), level }
    }
}

fn level_of(value: &Value<'_>) -> Option<Level> {
    match value.text() {
        Some(text) => Level::named(text),
        None => number(value).and_then(Level::numbered),
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match field(value) {
        Field::Number(number) => Some(number),
        Field::Text(_) | Field::Nothing => None,
    }
}

fn field<'a>(value: &Value<'a>) -> Field<'a> {
    if let Some(text) = value.text() {
        return Field::Text(Cow::Borrowed(text));
    }
    let bytes = match *value {
        Value::Raw(bytes) => bytes,
        _ => return value.with_text(|text| Field::Text(Cow::Owned(text.to_vec()))).unwrap_or(Field::Nothing),
    };
    match Cursor::new(bytes).marker() {
        Ok(Marker::Unsigned(number)) => Field::Number(number as f64),
        Ok(Marker::Signed(number)) => Field::Number(number as f64),
        Ok(Marker::F32(number)) => Field::Number(f64::from(number)),
        Ok(Marker::F64(number)) => Field::Number(number),
        Ok(Marker::Bool(true)) => Field::Text(Cow::Borrowed(b"true")),
        Ok(Marker::Bool(false)) => Field::Text(Cow::Borrowed(b"false")),
        _ => Field::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{logs::record::Pair, tally::Record as _};

    fn record<'a>(pairs: &[(&'a str, Value<'a>)]) -> Record<'a> {
        let pairs = pairs.iter().map(|(key, value)| Pair { key: Value::Str(key.as_bytes()), value: *value }).collect();
        Record { pairs, ..Record::default() }
    }

    #[test]
    fn a_record_says_its_line_and_its_level() {
        let text = |text: &'static str| Value::Str(text.as_bytes());
        for (pairs, line, level) in [
            (vec![("source", text("stdout")), ("log", text("a")), ("container_name", text("/x"))], "a", None),
            (vec![("message", text("a")), ("level", text("Warning"))], "a", Some(Level::Warn)),
            (vec![("level", Value::Raw(&[30])), ("msg", text("a"))], "a", Some(Level::Info)),
            (vec![("level", text("odd")), ("log", text("INFO"))], "INFO", None),
            (
                vec![("body", text("a")), ("severity_text", text("")), ("severity_number", Value::Raw(&[17]))],
                "a",
                Some(Level::Error),
            ),
            (vec![("severity_text", text("INFO")), ("severity_number", Value::Raw(&[17]))], "", Some(Level::Info)),
            (vec![("log.level", text("error")), ("log", Value::Raw(&[0xc0]))], "", Some(Level::Error)),
            (vec![], "", None),
        ] {
            let record = record(&pairs);
            let said = record.said();
            assert_eq!((said.line, said.level), (line.as_bytes(), level), "{pairs:?}");
        }
    }

    #[test]
    fn fields_are_texts_and_numbers() {
        for (bytes, expected) in [
            (&[0x05][..], Field::Number(5.0)),
            (&[0xff], Field::Number(-1.0)),
            (&[0xca, 0x3f, 0x00, 0, 0], Field::Number(0.5)),
            (&[0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0], Field::Number(0.5)),
            (&[0xc3], Field::Text(Cow::Borrowed(b"true"))),
            (&[0xc0], Field::Nothing),
            (&[0x90], Field::Nothing),
            (&[], Field::Nothing),
        ] {
            let pairs = [("a", Value::Raw(bytes))];
            assert_eq!(record(&pairs).field(b"a"), Some(expected), "{bytes:?}");
        }
        assert_eq!(record(&[]).field(b"a"), None);
    }

    #[test]
    fn a_line_in_parts_counts_with_its_first_one() {
        let part = |ordinal| {
            let other = Value::Str(b"x");
            let names =
                ["container_id", "container_name", "source", "log", "partial_message", "partial_id", "partial_last"];
            let mut pairs: Vec<_> = names.iter().map(|name| (*name, other)).collect();
            pairs.push(("partial_ordinal", Value::Str(ordinal)));
            record(&pairs)
        };
        assert!(counts(&part(b"1")) && !counts(&part(b"2")));
        assert!(counts(&record(&[("log", Value::Str(b"x"))])));
    }
}
