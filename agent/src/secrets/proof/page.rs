//! What `/metrics` and `/status` show of the use of secrets.
//!
//! Promises: names, version ids, numbers and times; a time that is not known is not shown.
//! Never: waits; every lock is held for as long as it takes to copy a few numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::IntGaugeVec;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Proof, Secret, State, Way};
use crate::secrets::item::{Item, Standing};

/// Why a source gave no answer, as `answers` counts it.
const FAILURES: [&str; 5] = ["transient", "throttled", "denied", "missing", "invalid"];

impl Proof {
    /// Brings the gauges up to date.
    pub(in crate::secrets) fn measure(&self) {
        let (now, unix) = (Instant::now(), unix());
        let set = |gauge: &IntGaugeVec, name: &str, value: Option<i64>| match value {
            Some(value) => gauge.with_label_values(&[name]).set(value),
            // It is an error to remove what is not there.
            None => drop(gauge.remove_label_values(&[name])),
        };
        let standings: Vec<Standing> = self.items.iter().map(|item| item.standing()).collect();
        let gauges = &self.gauges;
        let state = self.state();
        for (secret, standing) in state.secrets.iter().zip(standings) {
            let name = secret.name.as_str();
            let shown = secret.shown.as_ref();
            set(&gauges.changed_generation, name, shown.map(|shown| whole(shown.generation)));
            set(&gauges.changed, name, shown.and_then(|shown| shown.came).map(|came| unix - ago(came, now)));
            set(&gauges.created, name, standing.created);
            set(&gauges.looked, name, standing.looked.map(|looked| unix - ago(looked, now)));
            set(&gauges.next_look, name, standing.next_look.map(|next| unix + ahead(next, now)));
            set(&gauges.untaken, name, state.untaken(secret, now).map(|waited| whole(waited.as_secs())));
        }
        for way in Way::ALL {
            let number = state.acknowledged_by(way);
            set(&gauges.acknowledged, way.label(), number.map(whole));
        }
    }

    /// Each secret, by its name.
    pub(in crate::secrets) fn secrets(&self) -> Value {
        let (now, unix) = (Instant::now(), unix());
        let standings: Vec<Standing> = self.items.iter().map(|item| item.standing()).collect();
        let state = self.state();
        let all = state.secrets.iter().zip(&standings).zip(self.items.iter());
        let all = all.map(|((secret, standing), item)| {
            let mut shown = state.described(secret, now);
            let mut add = |name: &str, value: Value| shown.insert(name.to_owned(), value);
            add("version_age_seconds", standing.created.map(|created| unix.saturating_sub(created).max(0)).into());
            add("looked_seconds_ago", standing.looked.map(|looked| ago(looked, now)).into());
            add("next_look_in_seconds", standing.next_look.map(|next| ahead(next, now)).into());
            add("trouble", standing.trouble.clone().into());
            add("failures", self.failures(item));
            (secret.name.clone(), Value::Object(shown))
        });
        Value::Object(all.collect())
    }

    /// The newest generation that was acknowledged in each way.
    pub(in crate::secrets) fn acknowledgements(&self) -> Value {
        let state = self.state();
        let all = Way::ALL.map(|way| (way.label().to_owned(), Value::from(state.acknowledged_by(way))));
        Value::Object(all.into_iter().filter(|(_, number)| !number.is_null()).collect())
    }

    /// Answers that were none, by reason.
    fn failures(&self, item: &Item) -> Value {
        let count = |reason| self.gauges.answers.with_label_values(&[item.settings.name.as_str(), reason]).get();
        let all = FAILURES.map(|reason| (reason.to_owned(), Value::from(count(reason))));
        Value::Object(all.into_iter().filter(|(_, count)| *count != 0).collect())
    }
}

impl State {
    pub(super) fn acknowledged_by(&self, way: Way) -> Option<u64> {
        self.acknowledged.iter().find(|(other, _)| *other == way).map(|(_, number)| *number)
    }

    pub(super) fn described(&self, secret: &Secret, now: Instant) -> Map<String, Value> {
        let shown = secret.shown.as_ref();
        let taken = shown.and_then(|shown| shown.taken);
        let untaken = self.untaken(secret, now);
        let Value::Object(described) = json!({
            "version": shown.map(|shown| &shown.version),
            "changed_in_generation": shown.map(|shown| shown.generation),
            "changed_seconds_ago": shown.and_then(|shown| shown.came).map(|came| ago(came, now)),
            "reads": secret.reads.get(),
            "taken": taken.map(|(way, at)| json!({"by": way.label(), "seconds_ago": ago(at, now)})),
            "use_can_be_seen": untaken.is_some(),
            "untaken_seconds": untaken.map(|waited| waited.as_secs()),
        }) else {
            return Map::new();
        };
        described
    }
}

fn unix() -> i64 {
    whole(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn ago(then: Instant, now: Instant) -> i64 {
    seconds(now.saturating_duration_since(then))
}

fn ahead(then: Instant, now: Instant) -> i64 {
    seconds(then.saturating_duration_since(now))
}

fn seconds(time: Duration) -> i64 {
    whole(time.as_secs())
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
