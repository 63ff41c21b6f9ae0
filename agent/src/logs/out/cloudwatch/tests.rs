//! The destination against a scripted service, and the encoder against `serde_json`.
//!
//! Promises: every request is looked at: operation, order, body.
//! Never: proves what the real service does; moto and the stories do that as far as anything here can.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials as Keys;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{encode::EVENT_OVERHEAD, *};
use crate::{
    aws::{Clock, Credentials, Endpoint},
    deliver::{
        Rules,
        batch::Open,
        books::{Books, Holder},
        budget::Budget,
        deliver,
        stock::Stock,
    },
    life::Life,
    logs::{
        forward::frame::{Entries, EntryReader},
        record::{EventTime, Fixed, Pair, Value},
    },
    net::{
        http::HttpClient,
        stub::{Seen, Stub, answer},
        tls::Tls,
    },
    tell::counters::Counters,
};
use tokio_util::sync::CancellationToken;

const ID: &str = "x-amzn-RequestId: 7f6d\r\n";

const PLACE: Place<'_> = Place { group: "/ecs/app", stream: "app/\"1\"" };

fn service(stub: &Stub, config: &Config) -> CloudWatch {
    let keys = Keys::new("AKID", "SECRET", None, None, "test");
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let credentials = Credentials::from_provider(keys, Clock::new(SystemTime::now));
    let client = Client::new("logs", endpoint, credentials, HttpClient::new(&Tls::new(None), &Counters::new()));
    CloudWatch::new(client.with_timeout(Duration::from_secs(30)), config)
}

fn config() -> Config {
    Config { auto_create_group: true, ..Config::default() }
}

/// A batch of `events` empty records.
fn batch(events: usize) -> Arc<Batch> {
    let (budget, account) = (Budget::new(1 << 20, 1), Arc::new(Account::default()));
    let frame = encode::frame(PLACE);
    let mut open = Open::new(budget.share().lease());
    for time in 0..events {
        open.begin(&frame);
        open.body.put(format!("{{\"timestamp\":{time},\"message\":\"{{}}\"}}").as_bytes());
        let source = open.source(&account);
        open.accept(source, 1, None);
        open.commit(time as i64, 28, source, 1);
    }
    let pending =
        open.seal(PLACE.key(), &frame, budget.share().lease(), &Arc::new(Stock::new(budget.share(), 1 << 20)));
    let batch = pending.batch.clone().expect("it is in memory");
    pending.delivered();
    batch
}

fn reply(body: &str) -> String {
    answer("200 OK", ID, body)
}

fn ok() -> String {
    reply("{}")
}

fn fault(code: &str) -> String {
    answer("400 Bad Request", ID, &format!(r#"{{"__type":"{code}","message":"no"}}"#))
}

/// What was asked for, without the API's name.
fn operations(stub: &Stub) -> Vec<String> {
    let operation = |seen: Seen| seen.header("x-amz-target").unwrap_or_default().replace("Logs_20140328.", "");
    stub.seen().into_iter().map(operation).collect()
}

async fn sent(answers: &[String], config: &Config) -> (Answer, Vec<String>, Vec<Seen>) {
    let stub = Stub::answering(answers);
    let answer = service(&stub, config).send(&batch(3)).await;
    (answer, operations(&stub), stub.seen())
}

#[tokio::test]
async fn a_batch_is_put_as_the_api_wants_it() {
    let config = Config { log_format: Some("json/emf".to_owned()), ..config() };
    let (answer, operations, seen) = sent(&[ok()], &config).await;
    assert!(matches!(answer, Answer::Delivered), "{answer:?}");
    assert_eq!(operations, ["PutLogEvents"]);
    assert_eq!(seen[0].header("x-amzn-logs-format"), Some("json/emf"));
    let body: Json = serde_json::from_slice(&seen[0].body).expect("JSON");
    let event = |time: u32| json!({"timestamp": time, "message": "{}"});
    let events = [event(0), event(1), event(2)];
    assert_eq!(body, json!({"logGroupName": "/ecs/app", "logStreamName": "app/\"1\"", "logEvents": events}));

    let (_, _, seen) = sent(&[ok()], &Config::default()).await;
    assert_eq!(seen[0].header("x-amzn-logs-format"), None);
}

#[tokio::test]
async fn a_missing_stream_is_created_and_the_batch_put_again() {
    let missing = fault("ResourceNotFoundException");
    let (answer, operations, seen) = sent(&[missing, ok(), ok()], &Config::default()).await;
    assert!(matches!(answer, Answer::Delivered), "{answer:?}");
    assert_eq!(operations, ["PutLogEvents", "CreateLogStream", "PutLogEvents"]);
    let body: Json = serde_json::from_slice(&seen[1].body).expect("JSON");
    assert_eq!(body, json!({"logGroupName": "/ecs/app", "logStreamName": "app/\"1\""}));
}

#[tokio::test]
async fn a_missing_group_is_created_with_all_that_was_asked_for() {
    let missing = fault("ResourceNotFoundException");
    let config = Config {
        retention_days: Some(30),
        group_class: GroupClass::InfrequentAccess,
        group_tags: [("team".to_owned(), "a".to_owned())].into(),
        ..config()
    };
    let script = [missing.clone(), missing, ok(), ok(), ok(), ok()];
    let (answer, operations, seen) = sent(&script, &config).await;
    assert!(matches!(answer, Answer::Delivered), "{answer:?}");
    assert_eq!(
        operations,
        ["PutLogEvents", "CreateLogStream", "CreateLogGroup", "PutRetentionPolicy", "CreateLogStream", "PutLogEvents"]
    );
    let body = |place: usize| serde_json::from_slice::<Json>(&seen[place].body).expect("JSON");
    let class = "INFREQUENT_ACCESS";
    assert_eq!(body(2), json!({"logGroupName": "/ecs/app", "logGroupClass": class, "tags": {"team": "a"}}));
    assert_eq!(body(3), json!({"logGroupName": "/ecs/app", "retentionInDays": 30}));
}

/// What another task creates at the same moment is there; what cannot be set beside it does not matter.
#[tokio::test]
async fn what_exists_already_is_as_good_as_created() {
    let missing = fault("ResourceNotFoundException");
    let exists = fault("ResourceAlreadyExistsException");
    let config = Config { retention_days: Some(1), ..config() };
    let script = [missing.clone(), missing, exists.clone(), fault("AccessDeniedException"), exists, ok()];
    let (answer, operations, _) = sent(&script, &config).await;
    assert!(matches!(answer, Answer::Delivered), "{answer:?}");
    assert_eq!(operations.len(), 6);
}

/// What each fault means for the batch, wherever on the way it happens.
#[tokio::test]
async fn faults_say_what_to_do_with_the_batch() {
    let missing = || fault("ResourceNotFoundException");
    let no_streams = Config { auto_create_stream: Some(false), ..config() };
    for (what, script, config, cause, requests) in [
        ("throttled", vec![fault("ThrottlingException")], config(), Cause::Throttled, 1),
        ("denied", vec![fault("AccessDeniedException")], config(), Cause::Denied, 1),
        ("down", vec![answer("503 No", ID, "")], config(), Cause::Unavailable, 1),
        ("no answer", vec![], config(), Cause::Ambiguous, 1),
        ("no group, and none to be made", vec![missing(), missing()], Config::default(), Cause::Missing, 2),
        ("no stream, and none to be made", vec![missing()], no_streams, Cause::Missing, 1),
        ("throttled create", vec![missing(), fault("ThrottlingException")], config(), Cause::Throttled, 2),
        ("denied create", vec![missing(), fault("AccessDeniedException")], config(), Cause::Denied, 2),
        ("denied group", vec![missing(), missing(), fault("AccessDeniedException")], config(), Cause::Denied, 3),
        ("no such name", vec![missing(), fault("InvalidParameterException")], config(), Cause::Missing, 2),
        ("created and still not there", vec![missing(), ok(), missing()], config(), Cause::Missing, 3),
    ] {
        let (answer, operations, _) = sent(&script, &config).await;
        let is_attempt = !matches!(answer, Answer::Unprepared { .. });
        assert_eq!(is_attempt, what != "throttled create", "{what}");
        match answer {
            Answer::Again { cause: said, detail, after } | Answer::Unprepared { cause: said, detail, after } => {
                assert_eq!((said, operations.len()), (cause, requests), "{what}: {detail}");
                assert!(!detail.is_empty(), "{what}");
                let soon = after.is_some_and(|after| after <= Duration::from_secs(5));
                assert_eq!(soon, what == "created and still not there", "{what}: {after:?}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    for (code, divides) in
        [("InvalidParameterException", true), ("ValidationException", true), ("DataAlreadyAcceptedException", false)]
    {
        let (answer, ..) = sent(&[fault(code)], &config()).await;
        assert_eq!(matches!(answer, Answer::Divide { .. }), divides, "{code}");
        assert_eq!(matches!(answer, Answer::Delivered), !divides, "{code}");
    }
    let (answer, ..) = sent(&[answer("413 Too Large", "", "")], &config()).await;
    assert!(matches!(answer, Answer::Divide { .. }), "{answer:?}");
}

/// Many batches miss streams at once: they are created one at a time.
#[tokio::test]
async fn creates_are_made_one_at_a_time() {
    let missing = fault("ResourceNotFoundException");
    let stub = Stub::answering([missing, fault("ThrottlingException")]);
    let service = service(&stub, &config());
    let turn = service.control.turn().await;
    let batch = batch(1);
    let mut sending = Box::pin(service.send(&batch));
    tokio::select! {
        _ = &mut sending => panic!("waits for its turn"),
        () = async { while stub.seen().is_empty() { tokio::task::yield_now().await } } => {}
    }
    drop(turn);
    assert!(matches!(sending.await, Answer::Unprepared { cause: Cause::Throttled, .. }));
    assert_eq!(operations(&stub), ["PutLogEvents", "CreateLogStream"]);
}

#[tokio::test]
async fn rejected_events_are_told_apart() {
    let info = r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1,"tooNewLogEventStartIndex":2}}"#;
    let (answer, ..) = sent(&[reply(info)], &config()).await;
    let Answer::Partial(verdicts) = answer else { panic!("{answer:?}") };
    let verdict = |records, reason| Verdict { records, fate: Fate::Refused(reason) };
    assert_eq!(verdicts, [verdict(0..1, Refused::TooOld), verdict(2..3, Refused::TooNew)]);
    for strange in ["", "[]", "null", "{\"rejectedLogEventsInfo\":null}", "{\"rejectedLogEventsInfo\":7}", "<html>"] {
        let (said, ..) = sent(&[reply(strange)], &config()).await;
        assert!(matches!(said, Answer::Delivered), "{strange}: {said:?}");
    }
}

/// Takes everything and keeps it.
struct Catch(Mutex<Vec<Json>>, Limits);

impl Destination for Catch {
    fn limits(&self) -> Limits {
        self.1
    }

    fn frame(&self, key: &Key) -> Frame {
        Place::of(key).map(encode::frame).expect("a place")
    }

    fn knows(&self, _: &Key) -> bool {
        true
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async move {
            let body = serde_json::from_slice(&batch.body).expect("the body is JSON");
            self.0.lock().expect("not poisoned").push(body);
            Answer::Delivered
        })
    }
}

/// The events of each batch, as `(timestamp, message)`, and what the encoder said of each record.
fn encoded(records: &[Record<'_>], message: &Message, bytes: usize) -> (Vec<Vec<(i64, String)>>, Vec<encode::Encoded>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (budget, books, counters) = (Budget::new(64 << 20, 1), Books::default(), Counters::new());
        let catch = Arc::new(Catch(Mutex::default(), Limits { bytes, ..LIMITS }));
        let (output, engine) = deliver("catch", Arc::clone(&catch), Rules::default(), &budget, &counters);
        let account = books.account(&Holder { output: "catch".into(), source: "test".into() });
        let lane = output.lane(&PLACE.key());
        let mut workspace = Workspace::default();
        let mut appending = output.append(&lane, &account);
        let said = records
            .iter()
            .map(|record| encode::append(&mut appending, record, record.time.milliseconds(), message, &mut workspace))
            .collect();
        drop(appending);
        output.close();
        let run = engine.run(CancellationToken::new(), CancellationToken::new());
        Life::default().spawn("engine", run).await.expect("not cancelled").expect("no panic");
        assert!(books.totals().balanced() && budget.used() == 0);
        let bodies = catch.0.lock().expect("not poisoned").clone();
        let event = |event: &Json| {
            (event["timestamp"].as_i64().expect("a time"), event["message"].as_str().expect("text").to_owned())
        };
        let events = |body: &Json| body["logEvents"].as_array().expect("events").iter().map(event).collect();
        (bodies.iter().map(events).collect(), said)
    })
}

fn one(record: Record<'_>, message: &Message) -> Result<(i64, String), encode::Encoded> {
    let (batches, said) = encoded(&[record], message, LIMITS.bytes);
    match batches.concat().pop() {
        Some(event) => Ok(event),
        None => Err(said[0]),
    }
}

fn record(seconds: i64, pairs: Vec<Pair<'_>>) -> Record<'_> {
    Record { time: EventTime { seconds, nanos: 0 }, pairs, ..Record::default() }
}

fn pair<'a>(key: &'a str, value: Value<'a>) -> Pair<'a> {
    Pair { key: Value::Str(key.as_bytes()), value }
}

#[test]
fn a_time_before_1970_is_1970() {
    let event = one(record(-5, vec![pair("a", Value::Str(b"b"))]), &Message::Record);
    assert_eq!(event, Ok((0, r#"{"a":"b"}"#.to_owned())));
}

#[test]
fn a_field_is_sent_as_it_is() {
    let field = Message::Field("log".into());
    let fixed = Fixed::new("log", "fixed \"text\"");
    for (pairs, expected) in [
        (vec![pair("log", Value::Str(b"a \"line\"\n\\"))], Ok("a \"line\"\n\\")),
        (vec![pair("log", Value::Bin(b"bin"))], Ok("bin")),
        (vec![pair("log", Value::Str("é世\u{1}".as_bytes()))], Ok("é世\u{1}")),
        (vec![pair("log", Value::Str(b"broken \xff\xfe end"))], Ok("broken \u{fffd}\u{fffd} end")),
        (vec![pair("log", Value::Raw(&[0x92, 0x01, 0xa1, b'"']))], Ok(r#"[1,"\""]"#)),
        (vec![pair("log", Value::Raw(&[0xc0]))], Ok("null")),
        (vec![pair("log", Value::Str(b"first")), pair("log", Value::Str(b"last"))], Ok("last")),
        (vec![Pair::fixed(&fixed)], Ok("fixed \"text\"")),
        (vec![pair("log", Value::Str(b""))], Err(encode::Encoded::Refused(Refused::Empty))),
        (vec![pair("other", Value::Str(b"x"))], Err(encode::Encoded::Refused(Refused::KeyMissing))),
        (vec![], Err(encode::Encoded::Refused(Refused::KeyMissing))),
    ] {
        let got = one(record(1, pairs.clone()), &field);
        assert_eq!(got, expected.map(|text| (1_000, text.to_owned())), "{pairs:?}");
    }
    // An empty record is an object all the same.
    assert_eq!(one(record(1, vec![]), &Message::Record), Ok((1_000, "{}".to_owned())));
}

/// Over the limit a message is cut between characters, marked, and exactly as long as allowed.
#[test]
fn a_message_over_the_limit_is_cut_and_marked() {
    const MARK: &str = "[Truncated...]";
    const MOST: usize = encode::MESSAGE_BYTES_MAX;
    let field = Message::Field("log".into());
    for (text, message) in [
        ("x".repeat(MOST + 1), &field),
        ("é".repeat(MOST), &field),
        ("\"\n".repeat(MOST), &field),
        ("世".repeat(MOST), &Message::Record),
        ("\u{1}\\".repeat(MOST / 2), &Message::Record),
    ] {
        let pairs = vec![pair("log", Value::Str(text.as_bytes()))];
        let (batches, said) = encoded(&[record(1, pairs)], message, LIMITS.bytes);
        assert_eq!(said, [encode::Encoded::Cut]);
        let sent = &batches[0][0].1;
        let whole = match message {
            Message::Record => format!("{{\"log\":{}}}", serde_json::to_string(&text).expect("text")),
            Message::Field(_) => text,
        };
        let kept = sent.strip_suffix(MARK).expect("marked");
        assert!(whole.starts_with(kept));
        assert!((MOST - 3..=MOST).contains(&sent.len()), "{}", sent.len());
    }
    let nested: Vec<u8> = [&[0x91, 0xdb, 0x00, 0x10, 0x00, 0x00][..], &[b'y'; 1 << 20]].concat();
    let (_, said) = encoded(&[record(1, vec![pair("log", Value::Raw(&nested))])], &field, LIMITS.bytes);
    assert_eq!(said, [encode::Encoded::Cut]);
    let fits = "x".repeat(MOST);
    let (batches, said) = encoded(&[record(1, vec![pair("log", Value::Str(fits.as_bytes()))])], &field, LIMITS.bytes);
    assert_eq!((said, batches[0][0].1.len()), (vec![encode::Encoded::Whole], MOST));
}

/// Strings of all kinds, numbers, and what can stand in each other.
fn json_value() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["[ -~]{0,60}", "[\u{0}-\u{20}\"\\\\é世\u{7f}\u{10ffff}]{0,20}", any::<String>()];
    let leaf = prop_oneof![
        4 => text.prop_map(Json::from),
        1 => any::<i64>().prop_map(Json::from),
        1 => any::<u64>().prop_map(Json::from),
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-c\"]{0,3}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// What `serde_json` makes of the record: the inner document.
fn inner(fields: &[(String, Json)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{}:{value}", serde_json::to_string(key).expect("text"))).collect();
    with_delete_escaped(&format!("{{{}}}", fields.join(",")))
}

/// We escape U+007F, as Fluent Bit does; `serde_json` does not.
fn with_delete_escaped(json: &str) -> String {
    json.replace('\u{7f}', "\\u007f")
}

fn packed(time: i64, fields: &[(String, Json)]) -> Vec<u8> {
    let mut bytes = vec![0x92, 0xd3];
    bytes.extend(time.to_be_bytes());
    bytes.extend([0xdf]);
    bytes.extend(u32::try_from(fields.len()).expect("few").to_be_bytes());
    for (key, value) in fields {
        bytes.extend(rmp_serde::to_vec(key).expect("encodes"));
        bytes.extend(rmp_serde::to_vec(value).expect("encodes"));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Messages are byte for byte those of `serde_json`, and batches are cut exactly where the service's way of counting
    /// says: so each message is counted as what it is.
    #[test]
    fn property_events_are_what_serde_json_makes_and_counted_to_the_byte(
        records in prop::collection::vec(prop::collection::btree_map("[a-z\"é]{0,8}", json_value(), 0..6), 1..30),
        log_key in any::<bool>(),
    ) {
        const BYTES: usize = 1_500;
        let records: Vec<Vec<(String, Json)>> = records.into_iter().map(|fields| fields.into_iter().collect()).collect();
        let bytes: Vec<Vec<u8>> = records.iter().map(|fields| packed(7, fields)).collect();
        let mut views = Vec::new();
        for bytes in &bytes {
            let mut view = Record::default();
            prop_assert_eq!(EntryReader::new(Entries::Packed(bytes)).next_into(&mut view), Ok(true));
            views.push(view);
        }
        let message = if log_key { Message::Field("a".into()) } else { Message::Record };
        let messages = records.iter().filter_map(|fields| match log_key {
            false => Some(inner(fields)),
            true => {
                let value = &fields.iter().find(|(key, _)| key == "a")?.1;
                let text = value.as_str().map_or_else(|| with_delete_escaped(&value.to_string()), str::to_owned);
                (!text.is_empty()).then_some(text)
            }
        });
        let mut expected: Vec<Vec<(i64, String)>> = Vec::new();
        let mut counted = BYTES;
        for message in messages {
            counted += message.len() + EVENT_OVERHEAD;
            if counted > BYTES {
                counted = message.len() + EVENT_OVERHEAD;
                expected.push(Vec::new());
            }
            expected.last_mut().expect("one was begun").push((7_000, message));
        }
        prop_assert_eq!(encoded(&views, &message, BYTES).0, expected);
    }

    /// Whatever the service says, each event has one verdict at most, and each one that the service named has one.
    #[test]
    fn property_verdicts_cover_what_was_rejected_once(
        events in 1_usize..12,
        old in prop::option::of(0_usize..15),
        expired in prop::option::of(0_usize..15),
        new in prop::option::of(0_usize..15),
    ) {
        let rejected = Rejected {
            too_new_log_event_start_index: new,
            too_old_log_event_end_index: old,
            expired_log_event_end_index: expired,
        };
        let verdicts = rejected.verdicts(events);
        for place in 0..events {
            let of_place: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.records.contains(&place)).collect();
            let was_rejected = old.is_some_and(|end| place < end)
                || expired.is_some_and(|end| place < end)
                || new.is_some_and(|start| place >= start);
            prop_assert_eq!(of_place.len(), usize::from(was_rejected), "{}: {:?}", place, verdicts);
        }
        prop_assert!(verdicts.iter().all(|verdict| verdict.records.end <= events));
    }
}
