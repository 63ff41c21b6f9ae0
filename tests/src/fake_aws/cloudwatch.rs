//! The rules of CloudWatch: what `PutMetricData` takes, and what statistics it becomes.
//!
//! Promises: limits to the datum, the value and the character; a request of which one datum is wrong is refused whole, as the service
//! does, and remembered as a violation.
//! Never: speaks HTTP or knows of faults.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::logs::Refusal;

/// Bytes of a request before compression.
const REQUEST_BYTES_MAX: usize = 1_000_000;
/// Data of a request.
const DATA_MAX: usize = 1_000;
/// Values of a datum.
const VALUES_MAX: usize = 150;
/// Dimensions of a datum.
const DIMENSIONS_MAX: usize = 30;
/// Seconds back and ahead that a datum may be of.
const SECONDS_BACK: f64 = 14.0 * 86_400.0;
const SECONDS_AHEAD: f64 = 2.0 * 3_600.0;
/// The units there are.
const UNITS: &str = "None Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits Megabits \
                     Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second \
                     Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second";

/// A metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Names and values, as they came.
    pub dimensions: Vec<(String, String)>,
    /// Its unit.
    pub unit: String,
}

/// What was put of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// How many values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Seconds since 1970 of each datum, in the order of acceptance.
    pub times: Vec<f64>,
    /// True if all of it was put with a resolution of a second.
    pub is_high_resolution: bool,
}

/// One account and region.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) all: BTreeMap<Metric, Statistics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    namespace: String,
    metric_data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Datum {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: f64,
    value: Option<f64>,
    statistic_values: Option<StatisticSet>,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default)]
    counts: Vec<f64>,
    #[serde(default)]
    unit: Option<String>,
    storage_resolution: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Dimension {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StatisticSet {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Metrics {
    pub(super) fn put(&mut self, body: &[u8], now_ms: i64) -> Result<Value, Refusal> {
        let refused = |message: String| Refusal { code: "InvalidParameterValue", message, violation: true };
        if body.len() > REQUEST_BYTES_MAX {
            return Err(refused(format!("a request of {} bytes", body.len())));
        }
        let Put { namespace, metric_data } =
            serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
        if metric_data.is_empty() || metric_data.len() > DATA_MAX {
            return Err(refused(format!("{} data", metric_data.len())));
        }
        if !is_text(&namespace, 255) || namespace.starts_with("AWS/") {
            return Err(refused(format!("the namespace `{namespace}`")));
        }
        let now = now_ms as f64 / 1_000.0;
        if let Some(problem) = metric_data.iter().find_map(|datum| datum.problem(now)) {
            return Err(refused(problem));
        }
        for datum in metric_data {
            self.add(&namespace, datum);
        }
        Ok(json!({}))
    }

    fn add(&mut self, namespace: &str, datum: Datum) {
        let set = datum.statistics();
        let Datum { metric_name: name, dimensions, unit, timestamp, storage_resolution, .. } = datum;
        let dimensions = dimensions.into_iter().map(|dimension| (dimension.name, dimension.value)).collect();
        let unit = unit.unwrap_or_else(|| "None".to_owned());
        let metric = Metric { namespace: namespace.to_owned(), name, dimensions, unit };
        let is_high = storage_resolution == Some(1);
        let all = self.all.entry(metric).or_insert(Statistics {
            count: 0.0,
            sum: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            times: Vec::new(),
            is_high_resolution: true,
        });
        all.count += set.sample_count;
        all.sum += set.sum;
        all.least = all.least.min(set.minimum);
        all.greatest = all.greatest.max(set.maximum);
        all.times.push(timestamp);
        all.is_high_resolution &= is_high;
    }
}

impl Datum {
    fn problem(&self, now: f64) -> Option<String> {
        let name = &self.metric_name;
        if !is_text(name, 255) {
            return Some(format!("the name `{name}`"));
        }
        let is_good = |dimension: &Dimension| {
            is_text(&dimension.name, 255) && !dimension.name.starts_with(':') && is_text(&dimension.value, 1_024)
        };
        let mut names: Vec<_> = self.dimensions.iter().map(|dimension| &dimension.name).collect();
        names.sort();
        names.dedup();
        if self.dimensions.len() > DIMENSIONS_MAX
            || names.len() < self.dimensions.len()
            || !self.dimensions.iter().all(is_good)
        {
            return Some(format!("the dimensions of `{name}`"));
        }
        if self.unit.as_ref().is_some_and(|unit| !UNITS.split(' ').any(|known| known == unit)) {
            return Some(format!("the unit of `{name}`"));
        }
        if self.timestamp < now - SECONDS_BACK || self.timestamp > now + SECONDS_AHEAD {
            return Some(format!("the time of `{name}`"));
        }
        let pairs = self.values.len() == self.counts.len() && self.values.len() <= VALUES_MAX;
        let mut distinct = self.values.clone();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        if !pairs || distinct.len() < self.values.len() || self.value.is_some() == self.statistic_values.is_some() {
            return Some(format!("the values of `{name}`"));
        }
        let set = self.statistics();
        let mut numbers = vec![set.sample_count, set.sum, set.minimum, set.maximum];
        numbers.extend(self.values.iter().chain(&self.counts));
        let is_number = |number: &f64| number.is_finite() && number.abs() <= 2f64.powi(360);
        // Values and the set that stands beside them must be of the same samples.
        let count: f64 = self.counts.iter().sum();
        let (least, greatest) = (distinct.first(), distinct.last());
        let agrees = distinct.is_empty()
            || (count - set.sample_count).abs() <= 1e-9 * count
                && least.is_some_and(|least| *least >= set.minimum)
                && greatest.is_some_and(|greatest| *greatest <= set.maximum);
        (!numbers.iter().all(is_number) || !agrees).then(|| format!("a number of `{name}`: {numbers:?}"))
    }

    fn statistics(&self) -> StatisticSet {
        match (&self.statistic_values, self.value) {
            (Some(set), _) => StatisticSet { ..*set },
            (None, value) => {
                let value = value.unwrap_or_default();
                StatisticSet { sample_count: 1.0, sum: value, minimum: value, maximum: value }
            }
        }
    }
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !text.trim().is_empty()
}
