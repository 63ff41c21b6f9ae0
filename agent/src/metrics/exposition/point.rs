//! What is told of an exposition.
//!
//! Promises: borrows all it says.
//! Never: decides anything.

use super::{Example, Label, family::Kind, line::Exemplar};

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point<'r, 'a> {
    /// Its name: of a counter, gauge or state as it stands there, of a histogram or summary that of the family.
    pub name: &'r str,
    /// Its kind.
    pub kind: Kind,
    /// What it means, for people; may be empty.
    pub help: &'r str,
    /// In what it is measured; may be empty.
    pub unit: &'r str,
    /// Its labels, without `le` and `quantile`. One with an empty value is as if it were not there.
    pub labels: &'r [Label<'a>],
    /// The same as they are written; of a histogram or summary as they are written with its count or its sum, if it has one.
    pub spelling: Option<&'a str>,
    /// Its value.
    pub value: Value<'r>,
    /// When it was so, in milliseconds since 1970, if that is said.
    pub timestamp_ms: Option<i64>,
    /// When it was born, in seconds since 1970, if that is said.
    pub born: Option<f64>,
    /// An example of what was counted.
    pub exemplar: Option<Exemplar<'r, 'a>>,
    /// The same of the buckets of a histogram, in the order in which they stand there.
    pub examples: &'r [Example<'a>],
}

/// The value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'r> {
    /// Of all kinds but those below. May be `NaN`.
    Number(f64),
    /// Of a histogram, or of one of gauges.
    Histogram(Histogram<'r>),
    /// Of a summary.
    Summary(Summary<'r>),
}

/// Counts by size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram<'r> {
    /// By bound. Both grow, and the last bound is infinite.
    pub buckets: &'r [Bucket],
    /// The sum of all, unless there are negative ones among them.
    pub sum: Option<f64>,
}

/// How many are at most as large as a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The bound.
    pub le: f64,
    /// How many there are.
    pub count: f64,
}

/// Sum and count, and quantiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary<'r> {
    /// Which quantile, and its value.
    pub quantiles: &'r [(f64, f64)],
    /// The sum of all.
    pub sum: Option<f64>,
    /// How many there are.
    pub count: Option<f64>,
}

/// A counter, a gauge or the like, of which nothing is told but its spelling: whoever met it before knows the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known<'a> {
    /// Its name, as it stands there.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels as they are written.
    pub spelling: &'a str,
    /// Its value.
    pub value: f64,
}

/// What is told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'t, 'r, 'a> {
    /// A point that may be known. Who does not know it says false, and is told the whole.
    Known(Known<'a>),
    /// A point.
    Point(&'t Point<'r, 'a>),
}
