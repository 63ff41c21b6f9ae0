//! Settings of the `cloudwatch` destination.
//!
//! Promises: has a place for every option of Fluent Bit's `cloudwatch_logs` and of the Go plugin `cloudwatch`.
//! Never: holds a credential.

use serde::Deserialize;

use crate::{
    aws::Identity,
    deliver::Rules,
    logs::out::RetryLimit,
    units::{Count, Span},
};

/// Settings of the `cloudwatch` destination.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The region. Default: the task's own.
    pub region: Option<String>,
    /// Name of the log group. With `group_template` it is the one to fall back to.
    pub group: Option<String>,
    /// Name of the log stream. Give this or `stream_prefix`.
    pub stream: Option<String>,
    /// The stream is this text followed by the record's tag. Give this or `stream`.
    pub stream_prefix: Option<String>,
    /// A group name with fields of the record in it, for example `/ecs/$ecs_cluster` or `$TAG`. A record without the
    /// field goes to `group`.
    pub group_template: Option<String>,
    /// A stream name with fields of the record in it. A record without the field goes to `stream` or
    /// `stream_prefix` and tag.
    pub stream_template: Option<String>,
    /// How `$` is read in names: as Fluent Bit's templates (`$ecs_cluster`) or as the Go plugin's (`$(ecs_cluster)`,
    /// in `group` and `stream`).
    pub templates: Templates,
    /// The group when a Go-plugin template in `group` cannot be filled. Default `fluentbit-default`.
    pub default_group: Option<String>,
    /// The stream when a Go-plugin template in `stream` cannot be filled. Default `/fluentbit-default`.
    pub default_stream: Option<String>,
    /// Send only what this field holds, not the whole record as JSON. Records without the field are refused
    /// (`key_missing`).
    pub log_key: Option<String>,
    /// `json/emf` makes CloudWatch read metrics out of the records.
    pub log_format: Option<String>,
    /// Create the log group when it is missing. Default false. Streams are always created unless
    /// `auto_create_stream` is false.
    pub auto_create_group: bool,
    /// Create the log stream when it is missing. Default true.
    pub auto_create_stream: Option<bool>,
    /// Days that a group we create keeps events. One of CloudWatch's own values: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150,
    /// 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653. Default: for ever.
    pub retention_days: Option<u32>,
    /// Class of a group we create.
    pub group_class: GroupClass,
    /// Tags of a group we create.
    pub group_tags: std::collections::BTreeMap<String, String>,
    /// A role to assume for this output.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// The STS endpoint to ask for the role, as a URL.
    pub sts_endpoint: Option<String>,
    /// A profile of the shared AWS configuration files to take credentials from.
    pub profile: Option<String>,
    /// The service's address as a URL, for example `http://127.0.0.1:5000` for a local one. Default: the region's.
    pub endpoint: Option<String>,
    /// Text to add to the user agent.
    pub extra_user_agent: Option<String>,
    /// How often a batch is sent again. Default: as long as memory lasts.
    pub retry_limit: RetryLimit,
    /// Requests at a time for one log stream. More than 1 gives up the order of records within a millisecond.
    /// Default 1.
    pub workers: Option<Count<1, 32>>,
    /// The longest time a record waits for others before it is sent. Default 250ms; grows by itself while the service
    /// throttles.
    pub linger: Option<Span>,
    /// Namespace for metrics made of `cpu` and `mem` inputs (Fluent Bit). Kept for compatibility; has no effect, since
    /// those inputs do not exist here.
    pub metric_namespace: Option<String>,
    /// See `metric_namespace`.
    pub metric_dimensions: Option<String>,
}

/// The days that CloudWatch Logs can keep events, from the reference of `PutRetentionPolicy`.
pub const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

impl Config {
    /// As whom it speaks to AWS.
    pub fn identity(&self) -> Identity {
        Identity {
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            sts_endpoint: self.sts_endpoint.clone(),
            profile: self.profile.clone(),
        }
    }

    /// How the engine delivers to this output.
    pub fn rules(&self) -> Rules {
        let default = Rules::default();
        let per_key = self.workers.map_or(default.workers_per_key, |workers| workers.get() as usize);
        Rules {
            linger: self.linger.map_or(default.linger, |linger| linger.0),
            workers_per_key: per_key,
            workers: default.workers.max(per_key),
            retry: self.retry_limit.rule(),
            ..default
        }
    }
}

/// How `$` is read in group and stream names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Templates {
    /// `group_template` and `stream_template` hold `$field`, `$field['sub']`, `$TAG`, `$TAG[n]`.
    #[default]
    FluentBit,
    /// `group` and `stream` hold `$(field)`, `$(field['sub'])`, `$(tag)`, `$(tag[n])`, `$(uuid)`, `$(ecs_task_id)`,
    /// `$(ecs_cluster)`, `$(ecs_task_arn)`.
    GoPlugin,
}

/// Class of a log group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GroupClass {
    /// All of CloudWatch Logs' features.
    #[default]
    Standard,
    /// Cheaper, fewer features.
    InfrequentAccess,
}
