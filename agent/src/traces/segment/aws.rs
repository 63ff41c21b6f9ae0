//! Where a span ran, on AWS: the `aws` block, the origin, the user and the service.
//!
//! Promises: nothing of AWS for a resource that says that it is elsewhere; ARNs and groups as they were given.
//! Never: writes a member that is not known.

use super::{
    Settings,
    json::Json,
    keys::{Key, Keys},
    level::Level,
    span::Span,
    value::Attributes,
};

/// What is written for a span: all that is known, or what its service is, without what it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// What stays for the service that a dependency belongs to.
    Service,
}

/// What goes into the block.
pub(super) struct Aws<'s, 'a> {
    pub(super) span: &'s Span<'a>,
    pub(super) resource: &'s Attributes<'a>,
    pub(super) settings: &'s Settings,
    pub(super) level: &'s Level,
    pub(super) part: Part,
}

/// The span's attributes that go into the block, by the name that they have there.
const CALLED: [(&str, &[Key]); 4] = [
    ("region", &[Key::AwsRegion]),
    ("request_id", &[Key::AwsRequestId, Key::AwsRequestIdCamel]),
    ("queue_url", &[Key::MessagingUrl, Key::AwsQueueUrl, Key::AwsQueueDotUrl]),
    ("operation", &[Key::AwsOperation, Key::RpcMethod]),
];

pub(super) fn is_elsewhere(resource: &Attributes<'_>) -> bool {
    resource.get(Key::CloudProvider).is_some_and(|provider| provider.text() != b"aws")
}

impl Aws<'_, '_> {
    pub(super) fn write(&self, json: &mut Json<'_>, used: &mut Keys) {
        used.add([
            Key::RpcMethod,
            Key::AwsAccountId,
            Key::AwsOperation,
            Key::AwsRegion,
            Key::AwsRequestId,
            Key::AwsRequestIdCamel,
            Key::AwsQueueUrl,
            Key::AwsQueueDotUrl,
            Key::AwsTableName,
            Key::AwsTableDotName,
        ]);
        if is_elsewhere(self.resource) {
            return;
        }
        json.begin("aws");
        self.account(json);
        if self.part == Part::Whole {
            for (name, keys) in CALLED {
                let text = keys.iter().map(|&key| self.span.attributes.text(key)).find(|text| !text.is_empty());
                json.text_member(name, text.unwrap_or_default());
            }
            self.tables(json);
        }
        self.ec2(json);
        self.ecs(json);
        self.beanstalk(json);
        self.eks(json);
        self.logs(json);
        self.xray(json);
        json.close(b'}');
    }

    fn text(&self, key: Key) -> &[u8] {
        self.resource.text(key)
    }

    fn account(&self, json: &mut Json<'_>) {
        let own = self.text(Key::CloudAccountId);
        let called = self.span.attributes.text(Key::AwsAccountId);
        json.text_member("account_id", if called.is_empty() || self.part == Part::Service { own } else { called });
    }

    fn tables(&self, json: &mut Json<'_>) {
        let attributes = &self.span.attributes;
        let tables = attributes.get(Key::AwsDynamodbTableNames);
        let mut names = tables.into_iter().flat_map(super::value::Any::texts);
        match (names.next(), names.next()) {
            (Some(first), Some(second)) => {
                json.name("table_names");
                json.open(b'[');
                [first, second].into_iter().chain(names).take(self.level.members).for_each(|name| {
                    if json.len() <= self.level.document_bytes {
                        json.text(name);
                    }
                });
                json.close(b']');
            }
            (Some(one), None) => json.text_member("table_name", one),
            _ => json.text_member("table_name", attributes.first_text([Key::AwsTableName, Key::AwsTableDotName])),
        }
    }

    /// Writes the object `name` of those `members` that are known.
    fn object<const N: usize>(&self, json: &mut Json<'_>, name: &str, members: [(&str, Key); N]) {
        let begun = json.begin(name);
        for (name, key) in members {
            json.text_member(name, self.text(key));
        }
        json.end_unless_empty(begun);
    }

    fn ec2(&self, json: &mut Json<'_>) {
        if self.text(Key::CloudPlatform) == b"aws_ec2" || self.resource.has(Key::HostId) {
            let members = [
                ("instance_id", Key::HostId),
                ("availability_zone", Key::CloudAvailabilityZone),
                ("instance_size", Key::HostType),
                ("ami_id", Key::HostImageId),
            ];
            self.object(json, "ec2", members);
        }
    }

    fn ecs(&self, json: &mut Json<'_>) {
        if self.text(Key::CloudPlatform) == b"aws_ecs" {
            let members = [
                ("container", Key::ContainerName),
                ("container_id", Key::ContainerId),
                ("container_arn", Key::AwsEcsContainerArn),
                ("cluster_arn", Key::AwsEcsClusterArn),
                ("task_arn", Key::AwsEcsTaskArn),
                ("task_family", Key::AwsEcsTaskFamily),
                ("launch_type", Key::AwsEcsLaunchtype),
                ("availability_zone", Key::CloudAvailabilityZone),
            ];
            self.object(json, "ecs", members);
        }
    }

    fn beanstalk(&self, json: &mut Json<'_>) {
        let deployment = self.text(Key::ServiceInstanceId);
        if self.text(Key::CloudPlatform) == b"aws_elastic_beanstalk" && !deployment.is_empty() {
            json.begin("elastic_beanstalk");
            json.text_member("environment_name", self.text(Key::ServiceNamespace));
            json.text_member("version_label", self.text(Key::ServiceVersion));
            json.name("deployment_id");
            json.number(std::str::from_utf8(deployment).ok().and_then(|text| text.parse().ok()).unwrap_or(0));
            json.close(b'}');
        }
    }

    fn eks(&self, json: &mut Json<'_>) {
        if self.text(Key::CloudPlatform) == b"aws_eks" || self.resource.has(Key::K8sClusterName) {
            let members =
                [("cluster_name", Key::K8sClusterName), ("pod", Key::K8sPodName), ("container_id", Key::ContainerId)];
            self.object(json, "eks", members);
        }
    }

    /// Where the logs are: ARNs, or names, or what the configuration says.
    fn logs(&self, json: &mut Json<'_>) {
        let of = |key| self.resource.get(key).into_iter().flat_map(super::value::Any::texts).flat_map(parts);
        let mark = json.mark();
        json.name("cloudwatch_logs");
        json.open(b'[');
        let mut written = 0;
        let mut write = |name: &[u8], arn: &[u8]| {
            if written < self.level.members && json.len() <= self.level.document_bytes {
                json.open(b'{');
                json.text_member("log_group", name);
                json.text_member("arn", arn);
                json.close(b'}');
                written += 1;
            }
        };
        of(Key::AwsLogGroupArns).for_each(|arn| write(arn.split(|&byte| byte == b':').nth(6).unwrap_or_default(), arn));
        if !self.resource.has(Key::AwsLogGroupArns) {
            of(Key::AwsLogGroupNames).for_each(|name| write(name, b""));
            if !self.resource.has(Key::AwsLogGroupNames) {
                self.settings.log_groups.iter().for_each(|name| write(name.as_bytes(), b""));
            }
        }
        if written == 0 { json.back_to(mark) } else { json.close(b']') }
    }

    fn xray(&self, json: &mut Json<'_>) {
        let (name, language) = (self.text(Key::TelemetrySdkName), self.text(Key::TelemetrySdkLanguage));
        json.begin("xray");
        if !name.is_empty() && !language.is_empty() && !ends_with(name, language) {
            json.text_member("sdk", &[name, b" for ", language].concat());
        } else {
            json.text_member("sdk", name);
        }
        json.text_member("sdk_version", self.text(Key::TelemetrySdkVersion));
        let automatic = [Key::TelemetryAutoVersion, Key::TelemetryDistroVersion];
        json.truth_member("auto_instrumentation", !self.resource.first_text(automatic).is_empty());
        json.close(b'}');
    }
}

/// True if `name` ends with ` for ` and `language` already, whatever the case.
fn ends_with(name: &[u8], language: &[u8]) -> bool {
    let end = [b" for ", language].concat();
    name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(&end)
}

/// The parts of a text that stands for a list.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'&').filter(|part| !part.is_empty())
}

/// What the segment is from.
pub(super) fn origin(resource: &Attributes<'_>) -> &'static str {
    if is_elsewhere(resource) {
        return "";
    }
    match resource.text(Key::CloudPlatform) {
        b"aws_app_runner" => "AWS::AppRunner::Service",
        b"aws_eks" => "AWS::EKS::Container",
        b"aws_elastic_beanstalk" => "AWS::ElasticBeanstalk::Environment",
        b"aws_ecs" => match resource.text(Key::AwsEcsLaunchtype) {
            launch if launch.eq_ignore_ascii_case(b"ec2") => "AWS::ECS::EC2",
            launch if launch.eq_ignore_ascii_case(b"fargate") => "AWS::ECS::Fargate",
            _ => "AWS::ECS::Container",
        },
        b"aws_ec2" => "AWS::EC2::Instance",
        _ => "",
    }
}
