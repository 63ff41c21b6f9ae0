//! What a service is scaled by: the depth of a queue, and how many tasks run.
//!
//! Promises: the shapes of SQS' and ECS' own answers; what is asked otherwise than the services take it is a violation.
//! Never: keeps messages or tasks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{logs::Refusal, script::Operation};

/// One queue and one service.
#[derive(Debug, Default)]
pub(super) struct Scale {
    pub(super) visible: u64,
    pub(super) in_flight: u64,
    pub(super) running: u64,
    /// The running tasks of any service, if it is asked which they are.
    pub(super) tasks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Attributes {
    queue_url: String,
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    cluster: String,
    services: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tasks {
    cluster: String,
    service_name: String,
    desired_status: String,
    next_token: Option<String>,
}

impl Scale {
    /// What SQS or ECS answers.
    pub(super) fn answer(&self, operation: Operation, body: &[u8]) -> Result<Value, Refusal> {
        match operation {
            Operation::GetQueueAttributes => self.attributes(body),
            Operation::ListTasks => self.list(body),
            _ => self.services(body),
        }
    }

    /// `ListTasks`: one task a page, so that whoever reads the first page alone is found out.
    fn list(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked: Tasks = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
        if asked.cluster.is_empty() || asked.service_name.is_empty() || asked.desired_status != "RUNNING" {
            return Err(wrong("the running tasks of a service of a cluster"));
        }
        let page = asked.next_token.map_or(Ok(0), |token| token.parse::<usize>()).map_err(|_| wrong("nextToken"))?;
        let next = (page + 1 < self.tasks.len()).then(|| (page + 1).to_string());
        Ok(json!({"taskArns": self.tasks.get(page..=page).unwrap_or_default(), "nextToken": next}))
    }

    /// `GetQueueAttributes`: what is not asked for is not told.
    fn attributes(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked: Attributes = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
        if !asked.queue_url.ends_with("/123456789012/jobs") {
            return Err(Refusal { code: "QueueDoesNotExist", message: asked.queue_url, violation: false });
        }
        let mut told = serde_json::Map::new();
        for name in asked.attribute_names {
            let value = match name.as_str() {
                "ApproximateNumberOfMessages" => self.visible,
                "ApproximateNumberOfMessagesNotVisible" => self.in_flight,
                "ApproximateNumberOfMessagesDelayed" => 0,
                other => return Err(wrong(other)),
            };
            told.insert(name, value.to_string().into());
        }
        Ok(json!({"Attributes": told}))
    }

    /// `DescribeServices`.
    fn services(&self, body: &[u8]) -> Result<Value, Refusal> {
        let asked: Services = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
        if asked.services.len() > 10 || asked.cluster.is_empty() {
            return Err(wrong("ten services of a cluster at most"));
        }
        let one = |name: &String| json!({"serviceName": name, "status": "ACTIVE", "desiredCount": 9, "runningCount": self.running});
        Ok(json!({"services": asked.services.iter().map(one).collect::<Vec<_>>(), "failures": []}))
    }
}

fn wrong(what: &str) -> Refusal {
    Refusal { code: "InvalidParameterException", message: what.to_owned(), violation: true }
}
