//! What the task knows of itself and a span's resource may not: attributes that fill gaps.
//!
//! Promises: an attribute that is there stays as it is; nothing is filled for what says that it ran elsewhere.
//! Never: says which container a span came from, because a sidecar cannot know.

use super::{
    aws::is_elsewhere,
    value::{Attributes, entry},
};
use crate::{
    ecs::Metadata,
    otlp::wire::{begin, end, put_bytes},
};

/// Attributes of the task, each as a name and a value in protobuf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task(Vec<Vec<u8>>);

impl Task {
    /// What is known of the task `of`.
    pub fn new(of: &Metadata) -> Self {
        let Some(arn) = of.task_arn.as_deref() else { return Self::default() };
        let account = arn.split(':').nth(4);
        // The partition, the region and the account of a cluster are those of its tasks. The ARNs of old tasks name no cluster.
        let cluster =
            of.cluster.as_ref().and_then(|name| Some(format!("{}:cluster/{name}", arn.rsplit_once(":task/")?.0)));
        let launch = of.launch_type.as_deref().map(str::to_ascii_lowercase);
        let attributes = [
            ("cloud.provider", Some("aws")),
            ("cloud.platform", Some("aws_ecs")),
            ("cloud.account.id", account),
            ("cloud.region", of.region.as_deref()),
            ("cloud.availability_zone", of.availability_zone.as_deref()),
            ("aws.ecs.cluster.arn", cluster.as_deref()),
            ("aws.ecs.task.arn", Some(arn)),
            ("aws.ecs.task.id", of.task_id.as_deref()),
            ("aws.ecs.task.family", of.family.as_deref()),
            ("aws.ecs.task.revision", of.revision.as_deref()),
            ("aws.ecs.launchtype", launch.as_deref()),
        ];
        Self(attributes.into_iter().filter_map(|(name, value)| Some(encoded(name, value?))).collect())
    }

    /// Adds to `resource` what it does not say.
    pub(super) fn fill<'a>(&'a self, resource: &mut Attributes<'a>) {
        if is_elsewhere(resource) {
            return;
        }
        for message in &self.0 {
            let (name, _) = entry(message);
            if resource.iter().all(|attribute| attribute.name != name) {
                resource.push(message);
            }
        }
    }
}

fn encoded(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    let any = begin(&mut out, 2);
    put_bytes(&mut out, 1, value.as_bytes());
    end(&mut out, any);
    out
}
