//! Samples that say themselves of which minute they are.
//!
//! Promises: they are told with that minute's time; where too many minutes are told of between two flushes, with the flush's, and their sums stay exact.
//! Never: judges whether a minute is one that CloudWatch takes.

use super::{SeriesId, Writing, table::Value};

impl Writing<'_> {
    /// Counts `amount` more in the `minute` since 1970.
    pub fn add_at(&mut self, id: SeriesId, amount: f64, minute: u32) {
        if !amount.is_finite() {
            return;
        }
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Counter(total) = &mut series.value {
            *total += amount;
            series.cells.each(|cell| cells.window_at(cell, minute).into_iter().for_each(|window| window.add(amount)));
        }
    }

    /// The value was `value` in the `minute` since 1970.
    pub fn set_at(&mut self, id: SeriesId, value: f64, minute: u32) {
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Gauge { value: now, .. } = &mut series.value
            && value.is_finite()
        {
            *now = value;
            series.cells.each(|cell| {
                if let Some(window) = cells.window_at(cell, minute) {
                    window.values().observe(value, 1.0);
                }
            });
        }
    }

    /// `value` was seen so often in the `minute` since 1970.
    pub fn observe_at(&mut self, id: SeriesId, value: f64, times: f64, minute: u32) {
        if !(value.is_finite() && times.is_finite() && times > 0.0 && (value * times).is_finite()) {
            return;
        }
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Histogram(buckets) = &mut series.value {
            buckets.observe(value, times);
            series.cells.each(|cell| {
                if let Some(window) = cells.window_at(cell, minute) {
                    window.values().observe(value, times);
                }
            });
        }
    }

    /// The sum of what was seen in the `minute` since 1970 is so much more than the values say.
    pub fn correct_sum_at(&mut self, id: SeriesId, by: f64, minute: u32) {
        let Some((series, cells)) = self.touch(id) else { return };
        if let Value::Histogram(buckets) = &mut series.value
            && by.is_finite()
        {
            buckets.sum += by * buckets.scale;
            series.cells.each(|cell| {
                cells.window_at(cell, minute).into_iter().for_each(|window| window.values().correct_sum(by));
            });
        }
    }
}
