//! The files that ADOT's image brings, as configurations of the collector.
//!
//! Promises: each file of the image is known by its path; what is in it are the receivers and exporters that it has there.
//! Never: reads a file.

/// Where ADOT's image has its files.
const FOLDER: &str = "/etc/ecs/";
/// The parts that ADOT's files are made of: receivers and exporters of traces, of the app's metrics, and of the task's own.
pub(super) const TRACES: &str = "    traces:
      receivers: [otlp, awsxray]
      exporters: [awsxray]
";
pub(super) const APP: &str = "    metrics/application:
      receivers: [otlp, statsd]
      exporters: [awsemf/application]
";
pub(super) const TASK: &str = "    metrics:
      receivers: [awsecscontainermetrics]
      exporters: [awsemf/performance]
";
const COMPONENTS: &str = "\
receivers:
  otlp: {protocols: {grpc: {endpoint: '0.0.0.0:4317'}, http: {endpoint: '0.0.0.0:4318'}}}
  awsxray: {endpoint: '0.0.0.0:2000', transport: udp}
  statsd: {endpoint: '0.0.0.0:8125', aggregation_interval: 60s}
  awsecscontainermetrics: {collection_interval: 20s}
exporters:
  awsxray: {}
  awsemf/application: {namespace: ECS/AWSOTel/Application}
  awsemf/performance: {namespace: ECS/ContainerInsights}
service:
  extensions: [health_check]
  pipelines:
";
/// The files, and which parts each has. Those that only write to Amazon Managed Prometheus have none that we do.
pub(super) const FILES: [(&str, &[&str]); 9] = [
    ("ecs-default-config.yaml", &[TRACES, APP, TASK]),
    ("ecs-xray.yaml", &[TRACES]),
    ("ecs-cloudwatch.yaml", &[APP, TASK]),
    ("ecs-cloudwatch-xray.yaml", &[TRACES, APP, TASK]),
    ("ecs-amp.yaml", &[]),
    ("ecs-amp-prometheus.yaml", &[]),
    ("ecs-amp-xray.yaml", &[TRACES]),
    ("ecs-amp-xray-prometheus.yaml", &[TRACES]),
    ("container-insights/otel-task-metrics-config.yaml", &[TRACES, APP, TASK]),
];

/// What the file of this path would be in ADOT's image, if it is one of those.
pub(in crate::config) fn of_image(path: &str) -> Option<String> {
    let name = path.strip_prefix(FOLDER)?;
    let (_, parts) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(format!("{COMPONENTS}{}", if parts.is_empty() { "    {}\n".to_owned() } else { parts.concat() }))
}
