//! Finds any of many thousand patterns in a text by looking at every few bytes of it.
//!
//! ```text
//! pattern   ....[window of m bytes].....     chosen where it is rarest; m is at most the shortest pattern
//!                gram gram gram ...          its m - 3 pieces of 4 bytes, each in a bitmap
//! text      |---|---|---|---|---|---|---     looked at every m - 3 bytes only
//! ```
//!
//! Wherever a window stands in the text, exactly one of its grams stands on the grid. A gram that is in the bitmap says at which
//! places of a window it occurs; a window that is known leads to its patterns; a pattern is known by a keyed hash. So the number
//! of patterns costs next to nothing, and their shortest length decides the price: 5 bytes of the grid for a value of 8.
//!
//! A text that is nearly a secret costs what it leads to: a window for each place of a gram, a pattern for each with that window. So
//! forms of a value share a window where they can, or at least its grams at the same places, and such places are looked at in groups
//! ([`near`]).
//!
//! Promises: every occurrence of every pattern is reported, also where they overlap; work is linear in the text, with at most
//! one step for each gram of a window and each pattern with the same window at each place of the grid.
//! Never: keeps the text of a pattern. What it keeps (grams, windows and patterns as keyed numbers) is no text that lies in memory
//! to be found, but who has all of the memory could work it out, as he could read the values that the agent holds.

mod fill;
mod near;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use self::near::Near;
use super::table::{Keyed, Table};

/// Bytes of a gram.
const GRAM: usize = 4;
/// The longest window. A longer one would look at less of the text, but a grid of 29 bytes costs 2 % of a record already.
const WINDOW_MAX: usize = 32;
/// Places of the grid in a piece of text whose bounds are looked at once.
const BLOCK: usize = 4;
/// Values of the byte that says which bit is that of a gram.
const MASKS: usize = 256;
/// Bits of a place in a window.
const PLACE: u32 = WINDOW_MAX as u32 - 1;
/// Bytes between two of the beginnings by which the cut end of a text is compared.
const STEP: usize = 8;

/// A place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Where it begins.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// The number of the secret.
    pub(super) secret: u32,
}

/// The patterns, ready to be looked for.
pub(super) struct Filter {
    stride: usize,
    window: usize,
    longest: usize,
    /// Where a gram is, by the higher bits of its product, and which bit of the word that is, by the lowest eight ([`class`]).
    bits: Box<[u64]>,
    masks: [u64; MASKS],
    key: u64,
    window_keys: [u64; 4],
    pattern_keys: [u64; 2],
    grams: Table<Gram>,
    windows: Table<Window>,
    beginnings: Table<Beginning>,
    /// Hashes of the first 8, 16, 24 .. bytes of each pattern.
    steps: Box<[u16]>,
    /// In the order of their windows.
    patterns: Box<[Known]>,
    hasher: RandomState,
    looks: Looks,
}

/// The number of a gram without its lowest bits, and in these its place in a window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gram(u32);

/// A window. Its patterns begin here, and end where those of the next one begin.
#[derive(Clone, Copy)]
struct Window {
    keyed: u32,
    first: u32,
}

/// The first gram of a pattern.
#[derive(Clone, Copy)]
struct Beginning {
    keyed: u32,
    pattern: u32,
}

/// What is kept of a pattern: first what tells it from others with the same window.
struct Known {
    /// The number of its ends.
    ends: u32,
    /// Where the window stands in it.
    offset: u16,
    /// At most [`MASK_PATTERN_BYTES_MAX`](crate::limits::MASK_PATTERN_BYTES_MAX).
    length: u16,
    hash: u64,
    secret: u32,
    /// Where its steps begin.
    steps: u32,
}

/// How much work was done. Only tests count it.
#[derive(Default)]
struct Looks {
    #[cfg(test)]
    count: std::sync::atomic::AtomicU64,
}

impl Keyed for Gram {
    #[inline]
    fn keyed(self) -> u32 {
        self.0 & !PLACE
    }
}

impl Keyed for Window {
    #[inline]
    fn keyed(self) -> u32 {
        self.keyed
    }
}

impl Keyed for Beginning {
    #[inline]
    fn keyed(self) -> u32 {
        self.keyed
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

impl Filter {
    /// True if there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.bits)
            + self.grams.bytes()
            + self.windows.bytes()
            + self.beginnings.bytes()
            + size_of_val(&*self.steps)
            + size_of_val(&*self.patterns)
    }

    /// Appends every occurrence in `text` to `found`, in no order, until there are [`MASK_FOUND_MAX`](crate::limits::MASK_FOUND_MAX) in it.
    pub(super) fn scan(&self, text: &[u8], found: &mut Vec<Found>) {
        if self.is_empty() {
            return;
        }
        let mut near = Near::new(text, found);
        match self.stride {
            5 => self.scan_by::<5>(&mut near),
            6 => self.scan_by::<6>(&mut near),
            7 => self.scan_by::<7>(&mut near),
            8 => self.scan_by::<8>(&mut near),
            9 => self.scan_by::<9>(&mut near),
            13 => self.scan_by::<13>(&mut near),
            18 => self.scan_by::<18>(&mut near),
            stride => self.scan_each(0, stride, &mut near),
        }
        self.look_at_all(&mut near);
    }

    /// The same for a grid that the compiler knows, so that it need not look where a block ends. The strides are those of the
    /// lengths that secrets have, 8 to 12 bytes and 16, and of longer ones: with these the mark of a cut record, 21 bytes, is the shortest.
    fn scan_by<const STRIDE: usize>(&self, near: &mut Near<'_, '_>) {
        // What does not change is told the compiler here: it cannot know that what is near does not point to it.
        let (bits, masks, key) = (&self.bits[..], &self.masks, self.key);
        let mut at = 0;
        for block in near.text().chunks_exact(BLOCK * STRIDE) {
            for place in 0..BLOCK {
                let start = place * STRIDE;
                let gram = [block[start], block[start + 1], block[start + 2], block[start + 3]];
                let product = product(u32::from_le_bytes(gram), key);
                if may_be_known(bits, masks, product) {
                    self.mark(at + start, keyed(product), near);
                }
            }
            at += BLOCK * STRIDE;
        }
        self.scan_each(at, STRIDE, near);
    }

    /// Looks at every place of the grid from `at` on, one by one.
    fn scan_each(&self, mut at: usize, stride: usize, near: &mut Near<'_, '_>) {
        while at + GRAM <= near.text().len() {
            let product = product(gram(&near.text()[at..]), self.key);
            if may_be_known(&self.bits, &self.masks, product) {
                self.mark(at, keyed(product), near);
            }
            at += stride;
        }
    }

    /// Where the end of `text` begins that could be the beginning of a pattern which was cut, if it has at least 4 bytes. These
    /// are compared, and then eight at a time: what is left is taken for a beginning.
    pub(super) fn cut_at(&self, text: &[u8]) -> Option<usize> {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        (first..(text.len() + 1).saturating_sub(GRAM)).find(|&start| self.begins_a_pattern(&text[start..]))
    }

    /// True if all of `text` could be the beginning of a longer pattern.
    fn begins_a_pattern(&self, text: &[u8]) -> bool {
        let keyed = self.keyed(gram(text));
        let step = text.len() / STEP;
        let mut hash = None;
        self.beginnings.from(keyed).iter().take_while(|beginning| beginning.keyed == keyed).any(|beginning| {
            let pattern = &self.patterns[beginning.pattern as usize];
            let hash = *hash.get_or_insert_with(|| self.step(&text[..step * STEP]));
            usize::from(pattern.length) > text.len()
                && (step == 0 || self.steps[pattern.steps as usize + step - 1] == hash)
        })
    }

    #[inline]
    fn keyed(&self, gram: u32) -> u32 {
        keyed(product(gram, self.key))
    }

    /// A number of the first and the last gram. Most forms of a value share its window and differ in length, so that their ends
    /// stand elsewhere in a text, and this tells them at a tenth of the cost of a hash.
    #[inline]
    fn ends_keyed(&self, text: &[u8]) -> u32 {
        let last = text.last_chunk().map_or(0, |four| u32::from_le_bytes(*four));
        self.keyed(gram(text)) ^ self.keyed(last).rotate_left(16)
    }

    /// A number of a window, which has 8 to 32 bytes: of its eight first and last ones, and of those that are next to these.
    #[inline]
    fn window_keyed(&self, window: &[u8]) -> u32 {
        let [first, last, second, third] = self.window_keys;
        let ends = fold(word(window) ^ first, last_word(window) ^ last);
        let middle = match window.len() {
            ..=16 => 0,
            length => fold(word(&window[8..]) ^ second, last_word(&window[..length - 8]) ^ third),
        };
        ((ends ^ middle) >> 16) as u32
    }

    /// A number of a whole pattern. Who reads logs does not know the keys, so he finds no two texts with the same one.
    fn pattern_keyed(&self, text: &[u8]) -> u64 {
        folded(text, self.pattern_keys)
    }

    fn step(&self, beginning: &[u8]) -> u16 {
        self.hasher.hash_one(beginning) as u16
    }
}

impl Looks {
    #[inline]
    fn one(&self) {
        #[cfg(test)]
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// All that is asked of a gram is asked of this: of 64 bits, since the compiler then sees that the map's bounds are kept.
#[inline]
fn product(gram: u32, key: u64) -> u64 {
    u64::from(gram).wrapping_mul(key)
}

/// The number of a gram: that half of its product in which each bit depends on all of the gram.
#[inline]
fn keyed(product: u64) -> u32 {
    (product >> 32) as u32
}

/// The word of a map of `words`, a power of two of at most 2^20: nothing of what [`PLACE`] takes.
#[inline]
fn word_of(product: u64, words: usize) -> usize {
    (product >> 44) as usize & (words - 1)
}

/// The lowest byte of the product stands for the first one of the gram, since the key is odd. A mask for it is read a third faster than
/// another bit is tested (0.44 and 0.67 ns a place, measured).
#[inline]
fn may_be_known(bits: &[u64], masks: &[u64; MASKS], product: u64) -> bool {
    bits[word_of(product, bits.len())] & masks[usize::from(product as u8)] != 0
}

/// Which bit of a word is that of grams with this first byte. Lower-case letters, of which most text is, have each a bit of its own, so
/// that they are taken for known as seldom as if chance had chosen.
fn class(first: u8) -> u32 {
    let others = if first & 0x60 == 0x60 { 0 } else { 32 };
    u32::from(first & 31) + others
}

/// The first eight bytes. There are eight.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The last eight bytes.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The first four bytes. There are four.
#[inline]
fn gram(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

/// A number of `bytes`, of which there are at least 8, with these keys.
fn folded(bytes: &[u8], [first, second]: [u64; 2]) -> u64 {
    let mut sum = first ^ bytes.len() as u64;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        sum = fold(u64::from_le_bytes(*word) ^ sum, second);
        rest = after;
    }
    // What is left is looked at with what was before it.
    fold(last_word(bytes) ^ sum, second)
}

/// The second one's lowest bit does not count: it is a key, never text.
fn fold(one: u64, other: u64) -> u64 {
    let both = u128::from(one) * u128::from(other | 1);
    (both >> 64) as u64 ^ both as u64
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
