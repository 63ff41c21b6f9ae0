//! Settings of a `task` input.
//!
//! Promises: what is there has the right type.
//! Never: checks a range; `config` does.

use std::time::Duration;

use serde::Deserialize;

use super::names::Names;
use crate::{
    ecs::Metadata,
    metrics::{out::emf, settings::NAMESPACE},
    units::Span,
};

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
    /// The namespace in CloudWatch, 1 to 255 characters. Default `ECS/Sidecar`, or `ECS/ContainerInsights` with its names or events.
    pub namespace: Option<String>,
    /// Container Insights' performance events, of the task and of each container, at each look but the first; `{}` for all defaults. They are records of
    /// the logs, and need an output of the logs to CloudWatch Logs whose `match` fits their tag. Default: none.
    pub performance_events: Option<PerformanceEvents>,
}

/// Settings of Container Insights' performance events.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PerformanceEvents {
    /// The tag of the events, by which the logs' filters and outputs know them. Default `performance`.
    pub tag: Option<String>,
    /// The log group. Default `/aws/ecs/containerinsights/CLUSTER/performance`, where Container Insights has them; if the cluster is not known, the one that
    /// the logs' output names.
    pub group: Option<String>,
    /// The log stream. Default: the task's id; if it is not known, the one that the logs' output names.
    pub stream: Option<String>,
    /// Whether CloudWatch makes metrics of the task's events, as it does of Container Insights' own. Outputs for metrics get none of this input's figures
    /// then, since all would be counted twice. Default: true.
    pub metrics: Option<bool>,
}

impl PerformanceEvents {
    /// The tag of the events.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("performance")
    }

    /// How they go by the logs: where Container Insights has them, unless somebody says otherwise.
    pub fn way(&self, task: &Metadata) -> emf::Config {
        let of_cluster = |cluster: &String| format!("/aws/ecs/containerinsights/{cluster}/performance");
        emf::Config {
            tag: Some(self.tag().to_owned()),
            group: self.group.clone().or_else(|| task.cluster.as_ref().map(of_cluster)),
            stream: self.stream.clone().or_else(|| task.task_id.clone()),
        }
    }
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

    /// The namespace of what outputs for metrics get.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(if self.container_insights { INSIGHTS } else { NAMESPACE })
    }

    /// The namespace of the metrics that CloudWatch makes of the events, if it is to make some.
    pub fn namespace_of_events(&self) -> Option<&str> {
        let makes_some = self.performance_events.as_ref().is_some_and(|events| events.metrics.unwrap_or(true));
        makes_some.then(|| self.namespace.as_deref().unwrap_or(INSIGHTS))
    }

    /// What it does, for people.
    pub fn described(&self) -> String {
        let names = match self.names() {
            Names::Own => "under our own names",
            Names::Insights => "under the names of Container Insights",
        };
        let every = self.every();
        match (self.namespace_of_events(), &self.performance_events) {
            (Some(namespace), _) => {
                format!("the task's stats every {every:?}, as Container Insights' events, for {namespace}")
            }
            (None, events) => {
                let and = if events.is_some() { ", and as Container Insights' events" } else { "" };
                format!("the task's stats every {every:?}, {names} in {}{and}", self.namespace())
            }
        }
    }
}
