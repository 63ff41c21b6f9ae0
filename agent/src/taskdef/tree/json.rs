//! From JSON to the tree.
//!
//! Promises: takes what RFC 8259 takes and nothing else; a mistake has its line and column; no input makes the stack
//! overflow or time run away.
//! Never: takes two members of one name: readers of JSON differ in which of them counts.

use std::collections::BTreeSet;

use super::{Array, Document, Element, Form, Member, Node, Object, Syntax};

/// Bytes of a document. CloudFormation takes templates of 1 MB.
pub const BYTES_MAX: usize = 8 << 20;
/// Nesting of objects and arrays. A task definition has six, a template with functions of CloudFormation twenty.
pub const DEPTH_MAX: usize = 64;

/// Why it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is there, or missing.
    pub what: &'static str,
}

/// Reads a whole document.
pub fn parse(bytes: &[u8]) -> Result<Document, Mistake> {
    let text = text_of(bytes)?;
    let mut reader = Reader { text, place: 0 };
    let read = (|| {
        let before = reader.space();
        let root = reader.value(0)?;
        let after = reader.space();
        if reader.place < text.len() {
            Err("something follows the value")
        } else {
            Ok(Document { before, root, after, syntax: Syntax::Json })
        }
    })();
    read.map_err(|what| mistake(bytes, reader.place, what))
}

/// A document as text.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Mistake> {
    let start = |what| Mistake { line: 1, column: 1, what };
    if bytes.len() > BYTES_MAX {
        return Err(start("is larger than 8 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| mistake(bytes, error.valid_up_to(), "is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(start("begins with a byte order mark; save the file without it"));
    }
    Ok(text)
}

/// What is wrong at a place of a document.
pub(super) fn mistake(bytes: &[u8], place: usize, what: &'static str) -> Mistake {
    let before = &bytes[..place.min(bytes.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    // Bytes that continue a character are not counted.
    let column = before[start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count() + 1;
    Mistake { line, column, what }
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    /// Takes the byte if it is the next one.
    fn next_is(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.place += usize::from(is);
        is
    }

    /// Takes bytes as long as they are like that.
    fn run(&mut self, is: impl Fn(u8) -> bool) -> &str {
        let rest = &self.text.as_bytes()[self.place..];
        let length = rest.iter().position(|&byte| !is(byte)).unwrap_or(rest.len());
        self.place += length;
        &self.text[self.place - length..self.place]
    }

    fn space(&mut self) -> String {
        self.run(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).to_owned()
    }

    fn value(&mut self, depth: usize) -> Result<Node, &'static str> {
        if depth > DEPTH_MAX {
            return Err("is nested deeper than 64");
        }
        match self.peek() {
            Some(b'{') => self.object(depth).map(Node::Object),
            Some(b'[') => self.array(depth).map(Node::Array),
            Some(b'"') => self.string().map(Node::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Node::Bare),
            Some(b'a'..=b'z') => {
                let start = self.place;
                let word = self.run(|byte| byte.is_ascii_alphabetic()).to_owned();
                if matches!(&*word, "true" | "false" | "null") {
                    return Ok(Node::Bare(word));
                }
                self.place = start;
                Err("a value is expected, and this word is none; text stands in double quotes")
            }
            Some(b'\'') => Err("text stands in double quotes"),
            Some(b'#' | b'/') => Err("JSON has no comments"),
            Some(_) => Err("a value is expected"),
            None => Err("ends too early"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, &'static str> {
        self.place += 1;
        let mut before = self.space();
        if self.next_is(b'}') {
            return Ok(Object { members: Vec::new(), inside: before, form: Form::Flow });
        }
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        loop {
            if self.peek() == Some(b'}') {
                return Err("a comma before the end is one too many");
            }
            let start = self.place;
            let key = self.string()?;
            let name: String = serde_json::from_str(&key).map_err(|_| "this name is no text")?;
            if !names.insert(name.clone()) {
                self.place = start;
                return Err("this name is given twice");
            }
            let mut between = self.space();
            if !self.next_is(b':') {
                return Err("a colon is expected");
            }
            between.push(':');
            between.push_str(&self.space());
            let value = self.value(depth + 1)?;
            let after = self.space();
            members.push(Member { before, key, name, between, value, after });
            if self.next_is(b'}') {
                return Ok(Object { members, inside: String::new(), form: Form::Flow });
            }
            if !self.next_is(b',') {
                return Err("a comma or `}` is expected");
            }
            before = self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Array, &'static str> {
        self.place += 1;
        let mut before = self.space();
        if self.next_is(b']') {
            return Ok(Array { elements: Vec::new(), inside: before, form: Form::Flow });
        }
        let mut elements = Vec::new();
        loop {
            if self.peek() == Some(b']') {
                return Err("a comma before the end is one too many");
            }
            let value = self.value(depth + 1)?;
            let after = self.space();
            elements.push(Element { before, value, after });
            if self.next_is(b']') {
                return Ok(Array { elements, inside: String::new(), form: Form::Flow });
            }
            if !self.next_is(b',') {
                return Err("a comma or `]` is expected");
            }
            before = self.space();
        }
    }

    /// A string as it is written, quotes included.
    fn string(&mut self) -> Result<String, &'static str> {
        let start = self.place;
        if !self.next_is(b'"') {
            return Err(if self.peek().is_some() { "a name in double quotes is expected" } else { "ends too early" });
        }
        loop {
            self.run(|byte| byte != b'"' && byte != b'\\' && byte >= b' ');
            match self.peek() {
                Some(b'"') => break,
                // What is escaped is looked at below.
                Some(b'\\') => self.place = (self.place + 2).min(self.text.len()),
                Some(_) => {
                    return Err("a line break or another control character in a text; write it as \\n or \\u00..");
                }
                None => {
                    self.place = start;
                    return Err("this text does not end");
                }
            }
            // A backslash before a character of several bytes is no escape; stay on a boundary for the complaint.
            if !self.text.is_char_boundary(self.place) {
                self.place = start;
                return Err("an escape in this text does not exist");
            }
        }
        self.place += 1;
        let raw = &self.text[start..self.place];
        if raw.contains('\\') && serde_json::from_str::<String>(raw).is_err() {
            self.place = start;
            return Err("an escape in this text does not exist");
        }
        Ok(raw.to_owned())
    }

    fn number(&mut self) -> Result<String, &'static str> {
        let start = self.place;
        let raw = self.run(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).to_owned();
        if is_number(&raw) {
            return Ok(raw);
        }
        self.place = start;
        Err("this number is not written as JSON writes numbers")
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
pub(super) fn is_number(raw: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let raw = raw.strip_prefix('-').unwrap_or(raw);
    let (mantissa, exponent) = match raw.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (raw, None),
    };
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && part.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
