//! What goes over the wire to SQS.
//!
//! Promises: a receive waits for a message as long as SQS allows.
//! Never: keeps a message, or shows one.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    aws::{
        Access, Client, Fault, FaultKind,
        queue::{self, QueueError},
    },
    limits::EVENTS_ANSWER_BYTES_MAX,
    secrets::settings,
};

/// Messages that one receive brings, and one delete takes.
pub(super) const MESSAGES_MAX: usize = 10;
/// Seconds for which a receive waits, at most 20.
const WAIT_SECONDS: u32 = 20;
/// Time for a receive, with what the way there and back may take.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// One queue.
pub(super) struct Queue {
    url: String,
    client: Client,
}

/// A message. No `Debug`: whoever wrote it may have put anything into it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    receipt_handle: String,
    #[serde(default)]
    body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Receive<'a> {
    queue_url: &'a str,
    max_number_of_messages: usize,
    wait_time_seconds: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    messages: Option<Vec<Message>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Delete<'a> {
    queue_url: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: String,
    receipt_handle: &'a str,
}

impl Queue {
    /// As `settings` say. Asks nobody.
    pub(super) fn open(settings: &settings::Hints, access: &Access) -> Result<Self, QueueError> {
        let (region, role_arn) = (settings.region.as_deref(), settings.role_arn.as_deref());
        Ok(Self::with(settings.sqs.clone(), queue::client(&settings.sqs, (region, role_arn), access)?))
    }

    pub(super) fn with(url: String, client: Client) -> Self {
        let client = client.with_json_1_0().with_timeout(RECEIVE_TIMEOUT);
        Self { url, client: client.with_answer_bytes_max(EVENTS_ANSWER_BYTES_MAX) }
    }

    /// Up to `most` messages, as soon as there is one.
    pub(super) async fn receive(&self, most: usize) -> Result<Vec<Message>, Fault> {
        let ask = Receive { queue_url: &self.url, max_number_of_messages: most, wait_time_seconds: WAIT_SECONDS };
        let body = self.call("AmazonSQS.ReceiveMessage", &ask).await?;
        let received: Result<Received, _> = serde_json::from_slice(&body);
        // What serde says of it may repeat it.
        let nonsense =
            |_| Fault::own(FaultKind::Transient, "bad_answer", "the answer of the queue is not as it should be");
        Ok(received.map_err(nonsense)?.messages.unwrap_or_default())
    }

    /// Takes messages out of the queue. One that stays for a reason of the service's comes again, which does no harm.
    pub(super) async fn delete(&self, messages: &[Message]) -> Result<(), Fault> {
        // Whatever number came, the service takes ten.
        for some in messages.chunks(MESSAGES_MAX) {
            let ask = Delete { queue_url: &self.url, entries: entries(some) };
            self.call("AmazonSQS.DeleteMessageBatch", &ask).await?;
        }
        Ok(())
    }

    async fn call(&self, target: &str, ask: &impl Serialize) -> Result<Bytes, Fault> {
        let body = Bytes::from(serde_json::to_vec(ask).expect("texts and numbers are JSON"));
        Ok(self.client.call(target, body, &[]).await?.body)
    }
}

fn entries(messages: &[Message]) -> Vec<Entry<'_>> {
    let all = messages.iter().enumerate();
    all.map(|(at, message)| Entry { id: at.to_string(), receipt_handle: &message.receipt_handle }).collect()
}

impl Message {
    pub(super) fn body(&self) -> &str {
        &self.body
    }
}
