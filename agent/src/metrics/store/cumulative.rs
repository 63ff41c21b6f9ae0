//! Series that somebody else accumulates: counters and histograms that are scraped or come by OTLP.
//!
//! Promises: what is counted between two looks is counted once; a counter that begins anew (it is less than it was) is counted from
//! nothing.
//! Never: guesses whether a first value is old: the source says.

use std::sync::Arc;

use super::{
    SeriesId, Writing,
    cell::Cells,
    table::{Buckets, Fed, Quantiles, Series, Value},
};

/// What the first value of a series means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It was counted before anybody looked: only what comes on top is new.
    Baseline,
    /// It was born after we were: all of it is new.
    Keep,
}

/// A histogram as somebody tells it.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// Upper bounds, rising and finite.
    pub bounds: &'a [f64],
    /// How many are in each bucket alone: one more than there are bounds, the last beyond all of them.
    pub counts: &'a [f64],
    /// The sum of all.
    pub sum: f64,
}

/// What is known of the least and the greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// None is outside of these.
    pub within: (f64, f64),
    /// The least, if it is known.
    pub least: Option<f64>,
    /// The greatest, if it is known.
    pub greatest: Option<f64>,
}

impl Extremes {
    /// Both are known.
    pub fn known((least, greatest): (f64, f64)) -> Self {
        Self { within: (least, greatest), least: Some(least), greatest: Some(greatest) }
    }
}

impl Fed {
    pub(super) fn from(cells: Vec<u32>) -> Self {
        match cells[..] {
            [] => Self::None,
            [one] => Self::One(one),
            _ => Self::Many(cells.into()),
        }
    }

    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::One(cell) => Some(*cell),
            Self::Many(cells) => cells.first().copied(),
        }
    }

    #[inline]
    pub(super) fn each(&self, mut tell: impl FnMut(u32)) {
        match self {
            Self::None => {}
            Self::One(cell) => tell(*cell),
            Self::Many(cells) => cells.iter().for_each(|&cell| tell(cell)),
        }
    }
}

impl Series {
    /// True if forgetting it loses nothing that was not flushed.
    pub(super) fn is_at_rest(&self) -> bool {
        match &self.value {
            Value::Gauge { is_fresh, .. } => !is_fresh,
            Value::Set { seen, .. } => seen.is_empty(),
            // What they counted is in the cells, which outlive them.
            Value::Counter(_) | Value::Histogram(_) | Value::Summary(_) => true,
        }
    }
}

impl Buckets {
    pub(super) fn new(bounds: &Arc<[f64]>, scale: f64) -> Self {
        Self { bounds: Arc::clone(bounds), counts: vec![0.0; bounds.len() + 1].into(), sum: 0.0, scale }
    }

    pub(super) fn observe(&mut self, value: f64, times: f64) {
        let value = value * self.scale;
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place] += times;
        self.sum += value * times;
    }

    fn is_like(&self, told: &Histogram<'_>) -> bool {
        *self.bounds == *told.bounds && self.counts.len() == told.counts.len()
    }

    fn put(&mut self, told: &Histogram<'_>) {
        if *self.bounds != *told.bounds {
            self.bounds = told.bounds.into();
        }
        self.counts = told.counts.into();
        self.sum = told.sum;
    }
}

/// `counts` between `bounds` as they would be between `others`, if each bucket that is not empty lies within one of those: so it is
/// when an exponential histogram became coarser or wider.
pub fn counts_between(bounds: &[f64], counts: &[f64], others: &[f64]) -> Option<Vec<f64>> {
    let mut now = vec![0.0; others.len() + 1];
    for (place, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        let upper = bounds.get(place).copied().unwrap_or(f64::INFINITY);
        let lower = place.checked_sub(1).map_or(f64::NEG_INFINITY, |before| bounds[before]);
        let within = others.partition_point(|bound| *bound < upper);
        if within > 0 && others[within - 1] > lower {
            return None;
        }
        now[within] += count;
    }
    Some(now)
}

impl Histogram<'_> {
    fn is_good(&self) -> bool {
        self.counts.len() == self.bounds.len() + 1
            && self.bounds.is_sorted_by(|a, b| a < b)
            && self.bounds.iter().all(|bound| bound.is_finite())
            && self.counts.iter().all(|count| count.is_finite() && *count >= 0.0)
    }
}

impl Writing<'_> {
    /// Somebody else's counter stands at `total`.
    pub fn total(&mut self, id: SeriesId, total: f64, first: First) {
        let Some((series, cells)) = self.touch(id) else { return };
        let Value::Counter(before) = &mut series.value else { return };
        if !total.is_finite() {
            return;
        }
        let more = match (series.is_born, first) {
            (true, _) if total >= *before => Some(total - *before),
            (true, _) | (false, First::Keep) => Some(total),
            (false, First::Baseline) => None,
        };
        (*before, series.is_born) = (total, true);
        if let Some(more) = more {
            series.cells.each(|cell| cells.window(cell).into_iter().for_each(|window| window.add(more)));
        }
    }

    /// It began anew since it was looked at last, whatever it says.
    pub fn restarted(&mut self, id: SeriesId) {
        let Some((series, _)) = self.touch(id) else { return };
        match &mut series.value {
            Value::Counter(total) => *total = 0.0,
            Value::Histogram(buckets) => {
                buckets.counts.fill(0.0);
                buckets.sum = 0.0;
            }
            _ => {}
        }
    }

    /// Somebody else's histogram stands at `told`. False if it is none.
    pub fn histogram_total(&mut self, id: SeriesId, told: &Histogram<'_>, first: First) -> bool {
        let Some((series, cells)) = self.touch(id) else { return false };
        let Value::Histogram(before) = &mut series.value else { return false };
        if !told.is_good() {
            return false;
        }
        let known = if before.is_like(told) {
            Some(before.counts.to_vec())
        } else {
            counts_between(&before.bounds, &before.counts, told.bounds)
        };
        let known = known.filter(|known| known.iter().zip(told.counts).all(|(before, now)| now >= before));
        if let Some(known) = known.filter(|_| series.is_born) {
            let more: Vec<f64> = told.counts.iter().zip(known).map(|(now, before)| now - before).collect();
            let sum = told.sum - before.sum;
            gather(&series.cells, cells, &Histogram { counts: &more, sum, ..*told }, None);
        } else if series.is_born || first == First::Keep {
            gather(&series.cells, cells, told, None);
        }
        before.put(told);
        series.is_born = true;
        true
    }

    /// So much came on top of a histogram, of which something may be known of the least and the greatest value. False if it is none.
    pub fn histogram_delta(&mut self, id: SeriesId, told: &Histogram<'_>, extremes: Option<Extremes>) -> bool {
        let Some((series, cells)) = self.touch(id) else { return false };
        let Value::Histogram(buckets) = &mut series.value else { return false };
        if !told.is_good() {
            return false;
        }
        gather(&series.cells, cells, told, extremes);
        if buckets.is_like(told) {
            buckets.counts.iter_mut().zip(told.counts).for_each(|(sum, more)| *sum += more);
            buckets.sum += told.sum;
        } else if let Some(known) = counts_between(&buckets.bounds, &buckets.counts, told.bounds) {
            let counts: Vec<f64> = known.iter().zip(told.counts).map(|(known, more)| known + more).collect();
            let sum = buckets.sum + told.sum;
            buckets.put(&Histogram { counts: &counts, sum, ..*told });
        } else {
            // Finer than what is there: each of its buckets as a whole, where its middle is.
            for (place, count) in told.counts.iter().enumerate() {
                let value = middle(told.bounds, place);
                let place = buckets.bounds.partition_point(|bound| *bound < value);
                buckets.counts[place] += count;
            }
            buckets.sum += told.sum;
        }
        true
    }

    /// Somebody else's summary stands so.
    pub fn summary_total(&mut self, id: SeriesId, quantiles: &[(f64, f64)], sum: f64, count: f64, first: First) {
        let Some((series, cells)) = self.touch(id) else { return };
        let Value::Summary(before) = &mut series.value else { return };
        let more = match (series.is_born, first) {
            (true, _) if count >= before.count => Some((sum - before.sum, count - before.count)),
            (true, _) | (false, First::Keep) => Some((sum, count)),
            (false, First::Baseline) => None,
        };
        **before = Quantiles { quantiles: quantiles.to_vec(), sum, count };
        series.is_born = true;
        if let Some((sum, count)) = more
            && count > 0.0
        {
            // No more is known of them than what they are in the middle.
            series.cells.each(|cell| {
                if let Some(window) = cells.window(cell) {
                    window.values().add(sum / count, count, sum);
                }
            });
        }
    }
}

/// Adds what is in each bucket at its middle. The sum is exact, and so are the extremes if they are known.
fn gather(fed: &Fed, cells: &mut Cells, told: &Histogram<'_>, extremes: Option<Extremes>) {
    fed.each(|cell| {
        let Some(window) = cells.window(cell) else { return };
        let mut guessed = 0.0;
        for (place, &count) in told.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let middle = middle(told.bounds, place);
            let value =
                extremes.map_or(middle, |Extremes { within: (least, greatest), .. }| middle.clamp(least, greatest));
            guessed += value * count;
            window.values().observe(value, count);
        }
        if let Some(Extremes { least, greatest, .. }) = extremes {
            window.values().widen(least, greatest);
        }
        if told.counts.iter().any(|count| *count > 0.0) {
            window.values().correct_sum(told.sum - guessed);
        }
    });
}

/// The middle of a bucket; of the first one from 0 if it is above, and of the last one its lower bound.
fn middle(bounds: &[f64], place: usize) -> f64 {
    match (place.checked_sub(1).map(|before| bounds[before]), bounds.get(place)) {
        (Some(lower), Some(upper)) => f64::midpoint(lower, *upper),
        (None, Some(upper)) if *upper > 0.0 => upper / 2.0,
        (None, Some(upper)) => *upper,
        (Some(lower), None) => lower,
        (None, None) => 0.0,
    }
}
