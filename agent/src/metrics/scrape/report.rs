//! How a scrape went, as series.
//!
//! Promises: what Prometheus writes of each scrape, under the same names.
//! Never: sends it to CloudWatch.

use super::take::{Taken, Taker};
use crate::{
    aws::Unit,
    metrics::store::{
        Store,
        key::{Key, Kind, Publication},
    },
};

impl Taker {
    /// Writes what Prometheus writes of each scrape: for `/metrics` alone, since three metrics a target would be paid for.
    pub fn report(&self, store: &Store, now: u32, result: Option<&Taken>, seconds: f64) {
        let samples = result.map_or(0, |taken| taken.samples) as f64;
        let mut writing = store.writing(now);
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        for (name, value, unit, help) in [
            ("up", f64::from(u8::from(result.is_some())), Unit::NONE, "Whether the last scrape succeeded."),
            ("scrape_duration_seconds", seconds, Unit::SECONDS, "How long the last scrape took."),
            ("scrape_samples_scraped", samples, Unit::COUNT, "How many samples the last scrape brought."),
        ] {
            let publication = Publication::Own { namespace: "", sets: &[], is_high_resolution: false };
            let key =
                Key { source: self.source, name, shown: None, kind: Kind::Gauge, unit, labels: &labels, publication };
            if let Some(series) = writing.series(&key) {
                writing.describe(series, help);
                writing.set(series, value);
            }
        }
    }
}
