//! Every rule, by planting its mistake.
//!
//! Promises: the task definition and the template in which mistakes are planted have none; each mistake is found by its own rule;
//! each rule has a mistake.
//! Never: takes a finding of another rule for the one that was planted.

use std::collections::BTreeSet;

use super::*;

const SEED: &str = include_str!("../../../testdata/taskdef/seed-orders.json");

/// Has nothing to find.
const CLEAN: &str = r#"{
  "family": "web",
  "requiresCompatibilities": ["FARGATE"],
  "networkMode": "awsvpc",
  "cpu": "512",
  "memory": "1024",
  "executionRoleArn": "arn:aws:iam::123456789012:role/web-execution",
  "taskRoleArn": "arn:aws:iam::123456789012:role/web-task",
  "volumes": [{"name": "pillion-secrets"}],
  "containerDefinitions": [
    {
      "name": "web",
      "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1.0.0",
      "user": "1000",
      "memory": 512,
      "readonlyRootFilesystem": true,
      "stopTimeout": 30,
      "portMappings": [{"containerPort": 8080}],
      "environment": [{"name": "MODE", "value": "production"}],
      "secrets": [{"name": "KEY", "valueFrom": "/web/key"}],
      "mountPoints": [{"sourceVolume": "pillion-secrets", "containerPath": "/run/secrets", "readOnly": true}],
      "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}, {"containerName": "pillion", "condition": "HEALTHY"}],
      "healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost:8080/health"], "interval": 10},
      "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "cloudwatch_logs", "region": "eu-west-1", "log_group_name": "/ecs/web", "log_stream_prefix": "web/"}}
    },
    {
      "name": "init",
      "image": "init:1.0.0",
      "user": "1000",
      "essential": false,
      "readonlyRootFilesystem": true,
      "dependsOn": [{"containerName": "pillion", "condition": "HEALTHY"}],
      "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "init", "mode": "non-blocking"}}
    },
    {
      "name": "pillion",
      "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/pillion:0.1.0",
      "memoryReservation": 64,
      "user": "65532",
      "readonlyRootFilesystem": true,
      "stopTimeout": 120,
      "firelensConfiguration": {"type": "fluentbit"},
      "environment": [
        {"name": "PILLION_STOP_TIMEOUT", "value": "120s"},
        {"name": "PILLION__SECRETS__ITEMS__0__NAME", "value": "db"},
        {"name": "PILLION__SECRETS__ITEMS__0__FROM__PARAMETER__NAME", "value": "/web/db"}
      ],
      "mountPoints": [{"sourceVolume": "pillion-secrets", "containerPath": "/run/secrets"}],
      "restartPolicy": {"enabled": true, "restartAttemptPeriod": 60},
      "healthCheck": {"command": ["CMD", "/pillion", "healthcheck"], "interval": 5},
      "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "pillion", "mode": "non-blocking"}}
    }
  ]
}
"#;

/// Mistakes in [`CLEAN`]: what is replaced, by what, the rule, and where it must be found.
const MISTAKES: [(&str, &str, &str, &str); 84] = [
    (r#""stopTimeout": 30"#, r#""stopTimout": 30"#, "unknown-field", "web.stopTimout"),
    (r#""family": "web","#, r#""family": "web", "capacityProvider": "x","#, "unknown-field", "capacityProvider"),
    (r#""interval": 10"#, r#""intervall": 10"#, "unknown-field", "web.healthCheck.intervall"),
    (r#""awsvpc""#, r#""vpc""#, "unknown-word", "networkMode"),
    (r#"["FARGATE"]"#, r#"["FARGATE", "LAMBDA"]"#, "unknown-word", "requiresCompatibilities"),
    (
        r#"{"containerPort": 8080}"#,
        r#"{"containerPort": 8080, "protocol": "sctp"}"#,
        "unknown-word",
        "web.portMappings[0].protocol",
    ),
    (r#""containerPort": 8080"#, r#""containerPort": 80800"#, "number-range", "web.portMappings[0].containerPort"),
    (r#""value": "production""#, "LONG", "size", "task definition"),
    (r#""family": "web","#, "", "family-missing", "family"),
    (
        r#""containerDefinitions": ["#,
        r#""containerDefinitions": [], "tags": ["#,
        "no-containers",
        "containerDefinitions",
    ),
    (r#""containerDefinitions": ["#, "MANY", "too-many-containers", "containerDefinitions"),
    (r#""name": "init","#, "", "container-name", "containerDefinitions[1].name"),
    (r#""name": "init","#, r#""name": "in it","#, "container-name", "in it.name"),
    (r#""image": "init:1.0.0","#, "", "container-image", "init.image"),
    (r#""name": "init","#, r#""name": "web","#, "duplicate-container", "web.name"),
    (r#""image":"#, r#""essential": false, "image":"#, "nothing-essential", "containerDefinitions"),
    (r#"{"containerName": "init""#, r#"{"containerName": "int""#, "dependency-unknown", "web.dependsOn"),
    (r#""SUCCESS""#, r#""READY""#, "dependency-condition", "web.dependsOn[0].condition"),
    (r#""SUCCESS""#, r#""HEALTHY""#, "dependency-health", "web.dependsOn"),
    (r#""essential": false,"#, "", "dependency-essential", "web.dependsOn"),
    (
        r#""condition": "SUCCESS"}, {"containerName": "pillion", "condition": "HEALTHY"}"#,
        r#""condition": "SUCCESS"}, {"containerName": "web", "condition": "START"}"#,
        "dependency-circle",
        "web.dependsOn",
    ),
    (
        r#""dependsOn": [{"containerName": "pillion""#,
        r#""dependsOn": [{"containerName": "web""#,
        "dependency-circle",
        "init.dependsOn",
    ),
    (r#""stopTimeout": 30"#, r#""stopTimeout": 500"#, "time-range", "web.stopTimeout"),
    (r#""stopTimeout": 30"#, r#""startTimeout": 1"#, "time-range", "web.startTimeout"),
    (
        r#""restartAttemptPeriod": 60"#,
        r#""restartAttemptPeriod": 10"#,
        "restart-period",
        "pillion.restartPolicy.restartAttemptPeriod",
    ),
    (r#""interval": 10"#, r#""interval": 1"#, "health-range", "web.healthCheck.interval"),
    (r#""interval": 10"#, r#""retries": 11"#, "health-range", "web.healthCheck.retries"),
    (r#""CMD-SHELL", "#, "", "health-command", "web.healthCheck.command"),
    (r#"["CMD", "/pillion", "healthcheck"]"#, r#"["CMD"]"#, "health-command", "pillion.healthCheck.command"),
    (
        r#"{"sourceVolume": "pillion-secrets", "containerPath": "/run/secrets", "readOnly": true}"#,
        r#"{"sourceVolume": "secrets", "containerPath": "/run/secrets"}"#,
        "volume-unknown",
        "web.mountPoints[0]",
    ),
    (
        r#""user": "1000",
      "memory""#,
        r#""user": "1000", "volumesFrom": [{"sourceContainer": "x"}], "memory""#,
        "volume-unknown",
        "web.volumesFrom",
    ),
    (
        r#"[{"name": "pillion-secrets"}]"#,
        r#"[{"name": "pillion-secrets"}, {"name": "pillion-secrets"}]"#,
        "duplicate-volume",
        "volumes[1].name",
    ),
    (
        r#""readOnly": true}]"#,
        r#""readOnly": true}, {"sourceVolume": "pillion-secrets", "containerPath": "/run/secrets"}]"#,
        "duplicate-mount",
        "web.mountPoints[1]",
    ),
    (r#""name": "KEY""#, r#""name": "MODE""#, "duplicate-variable", "web.secrets.MODE"),
    (
        r#""image": "init:1.0.0","#,
        r#""image": "init:1.0.0", "portMappings": [{"containerPort": 8080}],"#,
        "port-clash",
        "init.portMappings[0]",
    ),
    (r#""containerPort": 8080"#, r#""containerPort": 8080, "hostPort": 80"#, "port-host", "web.portMappings[0]"),
    (r#""stopTimeout": 30"#, r#""links": ["init"]"#, "links-mode", "web.links"),
    (
        r#"["FARGATE"],
  "networkMode": "awsvpc",
  "cpu": "512",
  "memory": "1024","#,
        r#"["EC2"], "networkMode": "awsvpc","#,
        "memory-missing",
        "init",
    ),
    (r#""memory": 512"#, r#""memory": 512, "memoryReservation": 512"#, "memory-order", "web.memoryReservation"),
    (r#""memory": 512"#, r#""memory": 4"#, "memory-least", "web.memory"),
    (r#""memory": 512"#, r#""memory": 1025"#, "memory-over-task", "web.memory"),
    (r#""memory": 512"#, r#""memory": 1000"#, "memory-sum", "memory"),
    (r#""cpu": "512""#, r#""cpu": "300""#, "fargate-size", "cpu"),
    (r#""memory": "1024""#, r#""memory": "8 GB""#, "fargate-size", "memory"),
    (r#""cpu": "512","#, "", "fargate-size", "cpu"),
    (r#""awsvpc""#, r#""bridge""#, "fargate-network", "networkMode"),
    (r#""networkMode""#, r#""pidMode": "host", "networkMode""#, "fargate-pid-mode", "pidMode"),
    (
        r#"{"name": "pillion-secrets"}]"#,
        r#"{"name": "pillion-secrets", "host": {"sourcePath": "/x"}}]"#,
        "fargate-host-path",
        "volumes[0]",
    ),
    (r#""networkMode""#, r#""ipcMode": "task", "networkMode""#, "fargate-lacks", "ipcMode"),
    (
        r#""stopTimeout": 30"#,
        r#""resourceRequirements": [{"type": "GPU", "value": "1"}]"#,
        "fargate-lacks",
        "web.resourceRequirements",
    ),
    (
        r#""stopTimeout": 30"#,
        r#""linuxParameters": {"sharedMemorySize": 64}"#,
        "fargate-lacks",
        "web.linuxParameters.sharedMemorySize",
    ),
    (
        r#""stopTimeout": 30"#,
        r#""linuxParameters": {"tmpfs": [{"containerPath": "/x", "size": 1}]}"#,
        "fargate-tmpfs",
        "web.linuxParameters.tmpfs",
    ),
    (r#""awslogs""#, r#""json-file""#, "fargate-log-driver", "init.logConfiguration.logDriver"),
    (r#""awslogs""#, r#""cloudwatch""#, "log-driver", "init.logConfiguration.logDriver"),
    (
        r#""executionRoleArn": "arn:aws:iam::123456789012:role/web-execution","#,
        "",
        "execution-role-missing",
        "executionRoleArn",
    ),
    (
        r#""awslogs-stream-prefix": "init","#,
        "",
        "awslogs-options",
        "init.logConfiguration.options.awslogs-stream-prefix",
    ),
    (r#""type": "fluentbit""#, r#""type": "fluent-bit""#, "firelens-type", "pillion.firelensConfiguration.type"),
    (
        r#""image": "init:1.0.0","#,
        r#""image": "init:1.0.0", "firelensConfiguration": {"type": "fluentbit"},"#,
        "firelens-routers",
        "pillion.firelensConfiguration",
    ),
    (r#""firelensConfiguration": {"type": "fluentbit"},"#, "", "firelens-no-router", "web.logConfiguration"),
    (
        r#""logDriver": "awsfirelens""#,
        r#""logDriver": "splunk""#,
        "firelens-no-sender",
        "pillion.firelensConfiguration",
    ),
    (
        r#"{"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "pillion", "mode": "non-blocking"}}"#,
        r#"{"logDriver": "awsfirelens"}"#,
        "firelens-itself",
        "pillion.logConfiguration",
    ),
    (
        r#"{"type": "fluentbit"}"#,
        r#"{"type": "fluentbit", "options": {"config-file-type": "s3", "config-file-value": "arn:aws:s3:::b/f"}}"#,
        "firelens-s3",
        "pillion.firelensConfiguration",
    ),
    (r#""PILLION_STOP_TIMEOUT""#, r#""PILLION__ADMIN__LISTEN""#, "pillion-config", "pillion: PILLION__ADMIN__LISTEN"),
    (
        r#""mountPoints": [{"sourceVolume": "pillion-secrets", "containerPath": "/run/secrets"}],"#,
        "",
        "pillion-volume",
        "pillion.mountPoints",
    ),
    (
        r#""containerPath": "/run/secrets"}"#,
        r#""containerPath": "/run", "readOnly": true}"#,
        "pillion-volume",
        "pillion.mountPoints",
    ),
    (
        r#"["CMD", "/pillion", "healthcheck"]"#,
        r#"["CMD-SHELL", "/pillion healthcheck"]"#,
        "pillion-shell",
        "pillion.healthCheck.command",
    ),
    (r#""Name": "cloudwatch_logs""#, r#""Name": "splunk""#, "pillion-loses", "pillion: output `splunk`"),
    (r#""Name": "cloudwatch_logs", "#, "", "firelens-output", "web.logConfiguration.options.Name"),
    (
        r#""Name": "cloudwatch_logs", "#,
        r#""log-driver-buffer-limit": "1000", "Name": "cloudwatch_logs", "#,
        "log-buffer",
        "web.logConfiguration.options.log-driver-buffer-limit",
    ),
    (
        r#""firelensConfiguration""#,
        r#""dependsOn": [{"containerName": "init", "condition": "START"}], "firelensConfiguration""#,
        "firelens-depends",
        "pillion.dependsOn",
    ),
    (
        r#", {"containerName": "pillion", "condition": "HEALTHY"}]"#,
        r#", {"containerName": "pillion", "condition": "START"}]"#,
        "router-first",
        "web.dependsOn",
    ),
    (
        r#""restartPolicy": {"enabled": true, "restartAttemptPeriod": 60}"#,
        r#""essential": false"#,
        "router-restart",
        "pillion.essential",
    ),
    (
        r#""healthCheck": {"command": ["CMD", "/pillion", "healthcheck"], "interval": 5},
      "logConfiguration""#,
        r#""healthCheck": {"command": ["CMD", "/pillion", "healthcheck"]}, "dockerLabels""#,
        "router-log",
        "pillion.logConfiguration",
    ),
    (r#""stopTimeout": 120,"#, r#""stopTimeout": 20,"#, "stop-order", "web.stopTimeout"),
    (r#", "mode": "non-blocking""#, "", "log-mode", "init.logConfiguration.options.mode"),
    (r#""mode": "non-blocking""#, r#""mode": "blocking""#, "log-blocking", "init.logConfiguration.options.mode"),
    (
        r#""dependsOn": [{"containerName": "pillion", "condition": "HEALTHY"}],
      "logConfiguration""#,
        r#""dockerLabels""#,
        "no-log",
        "init.logConfiguration",
    ),
    (
        r#""healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost:8080/health"], "interval": 10},"#,
        "",
        "no-health-check",
        "web.healthCheck",
    ),
    (r#""init:1.0.0""#, r#""init:latest""#, "image-latest", "init.image"),
    (r#""init:1.0.0""#, r#""registry:5000/init""#, "image-latest", "init.image"),
    (r#""user": "1000","#, r#""user": "0:1000","#, "root-user", "web.user"),
    (r#""readonlyRootFilesystem": true,"#, "", "writable-root", "web.readonlyRootFilesystem"),
    (r#""stopTimeout": 30"#, r#""privileged": true"#, "privileged", "web.privileged"),
    (
        r#""name": "MODE", "value": "production""#,
        r#""name": "DB_PASSWORD", "value": "canary""#,
        "plain-secret",
        "web.environment.DB_PASSWORD",
    ),
];

/// Has nothing to find either.
const TEMPLATE: &str = r#"{"Resources": {
  "Board": {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": "{\"widgets\": []}"}},
  "Build": {"Type": "AWS::CodeBuild::Project", "Properties": {"Environment": {"ComputeType": "BUILD_GENERAL1_SMALL"}}},
  "Service": {"Type": "AWS::ECS::Service", "Properties": {
    "TaskDefinition": {"Ref": "Task"},
    "PlatformVersion": "LATEST",
    "CapacityProviderStrategy": [{"CapacityProvider": "FARGATE", "Weight": 1}],
    "LoadBalancers": [{"ContainerName": "web", "ContainerPort": 8080, "TargetGroupArn": {"Ref": "Group"}}]
  }},
  "Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": {
    "RequiresCompatibilities": ["FARGATE"], "NetworkMode": "awsvpc", "Cpu": "256", "Memory": "512",
    "TaskRoleArn": {"Ref": "Role"}, "ExecutionRoleArn": {"Ref": "ExecutionRole"},
    "ContainerDefinitions": [{
      "Name": "web", "Image": {"Fn::Sub": "${Repository}:${Version}"}, "User": "1000", "ReadonlyRootFilesystem": true, "StopTimeout": 100,
      "PortMappings": [{"ContainerPort": 8080}], "HealthCheck": {"Command": ["CMD", "/health"]},
      "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": {"Ref": "Logs"}, "awslogs-region": {"Ref": "AWS::Region"}, "awslogs-stream-prefix": "web", "mode": "non-blocking"}}
    }]
  }}
}}"#;

const TEMPLATE_MISTAKES: [(&str, &str, &str, &str); 9] = [
    (r#""ContainerName": "web""#, r#""ContainerName": "app""#, "service-container", "Service.LoadBalancers[0]"),
    (
        r#""ContainerName": "web", "ContainerPort": 8080"#,
        r#""ContainerName": "web", "ContainerPort": 80"#,
        "service-port",
        "Service.LoadBalancers[0]",
    ),
    (r#""FARGATE", "Weight""#, r#""FARGAT", "Weight""#, "service-provider", "Service.CapacityProviderStrategy[0]"),
    (r#""PlatformVersion""#, r#""LaunchType": "FARGATE", "PlatformVersion""#, "service-capacity", "Service.LaunchType"),
    (r#""LATEST""#, r#""1.3.0""#, "service-platform", "Service.PlatformVersion"),
    (r#"\"widgets\": []}"#, r#"\"widgets\": [}"#, "dashboard-body", "Board.DashboardBody"),
    ("BUILD_GENERAL1_SMALL", "BUILD_SMALL", "compute-type", "Build.Environment.ComputeType"),
    (r#""StopTimeout": 100"#, r#""StopTimeout": 500"#, "time-range", "Task.web.stopTimeout"),
    (r#""FARGATE", "Weight""#, "SPOT", "spot-stop", "Service.CapacityProviderStrategy"),
];

fn found(text: &str) -> Vec<(&'static str, String)> {
    let findings = lint(text.as_bytes()).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    findings.into_iter().map(|finding| (finding.rule.id, finding.place)).collect()
}

/// The text with one mistake. What is too long for the table stands here.
fn planted(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in the text");
    let to = match to {
        "LONG" => format!("\"value\": \"{}\"", "x".repeat(64 * 1024)),
        "MANY" => {
            let containers: String = (0..8).map(|n| format!("{{\"name\": \"c{n}\", \"image\": \"i:1\"}},")).collect();
            format!("\"containerDefinitions\": [{containers}")
        }
        "SPOT" => {
            let second = r#""FARGATE_SPOT"}], "#;
            return text
                .replace(r#""FARGATE", "Weight": 1}], "#, second)
                .replace("\"FARGATE\", \"Weight\": 1}],", "\"FARGATE_SPOT\"}],")
                .replace(
                    r#""ContainerDefinitions": [{"#,
                    r#""ContainerDefinitions": [{"Name": "x", "Image": "x:1"}, {"#,
                );
        }
        _ => to.to_owned(),
    };
    // Rules about all containers need the mistake in all of them.
    if from == r#""image":"# {
        text.replace(from, &to).replace("\"essential\": false,\n", "")
    } else {
        text.replacen(from, &to, 1)
    }
}

#[test]
fn what_has_no_mistake_has_no_finding() {
    assert_eq!(found(CLEAN), []);
    assert_eq!(found(TEMPLATE), []);
}

#[test]
fn every_planted_mistake_is_found_by_its_rule() {
    let both = MISTAKES.iter().map(|it| (CLEAN, it)).chain(TEMPLATE_MISTAKES.iter().map(|it| (TEMPLATE, it)));
    let mut missed = Vec::new();
    for (text, (from, to, id, place)) in both {
        let found = found(&planted(text, from, to));
        if !found.iter().any(|(rule, at)| rule == id && at == place) {
            missed.push(format!("{id} at {place}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_rule_has_a_mistake_that_is_planted() {
    let planted = MISTAKES.iter().chain(&TEMPLATE_MISTAKES).map(|it| it.2).chain(elsewhere().map(|it| it.1));
    let planted: BTreeSet<&str> = planted.collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(rules.difference(&planted).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(rules.len(), RULES.len(), "an id stands twice");
}

/// Mistakes that take more than one replacement.
fn elsewhere() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let database = CLEAN
        .replace(r#""secrets": [{"name": "KEY", "valueFrom": "/web/key"}],"#, "")
        .replace(r#""name": "MODE", "value": "production""#, r#""name": "DB_HOST", "value": "x.rds.amazonaws.com""#);
    let url = CLEAN.replace(r#""value": "production""#, r#""value": "postgres://me:canary@db/x""#);
    let key = CLEAN.replace(r#""value": "production""#, r#""value": "AKIAIOSFODNN7EXAMPLE""#);
    [
        (database, "database-secret", "web.environment.DB_HOST"),
        (url, "plain-secret", "web.environment.MODE"),
        (key, "plain-secret", "web.environment.MODE"),
        (CLEAN.replace(r#""taskRoleArn": "arn:aws:iam::123456789012:role/web-task","#, ""), "task-role", "taskRoleArn"),
        (CLEAN.replace("role/web-task", "role/web-execution"), "task-role", "taskRoleArn"),
        (CLEAN.replace("role/web-task", "role/ecsTaskRole"), "shared-role", "taskRoleArn"),
        (CLEAN.replace("init:1.0.0", "amazon/aws-xray-daemon:3.3.7"), "replaceable-sidecar", "init"),
        (CLEAN.replace("\"120s\"", "\"60s\""), "pillion-stop", "pillion.stopTimeout"),
        (
            CLEAN.replace(r#""log_group_name""#, r#""log_gruop": "x", "log_group_name""#),
            "pillion-warning",
            "pillion: /fluent-bit/etc/fluent-bit.conf:33 [OUTPUT] cloudwatch_logs",
        ),
    ]
    .into_iter()
}

#[test]
fn mistakes_that_take_more_are_found_too() {
    for (text, id, place) in elsewhere() {
        let found = found(&text);
        assert!(found.iter().any(|(rule, at)| *rule == id && at == place), "{id} at {place}: {found:?}");
    }
}

/// The value of a variable that may be a secret is in no finding, whatever is wrong with it.
#[test]
fn no_finding_shows_a_value() {
    for (text, ..) in elsewhere() {
        for finding in lint(text.as_bytes()).expect("a task definition") {
            assert!(!finding.to_string().contains("canary"), "{finding}");
        }
    }
    let text = CLEAN.replace("\"120s\"", "\"canary\"").replace("\"/web/db\"", "\"\"");
    for finding in lint(text.as_bytes()).expect("a task definition") {
        assert!(!finding.to_string().contains("canary"), "{finding}");
    }
}

/// The example of a tutorial, with all that is wrong with it.
#[test]
fn all_flaws_of_the_seed_are_found() {
    let findings = lint(SEED.as_bytes()).expect("a task definition");
    insta::assert_snapshot!(findings.iter().map(|finding| format!("{finding}\n")).collect::<String>(), @r"
    warning[log-mode]: orders-api.logConfiguration.options.mode: is not set: what happens when CloudWatch is slow depends on when the account was made; write `non-blocking`, with a `max-buffer-size`, if lines may be lost, or `blocking` if the app may wait for CloudWatch
    warning[image-latest]: orders-api.image: is `latest`; name a version or a digest: only then two tasks of one revision run the same, and an older revision brings the older image back
    warning[root-user]: orders-api.user: is not set: the image decides, and most are root; write a number, for example 1000
    warning[writable-root]: orders-api.readonlyRootFilesystem: is not true; set it, and mount a volume where the app must write (AWS Security Hub, ECS.5)
    warning[no-health-check]: orders-api.healthCheck: is missing in an essential container; add a `healthCheck`: that of the image does not count, and without one ECS takes a hung app for well
    warning[database-secret]: orders-api.environment.DB_HOST: is a database, and no secret opens it; name its password under `secrets`, or as a file that follows each rotation
    warning[shared-role]: taskRoleArn: `ecsTaskRole` is a name that all services share; give each service a role of its own, with its own log group, queue and secrets
    ");
}

/// The page lists every rule, with the words of the rule.
#[test]
fn the_page_lists_every_rule() {
    let page = include_str!("../../../../docs/task-definitions.md");
    let missing: Vec<&str> = RULES
        .iter()
        .filter(|rule| !page.contains(&format!("| `{}` | {} |", rule.id, rule.wants)))
        .map(|it| it.id)
        .collect();
    assert!(missing.is_empty(), "docs/task-definitions.md lacks, or says otherwise: {missing:?}");
}
