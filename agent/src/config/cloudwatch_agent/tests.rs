//! Configurations of the CloudWatch agent as tasks on ECS have them.
//!
//! Promises: what comes of each is compared as settings, not as text.
//! Never: opens a socket.

use proptest::prelude::*;

use super::*;
use crate::{
    config::{self, Config, Sources},
    fluentbit::InMemory,
    logs::settings as logs,
    metrics::{relabel::Rules, settings as metrics},
    traces::settings as traces,
};

const PROMETHEUS: &str = "global: {scrape_interval: 1m}
scrape_configs:
  - job_name: shop
    metrics_path: /prom
    static_configs: [{targets: ['127.0.0.1:9404', '127.0.0.1:9405']}]
";

fn load(text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let variables = [("CW_CONFIG_CONTENT", text), ("PROMETHEUS_CONFIG_CONTENT", PROMETHEUS)];
    let files = InMemory::one("elsewhere", "");
    let sources = Sources { file: None, environment: variables.into_iter().collect(), files: &files };
    let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
    config::load(&sources).map(|(config, warnings)| (config, told(warnings))).map_err(told)
}

fn loaded(text: &str) -> (Config, Vec<String>) {
    load(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// With a tab, which YAML would not take, and with much that has no meaning here.
const USUAL: &str = r#"{
	"agent": {"region": "eu-west-1", "debug": true, "metrics_collection_interval": 60, "credentials": {"role_arn": "arn:aws:iam::1:role/a"}, "odd": 1},
	"metrics": {
		"namespace": "Shop",
		"append_dimensions": {"InstanceId": "${aws:InstanceId}"},
		"force_flush_interval": 30,
		"metrics_collected": {
			"statsd": {"service_address": ":8125", "metrics_collection_interval": 10, "metrics_aggregation_interval": 60},
			"otlp": [{"grpc_endpoint": "0.0.0.0:4317", "http_endpoint": "0.0.0.0:4318"}],
			"cpu": {"measurement": ["cpu_usage_idle"]}
		}
	},
	"logs": {
		"endpoint_override": "vpce-1.logs.eu-west-1.vpce.amazonaws.com",
		"log_stream_name": "{instance_id}",
		"metrics_collected": {"emf": {"service_address": "udp://127.0.0.1:25888"}, "application_signals": {}},
		"logs_collected": {"files": {"collect_list": []}}
	},
	"traces": {
		"credentials": {"role_arn": "arn:aws:iam::1:role/b"},
		"traces_collected": {"xray": {"bind_address": "0.0.0.0:2000", "tcp_proxy": {"bind_address": "0.0.0.0:2001"}}, "otlp": {}}
	},
	"other": {}
}"#;

#[test]
fn what_is_collected_becomes_inputs_and_outputs() {
    let (config, warnings) = loaded(USUAL);
    let [metrics::Input::Statsd(statsd), metrics::Input::Otlp(otlp)] = &config.metrics.inputs[..] else {
        panic!("{:?}", config.metrics.inputs)
    };
    assert_eq!(statsd.udp_address().map(|address| address.to_string()).as_deref(), Some("0.0.0.0:8125"));
    let published = |publish: &metrics::Publish| (publish.namespace.clone(), publish.dimensions.clone());
    let expected = (Some("Shop".to_owned()), vec!["*".to_owned()]);
    assert_eq!((published(&statsd.publish), published(&otlp.publish)), (expected.clone(), expected));
    assert_eq!(otlp.listen.addresses().map(|address| address.to_string()), ["0.0.0.0:4317", "0.0.0.0:4318"]);
    assert_eq!(config.metrics.flush_every().as_secs(), 30);
    let [metrics::Output { to: metrics::Destination::Cloudwatch(to), .. }] = &config.metrics.outputs[..] else {
        panic!("{:?}", config.metrics.outputs)
    };
    assert_eq!(to.role_arn.as_deref(), Some("arn:aws:iam::1:role/a"));

    let [logs::Input::Emf(emf)] = &config.logs.inputs[..] else { panic!("{:?}", config.logs.inputs) };
    assert_eq!(emf.udp_address().map(|address| address.to_string()).as_deref(), Some("127.0.0.1:25888"));
    assert_eq!(emf.tcp_address(), None);
    let [logs::Output { to: logs::Destination::Cloudwatch(to), .. }] = &config.logs.outputs[..] else {
        panic!("{:?}", config.logs.outputs)
    };
    assert_eq!((to.group.as_deref(), to.stream.as_deref()), (Some(EMF_GROUP), Some(EMF_STREAM)));
    assert_eq!(to.endpoint.as_deref(), Some("https://vpce-1.logs.eu-west-1.vpce.amazonaws.com"));
    assert!(to.auto_create_group);

    let [traces::Input::Xray(xray), traces::Input::Otlp(_)] = &config.traces.inputs[..] else {
        panic!("{:?}", config.traces.inputs)
    };
    assert_eq!(xray.address().to_string(), "0.0.0.0:2000");
    assert_eq!(xray.tcp_address().map(|address| address.to_string()).as_deref(), Some("0.0.0.0:2001"));
    let [traces::Output { to: traces::Destination::Xray(to), .. }] = &config.traces.outputs[..] else {
        panic!("{:?}", config.traces.outputs)
    };
    assert_eq!(to.role_arn.as_deref(), Some("arn:aws:iam::1:role/b"));
    assert_eq!(config.aws.region.as_deref(), Some("eu-west-1"));

    for what in [
        "CW_CONFIG_CONTENT:2 agent.odd: has no effect",
        "metrics.append_dimensions: has no effect",
        "metrics_collected.cpu: is not collected here",
        "log_stream_name: has places",
        "logs.metrics_collected.application_sign\u{2026}: is not collected here",
        "logs_collected: no files are read here",
        "other: has no effect",
    ] {
        assert_eq!(warnings.iter().filter(|warning| warning.contains(what)).count(), 1, "{what}: {warnings:#?}");
    }
}

#[test]
fn what_prometheus_names_is_scraped() {
    let (config, warnings) = loaded(
        r#"{"logs": {"metrics_collected": {"prometheus": {
            "prometheus_config_path": "env:PROMETHEUS_CONFIG_CONTENT", "ecs_service_discovery": {"sd_frequency": "1m"},
            "emf_processor": {"metric_namespace": "Prom", "metric_declaration": [
                {"dimensions": [["ClusterName", "job"], ["job"]], "source_labels": ["job"], "label_matcher": "^a$", "metric_selectors": ["^x$"]},
                {"dimensions": [["area"]]}]}}}}}"#,
    );
    let scraped: Vec<_> = config
        .metrics
        .inputs
        .iter()
        .map(|input| match input {
            metrics::Input::Scrape(scrape) => {
                // Those of the second declaration are none.
                assert_eq!(scrape.relabel.len(), 5, "{:?}", scrape.relabel);
                assert_eq!(scrape.relabel[1].regex, "(?s:.*)(?:(?:^x$))(?s:.*)");
                assert!(Rules::new(&scrape.relabel).is_ok());
                (scrape.described(), scrape.publish.clone())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(scraped.len(), 3);
    for ((described, publish), target) in
        scraped.iter().zip(["127.0.0.1:9404/prom", "127.0.0.1:9405/prom", "what the containers' labels say"])
    {
        assert!(described.contains(target), "{described}");
        assert_eq!(publish.namespace.as_deref(), Some("Prom"));
        assert_eq!(publish.dimensions, ["ClusterName", "area", "job"]);
    }
    assert_eq!(config.metrics.outputs.len(), 1);
    assert!(config.logs.inputs.is_empty(), "no documents are taken");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("metric_declaration: has the dimensions of all declarations together"))
    );
    assert!(warnings.iter().any(|warning| warning.contains("finds no targets of other tasks")));
}

#[test]
fn addresses_of_documents_are_read_as_the_agent_reads_them() {
    for (given, tcp, udp) in [
        ("", Some("0.0.0.0:25888"), Some("0.0.0.0:25888")),
        ("udp://127.0.0.1:1000", None, Some("127.0.0.1:1000")),
        ("udp:127.0.0.1:1000", None, Some("127.0.0.1:1000")),
        ("tcp://:1000", Some("0.0.0.0:1000"), None),
        (":1000", Some("0.0.0.0:1000"), Some("0.0.0.0:1000")),
    ] {
        let text = format!(r#"{{"logs": {{"metrics_collected": {{"emf": {{"service_address": "{given}"}}}}}}}}"#);
        let (config, _) = loaded(&text);
        let [logs::Input::Emf(emf)] = &config.logs.inputs[..] else { panic!("{:?}", config.logs.inputs) };
        let told = [emf.tcp_address(), emf.udp_address()].map(|address| address.map(|address| address.to_string()));
        assert_eq!(told, [tcp, udp].map(|address| address.map(str::to_owned)), "{given}");
    }
}

/// What is hostile or odd is a problem with a place, or has no effect; nothing of it panics.
#[test]
fn odd_configurations_are_told() {
    for (text, what) in [
        (
            r#"{"metrics": {"metrics_collected": {"statsd": {"service_address": "nowhere"}}}}"#,
            "metrics.inputs.0.statsd.udp",
        ),
        (r#"{"metrics": {"metrics_collected": []}}"#, ""),
        (r#"{"metrics": {"metrics_collected": 7}, "logs": 3, "traces": null}"#, ""),
        (r#"{"metrics": {"metrics_collected": {"statsd": 5}}}"#, ""),
        (
            r#"{"metrics": {"metrics_collected": {"statsd": {}}, "force_flush_interval": "soon"}}"#,
            "metrics.flush_every",
        ),
        (r#"{"metrics": {"metrics_collected": {"statsd": {}}, "namespace": "AWS/mine"}}"#, "begins with `AWS/`"),
        (
            r#"{"logs": {"metrics_collected": {"prometheus": {"prometheus_config_path": "/etc/prometheus.yaml"}}}}"#,
            "prometheus_config_path: is not read",
        ),
        (r#"{"metrics": {"metrics_collected": {"otlp": [{}, {}]}}}"#, "4317"),
        (r#"{"traces": {"traces_collected": {"xray": {"bind_address": "[::1]:99999"}}}}"#, "traces.inputs.0.xray"),
    ] {
        let told = match load(text) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        assert!(told.iter().any(|told| told.contains(what)) || what.is_empty(), "{text}: {told:#?}");
    }
}

#[test]
fn the_file_of_its_image_is_read() {
    for (path, is_read) in
        [("/etc/cwagentconfig", true), ("/etc/cwagentconfig/cwagentconfig.json", true), ("/etc/other", false)]
    {
        let files = InMemory::one(path, USUAL);
        let environment = Environment::default();
        let loaded = config::load(&Sources { file: None, environment, files: &files }).expect("it is understood");
        assert_eq!(loaded.0.metrics.inputs.len(), if is_read { 2 } else { 0 }, "{path}");
    }
}

proptest! {
    /// Parts of a configuration with anything in them.
    #[test]
    fn property_nothing_makes_it_panic(
        section in prop::sample::select(vec!["agent", "metrics", "logs", "traces", "x"]),
        key in prop::sample::select(vec!["metrics_collected", "traces_collected", "logs_collected", "region", "credentials"]),
        inner in prop::sample::select(vec!["statsd", "otlp", "emf", "prometheus", "xray", "cpu"]),
        value in prop::sample::select(vec!["{}", "[]", "[[]]", "null", "1", "\"a\"", "{\"service_address\":[]}", "{\"emf_processor\":{\"metric_declaration\":[1,{\"dimensions\":[\"a\"]}]}}", "[{\"grpc_endpoint\":{}}]"]),
    ) {
        let text = format!(r#"{{"metrics": {{"metrics_collected": {{}}}}, "{section}": {{"{key}": {{"{inner}": {value}}}}}}}"#);
        let _ = load(&text);
    }
}
