//! What goes over the wire to SQS and ECS.
//!
//! Promises: an answer that is not as it should be is a fault, and no number.
//! Never: retries; the next minute does.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::backlog::Depth;
use crate::aws::{Client, Fault, FaultKind};

/// Tasks in an answer (API reference of `ListTasks`).
const PAGE_MAX: usize = 100;
/// Answers that are read: ECS allows a service 5,000 tasks.
const PAGES_MAX: usize = 60;
/// Bytes of a task's ARN, which has at most the cluster's name of 255 and 80 more in it.
const ARN_BYTES_MAX: usize = 512;

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

/// Asks which tasks of a service run, or are about to, a hundred at a time.
pub(super) async fn tasks(client: &Client, cluster: &str, service: &str) -> Result<BTreeSet<String>, Fault> {
    let (mut tasks, mut next) = (BTreeSet::new(), None);
    for _ in 0..PAGES_MAX {
        let mut ask = serde_json::json!({"cluster": cluster, "serviceName": service, "desiredStatus": "RUNNING"});
        if let Some(next) = next {
            ask["nextToken"] = serde_json::Value::String(next);
        }
        let body = Bytes::from(ask.to_string());
        let answer = client.call("AmazonEC2ContainerServiceV20141113.ListTasks", body, &[]).await?;
        let page = read_tasks(&answer.body)?;
        tasks.extend(page.task_arns);
        match page.next_token.filter(|token| !token.is_empty()) {
            Some(token) => next = Some(token),
            None => return Ok(tasks),
        }
    }
    Err(Fault::own(FaultKind::Transient, "bad_answer", "ECS' list of tasks has no end"))
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

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tasks {
    task_arns: Vec<String>,
    next_token: Option<String>,
}

fn read_tasks(body: &[u8]) -> Result<Tasks, Fault> {
    let page: Option<Tasks> = serde_json::from_slice(body).ok();
    let page = page.filter(|page| page.task_arns.len() <= PAGE_MAX && page.task_arns.iter().all(|arn| is_arn(arn)));
    page.ok_or_else(|| Fault::own(FaultKind::Transient, "bad_answer", "ECS' list of tasks is not as it should be"))
}

/// Long, but not too long.
fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.len() <= ARN_BYTES_MAX
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
    fn tasks_are_read_of_a_page_that_is_one() {
        let many = |count: usize| format!("{{\"taskArns\":[{}]}}", vec!["\"arn:a\""; count].join(","));
        let long = format!("{{\"taskArns\":[\"arn:{}\"]}}", "x".repeat(509));
        for (body, tasks, next) in [
            (r#"{"taskArns":["arn:a","arn:b"],"nextToken":"n"}"#, Some(2), Some("n")),
            (r#"{"taskArns":[],"nextToken":null}"#, Some(0), None),
            (&many(100), Some(100), None),
            (&many(101), None, None),
            (&long, None, None),
            (r#"{"taskArns":["other"]}"#, None, None),
            (r#"{"taskArns":[5]}"#, None, None),
            (r#"{"taskArns":null}"#, None, None),
            (r#"{"taskArns":[],"nextToken":5}"#, None, None),
            ("{}", None, None),
            ("[]", None, None),
            ("<html>", None, None),
            ("", None, None),
        ] {
            let page = read_tasks(body.as_bytes()).ok();
            let read = (
                page.as_ref().map(|page| page.task_arns.len()),
                page.as_ref().and_then(|page| page.next_token.as_deref()),
            );
            assert_eq!(read, (tasks, next), "{body:.60}");
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
