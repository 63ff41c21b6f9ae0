//! Proves what is made of the pages of a path.
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

fn by_path(path: &str, stub: &Stub) -> ByPath {
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let keys = Credentials::from_provider(Keys::new("AKID", "SECRET", None, None, "test"), Clock::system());
    let client = Client::new("ssm", endpoint, keys, HttpClient::new(&Tls::new(None), &Counters::new()));
    ByPath::with(path, true, Store::with(client))
}

/// A page of parameters: name, value, version and time.
fn page(parameters: &[(&str, &str, u64, f64)], next: Option<&str>) -> String {
    let one = |(name, value, version, time): &(&str, &str, u64, f64)| json!({"Name": name, "Type": "SecureString", "Value": value, "Version": version, "LastModifiedDate": time});
    let mut body = json!({"Parameters": parameters.iter().map(one).collect::<Vec<_>>()});
    if let Some(next) = next {
        body["NextToken"] = json!(next);
    }
    answer("200 OK", ID, &body.to_string())
}

async fn looked(path: &ByPath) -> (String, String) {
    let seen = path.look().await.expect("there");
    let id = seen.version_of(CURRENT).expect("a version").to_owned();
    let version = path.fetch(&Wanted::Id(id.clone())).await.expect("kept");
    (id, version.content.value().expose_text().expect("text").to_owned())
}

#[tokio::test]
async fn all_pages_are_one_object_in_the_order_of_its_names() {
    let stub = Stub::answering([
        page(&[("/app/z", "\"1\"\n", 1, 1.5)], Some("t1")),
        page(&[], Some("t2")),
        page(&[("/app/a/b", "2", 7, 2.5)], None),
    ]);
    let path = by_path("/app/", &stub);
    let (id, text) = looked(&path).await;
    assert_eq!(text, r#"{"a/b":"2","z":"\"1\"\n"}"#);
    assert!(id.len() == 32 && id.bytes().all(|letter| letter.is_ascii_hexdigit()), "{id}");
    let bodies: Vec<serde_json::Value> =
        stub.seen().iter().map(|seen| serde_json::from_slice(&seen.body).expect("JSON")).collect();
    let first = json!({"Path": "/app", "Recursive": true, "WithDecryption": true, "MaxResults": 10});
    assert_eq!(bodies[0], first);
    assert_eq!((&bodies[1]["NextToken"], &bodies[2]["NextToken"]), (&json!("t1"), &json!("t2")));
    assert_eq!(stub.seen()[0].header("x-amz-target"), Some("AmazonSSM.GetParametersByPath"));
    assert_eq!(bodies.len(), 3, "what was looked at is not fetched again");
}

/// Each line differs from the first in one thing.
#[tokio::test]
async fn whatever_changes_below_the_path_makes_another_version_of_the_whole() {
    let first = [("/app/a", "1", 1, 1.5), ("/app/b", "2", 1, 1.5)];
    let changed: [&[(&str, &str, u64, f64)]; 6] = [
        &[("/app/a", "1", 2, 1.5), ("/app/b", "2", 1, 1.5)],
        &[("/app/a", "1", 1, 1.5)],
        &[("/app/a", "1", 1, 1.5), ("/app/b", "2", 1, 1.5), ("/app/c", "3", 1, 1.5)],
        // Deleted and made anew: its version is 1 again.
        &[("/app/a", "1", 1, 9.5), ("/app/b", "2", 1, 1.5)],
        &[("/app/a", "1", 1, 1.5), ("/app/c", "2", 1, 1.5)],
        &[("/app/a\n1", "1", 1, 1.5), ("/app/b", "2", 1, 1.5)],
    ];
    let mut ids = std::collections::BTreeSet::new();
    for parameters in std::iter::once(&first[..]).chain(changed) {
        let stub = Stub::answering([page(parameters, None)]);
        assert!(ids.insert(looked(&by_path("/app", &stub)).await.0), "{parameters:?}");
    }
    let again = Stub::answering([page(&[first[1], first[0]], None)]);
    assert!(!ids.insert(looked(&by_path("/app", &again)).await.0), "the order of the answer means nothing");
    // The value alone changes nothing: no version's name is made of one.
    let other = Stub::answering([page(&[("/app/a", "x", 1, 1.5), ("/app/b", "2", 1, 1.5)], None)]);
    assert!(!ids.insert(looked(&by_path("/app", &other)).await.0));
}

#[tokio::test]
async fn below_the_root_there_are_all() {
    let stub = Stub::answering([page(&[("flag", "1", 1, 1.5), ("/app/b", "2", 1, 1.5)], None)]);
    assert_eq!(looked(&by_path("/", &stub)).await.1, r#"{"app/b":"2","flag":"1"}"#);
}

#[tokio::test]
async fn what_is_too_much_nothing_or_nonsense_is_told_apart_and_not_repeated() {
    use SourceFaultKind::{Denied, Invalid, Missing, Throttled};
    let many: Vec<String> = (0..=PARAMETERS_BELOW_MAX).map(|at| format!("/app/{at}")).collect();
    let many: Vec<(&str, &str, u64, f64)> = many.iter().map(|name| (name.as_str(), CANARY, 1, 1.5)).collect();
    let large = format!("{CANARY}{}", "\u{1}".repeat(90_000));
    let names = ["a", "b"].map(|letter| format!("/app/{letter}"));
    let large: Vec<(&str, &str, u64, f64)> = names.iter().map(|name| (name.as_str(), large.as_str(), 1, 1.5)).collect();
    let refusal = |code: &str| answer("400 x", ID, &json!({"__type": code, "message": "no"}).to_string());
    for (what, answers, kind, requests) in [
        ("none", vec![page(&[], None)], Missing, 1),
        ("denied", vec![refusal("AccessDeniedException")], Denied, 1),
        (
            "throttled on the second page",
            vec![page(&many[..1], Some("t")), refusal("ThrottlingException")],
            Throttled,
            2,
        ),
        ("too many", vec![page(&many, None)], Invalid, 1),
        ("more than 1 MiB", vec![page(&large[..1], Some("t")), page(&large[1..], None)], Invalid, 2),
        ("elsewhere", vec![page(&[("/other/a", CANARY, 1, 1.5)], None)], Invalid, 1),
        ("the path itself", vec![page(&[("/app/", CANARY, 1, 1.5)], None)], Invalid, 1),
        ("no JSON", vec![answer("200 OK", ID, CANARY)], Invalid, 1),
        ("without end", vec![page(&[], Some("t")); PARAMETER_PAGES_MAX + 1], Invalid, PARAMETER_PAGES_MAX),
    ] {
        let stub = Stub::answering(answers);
        let fault = by_path("/app", &stub).look().await.expect_err(what);
        assert_eq!(fault.kind, kind, "{what}: {fault}");
        assert!(!format!("{fault:?} {fault}").contains(CANARY), "{what}: {fault:?}");
        assert_eq!(stub.seen().len(), requests, "{what}");
    }
}
