//! Policies of whole task definitions.
//!
//! Promises: each feature adds its statement, and without it the statement is not there.
//! Never: asks IAM; `tests/` evaluates policies against moto.

use super::{policy::without_fields, *};
use crate::taskdef::{inject, read};

const WEB: &str = include_str!("../../../testdata/taskdef/web-awslogs.json");

fn policy(text: &str, key: Option<&str>) -> Vec<Statement> {
    let (document, places) = read(text.as_bytes()).expect("a task definition");
    let task = places[0].task(&document.root).expect("a task");
    let account = Account::of(task);
    let (config, _) = loaded(task, ours(task).expect("our container"), &account).expect("it starts");
    task_role(&config, &account, key)
}

fn with_files() -> String {
    let options = inject::Options {
        image: "pillion:0.1.0".to_owned(),
        secrets: inject::SecretsAs::Files,
        ..inject::Options::default()
    };
    inject::inject(WEB.as_bytes(), &options).expect("a task definition").text
}

#[test]
fn the_task_role_may_do_what_is_configured_and_nothing_else() {
    insta::assert_snapshot!(document(&policy(&with_files(), None)), @r#"
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "DeliverLogs",
          "Effect": "Allow",
          "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
          "Resource": ["arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/web:*"]
        },
        {
          "Sid": "DeliverSegments",
          "Effect": "Allow",
          "Action": ["xray:PutTraceSegments"],
          "Resource": ["*"]
        },
        {
          "Sid": "AskForSampling",
          "Effect": "Allow",
          "Action": ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries"],
          "Resource": ["*"]
        },
        {
          "Sid": "ReadSecrets",
          "Effect": "Allow",
          "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
          "Resource": ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"]
        },
        {
          "Sid": "ReadParameters",
          "Effect": "Allow",
          "Action": ["ssm:GetParameters"],
          "Resource": ["arn:aws:ssm:eu-west-1:123456789012:parameter/web/flag"]
        }
      ]
    }
    "#);
}

#[test]
fn the_execution_role_may_do_what_starts_the_task() {
    let (document_of, places) = read(WEB.as_bytes()).expect("a task definition");
    let task = places[0].task(&document_of.root).expect("a task");
    let statements = execution_role(task, &Account::of(task), None);
    insta::assert_snapshot!(document(&statements), @r#"
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "PullToken",
          "Effect": "Allow",
          "Action": ["ecr:GetAuthorizationToken"],
          "Resource": ["*"]
        },
        {
          "Sid": "PullImages",
          "Effect": "Allow",
          "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
          "Resource": ["arn:aws:ecr:eu-west-1:123456789012:repository/web"]
        },
        {
          "Sid": "WriteLogs",
          "Effect": "Allow",
          "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
          "Resource": ["arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/web:*"]
        },
        {
          "Sid": "ReadSecrets",
          "Effect": "Allow",
          "Action": ["secretsmanager:GetSecretValue"],
          "Resource": ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"]
        },
        {
          "Sid": "ReadParameters",
          "Effect": "Allow",
          "Action": ["ssm:GetParameters"],
          "Resource": ["arn:aws:ssm:eu-west-1:123456789012:parameter/web/flag"]
        }
      ]
    }
    "#);
}

/// A container whose variables are these settings, and what that lets it do.
fn of_settings(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let environment: Vec<String> =
        settings.iter().map(|(name, value)| format!("{{\"name\": {name:?}, \"value\": {value:?}}}")).collect();
    let text = format!(
        "{{\"taskRoleArn\": \"arn:aws-cn:iam::123456789012:role/x\", \"containerDefinitions\": [{{\"name\": \"p\", \"image\": \"pillion:1\", \"environment\": [{}]}}]}}",
        environment.join(",")
    );
    let account_key = Some("arn:aws:kms:r:1:key/k");
    policy(&text, account_key)
        .into_iter()
        .flat_map(|statement| {
            let resources: Vec<String> = statement.resources.into_iter().collect();
            statement.actions.into_iter().map(move |action| (action.to_owned(), resources.join(" ")))
        })
        .collect()
}

#[test]
fn each_feature_adds_its_rights_on_the_narrowest_resource() {
    let content = "PILLION_CONFIG_CONTENT";
    let logs = |more: &str| format!("logs: {{outputs: [{{to: {{cloudwatch: {{stream: s, {more}}}}}}}]}}");
    let secret = |from: &str| format!("secrets: {{folder: /s, items: [{{name: a, from: {from}}}]}}");
    let group = "arn:aws-cn:logs:REGION:123456789012:log-group:";
    let cases: Vec<(String, Vec<(&str, String)>)> = vec![
        ("logs: {inputs: []}".to_owned(), vec![]),
        ("logs: {outputs: [{to: discard}]}".to_owned(), vec![]),
        (logs("group: /a, region: cn-north-1"), vec![
            ("logs:CreateLogStream", "arn:aws-cn:logs:cn-north-1:123456789012:log-group:/a:*".to_owned()),
            ("logs:PutLogEvents", "arn:aws-cn:logs:cn-north-1:123456789012:log-group:/a:*".to_owned()),
        ]),
        (logs("group: /a/x, group_template: \"/a/$ecs_cluster-x$TAG[1].y\""), vec![
            ("logs:CreateLogStream", format!("{group}/a/*-x* {group}/a/x:*").replace("-x* ", "-x*:* ")),
            ("logs:PutLogEvents", format!("{group}/a/*-x*:* {group}/a/x:*")),
        ]),
        (logs("group: /a, auto_create_group: true, retention_days: 7"), vec![
            ("logs:CreateLogStream", format!("{group}/a:*")),
            ("logs:PutLogEvents", format!("{group}/a:*")),
            ("logs:CreateLogGroup", format!("{group}/a:*")),
            ("logs:PutRetentionPolicy", format!("{group}/a:*")),
        ]),
        (logs("group: /a, role_arn: \"arn:aws:iam::1:role/r\""), vec![("sts:AssumeRole", "arn:aws:iam::1:role/r".to_owned())]),
        ("traces: {inputs: [otlp: {}]}".to_owned(), vec![("xray:PutTraceSegments", "*".to_owned())]),
        ("traces: {inputs: [xray: {tcp: \"off\"}]}".to_owned(), vec![("xray:PutTraceSegments", "*".to_owned())]),
        ("traces: {inputs: [otlp: {}], outputs: [to: {otlp: {aws: {}}}]}".to_owned(), vec![
            ("xray:PutSpans", "*".to_owned()),
            ("xray:PutSpansForIndexing", "*".to_owned()),
            ("xray:GetTraceSegmentDestination", "*".to_owned()),
        ]),
        ("traces: {inputs: [otlp: {}], outputs: [to: {otlp: {endpoint: \"http://x\"}}]}".to_owned(), vec![]),
        (
            "traces: {inputs: [xray: {}], outputs: [to: {xray: {role_arn: \"arn:aws:iam::1:role/r\"}}]}".to_owned(),
            vec![("sts:AssumeRole", "arn:aws:iam::1:role/r".to_owned())],
        ),
        (secret("{secrets_manager: {id: prod/db, region: cn-north-1}}"), vec![
            ("secretsmanager:DescribeSecret", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/db-??????".to_owned()),
            ("secretsmanager:GetSecretValue", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/db-??????".to_owned()),
            ("kms:Decrypt", "arn:aws:kms:r:1:key/k".to_owned()),
        ]),
        (secret("{parameter: {name: \"/a/b:3\"}}"), vec![
            ("ssm:GetParameters", "arn:aws-cn:ssm:REGION:123456789012:parameter/a/b".to_owned()),
            ("kms:Decrypt", "arn:aws:kms:r:1:key/k".to_owned()),
        ]),
        (secret("{parameters: {path: /a}}"), vec![
            ("ssm:GetParametersByPath", "arn:aws-cn:ssm:REGION:123456789012:parameter/a".to_owned()),
            ("ssm:GetParameters", "arn:aws-cn:ssm:REGION:123456789012:parameter/a/*".to_owned()),
            ("kms:Decrypt", "arn:aws:kms:r:1:key/k".to_owned()),
        ]),
        (secret("{file: /x}"), vec![]),
        ("metrics: {inputs: [statsd: {}]}".to_owned(), vec![]),
        (
            "metrics: {inputs: [statsd: {}], outputs: [to: {cloudwatch: {}}]}".to_owned(),
            vec![("cloudwatch:PutMetricData", "*".to_owned())],
        ),
        (
            "metrics: {inputs: [statsd: {}], outputs: [to: {otlp: {aws: {}}}]}".to_owned(),
            vec![("cloudwatch:PutMetricData", "*".to_owned())],
        ),
        ("metrics: {inputs: [statsd: {}], outputs: [to: {otlp: {endpoint: \"http://x\"}}]}".to_owned(), vec![]),
        ("metrics: {inputs: [emf: {}], outputs: [to: {cloudwatch: {}}]}".to_owned(), vec![]),
        (
            "metrics: {inputs: [emf: {deliver: metrics}], outputs: [to: {cloudwatch: {}}]}".to_owned(),
            vec![("cloudwatch:PutMetricData", "*".to_owned())],
        ),
        (format!("{}, inputs: [emf: {{routing: output, log_group: /m}}]}}", logs("group: /a").trim_end_matches('}')), vec![
            ("logs:CreateLogStream", format!("{group}/a:* {group}/m:*")),
            ("logs:PutLogEvents", format!("{group}/a:* {group}/m:*")),
        ]),
        (format!("{}, inputs: [emf: {{}}]}}", logs("group: /a").trim_end_matches('}')), vec![
            ("logs:CreateLogStream", format!("{group}*:* {group}/a:*")),
            ("logs:PutLogEvents", format!("{group}*:* {group}/a:*")),
        ]),
        ("metrics: {inputs: [scrape: {}, task: {}, queue: {sqs: \"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q\", cluster: c, service: s}]}".to_owned(), vec![
            ("sqs:GetQueueAttributes", "arn:aws-cn:sqs:cn-north-1:123456789012:q".to_owned()),
            ("ecs:DescribeServices", "arn:aws-cn:ecs:REGION:123456789012:service/c/s".to_owned()),
        ]),
        ("secrets: {folder: /s, api: {prefetch: [{tag: Team}]}}".to_owned(), vec![("secretsmanager:ListSecrets", "*".to_owned())]),
        ("secrets: {folder: /s, hints: {sqs: \"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q\"}, items: [{name: a, from: {file: /x}}]}".to_owned(), vec![
            ("sqs:ReceiveMessage", "arn:aws-cn:sqs:cn-north-1:123456789012:q".to_owned()),
            ("sqs:DeleteMessage", "arn:aws-cn:sqs:cn-north-1:123456789012:q".to_owned()),
        ]),
    ];
    for (configuration, expected) in cases {
        let expected: Vec<(String, String)> =
            expected.into_iter().map(|(action, on)| (action.to_owned(), on)).collect();
        assert_eq!(of_settings(&[(content, &configuration)]), expected, "{configuration}");
    }
    let sampling = of_settings(&[(content, "traces: {inputs: [xray: {}]}")]);
    assert_eq!(sampling.len(), 4, "{sampling:?}");
}

/// Who is elected is seen in the list of tasks; documents that metrics send go to groups of their own.
#[test]
fn elected_tasks_and_documents_of_metrics_have_their_rights() {
    let elected =
        "metrics: {inputs: [queue: {sqs: \"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q\", publishers: 2}]}";
    let right = |action: &str, on: &str| (action.to_owned(), on.to_owned());
    assert_eq!(
        of_settings(&[("PILLION_CONFIG_CONTENT", elected)]),
        [right("sqs:GetQueueAttributes", "arn:aws-cn:sqs:cn-north-1:123456789012:q"), right("ecs:ListTasks", "*")]
    );
    let documents = "logs: {outputs: [{to: {cloudwatch: {stream: s, group: /a}}}]}\n\
                     metrics: {inputs: [task: {performance_events: {}}], outputs: [to: {emf: {group: /m}}]}";
    let groups = ["/a", "/aws/ecs/containerinsights/*/performance", "/m"]
        .map(|group| format!("arn:aws-cn:logs:REGION:123456789012:log-group:{group}:*"))
        .join(" ");
    assert_eq!(
        of_settings(&[("PILLION_CONFIG_CONTENT", documents)]),
        [right("logs:CreateLogStream", &groups), right("logs:PutLogEvents", &groups)]
    );
}

#[test]
fn a_name_with_fields_matches_all_that_it_may_become() {
    for (name, pattern) in [
        ("/ecs/web", "/ecs/web"),
        ("/ecs/$(ecs_cluster)", "/ecs/*"),
        ("$(tag[0])-$(ecs_task_id)-x", "*-*-x"),
        ("/a/$kubernetes['name']/b", "/a/*/b"),
        ("$TAG", "*"),
        ("a$", "a*"),
        ("$(unclosed", "*"),
    ] {
        assert_eq!(without_fields(name), pattern, "{name}");
    }
}
