//! The rules of CloudWatch Logs: what it takes, what it rejects, what it says then.
//!
//! Promises: limits to the byte, the event and the millisecond; every request that the service would refuse for its
//! shape is both refused and remembered as a violation.
//! Never: speaks HTTP or knows of faults.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of a request: the messages and [`EVENT_EXTRA`] for each.
const REQUEST_BYTES_MAX: usize = 1_048_576;
/// Bytes that the service adds to each event.
const EVENT_EXTRA: usize = 26;
/// Events of a request.
const EVENTS_MAX: usize = 10_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Days that PutRetentionPolicy takes.
const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// An accepted event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The text.
    pub message: String,
    /// When it was accepted.
    pub arrived: Instant,
    /// Number of the request that brought it, as in the log of requests.
    pub request: usize,
}

/// A log group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Days that events are kept.
    pub retention_days: Option<u32>,
    /// `STANDARD`, ...
    pub class: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Streams and their events, in the order of acceptance.
    pub streams: BTreeMap<String, Vec<Event>>,
}

/// How the service refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For example `ResourceNotFoundException`.
    pub(super) code: &'static str,
    /// The service's words.
    pub(super) message: String,
    /// True if a correct client never sends such a request.
    pub(super) violation: bool,
}

/// One account and region.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// All groups.
    pub(super) groups: BTreeMap<String, Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<PutEvent>,
    #[serde(default, rename = "sequenceToken")]
    _sequence_token: Option<String>,
    #[serde(default, rename = "entity")]
    _entity: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutEvent {
    timestamp: i64,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewGroup {
    log_group_name: String,
    log_group_class: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "kmsKeyId")]
    _kms_key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewStream {
    log_group_name: String,
    log_stream_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Retention {
    log_group_name: String,
    retention_in_days: u32,
}

impl Logs {
    /// PutLogEvents. `now_ms` is the time of day; `request` and `arrived` are noted on what is accepted.
    pub(super) fn put(&mut self, body: &[u8], now_ms: i64, request: usize, arrived: Instant) -> Result<Value, Refusal> {
        let put: Put = parse(body)?;
        check_names(&put.log_group_name, Some(&put.log_stream_name))?;
        check_events(&put.log_events)?;
        let group = self.groups.get_mut(&put.log_group_name).ok_or_else(|| not_found("group"))?;
        let days = group.retention_days;
        let stream = group.streams.get_mut(&put.log_stream_name).ok_or_else(|| not_found("stream"))?;
        let before = |edge: i64| put.log_events.iter().take_while(|event| event.timestamp < edge).count();
        let too_old = before(now_ms - 14 * DAY_MS);
        let expired = days.map_or(0, |days| before(now_ms - i64::from(days) * DAY_MS));
        let too_new = before(now_ms + 2 * HOUR_MS + 1);
        let count = put.log_events.len();
        let mut rejected = serde_json::Map::new();
        let mut note = |name: &str, is: bool, index: usize| {
            if is {
                rejected.insert(name.to_owned(), index.into());
            }
        };
        note("tooOldLogEventEndIndex", too_old > 0, too_old);
        note("expiredLogEventEndIndex", expired > 0, expired);
        note("tooNewLogEventStartIndex", too_new < count, too_new);
        let from = too_old.max(expired);
        for event in put.log_events.into_iter().take(too_new).skip(from) {
            stream.push(Event { timestamp_ms: event.timestamp, message: event.message, arrived, request });
        }
        let token = json!("49590302990000000000000000000000000000000000000000000000");
        Ok(if rejected.is_empty() {
            json!({"nextSequenceToken": token})
        } else {
            json!({"nextSequenceToken": token, "rejectedLogEventsInfo": rejected})
        })
    }

    /// CreateLogGroup.
    pub(super) fn create_group(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let new: NewGroup = parse(body)?;
        check_names(&new.log_group_name, None)?;
        if let Some(class) = &new.log_group_class
            && !["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"].contains(&class.as_str())
        {
            return Err(invalid(format!("there is no log group class `{class}`")));
        }
        if self.groups.contains_key(&new.log_group_name) {
            return Err(exists("group"));
        }
        let tags = new.tags.unwrap_or_default();
        let group = Group { class: new.log_group_class, tags, ..Group::default() };
        self.groups.insert(new.log_group_name, group);
        Ok(json!({}))
    }

    /// CreateLogStream.
    pub(super) fn create_stream(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let new: NewStream = parse(body)?;
        check_names(&new.log_group_name, Some(&new.log_stream_name))?;
        let group = self.groups.get_mut(&new.log_group_name).ok_or_else(|| not_found("group"))?;
        if group.streams.contains_key(&new.log_stream_name) {
            return Err(exists("stream"));
        }
        group.streams.insert(new.log_stream_name, Vec::new());
        Ok(json!({}))
    }

    /// PutRetentionPolicy.
    pub(super) fn put_retention(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let retention: Retention = parse(body)?;
        check_names(&retention.log_group_name, None)?;
        if !RETENTION_DAYS.contains(&retention.retention_in_days) {
            return Err(invalid(format!("a retention of {} days does not exist", retention.retention_in_days)));
        }
        let group = self.groups.get_mut(&retention.log_group_name).ok_or_else(|| not_found("group"))?;
        group.retention_days = Some(retention.retention_in_days);
        Ok(json!({}))
    }

    /// Events that are there more than once: same group, stream, time and text.
    pub(super) fn duplicates(&self) -> usize {
        let mut more = 0;
        for group in self.groups.values() {
            for stream in group.streams.values() {
                let different: BTreeSet<_> = stream.iter().map(|event| (event.timestamp_ms, &event.message)).collect();
                more += stream.len() - different.len();
            }
        }
        more
    }

    /// All accepted events.
    pub(super) fn count(&self) -> usize {
        self.groups.values().flat_map(|group| group.streams.values()).map(Vec::len).sum()
    }
}

/// Reads a body strictly: what the operation does not know is a violation.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal {
        code: "SerializationException",
        message: format!("the body is not what the operation takes: {error}"),
        violation: true,
    })
}

fn check_names(group: &str, stream: Option<&str>) -> Result<(), Refusal> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || ".-_/#".contains(letter);
    if !(1..=512).contains(&group.chars().count()) || !group.chars().all(legal) {
        return Err(invalid(format!("Value '{group}' at 'logGroupName' failed to satisfy constraint")));
    }
    match stream {
        Some(name) if !(1..=512).contains(&name.chars().count()) || name.contains([':', '*']) => {
            Err(invalid(format!("Value '{name}' at 'logStreamName' failed to satisfy constraint")))
        }
        _ => Ok(()),
    }
}

fn check_events(events: &[PutEvent]) -> Result<(), Refusal> {
    if !(1..=EVENTS_MAX).contains(&events.len()) {
        return Err(invalid(format!("{} log events; 1 to {EVENTS_MAX} are taken", events.len())));
    }
    let (mut bytes, mut last) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        if event.message.is_empty() {
            return Err(invalid(format!("Value at 'logEvents.{}.member.message' is empty", index + 1)));
        }
        if event.timestamp < last {
            return Err(invalid(format!(
                "Log events in a single PutLogEvents request must be in chronological order (event {index})."
            )));
        }
        last = event.timestamp;
        bytes += event.message.len() + EVENT_EXTRA;
    }
    if last - events[0].timestamp > DAY_MS {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.".to_owned(),
        ));
    }
    if bytes > REQUEST_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {REQUEST_BYTES_MAX}")));
    }
    Ok(())
}

fn invalid(message: String) -> Refusal {
    Refusal { code: "InvalidParameterException", message, violation: true }
}

fn not_found(what: &str) -> Refusal {
    let message = format!("The specified log {what} does not exist.");
    Refusal { code: "ResourceNotFoundException", message, violation: false }
}

fn exists(what: &str) -> Refusal {
    let message = format!("The specified log {what} already exists");
    Refusal { code: "ResourceAlreadyExistsException", message, violation: false }
}

/// Counts how often each text occurs, for tests that compare what was written with what arrived.
pub fn tally<'a>(events: impl IntoIterator<Item = &'a Event>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    for event in events {
        *counts.entry(event.message.as_str()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn logs() -> Logs {
        let mut logs = Logs::default();
        logs.create_group(br#"{"logGroupName":"g"}"#).unwrap();
        logs.create_stream(br#"{"logGroupName":"g","logStreamName":"s"}"#).unwrap();
        logs
    }

    fn put(logs: &mut Logs, stream: &str, events: &[(i64, &str)]) -> Result<Value, Refusal> {
        let events: Vec<_> = events.iter().map(|(at, text)| json!({"timestamp": at, "message": text})).collect();
        let body = json!({"logGroupName": "g", "logStreamName": stream, "logEvents": events}).to_string();
        logs.put(body.as_bytes(), NOW, 0, Instant::now())
    }

    #[test]
    fn limits_are_exact() {
        let fits = "x".repeat(REQUEST_BYTES_MAX - EVENT_EXTRA);
        let over = format!("{fits}x");
        let many = vec![(NOW, "x"); EVENTS_MAX];
        let too_many = vec![(NOW, "x"); EVENTS_MAX + 1];
        let table = [
            (&[(NOW, fits.as_str())][..], None),
            (&[(NOW, &over)], Some("Upload too large: 1048577 bytes")),
            (&many, None),
            (&too_many, Some("10001 log events")),
            (&[], Some("0 log events")),
            (&[(NOW, "")], Some("is empty")),
            (&[(NOW, "b"), (NOW - 1, "a")], Some("chronological")),
            (&[(NOW - DAY_MS, "a"), (NOW, "b")], None),
            (&[(NOW - DAY_MS - 1, "a"), (NOW, "b")], Some("24 hours")),
        ];
        for (events, refused) in table {
            let answer = put(&mut logs(), "s", events);
            match refused {
                None => assert!(answer.is_ok(), "{answer:?}"),
                Some(text) => assert!(answer.is_err_and(|refusal| refusal.message.contains(text) && refusal.violation)),
            }
        }
    }

    #[test]
    fn events_outside_the_window_are_rejected_one_by_one() {
        let mut logs = logs();
        let edge = NOW - 14 * DAY_MS;
        let answer = put(&mut logs, "s", &[(edge - 1, "old"), (edge, "kept")]).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({"tooOldLogEventEndIndex": 1}));
        let edge = NOW + 2 * HOUR_MS;
        let answer = put(&mut logs, "s", &[(edge, "kept too"), (edge + 1, "new")]).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({"tooNewLogEventStartIndex": 1}));
        logs.put_retention(br#"{"logGroupName":"g","retentionInDays":1}"#).unwrap();
        let answer = put(&mut logs, "s", &[(NOW - DAY_MS - 1, "expired"), (NOW, "kept again")]).unwrap_err();
        assert!(answer.message.contains("24 hours"), "the span comes first");
        let answer = put(&mut logs, "s", &[(NOW - DAY_MS - 1, "expired"), (NOW - DAY_MS, "kept again")]).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({"expiredLogEventEndIndex": 1}));
        let kept: Vec<_> = logs.groups["g"].streams["s"].iter().map(|event| event.message.as_str()).collect();
        assert_eq!(kept, ["kept", "kept too", "kept again"]);
    }

    #[test]
    fn what_is_missing_or_there_already_is_no_violation_but_a_bad_name_is() {
        let mut logs = logs();
        let missing = put(&mut logs, "t", &[(NOW, "x")]).unwrap_err();
        assert_eq!((missing.code, missing.violation), ("ResourceNotFoundException", false));
        let there = logs.create_group(br#"{"logGroupName":"g"}"#).unwrap_err();
        assert_eq!((there.code, there.violation), ("ResourceAlreadyExistsException", false));
        for body in [r#"{"logGroupName":"g g"}"#, r#"{"logGroupName":""}"#, r#"{"logGroup":"g"}"#, "no JSON"] {
            assert!(logs.create_group(body.as_bytes()).unwrap_err().violation, "{body}");
        }
        assert!(logs.create_stream(br#"{"logGroupName":"g","logStreamName":"a:b"}"#).unwrap_err().violation);
        assert!(logs.put_retention(br#"{"logGroupName":"g","retentionInDays":2}"#).unwrap_err().violation);
    }

    #[test]
    fn an_event_that_is_there_twice_is_counted_once_more() {
        let mut logs = logs();
        put(&mut logs, "s", &[(NOW, "a"), (NOW, "b")]).unwrap();
        put(&mut logs, "s", &[(NOW, "b"), (NOW + 1, "b")]).unwrap();
        assert_eq!((logs.duplicates(), logs.count()), (1, 4));
        assert_eq!(tally(&logs.groups["g"].streams["s"])["b"], 3);
    }
}
