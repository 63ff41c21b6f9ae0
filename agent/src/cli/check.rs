//! `pillion check`: every mistake of the configuration, or what would run with it.
//!
//! Promises: nothing is opened, sent or written; the exit code is 78 exactly when the agent would not start, or would
//! start and lose records because an output is of a kind that it does not have.
//! Never: shows a secret of the configuration.

use std::{fmt::Write, process::ExitCode};

use super::{CONFIG, complain, print, run};
use crate::{
    agent::{self, Bounds},
    config::Config,
    ecs::memory,
    logs::{
        pattern::Pattern,
        settings::{Destination, Filter, Forward, Input, Output},
    },
    metrics::{settings as metrics, store::policy::Dimensions},
    problem::{Problem, Severity},
    secrets::{cost::Cost, settings::Mask},
    traces::settings as traces,
};

pub(super) fn check(call: &run::Call) -> ExitCode {
    match judged(call.load()) {
        Ok((config, warnings)) => {
            let bounds = Bounds::of(&config, memory::limit());
            if let Some(problem) = bounds.problem(&config) {
                complain(run::listed(&[&warnings[..], &[problem]].concat()));
                complain(format_args!("memory, at most:\n{}", bounds.table()));
                return ExitCode::from(CONFIG);
            }
            let warnings = [warnings, Cost::of(&config.secrets).warnings()].concat();
            if !warnings.is_empty() {
                complain(run::listed(&warnings));
            }
            print(summary(&config, &bounds))
        }
        Err(problems) => {
            complain(run::listed(&problems));
            ExitCode::from(CONFIG)
        }
    }
}

/// What was loaded, or all problems if the agent would not start or would lose records because of the configuration.
fn judged(loaded: Result<(Config, Vec<Problem>), Vec<Problem>>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    match loaded {
        Ok((config, problems)) if loses_records(&config) => Err(problems.into_iter().map(as_error).collect()),
        Ok(loaded) => Ok(loaded),
        Err(problems) => Err(problems.into_iter().map(as_error).collect()),
    }
}

/// True if an output is of a kind that we do not have. The agent starts with it, for a task that ran before must run;
/// whoever asks beforehand wants to know.
fn loses_records(config: &Config) -> bool {
    config.logs.outputs.iter().any(|output| matches!(output.to, Destination::Unsupported { .. }))
}

fn as_error(problem: Problem) -> Problem {
    match problem.severity {
        Severity::Loss => Problem { severity: Severity::Error, ..problem },
        Severity::Error | Severity::Warning => problem,
    }
}

/// What would run, for a person.
fn summary(config: &Config, bounds: &Bounds) -> String {
    let mut text = format!("configuration: {}\n", config.described);
    for input in &config.logs.inputs {
        line(&mut text, "logs come in", &described_input(input));
    }
    for filter in &config.logs.filters {
        line(&mut text, "pass", described_filter(filter));
    }
    for (number, output) in config.logs.outputs.iter().enumerate() {
        line(&mut text, "go out", &described_output(number, output));
    }
    for input in &config.traces.inputs {
        described_traces(&mut text, input);
    }
    for output in config.traces.running() {
        let (what, to) = match &output.to {
            traces::Destination::Xray(_) => ("segments", "AWS X-Ray".to_owned()),
            traces::Destination::Otlp(otlp) => {
                let place = otlp.traces_endpoint.as_ref().or(otlp.endpoint.as_ref());
                ("spans", place.map_or("AWS X-Ray's OTLP endpoint".to_owned(), |place| format!("OTLP at {place}")))
            }
        };
        line(&mut text, "go out", &format!("{} to {to}", output.name.as_deref().unwrap_or(what)));
    }
    for input in &config.metrics.inputs {
        described_metrics(&mut text, input);
    }
    for output in config.metrics.running() {
        let to = match &output.to {
            metrics::Destination::Cloudwatch(_) => "Amazon CloudWatch".to_owned(),
            metrics::Destination::Emf(emf) => format!("the logs' outputs, tag {}", emf.tag()),
            metrics::Destination::Otlp(otlp) => {
                let place = otlp.metrics_endpoint.as_ref().or(otlp.endpoint.as_ref());
                place.map_or("CloudWatch's OTLP endpoint".to_owned(), |place| format!("OTLP at {place}"))
            }
        };
        let every = config.metrics.flush_every();
        let name = output.name.as_deref().unwrap_or("metrics");
        line(&mut text, "go out", &format!("{name} to {to}, every {every:?}"));
    }
    if let Some(path) = &config.spool.path {
        let must = if config.spool.required { ", without which it does not start" } else { "" };
        line(&mut text, "spool", &format!("{}{must}", path.display()));
        for (name, bytes) in agent::shares(config) {
            line(&mut text, "", &format!("{name}: {bytes}"));
        }
    }
    if config.secrets.is_wanted() {
        let names: Vec<&str> = config.secrets.items.iter().map(|item| item.name.as_str()).collect();
        line(&mut text, "secrets", &format!("{} in {}", names.join(", "), config.secrets.folder().display()));
        if let Some(api) = &config.secrets.api {
            line(&mut text, "", &format!("local API: http://{}", api.address()));
        }
        let table = Cost::of(&config.secrets).table();
        if !table.is_empty() {
            line(&mut text, "", "looking costs:");
            text.push_str(&table);
        }
    }
    for said in described_masking(config) {
        line(&mut text, "masked", &said);
    }
    match config.admin {
        Some(address) => line(&mut text, "admin", &format!("http://{address}/metrics /healthz /readyz /status")),
        None => line(&mut text, "admin", "off"),
    }
    line(&mut text, "stop", &format!("within {:?} of SIGTERM", config.stop_budget));
    line(&mut text, "memory", "at most:");
    text.push_str(&bounds.table());
    text.push_str("the agent would start\n");
    text
}

fn line(text: &mut String, what: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {what:<13} {value}");
}

fn described_input(input: &Input) -> String {
    match input {
        Input::Forward(Forward { unix, tcp, shared_key, .. }) => {
            let mut places: Vec<String> = Vec::new();
            places.extend(unix.as_ref().map(|path| format!("unix socket {}", path.display())));
            places.extend(tcp.map(|address| format!("TCP {address}")));
            let key = if shared_key.is_some() { ", with a shared key" } else { "" };
            format!("forward: {}{key}", places.join(" and "))
        }
        Input::Json(json) => format!("json: TCP {}, tag {}", json.tcp, json.tag),
        Input::Emf(emf) => {
            let tcp = emf.tcp_address().map(|address| format!("TCP {address}"));
            let udp = emf.udp_address().map(|address| format!("UDP {address}"));
            let places: Vec<String> = tcp.into_iter().chain(udp).collect();
            format!("emf: {}, tag {}", places.join(" and "), emf.tag())
        }
        Input::Otlp(otlp) => {
            let [grpc, http] = otlp.addresses();
            format!("by OTLP: gRPC {grpc}, HTTP {http}, tag otlp")
        }
    }
}

fn described_traces(text: &mut String, input: &traces::Input) {
    match input {
        traces::Input::Xray(xray) => {
            line(text, "traces come in", &format!("as to the X-Ray daemon: UDP {}", xray.address()));
            if let Some(address) = xray.tcp_address() {
                let more = xray.proxy.allow.len();
                line(text, "", &format!("TCP {address}: sampling rules and targets are asked for, {more} more paths"));
            }
        }
        traces::Input::Otlp(otlp) => {
            let [grpc, http] = otlp.addresses();
            line(text, "traces come in", &format!("by OTLP: gRPC {grpc}, HTTP {http}"));
        }
    }
}

fn described_metrics(text: &mut String, input: &metrics::Input) {
    match input {
        metrics::Input::Statsd(statsd) => {
            let mut places: Vec<String> = Vec::new();
            places.extend(statsd.udp_address().map(|address| format!("UDP {address}")));
            let sockets = [&statsd.unix, &statsd.unix_stream].into_iter().flatten();
            places.extend(sockets.map(|path| format!("unix socket {}", path.display())));
            line(text, "metrics", &format!("statsd: {}", places.join(" and ")));
            described_publish(text, &statsd.publish);
        }
        metrics::Input::Emf(emf) => {
            let who = match emf.deliver {
                metrics::Deliver::Logs => "the logs bring them to CloudWatch",
                metrics::Deliver::Metrics => "sent in place of logs",
            };
            let records = if emf.in_records { ", also in records" } else { "" };
            line(text, "metrics", &format!("emf: in documents{records}; {who}"));
        }
        metrics::Input::Logs(records) => {
            let levels = if records.levels == Some(false) { "" } else { "records by container and level, " };
            line(text, "metrics", &format!("of logs: {levels}{} rules", records.rules.len()));
            described_publish(text, &records.publish());
        }
        metrics::Input::Otlp(otlp) => {
            let [grpc, http] = otlp.listen.addresses();
            line(text, "metrics", &format!("by OTLP: gRPC {grpc}, HTTP {http}"));
            described_publish(text, &otlp.publish);
        }
        metrics::Input::Scrape(scrape) => line(text, "metrics", &scrape.described()),
        metrics::Input::Task(task) => line(text, "metrics", &task.described()),
        metrics::Input::Queue(queue) => {
            let who =
                queue.publishers.map_or_else(String::new, |most| format!(", by {} of the service's tasks", most.get()));
            line(text, "metrics", &format!("queue {}: BacklogPerTask, each minute{who}", queue.name()));
            if let Some(target) = queue.target() {
                line(text, "", &format!("target of a policy that tracks its Average: {target}"));
            }
        }
    }
}

fn described_publish(text: &mut String, publish: &metrics::Publish) {
    let policy = publish.policy(true);
    let dimensions = match &policy.dimensions {
        Dimensions::All => "every label is a dimension".to_owned(),
        Dimensions::Named(names) if names.is_empty() => "no label is a dimension".to_owned(),
        Dimensions::Declared(_) => format!("{} declarations choose metrics and dimensions", publish.declarations.len()),
        Dimensions::Named(names) => format!("dimensions: {}", names.join(", ")),
    };
    let most = policy.series_max;
    line(text, "", &format!("namespace {}, {dimensions}, at most {most} series", policy.namespace));
}

fn described_filter(filter: &Filter) -> &'static str {
    match filter {
        Filter::Grep(_) => "grep",
        Filter::RecordModifier(_) => "record_modifier",
    }
}

/// What is masked in logs, and what that costs. Values are not known here; their shortest one decides.
fn described_masking(config: &Config) -> Vec<String> {
    let (items, api) = (&config.secrets.items, config.secrets.api.is_some());
    let named = |mask: Mask| {
        let names: Vec<&str> = items.iter().filter(|item| item.mask == mask).map(|item| item.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if !config.secrets.is_wanted() || config.logs.inputs.is_empty() {
        return Vec::new();
    }
    let (auto, always, never) = (named(Mask::Auto), named(Mask::Always), named(Mask::Never));
    let mut said = Vec::new();
    said.extend(auto.map(|names| format!("in every record, if it is no ordinary word: {names}")));
    said.extend(always.map(|names| format!("in every record, also words: {names}")));
    said.extend(api.then(|| "in every record: what apps ask the local API for".to_owned()));
    if !said.is_empty() {
        said.push(COST.to_owned());
    }
    said.extend(never.map(|names| format!("NOT masked, as asked: {names}")));
    said
}

/// Measured: docs/performance.md.
const COST: &str =
    "the shortest value decides what a record costs: 45 ns if it has 32 bytes, 120 to 250 ns if it has 8";

fn described_output(number: usize, output: &Output) -> String {
    let to = match &output.to {
        Destination::Cloudwatch(cloudwatch) => {
            let group = cloudwatch.group_template.as_ref().or(cloudwatch.group.as_ref());
            format!("CloudWatch Logs, group {}", group.map_or("not named", String::as_str))
        }
        Destination::File(file) => format!("files in {}", file.folder.display()),
        Destination::Discard(_) => "nowhere, as asked".to_owned(),
        Destination::Unsupported { plugin } => {
            format!("`{plugin}`, which this version does not have: records are LOST")
        }
    };
    let name = output.name.clone().unwrap_or_else(|| format!("output {number}"));
    match &output.pattern {
        Pattern::Wildcard(pattern) => format!("{name}: tags {pattern} to {to}"),
        Pattern::Regex(regex) => format!("{name}: tags like /{}/ to {to}", regex.as_str()),
        Pattern::Nothing => format!("{name}: no tag at all (it has no match) to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Environment, Sources},
        fluentbit::InMemory,
    };

    fn judge(text: &str) -> Result<String, String> {
        let files = InMemory::one("f.conf", text);
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let loaded = config::load(&Sources { file: Some("f.conf".into()), environment, files: &files });
        judged(loaded)
            .map(|(config, _)| summary(&config, &Bounds::of(&config, None)))
            .map_err(|problems| run::listed(&problems))
    }

    /// The agent would start with it, and say so; whoever checks beforehand must not miss it.
    #[test]
    fn an_output_we_do_not_have_is_an_error_here() {
        let input = "[INPUT]\n Name forward\n";
        let listed = judge(&format!("{input}[OUTPUT]\n Name splunk\n Match *\n")).expect_err("records would be lost");
        assert!(listed.starts_with("error: f.conf:3 [OUTPUT] splunk: output `splunk` is not supported"), "{listed}");
        let good = judge(&format!("{input}[OUTPUT]\n Name null\n Match *\n")).expect("good");
        assert!(good.ends_with("the agent would start\n"), "{good}");
    }

    /// What looking costs is shown before it is paid, with the quotas that all tasks of an account share.
    #[test]
    fn what_looking_costs_is_shown() {
        let files = InMemory::one("f.yaml", "secrets: {items: [{name: db, from: {secrets_manager: {id: db}}}]}\n");
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let sources = Sources { file: Some("f.yaml".into()), environment, files: &files };
        let (config, _) = config::load(&sources).expect("good");
        let text = summary(&config, &Bounds::of(&config, None));
        let shown: Vec<&str> = text.lines().filter(|line| line.contains("db in") || line.contains("10,000 ")).collect();
        assert_eq!(shown[0], "  secrets       db in /run/secrets");
        assert_eq!(shown[1].split_whitespace().collect::<Vec<_>>()[..3], ["10,000", "28,800,000", "144.00"], "{text}");
    }

    /// The target of a policy that scales by the queue is printed, so that nobody works it out by hand.
    #[test]
    fn what_the_inputs_that_ask_do_is_told() {
        let text = "metrics:\n  inputs:\n    - scrape: {targets: [auto, '127.0.0.1:9404']}\n    - task: {}\n    - queue: {sqs: \
                    'https://sqs.eu-west-1.amazonaws.com/1/jobs', acceptable_latency: 10m, processing_time: 250ms}\n";
        let files = InMemory::one("p.yaml", text);
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let loaded = config::load(&Sources { file: Some("p.yaml".into()), environment, files: &files });
        let (config, _) = loaded.expect("it is well");
        let text = summary(&config, &Bounds::of(&config, None));
        for told in [
            "scraped every 60s: what the containers' labels say, http://127.0.0.1:9404/metrics",
            "the task's stats every 60s, under our own names in ECS/Sidecar",
            "queue jobs: BacklogPerTask, each minute",
            "target of a policy that tracks its Average: 2400",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }

    #[test]
    fn what_is_masked_is_told() {
        let told = |mask: &str| {
            let item = format!("{{name: db, from: {{file: /x}}{mask}}}");
            let text = format!("logs: {{outputs: [{{to: discard}}]}}\nsecrets: {{folder: /s, items: [{item}]}}\n");
            let files = InMemory::one("p.yaml", text);
            let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
            let loaded = config::load(&Sources { file: Some("p.yaml".into()), environment, files: &files });
            described_masking(&loaded.expect("it is well").0).join("\n")
        };
        assert_eq!(told(""), format!("in every record, if it is no ordinary word: db\n{COST}"));
        assert_eq!(told(", mask: always"), format!("in every record, also words: db\n{COST}"));
        assert_eq!(told(", mask: never"), "NOT masked, as asked: db");
    }
}
