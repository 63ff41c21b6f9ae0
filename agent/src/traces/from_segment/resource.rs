//! What a segment came from: its service, what that ran on, and the SDK that told of it.
//!
//! Promises: an attribute is written once, though two blocks may say it.
//! Never: finds out whose a subsegment is that comes alone; [`super::services`] does.

use super::{
    attributes::Attributes,
    json::{Names, Value, text},
    part::Part,
};

/// Origins, by the platform and the way to launch that they are.
const ORIGINS: [(&str, &str, &str); 8] = [
    ("AWS::AppRunner::Service", "aws_app_runner", ""),
    ("AWS::EKS::Container", "aws_eks", ""),
    ("AWS::ElasticBeanstalk::Environment", "aws_elastic_beanstalk", ""),
    ("AWS::ECS::EC2", "aws_ecs", "ec2"),
    ("AWS::ECS::Fargate", "aws_ecs", "fargate"),
    ("AWS::ECS::Container", "aws_ecs", ""),
    ("AWS::EC2::Instance", "aws_ec2", ""),
    ("AWS::Lambda::Function", "aws_lambda", ""),
];
const SERVICE: &Names = &[
    ("version", "service.version"),
    ("runtime", "process.runtime.name"),
    ("runtime_version", "process.runtime.version"),
];
const ECS: &Names = &[
    ("container", "container.name"),
    ("container_id", "container.id"),
    ("container_arn", "aws.ecs.container.arn"),
    ("cluster_arn", "aws.ecs.cluster.arn"),
    ("task_arn", "aws.ecs.task.arn"),
    ("task_family", "aws.ecs.task.family"),
    ("launch_type", "aws.ecs.launchtype"),
    ("availability_zone", "cloud.availability_zone"),
];
const EKS: &Names = &[("cluster_name", "k8s.cluster.name"), ("pod", "k8s.pod.name"), ("container_id", "container.id")];
const BEANSTALK: &Names = &[
    ("environment_name", "service.namespace"),
    ("version_label", "service.version"),
    ("deployment_id", "service.instance.id"),
];
const EC2: &Names = &[
    ("instance_id", "host.id"),
    ("availability_zone", "cloud.availability_zone"),
    ("instance_size", "host.type"),
    ("ami_id", "host.image.id"),
];

/// Attributes, each once.
struct Once<'o> {
    attributes: Attributes<'o>,
    written: Vec<&'static str>,
}

impl Once<'_> {
    fn text(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() && !self.written.contains(&name) {
            self.attributes.text(name, text);
            self.written.push(name);
        }
    }

    fn value(&mut self, name: &'static str, value: Value<'_>) {
        match value.text() {
            Some(text) => self.text(name, &text),
            None if value.number().is_some() => self.text(name, value.raw()),
            None => {}
        }
    }

    /// The members of a block that are text or numbers.
    fn block(&mut self, block: Option<Value<'_>>, names: &'static Names) {
        for (name, value) in block.into_iter().flat_map(|block| block.named(names)) {
            self.value(name, value);
        }
    }

    /// What a segment tells of where it ran. Gives the language that its SDK is for, empty if it does not say.
    fn aws(&mut self, aws: Value<'_>, is_subsegment: bool) -> String {
        let [account, ecs, eks, beanstalk, ec2, groups, xray] =
            aws.pick(["account_id", "ecs", "eks", "elastic_beanstalk", "ec2", "cloudwatch_logs", "xray"]);
        if let (Some(account), false) = (account, is_subsegment) {
            self.value("cloud.account.id", account);
        }
        for (block, names) in [(ecs, ECS), (eks, EKS), (beanstalk, BEANSTALK), (ec2, EC2)] {
            self.block(block, names);
        }
        let groups = || groups.into_iter().flat_map(Value::elements);
        let of = |name| groups().map(move |group| text(group.member(name))).filter(|text| !text.is_empty());
        self.attributes.texts("aws.log.group.arns", of("arn"));
        self.attributes.texts("aws.log.group.names", of("log_group"));
        let Some(xray) = xray else { return String::new() };
        let [sdk, version] = xray.texts(["sdk", "sdk_version"]);
        let (name, language) = sdk.rsplit_once(" for ").unwrap_or((&sdk, ""));
        let language = language_named(language);
        self.text("telemetry.sdk.name", name);
        self.text("telemetry.sdk.language", &language);
        self.text("telemetry.sdk.version", &version);
        if xray.member("auto_instrumentation").is_some_and(Value::is_true) {
            self.attributes.truth("aws.xray.auto_instrumentation", true);
        }
        language
    }
}

/// A language as OpenTelemetry calls it.
fn language_named(name: &str) -> String {
    match name.to_ascii_lowercase() {
        node if node.starts_with("node") => "nodejs".to_owned(),
        net if net.starts_with(".net") => "dotnet".to_owned(),
        other => other,
    }
}

/// Writes the attributes of the resource that `part` of the `service` came from. Gives the language that its SDK is for, empty if it does not say.
pub(super) fn write(part: &Part<'_>, service: &str, out: &mut Vec<u8>) -> String {
    let mut once = Once { attributes: Attributes::new(out, Attributes::OF_RESOURCE), written: Vec::new() };
    once.text("service.name", service);
    once.block(part.service, SERVICE);
    let origin = text(part.origin);
    let origin = ORIGINS.into_iter().find(|(known, ..)| *known == origin);
    if let Some((_, platform, _)) = origin {
        once.text("cloud.provider", "aws");
        once.text("cloud.platform", platform);
    }
    let language = part.aws.map(|aws| once.aws(aws, part.is_subsegment)).unwrap_or_default();
    if let Some((.., launch)) = origin {
        once.text("aws.ecs.launchtype", launch);
    }
    language
}
