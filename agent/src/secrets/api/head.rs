//! The head of a plain `GET`, read in place: what the known clients of AWS's agents send.
//!
//! ```text
//! GET /path?query HTTP/1.1 CRLF  (name: value CRLF)*  CRLF        whole, in one buffer, at most 24 headers
//! ```
//!
//! A strict subset of what hyper reads. Of names, values and the path just those bytes are taken of which nobody has another
//! opinion; each header that says where a request ends, what happens to its connection, or that the answer is to be another one
//! makes the head one that is not plain. `checks/secret_get.rs` holds this against hyper's own parser.
//!
//! Promises: what is plain here is to hyper the same request, of the same length; a head that is not whole is never plain.
//! Never: allocates; decides who may ask.

use http::{
    HeaderName, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, IF_NONE_MATCH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use memchr::memchr;

use crate::net::caller;

/// Headers of a plain head. Clients send 3 to 9, and tracing adds 4.
const HEADERS_MAX: usize = 24;
/// With one of these a request may have a body, its connection may end or become another, or its answer depends on what the
/// caller has.
static NOT_PLAIN: [HeaderName; 7] = [TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT, UPGRADE, TE, TRAILER, IF_NONE_MATCH];

/// A plain head.
#[derive(Debug)]
pub struct Head<'a> {
    path: &'a str,
    query: &'a str,
    headers: [(&'a str, &'a [u8]); HEADERS_MAX],
    count: usize,
    length: usize,
}

/// The first line of a plain head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Without the query.
    pub path: &'a str,
    /// What stands behind the first `?`.
    pub query: &'a str,
    /// Bytes up to where the headers begin.
    pub length: usize,
}

/// Reads the first line of `bytes`, if it is one of a plain head.
pub fn target(bytes: &[u8]) -> Option<Target<'_>> {
    let (first, rest) = line(bytes)?;
    let target = first.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    if target.first() != Some(&b'/') || !all(target, is_in_targets) {
        return None;
    }
    let target = std::str::from_utf8(target).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Target { path, query, length: bytes.len() - rest.len() })
}

/// Reads the head at the beginning of `bytes`, if it is whole and plain.
pub fn read(bytes: &[u8]) -> Option<Head<'_>> {
    let Target { path, query, length } = target(bytes)?;
    let mut rest = &bytes[length..];
    let mut head = Head { path, query, headers: [("", b""); HEADERS_MAX], count: 0, length: 0 };
    loop {
        let (header, after) = line(rest)?;
        rest = after;
        if header.is_empty() {
            head.length = bytes.len() - rest.len();
            return Some(head);
        }
        *head.headers.get_mut(head.count)? = field(header)?;
        head.count += 1;
    }
}

impl<'a> Head<'a> {
    /// Without the query.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the first `?`.
    pub fn query(&self) -> &'a str {
        self.query
    }

    /// Names as they are spelled, and values without the spaces around them.
    pub fn headers(&self) -> &[(&'a str, &'a [u8])] {
        &self.headers[..self.count]
    }

    /// Bytes up to where the next request begins.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl caller::Head for Head<'_> {
    fn is_whole_url(&self) -> bool {
        false
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let named = |(other, _): &&(&str, &[u8])| other.eq_ignore_ascii_case(name.as_str());
        self.headers().iter().filter(named).map(|(_, value)| *value)
    }
}

/// The first line without its end, and what follows. `None` if it does not end, or not with CRLF.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', bytes)?;
    Some((bytes[..end].strip_suffix(b"\r")?, &bytes[end + 1..]))
}

/// A header that changes nothing of how a request is read and answered.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = memchr(b':', line)?;
    let (name, mut value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !all(name, is_in_names) || !all(value, |byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return None;
    }
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let name = std::str::from_utf8(name).ok()?;
    let is = |other: &HeaderName| name.eq_ignore_ascii_case(other.as_str());
    let is_plain = if is(&CONNECTION) { value.eq_ignore_ascii_case(b"keep-alive") } else { !NOT_PLAIN.iter().any(is) };
    is_plain.then_some((name, value))
}

/// True if all of them are, looked at without a branch for each.
fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & is(*byte))
}

/// What names, ARNs and parameters are made of, and what separates them.
fn is_in_targets(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'?' | b'&' | b'=' | b'%' | b'+' | b',' | b'-'..=b'.' | b':' | b'@' | b'_' | b'!')
}

/// What the standard allows in the name of a header (RFC 9110, `token`).
fn is_in_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
#[path = "head_tests.rs"]
pub(super) mod tests;
