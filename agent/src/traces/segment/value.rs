//! Attributes, read in place.
//!
//! Promises: an attribute that is broken is passed over, and the others are read; of two with one name the last one counts, and
//! one value of a map, as in Go.
//! Never: reads more of them than a span may have, nor nested deeper than [`DEPTH_MAX`].

use super::{json::Json, keys::Key};
use crate::{limits::SPAN_ATTRIBUTES_MAX, otlp::base64};

pub(super) use crate::otlp::value::{Any, entry, fields};
use crate::otlp::value::{DEPTH_MAX, entries, values};

impl<'a> Any<'a> {
    /// A whole number, also one that was written as text.
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Double(number) if number.fract() == 0.0 => Some(number as i64),
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// True for what may be an annotation.
    pub(super) fn is_scalar(self) -> bool {
        matches!(self, Self::Text(_) | Self::Truth(_) | Self::Int(_) | Self::Double(_))
    }

    /// The texts of a list, or the text that stands for a list of one.
    pub(super) fn texts(self) -> impl Iterator<Item = &'a [u8]> {
        let (list, one) = match self {
            Self::List(list) => (list, None),
            Self::Text(text) => (&b""[..], Some(text)),
            _ => (&b""[..], None),
        };
        one.into_iter().chain(values(list).map(Any::text)).filter(|text| !text.is_empty())
    }

    /// Writes it as JSON.
    pub(super) fn write(self, json: &mut Json<'_>, bytes_max: usize) {
        self.write_nested(json, bytes_max, DEPTH_MAX);
    }

    fn write_nested(self, json: &mut Json<'_>, bytes_max: usize, depth: usize) {
        match self {
            Self::Empty => json.raw(b"null"),
            Self::Text(text) => json.text(text),
            Self::Truth(truth) => json.truth(truth),
            Self::Int(number) => json.number(number),
            Self::Double(number) => json.float(number),
            Self::List(_) | Self::Map(_) if depth == 0 => json.raw(b"\"nested too deeply\""),
            Self::List(list) => {
                json.open(b'[');
                for value in values(list) {
                    if json.len() > bytes_max {
                        break;
                    }
                    value.write_nested(json, bytes_max, depth - 1);
                }
                json.close(b']');
            }
            Self::Map(map) => {
                json.open(b'{');
                for (name, value) in entries(map) {
                    if json.len() > bytes_max {
                        break;
                    }
                    json.name_of("", name);
                    value.write_nested(json, bytes_max, depth - 1);
                }
                json.close(b'}');
            }
            // As Go writes bytes.
            Self::Bytes(bytes) => json.text(base64::encoded(&bytes[..bytes.len().min(bytes_max)], true).as_bytes()),
        }
    }
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Any<'a>,
    /// Which of those that have a place in a segment it is.
    pub(super) key: Option<Key>,
}

/// The attributes of a span, an event or a resource.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    all: Vec<Attribute<'a>>,
    /// Where in `all` each key is.
    places: [u16; Key::COUNT],
    /// Whether there were more than are read.
    pub(super) overflowed: bool,
}

/// No place.
const NOWHERE: u16 = u16::MAX;

impl<'a> Attributes<'a> {
    /// Reads messages that hold a name and a value.
    pub(super) fn read(messages: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut attributes = Self { all: Vec::new(), places: [NOWHERE; Key::COUNT], overflowed: false };
        messages.for_each(|message| attributes.push(message));
        attributes
    }

    pub(super) fn push(&mut self, message: &'a [u8]) {
        let (name, value) = entry(message);
        if value == Any::Empty || name.is_empty() {
            return;
        }
        let key = Key::of(name);
        let earlier = match key {
            Some(key) => usize::from(self.places[key as usize]),
            None => self.all.iter().position(|one| one.name == name).unwrap_or(usize::MAX),
        };
        if let Some(earlier) = self.all.get_mut(earlier) {
            earlier.value = value;
        } else if self.all.len() == SPAN_ATTRIBUTES_MAX {
            self.overflowed = true;
        } else {
            if let Some(key) = key {
                self.places[key as usize] = self.all.len() as u16;
            }
            if self.all.is_empty() {
                // What a span of an instrumentation has.
                self.all.reserve(24);
            }
            self.all.push(Attribute { name, value, key });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.all.iter()
    }

    pub(super) fn get(&self, key: Key) -> Option<Any<'a>> {
        self.all.get(usize::from(self.places[key as usize])).map(|attribute| attribute.value)
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.places[key as usize] != NOWHERE
    }

    /// The text of `key`, or none.
    pub(super) fn text(&self, key: Key) -> &'a [u8] {
        self.get(key).map_or(b"", Any::text)
    }

    /// The first of `keys` that has text.
    pub(super) fn first_text<const N: usize>(&self, keys: [Key; N]) -> &'a [u8] {
        keys.into_iter().map(|key| self.text(key)).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The first of `keys` that is a whole number.
    pub(super) fn first_int<const N: usize>(&self, keys: [Key; N]) -> Option<i64> {
        keys.into_iter().find_map(|key| self.get(key)?.int())
    }
}
