//! Settings of a `queue` input.
//!
//! Promises: what is there has the right type.
//! Never: checks one field against another; `config` does.

use serde::Deserialize;

use super::backlog;
use crate::units::{Count, Span};

/// Settings of a `queue` input: `BacklogPerTask` and the depth of the queue are published once a minute, for a policy that scales the
/// service. The task needs `sqs:GetQueueAttributes` and `ecs:DescribeServices`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// The URL of the queue.
    pub sqs: String,
    /// The name or ARN of the service's cluster. Default: that of the task.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The name of the service. Default: that of the task, which newer agents of ECS tell.
    #[serde(default)]
    pub service: Option<String>,
    /// Whether messages count that were received and not deleted yet: without them a fleet is made smaller while it works. Default:
    /// false, as AWS describes it.
    #[serde(default)]
    pub include_in_flight: bool,
    /// How long a message may wait. With `processing_time` it gives the target of the policy, which `pillion check` prints.
    #[serde(default)]
    pub acceptable_latency: Option<Span>,
    /// How long a task works on a message, on average; for a task that works on several at a time, divided by their number.
    #[serde(default)]
    pub processing_time: Option<Span>,
    /// How many tasks of the service ask the queue and publish, 1 to 32; the others stand by, and take over within a minute or so when one ends. With `2` the
    /// end of one leaves no minute without a value. It asks ECS for the list of tasks (`ecs:ListTasks`), and `ecs:DescribeServices` is not needed.
    /// Default: all do, which costs nothing but calls of SQS.
    #[serde(default)]
    pub publishers: Option<Count<1, 32>>,
    /// The namespace in CloudWatch, 1 to 255 characters. Default `ECS/Sidecar`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Default: the region in the URL, or that of the task.
    #[serde(default)]
    pub region: Option<String>,
    /// A role to ask as. Default: the task's own.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// Another address of ECS.
    #[serde(default)]
    pub ecs_endpoint: Option<String>,
}

impl Queue {
    /// The last part of the URL.
    pub fn name(&self) -> &str {
        self.sqs.rsplit('/').next().unwrap_or_default()
    }

    /// The target of the policy that scales by `BacklogPerTask`, if enough is known.
    pub fn target(&self) -> Option<f64> {
        backlog::target(self.acceptable_latency?.0, self.processing_time?.0)
    }
}
