//! What log records count, as series.
//!
//! Promises: what a rule or a level counted is in one series; a series is found by what tells it apart, and its labels are put together once.
//! Never: sees a record; waits.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::{
    Seconds,
    settings::{CONTAINER, LEVEL},
    store::{
        Raw, SeriesId, Store, Writing,
        key::{Key, Kind, Publication, SourceId},
    },
};
use crate::{
    aws::Unit,
    tally::{Found, LEVELS, Level, Rule, Taker},
};

/// The counter of records by container and level. `/metrics` shows it with `_total` behind.
const RECORDS: &str = "log_records";

/// Takes what log records count for the store.
pub struct Records {
    setup: Setup,
}

/// How it is set up.
pub struct Setup {
    /// The name on `/metrics`.
    pub name: String,
    /// Where metrics go.
    pub store: Store,
    /// As whose.
    pub source: SourceId,
    /// The rules, whose numbers are their places here.
    pub rules: Vec<Rule>,
    /// The store's clock.
    pub seconds: Seconds,
    /// What is in no series, by `input` and `reason`.
    pub rejected: IntCounterVec,
    /// What was taken, by `input`.
    pub samples: IntCounterVec,
}

/// What was counted, with all that tells its series apart.
struct Counted<'a> {
    name: &'a str,
    help: &'a str,
    unit: Unit,
    labels: &'a [(&'a str, &'a str)],
}

impl Records {
    /// A source as `setup` says.
    pub fn new(setup: Setup) -> Arc<Self> {
        Arc::new(Self { setup })
    }

    /// The series that is spelled so, made of `counted` if it was not seen before.
    fn series(&self, writing: &mut Writing<'_>, name: &[u8], tags: &[u8], counted: &Counted<'_>) -> Option<SeriesId> {
        let raw = Raw { source: self.setup.source, kind: Kind::Counter, name, tags };
        if let Some(known) = writing.known(&raw) {
            return known;
        }
        let Counted { name, help, unit, labels } = *counted;
        let (source, publication) = (self.setup.source, Publication::ByPolicy);
        let key = Key { source, name, shown: None, kind: Kind::Counter, unit, labels, publication };
        let series = writing.series(&key)?;
        writing.describe(series, help);
        writing.remember(&raw, Some(series));
        Some(series)
    }

    fn count(&self, taken: u64, rejected: [(&str, u64); 2]) {
        let Setup { name, samples, rejected: counters, .. } = &self.setup;
        samples.with_label_values(&[name]).inc_by(taken);
        for (reason, count) in rejected.into_iter().filter(|(_, count)| *count > 0) {
            counters.with_label_values(&[&**name, reason]).inc_by(count);
        }
    }
}

impl Taker for Records {
    fn levels(&self, container: &str, counts: &[u64; LEVELS]) {
        let mut writing = self.setup.store.writing(self.setup.seconds.now());
        let (mut taken, mut without) = (0, 0);
        for (level, &count) in Level::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
            let counted = Counted {
                name: RECORDS,
                help: "Log records, by the level that their lines say.",
                unit: Unit::COUNT,
                labels: &[(CONTAINER, container), (LEVEL, level.name())],
            };
            match self.series(&mut writing, container.as_bytes(), level.name().as_bytes(), &counted) {
                Some(series) => {
                    writing.add(series, count as f64);
                    taken += count;
                }
                None => without += count,
            }
        }
        drop(writing);
        self.count(taken, [("series_max", without), ("no_number", 0)]);
    }

    fn found(&self, container: &str, found: &[Found]) {
        let mut writing = self.setup.store.writing(self.setup.seconds.now());
        let (mut taken, mut without, mut no_number, mut tags) = (0, 0, 0, Vec::new());
        for Found { rule: number, amount, labels: values } in found {
            let Some(rule) = self.setup.rules.get(*number) else { continue };
            let Some(amount) = amount else {
                no_number += 1;
                continue;
            };
            tags.clear();
            for text in std::iter::once(container).chain(values.iter().map(String::as_str)) {
                // With its length before it, so that no text can pass for two. A level's spelling begins with a letter.
                tags.extend((text.len() as u64).to_be_bytes());
                tags.extend(text.as_bytes());
            }
            let mut labels = vec![(CONTAINER, container)];
            let own = rule.labels.keys().zip(values).filter(|(_, value)| !value.is_empty());
            labels.extend(own.map(|(name, value)| (&**name, &**value)));
            let unit = if rule.sum.is_some() { Unit::NONE } else { Unit::COUNT };
            let counted = Counted { name: &rule.name, help: &rule.help, unit, labels: &labels };
            match self.series(&mut writing, rule.name.as_bytes(), &tags, &counted) {
                Some(series) => {
                    writing.add(series, *amount);
                    taken += 1;
                }
                None => without += 1,
            }
        }
        drop(writing);
        self.count(taken, [("series_max", without), ("no_number", no_number)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::{expose::expose, settings},
        tell::{
            counters::Counters,
            exposition::{Form, Page},
        },
    };

    fn records(series_max: u32, rules: &str) -> (Arc<Records>, Store, Counters) {
        let (store, counters) = (Store::default(), Counters::new());
        let text = format!(r#"{{"publish":{{"series_max":{series_max}}},"rules":{rules}}}"#);
        let settings: settings::Records = serde_json::from_str(&text).expect("settings");
        let setup = Setup {
            name: "logs.0".to_owned(),
            source: store.source(settings.publish().policy(true)),
            store: store.clone(),
            rules: settings.rules,
            seconds: Seconds::new(),
            rejected: counters.metrics.rejected.clone(),
            samples: counters.metrics.samples.clone(),
        };
        (Records::new(setup), store, counters)
    }

    fn page(store: &Store) -> Vec<String> {
        let mut page = Page::new(Form::Text);
        expose(store, &mut page);
        let mut lines: Vec<String> =
            page.finish().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn levels_and_rules_become_series() {
        let rules = r#"[{"name":"orders","labels":{"country":"c","state":"s"}},{"name":"revenue","sum":"amount"}]"#;
        let (records, store, _) = records(100, rules);
        for _ in 0..2 {
            records.levels("web", &[1, 0, 0, 2, 0, 0, 0]);
            records.levels("info", &[0, 0, 0, 0, 0, 3, 0]);
            let found = |rule, amount, labels: &[&str]| Found {
                rule,
                amount,
                labels: labels.iter().map(|text| (*text).to_owned()).collect(),
            };
            let many = [
                found(0, Some(1.0), &["at", "w"]),
                found(0, Some(1.0), &["a", "tw"]),
                found(0, Some(1.0), &["at", ""]),
                found(1, Some(2.5), &[]),
                found(1, None, &[]),
                found(9, Some(1.0), &[]),
            ];
            records.found("web", &many);
        }
        let expected = [
            "log_records_total{container=\"info\",level=\"error\"} 6",
            "log_records_total{container=\"web\",level=\"info\"} 4",
            "log_records_total{container=\"web\",level=\"none\"} 2",
            "orders_total{container=\"web\",country=\"a\",state=\"tw\"} 2",
            "orders_total{container=\"web\",country=\"at\",state=\"w\"} 2",
            "orders_total{container=\"web\",country=\"at\"} 2",
            "revenue_total{container=\"web\"} 5",
        ];
        assert_eq!(page(&store), expected);
        let setup = &records.setup;
        assert_eq!(setup.samples.with_label_values(&["logs.0"]).get(), 20);
        assert_eq!(setup.rejected.with_label_values(&["logs.0", "no_number"]).get(), 2);
    }

    /// Labels out of lines have no end. What is beyond the cap is in one series, and the known ones stay exact.
    #[test]
    fn a_flood_of_labels_ends_in_one_series() {
        let (records, store, _) = records(3, r#"[{"name":"hits","labels":{"user":"u"}}]"#);
        for user in 0..100 {
            let found = Found { rule: 0, amount: Some(1.0), labels: vec![(user % 50).to_string()] };
            records.found("web", &[found]);
        }
        let expected = [
            "hits_total{container=\"web\",user=\"0\"} 2",
            "hits_total{container=\"web\",user=\"1\"} 2",
            "hits_total{container=\"web\",user=\"2\"} 2",
            "hits_total{overflow=\"true\"} 94",
        ];
        assert_eq!(page(&store), expected);
    }

    #[test]
    fn container_and_level_are_dimensions_unless_others_are_named() {
        let (records, store, _) = records(10, "[]");
        records.levels("web", &[0, 0, 0, 7, 0, 0, 0]);
        let (mut flush, mut heads) = (store.flush(), Vec::new());
        while flush.next(|namespace, datum| heads.push(format!("{namespace} {} {:?}", datum.head, datum.window))) {}
        let dimensions = r#"[{"Name":"container","Value":"web"},{"Name":"level","Value":"info"}]"#;
        let expected =
            format!(r#"ECS/Sidecar "MetricName":"log_records","Dimensions":{dimensions},"Unit":"Count" Sum(7.0)"#);
        assert_eq!(heads, [expected]);
    }
}
