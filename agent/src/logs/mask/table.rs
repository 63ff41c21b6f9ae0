//! Entries that are found by a number.
//!
//! ```text
//! key / 2^32   0 ........ 0.31 ... 0.33 0.34 ........ 1
//! slots        gap gap .. entry gap entry entry gap ..    in the order of their keys
//! ```
//!
//! Promises: an entry is found at the first look but for a few, since a processor that guesses wrong how many looks it takes loses more
//! than a look.
//! Never: changes once it is made.

/// Slots for each entry.
const SLOTS: usize = 4;
/// Of more entries there are a quarter more slots than these: they would not lie in a processor's caches.
const LOOSE_MAX: usize = 1 << 15;
/// Slots behind where the highest key would stand, so that keys made by chance do not change how many there are.
const BEHIND: usize = 64;

/// Entries in the order of their keys, with gaps: each stands where its key would if all were as far apart, or as soon behind that as
/// there is room. So most are found at the first look.
pub(super) struct Table<T> {
    slots: Box<[T]>,
    homes: usize,
}

/// What has a key.
pub(super) trait Keyed: Copy {
    /// The key.
    fn keyed(self) -> u32;
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slots: Box::default(), homes: 0 }
    }
}

impl<T: Keyed> Table<T> {
    /// Of `entries`, which are in order. `gap` makes what stands before an entry, or behind all, with the highest key of all. To who
    /// looks for that key it must do no harm.
    pub(super) fn new(entries: &[T], gap: impl Fn(Option<&T>) -> T) -> Self {
        let homes = if entries.len() > LOOSE_MAX { entries.len() / 4 * 5 } else { SLOTS * entries.len() };
        Self::with(homes, entries, gap)
    }

    fn with(homes: usize, entries: &[T], gap: impl Fn(Option<&T>) -> T) -> Self {
        let home = |entry: &T| home(entry.keyed(), homes);
        let ends = entries.iter().fold(0, |end, entry| home(entry).max(end) + 1);
        let length = ends.max(homes + BEHIND) + 1;
        let mut slots = Vec::with_capacity(length);
        for entry in entries {
            slots.resize(home(entry).max(slots.len()), gap(Some(entry)));
            slots.push(*entry);
        }
        slots.resize(length, gap(None));
        Self { slots: slots.into_boxed_slice(), homes }
    }

    /// False if there is surely no entry with this key. All that is looked at is the slot where it would stand.
    #[inline]
    pub(super) fn may_have(&self, keyed: u32) -> bool {
        self.slots[home(keyed, self.homes)].keyed() <= keyed
    }

    /// The entries from the first one on whose key is not below this one.
    #[inline]
    pub(super) fn from(&self, keyed: u32) -> &[T] {
        let mut slots = &self.slots[home(keyed, self.homes)..];
        while let [first, rest @ ..] = slots
            && first.keyed() < keyed
        {
            slots = rest;
        }
        slots
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// Where a key would stand if all of `homes` keys, less than 2^32, were as far apart.
#[inline]
fn home(keyed: u32, homes: usize) -> usize {
    (u64::from(keyed).wrapping_mul(homes as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Keyed for (u32, usize) {
        fn keyed(self) -> u32 {
            self.0
        }
    }

    proptest! {
        /// Also the highest keys, which are those of gaps, many that are close together, and with little room.
        #[test]
        fn property_all_entries_of_a_key_are_found(
            keys in prop::collection::vec(
                prop_oneof![any::<u32>(), 0..9_u32, 7_000_000..7_000_009_u32, u32::MAX - 9..=u32::MAX],
                0..60,
            ),
            others in prop::collection::vec(any::<u32>(), 0..20),
            homes in 0..300_usize,
        ) {
            let mut entries: Vec<(u32, usize)> = keys.iter().copied().zip(0..).collect();
            entries.sort_unstable();
            let table = Table::with(homes, &entries, |next| (u32::MAX, 1_000 + next.map_or(0, |next| next.1)));
            for &key in keys.iter().chain(&others).chain(&[0, u32::MAX]) {
                let of_key = table.from(key).iter().take_while(|entry| entry.0 == key).filter(|entry| entry.1 < 1_000);
                let expected = entries.iter().filter(|entry| entry.0 == key);
                let expected: Vec<_> = expected.collect();
                prop_assert!(expected.is_empty() || table.may_have(key));
                prop_assert_eq!(of_key.collect::<Vec<_>>(), expected);
            }
            prop_assert_eq!(table.slots.last().map(|last| last.0), Some(u32::MAX), "a gap behind all");
        }
    }
}
