//! Puts log records into Amazon CloudWatch Logs.
//!
//! The file to read before writing another destination. Its two halves: [`Writer::append`] writes records into the open
//! batch of their key, called by the job for each record; [`CloudWatch`] sends one batch and says what the answer means.
//!
//! Promises: requests keep all of the service's limits (1,048,576 bytes with 26 for each event, 10,000 events, 24 hours,
//! chronological); streams are created when the service first misses them, groups only if the user said so, each once; a
//! record the service refuses is booked with its reason.
//! Never: retries, queues, or reads a clock; creates what the user did not ask for.

pub mod control;
pub mod encode;
pub mod naming;
mod settings;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use prometheus::IntCounter;
use serde::Deserialize;

pub use encode::Message;
pub use naming::{Naming, Place};
pub use settings::{Config, GroupClass, RETENTION_DAYS, Templates};

use crate::{
    aws::{Client, Fault, FaultKind, Operation, sha256_hex},
    deliver::{
        Answer, Cause, Destination, Doing, Fate, Key, Limits, Verdict,
        ack::Ack,
        batch::{Batch, Frame},
        books::{Account, Refused},
        lane::{Appending, Lane, Output},
    },
    logs::{
        known::Workspace,
        record::{Directions, Record},
    },
};
use control::Control;

/// The API's version, as in its header `X-Amz-Target`.
pub(super) const API: &str = "Logs_20140328";

/// The limits of `PutLogEvents` (API reference).
const LIMITS: Limits = Limits { bytes: 1_048_576, records: 10_000, span_milliseconds: 24 * 3_600 * 1_000 };

/// How long what was just created may take until the service finds it.
const SETTLING: Duration = Duration::from_secs(2);

/// The service, as one output speaks to it.
#[derive(Debug)]
pub struct CloudWatch {
    client: Client,
    control: Control,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What `PutLogEvents` answers when it took the request, but not every event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PutReply {
    rejected_log_events_info: Option<Rejected>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rejected {
    /// From here on events are too far in the future.
    too_new_log_event_start_index: Option<usize>,
    /// Up to here events are too old.
    too_old_log_event_end_index: Option<usize>,
    /// Up to here events are older than the group keeps them.
    expired_log_event_end_index: Option<usize>,
}

impl CloudWatch {
    /// Speaks through `client`.
    pub fn new(client: Client, config: &Config) -> Self {
        // The value was read from a configuration of ours; one that is no header would not reach the service anyway.
        let format = config.log_format.as_deref().and_then(|format| HeaderValue::from_str(format).ok());
        let headers = format.map(|format| (HeaderName::from_static("x-amzn-logs-format"), format));
        Self { client, control: Control::new(config), headers: headers.into_iter().collect() }
    }

    async fn put(&self, batch: &Batch) -> Result<Answer, Fault> {
        let target = format!("{API}.PutLogEvents");
        let hash = hash(batch).await;
        let reply =
            self.client.call_hashed(Operation::Target(&target), batch.body.clone(), hash, &self.headers).await?;
        let Ok(PutReply { rejected_log_events_info: Some(rejected) }) = serde_json::from_slice(&reply.body) else {
            // The service took the request; an answer we cannot read says nothing else.
            return Ok(Answer::Delivered);
        };
        Ok(Answer::Partial(rejected.verdicts(batch.entries.len())))
    }

    async fn put_or_create(&self, batch: &Batch) -> Answer {
        let fault = match self.put(batch).await {
            Ok(answer) => return answer,
            Err(fault) => fault,
        };
        if fault.kind != FaultKind::NotFound {
            return fault.into();
        }
        let Some(place) = Place::of(&batch.key) else { return fault.into() };
        if let Err(fault) = self.control.create(&self.client, place).await {
            return unprepared(fault);
        }
        match self.put(batch).await {
            Err(fault) if fault.kind == FaultKind::NotFound => {
                Fault { retry_after: Some(fault.retry_after.unwrap_or(SETTLING)), ..fault }.into()
            }
            answer => answer.unwrap_or_else(Answer::from),
        }
    }
}

impl Destination for CloudWatch {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn frame(&self, key: &Key) -> Frame {
        Place::of(key).map(encode::frame).unwrap_or_default()
    }

    fn knows(&self, key: &Key) -> bool {
        Place::of(key).is_some()
    }

    fn prepare<'a>(&'a self, batch: &'a Batch) -> Doing<'a, ()> {
        Box::pin(async {
            hash(batch).await;
        })
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(self.put_or_create(batch))
    }
}

/// The hash of the body, worked out once. It takes longer than all the rest of a request.
async fn hash(batch: &Batch) -> &str {
    batch.memo(async { sha256_hex(&batch.body).await.into() }).await
}

impl Rejected {
    fn verdicts(&self, events: usize) -> Vec<Verdict> {
        // The two ranges at the beginning overlap: the longer one reaches further into what the other allows.
        let old = self.too_old_log_event_end_index.unwrap_or(0).min(events);
        let expired = self.expired_log_event_end_index.unwrap_or(0).min(events).max(old);
        let new = self.too_new_log_event_start_index.unwrap_or(events).clamp(expired, events);
        [(0..old, Refused::TooOld), (old..expired, Refused::Expired), (new..events, Refused::TooNew)]
            .into_iter()
            .filter(|(records, _)| !records.is_empty())
            .map(|(records, reason)| Verdict { records, fate: Fate::Refused(reason) })
            .collect()
    }
}

/// What it means for the batch that its group or stream could not be made. If it may be made later, nothing.
fn unprepared(fault: Fault) -> Answer {
    match Answer::from(fault) {
        Answer::Again { cause, detail, after } if !cause.is_of_the_key() => Answer::Unprepared { cause, detail, after },
        // A name that the service does not allow is no better in halves.
        Answer::Divide { detail } => Answer::Again { cause: Cause::Missing, detail, after: None },
        answer => answer,
    }
}

/// An output of this kind: the destination, and how records become its events.
#[derive(Clone)]
pub struct Sink {
    output: Arc<Output>,
    naming: Arc<Naming>,
    message: Arc<Message>,
    truncated: IntCounter,
}

/// The place of one tag's records.
pub struct Target {
    sink: Sink,
    tag: Arc<str>,
    account: Arc<Account>,
    /// The lane, if all records of the tag go to the same.
    lane: Option<Arc<Lane>>,
}

/// Appends a chunk's records.
pub struct Writer<'a> {
    target: &'a Target,
    fixed: Option<Appending<'a>>,
    /// Of the message whose records come, if they do not all go to the same lane.
    ack: Option<Arc<Ack>>,
}

impl Sink {
    /// Sends what `message` says of each record to where `naming` says. `truncated` counts messages that were cut.
    pub fn new(output: Arc<Output>, naming: Naming, message: Message, truncated: IntCounter) -> Self {
        Self { output, naming: Arc::new(naming), message: Arc::new(message), truncated }
    }

    /// The place of records with `tag`, booked on `account`.
    pub fn target(&self, tag: &Arc<str>, account: Arc<Account>) -> Target {
        let lane = (!self.naming.asks_records()).then(|| self.output.lane(&self.naming.key(tag, &Record::default())));
        Target { sink: self.clone(), tag: Arc::clone(tag), account, lane }
    }
}

impl Target {
    /// Begins to append.
    pub fn writer(&self) -> Writer<'_> {
        let fixed = self.lane.as_ref().map(|lane| self.sink.output.append(lane, &self.account));
        Writer { target: self, fixed, ack: None }
    }
}

impl Writer<'_> {
    /// What comes from here on is of a message that waits for `ack`, or of one that does not wait.
    pub fn of_message(&mut self, ack: Option<&Arc<Ack>>) {
        match &mut self.fixed {
            Some(appending) => appending.of_message(ack),
            None => self.ack = ack.cloned(),
        }
    }

    /// Appends one record.
    #[inline]
    pub fn append(&mut self, record: &Record<'_>, workspace: &mut Workspace) {
        let time = record.time.milliseconds();
        let Target { sink, tag, account, .. } = self.target;
        let message = if record.directions.is_some() { &encode::DOCUMENT } else { &*sink.message };
        let has_own_place = record.directions.is_some_and(|directions| directions != Directions::default());
        let encoded = match self.fixed.as_mut().filter(|_| !has_own_place) {
            Some(appending) => encode::append(appending, record, time, message, workspace),
            None => {
                let lane = sink.output.lane(&sink.naming.key(tag, record));
                let mut appending = sink.output.append(&lane, account);
                appending.of_message(self.ack.as_ref());
                encode::append(&mut appending, record, time, message, workspace)
            }
        };
        if encoded == encode::Encoded::Cut {
            sink.truncated.inc();
        }
    }
}
