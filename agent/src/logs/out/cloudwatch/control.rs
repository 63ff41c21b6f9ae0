//! Creates log groups and streams when the service first misses them.
//!
//! Promises: one creation at a time for an output, so that a hundred records for a new stream make one call; a thing that
//! exists already is a success.
//! Never: creates a group unless the user said so; fails a batch because the retention or the tags could not be set.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{API, Config, GroupClass, Place};
use crate::aws::{Client, Fault, FaultKind};

/// What may be created, and how.
#[derive(Debug)]
pub struct Control {
    create_group: bool,
    create_stream: bool,
    retention_days: Option<u32>,
    class: GroupClass,
    tags: Map<String, Value>,
    one_at_a_time: Mutex<()>,
}

impl Control {
    /// Reads what may be created.
    pub fn new(config: &Config) -> Self {
        Self {
            create_group: config.auto_create_group,
            create_stream: config.auto_create_stream.unwrap_or(true),
            retention_days: config.retention_days,
            class: config.group_class,
            tags: config.group_tags.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect(),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Makes sure that the stream of `place` exists.
    pub async fn create(&self, client: &Client, place: Place<'_>) -> Result<(), Fault> {
        if !self.create_stream {
            return Err(missing(format!(
                "log stream `{}` does not exist; create it, or allow it to be created with `auto_create_stream`",
                place.stream
            )));
        }
        let _turn = self.one_at_a_time.lock().await;
        let stream = json!({"logGroupName": place.group, "logStreamName": place.stream});
        match call(client, "CreateLogStream", &stream).await {
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            other => return other,
        }
        if !self.create_group {
            return Err(missing(format!(
                "log group `{}` does not exist; create it, or allow it to be created with `auto_create_group`",
                place.group
            )));
        }
        self.create_group(client, place).await?;
        call(client, "CreateLogStream", &stream).await
    }

    /// Takes the turn to create.
    #[cfg(test)]
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.one_at_a_time.lock().await
    }

    async fn create_group(&self, client: &Client, place: Place<'_>) -> Result<(), Fault> {
        let mut group = json!({"logGroupName": place.group});
        if self.class == GroupClass::InfrequentAccess {
            group["logGroupClass"] = "INFREQUENT_ACCESS".into();
        }
        if !self.tags.is_empty() {
            group["tags"] = self.tags.clone().into();
        }
        call(client, "CreateLogGroup", &group).await?;
        info!(group = place.group, "log group created");
        if let Some(days) = self.retention_days {
            let retention = json!({"logGroupName": place.group, "retentionInDays": days});
            if let Err(fault) = call(client, "PutRetentionPolicy", &retention).await {
                warn!(group = place.group, error = %fault, "retention could not be set; set it by hand");
            }
        }
        Ok(())
    }
}

async fn call(client: &Client, operation: &str, body: &Value) -> Result<(), Fault> {
    match client.call(&format!("{API}.{operation}"), Bytes::from(body.to_string()), &[]).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.kind == FaultKind::AlreadyExists => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn missing(message: String) -> Fault {
    Fault { kind: FaultKind::NotFound, code: "missing".to_owned(), message, retry_after: None, status: None }
}
