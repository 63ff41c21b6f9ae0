//! Proves what is asked and what is made of each answer. That the real service answers so is not proved here.
//!
//! Promises: each test counts the requests.
//! Never: needs a network.

use aws_credential_types::{
    Credentials as Keys,
    provider::{ProvideCredentials, future},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    aws::{Clock, Credentials, Endpoint},
    limits,
    net::{
        http::HttpClient,
        stub::{Seen as Request, Stub, answer},
        tls::Tls,
    },
    tell::counters::Counters,
};

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3";
const ID: &str = "x-amzn-RequestId: 7f6d\r\n";
const CANARY: &str = "c4n4ry-tweets";

fn ok(body: &serde_json::Value) -> String {
    answer("200 OK", ID, &body.to_string())
}

fn refusal(status: &str, code: &str, message: &str) -> String {
    answer(status, ID, &json!({"__type": code, "Message": message}).to_string())
}

fn described() -> serde_json::Value {
    json!({
        "ARN": ARN, "Name": "db", "RotationEnabled": true, "NextRotationDate": 1_800_000_000.5,
        "RotationRules": {"Duration": "3h", "ScheduleExpression": "rate(4 hours)"},
        "VersionIdsToStages": {"v2": ["AWSCURRENT", "AWSPENDING"], "v1": ["AWSPREVIOUS"], "v0": []},
    })
}

fn value(version: &str) -> serde_json::Value {
    json!({
        "ARN": ARN, "Name": "db", "VersionId": version, "SecretString": CANARY, "VersionStages": ["AWSCURRENT"],
        "CreatedDate": 1_569_534_789.046,
    })
}

fn place(url: &str, region: &str) -> Place {
    let endpoint = Endpoint::parse(url, None, region).expect("an endpoint");
    let keys = Credentials::from_provider(Keys::new("AKID", "SECRET", None, None, "test"), Clock::system());
    let http = HttpClient::new(&Tls::new(None), &Counters::new());
    Place::new(in_region(ARN, region), SdkAccess::new(&endpoint, keys, http))
}

fn manager(urls: &[&str]) -> Manager {
    let regions = ["eu-central-1", "eu-west-1"];
    let places = urls.iter().zip(regions).map(|(url, region)| place(url, region)).collect();
    Manager::at(ARN.to_owned(), Followed::Stage(CURRENT.to_owned()), places)
}

fn of(stub: &Stub) -> Manager {
    manager(&[&stub.url()])
}

fn asked(request: &Request) -> (String, serde_json::Value) {
    let target = request.header("x-amz-target").expect("a target").to_owned();
    (target, serde_json::from_slice(&request.body).expect("JSON"))
}

#[tokio::test]
async fn a_look_shows_versions_and_the_next_rotation_and_asks_for_no_value() {
    let stub = Stub::answering([ok(&described())]);
    let seen = of(&stub).look().await.expect("described");
    let stages = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        Seen {
            id: ARN.to_owned(),
            versions: BTreeMap::from([
                ("v1".to_owned(), stages(&["AWSPREVIOUS"])),
                ("v2".to_owned(), stages(&["AWSCURRENT", "AWSPENDING"])),
            ]),
            next_rotation: Some(1_800_000_000),
            rotation_window: Some(3 * 3_600),
        }
    );
    let [request] = &stub.seen()[..] else { panic!("one request") };
    assert_eq!(asked(request), ("secretsmanager.DescribeSecret".to_owned(), json!({"SecretId": ARN})));
    assert_eq!(request.header("content-type"), Some("application/x-amz-json-1.1"));
    let scope = "/eu-central-1/secretsmanager/aws4_request";
    assert!(request.header("authorization").is_some_and(|signed| signed.contains(scope)), "{request:?}");
}

#[tokio::test]
async fn a_fetch_names_its_version_and_takes_no_other() {
    let stub = Stub::answering([ok(&value("v2")), ok(&value("v2")), ok(&value("v1"))]);
    let manager = of(&stub);
    let by_id = manager.fetch(&Wanted::Id("v2".to_owned())).await.expect("fetched");
    assert_eq!((by_id.id.as_str(), by_id.content.value().expose_text()), ("v2", Some(CANARY)));
    assert_eq!((by_id.created.as_deref(), &by_id.stages[..]), (Some("1569534789.046"), &["AWSCURRENT".to_owned()][..]));
    manager.fetch(&Wanted::Stage("AWSPENDING".to_owned())).await.expect("fetched");
    let other = manager.fetch(&Wanted::Id("v2".to_owned())).await.expect_err("that is v1");
    assert_eq!(other.kind, SourceFaultKind::Transient, "{other}");

    let asked: Vec<_> = stub.seen().iter().map(|request| asked(request).1).collect();
    assert_eq!(asked[0], json!({"SecretId": ARN, "VersionId": "v2"}));
    assert_eq!(asked[1], json!({"SecretId": ARN, "VersionStage": "AWSPENDING"}));
}

#[tokio::test]
async fn bytes_come_back_as_bytes() {
    let stub = Stub::answering([ok(&json!({"ARN": ARN, "VersionId": "v1", "SecretBinary": "/wA="}))]);
    let version = of(&stub).fetch(&Wanted::Id("v1".to_owned())).await.expect("fetched");
    assert!(matches!(&version.content, Content::Binary(value) if value.expose() == [0xff, 0]));
}

#[tokio::test]
async fn each_refusal_has_one_meaning_and_costs_one_request() {
    use SourceFaultKind::{Denied, Invalid, Missing, Throttled, Transient};
    for (status, code, message, kind) in [
        ("400 x", "ThrottlingException", "Rate exceeded", Throttled),
        ("400 x", "LimitExceededException", "", Throttled),
        ("429 x", "TooManyRequestsException", "", Throttled),
        ("400 x", "AccessDeniedException", "User: u is not authorized", Denied),
        ("400 x", "DecryptionFailure", "", Denied),
        ("400 x", "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", Missing),
        ("400 x", "InvalidRequestException", "the secret because it was marked for deletion.", Missing),
        ("400 x", "InvalidRequestException", "the secret because it was deleted.", Missing),
        ("400 x", "InvalidParameterException", "", Invalid),
        ("500 x", "InternalServiceError", "", Transient),
        ("503 x", "ServiceUnavailable", "", Transient),
        ("400 x", "BrandNewException", "", Transient),
    ] {
        let stub = Stub::answering([refusal(status, code, message)]);
        let fault = of(&stub).fetch(&Wanted::Id("v1".to_owned())).await.expect_err(code);
        let number = status.split(' ').next().and_then(|number| number.parse().ok());
        assert_eq!((fault.kind, fault.code.as_deref(), fault.status), (kind, Some(code), number), "{fault}");
        assert!(fault.to_string().contains(ARN) && fault.to_string().contains(message), "{fault}");
        assert_eq!(stub.seen().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_secret_marked_for_deletion_is_missing() {
    let mut said = described();
    said["DeletedDate"] = json!(1_790_000_000);
    let stub = Stub::answering([ok(&said)]);
    let fault = of(&stub).look().await.expect_err("deleted");
    assert_eq!(fault.kind, SourceFaultKind::Missing, "{fault}");
}

/// A policy that allows only `GetSecretValue` is common.
#[tokio::test]
async fn where_describing_is_denied_the_value_is_looked_at_and_kept_for_the_fetch() {
    let denied = refusal("400 x", "AccessDeniedException", "no");
    let stub = Stub::answering([denied, ok(&value("v1")), ok(&value("v2"))]);
    let manager = of(&stub);
    for version in ["v1", "v2"] {
        let seen = manager.look().await.expect("seen by value");
        assert_eq!((seen.id.as_str(), seen.version_of(CURRENT)), (ARN, Some(version)));
        manager.fetch(&Wanted::Id(version.to_owned())).await.expect("kept");
    }
    let asked: Vec<_> = stub.seen().iter().map(asked).collect();
    let get = ("secretsmanager.GetSecretValue".to_owned(), json!({"SecretId": ARN, "VersionStage": "AWSCURRENT"}));
    assert_eq!(asked[0].0, "secretsmanager.DescribeSecret");
    assert_eq!(asked[1..], [get.clone(), get]);
}

#[tokio::test]
async fn describing_is_tried_again_some_looks_after_it_was_denied() {
    let denied = refusal("400 x", "AccessDeniedException", "no");
    let mut script = vec![denied];
    script.extend((0..DENIED_LOOKS).map(|_| ok(&value("v1"))));
    script.extend([ok(&described()), ok(&described())]);
    let stub = Stub::answering(script);
    let manager = of(&stub);
    for _ in 0..DENIED_LOOKS + 2 {
        manager.look().await.expect("seen");
    }
    let describes = stub.seen().iter().filter(|request| asked(request).0.ends_with("DescribeSecret")).count();
    assert_eq!((describes, stub.seen().len()), (3, DENIED_LOOKS as usize + 3));
}

#[tokio::test]
async fn a_replica_is_asked_when_the_first_region_is_in_trouble_and_only_then() {
    let down = refusal("503 x", "ServiceUnavailable", "");
    let (first, second) = (Stub::answering([&down]), Stub::answering([ok(&value("v1"))]));
    let version = manager(&[&first.url(), &second.url()]).fetch(&Wanted::Id("v1".to_owned())).await;
    assert_eq!(version.expect("of the replica").id, "v1");
    let replica = ARN.replace("eu-central-1", "eu-west-1");
    assert_eq!(asked(&second.seen()[0]).1["SecretId"], json!(replica));

    // Nobody listens at the first.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let second = Stub::answering([ok(&described())]);
    manager(&[&format!("http://{closed}"), &second.url()]).look().await.expect("of the replica");

    for answered in [
        refusal("400 x", "AccessDeniedException", "no"),
        refusal("400 x", "ThrottlingException", ""),
        refusal("400 x", "BrandNewException", ""),
    ] {
        let (first, second) = (Stub::answering([answered]), Stub::answering([ok(&value("v1"))]));
        let asking = manager(&[&first.url(), &second.url()]);
        asking.fetch(&Wanted::Id("v1".to_owned())).await.expect_err("the first has answered");
        assert!(second.seen().is_empty());
    }

    let (first, second) =
        (Stub::answering([&down]), Stub::answering([refusal("400 x", "AccessDeniedException", "no")]));
    let fault = manager(&[&first.url(), &second.url()]).fetch(&Wanted::Id("v1".to_owned())).await.expect_err("both");
    assert_eq!(fault.code.as_deref(), Some("ServiceUnavailable"), "the first region's trouble is told");
}

#[tokio::test]
async fn a_wrong_clock_is_learned_and_the_request_sent_again_at_once() {
    let body = json!({"__type": "InvalidSignatureException", "message": "Signature not yet current"}).to_string();
    let skewed = answer("400 x", &format!("{ID}date: Fri, 20 Nov 2026 12:00:00 GMT\r\n"), &body);
    let stub = Stub::answering([skewed, ok(&described())]);
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let start = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_000_000);
    let keys = Credentials::from_provider(Keys::new("AKID", "S", None, None, "test"), Clock::new(move || start));
    let access = SdkAccess::new(&endpoint, keys, HttpClient::new(&Tls::new(None), &Counters::new()));
    let places = vec![Place::new(ARN.to_owned(), access)];
    Manager::at(ARN.to_owned(), Followed::Stage(CURRENT.to_owned()), places).look().await.expect("the second time");
    let dates: Vec<_> = stub.seen().iter().filter_map(|r| r.header("x-amz-date").map(str::to_owned)).collect();
    assert_eq!(dates, ["20261118T110640Z", "20261120T120000Z"]);
}

/// Gives other keys each time.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl ProvideCredentials for Counting {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        future::ProvideCredentials::ready(Ok(Keys::new(format!("AKID{count}"), "SECRET", None, None, "test")))
    }
}

#[tokio::test]
async fn refused_credentials_are_replaced_once() {
    let expired = refusal("400 x", "ExpiredTokenException", "expired");
    let stub = Stub::answering([&ok(&described()), &expired, &ok(&described()), &expired, &expired]);
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let keys = Credentials::from_provider(Counting::default(), Clock::system());
    let access = SdkAccess::new(&endpoint, keys, HttpClient::new(&Tls::new(None), &Counters::new()));
    let places = vec![Place::new(ARN.to_owned(), access)];
    let manager = Manager::at(ARN.to_owned(), Followed::Stage(CURRENT.to_owned()), places);
    let a_second_passes = async || {
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        tokio::time::resume();
    };
    manager.look().await.expect("good ones");
    a_second_passes().await;
    manager.look().await.expect("new ones");
    a_second_passes().await;
    let fault = manager.look().await.expect_err("refused, and the next ones too");
    assert_eq!((fault.kind, fault.code.as_deref()), (SourceFaultKind::Transient, Some("ExpiredTokenException")));
    let signed: Vec<_> =
        stub.seen().iter().filter_map(|r| r.header("authorization").map(|a| a[28..33].to_owned())).collect();
    assert_eq!(signed, ["AKID0", "AKID0", "AKID1", "AKID1", "AKID2"]);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_survived_and_not_repeated() {
    use SourceFaultKind::{Invalid, Transient};
    let huge = format!("{{\"SecretString\":\"{CANARY}{}\"}}", "x".repeat(10_000_000));
    for (what, answered, kind) in [
        ("empty", answer("200 OK", ID, ""), Invalid),
        ("no JSON", answer("200 OK", ID, CANARY), Transient),
        ("not an object", answer("200 OK", ID, &json!([CANARY]).to_string()), Transient),
        ("wrong types", ok(&json!({"VersionId": [CANARY], "SecretString": {"a": CANARY}})), Transient),
        ("a broken text", answer("200 OK", ID, &format!("{{\"SecretString\":\"{CANARY}")), Transient),
        ("bad base64", ok(&json!({"VersionId": "v1", "SecretBinary": CANARY})), Transient),
        ("no value", ok(&json!({"VersionId": "v1"})), Invalid),
        ("no version", ok(&json!({"SecretString": CANARY})), Invalid),
        ("an empty version", ok(&json!({"VersionId": "", "SecretString": CANARY})), Invalid),
        ("two values", ok(&json!({"VersionId": "v1", "SecretString": CANARY, "SecretBinary": "AAAA"})), Invalid),
        ("nulls", ok(&json!({"VersionId": null, "SecretString": null, "ARN": null})), Invalid),
        ("a proxy's page", answer("200 OK", "content-type: text/html\r\n", "<html>"), Transient),
        ("no request id", answer("200 OK", "", &value("v1").to_string()), Transient),
        ("10 MB", answer("200 OK", ID, &huge), Transient),
    ] {
        let stub = Stub::answering([answered]);
        let fault = of(&stub).fetch(&Wanted::Id("v1".to_owned())).await.expect_err(what);
        assert_eq!(fault.kind, kind, "{what}: {fault}");
        assert!(!format!("{fault:?} {fault}").contains(CANARY), "{what}: {fault:?}");
        assert_eq!(stub.seen().len(), 1, "{what}");
    }
}

/// The largest secret there can be, written as wastefully as JSON allows.
#[tokio::test]
async fn the_largest_secret_arrives_whole() {
    let text = "\u{1}".repeat(limits::SECRET_BYTES_MAX);
    let stub = Stub::answering([ok(&json!({"ARN": ARN, "VersionId": "v1", "SecretString": text}))]);
    let version = of(&stub).fetch(&Wanted::Id("v1".to_owned())).await.expect("fetched");
    assert!(version.content.value().expose_text() == Some(text.as_str()));
}

#[test]
fn ids_times_and_windows_are_read_as_they_are_written() {
    assert_eq!(in_region(ARN, "eu-west-1"), ARN.replace("eu-central-1", "eu-west-1"));
    assert_eq!((in_region("db", "eu-west-1"), in_region("a:b:c", "x")), ("db".to_owned(), "a:b:c".to_owned()));
    let windows = ["3h", "24h", "", "h", "3", "-1h", "99999999999999999999h"].map(seconds);
    assert_eq!(windows, [Some(10_800), Some(86_400), None, None, None, None, None]);
    let times = [(5, 0), (5, 46_000_000), (5, 500_000_000), (0, 999)].map(|(s, n)| written(s, n));
    assert_eq!(times, ["5", "5.046", "5.5", "0"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever surrounds a value in an answer, no fault shows it.
    #[test]
    fn property_no_fault_shows_a_value(
        before in proptest::collection::vec(any::<u8>(), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..40),
        shape in 0usize..4,
    ) {
        let (before, after) = (String::from_utf8_lossy(&before), String::from_utf8_lossy(&after));
        let body = match shape {
            0 => format!("{before}{CANARY}{after}"),
            1 => format!("{{\"SecretString\":\"{CANARY}\"{after}"),
            2 => format!("{{\"VersionId\":\"v1\",\"SecretString\":{before}\"{CANARY}\"}}{after}"),
            _ => format!("{{\"VersionId\":\"v1\",\"SecretBinary\":\"{CANARY}{after}\"}}"),
        };
        let stub = Stub::answering([answer("200 OK", ID, &body)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let got = runtime.block_on(of(&stub).fetch(&Wanted::Id("v1".to_owned())));
        prop_assert!(!format!("{got:?}").contains(CANARY), "{got:?}");
    }
}
