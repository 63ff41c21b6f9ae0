//! A configuration of the OpenTelemetry collector, as settings of ours: what AWS Distro for OpenTelemetry (ADOT) is given on ECS, in a file
//! or in `AOT_CONFIG_CONTENT`, and the files that its image brings under `/etc/ecs`.
//!
//! ```text
//! service.pipelines ─▶ receivers and exporters that are named there ─▶ inputs and outputs of our jobs
//! ```
//!
//! What stands in no pipeline has no effect, as in the collector.
//!
//! Promises: what is not understood is told, with its line, and keeps nothing else from working; processors that only gather and limit are
//! built in.
//! Never: reads a file; starts a pipeline that nobody wrote.

use std::collections::BTreeSet;

use super::{
    environment::Environment,
    node::{Entry, Kind, Node, Origin},
    overrides,
    source::Tree,
};
use crate::problem::{Problem, Problems, shown};

/// Where ADOT's image has its files.
const FOLDER: &str = "/etc/ecs/";
/// The namespace of what apps send, in the files of ADOT's image.
const APP_NAMESPACE: &str = "ECS/AWSOTel/Application";

/// The parts that ADOT's files are made of: receivers and exporters of traces, of the app's metrics, and of the task's own.
const TRACES: &str = "    traces:
      receivers: [otlp, awsxray]
      exporters: [awsxray]
";
const APP: &str = "    metrics/application:
      receivers: [otlp, statsd]
      exporters: [awsemf/application]
";
const TASK: &str = "    metrics:
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
const FILES: [(&str, &[&str]); 9] = [
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

/// Exporters that show what comes to people, and processors that are built in.
const FOR_PEOPLE: [&str; 3] = ["debug", "logging", "nop"];
const BUILT_IN: [&str; 4] = ["batch", "memory_limiter", "resourcedetection", "cumulativetodelta"];

/// What the file of this path would be in ADOT's image, if it is one of those.
pub(super) fn of_image(path: &str) -> Option<String> {
    let name = path.strip_prefix(FOLDER)?;
    let (_, parts) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(format!("{COMPONENTS}{}", if parts.is_empty() { "    {}\n".to_owned() } else { parts.concat() }))
}

/// True if a file is a configuration of a collector.
pub(super) fn is_one(root: &Node) -> bool {
    get(root, "service").is_some() && (get(root, "receivers").is_some() || get(root, "exporters").is_some())
}

/// The settings of ours that `tree` means.
pub(super) fn translated(tree: &Tree, environment: &Environment, problems: &mut Problems) -> Tree {
    let mut writer = Writer {
        source: tree,
        environment,
        problems,
        tree: Tree::empty(&tree.name),
        inputs: [0; 3],
        outputs: [0; 3],
        listening: Vec::new(),
        namespaces: Vec::new(),
    };
    writer.service();
    writer.tree
}

/// The signals that have pipelines, and the sections of ours that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    fn of(pipeline: &str) -> Option<Self> {
        match kind_of(pipeline) {
            "traces" => Some(Self::Traces),
            "metrics" => Some(Self::Metrics),
            "logs" => Some(Self::Logs),
            _ => None,
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// A component that a pipeline names.
#[derive(Clone)]
struct Named<'a> {
    id: String,
    settings: Option<&'a Node>,
    place: String,
}

struct Writer<'a, 'p> {
    source: &'a Tree,
    environment: &'a Environment,
    problems: &'p mut Problems,
    tree: Tree,
    /// Inputs and outputs so far, by signal.
    inputs: [usize; 3],
    outputs: [usize; 3],
    /// Receivers that are inputs already, each once for its signal.
    listening: Vec<(Signal, String)>,
    /// Inputs of metrics that want a namespace, in the pipeline at hand.
    namespaces: Vec<String>,
}

impl<'a> Writer<'a, '_> {
    fn service(&mut self) {
        let root = &self.source.root;
        let Some(service) = get(root, "service") else { return };
        let mut unknown = BTreeSet::new();
        for entry in get(service, "pipelines").map(entries).unwrap_or_default() {
            let Some(signal) = Signal::of(&entry.key) else {
                let place = format!("{}:{} service.pipelines.{}", self.source.name, line(&entry.origin), entry.key);
                self.warn(place, "is no pipeline of traces, metrics or logs", "it has no effect");
                continue;
            };
            self.namespaces.clear();
            for receiver in self.named(&entry.value, "receivers") {
                self.receiver(signal, &receiver);
            }
            for exporter in self.named(&entry.value, "exporters") {
                self.exporter(signal, &exporter);
            }
            for processor in self.named(&entry.value, "processors") {
                if !BUILT_IN.contains(&kind_of(&processor.id)) && unknown.insert(processor.id.clone()) {
                    self.warn(processor.place, "this processor has no effect here", "what it changes stays as it came");
                }
            }
        }
        for extension in self.named(service, "extensions") {
            match kind_of(&extension.id) {
                "health_check" => {
                    let endpoint = self.text(extension.settings, &["endpoint"]);
                    let endpoint = endpoint.unwrap_or_else(|| "127.0.0.1:13133".to_owned());
                    self.put("admin.listen", &extension.place, &address(&endpoint));
                }
                "sigv4auth" => {}
                _ => self.warn(extension.place, "this extension has no effect here", "leave it out"),
            }
        }
    }

    /// The components that `list` of a pipeline names.
    fn named(&self, pipeline: &Node, list: &str) -> Vec<Named<'a>> {
        let Some(Node { kind: Kind::List(items), .. }) = get(pipeline, list) else { return Vec::new() };
        let named = |item: &Node| {
            let id = scalar(item)?;
            let place = format!("{}:{} {id}", self.source.name, line(&item.origin));
            let settings = get(&self.source.root, list).and_then(|all| get(all, &id));
            Some(Named { settings, id, place })
        };
        items.iter().filter_map(named).collect()
    }

    fn receiver(&mut self, signal: Signal, receiver: &Named<'_>) {
        let known = match (signal, kind_of(&receiver.id)) {
            (Signal::Traces | Signal::Logs, "otlp") => Some("otlp"),
            (Signal::Traces, "awsxray") => Some("xray"),
            (Signal::Metrics, "otlp") => Some("otlp.listen"),
            (Signal::Metrics, "statsd") => Some("statsd"),
            (Signal::Metrics, "awsecscontainermetrics") => Some("task"),
            (Signal::Metrics, "prometheus") => return self.scraped(receiver),
            _ => None,
        };
        let Some(kind) = known else {
            let what = "this receiver is not known here";
            return self.warn(receiver.place.clone(), what, "what it would take does not come in");
        };
        let again = self.listening.iter().any(|(of, id)| *of == signal && *id == receiver.id);
        if again {
            return;
        }
        self.listening.push((signal, receiver.id.clone()));
        let input = self.next_input(signal);
        let (place, settings) = (&receiver.place, receiver.settings);
        match kind {
            "otlp" | "otlp.listen" => {
                for protocol in ["grpc", "http"] {
                    let endpoint = self.text(settings, &["protocols", protocol, "endpoint"]);
                    let usual = if protocol == "grpc" { "127.0.0.1:4317" } else { "127.0.0.1:4318" };
                    let endpoint = endpoint.map_or_else(|| usual.to_owned(), |endpoint| address(&endpoint));
                    self.put(&format!("{input}.{kind}.{protocol}"), place, &endpoint);
                }
            }
            "xray" => {
                let udp = self.text(settings, &["endpoint"]).unwrap_or_else(|| "127.0.0.1:2000".to_owned());
                let tcp = self.text(settings, &["proxy_server", "endpoint"]).unwrap_or_else(|| udp.clone());
                self.put(&format!("{input}.xray.udp"), place, &address(&udp));
                self.put(&format!("{input}.xray.tcp"), place, &address(&tcp));
            }
            "statsd" => {
                let endpoint = self.text(settings, &["endpoint"]).unwrap_or_else(|| "127.0.0.1:8125".to_owned());
                self.put(&format!("{input}.statsd.udp"), place, &address(&endpoint));
            }
            _ => {
                let every = self.text(settings, &["collection_interval"]).unwrap_or_else(|| "20s".to_owned());
                self.put(&format!("{input}.task.every"), place, &every);
            }
        }
        match kind {
            // What the collector's exporter does with every label.
            "otlp.listen" => self.published(format!("{input}.otlp.publish"), place),
            "statsd" => self.published(format!("{input}.statsd.publish"), place),
            "task" => self.namespaces.push(format!("{input}.task")),
            _ => {}
        }
    }

    fn published(&mut self, publish: String, place: &str) {
        self.put(&format!("{publish}.dimensions.0"), place, "*");
        self.namespaces.push(publish);
    }

    /// Each job of a `prometheus` receiver, as far as its targets are named.
    fn scraped(&mut self, receiver: &Named<'_>) {
        let jobs = receiver.settings.and_then(|settings| get(get(settings, "config")?, "scrape_configs"));
        let Some(Node { kind: Kind::List(jobs), .. }) = jobs else {
            return self.warn(receiver.place.clone(), "names no `scrape_configs`", "nothing is scraped");
        };
        for job in jobs {
            let place = format!("{}:{} scrape_configs", self.source.name, line(&job.origin));
            let targets: Vec<String> = lists(job, "static_configs")
                .flat_map(|one| lists(one, "targets"))
                .filter_map(|target| scalar(target).map(|text| self.expanded(&text)))
                .collect();
            if targets.is_empty() {
                self.warn(
                    place,
                    "its targets are not named",
                    "write `static_configs`, or `scrape: {targets: [auto]}` in our form",
                );
                continue;
            }
            let input = self.next_input(Signal::Metrics);
            let path = self.text(Some(job), &["metrics_path"]).unwrap_or_else(|| "/metrics".to_owned());
            for (number, target) in targets.iter().enumerate() {
                self.put(&format!("{input}.scrape.targets.{number}"), &place, &format!("{target}{path}"));
            }
            for (theirs, ours) in [("job_name", "job"), ("scrape_interval", "every"), ("scrape_timeout", "timeout")] {
                if let Some(value) = self.text(Some(job), &[theirs]) {
                    self.put(&format!("{input}.scrape.{ours}"), &place, &value);
                }
            }
            self.published(format!("{input}.scrape.publish"), &place);
        }
    }

    fn exporter(&mut self, signal: Signal, exporter: &Named<'_>) {
        let (place, kind) = (&exporter.place, kind_of(&exporter.id));
        match (signal, kind) {
            (Signal::Traces, "awsxray") => {
                let output = self.next_output(signal);
                self.of_aws(&format!("{output}.to.xray"), exporter);
                let all = self.text(exporter.settings, &["index_all_attributes"]);
                self.put(&format!("{output}.to.xray.index_all_attributes"), place, all.as_deref().unwrap_or("false"));
                let named = exporter.settings.into_iter().flat_map(|settings| lists(settings, "indexed_attributes"));
                for (number, name) in named.filter_map(scalar).enumerate() {
                    self.put(&format!("{output}.to.xray.indexed_attributes.{number}"), place, &name);
                }
            }
            (Signal::Metrics, "awsemf") => {
                let output = self.next_output(signal);
                self.of_aws(&format!("{output}.to.cloudwatch"), exporter);
                let namespace = self.text(exporter.settings, &["namespace"]);
                let namespace = namespace.unwrap_or_else(|| APP_NAMESPACE.to_owned());
                for input in std::mem::take(&mut self.namespaces) {
                    self.put(&format!("{input}.namespace"), place, &namespace);
                }
            }
            (Signal::Metrics, "prometheus") => {
                if let Some(endpoint) = self.text(exporter.settings, &["endpoint"]) {
                    self.put("admin.listen", place, &address(&endpoint));
                }
            }
            (Signal::Logs, "awscloudwatchlogs") => {
                let output = self.next_output(signal);
                self.of_aws(&format!("{output}.to.cloudwatch"), exporter);
                for (theirs, ours) in [("log_group_name", "group"), ("log_stream_name", "stream")] {
                    if let Some(value) = self.text(exporter.settings, &[theirs]) {
                        self.put(&format!("{output}.to.cloudwatch.{ours}"), place, &value);
                    }
                }
            }
            (Signal::Traces | Signal::Metrics, "otlp" | "otlphttp" | "otlp_http") => {
                self.backend(signal, exporter, kind != "otlp");
            }
            _ if FOR_PEOPLE.contains(&kind) => {}
            _ => {
                let hint =
                    "what would go there goes nowhere; see docs/traces.md and docs/metrics-guide.md for what is there";
                self.warn(place.clone(), "this exporter is not known here", hint);
            }
        }
    }

    fn of_aws(&mut self, output: &str, exporter: &Named<'_>) {
        // An output without any setting is one all the same.
        let mut is_empty = true;
        for (theirs, ours) in [("region", "region"), ("endpoint", "endpoint"), ("role_arn", "role_arn")] {
            if let Some(value) = self.text(exporter.settings, &[theirs]) {
                self.put(&format!("{output}.{ours}"), &exporter.place, &value);
                is_empty = false;
            }
        }
        if is_empty {
            self.put_section(output, &exporter.place);
        }
    }

    fn backend(&mut self, signal: Signal, exporter: &Named<'_>, is_http: bool) {
        let output = format!("{}.to.otlp", self.next_output(signal));
        let (place, settings) = (&exporter.place, exporter.settings);
        if !is_http {
            self.put(&format!("{output}.protocol"), place, "grpc");
        }
        let whole = format!("{}_endpoint", signal.section());
        if let Some(url) = self.text(settings, &[&whole]).filter(|_| is_http) {
            self.put(&format!("{output}.{whole}"), place, &url);
        } else if let Some(endpoint) = self.text(settings, &["endpoint"]) {
            let is_clear = self.text(settings, &["tls", "insecure"]).as_deref() == Some("true");
            let scheme = if is_clear { "http" } else { "https" };
            let url = if endpoint.contains("://") { endpoint } else { format!("{scheme}://{endpoint}") };
            self.put(&format!("{output}.endpoint"), place, &url);
        }
        if self.text(settings, &["compression"]).as_deref() == Some("none") {
            self.put(&format!("{output}.compression"), place, "none");
        }
        for header in settings.and_then(|settings| get(settings, "headers")).map(entries).unwrap_or_default() {
            if let Some(value) = scalar(&header.value) {
                let value = self.expanded(&value);
                self.put_steps(&output, &["headers", &header.key], place, &value);
            }
        }
        let authenticator = self.text(settings, &["auth", "authenticator"]);
        if let Some(id) = authenticator.filter(|id| kind_of(id) == "sigv4auth") {
            let extension = get(&self.source.root, "extensions").and_then(|all| get(all, &id));
            self.put_section(&format!("{output}.aws"), place);
            for key in ["service", "region"] {
                if let Some(value) = self.text(extension, &[key]) {
                    self.put(&format!("{output}.aws.{key}"), place, &value);
                }
            }
        }
    }

    fn next_input(&mut self, signal: Signal) -> String {
        let count = &mut self.inputs[signal as usize];
        *count += 1;
        format!("{}.inputs.{}", signal.section(), *count - 1)
    }

    fn next_output(&mut self, signal: Signal) -> String {
        let count = &mut self.outputs[signal as usize];
        *count += 1;
        format!("{}.outputs.{}", signal.section(), *count - 1)
    }

    /// A text among the settings of a component, with variables filled in.
    fn text(&self, settings: Option<&Node>, path: &[&str]) -> Option<String> {
        let node = path.iter().try_fold(settings?, |node, key| get(node, key))?;
        scalar(node).filter(|text| !text.is_empty()).map(|text| self.expanded(&text))
    }

    /// `${env:NAME}`, `${NAME}` and `${env:NAME:-default}`, as the collector fills them in.
    fn expanded(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((inner, behind)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                continue;
            };
            let inner = inner.strip_prefix("env:").unwrap_or(inner);
            let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
            out.push_str(self.environment.get(name).unwrap_or(default));
            rest = behind;
        }
        out + rest
    }

    fn put(&mut self, path: &str, place: &str, value: &str) {
        self.put_steps(path, &[], place, value);
    }

    /// The same where a key may have a point in it.
    fn put_steps(&mut self, path: &str, more: &[&str], place: &str, value: &str) {
        let steps: Vec<String> = path.split('.').chain(more.iter().copied()).map(str::to_owned).collect();
        if let Err(misplaced) = overrides::put(&mut self.tree.root, place, &steps, value) {
            self.problems.push(Problem::error(place, misplaced.what, misplaced.hint));
        }
    }

    /// A section without settings.
    fn put_section(&mut self, path: &str, place: &str) {
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Err(misplaced) = overrides::put_section(&mut self.tree.root, place, &steps) {
            self.problems.push(Problem::error(place, misplaced.what, misplaced.hint));
        }
    }

    fn warn(&mut self, place: String, what: &str, hint: &str) {
        self.problems.push(Problem::warning(shown(&place), what, hint));
    }
}

/// The type of a component or pipeline: what stands before the slash.
fn kind_of(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

/// An address as Go reads it.
fn address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some(("" | "[::]", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    }
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries(node).iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn lists<'n>(node: &'n Node, key: &str) -> impl Iterator<Item = &'n Node> {
    let items = match get(node, key) {
        Some(Node { kind: Kind::List(items), .. }) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

fn scalar(node: &Node) -> Option<String> {
    Some(match &node.kind {
        Kind::Bool(value) => value.to_string(),
        Kind::Integer(value) => value.to_string(),
        Kind::Unsigned(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::Text(text) | Kind::Loose(text) => text.clone(),
        Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Removed => return None,
    })
}

fn line(origin: &Origin) -> u64 {
    match origin {
        Origin::Line(line) => *line,
        Origin::Variable(_) => 0,
    }
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
