//! Environment variables that stand for one setting each.
//!
//! Promises: our own go before the file; the ones that ECS or AWS set for everybody stand in where the file is silent.
//! Never: passes over a misspelt `PILLION_` variable without a word.

use std::time::Duration;

use super::{Level, Loaded, checking::is_region, environment::Environment, extension, overrides};
use crate::{
    problem::{Problem, Problems, nearest, shown},
    units::Span,
};

/// Our own variables.
const OWN: [&str; 4] = ["PILLION_CONFIG", "PILLION_CONFIG_CONTENT", "PILLION_STOP_TIMEOUT", "PILLION_LOG_LEVEL"];

/// Reads the variables into the configuration.
pub(super) fn apply(environment: &Environment, loaded: &mut Loaded, problems: &mut Problems) {
    report_unknown(environment, problems);
    let document = &mut loaded.document;
    if let Some(text) = environment.get("PILLION_STOP_TIMEOUT") {
        match stop_timeout(text) {
            Some(timeout) => document.stop_timeout = Some(timeout),
            None => {
                let what = "not a time between 1s and 24h";
                problems.push(Problem::error("PILLION_STOP_TIMEOUT", what, "write for example `30` or `30s`"));
            }
        }
    }
    for name in ["FLB_LOG_LEVEL", "PILLION_LOG_LEVEL"] {
        let Some(text) = environment.get(name) else { continue };
        match Level::parse(text) {
            Some(level) => document.log.level = Some(level),
            None => {
                let hint = "write `error`, `warn`, `info`, `debug` or `trace`; it counts as not set";
                problems.push(Problem::warning(name, "not a level", hint));
            }
        }
    }
    if let Some(api) = &mut document.secrets.api {
        extension::apply(environment, api, problems);
    }
    if document.aws.region.is_none() {
        let region = environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION"));
        document.aws.region = region.map(str::to_owned);
        if region.is_some_and(|region| !is_region(region)) {
            problems.push(Problem::error("AWS_REGION", "not a region", "write for example `eu-west-1`"));
        }
    }
    if document.aws.endpoint.is_none() {
        document.aws.endpoint = environment.get("AWS_ENDPOINT_URL").map(str::to_owned);
    }
    if document.aws.sts_endpoint.is_none() {
        document.aws.sts_endpoint = environment.get("AWS_ENDPOINT_URL_STS").map(str::to_owned);
    }
    if document.aws.ca_bundle.is_none() {
        let bundle = environment.get("AWS_CA_BUNDLE").or_else(|| environment.get("SSL_CERT_FILE"));
        document.aws.ca_bundle = bundle.map(Into::into);
    }
}

/// ECS counts `stopTimeout` in seconds, so here, and only here, a bare number is one of seconds.
fn stop_timeout(text: &str) -> Option<Span> {
    let text = text.trim();
    let span = match text.parse::<u32>() {
        Ok(seconds) => Span(Duration::from_secs(seconds.into())),
        Err(_) => Span::parse(text).ok()?,
    };
    (Duration::from_secs(1)..=Duration::from_secs(24 * 3_600)).contains(&span.0).then_some(span)
}

fn report_unknown(environment: &Environment, problems: &mut Problems) {
    let ours = |name: &&String| name.starts_with("PILLION_") && !name.starts_with(overrides::PREFIX);
    for name in environment.variables().keys().filter(ours) {
        if OWN.contains(&name.as_str()) {
            continue;
        }
        let hint = match nearest(name, OWN) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are: {}, and `{}...` for settings", OWN.join(", "), overrides::PREFIX),
        };
        problems.push(Problem::warning(shown(name), "there is no such variable", hint));
    }
}
