//! Numbers as expositions write them.
//!
//! Promises: the nearest `f64` of what is written, as Go's `ParseFloat` gives it (0.0.4: hexadecimal and `_` between digits too)
//! or as the grammar of OpenMetrics has it; usual numbers in one pass.
//! Never: takes a number with anything before or behind it.

use super::Format;

/// Digits that certainly fit into the 53 bits of an `f64`.
const DIGITS_EXACT_MAX: usize = 15;
/// Powers of ten that an `f64` holds exactly. A quotient of two exact numbers is rounded once, so that it is the nearest.
const POWERS: [f64; DIGITS_EXACT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The value that `text` writes.
#[inline]
pub(super) fn value(text: &str, format: Format) -> Option<f64> {
    plain(text.as_bytes()).or_else(|| any(text, format))
}

/// The same of bytes, which need not be a text.
#[inline]
pub(super) fn value_of_bytes(bytes: &[u8], format: Format) -> Option<f64> {
    plain(bytes).or_else(|| any(std::str::from_utf8(bytes).ok()?, format))
}

/// The timestamp that `text` writes, in milliseconds: 0.0.4 has whole milliseconds, OpenMetrics seconds.
pub(super) fn timestamp(text: &str, format: Format) -> Option<i64> {
    match format {
        Format::Text => text.parse().ok(),
        Format::OpenMetrics => {
            // What is out of range, 300 million years, becomes the end of the range.
            let seconds = value(text, format).filter(|seconds| seconds.is_finite())?;
            Some((seconds * 1e3).round() as i64)
        }
    }
}

/// Digits, and at most one point among them: nearly every number is like this.
#[inline]
fn plain(text: &[u8]) -> Option<f64> {
    if text.len() > DIGITS_EXACT_MAX + 1 || text.is_empty() {
        return None;
    }
    let (mut digits, mut point) = (0_u64, None);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    match point {
        None if text.len() <= DIGITS_EXACT_MAX => Some(digits as f64),
        None => None,
        Some(_) if text.len() == 1 => None,
        Some(at) => Some(digits as f64 / POWERS[text.len() - at - 1]),
    }
}

fn any(text: &str, format: Format) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match text.parse() {
        // Neither Go nor OpenMetrics knows a sign of what is no number.
        Ok(number) => (!f64::is_nan(number) || unsigned.len() == text.len()).then_some(number),
        Err(_) if format == Format::OpenMetrics => None,
        Err(_) => {
            let magnitude = match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
                Some(digits) => hexadecimal(digits.as_bytes())?,
                None => without_underscores(unsigned)?,
            };
            Some(if text.starts_with('-') { -magnitude } else { magnitude })
        }
    }
}

/// `1_000.5`: each `_` must stand between two digits.
fn without_underscores(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let all_between = memchr::memchr_iter(b'_', bytes).all(|at| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    if !all_between || !bytes.first()?.is_ascii_digit() {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// What stands behind `0x`: digits, perhaps with a point, then `p` and a power of two.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| matches!(byte, b'p' | b'P'))?;
    let (digits, power) = (&text[..end], std::str::from_utf8(&text[end + 1..]).ok()?);
    let (mut mantissa, mut exponent, mut any, mut behind_point) = (0_u64, 0_i64, false, false);
    for (at, &byte) in digits.iter().enumerate() {
        let digit = match byte {
            b'.' if !behind_point => {
                behind_point = true;
                continue;
            }
            b'_' if at == 0 || digits[at - 1] != b'_' => continue,
            _ => char::from(byte).to_digit(16)?,
        };
        any = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if behind_point { 4 } else { 0 };
        } else {
            // What does not fit any more matters for rounding only.
            mantissa |= u64::from(digit != 0);
            exponent += if behind_point { 0 } else { 4 };
        }
    }
    let is_power = power.strip_prefix(['+', '-']).unwrap_or(power).bytes().all(|byte| byte.is_ascii_digit());
    let written: i64 = power.parse().ok().filter(|_| is_power)?;
    let exponent = exponent.saturating_add(written).clamp(-2_000, 2_000) as i32;
    // In two steps, since the smallest power alone is out of range.
    any.then(|| mantissa as f64 * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What both languages, 0.0.4 alone and nobody takes.
    #[test]
    fn numbers_are_what_they_say() {
        for (text, number) in [
            ("0", 0.0),
            ("1", 1.0),
            ("+1", 1.0),
            ("-1", -1.0),
            ("1027", 1027.0),
            ("00012", 12.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("0.1", 0.1),
            ("3.25001", 3.25001),
            ("123456789012345", 123_456_789_012_345.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("9999999999999999", 9_999_999_999_999_999.0),
            ("18446744073709551615", 18_446_744_073_709_551_615.0),
            ("0.000000000000001", 1e-15),
            ("1.7560473e+07", 17_560_473.0),
            ("1e-5", 1e-5),
            ("1E5", 1e5),
            ("4.9e-324", 4.9e-324),
            ("1e400", f64::INFINITY),
            ("Inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
        ] {
            assert_eq!(value(text, Format::Text), Some(number), "{text}");
            assert_eq!(value(text, Format::OpenMetrics), Some(number), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert!(value(text, Format::OpenMetrics).is_some_and(f64::is_nan), "{text}");
        }
        for (text, number) in [
            ("1_000", 1_000.0),
            ("-1_0.5", -10.5),
            ("0x1p-2", 0.25),
            ("0X1.8P1", 3.0),
            ("-0x_fp0", -15.0),
            ("0x1p5000", f64::INFINITY),
            ("0x1p-5000", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x.8p0", 0.5),
            // One more than halfway between two: the last digit decides, though it is far out.
            ("0x10000000000000800000000001p0", 1.2676506002282297e30),
        ] {
            assert_eq!(value(text, Format::Text), Some(number), "{text}");
            assert_eq!(value(text, Format::OpenMetrics), None, "{text}");
        }
        for text in [
            "", "+", "-", ".", "1.2.3", "e5", "1e", "1e+", "--1", "+-1", "1 ", " 1", "1a", "0x", "0x1", "0xp1", "0x1p",
            "0x1p1.5", "0x1p+-1", "0xgp1", "1__0", "_1", "1_", "1_.5", "-_1", "+NaN", "-nan", "Infinit", "١", "1,5",
            "0b1", "0x1__0p1",
        ] {
            assert_eq!(value(text, Format::Text), None, "{text}");
            assert_eq!(value(text, Format::OpenMetrics), None, "{text}");
        }
    }

    #[test]
    fn timestamps_are_milliseconds() {
        for (text, in_text, in_openmetrics) in [
            ("1395066363000", Some(1_395_066_363_000), Some(1_395_066_363_000_000)),
            ("-1", Some(-1), Some(-1_000)),
            ("1520879607.789", None, Some(1_520_879_607_789)),
            ("1.5e9", None, Some(1_500_000_000_000)),
            ("NaN", None, None),
            ("+Inf", None, None),
            ("1e30", None, Some(i64::MAX)),
            ("99999999999999999999", None, Some(i64::MAX)),
            ("", None, None),
            ("x", None, None),
        ] {
            assert_eq!(timestamp(text, Format::Text), in_text, "{text}");
            assert_eq!(timestamp(text, Format::OpenMetrics), in_openmetrics, "{text}");
        }
    }

    proptest! {
        /// The short way gives what the long one does, to the last bit.
        #[test]
        fn property_the_short_way_is_the_nearest_number(text in "[0-9]{0,9}\\.?[0-9]{0,9}") {
            if let Some(number) = plain(text.as_bytes()) {
                prop_assert_eq!(Some(number.to_bits()), text.parse::<f64>().ok().map(f64::to_bits));
            } else {
                prop_assert!(text.len() > DIGITS_EXACT_MAX || text.is_empty() || text == ".");
            }
        }

        #[test]
        fn property_every_number_is_read_as_it_was_written(bits: u64) {
            let number = f64::from_bits(bits);
            for text in [format!("{number}"), format!("{number:e}")] {
                let read = value(&text, Format::OpenMetrics).expect("a number");
                prop_assert!(read == number || read.is_nan() && number.is_nan(), "{}", text);
            }
        }

        #[test]
        fn property_no_text_makes_it_panic(text in "[-+0-9xXpPeE._a-fnNiI]{0,24}|.{0,8}") {
            for format in [Format::Text, Format::OpenMetrics] {
                let _ = (value(&text, format), timestamp(&text, format));
            }
        }
    }
}
