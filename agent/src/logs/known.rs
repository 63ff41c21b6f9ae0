//! Fields that come again and again, rendered once: JSON inside a JSON string.
//!
//! Of the fields that Docker's driver adds to each line, all but the line itself say the same each time. To compare one
//! with what it was last time and copy its text is a third of the cost of escaping it. Fields come in any order, because
//! the driver encodes a Go map, so each is remembered by itself.
//!
//! Promises: what is copied is what escaping would have written; a value is remembered when it comes for the second time
//! in a row, so that lines are not; memory is at most [`SLOTS`] fields of [`VALUE_BYTES_MAX`] bytes.
//! Never: remembers beyond the tag it belongs to.

use super::record::mark;
use crate::deliver::{body::Body, escape};

/// Fields remembered.
const SLOTS: usize = 16;
/// The longest name that is remembered.
const KEY_BYTES_MAX: usize = 64;
/// The longest value that is remembered, in bytes.
const VALUE_BYTES_MAX: usize = 256;
/// How often another name must ask for a slot in a row to get it.
const PATIENCE: u8 = 4;

/// What rendering needs beside the body. Used again for the next record.
#[derive(Debug, Default)]
pub struct Workspace {
    /// For values that are written beside first.
    pub scratch: Body,
    /// For fields that come again.
    pub known: Known,
}

/// The fields of one tag's records.
#[derive(Debug, Default)]
pub struct Known {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    key: Vec<u8>,
    /// `\"key\":\"`.
    head: Vec<u8>,
    /// Bytes of `head` that the second escaping added, and those of the quote that ends the value.
    head_added: usize,
    value: Vec<u8>,
    /// `\"key\":\"value\"`.
    whole: Vec<u8>,
    whole_added: usize,
    /// Tells the last value that was not remembered from others, mostly.
    seen: u64,
    /// How often in a row another name asked.
    others: u8,
}

impl Workspace {
    /// Gives back memory that one unusual record took.
    pub fn trim(&mut self) {
        const USUAL: usize = 64 * 1_024;
        if self.scratch.capacity() > USUAL {
            self.scratch = Body::default();
        }
    }
}

impl Known {
    /// Appends `\"key\":\"text\"` and returns how many of these bytes the second escaping added.
    #[inline]
    pub fn put_pair(&mut self, body: &mut Body, key: &[u8], text: &[u8]) -> usize {
        let Some(slot) = self.slot(key) else { return put_pair(body, key, text) };
        if slot.value == text && !slot.whole.is_empty() {
            body.put(&slot.whole);
            slot.seen = 0;
            return slot.whole_added;
        }
        let start = body.len();
        body.put(&slot.head);
        let added = slot.head_added + escape::twice(body, text);
        body.put(b"\\\"");
        if text.len() <= VALUE_BYTES_MAX {
            slot.see(text, &body.as_slice()[start..], added);
        }
        added
    }

    /// The slot that remembers `key`, perhaps from now on.
    #[inline]
    fn slot(&mut self, key: &[u8]) -> Option<&mut Slot> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        let slot = &mut self.slots[mark(key) as usize % SLOTS];
        if slot.key == key && !key.is_empty() {
            slot.others = 0;
            return Some(slot);
        }
        slot.ask(key).then_some(slot)
    }
}

impl Slot {
    /// Another name asks for the slot. True if it gets it.
    #[cold]
    fn ask(&mut self, key: &[u8]) -> bool {
        self.others += 1;
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !self.key.is_empty() && self.others < PATIENCE {
            self.others = self.others.min(PATIENCE);
            return false;
        }
        let mut head = Body::default();
        head.put(b"\\\"");
        // Four quotes, each with one byte more than in plain JSON.
        let head_added = 4 + escape::twice(&mut head, key);
        head.put(b"\\\":\\\"");
        *self = Self { key: key.to_vec(), head: head.as_slice().to_vec(), head_added, ..Self::default() };
        true
    }

    /// A value came that is not the remembered one, and was written as `whole`.
    fn see(&mut self, value: &[u8], whole: &[u8], added: usize) {
        let seen = resemblance(value);
        if seen == self.seen {
            self.value = value.to_vec();
            self.whole = whole.to_vec();
            self.whole_added = added;
        }
        self.seen = seen;
    }
}

fn put_pair(body: &mut Body, key: &[u8], text: &[u8]) -> usize {
    body.put(b"\\\"");
    let mut added = escape::twice(body, key);
    body.put(b"\\\":\\\"");
    added += escape::twice(body, text);
    body.put(b"\\\"");
    added + 4
}

/// A number that equal texts share, and other ones seldom.
fn resemblance(text: &[u8]) -> u64 {
    let word = |chunk: Option<&[u8; 8]>| chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let short = text.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let both = word(text.first_chunk()).rotate_left(29) ^ word(text.last_chunk()) ^ short;
    (both ^ (text.len() as u64) << 56).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn remembered(known: &Known) -> Vec<(&[u8], &[u8])> {
        known.slots.iter().filter(|slot| !slot.key.is_empty()).map(|slot| (&slot.key[..], &slot.value[..])).collect()
    }

    #[test]
    fn what_says_the_same_is_remembered_and_lines_are_not() {
        let (mut known, mut body) = (Known::default(), Body::default());
        for line in 0..5 {
            body.truncate(0);
            known.put_pair(&mut body, b"source", b"stdout");
            known.put_pair(&mut body, b"log", format!("line {line}").as_bytes());
        }
        let mut all = remembered(&known);
        all.sort_unstable();
        assert_eq!(all, [(&b"log"[..], &b""[..]), (b"source", b"stdout")]);
        // Another value in between costs nothing but itself.
        for text in [&b"stderr"[..], b"stdout"] {
            known.put_pair(&mut body, b"source", text);
        }
        assert!(remembered(&known).contains(&(b"source", b"stdout")));
    }

    #[test]
    fn names_beyond_number_cost_no_memory() {
        let (mut known, mut body) = (Known::default(), Body::default());
        for number in 0..10_000 {
            body.truncate(0);
            let text = format!("{number}");
            known.put_pair(&mut body, format!("key {number}").as_bytes(), text.repeat(200).as_bytes());
            known.put_pair(&mut body, "k".repeat(KEY_BYTES_MAX + 1).as_bytes(), b"x");
        }
        assert_eq!(known.slots.len(), SLOTS);
        assert!(known.slots.iter().all(|slot| slot.key.len() <= KEY_BYTES_MAX && slot.value.len() <= VALUE_BYTES_MAX));
    }

    proptest! {
        /// Whatever came before, the same text is written, and the same count.
        #[test]
        fn property_what_is_copied_is_what_escaping_writes(
            pairs in prop::collection::vec(("[a-c\"]{0,3}", prop_oneof!["[ab\"\\\\\n]{0,3}", "[a\"é]{0,300}"]), 1..60),
        ) {
            let mut known = Known::default();
            for (key, text) in &pairs {
                let (mut copied, mut escaped) = (Body::default(), Body::default());
                let added = known.put_pair(&mut copied, key.as_bytes(), text.as_bytes());
                prop_assert_eq!(added, put_pair(&mut escaped, key.as_bytes(), text.as_bytes()));
                prop_assert_eq!(copied.as_slice(), escaped.as_slice());
            }
        }
    }
}
