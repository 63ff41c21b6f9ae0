//! OTLP as JSON, made into protobuf: the same bytes a client that speaks protobuf would have sent.
//!
//! Names of members are in camel case or with underscores, ids are hex in any case, names out of a list are numbers or names, whole numbers
//! of 64 bits are numbers or text, `NaN` and `Infinity` are text, `null` is the same as nothing, members that nobody knows are passed
//! over. So does OpenTelemetry's collector; what it refuses is refused here: an id of another length or in base64, a
//! fraction or a negative number where a whole one belongs, a value of another type.
//!
//! Each value is written as soon as it is read: there is no tree. A message's length is set when it ends, which moves what is longer
//! than 127 bytes by one to four bytes, once per level.
//!
//! Promises: what comes out is a request that [`super::walk::count`] takes; never more than was allowed, and never nested deeper
//! than serde_json goes, which is 128 levels.
//! Never: shows in an error what was sent.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error as ThisError;

use super::{
    base64,
    schema::{self, Field, Kind, Message, Times},
    walk::Signal,
    wire::{begin, end, put_bytes, put_fixed32, put_fixed64, put_uint, put_varint},
};

/// Why text is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum NotJson {
    /// It is not JSON, ends too early, or is nested too deeply.
    #[error("the body is not JSON at line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A member has a value that its field has not.
    #[error("the value before line {line}, column {column} is not one of its field")]
    Value {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: usize,
    },
    /// As protobuf it is larger than was allowed.
    #[error("the body is too large")]
    TooLarge,
}

/// Makes a request in protobuf of `json`, of at most `bytes_max` bytes, behind what `out` holds. After an error `out` is as it was.
pub fn transcode(signal: Signal, json: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), NotJson> {
    let message = match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Logs => &schema::LOGS,
        Signal::Metrics => &schema::METRICS,
    };
    let start = out.len();
    let outcome = read(message, json, start.saturating_add(bytes_max), out);
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

fn read(message: &'static Message, json: &[u8], end_max: usize, out: &mut Vec<u8>) -> Result<(), NotJson> {
    let mut writer = Writer { out, end_max, full: false };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let outcome = Members { message, writer: &mut writer }.deserialize(&mut deserializer);
    let full = writer.full;
    outcome.and_then(|()| deserializer.end()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            _ if full => NotJson::TooLarge,
            serde_json::error::Category::Data => NotJson::Value { line, column },
            _ => NotJson::Syntax { line, column },
        }
    })
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    end_max: usize,
    full: bool,
}

impl Writer<'_> {
    /// An error that ends the reading once there is too much.
    fn check<E: Error>(&mut self) -> Result<(), E> {
        self.full = self.out.len() > self.end_max;
        if self.full { Err(E::custom("too large")) } else { Ok(()) }
    }
}

/// The members of a message.
struct Members<'w, 'o> {
    message: &'static Message,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for Members<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.message))? {
            match field {
                Some(field) => map.next_value_seed(Member { field, in_list: false, writer: self.writer })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The name of a member, and with it the field.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| is_name(name, field.name)))
    }
}

/// True if `given` is `name`, with underscores or in camel case.
fn is_name(given: &str, name: &str) -> bool {
    if given == name {
        return true;
    }
    let mut upper = false;
    let mut camel = name.bytes().filter_map(|byte| {
        let is_gap = byte == b'_';
        let letter = if upper { byte.to_ascii_uppercase() } else { byte };
        upper = is_gap;
        (!is_gap).then_some(letter)
    });
    given.bytes().all(|byte| camel.next() == Some(byte)) && camel.next().is_none()
}

/// The value of a member, or one of a list of them.
struct Member<'w, 'o> {
    field: &'static Field,
    in_list: bool,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Numbers that lie side by side in one field, if there are many of them.
fn is_packed(kind: Kind) -> bool {
    !matches!(kind, Kind::Text | Kind::Bytes | Kind::Id(_) | Kind::Message(_))
}

impl Member<'_, '_> {
    fn wants_list(&self) -> bool {
        self.field.times == Times::Many && !self.in_list
    }

    /// Writes a varint, as a field of its own or side by side with others.
    fn varint<E: Error>(self, value: u64) -> Result<(), E> {
        match (self.in_list, self.field.times) {
            (true, _) => put_varint(self.writer.out, value),
            (_, Times::One) if value == 0 => {}
            _ => put_uint(self.writer.out, self.field.number, value),
        }
        self.writer.check()
    }

    fn fixed64<E: Error>(self, value: u64) -> Result<(), E> {
        match (self.in_list, self.field.times) {
            (true, _) => self.writer.out.extend_from_slice(&value.to_le_bytes()),
            (_, Times::One) if value == 0 => {}
            _ => put_fixed64(self.writer.out, self.field.number, value),
        }
        self.writer.check()
    }

    /// Writes a whole number.
    fn whole<E: Error>(self, number: i128) -> Result<(), E> {
        let wrong = || E::custom("a number out of range");
        if self.wants_list() {
            return Err(wrong());
        }
        match self.field.kind {
            Kind::Uint32 => {
                let value = u32::try_from(number).map_err(|_| wrong())?;
                self.varint(u64::from(value))
            }
            Kind::Uint64 => self.varint(u64::try_from(number).map_err(|_| wrong())?),
            Kind::Int64 => self.varint(i64::try_from(number).map_err(|_| wrong())?.cast_unsigned()),
            // A name out of a list that nobody knows yet is passed on.
            Kind::Name(_) => self.varint(i64::from(i32::try_from(number).map_err(|_| wrong())?).cast_unsigned()),
            Kind::Zigzag32 => {
                let value = i32::try_from(number).map_err(|_| wrong())?;
                self.varint(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
            }
            Kind::Fixed32 => {
                let value = u32::try_from(number).map_err(|_| wrong())?;
                if value != 0 {
                    put_fixed32(self.writer.out, self.field.number, value);
                }
                self.writer.check()
            }
            Kind::Fixed64 => self.fixed64(u64::try_from(number).map_err(|_| wrong())?),
            Kind::Signed64 => self.fixed64(i64::try_from(number).map_err(|_| wrong())?.cast_unsigned()),
            Kind::Double => self.fixed64((number as f64).to_bits()),
            _ => Err(E::custom("a number where none belongs")),
        }
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        if self.in_list || self.field.times == Times::Present || !bytes.is_empty() {
            put_bytes(self.writer.out, self.field.number, bytes);
        }
        self.writer.check()
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the field")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Truth => self.varint(u64::from(truth)),
            _ => Err(E::custom("a truth where none belongs")),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.whole(i128::from(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.whole(i128::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double if !self.wants_list() => self.fixed64(number.to_bits()),
            _ => Err(E::custom("a fraction where none belongs")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.wants_list() {
            return Err(E::custom("text where a list belongs"));
        }
        let wrong = || E::custom("text that means nothing here");
        match self.field.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Bytes => self.bytes(&base64::decoded(text.as_bytes()).ok_or_else(wrong)?),
            Kind::Id(length) => {
                let mut id = [0; 16];
                let bytes = hex(text, &mut id).filter(|bytes| bytes.is_empty() || bytes.len() == length);
                self.bytes(bytes.ok_or_else(wrong)?)
            }
            Kind::Double => self.fixed64(text.parse::<f64>().map_err(|_| wrong())?.to_bits()),
            Kind::Name(names) => {
                let place = names.iter().position(|name| *name == text).ok_or_else(wrong)?;
                self.varint(place as u64)
            }
            Kind::Truth | Kind::Message(_) => Err(wrong()),
            _ => self.whole(text.parse().map_err(|_| wrong())?),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.wants_list() {
            return Err(A::Error::custom("a list where none belongs"));
        }
        let Self { field, writer, .. } = self;
        let before = writer.out.len();
        let packed = is_packed(field.kind).then(|| begin(writer.out, field.number));
        let start = writer.out.len();
        while list.next_element_seed(Member { field, in_list: true, writer })?.is_some() {}
        match packed {
            Some(_) if writer.out.len() == start => writer.out.truncate(before),
            Some(begun) => end(writer.out, begun),
            None => {}
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::custom("an object where none belongs"));
        };
        if self.wants_list() {
            return Err(A::Error::custom("an object where a list belongs"));
        }
        let begun = begin(self.writer.out, self.field.number);
        Members { message, writer: self.writer }.visit_map(map)?;
        end(self.writer.out, begun);
        self.writer.check()
    }
}

/// The bytes that `text` is the hex of, in `room`.
fn hex<'r>(text: &str, room: &'r mut [u8; 16]) -> Option<&'r [u8]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > room.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, [high, low]) in room.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(&room[..pairs.len()])
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
