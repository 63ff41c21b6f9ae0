//! How a filter is made: which patterns are looked for, which window of each, and by what they are found.
//!
//! Promises: a window is chosen where it is rarest, and the same for forms of one value where that can be; all windows with one number are
//! led to.
//! Never: keeps a text; what it needs for a moment is wiped.

use std::hash::{BuildHasher, RandomState};

use zeroize::Zeroizing;

use super::{
    Beginning, Filter, GRAM, Gram, Known, Looks, MASKS, PLACE, STEP, Table, WINDOW_MAX, Window, class, gram, keyed,
    product, word_of,
};
use crate::{
    limits::{MASK_GRAMS_MAX, MASK_PATTERN_BYTES_MAX},
    logs::mask::patterns::Patterns,
};

/// Bits of the bitmap for each gram: what is not in it is taken for known once in a hundred times.
const BITS_PER_GRAM: usize = 64;
/// Fewer are given twice as many bits: all of them lie in a processor's nearer caches.
const GRAMS_FEW: usize = 1 << 13;
/// More are given half as many bits: they would not lie in its caches.
const GRAMS_MANY: usize = 1 << 16;
/// Counters by which the rarest window is chosen, a power of two.
const COUNTERS: usize = 1 << 18;
/// What a gram counts more that is found in ordinary text.
const ORDINARY: u32 = 16;
/// What a gram counts at most: squares of so much for a whole window are 32 bits.
const COUNTED_MAX: u16 = 4_000;
/// Windows of a value that are kept in mind while those of its forms are chosen.
const WINDOWS_MAX: usize = 8;

/// A text, the number of its secret, and whether it is a form of the one before.
pub(super) type Kept<'a> = (&'a [u8], u32, bool);

/// The window of a pattern, and where it stands in it.
struct Chosen {
    keyed: u32,
    offset: u16,
    number: u32,
}

impl Filter {
    /// A filter for `patterns`, each of at least 8 and at most [`MASK_PATTERN_BYTES_MAX`] bytes. Others are left out; of those that
    /// say the same the first one counts.
    pub(in crate::logs::mask) fn new(patterns: &Patterns) -> Self {
        let hasher = RandomState::new();
        let kept = kept(patterns, &hasher);
        let shortest = kept.iter().map(|(text, ..)| text.len()).min().unwrap_or(WINDOW_MAX);
        let room = MASK_GRAMS_MAX / kept.len().max(1) + GRAM - 1;
        let window = shortest.min(WINDOW_MAX).min(room.max(2 * GRAM));
        let random = |seed: u8| hasher.hash_one(seed);
        let key = random(0) | 1;
        let mut masks = [0; MASKS];
        for first in 0..=u8::MAX {
            masks[usize::from(product(first.into(), key) as u8)] = 1 << class(first);
        }
        let mut filter = Self {
            stride: window - GRAM + 1,
            window,
            longest: kept.iter().map(|(text, ..)| text.len()).max().unwrap_or(0),
            bits: Box::default(),
            masks,
            key,
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

    /// Takes the patterns: chooses a window of each, and makes what they are found by.
    pub(super) fn fill(&mut self, kept: &[Kept<'_>]) {
        // As large as they get: what grows leaves holes.
        let mut texts: Vec<&[u8]> = Vec::with_capacity(kept.len());
        let (mut windows, mut beginnings) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        let mut steps = Vec::with_capacity(kept.iter().map(|(text, ..)| text.len() / STEP).sum());
        let mut patterns = Vec::with_capacity(kept.len());
        let mut last = None;
        for Chosen { keyed: of_window, offset, number } in self.chosen(kept) {
            let (text, secret, _) = kept[number as usize];
            let place = patterns.len() as u32;
            let window = &text[usize::from(offset)..][..self.window];
            // Others may have the same number: all of their grams must lead to it.
            if texts.last() != Some(&window) {
                texts.push(window);
            }
            if last.replace(of_window) != Some(of_window) {
                windows.push(Window { keyed: of_window, first: place });
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
        self.fill_grams(&texts);
    }

    /// Takes the grams of `windows`.
    fn fill_grams(&mut self, windows: &[&[u8]]) {
        let mut grams = Vec::with_capacity(windows.len() * self.stride);
        for window in windows {
            let products = products(window, self.key).zip(0..);
            grams.extend(products.map(|(product, place)| Gram((keyed(product) & !PLACE) | place)));
        }
        grams.sort_unstable();
        grams.dedup();
        let bits = match grams.len() {
            ..GRAMS_FEW => 2 * BITS_PER_GRAM,
            GRAMS_FEW..GRAMS_MANY => BITS_PER_GRAM,
            _ => BITS_PER_GRAM / 2,
        };
        let words = (grams.len() * bits / 64).next_power_of_two().clamp(1 << 6, 1 << 20);
        let mut map = vec![0; words].into_boxed_slice();
        for product in windows.iter().flat_map(|window| products(window, self.key)) {
            map[word_of(product, words)] |= self.masks[usize::from(product as u8)];
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

/// Of the grams of a window.
fn products(window: &[u8], key: u64) -> impl Iterator<Item = u64> {
    window.windows(GRAM).map(move |four| product(gram(four), key))
}

/// The patterns that can be looked for, each once.
pub(super) fn kept<'a>(patterns: &'a Patterns, hasher: &RandomState) -> Vec<Kept<'a>> {
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
