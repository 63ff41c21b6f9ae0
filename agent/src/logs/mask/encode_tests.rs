//! The forms against what real encoders make; `testdata/mask` says which and how.
//!
//! Promises: each row of the table is one of our forms, or the test says which is not.
//! Never: makes the rows itself: programs of other languages did.

use proptest::prelude::*;

use super::*;

fn texts(value: &str) -> Vec<String> {
    forms(value.as_bytes()).into_iter().map(|form| String::from_utf8_lossy(&form).into_owned()).collect()
}

#[test]
fn a_value_of_letters_and_digits_has_few_forms() {
    let texts = texts("abcDEF123456");
    assert_eq!(texts, ["abcDEF123456", "YWJjREVGMTIzNDU2", "FiY0RFRjEyMzQ1N", "hYmNERUYxMjM0NT"]);
}

#[test]
fn each_form_is_there_once() {
    for value in ["p<a>s&s\"w'o/r\\d é%20+~*", "\u{1f511}key\n\u{7f}\u{0}x", "plain words only"] {
        let all = texts(value);
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.len() <= 60, "{}", all.len());
        assert_eq!(all[0], value);
    }
}

#[test]
fn what_is_no_text_has_hex_forms() {
    let all = forms(&[0xff, 0x00, 0xab, b'a', 0x80, 0x81, 0x82, 0x83]);
    for form in [&b"FF00AB6180818283"[..], b"ff00ab6180818283", b"%FF%00%ABa%80%81%82%83"] {
        assert!(all.iter().any(|known| known.as_slice() == form), "{}", String::from_utf8_lossy(form));
    }
}

/// Base64 by the book, to compare with.
fn encoded(bytes: &[u8], alphabet: [u8; 2]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let value = (number >> (18 - 6 * digit)) as usize & 63;
            let all = [b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", &alphabet[..]].concat();
            text.push(char::from(all[value]));
        }
    }
    text
}

proptest! {
    #[test]
    fn property_base64_of_whatever_holds_the_value_holds_a_form(
        before in prop::collection::vec(any::<u8>(), 0..9),
        value in prop::collection::vec(any::<u8>(), 8..40),
        after in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let forms = forms(&value);
        for alphabet in [STANDARD, URL] {
            let text = encoded(&[&before[..], &value, &after].concat(), alphabet);
            let holds = |form: &Text| text.as_bytes().windows(form.len()).any(|part| part == &form[..]);
            prop_assert!(forms.iter().filter(|form| form.len() >= 8).any(holds));
        }
    }
}

/// One row of what real encoders make: who, of which value, what of it alone, and what of a text that holds it.
struct Row {
    by: String,
    value: String,
    encoded: String,
    text: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("../../../testdata/mask/encoded.tsv");
    let unhexed = |hex: &str| {
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        String::from_utf8((0..hex.len()).step_by(2).map(digits).collect()).expect("text")
    };
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let by = fields.next().expect("a name").to_owned();
        let mut next = || unhexed(fields.next().expect("four fields"));
        Row { by, value: next(), encoded: next(), text: next() }
    };
    table.lines().map(row).collect()
}

/// What each program writes is one of our forms, whatever stands around it.
#[test]
fn what_real_encoders_write_is_a_form() {
    let rows = rows();
    let (mut encoders, mut missed) = (std::collections::BTreeSet::new(), Vec::new());
    for Row { by, value, encoded, text } in &rows {
        let forms = texts(value);
        let has = if encoded.is_empty() {
            // Base64: all of it but the digits that hold bits of what is before and behind.
            let least = value.len() * 4 / 3 - 4;
            forms.iter().any(|form| form.len() >= least && text.contains(form.as_str()))
        } else {
            assert!(text.contains(encoded.as_str()), "{by} encodes letter by letter");
            forms.contains(encoded)
        };
        if !has {
            missed.push(format!("{by}: {value}: {encoded}{}", if encoded.is_empty() { text } else { "" }));
        }
        encoders.insert(by);
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), rows.len(), missed.join("\n"));
    assert!(encoders.len() >= 44 && rows.len() >= 1_000, "{} encoders, {} rows", encoders.len(), rows.len());
}
