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
