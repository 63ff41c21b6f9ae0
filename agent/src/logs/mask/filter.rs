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
//! forms of a value share a window where they can, or at least its grams at the same places.
//!
//! Promises: every occurrence of every pattern is reported, also where they overlap; work is linear in the text, with at most
//! one step for each gram of a window and each pattern with the same window at each place of the grid.
//! Never: keeps the text of a pattern. What it keeps (grams, windows and patterns as keyed numbers) is no text that lies in memory
//! to be found, but who has all of the memory could work it out, as he could read the values that the agent holds.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use zeroize::Zeroizing;

use super::{
    patterns::Patterns,
    table::{Keyed, Table},
};
use crate::limits::{MASK_FOUND_MAX, MASK_GRAMS_MAX, MASK_PATTERN_BYTES_MAX};

/// Bytes of a gram.
const GRAM: usize = 4;
/// The longest window. A longer one would look at less of the text, but a grid of 29 bytes costs 2 % of a record already.
const WINDOW_MAX: usize = 32;
/// Bits of the bitmap for each gram: what is not in it is taken for known once in a hundred times.
const BITS_PER_GRAM: usize = 64;
/// More are given half as many bits: they would not lie in a processor's caches.
const GRAMS_MANY: usize = 1 << 16;
/// Places of the grid that are looked at before anybody asks whether one was known.
const BLOCK: usize = 4;
/// Counters by which the rarest window is chosen, a power of two.
const COUNTERS: usize = 1 << 18;
/// What a gram counts more that is found in ordinary text.
const ORDINARY: u32 = 16;
/// What a gram counts at most: squares of so much for a whole window are 32 bits.
const COUNTED_MAX: u16 = 4_000;
/// Windows of a value that are kept in mind while those of its forms are chosen.
const WINDOWS_MAX: usize = 8;
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
    bits: Box<[u64]>,
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
    /// At most [`MASK_PATTERN_BYTES_MAX`].
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

/// A text, the number of its secret, and whether it is a form of the one before.
type Kept<'a> = (&'a [u8], u32, bool);

/// The window of a pattern, and where it stands in it.
struct Chosen {
    keyed: u32,
    offset: u16,
    number: u32,
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
    /// A filter for `patterns`, each of at least 8 and at most [`MASK_PATTERN_BYTES_MAX`] bytes. Others are left out; of those that
    /// say the same the first one counts.
    pub(super) fn new(patterns: &Patterns) -> Self {
        let hasher = RandomState::new();
        let kept = kept(patterns, &hasher);
        let shortest = kept.iter().map(|(text, ..)| text.len()).min().unwrap_or(WINDOW_MAX);
        let room = MASK_GRAMS_MAX / kept.len().max(1) + GRAM - 1;
        let window = shortest.min(WINDOW_MAX).min(room.max(2 * GRAM));
        let random = |seed: u8| hasher.hash_one(seed);
        let mut filter = Self {
            stride: window - GRAM + 1,
            window,
            longest: kept.iter().map(|(text, ..)| text.len()).max().unwrap_or(0),
            bits: Box::default(),
            key: random(0) | 1,
            window_keys: [random(1), random(2), random(3), random(4)],
            pattern_keys: [random(5), random(6)],
            grams: Table::default(),
            windows: Table::default(),
            beginnings: Table::default(),
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
            18 => self.scan_by::<18>(text, found),
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
            for place in 0..BLOCK {
                let start = place * STRIDE;
                let gram = [block[start], block[start + 1], block[start + 2], block[start + 3]];
                let product = product(u32::from_le_bytes(gram), key);
                if bit(bits, product) & 1 != 0 {
                    self.verify(text, at + start, keyed(product), found);
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

    /// What stands at `at` of the text, if its gram is known.
    #[inline]
    fn look_at(&self, text: &[u8], at: usize, found: &mut Vec<Found>) {
        let product = product(gram(&text[at..]), self.key);
        if bit(&self.bits, product) & 1 != 0 {
            self.verify(text, at, keyed(product), found);
        }
    }

    /// Out of the way of the loop.
    #[cold]
    #[inline(never)]
    fn verify(&self, text: &[u8], at: usize, keyed: u32, found: &mut Vec<Found>) {
        let keyed = keyed & !PLACE;
        for gram in self.grams.from(keyed).iter().take_while(|gram| gram.keyed() == keyed) {
            self.looks.one();
            let Some(start) = at.checked_sub((gram.0 & PLACE) as usize) else { continue };
            let Some(window) = text.get(start..start + self.window) else { continue };
            let window_keyed = self.window_keyed(window);
            if let [window, next, ..] = self.windows.from(window_keyed)
                && window.keyed == window_keyed
            {
                self.verify_patterns(text, start, &self.patterns[window.first as usize..next.first as usize], found);
            }
        }
    }

    #[inline]
    fn verify_patterns(&self, text: &[u8], start: usize, patterns: &[Known], found: &mut Vec<Found>) {
        for pattern in patterns {
            self.looks.one();
            let Some(start) = start.checked_sub(pattern.offset.into()) else { continue };
            let end = start + usize::from(pattern.length);
            let Some(text) = text.get(start..end) else { continue };
            if self.ends_keyed(text) == pattern.ends
                && found.len() < MASK_FOUND_MAX
                && self.pattern_keyed(text) == pattern.hash
            {
                found.push(Found { start, end, secret: pattern.secret });
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

    fn fill(&mut self, kept: &[Kept<'_>]) {
        // As large as they get: what grows leaves holes.
        let mut grams = Vec::with_capacity(kept.len() * self.stride);
        let (mut windows, mut beginnings) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        let mut steps = Vec::with_capacity(kept.iter().map(|(text, ..)| text.len() / STEP).sum());
        let mut patterns = Vec::with_capacity(kept.len());
        let (mut last, mut last_keyed) = (None, None);
        for Chosen { keyed, offset, number } in self.chosen(kept) {
            let (text, secret, _) = kept[number as usize];
            let place = patterns.len() as u32;
            let window = &text[usize::from(offset)..][..self.window];
            // Others may have the same number: all of their grams must lead to it.
            if last.replace(window) != Some(window) {
                let places = window.windows(GRAM).zip(0..);
                grams.extend(places.map(|(four, place)| Gram((self.keyed(gram(four)) & !PLACE) | place)));
            }
            if last_keyed.replace(keyed) != Some(keyed) {
                windows.push(Window { keyed, first: place });
            }
            beginnings.push(Beginning { keyed: self.keyed(gram(text)), pattern: place });
            let (ends, length, hash) = (self.ends_keyed(text), text.len() as u16, self.pattern_keyed(text));
            patterns.push(Known { ends, offset, length, hash, secret, steps: steps.len() as u32 });
            steps.extend((1..=text.len() / STEP).map(|step| self.step(&text[..step * STEP])));
        }
        let all = patterns.len() as u32;
        let gap = |next: Option<&Window>| Window { keyed: u32::MAX, first: next.map_or(all, |next| next.first) };
        self.windows = Table::new(&windows, gap);
        (self.steps, self.patterns) = (steps.into_boxed_slice(), patterns.into_boxed_slice());
        beginnings.sort_unstable_by_key(|beginning: &Beginning| beginning.keyed);
        self.beginnings = Table::new(&beginnings, |_| Beginning { keyed: u32::MAX, pattern: 0 });
        self.fill_grams(grams);
    }

    fn fill_grams(&mut self, mut grams: Vec<Gram>) {
        grams.sort_unstable();
        grams.dedup();
        let bits = if grams.len() > GRAMS_MANY { BITS_PER_GRAM / 2 } else { BITS_PER_GRAM };
        let words = (grams.len() * bits / 64).next_power_of_two().clamp(1 << 6, 1 << 20);
        let mut map = vec![0; words].into_boxed_slice();
        for gram in &grams {
            let (word, bit) = place_of(u64::from(gram.0) << 32, words);
            map[word] |= 1 << bit;
        }
        self.bits = map;
        self.grams = Table::new(&grams, |_| Gram(u32::MAX));
    }

    /// The window of each pattern, in the order of their keys.
    fn chosen(&self, kept: &[Kept<'_>]) -> Vec<Chosen> {
        let counters = self.counted(kept);
        let mut all = Vec::with_capacity(kept.len());
        // The grams of those of the value.
        let mut windows = Zeroizing::new(Vec::with_capacity(WINDOWS_MAX * self.stride));
        for (number, &(text, _, is_form)) in kept.iter().enumerate() {
            if !is_form {
                windows.clear();
            }
            let (cost, offset) = self.rarest(text, &counters, &windows);
            let window = &text[offset..offset + self.window];
            if cost > 0 && windows.len() < windows.capacity() {
                windows.extend(window.windows(GRAM).map(gram));
            }
            all.push(Chosen { keyed: self.window_keyed(window), offset: offset as u16, number: number as u32 });
        }
        all.sort_unstable_by_key(|chosen| (chosen.keyed, chosen.number));
        all
    }

    /// In how many values each gram is, about.
    fn counted(&self, kept: &[Kept<'_>]) -> Zeroizing<Vec<u16>> {
        let mut counters = Zeroizing::new(vec![0u16; COUNTERS]);
        let mut of_value = Zeroizing::new(Vec::new());
        for forms in kept.chunk_by(|_, (_, _, is_form)| *is_form) {
            of_value.clear();
            of_value
                .extend(forms.iter().flat_map(|(text, ..)| text.windows(GRAM)).map(|four| self.counter(gram(four))));
            of_value.sort_unstable();
            of_value.dedup();
            for &counter in &*of_value {
                counters[counter] = counters[counter].saturating_add(1);
            }
        }
        counters
    }

    fn counter(&self, gram: u32) -> usize {
        (self.keyed(gram) >> (32 - COUNTERS.trailing_zeros())) as usize
    }

    /// Where the window of `text` begins whose grams are the fewest in other values and in ordinary text. Without this a
    /// beginning that many URLs share made their text ninety times as dear as other text (measured). What is not escaped stands in
    /// more forms, and what stands in `windows` of other forms at the same place costs nothing more.
    fn rarest(&self, text: &[u8], counters: &[u16], windows: &[u32]) -> (u32, usize) {
        let weigh = |four: &[u8]| {
            let ordinary = four.iter().all(|byte| byte.is_ascii_lowercase() || b" ./:=_-".contains(byte));
            let escaped = four.iter().filter(|byte| !byte.is_ascii_alphanumeric()).count() as u32;
            let count = counters[self.counter(gram(four))].min(COUNTED_MAX);
            let weight = u32::from(count) + escaped + if ordinary { ORDINARY } else { 0 };
            weight * weight
        };
        let weights: Zeroizing<Vec<u32>> = Zeroizing::new(text.windows(GRAM).map(weigh).collect());
        let grams: Zeroizing<Vec<u32>> = Zeroizing::new(text.windows(GRAM).map(gram).collect());
        let cost = |offset: usize, window: &[u32]| {
            let places = weights[offset..].iter().zip(&grams[offset..]).zip(window);
            // It cannot overflow, and four are added at once where nobody looks whether it does.
            places.fold(0_u32, |sum, ((weight, gram), known)| sum.wrapping_add(if gram == known { 0 } else { *weight }))
        };
        let least = |offset: usize| {
            let all = weights[offset..offset + self.stride].iter().fold(0_u32, |sum, weight| sum.wrapping_add(*weight));
            windows.chunks_exact(self.stride).map(|window| cost(offset, window)).fold(all, u32::min)
        };
        (0..weights.len() + 1 - self.stride).map(|offset| (least(offset), offset)).min().unwrap_or_default()
    }
}

impl Looks {
    #[inline]
    fn one(&self) {
        #[cfg(test)]
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The patterns that can be looked for, each once.
fn kept<'a>(patterns: &'a Patterns, hasher: &RandomState) -> Vec<Kept<'a>> {
    let mut hashes = Vec::with_capacity(patterns.len());
    hashes.extend(patterns.iter().zip(0_u32..).map(|((text, ..), number)| (hasher.hash_one(text), number)));
    // In order, the first of each; then in the order in which they came.
    hashes.sort_unstable();
    hashes.dedup_by_key(|(hash, _)| *hash);
    hashes.sort_unstable_by_key(|(_, number)| *number);
    let mut kept = Vec::with_capacity(hashes.len());
    let mut first = hashes.iter().map(|(_, number)| *number).peekable();
    for (pattern, number) in patterns.iter().zip(0..) {
        if first.next_if_eq(&number).is_some() && (2 * GRAM..=MASK_PATTERN_BYTES_MAX).contains(&pattern.0.len()) {
            kept.push(pattern);
        }
    }
    kept
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

/// The word of a map of `words`, a power of two of at most 2^20, and the bit in it: nothing of what [`PLACE`] takes.
#[inline]
fn place_of(product: u64, words: usize) -> (usize, u32) {
    ((product >> 44) as usize & (words - 1), (product >> 38) as u32 % 64)
}

/// In its lowest bit: whether the gram may be known.
#[inline]
fn bit(bits: &[u64], product: u64) -> u64 {
    let (word, bit) = place_of(product, bits.len());
    bits[word] >> bit
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
