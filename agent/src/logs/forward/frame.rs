//! The messages of the forward protocol, found by their length and then read in place.
//!
//! ```text
//! Message        [tag, time, record, option?]
//! Forward        [tag, [[time, record], ...], option?]
//! PackedForward  [tag, bin|str of concatenated [time, record], option?]     compressed: option.compressed = gzip|zstd
//! heartbeat      nil
//! time           seconds | EventTime (ext 0: u32 seconds, u32 nanoseconds) | [time, metadata]
//! ```
//!
//! Promises: a message is looked at once to find its end, however many pieces it arrives in, and refused at its first
//! wrong byte; nothing is copied and no length from outside is used to allocate.
//! Never: does I/O, or keeps anything of one message for the next.

use super::usual::event_time;
use crate::{
    limits::{CHUNK_ID_BYTES_MAX, RECORD_FIELDS_MAX, TAG_BYTES_MAX},
    logs::{
        msgpack::{Broken, Cursor, Marker, Walk},
        record::{EventTime, Pair, Record, Value},
    },
};

/// Why a connection cannot go on. The label is the `kind` of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Neither an array of two to four elements nor nil.
    NotAMessage,
    /// Not msgpack, or a lying length inside.
    Msgpack,
    /// A record nested deeper than [`MSGPACK_DEPTH_MAX`](crate::limits::MSGPACK_DEPTH_MAX).
    TooDeep,
    /// A message larger than the limit, before or after decompression, or a record with more fields than allowed.
    TooLarge,
    /// The tag is not text, or longer than any that makes sense.
    Tag,
    /// The time is neither a number nor an EventTime.
    Time,
    /// The record is not a map.
    Record,
    /// The entries are not `[time, record]`.
    Entry,
    /// The option is not a map, or has an id longer than any that makes sense.
    Option,
    /// A compression we do not know, or broken compressed data.
    Compression,
    /// The peer closed in the middle of a message.
    Truncated,
    /// The handshake failed.
    Handshake,
    /// Metrics or traces of Fluent Bit, which are no log records. The connection goes on.
    Signal,
}

impl Malformed {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAMessage => "not_a_message",
            Self::Msgpack => "msgpack",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::Tag => "tag",
            Self::Time => "time",
            Self::Record => "record",
            Self::Entry => "entry",
            Self::Option => "option",
            Self::Compression => "compression",
            Self::Truncated => "truncated",
            Self::Handshake => "handshake",
            Self::Signal => "signal",
        }
    }

    /// This, if a value is whole but of the wrong type.
    fn unless_broken(self) -> impl Fn(Broken) -> Self {
        move |broken| if broken == Broken::Type { self } else { broken.into() }
    }
}

impl From<Broken> for Malformed {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Depth => Self::TooDeep,
            Broken::Long => Self::TooLarge,
            Broken::Short | Broken::Marker | Broken::Type => Self::Msgpack,
        }
    }
}

/// Finds the end of the message at the beginning of a buffer.
#[derive(Debug, Default)]
pub struct Finder {
    walk: Option<Walk>,
    last: usize,
}

impl Finder {
    /// The length of the message that `buffer` begins with, or `None` if it is not whole yet. Call it again with the
    /// same bytes and more; after a length it begins anew.
    pub fn find(&mut self, buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, Malformed> {
        let walk = match &mut self.walk {
            Some(walk) => walk,
            None => {
                let Some(&first) = buffer.first() else { return Ok(None) };
                // Whoever does not begin with a small array or nil does not speak this protocol.
                if !matches!(first, 0x92..=0x94 | 0xc0 | 0xdc | 0xdd) {
                    return Err(Malformed::NotAMessage);
                }
                self.walk.insert(Walk::default())
            }
        };
        match walk.advance(buffer) {
            Ok(()) if walk.position > bytes_max => Err(Malformed::TooLarge),
            Ok(()) => {
                let length = walk.position;
                self.last = walk.last;
                self.walk = None;
                Ok(Some(length))
            }
            Err(Broken::Short) if walk.needs > bytes_max => Err(Malformed::TooLarge),
            Err(Broken::Short) => Ok(None),
            Err(broken) => Err(broken.into()),
        }
    }

    /// True if the beginning of a message was looked at already.
    pub fn is_within(&self) -> bool {
        self.walk.is_some()
    }

    /// Where the last element begins in the message that was found last.
    pub fn last_element(&self) -> usize {
        self.last
    }

    /// Bytes that the buffer must hold before it is worth looking again; 0 between messages.
    pub fn needs(&self) -> usize {
        self.walk.map_or(0, |walk| walk.needs)
    }
}

/// A whole message.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Nothing to do.
    Heartbeat,
    /// Records.
    Message(Message<'a>),
}

/// Records with a tag.
#[derive(Debug)]
pub struct Message<'a> {
    /// The tag.
    pub tag: &'a [u8],
    /// The records.
    pub entries: Entries<'a>,
    /// What was said about them.
    pub option: Options<'a>,
}

/// The records of a message, in the form in which they came.
#[derive(Clone, Copy, Debug)]
pub enum Entries<'a> {
    /// One: its time and record, one after the other.
    One(&'a [u8]),
    /// So many `[time, record]`, one after another.
    Many(usize, &'a [u8]),
    /// `[time, record]`, one after another, to the end.
    Packed(&'a [u8]),
}

/// The option map. What it does not say is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The sender waits for an answer with this id.
    pub chunk: Option<&'a [u8]>,
    /// How the packed entries are compressed: `text`, `gzip` or `zstd`.
    pub compressed: Option<&'a [u8]>,
    /// 0 logs, 1 metrics, 2 traces (Fluent Bit).
    pub signal: Option<u64>,
}

impl<'a> Frame<'a> {
    /// Reads a message whose end [`Finder`] has found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut walk = Walk::default();
        walk.advance(bytes)?;
        Self::parse_found(bytes, walk.last)
    }

    /// The same, without a walk to the last element, which [`Finder`] knows to begin at `last`.
    pub fn parse_found(bytes: &'a [u8], last: usize) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let elements = match cursor.marker()? {
            Marker::Nil => return Ok(Self::Heartbeat),
            Marker::Array(n @ 2..=4) => n,
            _ => return Err(Malformed::NotAMessage),
        };
        let tag = cursor.text().map_err(Malformed::Tag.unless_broken())?;
        if tag.len() > TAG_BYTES_MAX {
            return Err(Malformed::Tag);
        }
        let start = bytes.len() - cursor.rest().len();
        let marker = cursor.marker()?;
        let inner = bytes.len() - cursor.rest().len();
        let is_dated = matches!(marker, Marker::Array(2)) && elements >= 3 && !holds_array(cursor);
        let (mode, without_option) = match marker {
            Marker::Array(n) if !is_dated => (Mode::Many(n), 2),
            Marker::Str(_) | Marker::Bin(_) => (Mode::Packed, 2),
            Marker::Bool(_) | Marker::Map(_) => return Err(Malformed::Time),
            _ => (Mode::One, 3),
        };
        let (option, end) = match elements.checked_sub(without_option) {
            Some(0) => (Options::default(), bytes.len()),
            Some(1) => (Options::parse(Cursor::new(&bytes[last..]))?, last),
            _ => return Err(Malformed::NotAMessage),
        };
        let entries = match mode {
            Mode::One => Entries::One(&bytes[start..end]),
            Mode::Many(n) => Entries::Many(n, &bytes[inner..end]),
            Mode::Packed => Entries::Packed(&bytes[inner..end]),
        };
        Ok(Self::Message(Message { tag, entries, option }))
    }
}

/// How the records of a message come.
enum Mode {
    One,
    Many(usize),
    Packed,
}

/// True if the first of two elements is an array. That tells `[tag, [[time, record], [time, record]], option]` from
/// Fluent Bit's `[tag, [time, metadata], record]`.
fn holds_array(mut after_header: Cursor<'_>) -> bool {
    matches!(after_header.marker(), Ok(Marker::Array(_)))
}

impl<'a> Options<'a> {
    fn parse(mut cursor: Cursor<'a>) -> Result<Self, Malformed> {
        let pairs = match cursor.marker()? {
            Marker::Map(n) => n,
            // Docker before 18 sends nil.
            Marker::Nil => 0,
            _ => return Err(Malformed::Option),
        };
        let mut option = Self::default();
        for _ in 0..pairs {
            let key = Cursor::new(cursor.value()?).text().unwrap_or_default();
            let mut value = Cursor::new(cursor.value()?);
            match key {
                b"chunk" => option.chunk = value.text().ok(),
                b"compressed" => option.compressed = value.text().ok(),
                b"fluent_signal" => {
                    option.signal = match value.marker()? {
                        Marker::Unsigned(n) => Some(n),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        match option.chunk {
            Some(chunk) if chunk.len() > CHUNK_ID_BYTES_MAX => Err(Malformed::Option),
            _ => Ok(option),
        }
    }
}

/// Reads entries one after another.
#[derive(Debug)]
pub struct EntryReader<'a> {
    cursor: Cursor<'a>,
    left: Left,
}

#[derive(Debug)]
enum Left {
    One,
    Entries(usize),
    ToTheEnd,
}

impl<'a> EntryReader<'a> {
    /// Reads `entries`. Compressed ones must have been decompressed.
    pub fn new(entries: Entries<'a>) -> Self {
        let (bytes, left) = match entries {
            Entries::One(bytes) => (bytes, Left::One),
            Entries::Many(n, bytes) => (bytes, Left::Entries(n)),
            Entries::Packed(bytes) => (bytes, Left::ToTheEnd),
        };
        Self { cursor: Cursor::new(bytes), left }
    }

    /// Puts the next entry into `record`, whose earlier content goes. False at the end.
    pub fn next_into(&mut self, record: &mut Record<'a>) -> Result<bool, Malformed> {
        match &mut self.left {
            Left::One => self.left = Left::Entries(0),
            Left::Entries(0) => return Ok(false),
            Left::ToTheEnd if self.cursor.rest().is_empty() => return Ok(false),
            left => {
                if let Left::Entries(n) = left {
                    *n -= 1;
                }
                // A third element is tolerated: nobody sends one today.
                let elements = self.cursor.array().map_err(Malformed::Entry.unless_broken())?;
                if elements != 2 {
                    return Err(Malformed::Entry);
                }
            }
        }
        record.time = time(&mut self.cursor)?;
        let before = self.cursor.rest().len();
        fields(&mut self.cursor, record)?;
        record.bytes = before - self.cursor.rest().len();
        Ok(true)
    }
}

/// Reads a time, or the time of `[time, metadata]`. A time of zero means "now" and is left zero.
fn time(cursor: &mut Cursor<'_>) -> Result<EventTime, Malformed> {
    let mut next = *cursor;
    let dated = match next.marker()? {
        Marker::Array(2) => {
            let time = instant(&mut next)?;
            next.value()?;
            time
        }
        _ => {
            next = *cursor;
            instant(&mut next)?
        }
    };
    *cursor = next;
    Ok(dated)
}

fn instant(cursor: &mut Cursor<'_>) -> Result<EventTime, Malformed> {
    let whole = |seconds| EventTime { seconds, nanos: 0 };
    Ok(match cursor.marker()? {
        Marker::Nil => whole(0),
        Marker::Unsigned(n) => whole(i64::try_from(n).map_err(|_| Malformed::Time)?),
        Marker::Signed(n) => whole(n),
        Marker::F32(x) => fraction(f64::from(x))?,
        Marker::F64(x) => fraction(x)?,
        Marker::Ext(0, 8) => {
            let bytes: &[u8; 8] = cursor.take(8)?.try_into().map_err(|_| Malformed::Time)?;
            event_time(bytes).ok_or(Malformed::Time)?
        }
        _ => return Err(Malformed::Time),
    })
}

fn fraction(x: f64) -> Result<EventTime, Malformed> {
    if !x.is_finite() || x.abs() >= 1e15 {
        return Err(Malformed::Time);
    }
    let seconds = x.floor();
    // `as` saturates; the fraction is in 0.0..1.0.
    Ok(EventTime { seconds: seconds as i64, nanos: (((x - seconds) * 1e9) as u32).min(999_999_999) })
}

fn fields<'a>(cursor: &mut Cursor<'a>, record: &mut Record<'a>) -> Result<(), Malformed> {
    record.pairs.clear();
    let pairs = cursor.map().map_err(Malformed::Record.unless_broken())?;
    if pairs > RECORD_FIELDS_MAX {
        return Err(Malformed::TooLarge);
    }
    for _ in 0..pairs {
        let key = value(cursor)?;
        let value = value(cursor)?;
        record.pairs.push(Pair { key, value });
    }
    Ok(())
}

#[inline]
fn value<'a>(cursor: &mut Cursor<'a>) -> Result<Value<'a>, Malformed> {
    if let Some(text) = cursor.usual_text() {
        return Ok(Value::Str(text));
    }
    let mut next = *cursor;
    let value = match next.marker()? {
        Marker::Str(n) => Value::Str(next.take(n)?),
        Marker::Bin(n) => Value::Bin(next.take(n)?),
        _ => {
            next = *cursor;
            Value::Raw(next.shallow_value()?)
        }
    };
    *cursor = next;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value as Tree;

    use super::*;

    fn packed(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, tree).expect("a Vec takes all");
        bytes
    }

    fn record() -> Tree {
        Tree::Map(vec![("log".into(), "hello".into()), ("n".into(), 7.into())])
    }

    fn event_time() -> Tree {
        Tree::Ext(0, vec![0x65, 0x53, 0xf1, 0x00, 0x07, 0x5b, 0xcd, 0x15])
    }

    /// The tag, each record's seconds, nanoseconds and number of fields, the chunk id.
    type Taken = (String, Vec<(i64, u32, usize)>, Option<String>);

    /// Everything a reader takes out of a message.
    fn read(bytes: &[u8]) -> Result<Taken, Malformed> {
        let length = Finder::default().find(bytes, 1 << 20)?.ok_or(Malformed::Truncated)?;
        assert_eq!(length, bytes.len());
        let Frame::Message(message) = Frame::parse(bytes)? else { return Ok(("nil".to_owned(), Vec::new(), None)) };
        let mut reader = EntryReader::new(message.entries);
        let mut record = Record::default();
        let mut records = Vec::new();
        while reader.next_into(&mut record)? {
            records.push((record.time.seconds, record.time.nanos, record.pairs.len()));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(message.tag), records, message.option.chunk.map(text)))
    }

    #[test]
    fn every_mode_is_read() {
        let entry = |time: Tree| Tree::Array(vec![time, record()]);
        let two = [packed(&entry(1.into())), packed(&entry(event_time()))].concat();
        let chunk = Tree::Map(vec![("chunk".into(), "id==".into()), ("size".into(), 2.into())]);
        let dated = Tree::Array(vec![event_time(), Tree::Map(vec![])]);
        let late = (0x6553_f100, 123_456_789, 2);
        for (name, tree, expected) in [
            ("message", vec!["t".into(), 5.into(), record()], vec![(5, 0, 2)]),
            ("message with nil option", vec!["t".into(), event_time(), record(), Tree::Nil], vec![late]),
            ("message with empty option", vec!["t".into(), event_time(), record(), Tree::Map(vec![])], vec![late]),
            ("message with float time", vec!["t".into(), 1.5.into(), record()], vec![(1, 500_000_000, 2)]),
            ("message with metadata", vec!["t".into(), dated.clone(), record()], vec![late]),
            (
                "forward",
                vec!["t".into(), Tree::Array(vec![entry(1.into()), entry(2.into())])],
                vec![(1, 0, 2), (2, 0, 2)],
            ),
            ("forward, empty", vec!["t".into(), Tree::Array(vec![]), Tree::Map(vec![])], vec![]),
            ("forward with metadata", vec!["t".into(), Tree::Array(vec![entry(dated)])], vec![late]),
            ("packed as binary", vec!["t".into(), Tree::Binary(two.clone())], vec![(1, 0, 2), late]),
            (
                "packed, binary tag",
                vec![Tree::Binary(b"t".to_vec()), Tree::Binary(two.clone()), chunk],
                vec![(1, 0, 2), late],
            ),
        ] {
            let (tag, records, id) = read(&packed(&Tree::Array(tree))).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!((tag.as_str(), records), ("t", expected), "{name}");
            assert_eq!(id.is_some(), name == "packed, binary tag", "{name}");
        }
        assert_eq!(read(&[0xc0]).map(|read| read.0), Ok("nil".to_owned()));
    }

    #[test]
    fn what_is_no_message_is_refused_by_name() {
        let tree = |elements: Vec<Tree>| packed(&Tree::Array(elements));
        for (bytes, kind) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), Malformed::NotAMessage),
            (b"{\"json\":1}".to_vec(), Malformed::NotAMessage),
            (vec![0x80], Malformed::NotAMessage),
            (tree(vec![]), Malformed::NotAMessage),
            (tree(vec!["t".into()]), Malformed::NotAMessage),
            (tree(vec!["t".into(), 1.into(), record(), Tree::Nil, Tree::Nil]), Malformed::NotAMessage),
            (tree(vec!["t".into(), 1.into()]), Malformed::NotAMessage),
            (tree(vec!["t".into(), Tree::Array(vec![]), Tree::Nil, Tree::Nil]), Malformed::NotAMessage),
            (tree(vec![1.into(), 1.into(), record()]), Malformed::Tag),
            (tree(vec!["t".into(), true.into(), record()]), Malformed::Time),
            (tree(vec!["t".into(), f64::NAN.into(), record()]), Malformed::Time),
            (tree(vec!["t".into(), Tree::Ext(1, vec![0; 8]), record()]), Malformed::Time),
            (tree(vec!["t".into(), Tree::Ext(0, vec![0; 4]), record()]), Malformed::Time),
            (tree(vec!["t".into(), Tree::Ext(0, vec![255; 8]), record()]), Malformed::Time),
            (tree(vec!["t".into(), 1.into(), "text".into()]), Malformed::Record),
            (tree(vec!["t".into(), 1.into(), record(), 5.into()]), Malformed::Option),
            (tree(vec!["t".into(), Tree::Array(vec![5.into()])]), Malformed::Entry),
            (tree(vec!["t".into(), Tree::Binary(vec![0x93, 1, 0x80, 0xc0])]), Malformed::Entry),
            (tree(vec!["t".into(), Tree::Binary(vec![0x92, 1])]), Malformed::Msgpack),
            (vec![0xdd, 0xff, 0xff, 0xff, 0xff, 0xc1], Malformed::Msgpack),
            (vec![0x92, 0xa1, b't', 0xc6, 0xff, 0xff, 0xff, 0xff], Malformed::TooLarge),
            (vec![0x93, 0xdb, 0xff, 0xff, 0xff, 0xff], Malformed::TooLarge),
            (tree(vec!["t".repeat(1_025).into(), 1.into(), record()]), Malformed::Tag),
            (
                tree(vec!["t".into(), 1.into(), record(), Tree::Map(vec![("chunk".into(), "c".repeat(1_025).into())])]),
                Malformed::Option,
            ),
            (tree(vec!["t".into(), 1.into(), Tree::Map(vec![(1.into(), 2.into()); 16_385])]), Malformed::TooLarge),
        ] {
            assert_eq!(read(&bytes).unwrap_err(), kind, "{:02x?}", &bytes[..bytes.len().min(16)]);
        }
    }

    /// What came whole before a broken entry stays.
    #[test]
    fn entries_before_a_broken_one_are_read() {
        let mut bytes = packed(&Tree::Array(vec![1.into(), record()]));
        bytes.extend([0x92, 0xc1]);
        let mut reader = EntryReader::new(Entries::Packed(&bytes));
        let mut record = Record::default();
        assert_eq!(reader.next_into(&mut record), Ok(true));
        assert_eq!(reader.next_into(&mut record), Err(Malformed::Msgpack));
    }

    proptest! {
        /// However a stream is cut, the same messages are found, and no byte is lost between them.
        #[test]
        fn property_messages_are_found_however_the_stream_is_cut(
            logs in prop::collection::vec("[a-z]{0,80}", 1..6),
            cuts in prop::collection::vec(1usize..40, 1..60),
        ) {
            let messages: Vec<Vec<u8>> = logs.iter().map(|log| packed(&Tree::Array(vec![
                "tag".into(), event_time(), Tree::Map(vec![("log".into(), log.as_str().into())]), Tree::Map(vec![]),
            ]))).collect();
            let stream = messages.concat();
            let mut finder = Finder::default();
            let (mut start, mut have, mut found) = (0, 0, Vec::new());
            for cut in cuts.iter().cycle() {
                have = (have + cut).min(stream.len());
                while let Some(length) = finder.find(&stream[start..have], 1 << 20).expect("well-formed") {
                    found.push(stream[start..start + length].to_vec());
                    start += length;
                }
                if have == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert_eq!(finder.needs(), 0);
        }

        #[test]
        fn property_garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Finder::default().find(&bytes, 100);
            if let Ok(Frame::Message(message)) = Frame::parse(&bytes) {
                let mut reader = EntryReader::new(message.entries);
                let mut record = Record::default();
                while let Ok(true) = reader.next_into(&mut record) {}
            }
        }
    }
}
