//! `[SERVICE]`: settings of the whole agent. Several sections count as one.
//!
//! Promises: what a real configuration sets there is accepted without noise, unless the user would miss its effect.
//! Never: changes how records are sent; `Flush` and `Grace` are left to our own defaults, which are better. How they are kept
//! is up to `storage`.

use super::section::{Reader, value_shown};

/// What `[SERVICE]` says that means something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: Option<&'static str>,
}

impl Service {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        if let Some(property) = reader.get("log_level") {
            match level(&property.value) {
                Some(level) => self.log_level = Some(level),
                None => {
                    let what = format!("{} is not a level", value_shown(property));
                    reader.warning(property, what, "write `error`, `warn`, `info`, `debug` or `trace`");
                }
            }
        }
        reader.accept(&[
            "flush",
            "grace",
            "daemon",
            "log_file",
            "parsers_file",
            "hot_reload",
            "hot_reload.",
            "coro_stack_size",
            "scheduler.",
            "dns.",
            "json.",
            "http_listen",
            "http_port",
            "http_server.",
            "hc_errors_count",
            "hc_retry_failure_count",
            "hc_period",
            "enable_chunk_trace",
            "multiline_buffer_limit",
            "windows.",
            "config_watch",
            "sp.",
        ]);
        for key in ["http_server", "health_check"] {
            if reader.flag(key) == Some(true) {
                let why = "Fluent Bit's HTTP interface is not served by this version; use `/metrics` and `/healthz` of \
                           the admin address";
                reader.without_effect(&[key], why);
            }
        }
        reader.without_effect(&["plugins_file", "streams_file"], "it is not supported by this version");
    }
}

/// Fluent Bit's name of a level as ours.
pub fn level(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Some("off"),
        "error" => Some("error"),
        "warn" | "warning" => Some("warn"),
        "info" => Some("info"),
        "debug" => Some("debug"),
        "trace" => Some("trace"),
        _ => None,
    }
}
