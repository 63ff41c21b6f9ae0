//! One record, borrowed from the bytes it came in.
//!
//! Promises: holds no copy: keys and values point into the chunk or into the configuration; filters work on this view.
//! Never: allocates per record (the list of pairs is used again for the next one), or checks text for UTF-8.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::deliver::{body::Body, escape};

/// When a record happened: what its sender wrote, or when we read it if the sender wrote nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventTime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of the second, below 10^9.
    pub nanos: u32,
}

impl EventTime {
    /// The time of records that have none of their own. Asked once for all that one read brought.
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: now.as_secs().cast_signed(), nanos: now.subsec_nanos() }
    }

    /// The time of so many milliseconds since 1970.
    pub fn of_milliseconds(milliseconds: i64) -> Self {
        let nanos = milliseconds.rem_euclid(1_000) * 1_000_000;
        Self { seconds: milliseconds.div_euclid(1_000), nanos: u32::try_from(nanos).unwrap_or(0) }
    }

    /// Milliseconds since 1970, cut, not rounded, as Fluent Bit does.
    pub fn milliseconds(self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add(i64::from(self.nanos / 1_000_000))
    }
}

/// A key or a value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A msgpack string. The sender may have put bytes in it that are not UTF-8.
    Str(&'a [u8]),
    /// Msgpack binary. Rendered as text, as Fluent Bit does.
    Bin(&'a [u8]),
    /// The whole msgpack value of any other type: number, boolean, nil, array, map, extension.
    Raw(&'a [u8]),
    /// A constant of the configuration. Rendered beforehand.
    Fixed(&'a Fixed),
    /// A new name for the record itself.
    Uuid(Uuid),
}

impl<'a> Value<'a> {
    /// The text, if it is text that stands somewhere.
    pub fn text(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Str(text) | Self::Bin(text) => Some(text),
            Self::Fixed(fixed) => Some(fixed.value.as_bytes()),
            Self::Raw(_) | Self::Uuid(_) => None,
        }
    }

    /// Hands the text to `read`, if it is text: also that of a UUID, which is written for this.
    pub fn with_text<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Self::Uuid(uuid) => Some(read(&uuid.text())),
            _ => self.text().map(read),
        }
    }
}

/// A random UUID (version 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// A new one. It is a name, not a secret: the random numbers can be guessed by who has seen some.
    pub fn random() -> Self {
        let mut bytes = fastrand::u128(..).to_be_bytes();
        // RFC 9562: four bits say the version, two the variant.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Its 36 characters, for example `9f0c1d52-5b1c-4b3e-8a55-0d6f4a1b2c3d`.
    pub fn text(&self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (place, nibble) in places.zip(nibbles) {
            text[place] = HEX[usize::from(nibble)];
        }
        text
    }
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The name. Nearly always [`Value::Str`].
    pub key: Value<'a>,
    /// What it holds.
    pub value: Value<'a>,
}

impl<'a> Pair<'a> {
    /// The pair that `fixed` stands for.
    pub fn fixed(fixed: &'a Fixed) -> Self {
        Self { key: Value::Fixed(fixed), value: Value::Fixed(fixed) }
    }

    /// A number below 128 that names of the same text share, and other ones seldom.
    #[inline]
    pub fn mark(&self) -> u32 {
        match self.key {
            Value::Str(text) | Value::Bin(text) => mark(text),
            Value::Fixed(fixed) => fixed.mark,
            Value::Raw(_) | Value::Uuid(_) => 0,
        }
    }

    /// The name, if it is text.
    pub fn name(&self) -> Option<&'a [u8]> {
        match self.key {
            Value::Str(text) | Value::Bin(text) => Some(text),
            Value::Fixed(fixed) => Some(fixed.key.as_bytes()),
            Value::Raw(_) | Value::Uuid(_) => None,
        }
    }
}

/// A number below 128 that equal texts share, and other ones seldom.
#[inline]
pub fn mark(name: &[u8]) -> u32 {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    let sum = name.len().wrapping_mul(37) + usize::from(first).wrapping_mul(11) + usize::from(last);
    (sum % 128) as u32
}

/// The field of a record with [`Directions`] that is sent.
pub const DOCUMENT: &[u8] = b"log";

/// Where a document goes that says so itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions<'a> {
    /// The log group, if not the one that the output names.
    pub group: Option<&'a str>,
    /// The log stream, if not the one that the output names.
    pub stream: Option<&'a str>,
}

/// One record.
#[derive(Debug, Default)]
pub struct Record<'a> {
    /// When it happened.
    pub time: EventTime,
    /// Bytes it came in, without those that filters added or took.
    pub bytes: usize,
    /// Its fields in order. A name that comes twice means its last value.
    pub pairs: Vec<Pair<'a>>,
    /// Of a document: where it goes. What its field [`DOCUMENT`] holds is sent as it is, where a destination can do that.
    pub directions: Option<Directions<'a>>,
}

impl<'a> Record<'a> {
    /// What the field `name` holds.
    pub fn get(&self, name: &[u8]) -> Option<Value<'a>> {
        self.pairs.iter().rev().find(|pair| pair.name() == Some(name)).map(|pair| pair.value)
    }
}

/// A field that the configuration adds to every record, with its renderings made once.
#[derive(Clone, Debug)]
pub struct Fixed {
    key: String,
    value: String,
    once: Vec<u8>,
    twice: Vec<u8>,
    mark: u32,
}

impl Fixed {
    /// The field `key` with the text `value`.
    pub fn new(key: &str, value: &str) -> Self {
        let mut once = Body::default();
        once.put(b"\"");
        escape::once(&mut once, key.as_bytes());
        once.put(b"\":\"");
        escape::once(&mut once, value.as_bytes());
        once.put(b"\"");
        let mut twice = Body::default();
        escape::once(&mut twice, once.as_slice());
        let (once, twice) = (once.into_bytes(), twice.into_bytes());
        Self { key: key.to_owned(), value: value.to_owned(), once, twice, mark: mark(key.as_bytes()) }
    }

    /// `"key":"value"`.
    pub fn once(&self) -> &[u8] {
        &self.once
    }

    /// `\"key\":\"value\"`: the same inside a JSON string.
    pub fn twice(&self) -> &[u8] {
        &self.twice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_4_and_new_each_time() {
        let texts: Vec<String> =
            (0..100).map(|_| String::from_utf8_lossy(&Uuid::random().text()).into_owned()).collect();
        for (place, text) in texts.iter().enumerate() {
            let groups: Vec<&str> = text.split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{text}");
            assert!(groups[2].starts_with('4') && groups[3].starts_with(['8', '9', 'a', 'b']), "{text}");
            assert!(
                text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) && !texts[..place].contains(text)
            );
        }
        assert_eq!(&Uuid([0xab; 16]).text(), b"abababab-abab-abab-abab-abababababab");
    }
}
