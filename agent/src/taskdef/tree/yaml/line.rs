//! Lines of YAML: where they end, what they begin with, how far text without quotes goes.
//!
//! Promises: looks at each byte of a line a fixed number of times.
//! Never: decides what a line means.

use super::{Reader, What};

const ANCHOR: What = "anchors and aliases are not followed, and CloudFormation takes none; write it out";

/// Which bytes end text without quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Block,
    Flow,
}

impl Reader<'_> {
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// True at the end of a text, of a line, and at white space.
    pub(super) fn is_blank(&self, at: usize) -> bool {
        matches!(self.byte(at), None | Some(b' ' | b'\t' | b'\n' | b'\r'))
    }

    /// How many bytes end a line here.
    pub(super) fn line_end(&self, at: usize) -> Option<usize> {
        match (self.byte(at), self.byte(at + 1)) {
            (Some(b'\n'), _) => Some(1),
            (Some(b'\r'), Some(b'\n')) => Some(2),
            (Some(_) | None, _) => None,
        }
    }

    pub(super) fn at_line_end(&self) -> bool {
        self.place >= self.text.len() || self.line_end(self.place).is_some()
    }

    /// Where the line ends that this place is in, without what ends it.
    pub(super) fn end_of_line(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        if end > at && self.byte(end - 1) == Some(b'\r') && end < self.text.len() { end - 1 } else { end }
    }

    pub(super) fn is_marker(&self, at: usize) -> bool {
        let rest = &self.text[at..];
        (rest.starts_with("---") || rest.starts_with("...")) && self.is_blank(at + 3)
    }

    pub(super) fn is_dash(&self, at: usize) -> bool {
        self.byte(at) == Some(b'-') && self.is_blank(at + 1)
    }

    /// Spaces and a comment, up to the end of the line or the next thing in it.
    pub(super) fn tail(&mut self) -> String {
        let start = self.place;
        while matches!(self.byte(self.place), Some(b' ' | b'\t')) {
            self.place += 1;
        }
        if self.byte(self.place) == Some(b'#') && self.place > start {
            self.place = self.end_of_line(self.place);
        }
        self.text[start..self.place].to_owned()
    }

    /// Where the next line begins to say something, and in which column. We are at the end of a line, or at the very start.
    pub(super) fn content(&mut self) -> Result<Option<(usize, usize)>, What> {
        let mut line = match self.place {
            0 => 0,
            place => match self.line_end(place) {
                Some(length) => place + length,
                None => return Ok(None),
            },
        };
        loop {
            let rest = &self.text[line..];
            let column = rest.len() - rest.trim_start_matches(' ').len();
            let at = line + column;
            let end = self.end_of_line(at);
            let said = &self.text[at..end];
            if said.trim_start_matches('\t').is_empty() || said.starts_with('#') {
                match self.line_end(end) {
                    Some(length) => line = end + length,
                    None => return Ok(None),
                }
                continue;
            }
            let wrong = match said.as_bytes()[0] {
                b'\t' => Some("a tab; in YAML spaces move a line in"),
                b'%' if column == 0 => Some("directives are not read"),
                b'-' | b'.' if column == 0 && self.place > 0 && self.is_marker(at) => {
                    Some("a second document; give one at a time")
                }
                _ => None,
            };
            return match wrong {
                None => Ok(Some((at, column))),
                Some(what) => {
                    self.place = at;
                    Err(what)
                }
            };
        }
    }
}

/// Behind the closing quote.
pub(super) fn quoted_end(text: &str, start: usize, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Whether text without quotes may begin so.
pub(super) fn plain_start(text: &str, at: usize) -> Result<(), What> {
    let bytes = text.as_bytes();
    let blank = |at: usize| matches!(bytes.get(at), None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}'));
    match bytes.get(at) {
        None => Err("ends too early"),
        Some(b'&' | b'*') => Err(ANCHOR),
        Some(b'-' | b'?' | b':') if blank(at + 1) => Err("a value is expected"),
        Some(b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'|' | b'>' | b'!' | b'%' | b'@' | b'`' | b'"' | b'\'') => {
            Err("no value begins so; put it in quotes if it is text")
        }
        Some(_) => Ok(()),
    }
}

/// Where text without quotes ends in its line, and the colon that ends it, if one does.
pub(super) fn plain_end(text: &str, start: usize, style: Style) -> (usize, Option<usize>) {
    let bytes = text.as_bytes();
    let is_bracket = |byte: u8| style == Style::Flow && matches!(byte, b',' | b'[' | b']' | b'{' | b'}');
    let mut end = start;
    for (at, &byte) in bytes.iter().enumerate().skip(start) {
        let next = bytes.get(at + 1).copied().unwrap_or(b'\n');
        match byte {
            b'\n' => break,
            b' ' | b'\t' | b'\r' => {}
            b'#' if at > end => break,
            byte if is_bracket(byte) => break,
            b':' if matches!(next, b' ' | b'\t' | b'\n' | b'\r') || is_bracket(next) => return (end, Some(at)),
            _ => end = at + 1,
        }
    }
    (end, None)
}
