//! One line after the other.
//!
//! Promises: a line is read by itself, whatever the others are; what it gives borrows from the text; one allocation in its life,
//! for the labels, unless a text has an escape.
//! Never: looks at what lines say together; [`strict`](super::strict) does.

use std::borrow::Cow;

use super::{
    Fault, Format, Label, Limits, Reason,
    family::Kind,
    labels::{self, Quotes, blanks, metric_name, unescaped},
    number,
};

/// Characters in the labels of an exemplar: the most that OpenMetrics allows.
const EXEMPLAR_CHARACTERS_MAX: usize = 128;

/// A line that says something.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'r, 'a> {
    /// What is said about a family.
    Metadata {
        /// Its name.
        name: Cow<'a, str>,
        /// What is said.
        what: Metadata<'a>,
    },
    /// A number.
    Sample(Sample<'r, 'a>),
    /// `# EOF`.
    End,
}

/// What is said about a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata<'a> {
    /// What it means, for people.
    Help(Cow<'a, str>),
    /// What kind it is of.
    Type(Kind),
    /// In what it is measured.
    Unit(&'a str),
}

/// A number with its name and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'r, 'a> {
    /// The name, as it stands there.
    pub name: Cow<'a, str>,
    /// The labels, in their order.
    pub labels: &'r [Label<'a>],
    /// The labels as they are written, between the braces.
    pub spelling: &'a str,
    /// The number.
    pub value: f64,
    /// When it was so, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// An example of what was counted.
    pub exemplar: Option<Exemplar<'r, 'a>>,
}

/// An example of what was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'r, 'a> {
    /// What leads to it, a trace for example.
    pub labels: &'r [Label<'a>],
    /// Its value.
    pub value: f64,
    /// When it was, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// Reads a text line by line.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The same, if all of it is UTF-8: so it need not be asked line by line.
    text: Option<&'a str>,
    /// The lines that were read.
    line: usize,
    format: Format,
    limits: Limits,
    labels: Vec<Label<'a>>,
    exemplar: Vec<Label<'a>>,
    /// The name of the sample before, which is usually that of the next.
    before: &'a str,
}

/// A sample at a glance: its labels are not taken apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glance<'a> {
    pub(super) name: &'a str,
    pub(super) spelling: &'a str,
    pub(super) value: f64,
}

/// A sample but for its labels, which stand in the reader.
struct Read<'a> {
    name: Cow<'a, str>,
    spelling: &'a str,
    value: f64,
    timestamp_ms: Option<i64>,
    exemplar: Option<ReadExemplar>,
}

/// An exemplar but for its labels.
struct ReadExemplar {
    value: f64,
    timestamp_ms: Option<i64>,
}

impl<'a> Reader<'a> {
    /// Reads `text`.
    pub fn new(text: &'a [u8], format: Format, limits: Limits) -> Self {
        let (rest, text) = (text, std::str::from_utf8(text).ok());
        Self { rest, text, line: 0, format, limits, labels: Vec::new(), exemplar: Vec::new(), before: "" }
    }

    /// Which line was read last, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next line that says something. After an error it goes on with the line behind.
    #[inline]
    pub fn next_line(&mut self) -> Option<Result<Line<'_, 'a>, Fault>> {
        loop {
            match self.raw()? {
                Ok(line) if self.says_nothing(line) => {}
                Ok(line) => return self.read(line),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// The next line as it is, without blanks around it where they mean nothing.
    #[inline]
    pub(super) fn raw(&mut self) -> Option<Result<&'a str, Fault>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = match self.text {
            Some(text) => Ok(&text[..end]),
            None => std::str::from_utf8(&self.rest[..end]),
        };
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.text = self.text.map(|text| text.get(end + 1..).unwrap_or_default());
        self.line += 1;
        Some(match (line, self.format) {
            (Ok(line), Format::Text) => Ok(line.trim_matches([' ', '\t', '\r'])),
            (Ok(line), Format::OpenMetrics) => Ok(line),
            (Err(_), _) => Err(self.fault(Reason::Utf8)),
        })
    }

    /// True of an empty line and of a comment, where they may be.
    fn says_nothing(&self, line: &str) -> bool {
        self.format == Format::Text && (line.is_empty() || line.starts_with('#') && !is_metadata(said(line)))
    }

    /// Reads `line`, which came from [`raw`](Self::raw). `None` if it says nothing.
    #[inline]
    pub(super) fn read(&mut self, line: &'a str) -> Option<Result<Line<'_, 'a>, Fault>> {
        match line.as_bytes().first() {
            Some(b'#') => match self.hash(line) {
                Ok(said) => said.map(Ok),
                Err(reason) => Some(Err(self.fault(reason))),
            },
            None if self.format == Format::Text => None,
            None => Some(Err(self.fault(Reason::Forbidden("an empty line")))),
            Some(_) => match self.sample(line) {
                Ok(read) => Some(Ok(Line::Sample(self.with_labels(read)))),
                Err(reason) => Some(Err(self.fault(reason))),
            },
        }
    }

    /// A sample of 0.0.4 without its labels, if it is written in the usual way: of a line that was read before without a fault.
    #[inline]
    pub(super) fn glance(&mut self, line: &'a str) -> Option<Glance<'a>> {
        let at = self.name_end(line);
        let (name, behind) = line.split_at(at);
        let (spelling, behind) = match behind.as_bytes().first()? {
            // No number has a brace in it, so that the last one ends the labels.
            b'{' => {
                let end = memchr::memrchr(b'}', behind.as_bytes())?;
                (&behind[1..end], &behind[end + 1..])
            }
            b' ' => ("", behind),
            _ => return None,
        };
        let value = behind.strip_prefix(' ')?;
        // What has a timestamp, or blanks where they are not usual, is no number as a whole.
        let value = number::value(value, Format::Text)?;
        if name.is_empty() {
            return None;
        }
        self.before = name;
        Some(Glance { name, spelling, value })
    }

    fn fault(&self, reason: Reason) -> Fault {
        Fault { line: self.line, reason }
    }

    fn with_labels(&self, read: Read<'a>) -> Sample<'_, 'a> {
        let Read { name, spelling, value, timestamp_ms, exemplar } = read;
        let exemplar = exemplar.map(|ReadExemplar { value, timestamp_ms }| Exemplar {
            labels: &self.exemplar,
            value,
            timestamp_ms,
        });
        Sample { name, labels: &self.labels, spelling, value, timestamp_ms, exemplar }
    }

    /// A line that begins with `#`; `None` for a comment.
    fn hash(&mut self, line: &'a str) -> Result<Option<Line<'a, 'a>>, Reason> {
        if self.format == Format::OpenMetrics {
            return match line {
                "# EOF" if self.rest.is_empty() => Ok(Some(Line::End)),
                "# EOF" => Err(Reason::Forbidden("something behind `# EOF`")),
                _ => self.metadata(line.strip_prefix("# ").ok_or(Reason::Metadata)?).map(Some),
            };
        }
        let said = said(line);
        if is_metadata(said) { self.metadata(said).map(Some) } else { Ok(None) }
    }

    /// `TYPE name kind` and the like.
    fn metadata(&self, said: &'a str) -> Result<Line<'a, 'a>, Reason> {
        let (word, rest) = self.split(said).ok_or(Reason::Metadata)?;
        let (name, rest) = self.named(rest)?;
        let what = match word {
            "HELP" => Metadata::Help(self.help(rest)),
            "TYPE" => Metadata::Type(Kind::parse(rest, self.format).ok_or(Reason::Metadata)?),
            "UNIT" if metric_name(rest.as_bytes()) == rest.len() || rest.is_empty() => Metadata::Unit(rest),
            _ => return Err(Reason::Metadata),
        };
        Ok(Line::Metadata { name, what })
    }

    /// The name of a family, and what follows. In 0.0.4 nothing need follow the name of one without help.
    fn named(&self, text: &'a str) -> Result<(Cow<'a, str>, &'a str), Reason> {
        if text.starts_with('"') {
            let mut reader = labels::Reader { line: text, at: 0, format: self.format, limits: self.limits };
            let name = reader.quoted(self.limits.name_bytes)?;
            let rest = self.behind(&text[reader.at..]).filter(|_| !name.is_empty()).ok_or(Reason::Metadata)?;
            return Ok((name, rest));
        }
        let (name, rest) = text.split_at(metric_name(text.as_bytes()));
        match self.behind(rest) {
            Some(_) if name.is_empty() => Err(Reason::Metadata),
            Some(_) if name.len() > self.limits.name_bytes => Err(Reason::TooLong),
            Some(rest) => Ok((Cow::Borrowed(name), rest)),
            None => Err(Reason::Metadata),
        }
    }

    /// What follows the space at the start of `text`.
    fn behind(&self, text: &'a str) -> Option<&'a str> {
        match self.format {
            Format::OpenMetrics => text.strip_prefix(' '),
            Format::Text if text.is_empty() || text.starts_with([' ', '\t']) => {
                Some(text.trim_start_matches([' ', '\t']))
            }
            Format::Text => None,
        }
    }

    /// The first word, and what follows.
    fn split(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let end = text.find([' ', '\t'])?;
        Some((&text[..end], self.behind(&text[end..])?))
    }

    fn help(&self, text: &'a str) -> Cow<'a, str> {
        let quotes = match self.format {
            Format::Text => Quotes::AsTheyAre,
            Format::OpenMetrics => Quotes::Escaped,
        };
        if text.contains('\\') { Cow::Owned(unescaped(text, quotes)) } else { Cow::Borrowed(text) }
    }

    #[inline]
    fn sample(&mut self, line: &'a str) -> Result<Read<'a>, Reason> {
        let bytes = line.as_bytes();
        let mut at = self.name_end(line);
        let name = &line[..at];
        if name.len() > self.limits.name_bytes {
            return Err(Reason::TooLong);
        }
        if self.format == Format::Text {
            at += blanks(&bytes[at..]);
        }
        let (mut quoted, mut spelling) = (None, "");
        if bytes.get(at) == Some(&b'{') {
            let mut set = labels::Reader { line, at: at + 1, format: self.format, limits: self.limits };
            quoted = set.set(&mut self.labels)?;
            spelling = &line[at + 1..set.at - 1];
            at = set.at;
        } else {
            self.labels.clear();
        }
        let name = match (name, quoted) {
            ("", Some(name)) => name,
            ("", None) | (_, Some(_)) => return Err(Reason::Name),
            (name, None) => {
                self.before = name;
                Cow::Borrowed(name)
            }
        };
        let is_bare = at == name.len();
        let (value, at) = self.token(line, at, is_bare).ok_or(Reason::Value)?;
        let value = number::value(value, self.format).ok_or(Reason::Value)?;
        let (timestamp_ms, exemplar) = match bytes.len() - at {
            0 => (None, None),
            _ => self.behind_value(line, at)?,
        };
        Ok(Read { name, spelling, value, timestamp_ms, exemplar })
    }

    /// Where the name at the start of a line ends.
    #[inline]
    fn name_end(&self, line: &str) -> usize {
        let before = self.before.len();
        match line.as_bytes().get(before) {
            Some(b'{' | b' ') if line.as_bytes()[..before] == *self.before.as_bytes() => before,
            _ => metric_name(line.as_bytes()),
        }
    }

    /// The next word behind blanks, and where it ends. In OpenMetrics one space stands before it, in 0.0.4 any blanks, or none
    /// behind a brace.
    #[inline]
    fn token(&self, line: &'a str, at: usize, must_be_apart: bool) -> Option<(&'a str, usize)> {
        let bytes = line.as_bytes();
        let (start, is_end): (usize, fn(&u8) -> bool) = match self.format {
            Format::OpenMetrics => (at + usize::from(*bytes.get(at)? == b' '), |&byte| byte == b' '),
            // Where blanks were skipped before it was looked for a brace, they stand right before.
            Format::Text => (at + blanks(&bytes[at..]), |&byte| matches!(byte, b' ' | b'\t')),
        };
        let is_apart = start > at || self.format == Format::Text && !must_be_apart;
        let length = bytes.get(start..)?.iter().position(is_end).unwrap_or(bytes.len() - start);
        (is_apart && length > 0).then(|| (&line[start..start + length], start + length))
    }

    /// Timestamp and exemplar.
    fn behind_value(&mut self, line: &'a str, mut at: usize) -> Result<(Option<i64>, Option<ReadExemplar>), Reason> {
        let mut timestamp = None;
        if !(self.format == Format::OpenMetrics && line[at..].starts_with(" #")) {
            let (token, end) = self.token(line, at, true).ok_or(Reason::Trailing)?;
            timestamp = Some(number::timestamp(token, self.format).ok_or(Reason::Timestamp)?);
            at = end;
        }
        match &line[at..] {
            "" => Ok((timestamp, None)),
            _ if self.format == Format::Text => Err(Reason::Trailing),
            rest => {
                let labels_at = rest.strip_prefix(" # {").map(|behind| line.len() - behind.len());
                let exemplar = self.read_exemplar(line, labels_at.ok_or(Reason::Exemplar)?)?;
                Ok((timestamp, Some(exemplar)))
            }
        }
    }

    #[cold]
    fn read_exemplar(&mut self, line: &'a str, at: usize) -> Result<ReadExemplar, Reason> {
        let mut set = labels::Reader { line, at, format: self.format, limits: self.limits };
        if set.set(&mut self.exemplar).map_err(|_| Reason::Exemplar)?.is_some() {
            return Err(Reason::Exemplar);
        }
        let at = set.at;
        let characters = |label: &Label<'_>| label.name.chars().count() + label.value.chars().count();
        if self.exemplar.iter().map(characters).sum::<usize>() > EXEMPLAR_CHARACTERS_MAX {
            return Err(Reason::Exemplar);
        }
        let (value, at) = self.token(line, at, true).ok_or(Reason::Exemplar)?;
        let value = number::value(value, self.format).ok_or(Reason::Exemplar)?;
        if at == line.len() {
            return Ok(ReadExemplar { value, timestamp_ms: None });
        }
        let (timestamp, end) = self.token(line, at, true).ok_or(Reason::Exemplar)?;
        let timestamp_ms = Some(number::timestamp(timestamp, self.format).ok_or(Reason::Exemplar)?);
        if end == line.len() { Ok(ReadExemplar { value, timestamp_ms }) } else { Err(Reason::Exemplar) }
    }
}

/// What stands behind the `#`.
fn said(line: &str) -> &str {
    line[1..].trim_start_matches([' ', '\t'])
}

fn is_metadata(said: &str) -> bool {
    let words = ["HELP", "TYPE", "UNIT"];
    words.iter().any(|word| said.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t'])))
}
