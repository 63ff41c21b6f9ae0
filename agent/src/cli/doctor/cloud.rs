//! What is asked of others: where we are, who we are, whether the services can be reached, and what we may do there.
//!
//! Promises: each question has a time of its own, and is asked once; a service that cannot be reached is not asked for more.
//! Never: takes longer than the questions together.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};

use super::{
    Report, State, rights,
    way::{self, PATIENCE},
};
use crate::{
    agent,
    aws::{Access, Client, FaultKind, Identity, error::classify},
    config::Config,
    ecs::{self, Metadata},
    taskdef::iam::Account,
    tell::{chain, counters::Counters},
};

pub(super) async fn look(config: &Config, write: bool, report: &mut Report) {
    let access = Access::new(&agent::aws_settings(config), &Counters::new());
    let task = task(config, &access, report).await;
    let Some(region) = access.region().or(task.region.as_deref()).map(str::to_owned) else {
        let advice = "set AWS_REGION in the container's environment, as ECS does on Fargate";
        report.add("region", State::Wrong, "nobody says in which region this is", advice);
        return;
    };
    report.well("region", &region);
    who(config, &access, &region, report).await;
    let tries = rights::wanted(config, &access, &task, &region, report);
    let mut reached = HashSet::new();
    let mut looked: HashSet<String> = HashSet::new();
    let (mut knows_time, others) = (false, way::of_backends(config));
    let of_tries =
        tries.iter().filter_map(|wanted| wanted.client.as_ref()).map(|client| client.endpoint().uri().clone());
    for uri in of_tries.chain(others) {
        let place = way::place(&uri);
        if looked.insert(place.clone()) && way::look(&uri, access.http(), &mut knows_time, report).await {
            reached.insert(place);
        }
    }
    let account = account(&task, &region);
    for wanted in tries {
        let can_be_asked =
            wanted.client.as_ref().is_none_or(|client| reached.contains(&way::place(client.endpoint().uri())));
        if can_be_asked {
            if let Some(action) = wanted.ask(write, report).await {
                rights::add_missing(action, config, &account, report);
            }
        } else {
            report.add(wanted.area, State::Untried, format_args!("{}: its service is not reached", wanted.what()), "");
        }
    }
}

/// Where we are, as the metadata endpoint says.
async fn task(config: &Config, access: &Access, report: &mut Report) -> Metadata {
    let Some(uri) = config.ecs_metadata_uri.as_deref() else {
        let advice = "in a task it is set by ECS: on Fargate from platform 1.4.0, on EC2 from agent 1.39.0";
        report.add("task", State::Odd, "ECS_CONTAINER_METADATA_URI_V4 is not set: this is no ECS task", advice);
        return Metadata::default();
    };
    match ecs::fetch(uri, access.http()).await {
        Ok(task) => {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
            let (definition, revision) = (known(&task.family), known(&task.revision));
            report.well(
                "task",
                format_args!("{} runs {definition}:{revision} ({})", known(&task.task_arn), known(&task.launch_type)),
            );
            task
        }
        Err(error) => {
            let advice = "names and labels that need it fall back; a proxy variable or a firewall rule for 169.254.170.2 may be why";
            report.add("task", State::Wrong, chain(&error), advice);
            Metadata::default()
        }
    }
}

/// Who we are to AWS. Every identity may ask that.
async fn who(config: &Config, access: &Access, region: &str, report: &mut Report) {
    let endpoint = config.aws.sts_endpoint.as_deref();
    let client = match access.client("sts", region, endpoint, &Identity::default()) {
        Ok(client) => client.of_anybody().with_timeout(PATIENCE),
        Err(error) => return report.add("credentials", State::Wrong, chain(&error), "mend the address of STS"),
    };
    match caller(&client).await {
        Ok(arn) => report.well("credentials", format_args!("this is {arn}")),
        Err((kind, said)) => {
            let (state, advice) = match kind {
                FaultKind::Unreachable | FaultKind::Ambiguous => (
                    State::Untried,
                    "STS is needed only where a role is assumed; what follows tells whether there are credentials",
                ),
                FaultKind::Credentials => (
                    State::Wrong,
                    "give the task a role (`taskRoleArn`, not `executionRoleArn`) that ecs-tasks.amazonaws.com may assume; on EC2 in \
                     network mode `bridge`, ECS_ENABLE_TASK_IAM_ROLE must be true on the instance",
                ),
                _ => (State::Odd, ""),
            };
            report.add("credentials", state, said, advice);
        }
    }
}

async fn caller(client: &Client) -> Result<String, (FaultKind, String)> {
    let question = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
    let form = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
    let answer = client.pass("/", question, &form).await.map_err(|fault| (fault.kind, fault.to_string()))?;
    let text = String::from_utf8_lossy(answer.body());
    let arn = text.split_once("<Arn>").and_then(|(_, rest)| rest.split_once("</Arn>")).map(|(arn, _)| arn.trim());
    match arn.filter(|arn| arn.starts_with("arn:") && arn.len() < 512 && !arn.contains(char::is_control)) {
        Some(arn) if answer.status().is_success() => Ok(arn.to_owned()),
        _ => {
            let fault = classify(answer.status(), answer.headers(), answer.body());
            Err((fault.kind, format!("GetCallerIdentity: {fault}")))
        }
    }
}

/// Where rights are, as the task's ARN says.
fn account(task: &Metadata, region: &str) -> Account {
    let parts: Vec<&str> = task.task_arn.as_deref().unwrap_or_default().split(':').collect();
    let part = |place: usize, otherwise: &str| {
        let known = parts.get(place).filter(|part| !part.is_empty());
        known.map_or(otherwise, |part| *part).to_owned()
    };
    Account { partition: part(1, "aws"), region: region.to_owned(), id: part(4, "ACCOUNT") }
}
