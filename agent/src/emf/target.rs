//! The values of a metric: the member that has its name.
//!
//! ```text
//! number | [number, ...] | {"Values": [...], "Counts": [...], "Max", "Min", "Count", "Sum"} | {"Max", "Min", "Count", "Sum"}
//! ```
//! The last two are not in the format's specification; CloudWatch takes them, and OpenTelemetry's exporter writes them.
//!
//! Promises: a number that is given is one that CloudWatch takes; numbers stay as they were written when a list is cut.
//! Never: copies a list of numbers.

use std::fmt::Write;

use super::{VALUES_MAX, json};

/// The largest number, either way (PutMetricData).
const NUMBER_MAX: f64 = 2.348_542_582_773_833_2e108;

/// The values of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// One.
    One(f64),
    /// Several.
    Many(Numbers<'a>),
    /// Numbers, and how often each occurred.
    Weighted {
        /// The numbers.
        values: Numbers<'a>,
        /// How often each, as many as `values`.
        counts: Numbers<'a>,
        /// Of all together.
        statistics: Statistics,
    },
    /// Nothing but these.
    Statistics(Statistics),
}

/// What is known of many values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
}

/// Numbers side by side, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers<'a> {
    /// What stands between the brackets.
    inner: &'a str,
    count: usize,
}

impl<'a> Numbers<'a> {
    /// Reads the JSON list `text`.
    fn read(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        let mut numbers = Self { inner, count: 0 };
        if inner.trim_ascii().is_empty() {
            return Some(numbers);
        }
        // In a list of JSON a piece between commas that is a number is an element, since a number has no comma in it.
        for piece in inner.split(',') {
            number(piece)?;
            numbers.count += 1;
        }
        Some(numbers)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = f64> + use<'a> {
        self.pieces().filter_map(number)
    }

    fn pieces(self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.inner.split(',').take(self.count)
    }

    /// The same, cut into hundreds.
    fn hundreds(self) -> Vec<Self> {
        let mut hundreds = Vec::with_capacity(self.count.div_ceil(VALUES_MAX));
        let (mut start, mut at) = (0, 0);
        for (index, piece) in self.pieces().enumerate() {
            at += piece.len();
            let count = index % VALUES_MAX + 1;
            if count == VALUES_MAX || index + 1 == self.count {
                hundreds.push(Self { inner: &self.inner[start..at], count });
                start = at + 1;
            }
            at += 1;
        }
        hundreds
    }

    fn put(self, out: &mut String) {
        out.push('[');
        out.push_str(self.inner);
        out.push(']');
    }
}

/// The number that JSON writes as `text`, if CloudWatch takes it.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    // Rust reads names of what is no number, which JSON has not.
    let is_digits = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let number: f64 = if is_digits { text.parse().ok()? } else { return None };
    (number.abs() <= NUMBER_MAX).then_some(number)
}

impl<'a> Values<'a> {
    /// Reads the JSON `value`.
    pub(super) fn read(value: &'a str) -> Option<Self> {
        match value.as_bytes().first()? {
            b'[' => Numbers::read(value).map(Self::Many),
            b'{' => Self::distribution(value),
            _ => number(value).map(Self::One),
        }
    }

    fn distribution(value: &'a str) -> Option<Self> {
        let members = json::members(value)?;
        let of = |name: &str| members.iter().rev().find(|member| member.name == name).map(|member| member.value);
        let of_number = |name: &str| number(of(name)?);
        let (min, max) = (of_number("Min")?, of_number("Max")?);
        let statistics = Statistics { min, max, count: of_number("Count")?, sum: of_number("Sum")? };
        if min > max || statistics.count < 0.0 {
            return None;
        }
        let (Some(values), Some(counts)) = (of("Values"), of("Counts")) else {
            // One without the other says nothing.
            return (of("Values").is_none() && of("Counts").is_none()).then_some(Self::Statistics(statistics));
        };
        let (values, counts) = (Numbers::read(values)?, Numbers::read(counts)?);
        let fits = values.len() == counts.len() && counts.iter().all(|count| count >= 0.0);
        fits.then_some(Self::Weighted { values, counts, statistics })
    }

    /// How many documents they need.
    pub(super) fn slices(&self) -> usize {
        let numbers = match self {
            Self::Many(values) | Self::Weighted { values, .. } => values.len(),
            Self::One(_) | Self::Statistics(_) => 1,
        };
        numbers.div_ceil(VALUES_MAX).max(1)
    }

    /// What stands in each of these documents.
    pub(super) fn cut(&self) -> Vec<Self> {
        match *self {
            Self::Many(values) => values.hundreds().into_iter().map(Self::Many).collect(),
            Self::Weighted { values, counts, statistics } => {
                let pairs = values.hundreds().into_iter().zip(counts.hundreds()).enumerate();
                let part = |(index, (values, counts))| {
                    let statistics = statistics.of_part(values, counts, index);
                    Self::Weighted { values, counts, statistics }
                };
                pairs.map(part).collect()
            }
            Self::One(_) | Self::Statistics(_) => vec![*self],
        }
    }

    /// Appends them as JSON.
    pub(super) fn put(&self, out: &mut String) {
        match *self {
            // Writing to a String cannot fail. A number that is whole is written without a fraction.
            Self::One(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Many(values) => values.put(out),
            Self::Weighted { values, counts, statistics } => {
                out.push_str("{\"Values\":");
                values.put(out);
                out.push_str(",\"Counts\":");
                counts.put(out);
                out.push(',');
                statistics.put(out);
            }
            Self::Statistics(statistics) => {
                out.push('{');
                statistics.put(out);
            }
        }
    }
}

impl Statistics {
    /// Of one part of the values. As in OpenTelemetry's exporter the sum is in the first, since the values are the middles of
    /// buckets and give none that is exact.
    fn of_part(self, values: Numbers<'_>, counts: Numbers<'_>, index: usize) -> Self {
        let min = values.iter().fold(f64::INFINITY, f64::min);
        let max = values.iter().fold(f64::NEG_INFINITY, f64::max);
        Self { min, max, count: counts.iter().sum(), sum: if index == 0 { self.sum } else { 0.0 } }
    }

    fn put(self, out: &mut String) {
        let Self { min, max, count, sum } = self;
        // Writing to a String cannot fail.
        let _ = write!(out, "\"Max\":{max},\"Min\":{min},\"Count\":{count},\"Sum\":{sum}}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_is_the_power_that_the_reference_names() {
        assert_eq!(NUMBER_MAX.to_bits(), 2.0_f64.powi(360).to_bits());
    }

    #[test]
    fn values_are_numbers_in_cloudwatch_s_range() {
        for (text, expected) in [
            ("1", Some(1)),
            ("-1.5e3", Some(1)),
            ("2.4e108", None),
            ("-2.4e108", None),
            ("1e999", None),
            ("\"1\"", None),
            ("true", None),
            ("null", None),
            ("[]", Some(0)),
            ("[ ]", Some(0)),
            ("[1]", Some(1)),
            ("[ 1 ,\t-2, 3e1 ]", Some(3)),
            ("[1,null]", None),
            ("[1,\"2,3\"]", None),
            ("[\"1,2,3\"]", None),
            ("[[1,2],3]", None),
            ("[1,{\"a\":2,\"b\":3}]", None),
            ("[1,1e999]", None),
            ("{}", None),
            ("{\"Max\":2,\"Min\":1,\"Count\":2,\"Sum\":3}", Some(1)),
            ("{\"Max\":1,\"Min\":2,\"Count\":2,\"Sum\":3}", None),
            ("{\"Max\":2,\"Min\":1,\"Count\":-2,\"Sum\":3}", None),
            ("{\"Max\":2,\"Min\":1,\"Count\":2}", None),
            ("{\"Values\":[1,2],\"Counts\":[3,4],\"Max\":2,\"Min\":1,\"Count\":7,\"Sum\":11}", Some(2)),
            ("{\"Values\":[1,2],\"Counts\":[3],\"Max\":2,\"Min\":1,\"Count\":7,\"Sum\":11}", None),
            ("{\"Values\":[1,2],\"Counts\":[3,-4],\"Max\":2,\"Min\":1,\"Count\":7,\"Sum\":11}", None),
            ("{\"Values\":[1,2],\"Max\":2,\"Min\":1,\"Count\":7,\"Sum\":11}", None),
        ] {
            let count = Values::read(text).map(|values| match values {
                Values::One(_) | Values::Statistics(_) => 1,
                Values::Many(numbers) | Values::Weighted { values: numbers, .. } => numbers.iter().count(),
            });
            assert_eq!(count, expected, "{text}");
        }
    }

    #[test]
    fn a_distribution_is_cut_with_its_counts_and_one_part_has_the_sum() {
        let list = |from: usize, step: usize| {
            let numbers: Vec<String> = (0..250).map(|index| (from + index * step).to_string()).collect();
            numbers.join(",")
        };
        let text = format!(
            "{{\"Values\":[{}],\"Counts\":[{}],\"Max\":250,\"Min\":1,\"Count\":500,\"Sum\":77.5}}",
            list(1, 1),
            list(2, 0)
        );
        let values = Values::read(&text).expect("a distribution");
        assert_eq!(values.slices(), 3);
        let json = |part: Values<'_>| {
            let mut out = String::new();
            part.put(&mut out);
            serde_json::from_str::<serde_json::Value>(&out).expect("JSON")
        };
        let parts: Vec<_> = values.cut().into_iter().map(json).collect();
        assert_eq!(parts[0]["Values"].as_array().map(Vec::len), Some(100));
        for (part, (min, max, count, sum)) in
            parts.iter().zip([(1, 100, 200, 77.5), (101, 200, 200, 0.0), (201, 250, 100, 0.0)])
        {
            assert_eq!((&part["Min"], &part["Max"], &part["Count"]), (&min.into(), &max.into(), &count.into()));
            assert_eq!(part["Sum"].as_f64(), Some(sum));
        }
    }
}
