//! Numbers as StatsD's clients write them.
//!
//! Promises: gives what the standard library's reading gives, to the last bit; what is no number, or is not finite, is none.
//! Never: allocates.

/// The powers of ten that an `f64` has exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Digits that a `u64` below 2^53 may have for sure.
const DIGITS_MAX: usize = 15;

/// The number that `text` is. Digits and a point are read here (a whole number below 2^53 and an exact power of ten make one division,
/// which rounds right); all else by the standard library.
#[inline]
pub fn number(text: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return slow(text);
    }
    let (mut mantissa, mut decimals, mut has_point) = (0_u64, 0, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                decimals += usize::from(has_point);
            }
            b'.' if !has_point => has_point = true,
            _ => return slow(text),
        }
    }
    if digits.len() == usize::from(has_point) {
        return None;
    }
    let amount = mantissa as f64 / POWERS[decimals];
    Some(if is_negative { -amount } else { amount })
}

#[cold]
fn slow(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_spellings_are_read_or_refused() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-0.5", Some(-0.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+5", Some(5.0)),
            ("1e3", Some(1_000.0)),
            ("123456789012345678901", Some(123_456_789_012_345_678_901.0)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("", None),
            ("-", None),
            (".", None),
            ("-.", None),
            ("1.2.3", None),
            ("1 ", None),
            ("0x10", None),
            ("1_000", None),
            ("NaN", None),
            ("-inf", None),
            ("1e999", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(number(b"\xff"), None);
        assert_eq!(number(b"-0").map(f64::is_sign_negative), Some(true));
    }

    proptest! {
        #[test]
        fn property_numbers_are_those_of_the_standard_library(text in "[-+]?[0-9]{0,18}\\.?[0-9]{0,18}(e[-+]?[0-9]{1,3})?") {
            let expected = text.parse::<f64>().ok().filter(|number| number.is_finite());
            prop_assert_eq!(number(text.as_bytes()).map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
        }

        #[test]
        fn property_what_was_written_is_read_back(value in any::<f64>()) {
            let expected = value.is_finite().then_some(value.to_bits());
            prop_assert_eq!(number(value.to_string().as_bytes()).map(f64::to_bits), expected);
        }
    }
}
