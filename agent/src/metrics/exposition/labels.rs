//! What stands between the braces.
//!
//! Promises: labels borrow from the line, unless there is an escape in them; a label stands there once; what is known of a set
//! does not depend on its order.
//! Never: takes more labels, or longer ones, than it is allowed.

use std::{borrow::Cow, hash::BuildHasher};

use foldhash::fast::RandomState;

use super::{Format, Limits, Reason};

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The value. An empty one is as if there were none.
    pub value: Cow<'a, str>,
}

/// What the bytes of a name may be.
const FIRST: u8 = 1;
const LATER: u8 = 2;
const COLON: u8 = 4;
/// By byte: whether it may be the first of a name, a later one, or one of a metric's name alone.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => FIRST | LATER,
            b'0'..=b'9' => LATER,
            b':' => COLON,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// How many bytes at the start of `bytes` are the name of a metric.
#[inline]
pub(super) fn metric_name(bytes: &[u8]) -> usize {
    name(bytes, COLON)
}

/// How many bytes at the start of `bytes` are the name of a label.
#[inline]
fn label_name(bytes: &[u8]) -> usize {
    name(bytes, 0)
}

#[inline]
fn name(bytes: &[u8], more: u8) -> usize {
    match bytes.first() {
        Some(&first) if CLASSES[usize::from(first)] & (FIRST | more) != 0 => {}
        _ => return 0,
    }
    let is_end = |&byte: &u8| CLASSES[usize::from(byte)] & (LATER | more) == 0;
    bytes.iter().position(is_end).unwrap_or(bytes.len())
}

/// How many bytes of blanks there are.
#[inline]
pub(super) fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(bytes.len())
}

/// The labels of one set, read from a line.
pub(super) struct Reader<'a> {
    pub(super) line: &'a str,
    /// Where it reads.
    pub(super) at: usize,
    pub(super) format: Format,
    pub(super) limits: Limits,
}

impl<'a> Reader<'a> {
    /// Reads what stands behind a `{` up to its `}` into `labels`, which is emptied. Gives the metric's name, if it stands among
    /// the labels.
    #[inline]
    pub(super) fn set(&mut self, labels: &mut Vec<Label<'a>>) -> Result<Option<Cow<'a, str>>, Reason> {
        labels.clear();
        let mut metric = None;
        let mut after_comma = false;
        loop {
            self.skip();
            match self.peek() {
                // A comma before the brace is usual in 0.0.4.
                Some(b'}') if !after_comma || self.format == Format::Text => {
                    self.at += 1;
                    return Ok(metric);
                }
                Some(b'"') => {
                    let name = self.quoted(self.limits.name_bytes)?;
                    self.skip();
                    match self.peek() {
                        Some(b'=') if !name.is_empty() => self.value_of(name, labels)?,
                        _ if metric.is_none() && !name.is_empty() => metric = Some(name),
                        _ => return Err(Reason::Labels),
                    }
                }
                _ => {
                    let length = label_name(&self.line.as_bytes()[self.at..]);
                    if length == 0 {
                        return Err(Reason::Labels);
                    }
                    if length > self.limits.name_bytes {
                        return Err(Reason::TooLong);
                    }
                    let name = &self.line[self.at..self.at + length];
                    self.at += length;
                    self.skip();
                    self.value_of(Cow::Borrowed(name), labels)?;
                }
            }
            self.skip();
            after_comma = self.peek() == Some(b',');
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(Reason::Labels),
            }
        }
    }

    /// `="value"`, of which the name was read.
    #[inline]
    fn value_of(&mut self, name: Cow<'a, str>, labels: &mut Vec<Label<'a>>) -> Result<(), Reason> {
        if self.peek() != Some(b'=') {
            return Err(Reason::Labels);
        }
        self.at += 1;
        self.skip();
        if self.peek() != Some(b'"') {
            return Err(Reason::Labels);
        }
        let value = self.quoted(self.limits.value_bytes)?;
        if labels.iter().any(|label| label.name == name) {
            return Err(Reason::LabelTwice);
        }
        if labels.len() >= self.limits.labels {
            return Err(Reason::TooManyLabels);
        }
        labels.push(Label { name, value });
        Ok(())
    }

    /// A text between quotes.
    #[inline]
    pub(super) fn quoted(&mut self, bytes_max: usize) -> Result<Cow<'a, str>, Reason> {
        let start = self.at + 1;
        let rest = &self.line.as_bytes()[start..];
        let end = rest.iter().position(|&byte| byte == b'"' || byte == b'\\').ok_or(Reason::Labels)?;
        if end > bytes_max {
            return Err(Reason::TooLong);
        }
        if rest[end] == b'"' {
            self.at = start + end + 1;
            return Ok(Cow::Borrowed(&self.line[start..start + end]));
        }
        self.escaped(start, bytes_max)
    }

    #[cold]
    fn escaped(&mut self, start: usize, bytes_max: usize) -> Result<Cow<'a, str>, Reason> {
        let bytes = self.line.as_bytes();
        let mut end = start;
        loop {
            end += memchr::memchr2(b'"', b'\\', &bytes[end..]).ok_or(Reason::Labels)?;
            if bytes[end] == b'"' {
                break;
            }
            end += 2;
            if end >= bytes.len() {
                return Err(Reason::Labels);
            }
        }
        if end - start > bytes_max {
            return Err(Reason::TooLong);
        }
        self.at = end + 1;
        Ok(Cow::Owned(unescaped(&self.line[start..end], Quotes::Escaped)))
    }

    /// In 0.0.4 blanks may stand between all parts.
    #[inline]
    fn skip(&mut self) {
        if self.format == Format::Text {
            self.at += blanks(&self.line.as_bytes()[self.at..]);
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }
}

/// Whether `\"` is a quote: in labels, and in the help of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    Escaped,
    AsTheyAre,
}

/// The text that is meant. A backslash before anything that is not to be escaped is a backslash.
pub(super) fn unescaped(text: &str, quotes: Quotes) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let meant = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => Some('\\'),
            Some(b'n') => Some('\n'),
            Some(b'"') if quotes == Quotes::Escaped => Some('"'),
            _ => None,
        };
        out.push(meant.unwrap_or('\\'));
        rest = &rest[at + if meant.is_some() { 2 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

/// The same number for the same labels in any order; `without` is left out. Two sets may have the same by chance, once in 2^64:
/// `state` keeps whoever chooses labels from making two sets look alike.
#[inline]
pub(super) fn fingerprint(labels: &[Label<'_>], without: Option<&str>, state: &RandomState) -> u64 {
    let of = |label: &Label<'_>| state.hash_one((&*label.name, &*label.value));
    let counted = labels.iter().filter(|label| Some(&*label.name) != without && !label.value.is_empty());
    counted.fold(0, |sum, label| sum.wrapping_add(of(label)))
}

/// True if `own` are the same labels as `others` in any order; those of `others` without `without`.
pub(super) fn same(own: &[Label<'_>], others: &[Label<'_>], without: Option<&str>) -> bool {
    let is_said = |label: &&Label<'_>| !label.value.is_empty();
    let counts = |label: &&Label<'_>| is_said(label) && Some(&*label.name) != without;
    let (mut left, mut right) = (own.iter().filter(is_said), others.iter().filter(counts));
    // They nearly always stand in the same order.
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => {}
            _ => break,
        }
    }
    let is_there = |label: &Label<'_>| others.iter().filter(counts).any(|other| other == label);
    let count = own.iter().filter(is_said).count();
    count == others.iter().filter(counts).count() && own.iter().filter(is_said).all(is_there)
}
