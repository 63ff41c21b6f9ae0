//! What stands around task definitions in a template: services, and what cfn-lint does not look into.
//!
//! Promises: judges what is written out in the same template, and nothing that is imported or computed.
//! Never: takes the place of cfn-lint, which knows all resources.

use std::collections::BTreeSet;

use super::{Findings, Scope, Task};
use crate::taskdef::{
    tree::{Node, json},
    view::Case,
};

/// The sizes of CodeBuild's machines.
const COMPUTE_TYPES: [&str; 12] = [
    "BUILD_GENERAL1_SMALL",
    "BUILD_GENERAL1_MEDIUM",
    "BUILD_GENERAL1_LARGE",
    "BUILD_GENERAL1_XLARGE",
    "BUILD_GENERAL1_2XLARGE",
    "BUILD_LAMBDA_1GB",
    "BUILD_LAMBDA_2GB",
    "BUILD_LAMBDA_4GB",
    "BUILD_LAMBDA_8GB",
    "BUILD_LAMBDA_10GB",
    "ATTRIBUTE_BASED_COMPUTE",
    "CUSTOM_INSTANCE_TYPE",
];

struct Resource<'a> {
    name: &'a str,
    kind: String,
    properties: Scope<'a>,
}

pub(super) fn check(root: &Node, findings: &mut Findings) {
    let resources = Scope::new(root, Case::Template).raw("Resources").into_iter().flat_map(Scope::members);
    let resources: Vec<Resource<'_>> = resources
        .filter_map(|(name, resource)| {
            Some(Resource { name, kind: resource.raw("Type")?.text()?, properties: resource.raw("Properties")? })
        })
        .collect();
    for resource in &resources {
        match resource.kind.as_str() {
            "AWS::ECS::Service" => service(resource, &resources, findings),
            "AWS::CloudWatch::Dashboard" => dashboard(resource, findings),
            "AWS::CodeBuild::Project" => project(resource, findings),
            _ => {}
        }
    }
}

fn service(service: &Resource<'_>, resources: &[Resource<'_>], findings: &mut Findings) {
    let place = |field: &str| format!("{}.{field}", service.name);
    let it = service.properties;
    let strategy = it.get("capacityProviderStrategy");
    if it.get("launchType").is_some() && strategy.is_some() {
        findings.add(
            "service-capacity",
            place("LaunchType"),
            "stands beside a CapacityProviderStrategy",
            "write one of the two",
        );
    }
    let known: BTreeSet<String> = ["FARGATE", "FARGATE_SPOT"].map(str::to_owned).into();
    for (index, item) in it.items_of("capacityProviderStrategy").enumerate() {
        let Some(provider) = item.text_of("capacityProvider") else { continue };
        let named = |other: &Resource<'_>| {
            other.kind == "AWS::ECS::CapacityProvider" && other.properties.text_of("name").as_deref() == Some(&provider)
        };
        if !known.contains(&provider) && !resources.iter().any(named) {
            let fix = "write FARGATE, FARGATE_SPOT, or one that this template makes";
            findings.add(
                "service-provider",
                place(&format!("CapacityProviderStrategy[{index}]")),
                format!("there is no capacity provider `{provider}` here"),
                fix,
            );
        }
    }
    let version = it.text_of("platformVersion");
    if version.as_deref().is_some_and(|version| matches!(version, "1.0.0" | "1.1.0" | "1.2.0" | "1.3.0")) {
        findings.add(
            "service-platform",
            place("PlatformVersion"),
            "is older than 1.4.0",
            "write LATEST, or leave it out",
        );
    }
    of_its_task(service, resources, findings);
}

/// What a service says of the task definition that the template makes for it.
fn of_its_task(service: &Resource<'_>, resources: &[Resource<'_>], findings: &mut Findings) {
    let place = |field: &str| format!("{}.{field}", service.name);
    let it = service.properties;
    let reference = it.get("taskDefinition").and_then(|reference| reference.raw("Ref")).and_then(Scope::text);
    let target = resources.iter().find(|other| Some(other.name) == reference.as_deref());
    let Some(task) = target.map(|target| Task(target.properties)) else { return };
    for (index, balancer) in it.items_of("loadBalancers").enumerate() {
        let at = place(&format!("LoadBalancers[{index}]"));
        let Some(name) = balancer.text_of("containerName") else { continue };
        let Some(container) = task.container(&name) else {
            findings.add(
                "service-container",
                at,
                format!("`{name}` is no container of its task definition"),
                "name one that is",
            );
            continue;
        };
        let Some(port) = balancer.number_of("containerPort") else { continue };
        let ports: Vec<Option<i64>> =
            container.0.items_of("portMappings").map(|it| it.number_of("containerPort")).collect();
        if !ports.contains(&Some(port)) && !ports.contains(&None) {
            findings.add(
                "service-port",
                at,
                format!("`{name}` has no port {port}"),
                "name a port of its `PortMappings`",
            );
        }
    }
    let on_spot = it
        .items_of("capacityProviderStrategy")
        .any(|item| item.text_of("capacityProvider").as_deref() == Some("FARGATE_SPOT"));
    let sum: i64 = task.containers().iter().map(|container| container.0.number_of("stopTimeout").unwrap_or(30)).sum();
    if on_spot && task.containers().len() > 1 && sum > 120 {
        let fix = "a Spot task has two minutes; containers that wait for each other stop one after another";
        findings.add(
            "spot-stop",
            place("CapacityProviderStrategy"),
            format!("its containers may take {sum} s to stop"),
            fix,
        );
    }
}

fn dashboard(resource: &Resource<'_>, findings: &mut Findings) {
    let body = resource.properties.get("dashboardBody");
    let text = body.and_then(|body| body.text().or_else(|| body.raw("Fn::Sub")?.text()));
    if let Some(Err(mistake)) = text.map(|text| json::parse(text.as_bytes())) {
        findings.add(
            "dashboard-body",
            format!("{}.DashboardBody", resource.name),
            format!("is no JSON: {mistake}"),
            "",
        );
    }
}

fn project(resource: &Resource<'_>, findings: &mut Findings) {
    let kind = resource.properties.get("environment").and_then(|environment| environment.text_of("computeType"));
    if kind.is_some_and(|kind| !COMPUTE_TYPES.contains(&kind.as_str())) {
        let place = format!("{}.Environment.ComputeType", resource.name);
        findings.add(
            "compute-type",
            place,
            "is no machine that CodeBuild has",
            "write for example BUILD_GENERAL1_SMALL",
        );
    }
}
