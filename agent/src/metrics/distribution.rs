//! Values with weights, few bytes for any number of them.
//!
//! ```text
//! up to 150 distinct values    kept exactly, sorted
//! more                         buckets whose bounds are powers of 2^(2^-scale), as OpenTelemetry's exponential histograms;
//!                              when they become more than 150, pairs are joined and the scale falls by one
//! ```
//!
//! 150 is what `PutMetricData` takes of one datum (API reference, `MetricDatum$Values`). With one decade of values a bucket is 1.6 %
//! wide, with six decades 11 %.
//!
//! Promises: sum, count, least and greatest value are exact, whatever the buckets are; at most 150 values come out, and 4 KiB are
//! held; merging two gives what one would have become, but for the scale.
//! Never: keeps what is no number, or is infinite.

/// Values of one datum (API reference, `MetricDatum$Values`).
pub const VALUES_MAX: usize = 150;
/// The finest scale of OpenTelemetry's exponential histograms. With it a bucket is a millionth wide.
const SCALE_MAX: i32 = 20;
/// Below that all values of an `f64` are in two buckets.
const SCALE_MIN: i32 = -11;

/// Values seen in some time, and how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    sum: f64,
    count: f64,
    least: f64,
    greatest: f64,
    kept: Kept,
}

#[derive(Clone, Debug, PartialEq)]
enum Kept {
    /// Distinct values with their weights, sorted.
    Exact(Vec<(f64, f64)>),
    Buckets(Buckets),
}

/// Buckets with weights, each sorted by what is in them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets {
    scale: i32,
    /// By the bucket's number, of the negative values' amounts.
    below: Vec<(i32, f64)>,
    zero: f64,
    above: Vec<(i32, f64)>,
}

impl Default for Kept {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Distribution {
    /// Adds `value`, which stands for so many. What is no number, or is infinite, is left out: false.
    pub fn observe(&mut self, value: f64, weight: f64) -> bool {
        self.add(value, weight, value * weight)
    }

    /// Adds so many values of which no more is known than that `value` is about what they are, and what their sum is.
    pub fn add(&mut self, value: f64, weight: f64, sum: f64) -> bool {
        let is_good = value.is_finite() && weight.is_finite() && weight > 0.0 && sum.is_finite();
        if !is_good {
            return false;
        }
        self.stretch(value, value);
        self.sum += sum;
        self.count += weight;
        self.keep(value, weight);
        true
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.stretch(other.least, other.greatest);
        self.sum += other.sum;
        self.count += other.count;
        other.each(|value, weight| self.keep(value, weight));
    }

    /// Moves the sum, where it is known better than from the values.
    pub fn correct_sum(&mut self, by: f64) {
        if by.is_finite() {
            self.sum += by;
        }
    }

    /// True if nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// The sum of all values, each as often as it was seen.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many were seen.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// The least value; 0 of nothing.
    pub fn least(&self) -> f64 {
        self.least
    }

    /// The greatest value; 0 of nothing.
    pub fn greatest(&self) -> f64 {
        self.greatest
    }

    /// Calls `tell` with at most [`VALUES_MAX`] distinct values and their weights, the least first.
    pub fn each(&self, mut tell: impl FnMut(f64, f64)) {
        match &self.kept {
            Kept::Exact(values) => values.iter().for_each(|&(value, weight)| tell(value, weight)),
            Kept::Buckets(buckets) => {
                // A bucket's middle may be outside of what was seen.
                let within = |value: f64| value.clamp(self.least, self.greatest);
                let mut last: Option<(f64, f64)> = None;
                buckets.each(|value, weight| {
                    let value = within(value);
                    match &mut last {
                        Some((before, sum)) if *before == value => *sum += weight,
                        _ => {
                            if let Some((before, sum)) = last.replace((value, weight)) {
                                tell(before, sum);
                            }
                        }
                    }
                });
                if let Some((value, weight)) = last {
                    tell(value, weight);
                }
            }
        }
    }

    /// Among what was seen were these as well, as far as they are known.
    pub fn widen(&mut self, least: Option<f64>, greatest: Option<f64>) {
        if !self.is_empty() {
            let finite = |value: &f64| value.is_finite();
            self.stretch(
                least.filter(finite).unwrap_or(f64::INFINITY),
                greatest.filter(finite).unwrap_or(f64::NEG_INFINITY),
            );
        }
    }

    fn stretch(&mut self, least: f64, greatest: f64) {
        if self.is_empty() {
            (self.least, self.greatest) = (least, greatest);
        } else {
            self.least = self.least.min(least);
            self.greatest = self.greatest.max(greatest);
        }
    }

    fn keep(&mut self, value: f64, weight: f64) {
        // Both zeros are one value.
        let value = if value == 0.0 { 0.0 } else { value };
        match &mut self.kept {
            Kept::Exact(values) => match values.binary_search_by(|(kept, _)| kept.total_cmp(&value)) {
                Ok(place) => values[place].1 += weight,
                Err(place) if values.len() < VALUES_MAX => values.insert(place, (value, weight)),
                Err(_) => {
                    let mut buckets = Buckets { scale: SCALE_MAX, ..Buckets::default() };
                    values.iter().for_each(|&(value, weight)| buckets.add(value, weight));
                    buckets.add(value, weight);
                    self.kept = Kept::Buckets(buckets);
                }
            },
            Kept::Buckets(buckets) => buckets.add(value, weight),
        }
    }
}

impl Buckets {
    fn add(&mut self, value: f64, weight: f64) {
        if value == 0.0 {
            self.zero += weight;
        } else {
            let number = number_of(value.abs(), self.scale);
            let side = if value > 0.0 { &mut self.above } else { &mut self.below };
            match side.binary_search_by_key(&number, |&(number, _)| number) {
                Ok(place) => side[place].1 += weight,
                Err(place) => side.insert(place, (number, weight)),
            }
        }
        while self.len() > VALUES_MAX && self.scale > SCALE_MIN {
            self.scale -= 1;
            join_pairs(&mut self.below);
            join_pairs(&mut self.above);
        }
    }

    fn len(&self) -> usize {
        self.below.len() + usize::from(self.zero > 0.0) + self.above.len()
    }

    /// The middle of each bucket, and its weight, the least first.
    fn each(&self, mut tell: impl FnMut(f64, f64)) {
        for &(number, weight) in self.below.iter().rev() {
            tell(-middle_of(number, self.scale), weight);
        }
        if self.zero > 0.0 {
            tell(0.0, self.zero);
        }
        for &(number, weight) in &self.above {
            tell(middle_of(number, self.scale), weight);
        }
    }
}

/// The bucket of `amount`: from `base^number` to `base^(number+1)`, where `base` is `2^(2^-scale)`.
fn number_of(amount: f64, scale: i32) -> i32 {
    // An f64 has logarithms from -1,074 to 1,024, so that with 20 bits of scale the number fits.
    (amount.log2() * f64::from(scale).exp2()).floor() as i32
}

fn middle_of(number: i32, scale: i32) -> f64 {
    ((f64::from(number) + 0.5) * f64::from(-scale).exp2()).exp2()
}

/// Halves the resolution. Numbers stay sorted.
fn join_pairs(side: &mut Vec<(i32, f64)>) {
    side.iter_mut().for_each(|(number, _)| *number >>= 1);
    side.dedup_by(|from, into| {
        let is_same = from.0 == into.0;
        if is_same {
            into.1 += from.1;
        }
        is_same
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut distribution = Distribution::default();
        for value in values {
            assert!(distribution.observe(value, 1.0));
        }
        distribution
    }

    fn values(distribution: &Distribution) -> Vec<(f64, f64)> {
        let mut values = Vec::new();
        distribution.each(|value, weight| values.push((value, weight)));
        values
    }

    #[test]
    fn up_to_150_distinct_values_are_kept_as_they_are() {
        let exact = of((0..150).chain(0..150).map(|n| f64::from(n) - 75.0));
        assert_eq!(values(&exact), (0..150).map(|n| (f64::from(n) - 75.0, 2.0)).collect::<Vec<_>>());
        assert_eq!((exact.least(), exact.greatest(), exact.sum(), exact.count()), (-75.0, 74.0, -150.0, 300.0));
    }

    #[test]
    fn both_zeros_are_one_value() {
        assert_eq!(values(&of([0.0, -0.0])), [(0.0, 2.0)]);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut distribution = of([1.0]);
        for (value, weight) in
            [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, -1.0), (f64::MAX, 2.0)]
        {
            assert!(!distribution.observe(value, weight), "{value} {weight}");
        }
        assert_eq!(distribution, of([1.0]));
    }

    /// Six decades of latencies: no bucket is wider than a ninth.
    #[test]
    fn many_values_are_kept_within_a_few_percent() {
        let many = of((0..100_000).map(|n| 10f64.powf(f64::from(n) / 100_000.0 * 6.0)));
        let kept = values(&many);
        assert!(kept.len() <= VALUES_MAX && kept.len() > 75, "{}", kept.len());
        let (mut rank, mut expected_rank) = (0.0, 0.0);
        for (value, weight) in kept {
            expected_rank = value.log10() / 6.0 * 100_000.0;
            assert!((rank - expected_rank).abs() < 100_000.0 / 70.0, "{value}: {rank}, {expected_rank}");
            rank += weight;
        }
        assert!(expected_rank > 0.0);
        assert_eq!((many.count(), many.least()), (100_000.0, 1.0));
    }

    #[test]
    fn extremes_of_an_f64_find_a_bucket() {
        let mut wild = of((0..200).map(|n| f64::from(n) + 0.5));
        for value in [f64::MIN_POSITIVE, 5e-324, f64::MAX, -f64::MAX, -5e-324, 0.0] {
            assert!(wild.observe(value, 1.0), "{value}");
        }
        let kept = values(&wild);
        assert!(kept.len() <= VALUES_MAX);
        assert_eq!((kept[0].0, kept[kept.len() - 1].0), (wild.least(), wild.greatest()));
        assert_eq!(kept.iter().map(|(_, weight)| weight).sum::<f64>(), 206.0);
    }

    proptest! {
        /// Whatever comes, count and extremes are those of the values, what is told is sorted and has their weight, and each value is
        /// in a bucket near it.
        #[test]
        fn property_what_is_told_has_the_weight_of_what_was_seen(
            seen in prop::collection::vec((prop_oneof![any::<f64>(), -1e3..1e3, 0.0..1.0], 1u8..4), 0..600),
            cut in 0usize..600,
        ) {
            let (mut whole, mut parts) = (Distribution::default(), [Distribution::default(), Distribution::default()]);
            let mut kept = Vec::new();
            for (place, (value, weight)) in seen.into_iter().enumerate() {
                let weight = f64::from(weight);
                if whole.observe(value, weight) {
                    kept.push((value, weight));
                    parts[usize::from(place >= cut)].observe(value, weight);
                }
            }
            let [mut joined, other] = parts;
            joined.merge(&other);
            for distribution in [&whole, &joined] {
                let told = values(distribution);
                prop_assert!(told.len() <= VALUES_MAX);
                prop_assert!(told.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert_eq!(told.iter().map(|(_, weight)| weight).sum::<f64>(), kept.iter().map(|(_, weight)| weight).sum::<f64>());
                prop_assert_eq!(distribution.count(), kept.iter().map(|(_, weight)| weight).sum::<f64>());
                let least = kept.iter().map(|(value, _)| *value).reduce(f64::min);
                let greatest = kept.iter().map(|(value, _)| *value).reduce(f64::max);
                prop_assert_eq!(told.first().map(|_| distribution.least()), least);
                prop_assert_eq!(told.first().map(|_| distribution.greatest()), greatest);
            }
        }
    }
}
