//! A configuration of the CloudWatch agent, as settings of ours: what it is given on ECS, in `CW_CONFIG_CONTENT` or under
//! `/etc/cwagentconfig`.
//!
//! ```text
//! metrics.metrics_collected   statsd, otlp          ─▶ metrics.inputs    ─▶ PutMetricData
//! logs.metrics_collected      prometheus            ─▶ metrics.inputs
//!                             emf                   ─▶ logs.inputs       ─▶ CloudWatch Logs
//! traces.traces_collected     xray, otlp            ─▶ traces.inputs     ─▶ X-Ray
//! agent                       region, debug, role   ─▶ aws.region, log.level, role_arn of each output
//! ```
//!
//! What the agent tells of a host (processor, memory, disks, processes) and files of logs have no meaning beside an app.
//!
//! Promises: what has no effect here is told, with its line, and keeps nothing else from working; every tag stays a dimension, as the agent has
//! it; an address that the agent would listen at is listened at.
//! Never: reads a file; collects what nobody wrote.

mod declarations;

use super::{
    collector::address,
    environment::Environment,
    node::{Kind, Node},
    overrides,
    source::Tree,
};
use crate::problem::{Problem, Problems, shown};

/// The namespace of what says no other.
const NAMESPACE: &str = "CWAgent";
/// The group of documents that name none.
const EMF_GROUP: &str = "emf/logs/default";
/// The stream of documents that name none, if `log_stream_name` does not say.
const EMF_STREAM: &str = "cwagent";
/// What begins the name of a variable that holds a configuration of Prometheus.
const BY_VARIABLE: &str = "env:";
/// Settings without a meaning here, that need not be told: how often and how much the agent gathers by itself, and what else is built in.
const BUILT_IN: [&str; 14] = [
    "metrics_collection_interval",
    "run_as_user",
    "omit_hostname",
    "logfile",
    "quiet",
    "aws_sdk_log_level",
    "user_agent",
    "internal",
    "allowed_pending_messages",
    "parse_data_dog_tags",
    "metric_separator",
    "concurrency",
    "buffer_size_mb",
    "force_flush_interval",
];

/// True if a file is a configuration of the CloudWatch agent.
pub(super) fn is_one(root: &Node) -> bool {
    let has = |section: &str, key: &str| root.get(section).is_some_and(|section| section.get(key).is_some());
    has("metrics", "metrics_collected")
        || has("logs", "metrics_collected")
        || has("logs", "logs_collected")
        || has("traces", "traces_collected")
}

/// The settings of ours that `tree` means.
pub(super) fn translated(tree: &Tree, environment: &Environment, problems: &mut Problems) -> Tree {
    let mut writer = Writer { source: tree, environment, problems, tree: Tree::empty(&tree.name), counts: [0; 3] };
    writer.agent();
    writer.metrics();
    writer.logs();
    writer.traces();
    for entry in tree.root.entries() {
        if !["agent", "metrics", "logs", "traces", "csm"].contains(&&*entry.key) {
            writer.has_no_effect(&entry.key, &entry.value);
        }
    }
    writer.tree
}

/// The sections of ours that get inputs.
#[derive(Clone, Copy)]
enum Section {
    Metrics,
    Logs,
    Traces,
}

struct Writer<'a, 'p> {
    source: &'a Tree,
    environment: &'a Environment,
    problems: &'p mut Problems,
    tree: Tree,
    /// Inputs so far.
    counts: [usize; 3],
}

impl<'a> Writer<'a, '_> {
    fn agent(&mut self) {
        let Some(agent) = self.source.root.get("agent") else { return };
        self.copy(agent, "region", "aws.region");
        if agent.get("debug").and_then(Node::scalar).as_deref() == Some("true") {
            self.put("log.level", agent, "debug");
        }
        self.tell_others("agent", agent, &["region", "debug", "credentials"]);
    }

    fn metrics(&mut self) {
        let Some(section) = self.source.root.get("metrics") else { return };
        let namespace = text(section, "namespace").unwrap_or_else(|| NAMESPACE.to_owned());
        let collected = section.get("metrics_collected");
        for entry in collected.map(Node::entries).unwrap_or_default() {
            match &*entry.key {
                "statsd" => self.statsd(&entry.value, &namespace),
                "otlp" => self.every(&entry.value, |writer, otlp| {
                    let publish = writer.otlp(Section::Metrics, otlp, "otlp.listen");
                    writer.published(&publish.replace("otlp.listen", "otlp.publish"), otlp, &namespace);
                }),
                key => {
                    let hint = "`metrics: {inputs: [{task: {}}]}` tells what the task and its containers use";
                    self.warn(&entry.value, &format!("metrics_collected.{key}"), "is not collected here", hint);
                }
            }
        }
        if let Some(seconds) = section.get("force_flush_interval").and_then(Node::scalar) {
            self.put("metrics.flush_every", section, &format!("{seconds}s"));
        }
        let known = ["namespace", "metrics_collected", "force_flush_interval", "endpoint_override", "credentials"];
        self.tell_others("metrics", section, &known);
        if self.counts[Section::Metrics as usize] > 0 {
            self.output("metrics.outputs.0.to.cloudwatch", section);
        }
    }

    fn statsd(&mut self, statsd: &'a Node, namespace: &str) {
        let input = self.next(Section::Metrics);
        let place = text(statsd, "service_address").unwrap_or_else(|| ":8125".to_owned());
        self.put(&format!("{input}.statsd.udp"), statsd, &address(&place));
        self.published(&format!("{input}.statsd.publish"), statsd, namespace);
        match text(statsd, "metrics_aggregation_interval").as_deref() {
            None | Some("60") => {}
            Some("0") => {
                let what = "has no meaning here";
                self.warn(statsd, "statsd.metrics_aggregation_interval", what, "`flush_every: 1s` is the finest");
            }
            Some(seconds) => self.put("metrics.flush_every", statsd, &format!("{seconds}s")),
        }
        let known = ["service_address", "metrics_aggregation_interval"];
        self.tell_others("metrics_collected.statsd", statsd, &known);
    }

    fn logs(&mut self) {
        let Some(section) = self.source.root.get("logs") else { return };
        for entry in section.get("metrics_collected").map(Node::entries).unwrap_or_default() {
            match &*entry.key {
                "emf" => self.emf(&entry.value, section),
                "prometheus" => self.prometheus(&entry.value),
                key => {
                    let what = "is not collected here";
                    self.warn(&entry.value, &format!("logs.metrics_collected.{key}"), what, "leave it out");
                }
            }
        }
        if let Some(collected) = section.get("logs_collected") {
            let hint = "have the container write to its standard output, and FireLens bring it";
            self.warn(collected, "logs_collected", "no files are read here", hint);
        }
        let known = ["metrics_collected", "logs_collected", "log_stream_name", "endpoint_override", "credentials"];
        self.tell_others("logs", section, &known);
    }

    /// Documents by TCP and UDP, unless an address is of one of them.
    fn emf(&mut self, emf: &'a Node, section: &'a Node) {
        let input = self.next(Section::Logs);
        let given = text(emf, "service_address").unwrap_or_else(|| ":25888".to_owned());
        let (kind, rest) = match given.split_once("://") {
            Some((kind, rest)) => (kind, rest),
            None => given.split_once(':').filter(|(kind, _)| matches!(*kind, "tcp" | "udp")).unwrap_or(("", &given)),
        };
        for (own, other) in [("tcp", "udp"), ("udp", "tcp")] {
            let place = if kind == other { "off".to_owned() } else { address(rest) };
            self.put(&format!("{input}.emf.{own}"), emf, &place);
        }
        let output = "logs.outputs.0.to.cloudwatch";
        let stream = text(section, "log_stream_name").unwrap_or_else(|| EMF_STREAM.to_owned());
        let stream = if stream.contains('{') {
            let hint = format!("documents that name no stream go to `{EMF_STREAM}`");
            self.warn(section, "log_stream_name", "has places that are not filled in here", &hint);
            EMF_STREAM.to_owned()
        } else {
            stream
        };
        for (key, value) in [("group", EMF_GROUP), ("stream", &stream), ("auto_create_group", "true")] {
            self.put(&format!("{output}.{key}"), emf, value);
        }
        self.output(output, section);
        self.tell_others("emf", emf, &["service_address"]);
    }

    /// What is scraped: targets that a configuration of Prometheus names, and those of the task's own containers.
    fn prometheus(&mut self, prometheus: &'a Node) {
        let processor = prometheus.get("emf_processor");
        let namespace = processor.and_then(|node| text(node, "metric_namespace"));
        let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
        let declared = processor.map(declarations::read).unwrap_or_default();
        if let Some(node) = processor.filter(|node| node.get("metric_declaration").is_some()) {
            let hint = "labels that one of them names are dimensions of all metrics that are kept";
            let (what, hint) = match declared.rules {
                Some(_) => ("has the dimensions of all declarations together", hint),
                None => (
                    "has an effect on dimensions alone",
                    "its selectors are none, or too many; write `relabel` in our form",
                ),
            };
            self.warn(node, "metric_declaration", what, hint);
        }
        let discovers = prometheus.get("ecs_service_discovery").is_some();
        if let Some(node) = prometheus.get("ecs_service_discovery") {
            let hint = "put the agent beside each app; it reads the docker labels of its own task";
            self.warn(node, "ecs_service_discovery", "finds no targets of other tasks", hint);
        }
        let mut targets = self.named_targets(prometheus);
        if discovers {
            targets.push((None, "auto".to_owned()));
        }
        for (job, target) in targets {
            let input = self.next(Section::Metrics);
            self.put(&format!("{input}.scrape.targets.0"), prometheus, &target);
            if let Some(job) = job {
                self.put(&format!("{input}.scrape.job"), prometheus, &job);
            }
            for (number, name) in declared.dimensions.iter().enumerate() {
                self.put(&format!("{input}.scrape.publish.dimensions.{number}"), prometheus, name);
            }
            for (path, value) in declarations::settings(declared.rules.as_deref().unwrap_or_default()) {
                self.put(&format!("{input}.scrape.relabel.{path}"), prometheus, &value);
            }
            self.put(&format!("{input}.scrape.publish.namespace"), prometheus, &namespace);
        }
        if self.counts[Section::Metrics as usize] > 0 {
            self.output("metrics.outputs.0.to.cloudwatch", prometheus);
        }
        let known = ["prometheus_config_path", "ecs_service_discovery", "emf_processor"];
        self.tell_others("prometheus", prometheus, &known);
    }

    /// The targets that the configuration of Prometheus names which stands in a variable, each with its job.
    fn named_targets(&mut self, prometheus: &'a Node) -> Vec<(Option<String>, String)> {
        let Some(path) = text(prometheus, "prometheus_config_path") else { return Vec::new() };
        let variable = path.strip_prefix(BY_VARIABLE).unwrap_or_default();
        let Some(content) = self.environment.get(variable) else {
            let hint = "name a variable, for example `env:PROMETHEUS_CONFIG_CONTENT`, or write `scrape` in our form";
            self.warn(prometheus, "prometheus_config_path", "is not read", hint);
            return Vec::new();
        };
        let tree = Tree::parse(variable, content.as_bytes(), self.problems);
        let mut targets = Vec::new();
        for job in tree.root.items_of("scrape_configs") {
            let path = text(job, "metrics_path").unwrap_or_else(|| "/metrics".to_owned());
            let named = job.items_of("static_configs").flat_map(|one| one.items_of("targets")).filter_map(Node::scalar);
            targets.extend(named.map(|target| (text(job, "job_name"), format!("{target}{path}"))));
        }
        targets
    }

    fn traces(&mut self) {
        let Some(section) = self.source.root.get("traces") else { return };
        for entry in section.get("traces_collected").map(Node::entries).unwrap_or_default() {
            let node = &entry.value;
            match &*entry.key {
                "xray" => {
                    let input = self.next(Section::Traces);
                    let udp = text(node, "bind_address").unwrap_or_else(|| "127.0.0.1:2000".to_owned());
                    let proxy = node.get("tcp_proxy").and_then(|proxy| text(proxy, "bind_address"));
                    self.put(&format!("{input}.xray.udp"), node, &address(&udp));
                    self.put(&format!("{input}.xray.tcp"), node, &address(proxy.as_deref().unwrap_or(&udp)));
                }
                "otlp" => self.every(node, |writer, otlp| {
                    writer.otlp(Section::Traces, otlp, "otlp");
                }),
                key => self.warn(node, &format!("traces_collected.{key}"), "is not collected here", "leave it out"),
            }
        }
        let known = ["traces_collected", "endpoint_override", "region_override", "credentials"];
        self.tell_others("traces", section, &known);
        if self.counts[Section::Traces as usize] > 0 {
            self.output("traces.outputs.0.to.xray", section);
        }
    }

    /// Takes OTLP. Returns the path of the listener's settings.
    fn otlp(&mut self, section: Section, node: &'a Node, key: &str) -> String {
        let input = self.next(section);
        for (theirs, ours, usual) in
            [("grpc_endpoint", "grpc", "127.0.0.1:4317"), ("http_endpoint", "http", "127.0.0.1:4318")]
        {
            let place = text(node, theirs).unwrap_or_else(|| usual.to_owned());
            self.put(&format!("{input}.{key}.{ours}"), node, &address(&place));
        }
        format!("{input}.{key}")
    }

    /// The node itself, or each of its items.
    fn every(&mut self, node: &'a Node, mut tell: impl FnMut(&mut Self, &'a Node)) {
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|item| tell(self, item)),
            _ => tell(self, node),
        }
    }

    /// Every tag is a dimension, as the agent has it.
    fn published(&mut self, publish: &str, node: &Node, namespace: &str) {
        self.put(&format!("{publish}.dimensions.0"), node, "*");
        self.put(&format!("{publish}.namespace"), node, namespace);
    }

    /// An output to AWS, as this section and the agent's own say.
    fn output(&mut self, output: &str, section: &'a Node) {
        let role = |node: &Node| node.get("credentials").and_then(|credentials| text(credentials, "role_arn"));
        let role = role(section).or_else(|| self.source.root.get("agent").and_then(role));
        let endpoint = text(section, "endpoint_override").map(|endpoint| match endpoint.contains("://") {
            true => endpoint,
            false => format!("https://{endpoint}"),
        });
        let given = [("role_arn", role), ("endpoint", endpoint), ("region", text(section, "region_override"))];
        // An output without any setting is one all the same; one that is there already stays as it is.
        let steps: Vec<String> = output.split('.').map(str::to_owned).collect();
        let place = self.place(section, output);
        let _ = overrides::put_section(&mut self.tree.root, &place, &steps);
        for (key, value) in given {
            if let Some(value) = value {
                self.put(&format!("{output}.{key}"), section, &value);
            }
        }
    }

    fn next(&mut self, section: Section) -> String {
        let count = &mut self.counts[section as usize];
        *count += 1;
        let name = match section {
            Section::Metrics => "metrics",
            Section::Logs => "logs",
            Section::Traces => "traces",
        };
        format!("{name}.inputs.{}", *count - 1)
    }

    fn copy(&mut self, node: &Node, theirs: &str, ours: &str) {
        if let Some(value) = text(node, theirs) {
            self.put(ours, node, &value);
        }
    }

    fn put(&mut self, path: &str, node: &Node, value: &str) {
        let place = self.place(node, path);
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Err(misplaced) = overrides::put(&mut self.tree.root, &place, &steps, value) {
            self.problems.push(Problem::error(shown(&place), misplaced.what, misplaced.hint));
        }
    }

    /// Tells of what is not among the `known` settings of a section, and not built in.
    fn tell_others(&mut self, section: &str, node: &'a Node, known: &[&str]) {
        for entry in node.entries() {
            if !known.contains(&&*entry.key) && !BUILT_IN.contains(&&*entry.key) {
                self.has_no_effect(&format!("{section}.{}", entry.key), &entry.value);
            }
        }
    }

    fn has_no_effect(&mut self, what: &str, node: &Node) {
        self.warn(node, what, "has no effect here", "leave it out");
    }

    fn warn(&mut self, node: &Node, about: &str, what: &str, hint: &str) {
        let place = self.place(node, about);
        self.problems.push(Problem::warning(shown(&place), what, hint));
    }

    fn place(&self, node: &Node, about: &str) -> String {
        format!("{}:{} {about}", self.source.name, node.origin.line())
    }
}

/// The text of a setting, unless it is empty.
fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.scalar().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
