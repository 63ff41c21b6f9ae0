//! What is near a secret is looked at in groups.
//!
//! ```text
//! scan ─ places with a gram that may be known ─▶ grams ─ windows they may be in ─▶ windows ─ patterns with that window ─▶ found
//! ```
//!
//! A place that leads nowhere costs two guesses of the processor that are wrong, and one that leads on a memory of some hundred KiB at three
//! places, each known only after the one before. Of a group all first looks are asked for together, and those that lead nowhere go away
//! without a guess: a fifth less for text of near misses, a quarter less for a secret in every record (measured).
//!
//! Promises: whatever was marked is looked at, in the order in which it stands.
//! Never: allocates for what is near.

use super::{Filter, Found, Known, PLACE};
use crate::limits::MASK_FOUND_MAX;

/// Places that are looked at together: as many as a processor can wait for.
const GROUP: usize = 16;

/// A text, what was found in it, and what is still to be looked at.
pub(super) struct Near<'a, 'f> {
    text: &'a [u8],
    found: &'f mut Vec<Found>,
    grams: Group,
    windows: Group,
}

/// Places of a text, and what they are looked up by.
#[derive(Default)]
struct Group {
    places: [(usize, u32); GROUP],
    /// At most as many as there is room for.
    count: usize,
}

impl<'a, 'f> Near<'a, 'f> {
    pub(super) fn new(text: &'a [u8], found: &'f mut Vec<Found>) -> Self {
        Self { text, found, grams: Group::default(), windows: Group::default() }
    }

    #[inline]
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }
}

impl Group {
    /// Takes one more. True if there is no room for another one then: it must be emptied.
    #[inline]
    fn push(&mut self, at: usize, keyed: u32) -> bool {
        self.places[self.count % GROUP] = (at, keyed);
        self.count += 1;
        self.count >= GROUP
    }

    /// Takes away what is not to be kept, without a branch for each.
    #[inline]
    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let mut kept = 0;
        for place in 0..self.count.min(GROUP) {
            let (at, keyed) = self.places[place];
            self.places[kept % GROUP] = (at, keyed);
            kept += usize::from(keep(keyed));
        }
        self.count = kept;
    }

    /// What there is. Then there is nothing.
    #[inline]
    fn drain(&mut self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.places.iter().take(std::mem::take(&mut self.count)).copied()
    }
}

impl Filter {
    /// A place whose gram may be known. Out of the way of the loop that looks for them.
    #[cold]
    #[inline(never)]
    pub(super) fn mark(&self, at: usize, keyed: u32, near: &mut Near<'_, '_>) {
        if near.grams.push(at, keyed & !PLACE) {
            self.look_at_grams(near);
        }
    }

    /// Nothing is marked any more.
    pub(super) fn look_at_all(&self, near: &mut Near<'_, '_>) {
        self.look_at_grams(near);
        self.look_at_windows(near.text, &mut near.windows, near.found);
    }

    fn look_at_grams(&self, Near { text, found, grams, windows }: &mut Near<'_, '_>) {
        grams.retain(|keyed| self.grams.may_have(keyed));
        for (at, keyed) in grams.drain() {
            for gram in self.grams.from(keyed).iter().take_while(|gram| gram.0 & !PLACE == keyed) {
                self.looks.one();
                let Some(start) = at.checked_sub((gram.0 & PLACE) as usize) else { continue };
                let Some(window) = text.get(start..start + self.window) else { continue };
                if windows.push(start, self.window_keyed(window)) {
                    self.look_at_windows(text, windows, found);
                }
            }
        }
    }

    fn look_at_windows(&self, text: &[u8], windows: &mut Group, found: &mut Vec<Found>) {
        windows.retain(|keyed| self.windows.may_have(keyed));
        for (start, keyed) in windows.drain() {
            if let [window, next, ..] = self.windows.from(keyed)
                && window.keyed == keyed
            {
                self.look_at_patterns(text, start, &self.patterns[window.first as usize..next.first as usize], found);
            }
        }
    }

    #[inline]
    fn look_at_patterns(&self, text: &[u8], start: usize, patterns: &[Known], found: &mut Vec<Found>) {
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
}
