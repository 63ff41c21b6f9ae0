//! Reads Fluent Bit's classic configuration: the file that ECS generates for FireLens, and what users include in it.
//!
//! Promises: what ECS generates is read exactly; an option that is unknown, or known and not supported, is a warning with
//! its file and line, so that a task definition that worked keeps working; every mistake is in one report.
//! Never: shows a value that came out of a variable, since `secretOptions` arrive that way; reads the environment itself.
//!
//! ```text
//! files --grammar--> sections of properties --expand--> values --inputs, filters, outputs, service, storage--> logs::settings
//! ```

mod builtin;
mod cloudwatch;
mod expand;
mod files;
mod filters;
mod grammar;
mod inputs;
mod outputs;
mod section;
mod service;
mod storage;

use std::{collections::BTreeMap, path::Path};

pub use files::{Disk, Files, InMemory, reason};
use grammar::Kind;
use section::Reader;
pub use service::{Service, level};
pub use storage::{Storage, Wanted};

use crate::{
    logs::settings::Logs,
    problem::{Problem, Problems},
    units::ByteSize,
};

/// What a configuration says.
#[derive(Debug, Default)]
pub struct Reading {
    /// Inputs, filters and outputs.
    pub logs: Logs,
    /// What the `[SERVICE]` sections say that means something here.
    pub service: Service,
    /// What they and the others say about records on disk.
    pub storage: Storage,
    /// `Mem_Buf_Limit` of the input on the FireLens socket: half of the container's memory, if ECS generated it.
    pub memory_hint: Option<ByteSize>,
    /// All mistakes, errors first. With an error among them the rest of the reading must not be used.
    pub problems: Vec<Problem>,
}

/// Reads `path` and all that it includes. `variables` is the environment for `${NAME}`.
pub fn read(path: &Path, variables: &BTreeMap<String, String>, files: &dyn Files) -> Reading {
    let mut problems = Problems::default();
    let source = grammar::read(path, variables, files, &mut problems);
    let sections = expand::sections(source, variables, &mut problems);
    let mut reading = Reading::default();
    let mut numbers = Numbers::default();
    for section in &sections {
        let mut reader = Reader::new(section, &mut problems);
        match section.kind {
            Kind::Service => {
                reading.service.read(&mut reader);
                reading.storage.service(&mut reader);
            }
            Kind::Input => inputs::read(&mut reader, &mut numbers, &mut reading),
            Kind::Filter => reading.logs.filters.extend(filters::read(&mut reader)),
            Kind::Output => {
                let output = outputs::read(&mut reader, &mut numbers, &mut reading.storage);
                reading.logs.outputs.extend(output);
            }
            Kind::Other => {
                reader.section_warning("sections of this kind are not supported by this version", "it is not read");
                continue;
            }
        }
        reader.finish();
    }
    reading.problems = problems.into_sorted();
    reading
}

/// Counts the instances of each plugin, as Fluent Bit does to name them: `cloudwatch_logs.0`, `cloudwatch_logs.1`.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<String, usize>);

impl Numbers {
    /// The name of the next instance of `plugin`.
    fn next(&mut self, plugin: &str) -> String {
        let number = self.0.entry(plugin.to_owned()).or_default();
        let name = format!("{plugin}.{number}");
        *number += 1;
        name
    }
}

/// A key as a problem may show it. What does not look like the name of an option may be a line of a value that went
/// astray, such as a private key, and is not shown.
fn shown_key(key: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@');
    if key.len() <= 40 && key.bytes().all(plain) { key } else { "(not a name)" }
}

#[cfg(test)]
mod tests;
