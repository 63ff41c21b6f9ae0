//! What the configuration makes the agent do at AWS, and whether it may.
//!
//! ```text
//! PutLogEvents      to a stream that is not there: denied, or "no such stream", and nothing is written
//! PutTraceSegments  a document that is no segment: denied, or left unprocessed
//! GetSecretValue, GetParameters, GetSamplingRules, GetQueueAttributes, DescribeServices: asked for, and the answer dropped
//! PutSpans, OTLP    a request without a span or a point
//! ReceiveMessage    not at all: a message that was received counts as tried once more
//! PutMetricData     only with --write: it cannot be asked for without making a metric
//! ```
//!
//! Promises: nothing changes at AWS without `--write`.
//! Never: says that something is allowed because it was not denied for another reason.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Report, State, way::PATIENCE};
use crate::{
    aws::{Access, Client, EndpointError, Fault, FaultKind, Identity, Operation, error::classify, queue, sha256_hex},
    config::Config,
    ecs::Metadata,
    logs::{out::cloudwatch, settings::Destination as Logs},
    metrics::settings::{Destination as Metrics, Input as MetricsFrom, NAMESPACE},
    otlp::{out, walk::Signal},
    secrets::{
        settings::{From, Item},
        source::{AnySource, Followed, Source, SourceFault, SourceFaultKind, Wanted},
    },
    taskdef::iam::{self, Account},
    tell::chain,
    traces::settings::{Destination as Traces, Input as TracesFrom},
};

/// One thing that the agent wants to do.
pub(super) struct Try {
    pub(super) area: &'static str,
    /// Whom it asks. None: its source knows by itself.
    pub(super) client: Option<Client>,
    /// A role that is assumed for it.
    pub(super) role: Option<String>,
    how: How,
}

enum How {
    Line { group: String, prefix: String, makes_group: bool },
    Segment,
    Sampling,
    Backlog { url: String },
    Tasks { cluster: String, service: String },
    Otlp { signal: Signal, path: String },
    Metric { namespace: String },
    Secret { name: String, action: &'static str, source: Box<AnySource> },
}

/// All of it. What cannot be tried at all is told at once.
pub(super) fn wanted(config: &Config, access: &Access, task: &Metadata, region: &str, report: &mut Report) -> Vec<Try> {
    let mut tries = Vec::new();
    let mut add = |area, role: &Option<String>, client: Result<Client, String>, how| match client {
        Ok(client) => tries.push(Try { area, client: Some(client.with_timeout(PATIENCE)), role: role.clone(), how }),
        Err(error) => report.add(area, State::Wrong, error, ""),
    };
    let client = |service: &'static str, at: (&Option<String>, &Option<String>), identity: &Identity| {
        let client = access.client(service, at.0.as_deref().unwrap_or(region), at.1.as_deref(), identity);
        client.map_err(|error: EndpointError| chain(&error).to_string())
    };
    for output in &config.logs.outputs {
        let Logs::Cloudwatch(to) = &output.to else { continue };
        add("logs", &to.role_arn, client("logs", (&to.region, &to.endpoint), &to.identity()), line(to));
    }
    let as_role = |role: &Option<String>| Identity { role_arn: role.clone(), ..Identity::default() };
    for output in config.traces.running() {
        match &output.to {
            Traces::Xray(to) => {
                let at = (&to.region, &to.endpoint);
                add("traces", &to.role_arn, client("xray", at, &as_role(&to.role_arn)), How::Segment);
            }
            Traces::Otlp(to) => {
                if let Some((role, client, how)) = otlp(to, Signal::Traces, access, region) {
                    add("traces", &role, client, how);
                }
            }
        }
    }
    let outputs = config.traces.running();
    for input in &config.traces.inputs {
        let TracesFrom::Xray(xray) = input else { continue };
        if xray.tcp_address().is_some() {
            let proxy = xray.proxy.clone().beside(&outputs);
            let client = client("xray", (&proxy.region, &proxy.endpoint), &as_role(&proxy.role_arn));
            add("traces", &proxy.role_arn, client, How::Sampling);
        }
    }
    for output in config.metrics.running() {
        if let Metrics::Otlp(to) = &output.to
            && let Some((role, client, how)) = otlp(to, Signal::Metrics, access, region)
        {
            add("metrics", &role, client, how);
        }
        let Metrics::Cloudwatch(to) = &output.to else { continue };
        let namespace = config.metrics.inputs.iter().find_map(MetricsFrom::namespace).unwrap_or(NAMESPACE).to_owned();
        let client = client("monitoring", (&to.region, &to.endpoint), &as_role(&to.role_arn));
        add("metrics", &to.role_arn, client.map(Client::with_json_1_0), How::Metric { namespace });
    }
    for input in &config.metrics.inputs {
        let MetricsFrom::Queue(of) = input else { continue };
        let asked = queue::client(&of.sqs, (of.region.as_deref().or(Some(region)), of.role_arn.as_deref()), access);
        let asked = asked.map_err(|error| chain(&error).to_string());
        add("queue", &of.role_arn, asked, How::Backlog { url: of.sqs.clone() });
        let named = |own: &Option<String>, of_task: &Option<String>| own.clone().or_else(|| of_task.clone());
        if let (Some(cluster), Some(service)) = (named(&of.cluster, &task.cluster), named(&of.service, &task.service)) {
            let client = client("ecs", (&of.region, &of.ecs_endpoint), &as_role(&of.role_arn));
            add("queue", &of.role_arn, client, How::Tasks { cluster, service });
        }
    }
    tries.extend(config.secrets.items.iter().filter_map(|item| secret(item, access, report)));
    tries
}

/// A backend of AWS's own, its role, and what is tried there.
fn otlp(
    to: &out::Config,
    signal: Signal,
    access: &Access,
    region: &str,
) -> Option<(Option<String>, Result<Client, String>, How)> {
    let role = to.aws.as_ref()?.role_arn.clone();
    Some(match out::of_aws(to, signal, access, region)? {
        Ok((client, path)) => (role, Ok(client), How::Otlp { signal, path }),
        Err(error) => (role, Err(error), How::Otlp { signal, path: String::new() }),
    })
}

/// A line for a stream that nobody has.
fn line(to: &cloudwatch::Config) -> How {
    let group = to.group.clone().or_else(|| to.default_group.clone()).unwrap_or_default();
    let prefix = to.stream_prefix.clone().unwrap_or_default();
    How::Line { group, prefix, makes_group: to.auto_create_group }
}

fn secret(item: &Item, access: &Access, report: &mut Report) -> Option<Try> {
    let (action, role) = match &item.from {
        From::SecretsManager(secret) => ("secretsmanager:GetSecretValue", secret.role_arn.clone()),
        From::Parameter(parameter) => ("ssm:GetParameters", parameter.role_arn.clone()),
        From::Parameters(parameters) => ("ssm:GetParametersByPath", parameters.role_arn.clone()),
        From::File(_) => ("", None),
    };
    match AnySource::new(&item.from, access) {
        Ok(source) => {
            let how = How::Secret { name: item.name.clone(), action, source: Box::new(source) };
            Some(Try { area: "secrets", client: None, role, how })
        }
        Err(error) => {
            report.add("secrets", State::Wrong, format_args!("{}: {}", item.name, chain(&error)), "");
            None
        }
    }
}

/// Takes the statement that allows `action` into what is missing.
pub(super) fn add_missing(action: &str, config: &Config, account: &Account, report: &mut Report) {
    let all = iam::task_role(config, account, None);
    for statement in all.into_iter().filter(|statement| statement.actions.contains(&action)) {
        if !report.missing.contains(&statement) {
            report.missing.push(statement);
        }
    }
}

impl Try {
    pub(super) fn action(&self) -> &'static str {
        match &self.how {
            How::Line { .. } => "logs:PutLogEvents",
            How::Segment => "xray:PutTraceSegments",
            How::Sampling => "xray:GetSamplingRules",
            How::Backlog { .. } => "sqs:GetQueueAttributes",
            How::Tasks { .. } => "ecs:DescribeServices",
            How::Otlp { signal: Signal::Traces, .. } => "xray:PutSpans",
            How::Otlp { signal: Signal::Logs, .. } => "logs:PutLogEvents",
            How::Otlp { signal: Signal::Metrics, .. } => "cloudwatch:PutMetricData",
            How::Metric { .. } => "cloudwatch:PutMetricData",
            How::Secret { action, .. } => action,
        }
    }

    /// The action and on what.
    pub(super) fn what(&self) -> String {
        let action = self.action();
        match &self.how {
            How::Line { group, .. } => format!("{action} into {group}"),
            How::Segment | How::Sampling => action.to_owned(),
            How::Backlog { url } => format!("{action} of {url}"),
            How::Tasks { service, .. } => format!("{action} of {service}"),
            How::Otlp { path, .. } => format!("{action} by OTLP ({path})"),
            How::Metric { namespace } => format!("{action} into {namespace}"),
            How::Secret { name, .. } if action.is_empty() => format!("secret {name}"),
            How::Secret { name, .. } => format!("{action} of {name}"),
        }
    }

    /// Tries it. Gives the action if the task's own role may not do it.
    pub(super) async fn ask(self, write: bool, report: &mut Report) -> Option<&'static str> {
        let what = self.what();
        let asked = match (&self.how, &self.client) {
            (How::Secret { source, .. }, _) => match read(source).await {
                Ok(()) => Ok("the current version can be read"),
                Err(fault) => return self.unread(&fault, report),
            },
            (How::Line { group, .. }, _) if group.contains('$') || group.is_empty() => {
                report.add(self.area, State::Untried, format_args!("{what}: records name the group"), "");
                return None;
            }
            (How::Metric { .. }, _) if !write => {
                let advice = "`--write` tries it, with one value of PillionDoctor";
                report.add(self.area, State::Untried, format_args!("{what}: it would make a metric"), advice);
                return None;
            }
            (_, None) => return None,
            (how, Some(client)) => ask(how, client, write).await,
        };
        match asked {
            Ok(said) => {
                report.well(self.area, format_args!("{what}: {said}"));
                None
            }
            Err(fault) => self.refused(&fault, report),
        }
    }

    fn refused(&self, fault: &Fault, report: &mut Report) -> Option<&'static str> {
        let said = format!("{}: {fault}", self.what());
        let (state, advice) = match fault.kind {
            FaultKind::Denied => (State::Wrong, self.who_must_allow()),
            FaultKind::Credentials => {
                (State::Wrong, "there are no credentials that the service takes: see `credentials`".to_owned())
            }
            FaultKind::NotFound if matches!(self.how, How::Line { .. }) => {
                (State::Wrong, "make the group, or let the agent do it with `auto_create_group: true`".to_owned())
            }
            FaultKind::NotFound => (State::Wrong, "is its name right, and its region?".to_owned()),
            FaultKind::Throttled => (State::Odd, "the service is asked too much just now: try again".to_owned()),
            _ => (State::Odd, String::new()),
        };
        report.add(self.area, state, said, advice);
        self.is_own_right(fault.kind == FaultKind::Denied)
    }

    fn unread(&self, fault: &SourceFault, report: &mut Report) -> Option<&'static str> {
        // A file is no right of a role.
        let is_denied = fault.kind == SourceFaultKind::Denied && !self.action().is_empty();
        let advice = if is_denied { self.who_must_allow() } else { String::new() };
        let state = if fault.kind == SourceFaultKind::Throttled { State::Odd } else { State::Wrong };
        report.add(self.area, state, fault, advice);
        self.is_own_right(is_denied)
    }

    fn who_must_allow(&self) -> String {
        match &self.role {
            Some(role) => format!("the role {role} must allow it"),
            None => "the task role must allow it: see below. If it does, look for a boundary, a policy of the resource, and its key's".to_owned(),
        }
    }

    fn is_own_right(&self, is_denied: bool) -> Option<&'static str> {
        (is_denied && self.role.is_none()).then(|| self.action())
    }
}

/// Asks for a secret's versions, reads the one that counts, and forgets it.
async fn read(source: &AnySource) -> Result<(), SourceFault> {
    source.look().await?;
    let wanted = match source.followed() {
        Followed::Stage(stage) => Wanted::Stage(stage.clone()),
        Followed::Version(version) => Wanted::Id(version.clone()),
    };
    source.fetch(&wanted).await.map(drop)
}

async fn ask(how: &How, client: &Client, write: bool) -> Result<&'static str, Fault> {
    match how {
        How::Line { group, prefix, makes_group } => put_line(client, group, prefix, *makes_group, write).await,
        How::Segment => {
            let body = json!({"TraceSegmentDocuments": ["{}"]});
            by_path(client, "/TraceSegments", &body).await.map(|()| "allowed")
        }
        How::Sampling => by_path(client, "/GetSamplingRules", &json!({})).await.map(|()| "allowed"),
        How::Backlog { url } => {
            let body = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
            call(client, "AmazonSQS.GetQueueAttributes", &body).await.map(|()| "allowed")
        }
        How::Tasks { cluster, service } => {
            let body = json!({"cluster": cluster, "services": [service]});
            call(client, "AmazonEC2ContainerServiceV20141113.DescribeServices", &body).await.map(|()| "allowed")
        }
        How::Otlp { path, .. } => nothing_by_otlp(client, path).await.map(|()| "allowed"),
        How::Metric { namespace } => {
            let datum =
                json!({"MetricName": "PillionDoctor", "Dimensions": [], "Timestamp": now().as_secs(), "Value": 1});
            let body = json!({"Namespace": namespace, "MetricData": [datum]});
            call(client, "GraniteServiceVersion20100801.PutMetricData", &body)
                .await
                .map(|()| "one value of PillionDoctor was put")
        }
        How::Secret { .. } => Ok(""),
    }
}

/// A line for a stream that is not there tells whether lines are allowed. With `write` the stream is made first.
async fn put_line(
    client: &Client,
    group: &str,
    prefix: &str,
    makes_group: bool,
    write: bool,
) -> Result<&'static str, Fault> {
    let stream = format!("{prefix}pillion-doctor-{:016x}", fastrand::u64(..));
    let of_group = |fault: Fault| match fault.kind {
        FaultKind::NotFound if makes_group => Ok("the group is not there, and will be made"),
        _ => Err(fault),
    };
    if write {
        let body = json!({"logGroupName": group, "logStreamName": stream});
        if let Err(fault) = call(client, "Logs_20140328.CreateLogStream", &body).await {
            return of_group(fault);
        }
    }
    let body = json!({
        "logGroupName": group,
        "logStreamName": stream,
        "logEvents": [{"timestamp": now().as_millis() as u64, "message": "pillion doctor was here"}],
    });
    match call(client, "Logs_20140328.PutLogEvents", &body).await {
        Ok(()) => Ok("a stream was made and a line put"),
        Err(fault) if fault.kind == FaultKind::NotFound && fault.message.contains("stream") => Ok("allowed"),
        Err(fault) => of_group(fault),
    }
}

/// A request without anything in it, which is what no bytes are in protobuf.
async fn nothing_by_otlp(client: &Client, path: &str) -> Result<(), Fault> {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
    let answer = client.pass(path, Bytes::new(), &kind).await?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(classify(answer.status(), answer.headers(), answer.body())),
    }
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn call(client: &Client, target: &str, body: &Value) -> Result<(), Fault> {
    client.call(target, Bytes::from(body.to_string()), &[]).await.map(drop)
}

async fn by_path(client: &Client, path: &str, body: &Value) -> Result<(), Fault> {
    let body = Bytes::from(body.to_string());
    let hash = sha256_hex(&body).await;
    client.call_hashed(Operation::Path(path), body, &hash, &[]).await.map(drop)
}
