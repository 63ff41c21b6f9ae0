//! What a segment came from: its service, what that ran on, and the SDK that told of it.
//!
//! Promises: an attribute is written once, though two blocks may say it.
//! Never: finds out whose a subsegment is that comes alone; [`super::services`] does.

use super::{attributes::Attributes, json::Value, part::Part};

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
/// Blocks of `aws`, each with its members by the attributes that they are.
const BLOCKS: [(&str, &[(&str, &str)]); 4] = [
    (
        "ecs",
        &[
            ("container", "container.name"),
            ("container_id", "container.id"),
            ("container_arn", "aws.ecs.container.arn"),
            ("cluster_arn", "aws.ecs.cluster.arn"),
            ("task_arn", "aws.ecs.task.arn"),
            ("task_family", "aws.ecs.task.family"),
            ("launch_type", "aws.ecs.launchtype"),
            ("availability_zone", "cloud.availability_zone"),
        ],
    ),
    ("eks", &[("cluster_name", "k8s.cluster.name"), ("pod", "k8s.pod.name"), ("container_id", "container.id")]),
    (
        "elastic_beanstalk",
        &[
            ("environment_name", "service.namespace"),
            ("version_label", "service.version"),
            ("deployment_id", "service.instance.id"),
        ],
    ),
    (
        "ec2",
        &[
            ("instance_id", "host.id"),
            ("availability_zone", "cloud.availability_zone"),
            ("instance_size", "host.type"),
            ("ami_id", "host.image.id"),
        ],
    ),
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

    /// The members of `block` that are text or numbers.
    fn block(&mut self, block: Value<'_>, members: &[(&str, &'static str)]) {
        for (member, name) in members {
            if let Some(value) = block.member(member).filter(|value| !value.is_null()) {
                match value.text() {
                    Some(text) => self.text(name, &text),
                    None if value.number().is_some() => self.text(name, value.raw()),
                    None => {}
                }
            }
        }
    }

    fn aws(&mut self, aws: Value<'_>) {
        for (name, members) in BLOCKS {
            if let Some(block) = aws.member(name) {
                self.block(block, members);
            }
        }
        let groups = || aws.member("cloudwatch_logs").into_iter().flat_map(Value::elements);
        let of = |name| groups().map(move |group| group.text_of(name)).filter(|text| !text.is_empty());
        self.attributes.texts("aws.log.group.arns", of("arn"));
        self.attributes.texts("aws.log.group.names", of("log_group"));
        if let Some(xray) = aws.member("xray") {
            let sdk = xray.text_of("sdk");
            let (name, language) = sdk.rsplit_once(" for ").unwrap_or((&sdk, ""));
            self.text("telemetry.sdk.name", name);
            self.text("telemetry.sdk.language", &language_named(language));
            self.text("telemetry.sdk.version", &xray.text_of("sdk_version"));
            if xray.member("auto_instrumentation").is_some_and(Value::is_true) {
                self.attributes.truth("aws.xray.auto_instrumentation", true);
            }
        }
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

/// The language that a segment's SDK is for, empty if it does not say.
pub(super) fn language(part: &Part<'_>) -> String {
    let sdk = part.aws.and_then(|aws| aws.member("xray")).map(|xray| xray.text_of("sdk")).unwrap_or_default();
    sdk.rsplit_once(" for ").map(|(_, language)| language_named(language)).unwrap_or_default()
}

/// Writes the attributes of the resource that `part` of the `service` came from.
pub(super) fn write(part: &Part<'_>, service: &str, out: &mut Vec<u8>) {
    let mut once = Once { attributes: Attributes::new(out, Attributes::OF_RESOURCE), written: Vec::new() };
    once.text("service.name", service);
    if let Some(service) = part.service {
        once.block(
            service,
            &[
                ("version", "service.version"),
                ("runtime", "process.runtime.name"),
                ("runtime_version", "process.runtime.version"),
            ],
        );
    }
    let origin = part.origin.and_then(Value::text).unwrap_or_default();
    let origin = ORIGINS.into_iter().find(|(known, ..)| *known == origin);
    if let Some((_, platform, _)) = origin {
        once.text("cloud.provider", "aws");
        once.text("cloud.platform", platform);
    }
    if let Some(aws) = part.aws {
        if !part.is_subsegment {
            once.block(aws, &[("account_id", "cloud.account.id")]);
        }
        once.aws(aws);
    }
    if let Some((.., launch)) = origin {
        once.text("aws.ecs.launchtype", launch);
    }
}
