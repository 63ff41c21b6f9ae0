//! JSON objects from a byte stream, one after another, as Fluent Bit's `tcp` input takes them.
//!
//! Promises: gives the same records however the bytes are cut into reads; holds at most one unfinished object, which is
//! at most `object_bytes_max` long; an object that is broken costs itself and is reported, what stands behind it is
//! found again; a byte is looked at twice, no more.
//! Never: touches a socket or a clock. [`Decoder::feed`] gets what was read, and hands out msgpack maps.
//!
//! ```text
//! read ──▶ Decoder (finds where an object ends: brackets and strings only) ──▶ transcode (JSON ──▶ msgpack map) ──▶ record
//! ```
//! How it finds its way again: text between objects is skipped to the next line or `{`. An object that is too long or
//! too deep is skipped to its end, or to a line that starts with `{`. A line that ends inside a string ends the object.
//! An array at the top is the record `{"msg": array}`, as in Fluent Bit.

pub mod session;
mod transcode;

pub use transcode::transcode;

/// Why bytes gave no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Something that is neither an object nor an array.
    #[error("text between objects")]
    Garbage,
    /// Brackets that fit, but not JSON.
    #[error("not JSON")]
    Malformed,
    /// Objects and arrays in each other, more than allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// Longer than allowed, or with more keys.
    #[error("too long")]
    TooLong,
    /// The connection ended inside an object.
    #[error("the end is missing")]
    Truncated,
}

impl JsonError {
    /// The kind, as a label of a counter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Garbage => "json_garbage",
            Self::Malformed => "json_malformed",
            Self::TooDeep => "json_too_deep",
            Self::TooLong => "json_too_long",
            Self::Truncated => "json_truncated",
        }
    }
}

/// Finds the objects of one connection.
#[derive(Debug)]
pub struct Decoder {
    object_bytes_max: usize,
    depth_max: u32,
    state: State,
    /// What has come of the object that is not finished.
    pending: Vec<u8>,
    /// The record last made.
    record: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    Garbage,
    Object(Brackets),
    /// In an object that has been given up; `line_start` if the last byte was a newline.
    Skipping {
        brackets: Brackets,
        line_start: bool,
    },
}

/// How deep we are, and whether in a string.
#[derive(Clone, Copy, Debug, Default)]
struct Brackets {
    depth: u32,
    string: InString,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InString {
    #[default]
    No,
    Yes,
    /// Behind a backslash.
    Escaped,
}

impl Brackets {
    fn take(&mut self, byte: u8) {
        self.string = match (self.string, byte) {
            (InString::Escaped, _) => InString::Yes,
            (InString::Yes, b'\\') => InString::Escaped,
            (InString::Yes, b'"') => InString::No,
            (InString::No, b'"') => InString::Yes,
            (string, _) => string,
        };
        if self.string == InString::No {
            match byte {
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}

impl Decoder {
    /// Buffers above this are given back when they are empty.
    const KEPT_BYTES: usize = 64 * 1024;

    /// A decoder for objects of at most `object_bytes_max` bytes with at most `depth_max` (up to
    /// [`MSGPACK_DEPTH_MAX`](crate::limits::MSGPACK_DEPTH_MAX)) objects and arrays in each other.
    pub fn new(object_bytes_max: usize, depth_max: usize) -> Self {
        let depth_max = depth_max.min(crate::limits::MSGPACK_DEPTH_MAX) as u32;
        Self { object_bytes_max, depth_max, state: State::Between, pending: Vec::new(), record: Vec::new() }
    }

    /// Takes what was read. `each` gets every record that is now whole, as one msgpack map, and every mistake, in
    /// order.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Result<&[u8], JsonError>)) {
        // Where the bytes of the open object begin; what came before lies in `pending`.
        let mut start = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            self.state = match self.state {
                State::Between if byte.is_ascii_whitespace() => State::Between,
                State::Between if matches!(byte, b'{' | b'[') => {
                    start = at;
                    Self::opened(byte)
                }
                State::Between => {
                    each(Err(JsonError::Garbage));
                    State::Garbage
                }
                State::Garbage if byte == b'\n' => State::Between,
                State::Garbage if byte == b'{' => {
                    start = at;
                    Self::opened(byte)
                }
                State::Garbage => State::Garbage,
                State::Object(brackets) => self.in_object(brackets, bytes, start, at, &mut each),
                State::Skipping { line_start: true, .. } if byte == b'{' => {
                    start = at;
                    Self::opened(byte)
                }
                State::Skipping { mut brackets, .. } => {
                    brackets.take(byte);
                    match brackets.depth {
                        0 => State::Between,
                        _ => State::Skipping { brackets, line_start: byte == b'\n' },
                    }
                }
            };
        }
        if matches!(self.state, State::Object(_)) {
            self.pending.extend_from_slice(&bytes[start..]);
        }
    }

    /// The connection has ended.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        self.forget_pending();
        match std::mem::replace(&mut self.state, State::Between) {
            State::Object(_) => Err(JsonError::Truncated),
            _ => Ok(()),
        }
    }

    /// Bytes held for an object that is not finished.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn opened(byte: u8) -> State {
        let mut brackets = Brackets::default();
        brackets.take(byte);
        State::Object(brackets)
    }

    fn in_object(
        &mut self,
        mut brackets: Brackets,
        bytes: &[u8],
        start: usize,
        at: usize,
        each: &mut impl FnMut(Result<&[u8], JsonError>),
    ) -> State {
        let in_string = brackets.string != InString::No;
        brackets.take(bytes[at]);
        let error = if in_string && bytes[at] == b'\n' {
            JsonError::Malformed
        } else if self.pending.len() + (at + 1 - start) > self.object_bytes_max {
            JsonError::TooLong
        } else if brackets.depth > self.depth_max {
            JsonError::TooDeep
        } else if brackets.depth > 0 {
            return State::Object(brackets);
        } else {
            self.whole(&bytes[start..=at], each);
            return State::Between;
        };
        each(Err(error));
        self.forget_pending();
        match error {
            JsonError::Malformed => State::Between,
            _ if brackets.depth == 0 => State::Between,
            _ => State::Skipping { brackets, line_start: bytes[at] == b'\n' },
        }
    }

    /// `end` completes the object.
    fn whole(&mut self, end: &[u8], each: &mut impl FnMut(Result<&[u8], JsonError>)) {
        let object = if self.pending.is_empty() {
            end
        } else {
            self.pending.extend_from_slice(end);
            &self.pending
        };
        self.record.clear();
        each(transcode(object, self.depth_max as usize, &mut self.record).map(|()| &*self.record));
        self.forget_pending();
        if self.record.capacity() > Self::KEPT_BYTES {
            self.record = Vec::new();
        }
    }

    fn forget_pending(&mut self) {
        if self.pending.capacity() > Self::KEPT_BYTES {
            self.pending = Vec::new();
        } else {
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the pieces and writes down what came out: records as text, errors by their label.
    fn run(decoder: &mut Decoder, pieces: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |result| {
                seen.push(match result {
                    Ok(mut record) => rmpv::decode::read_value(&mut record).expect("msgpack").to_string(),
                    Err(error) => error.label().to_owned(),
                });
            });
        }
        seen
    }

    fn all(input: &str) -> Vec<String> {
        run(&mut Decoder::new(100, 8), &[input.as_bytes()])
    }

    #[test]
    fn objects_may_stand_in_lines_or_side_by_side() {
        assert_eq!(all(r#"{"health": "check"}"#), [r#"{"health": "check"}"#]);
        assert_eq!(all("{\"a\":1}\n{\"b\":2}\r\n\n"), [r#"{"a": 1}"#, r#"{"b": 2}"#]);
        assert_eq!(all("  {\"a\":1}{\"b\":{\"c\":[{}]}}\t{}"), [r#"{"a": 1}"#, r#"{"b": {"c": [{}]}}"#, "{}"]);
        assert_eq!(all("{\n  \"a\": \"}{\",\n  \"b\": \"\\\"}\"\n}"), [r#"{"a": "}{", "b": "\"}"}"#]);
        assert_eq!(all("[1]{}"), [r#"{"msg": [1]}"#, "{}"]);
        assert_eq!(all(""), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_costs_itself_and_what_follows_is_found() {
        for (input, seen) in [
            ("hello\n{}", &["json_garbage", "{}"][..]),
            ("hello {\"a\":1} more\n{}", &["json_garbage", r#"{"a": 1}"#, "json_garbage", "{}"]),
            ("1 2 3\n\"x\"\n{}", &["json_garbage", "json_garbage", "{}"]),
            ("}{}", &["json_garbage", "{}"]),
            ("{\"a\":}{}", &["json_malformed", "{}"]),
            ("{]{}", &["json_malformed", "{}"]),
            ("{\"a\": \"no end\n{}", &["json_malformed", "{}"]),
            ("[[[[[[[[[1]]]]]]]]]{}", &["json_too_deep", "{}"]),
            ("[[[[[[[[[\n{}", &["json_too_deep", "{}"]),
        ] {
            assert_eq!(all(input), seen, "{input}");
        }
    }

    #[test]
    fn an_object_may_be_as_long_as_allowed_and_no_longer() {
        let object = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
        assert_eq!(all(&object(100)), [format!("{{\"a\": \"{}\"}}", "x".repeat(92))]);
        assert_eq!(all(&(object(101) + "{}")), ["json_too_long", "{}"]);
        assert_eq!(all(&(object(10_000) + "{}")), ["json_too_long", "{}"]);
        // Never closed: the next line that starts an object is one again.
        assert_eq!(all(&format!("{{\"a\":[{}\n{{}}", "1,".repeat(100))), ["json_too_long", "{}"]);
    }

    #[test]
    fn an_object_that_never_ends_holds_no_more_than_the_limit() {
        let mut decoder = Decoder::new(1_000, 8);
        let mut errors = 0;
        for _ in 0..10_000 {
            decoder.feed(b"{\"a\":[0123456789", |result| errors += usize::from(result.is_err()));
            assert!(decoder.pending_bytes() <= 1_000 && decoder.pending.capacity() <= 2_048);
        }
        assert_eq!(errors, 1, "it is one object, and it is reported once");
    }

    #[test]
    fn the_end_inside_an_object_is_told() {
        let mut decoder = Decoder::new(100, 8);
        assert_eq!(run(&mut decoder, &[b"{}{\"a\""]), ["{}"]);
        assert_eq!(decoder.finish(), Err(JsonError::Truncated));
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(run(&mut decoder, &[b"{}\n garbage"]), ["{}", "json_garbage"]);
        assert_eq!(decoder.finish(), Ok(()));
    }

    proptest! {
        /// However the bytes are cut, the same comes out.
        #[test]
        fn property_cuts_do_not_matter(
            input in prop::collection::vec(
                prop_oneof![
                    Just(r#"{"a":"b\\\"}"}"#.to_owned()),
                    Just(r#"{"x":[1,{"y":null}]}"#.to_owned()),
                    Just("\n".to_owned()),
                    r#"[{}\[\]":,a1\\ \n]{0,12}"#,
                    Just(format!("{{\"long\":\"{}\"}}", "z".repeat(120))),
                ],
                0..12,
            ).prop_map(|parts| parts.concat().into_bytes()),
            sizes in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let whole = run(&mut Decoder::new(100, 4), &[&input]);
            let mut pieces = Vec::new();
            let mut rest = &input[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(run(&mut Decoder::new(100, 4), &pieces), whole);
        }

        #[test]
        fn property_objects_behind_any_line_of_noise_are_found(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut decoder = Decoder::new(1_000, 8);
            // The first line may end inside a string or inside brackets: then the noise takes one line with it.
            let seen = run(&mut decoder, &[&noise, b"\n", &b"\"\n".repeat(2), &b"{\"pad\":1}\n".repeat(200), b"{\"a\":1}\n"]);
            prop_assert_eq!(seen.last().map(String::as_str), Some(r#"{"a": 1}"#));
        }
    }
}
