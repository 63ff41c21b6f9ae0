//! A span becomes a segment, that a span, and that a segment again: the same one.
//!
//! Promises: what both ways say, they say alike.
//! Never: compares metadata as a whole, which gain what had another place in the first span, nor a query's address, which is a span's name.

use std::sync::Arc;

use proptest::{prelude::*, sample::subsequence};

use super::*;
use crate::traces::segment::{
    Mapper, Resource, Settings,
    tests::{group, span as span_of},
};

/// The documents of all spans of a request.
fn documents(request: &[u8]) -> Vec<Value> {
    let mut documents = Vec::new();
    let mut mapper = Mapper::new(Arc::new(Settings::default()));
    for group in fields(request, GROUPS) {
        let resource = Resource::read(group);
        for span in fields(group, MEMBERS).flat_map(|scope| fields(scope, MEMBERS)) {
            let emit = |document: &[u8], _| documents.push(serde_json::from_slice(document).expect("JSON"));
            mapper.map(&resource, span, emit).expect("ids");
        }
    }
    documents
}

/// The document of a span, and the one that its document's span becomes.
fn there_and_back(resource: &Value, span: &Value) -> (Value, Value) {
    let group = group(resource);
    let mut first = Vec::new();
    Mapper::new(Arc::new(Settings::default()))
        .map(&Resource::read(&group), &span_of(span), |document, _| first = document.to_vec())
        .expect("ids");
    let mut request_of_it = Vec::new();
    assert_eq!(request(&first, &mut Services::default(), &mut request_of_it, &mut |why| panic!("{why:?}")), 1);
    let mut again = documents(&request_of_it);
    (serde_json::from_slice(&first).expect("JSON"), again.remove(0))
}

/// Takes what is said of a document apart from what cannot be the same.
fn parts(mut document: Value) -> (Value, Map<String, Value>) {
    let metadata = document.as_object_mut().expect("an object").remove("metadata").unwrap_or_default();
    if document["sql"].is_object() {
        document["sql"]["url"] = Value::Null;
    }
    (document, metadata["default"].as_object().cloned().unwrap_or_default())
}

const HTTP: [(&str, &str); 7] = [
    ("http.request.method", "GET"),
    ("url.full", "http://shop.example.com:81/a?b=c"),
    ("user_agent.original", "curl"),
    ("client.address", "10.1.2.3"),
    ("network.peer.address", "10.1.2.3"),
    ("enduser.id", "ada"),
    ("http.route", "/a"),
];
const CALL: [(&str, &str); 7] = [
    ("rpc.system", "aws-api"),
    ("rpc.service", "SQS"),
    ("rpc.method", "Send"),
    ("aws.region", "eu-west-1"),
    ("aws.request_id", "R"),
    ("aws.queue_url", "https://q"),
    ("aws.account_id", "7"),
];
const QUERY: [(&str, &str); 5] = [
    ("db.connection_string", "jdbc:x://db:5/x"),
    ("db.namespace", "orders"),
    ("db.query.text", "SELECT ?"),
    ("db.user", "ada"),
    ("peer.service", "the database"),
];
const ORIGIN: [(&str, &str); 13] = [
    ("service.name", "till"),
    ("service.version", "1.2"),
    ("cloud.account.id", "123456789012"),
    ("cloud.availability_zone", "z"),
    ("host.id", "i-1"),
    ("host.type", "m"),
    ("container.name", "c"),
    ("container.id", "d"),
    ("aws.ecs.task.arn", "arn:t"),
    ("aws.ecs.launchtype", "FARGATE"),
    ("aws.log.group.names", "a&b"),
    ("k8s.cluster.name", "k"),
    ("telemetry.sdk.version", "1"),
];
/// Stacks in the languages that are taken apart.
const STACKS: [(&str, &str); 6] = [
    ("java", "E: no\n\tat a.B.c(B.java:7)\n\tat d(Native Method)\nCaused by: F: gone\n\tat e(E.java:1)\n"),
    (
        "python",
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nF: gone\n\n\
                During handling of the above exception, another exception occurred:\n\n\
                Traceback (most recent call last):\n  File \"b, c.py\", line 2, in g\n  File \"d.py\", line 3, in h\nE: no\n",
    ),
    ("nodejs", "E: no\n    at f [as g] (/app/x.js:1:2)\n    at file:///y.mjs:3:4\n"),
    ("dotnet", "E: no\n   at Shop.Web.Handle(String a) in /src/Web.cs:line 42\n"),
    ("go", "goroutine 1 [running]:\nmain.f(...)\n\t/src/web.go:42 +0x1d\n"),
    ("rust", "0: main\n"),
];

fn some(of: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    subsequence(of.to_vec(), 0..=of.len())
}

fn object(parts: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn resource() -> impl Strategy<Value = (Value, &'static str)> {
    let platform = prop::sample::select(vec!["", "aws_ecs", "aws_eks", "aws_ec2", "aws_app_runner"]);
    (some(&ORIGIN), platform, prop::sample::select(STACKS.to_vec())).prop_map(
        |(mut all, platform, (language, stack))| {
            all.extend([
                ("cloud.platform", platform),
                ("telemetry.sdk.name", "opentelemetry"),
                ("telemetry.sdk.language", language),
            ]);
            (
                object(all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.into()))),
                stack,
            )
        },
    )
}

fn kinds() -> impl Strategy<Value = (&'static str, Vec<(&'static str, Value)>)> {
    let texts = |all: Vec<(&'static str, &'static str)>| {
        all.into_iter().map(|(name, text)| (name, text.into())).collect::<Vec<_>>()
    };
    let http = (some(&HTTP), prop::sample::select(vec![200, 302, 404, 429, 500]), prop::option::of(0_i64..9_999))
        .prop_map(move |(all, status, size)| {
            let size = size.map(|size| ("http.response.body.size", size.into()));
            texts(all).into_iter().chain([("http.response.status_code", status.into())]).chain(size).collect::<Vec<_>>()
        });
    let tables =
        prop::collection::vec("[a-z]{1,4}", 0..3).prop_map(|tables| ("aws.dynamodb.table_names", tables.into()));
    let call = (some(&CALL), tables).prop_map(move |(all, tables)| texts(all).into_iter().chain([tables]).collect());
    let query = some(&QUERY)
        .prop_map(move |all| texts(all).into_iter().chain([("db.system.name", "postgresql".into())]).collect());
    let attributes = prop_oneof![http, call, query];
    (prop::sample::select(vec!["server", "client", "internal"]), attributes)
}

proptest! {
    #[test]
    fn property_a_segment_of_a_segments_span_is_the_same_segment(
        (resource, stack) in resource(),
        (kind, attributes) in kinds(),
        name in "[a-zA-Z/. ]{0,12}",
        parent in prop::option::of(1_u64..9),
        message in prop::option::of("[a-z ]{0,9}"),
        thrown in prop::option::of(prop::bool::ANY),
        link in any::<bool>(),
        annotation in any::<bool>(),
    ) {
        let mut attributes = object(attributes);
        // A call of AWS or of a database is a client's.
        let is_call = attributes.get("rpc.system").is_some() || attributes.get("db.system.name").is_some();
        let kind = if is_call { "client" } else { kind };
        attributes["own"] = 7.into();
        if annotation {
            attributes["aws.xray.annotations"] = json!(["own"]);
        }
        let exception = |stack: &str| json!({
            "name": "exception", "attributes": {"exception.type": "E", "exception.message": "no", "exception.stacktrace": stack}});
        let events: Vec<_> = thrown.into_iter().map(|whole| exception(if whole { stack } else { "" })).collect();
        let mut span = json!({"name": name, "kind": kind, "attributes": attributes, "events": events});
        // What has no parent is a segment, whatever its kind, and comes back as what serves.
        if let Some(parent) = parent.or((kind != "server").then_some(3)) {
            span["parent"] = parent.into();
        }
        if let Some(message) = message {
            span["failed"] = message.into();
        }
        if link {
            span["links"] = json!([{"why": "because"}]);
        }
        let (first, again) = there_and_back(&resource, &span);
        let ((first, metadata), (again, more)) = (parts(first), parts(again));
        prop_assert_eq!(&first, &again);
        for (name, value) in metadata {
            prop_assert_eq!(more.get(&name), Some(&value), "{}", name);
        }
    }
}
