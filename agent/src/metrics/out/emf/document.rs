//! Documents of the embedded metric format, made of what was gathered.
//!
//! ```text
//! {"_aws":{"Timestamp":1764321600000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["route"]],
//!   "Metrics":[{"Name":"hits","Unit":"Count"},..]}]},"route":"/a","hits":3,..}
//! ```
//!
//! Metrics of one namespace, with the same dimensions and of the same minute, share a document. Few values stand there as they are; many as values
//! with their counts, which is not in the format's specification, but what CloudWatch takes and OpenTelemetry's exporter writes.
//!
//! Promises: a document keeps the format's limits (100 metrics, 30 dimensions, 100 values) and has at most 200 KB; each name is in it once; sums and
//! counts are exact, and so are the extremes; what is held is bounded.
//! Never: writes a number that CloudWatch does not take.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use serde::Deserialize;

use crate::{
    emf::{METRICS_MAX, Made, VALUES_MAX},
    metrics::{
        distribution::Distribution,
        out::cloudwatch::{Json, is_in_range, time},
        store::{Datum, Window},
    },
};

/// Bytes of a document: less than the 256 KB that CloudWatch Logs took of an event for years, so that every region takes it.
const DOCUMENT_BYTES_MAX: usize = 200_000;
/// Bytes of documents that are held until all is gathered.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Characters of a dimension's name (the format's specification; `PutMetricData` takes 255).
const DIMENSION_NAME_MAX: usize = 250;
/// How far a sum of values may be from the sum that is known, since floating point adds up in some order.
const SUM_TOLERANCE: f64 = 1e-9;

/// What a datum is about, as the store writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Head {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    unit: String,
    storage_resolution: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// What all metrics of a document share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shared {
    namespace: String,
    /// Names and values.
    dimensions: Vec<(String, String)>,
    seconds: u64,
}

/// A document while it is made.
#[derive(Debug, Default)]
struct Open {
    /// What stands between the brackets of `Metrics`.
    definitions: String,
    /// The members with values.
    values: String,
    names: HashSet<String, RandomState>,
}

/// Documents while they are made.
#[derive(Debug, Default)]
pub(super) struct Documents {
    open: HashMap<Shared, Open, RandomState>,
    held: usize,
}

/// It cannot be a metric of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

impl Documents {
    /// Adds what was gathered in the window that began so many seconds after 1970, or in the minute that it says itself. Documents
    /// that are full are told.
    pub(super) fn add(
        &mut self,
        (namespace, datum): (&str, &Datum<'_>),
        began: u64,
        mut tell: impl FnMut(Made),
    ) -> Result<(), Unfit> {
        let head: Head = serde_json::from_str(&format!("{{{}}}", datum.head)).map_err(|_| Unfit)?;
        let values = values_of(&datum.window).ok_or(Unfit)?;
        let mut dimensions: Vec<(String, String)> = Vec::with_capacity(head.dimensions.len());
        for Dimension { mut name, value } in head.dimensions {
            // The store writes ASCII.
            name.truncate(DIMENSION_NAME_MAX);
            if dimensions.iter().any(|(known, _)| *known == name) {
                return Err(Unfit);
            }
            dimensions.push((name, value));
        }
        let name = head.metric_name;
        // Both would be the member of that name.
        if name == "_aws" || dimensions.iter().any(|(known, _)| *known == name || known == "_aws") {
            return Err(Unfit);
        }
        let resolution = head.storage_resolution.map_or_else(String::new, |of| format!(",\"StorageResolution\":{of}"));
        let definition = format!("{{\"Name\":{},\"Unit\":{}{resolution}}}", json(&name), json(&head.unit));
        let shared = Shared { namespace: namespace.to_owned(), dimensions, seconds: time(datum, began) };
        for value in values {
            let bytes = definition.len() + name.len() + value.len() + 8;
            if let Some(open) = self.open.get_mut(&shared)
                && (open.names.contains(&name)
                    || open.names.len() >= METRICS_MAX
                    || open.bytes() + bytes > DOCUMENT_BYTES_MAX - shared.bytes())
            {
                let open = std::mem::take(open);
                self.held -= open.bytes().min(self.held);
                tell(open.document(&shared));
            }
            let open = self.open.entry(shared.clone()).or_insert_with(|| {
                self.held += shared.bytes();
                Open::default()
            });
            let comma = if open.definitions.is_empty() { "" } else { "," };
            open.definitions.extend([comma, &*definition]);
            open.values.extend([",", &*json(&name), ":", &*value]);
            open.names.insert(name.clone());
            self.held += bytes;
        }
        if self.held > HELD_BYTES_MAX {
            self.finish(tell);
        }
        Ok(())
    }

    /// Tells all that is left.
    pub(super) fn finish(&mut self, mut tell: impl FnMut(Made)) {
        self.held = 0;
        for (shared, open) in self.open.drain().filter(|(_, open)| !open.names.is_empty()) {
            tell(open.document(&shared));
        }
    }
}

impl Shared {
    /// What it takes of a document, at most.
    fn bytes(&self) -> usize {
        let dimensions = self.dimensions.iter().map(|(name, value)| 4 * name.len() + 2 * value.len() + 8);
        128 + 2 * self.namespace.len() + dimensions.sum::<usize>()
    }
}

impl Open {
    fn bytes(&self) -> usize {
        self.definitions.len() + self.values.len()
    }

    fn document(self, Shared { namespace, dimensions, seconds }: &Shared) -> Made {
        let names: Vec<String> = dimensions.iter().map(|(name, _)| json(name)).collect();
        let members: String =
            dimensions.iter().map(|(name, value)| format!(",{}:{}", json(name), json(value))).collect();
        let text = format!(
            "{{\"_aws\":{{\"Timestamp\":{seconds}000,\"CloudWatchMetrics\":[{{\"Namespace\":{},\"Dimensions\":[[{}]],\"Metrics\":[{}]}}]}}{members}{}}}",
            json(namespace),
            names.join(","),
            self.definitions,
            self.values,
        );
        Made { milliseconds: i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX), text }
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// The values that a metric has in one document after the other; `None` if CloudWatch would not take them.
fn values_of(window: &Window) -> Option<Vec<String>> {
    match window {
        Window::Empty => None,
        Window::Sum(sum) => is_in_range(*sum).then(|| vec![Json(*sum).to_string()]),
        Window::Set(seen) => Some(vec![seen.len().to_string()]),
        Window::Values(values) => of_distribution(values),
    }
}

fn of_distribution(distribution: &Distribution) -> Option<Vec<String>> {
    let (mut pairs, mut is_good) = (Vec::new(), true);
    distribution.each(|value, weight| {
        is_good &= is_in_range(value) && is_in_range(weight);
        pairs.push((value, weight));
    });
    if !is_good || !is_in_range(distribution.sum()) || !is_in_range(distribution.count()) {
        return None;
    }
    if let Some(each) = one_by_one(distribution, &pairs) {
        return Some(vec![each]);
    }
    let parts = pairs.chunks(VALUES_MAX).count();
    let part = |(place, pairs): (usize, &[(f64, f64)])| {
        let list = |of: fn(&(f64, f64)) -> f64| {
            let texts: Vec<String> = pairs.iter().map(|pair| Json(of(pair)).to_string()).collect();
            texts.join(",")
        };
        // The extremes of all are known better than by the values, which are the middles of buckets. The sum is in the first.
        let least = if place == 0 { distribution.least() } else { pairs[0].0 };
        let greatest = if place + 1 == parts { distribution.greatest() } else { pairs[pairs.len() - 1].0 };
        let count: f64 = pairs.iter().map(|(_, weight)| weight).sum();
        let sum = if place == 0 { distribution.sum() } else { 0.0 };
        format!(
            "{{\"Values\":[{}],\"Counts\":[{}],\"Max\":{},\"Min\":{},\"Count\":{},\"Sum\":{}}}",
            list(|pair| pair.0),
            list(|pair| pair.1),
            Json(greatest),
            Json(least),
            Json(count),
            Json(sum),
        )
    };
    Some(pairs.chunks(VALUES_MAX).enumerate().map(part).collect())
}

/// The values as the format's specification has them, each as often as it was seen, if they are few and all that is known.
fn one_by_one(distribution: &Distribution, pairs: &[(f64, f64)]) -> Option<String> {
    let is_known = pairs.first()?.0 == distribution.least() && pairs.last()?.0 == distribution.greatest();
    let are_whole = pairs.iter().all(|(_, weight)| weight.fract() == 0.0);
    let (sum, amount) = pairs
        .iter()
        .fold((0.0, 0.0), |(sum, amount), (value, weight)| (sum + value * weight, amount + (value * weight).abs()));
    let adds_up = (sum - distribution.sum()).abs() <= SUM_TOLERANCE * amount;
    if !is_known || !are_whole || !adds_up || distribution.count() > VALUES_MAX as f64 {
        return None;
    }
    let each = pairs.iter().flat_map(|(value, weight)| std::iter::repeat_n(*value, *weight as usize));
    let texts: Vec<String> = each.map(|value| Json(value).to_string()).collect();
    Some(if let [one] = &texts[..] { one.clone() } else { format!("[{}]", texts.join(",")) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::emf::{self, Values};

    const BEGAN: u64 = 1_795_860_000;

    fn documents<'d>(data: impl IntoIterator<Item = (&'d str, Datum<'d>)>) -> (Vec<Made>, usize) {
        let (mut documents, mut told, mut unfit) = (Documents::default(), Vec::new(), 0);
        for (namespace, datum) in data {
            unfit += usize::from(documents.add((namespace, &datum), BEGAN, |one| told.push(one)).is_err());
        }
        documents.finish(|one| told.push(one));
        documents.finish(|_| panic!("all was told"));
        (told, unfit)
    }

    fn datum(head: &str, window: Window) -> Datum<'_> {
        Datum { head, at: None, window }
    }

    fn values(seen: impl IntoIterator<Item = (f64, f64)>) -> Window {
        let mut distribution = Distribution::default();
        for (value, weight) in seen {
            assert!(distribution.observe(value, weight));
        }
        Window::Values(Box::new(distribution))
    }

    /// Sum, count and extremes of each metric, as a reader of the format finds them, if it finds no mistake.
    fn read(documents: &[Made]) -> BTreeMap<String, [f64; 4]> {
        let mut all = BTreeMap::new();
        for one in documents {
            assert!(one.text.len() <= DOCUMENT_BYTES_MAX, "{}", one.text.len());
            let now = i64::try_from(BEGAN).expect("small") * 1_000;
            let document =
                emf::read(one.text.as_bytes(), now).unwrap_or_else(|fault| panic!("{fault:?}: {}", one.text));
            assert!(document.is_whole() && document.findings().repairs().next().is_none(), "{}", one.text);
            assert_eq!(document.time(), Some(one.milliseconds));
            document.metrics(|metric| {
                let told: [f64; 4] = match metric.values {
                    Values::One(value) => [value, 1.0, value, value],
                    Values::Many(numbers) => {
                        let count = numbers.len() as f64;
                        let least = numbers.iter().fold(f64::INFINITY, f64::min);
                        [numbers.iter().sum(), count, least, numbers.iter().fold(f64::NEG_INFINITY, f64::max)]
                    }
                    Values::Weighted { statistics, .. } | Values::Statistics(statistics) => {
                        [statistics.sum, statistics.count, statistics.min, statistics.max]
                    }
                };
                let name = format!(
                    "{} {} {:?} {}",
                    metric.namespace,
                    metric.name,
                    metric.sets,
                    metric.unit.map_or("", |unit| unit.name())
                );
                let [sum, count, least, greatest] =
                    all.entry(name).or_insert([0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY]);
                *sum += told[0];
                *count += told[1];
                *least = least.min(told[2]);
                *greatest = greatest.max(told[3]);
            });
        }
        all
    }

    #[test]
    fn metrics_of_the_same_dimensions_share_a_document() {
        let route = r#""MetricName":"hits","Dimensions":[{"Name":"route","Value":"/a\"\\"}],"Unit":"Count""#;
        let took = r#""MetricName":"took","Dimensions":[{"Name":"route","Value":"/a\"\\"}],"Unit":"Milliseconds","StorageResolution":1"#;
        let (mut told, unfit) = documents([
            ("Shop", datum(route, Window::Sum(3.5))),
            ("Shop", datum(took, values([(10.0, 2.0), (30.0, 1.0)]))),
            ("Shop", datum(r#""MetricName":"up","Unit":"None""#, values([(1.0, 1.0)]))),
            ("Shop", Datum { at: Some(1_795_860_060), ..datum(route, Window::Sum(1.0)) }),
        ]);
        told.sort_by(|a, b| a.text.cmp(&b.text));
        let texts: Vec<&str> = told.iter().map(|one| &*one.text).collect();
        let expected = [
            r#"{"_aws":{"Timestamp":1795860000000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["route"]],"Metrics":[{"Name":"hits","Unit":"Count"},{"Name":"took","Unit":"Milliseconds","StorageResolution":1}]}]},"route":"/a\"\\","hits":3.5,"took":[10,10,30]}"#,
            r#"{"_aws":{"Timestamp":1795860000000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[[]],"Metrics":[{"Name":"up","Unit":"None"}]}]},"up":1}"#,
            r#"{"_aws":{"Timestamp":1795860060000,"CloudWatchMetrics":[{"Namespace":"Shop","Dimensions":[["route"]],"Metrics":[{"Name":"hits","Unit":"Count"}]}]},"route":"/a\"\\","hits":1}"#,
        ];
        assert_eq!((texts, unfit), (expected.to_vec(), 0));
        assert_eq!(read(&told).len(), 3);
    }

    #[test]
    fn what_does_not_fit_into_one_document_goes_into_the_next() {
        let heads: Vec<String> = (0..250).map(|n| format!("\"MetricName\":\"m{n}\",\"Unit\":\"Count\"")).collect();
        let (told, _) = documents(heads.iter().map(|head| ("Shop", datum(head, Window::Sum(1.0)))));
        assert_eq!((told.len(), read(&told).len()), (3, 250));
        // A counter and a timer of one name.
        let (told, _) =
            documents([("Shop", datum(&heads[0], Window::Sum(1.0))), ("Shop", datum(&heads[0], Window::Sum(2.0)))]);
        assert_eq!((told.len(), read(&told)["Shop m0 [[]] Count"]), (2, [3.0, 2.0, 1.0, 2.0]));
        // Large ones.
        let many = || values((0..150).map(|n| (f64::from(n) + 0.123_456_789_012_345, 1.5)));
        let (told, _) = documents(heads.iter().map(|head| ("Shop", datum(head, many()))));
        assert!(told.len() > 3);
        let sum = (0..150).map(|n| (f64::from(n) + 0.123_456_789_012_345) * 1.5).sum::<f64>();
        for told in read(&told).values() {
            assert!((told[0] - sum).abs() < 1e-6 && told[1] == 225.0, "{told:?}");
        }
    }

    #[test]
    fn a_sum_that_is_known_better_is_the_one_that_is_told() {
        let mut distribution = Distribution::default();
        distribution.observe(10.0, 3.0);
        distribution.observe(20.0, 1.0);
        distribution.correct_sum(1.0);
        let (told, _) =
            documents([("N", datum(r#""MetricName":"m","Unit":"None""#, Window::Values(Box::new(distribution))))]);
        assert_eq!(read(&told)["N m [[]] None"], [51.0, 4.0, 10.0, 20.0]);
    }

    #[test]
    fn what_cannot_be_a_member_is_unfit_and_harms_no_other() {
        let long = "x".repeat(255);
        let other = format!("{}y", "x".repeat(254));
        let both = format!(
            r#""MetricName":"m","Dimensions":[{{"Name":"{long}","Value":"1"}},{{"Name":"{other}","Value":"2"}}],"Unit":"None""#
        );
        let (told, unfit) = documents([
            ("N", datum(r#""MetricName":"a","Dimensions":[{"Name":"a","Value":"1"}],"Unit":"None""#, Window::Sum(1.0))),
            ("N", datum(r#""MetricName":"_aws","Unit":"None""#, Window::Sum(1.0))),
            ("N", datum(&both, Window::Sum(1.0))),
            ("N", datum(r#""MetricName":"b","Unit":"None""#, Window::Sum(1e200))),
            ("N", datum(r#""MetricName":"c","Unit":"None""#, values([(1e-200, 1.0)]))),
            ("N", datum("broken", Window::Sum(1.0))),
            ("N", datum(r#""MetricName":"d","Unit":"None""#, Window::Sum(4.0))),
        ]);
        assert_eq!((read(&told).len(), unfit), (1, 6));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let heads: Vec<String> = (0..20_000)
            .map(|n| {
                format!("\"MetricName\":\"m\",\"Dimensions\":[{{\"Name\":\"n\",\"Value\":\"{n}\"}}],\"Unit\":\"Count\"")
            })
            .collect();
        let (mut documents, mut told) = (Documents::default(), Vec::new());
        for head in &heads {
            documents.add(("N", &datum(head, values([(1.0, 300.0)]))), BEGAN, |one| told.push(one)).expect("fits");
            assert!(documents.held <= HELD_BYTES_MAX);
        }
        assert!(!told.is_empty());
        documents.finish(|one| told.push(one));
        assert_eq!(read(&told).len(), heads.len());
    }

    proptest! {
        /// Whatever was seen, a reader of the format finds the same sum, count and extremes.
        #[test]
        fn property_what_a_reader_finds_is_what_was_seen(
            seen in prop::collection::vec((-1e6..1e6, prop_oneof![1 => 0.5..3.0, 3 => (1u8..4).prop_map(f64::from)]), 1..300),
        ) {
            let window = values(seen);
            let Window::Values(values) = window.clone() else { unreachable!("they are") };
            let (told, unfit) = documents([("N", datum(r#""MetricName":"m","Unit":"None""#, window))]);
            prop_assert_eq!(unfit, 0);
            let [sum, count, least, greatest] = read(&told)["N m [[]] None"];
            prop_assert!((sum - values.sum()).abs() <= 1e-6 * values.count() * 1e6);
            prop_assert!((count - values.count()).abs() < 1e-6);
            prop_assert_eq!((least, greatest), (values.least(), values.greatest()));
        }
    }
}
