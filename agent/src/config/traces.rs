//! What is wrong with the section `traces`, beyond what its types can say.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

use std::{collections::BTreeSet, time::Duration};

use super::{
    checking::{Check, Common, Protection, is_region},
    node::Path,
};
use crate::{
    deliver::ack::AckLevel,
    otlp::{
        input,
        out::{Config, Protocol, Target, headers},
        walk::Signal,
    },
    traces::{
        out::xray::Spans,
        proxy,
        settings::{Destination, Input, Proxy, Traces, Xray, names},
    },
    units::{ByteSize, Span},
};

/// The least that the kernel may keep, and the most.
const RECEIVE_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));
/// The least that a request must be allowed, and the most.
const REQUEST_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));
/// The shortest time for a request, and the longest.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Paths that may be added to those that are passed on.
const ALLOWED_MAX: usize = 32;

/// Looks at the whole section.
pub(super) fn check(section: &Traces, has_spool: bool, check: &mut Check<'_>) {
    check_wiring(section, check);
    if let Some(sampling) = &section.sampling
        && !(0.0..=1.0).contains(&sampling.probability)
    {
        let path = Path::of("traces.sampling.probability");
        check.error(&path, format!("{} is not in range", sampling.probability), "give 0 to 1");
    }
    let mut addresses = BTreeSet::new();
    for (input, path) in section.inputs.iter().zip(check.items("traces.inputs")) {
        match input {
            Input::Xray(xray) => {
                let path = path.key("xray");
                if !addresses.insert(xray.address()) {
                    let what = format!("`{}` is listened on by another input", xray.address());
                    check.error(&path.key("udp"), what, "give each input its own");
                }
                check_xray(xray, &path, check);
            }
            Input::Otlp(otlp) => check_otlp(otlp, has_spool, &path.key("otlp"), check),
        }
    }
    let names = names(&section.outputs);
    for ((output, path), name) in section.outputs.iter().zip(check.items("traces.outputs")).zip(names) {
        let (own, spool_bytes_max) = (output.name.as_deref(), output.spool_bytes_max);
        check.output(Common { name, own, spool_bytes_max }, &path);
        if output.spans() != Spans::Segments && section.otlp().next().is_none() && !section.inputs.is_empty() {
            let hint = "add an input `- otlp: {}`, or leave it out";
            check.warning(&path.key("to").key("xray").key("spans"), "no spans can come in", hint);
        }
        match &output.to {
            Destination::Xray(config) => check_region(config.region.as_deref(), &path.key("to").key("xray"), check),
            Destination::Otlp(config) => check_backend(config, Signal::Traces, &path.key("to").key("otlp"), check),
        }
    }
}

/// Each input needs an output of its kind.
fn check_wiring(section: &Traces, check: &mut Check<'_>) {
    if section.inputs.is_empty() && !section.outputs.is_empty() {
        let hint = "name an input, for example `- xray: {}` or `- otlp: {}`";
        check.warning(&Path::of("traces.outputs"), "nothing can come in", hint);
    }
    let outputs = section.running();
    for (output, name) in outputs.iter().zip(names(&outputs)) {
        if let Some(number) = output.beside {
            let path = Path::of("traces.outputs").item(number);
            check.output(Common { name, own: None, spool_bytes_max: None }, &path);
        }
    }
    let nobody = outputs.iter().all(|output| !output.takes_segments(&outputs));
    for (input, path) in section.inputs.iter().zip(check.items("traces.inputs")) {
        match input {
            Input::Xray(_) if nobody => {
                let hint = "leave out `segments: false` in an output, or add `- to: {xray: {}}`";
                check.error(&path.key("xray"), "no output takes segments", hint);
            }
            Input::Xray(_) | Input::Otlp(_) => {}
        }
    }
    let has_xray = section.inputs.iter().any(|input| matches!(input, Input::Xray(_)));
    for (output, path) in section.outputs.iter().zip(check.items("traces.outputs")) {
        if output.segments == Some(true) && !has_xray && !section.inputs.is_empty() {
            check.warning(&path.key("segments"), "no input takes segments", "add an input `- xray: {}`");
        }
    }
}

fn check_xray(xray: &Xray, path: &Path, check: &mut Check<'_>) {
    if !xray.address().ip().is_loopback() {
        let what = "everybody who reaches the address can send segments in your name";
        check.warning(&path.key("udp"), what, "write `127.0.0.1:2000` where the app shares our network");
    }
    check_bytes(xray.receive(), RECEIVE_BYTES, &path.key("receive_bytes"), check);
    check.listener(xray.tcp_address(), &path.key("tcp"), Protection::None);
    let Proxy { region, allow, .. } = &xray.proxy;
    let path = path.key("proxy");
    check_region(region.as_deref(), &path, check);
    if allow.len() > ALLOWED_MAX {
        check.error(&path.key("allow"), format!("more than {ALLOWED_MAX} paths"), "name those that are asked for");
    }
    for (number, allowed) in allow.iter().enumerate() {
        if !proxy::is_path(&allowed.path) {
            let hint = "write for example `/GetTraceSegmentDestination`";
            check.error(&path.key("allow").item(number).key("path"), "not a plain path", hint);
        }
    }
}

fn check_region(region: Option<&str>, path: &Path, check: &mut Check<'_>) {
    if region.is_some_and(|region| !is_region(region)) {
        check.error(&path.key("region"), "not a region", "write for example `eu-west-1`");
    }
}

fn check_bytes(bytes: ByteSize, (least, most): (ByteSize, ByteSize), path: &Path, check: &mut Check<'_>) {
    if !(least..=most).contains(&bytes) {
        check.error(path, format!("`{bytes}` is not in range"), &format!("give {least} to {most}"));
    }
}

/// Looks at an `otlp` input of any section.
pub(super) fn check_otlp(otlp: &input::Config, has_spool: bool, path: &Path, check: &mut Check<'_>) {
    for (name, address) in ["grpc", "http"].into_iter().zip(otlp.addresses()) {
        check.shared_listener(address, &path.key(name));
    }
    check_bytes(otlp.request_bytes(), REQUEST_BYTES, &path.key("request_bytes_max"), check);
    if otlp.ack == AckLevel::Spooled && !has_spool {
        check.error(&path.key("ack"), "there is no spool", "set `spool.path`, or take `accepted` or `delivered`");
    }
}

/// Looks at a backend of OTLP that gets `signal`.
pub(super) fn check_backend(config: &Config, signal: Signal, path: &Path, check: &mut Check<'_>) {
    let (name, whole) = match signal {
        Signal::Traces => ("traces_endpoint", &config.traces_endpoint),
        Signal::Metrics => ("metrics_endpoint", &config.metrics_endpoint),
        Signal::Logs => ("endpoint", &None),
    };
    let field = match (whole, &config.endpoint) {
        (Some(_), _) => path.key(name),
        (None, Some(_)) => path.key("endpoint"),
        (None, None) => path.clone(),
    };
    if let Err(error) = Target::of(config, signal) {
        let hint = "it is what your backend's guide has for `OTEL_EXPORTER_OTLP_ENDPOINT`";
        check.error(&field, error.to_string(), hint);
    }
    if let Err(error) = headers(config) {
        check.error(&path.key("headers"), error.to_string(), "write `name: value`");
    }
    if config.endpoint.is_some() && whole.is_some() {
        check.error(&field, "`endpoint` is there too", "leave one of them out");
    }
    if config.protocol == Protocol::Grpc && whole.is_some() {
        check.error(&field, "gRPC has a path of its own", "write `endpoint`, without a path");
    }
    if config.protocol == Protocol::Grpc && config.aws.is_some() {
        check.error(&path.key("aws"), "AWS takes OTLP by HTTP only", "leave out `protocol: grpc`");
    }
    if let Some(aws) = &config.aws {
        check_region(aws.region.as_deref(), &path.key("aws"), check);
    }
    let Span(timeout) = config.timeout;
    if timeout < TIMEOUT.0 || timeout > TIMEOUT.1 {
        check.error(&path.key("timeout"), format!("{timeout:?} is not in range"), "give 1s to 60s");
    }
}
