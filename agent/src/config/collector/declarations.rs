//! `metric_declarations` of the exporter `awsemf`, as declarations of ours.
//!
//! Promises: what a declaration selects is kept; what cannot be said here, or has no effect, is told with its line.
//! Never: drops a metric for a label that only the collector has.

use super::{Named, Writer};
use crate::{
    config::node::{Kind, Node},
    metrics::declared::{DECLARATIONS_MAX, Declaration, Declared, Matcher},
};

/// Labels that the collector adds, and that have no or another value here.
const OF_THE_COLLECTOR: [&str; 5] = ["OTelLib", "service.name", "service.instance.id", "job", "instance"];

impl Writer<'_, '_> {
    /// How the series of `publishing` inputs are published, as an exporter says.
    pub(super) fn publish(&mut self, exporter: &Named<'_>, publishing: &[String]) {
        let Some(settings) = exporter.settings else { return self.publish_all(publishing, &exporter.place) };
        if let Some(node) = settings.get("metric_declarations").filter(|_| publishing.is_empty()) {
            let hint = "its inputs are published as another exporter says";
            return self.warn(self.at(node, "metric_declarations"), "has no effect here", hint);
        }
        if let Some(node) = settings.get("metric_descriptors") {
            let hint = "units are those that the metrics say themselves";
            self.warn(self.at(node, "metric_descriptors"), "has no effect here", hint);
        }
        let rollup = self.text(Some(settings), &["dimension_rollup_option"]);
        let rolls_up = rollup.as_deref() != Some("NoDimensionRollup");
        if let Some(node) = settings.get("dimension_rollup_option").filter(|_| rolls_up) {
            let hint = "metrics with fewer dimensions are not made; name their sets in `metric_declarations`";
            self.warn(self.at(node, "dimension_rollup_option"), "has no effect here", hint);
        }
        let declarations: Vec<_> = settings
            .items_of("metric_declarations")
            .filter_map(|node| self.declaration(node, rolls_up))
            .take(DECLARATIONS_MAX + 1)
            .collect();
        if let Some(node) = settings.get("resource_to_telemetry_conversion")
            && self.text(Some(node), &["enabled"]).as_deref() == Some("true")
        {
            self.resource_labels(&declarations, publishing, &self.at(node, "resource_to_telemetry_conversion"));
        }
        let Some(node) = settings.get("metric_declarations") else {
            return self.publish_all(publishing, &exporter.place);
        };
        let place = self.at(node, "metric_declarations");
        let is_too_much = declarations.len() > DECLARATIONS_MAX || Declared::new(&declarations).is_err();
        if declarations.is_empty() || is_too_much {
            let hint = "all metrics are sent; write 1 to 64 declarations, with expressions of RE2's kind";
            self.warn(place, "has no effect", hint);
            return self.publish_all(publishing, &exporter.place);
        }
        for input in publishing {
            // What the task uses has names and dimensions of its own.
            if input.ends_with(".task") {
                let hint = "all that the task uses is sent, by cluster and family";
                self.warn(place.clone(), "does not choose of `awsecscontainermetrics`", hint);
                continue;
            }
            for (path, value) in declarations.iter().enumerate().flat_map(settings_of) {
                self.put(&format!("{input}.declarations.{path}"), &place, &value);
            }
        }
    }

    /// Without declarations every label is a dimension.
    pub(super) fn publish_all(&mut self, publishing: &[String], place: &str) {
        for input in publishing.iter().filter(|input| !input.ends_with(".task")) {
            self.put(&format!("{input}.dimensions.0"), place, "*");
        }
    }

    /// A declaration, if it selects anything.
    fn declaration(&mut self, node: &Node, rolls_up: bool) -> Option<Declaration> {
        let names = self.texts(node, "metric_name_selectors");
        if names.is_empty() {
            let hint = "write `metric_name_selectors`";
            self.warn(self.at(node, "metric_declarations"), "selects no names", hint);
            return None;
        }
        let matchers = node.items_of("label_matchers").map(|matcher| {
            let separator = matcher.get("separator").and_then(Node::scalar);
            let regex = self.text(Some(matcher), &["regex"]).unwrap_or_default();
            Matcher { names: self.texts(matcher, "label_names"), separator, regex }
        });
        let mut labels: Vec<Matcher> = matchers.collect();
        let is_foreign = |name: &String| OF_THE_COLLECTOR.contains(&&**name);
        // One that fits is enough, so that nothing is known if one cannot be asked.
        if let Some(name) = labels.iter().flat_map(|matcher| &matcher.names).find(|name| is_foreign(name)) {
            let what = format!("looks at `{name}`, which is not the same here");
            self.warn(
                self.at(node, "label_matchers"),
                &what,
                "metrics of the names are kept whatever their labels are",
            );
            labels.clear();
        }
        let mut has_sets = false;
        let mut dimensions = Vec::new();
        for set in node.items_of("dimensions") {
            let Kind::List(all) = &set.kind else { continue };
            has_sets |= !all.is_empty();
            let names = all.iter().filter_map(Node::scalar).map(|name| self.expanded(&name));
            let names: Vec<String> = names.filter(|name| name != OF_THE_COLLECTOR[0]).collect();
            if names.len() < all.len() {
                self.warn(self.at(set, "dimensions"), "names `OTelLib`, which is no label here", "it is left out");
            }
            if !names.is_empty() && !dimensions.contains(&names) {
                dimensions.push(names);
            }
        }
        // A metric without a set is sent for the roll-up alone.
        (has_sets || rolls_up).then_some(Declaration { names, labels, dimensions })
    }

    /// The attributes of the resource that declarations name.
    fn resource_labels(&mut self, declarations: &[Declaration], publishing: &[String], place: &str) {
        let mut wanted = vec![OF_THE_COLLECTOR[1]];
        for Declaration { labels, dimensions, .. } in declarations {
            let names = labels.iter().flat_map(|matcher| &matcher.names).chain(dimensions.iter().flatten());
            for name in names {
                if !wanted.contains(&&**name) {
                    wanted.push(name);
                }
            }
        }
        for otlp in publishing.iter().filter_map(|input| input.strip_suffix(".otlp.publish")) {
            if declarations.is_empty() {
                let hint = "name others in `resource_labels` of our form";
                self.warn(place.to_owned(), "has an effect on `service.name` alone", hint);
            }
            for (number, name) in wanted.iter().enumerate() {
                self.put(&format!("{otlp}.otlp.resource_labels.{number}"), place, name);
            }
        }
    }

    fn texts(&self, node: &Node, key: &str) -> Vec<String> {
        node.items_of(key).filter_map(Node::scalar).map(|text| self.expanded(&text)).collect()
    }

    fn at(&self, node: &Node, key: &str) -> String {
        format!("{}:{} {key}", self.source.name, node.origin.line())
    }
}

/// A declaration as settings, each with its path among the declarations.
fn settings_of((number, declaration): (usize, &Declaration)) -> Vec<(String, String)> {
    let Declaration { names, labels, dimensions } = declaration;
    let mut all = Vec::new();
    let mut texts = |path: &str, texts: &[String]| {
        all.extend(texts.iter().enumerate().map(|(place, text)| (format!("{number}.{path}.{place}"), text.clone())));
    };
    texts("names", names);
    for (place, set) in dimensions.iter().enumerate() {
        texts(&format!("dimensions.{place}"), set);
    }
    for (place, Matcher { names, .. }) in labels.iter().enumerate() {
        texts(&format!("labels.{place}.names"), names);
    }
    for (place, Matcher { separator, regex, .. }) in labels.iter().enumerate() {
        all.push((format!("{number}.labels.{place}.regex"), regex.clone()));
        all.extend(separator.iter().map(|text| (format!("{number}.labels.{place}.separator"), text.clone())));
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{self, Sources},
        fluentbit::InMemory,
        metrics::settings::{Input, Publish},
    };

    /// What a configuration with this exporter and these receivers makes of metrics, and its warnings about the exporter.
    fn loaded(exporter: &str, receivers: &str) -> (Vec<Input>, Vec<String>) {
        let text = format!(
            "receivers:\n  statsd: {{}}\n  awsecscontainermetrics: {{}}\n  otlp: {{}}\n  \
             prometheus: {{config: {{scrape_configs: [{{job_name: app, static_configs: [{{targets: ['localhost:9404']}}]}}]}}}}\n\
             exporters:\n  awsemf: {exporter}\n  awsemf/other: {exporter}\n\
             service: {{pipelines: {{metrics: {{receivers: [{receivers}], exporters: [awsemf]}}, \
             metrics/again: {{receivers: [statsd], exporters: [awsemf/other]}}}}}}\n"
        );
        let files = InMemory::one("elsewhere", "");
        let environment = [("AOT_CONFIG_CONTENT", &*text), ("UNIT", "shop")].into_iter().collect();
        let (config, warnings) =
            config::load(&Sources { file: None, environment, files: &files }).expect("it is understood");
        let warnings = warnings.iter().map(ToString::to_string).filter(|warning| warning.contains(":7 "));
        (config.metrics.inputs, warnings.map(|warning| warning.replace("warning: AOT_CONFIG_CONTENT:7 ", "")).collect())
    }

    fn publish(input: &Input) -> &Publish {
        match input {
            Input::Statsd(statsd) => &statsd.publish,
            Input::Otlp(otlp) => &otlp.publish,
            Input::Scrape(scrape) => &scrape.publish,
            _ => panic!("{input:?}"),
        }
    }

    /// The declarations of the first input in short: sets, names, and what labels must be; without any its dimensions.
    fn said(publish: &Publish) -> String {
        let of_one = |one: &crate::metrics::declared::Declaration| {
            let labels: Vec<String> = one
                .labels
                .iter()
                .map(|matcher| {
                    format!("{}={}", matcher.names.join(matcher.separator.as_deref().unwrap_or(";")), matcher.regex)
                })
                .collect();
            let sets: Vec<String> = one.dimensions.iter().map(|set| set.join("+")).collect();
            format!("{}: {} {}", sets.join(" "), one.names.join(" "), labels.join(" | ")).trim().to_owned()
        };
        let all: Vec<String> = publish.declarations.iter().map(of_one).collect();
        if all.is_empty() { format!("all of {:?}", publish.dimensions) } else { all.join(" / ") }
    }

    #[test]
    fn declarations_become_ours_and_what_cannot_be_said_is_told() {
        let all = "all of [\"*\"]";
        for (exporter, expected, told) in [
            ("{}", all, &[][..]),
            (
                "{metric_declarations: [{dimensions: [[a, b], [c]], metric_name_selectors: [^x$$, '${UNIT}_.*']}]}",
                "a+b c: ^x$ shop_.*",
                &[],
            ),
            (
                "{dimension_rollup_option: NoDimensionRollup, metric_declarations: [{dimensions: [[a]], metric_name_selectors: [x], \
                 label_matchers: [{label_names: [a, b], separator: ',', regex: '^1,2$'}, {label_names: [c], regex: d}]}, \
                 {dimensions: [[b], [b]], metric_name_selectors: [y$]}]}",
                "a: x a,b=^1,2$ | c=d / b: y$",
                &[],
            ),
            // What the collector alone has keeps nothing out.
            (
                "{metric_declarations: [{dimensions: [[a, OTelLib], [OTelLib]], metric_name_selectors: [x], \
                 label_matchers: [{label_names: [a], regex: b}, {label_names: [job], regex: app}]}]}",
                "a: x",
                &["label_matchers: looks at `job`", "dimensions: names `OTelLib`", "dimensions: names `OTelLib`"],
            ),
            // A metric without a set of dimensions is sent by the exporter's roll-up alone.
            ("{metric_declarations: [{metric_name_selectors: [x]}]}", ": x", &[]),
            (
                "{dimension_rollup_option: NoDimensionRollup, metric_declarations: [{metric_name_selectors: [x]}, \
                 {dimensions: [[a]], metric_name_selectors: [z]}]}",
                "a: z",
                &[],
            ),
            (
                "{metric_declarations: [{dimensions: [[a]]}, {dimensions: [[a]], metric_name_selectors: [z]}]}",
                "a: z",
                &["metric_declarations: selects no names"],
            ),
            (
                "{metric_declarations: [{dimensions: [[a]], metric_name_selectors: ['(']}]}",
                all,
                &["metric_declarations: has no effect;"],
            ),
            (
                "{dimension_rollup_option: ZeroAndSingleDimensionRollup, metric_descriptors: [{metric_name: a, unit: b}]}",
                all,
                &["metric_descriptors: has no effect here", "dimension_rollup_option: has no effect here"],
            ),
            (
                "{resource_to_telemetry_conversion: {enabled: false}, dimension_rollup_option: NoDimensionRollup}",
                all,
                &[],
            ),
        ] {
            let (inputs, warnings) = loaded(exporter, "statsd, otlp, prometheus");
            for input in &inputs {
                assert_eq!(said(publish(input)), expected, "{exporter}");
            }
            assert_eq!(inputs.len(), 3);
            assert_eq!(warnings.len(), told.len(), "{exporter}: {warnings:#?}");
            for (warning, told) in warnings.iter().zip(told) {
                assert!(warning.starts_with(told), "{exporter}: {warnings:#?}");
            }
        }
    }

    #[test]
    fn attributes_of_the_resource_that_declarations_name_become_labels() {
        let declared = "metric_declarations: [{dimensions: [[ClusterName, route]], metric_name_selectors: [x], \
                        label_matchers: [{label_names: [zone, route], regex: a}]}]";
        let usual = ["service.name"];
        for (conversion, expected, warnings) in [
            ("", None, 0),
            ("resource_to_telemetry_conversion: {enabled: true}", Some(&usual[..]), 1),
            (
                &*format!("resource_to_telemetry_conversion: {{enabled: true}}, {declared}"),
                Some(&["service.name", "zone", "route", "ClusterName"]),
                0,
            ),
            (declared, None, 0),
        ] {
            let (inputs, told) = loaded(&format!("{{{conversion}}}"), "otlp");
            let Input::Otlp(otlp) = &inputs[0] else { panic!("{inputs:?}") };
            let labels =
                otlp.resource_labels.as_ref().map(|labels| labels.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!((labels.as_deref(), told.len()), (expected, warnings), "{conversion}: {told:#?}");
        }
    }

    /// Its names and dimensions are its own.
    #[test]
    fn what_the_task_uses_is_not_chosen_from() {
        let exporter =
            "{metric_declarations: [{dimensions: [[ClusterName]], metric_name_selectors: [MemoryUtilized]}]}";
        let (inputs, warnings) = loaded(exporter, "awsecscontainermetrics");
        assert!(matches!(&inputs[0], Input::Task(_)), "{inputs:?}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("does not choose of `awsecscontainermetrics`"), "{warnings:?}");
    }
}
