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

mod declarations;
mod exporters;
mod image;

use std::collections::BTreeSet;

pub(super) use image::of_image;

use super::{
    environment::Environment,
    node::{Kind, Node},
    overrides,
    source::Tree,
};
use crate::problem::{Problem, Problems, shown};

/// Processors that are built in.
const BUILT_IN: [&str; 4] = ["batch", "memory_limiter", "resourcedetection", "cumulativetodelta"];

/// True if a file is a configuration of a collector.
pub(super) fn is_one(root: &Node) -> bool {
    root.get("service").is_some() && (root.get("receivers").is_some() || root.get("exporters").is_some())
}

/// The settings of ours that `tree` means.
pub(super) fn translated(tree: &Tree, environment: &Environment, problems: &mut Problems) -> Tree {
    let mut writer = Writer {
        source: tree,
        environment,
        problems,
        tree: Tree::empty(&tree.name),
        inputs: [0; 3],
        listening: Vec::new(),
        publishing: Vec::new(),
        sending: Default::default(),
        of_pipeline: BTreeSet::new(),
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
    /// Inputs so far, by signal.
    inputs: [usize; 3],
    /// Receivers that are inputs already, each once for its signal.
    listening: Vec<(Signal, String)>,
    /// Inputs of metrics that want to know how they are published, in the pipeline at hand.
    publishing: Vec<String>,
    /// Where the outputs so far send, by signal, and where the pipeline at hand does.
    sending: [Vec<String>; 3],
    of_pipeline: BTreeSet<String>,
}

impl<'a> Writer<'a, '_> {
    fn service(&mut self) {
        let root = &self.source.root;
        let Some(service) = root.get("service") else { return };
        let (mut unknown, mut pipelines) = (BTreeSet::new(), Vec::new());
        for entry in service.get("pipelines").map(Node::entries).unwrap_or_default() {
            let place = format!("{}:{} service.pipelines.{}", self.source.name, entry.origin.line(), entry.key);
            let Some(signal) = Signal::of(&entry.key) else {
                self.warn(place, "is no pipeline of traces, metrics or logs", "it has no effect");
                continue;
            };
            for receiver in self.named(&entry.value, "receivers") {
                self.receiver(signal, &receiver);
            }
            for exporter in self.named(&entry.value, "exporters") {
                self.exporter(signal, &exporter);
            }
            let publishing = std::mem::take(&mut self.publishing);
            self.publish_all(&publishing, &place);
            let sends_to = std::mem::take(&mut self.of_pipeline);
            let is_apart = |(of, others): &(Signal, BTreeSet<String>)| *of == signal && *others != sends_to;
            if !sends_to.is_empty() && pipelines.iter().any(is_apart) {
                let hint =
                    "all inputs of a signal go to all of its outputs here; run an agent for each if that must not be";
                self.warn(place, "is not kept apart from the other pipelines of its signal", hint);
            }
            if !sends_to.is_empty() {
                pipelines.push((signal, sends_to));
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
                    self.put_admin(&extension.place, &endpoint);
                }
                "sigv4auth" => {}
                _ => self.warn(extension.place, "this extension has no effect here", "leave it out"),
            }
        }
    }

    /// The components that `list` of a pipeline names.
    fn named(&self, pipeline: &Node, list: &str) -> Vec<Named<'a>> {
        let Some(Node { kind: Kind::List(items), .. }) = pipeline.get(list) else { return Vec::new() };
        let named = |item: &Node| {
            let id = item.scalar()?;
            let place = format!("{}:{} {id}", self.source.name, item.origin.line());
            let settings = self.source.root.get(list).and_then(|all| all.get(&id));
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
            "otlp.listen" => self.publishing.push(format!("{input}.otlp.publish")),
            "statsd" => self.publishing.push(format!("{input}.statsd.publish")),
            "task" => self.publishing.push(format!("{input}.task")),
            _ => {}
        }
    }

    /// Each job of a `prometheus` receiver, as far as its targets are named.
    fn scraped(&mut self, receiver: &Named<'_>) {
        let jobs = receiver.settings.and_then(|settings| settings.get("config")?.get("scrape_configs"));
        let Some(Node { kind: Kind::List(jobs), .. }) = jobs else {
            return self.warn(receiver.place.clone(), "names no `scrape_configs`", "nothing is scraped");
        };
        for job in jobs {
            let place = format!("{}:{} scrape_configs", self.source.name, job.origin.line());
            let targets: Vec<String> = job
                .items_of("static_configs")
                .flat_map(|one| one.items_of("targets"))
                .filter_map(|target| target.scalar().map(|text| self.expanded(&text)))
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
            self.publishing.push(format!("{input}.scrape.publish"));
        }
    }

    fn next_input(&mut self, signal: Signal) -> String {
        let count = &mut self.inputs[signal as usize];
        *count += 1;
        format!("{}.inputs.{}", signal.section(), *count - 1)
    }

    /// A text among the settings of a component, with variables filled in.
    fn text(&self, settings: Option<&Node>, path: &[&str]) -> Option<String> {
        let node = path.iter().try_fold(settings?, |node, key| node.get(key))?;
        node.scalar().filter(|text| !text.is_empty()).map(|text| self.expanded(&text))
    }

    /// `${env:NAME}`, `${NAME}` and `${env:NAME:-default}`, as the collector fills them in; `$$` is `$`.
    fn expanded(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let Some((inner, behind)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) else {
                out.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
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

    /// The agent has one address for its metrics and its health: the last that is named.
    pub(super) fn put_admin(&mut self, place: &str, endpoint: &str) {
        let endpoint = address(endpoint);
        let other = self.tree.root.get("admin").and_then(|admin| admin.get("listen")?.scalar());
        if let Some(other) = other.filter(|other| *other != endpoint) {
            let hint = format!("metrics and health are both at `{endpoint}`");
            self.problems.push(Problem::warning(shown(place), format!("takes the place of `{}`", shown(&other)), hint));
        }
        self.put("admin.listen", place, &endpoint);
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
pub(super) fn address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some(("" | "[::]", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
