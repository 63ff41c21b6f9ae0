//! All rules.
//!
//! Promises: an id never changes its meaning; `docs/task-definitions.md` lists them all (a test compares).
//! Never: decides whether one is broken.

use crate::problem::Severity::{self, Error, Loss, Warning};

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// By which it is known.
    pub id: &'static str,
    /// How bad it is. An error: ECS refuses the task definition, or the task does not start, or not for long. A loss: lines are
    /// lost.
    pub severity: Severity,
    /// What it wants, in a sentence.
    pub wants: &'static str,
}

const fn rule(id: &'static str, severity: Severity, wants: &'static str) -> Rule {
    Rule { id, severity, wants }
}

/// All of them.
pub const RULES: [Rule; 82] = [
    rule("unknown-field", Error, "every field is one that ECS knows"),
    rule("unknown-word", Error, "a field with fixed words has one of them"),
    rule("number-range", Error, "ports are ports"),
    rule("size", Error, "a task definition has at most 64 KiB"),
    rule("family-missing", Error, "a task definition has a family"),
    rule("no-containers", Error, "a task has a container"),
    rule("too-many-containers", Error, "a task has at most 10 containers"),
    rule("container-name", Error, "each container has a name of letters, digits, `-` and `_`"),
    rule("container-image", Error, "each container has an image"),
    rule("duplicate-container", Error, "names of containers are unique"),
    rule("nothing-essential", Error, "a container is essential"),
    rule("dependency-unknown", Error, "a container waits for containers of its task"),
    rule("dependency-condition", Error, "it waits for START, COMPLETE, SUCCESS or HEALTHY"),
    rule("dependency-health", Error, "who is waited for until HEALTHY has a health check"),
    rule("dependency-essential", Error, "who is waited for until its end is not essential"),
    rule("dependency-circle", Error, "nobody waits for who waits for them"),
    rule("time-range", Error, "on Fargate time-outs are 2 to 120 s"),
    rule("restart-period", Error, "restartAttemptPeriod is 60 to 1800 s"),
    rule("health-range", Error, "times and retries of a health check are within ECS's ranges"),
    rule("health-command", Error, "a health check begins with CMD or CMD-SHELL, and has a command"),
    rule("volume-unknown", Error, "what is mounted is a volume of the task"),
    rule("duplicate-volume", Error, "names of volumes are unique"),
    rule("duplicate-mount", Error, "one volume is mounted at one path"),
    rule("duplicate-variable", Error, "a variable is set once, be it by a secret"),
    rule("port-clash", Error, "no two containers of a task have one port, where they share an address"),
    rule("port-host", Error, "in awsvpc and host mode hostPort is containerPort"),
    rule("links-mode", Error, "links exist in bridge mode only"),
    rule("memory-missing", Error, "on EC2 each container has memory, or the task has"),
    rule("memory-order", Error, "memoryReservation is less than memory"),
    rule("memory-least", Error, "a container has at least 6 MiB"),
    rule("memory-over-task", Error, "no container has more memory than the task"),
    rule("memory-sum", Error, "the containers together reserve no more than the task has"),
    rule("fargate-size", Error, "cpu and memory are a size that Fargate has"),
    rule("fargate-network", Error, "on Fargate the network mode is awsvpc"),
    rule("fargate-pid-mode", Error, "on Fargate pidMode is task"),
    rule("fargate-host-path", Error, "on Fargate no volume is a folder of the host"),
    rule("fargate-lacks", Error, "nothing is asked for that Fargate does not have"),
    rule("fargate-log-driver", Error, "on Fargate the log driver is awslogs, splunk or awsfirelens"),
    rule("execution-role-missing", Error, "there is an execution role where ECS needs one to start the task"),
    rule("log-driver", Error, "the log driver is one that ECS knows"),
    rule("awslogs-options", Error, "awslogs has a group, a region, and on Fargate a stream prefix"),
    rule("firelens-type", Error, "a log router is fluentd or fluentbit"),
    rule("firelens-routers", Error, "a task has one log router"),
    rule("firelens-no-router", Error, "who logs by awsfirelens has a router"),
    rule("firelens-no-sender", Error, "a router has somebody to serve"),
    rule("firelens-itself", Error, "a router does not log through itself"),
    rule("firelens-s3", Error, "on Fargate a router's configuration is a file of its image"),
    rule("pillion-config", Error, "pillion starts with its configuration"),
    rule("pillion-volume", Error, "secrets are written to a volume that can be written to"),
    rule("pillion-shell", Error, "pillion's health check needs no shell"),
    rule("service-container", Error, "a service's load balancer names a container of its task definition"),
    rule("service-port", Error, "and a port of that container"),
    rule("service-provider", Error, "a capacity provider is there"),
    rule("service-capacity", Error, "a service has a launch type or a strategy, not both"),
    rule("dashboard-body", Error, "a dashboard's body is JSON"),
    rule("compute-type", Error, "CodeBuild's compute type exists"),
    rule("pillion-loses", Loss, "every output is one that pillion has"),
    rule("firelens-output", Loss, "who logs by awsfirelens names an output"),
    rule("log-buffer", Loss, "the driver's buffer holds more than seconds"),
    rule("firelens-depends", Warning, "a router waits for nobody"),
    rule("router-first", Warning, "who logs through a router waits until it is well"),
    rule("router-restart", Warning, "a router that ends is started again, or ends the task"),
    rule("router-log", Warning, "a router's own log can be read"),
    rule("stop-order", Warning, "a router has at least as long to stop as those it serves"),
    rule("spot-stop", Warning, "on Spot all containers together stop within two minutes"),
    rule("log-mode", Warning, "awslogs says whether it may block"),
    rule("log-blocking", Warning, "an app does not wait for its log"),
    rule("no-log", Warning, "what a container prints can be read"),
    rule("no-health-check", Warning, "an essential container has a health check"),
    rule("image-latest", Warning, "an image has a version or a digest"),
    rule("root-user", Warning, "a container is not root"),
    rule("writable-root", Warning, "a container's root file system is read-only"),
    rule("privileged", Warning, "no container is privileged"),
    rule("plain-secret", Warning, "no secret stands in a plain variable"),
    rule("database-secret", Warning, "who has a database's address has a secret for it"),
    rule("task-role", Warning, "a task has a role, and it is not the execution role"),
    rule("shared-role", Warning, "a service has a role of its own"),
    rule("service-platform", Warning, "Fargate's platform version is 1.4.0 or later"),
    rule("fargate-tmpfs", Warning, "no tmpfs is asked for on Fargate"),
    rule("replaceable-sidecar", Warning, "one sidecar does the work of several"),
    rule("pillion-stop", Warning, "pillion knows how long it has to stop"),
    rule("pillion-warning", Warning, "pillion has nothing to say about its configuration"),
];
