//! Which parts of a secret are looked for in logs, and which would spoil them.
//!
//! A secret is a text, or a document with parts: members of JSON, lines of a dotenv or PEM file, the password in a URL. What is
//! looked for is the parts, because those are what an app prints. What would be found everywhere is not looked for: `true`,
//! `5432`, `postgres`. Chance is no danger: a random text of 8 bytes is found once in twenty million records (measured). Words are,
//! at any length.
//!
//! The first rule that fits decides:
//! 1. numbers, booleans and null of a JSON document: never;
//! 2. shorter than 8 bytes, or only what numbers, dates and addresses are made of: never, whatever the user says;
//! 3. `mask: always`: always;
//! 4. what AWS itself writes beside a password (`host`, `username`, ..): never;
//! 5. lower-case words, or characters of one class only: if it is called a password, a key or the like, and has 10 bytes;
//! 6. 8 to 11 bytes with fewer than two changes of class: if it is called so;
//! 7. everything else: always.
//!
//! Promises: no part of a JSON number is looked for, so that a number stays one.
//! Never: looks at how often something is found: what is found all the time may be an app that prints its password.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{Mask, encode::Text};
use crate::limits::MASK_PIECE_BYTES;

/// The least that is looked for. The shortest value decides what looking costs, and 5 bytes are found by chance.
const BYTES_LEAST: usize = 8;
/// The least that is looked for of what could be a word.
const WORD_BYTES_LEAST: usize = 10;
/// Up to which length a value must be more than a word.
const SHORT_BYTES_MAX: usize = 11;
/// Documents in texts of documents.
const DOCUMENTS_MAX: usize = 3;
/// What is never looked for: what AWS writes beside the password (RDS, Redshift, DocumentDB).
const PLAIN_KEYS: [&str; 8] =
    ["engine", "host", "port", "username", "dbname", "dbinstanceidentifier", "dbclusteridentifier", "masterarn"];
/// What a name has in it that says that its value is secret.
const SECRET_KEYS: [&str; 8] = ["password", "passwd", "passphrase", "pwd", "secret", "token", "key", "credential"];

/// The parts of `value`, which is called `name`, that are looked for.
pub(super) fn parts(name: &str, value: &[u8], mask: Mask) -> Vec<Text> {
    let mut parts = Parts { mask, all: Vec::new() };
    if mask != Mask::Never {
        parts.document(name, value, 0);
    }
    parts.all
}

struct Parts {
    mask: Mask,
    all: Vec<Text>,
}

impl Parts {
    /// The parts of JSON, or of text that is none.
    fn document(&mut self, key: &str, value: &[u8], depth: usize) {
        let trimmed = value.trim_ascii();
        let is_document = matches!(trimmed.first(), Some(b'{' | b'[' | b'"'));
        let before = self.all.len();
        if is_document && depth < DOCUMENTS_MAX {
            let mut reader = serde_json::Deserializer::from_slice(trimmed);
            let read = reader.deserialize_any(Leaves { parts: self, key, depth });
            if read.is_ok() && reader.end().is_ok() {
                return;
            }
            self.all.truncate(before);
        }
        match std::str::from_utf8(trimmed) {
            Ok(text) => self.text(key, text),
            Err(_) => self.value(key, value),
        }
    }

    /// The lines of a text, or what stands in one line.
    fn text(&mut self, key: &str, text: &str) {
        if !text.contains('\n') {
            return self.line(key, text);
        }
        for line in text.lines().map(str::trim) {
            // The lines around a PEM block are the same for everybody, and so are comments.
            if line.starts_with("-----") || line.starts_with('#') {
                continue;
            }
            match named(line) {
                Some((name, value)) => self.line(name, value),
                None => self.line(key, line),
            }
        }
    }

    /// One line: as it is, and the secret parts of a URL or of a connection string.
    fn line(&mut self, key: &str, line: &str) {
        self.value(key, line.as_bytes());
        if let Some(password) = password_of_url(line) {
            self.value("password", password.as_bytes());
            let decoded = unescaped(password);
            if *decoded != *password.as_bytes() {
                self.value("password", &decoded);
            }
        }
        for part in line.split(['?', '&', ';', ' ']) {
            if let Some((name, value)) = named(part)
                && part.len() < line.len()
                && is_secret_key(name)
            {
                self.value(name, value.as_bytes());
            }
        }
    }

    fn value(&mut self, key: &str, value: &[u8]) {
        if is_looked_for(key, value, self.mask) {
            pieces(value).for_each(|piece| self.all.push(Zeroizing::new(piece.to_vec())));
        }
    }
}

/// `value` in pieces, if it is long: a line that is cut by its writer shows less of it, and no pattern is long.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = value.len().div_ceil(MASK_PIECE_BYTES).max(1);
    let mut ends = (1..=count).map(move |piece| value.len() * piece / count);
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut end = ends.next()?;
        // No piece begins in the middle of a letter.
        let between = |at: &usize| value.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
        end = (0..4).map(|back| end - back).find(between).unwrap_or(end);
        let piece = &value[start..end];
        start = end;
        Some(piece)
    })
}

/// `NAME=value` or `name: value`, without `export` and quotes.
fn named(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=').or_else(|| line.split_once(": "))?;
    let name = name.trim().trim_start_matches("export ").trim_matches(['"', '\'']);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let value = value.trim();
    let quoted = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    // What base64 ends with is no assignment.
    (is_name && !value.is_empty() && !value.bytes().all(|byte| byte == b'=')).then(|| (name, quoted.unwrap_or(value)))
}

/// What stands between `:` and `@` of `scheme://user:password@host`.
fn password_of_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().filter(|part| part.contains('@')).unwrap_or(rest);
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// Without percent-encoding.
fn unescaped(text: &str) -> Text {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Zeroizing::new(Vec::with_capacity(bytes.len())), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The rules.
fn is_looked_for(key: &str, value: &[u8], mask: Mask) -> bool {
    if value.len() < BYTES_LEAST || value.iter().all(|byte| is_of_numbers(*byte)) {
        return false;
    }
    if mask == Mask::Always {
        return true;
    }
    if is_plain_key(key) {
        return false;
    }
    let (changes, classes) = classes(value);
    let is_word = classes == 1 || changes < 4 && value.iter().all(|byte| is_of_words(*byte));
    if is_word {
        return is_secret_key(key) && value.len() >= WORD_BYTES_LEAST;
    }
    if value.len() <= SHORT_BYTES_MAX && changes < 2 {
        return is_secret_key(key);
    }
    true
}

/// What numbers, dates and addresses are made of, and lists of them.
fn is_of_numbers(byte: u8) -> bool {
    byte.is_ascii_digit() || b".eE+-,:; /T[]{}\n\t\r".contains(&byte)
}

fn is_of_words(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._/".contains(&byte)
}

fn is_plain_key(key: &str) -> bool {
    PLAIN_KEYS.contains(&key.to_ascii_lowercase().as_str())
}

fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|word| key.contains(word))
}

/// How often the class of characters changes from one to the next, and how many classes there are: capitals, small letters,
/// digits, others.
fn classes(value: &[u8]) -> (usize, u32) {
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => 1u32,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 4,
        _ => 8,
    };
    let changes = value.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    (changes, value.iter().fold(0, |all, &byte| all | class(byte)).count_ones())
}

/// Reads the leaves of JSON. The reader's own copy of a text with escapes is freed and not wiped.
struct Leaves<'p> {
    parts: &'p mut Parts,
    /// The name of the nearest member.
    key: &'p str,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Leaves<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Leaves<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        // Text may hold a document again, as the key files of other clouds do.
        self.parts.document(self.key, text.as_bytes(), self.depth + 1);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { parts, key, depth } = self;
        while list.next_element_seed(Leaves { parts, key, depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<std::borrow::Cow<'_, str>>()? {
            members.next_value_seed(Leaves { parts: self.parts, key: &key, depth: self.depth })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "which_tests.rs"]
mod tests;
