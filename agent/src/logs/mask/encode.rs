//! A value as programs write it: escaped for JSON, for URLs, for HTML, in base64.
//!
//! Each encoder of a standard library escapes another set of characters, so each is listed here by itself. A value of letters and
//! digits looks the same in all of them but base64, and only what differs is kept.
//!
//! Promises: what an encoder of the lists makes of a text that holds the value has one of these forms in it, whole; for base64
//! that is the part that the neighbours do not change, whatever they are.
//! Never: guesses: what is encoded twice is here only for JSON.

use zeroize::Zeroizing;

/// Text that is wiped.
pub(super) type Text = Zeroizing<Vec<u8>>;

/// Characters beside letters and digits that an encoder of URLs leaves as they are, and what it makes of a space.
const PERCENT: [(&[u8], Space); 11] = [
    // Python `quote(safe="")`, PHP `rawurlencode`, C# `EscapeDataString`.
    (b"-_.~", Space::Percent),
    // Go `QueryEscape`, Python `quote_plus`.
    (b"-_.~", Space::Plus),
    // Python `quote`.
    (b"-_.~/", Space::Percent),
    // JavaScript `encodeURIComponent`.
    (b"-_.~!'()*", Space::Percent),
    // JavaScript `encodeURI`.
    (b"-_.~!'()*;,/?:@&=+$#", Space::Percent),
    // Java `URLEncoder`, HTML forms, JavaScript `URLSearchParams`.
    (b"-_.*", Space::Plus),
    (b"-_.*", Space::Percent),
    // PHP `urlencode`.
    (b"-_.", Space::Plus),
    // Go `PathEscape`.
    (b"-_.~$&+:=@", Space::Percent),
    // Go `UserPassword`.
    (b"-_.~$&+,;=", Space::Percent),
    // JavaScript `new URL(..)`, in user and password.
    (b"-_.~!'()*$&+,%", Space::Percent),
];

/// Encoders of JSON: whether they escape what is not ASCII, which characters they write as `\u00..`, and whether `/` as `\/`.
const JSON: [Json; 6] = [
    // JavaScript, Java (Jackson), Rust, Go without HTML; Python without `ensure_ascii`.
    Json { ascii: false, hidden: b"", slash: false },
    // Python.
    Json { ascii: true, hidden: b"", slash: false },
    // Go.
    Json { ascii: false, hidden: b"<>&", slash: false },
    // PHP.
    Json { ascii: true, hidden: b"", slash: true },
    // PHP with `JSON_UNESCAPED_UNICODE`; Ruby and JavaScript that is put into a page.
    Json { ascii: false, hidden: b"", slash: true },
    // Java (Gson).
    Json { ascii: false, hidden: b"<>&='", slash: false },
];

/// What `"` and `'` are in HTML: JavaScript's libraries, Python, PHP, Go.
const HTML: [(&[u8], &[u8]); 6] = [
    (b"&quot;", b"&#39;"),
    (b"&quot;", b"&#x27;"),
    (b"&quot;", b"&#039;"),
    (b"&#34;", b"&#39;"),
    // Only what must be, in attributes and in text.
    (b"&quot;", b"'"),
    (b"\"", b"'"),
];

#[derive(Clone, Copy)]
enum Space {
    Percent,
    Plus,
}

#[derive(Clone, Copy)]
struct Json {
    ascii: bool,
    hidden: &'static [u8],
    slash: bool,
}

#[derive(Clone, Copy)]
enum Case {
    Upper,
    Lower,
}

/// All forms of `value`, itself first, each once.
pub(super) fn forms(value: &[u8]) -> Vec<Text> {
    let mut forms = vec![Zeroizing::new(value.to_vec())];
    if let Ok(text) = std::str::from_utf8(value) {
        for dialect in JSON {
            let once = dialect.escaped(text);
            let twice = std::str::from_utf8(&once).map(|once| dialect.escaped(once));
            add(&mut forms, once);
            twice.into_iter().for_each(|twice| add(&mut forms, twice));
        }
        for (double, single) in HTML {
            add(&mut forms, html(value, double, single));
        }
        for escaped in [b"".as_slice(), b"'", b"\""] {
            add(&mut forms, quoted(value, escaped));
        }
    } else {
        for case in [Case::Upper, Case::Lower] {
            add(&mut forms, hex(value, case));
        }
    }
    for (left, space) in PERCENT {
        for case in [Case::Upper, Case::Lower] {
            add(&mut forms, percent(value, left, space, case));
        }
    }
    for alignment in 0..3 {
        for alphabet in [STANDARD, URL] {
            let form = base64(value, alignment, alphabet);
            // PHP's JSON.
            if form.contains(&b'/') {
                add(&mut forms, replaced(&form, |byte| if byte == b'/' { b"\\/" } else { b"" }));
            }
            add(&mut forms, form);
        }
    }
    forms
}

/// So few forms that to compare each with each is nothing.
fn add(forms: &mut Vec<Text>, form: Text) {
    if !forms.contains(&form) {
        forms.push(form);
    }
}

impl Json {
    fn escaped(self, text: &str) -> Text {
        let mut out = Vec::with_capacity(2 * text.len());
        for letter in text.chars() {
            match letter {
                '"' => out.extend(b"\\\""),
                '\\' => out.extend(b"\\\\"),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                '\u{8}' => out.extend(b"\\b"),
                '\u{c}' => out.extend(b"\\f"),
                '/' if self.slash => out.extend(b"\\/"),
                '\0'..=' ' | '!'..='~' if letter >= ' ' && !self.hidden.contains(&(letter as u8)) => {
                    out.push(letter as u8);
                }
                '\u{80}'.. if !self.ascii => out.extend(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        out.extend(format!("\\u{unit:04x}").as_bytes());
                    }
                }
            }
        }
        Zeroizing::new(out)
    }
}

/// The text of a string of Python, Ruby, JavaScript or Rust as they print it for developers, between quotes that it need not hold.
fn quoted(value: &[u8], escaped: &[u8]) -> Text {
    let mut out = Vec::with_capacity(2 * value.len());
    for &byte in value {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'\\' => out.extend(b"\\\\"),
            _ if escaped.contains(&byte) => out.extend([b'\\', byte]),
            _ => out.push(byte),
        }
    }
    Zeroizing::new(out)
}

fn html(value: &[u8], double: &'static [u8], single: &'static [u8]) -> Text {
    replaced(value, |byte| match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => double,
        b'\'' => single,
        _ => b"",
    })
}

/// Each byte replaced by what `with` says, unless that is nothing.
fn replaced(value: &[u8], with: impl Fn(u8) -> &'static [u8]) -> Text {
    let mut out = Vec::with_capacity(2 * value.len());
    for &byte in value {
        match with(byte) {
            b"" => out.push(byte),
            text => out.extend(text),
        }
    }
    Zeroizing::new(out)
}

fn percent(value: &[u8], left: &[u8], space: Space, case: Case) -> Text {
    let mut out = Vec::with_capacity(3 * value.len());
    for &byte in value {
        match (byte, space) {
            (b' ', Space::Plus) => out.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || left.contains(&byte) => out.push(byte),
            _ => {
                out.push(b'%');
                out.extend(digits(byte, case));
            }
        }
    }
    Zeroizing::new(out)
}

fn hex(value: &[u8], case: Case) -> Text {
    Zeroizing::new(value.iter().flat_map(|&byte| digits(byte, case)).collect())
}

fn digits(byte: u8, case: Case) -> [u8; 2] {
    let all: &[u8; 16] = match case {
        Case::Upper => b"0123456789ABCDEF",
        Case::Lower => b"0123456789abcdef",
    };
    [all[usize::from(byte >> 4)], all[usize::from(byte & 15)]]
}

const STANDARD: [u8; 2] = *b"+/";
const URL: [u8; 2] = *b"-_";

/// What of the base64 of a text does not depend on what stands before and behind the value, if it begins `alignment` bytes (of
/// three) into the text. The first two or three digits hold bits of what is before it, the last one of what is behind.
fn base64(value: &[u8], alignment: usize, [plus, slash]: [u8; 2]) -> Text {
    let first = [0, 2, 3][alignment];
    let last = 8 * (alignment + value.len()) / 6;
    let at = |place: usize| place.checked_sub(alignment).and_then(|place| value.get(place)).copied().unwrap_or(0);
    let digit = |number: usize| {
        let bit = 6 * number;
        let both = u16::from_be_bytes([at(bit / 8), at(bit / 8 + 1)]);
        match (both >> (10 - bit % 8)) & 63 {
            n @ 0..26 => b'A' + n as u8,
            n @ 26..52 => b'a' + (n - 26) as u8,
            n @ 52..62 => b'0' + (n - 52) as u8,
            62 => plus,
            _ => slash,
        }
    };
    Zeroizing::new((first..last).map(digit).collect())
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
