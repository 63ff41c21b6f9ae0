//! Attributes and bodies: values of several kinds, read in place.
//!
//! Promises: what is broken is passed over, and the rest is read; of a value that is there twice the last one counts, as in Go.
//! Never: copies to read; nests deeper than [`DEPTH_MAX`] to write.

use std::fmt::Write;

use super::{
    base64,
    wire::{Reader, Value},
};

/// Nesting of lists and maps that is written. OpenTelemetry's APIs make no deeper ones than two.
pub const DEPTH_MAX: usize = 16;

/// A value of an attribute, or the body of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Any<'a> {
    /// Nothing.
    Empty,
    /// Text, or what was meant as such.
    Text(&'a [u8]),
    /// True or false.
    Truth(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A message whose field 1 are values.
    List(&'a [u8]),
    /// A message whose field 1 are names and values.
    Map(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Any<'a> {
    /// Reads an `AnyValue`.
    pub fn read(message: &'a [u8]) -> Self {
        let mut any = Self::Empty;
        for field in Reader::new(message).map_while(Result::ok) {
            any = match (field.number, field.value) {
                (1, Value::Bytes(text)) => Self::Text(text),
                (2, Value::Varint(truth)) => Self::Truth(truth != 0),
                (3, Value::Varint(number)) => Self::Int(number.cast_signed()),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (5, Value::Bytes(list)) => Self::List(list),
                (6, Value::Bytes(map)) => Self::Map(map),
                (7, Value::Bytes(bytes)) => Self::Bytes(bytes),
                _ => any,
            };
        }
        any
    }

    /// Text, or nothing.
    pub fn text(self) -> &'a [u8] {
        if let Self::Text(text) = self { text } else { b"" }
    }

    /// Appends it as text: text as it is, lists and maps as JSON.
    pub fn put(self, out: &mut String) {
        match self {
            Self::Empty => {}
            Self::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
            Self::Bytes(bytes) => out.push_str(&base64::encoded(bytes, true)),
            other => other.put_json(out, DEPTH_MAX),
        }
    }

    fn put_json(self, out: &mut String, depth: usize) {
        // Writing to a String cannot fail.
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => put_quoted(out, &String::from_utf8_lossy(text)),
            Self::Truth(truth) => out.push_str(if truth { "true" } else { "false" }),
            Self::Int(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Double(number) if number.is_finite() => {
                let _ = write!(out, "{number}");
            }
            Self::Double(number) => {
                let _ = write!(out, "\"{number}\"");
            }
            Self::List(_) | Self::Map(_) if depth == 0 => out.push_str("\"nested too deeply\""),
            Self::List(list) => {
                out.push('[');
                for (index, value) in values(list).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.put_json(out, depth - 1);
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push('{');
                for (index, (name, value)) in entries(map).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    put_quoted(out, &String::from_utf8_lossy(name));
                    out.push(':');
                    value.put_json(out, depth - 1);
                }
                out.push('}');
            }
            Self::Bytes(bytes) => put_quoted(out, &base64::encoded(bytes, true)),
        }
    }
}

fn put_quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text is JSON"));
}

/// The values of a list.
pub fn values(list: &[u8]) -> impl Iterator<Item = Any<'_>> {
    fields(list, 1).map(Any::read)
}

/// The names and values of a map.
pub fn entries(map: &[u8]) -> impl Iterator<Item = (&[u8], Any<'_>)> {
    fields(map, 1).map(entry)
}

/// The messages in the field `number`, as far as `message` can be read.
pub fn fields(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Reader::new(message)
        .map_while(Result::ok)
        .filter(move |field| field.number == number)
        .filter_map(|field| field.bytes().ok())
}

/// The name and the value of an attribute.
pub fn entry(message: &[u8]) -> (&[u8], Any<'_>) {
    let (mut name, mut value) = (&b""[..], Any::Empty);
    for field in Reader::new(message).map_while(Result::ok) {
        match (field.number, field.value) {
            (1, Value::Bytes(text)) => name = text,
            (2, Value::Bytes(any)) => value = Any::read(any),
            _ => {}
        }
    }
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::wire::{put_bytes, put_fixed64, put_uint};

    fn message(number: u32, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, number, value);
        out
    }

    fn uint(number: u32, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, number, value);
        out
    }

    fn double(value: f64) -> Vec<u8> {
        let mut out = Vec::new();
        put_fixed64(&mut out, 4, value.to_bits());
        out
    }

    #[test]
    fn each_kind_of_value_has_a_text() {
        let list = [message(1, &message(1, b"a\"")), message(1, &uint(3, 7)), message(1, &double(f64::NAN))].concat();
        let map = message(1, &[message(1, b"k"), message(2, &message(5, &list))].concat());
        for (value, expected) in [
            (Vec::new(), ""),
            (message(1, b"text \xff"), "text \u{fffd}"),
            (uint(2, 1), "true"),
            (uint(3, (-5_i64).cast_unsigned()), "-5"),
            (double(0.5), "0.5"),
            (double(f64::INFINITY), "\"inf\""),
            (message(5, &list), "[\"a\\\"\",7,\"NaN\"]"),
            (message(6, &map), "{\"k\":[\"a\\\"\",7,\"NaN\"]}"),
            (message(7, b"\x00\x01"), "AAE="),
            ([message(1, b"first"), uint(3, 2)].concat(), "2"),
        ] {
            let mut text = String::new();
            Any::read(&value).put(&mut text);
            assert_eq!(text, expected, "{value:x?}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_said_so() {
        let mut value = message(1, b"x");
        for _ in 0..1_000 {
            value = message(5, &message(1, &value));
        }
        let mut text = String::new();
        Any::read(&value).put(&mut text);
        assert_eq!(text, format!("{}\"nested too deeply\"{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX)));
    }
}
