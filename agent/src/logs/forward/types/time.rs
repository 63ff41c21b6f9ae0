//! The time of a record: whole seconds, or the extension EventTime.
//!
//! Promises: EventTime is written as `D7 00` and 8 bytes; read in any length of extension that holds 8 bytes.
//! Never: checks that nanoseconds are below 10^9.

use std::fmt;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::Blob;

/// A point in time with nanoseconds: extension type 0 with 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventTime {
    /// Seconds since 1970.
    pub seconds: u32,
    /// Nanoseconds of the second, below 10^9.
    pub nanos: u32,
}

/// When a record happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Time {
    /// Whole seconds since 1970.
    Seconds(u64),
    /// Seconds and nanoseconds.
    Event(EventTime),
    /// Nothing was said: the receiver takes the time of receipt.
    Nil,
}

impl From<EventTime> for Time {
    fn from(time: EventTime) -> Self {
        Self::Event(time)
    }
}

impl From<u64> for Time {
    fn from(seconds: u64) -> Self {
        Self::Seconds(seconds)
    }
}

impl From<EventTime> for [u8; 8] {
    fn from(time: EventTime) -> Self {
        (u64::from(time.seconds) << 32 | u64::from(time.nanos)).to_be_bytes()
    }
}

impl From<[u8; 8]> for EventTime {
    fn from(bytes: [u8; 8]) -> Self {
        let both = u64::from_be_bytes(bytes);
        Self { seconds: (both >> 32) as u32, nanos: both as u32 }
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, &(0_i8, Blob(<[u8; 8]>::from(*self).to_vec())))
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Time::deserialize(deserializer)? {
            Time::Event(time) => Ok(time),
            other => Err(de::Error::custom(format_args!("expected an EventTime, found {other:?}"))),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Seconds(seconds) => serializer.serialize_u64(*seconds),
            Self::Event(time) => time.serialize(serializer),
            Self::Nil => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl<'de> Visitor<'de> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds or an EventTime")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Time, E> {
                Ok(Time::Seconds(seconds))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Time, E> {
                Ok(Time::Nil)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Time, D::Error> {
                match <(i8, Blob)>::deserialize(deserializer)? {
                    (0, Blob(bytes)) => match <[u8; 8]>::try_from(bytes) {
                        Ok(bytes) => Ok(Time::Event(bytes.into())),
                        Err(bytes) => Err(de::Error::invalid_length(bytes.len(), &"8 bytes")),
                    },
                    (kind, _) => Err(de::Error::custom(format_args!("extension {kind} is not an EventTime"))),
                }
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}
