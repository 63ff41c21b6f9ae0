//! The X-Ray daemon's rule for a datagram: a header line, then a document that is nobody's business but X-Ray's.
//!
//! ```text
//! {"format":"json","version":1}\n<document>
//! ```
//!
//! - Everything up to the first newline is the header: one JSON object with `format` (text, `json` in any case) and `version`
//!   (the integer 1), whatever else it has. Names of members are compared without case, the last one counts: the daemon
//!   decodes it so.
//! - What follows is the document, to the end, further newlines included. It may be JSON, or `T1S` and base64.
//! - What SDKs write is recognised by comparing bytes; all else is parsed.
//!
//! Promises: takes what the daemon takes, and refuses what it refuses.
//! Never: looks into the document.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// What SDKs write (Python, Node, Java; Go), by bytes.
const USUAL: [&[u8]; 2] = [b"{\"format\":\"json\",\"version\":1}\n", b"{\"format\": \"json\", \"version\": 1}\n"];
/// Bytes of a header. The longest that a program was seen to write has 34; one of 64 KiB would be parsed for nothing.
const HEADER_BYTES_MAX: usize = 1_024;

/// Why a datagram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There is no newline, so no header.
    NoHeader,
    /// The header is not one that the daemon takes.
    BadHeader,
    /// There is a header and nothing else.
    NoDocument,
}

impl Rejected {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoHeader => "no_header",
            Self::BadHeader => "bad_header",
            Self::NoDocument => "no_document",
        }
    }
}

/// The document in `datagram`.
pub fn document(datagram: &[u8]) -> Result<&[u8], Rejected> {
    let document = match USUAL.iter().find_map(|usual| datagram.strip_prefix(*usual)) {
        Some(document) => document,
        None => {
            let end = memchr::memchr(b'\n', datagram).ok_or(Rejected::NoHeader)?;
            let (header, document) = (&datagram[..end], &datagram[end + 1..]);
            if header.len() > HEADER_BYTES_MAX || !is_good(header) {
                return Err(Rejected::BadHeader);
            }
            document
        }
    };
    if document.is_empty() { Err(Rejected::NoDocument) } else { Ok(document) }
}

fn is_good(header: &[u8]) -> bool {
    serde_json::from_slice::<Header>(header).is_ok_and(|header| header.is_json && header.is_version_1)
}

#[derive(Debug, Default)]
struct Header {
    is_json: bool,
    is_version_1: bool,
}

/// A member's value, of which only text and whole numbers are of interest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    Number(i64),
    #[serde(borrow)]
    Text(std::borrow::Cow<'a, str>),
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    if name.eq_ignore_ascii_case("format") {
                        let value = map.next_value()?;
                        header.is_json = matches!(value, Value::Text(text) if text.eq_ignore_ascii_case("json"));
                    } else if name.eq_ignore_ascii_case("version") {
                        header.is_version_1 = matches!(map.next_value()?, Value::Number(1));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the daemon 3.6 was seen to take and to refuse.
    #[test]
    fn datagrams_are_taken_as_the_daemon_takes_them() {
        for header in [
            r#"{"format":"json","version":1}"#,
            r#"{"format": "json", "version": 1}"#,
            r#"  { "version" : 1 , "format" : "json" }  "#,
            "{\"format\":\"json\",\"version\":1}\r",
            r#"{"format":"JSON","version":1}"#,
            r#"{"format":"Json","version":1,"extra":{"deep":[1,2]}}"#,
            r#"{"Format":"json","VERSION":1}"#,
            r#"{"format":"xml","version":2,"format":"json","version":1}"#,
            r#"{"f\u006frmat":"js\u006fn","version":1}"#,
        ] {
            let datagram = format!("{header}\n{{\"id\":1}}\nmore\n");
            assert_eq!(document(datagram.as_bytes()), Ok(&b"{\"id\":1}\nmore\n"[..]), "{header}");
            assert_eq!(document(format!("{header}\n").as_bytes()), Err(Rejected::NoDocument), "{header}");
            assert_eq!(document(header.as_bytes()), Err(Rejected::NoHeader), "{header}");
        }
        let long = format!(r#"{{"format":"json","version":1,"x":"{}"}}"#, "x".repeat(2_000));
        for header in [
            r#"{"format":"json","version":2}"#,
            r#"{"format":"json","version":20}"#,
            r#"{"format":"json","version":"1"}"#,
            r#"{"format":"json","version":1.0}"#,
            r#"{"format":"xml","version":1}"#,
            r#"{"format":1,"version":1}"#,
            r#"{"version":1}"#,
            r#"{"format":"json"}"#,
            r#"{"format":"json","version":1,"format":"xml"}"#,
            r#"["format","json","version",1]"#,
            r#"{"format":"json","version":1} x"#,
            r#"{"format":"json","version":1"#,
            r#"{"format":"json","version":1}{}"#,
            "{}",
            "",
            "null",
            "\u{feff}{\"format\":\"json\",\"version\":1}",
            &long,
        ] {
            let datagram = format!("{header}\n{{}}");
            assert_eq!(document(datagram.as_bytes()), Err(Rejected::BadHeader), "{header}");
        }
        assert_eq!(document(b""), Err(Rejected::NoHeader));
        assert_eq!(document(b"\xff\xfe\n{}"), Err(Rejected::BadHeader));
        let deep = [&vec![b'['; 60_000][..], b"\n{}"].concat();
        assert_eq!(document(&deep), Err(Rejected::BadHeader));
    }

    proptest! {
        /// Whatever comes is answered, and what is taken is the end of it.
        #[test]
        fn property_a_document_is_what_follows_the_first_newline(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(document) = document(&datagram) {
                let end = datagram.iter().position(|&byte| byte == b'\n').expect("there is a header");
                prop_assert_eq!(document, &datagram[end + 1..]);
            }
        }

        /// The way of comparing bytes and the way of parsing agree.
        #[test]
        fn property_both_ways_agree(usual in 0..2usize, body in prop::collection::vec(any::<u8>(), 1..50)) {
            let quick = [USUAL[usual], &body].concat();
            let parsed = [b" ", USUAL[usual], &body].concat();
            prop_assert_eq!(document(&quick), document(&parsed));
        }
    }
}
