//! Members of a JSON object, found in one pass.
//!
//! Promises: any bytes are read without a panic; nothing behind [`BYTES_MAX`] is looked at; what is given is a piece of the text.
//! Never: builds a tree, or nests deeper than eight objects.

/// Bytes of a line in which members are looked for.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// Objects within objects that a name with dots leads into.
const DEPTH_MAX: usize = 8;

/// Finds the members called `names` in the object that `text` is, and puts where their values stand into `found`, a place for each. `a.b` is the
/// member of that name, else `b` of the object `a`. The first of a name counts. What stands before a mistake is found.
pub(super) fn find(text: &[u8], names: &[Box<str>], found: &mut Vec<Option<(usize, usize)>>) {
    found.clear();
    found.resize(names.len(), None);
    let mut scanner = Scanner { text: &text[..text.len().min(BYTES_MAX)], at: 0 };
    scanner.blanks();
    // What is wrong ends the search, and nothing else.
    let _ = scanner.object(&mut Vec::new(), names, found);
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Goes through the object that begins here. `outer` is the name of each object around it.
    fn object(
        &mut self,
        outer: &mut Vec<&'a [u8]>,
        names: &[Box<str>],
        found: &mut [Option<(usize, usize)>],
    ) -> Option<()> {
        self.expect(b'{')?;
        self.blanks();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.text_here()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            outer.push(key);
            let start = self.at;
            let leads_on = |name: &str| is_path(name, outer, true);
            if self.peek()? == b'{' && outer.len() <= DEPTH_MAX && names.iter().any(|name| leads_on(name)) {
                self.object(outer, names, found)?;
            } else {
                self.skip()?;
            }
            for (name, place) in names.iter().zip(&mut *found) {
                if place.is_none() && is_path(name, outer, false) {
                    *place = Some((start, self.at));
                }
            }
            outer.pop();
            self.blanks();
            match self.next()? {
                b',' => self.blanks(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// What stands between the quotes here.
    fn text_here(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Some(&self.text[start..self.at - 1]);
            }
            self.at += 2;
        }
    }

    /// Goes behind the value that begins here.
    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.text_here().map(drop),
            b'{' | b'[' => {
                let mut depth = 0_usize;
                loop {
                    let place = self.text.get(self.at..)?.iter().position(|byte| b"\"{}[]".contains(byte))?;
                    self.at += place;
                    match self.text[self.at] {
                        b'"' => {
                            self.text_here()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        _ => depth -= 1,
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let length = self.text[self.at..].iter().position(is_end)?;
                self.at += length;
                (length > 0).then_some(())
            }
        }
    }

    fn blanks(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

/// True if `name` is `steps` with dots between, or, if it `goes_on`, begins so.
fn is_path(name: &str, steps: &[&[u8]], goes_on: bool) -> bool {
    let mut rest = name.as_bytes();
    for (place, step) in steps.iter().enumerate() {
        if place > 0 {
            let Some(behind) = rest.strip_prefix(b".") else { return false };
            rest = behind;
        }
        let Some(behind) = rest.strip_prefix(*step) else { return false };
        rest = behind;
    }
    if goes_on { rest.first() == Some(&b'.') } else { rest.is_empty() }
}

/// The text that the JSON `value` stands for; of a number and the like, what is written.
pub(super) fn plain(value: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    use std::borrow::Cow;
    match value.first()? {
        b'"' => {
            let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            if memchr::memchr(b'\\', inner).is_none() {
                return Some(Cow::Borrowed(inner));
            }
            serde_json::from_slice::<String>(value).ok().map(|text| Cow::Owned(text.into_bytes()))
        }
        // `null` says that there is nothing; lists and objects are no text that anybody compares.
        b'n' | b'[' | b'{' => None,
        _ => Some(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'t>(text: &'t str, names: &[&str]) -> Vec<Option<&'t str>> {
        let names: Vec<Box<str>> = names.iter().map(|name| Box::from(*name)).collect();
        let mut found = Vec::new();
        find(text.as_bytes(), &names, &mut found);
        found.into_iter().map(|place| place.map(|(start, end)| &text[start..end])).collect()
    }

    #[test]
    fn members_are_found_by_their_names() {
        for (text, name, value) in [
            (r#"{"a":1,"b":"x"}"#, "b", Some("\"x\"")),
            (r#" { "a" : [1,{"b":2}] , "b" : true } "#, "b", Some("true")),
            (r#"{"b":1,"b":2}"#, "b", Some("1")),
            (r#"{"a":{"b":{"c":-1.5e3}}}"#, "a.b.c", Some("-1.5e3")),
            (r#"{"a":{"b":3},"a.b":2}"#, "a.b", Some("3")),
            (r#"{"a.b":2,"a":{"b":3}}"#, "a.b", Some("2")),
            (r#"{"a":{"b":3}}"#, "a", Some(r#"{"b":3}"#)),
            (r#"{"a":{"b":3}}"#, "b", None),
            (r#"{"x":"\"b\":1","b":2}"#, "b", Some("2")),
            (r#"{"x":"}\\","b":2}"#, "b", Some("2")),
            (r#"{"x":[[[["]"]]]],"b":2}"#, "b", Some("2")),
            (r#"{"b":2"#, "b", None),
            (r#"{"b":2,"#, "b", Some("2")),
            (r#"{"b":"2"#, "b", None),
            (r#"{"b""#, "b", None),
            (r#"{"b\"#, "b", None),
            (r#"{"a":[}"#, "b", None),
            ("{}", "b", None),
            ("{", "b", None),
            ("", "b", None),
            ("b", "b", None),
            (r#"["b",1]"#, "b", None),
            (r#"{"a" 1,"b":2}"#, "b", None),
            (r#"{"a":,"b":2}"#, "b", None),
        ] {
            assert_eq!(values(text, &[name]), [value], "{text}");
        }
        assert_eq!(values(r#"{"a":1,"b":2}"#, &["b", "c", "a"]), [Some("2"), None, Some("1")]);
    }

    #[test]
    fn a_line_costs_no_more_than_its_beginning() {
        let text = format!("{{\"x\":\"{}\",\"b\":1}}", "y".repeat(BYTES_MAX));
        assert_eq!(values(&text, &["b"]), [None]);
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert_eq!(values(&deep, &["a.a.a.a.a.a.a.a.a.a.a.a"]), [None]);
    }

    #[test]
    fn texts_are_what_they_mean() {
        for (value, text) in [
            ("\"a\"", Some("a")),
            (r#""a\"\u00e4""#, Some("a\"\u{e4}")),
            (r#""\ud800""#, None),
            ("12", Some("12")),
            ("true", Some("true")),
            ("null", None),
            ("[1]", None),
            ("", None),
            ("\"", None),
        ] {
            assert_eq!(plain(value.as_bytes()).as_deref(), text.map(str::as_bytes), "{value}");
        }
    }

    proptest! {
        #[test]
        fn property_no_bytes_make_it_panic(text in prop::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'"'), Just(b'\\'), Just(b':'), Just(b','), Just(b'['), Just(b'a'), Just(b' '), any::<u8>()
        ], 0..60)) {
            let mut found = Vec::new();
            find(&text, &["a".into(), "a.a".into()], &mut found);
            for (start, end) in found.into_iter().flatten() {
                prop_assert!(start < end && end <= text.len());
            }
        }

        /// What serde reads as an object has the values that serde finds.
        #[test]
        fn property_values_are_those_of_a_parser(
            members in prop::collection::vec(("[a-c]{1,2}", prop_oneof![
                any::<i64>().prop_map(|n| n.to_string()),
                ".{0,8}".prop_map(|text| serde_json::to_string(&text).expect("JSON")),
                Just("[1,\"}\",{}]".to_owned()),
                Just("{\"a\":[]}".to_owned()),
            ]), 0..6),
        ) {
            let text = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(" , ");
            let text = format!("{{{text}}}");
            for name in ["a", "b", "cc"] {
                let expected = members.iter().find(|(own, _)| own == name).map(|(_, value)| &**value);
                prop_assert_eq!(values(&text, &[name]), vec![expected]);
            }
        }
    }
}
