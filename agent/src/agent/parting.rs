//! What is left for who asks afterwards why a task ended: one record of this process, made at its stop.
//!
//! Promises: versions, the task and the revision of its definition, why it stopped as far as that is known, what each output said last,
//! the books, the versions of secrets, how long it ran; on the last line of the log in any case, and as a record on the way of
//! logs if there is a tag for it. It is made while records are still read.
//! Never: waits longer than [`PATIENCE`] for the task's metadata; holds a record's body or a secret.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::report::{self, Page};
use crate::{
    aws::Access,
    deliver::{books::Totals, collect::Ledger},
    ecs::{self, Metadata},
    life::Life,
};

/// How long the metadata endpoint may take at the end. It is on this machine.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of what an output said last. Services say more than anybody wants to read here.
const FAILURE_BYTES_MAX: usize = 512;

/// What is known of this process at its end.
pub(super) struct Parting {
    task: Metadata,
    stopped_by: &'static str,
    uptime: Duration,
    configuration: String,
    /// The number of the last generation of secrets, and the versions in it.
    secrets: Value,
    panics: u64,
}

impl Parting {
    /// Asks how it stands with the task: containers that have ended have their exit codes by now, for a router is stopped last.
    pub(super) async fn begin(uri: Option<&str>, access: &Access, page: &Page, life: &Life) -> Self {
        let task = match uri {
            Some(uri) => timeout(PATIENCE, ecs::fetch(uri, access.http())).await.ok().and_then(Result::ok),
            None => None,
        };
        Self {
            task: task.unwrap_or_default(),
            stopped_by: life.stopped_by().unwrap_or("itself"),
            uptime: Instant::now().duration_since(page.started()),
            configuration: page.described().to_owned(),
            secrets: page.secret_versions(),
            panics: life.panics(),
        }
    }

    /// The definition with its revision, `orders:7`; empty if it is not known.
    pub(super) fn definition(&self) -> String {
        match (&self.task.family, &self.task.revision) {
            (Some(family), Some(revision)) => format!("{family}:{revision}"),
            (Some(family), None) => family.clone(),
            (None, _) => String::new(),
        }
    }

    /// The task's ARN; empty if it is not known.
    pub(super) fn task(&self) -> &str {
        self.task.task_arn.as_deref().unwrap_or_default()
    }

    /// What asked us to stop.
    pub(super) fn stopped_by(&self) -> &'static str {
        self.stopped_by
    }

    /// Containers of the task that had ended before us, with their codes: `app 1, init 0`.
    pub(super) fn ended(&self) -> String {
        let mut text = String::new();
        for ended in &self.task.ended {
            let comma = if text.is_empty() { "" } else { ", " };
            let code = ended.code.map_or("?".to_owned(), |code| code.to_string());
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{} {code}", ended.name);
        }
        text
    }

    /// Seconds since the start.
    pub(super) fn uptime_seconds(&self) -> u64 {
        self.uptime.as_secs()
    }

    /// The record, as one line of JSON.
    pub(super) fn record(&self, ledger: &Ledger, totals: &Totals) -> String {
        let Metadata { cluster, service, launch_type, availability_zone, desired_status, .. } = &self.task;
        let ended = self.task.ended.iter().map(|ended| json!({"name": ended.name, "exit_code": ended.code}));
        json!({
            "record": "pillion.stop",
            "version": env!("CARGO_PKG_VERSION"),
            "configuration": self.configuration,
            "stopped_by": self.stopped_by,
            "uptime_seconds": self.uptime_seconds(),
            "panics": self.panics,
            "task": {
                "arn": self.task.task_arn,
                "definition": self.definition(),
                "family": self.task.family,
                "revision": self.task.revision,
                "cluster": cluster,
                "service": service,
                "launch_type": launch_type,
                "availability_zone": availability_zone,
                "desired_status": desired_status,
                "ended": ended.collect::<Vec<_>>(),
            },
            "secrets": self.secrets,
            "failures": failures(ledger),
            "books": report::books(totals),
        })
        .to_string()
    }
}

/// What outputs said last that did not deliver, if they ever said so.
fn failures(ledger: &Ledger) -> Value {
    let said = ledger.standings().into_iter().filter_map(|(name, standing)| {
        let mut failure = standing.last_failure?;
        failure.truncate(failure.floor_char_boundary(FAILURE_BYTES_MAX));
        Some((name.to_string(), Value::from(failure)))
    });
    Value::Object(said.collect())
}

/// [`failures`] for the last line: `cloudwatch.0: denied; xray.0: no answer`.
pub(super) fn failures_told(ledger: &Ledger) -> String {
    let all = failures(ledger);
    let told =
        all.as_object().into_iter().flatten().map(|(name, why)| format!("{name}: {}", why.as_str().unwrap_or("")));
    told.collect::<Vec<_>>().join("; ")
}
