//! Exporters of the collector, as outputs of ours.
//!
//! Promises: an exporter that is not known is told, and what the others get does not change.
//! Never: decides what comes in.

use super::{Named, Signal, Writer, kind_of};
use crate::config::node::Node;

/// Exporters that show what comes to people.
const FOR_PEOPLE: [&str; 3] = ["debug", "logging", "nop"];
/// The namespace of what apps send, in the files of ADOT's image.
const APP_NAMESPACE: &str = "ECS/AWSOTel/Application";

impl Writer<'_, '_> {
    pub(super) fn exporter(&mut self, signal: Signal, exporter: &Named<'_>) {
        let (place, kind) = (&exporter.place, kind_of(&exporter.id));
        match (signal, kind) {
            (Signal::Traces, "awsxray") => {
                let Some(output) = self.new_output(signal, exporter) else { return };
                self.of_aws(&format!("{output}.to.xray"), exporter);
                let all = self.text(exporter.settings, &["index_all_attributes"]);
                self.put(&format!("{output}.to.xray.index_all_attributes"), place, all.as_deref().unwrap_or("false"));
                let named = exporter.settings.into_iter().flat_map(|settings| settings.items_of("indexed_attributes"));
                for (number, name) in named.filter_map(Node::scalar).enumerate() {
                    self.put(&format!("{output}.to.xray.indexed_attributes.{number}"), place, &name);
                }
            }
            (Signal::Metrics, "awsemf") => {
                if let Some(output) = self.new_output(signal, exporter) {
                    self.of_aws(&format!("{output}.to.cloudwatch"), exporter);
                }
                let namespace = self.text(exporter.settings, &["namespace"]);
                let namespace = namespace.unwrap_or_else(|| APP_NAMESPACE.to_owned());
                let publishing = std::mem::take(&mut self.publishing);
                for input in &publishing {
                    self.put(&format!("{input}.namespace"), place, &namespace);
                }
                self.publish(exporter, &publishing);
            }
            (Signal::Metrics, "prometheus") => {
                self.of_pipeline.insert(kind.to_owned());
                if let Some(endpoint) = self.text(exporter.settings, &["endpoint"]) {
                    self.put_admin(place, &endpoint);
                }
            }
            (Signal::Logs, "awscloudwatchlogs") => {
                let Some(output) = self.new_output(signal, exporter) else { return };
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

    /// The output for an exporter, unless another one sends the same to the same place already: all inputs of a signal go to all of its
    /// outputs, so that with an output for each pipeline everything would be sent twice.
    fn new_output(&mut self, signal: Signal, exporter: &Named<'_>) -> Option<String> {
        let destination = self.destination(exporter);
        self.of_pipeline.insert(destination.clone());
        let sending = &mut self.sending[signal as usize];
        if sending.contains(&destination) {
            return None;
        }
        sending.push(destination);
        Some(format!("{}.outputs.{}", signal.section(), sending.len() - 1))
    }

    /// Where an exporter sends, as far as it matters whether another does the same. What those for CloudWatch say of metrics is said of inputs here.
    fn destination(&self, exporter: &Named<'_>) -> String {
        if kind_of(&exporter.id) != "awsemf" {
            return exporter.id.clone();
        }
        let of = |key| self.text(exporter.settings, &[key]).unwrap_or_default();
        format!("awsemf {} {} {}", of("region"), of("endpoint"), of("role_arn"))
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
        let Some(output) = self.new_output(signal, exporter) else { return };
        let output = format!("{output}.to.otlp");
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
        for header in settings.and_then(|settings| settings.get("headers")).map(Node::entries).unwrap_or_default() {
            if let Some(value) = header.value.scalar() {
                let value = self.expanded(&value);
                self.put_steps(&output, &["headers", &header.key], place, &value);
            }
        }
        let authenticator = self.text(settings, &["auth", "authenticator"]);
        if let Some(id) = authenticator.filter(|id| kind_of(id) == "sigv4auth") {
            let extension = self.source.root.get("extensions").and_then(|all| all.get(&id));
            self.put_section(&format!("{output}.aws"), place);
            for key in ["service", "region"] {
                if let Some(value) = self.text(extension, &[key]) {
                    self.put(&format!("{output}.aws.{key}"), place, &value);
                }
            }
        }
    }
}
