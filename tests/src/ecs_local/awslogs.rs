//! Lines of containers with `awslogs`, written to what stands in for CloudWatch Logs when the container has ended.
//!
//! Promises: the stream is called as the driver calls it: `prefix/container/task`.
//! Never: cares about the time of a line.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use pillion::taskdef::view::Container;
use serde_json::{Value, json};

use super::{endpoints::Identity, secrets::call};

/// Events of a request.
const EVENTS: usize = 1_000;

/// Writes for one task.
pub(super) struct Writer {
    aws: String,
    task: String,
    region: String,
}

impl Writer {
    pub(super) fn new(aws: &str, identity: &Identity) -> Self {
        Self { aws: aws.to_owned(), task: identity.task.clone(), region: identity.region.clone() }
    }

    /// All that a container wrote.
    pub(super) fn write(&self, container: Container<'_>, text: &str) -> Result<()> {
        let group = container.log_option("awslogs-group").context("awslogs without a group")?;
        let region = container.log_option("awslogs-region").unwrap_or_else(|| self.region.clone());
        let name = container.name().unwrap_or_default();
        let prefix = container.log_option("awslogs-stream-prefix").unwrap_or_else(|| "ecs".to_owned());
        let stream = format!("{prefix}/{name}/{}", self.task);
        let ask = |what: &str, body: &Value| call(&self.aws, &region, "logs", &format!("Logs_20140328.{what}"), body);
        if container.log_option("awslogs-create-group").as_deref() == Some("true") {
            // It may be there.
            drop(ask("CreateLogGroup", &json!({"logGroupName": group})));
        }
        ask("CreateLogStream", &json!({"logGroupName": group, "logStreamName": stream}))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = u64::try_from(now)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for chunk in lines.chunks(EVENTS) {
            let events: Vec<Value> = chunk.iter().map(|line| json!({"timestamp": now, "message": line})).collect();
            ask("PutLogEvents", &json!({"logGroupName": group, "logStreamName": stream, "logEvents": events}))?;
        }
        Ok(())
    }
}
