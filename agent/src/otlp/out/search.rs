//! Transaction Search: the setting of an account by which X-Ray takes spans as OpenTelemetry has them.
//!
//! Promises: what X-Ray says of itself is believed, and nothing else.
//! Never: changes the setting.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::Deserialize;

use crate::aws::{Client, Fault, Operation, sha256_hex};

/// Whether X-Ray is known to take spans. Who has another way for them looks here first.
#[derive(Debug, Default)]
pub struct Open(AtomicBool);

impl Open {
    /// True if it does.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says whether it does from now on, and returns whether that is news.
    pub fn set(&self, is_open: bool) -> bool {
        self.0.swap(is_open, Ordering::Relaxed) != is_open
    }
}

/// `GetTraceSegmentDestination`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    destination: String,
    #[serde(default)]
    status: String,
}

/// Asks X-Ray whether spans are taken. While it says that the change is not done yet (`PENDING`), they are not.
pub async fn is_on(client: &Client) -> Result<bool, Fault> {
    let body = Bytes::from_static(b"{}");
    let hash = sha256_hex(&body).await;
    let reply = client.call_hashed(Operation::Path("/GetTraceSegmentDestination"), body, &hash, &[]).await?;
    Ok(read(&reply.body))
}

fn read(body: &[u8]) -> bool {
    serde_json::from_slice::<Said>(body)
        .is_ok_and(|said| said.destination == "CloudWatchLogs" && said.status != "PENDING")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_and_done_is_on() {
        for (body, is_on) in [
            (r#"{"Destination":"CloudWatchLogs","Status":"ACTIVE"}"#, true),
            (r#"{"Destination":"CloudWatchLogs"}"#, true),
            (r#"{"Destination":"CloudWatchLogs","Status":"PENDING"}"#, false),
            (r#"{"Destination":"XRay","Status":"ACTIVE"}"#, false),
            (r#"{"Destination":"XRay","Status":"PENDING"}"#, false),
            (r#"{"Destination":null,"Status":"ACTIVE"}"#, false),
            (r#"{"Destination":["CloudWatchLogs"]}"#, false),
            (r#"{"Status":"ACTIVE"}"#, false),
            ("{}", false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(read(body.as_bytes()), is_on, "{body}");
        }
    }

    #[test]
    fn news_are_told_from_what_was_known() {
        let open = Open::default();
        assert!(!open.is_open() && !open.set(false));
        assert!(open.set(true) && open.is_open() && !open.set(true));
        assert!(open.set(false) && !open.is_open());
    }
}
