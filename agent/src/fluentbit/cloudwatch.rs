//! The two plugins for CloudWatch Logs: `cloudwatch_logs` (in C) and `cloudwatch` (in Go).
//!
//! Promises: has an answer to every option of both.
//! Never: asks for a region; it may come from the environment or from the task.

use std::collections::BTreeMap;

use super::{
    outputs,
    section::{Reader, value_shown},
};
use crate::{
    ecs::Metadata,
    logs::out::cloudwatch::{Config, GroupClass, Naming, RETENTION_DAYS, Templates},
    units::Count,
};

/// `cloudwatch_logs`. None if it cannot work; the reason has been reported.
pub(super) fn c_plugin(reader: &mut Reader<'_>) -> Option<Config> {
    let mut config = shared(reader);
    config.group_template = reader.text("log_group_template");
    config.stream_template = reader.text("log_stream_template");
    config.metric_namespace = reader.text("metric_namespace");
    config.metric_dimensions = reader.text("metric_dimensions");
    config.profile = reader.text("profile");
    config.endpoint = endpoint(reader);
    config.group_class = group_class(reader);
    reader.accept(&["auto_retry_requests"]);
    if reader.flag("add_entity") == Some(true) {
        reader.without_effect(&["add_entity"], "entities are not sent by this version");
    }
    complete(reader, config)
}

/// `cloudwatch`. None if it cannot work; the reason has been reported.
pub(super) fn go_plugin(reader: &mut Reader<'_>) -> Option<Config> {
    let mut config = shared(reader);
    config.templates = Templates::GoPlugin;
    config.default_group = reader.text("default_log_group_name");
    config.default_stream = reader.text("default_log_stream_name");
    config.auto_create_stream = reader.flag("auto_create_stream");
    config.endpoint = reader.text("endpoint").map(|endpoint| with_scheme(&endpoint, "https"));
    config.group_tags = group_tags(reader);
    reader.accept(&["tls", "port"]);
    reader.without_effect(&["credentials_endpoint"], "credentials come from the task's own endpoint");
    complete(reader, config)
}

fn shared(reader: &mut Reader<'_>) -> Config {
    outputs::common(reader);
    Config {
        region: reader.text("region"),
        group: reader.text("log_group_name"),
        stream: reader.text("log_stream_name"),
        stream_prefix: reader.text("log_stream_prefix"),
        log_key: reader.text("log_key"),
        log_format: reader.text("log_format"),
        auto_create_group: reader.flag("auto_create_group").unwrap_or(false),
        retention_days: retention_days(reader),
        role_arn: reader.text("role_arn"),
        external_id: reader.text("external_id"),
        sts_endpoint: reader.text("sts_endpoint").map(|endpoint| with_scheme(&endpoint, "https")),
        extra_user_agent: reader.text("extra_user_agent"),
        retry_limit: outputs::retry_limit(reader),
        workers: workers(reader),
        ..Config::default()
    }
}

/// Reports what the plugins refuse to start without.
fn complete(reader: &Reader<'_>, config: Config) -> Option<Config> {
    let group = config.group.is_some();
    if !group {
        reader.section_error("has no `log_group_name`", "name the log group");
    }
    match (&config.stream, &config.stream_prefix) {
        (Some(_), None) | (None, Some(_)) => {
            if group && Naming::new(&config, &Metadata::default(), "").is_err() {
                // Not the problem's own text: it quotes the name, which may have come out of a variable.
                let hint = "write `$field`, `$field['sub']`, `$TAG[n]` in templates, `$(field)` for `cloudwatch`";
                reader.section_error("has a name that cannot be filled in", hint);
            }
            group.then_some(config)
        }
        (None, None) => {
            reader.section_error("has neither `log_stream_name` nor `log_stream_prefix`", "give one of the two");
            None
        }
        (Some(_), Some(_)) => {
            reader.section_error("has both `log_stream_name` and `log_stream_prefix`", "give one of the two");
            None
        }
    }
}

/// Host, port and `tls` as one URL.
fn endpoint(reader: &mut Reader<'_>) -> Option<String> {
    let endpoint = reader.text("endpoint");
    let port = reader.get("port");
    let scheme = match reader.flag("tls") {
        Some(false) => "http",
        _ => "https",
    };
    let Some(endpoint) = endpoint else {
        if scheme == "http" {
            let why = "without `endpoint` the service's own address is used, which needs TLS";
            reader.without_effect(&["tls"], why);
        }
        return None;
    };
    let url = with_scheme(&endpoint, scheme);
    let Some(port) = port else { return Some(url) };
    match port.value.parse::<u16>() {
        Ok(number) if number > 0 => Some(format!("{url}:{number}")),
        _ => {
            let what = format!("{} is not a port", value_shown(port));
            reader.error(port, what, "write a number from 1 to 65535");
            None
        }
    }
}

fn with_scheme(address: &str, scheme: &str) -> String {
    let address = address.trim_end_matches('/');
    match address.split_once("://") {
        // `cloudwatch_logs` strips `https://` and goes by `tls`.
        Some(("https", host)) => format!("{scheme}://{host}"),
        Some(_) => address.to_owned(),
        None => format!("{scheme}://{address}"),
    }
}

fn retention_days(reader: &mut Reader<'_>) -> Option<u32> {
    let (property, days) = reader.number("log_retention_days")?;
    match u32::try_from(days) {
        // 0 is the default and means for ever.
        Ok(0) => None,
        Ok(days) if RETENTION_DAYS.contains(&days) => Some(days),
        _ => {
            let what = format!("{} is not a retention that CloudWatch Logs knows", value_shown(property));
            reader.warning(property, what, "a group we create keeps events for ever; write for example `30`");
            None
        }
    }
}

fn workers(reader: &mut Reader<'_>) -> Option<Count<1, 32>> {
    let (property, workers) = reader.number("workers")?;
    match workers {
        // Without workers Fluent Bit sends one request at a time, as we do by default.
        0 => None,
        _ => {
            let count = Count::new(u64::try_from(workers).unwrap_or(0));
            if count.is_err() {
                let what = format!("{} is not between 1 and 32", value_shown(property));
                reader.warning(property, what, "it counts as not given");
            }
            count.ok()
        }
    }
}

fn group_class(reader: &mut Reader<'_>) -> GroupClass {
    let Some(property) = reader.get("log_group_class") else { return GroupClass::Standard };
    match property.value.as_str() {
        "STANDARD" => GroupClass::Standard,
        "INFREQUENT_ACCESS" => GroupClass::InfrequentAccess,
        _ => {
            let what = format!("{} is not a class of log groups", value_shown(property));
            reader.warning(property, what, "write `STANDARD` or `INFREQUENT_ACCESS`; it counts as `STANDARD`");
            GroupClass::Standard
        }
    }
}

/// `new_log_group_tags k=v,k2=v2`.
fn group_tags(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(property) = reader.get("new_log_group_tags") else { return BTreeMap::new() };
    let mut tags = BTreeMap::new();
    for tag in property.value.split(',').filter(|tag| !tag.trim().is_empty()) {
        match tag.split_once('=') {
            Some((key, value)) => {
                tags.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            None => reader.warning(property, "holds a tag without `=`", "write `key=value,key=value`; it is left out"),
        }
    }
    tags
}
