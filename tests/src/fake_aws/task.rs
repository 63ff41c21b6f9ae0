//! What an ECS agent serves to the containers of a task: credentials and task metadata.
//!
//! Promises: the shapes of the real endpoints (`AWS_CONTAINER_CREDENTIALS_FULL_URI`, metadata version 4).
//! Never: checks who asks; on a real host the network does.

use serde_json::{Value, json};

use super::signature::Credentials;

/// The task that everything runs in.
pub const TASK_ARN: &str = "arn:aws:ecs:us-east-1:123456789012:task/mycluster/0123456789abcdef0123456789abcdef";

/// The answer of the credentials endpoint. `expires` is in RFC 3339.
pub(super) fn credentials(credentials: &Credentials, expires: &str) -> Value {
    json!({
        "RoleArn": "arn:aws:iam::123456789012:role/task",
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret,
        "Token": credentials.token,
        "Expiration": expires,
    })
}

/// The answer of the metadata endpoint at `path`.
pub(super) fn metadata(path: &str) -> Value {
    let container = |name: &str| {
        json!({
            "DockerId": "5f1c0de5a9d84a0b8f3f3c1d2e4b6a7980c1d2e3f405162738495a6b7c8d9e0f",
            "Name": name,
            "DockerName": format!("ecs-web-7-{name}-a0f3d2c1b4e5968778"),
            "Image": "example/app:1",
            "ImageID": "sha256:0123",
            "Labels": {
                "com.amazonaws.ecs.cluster": "mycluster",
                "com.amazonaws.ecs.container-name": name,
                "com.amazonaws.ecs.task-arn": TASK_ARN,
                "com.amazonaws.ecs.task-definition-family": "web",
                "com.amazonaws.ecs.task-definition-version": "7"
            },
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "Limits": {"CPU": 0, "Memory": 64},
            "CreatedAt": "2026-11-20T13:00:00.000000000Z",
            "StartedAt": "2026-11-20T13:00:01.000000000Z",
            "Type": "NORMAL",
            "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.7"]}]
        })
    };
    if !path.ends_with("/task") {
        return container("pillion");
    }
    json!({
        "Cluster": "mycluster",
        "TaskARN": TASK_ARN,
        "Family": "web",
        "Revision": "7",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": null,
        "AvailabilityZone": "us-east-1b",
        "LaunchType": "FARGATE",
        "Containers": [container("app"), container("pillion")]
    })
}
