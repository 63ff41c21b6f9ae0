//! `[OUTPUT]`: `cloudwatch_logs`, `cloudwatch` and `null`; others are known by name only.
//!
//! Promises: an output we do not have keeps its place, so that its records are counted as lost.
//! Never: fails a start because of an option that a destination can do without.

use std::sync::Arc;

use super::{
    Numbers, cloudwatch,
    section::{Reader, value_shown},
    storage::Storage,
};
use crate::logs::{
    filter::regex::Regex,
    out::RetryLimit,
    pattern::Pattern,
    settings::{Destination, Discard, Output},
};

pub(super) fn read(reader: &mut Reader<'_>, numbers: &mut Numbers, storage: &mut Storage) -> Option<Output> {
    let plugin = reader.plugin()?;
    let pattern = pattern(reader);
    let instance = numbers.next(&plugin);
    let name = Some(reader.text("alias").unwrap_or(instance));
    let spool_bytes_max = storage.output(reader);
    let to = match plugin.as_str() {
        "null" => {
            common(reader);
            reader.accept(&["retry_limit", "workers", "format"]);
            Destination::Discard(Discard::default())
        }
        "cloudwatch_logs" => Destination::Cloudwatch(Box::new(cloudwatch::c_plugin(reader)?)),
        "cloudwatch" => Destination::Cloudwatch(Box::new(cloudwatch::go_plugin(reader)?)),
        _ => {
            let plugin = reader.plugin_shown().to_owned();
            let what = format!("output `{plugin}` is not supported by this version");
            reader.section_loss(what, "its records are counted as lost (`output_not_supported`)");
            reader.pass_over();
            Destination::Unsupported { plugin }
        }
    };
    Some(Output { pattern, name, spool_bytes_max, to })
}

/// `Match` or `Match_Regex`. Without either, nothing ever matches.
pub(super) fn pattern(reader: &mut Reader<'_>) -> Pattern {
    let wildcard = reader.get("match");
    let Some(regex) = reader.get("match_regex") else {
        return match wildcard {
            Some(wildcard) => Pattern::Wildcard(wildcard.value.clone()),
            None => {
                reader.section_warning("has no `Match`", "no record ever gets here; write for example `Match *`");
                Pattern::Nothing
            }
        };
    };
    match Regex::new(&regex.value) {
        Ok(compiled) => Pattern::Regex(Arc::new(compiled)),
        Err(_) => {
            let what = format!("{} is not a regular expression we can read", value_shown(regex));
            reader.error(regex, what, "use `Match` with `*`, or a simpler expression");
            Pattern::Nothing
        }
    }
}

/// Options of all outputs that mean nothing here, or that we do anyway.
pub(super) fn common(reader: &mut Reader<'_>) {
    reader.accept(&[
        "log_level",
        "log_suppress_interval",
        "ipv6",
        "host",
        "net.",
        "tls.",
        // For the log driver; some versions of the ECS agent hand them through.
        "mode",
        "max-buffer-size",
        "log-driver-buffer-limit",
    ]);
}

/// `Retry_Limit`. Fluent Bit's default of one more attempt is not taken over: it loses records in any short outage.
pub(super) fn retry_limit(reader: &mut Reader<'_>) -> RetryLimit {
    let Some(property) = reader.get("retry_limit") else { return RetryLimit::Unlimited };
    match property.value.to_ascii_lowercase().as_str() {
        "no_limits" | "false" | "off" => return RetryLimit::Unlimited,
        "no_retries" => return RetryLimit::None,
        _ => {}
    }
    match property.value.parse::<i64>() {
        Ok(n) if n > 0 => RetryLimit::AtLeast(u32::try_from(n).unwrap_or(u32::MAX)),
        Ok(_) => {
            reader.warning(property, "is less than 1", "it counts as 1; `no_retries` means never");
            RetryLimit::AtLeast(1)
        }
        Err(_) => {
            let what = format!("{} is not a number", value_shown(property));
            reader.warning(property, what, "it counts as `no_limits`");
            RetryLimit::Unlimited
        }
    }
}
