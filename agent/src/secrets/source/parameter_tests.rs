//! Proves what is asked of the Parameter Store and what is made of each answer.
//!
//! Promises: each test counts the requests.
//! Never: needs a network.

use aws_credential_types::Credentials as Keys;
use serde_json::json;

use super::*;
use crate::{
    aws::{Client, Clock, Credentials, Endpoint},
    net::{
        http::HttpClient,
        stub::{Stub, answer},
        tls::Tls,
    },
    tell::counters::Counters,
};

const ID: &str = "x-amzn-RequestId: 7f6d\r\n";
const CANARY: &str = "c4n4ry-tweets";
const ARN: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter/app/db";

fn parameter(name: &str, stub: &Stub) -> Parameter {
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let keys = Credentials::from_provider(Keys::new("AKID", "SECRET", None, None, "test"), Clock::system());
    let http = HttpClient::new(&Tls::new(None), &Counters::new());
    let store = Store::with(Client::new("ssm", endpoint, keys, http));
    Parameter::with(name, Arc::new(Batch::of_one(name, store)), 0)
}

fn ok(body: &serde_json::Value) -> String {
    answer("200 OK", ID, &body.to_string())
}

fn given(version: u64) -> serde_json::Value {
    let one = json!({
        "Name": "/app/db", "Type": "SecureString", "Value": CANARY, "Version": version, "ARN": ARN,
        "LastModifiedDate": 1_569_534_789.046, "DataType": "text",
    });
    json!({"Parameters": [one], "InvalidParameters": []})
}

#[tokio::test]
async fn a_look_keeps_what_the_fetch_needs() {
    let stub = Stub::answering([ok(&given(3)), ok(&given(3))]);
    let parameter = parameter("/app/db", &stub);
    let seen = parameter.look().await.expect("there");
    assert_eq!((seen.id.as_str(), seen.version_of(CURRENT)), (ARN, Some("3")));
    let version = parameter.fetch(&Wanted::Id("3".to_owned())).await.expect("kept");
    assert_eq!(version.content.value().expose_text(), Some(CANARY));
    assert_eq!(version.created.as_deref(), Some("1569534789.046"));
    let [request] = &stub.seen()[..] else { panic!("one request") };
    assert_eq!(request.header("x-amz-target"), Some("AmazonSSM.GetParameters"));
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body, json!({"Names": ["/app/db"], "WithDecryption": true}));

    parameter.fetch(&Wanted::Id("3".to_owned())).await.expect("asked again: it is kept for one fetch");
    assert_eq!(stub.seen().len(), 2);
    let body: serde_json::Value = serde_json::from_slice(&stub.seen()[1].body).expect("JSON");
    assert_eq!(body["Names"], json!(["/app/db:3"]));
}

#[tokio::test]
async fn a_selector_is_part_of_what_is_asked_for() {
    for (name, asked, followed) in [
        ("/app/db:3", "/app/db:3", Followed::Version("3".to_owned())),
        ("/app/db:prod", "/app/db:prod", Followed::Stage("prod".to_owned())),
        (ARN, ARN, Followed::Stage(CURRENT.to_owned())),
    ] {
        let stub = Stub::answering([ok(&given(3))]);
        let parameter = parameter(name, &stub);
        assert_eq!(parameter.followed(), &followed);
        parameter.look().await.expect("there");
        let body: serde_json::Value = serde_json::from_slice(&stub.seen()[0].body).expect("JSON");
        assert_eq!(body["Names"], json!([asked]));
    }
    for (name, parts) in [
        ("db", ("db", None)),
        ("db:3", ("db", Some("3"))),
        ("db:", ("db:", None)),
        (ARN, (ARN, None)),
        ("arn:aws:ssm:r:1:parameter/db:prod", ("arn:aws:ssm:r:1:parameter/db", Some("prod"))),
    ] {
        assert_eq!(split(name), parts, "{name}");
    }
}

/// A version that never changes is fetched once, with the others of its batch.
#[tokio::test]
async fn a_fixed_version_is_fetched_as_it_is_written() {
    let stub = Stub::answering([ok(&given(3)), ok(&given(4))]);
    let parameter = parameter("/app/db:3", &stub);
    let version = parameter.fetch(&Wanted::Id("3".to_owned())).await.expect("there");
    assert_eq!(version.content.value().expose_text(), Some(CANARY));
    let fault = parameter.fetch(&Wanted::Id("3".to_owned())).await.expect_err("another version came");
    assert_eq!(fault.kind, SourceFaultKind::Transient);
    let body: serde_json::Value = serde_json::from_slice(&stub.seen()[0].body).expect("JSON");
    assert_eq!(body["Names"], json!(["/app/db:3"]));
}

#[tokio::test]
async fn what_is_not_there_not_allowed_or_nonsense_is_told_apart_and_not_repeated() {
    use SourceFaultKind::{Denied, Invalid, Missing, Throttled, Transient};
    let refusal = |code: &str| answer("400 x", ID, &json!({"__type": code, "message": "no"}).to_string());
    let wrong_version = json!({"Parameters": [{"Value": [CANARY], "Version": "x"}]});
    for (what, answered, kind) in [
        ("unknown", ok(&json!({"Parameters": [], "InvalidParameters": ["/app/db"]})), Missing),
        ("empty", ok(&json!({})), Missing),
        ("throttled", refusal("ThrottlingException"), Throttled),
        ("denied", refusal("AccessDeniedException"), Denied),
        ("key", refusal("InvalidKeyId"), Denied),
        ("down", answer("503 x", ID, ""), Transient),
        ("no JSON", answer("200 OK", ID, CANARY), Invalid),
        ("wrong types", ok(&wrong_version), Invalid),
        ("a text as number", ok(&json!({"Parameters": [{"Value": "x", "Version": CANARY}]})), Invalid),
        ("missing fields", ok(&json!({"Parameters": [{"Value": CANARY}]})), Invalid),
        ("another version", ok(&given(4)), Transient),
        ("10 MB", answer("200 OK", ID, &format!("{CANARY}{}", "x".repeat(10_000_000))), Transient),
    ] {
        let stub = Stub::answering([answered]);
        let fault = parameter("/app/db", &stub).fetch(&Wanted::Id("3".to_owned())).await.expect_err(what);
        assert_eq!(fault.kind, kind, "{what}: {fault}");
        assert!(!format!("{fault:?} {fault}").contains(CANARY), "{what}: {fault:?}");
        assert_eq!(stub.seen().len(), 1, "{what}");
    }
}
