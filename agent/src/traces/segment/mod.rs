//! A span of OpenTelemetry as a document of X-Ray.
//!
//! What goes where follows AWS's own exporter for the OpenTelemetry collector (`docs/traces.md` has the table), so that who
//! comes from there sees what he saw, and departs from it where it loses something: names and texts are cut between characters,
//! a number that JSON does not have becomes text, old and new semantic conventions are taken, text need not be UTF-8, and a
//! document that is too large for X-Ray is shrunk.
//!
//! ```text
//! group ─▶ Resource::read ─┐
//! span  ─▶ Span::read ─────┴▶ Plan (one or two) ─▶ Source::write, from level to level until it fits ─▶ document
//! ```
//!
//! A span is read where it lies and written straight as JSON: no types, no tree, no map. Cost: 3 to 5 µs for one of 6 to 12 attributes,
//! 9 µs with a stack of 12 frames (`cargo bench --bench segment`, on a machine with other work).
//!
//! Promises: each span with its two ids becomes one document, or two if it is also the root of its service; a document is valid
//! JSON of at most [`DOCUMENT_BYTES_MAX`] bytes with all that X-Ray asks for; the same span gives the same documents each time.
//! Never: does I/O; reads a clock; makes ids by chance.

mod aws;
mod cause;
mod document;
mod fields;
mod http;
mod json;
mod keys;
mod level;
mod name;
mod span;
mod sql;
pub mod stack;
mod value;

use std::{borrow::Cow, sync::Arc};

use aws::Part;
use document::{Plan, Source};
use json::Json;
use keys::Key;
pub use level::DOCUMENT_BYTES_MAX;
use level::LEVELS;
use span::{Kind, Span};
use thiserror::Error;
use value::{Attributes, entry, fields as messages};

use crate::{
    deliver::body::Body,
    otlp::{task::Task, walk::HEAD},
};

/// What may be chosen of the mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Attributes that become annotations, by name; those of a resource with `otel.resource.` before it.
    pub indexed_attributes: Vec<String>,
    /// Whether all attributes with one value become annotations.
    pub index_all_attributes: bool,
    /// Groups of logs that segments point to, where a resource names none.
    pub log_groups: Vec<String>,
    /// What a resource lacks and the task knows.
    pub task: Task,
}

/// True if an attribute of this name has a place of its own in a segment.
pub fn is_known(name: &[u8]) -> bool {
    Key::of(name).is_some()
}

/// What sent a span.
#[derive(Debug)]
pub struct Resource<'a>(Attributes<'a>);

impl<'a> Resource<'a> {
    /// The resource of a resource group, wherever in it it stands, and if in parts.
    pub fn read(group: &'a [u8]) -> Self {
        Self(Attributes::read(messages(group, HEAD).flat_map(|resource| messages(resource, 1))))
    }

    /// The same with what it does not say and the `task` knows.
    pub fn filled(mut self, task: &'a Task) -> Self {
        if !aws::is_elsewhere(&self.0) {
            for message in task.messages() {
                let (name, _) = entry(message);
                if self.0.iter().all(|attribute| attribute.name != name) {
                    self.0.push(message);
                }
            }
        }
        self
    }
}

/// Whether a document holds all of its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Whole,
    /// Something was left out or cut, so that X-Ray takes it.
    Shrunk,
}

/// A span that no document can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a span without an id of its own or of its trace")]
pub struct Nameless;

/// Makes documents.
#[derive(Debug, Default)]
pub struct Mapper {
    settings: Arc<Settings>,
    document: Body,
}

impl Mapper {
    /// Makes them as `settings` say.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, document: Body::default() }
    }

    /// Hands the documents of a span to `emit`: one, or two if it is a call that its service begins with.
    pub fn map(
        &mut self,
        resource: &Resource<'_>,
        span: &[u8],
        mut emit: impl FnMut(&[u8], Fit),
    ) -> Result<(), Nameless> {
        let span = Span::read(span);
        if span.id == 0 || span.trace_id == [0; 16] {
            return Err(Nameless);
        }
        let source = Source { span: &span, resource: &resource.0, settings: &self.settings };
        let (first, second) = plans(&span, &resource.0);
        for plan in std::iter::once(first).chain(second) {
            let fit = write(source, &plan, &mut self.document);
            emit(self.document.as_slice(), fit);
        }
        Ok(())
    }
}

/// Writes a document at the first level at which it is small enough.
fn write(source: Source<'_, '_>, plan: &Plan<'_>, document: &mut Body) -> Fit {
    let mut fit = if source.span.overflowed { Fit::Shrunk } else { Fit::Whole };
    for level in &LEVELS {
        document.truncate(0);
        let mut json = Json::new(document, level.text_bytes);
        source.write(plan, level, &mut json);
        if json.is_shrunk() {
            fit = Fit::Shrunk;
        }
        if document.len() <= DOCUMENT_BYTES_MAX {
            break;
        }
        fit = Fit::Shrunk;
    }
    debug_assert!(document.len() <= DOCUMENT_BYTES_MAX, "the last level fits");
    fit
}

/// What documents a span becomes.
fn plans<'a>(span: &Span<'a>, resource: &Attributes<'a>) -> (Plan<'a>, Option<Plan<'a>>) {
    let attributes = &span.attributes;
    let local_root = attributes.text(Key::AwsSpanKind) == b"LOCAL_ROOT";
    let naming = name::of(span, resource, local_root);
    let mut plan = Plan {
        id: span.id,
        parent: span.parent,
        name: naming.name,
        namespace: naming.namespace,
        is_subsegment: span.kind != Kind::Server && span.parent != 0,
        has_links: true,
        part: Part::Whole,
    };
    let remote = name::remote_service(attributes);
    match span.kind {
        Kind::Server | Kind::Internal if local_root => {
            plan.is_subsegment = false;
            plan.namespace = "";
            (plan, None)
        }
        _ if local_root => {
            let service = service_plan(span, &plan);
            plan.parent = service.id;
            plan.is_subsegment = true;
            plan.has_links = span.kind != Kind::Consumer;
            if plan.namespace.is_empty() {
                plan.namespace = "remote";
            }
            if !remote.is_empty() {
                plan.name = Cow::Borrowed(remote);
            }
            (plan, Some(service))
        }
        _ => {
            if span.kind.is_dependency() && plan.is_subsegment && plan.namespace.is_empty() && !remote.is_empty() {
                plan.namespace = "remote";
            }
            (plan, None)
        }
    }
}

/// The segment of the service whose first span is a call.
fn service_plan<'a>(span: &Span<'a>, dependency: &Plan<'a>) -> Plan<'a> {
    let local = span.attributes.text(Key::AwsLocalService);
    Plan {
        id: derived_id(span.id, SERVICE),
        parent: span.parent,
        name: if local.is_empty() { dependency.name.clone() } else { Cow::Borrowed(local) },
        namespace: "",
        is_subsegment: false,
        has_links: span.kind == Kind::Consumer,
        part: Part::Service,
    }
}

/// The place of a service's id among those that are derived from a span's.
const SERVICE: u64 = u64::MAX;

/// An id that follows from another one: never 0, and never the same for two places.
fn derived_id(id: u64, place: u64) -> u64 {
    // The last step of splitmix64, which maps each number to another one.
    let mut mixed = id.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

#[cfg(test)]
pub(super) mod tests;
