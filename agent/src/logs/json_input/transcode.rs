//! One JSON object to one msgpack map, in one pass, without a tree between.
//!
//! Promises: fields keep their order, and two of one name both stay; whole numbers stay exact if they fit 64 bits,
//! others become 64-bit floats; half a surrogate pair becomes U+FFFD; text that is not UTF-8 stays as it is.
//! Never: nests deeper than it is told, or writes a value that it has not read completely.

use super::JsonError;
use crate::limits::RECORD_FIELDS_MAX;

/// Appends `json`, one object or array, to `out` as one msgpack map. On an error `out` is as it was.
pub fn transcode(json: &[u8], depth_max: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let before = out.len();
    let mut parser = Parser { input: json, at: 0, depth_left: depth_max, text: Vec::new(), out };
    let result = parser.document();
    if result.is_err() {
        out.truncate(before);
    }
    result
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    depth_left: usize,
    /// The text of a string with escapes.
    text: Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), JsonError> {
        match self.after_space() {
            Some(b'{') => {}
            Some(b'[') => {
                self.out.push(0x81);
                self.write_text(b"msg");
            }
            _ => return Err(JsonError::Malformed),
        }
        self.value()?;
        match self.after_space() {
            None => Ok(()),
            Some(_) => Err(JsonError::Malformed),
        }
    }

    /// The next byte that is not white space. It is not taken.
    fn after_space(&mut self) -> Option<u8> {
        loop {
            match *self.input.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn value(&mut self) -> Result<(), JsonError> {
        match self.after_space().ok_or(JsonError::Malformed)? {
            b'{' => self.container(b'}', 0x80, 0xde),
            b'[' => self.container(b']', 0x90, 0xdc),
            b'"' => self.string(),
            b't' => self.word(b"true", 0xc3),
            b'f' => self.word(b"false", 0xc2),
            b'n' => self.word(b"null", 0xc0),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], marker: u8) -> Result<(), JsonError> {
        if !self.input[self.at..].starts_with(word) {
            return Err(JsonError::Malformed);
        }
        self.at += word.len();
        self.out.push(marker);
        Ok(())
    }

    /// An object or an array. How many elements it has is known at its end only: up to 15 fit the byte kept free for
    /// them, more move what was written by two or four bytes.
    fn container(&mut self, close: u8, small: u8, large: u8) -> Result<(), JsonError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(JsonError::TooDeep)?;
        self.at += 1;
        let head = self.out.len();
        self.out.push(small);
        let mut count: u32 = 0;
        if self.after_space() == Some(close) {
            self.at += 1;
        } else {
            loop {
                if close == b'}' {
                    self.key()?;
                }
                self.value()?;
                count += 1;
                let next = self.after_space();
                self.at += 1;
                match next {
                    Some(b',') => {}
                    Some(byte) if byte == close => break,
                    _ => return Err(JsonError::Malformed),
                }
            }
        }
        if close == b'}' && count as usize > RECORD_FIELDS_MAX {
            return Err(JsonError::TooLong);
        }
        match count {
            0..=15 => self.out[head] = small | count as u8,
            16..=0xffff => {
                self.out[head] = large;
                self.out.splice(head + 1..head + 1, (count as u16).to_be_bytes());
            }
            _ => {
                self.out[head] = large + 1;
                self.out.splice(head + 1..head + 1, count.to_be_bytes());
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.after_space() != Some(b'"') {
            return Err(JsonError::Malformed);
        }
        self.string()?;
        if self.after_space() != Some(b':') {
            return Err(JsonError::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let input = self.input;
        let mut escaped = false;
        loop {
            let rest = &input[self.at..];
            let length = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonError::Malformed)?;
            let (plain, end) = rest.split_at(length);
            self.at += length + 1;
            if end[0] == b'\\' {
                if !std::mem::replace(&mut escaped, true) {
                    self.text.clear();
                }
                self.text.extend_from_slice(plain);
                self.escape()?;
                continue;
            }
            if escaped {
                self.text.extend_from_slice(plain);
                let text = std::mem::take(&mut self.text);
                self.write_text(&text);
                self.text = text;
            } else {
                self.write_text(plain);
            }
            return Ok(());
        }
    }

    /// What stands behind a backslash, to `text`.
    fn escape(&mut self) -> Result<(), JsonError> {
        let byte = *self.input.get(self.at).ok_or(JsonError::Malformed)?;
        self.at += 1;
        let c = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(JsonError::Malformed),
        };
        self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// `XXXX`, or `XXXX\uXXXX` for the two halves of a character above U+FFFF.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        let second = match first {
            0xd800..=0xdbff if self.input[self.at..].starts_with(b"\\u") => {
                let back = self.at;
                self.at += 2;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    // Not the other half: the next escape is a character of its own.
                    self.at = back;
                }
                second
            }
            _ => 0,
        };
        let mut pair = char::decode_utf16([first, second].into_iter().take(if second == 0 { 1 } else { 2 }));
        Ok(pair.next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u16, JsonError> {
        let digits = self.input.get(self.at..self.at + 4).ok_or(JsonError::Malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |number: u16, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or(JsonError::Malformed)?;
            Ok(number << 4 | digit as u16)
        })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let rest = &self.input[self.at..];
        let length =
            rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| JsonError::Malformed)?;
        let whole = well_formed(text.as_bytes()).ok_or(JsonError::Malformed)?;
        self.at += length;
        if whole {
            if let Ok(number) = text.parse::<u64>() {
                rmp::encode::write_uint(&mut *self.out, number).expect("a vector takes all");
                return Ok(());
            }
            if let Ok(number) = text.parse::<i64>() {
                rmp::encode::write_sint(&mut *self.out, number).expect("a vector takes all");
                return Ok(());
            }
        }
        let number: f64 = text.parse().map_err(|_| JsonError::Malformed)?;
        if !number.is_finite() {
            return Err(JsonError::Malformed);
        }
        rmp::encode::write_f64(&mut *self.out, number).expect("a vector takes all");
        Ok(())
    }

    fn write_text(&mut self, text: &[u8]) {
        let length = u32::try_from(text.len()).expect("an object is far below 4 GiB");
        rmp::encode::write_str_len(&mut *self.out, length).expect("a vector takes all");
        self.out.extend_from_slice(text);
    }
}

/// True for a whole number, false for another one, nothing if it is not what RFC 8259 calls a number.
fn well_formed(text: &[u8]) -> Option<bool> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, mut rest) = text.split_at(digits(text));
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return None;
    }
    if rest.is_empty() {
        return Some(true);
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        rest = fraction.get(count..).filter(|_| count > 0)?;
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        let count = digits(exponent);
        rest = exponent.get(count..).filter(|_| count > 0)?;
    }
    rest.is_empty().then_some(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn msgpack(json: &[u8]) -> Result<rmpv::Value, JsonError> {
        let mut out = b"kept".to_vec();
        let result = transcode(json, 64, &mut out);
        assert!(out.starts_with(b"kept"));
        let mut rest = &out[4..];
        match result {
            Ok(()) => {
                let value = rmpv::decode::read_value(&mut rest).expect("msgpack");
                assert!(rest.is_empty());
                Ok(value)
            }
            Err(error) => {
                assert!(rest.is_empty(), "an error leaves nothing behind");
                Err(error)
            }
        }
    }

    #[test]
    fn bytes_are_as_expected() {
        let mut out = Vec::new();
        transcode(br#" {"a":1, "b":[true,null,-1] } "#, 64, &mut out).expect("is JSON");
        assert_eq!(out, [0x82, 0xa1, b'a', 1, 0xa1, b'b', 0x93, 0xc3, 0xc0, 0xff]);
    }

    #[test]
    fn values_keep_what_they_are() {
        for (json, expected) in [
            (r#"{"a":18446744073709551615}"#, r#"{"a": 18446744073709551615}"#),
            (r#"{"a":-9223372036854775808}"#, r#"{"a": -9223372036854775808}"#),
            (r#"{"a":18446744073709551616}"#, r#"{"a": 18446744073709552000}"#),
            (r#"{"a":-0}"#, r#"{"a": 0}"#),
            (r#"{"a":1.50,"b":1e3,"c":-2.5E-1}"#, r#"{"a": 1.5, "b": 1000, "c": -0.25}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a": 1, "a": 2}"#),
            (r#"{"a":{},"b":[]}"#, r#"{"a": {}, "b": []}"#),
            (r#"[1,{"a":"b"}]"#, r#"{"msg": [1, {"a": "b"}]}"#),
            (r#"{"\u00e9\n":"\ud83d\ude00\/\"\\"}"#, r#"{"é\n": "😀/\"\\"}"#),
            (r#"{"half":"\ud83dx\ude00\ud83d\u0041\ud83d"}"#, "{\"half\": \"\u{fffd}x\u{fffd}\u{fffd}A\u{fffd}\"}"),
        ] {
            assert_eq!(msgpack(json.as_bytes()).expect(json).to_string(), expected, "{json}");
        }
    }

    #[test]
    fn containers_of_every_size_get_the_right_head() {
        for count in [0, 1, 15, 16, 17, 65_535, 65_536, 70_000] {
            let list = vec!["0"; count].join(",");
            let value = msgpack(format!("{{\"list\":[{list}],\"end\":[{{}}]}}").as_bytes()).expect("is JSON");
            assert_eq!(value["list"].as_array().map(Vec::len), Some(count));
            assert_eq!(value["end"].as_array().map(Vec::len), Some(1), "what stands behind is not moved away");
        }
        let keys: Vec<String> = (0..300).map(|n| format!("\"k{n}\":{{\"x\":\"{}\"}}", "y".repeat(n))).collect();
        let value = msgpack(format!("{{{}}}", keys.join(",")).as_bytes()).expect("is JSON");
        assert_eq!(value.as_map().map(Vec::len), Some(300));
        assert_eq!(value["k299"]["x"].as_str().map(str::len), Some(299));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in [
            "",
            " ",
            "1",
            "true",
            "\"a\"",
            "{",
            "{]",
            "[}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "[1,]",
            "[1 2]",
            "{a:1}",
            "{'a':1}",
            "{\"a\":1}x",
            "{}{}",
            "{1:2}",
            "{\"a\":tru}",
            "{\"a\":nulll}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":\"\\ud800\\u\"}",
            "{\"a\" 1}",
        ] {
            assert_eq!(msgpack(json.as_bytes()), Err(JsonError::Malformed), "{json}");
        }
        let deep = [&"[".repeat(65)[..], &"]".repeat(65)].concat();
        assert_eq!(msgpack(deep.as_bytes()), Err(JsonError::TooDeep));
        assert!(msgpack(&deep.as_bytes()[1..129]).is_ok());
    }

    #[test]
    fn an_object_has_no_more_keys_than_a_record() {
        for (keys, expected) in [(RECORD_FIELDS_MAX, Ok(())), (RECORD_FIELDS_MAX + 1, Err(JsonError::TooLong))] {
            let json = format!("{{{}}}", vec!["\"\":0"; keys].join(","));
            assert_eq!(transcode(json.as_bytes(), 64, &mut Vec::new()), expected, "{keys}");
        }
    }

    #[test]
    fn text_that_is_not_utf_8_stays_as_it_is() {
        let mut out = Vec::new();
        transcode(b"{\"a\":\"\xff\xc3\"}", 64, &mut out).expect("is taken");
        assert_eq!(out, [0x81, 0xa1, b'a', 0xa2, 0xff, 0xc3]);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f32>().prop_map(|n| f64::from(n).into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 100, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..20)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Agrees with serde_json, compact and pretty.
        #[test]
        fn property_says_what_serde_json_says(value in json()) {
            let document = serde_json::json!({ "value": value });
            for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
                let mut out = Vec::new();
                transcode(text.as_bytes(), 64, &mut out).unwrap();
                let back: serde_json::Value = rmp_serde::from_slice(&out).unwrap();
                prop_assert_eq!(&back, &document);
            }
        }

        /// Refuses what serde_json refuses, except that it takes half surrogate pairs, raw control characters in
        /// strings, and no text that is not an object or array.
        #[test]
        fn property_noise_is_refused_as_by_serde_json(noise in r#"[\{\[][\{\}\[\]",:0-3a-e\\. +\-truefalsn]{0,20}"#) {
            let ours = transcode(noise.as_bytes(), 64, &mut Vec::new()).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&noise).is_ok();
            prop_assert_eq!(ours, theirs, "{}", noise);
        }

        #[test]
        fn property_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for start in [&b""[..], b"{\"a\":", b"[", b"{\"a\":\"\\u"] {
                let _ = transcode(&[start, &bytes].concat(), 64, &mut Vec::new());
            }
        }
    }
}
