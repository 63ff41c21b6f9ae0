//! Settings of a `task` input.
//!
//! Promises: what is there has the right type.
//! Never: checks a range; `config` does.

use std::time::Duration;

use serde::Deserialize;

use super::names::Names;
use crate::{metrics::settings::NAMESPACE, units::Span};

/// Where Container Insights puts its own.
const INSIGHTS: &str = "ECS/ContainerInsights";

/// Settings of a `task` input: what the task and its containers use of processor, memory, network and storage, by the task metadata
/// endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TaskStats {
    /// How often is looked, 5s to 5m. Default 60s.
    pub every: Option<Span>,
    /// Whether CloudWatch gets the figures of each container (dimension `ContainerName`), besides those of the task. `/metrics` has
    /// them always. Default: true.
    pub containers: Option<bool>,
    /// The names and dimensions of Container Insights instead of our own. Where it is on, it must not be the same namespace: all would
    /// be counted twice. Default: false.
    pub container_insights: bool,
    /// The namespace in CloudWatch, 1 to 255 characters. Default `ECS/Sidecar`, or `ECS/ContainerInsights` with its names.
    pub namespace: Option<String>,
}

impl TaskStats {
    /// How often is looked.
    pub fn every(&self) -> Duration {
        self.every.map_or(Duration::from_secs(60), |every| every.0)
    }

    /// Whose names are used.
    pub fn names(&self) -> Names {
        if self.container_insights { Names::Insights } else { Names::Own }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(if self.container_insights { INSIGHTS } else { NAMESPACE })
    }

    /// What it does, for people.
    pub fn described(&self) -> String {
        let names = match self.names() {
            Names::Own => "under our own names",
            Names::Insights => "under the names of Container Insights",
        };
        format!("the task's stats every {:?}, {names} in {}", self.every(), self.namespace())
    }
}
