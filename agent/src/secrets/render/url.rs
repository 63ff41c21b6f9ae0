//! A URL with members in it.
//!
//! ```text
//! {name}      the member, percent-encoded: all but letters, digits and - . _ ~ (RFC 3986, unreserved)
//! {{ and }}   the braces themselves
//! ```
//!
//! Promises: a member cannot end its part of the URL, whatever it holds.
//! Never: ends with a line break.

use super::{What, buffer::Buffer, document::Members};

/// A piece of a pattern.
enum Piece<'a> {
    Text(&'a str),
    Member(&'a str),
}

/// Writes the URL.
pub(super) fn write(pattern: &str, members: &Members<'_>, out: &mut Buffer) -> Result<(), What> {
    for piece in pieces(pattern) {
        match piece? {
            Piece::Text(text) => out.push(text),
            Piece::Member(name) => encode(&members.wanted(name)?, out),
        }
    }
    Ok(())
}

/// Whether the pattern can be read.
pub(super) fn check(pattern: &str) -> Result<(), What> {
    pieces(pattern).try_for_each(|piece| piece.map(drop))
}

/// Percent-encodes.
pub(super) fn encode(text: &str, out: &mut Buffer) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push_char(char::from(byte)),
            _ => out.push(&format!("%{byte:02X}")),
        }
    }
}

fn pieces(pattern: &str) -> impl Iterator<Item = Result<Piece<'_>, What>> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (piece, length) = match first {
            '{' if rest.starts_with("{{") => (Ok(Piece::Text("{")), 2),
            '}' if rest.starts_with("}}") => (Ok(Piece::Text("}")), 2),
            '{' => match rest.find('}') {
                Some(end) => (Ok(Piece::Member(&rest[1..end])), end + 1),
                None => (Err(What::Brace { brace: '{' }), rest.len()),
            },
            '}' => (Err(What::Brace { brace: '}' }), rest.len()),
            _ => {
                let end = rest.find(['{', '}']).unwrap_or(rest.len());
                (Ok(Piece::Text(&rest[..end])), end)
            }
        };
        rest = &rest[length..];
        Some(piece)
    })
}
