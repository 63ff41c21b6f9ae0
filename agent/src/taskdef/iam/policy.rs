//! Which rights each setting of pillion needs.
//!
//! Promises: one statement for each thing that is done, with all resources that it is done to.
//! Never: reads a task definition.

use std::collections::BTreeSet;

use super::{Account, Statement};
use crate::{
    config::Config,
    logs::settings::{Destination as LogsTo, Input as LogsFrom, Routing},
    metrics::settings::{Deliver, Destination as MetricsTo, Input as MetricsFrom},
    secrets::settings::{From, Prefetch},
    traces::settings::{Destination as TracesTo, Input},
};

/// The groups that the settings of the metrics name for documents that go by the logs, with the tags of those.
fn groups_of_metrics(config: &Config) -> Vec<(&str, String)> {
    let of_outputs = config.metrics.running().iter().filter_map(|output| match &output.to {
        MetricsTo::Emf(emf) => Some((emf.tag(), emf.group.clone()?)),
        _ => None,
    });
    let of_inputs = config.metrics.inputs.iter().filter_map(|input| match input {
        // The cluster is the one that the task is started in.
        MetricsFrom::Task(task) => {
            let events = task.performance_events.as_ref()?;
            let of_insights = || "/aws/ecs/containerinsights/*/performance".to_owned();
            Some((events.tag(), events.group.clone().unwrap_or_else(of_insights)))
        }
        _ => None,
    });
    of_outputs.chain(of_inputs).collect()
}

/// Statements in the making.
pub(super) struct Policy<'a> {
    account: &'a Account,
    pub(super) statements: Vec<Statement>,
}

impl<'a> Policy<'a> {
    pub(super) fn of(account: &'a Account) -> Self {
        Self { account, statements: Vec::new() }
    }

    /// Adds a resource to the statement of that name, which is made if it is not there.
    pub(super) fn allow(&mut self, sid: &'static str, actions: &[&'static str], resource: String) {
        let known = self.statements.iter_mut().find(|statement| statement.sid == sid);
        match known {
            Some(statement) => {
                statement.resources.insert(resource);
            }
            None => self.statements.push(Statement {
                sid,
                actions: actions.to_vec(),
                resources: BTreeSet::from([resource]),
                condition: None,
            }),
        }
    }

    /// True if the right is another role's: then the task's own role must be able to become it.
    fn assumed(&mut self, role: Option<&String>) -> bool {
        let Some(role) = role else { return false };
        self.allow("BecomeOtherRoles", &["sts:AssumeRole"], role.clone());
        true
    }

    pub(super) fn of_logs(&mut self, config: &Config) {
        // A document of the embedded metric format names a group that nobody knows beforehand.
        let of_documents = config.logs.inputs.iter().filter_map(|input| match input {
            LogsFrom::Emf(emf) if emf.routing == Routing::Document => Some("*".to_owned()),
            LogsFrom::Emf(emf) => emf.log_group.clone(),
            _ => None,
        });
        let of_documents: Vec<String> = of_documents.collect();
        let of_metrics = groups_of_metrics(config);
        for output in &config.logs.outputs {
            let LogsTo::Cloudwatch(cloudwatch) = &output.to else { continue };
            if self.assumed(cloudwatch.role_arn.as_ref()) {
                continue;
            }
            let named = [&cloudwatch.group_template, &cloudwatch.group, &cloudwatch.default_group];
            let of_metrics = of_metrics.iter().filter(|(tag, _)| output.pattern.fits(tag)).map(|(_, group)| group);
            for group in named.into_iter().flatten().chain(&of_documents).chain(of_metrics) {
                let resource = format!("log-group:{}:*", without_fields(group));
                let arn = self.account.arn("logs", cloudwatch.region.as_deref(), &resource);
                self.allow("DeliverLogs", &["logs:CreateLogStream", "logs:PutLogEvents"], arn.clone());
                if !cloudwatch.auto_create_group {
                    continue;
                }
                self.allow("CreateLogGroups", &["logs:CreateLogGroup"], arn.clone());
                if cloudwatch.retention_days.is_some() {
                    self.allow("KeepLogsForDays", &["logs:PutRetentionPolicy"], arn.clone());
                }
                if !cloudwatch.group_tags.is_empty() {
                    self.allow("TagLogGroups", &["logs:TagResource"], arn);
                }
            }
        }
    }

    pub(super) fn of_traces(&mut self, config: &Config) {
        let all = || "*".to_owned();
        for output in config.traces.running() {
            match &output.to {
                TracesTo::Xray(xray) => {
                    if !self.assumed(xray.role_arn.as_ref()) {
                        self.allow("DeliverSegments", &["xray:PutTraceSegments"], all());
                    }
                }
                TracesTo::Otlp(otlp) => {
                    // The destination of another service has its own rights.
                    let Some(aws) = otlp.aws.as_ref().filter(|aws| aws.service.as_deref().unwrap_or("xray") == "xray")
                    else {
                        continue;
                    };
                    if !self.assumed(aws.role_arn.as_ref()) {
                        let actions = ["xray:PutSpans", "xray:PutSpansForIndexing", "xray:GetTraceSegmentDestination"];
                        self.allow("DeliverSpans", &actions, all());
                    }
                }
            }
        }
        let outputs = config.traces.running();
        for input in &config.traces.inputs {
            let Input::Xray(xray) = input else { continue };
            // What the port's own settings leave open is as in the output to X-Ray, its role too.
            let proxy = xray.proxy.clone().beside(&outputs);
            if xray.tcp_address().is_some() && !self.assumed(proxy.role_arn.as_ref()) {
                let actions =
                    ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries"];
                self.allow("AskForSampling", &actions, all());
            }
        }
    }

    pub(super) fn of_metrics(&mut self, config: &Config) {
        for input in &config.metrics.inputs {
            if let MetricsFrom::Queue(queue) = input
                && !self.assumed(queue.role_arn.as_ref())
            {
                let arn = self.queue(&queue.sqs, queue.region.as_deref());
                self.allow("AskForBacklog", &["sqs:GetQueueAttributes"], arn);
                if queue.publishers.is_some() {
                    // Its resource is the container instances; IAM knows no service there.
                    self.allow("ListTasks", &["ecs:ListTasks"], "*".to_owned());
                    continue;
                }
                let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
                let service = queue.cluster.as_deref().zip(queue.service.as_deref()).map(|(cluster, service)| {
                    let resource = format!("service/{}/{}", name(cluster), name(service));
                    self.account.arn("ecs", queue.region.as_deref(), &resource)
                });
                // What the task says of itself is not known here.
                self.allow("CountTasks", &["ecs:DescribeServices"], service.unwrap_or_else(|| "*".to_owned()));
            }
        }
        self.of_metric_outputs(config);
    }

    fn of_metric_outputs(&mut self, config: &Config) {
        let (mut by_name, mut by_otlp) = (false, false);
        for output in config.metrics.running() {
            match &output.to {
                MetricsTo::Cloudwatch(cloudwatch) => by_name |= !self.assumed(cloudwatch.role_arn.as_ref()),
                MetricsTo::Otlp(otlp) => {
                    // The rights at another backend are that backend's.
                    let aws = otlp.aws.as_ref();
                    let aws = aws.filter(|aws| aws.service.as_deref().unwrap_or("monitoring") == "monitoring");
                    by_otlp |= aws.is_some_and(|aws| !self.assumed(aws.role_arn.as_ref()));
                }
                // It goes by the logs.
                MetricsTo::Emf(_) => {}
            }
        }
        let inputs = &config.metrics.inputs;
        let own = inputs.iter().filter(|_| by_name).filter_map(MetricsFrom::namespace);
        let namespaces: BTreeSet<String> = own.map(str::to_owned).collect();
        // Documents name namespaces of their own, which nobody knows beforehand. By OTLP there is none.
        let names_any = |input: &MetricsFrom| matches!(input, MetricsFrom::Emf(emf) if emf.deliver == Deliver::Metrics);
        let is_any = by_otlp || by_name && inputs.iter().any(names_any);
        if namespaces.is_empty() && !is_any {
            return;
        }
        let namespaces: Vec<String> = namespaces.into_iter().collect();
        // IAM knows no narrower resource; the namespace is the bound.
        self.statements.push(Statement {
            sid: "PutMetrics",
            actions: vec!["cloudwatch:PutMetricData"],
            resources: BTreeSet::from(["*".to_owned()]),
            condition: (!is_any).then_some(("StringEquals", "cloudwatch:namespace", namespaces)),
        });
    }

    pub(super) fn of_secrets(&mut self, config: &Config, key: Option<&str>) {
        for item in &config.secrets.items {
            match &item.from {
                From::SecretsManager(secret) => {
                    if self.assumed(secret.role_arn.as_ref()) {
                        continue;
                    }
                    let regions = std::iter::once(secret.region.as_deref());
                    for region in regions.chain(secret.failover_regions.iter().map(|region| Some(region.as_str()))) {
                        let arn = self.secret(&secret.id, region);
                        self.allow(
                            "ReadSecrets",
                            &["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                            arn,
                        );
                    }
                }
                From::Parameter(parameter) => {
                    if !self.assumed(parameter.role_arn.as_ref()) {
                        let arn = self.parameter(&parameter.name, parameter.region.as_deref());
                        self.allow("ReadParameters", &["ssm:GetParameters"], arn);
                    }
                }
                From::Parameters(parameters) => {
                    if !self.assumed(parameters.role_arn.as_ref()) {
                        let arn = self.parameter(&parameters.path, parameters.region.as_deref());
                        let below = format!("{}/*", arn.trim_end_matches('/'));
                        self.allow("ListParameters", &["ssm:GetParametersByPath"], arn);
                        self.allow("ReadParameters", &["ssm:GetParameters"], below);
                    }
                }
                From::File(_) => {}
            }
        }
        for Prefetch { id, tag, role_arn } in config.secrets.api.iter().flat_map(|api| &api.prefetch) {
            if self.assumed(role_arn.as_ref()) {
                continue;
            }
            if tag.is_some() {
                self.allow("ListSecrets", &["secretsmanager:ListSecrets"], "*".to_owned());
            }
            if let Some(id) = id {
                let arn = self.secret(id, None);
                self.allow("ReadSecrets", &["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], arn);
            }
        }
        if let Some(hints) = &config.secrets.hints
            && !self.assumed(hints.role_arn.as_ref())
        {
            let arn = self.queue(&hints.sqs, hints.region.as_deref());
            self.allow("ReceiveHints", &["sqs:ReceiveMessage", "sqs:DeleteMessage"], arn);
        }
        self.of_key(key);
    }

    /// A key of the customer's own must let who may read decrypt, through the service alone.
    pub(super) fn of_key(&mut self, key: Option<&str>) {
        let reads = |sid: &str| self.statements.iter().any(|statement| statement.sid == sid);
        let through: Vec<&str> = [("ReadSecrets", "secretsmanager"), ("ReadParameters", "ssm")]
            .into_iter()
            .filter_map(|(sid, service)| reads(sid).then_some(service))
            .collect();
        let Some(key) = key.filter(|_| !through.is_empty()) else { return };
        let services =
            through.iter().map(|service| format!("{service}.{}.amazonaws.com", self.account.region)).collect();
        self.statements.push(Statement {
            sid: "DecryptSecrets",
            actions: vec!["kms:Decrypt"],
            resources: BTreeSet::from([key.to_owned()]),
            condition: Some(("StringEquals", "kms:ViaService", services)),
        });
    }

    /// A queue by its URL, `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`.
    fn queue(&self, url: &str, region: Option<&str>) -> String {
        let mut parts = url.rsplit('/');
        let (name, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let region = region.or(url.split('.').nth(1)).unwrap_or(&self.account.region);
        format!("arn:{}:sqs:{region}:{id}:{name}", self.account.partition)
    }

    /// A secret by name or ARN. Secrets Manager puts six characters behind each name.
    fn secret(&self, id: &str, region: Option<&str>) -> String {
        let Some(tail) = id.strip_prefix("arn:") else {
            return self.account.arn("secretsmanager", region, &format!("secret:{id}-??????"));
        };
        let mut parts: Vec<&str> = tail.split(':').collect();
        if let (Some(region), Some(place)) = (region, parts.get_mut(2)) {
            *place = region;
        }
        let arn = format!("arn:{}", parts.join(":"));
        let name = parts.last().copied().unwrap_or_default();
        let has_suffix = name
            .rsplit_once('-')
            .is_some_and(|(_, end)| end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if has_suffix { arn } else { format!("{arn}-??????") }
    }

    /// A parameter by name or ARN, perhaps with a version or a label behind it.
    fn parameter(&self, name: &str, region: Option<&str>) -> String {
        if name.starts_with("arn:") {
            return name.split(':').take(6).collect::<Vec<_>>().join(":");
        }
        let name = name.split(':').next().unwrap_or_default();
        self.account.arn("ssm", region, &format!("parameter/{}", name.trim_start_matches('/')))
    }
}

/// A name in which fields of records are `*`: `/ecs/$(ecs_cluster)-x` is `/ecs/*-x`.
pub(super) fn without_fields(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        out.push('*');
        let field = &rest[start + 1..];
        let length = match field.strip_prefix('(') {
            Some(inner) => inner.find(')').map_or(field.len(), |end| end + 2),
            None => {
                field.find(|letter: char| !letter.is_alphanumeric() && !"_['].".contains(letter)).unwrap_or(field.len())
            }
        };
        rest = &field[length..];
    }
    out.push_str(rest);
    out
}
