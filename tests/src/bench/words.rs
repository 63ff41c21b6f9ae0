//! Eight bytes at a time, in a plain integer: the vector instructions need `unsafe`, which this workspace forbids.
//!
//! Promises: exact masks: the top bit of each byte that is meant, and no other. About 4 operations for each kind of
//! byte and word.
//! Never: depends on the machine's byte order; byte 0 of the text is the lowest.

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const TOP: u64 = !LOW;

/// The first eight bytes of `text`, if it has as many.
#[inline]
pub fn word(text: &[u8]) -> Option<u64> {
    text.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Marks the bytes that equal `byte`.
#[inline]
pub fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ u64::from_le_bytes([byte; 8]);
    !(((other & LOW) + LOW) | other) & TOP
}

/// Marks the control characters, which are below 0x20.
#[inline]
pub fn control(word: u64) -> u64 {
    !(word | word << 1 | word << 2) & TOP
}

/// The number of the first marked byte of a mask that is not zero.
#[inline]
pub fn first(mask: u64) -> usize {
    mask.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_meant_bytes_are_marked() {
        for byte in 0..=255_u8 {
            for other in [0, b'"', b'\\', b'a', 0x1f, 0x20, 0x7f, 0x80, 0xff] {
                for place in 0..8 {
                    let mut text = [other; 8];
                    text[place] = byte;
                    let word = word(&text).expect("eight bytes");
                    let marked = |mask: u64| text.iter().enumerate().map(move |(at, _)| mask >> (at * 8 + 7) & 1 == 1);
                    assert!(marked(equal(word, b'"')).eq(text.iter().map(|&byte| byte == b'"')), "{text:?}");
                    assert!(marked(equal(word, b'\\')).eq(text.iter().map(|&byte| byte == b'\\')), "{text:?}");
                    assert!(marked(control(word)).eq(text.iter().map(|&byte| byte < 0x20)), "{text:?}");
                    let mask = equal(word, byte);
                    assert_eq!(first(mask), text.iter().position(|&found| found == byte).expect("it is there"));
                    assert_eq!(mask & LOW, 0);
                }
            }
        }
    }
}
