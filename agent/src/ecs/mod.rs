//! Who and where we are: the task metadata endpoint, version 4.
//!
//! Promises: whatever the endpoint answers becomes a [`Metadata`] with what could be understood, or one error; at most
//! `limits::METADATA_BYTES_MAX` are read, for at most `limits::METADATA_TIMEOUT`.
//! Never: keeps a text that cannot be a name of its kind (a cut name would be a wrong name), asks again by itself, reads
//! the environment: the address (`ECS_CONTAINER_METADATA_URI_V4`) is an argument.

pub mod memory;

use bytes::Bytes;
use http::{Request, StatusCode, uri::InvalidUri};
use serde_json::Value;

use crate::{
    limits,
    net::http::{Bounds, HttpClient, HttpError},
};

/// Bytes of the longest text that is kept. ARNs of tasks have under 200, and names at most 255.
const TEXT_BYTES_MAX: usize = 512;
/// Containers that are kept. ECS allows ten in a task.
const CONTAINERS_MAX: usize = 64;

/// What is known of the task. All of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `arn:aws:ecs:eu-central-1:123456789012:task/shop/0123456789abcdef0123456789abcdef`.
    pub task_arn: Option<String>,
    /// The last part of the ARN.
    pub task_id: Option<String>,
    /// The region in the ARN, else that of the availability zone.
    pub region: Option<String>,
    /// The name of the cluster, without its ARN.
    pub cluster: Option<String>,
    /// The family of the task definition.
    pub family: Option<String>,
    /// The revision of the task definition.
    pub revision: Option<String>,
    /// The availability zone.
    pub availability_zone: Option<String>,
    /// `FARGATE`, `EC2` or `EXTERNAL`.
    pub launch_type: Option<String>,
    /// The name of the service, on newer agents.
    pub service: Option<String>,
    /// The names of the task's containers, as in the task definition.
    pub containers: Vec<String>,
    /// `RUNNING`, or `STOPPED` once the task is to stop: then it is not this container alone that ends.
    pub desired_status: Option<String>,
    /// Containers that have ended.
    pub ended: Vec<Ended>,
}

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name in the task definition.
    pub name: String,
    /// Its exit code, if it is known.
    pub code: Option<i64>,
}

impl Ended {
    fn read(container: &Value) -> Option<Self> {
        let has_ended = container["KnownStatus"].as_str() == Some("STOPPED") || container["ExitCode"].is_i64();
        has_ended.then_some(())?;
        Some(Self { name: text(&container["Name"])?, code: container["ExitCode"].as_i64() })
    }
}

/// Why nothing is known. All of them may pass: ask again after 10 s or more.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The address is none.
    #[error("`{uri}` is not the address of a task metadata endpoint")]
    Uri {
        /// The address as given.
        uri: String,
        /// Why.
        #[source]
        source: InvalidUri,
    },
    /// No answer.
    #[error("the task metadata endpoint did not answer")]
    NoAnswer(#[source] HttpError),
    /// An answer, but no success.
    #[error("the task metadata endpoint answered with status {0}")]
    Status(StatusCode),
    /// The answer is not a JSON object.
    #[error("the task metadata is not a JSON object")]
    NotJson,
}

/// Asks the endpoint at `uri` (the value of `ECS_CONTAINER_METADATA_URI_V4`) about the task.
pub async fn fetch(uri: &str, http: &HttpClient) -> Result<Metadata, MetadataError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = format!("{}/task", uri.trim_end_matches('/'))
        .parse()
        .map_err(|source| MetadataError::Uri { uri: uri.to_owned(), source })?;
    let bounds = Bounds { time: limits::METADATA_TIMEOUT, answer_bytes: limits::METADATA_BYTES_MAX };
    let answer = http.send_within(request, bounds).await.map_err(MetadataError::NoAnswer)?;
    match answer.status() {
        StatusCode::OK => Metadata::read(answer.body()),
        status => Err(MetadataError::Status(status)),
    }
}

impl Metadata {
    /// Reads the document that `GET /task` answers with.
    pub fn read(document: &[u8]) -> Result<Self, MetadataError> {
        let Ok(document @ Value::Object(_)) = serde_json::from_slice::<Value>(document) else {
            return Err(MetadataError::NotJson);
        };
        let field = |name: &str| text(&document[name]);
        let task_arn = field("TaskARN").filter(|arn| arn.starts_with("arn:"));
        let availability_zone = field("AvailabilityZone");
        let containers = document["Containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            task_id: task_arn.as_deref().and_then(after_last_slash),
            region: task_arn
                .as_deref()
                .and_then(region_of_arn)
                .or(availability_zone.as_deref().and_then(region_of_zone)),
            cluster: field("Cluster").and_then(|cluster| after_last_slash(&cluster)),
            family: field("Family"),
            revision: field("Revision").or_else(|| document["Revision"].as_u64().map(|revision| revision.to_string())),
            launch_type: field("LaunchType"),
            service: field("ServiceName"),
            containers: containers.iter().filter_map(|c| text(&c["Name"])).take(CONTAINERS_MAX).collect(),
            desired_status: field("DesiredStatus"),
            ended: containers.iter().filter_map(Ended::read).take(CONTAINERS_MAX).collect(),
            task_arn,
            availability_zone,
        })
    }
}

/// A text that can be a name: not empty, not too long, no control characters.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

/// `arn:aws:ecs:eu-central-1:123456789012:cluster/shop` is `shop`, and `shop` is `shop`.
fn after_last_slash(text: &str) -> Option<String> {
    let (_, last) = text.rsplit_once('/').unwrap_or(("", text));
    (!last.is_empty()).then(|| last.to_owned())
}

fn region_of_arn(arn: &str) -> Option<String> {
    arn.split(':').nth(3).filter(|region| !region.is_empty()).map(str::to_owned)
}

/// `eu-central-1a` is in `eu-central-1`, the local zone `us-west-2-lax-1a` in `us-west-2`: the region ends with the
/// first number.
fn region_of_zone(zone: &str) -> Option<String> {
    let number = zone.find(|c: char| c.is_ascii_digit()).filter(|at| zone[..*at].ends_with('-'))?;
    let end = zone[number..].find(|c: char| !c.is_ascii_digit()).map_or(zone.len(), |length| number + length);
    Some(zone[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        net::{
            stub::{Stub, answer},
            tls::Tls,
        },
        tell::counters::Counters,
    };

    /// After the Amazon ECS developer guide, "task metadata endpoint version 4".
    const DOCUMENT: &str = r#"{
        "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
        "Family": "curltest", "Revision": "26", "ServiceName": "MyService", "DesiredStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512}, "AvailabilityZone": "us-west-2d", "LaunchType": "EC2",
        "Containers": [
            {"DockerId": "598c", "Name": "~internal~ecs~pause", "Image": "amazon/amazon-ecs-pause:0.1.0"},
            {"DockerId": "1a2b", "Name": "init", "KnownStatus": "STOPPED", "ExitCode": 0},
            {"DockerId": "ee08", "Name": "curl", "KnownStatus": "RUNNING", "Labels": {"com.amazonaws.ecs.cluster": "default"}}
        ]
    }"#;

    fn read(document: &str) -> Metadata {
        Metadata::read(document.as_bytes()).expect(document)
    }

    #[test]
    fn a_task_knows_who_and_where_it_is() {
        assert_eq!(
            read(DOCUMENT),
            Metadata {
                task_arn: Some(
                    "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c".into()
                ),
                task_id: Some("158d1c8083dd49d6b527399fd6414f5c".into()),
                region: Some("us-west-2".into()),
                cluster: Some("default".into()),
                family: Some("curltest".into()),
                revision: Some("26".into()),
                availability_zone: Some("us-west-2d".into()),
                launch_type: Some("EC2".into()),
                service: Some("MyService".into()),
                containers: vec!["~internal~ecs~pause".into(), "init".into(), "curl".into()],
                desired_status: Some("RUNNING".into()),
                ended: vec![Ended { name: "init".into(), code: Some(0) }],
            }
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_missing_and_nothing_else() {
        let long = format!(r#"{{"Family": "{}", "Revision": "1"}}"#, "f".repeat(10_240));
        let many = format!(r#"{{"Containers": [{}]}}"#, vec![r#"{"Name":"c"}"#; 1_000].join(","));
        let revision = Metadata { revision: Some("1".into()), ..Metadata::default() };
        for (document, expected) in [
            ("{}", Metadata::default()),
            (r#"{"TaskARN": null, "Cluster": null, "Containers": null, "Family": null}"#, Metadata::default()),
            (
                r#"{"TaskARN": 5, "Cluster": [], "Containers": "x", "Family": {}, "AvailabilityZone": ""}"#,
                Metadata::default(),
            ),
            (
                r#"{"Containers": [null, 5, {}, {"Name": null}, {"Name": ["x"]}, [], {"Name": ""}]}"#,
                Metadata::default(),
            ),
            (r#"{"TaskARN": "not an arn/x", "Cluster": "cluster/"}"#, Metadata::default()),
            (
                r#"{"DesiredStatus": 1, "Containers": [{"KnownStatus": "STOPPED"}, {"Name": "a", "ExitCode": "0"}]}"#,
                Metadata { containers: vec!["a".into()], ..Metadata::default() },
            ),
            (r#"{"Family": "a\nb", "Revision": 1}"#, revision.clone()),
            (&long, revision),
            (&many, Metadata { containers: vec!["c".into(); CONTAINERS_MAX], ..Metadata::default() }),
            (
                r#"{"TaskARN": "arn:", "Cluster": "shop"}"#,
                Metadata {
                    task_arn: Some("arn:".into()),
                    task_id: Some("arn:".into()),
                    cluster: Some("shop".into()),
                    ..Metadata::default()
                },
            ),
        ] {
            assert_eq!(read(document), expected, "{}", &document[..document.len().min(80)]);
        }
        for document in ["", "null", "[]", "5", "\"x\"", "{", "{\"a\":}", "<html></html>", &"[".repeat(100_000)] {
            let refused = Metadata::read(document.as_bytes());
            assert!(matches!(refused, Err(MetadataError::NotJson)), "{refused:?}");
        }
    }

    #[test]
    fn the_region_is_found_without_an_arn() {
        for (zone, region) in [
            ("eu-central-1a", Some("eu-central-1")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("ap-southeast-12", Some("ap-southeast-12")),
            ("use1-az1", None),
            ("nowhere", None),
            ("-", None),
            ("ä-ö-1ü", Some("ä-ö-1")),
        ] {
            let found = read(&format!(r#"{{"AvailabilityZone": "{zone}"}}"#)).region;
            assert_eq!(found.as_deref(), region, "{zone}");
        }
    }

    #[tokio::test]
    async fn the_task_document_is_fetched() {
        let stub = Stub::answering([answer("200 OK", "", DOCUMENT), answer("200 OK", "", DOCUMENT)]);
        let http = HttpClient::new(&Tls::new(None), &Counters::new());
        for uri in [format!("{}/v4/abc", stub.url()), format!("{}/v4/abc/", stub.url())] {
            assert_eq!(fetch(&uri, &http).await.expect("metadata"), read(DOCUMENT));
        }
        assert!(stub.seen().iter().all(|seen| seen.line == "GET /v4/abc/task HTTP/1.1"), "{:?}", stub.seen());
    }

    #[tokio::test]
    async fn an_endpoint_in_trouble_is_an_error_and_no_more() {
        let http = HttpClient::new(&Tls::new(None), &Counters::new());
        let huge = answer("200 OK", "", &" ".repeat(limits::METADATA_BYTES_MAX + 1));
        for (reply, expected) in [
            (answer("404 Not Found", "", "404 page not found"), "Err(Status(404))"),
            (answer("500 Oh", "", ""), "Err(Status(500))"),
            (answer("429 Slow Down", "retry-after: 1\r\n", ""), "Err(Status(429))"),
            (answer("302 Found", "location: http://169.254.169.254/\r\n", ""), "Err(Status(302))"),
            (answer("200 OK", "", ""), "Err(NotJson)"),
            (huge, "Err(NoAnswer(TooLarge { status: 200, limit: 1048576 }))"),
        ] {
            let stub = Stub::answering([reply]);
            assert_eq!(format!("{:?}", fetch(&stub.url(), &http).await), expected);
        }
        let closed =
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port that nobody listens on");
        let refused = fetch(&format!("http://{closed}"), &http).await;
        assert!(matches!(refused, Err(MetadataError::NoAnswer(HttpError::Connect { .. }))), "{refused:?}");
        let refused = fetch("http://a b", &http).await;
        assert!(matches!(refused, Err(MetadataError::Uri { .. })), "{refused:?}");
    }

    proptest! {
        #[test]
        fn property_no_document_makes_it_panic(zone in "\\PC{0,20}", arn in "(arn:)?\\PC{0,40}", bytes: Vec<u8>) {
            let document = serde_json::json!({"AvailabilityZone": zone, "TaskARN": arn, "Cluster": arn});
            let read = Metadata::read(document.to_string().as_bytes()).expect("an object");
            prop_assert!(read.task_arn.is_none_or(|arn| arn.starts_with("arn:")));
            drop(Metadata::read(&bytes));
        }
    }
}
