//! Exponential histograms, as histograms with bounds.
//!
//! ```text
//! bucket(index, scale) = base^index .. base^(index + 1), base = 2^(2^-scale)
//! ```
//! The bounds of a coarser one are among those of a finer one, to the bit: a power of 2 times an index is exact. So what is told with other
//! bounds later can be compared.
//!
//! Promises: no more than [`BUCKETS_MAX`] buckets in each direction, however many are said to be there: they are joined by twos.
//! Never: takes memory for buckets that are empty.

use super::wire::{Malformed, Reader, Value};

/// Buckets in each direction. SDKs have 160 at most unless told otherwise.
pub(super) const BUCKETS_MAX: usize = 160;
/// The scales that a double can have bounds at (opentelemetry.io, "Exponential Scale").
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// An exponential histogram, as it was written.
#[derive(Clone, Copy, Default)]
pub(super) struct Exponential<'a> {
    pub(super) scale: i32,
    pub(super) zeros: u64,
    pub(super) positive: Exponents<'a>,
    pub(super) negative: Exponents<'a>,
}

/// The buckets of one direction.
#[derive(Clone, Copy, Default)]
pub(super) struct Exponents<'a> {
    offset: i32,
    /// Varints, one for each bucket, side by side.
    counts: &'a [u8],
}

impl Exponential<'_> {
    /// Appends its bounds and counts as those of a histogram with bounds: those below zero from the largest, then zero, then those
    /// above. `None` if there are none that a double can be.
    pub(super) fn bounded(&self, bounds: &mut Vec<f64>, counts: &mut Vec<f64>) -> Option<()> {
        if !SCALES.contains(&self.scale) {
            return None;
        }
        let negative = self.negative.gathered(self.scale)?;
        let positive = self.positive.gathered(self.scale)?;
        let mut put = |bound: f64, count: f64| {
            bounds.push(bound);
            counts.push(count);
        };
        for (index, count) in negative.buckets.iter().enumerate().rev() {
            let (lower, upper) = (-negative.bound(index + 1), -negative.bound(index));
            if index + 1 == negative.buckets.len() && lower.is_finite() {
                put(lower, 0.0);
            }
            put(upper, *count);
        }
        put(0.0, self.zeros as f64);
        let mut beyond = 0.0;
        for (index, count) in positive.buckets.iter().enumerate() {
            let (lower, upper) = (positive.bound(index), positive.bound(index + 1));
            if index == 0 && lower > 0.0 {
                put(lower, 0.0);
            }
            if upper.is_finite() {
                put(upper, *count);
            } else {
                beyond += count;
            }
        }
        counts.push(beyond);
        let is_rising = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite());
        is_rising.then_some(())
    }
}

/// Buckets that are few enough.
struct Gathered {
    /// The index of the first, at `scale`.
    first: i64,
    scale: i32,
    buckets: Vec<f64>,
}

impl Gathered {
    /// The lower bound of the bucket `index`, which is the upper one of the bucket before.
    fn bound(&self, index: usize) -> f64 {
        // A multiplication with a power of two is exact: the same bound at another scale is the same to the bit.
        let exponent = (self.first + index as i64) as f64 * f64::from(-self.scale).exp2();
        exponent.exp2()
    }
}

impl<'a> Exponents<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut buckets = Self::default();
        for field in Reader::new(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(offset)) => buckets.offset = zigzag(offset),
                // Side by side, as everybody writes them.
                (2, Value::Bytes(counts)) => buckets.counts = counts,
                _ => {}
            }
        }
        Ok(buckets)
    }

    /// Indexes and counts of the buckets that are not empty. `None` in place of one that cannot be read.
    fn counts(self) -> impl Iterator<Item = Option<(i64, u64)>> {
        let (mut reader, mut index, mut left) = (Reader::new(self.counts), i64::from(self.offset), self.counts.len());
        std::iter::from_fn(move || {
            while left > 0 {
                let count = reader.varint();
                left = reader.left();
                let Ok(count) = count else {
                    left = 0;
                    return Some(None);
                };
                index += 1;
                if count > 0 {
                    return Some(Some((index - 1, count)));
                }
            }
            None
        })
    }

    /// Those that are not empty, and what lies between, at a scale at which they are few enough.
    fn gathered(self, scale: i32) -> Option<Gathered> {
        let mut range: Option<(i64, i64)> = None;
        for bucket in self.counts() {
            let (index, _) = bucket?;
            range = Some(range.map_or((index, index), |(first, _)| (first, index)));
        }
        let Some((first, last)) = range else { return Some(Gathered { first: 0, scale, buckets: Vec::new() }) };
        let mut coarser = 0;
        while (last >> coarser) - (first >> coarser) >= BUCKETS_MAX as i64 {
            coarser += 1;
        }
        let first = first >> coarser;
        let mut buckets = vec![0.0; usize::try_from((last >> coarser) - first).ok()? + 1];
        for (index, count) in self.counts().flatten() {
            let place = usize::try_from((index >> coarser) - first).ok()?;
            buckets[place] += count as f64;
        }
        Some(Gathered { first, scale: scale - coarser, buckets })
    }
}

/// A number with a sign, as it is written for short ones.
pub(super) fn zigzag(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}
