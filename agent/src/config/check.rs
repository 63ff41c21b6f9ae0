//! What the types cannot say: one field against another, one item against the others.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting; looks at a Fluent Bit file, which has its own rules and its own words.

use std::{sync::Arc, time::Duration};

use super::{
    checking::{Check, Common, Protection, is_region},
    document::{ADMIN, Document},
    metrics,
    node::Path,
    source::Tree,
    spool, traces,
};
use crate::{
    deliver::{ack::AckLevel, spooling},
    ecs::Metadata,
    logs::{
        self,
        filter::{
            grep,
            record_modifier::{self, Modifier},
        },
        out::{cloudwatch, cloudwatch::Templates},
        pattern::Pattern,
        settings::{Destination, Emf, Filter, Forward, Input, Output},
    },
    metrics::{settings as from_metrics, task::settings::TaskStats},
    otlp::own,
    problem::Problems,
    units::ByteSize,
};

/// The smallest memory that still holds one full batch for CloudWatch Logs and the one being filled.
const MEMORY_MIN: ByteSize = ByteSize::mebibytes(4);
/// A longer `stopTimeout` than this is a mistake in the unit.
const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Records that wait longer than this look lost.
const LINGER_MAX: Duration = Duration::from_secs(300);

/// Finds what is wrong with a document that was read from `tree`.
pub(super) fn check(document: &Document, tree: &Tree, problems: &mut Problems) {
    let mut check = Check::new(tree, problems);
    check.top(document);
    for (input, path) in document.logs.inputs.iter().zip(check.items("logs.inputs")) {
        match input {
            Input::Forward(forward) => check.forward(forward, document.spool.path.is_some(), &path.key("forward")),
            Input::Json(json) => {
                check.listener(Some(json.tcp), &path.key("json").key("tcp"), Protection::None);
                check.not_empty(&json.tag, &path.key("json").key("tag"));
            }
            Input::Emf(emf) => check.emf(emf, &path.key("emf")),
            Input::Otlp(otlp) => traces::check_otlp(otlp, document.spool.path.is_some(), &path.key("otlp"), &mut check),
        }
    }
    for (filter, path) in document.logs.filters.iter().zip(check.items("logs.filters")) {
        match filter {
            Filter::Grep(grep) => check.grep(grep, &path.key("grep")),
            Filter::RecordModifier(modifier) => check.record_modifier(modifier, &path.key("record_modifier")),
        }
    }
    let names = logs::job::names(&document.logs.outputs);
    for ((output, path), name) in document.logs.outputs.iter().zip(check.items("logs.outputs")).zip(names) {
        check.logs_output(output, name, &path);
    }
    traces::check(&document.traces, document.spool.path.is_some(), &mut check);
    check.documents(document);
    metrics::check(&document.metrics, &mut check);
    if let Some(Err(error)) = document.telemetry.traces.as_ref().map(own::Config::target) {
        let hint = "write for example `http://127.0.0.1:4318`";
        check.error(&Path::of("telemetry.traces.to"), error.to_string(), hint);
    }
}

impl Check<'_> {
    fn emf(&mut self, emf: &Emf, path: &Path) {
        self.listener(emf.tcp_address(), &path.key("tcp"), Protection::None);
        // The same port may be one of TCP and one of UDP.
        if emf.udp_address() != emf.tcp_address() {
            self.listener(emf.udp_address(), &path.key("udp"), Protection::None);
        }
        if emf.tcp_address().is_none() && emf.udp_address().is_none() {
            self.error(path, "listens nowhere", "give `tcp` or `udp` an address, or remove the input");
        }
        self.not_empty(emf.tag(), &path.key("tag"));
        self.not_empty(emf.log_group.as_deref().unwrap_or("-"), &path.key("log_group"));
        self.no_template(emf.log_group.as_deref(), &path.key("log_group"));
    }

    /// Names of documents are taken as they are; the output's own can be filled in.
    fn no_template(&mut self, name: Option<&str>, path: &Path) {
        if name.is_some_and(|name| name.contains("$(")) {
            let hint = "leave it out, and write it in the logs' output, with `templates: go_plugin`";
            self.warning(path, "is taken as it is written: `$(...)` is not filled in here", hint);
        }
    }

    /// Metrics out of documents need documents, and metrics as documents an output of the logs.
    fn documents(&mut self, document: &Document) {
        for (output, path) in document.metrics.outputs.iter().zip(self.items("metrics.outputs")) {
            let from_metrics::Destination::Emf(emf) = &output.to else { continue };
            let path = path.key("to").key("emf");
            self.goes_by_the_logs(document, (emf.tag(), &emf.group, &emf.stream), &path);
            if output.spool_bytes_max.is_some() {
                self.warning(&path, "has no spool of its own", "give the logs' output one");
            }
        }
        for (input, path) in document.metrics.inputs.iter().zip(self.items("metrics.inputs")) {
            let from_metrics::Input::Task(TaskStats { performance_events: Some(events), .. }) = input else { continue };
            let path = path.key("task").key("performance_events");
            self.goes_by_the_logs(document, (events.tag(), &events.group, &events.stream), &path);
        }
        let is_taken = document.logs.inputs.iter().any(|input| matches!(input, Input::Emf(_)));
        for (input, path) in document.metrics.inputs.iter().zip(self.items("metrics.inputs")) {
            if let from_metrics::Input::Emf(emf) = input
                && !is_taken
                && !emf.in_records
            {
                let hint = "add `- emf: {}` to `logs.inputs`, or set `in_records`";
                self.warning(&path.key("emf"), "no document can come", hint);
            }
        }
    }

    /// What metrics send as documents of this tag, to this group and stream.
    fn goes_by_the_logs(
        &mut self,
        document: &Document,
        (tag, group, stream): (&str, &Option<String>, &Option<String>),
        path: &Path,
    ) {
        self.not_empty(tag, &path.key("tag"));
        let takes = |output: &Output| matches!(output.to, Destination::Cloudwatch(_)) && output.pattern.fits(tag);
        // Of a Fluent Bit file the outputs are not known here.
        if !document.logs.outputs.is_empty() && !document.logs.outputs.iter().any(takes) {
            let hint = format!("add `- {{match: {tag}, to: {{cloudwatch: {{...}}}}}}` to `logs.outputs`");
            self.error(path, "no output of the logs takes its documents to CloudWatch", &hint);
        }
        for (key, name) in [("group", group), ("stream", stream)] {
            if name.as_deref().is_some_and(|name| name.is_empty() || name.len() > 512 || name.contains([':', '*'])) {
                let hint = "use 1 to 512 letters, no `:`, no `*`";
                self.error(&path.key(key), "not a name that CloudWatch Logs takes", hint);
            }
            self.no_template(name.as_deref(), &path.key(key));
        }
    }

    fn top(&mut self, document: &Document) {
        let admin = document.admin.listen.address(ADMIN);
        if let Some(address) = admin {
            self.listener(Some(address), &Path::of("admin.listen"), Protection::None);
        }
        if document.memory.is_some_and(|memory| memory < MEMORY_MIN) {
            self.error(&Path::of("memory"), format!("less than {MEMORY_MIN}"), "give at least `4 MiB`");
        }
        let parts: Vec<Option<ByteSize>> = spool::parts(document);
        let least = spooling::least(&parts);
        if document.spool.bytes_max.is_some_and(|bytes| bytes < least) {
            let what = format!(
                "less than {least}, which is what outputs ask for, and {} for each of the others",
                spooling::OUTPUT_BYTES_MIN
            );
            self.error(&Path::of("spool.bytes_max"), what, "give more, or leave it out");
        }
        if document.spool.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            let what = "is not an absolute path";
            self.error(&Path::of("spool.path"), what, "write for example `/var/lib/pillion/spool`");
        }
        let out_of_range = |span: Duration| span < Duration::from_secs(1) || span > STOP_TIMEOUT_MAX;
        if document.stop_timeout.is_some_and(|timeout| out_of_range(timeout.0)) {
            self.error(&Path::of("stop_timeout"), "not between 1s and 24h", "give the task definition's `stopTimeout`");
        }
        if document.admin.stuck_after.is_some_and(|after| !after.0.is_zero() && out_of_range(after.0)) {
            let hint = "write for example `15m`, or `0s` to switch it off";
            self.error(&Path::of("admin.stuck_after"), "not between 1s and 24h", hint);
        }
    }

    fn forward(&mut self, forward: &Forward, has_spool: bool, path: &Path) {
        if forward.ack == AckLevel::Spooled && !has_spool {
            self.error(&path.key("ack"), "there is no spool to wait for", "give `spool.path`, or write `delivered`");
        }
        if forward.unix.is_none() && forward.tcp.is_none() && self.is_whole(path) {
            self.error(path, "listens nowhere", "give `unix`, `tcp` or both");
        }
        if let Some(unix) = &forward.unix {
            self.not_empty(&unix.to_string_lossy(), &path.key("unix"));
        }
        let protection = if forward.shared_key.is_some() { Protection::Key } else { Protection::None };
        self.listener(forward.tcp, &path.key("tcp"), protection);
        if let Some(unix) = &forward.unix
            && let Some(other) = self.sockets.insert(unix.clone(), path.key("unix"))
        {
            self.error(&path.key("unix"), format!("is the socket of `{other}` too"), "give each input its own");
        }
        if forward.unix_permissions.is_some() && forward.unix.is_none() {
            self.warning(&path.key("unix_permissions"), "has no effect without `unix`", "");
        }
        // CVE-2025-12969: a receiver that takes users without a key lets everyone in.
        if !forward.users.is_empty() && forward.shared_key.is_none() && self.is_whole(path) {
            let what = "users are checked in the handshake only, and there is none without a key";
            self.error(&path.key("users"), what, "give `shared_key` too");
        }
        if forward.shared_key.as_ref().is_some_and(|key| key.expose().is_empty()) {
            self.error(
                &path.key("shared_key"),
                "is empty",
                "everyone knows an empty key; give one, or remove the line",
            );
        }
        for (index, user) in forward.users.iter().enumerate() {
            self.not_empty(&user.name, &path.key("users").item(index).key("name"));
        }
        if forward.message_bytes_max.is_some_and(|max| max.0 < 1_024) {
            self.error(&path.key("message_bytes_max"), "less than 1 KiB", "one line of a container has up to 16 KiB");
        }
    }

    /// Each rule alone, then all together, so that every rule that cannot work is named.
    fn grep(&mut self, config: &grep::Config, path: &Path) {
        let mut works = self.is_whole(path);
        for (index, rule) in config.rules.iter().enumerate() {
            let (grep::Rule::Regex { key, .. } | grep::Rule::Exclude { key, .. }) = rule;
            let rule_path = path.key("rules").item(index);
            self.not_empty(key, &rule_path);
            let alone = grep::Config { rules: vec![rule.clone()], ..grep::Config::default() };
            if let Err(problem) = grep::Grep::new(&alone)
                && !key.is_empty()
            {
                self.error(&rule_path, problem, "");
                works = false;
            }
        }
        if let Err(problem) = grep::Grep::new(config)
            && works
        {
            self.error(&path.key("logical_op"), problem, "use two filters");
        }
    }

    fn record_modifier(&mut self, modifier: &record_modifier::Config, path: &Path) {
        let mut good = true;
        if !modifier.remove_keys.is_empty() && !modifier.allowlist_keys.is_empty() {
            self.error(&path.key("allowlist_keys"), "cannot stand beside `remove_keys`", "use one of the two");
            good = false;
        }
        for (index, (key, _)) in modifier.records.iter().enumerate() {
            self.not_empty(key, &path.key("records").item(index));
            good &= !key.is_empty();
        }
        if good && let Err(what) = Modifier::new(modifier) {
            self.error(path, what, "");
        }
    }

    fn logs_output(&mut self, output: &Output, name: Arc<str>, path: &Path) {
        let (own, spool_bytes_max) = (output.name.as_deref(), output.spool_bytes_max);
        self.output(Common { name, own, spool_bytes_max }, path);
        if matches!(&output.pattern, Pattern::Wildcard(text) if text.is_empty()) {
            self.warning(&path.key("match"), "fits no tag", "write `*` for all of them");
        }
        match &output.to {
            Destination::Cloudwatch(config) => self.cloudwatch(config, &path.key("to").key("cloudwatch")),
            Destination::File(file) => {
                let path = path.key("to").key("file");
                if file.folder.as_os_str().is_empty() {
                    self.error(&path.key("folder"), "is empty", "give the path of a folder");
                }
                if file.file_bytes_max.is_some_and(|max| max.0 < 1_024) {
                    self.error(&path.key("file_bytes_max"), "less than 1 KiB", "write for example `64 MiB`");
                }
            }
            Destination::Discard(_) | Destination::Unsupported { .. } => {}
        }
    }

    fn cloudwatch(&mut self, config: &cloudwatch::Config, path: &Path) {
        let whole = self.is_whole(path);
        if config.group.is_none() && whole {
            self.error(path, "has no `group`", "name the log group");
        }
        match (&config.stream, &config.stream_prefix) {
            (None, None) if whole => {
                self.error(path, "has neither `stream` nor `stream_prefix`", "give one of the two");
            }
            (Some(_), Some(_)) => {
                self.error(&path.key("stream_prefix"), "cannot stand beside `stream`", "give one of the two");
            }
            _ => {}
        }
        self.cloudwatch_names(config, path);
        // The names are known to be there; so what is wrong is a template.
        if whole
            && config.group.is_some()
            && config.stream.is_some() != config.stream_prefix.is_some()
            && let Err(problem) = cloudwatch::Naming::new(config, &Metadata::default(), "")
        {
            self.error(path, problem, "");
        }
        self.cloudwatch_creation(config, path);
        self.cloudwatch_access(config, path);
        if config.log_format.as_deref().is_some_and(|format| format != "json/emf") {
            self.error(&path.key("log_format"), "not a format that CloudWatch Logs knows", "write `json/emf`");
        }
        if config.linger.is_some_and(|linger| linger.0 > LINGER_MAX) {
            self.error(&path.key("linger"), "longer than 5m", "write for example `250ms`");
        }
    }

    /// The service's rules for names, from the references of `CreateLogGroup` and `CreateLogStream`.
    fn cloudwatch_names(&mut self, config: &cloudwatch::Config, path: &Path) {
        let go = config.templates == Templates::GoPlugin;
        let is_template = |text: &str| go && text.contains("$(");
        if let Some(group) = config.group.as_deref().filter(|group| !is_template(group)) {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
            if group.is_empty() || group.len() > 512 || !group.chars().all(plain) {
                let hint = match group.contains("$(") {
                    true => "set `templates: go_plugin` to fill in `$(...)`",
                    false => "use 1 to 512 of the letters a-z, A-Z, 0-9, `.`, `-`, `_`, `/`, `#`",
                };
                self.error(&path.key("group"), "not a name of a log group", hint);
            }
        }
        for (key, text) in [("stream", &config.stream), ("stream_prefix", &config.stream_prefix)] {
            let Some(text) = text.as_deref().filter(|text| !is_template(text)) else { continue };
            if text.is_empty() || text.len() > 512 || text.contains([':', '*']) {
                self.error(&path.key(key), "not a name of a log stream", "use 1 to 512 letters other than `:` and `*`");
            } else if text.contains("$(") {
                let hint = "set `templates: go_plugin` to fill in `$(...)`";
                self.warning(&path.key(key), "is taken as it is written", hint);
            }
        }
        let needs_fluent_bit =
            [("group_template", &config.group_template), ("stream_template", &config.stream_template)];
        for (key, _) in needs_fluent_bit.iter().filter(|(_, text)| go && text.is_some()) {
            self.error(
                &path.key(key),
                "cannot stand beside `templates: go_plugin`",
                "write `$(...)` in `group`, `stream`",
            );
        }
        let needs_go = [("default_group", &config.default_group), ("default_stream", &config.default_stream)];
        for (key, _) in needs_go.iter().filter(|(_, text)| !go && text.is_some()) {
            self.warning(&path.key(key), "has no effect without `templates: go_plugin`", "");
        }
    }

    fn cloudwatch_creation(&mut self, config: &cloudwatch::Config, path: &Path) {
        if config.retention_days.is_some_and(|days| !cloudwatch::RETENTION_DAYS.contains(&days)) {
            let known: Vec<String> = cloudwatch::RETENTION_DAYS.iter().map(u32::to_string).collect();
            let hint = format!("use one of {}", known.join(", "));
            self.error(&path.key("retention_days"), "not a retention that CloudWatch Logs knows", &hint);
        }
        let given = [
            ("retention_days", config.retention_days.is_some()),
            ("group_class", config.group_class != cloudwatch::GroupClass::default()),
            ("group_tags", !config.group_tags.is_empty()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given && !config.auto_create_group) {
            self.warning(&path.key(key), "has no effect without `auto_create_group: true`", "");
        }
    }

    fn cloudwatch_access(&mut self, config: &cloudwatch::Config, path: &Path) {
        for (key, url) in [("endpoint", &config.endpoint), ("sts_endpoint", &config.sts_endpoint)] {
            let Some(url) = url else { continue };
            let path = path.key(key);
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if host
                .is_none_or(|host| host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) && !host.ends_with('/'))
            {
                self.error(&path, "not the URL of a host", "write for example `https://logs.eu-west-1.amazonaws.com`");
            }
            if url.contains('$') {
                self.error(&path, "cannot hold a template", "a record must not choose where it is sent");
            }
            let local = ["http://127.", "http://localhost", "http://[::1]"];
            if url.starts_with("http://") && !local.iter().any(|start| url.starts_with(start)) {
                self.warning(&path, "records go there unencrypted", "write `https://`");
            }
        }
        // An option of the role alone would be passed over, and the wrong identity used.
        for (key, text) in [("external_id", &config.external_id), ("sts_endpoint", &config.sts_endpoint)] {
            if text.is_some() && config.role_arn.is_none() && self.is_whole(&path.clone()) {
                self.error(&path.key(key), "needs `role_arn`", "give the role to assume, or remove the line");
            }
        }
        if config.region.as_deref().is_some_and(|region| !is_region(region)) {
            self.error(&path.key("region"), "not a region", "write for example `eu-west-1`");
        }
    }
}
