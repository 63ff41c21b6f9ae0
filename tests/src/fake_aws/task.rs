//! What an ECS agent serves to the containers of a task: credentials and task metadata.
//!
//! Promises: the shapes of the real endpoints (`AWS_CONTAINER_CREDENTIALS_FULL_URI`, metadata version 4).
//! Never: checks who asks; on a real host the network does.

use serde_json::{Value, json};

use super::signature::Credentials;

/// What the ids of all containers begin with.
const ID: &str = "5f1c0de5a9d84a0b8f3f3c1d2e4b6a7980c1d2e3f405162738495a6b7c8d9e0f";
/// The task that everything runs in.
pub const TASK_ARN: &str = "arn:aws:ecs:us-east-1:123456789012:task/mycluster/0123456789abcdef0123456789abcdef";

/// The ARN of a task by its id.
pub(super) fn arn_of(id: &str) -> String {
    TASK_ARN.rsplit_once('/').map_or_else(String::new, |(cluster, _)| format!("{cluster}/{id}"))
}

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

/// The answer of the metadata endpoint at `path`, as of `now` in milliseconds since 1970.
pub(super) fn metadata(path: &str, now: i64) -> Value {
    if path.ends_with("/task/stats") {
        return stats(now);
    }
    let id = path.split('/').find_map(|part| part.strip_prefix("task-"));
    let task_arn = id.map_or_else(|| TASK_ARN.to_owned(), arn_of);
    let container = |name: &str| {
        json!({
            "DockerId": format!("{ID}-{name}"),
            "Name": name,
            "DockerName": format!("ecs-web-7-{name}-a0f3d2c1b4e5968778"),
            "Image": "example/app:1",
            "ImageID": "sha256:0123",
            "Labels": {
                "com.amazonaws.ecs.cluster": "mycluster",
                "com.amazonaws.ecs.container-name": name,
                "com.amazonaws.ecs.task-arn": task_arn,
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
    let ended = |name: &str, code: i64| {
        let mut container = container(name);
        (container["KnownStatus"], container["ExitCode"]) = (json!("STOPPED"), json!(code));
        container
    };
    if !path.ends_with("/task") {
        return container("pillion");
    }
    json!({
        "Cluster": "mycluster",
        "TaskARN": task_arn,
        "Family": "web",
        "Revision": "7",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": null,
        "AvailabilityZone": "us-east-1b",
        "LaunchType": "FARGATE",
        "Containers": [container("app"), container("pillion"), ended("migrate", 3)]
    })
}

/// Docker's statistics: the app uses an eighth of a processor and 100 MiB besides pages of files, and receives a byte a millisecond;
/// the sidecar has just started, and there is nothing of it yet.
fn stats(now: i64) -> Value {
    let at = |milliseconds: i64| {
        jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
    };
    let cpu = |milliseconds: i64| json!({"cpu_usage": {"total_usage": milliseconds * 125_000}, "online_cpus": 2});
    json!({
        format!("{ID}-app"): {
            "read": at(now), "preread": at(now - 1_000), "cpu_stats": cpu(now), "precpu_stats": cpu(now - 1_000),
            "memory_stats": {"usage": 150_u64 << 20, "limit": 9_223_372_036_854_771_712_u64, "stats": {"cache": 50_u64 << 20}},
            "networks": {"eth1": {"rx_bytes": now, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 0}, {"op": "Total", "value": 0}]},
        },
        format!("{ID}-pillion"): null,
    })
}
