//! What the fake AWS is told to do wrong, and when.
//!
//! Promises: actions queued for an operation are used up one per request, in order, by whichever connection asks first;
//! then the standing rule applies, if there is one; else the request is served.
//! Never: acts by itself; a run with the same requests and the same seed misbehaves in the same way.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// CloudWatch Logs.
    PutLogEvents,
    /// CloudWatch Logs.
    CreateLogGroup,
    /// CloudWatch Logs.
    CreateLogStream,
    /// CloudWatch Logs.
    PutRetentionPolicy,
    /// CloudWatch Logs.
    TagResource,
    /// Secrets Manager.
    DescribeSecret,
    /// Secrets Manager.
    GetSecretValue,
    /// Secrets Manager.
    ListSecrets,
    /// The Parameter Store.
    GetParameters,
    /// The Parameter Store.
    GetParametersByPath,
    /// X-Ray.
    PutTraceSegments,
    /// X-Ray.
    GetSamplingRules,
    /// X-Ray.
    GetSamplingTargets,
    /// X-Ray.
    GetSamplingStatisticSummaries,
    /// Application Signals.
    ListInstrumentationConfigurations,
    /// The Security Token Service.
    AssumeRole,
    /// X-Ray: spans by OTLP.
    PutSpans,
    /// X-Ray: whether Transaction Search is on.
    GetTraceSegmentDestination,
    /// CloudWatch.
    PutMetricData,
    /// SQS.
    GetQueueAttributes,
    /// ECS.
    DescribeServices,
    /// ECS.
    ListTasks,
    /// The ECS agent's credentials endpoint.
    Credentials,
    /// The ECS task metadata endpoint.
    Metadata,
}

impl Operation {
    /// The operation of an `X-Amz-Target`.
    pub fn by_target(target: &str) -> Option<Self> {
        Some(match target {
            "Logs_20140328.PutLogEvents" => Self::PutLogEvents,
            "Logs_20140328.CreateLogGroup" => Self::CreateLogGroup,
            "Logs_20140328.CreateLogStream" => Self::CreateLogStream,
            "Logs_20140328.PutRetentionPolicy" => Self::PutRetentionPolicy,
            "Logs_20140328.TagResource" => Self::TagResource,
            "GraniteServiceVersion20100801.PutMetricData" => Self::PutMetricData,
            "AmazonSQS.GetQueueAttributes" => Self::GetQueueAttributes,
            "AmazonEC2ContainerServiceV20141113.DescribeServices" => Self::DescribeServices,
            "AmazonEC2ContainerServiceV20141113.ListTasks" => Self::ListTasks,
            "secretsmanager.DescribeSecret" => Self::DescribeSecret,
            "secretsmanager.GetSecretValue" => Self::GetSecretValue,
            "secretsmanager.ListSecrets" => Self::ListSecrets,
            "AmazonSSM.GetParameters" => Self::GetParameters,
            "AmazonSSM.GetParametersByPath" => Self::GetParametersByPath,
            _ => return None,
        })
    }

    /// The operation of a path, where the service has one for each.
    pub fn by_path(path: &str) -> Option<Self> {
        Some(match path {
            "/TraceSegments" => Self::PutTraceSegments,
            "/GetSamplingRules" => Self::GetSamplingRules,
            "/SamplingTargets" => Self::GetSamplingTargets,
            "/SamplingStatisticSummaries" => Self::GetSamplingStatisticSummaries,
            "/list-instrumentation-configurations" => Self::ListInstrumentationConfigurations,
            "/v1/traces" => Self::PutSpans,
            "/GetTraceSegmentDestination" => Self::GetTraceSegmentDestination,
            _ => return None,
        })
    }

    /// The service in the scope of its requests' signatures.
    pub(super) fn service(self) -> &'static str {
        match self {
            Self::DescribeSecret | Self::GetSecretValue | Self::ListSecrets => "secretsmanager",
            Self::GetParameters | Self::GetParametersByPath => "ssm",
            Self::PutTraceSegments
            | Self::PutSpans
            | Self::GetTraceSegmentDestination
            | Self::GetSamplingRules
            | Self::GetSamplingTargets
            | Self::GetSamplingStatisticSummaries => "xray",
            Self::ListInstrumentationConfigurations => "application-signals",
            Self::AssumeRole => "sts",
            Self::PutMetricData => "monitoring",
            Self::GetQueueAttributes => "sqs",
            Self::DescribeServices | Self::ListTasks => "ecs",
            _ => "logs",
        }
    }
}

/// What is done with a request in place of serving it. Unless it says otherwise, the request has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve it after all: for gaps between faults.
    Serve,
    /// 400 `ThrottlingException`.
    Throttle,
    /// A bare status (500, 503, 429, ...), with `Retry-After` in seconds if given.
    Status(u16, Option<u32>),
    /// An error of the service: status, code, message.
    Error(u16, &'static str, &'static str),
    /// 400 `AccessDeniedException`.
    Denied,
    /// 400 `ExpiredTokenException`.
    ExpiredToken,
    /// Serve it, unless this text is in its body: then 400 `InvalidParameterException`, as for a record that the service
    /// does not like.
    Poisoned(&'static str),
    /// 413 without a useful body.
    TooLarge,
    /// 502 with a page of HTML, as a load balancer sends it.
    HtmlError,
    /// 200 without `x-amzn-RequestId`, as a captive portal sends it.
    NoRequestId,
    /// The request is read whole, then the connection is reset.
    ResetBeforeAnswer,
    /// The connection is reset when about half of the body was read.
    ResetMidBody,
    /// The request is read and never answered. [`FakeAws::release`](super::FakeAws::release) has it served after all.
    Hang,
    /// The request is served; its answer comes one byte at a time, this many milliseconds apart.
    SlowBody(u64),
    /// Bytes that are not HTTP.
    Garbage,
    /// An answer that never ends: chunks until the client has had enough.
    EndlessBody,
    /// A redirect to this address.
    Redirect(&'static str),
    /// This many informational answers, and then the request is served.
    Informational(u32),
    /// The request takes effect, and then this is done: an ambiguous answer.
    AfterServing(Box<Action>),
}

impl Action {
    /// The request takes effect, and then the connection is reset.
    pub fn reset_after_serving() -> Self {
        Self::AfterServing(Box::new(Self::ResetBeforeAnswer))
    }
}

/// All scripts.
#[derive(Debug, Default)]
pub(super) struct Script {
    queues: HashMap<Operation, VecDeque<Action>>,
    standing: HashMap<Operation, Standing>,
}

#[derive(Debug)]
struct Standing {
    action: Action,
    percent: u8,
    rng: Rng,
}

impl Script {
    pub(super) fn queue(&mut self, operation: Operation, actions: impl IntoIterator<Item = Action>) {
        self.queues.entry(operation).or_default().extend(actions);
    }

    pub(super) fn stand(&mut self, operation: Operation, percent: u8, seed: u64, action: Action) {
        self.standing.insert(operation, Standing { action, percent, rng: Rng::with_seed(seed) });
    }

    pub(super) fn heal(&mut self, operation: Operation) {
        self.queues.remove(&operation);
        self.standing.remove(&operation);
    }

    /// What to do with the next request.
    pub(super) fn next(&mut self, operation: Operation) -> Action {
        if let Some(action) = self.queues.get_mut(&operation).and_then(VecDeque::pop_front) {
            return action;
        }
        let Some(standing) = self.standing.get_mut(&operation) else { return Action::Serve };
        let hit = standing.rng.u8(0..100) < standing.percent;
        if hit { standing.action.clone() } else { Action::Serve }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_goes_before_the_standing_rule() {
        let mut script = Script::default();
        script.queue(Operation::PutLogEvents, [Action::Throttle, Action::Serve]);
        script.stand(Operation::PutLogEvents, 100, 1, Action::HtmlError);
        let taken: Vec<_> = (0..4).map(|_| script.next(Operation::PutLogEvents)).collect();
        assert_eq!(taken, [Action::Throttle, Action::Serve, Action::HtmlError, Action::HtmlError]);
        assert_eq!(script.next(Operation::CreateLogStream), Action::Serve);
        script.heal(Operation::PutLogEvents);
        assert_eq!(script.next(Operation::PutLogEvents), Action::Serve);
    }
}
