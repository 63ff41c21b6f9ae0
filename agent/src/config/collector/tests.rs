//! Configurations of the collector as tasks on ECS have them.
//!
//! Promises: what comes of each is compared as settings, not as text.
//! Never: opens a socket.

use super::{
    image::{APP, FILES, TASK, TRACES},
    *,
};
use crate::{
    config::{self, Config, Sources},
    fluentbit::InMemory,
    traces::settings as traces,
};

fn load(variables: &[(&str, &str)], file: Option<&str>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let environment = variables.iter().copied().collect();
    let files = InMemory::one("elsewhere", "");
    config::load(&Sources { file: file.map(Into::into), environment, files: &files })
}

fn loaded(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = load(&[("AOT_CONFIG_CONTENT", text), ("KEY", "k-1")], None).expect("it is understood");
    (config, warnings.iter().map(ToString::to_string).collect())
}

/// A configuration of an ordinary task, with much that has no meaning here.
const USUAL: &str = "\
receivers:
  otlp:
    protocols:
      grpc: {endpoint: 0.0.0.0:4317}
      http: {endpoint: ':4318'}
  awsxray: {endpoint: '0.0.0.0:2000', transport: udp}
  zipkin: {}
processors:
  batch/traces: {timeout: 1s}
  attributes/env: {actions: []}
exporters:
  awsxray: {region: eu-west-1, indexed_attributes: [user, tenant]}
  otlp/vendor: {endpoint: 'otlp.example.com:4317', headers: {x-api.key: '${env:KEY}'}, tls: {insecure: false}}
  otlphttp/aws:
    traces_endpoint: https://xray.eu-west-1.amazonaws.com/v1/traces
    auth: {authenticator: sigv4auth}
  debug: {}
  kafka: {}
extensions:
  sigv4auth: {service: xray, region: '${REGION:-eu-central-1}'}
  health_check: {}
  pprof: {}
service:
  extensions: [health_check, sigv4auth, pprof]
  telemetry: {logs: {level: debug}}
  pipelines:
    traces:
      receivers: [otlp, awsxray, zipkin]
      processors: [batch/traces, attributes/env]
      exporters: [awsxray, otlp/vendor, otlphttp/aws, debug, kafka]
    traces/again:
      receivers: [otlp]
      processors: [attributes/env]
      exporters: []
";

#[test]
fn receivers_and_exporters_of_pipelines_become_inputs_and_outputs() {
    let (config, warnings) = loaded(USUAL);
    let [traces::Input::Otlp(otlp), traces::Input::Xray(xray)] = &config.traces.inputs[..] else {
        panic!("{:?}", config.traces.inputs)
    };
    assert_eq!(otlp.addresses().map(|address| address.to_string()), ["0.0.0.0:4317", "0.0.0.0:4318"]);
    assert_eq!(xray.address().to_string(), "0.0.0.0:2000");
    let [to_x_ray, to_vendor, to_aws] = &config.traces.outputs[..] else { panic!("{:?}", config.traces.outputs) };
    let traces::Destination::Xray(x_ray) = &to_x_ray.to else { panic!("{to_x_ray:?}") };
    assert_eq!(
        (x_ray.region.as_deref(), &x_ray.indexed_attributes[..]),
        (Some("eu-west-1"), &["user".to_owned(), "tenant".to_owned()][..])
    );
    let traces::Destination::Otlp(vendor) = &to_vendor.to else { panic!("{to_vendor:?}") };
    assert_eq!(vendor.endpoint.as_deref(), Some("https://otlp.example.com:4317"));
    assert_eq!(vendor.headers["x-api.key"].expose(), "k-1");
    let traces::Destination::Otlp(aws) = &to_aws.to else { panic!("{to_aws:?}") };
    assert_eq!(aws.traces_endpoint.as_deref(), Some("https://xray.eu-west-1.amazonaws.com/v1/traces"));
    assert_eq!(aws.aws.as_ref().and_then(|aws| aws.region.as_deref()), Some("eu-central-1"));
    assert_eq!(config.admin.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:13133"));
    assert!(config.logs.inputs.is_empty(), "nobody asked for logs");
    let about = |what: &str| warnings.iter().filter(|warning| warning.contains(what)).count();
    let named = [
        "AOT_CONFIG_CONTENT:28 zipkin: this receiver",
        "attributes/env: this processor",
        "kafka: this exporter",
        "pprof: this extension",
    ];
    assert_eq!(named.map(about), [1, 1, 1, 1], "{warnings:#?}");
}

#[test]
fn files_of_the_image_are_known_by_their_names() {
    for (name, parts) in FILES {
        let path = format!("/etc/ecs/{name}");
        let (config, warnings) = load(&[], Some(&path)).expect("it is known");
        assert_eq!(config.traces.inputs.len(), if parts.contains(&TRACES) { 2 } else { 0 }, "{name}");
        let of_metrics = [(APP, 2), (TASK, 1)]
            .iter()
            .filter(|(part, _)| parts.contains(part))
            .map(|(_, inputs)| inputs)
            .sum::<usize>();
        assert_eq!(config.metrics.inputs.len(), of_metrics, "{name}");
        // One for each service, whatever the number of pipelines: each input goes to every output.
        assert_eq!(
            (config.traces.outputs.len(), config.metrics.outputs.len()),
            (usize::from(parts.contains(&TRACES)), usize::from(parts.contains(&TASK))),
            "{name}"
        );
        // Who reaches the task's address reaches the ports, as with ADOT.
        let others: Vec<_> = warnings
            .iter()
            .map(ToString::to_string)
            .filter(|warning| !warning.contains("loopback") && !warning.contains("everybody who reaches"))
            .collect();
        assert_eq!(others, Vec::<String>::new(), "{name}");
    }
    assert!(load(&[], Some("/etc/ecs/other.yaml")).is_err());
}

#[test]
fn metrics_get_the_namespace_of_their_pipeline() {
    let (config, warnings) = loaded(
        "receivers: {statsd: {endpoint: ':8125'}}\nexporters: {awsemf: {namespace: Shop, region: eu-west-1}}\n\
         service: {pipelines: {metrics: {receivers: [statsd], exporters: [awsemf]}}}\n",
    );
    let crate::metrics::settings::Input::Statsd(statsd) = &config.metrics.inputs[0] else {
        panic!("{:?}", config.metrics.inputs)
    };
    assert_eq!(
        (statsd.publish.namespace.as_deref(), &statsd.publish.dimensions[..]),
        (Some("Shop"), &["*".to_owned()][..])
    );
    assert_eq!(statsd.udp_address().map(|address| address.to_string()).as_deref(), Some("0.0.0.0:8125"));
    assert_eq!(config.metrics.outputs.len(), 1);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

/// With an output for each pipeline everything would be sent twice, and sums would be twice what was counted.
#[test]
fn pipelines_that_send_to_one_place_have_one_output() {
    let text = |exporters: &str, pipelines: [&str; 2]| {
        let [first, second] = pipelines;
        format!(
            "receivers: {{statsd: {{}}, awsecscontainermetrics: {{}}, otlp: {{}}}}\nexporters: {{{exporters}}}\n\
             service: {{pipelines: {{metrics/app: {{receivers: [statsd], exporters: [{first}]}}, \
             metrics/task: {{receivers: [awsecscontainermetrics], exporters: [{second}]}}}}}}\n"
        )
    };
    let two = "awsemf/app: {namespace: Shop}, awsemf/task: {namespace: Task}";
    let far = "awsemf/app: {namespace: Shop}, awsemf/task: {namespace: Task, region: eu-west-1}";
    let other_role = "awsemf/app: {role_arn: 'arn:aws:iam::123456789012:role/a'}, awsemf/task: {}";
    let backend = "otlp/one: {endpoint: 'one:4317'}, otlp/two: {endpoint: 'two:4317'}, awsemf: {}";
    for (exporters, pipelines, outputs, is_told) in [
        (two, ["awsemf/app", "awsemf/task"], 1, false),
        (two, ["awsemf/app", "awsemf/app"], 1, false),
        (far, ["awsemf/app", "awsemf/task"], 2, true),
        (other_role, ["awsemf/app", "awsemf/task"], 2, true),
        (backend, ["otlp/one", "otlp/one"], 1, false),
        (backend, ["otlp/one", "otlp/two"], 2, true),
        (backend, ["otlp/one, awsemf", "otlp/one"], 2, true),
        (backend, ["otlp/one, otlp/two", "otlp/two, otlp/one"], 2, false),
    ] {
        let (config, warnings) = loaded(&text(exporters, pipelines));
        let told = warnings.iter().filter(|warning| warning.contains("is not kept apart")).count();
        assert_eq!(
            (config.metrics.outputs.len(), told),
            (outputs, usize::from(is_told)),
            "{pipelines:?}: {warnings:#?}"
        );
        assert_eq!(config.metrics.inputs.len(), 2, "{pipelines:?}");
    }
    let (config, _) = loaded(&text(two, ["awsemf/app", "awsemf/task"]));
    let namespaces: Vec<_> = config.metrics.inputs.iter().map(|input| input.namespace().unwrap_or_default()).collect();
    assert_eq!(namespaces, ["Shop", "Task"], "each its own");
}

/// The collector has an address for each; we have one for both.
#[test]
fn a_second_address_for_metrics_and_health_is_told() {
    let (config, warnings) = loaded(
        "receivers: {statsd: {}}\nexporters: {prometheus: {endpoint: '127.0.0.1:8889'}}\nextensions: {health_check: {}}\n\
         service: {extensions: [health_check], pipelines: {metrics: {receivers: [statsd], exporters: [prometheus]}}}\n",
    );
    assert_eq!(config.admin.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:13133"));
    assert_eq!(
        warnings,
        [
            "warning: AOT_CONFIG_CONTENT:4 health_check: takes the place of `127.0.0.1:8889`; metrics and health are both at `127.0.0.1:13133`"
        ]
    );
}

#[test]
fn odd_configurations_are_answered() {
    for text in [
        "receivers: {}\nservice: {}\n",
        "receivers: 7\nservice: {pipelines: [traces]}\n",
        "exporters: {}\nservice: {pipelines: {traces: {receivers: otlp, exporters: [{}, [], ~, otlp]}}}\n",
        "receivers: {}\nservice: {pipelines: {profiles: {}, '': {}, metrics/: {receivers: ['', '/', 'prometheus/x']}}}\n",
        "receivers: {prometheus: {config: {scrape_configs: [7, {static_configs: [{targets: []}]}]}}}\nservice: {pipelines: {metrics: {receivers: [prometheus]}}}\n",
        "receivers: {statsd: {}}\nexporters: {awsemf: {metric_declarations: [7, [], {metric_name_selectors: a}, {metric_name_selectors: ['', '{}', [], ~], \
         dimensions: [a, [], [[]], ['']], label_matchers: [7, {}, {label_names: [''], regex: '('}]}]}}\n\
         service: {pipelines: {metrics: {receivers: [statsd], exporters: [awsemf]}}}\n",
        "exporters: {otlp: {endpoint: '${env:NONE', headers: {'': x, a.b: 7}}}\nservice: {pipelines: {traces: {receivers: [], exporters: [otlp]}}}\n",
    ] {
        // No panic, and every problem has a place.
        let problems = match load(&[("AOT_CONFIG_CONTENT", text)], None) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        assert!(problems.iter().all(|problem| !problem.place.is_empty()), "{text}: {problems:?}");
    }
}
