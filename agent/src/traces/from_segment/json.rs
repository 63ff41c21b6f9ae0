//! JSON read where it lies: each value is a piece of the text, and is looked into when it is asked for.
//!
//! The whole text is found to be JSON once, by serde_json, without a tree and without recursion. After that a value's end is found by its brackets
//! and quotes alone, and nothing can be wrong any more.
//!
//! Promises: whatever the text is, it is a value or it is not JSON; work is linear in what is looked at.
//! Never: copies text that has no escape.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a>(&'a str);

/// Names of members, each with the one that it has outside.
pub(super) type Names = [(&'static str, &'static str)];
/// How many a table may have.
const NAMES_MAX: usize = 8;

/// What stands in brackets, from some place on.
struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Value<'a> {
    /// The value that `text` is, if it is JSON.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(raw.get()))
    }

    /// The text of the value, as it lies there.
    pub(super) fn raw(self) -> &'a str {
        self.0
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_list(self) -> bool {
        self.0.starts_with('[')
    }

    pub(super) fn is_null(self) -> bool {
        self.0.starts_with('n')
    }

    /// True or false, if it is one of these.
    pub(super) fn truth(self) -> Option<bool> {
        match self.0.as_bytes() {
            [b't', ..] => Some(true),
            [b'f', ..] => Some(false),
            _ => None,
        }
    }

    pub(super) fn is_true(self) -> bool {
        self.truth() == Some(true)
    }

    /// Text, if it is some. Half of a pair of surrogates stays the escape that it was.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if inner.as_bytes().contains(&b'\\') {
            serde_json::from_str(self.0).map_or(Cow::Borrowed(inner), Cow::Owned)
        } else {
            Cow::Borrowed(inner)
        })
    }

    /// A number, if it is one.
    pub(super) fn number(self) -> Option<f64> {
        self.0.parse().ok().filter(|_| self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()))
    }

    /// A whole number, also one that was written as text.
    pub(super) fn whole(self) -> Option<i64> {
        self.0.trim_matches('"').parse().ok()
    }

    /// A time in seconds since 1970 as nanoseconds. The decimal is taken as it stands: as a float it would be off by some hundred.
    pub(super) fn nanoseconds(self) -> Option<u64> {
        // More digits than that say nothing that 64 bits can hold.
        const DIGITS_MAX: usize = 64;
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((self.0, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i32>().ok()?;
        let places = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 9;
        let places = usize::try_from(places.max(0)).ok().filter(|&places| places <= DIGITS_MAX)?;
        let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat(b'0'));
        digits.take(places).try_fold(0_u64, |sum, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })
    }

    /// The members of an object; none of anything else.
    pub(super) fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        let mut items = Items::of(self, '{');
        std::iter::from_fn(move || Some((items.next()?.text()?, items.next()?)))
    }

    /// The members with these `names`, found in one pass; the last one of several with one name, as serde and Go take it.
    pub(super) fn pick<const N: usize>(self, names: [&'static str; N]) -> [Option<Value<'a>>; N] {
        let mut picked = [None; N];
        self.pick_into(&names.map(|name| (name, "")), &mut picked);
        picked
    }

    /// The same by a table, without those that are not there.
    pub(super) fn named(self, names: &'static Names) -> impl Iterator<Item = (&'static str, Value<'a>)> {
        let mut picked = [None; NAMES_MAX];
        self.pick_into(names, &mut picked);
        names.iter().zip(picked).filter_map(|((_, outside), value)| Some((*outside, value?)))
    }

    fn pick_into(self, names: &Names, picked: &mut [Option<Value<'a>>]) {
        for (name, value) in self.members() {
            if let Some(place) = names.iter().position(|(known, _)| *known == name) {
                picked[place] = Some(value);
            }
        }
    }

    /// The texts of the members with these `names`; that of one which is none is empty.
    pub(super) fn texts<const N: usize>(self, names: [&'static str; N]) -> [Cow<'a, str>; N] {
        self.pick(names).map(text)
    }

    /// The member `name`.
    pub(super) fn member(self, name: &'static str) -> Option<Value<'a>> {
        let [member] = self.pick([name]);
        member
    }

    /// The elements of a list; none of anything else.
    pub(super) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        Items::of(self, '[')
    }
}

impl<'a> Items<'a> {
    /// What stands in the brackets of `value`, if these are its own.
    fn of(value: Value<'a>, bracket: char) -> Self {
        Self { text: value.0, at: if value.0.starts_with(bracket) { 1 } else { value.0.len() } }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    /// The next value. What parts it from the one before is passed over.
    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let bytes = self.text.as_bytes();
        while let b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' = bytes.get(self.at)? {
            self.at += 1;
        }
        let start = self.at;
        self.at = end_of_value(bytes, start)?;
        self.text.get(start..self.at).map(Value)
    }
}

/// The text that a member is, or none.
pub(super) fn text(member: Option<Value<'_>>) -> Cow<'_, str> {
    member.and_then(Value::text).unwrap_or_default()
}

/// Where the value ends that begins at `start`: behind a text, a bracket's counterpart, or before what parts values.
fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, start);
    loop {
        match text.get(at)? {
            b'"' => at = end_of_text(text, at)?,
            byte => {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                at += 1;
            }
        }
        if depth == 0 && text.get(at).is_none_or(|next| b",:]} \t\r\n".contains(next)) {
            return Some(at);
        }
    }
}

/// Where the text ends whose first quote is at `start`. Eight bytes are looked at together: most texts are too short for a call that looks at more.
fn end_of_text(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let rest = text.get(at..)?;
        match rest.first_chunk::<8>() {
            Some(chunk) => {
                let word = u64::from_le_bytes(*chunk);
                let found = bytes_that_are(b'"', word) | bytes_that_are(b'\\', word);
                at += (found.trailing_zeros() / 8) as usize;
                if found == 0 {
                    continue;
                }
            }
            None => at += rest.iter().position(|byte| b"\"\\".contains(byte))?,
        }
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The highest bit of each byte of `word` that is `byte`. Above the lowest one of them others may be wrong.
fn bytes_that_are(byte: u8, word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zeros = word ^ (ONES * u64::from(byte));
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::parse(text).expect("JSON")
    }

    /// What serde_json reads, by this reader.
    fn tree(value: Value<'_>) -> serde_json::Value {
        if value.is_object() {
            value.members().map(|(name, value)| (name.into_owned(), tree(value))).collect()
        } else if value.is_list() {
            value.elements().map(tree).collect()
        } else if let Some(text) = value.text() {
            text.into()
        } else if let Some(truth) = value.truth() {
            truth.into()
        } else if value.is_null() {
            serde_json::Value::Null
        } else {
            value.number().expect("a number").into()
        }
    }

    #[test]
    fn what_is_no_json_is_no_value() {
        for text in ["", " ", "{", "{]", "[1,]", "{\"a\"}", "nul", "01", "\"\u{1}\"", "{} {}", "\"\\x\"", "T1SCg=="] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
        let deep = "[".repeat(30_000) + &"]".repeat(30_000);
        assert!(Value::parse(&deep).is_some_and(Value::is_list), "nothing is read by recursion");
    }

    #[test]
    fn values_are_found_whatever_stands_around_them() {
        let text = " { \"a\" : [ 1 , \"]\\\"}\" ,{ } , null ] , \"b\\u0062\":-1.5e3,\"b\":{\"c\":[[]],\"c\":true} }\n";
        let expected = serde_json::json!({"a": [1.0, "]\"}", {}, null], "bb": -1500.0, "b": {"c": true}});
        assert_eq!(tree(value(text)), expected);
        assert_eq!(value(text).member("b").and_then(|b| b.member("c")), Some(Value("true")), "the last one counts");
        assert_eq!(value("\"\\ud800 x\"").text().as_deref(), Some("\\ud800 x"));
        assert_eq!((value("\"7\"").whole(), value("-7").whole(), value("7.5").whole()), (Some(7), Some(-7), None));
    }

    #[test]
    fn a_time_is_exact_to_the_nanosecond() {
        for (text, expected) in [
            ("1478293361.271", Some(1_478_293_361_271_000_000)),
            ("1.478293361271E9", Some(1_478_293_361_271_000_000)),
            ("1700000000.123456789123", Some(1_700_000_000_123_456_789)),
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1.7e9", Some(1_700_000_000_000_000_000)),
            ("17000000000e-1", Some(1_700_000_000_000_000_000)),
            ("0", Some(0)),
            ("5e-10", Some(0)),
            ("0e55", None),
            ("1e999999999", None),
            ("1e-999999999", Some(0)),
            ("1e99999999999", None),
            ("18446744073.709551615", Some(u64::MAX)),
            ("18446744073.709551616", None),
            ("-1", None),
            ("\"1700000000\"", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(value(text).nanoseconds(), expected, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(|number| f64::from(number).into()),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::hash_map(".{0,4}", inner, 0..5)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn property_all_that_serde_json_writes_is_read(json in json()) {
            for text in [json.to_string(), serde_json::to_string_pretty(&json).expect("JSON")] {
                prop_assert_eq!(tree(value(&text)), json.clone());
            }
        }

        /// Text that is no JSON never gets here, but nothing would break if it did.
        #[test]
        fn property_whatever_the_text_is_the_end_is_found_or_not(text in "[\\[\\]{}:,\"\\\\a 1ä]{0,60}") {
            let value = Value(&text);
            let found = value.members().count() + value.elements().count();
            prop_assert!(found <= text.len());
            if let Some(json) = Value::parse(&text) {
                prop_assert_eq!(json.raw(), text.trim_matches([' ', '\t', '\r', '\n']));
            }
        }
    }
}
