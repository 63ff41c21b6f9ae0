//! JSON text, written once and, for CloudWatch, escaped a second time on the way: JSON inside a JSON string.
//!
//! Cost of a record of four fields (424 B in, 650 B out): one pass over the text in blocks of 16 bytes. A mask tells
//! which bytes need an escape; its bits are walked, nothing is looked at twice. Measured against two passes, byte by
//! byte, this is a third of the cost; wider blocks than SSE2's gain nothing (`docs/performance.md`).
//!
//! Promises: the output is valid JSON whatever the bytes are: text that is not UTF-8 gets U+FFFD for what is broken.
//! Non-ASCII text stays as it is (Fluent Bit writes `\u00e9`; both mean the same).
//! Never: allocates for text that is UTF-8.

use wide::u8x16;

use super::body::Body;

/// Bytes looked at together.
const BLOCK: usize = 16;
/// Two blocks: an unaligned block can be read at any place of the first.
const WINDOW: usize = 2 * BLOCK;

/// Bytes that one byte may become. The longest escape has seven; eight are stored at once.
const LONGEST: usize = 8;

/// What a byte becomes.
#[derive(Clone, Copy)]
struct Escape {
    text: [u8; LONGEST],
    len: u8,
    /// How many of these bytes the second escaping added.
    added: u8,
}

/// How often the text is escaped.
trait Level {
    const TABLE: &'static [Escape; 256];
}

/// Text in JSON.
struct Once;
/// Text in JSON that stands in a JSON string.
struct Twice;

impl Level for Once {
    const TABLE: &'static [Escape; 256] = &ONCE;
}

impl Level for Twice {
    const TABLE: &'static [Escape; 256] = &TWICE;
}

static ONCE: [Escape; 256] = table(false);
static TWICE: [Escape; 256] = table(true);

/// Appends `text` escaped for a place between the quotes of a JSON string.
pub fn once(body: &mut Body, text: &[u8]) {
    escape::<Once>(body, text);
}

/// Appends `text` escaped for a string of a JSON document that itself stands in a JSON string. Returns how many bytes
/// the second escaping added, which limits on the inner document do not count.
pub fn twice(body: &mut Body, text: &[u8]) -> usize {
    escape::<Twice>(body, text)
}

#[inline]
fn escape<L: Level>(body: &mut Body, text: &[u8]) -> usize {
    let mut rest = text;
    let mut added = 0;
    let mut checked = false;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        let (special, high) = classes(block);
        if high != 0 && !checked {
            if std::str::from_utf8(rest).is_err() {
                return added + escape_broken::<L>(body, rest);
            }
            checked = true;
        }
        body.reserve(BLOCK * LONGEST);
        if special == 0 {
            body.put_block(block, BLOCK);
        } else {
            added += walk::<L>(body, &padded(block), special, 0, BLOCK);
        }
        rest = after;
    }
    if rest.is_empty() { added } else { added + escape_tail::<L>(body, text, rest, checked) }
}

/// The `rest` of `text`, shorter than a block.
#[inline]
fn escape_tail<L: Level>(body: &mut Body, text: &[u8], rest: &[u8], checked: bool) -> usize {
    // The last block of the text overlaps what is written already, but is copied in one piece.
    let (window, from) = match text.last_chunk::<BLOCK>() {
        Some(last) => (padded(last), BLOCK - rest.len()),
        None => {
            let mut window = [0; WINDOW];
            window[..rest.len()].copy_from_slice(rest);
            (window, 0)
        }
    };
    let (special, high) = classes(block_at(&window, 0));
    let end = from + rest.len();
    let here = mask_of(end) & !mask_of(from);
    if high & here != 0 && !checked && std::str::from_utf8(rest).is_err() {
        return escape_broken::<L>(body, rest);
    }
    body.reserve(BLOCK * LONGEST);
    walk::<L>(body, &window, special & here, from, end)
}

/// Appends the bytes of `window` from `start` to `end`, of which those in `special` need an escape. The caller has reserved
/// [`LONGEST`] bytes for each.
#[inline]
fn walk<L: Level>(body: &mut Body, window: &[u8; WINDOW], mut special: u16, mut start: usize, end: usize) -> usize {
    let mut added = 0;
    while special != 0 {
        let at = special.trailing_zeros() as usize;
        body.put_block(block_at(window, start), at - start);
        let escape = &L::TABLE[window[at] as usize];
        body.put_block(&escape.text, escape.len as usize);
        added += escape.added as usize;
        start = at + 1;
        special &= special - 1;
    }
    body.put_block(block_at(window, start), end - start);
    added
}

/// Text that is not UTF-8: each broken sequence becomes U+FFFD, the rest stays.
#[cold]
fn escape_broken<L: Level>(body: &mut Body, text: &[u8]) -> usize {
    escape::<L>(body, String::from_utf8_lossy(text).as_bytes())
}

/// The lowest `n` bits.
fn mask_of(n: usize) -> u16 {
    ((1u32 << n) - 1) as u16
}

/// A block with zeros behind it.
#[inline]
fn padded(block: &[u8; BLOCK]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window[..BLOCK].copy_from_slice(block);
    window
}

#[inline]
fn block_at(window: &[u8; WINDOW], at: usize) -> &[u8; BLOCK] {
    window[at..at + BLOCK].try_into().expect("a block's length is a constant")
}

/// Which bytes of the block need an escape (controls, `"`, `\`, DEL), and which are not ASCII; bit 0 is the first byte.
#[inline]
fn classes(block: &[u8; BLOCK]) -> (u16, u16) {
    let bytes = u8x16::new(*block);
    let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    let special = is(b'"') | is(b'\\') | control | is(0x7f);
    (special.to_bitmask() as u16, bytes.to_bitmask() as u16)
}

const fn table(twice: bool) -> [Escape; 256] {
    let mut table = [Escape { text: [0; 8], len: 1, added: 0 }; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = escape_of(byte as u8, twice);
        byte += 1;
    }
    table
}

const fn escape_of(byte: u8, twice: bool) -> Escape {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => 0,
    };
    let (hi, lo) = (HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]);
    let control = byte < 0x20 || byte == 0x7f;
    match (short, control, twice) {
        (0, false, _) => Escape { text: [byte, 0, 0, 0, 0, 0, 0, 0], len: 1, added: 0 },
        (0, true, false) => Escape { text: [b'\\', b'u', b'0', b'0', hi, lo, 0, 0], len: 6, added: 0 },
        (0, true, true) => Escape { text: [b'\\', b'\\', b'u', b'0', b'0', hi, lo, 0], len: 7, added: 1 },
        (short, _, false) => Escape { text: [b'\\', short, 0, 0, 0, 0, 0, 0], len: 2, added: 0 },
        (b'"' | b'\\', _, true) => Escape { text: [b'\\', b'\\', b'\\', short, 0, 0, 0, 0], len: 4, added: 2 },
        (short, _, true) => Escape { text: [b'\\', b'\\', short, 0, 0, 0, 0, 0], len: 3, added: 1 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped_once(text: &[u8]) -> String {
        let mut body = Body::default();
        once(&mut body, text);
        String::from_utf8(body.into_bytes()).expect("JSON is UTF-8")
    }

    fn escaped_twice(text: &[u8]) -> (String, usize) {
        let mut body = Body::default();
        let added = twice(&mut body, text);
        (String::from_utf8(body.into_bytes()).expect("JSON is UTF-8"), added)
    }

    #[test]
    fn escapes_are_those_of_fluent_bit() {
        for (text, expected) in [
            (&b""[..], ""),
            (b"plain text, longer than one block of sixteen", "plain text, longer than one block of sixteen"),
            (b"\"\\\n\r\t\x08\x0c", r#"\"\\\n\r\t\b\f"#),
            (b"\x00\x1f\x7f/", r"\u0000\u001f\u007f/"),
            ("café 世界".as_bytes(), "café 世界"),
            (b"cut \xe4\xb8 here", "cut \u{fffd} here"),
            (b"\xff", "\u{fffd}"),
        ] {
            assert_eq!(escaped_once(text), expected, "{text:?}");
        }
        assert_eq!(escaped_twice(b"a\"b\\c\nd\x01"), (r#"a\\\"b\\\\c\\nd\\u0001"#.to_owned(), 6));
    }

    #[test]
    fn each_byte_is_classified_at_each_place() {
        for byte in 0..=255u8 {
            for place in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[place] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f;
                let expected = (u16::from(special) << place, u16::from(byte >= 0x80) << place);
                assert_eq!(classes(&block), expected, "byte {byte:#x} at {place}");
            }
        }
    }

    proptest! {
        /// serde_json reads back what went in, whatever it was, once and twice, and the count of added bytes is exact.
        #[test]
        fn property_what_is_escaped_is_read_back(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let expected = String::from_utf8_lossy(&text);
            let once = escaped_once(&text);
            let back: String = serde_json::from_str(&format!("\"{once}\"")).expect("valid JSON");
            prop_assert_eq!(&back, &expected);
            let (twice, added) = escaped_twice(&text);
            let inner: String = serde_json::from_str(&format!("\"{twice}\"")).expect("valid JSON");
            prop_assert_eq!(&inner, &once);
            prop_assert_eq!(twice.len() - inner.len(), added);
        }

        #[test]
        fn property_mostly_plain_text_is_read_back(text in "[a-zA-Z0-9 \"\\\\\n\té世]{0,200}") {
            let once = escaped_once(text.as_bytes());
            let back: String = serde_json::from_str(&format!("\"{once}\"")).expect("valid JSON");
            prop_assert_eq!(back, text);
        }
    }
}
