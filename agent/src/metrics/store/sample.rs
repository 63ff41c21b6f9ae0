//! Samples of those who do not accumulate.
//!
//! A sample that says itself when it was is told with that time: of the minute, or of the second where CloudWatch keeps seconds.
//!
//! Promises: sums stay exact, also where samples of too many times are told of between two flushes; these are told with the flush's time then.
//! Never: judges whether a time is one that CloudWatch takes.

use super::{SeriesId, Writing, cell::SET_MAX, table::Value};

impl Writing<'_> {
    /// Counts `amount` more.
    #[inline]
    pub fn add(&mut self, id: SeriesId, amount: f64) {
        self.add_at(id, amount, None);
    }

    /// The same, `at` a second since 1970 if that is said.
    #[inline]
    pub fn add_at(&mut self, id: SeriesId, amount: f64, at: Option<u32>) {
        if !amount.is_finite() {
            return;
        }
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Counter(total) = &mut series.value {
            *total += amount;
            series.cells.each(|cell| cells.window_at(cell, at).into_iter().for_each(|window| window.add(amount)));
        }
    }

    /// The value is `value` now.
    pub fn set(&mut self, id: SeriesId, value: f64) {
        self.set_at(id, value, None);
    }

    /// The value was `value`, `at` a second since 1970 if that is said. One of now is told with the next flush, unless another follows.
    pub fn set_at(&mut self, id: SeriesId, value: f64, at: Option<u32>) {
        let Some((series, cells)) = self.touch(id) else { return };
        let Value::Gauge { value: now, is_fresh } = &mut series.value else { return };
        match at {
            // What is no number is shown, since others show it, and not sent.
            None => (*now, *is_fresh) = (value, value.is_finite()),
            Some(_) if value.is_finite() => {
                *now = value;
                series.cells.each(|cell| {
                    if let Some(window) = cells.window_at(cell, at) {
                        window.values().observe(value, 1.0);
                    }
                });
            }
            Some(_) => {}
        }
    }

    /// The value is so much more than it was; 0 if nobody said what it was.
    pub fn shift(&mut self, id: SeriesId, by: f64) {
        if let Some((series, _)) = self.touch(id)
            && let Value::Gauge { value: now, is_fresh } = &mut series.value
        {
            let shifted = if now.is_finite() { *now + by } else { by };
            if shifted.is_finite() {
                (*now, *is_fresh) = (shifted, true);
            }
        }
    }

    /// `value` was seen so often.
    pub fn observe(&mut self, id: SeriesId, value: f64, times: f64) {
        self.observe_at(id, (value, times), None);
    }

    /// The same, `at` a second since 1970 if that is said.
    pub fn observe_at(&mut self, id: SeriesId, (value, times): (f64, f64), at: Option<u32>) {
        if !(value.is_finite() && times.is_finite() && times > 0.0 && (value * times).is_finite()) {
            return;
        }
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Histogram(buckets) = &mut series.value {
            buckets.observe(value, times);
            series.cells.each(|cell| {
                if let Some(window) = cells.window_at(cell, at) {
                    window.values().observe(value, times);
                }
            });
        }
    }

    /// The sum of what was seen, `at` a second since 1970 if that is said, is so much more than the values say.
    pub fn correct_sum_at(&mut self, id: SeriesId, by: f64, at: Option<u32>) {
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Histogram(buckets) = &mut series.value
            && by.is_finite()
        {
            buckets.sum += by * buckets.scale;
            series.cells.each(|cell| {
                cells.window_at(cell, at).into_iter().for_each(|window| window.values().correct_sum(by));
            });
        }
    }

    /// Something was seen, of which `hash` is all that is kept.
    pub fn see(&mut self, id: SeriesId, hash: u64) {
        if let Some((series, _)) = self.touch(id)
            && let Value::Set { seen, .. } = &mut series.value
            && seen.len() < SET_MAX
        {
            seen.insert(hash);
        }
    }
}
