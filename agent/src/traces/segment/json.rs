//! JSON written member by member into a buffer.
//!
//! Promises: what is written is valid JSON if what is begun is ended; text is cut between characters, never within one.
//! Never: allocates; writes a number that JSON does not have (`NaN` becomes text).

use std::io::Write;

use crate::deliver::{body::Body, escape};

/// A document while it is written.
pub(super) struct Json<'b> {
    body: &'b mut Body,
    /// Whether something stands before the next member.
    follows: bool,
    text_bytes_max: usize,
    /// Whether something that should be there is cut or left out.
    shrunk: bool,
}

/// A place to go back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    len: usize,
    follows: bool,
}

impl<'b> Json<'b> {
    /// Writes into `body`; text of more than `text_bytes_max` bytes is cut.
    pub(super) fn new(body: &'b mut Body, text_bytes_max: usize) -> Self {
        Self { body, follows: false, text_bytes_max, shrunk: false }
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Notes that something was left out.
    pub(super) fn leave_out(&mut self) {
        self.shrunk = true;
    }

    pub(super) fn is_shrunk(&self) -> bool {
        self.shrunk
    }

    /// The first `max` bytes of `text`, and a note if that is not all of it.
    pub(super) fn cut<'t>(&mut self, text: &'t [u8], max: usize) -> &'t [u8] {
        self.shrunk |= text.len() > max;
        cut(text, max)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { len: self.body.len(), follows: self.follows }
    }

    /// Forgets what was written since `mark`.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.body.truncate(mark.len);
        self.follows = mark.follows;
    }

    /// Begins an object or a list, which is a value.
    pub(super) fn open(&mut self, bracket: u8) {
        self.separate();
        self.body.put(&[bracket]);
        self.follows = false;
    }

    pub(super) fn close(&mut self, bracket: u8) {
        self.body.put(&[bracket]);
        self.follows = true;
    }

    /// Begins the object `name`, and says where to go back to if it stays empty.
    pub(super) fn begin(&mut self, name: &str) -> Mark {
        let mark = self.mark();
        self.name(name);
        self.open(b'{');
        mark
    }

    /// Ends an object. One without a member is taken back.
    pub(super) fn end_unless_empty(&mut self, begun: Mark) {
        if self.follows {
            self.close(b'}');
        } else {
            self.back_to(begun);
        }
    }

    /// The name of a member, which is one of ours and needs no escape.
    pub(super) fn name(&mut self, name: &str) {
        self.separate();
        self.body.put(b"\"");
        self.body.put(name.as_bytes());
        self.body.put(b"\":");
        self.follows = false;
    }

    /// The name of a member that came from outside, in two parts.
    pub(super) fn name_of(&mut self, prefix: &str, name: &[u8]) {
        self.separate();
        self.body.put(b"\"");
        self.body.put(prefix.as_bytes());
        escape::once(self.body, cut(name, NAME_BYTES_MAX));
        self.body.put(b"\":");
        self.follows = false;
    }

    fn separate(&mut self) {
        if self.follows {
            self.body.put(b",");
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        let text = self.cut(text, self.text_bytes_max);
        self.separate();
        self.body.put(b"\"");
        escape::once(self.body, text);
        self.body.put(b"\"");
        self.follows = true;
    }

    /// JSON that is valid as it stands, or text that needs no escape with its quotes.
    pub(super) fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.body.put(json);
        self.follows = true;
    }

    pub(super) fn number(&mut self, number: i64) {
        let mut digits = [0; 24];
        let left = {
            let mut rest = &mut digits[..];
            // The longest number has 20 digits.
            let _ = write!(rest, "{number}");
            rest.len()
        };
        self.raw(&digits[..digits.len() - left]);
    }

    pub(super) fn float(&mut self, number: f64) {
        if !number.is_finite() {
            let name: &[u8] = if number.is_nan() {
                b"\"NaN\""
            } else if number > 0.0 {
                b"\"Infinity\""
            } else {
                b"\"-Infinity\""
            };
            return self.raw(name);
        }
        let mut digits = [0; 40];
        let left = {
            let mut rest = &mut digits[..];
            // The longest of a float in its shortest form has 24 bytes.
            let _ = serde_json::to_writer(&mut rest, &number);
            rest.len()
        };
        self.raw(&digits[..digits.len() - left]);
    }

    pub(super) fn truth(&mut self, truth: bool) {
        self.raw(if truth { b"true" } else { b"false" });
    }

    /// A member with text; none if the text is empty.
    pub(super) fn text_member(&mut self, name: &str, text: &[u8]) {
        if !text.is_empty() {
            self.name(name);
            self.text(text);
        }
    }

    pub(super) fn truth_member(&mut self, name: &str, truth: bool) {
        self.name(name);
        self.truth(truth);
    }

    pub(super) fn hex_member(&mut self, name: &str, id: u64) {
        self.name(name);
        self.raw(&quoted_hex(id));
    }

    /// A time in seconds, exact to the nanosecond.
    pub(super) fn seconds_member(&mut self, name: &str, nanoseconds: u64) {
        self.name(name);
        let mut digits = [0; 32];
        let left = {
            let mut rest = &mut digits[..];
            let _ = write!(rest, "{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            rest.len()
        };
        let written = &digits[..digits.len() - left];
        let zeros = written.iter().rev().take_while(|&&digit| digit == b'0').count().min(8);
        self.raw(&written[..written.len() - zeros]);
    }

    /// A trace's id as X-Ray writes it, with its quotes: `1-`, 8 digits, `-`, 24 digits.
    pub(super) fn trace_id_member(&mut self, id: &[u8; 16]) {
        self.name("trace_id");
        let mut text = *b"\"1-01234567-012345678901234567890123\"";
        for (index, byte) in id.iter().enumerate() {
            let at = 3 + 2 * index + usize::from(index >= 4);
            text[at..at + 2].copy_from_slice(&hex(*byte));
        }
        self.raw(&text);
    }
}

/// Bytes of the name of an attribute. X-Ray takes 500 characters of one.
const NAME_BYTES_MAX: usize = 500;

/// The first `max` bytes of `text`, less those of a character that would be cut.
pub(super) fn cut(text: &[u8], max: usize) -> &[u8] {
    let Some(&next) = text.get(max) else { return text };
    let mut end = max;
    if next & 0xc0 == 0x80 {
        // A character has at most three bytes after its first.
        let back = text[..max].iter().rev().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        end = max.saturating_sub(back + 1);
    }
    &text[..end]
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn quoted_hex(id: u64) -> [u8; 18] {
    let mut text = [b'"'; 18];
    for (at, byte) in text[1..17].as_chunks_mut().0.iter_mut().zip(id.to_be_bytes()) {
        *at = hex(byte);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_empty_objects_taken_back() {
        let mut body = Body::default();
        let mut json = Json::new(&mut body, 4);
        json.open(b'{');
        json.text_member("none", b"");
        json.text_member("a", "xyz\u{e4}".as_bytes());
        let empty = json.begin("empty");
        json.end_unless_empty(empty);
        let full = json.begin("full");
        json.truth_member("yes", true);
        json.hex_member("id", 0x0123_4567_89ab_cdef);
        json.end_unless_empty(full);
        json.name_of("otel.", b"q\"");
        json.open(b'[');
        json.number(i64::MIN);
        for number in [1.5, f64::MIN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            json.float(number);
        }
        json.close(b']');
        for (name, time) in [("s", 1_700_000_000_500_000_000), ("t", 1), ("u", 5_000_000_000), ("v", u64::MAX)] {
            json.seconds_member(name, time);
        }
        json.trace_id_member(&std::array::from_fn(|index| index as u8 * 17));
        json.close(b'}');
        insta::assert_snapshot!(String::from_utf8_lossy(body.as_slice()), @r#"{"a":"xyz","full":{"yes":true,"id":"0123456789abcdef"},"otel.q\"":[-9223372036854775808,1.5,-1.7976931348623157e+308,"NaN","Infinity","-Infinity"],"s":1700000000.5,"t":0.000000001,"u":5.0,"v":18446744073.709551615,"trace_id":"1-00112233-445566778899aabbccddeeff"}"#);
    }

    #[test]
    fn text_is_cut_between_characters() {
        let text = "a\u{e4}\u{20ac}\u{1f600}z".as_bytes();
        let lengths: Vec<usize> = (0..=text.len()).map(|max| cut(text, max).len()).collect();
        assert_eq!(lengths, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11]);
        // What is no text is cut near the place.
        assert!(cut(&[0x80; 10], 5).len() <= 5);
    }
}
