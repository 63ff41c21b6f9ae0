//! What goes over the wire to SQS and ECS.
//!
//! Promises: an answer that is not as it should be is a fault, and no number.
//! Never: retries; the next minute does.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::backlog::Depth;
use crate::aws::{Client, Fault, FaultKind};

/// Asks for the depth of the queue at `url`.
pub(super) async fn depth(client: &Client, url: &str) -> Result<Depth, Fault> {
    let ask = Ask {
        queue_url: url,
        attribute_names: [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    };
    let body = Bytes::from(serde_json::to_vec(&ask).expect("texts are JSON"));
    let answer = client.call("AmazonSQS.GetQueueAttributes", body, &[]).await?;
    read_depth(&answer.body)
}

/// Asks how many tasks of a service run.
pub(super) async fn running(client: &Client, cluster: &str, service: &str) -> Result<u64, Fault> {
    let ask = serde_json::json!({"cluster": cluster, "services": [service]});
    let body = Bytes::from(ask.to_string());
    let answer = client.call("AmazonEC2ContainerServiceV20141113.DescribeServices", body, &[]).await?;
    read_running(&answer.body)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask<'a> {
    queue_url: &'a str,
    attribute_names: [&'a str; 3],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    attributes: Option<Numbers>,
}

/// Numbers are texts. Without the first one nothing is known.
#[derive(Deserialize)]
struct Numbers {
    #[serde(rename = "ApproximateNumberOfMessages")]
    visible: String,
    #[serde(rename = "ApproximateNumberOfMessagesNotVisible", default)]
    in_flight: Option<String>,
    #[serde(rename = "ApproximateNumberOfMessagesDelayed", default)]
    delayed: Option<String>,
}

#[derive(Deserialize)]
struct Services {
    #[serde(default)]
    services: Vec<Service>,
    #[serde(default)]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    running_count: u64,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    reason: String,
}

fn read_depth(body: &[u8]) -> Result<Depth, Fault> {
    let nonsense = || Fault::own(FaultKind::Transient, "bad_answer", "the answer of the queue is not as it should be");
    let attributes: Attributes = serde_json::from_slice(body).map_err(|_| nonsense())?;
    let numbers = attributes.attributes.ok_or_else(nonsense)?;
    let number = |text: Option<&str>| text.map_or(Ok(0), |text| text.parse().map_err(|_| nonsense()));
    Ok(Depth {
        visible: number(Some(&numbers.visible))?,
        in_flight: number(numbers.in_flight.as_deref())?,
        delayed: number(numbers.delayed.as_deref())?,
    })
}

fn read_running(body: &[u8]) -> Result<u64, Fault> {
    let services: Services = serde_json::from_slice(body)
        .map_err(|_| Fault::own(FaultKind::Transient, "bad_answer", "the answer of ECS is not as it should be"))?;
    let why = services.failures.first().map_or("it is not there", |failure| &*failure.reason);
    let known = services.services.first().map(|service| service.running_count);
    known.ok_or_else(|| Fault::own(FaultKind::NotFound, "no_service", &format!("ECS knows no such service: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_read_of_texts() {
        for (body, depth) in [
            (
                r#"{"Attributes":{"ApproximateNumberOfMessages":"12","ApproximateNumberOfMessagesNotVisible":"3","ApproximateNumberOfMessagesDelayed":"0"}}"#,
                Some(Depth { visible: 12, in_flight: 3, delayed: 0 }),
            ),
            (r#"{"Attributes":{"ApproximateNumberOfMessages":"0"}}"#, Some(Depth::default())),
            (r#"{"Attributes":{"ApproximateNumberOfMessages":"x"}}"#, None),
            (r#"{"Attributes":{"ApproximateNumberOfMessages":"-1"}}"#, None),
            (r#"{"Attributes":{"ApproximateNumberOfMessages":12}}"#, None),
            (r#"{"Attributes":{"ApproximateNumberOfMessages":"1","ApproximateNumberOfMessagesDelayed":"x"}}"#, None),
            (r#"{"Attributes":{}}"#, None),
            (r#"{"Attributes":null}"#, None),
            ("{}", None),
            ("", None),
            ("<html>", None),
        ] {
            assert_eq!(read_depth(body.as_bytes()).ok(), depth, "{body}");
        }
    }

    #[test]
    fn the_number_of_tasks_is_that_of_the_service() {
        for (body, running) in [
            (r#"{"services":[{"serviceName":"cart","runningCount":3,"desiredCount":4}],"failures":[]}"#, Ok(3)),
            (r#"{"services":[{"runningCount":0}]}"#, Ok(0)),
            (r#"{"services":[],"failures":[{"arn":"x","reason":"MISSING"}]}"#, Err("no_service")),
            (r#"{"services":[]}"#, Err("no_service")),
            (r#"{"services":[{}]}"#, Err("bad_answer")),
            (r#"{"services":[{"runningCount":-1}]}"#, Err("bad_answer")),
            (r#"{"services":[{"runningCount":"3"}]}"#, Err("bad_answer")),
            ("{}", Err("no_service")),
            ("[]", Err("no_service")),
            ("", Err("bad_answer")),
        ] {
            assert_eq!(
                read_running(body.as_bytes()).map_err(|fault| fault.code.to_string()),
                running.map_err(str::to_owned),
                "{body}"
            );
        }
    }
}
