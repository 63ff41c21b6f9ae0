//! What is wrong with the section `traces`, beyond what its types can say.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

use std::collections::BTreeSet;

use super::{
    check::{NOT_A_NAME, is_name, is_region},
    document::Document,
    node::Path,
    source::Tree,
};
use crate::{
    deliver::spooling,
    logs,
    problem::{Problem, Problems, Severity},
    traces,
    traces::settings::{Destination, Input},
    units::ByteSize,
};

/// The least that the kernel may keep, and the most.
const RECEIVE_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));

/// Looks at the whole section.
pub(super) fn check(document: &Document, tree: &Tree, problems: &mut Problems) {
    let mut say = |severity: Severity, path: &str, what: String, hint: &str| {
        let place = tree.place(&Path::of_items(path));
        problems.push(Problem { severity, place, what, hint: hint.to_owned() });
    };
    let section = &document.traces;
    if section.inputs.is_empty() && !section.outputs.is_empty() {
        say(
            Severity::Warning,
            "traces.outputs",
            "nothing can come in".to_owned(),
            "name an input, for example `- xray: {}`",
        );
    }
    let mut addresses = BTreeSet::new();
    for (number, Input::Xray(xray)) in section.inputs.iter().enumerate() {
        let path = format!("traces.inputs[{number}].xray");
        let address = xray.address();
        if !addresses.insert(address) {
            let what = format!("`{address}` is listened on by another input");
            say(Severity::Error, &format!("{path}.udp"), what, "give each input its own");
        }
        if !address.ip().is_loopback() {
            let what = "everybody who reaches the address can send segments in your name".to_owned();
            say(
                Severity::Warning,
                &format!("{path}.udp"),
                what,
                "write `127.0.0.1:2000` where the app shares our network",
            );
        }
        let (least, most) = RECEIVE_BYTES;
        if !(least..=most).contains(&xray.receive()) {
            let hint = format!("give {least} to {most}");
            say(
                Severity::Error,
                &format!("{path}.receive_bytes"),
                format!("`{}` is not in range", xray.receive()),
                &hint,
            );
        }
    }
    let mut names: BTreeSet<_> = logs::job::names(&document.logs.outputs).into_iter().collect();
    for (number, (output, name)) in section.outputs.iter().zip(traces::job::names(&section.outputs)).enumerate() {
        let path = format!("traces.outputs[{number}]");
        if output.name.as_deref().is_some_and(|name| !is_name(name)) {
            say(Severity::Error, &format!("{path}.name"), NOT_A_NAME.0.to_owned(), NOT_A_NAME.1);
        }
        if !names.insert(name) {
            let what = "is the name of another output too".to_owned();
            say(Severity::Error, &format!("{path}.name"), what, "give each output its own");
        }
        if output.spool_bytes_max.is_some_and(|bytes| bytes < spooling::OUTPUT_BYTES_MIN) {
            let what = format!("less than {}", spooling::OUTPUT_BYTES_MIN);
            say(Severity::Error, &format!("{path}.spool_bytes_max"), what, "give more, or leave it out");
        }
        let Destination::Xray(config) = &output.to;
        if config.region.as_deref().is_some_and(|region| !is_region(region)) {
            say(
                Severity::Error,
                &format!("{path}.to.xray.region"),
                "not a region".to_owned(),
                "write for example `eu-west-1`",
            );
        }
    }
}
