//! Proves which messages are hints for whom, and that the queue is emptied whatever is in it.
//!
//! Promises: events are those that AWS documents; hostile ones are a table and two properties.
//! Never: needs a network; the story asks moto.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_credential_types::Credentials as Keys;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    aws::{Client, Clock, Credentials, Endpoint},
    net::{
        http::HttpClient,
        stub::{Stub, answer},
        tls::Tls,
    },
    secrets::{
        settings::{From, Parameter, Parameters, SecretsManager, WhenGone},
        source::{CURRENT, Followed, Seen, Source, SourceFault, Wanted},
        value::{Content, Version},
    },
};

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/orders/db-a1b2c3";
const ID: &str = "x-amzn-RequestId: 7f6d\r\n";

fn service_event(name: &str) -> Value {
    json!({
        "version": "0", "id": "1", "source": "aws.secretsmanager", "detail-type": "AWS Service Event via CloudTrail",
        "account": "123456789012", "time": "2026-11-20T00:00:00Z", "region": "eu-west-1", "resources": [],
        "detail": {"eventName": name, "eventSource": "secretsmanager.amazonaws.com",
                   "additionalEventData": {"SecretId": ARN}, "requestParameters": null, "responseElements": null},
    })
}

fn call(name: &str, request: Value, response: Value) -> Value {
    json!({"source": "aws.secretsmanager", "detail-type": "AWS API Call via CloudTrail", "detail":
           {"eventName": name, "readOnly": false, "requestParameters": request, "responseElements": response}})
}

fn change(name: &str) -> Value {
    let detail = json!({"operation": "Update", "name": name, "type": "SecureString"});
    json!({"source": "aws.ssm", "detail-type": "Parameter Store Change", "detail": detail})
}

fn from_sns(event: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": event.to_string()})
}

/// Whom a message concerns: `db`, a parameter `level`, a path `cfg`, another secret.
fn concerned(message: &str) -> String {
    let secret = |id: &str| From::SecretsManager(SecretsManager { id: id.to_owned(), ..Default::default() });
    let all = [
        ("name", secret("prod/orders/db")),
        ("arn", secret(ARN)),
        ("part", secret("arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/orders/db")),
        ("other", secret("prod/orders/db2")),
        ("level", From::Parameter(Parameter { name: "/orders/level:prod".to_owned(), ..Default::default() })),
        ("cfg", From::Parameters(Parameters { path: "/orders/cfg/".to_owned(), ..Default::default() })),
        ("file", From::File("prod/orders/db".into())),
    ];
    let Some(hints) = read(message) else { return "unreadable".to_owned() };
    let meant = all.iter().filter(|(_, from)| hints.iter().any(|hint| hint.concerns(from)));
    meant.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

#[test]
fn events_are_hints_for_those_whom_they_concern() {
    let none = || json!(null);
    for (event, meant) in [
        (service_event("RotationSucceeded"), "name arn part"),
        (service_event("RotationStarted"), "name arn part"),
        (service_event("EndSecretVersionDelete"), "name arn part"),
        (call("PutSecretValue", json!({"secretId": "prod/orders/db"}), none()), "name arn part"),
        (call("PutSecretValue", json!({"secretId": ARN}), json!({"arn": ARN})), "name arn part"),
        (call("UpdateSecretVersionStage", json!({"secretId": &ARN[..ARN.len() - 7]}), none()), "name arn part"),
        (call("RotateSecret", none(), json!({"aRN": ARN})), "name arn part"),
        (call("CreateSecret", json!({"name": "prod/orders/db2"}), none()), "other"),
        (call("PutSecretValue", json!({"secretId": "somebody/elses"}), none()), ""),
        (change("/orders/level"), "level"),
        (change("orders/level"), "level"),
        (change("/orders/cfg/db/password"), "cfg"),
        (change("/orders/cfg"), ""),
        (change("/orders/cfgs/a"), ""),
        (change("/somebody/elses"), ""),
    ] {
        assert_eq!(concerned(&event.to_string()), meant, "{event}");
        assert_eq!(concerned(&from_sns(&event).to_string()), meant, "wrapped: {event}");
    }
}

/// CloudTrail tells of our own looks, too: each would be the reason for the next, without end.
#[test]
fn a_call_that_only_reads_is_no_hint() {
    for name in ["GetSecretValue", "BatchGetSecretValue", "DescribeSecret", "ListSecretVersionIds", "GetResourcePolicy"]
    {
        assert_eq!(concerned(&call(name, json!({"secretId": ARN}), json!(null)).to_string()), "", "{name}");
    }
    let mut event = call("NewKindOfLook", json!({"secretId": ARN}), json!(null));
    event["detail"]["readOnly"] = json!(true);
    assert_eq!(concerned(&event.to_string()), "");
}

#[test]
fn what_is_no_event_is_nothing() {
    let large = json!({"source": "aws.ssm", "detail": {"name": "/orders/level", "x": "x".repeat(300_000)}}).to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = from_sns(&from_sns(&change("/orders/level"))).to_string();
    for message in [
        "",
        "prod/orders/db",
        "null",
        "[]",
        "{}",
        "{",
        r#"{"source":5}"#,
        r#"{"source":"aws.s3","detail":{"name":"/orders/level"}}"#,
        r#"{"Message":5}"#,
        r#"{"Message":"not JSON"}"#,
        r#"{"Message":"{\"source\":\"aws.s3\"}"}"#,
        &large,
        &deep,
        &twice,
        "\u{0}\u{7f}",
    ] {
        assert_eq!(concerned(message), "unreadable", "{}", message.get(..60).unwrap_or(message));
    }
    for message in [
        r#"{"source":"aws.ssm"}"#,
        r#"{"source":"aws.ssm","detail":{"name":""}}"#,
        r#"{"source":"aws.ssm","detail":{"name":["/orders/level"]}}"#,
        r#"{"source":"aws.secretsmanager","detail":"RotationSucceeded"}"#,
        r#"{"source":"aws.secretsmanager","detail":{"eventName":7,"requestParameters":{"secretId":{}}}}"#,
    ] {
        assert_eq!(concerned(message), "", "{message}");
    }
}

proptest! {
    #[test]
    fn property_any_text_is_read_without_harm(text in ".{0,200}") {
        let _ = concerned(&text);
    }

    /// Parts of real events, broken in any way.
    #[test]
    fn property_a_broken_event_is_read_without_harm(cut in 0..400_usize, put in "[{}\\[\\]\":,a0\\\\]{0,4}", wrap in any::<bool>()) {
        let event = service_event("RotationSucceeded");
        let mut text = if wrap { from_sns(&event) } else { event }.to_string();
        let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &put);
        let _ = concerned(&text);
    }
}

/// A secret that counts how often it is looked at.
#[derive(Default)]
struct Counted(AtomicU64);

impl Source for Counted {
    async fn look(&self) -> Result<Seen, SourceFault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let versions = BTreeMap::from([("v1".to_owned(), vec![CURRENT.to_owned()])]);
        Ok(Seen { versions, ..Seen::default() })
    }

    async fn fetch(&self, _: &Wanted) -> Result<Version, SourceFault> {
        let content = Content::Text(crate::secrets::value::Value::default());
        Ok(Version { id: "v1".to_owned(), stages: Vec::new(), created: None, content })
    }
}

/// Messages of every kind, twice, in any order: the secret is looked at, and all of them are taken out of the queue, in tens.
#[tokio::test]
async fn whatever_comes_is_heard_and_deleted() {
    let messages =
        [service_event("RotationSucceeded").to_string(), "garbage".to_owned(), change("/not/ours").to_string()];
    let messages: Vec<String> = messages.iter().chain(&messages).cloned().collect();
    let one =
        |(at, body): (usize, &String)| json!({"MessageId": "m", "ReceiptHandle": format!("handle {at}"), "Body": body});
    let received = json!({"Messages": messages.iter().enumerate().map(one).collect::<Vec<_>>()}).to_string();
    let stub = Stub::answering([
        answer("200 OK", ID, &received),
        answer("200 OK", ID, "{\"Successful\":[],\"Failed\":[]}"),
        answer("503 x", ID, ""),
        answer("200 OK", ID, "{\"Messages\":null}"),
    ]);
    let counters = Counters::new();
    let from = From::SecretsManager(SecretsManager { id: "prod/orders/db".to_owned(), ..Default::default() });
    let settings = settings::Item {
        name: "db".to_owned(),
        from,
        required: true,
        when_gone: WhenGone::Keep,
        mask: settings::Mask::Auto,
        files: Vec::new(),
    };
    let confirmed = counters.secrets.confirmed.with_label_values(&["db"]);
    let followed = Followed::Stage(CURRENT.to_owned());
    let item = Arc::new(Item::new(settings, followed, confirmed, counters.secrets.answers.clone()));
    let (life, source) = (Life::default(), Arc::new(Counted::default()));
    life.spawn("item", Arc::clone(&item).run(Arc::clone(&source), || {}));
    item.look_soon().await;
    let before = source.0.load(Ordering::Relaxed);

    let endpoint = Endpoint::parse(&stub.url(), None, "eu-west-1").expect("an endpoint");
    let keys = Credentials::from_provider(Keys::new("AKID", "SECRET", None, None, "test"), Clock::system());
    let client = Client::new("sqs", endpoint, keys, HttpClient::new(&Tls::new(None), &counters));
    let queue = Queue::with(format!("{}/1/q", stub.url()), client);
    let counted = counters.secrets.hints.clone();
    let listener = Listener { queue, items: vec![Arc::clone(&item)], counted, warned: RateLimited::new(WARN_EVERY) };
    assert_eq!(listener.pass(0).await, Ok(6));
    assert!(listener.pass(0).await.is_err());
    assert_eq!(listener.pass(1).await, Ok(0));

    item.look_soon().await;
    assert!(source.0.load(Ordering::Relaxed) > before, "it was looked at");
    let counts =
        ["taken", "foreign", "unreadable"].map(|outcome| counters.secrets.hints.with_label_values(&[outcome]).get());
    assert_eq!(counts, [2, 2, 2]);
    let seen = stub.seen();
    let target = |at: usize| seen[at].header("x-amz-target").map(str::to_owned);
    assert_eq!(target(0).as_deref(), Some("AmazonSQS.ReceiveMessage"));
    assert_eq!(target(1).as_deref(), Some("AmazonSQS.DeleteMessageBatch"));
    assert_eq!(seen[0].header("content-type"), Some("application/x-amz-json-1.0"));
    let body = |at: usize| -> Value { serde_json::from_slice(&seen[at].body).expect("JSON") };
    let url = format!("{}/1/q", stub.url());
    assert_eq!(body(0), json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}));
    let handles: Vec<Value> =
        (0..6).map(|at| json!({"Id": at.to_string(), "ReceiptHandle": format!("handle {at}")})).collect();
    assert_eq!(body(1), json!({"QueueUrl": url, "Entries": handles}));
    assert_eq!(body(3)["MaxNumberOfMessages"], 1, "after trouble one at a time: ten may be too much to read");
}
