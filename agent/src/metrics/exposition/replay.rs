//! A page that is the page before, with other numbers.
//!
//! A target exposes the same lines in the same order, scrape after scrape. So a [`Script`] keeps of each line a hash of what stands before its
//! number, and what that number is: sixteen bytes a line, read from one end to the other. A text that has just these lines is taken by its
//! numbers alone: no label is read, nothing is looked up, and the caches need to hold what is at hand, not the page.
//!
//! - [`Lesson`](super::lesson) makes a script while [`points_again`](super::points_again) reads a page whole.
//! - [`Script::numbers`] compares a text with it, and gives the numbers, in their order; or nothing, if a single line is another one.
//! - [`Script::play`] says the numbers as points again.
//!
//! Promises: what it gives is what reading the page whole would give, or nothing: what OpenMetrics demands of numbers is looked at again, and
//! what it demands of all else cannot have changed. Two lines may have the same hash by chance, once in 2^64; nobody chooses which.
//! Never: takes part of a page; knows a page with timestamps, with histograms in pieces, or with ones of gauges.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::{
    Format, Limits,
    family::{Kind, Role},
    gather::grow,
    line::{Line, Reader, Sample},
    number,
    point::{Bucket, Histogram, Summary, Value},
    strict::{check_exemplar, check_value},
};

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Of the line up to its number.
    pub(super) hash: u64,
    /// How many bytes that are.
    pub(super) head: u32,
    pub(super) what: What,
}

/// What the number of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// There is none: it is metadata, a comment or nothing.
    Said,
    /// A point of this kind.
    Number(Kind),
    /// The same, and it is when the process started.
    Start(Kind),
    /// When something was born: as long as it is the same, it says nothing new.
    Born,
    /// Of a histogram or a summary; true for its first line.
    Part(Kind, Role, bool),
}

/// The lines of a page.
#[derive(Debug)]
pub struct Script {
    pub(super) format: Format,
    pub(super) limits: Limits,
    pub(super) state: RandomState,
    pub(super) steps: Vec<Step>,
    /// Bounds, quantiles and births, one after the other.
    pub(super) constants: Vec<f64>,
    /// Points that are numbers.
    pub(super) simple: usize,
}

/// The numbers of a page that a script knows.
#[derive(Debug)]
pub struct Numbers<'a> {
    values: Vec<f64>,
    /// Lines with an exemplar, by which of the numbers stands there.
    with_exemplar: Vec<(usize, &'a str)>,
    /// When the process started, in seconds since 1970, if it says so.
    pub process_start: Option<f64>,
}

/// What is told again. Points are numbered as they were told when the script was made: those that are a number first.
#[derive(Clone, Copy, Debug)]
pub enum Played<'p, 'a> {
    /// A point of this kind.
    Point(usize, Kind, Value<'p>),
    /// A line that has an exemplar of a point: [`exemplar`] reads it.
    Exemplar(usize, &'a str),
}

/// The histogram or summary whose lines are at hand.
#[derive(Default)]
struct Open {
    kind: Kind,
    buckets: Vec<Bucket>,
    quantiles: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

impl Numbers<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }
}

/// What OpenMetrics demands of the numbers of one histogram together.
#[derive(Default)]
struct Together {
    below: f64,
    count: Option<f64>,
}

impl Together {
    fn take(&mut self, role: Role, value: f64) -> bool {
        match role {
            Role::Bucket if value < self.below => return false,
            Role::Bucket => self.below = value,
            Role::Count => self.count = Some(value),
            Role::Value | Role::Sum | Role::Created => {}
        }
        true
    }

    fn agrees(&self) -> bool {
        self.count.is_none_or(|count| count == self.below)
    }
}

impl Script {
    /// The numbers of `text`, if it has just the lines of this script, and nothing is wrong with it.
    pub fn numbers<'a>(&self, text: &'a [u8], (format, limits): (Format, Limits)) -> Option<Numbers<'a>> {
        if (format, limits) != (self.format, self.limits) {
            return None;
        }
        let values = Vec::with_capacity(self.steps.len());
        let mut numbers = Numbers { values, with_exemplar: Vec::new(), process_start: None };
        let (mut at, mut constants, mut together) = (0, self.constants.iter(), Together::default());
        for step in &self.steps {
            let head = text.get(at..)?.get(..step.head as usize)?;
            if self.state.hash_one(head) != step.hash {
                return None;
            }
            let behind = &text[at + head.len()..];
            let end = memchr::memchr(b'\n', behind).unwrap_or(behind.len());
            let (line, behind) = (&text[at..at + head.len() + end], &behind[..end]);
            at += line.len() + 1;
            if step.what == What::Said {
                if !self.without_blanks(behind).is_empty() {
                    return None;
                }
                continue;
            }
            let value = match number::value_of_bytes(behind, format) {
                Some(value) => value,
                None => self.unusual(step.what, line, behind, &mut numbers)?,
            };
            if !self.may_be(step.what, value, &mut constants, &mut together) {
                return None;
            }
            if matches!(step.what, What::Start(_)) && value.is_finite() {
                numbers.process_start = Some(value);
            }
            numbers.values.push(value);
        }
        (at >= text.len() && together.agrees()).then_some(numbers)
    }

    /// What stands behind a number in 0.0.4 and means nothing is taken away.
    fn without_blanks<'t>(&self, mut text: &'t [u8]) -> &'t [u8] {
        while self.format == Format::Text
            && let [before @ .., b' ' | b'\t' | b'\r'] = text
        {
            text = before;
        }
        text
    }

    /// The number of a line on which more stands than that.
    #[cold]
    fn unusual<'a>(&self, what: What, line: &'a [u8], behind: &[u8], numbers: &mut Numbers<'a>) -> Option<f64> {
        if self.format == Format::Text {
            return number::value_of_bytes(self.without_blanks(behind), self.format);
        }
        let (kind, role) = match what {
            What::Number(kind) | What::Start(kind) => (kind, Role::Value),
            What::Part(kind, role, _) => (kind, role),
            What::Said | What::Born => return None,
        };
        check_exemplar(kind, role).ok()?;
        let line = std::str::from_utf8(line).ok()?;
        let mut value = None;
        exemplar(line, self.limits, |sample| value = sample.timestamp_ms.is_none().then_some(sample.value));
        numbers.with_exemplar.push((numbers.values.len(), line));
        value
    }

    /// True if the number may stand there: births are as they were, and what OpenMetrics demands holds.
    #[inline]
    fn may_be<'s>(
        &self,
        what: What,
        value: f64,
        constants: &mut impl Iterator<Item = &'s f64>,
        together: &mut Together,
    ) -> bool {
        let is_strict = self.format == Format::OpenMetrics;
        match what {
            What::Said => true,
            What::Born => constants.next().is_some_and(|born| born.to_bits() == value.to_bits()),
            What::Number(kind) | What::Start(kind) => !is_strict || check_value(kind, Role::Value, value).is_ok(),
            What::Part(kind, role, begins) => {
                if matches!(role, Role::Bucket | Role::Value) {
                    constants.next();
                }
                if !is_strict {
                    return true;
                }
                if begins {
                    if !together.agrees() {
                        return false;
                    }
                    *together = Together::default();
                }
                check_value(kind, role, value).is_ok() && (kind != Kind::Histogram || together.take(role, value))
            }
        }
    }

    /// Says the points of `numbers` again, in the order of the page. Ends with false at the first of which `tell` says false, or which cannot
    /// be told.
    pub fn play<'a>(&self, numbers: &Numbers<'a>, mut tell: impl FnMut(Played<'_, 'a>) -> bool) -> bool {
        let mut constants = self.constants.iter().copied();
        let mut exemplars = numbers.with_exemplar.iter().peekable();
        let (mut simple, mut opened, mut open) = (0, self.simple, Open::default());
        let steps = self.steps.iter().filter(|step| step.what != What::Said);
        for (place, (step, &value)) in steps.zip(&numbers.values).enumerate() {
            let of = match step.what {
                What::Said => continue,
                What::Born => {
                    constants.next();
                    continue;
                }
                What::Number(kind) | What::Start(kind) => {
                    if !tell(Played::Point(simple, kind, Value::Number(value))) {
                        return false;
                    }
                    simple += 1;
                    simple - 1
                }
                What::Part(kind, role, begins) => {
                    if begins {
                        if opened > self.simple && !open.tell(opened - 1, &mut tell) {
                            return false;
                        }
                        open.kind = kind;
                        opened += 1;
                    }
                    let constant = if matches!(role, Role::Bucket | Role::Value) { constants.next() } else { None };
                    open.take(role, constant, value);
                    opened - 1
                }
            };
            if let Some((_, line)) = exemplars.next_if(|(at, _)| *at == place)
                && !tell(Played::Exemplar(of, line))
            {
                return false;
            }
        }
        opened == self.simple || open.tell(opened - 1, &mut tell)
    }
}

impl Open {
    #[inline]
    fn take(&mut self, role: Role, constant: Option<f64>, value: f64) {
        match (role, constant) {
            (Role::Bucket, Some(le)) => self.buckets.push(Bucket { le, count: value }),
            (Role::Value, Some(quantile)) => self.quantiles.push((quantile, value)),
            (Role::Sum, _) => self.sum = Some(value),
            (Role::Count, _) => self.count = Some(value),
            (Role::Bucket | Role::Value | Role::Created, _) => {}
        }
    }

    /// Tells what was taken, and begins anew.
    fn tell<'a>(&mut self, number: usize, tell: &mut impl FnMut(Played<'_, 'a>) -> bool) -> bool {
        let (sum, count) = (self.sum.take(), self.count.take());
        let is_told = if self.kind == Kind::Summary {
            let quantiles = &*self.quantiles;
            tell(Played::Point(number, self.kind, Value::Summary(Summary { quantiles, sum, count })))
        } else {
            grow(&mut self.buckets, count).is_some()
                && tell(Played::Point(number, self.kind, Value::Histogram(Histogram { buckets: &self.buckets, sum })))
        };
        self.buckets.clear();
        self.quantiles.clear();
        is_told
    }
}

/// Reads a line of OpenMetrics that has an exemplar, and tells it.
pub fn exemplar(line: &str, limits: Limits, tell: impl FnOnce(&Sample<'_, '_>)) {
    let mut reader = Reader::new(line.as_bytes(), Format::OpenMetrics, limits);
    if let Some(Ok(Line::Sample(sample))) = reader.next_line()
        && sample.exemplar.is_some()
    {
        tell(&sample);
    }
}
