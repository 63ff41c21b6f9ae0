//! Base64 (RFC 4648), which gRPC and JSON have for bytes.
//!
//! Promises: takes both alphabets, with padding or without; writes the usual one, with padding if it is wanted.
//! Never: passes over a character that is none, or a length that no bytes have.

/// `bytes` as text, filled up with `=` to a multiple of four if it is `padded`.
pub(crate) fn encoded(bytes: &[u8], padded: bool) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0_u32, |group, (place, &byte)| group | u32::from(byte) << (16 - 8 * place));
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * digit)) as usize & 63]));
        }
        if padded {
            text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
    }
    text
}

/// The bytes of `text`. `None` if it is something else.
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    if end % 4 == 1 || text.len() - end > 2 {
        return None;
    }
    let (mut out, mut bits, mut group) = (Vec::with_capacity(end * 3 / 4), 0, 0_u32);
    for &byte in &text[..end] {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("\u{7fe}>", "374+"),
        ] {
            assert_eq!(encoded(bytes.as_bytes(), false), expected);
            let padded = format!("{expected}{}", "=".repeat((4 - expected.len() % 4) % 4));
            assert_eq!(encoded(bytes.as_bytes(), true), padded);
            for text in [expected, &padded, &expected.replace('+', "-").replace('/', "_")] {
                assert_eq!(decoded(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
            }
        }
        for wrong in ["Z", "Zm9vY", "Zg===", "Zg!", "Z g", "Zm=v", "\u{fc}"] {
            assert_eq!(decoded(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
