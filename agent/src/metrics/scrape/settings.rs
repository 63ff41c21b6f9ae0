//! Settings of a `scrape` input.
//!
//! Promises: an address that cannot be scraped is refused when the configuration is read.
//! Never: checks one field against another; `config` does.

use std::time::Duration;

use serde::Deserialize;

use super::target::Named;
use crate::{
    limits::{SCRAPE_BYTES_MAX, SCRAPE_LABELS_MAX, SCRAPE_NAME_BYTES_MAX, SCRAPE_SAMPLES_MAX, SCRAPE_VALUE_BYTES_MAX},
    metrics::{exposition::Limits, relabel::Rule, settings::Publish},
    units::{ByteSize, Count, Span},
};

/// Settings of a `scrape` input: what the app exposes for Prometheus is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Scrape {
    /// What is scraped: addresses (`127.0.0.1:9404/metrics`, or a URL), or `auto` for what the docker labels of the task's containers
    /// say (`ECS_PROMETHEUS_EXPORTER_PORT`, `ECS_PROMETHEUS_METRICS_PATH`, `job`, as for the CloudWatch agent). Default `[auto]`.
    pub targets: Vec<Named>,
    /// The label `job` of addresses that are named. Default `app`.
    pub job: Option<String>,
    /// How often each target is scraped, 1s to 1h. Default 60s.
    pub every: Option<Span>,
    /// How long an answer may take, 100ms to `every`. Default 10s, or `every` if that is less.
    pub timeout: Option<Span>,
    /// The largest exposition that is taken, before and after decompression, 64 KiB to 64 MiB. Default 8 MiB.
    pub bytes_max: Option<ByteSize>,
    /// How many samples an exposition may have, 1 to 1000000; of a larger one nothing is taken. Default 20000.
    pub samples_max: Option<Count<1, 1_000_000>>,
    /// Prometheus' rules (`metric_relabel_configs`) for what was scraped. At most 64.
    pub relabel: Vec<Rule>,
    /// How its series are published. `series_max` holds for each target, so that one which lies has the others keep theirs.
    pub publish: Publish,
}

impl Scrape {
    /// What is scraped.
    pub fn targets(&self) -> &[Named] {
        if self.targets.is_empty() { &[Named::Auto] } else { &self.targets }
    }

    /// How many targets memory is counted for: those that are named, and for `auto` two, since few tasks expose more.
    pub fn targets_counted(&self) -> usize {
        self.targets().iter().map(|target| if *target == Named::Auto { 2 } else { 1 }).sum()
    }

    /// The label `job` of addresses that are named.
    pub fn job(&self) -> &str {
        self.job.as_deref().unwrap_or("app")
    }

    /// How often.
    pub fn every(&self) -> Duration {
        self.every.map_or(Duration::from_secs(60), |every| every.0)
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(Duration::from_secs(10), |timeout| timeout.0).min(self.every())
    }

    /// The largest exposition.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max.map_or(SCRAPE_BYTES_MAX, |bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX))
    }

    /// What is taken of an exposition.
    pub fn limits(&self) -> Limits {
        Limits {
            samples: self
                .samples_max
                .map_or(SCRAPE_SAMPLES_MAX, |most| usize::try_from(most.get()).unwrap_or(usize::MAX)),
            labels: SCRAPE_LABELS_MAX,
            name_bytes: SCRAPE_NAME_BYTES_MAX,
            value_bytes: SCRAPE_VALUE_BYTES_MAX,
        }
    }

    /// What it does, for people.
    pub fn described(&self) -> String {
        let one = |named: &Named| match named {
            Named::Auto => "what the containers' labels say".to_owned(),
            Named::Address(address) => address.uri().to_string(),
        };
        let targets: Vec<_> = self.targets().iter().map(one).collect();
        format!("scraped every {:?}: {}", self.every(), targets.join(", "))
    }
}
