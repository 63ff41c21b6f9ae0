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
//! Promises: every occurrence of every pattern is reported, also where they overlap; work is linear in the text, with at most
//! one step for each gram of a window and each pattern with the same window at each place of the grid.
//! Never: keeps the text of a pattern. What it keeps (grams, windows and patterns as keyed numbers) is no text that lies in memory
//! to be found, but who has all of the memory could work it out, as he could read the values that the agent holds.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
};

use zeroize::Zeroizing;

use super::patterns::Patterns;
use crate::limits::{MASK_FOUND_MAX, MASK_GRAMS_MAX, MASK_PATTERN_BYTES_MAX};

/// Bytes of a gram.
const GRAM: usize = 4;
/// The longest window. A longer one would look at less of the text, but a grid of 29 bytes costs 2 % of a record already.
const WINDOW_MAX: usize = 32;
/// Bits of the bitmap for each gram: what is not in it is taken for known once in a hundred times.
const BITS_PER_GRAM: usize = 64;
/// Places of the grid that are looked at before anybody asks whether one was known.
const BLOCK: usize = 4;
/// Counters by which the rarest window is chosen, a power of two.
const COUNTERS: usize = 1 << 18;
/// What a gram counts more that is found in ordinary text.
const ORDINARY: u64 = 16;
/// Bytes between two of the beginnings by which the cut end of a text is compared.
const STEP: usize = 4;

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
    bits: Box<[u64]>,
    key: u64,
    window_keys: [u64; 2],
    pattern_keys: [u64; 2],
    grams: Index<Gram>,
    windows: Index<Window>,
    beginnings: Index<Beginning>,
    /// Hashes of the first 4, 8, 12 .. bytes of each pattern.
    steps: Box<[u16]>,
    patterns: Box<[Known]>,
    hasher: RandomState,
    looks: Looks,
}

/// A gram and its places in windows, one bit each.
#[derive(Clone, Copy)]
struct Gram {
    keyed: u32,
    places: u32,
}

/// A window and where it stands in which pattern. Of the pattern it has what tells others apart, so that these cost no look at it.
#[derive(Clone, Copy)]
struct Window {
    keyed: u32,
    pattern: u32,
    offset: u16,
    /// The length of the pattern, at most [`MASK_PATTERN_BYTES_MAX`].
    length: u16,
    /// The number of its ends.
    ends: u32,
}

/// The first gram of a pattern.
#[derive(Clone, Copy)]
struct Beginning {
    keyed: u32,
    pattern: u32,
}

/// What is kept of a pattern.
struct Known {
    hash: u64,
    length: u32,
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

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

impl Filter {
    /// A filter for `patterns`, each of at least 8 and at most [`MASK_PATTERN_BYTES_MAX`] bytes. Others are left out; of those that
    /// say the same the first one counts.
    pub(super) fn new(patterns: &Patterns) -> Self {
        let hasher = RandomState::new();
        let mut seen = HashSet::new();
        let mut kept = Vec::with_capacity(patterns.len());
        for (text, secret) in patterns.iter() {
            let hash = hasher.hash_one(text);
            if (2 * GRAM..=MASK_PATTERN_BYTES_MAX).contains(&text.len()) && seen.insert((hash, text.len())) {
                kept.push((text, secret));
            }
        }
        let shortest = kept.iter().map(|(text, _)| text.len()).min().unwrap_or(WINDOW_MAX);
        let room = MASK_GRAMS_MAX / kept.len().max(1) + GRAM - 1;
        let window = shortest.min(WINDOW_MAX).min(room.max(2 * GRAM));
        let random = |seed: u8| hasher.hash_one(seed);
        let mut filter = Self {
            stride: window - GRAM + 1,
            window,
            longest: kept.iter().map(|(text, _)| text.len()).max().unwrap_or(0),
            bits: Box::default(),
            key: random(0) | 1,
            window_keys: [random(1), random(2)],
            pattern_keys: [random(3), random(4)],
            grams: Index::default(),
            windows: Index::default(),
            beginnings: Index::default(),
            steps: Box::default(),
            patterns: Box::default(),
            hasher,
            looks: Looks::default(),
        };
        filter.fill(&kept);
        filter
    }

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

    /// Appends every occurrence in `text` to `found`, in no order, until there are [`MASK_FOUND_MAX`] in it.
    pub(super) fn scan(&self, text: &[u8], found: &mut Vec<Found>) {
        if self.is_empty() {
            return;
        }
        match self.stride {
            5 => self.scan_by::<5>(text, found),
            6 => self.scan_by::<6>(text, found),
            7 => self.scan_by::<7>(text, found),
            8 => self.scan_by::<8>(text, found),
            9 => self.scan_by::<9>(text, found),
            13 => self.scan_by::<13>(text, found),
            29 => self.scan_by::<29>(text, found),
            stride => self.scan_each(text, 0, stride, found),
        }
    }

    /// The same for a grid that the compiler knows, so that it need not look where a block ends. The strides are those of the
    /// lengths that secrets have: 8 to 12 bytes, 16, 32 and more.
    fn scan_by<const STRIDE: usize>(&self, text: &[u8], found: &mut Vec<Found>) {
        // What does not change is told the compiler here: it cannot know that `found` does not point to it.
        let (bits, key) = (&self.bits[..], self.key);
        let mut at = 0;
        for block in text.chunks_exact(BLOCK * STRIDE) {
            let known = (0..BLOCK).fold(0, |known, place| {
                let start = place * STRIDE;
                let gram = [block[start], block[start + 1], block[start + 2], block[start + 3]];
                known | bit(bits, product(u32::from_le_bytes(gram), key))
            });
            if known & 1 != 0 {
                for place in 0..BLOCK {
                    self.look_at(text, at + place * STRIDE, found);
                }
            }
            at += BLOCK * STRIDE;
        }
        self.scan_each(text, at, STRIDE, found);
    }

    /// Looks at every place of the grid from `at` on, one by one.
    fn scan_each(&self, text: &[u8], mut at: usize, stride: usize, found: &mut Vec<Found>) {
        while at + GRAM <= text.len() {
            self.look_at(text, at, found);
            at += stride;
        }
    }

    /// Where the end of `text` begins that could be the beginning of a pattern which was cut, if it has at least 4 bytes. The
    /// last 3 of them are not compared.
    pub(super) fn cut_at(&self, text: &[u8]) -> Option<usize> {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        (first..(text.len() + 1).saturating_sub(GRAM)).find(|&start| self.begins_a_pattern(&text[start..]))
    }

    /// True if all of `text` could be the beginning of a longer pattern.
    fn begins_a_pattern(&self, text: &[u8]) -> bool {
        let keyed = self.keyed(gram(text));
        let step = text.len() / STEP;
        let mut hash = None;
        self.beginnings.of(keyed).any(|beginning| {
            let pattern = &self.patterns[beginning.pattern as usize];
            let hash = *hash.get_or_insert_with(|| self.step(&text[..step * STEP]));
            pattern.length as usize > text.len() && self.steps[pattern.steps as usize + step - 1] == hash
        })
    }

    /// What stands at `at` of the text, if its gram is known.
    #[inline]
    fn look_at(&self, text: &[u8], at: usize, found: &mut Vec<Found>) {
        let product = product(gram(&text[at..]), self.key);
        if bit(&self.bits, product) & 1 != 0 {
            self.verify(text, at, keyed(product), found);
        }
    }

    #[inline(never)]
    fn verify(&self, text: &[u8], at: usize, keyed: u32, found: &mut Vec<Found>) {
        for gram in self.grams.of(keyed) {
            let mut places = gram.places;
            while places != 0 {
                let place = places.trailing_zeros() as usize;
                places &= places - 1;
                self.looks.one();
                let Some(start) = at.checked_sub(place) else { break };
                let Some(window) = text.get(start..start + self.window) else { continue };
                for window in self.windows.of(self.window_keyed(window)) {
                    self.looks.one();
                    let Some(start) = start.checked_sub(window.offset.into()) else { continue };
                    let end = start + usize::from(window.length);
                    let Some(text) = text.get(start..end) else { continue };
                    if self.ends_keyed(text) != window.ends || found.len() >= MASK_FOUND_MAX {
                        continue;
                    }
                    let pattern = &self.patterns[window.pattern as usize];
                    if self.pattern_keyed(text) == pattern.hash {
                        found.push(Found { start, end, secret: pattern.secret });
                    }
                }
            }
        }
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

    fn window_keyed(&self, window: &[u8]) -> u32 {
        (folded(window, self.window_keys) >> 16) as u32
    }

    /// A number of a whole pattern. Who reads logs does not know the keys, so he finds no two texts with the same one.
    fn pattern_keyed(&self, text: &[u8]) -> u64 {
        folded(text, self.pattern_keys)
    }

    fn step(&self, beginning: &[u8]) -> u16 {
        self.hasher.hash_one(beginning) as u16
    }

    fn fill(&mut self, kept: &[(&[u8], u32)]) {
        let counters = self.counted(kept);
        let (mut grams, mut windows, mut beginnings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut steps, mut patterns) = (Vec::new(), Vec::with_capacity(kept.len()));
        for (number, &(text, secret)) in kept.iter().enumerate() {
            let number = number as u32;
            let offset = self.rarest(text, &counters);
            let window = &text[offset..offset + self.window];
            windows.push(Window {
                keyed: self.window_keyed(window),
                pattern: number,
                offset: offset as u16,
                length: text.len() as u16,
                ends: self.ends_keyed(text),
            });
            for (place, four) in window.windows(GRAM).enumerate() {
                grams.push(Gram { keyed: self.keyed(gram(four)), places: 1 << place });
            }
            beginnings.push(Beginning { keyed: self.keyed(gram(text)), pattern: number });
            let (length, first) = (text.len() as u32, steps.len() as u32);
            let hash = self.pattern_keyed(text);
            patterns.push(Known { hash, length, secret, steps: first });
            steps.extend((1..=text.len() / STEP).map(|step| self.step(&text[..step * STEP])));
        }
        grams.sort_unstable_by_key(|gram| gram.keyed);
        grams.dedup_by(|later, gram| {
            let same = later.keyed == gram.keyed;
            if same {
                gram.places |= later.places;
            }
            same
        });
        let words = (grams.len() * BITS_PER_GRAM / 64).next_power_of_two().clamp(1 << 6, 1 << 20);
        let mut map = vec![0; words].into_boxed_slice();
        for gram in &grams {
            let (word, bit) = place_of(u64::from(gram.keyed) << 32, words);
            map[word] |= 1 << bit;
        }
        self.bits = map;
        self.grams = Index::new(grams);
        self.windows = Index::new(windows);
        self.beginnings = Index::new(beginnings);
        (self.steps, self.patterns) = (steps.into_boxed_slice(), patterns.into_boxed_slice());
    }

    /// How often each gram is in all patterns, about.
    fn counted(&self, kept: &[(&[u8], u32)]) -> Zeroizing<Vec<u16>> {
        let mut counters = Zeroizing::new(vec![0u16; COUNTERS]);
        for (text, _) in kept {
            for four in text.windows(GRAM) {
                let counter = &mut counters[self.counter(gram(four))];
                *counter = counter.saturating_add(1);
            }
        }
        counters
    }

    fn counter(&self, gram: u32) -> usize {
        (self.keyed(gram) >> (32 - COUNTERS.trailing_zeros())) as usize
    }

    /// Where the window of `text` begins whose grams are the fewest in other patterns and in ordinary text. Without this a
    /// beginning that many URLs share made their text ninety times as dear as other text (measured).
    fn rarest(&self, text: &[u8], counters: &[u16]) -> usize {
        let weigh = |four: &[u8]| {
            let ordinary = four.iter().all(|byte| byte.is_ascii_lowercase() || b" ./:=_-".contains(byte));
            let weight = u64::from(counters[self.counter(gram(four))]) + if ordinary { ORDINARY } else { 0 };
            weight * weight
        };
        let weights: Zeroizing<Vec<u64>> = Zeroizing::new(text.windows(GRAM).map(weigh).collect());
        let sums = weights.windows(self.stride).map(|window| window.iter().sum::<u64>());
        sums.enumerate().min_by_key(|&(_, sum)| sum).map_or(0, |(offset, _)| offset)
    }
}

/// Entries with a number, found by it.
struct Index<T> {
    /// Where the entries with these highest bits begin.
    starts: Box<[u32]>,
    shift: u32,
    entries: Box<[T]>,
}

trait Keyed {
    fn keyed(&self) -> u32;
}

impl Keyed for Gram {
    fn keyed(&self) -> u32 {
        self.keyed
    }
}

impl Keyed for Window {
    fn keyed(&self) -> u32 {
        self.keyed
    }
}

impl Keyed for Beginning {
    fn keyed(&self) -> u32 {
        self.keyed
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { starts: Box::new([0, 0, 0]), shift: 31, entries: Box::default() }
    }
}

impl<T: Keyed> Index<T> {
    fn new(mut entries: Vec<T>) -> Self {
        entries.sort_unstable_by_key(Keyed::keyed);
        let bits = entries.len().next_power_of_two().trailing_zeros().clamp(1, 24);
        let shift = 32 - bits;
        let mut starts = vec![0u32; (1 << bits) + 1];
        for entry in &entries {
            starts[(entry.keyed() >> shift) as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { starts: starts.into_boxed_slice(), shift, entries: entries.into_boxed_slice() }
    }

    #[inline]
    fn of(&self, keyed: u32) -> impl Iterator<Item = &T> {
        let bucket = (keyed >> self.shift) as usize;
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        self.entries[range].iter().filter(move |entry| entry.keyed() == keyed)
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.entries)
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

/// The word of a map of `words`, a power of two of at most 2^20, and the bit in it.
#[inline]
fn place_of(product: u64, words: usize) -> (usize, u32) {
    ((product >> 44) as usize & (words - 1), (product >> 32) as u32 % 64)
}

/// In its lowest bit: whether the gram may be known.
#[inline]
fn bit(bits: &[u64], product: u64) -> u64 {
    let (word, bit) = place_of(product, bits.len());
    bits[word] >> bit
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
    let last = bytes.last_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
    fold(last ^ sum, second)
}

/// The second one's lowest bit does not count: it is a key, never text.
fn fold(one: u64, other: u64) -> u64 {
    let both = u128::from(one) * u128::from(other | 1);
    (both >> 64) as u64 ^ both as u64
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
