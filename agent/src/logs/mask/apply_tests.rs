//! What may be filled, and that JSON stays JSON.
//!
//! Promises: every place of a run in a text of JSON, as a table and as a property.
//! Never: looks at messages; the tests of the whole do.

use proptest::prelude::*;

use super::*;

fn kept(text: &str, run: Range<usize>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let run = keeping_escapes(&bytes, run);
    bytes[run].fill(MASK);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn escapes_of_json_stay_whole() {
    for (text, run, expected) in [
        (r#""a secret""#, 3..9, r#""a ******""#),
        // The secret is `nabc`, the text a new line and `abc`.
        (r#""x\nabc""#, 3..7, r#""x\n***""#),
        (r#""x\\nabc""#, 4..8, r#""x\\****""#),
        (r#""x\u00e9abc""#, 3..11, r#""x\u00e9***""#),
        (r#""x\u00e9abc""#, 6..11, r#""x\u00e9***""#),
        (r#""x\\u00e9abc""#, 7..12, r#""x\\u00*****""#),
        (r#""uuuu1abc""#, 5..9, r#""uuuu****""#),
        // The secret is `abc\`, the text `abc"`.
        (r#""abc\"""#, 1..5, r#""***\"""#),
        (r#""abc\\""#, 1..6, r#""*****""#),
        (r"abc\", 0..4, "****"),
        (r"\\\", 1..3, r"\\*"),
    ] {
        assert_eq!(kept(text, run), expected, "{text}");
    }
}

proptest! {
    /// Whatever is masked in a text of JSON: it stays one.
    #[test]
    fn property_a_string_of_json_stays_one(letters in "[a-fun0-9\\\\\"\n\u{e9} ]{0,40}", ascii in any::<bool>(), from in 0..80_usize, length in 1..30_usize) {
        let mut text = serde_json::to_string(&letters).expect("JSON");
        if ascii {
            text = text.chars().map(|letter| match letter {
                ' '..='~' => letter.to_string(),
                _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            }).collect();
        }
        // Between the quotation marks, and at letters.
        let inner = 1..text.len() - 1;
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).filter(|at| inner.contains(at)).collect();
        prop_assume!(!starts.is_empty());
        let from = from % starts.len();
        let start = starts[from];
        let end = starts.get(from + length).copied().unwrap_or(inner.end);
        let masked = kept(&text, start..end);
        prop_assert!(serde_json::from_str::<String>(&masked).is_ok(), "{} became {}", text, masked);
    }
}

#[test]
fn each_text_of_a_value_is_told_however_deep() {
    // {"a": ["b", {"c": bin}], 1: ext, "d": nil}
    let bytes = b"\x83\xa1a\x92\xa1b\x81\xa1c\xc4\x02xy\x01\xc7\x03\x05pqr\xa1d\xc0";
    let mut texts = Vec::new();
    each_text(bytes, 100, |text| texts.push(bytes[text.start - 100..text.end - 100].to_vec())).expect("well-formed");
    assert_eq!(texts, [&b"a"[..], b"b", b"c", b"xy", b"pqr", b"d"]);
    assert!(each_text(&bytes[..bytes.len() - 1], 0, |_| {}).is_err());
}
