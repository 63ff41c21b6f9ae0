//! A set of ids, kept as ranges that neither touch nor overlap.
//!
//! Promises: as many ranges as there are gaps between them, and one; each step costs the logarithm of that.
//! Never: does I/O.

use std::{collections::BTreeMap, ops::Range};

/// A set of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `range`.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&other_start, &other_end)) = self.0.range(..=end).next_back().filter(|(_, e)| **e >= start) {
            start = start.min(other_start);
            end = end.max(other_end);
            self.0.remove(&other_start);
        }
        self.0.insert(start, end);
    }

    /// Takes `range` out.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..range.end).next_back().filter(|(_, end)| **end > range.start) {
            self.0.remove(&start);
            if range.end < end {
                self.0.insert(range.end, end);
            }
            if start < range.start {
                self.0.insert(start, range.start);
            }
        }
    }

    /// True if all of `range` is in the set.
    pub(super) fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.at_or_before(range.start).is_some_and(|found| found.end >= range.end)
    }

    /// True if any of `range` is in the set.
    pub(super) fn meets(&self, range: Range<u64>) -> bool {
        !range.is_empty() && self.0.range(..range.end).next_back().is_some_and(|(_, end)| *end > range.start)
    }

    /// The parts of `range` that are not in the set.
    pub(super) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut missing, mut at) = (Vec::new(), range.start);
        let before = self.at_or_before(range.start).map(|found| found.start);
        for (&start, &end) in self.0.range(before.unwrap_or(range.start)..) {
            if start >= range.end {
                break;
            }
            if at < start {
                missing.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// Where the range begins that reaches up to `end` and no further, or `end`.
    pub(super) fn start_of_range_to(&self, end: u64) -> u64 {
        self.0.range(..end).next_back().filter(|(_, other)| **other == end).map_or(end, |(start, _)| *start)
    }

    /// The ranges in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    fn at_or_before(&self, id: u64) -> Option<Range<u64>> {
        self.0.range(..=id).next_back().map(|(start, end)| *start..*end)
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn property_ranges_are_a_set(
            steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 1..40),
            (start, length) in (0u64..40, 0u64..15),
        ) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for (insert, start, length) in steps {
                if insert {
                    ranges.insert(start..start + length);
                    plain.extend(start..start + length);
                } else {
                    ranges.remove(start..start + length);
                    plain.retain(|id| !(start..start + length).contains(id));
                }
            }
            prop_assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
            let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(one, next)| one.end < next.start);
            prop_assert!(apart, "{:?}", ranges);
            let range = start..start + length;
            let missing: Vec<u64> = range.clone().filter(|id| !plain.contains(id)).collect();
            prop_assert_eq!(ranges.missing(range.clone()).into_iter().flatten().collect::<Vec<_>>(), missing.clone());
            prop_assert_eq!(ranges.covers(range.clone()), missing.is_empty());
            prop_assert_eq!(ranges.meets(range.clone()), range.clone().any(|id| plain.contains(&id)));
            let mut before = start;
            if !plain.contains(&start) {
                while before > 0 && plain.contains(&(before - 1)) {
                    before -= 1;
                }
            }
            prop_assert_eq!(ranges.start_of_range_to(start), before);
        }
    }
}
