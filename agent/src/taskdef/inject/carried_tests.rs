//! AWS's collector and the CloudWatch agent, replaced.
//!
//! Promises: what is put in does what they did; what cannot be carried over keeps its sidecar, with the reason.
//! Never: sends anything; `tests/` and the stories of the metrics job do.

use std::time::Duration;

use super::{
    tests::{at, document, injected, options, removed},
    *,
};
use crate::{
    config::Config,
    logs::settings as logs,
    metrics::settings as metrics,
    taskdef::{
        iam::{self, Account},
        lint, read,
    },
};

/// The task with four sidecars, and this one in the place of its collector.
fn with_sidecar(image: &str, more: &str) -> String {
    let text = document("four-sidecars");
    let start = text.find("    {\n      \"name\": \"collector\"").expect("the last container");
    format!(
        "{}    {{\n      \"name\": \"collector\",\n      \"image\": \"{image}\",\n      \"cpu\": 160,\n      \"memoryReservation\": 256{more}\n    }}\n  ]\n}}\n",
        &text[..start]
    )
}

fn agent(content: &str) -> String {
    let content = serde_json::to_string(content).expect("text");
    with_sidecar(
        "public.ecr.aws/cloudwatch-agent/cloudwatch-agent:1.300057",
        &format!(",\n      \"environment\": [{{ \"name\": \"CW_CONFIG_CONTENT\", \"value\": {content} }}]"),
    )
}

fn collector(more: &str) -> String {
    with_sidecar("public.ecr.aws/aws-observability/aws-otel-collector:v0.43.0", more)
}

/// What pillion starts with in the task that inject makes of `text`, and what was told.
fn started(text: &str) -> (Config, String, String) {
    let changed = inject(text.as_bytes(), &options()).expect("a task definition");
    let (document, places) = read(changed.text.as_bytes()).expect("a task definition");
    let task = places[0].task(&document.root).expect("a task");
    assert!(task.container("collector").is_none(), "{}", changed.reports[0]);
    let ours = task.container("pillion").expect("our container");
    let (config, warnings) = iam::loaded(task, ours, &Account::of(task)).expect("it starts");
    assert!(warnings.is_empty(), "{warnings:?}");
    let new = |finding: &lint::Finding| finding.place.contains("pillion");
    let findings = lint::lint(changed.text.as_bytes()).expect("a task definition");
    assert_eq!(findings.iter().filter(|finding| new(finding)).collect::<Vec<_>>(), Vec::<&lint::Finding>::new());
    assert_eq!(removed(&changed.text), text);
    assert_eq!(injected(&changed.text, &options()), changed.text);
    (config, at(&changed.text, "containerDefinitions/shop/environment"), changed.reports[0].to_string())
}

#[test]
fn what_a_cloudwatch_agent_took_comes_in_here() {
    let (config, variables, told) = started(&agent(
        r#"{"logs": {"metrics_collected": {"emf": {}}}, "metrics": {"namespace": "Shop", "metrics_collected": {"statsd": {"service_address": ":8126"}}},
            "traces": {"traces_collected": {"xray": {}, "otlp": {}}}}"#,
    ));
    let emf = config.logs.inputs.iter().find_map(|input| match input {
        logs::Input::Emf(emf) => Some(emf),
        _ => None,
    });
    let emf = emf.expect("an input of documents");
    assert_eq!(emf.tcp_address().map(|it| it.to_string()).as_deref(), Some("127.0.0.1:25888"));
    // What takes documents takes nothing else of the logs, and none of ECS's outputs takes documents.
    let takes = |tag: &str| -> Vec<&str> {
        config.logs.outputs.iter().filter(|output| output.pattern.fits(tag)).map(|output| output.to.kind()).collect()
    };
    assert_eq!(takes(emf.tag()), ["cloudwatch"]);
    assert_eq!(takes("shop-firelens-0123"), ["cloudwatch"]);
    let documents = config.logs.outputs.iter().find(|output| output.pattern.fits(emf.tag()));
    let logs::Destination::Cloudwatch(to) = &documents.expect("an output").to else { panic!("to CloudWatch") };
    assert_eq!((to.group.as_deref(), to.auto_create_group), (Some("emf/logs/default"), true));

    let [metrics::Input::Statsd(statsd)] = config.metrics.inputs.as_slice() else {
        panic!("{:?}", config.metrics.inputs)
    };
    assert_eq!(statsd.udp_address().map(|it| it.to_string()).as_deref(), Some("127.0.0.1:8126"));
    assert_eq!(config.metrics.outputs.len(), 1);
    assert_eq!(config.traces.inputs.len(), 2);
    assert!(variables.contains(r#"{"name":"AWS_EMF_AGENT_ENDPOINT","value":"tcp://127.0.0.1:25888"}"#), "{variables}");
    assert!(
        variables.contains(r#"{"name":"OTEL_EXPORTER_OTLP_ENDPOINT","value":"http://127.0.0.1:4318"}"#),
        "{variables}"
    );
    for line in [
        "took out `collector`, the CloudWatch agent: 160 CPU units, 256 MiB",
        "metrics go to CloudWatch from here, in the namespaces Shop",
        "documents of the embedded metric format that name no log group go to `emf/logs/default`",
        "the task role needs other rights for that than the sidecar did: see `pillion iam`",
    ] {
        assert!(told.lines().any(|said| said.trim() == line), "{line}\n{told}");
    }
}

#[test]
fn documents_alone_are_what_most_agents_are_there_for() {
    let (config, variables, _) =
        started(&agent(r#"{"logs":{"metrics_collected":{"emf":{"service_address":"udp://127.0.0.1:25888"}}}}"#));
    assert!(variables.contains(r#""AWS_EMF_AGENT_ENDPOINT","value":"udp://127.0.0.1:25888""#), "{variables}");
    // What is put in anyway is there too.
    assert_eq!((config.traces.inputs.len(), config.metrics.inputs.len(), config.metrics.outputs.len()), (2, 1, 0));
}

#[test]
fn the_files_of_the_collectors_image_do_here_what_they_do_there() {
    for (file, inputs, outputs, traces) in [
        ("ecs-default-config.yaml", 3, 1, 2),
        ("ecs-cloudwatch.yaml", 3, 1, 2),
        ("ecs-cloudwatch-xray.yaml", 3, 1, 2),
        ("container-insights/otel-task-metrics-config.yaml", 3, 1, 2),
        ("ecs-xray.yaml", 1, 0, 2),
    ] {
        let (config, _, told) = started(&collector(&format!(",\n      \"command\": [\"--config=/etc/ecs/{file}\"]")));
        assert_eq!(
            (config.metrics.inputs.len(), config.metrics.outputs.len(), config.traces.inputs.len()),
            (inputs, outputs, traces),
            "{file}"
        );
        let Some(metrics::Input::Task(task)) =
            config.metrics.inputs.iter().find(|it| matches!(it, metrics::Input::Task(_)))
        else {
            assert_eq!(file, "ecs-xray.yaml");
            continue;
        };
        assert_eq!(task.every.map(|every| every.0), Some(Duration::from_secs(20)), "{file}");
        assert!(told.contains("in the namespaces ECS/AWSOTel/Application, ECS/ContainerInsights"), "{told}");
    }
}

/// Its own configuration, with what clients are told where it listens elsewhere.
#[test]
fn a_configuration_of_ones_own_is_carried_over_if_all_of_it_is_known() {
    let own = "receivers: {otlp: {protocols: {http: {endpoint: ':14318'}, grpc: {endpoint: ':14317'}}}}\nexporters: {awsemf: {namespace: Mine}}\nservice: {pipelines: {metrics: {receivers: [otlp], exporters: [awsemf]}}}\n";
    let content = serde_json::to_string(own).expect("text");
    let (config, variables, _) = started(&collector(&format!(
        ",\n      \"environment\": [{{ \"name\": \"AOT_CONFIG_CONTENT\", \"value\": {content} }}]"
    )));
    assert_eq!((config.metrics.inputs.len(), config.metrics.outputs.len()), (2, 1));
    // Spans come where they came before: the collector took none, so that the usual port is for them.
    assert!(variables.contains("http://127.0.0.1:4318"), "{variables}");
}

#[test]
fn what_cannot_be_carried_over_keeps_its_sidecar() {
    let variable = |name: &str, text: &str| {
        format!(
            ",\n      \"environment\": [{{ \"name\": \"{name}\", \"value\": {} }}]",
            serde_json::to_string(text).expect("text")
        )
    };
    let secret =
        |name: &str| format!(",\n      \"secrets\": [{{ \"name\": \"{name}\", \"valueFrom\": \"/shop/agent\" }}]");
    let own = |exporter: &str| {
        format!(
            "receivers: {{otlp: {{}}}}\nexporters: {{{exporter}: {{}}}}\nservice: {{pipelines: {{traces: {{receivers: [otlp], exporters: [{exporter}]}}}}}}\n"
        )
    };
    let records = "receivers: {otlp: {}}\nexporters: {awscloudwatchlogs: {}}\nservice: {pipelines: {logs: {receivers: [otlp], exporters: [awscloudwatchlogs]}}}\n";
    for (text, why) in [
        (collector(""), "it has no `--config`"),
        (
            collector(",\n      \"command\": [\"--config=/etc/ecs/ecs-amp.yaml\"]"),
            "`/etc/ecs/ecs-amp.yaml` is not carried over",
        ),
        (collector(",\n      \"command\": [\"--config=/mine.yaml\"]"), "`/mine.yaml` is not carried over"),
        (collector(&secret("AOT_CONFIG_CONTENT")), "AOT_CONFIG_CONTENT asks for is not seen here"),
        (
            collector(&variable("AOT_CONFIG_CONTENT", &own("datadog"))),
            "AOT_CONFIG_CONTENT:3 datadog: this exporter is not known here",
        ),
        (collector(&variable("AOT_CONFIG_CONTENT", "a: [")), "AOT_CONFIG_CONTENT"),
        (collector(&variable("AOT_CONFIG_CONTENT", "a: b")), "is no configuration that is known here"),
        (
            collector(&variable(
                "AOT_CONFIG_CONTENT",
                &own("otlp").replace("otlp: {}}", "otlp: {headers: {k: '${KEY}'}}}"),
            )),
            "is filled in by variables",
        ),
        (collector(&variable("AOT_CONFIG_CONTENT", records)), "it takes log records by OTLP"),
        (
            agent(r#"{"metrics": {"metrics_collected": {"cpu": {}, "statsd": {}}}}"#),
            "metrics_collected.cpu: is not collected here",
        ),
        (
            agent(r#"{"logs": {"logs_collected": {"files": {}}, "metrics_collected": {"emf": {}}}}"#),
            "logs_collected: no files are read here",
        ),
        (agent("not json: ["), "CW_CONFIG_CONTENT"),
        (
            with_sidecar("amazon/cloudwatch-agent:1", &secret("CW_CONFIG_CONTENT")),
            "CW_CONFIG_CONTENT asks for is not seen here",
        ),
        (with_sidecar("amazon/cloudwatch-agent:1", ""), "CW_CONFIG_CONTENT asks for is not seen here"),
    ] {
        let changed = inject(text.as_bytes(), &options()).expect("a task definition");
        let told = changed.reports[0].care.iter().find(|problem| problem.place == "collector");
        let told = told.unwrap_or_else(|| panic!("{why}: {}", changed.reports[0]));
        assert!(told.what.contains(why), "{why}: {}", told.what);
        assert!(at(&changed.text, "containerDefinitions/collector").contains("\"name\":\"collector\""));
        let ours = at(&changed.text, "containerDefinitions/pillion/environment");
        assert!(
            !ours.contains("__OTLP__") && !ours.contains("__EMF__") && !ours.contains("__STATSD__"),
            "{why}: {ours}"
        );
        // Whoever names it decides otherwise, and gets what is put in anyway.
        let forced = injected(&text, &Options { replace: vec!["collector".to_owned()], ..options() });
        assert!(at(&forced, "containerDefinitions/pillion/environment").contains("__OTLP__"), "{why}");
        assert_eq!(removed(&forced), text);
    }
}
