//! What is wrong with the section `traces`, beyond what its types can say.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

use std::collections::BTreeSet;

use super::{
    checking::{Check, Common, Protection, is_region},
    node::Path,
};
use crate::{
    traces::{
        self, proxy,
        settings::{Destination, Input, Proxy, Traces, Xray},
    },
    units::ByteSize,
};

/// The least that the kernel may keep, and the most.
const RECEIVE_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));
/// Paths that may be added to those that are passed on.
const ALLOWED_MAX: usize = 32;

/// Looks at the whole section.
pub(super) fn check(section: &Traces, check: &mut Check<'_>) {
    if section.inputs.is_empty() && !section.outputs.is_empty() {
        let hint = "name an input, for example `- xray: {}`";
        check.warning(&Path::of("traces.outputs"), "nothing can come in", hint);
    }
    let mut addresses = BTreeSet::new();
    for (input, path) in section.inputs.iter().zip(check.items("traces.inputs")) {
        let Input::Xray(xray) = input;
        let path = path.key("xray");
        if !addresses.insert(xray.address()) {
            let what = format!("`{}` is listened on by another input", xray.address());
            check.error(&path.key("udp"), what, "give each input its own");
        }
        check_xray(xray, &path, check);
    }
    let names = traces::job::names(&section.outputs);
    for ((output, path), name) in section.outputs.iter().zip(check.items("traces.outputs")).zip(names) {
        let (own, spool_bytes_max) = (output.name.as_deref(), output.spool_bytes_max);
        check.output(Common { name, own, spool_bytes_max }, &path);
        let Destination::Xray(config) = &output.to;
        check_region(config.region.as_deref(), &path.key("to").key("xray"), check);
    }
}

fn check_xray(xray: &Xray, path: &Path, check: &mut Check<'_>) {
    if !xray.address().ip().is_loopback() {
        let what = "everybody who reaches the address can send segments in your name";
        check.warning(&path.key("udp"), what, "write `127.0.0.1:2000` where the app shares our network");
    }
    let (least, most) = RECEIVE_BYTES;
    if !(least..=most).contains(&xray.receive()) {
        let what = format!("`{}` is not in range", xray.receive());
        check.error(&path.key("receive_bytes"), what, &format!("give {least} to {most}"));
    }
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
