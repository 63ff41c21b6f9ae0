//! What holds for all series of a source: whether and how CloudWatch gets them, and how many there may be.
//!
//! Promises: what comes out of here is taken by `PutMetricData`: names and dimensions are of its alphabet and length, none is
//! empty, and there are at most 30.
//! Never: looks at a value.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use super::key::{Key, Publication};
use crate::metrics::declared::Declared;

/// Dimensions of a metric (API reference, `MetricDatum$Dimensions`).
pub const DIMENSIONS_MAX: usize = 30;
/// Characters of the names of metrics and dimensions, and of a namespace (API reference: 255).
const NAME_MAX: usize = 255;
/// Characters of a dimension's value (API reference: 1,024).
const VALUE_MAX: usize = 1_024;
/// What stands for a value that is empty, as with the CloudWatch agent.
const EMPTY: &str = "<empty>";

/// What holds for all series of a source.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether CloudWatch gets them.
    pub is_sent: bool,
    /// The namespace there.
    pub namespace: Arc<str>,
    /// Which labels are dimensions there. Series that differ in others are one metric.
    pub dimensions: Dimensions,
    /// Dimensions that all get, whatever their labels are.
    pub fixed: Vec<(String, String)>,
    /// Whether CloudWatch keeps seconds (`StorageResolution` 1) or minutes.
    pub is_high_resolution: bool,
    /// How many series there may be. Those beyond are one per name, labelled `overflow="true"`.
    pub series_max: usize,
    /// The bounds of histograms on `/metrics`, sorted.
    pub buckets: Arc<[f64]>,
}

/// Which labels are dimensions.
#[derive(Clone, Debug)]
pub enum Dimensions {
    /// All, the first 30 by name.
    All,
    /// These, where a series has them.
    Named(Vec<String>),
    /// Sets of them, of metrics that are selected.
    Declared(Declared),
}

impl Policy {
    /// Calls `add` with the dimensions of each metric that CloudWatch makes of `key`.
    fn chosen<'a>(&'a self, key: &'a Key<'_>, mut add: impl FnMut(Vec<(&'a str, &'a str)>)) {
        let fixed = || self.fixed.iter().map(|(name, value)| (&**name, &**value));
        let labels = key.labels.iter().copied();
        match &self.dimensions {
            Dimensions::All => add(fixed().chain(labels).collect()),
            Dimensions::Named(names) => {
                let is_chosen = |name: &str| names.iter().any(|wanted| wanted == name);
                add(fixed().chain(labels.filter(|(name, _)| is_chosen(name))).collect());
            }
            Dimensions::Declared(declared) => {
                declared.sets(key.name, key.labels).for_each(|set| add(fixed().chain(set).collect()));
            }
        }
    }

    /// Calls `add` with the namespace and the head of each metric that CloudWatch makes of `key`.
    pub(super) fn heads(&self, key: &Key<'_>, mut add: impl FnMut(&str, String)) {
        if !self.is_sent || !key.kind.is_sent() {
            return;
        }
        match key.publication {
            Publication::ByPolicy => {
                self.chosen(key, |set| add(&self.namespace, head(key, set, self.is_high_resolution)));
            }
            Publication::Own { namespace, sets, is_high_resolution } => {
                for set in sets {
                    add(namespace, head(key, set.to_vec(), is_high_resolution));
                }
            }
        }
    }
}

/// How the head of a datum ends of which CloudWatch keeps seconds.
const SECONDS: &str = ",\"StorageResolution\":1";

/// The second that CloudWatch keeps of something with this head that was `at` a second: of most the one in which the minute began.
pub(super) fn kept_second(head: &str, at: u32) -> u32 {
    if head.ends_with(SECONDS) { at } else { at - at % 60 }
}

/// The members of a datum that stay: what it is about.
fn head(key: &Key<'_>, mut dimensions: Vec<(&str, &str)>, is_high_resolution: bool) -> String {
    dimensions.retain(|(name, _)| !name.trim().is_empty());
    dimensions.sort_by_key(|(name, _)| *name);
    // The fixed ones stand before a label of their name, and sorting is stable.
    dimensions.dedup_by_key(|(name, _)| *name);
    dimensions.truncate(DIMENSIONS_MAX);
    let mut head = String::with_capacity(48 + key.name.len() + 32 * dimensions.len());
    head.push_str("\"MetricName\":\"");
    put(&mut head, key.name, NAME_MAX);
    head.push('"');
    for (place, (name, value)) in dimensions.iter().enumerate() {
        head.push_str(if place == 0 { ",\"Dimensions\":[{\"Name\":\"" } else { ",{\"Name\":\"" });
        // A name must not begin with a colon.
        let name = name.strip_prefix(':').map_or(Cow::Borrowed(*name), |rest| Cow::Owned(format!("_{rest}")));
        put(&mut head, &name, NAME_MAX);
        head.push_str("\",\"Value\":\"");
        put(&mut head, if value.trim().is_empty() { EMPTY } else { value }, VALUE_MAX);
        head.push_str("\"}");
    }
    if !dimensions.is_empty() {
        head.push(']');
    }
    // Writing to a String cannot fail.
    let _ = write!(head, ",\"Unit\":\"{}\"", key.unit.name());
    if is_high_resolution {
        head.push_str(SECONDS);
    }
    head
}

/// Writes `text` in the alphabet of the service, which is ASCII without control characters, and for JSON.
fn put(head: &mut String, text: &str, characters_max: usize) {
    let text = if text.trim().is_empty() { "_" } else { text };
    for c in text.chars().take(characters_max) {
        match c {
            '"' | '\\' => head.extend(['\\', c]),
            ' '..='~' => head.push(c),
            _ => head.push('_'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::Unit,
        metrics::{
            declared::Declaration,
            store::key::{Kind, SourceId},
        },
    };

    fn policy(dimensions: Dimensions) -> Policy {
        Policy {
            is_sent: true,
            namespace: "Shop".into(),
            dimensions,
            fixed: vec![("ServiceName".into(), "cart".into())],
            is_high_resolution: false,
            series_max: 10,
            buckets: [].into(),
        }
    }

    fn heads(policy: &Policy, name: &str, labels: &[(&str, &str)], publication: Publication<'_>) -> Vec<String> {
        let (kind, unit) = (Kind::Counter, Unit::COUNT);
        let key = Key { source: SourceId(0), name, shown: None, kind, unit, labels, publication };
        let mut heads = Vec::new();
        policy.heads(&key, |namespace, head| {
            serde_json::from_str::<serde_json::Value>(&format!("{{{head}}}")).expect("members of JSON");
            heads.push(format!("{namespace} {head}"));
        });
        heads
    }

    #[test]
    fn labels_become_dimensions_as_the_policy_says() {
        let labels = [("route", "/cart"), ("user", "7"), ("ServiceName", "theirs")];
        let of = |dimensions| heads(&policy(dimensions), "hits", &labels, Publication::ByPolicy);
        let service = r#"{"Name":"ServiceName","Value":"cart"}"#;
        assert_eq!(
            of(Dimensions::Named(vec!["route".into()])),
            [format!(
                r#"Shop "MetricName":"hits","Dimensions":[{service},{{"Name":"route","Value":"/cart"}}],"Unit":"Count""#
            )]
        );
        assert_eq!(
            of(Dimensions::All),
            [format!(
                r#"Shop "MetricName":"hits","Dimensions":[{service},{{"Name":"route","Value":"/cart"}},{{"Name":"user","Value":"7"}}],"Unit":"Count""#
            )]
        );
        let unsent = Policy { is_sent: false, ..policy(Dimensions::All) };
        assert!(heads(&unsent, "hits", &labels, Publication::ByPolicy).is_empty());
    }

    /// Fixed dimensions are in every set.
    #[test]
    fn declarations_choose_metrics_and_their_sets_of_dimensions() {
        let declaration = Declaration {
            names: vec!["^hits$".into()],
            dimensions: vec![vec!["route".into()], vec!["user".into(), "route".into()], vec!["nobody".into()]],
            ..Declaration::default()
        };
        let declared = Declared::new(&[declaration]).expect("expressions");
        let policy = policy(Dimensions::Declared(declared));
        let labels = [("route", "/cart"), ("user", "7")];
        let service = r#"{"Name":"ServiceName","Value":"cart"}"#;
        let route = r#"{"Name":"route","Value":"/cart"}"#;
        let of = |dimensions: String| format!(r#"Shop "MetricName":"hits","Dimensions":[{dimensions}],"Unit":"Count""#);
        assert_eq!(
            heads(&policy, "hits", &labels, Publication::ByPolicy),
            [of(format!("{service},{route}")), of(format!(r#"{service},{route},{{"Name":"user","Value":"7"}}"#))]
        );
        assert!(heads(&policy, "others", &labels, Publication::ByPolicy).is_empty());
    }

    #[test]
    fn a_source_may_name_its_metrics_itself() {
        let sets: [&[(&str, &str)]; 2] = [&[], &[("a", "1")]];
        let publication = Publication::Own { namespace: "Emf", sets: &sets, is_high_resolution: true };
        assert_eq!(
            heads(&policy(Dimensions::All), "x", &[("b", "2")], publication),
            [
                r#"Emf "MetricName":"x","Unit":"Count","StorageResolution":1"#,
                r#"Emf "MetricName":"x","Dimensions":[{"Name":"a","Value":"1"}],"Unit":"Count","StorageResolution":1"#
            ]
        );
    }

    /// One name that the service refuses would have the other 999 data of a request refused with it.
    #[test]
    fn whatever_the_names_are_the_service_takes_them() {
        let long = "é\"\\\n\u{0}".repeat(500);
        let many: Vec<(String, String)> = (0..40).map(|n| (format!(":{n}"), long.clone())).collect();
        let labels: Vec<(&str, &str)> =
            many.iter().map(|(name, value)| (&**name, &**value)).chain([("", "x"), ("e", " ")]).collect();
        let plain = Policy { fixed: Vec::new(), ..policy(Dimensions::All) };
        let told = heads(&plain, &long, &labels, Publication::ByPolicy).remove(0);
        let datum: serde_json::Value = serde_json::from_str(&format!("{{{}}}", &told["Shop ".len()..])).expect("JSON");
        assert_eq!(datum["MetricName"].as_str().map(str::len), Some(255));
        let dimensions = datum["Dimensions"].as_array().expect("dimensions");
        assert_eq!(dimensions.len(), 30);
        for dimension in dimensions {
            let (name, value) = (dimension["Name"].as_str().expect("text"), dimension["Value"].as_str().expect("text"));
            assert!(
                !name.starts_with(':')
                    && value.len() <= 1_024
                    && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            );
        }
        let told = heads(&plain, " ", &[("e", "")], Publication::ByPolicy);
        assert_eq!(told, [r#"Shop "MetricName":"_","Dimensions":[{"Name":"e","Value":"<empty>"}],"Unit":"Count""#]);
    }
}
