//! The Fluent Forward protocol (version 1) as serde types, for whoever speaks it in tests, examples and other programs.
//!
//! Promises: what these types write, every Fluent Forward receiver reads; they read what Docker, Fluent Bit, Fluentd
//! and the fluent-logger libraries write: text as str or bin, even if it is not UTF-8, a missing, nil or empty option
//! map, and unknown options.
//! Never: used on the way of a record through the agent, where nothing is copied (that is `frame`).
//!
//! ```text
//! Message                  [tag, time, record, options?]
//! Forward                  [tag, [[time, record], ...], options?]
//! PackedForward            [tag, bin of concatenated [time, record], options?]
//! CompressedPackedForward  the same, compressed, with the option "compressed"
//! time                     seconds as an integer, or EventTime: extension 0 with seconds and nanoseconds, 4 bytes each
//! Ack                      {"ack": chunk}, the answer to a message with the option "chunk"
//! Helo, Ping, Pong         ["HELO", {...}] from the server, ["PING", ...] from the client, ["PONG", ...] back
//! ```
//! ```
//! use pillion::logs::forward::types::{EventTime, Message};
//! let record = std::collections::BTreeMap::from([("log", "hello"), ("source", "stdout")]);
//! let bytes = Message::new("app-firelens-0123", EventTime { seconds: 1_700_000_000, nanos: 5 }, record).to_msgpack()?;
//! assert_eq!(bytes[0], 0x93);
//! # Ok::<(), rmp_serde::encode::Error>(())
//! ```

mod handshake;
mod time;

use std::{fmt, io::Write};

use rmp_serde::encode::Error;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
    ser::SerializeMap,
};

pub use handshake::{Helo, HeloOptions, Ping, Pong};
pub use time::{EventTime, Time};

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message<R> {
    /// Where the record comes from.
    #[serde(deserialize_with = "text")]
    pub tag: String,
    /// When it happened.
    pub time: Time,
    /// The record: a map.
    pub record: R,
    /// Nothing, or the option map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// Several records of one tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forward<R> {
    /// Where the records come from.
    #[serde(deserialize_with = "text")]
    pub tag: String,
    /// The records.
    pub entries: Vec<Entry<R>>,
    /// Nothing, or the option map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// A record and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<R>(pub Time, pub R);

/// Several records of one tag, already encoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PackedForward {
    /// Where the records come from.
    #[serde(deserialize_with = "text")]
    pub tag: String,
    /// [`Entry`] after [`Entry`], in msgpack; compressed if the option says so.
    pub entries: Blob,
    /// Nothing, or the option map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// Makes a [`PackedForward`] whose entries are compressed.
#[derive(Clone, Debug, Default)]
pub struct CompressedPackedForward {
    /// The records, not yet compressed.
    pub packed: PackedForward,
    /// How to compress them.
    pub compression: Compression,
}

/// How the entries of a [`CompressedPackedForward`] are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// gzip, which all receivers know.
    #[default]
    Gzip,
    /// Zstandard, which Fluent Bit and this agent know.
    Zstd,
}

/// The option map. What is `None` is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Asks for an [`Ack`] that repeats this text. Usually 16 random bytes in base64.
    pub chunk: Option<String>,
    /// How many records there are. A hint.
    pub size: Option<u64>,
    /// How the entries are compressed: `gzip`, `zstd`, or `text` for not at all.
    pub compressed: Option<String>,
    /// Fluent Bit: 0 logs, 1 metrics, 2 traces.
    pub fluent_signal: Option<u64>,
}

/// The answer to a message with the option `chunk`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ack {
    /// The same text.
    pub ack: String,
}

/// Bytes. Written as bin, read from bin and from str.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl<R: Serialize> Message<R> {
    /// One record without options.
    pub fn new(tag: impl Into<String>, time: impl Into<Time>, record: R) -> Self {
        Self { tag: tag.into(), time: time.into(), record, options: None }
    }

    /// The bytes to send. A record that is a struct becomes a map. The error is one of the record's own `Serialize`.
    pub fn to_msgpack(&self) -> Result<Vec<u8>, Error> {
        match &self.options {
            None => rmp_serde::to_vec_named(&(&self.tag, &self.time, &self.record)),
            Some(options) => rmp_serde::to_vec_named(&(&self.tag, &self.time, &self.record, options)),
        }
    }
}

impl<R: Serialize> Forward<R> {
    /// Records without options.
    pub fn new(tag: impl Into<String>, entries: Vec<Entry<R>>) -> Self {
        Self { tag: tag.into(), entries, options: None }
    }

    /// The bytes to send. Records that are structs become maps. The error is one of a record's own `Serialize`.
    pub fn to_msgpack(&self) -> Result<Vec<u8>, Error> {
        match &self.options {
            None => rmp_serde::to_vec_named(&(&self.tag, &self.entries)),
            Some(options) => rmp_serde::to_vec_named(&(&self.tag, &self.entries, options)),
        }
    }
}

impl PackedForward {
    /// No records yet, and no options.
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), ..Self::default() }
    }

    /// Adds a record; a struct becomes a map. The error is one of the record's own `Serialize`.
    pub fn push(&mut self, time: impl Into<Time>, record: &impl Serialize) -> Result<(), Error> {
        rmp_serde::encode::write_named(&mut self.entries.0, &(time.into(), record))
    }

    /// The bytes to send.
    pub fn to_msgpack(&self) -> Result<Vec<u8>, Error> {
        rmp_serde::to_vec(self)
    }
}

impl CompressedPackedForward {
    /// The bytes to send, with the option `compressed`.
    pub fn to_msgpack(&self) -> Result<Vec<u8>, Error> {
        let entries = &self.packed.entries.0[..];
        let (entries, name) = match self.compression {
            Compression::Gzip => (gzip(entries).map_err(|error| Error::Syntax(error.to_string()))?, "gzip"),
            Compression::Zstd => {
                (ruzstd::encoding::compress_to_vec(entries, ruzstd::encoding::CompressionLevel::Fastest), "zstd")
            }
        };
        let options = self.packed.options.clone().unwrap_or_default();
        let options = Options { compressed: Some(name.to_owned()), ..options };
        let tag = self.packed.tag.clone();
        PackedForward { tag, entries: Blob(entries), options: Some(options) }.to_msgpack()
    }
}

fn gzip(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data)?;
    encoder.finish()
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = [("chunk", &self.chunk), ("compressed", &self.compressed)];
        let numbers = [("size", self.size), ("fluent_signal", self.fluent_signal)];
        let length = texts.iter().filter(|(_, text)| text.is_some()).count()
            + numbers.iter().filter(|(_, number)| number.is_some()).count();
        let mut map = serializer.serialize_map(Some(length))?;
        for (name, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        for (name, number) in numbers {
            if let Some(number) = number {
                map.serialize_entry(name, &number)?;
            }
        }
        map.end()
    }
}

impl Serialize for Ack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("ack", &self.ack)])
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl Visitor<'_> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bin or str")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                self.visit_bytes(text.as_bytes())
            }
        }
        deserializer.deserialize_bytes(BlobVisitor)
    }
}

/// Text that may come as bin, and may not be UTF-8: each broken piece becomes U+FFFD.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Blob::deserialize(deserializer).map(|Blob(bytes)| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TIME: EventTime = EventTime { seconds: 0x6553_F100, nanos: 0x075B_CD15 };

    fn record() -> BTreeMap<String, String> {
        BTreeMap::from([("log".to_owned(), "hi".to_owned())])
    }

    /// The bytes of `[EventTime, {"log": "hi"}]`.
    const ENTRY: &[u8] = b"\x92\xd7\x00\x65\x53\xf1\x00\x07\x5b\xcd\x15\x81\xa3log\xa2hi";

    #[test]
    fn modes_have_the_bytes_of_the_specification() {
        let entry = || Entry(TIME.into(), record());
        let message = Message::new("app", TIME, record());
        assert_eq!(message.to_msgpack().expect("encodes"), [b"\x93\xa3app", &ENTRY[1..]].concat());
        let docker = Message { options: Some(Options::default()), ..message };
        assert_eq!(docker.to_msgpack().expect("encodes"), [b"\x94\xa3app", &ENTRY[1..], b"\x80"].concat());
        let seconds = Message::new("app", 1_700_000_000, record());
        assert_eq!(seconds.to_msgpack().expect("encodes"), b"\x93\xa3app\xce\x65\x53\xf1\x00\x81\xa3log\xa2hi");
        let forward = Forward::new("app", vec![entry(), entry()]);
        assert_eq!(forward.to_msgpack().expect("encodes"), [b"\x92\xa3app\x92", ENTRY, ENTRY].concat());
        let mut packed = PackedForward::new("app");
        packed.push(TIME, &record()).expect("encodes");
        packed.options = Some(Options { chunk: Some("abc".into()), size: Some(1), ..Options::default() });
        let options = b"\x82\xa5chunk\xa3abc\xa4size\x01";
        assert_eq!(packed.to_msgpack().expect("encodes"), [b"\x93\xa3app\xc4\x13", ENTRY, options].concat());
        assert_eq!(rmp_serde::to_vec(&Ack { ack: "abc".into() }).expect("encodes"), b"\x81\xa3ack\xa3abc");
    }

    /// By default rmp-serde writes a struct as an array, which is no record.
    #[test]
    fn a_record_may_be_a_struct() {
        #[derive(Clone, Serialize)]
        struct Line {
            log: &'static str,
        }
        let line = Line { log: "hi" };
        let options = Some(Options::default());
        let message = Message { options: options.clone(), ..Message::new("app", TIME, line.clone()) };
        assert_eq!(message.to_msgpack().expect("encodes"), [b"\x94\xa3app", &ENTRY[1..], b"\x80"].concat());
        let forward = Forward { options, ..Forward::new("app", vec![Entry(TIME.into(), line.clone())]) };
        assert_eq!(forward.to_msgpack().expect("encodes"), [b"\x93\xa3app\x91", ENTRY, b"\x80"].concat());
        let mut packed = PackedForward::new("app");
        packed.push(TIME, &line).expect("encodes");
        assert_eq!(packed.entries.0, ENTRY);
    }

    #[test]
    fn compressed_entries_come_out_as_they_went_in() {
        let mut packed = PackedForward::new("app");
        for _ in 0..100 {
            packed.push(TIME, &record()).expect("encodes");
        }
        for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
            let compressed = CompressedPackedForward { packed: packed.clone(), compression };
            let bytes = compressed.to_msgpack().expect("encodes");
            let read: PackedForward = rmp_serde::from_slice(&bytes).expect("decodes");
            assert_eq!(read.options.and_then(|options| options.compressed).as_deref(), Some(name));
            let entries = match compression {
                Compression::Gzip => crate::net::inflate::gunzip(&read.entries.0, 1 << 20),
                Compression::Zstd => crate::net::inflate::unzstd(&read.entries.0, 1 << 20),
            };
            assert_eq!(entries.expect("inflates"), ENTRY.repeat(100));
        }
    }

    /// Old clients write everything as str, Docker before 19 writes nil for no options, and text need not be UTF-8.
    #[test]
    fn variants_of_other_senders_are_read() {
        type Read = Message<BTreeMap<String, String>>;
        let read = |bytes: &[u8]| rmp_serde::from_slice::<Read>(bytes);
        for (what, bytes) in [
            ("bin tag", &b"\x93\xc4\x03app\x01\x80"[..]),
            ("nil options", b"\x94\xa3app\x01\x80\xc0"),
            ("str 8", b"\x93\xd9\x03app\x01\x80"),
        ] {
            assert_eq!(read(bytes).expect(what), Message::new("app", 1, BTreeMap::new()), "{what}");
        }
        let message = read(b"\x94\xa1\xff\xc0\x80\x82\xa5other\x93\x01\x02\xc0\xa4size\x05").expect("unknown option");
        assert_eq!((&*message.tag, message.time), ("\u{fffd}", Time::Nil));
        assert_eq!(message.options.and_then(|options| options.size), Some(5));
        let packed: PackedForward = rmp_serde::from_slice(b"\x92\xa3app\xa2\x92\xff").expect("payload as str");
        assert_eq!(packed.entries, Blob(b"\x92\xff".to_vec()));
        let ext8: Time = rmp_serde::from_slice(b"\xc7\x08\x00\x00\x00\x00\x01\x00\x00\x00\x02").expect("ext 8");
        assert_eq!(ext8, Time::Event(EventTime { seconds: 1, nanos: 2 }));
    }

    #[test]
    fn wrong_messages_are_refused() {
        for (what, bytes) in [
            ("nothing", &b""[..]),
            ("a map", b"\x80"),
            ("tag only", b"\x91\xa3app"),
            ("a number as the tag", b"\x93\x01\x01\x80"),
            ("text as the time", b"\x93\xa3app\xa1x\x80"),
            ("extension of 4 bytes", b"\x93\xa3app\xd6\x00abcd\x80"),
            ("extension of type 1", b"\x93\xa3app\xd7\x01abcdefgh\x80"),
            ("options that are text", b"\x94\xa3app\x01\x80\xa1x"),
            ("a tag of 4 GiB", b"\x93\xdb\xff\xff\xff\xffapp"),
            ("cut", b"\x93\xa3app\x01\x81\xa1a"),
        ] {
            assert!(rmp_serde::from_slice::<Message<BTreeMap<String, String>>>(bytes).is_err(), "{what}");
        }
    }

    /// The number behind `name:` in a vector's description.
    fn described(text: &str, name: &str) -> String {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no `{name}` in {text}")).to_owned()
    }

    /// The records in a message, counted without these types or the agent's own reader.
    fn records(message: &rmpv::Value) -> usize {
        let Some(parts) = message.as_array() else { return 0 };
        let option = |name: &str| parts.last()?.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name));
        match &parts[1] {
            rmpv::Value::Array(entries) => entries.len(),
            rmpv::Value::Binary(_) | rmpv::Value::String(_) => {
                let bytes = parts[1].as_slice().expect("str or bin");
                let bytes = match option("compressed").and_then(|(_, value)| value.as_str()) {
                    Some("gzip") => crate::net::inflate::gunzip(bytes, 1 << 20).expect("gzip"),
                    Some("zstd") => crate::net::inflate::unzstd(bytes, 1 << 20).expect("zstd"),
                    _ => bytes.to_vec(),
                };
                values(&bytes).len()
            }
            _ => 1,
        }
    }

    fn values(mut bytes: &[u8]) -> Vec<rmpv::Value> {
        let mut values = Vec::new();
        while !bytes.is_empty() {
            values.push(rmpv::decode::read_value(&mut bytes).expect("a whole value"));
        }
        values
    }

    /// Keeps `testdata/forward` honest: every vector has a description, and holds what that says.
    #[test]
    fn the_vectors_hold_what_their_descriptions_say() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/forward");
        let mut good = 0;
        for file in std::fs::read_dir(&folder).expect("the folder").map(|file| file.expect("a file").path()) {
            if file.extension().is_none_or(|extension| extension != "bin") {
                continue;
            }
            let text = std::fs::read_to_string(file.with_extension("md")).expect("a description");
            let bytes = std::fs::read(&file).expect("the vector");
            assert_eq!(described(&text, "bytes"), bytes.len().to_string(), "{}", file.display());
            if described(&text, "messages") == "refused" {
                continue;
            }
            good += 1;
            let messages = values(&bytes);
            assert_eq!(described(&text, "messages"), messages.len().to_string(), "{}", file.display());
            let count: usize = messages.iter().map(records).sum();
            assert_eq!(described(&text, "records"), count.to_string(), "{}", file.display());
        }
        assert!(good > 40, "only {good} vectors were found");
    }

    proptest! {
        #[test]
        fn property_messages_come_back(
            tag in any::<String>(),
            seconds in any::<u32>(),
            nanos in 0_u32..1_000_000_000,
            record in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5),
            chunk in prop::option::of("[a-zA-Z0-9+/=]{24}"),
            size in prop::option::of(any::<u64>()),
        ) {
            let options = Some(Options { chunk, size, ..Options::default() });
            let message = Message { options: options.clone(), ..Message::new(tag.clone(), EventTime { seconds, nanos }, record.clone()) };
            let bytes = message.to_msgpack().unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Message<BTreeMap<String, String>>>(&bytes).unwrap(), &message);
            let forward = Forward { tag, entries: vec![Entry(Time::Seconds(u64::from(seconds)), record)], options };
            let bytes = forward.to_msgpack().unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Forward<BTreeMap<String, String>>>(&bytes).unwrap(), &forward);
        }

        #[test]
        fn property_noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = rmp_serde::from_slice::<Message<BTreeMap<String, String>>>(&bytes);
            let _ = rmp_serde::from_slice::<PackedForward>(&bytes);
            let _ = rmp_serde::from_slice::<Ping>(&bytes);
            let _ = rmp_serde::from_slice::<Helo>(&bytes);
            let _ = rmp_serde::from_slice::<Pong>(&bytes);
        }
    }
}
