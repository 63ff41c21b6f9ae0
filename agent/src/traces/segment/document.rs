//! One document: the parts of a segment in their order.
//!
//! Promises: what X-Ray asks of every document is there: name, id, trace, times, flags; of a subsegment also its parent.
//! Never: decides what documents a span becomes.

use std::borrow::Cow;

use super::{
    Settings,
    aws::{self, Aws, Part},
    cause, fields,
    fields::Fields,
    http,
    json::Json,
    keys::{Key, Keys},
    level::Level,
    name,
    span::{Span, span_id, trace_id},
    sql,
    value::{Attributes, fields as messages},
};
use crate::otlp::wire::{Reader, Value};

/// What a document is to be.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) id: u64,
    /// 0 for none.
    pub(super) parent: u64,
    pub(super) name: Cow<'a, [u8]>,
    /// Empty for none.
    pub(super) namespace: &'static str,
    pub(super) is_subsegment: bool,
    pub(super) has_links: bool,
    pub(super) part: Part,
}

/// What it is made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'s, 'a> {
    pub(super) span: &'s Span<'a>,
    pub(super) resource: &'s Attributes<'a>,
    pub(super) settings: &'s Settings,
}

impl Source<'_, '_> {
    pub(super) fn write(self, plan: &Plan<'_>, level: &Level, json: &mut Json<'_>) {
        let Self { span, resource, settings } = self;
        let mut used = Keys::default();
        json.open(b'{');
        self.head(plan, json);
        http::take(&mut used);
        if plan.part == Part::Whole {
            http::write(json, span);
        }
        cause::write(json, span, resource, level);
        Aws { span, resource, settings, level, part: plan.part }.write(json, &mut used);
        json.text_member("origin", aws::origin(resource).as_bytes());
        used.add([Key::EnduserId]);
        json.text_member("user", span.attributes.text(Key::EnduserId));
        self.service(json);
        sql::write(json, span, &mut used);
        if plan.has_links {
            self.links(json, level);
        }
        let resource = (!plan.is_subsegment).then_some(resource);
        let asked = fields::asked(&span.attributes);
        Fields { attributes: &span.attributes, resource, settings, level, part: plan.part, used, asked }.write(json);
        json.close(b'}');
    }

    fn head(self, plan: &Plan<'_>, json: &mut Json<'_>) {
        let span = self.span;
        json.name("name");
        json.text(&name::clean(&plan.name));
        json.hex_member("id", plan.id);
        json.trace_id_member(&span.trace_id);
        if plan.parent != 0 {
            json.hex_member("parent_id", plan.parent);
        }
        if plan.is_subsegment {
            json.text_member("type", b"subsegment");
        }
        json.text_member("namespace", plan.namespace.as_bytes());
        json.seconds_member("start_time", span.start);
        json.seconds_member("end_time", span.end());
        let flags = cause::flags(span);
        json.truth_member("fault", flags.fault);
        json.truth_member("error", flags.error);
        json.truth_member("throttle", flags.throttle);
    }

    fn service(self, json: &mut Json<'_>) {
        let begun = json.begin("service");
        json.text_member("version", self.resource.first_text([Key::ServiceVersion, Key::ContainerImageTag]));
        json.end_unless_empty(begun);
    }

    fn links(self, json: &mut Json<'_>, level: &Level) {
        if self.span.links.is_empty() {
            return;
        }
        json.name("links");
        json.open(b'[');
        for link in self.span.links.iter().take(level.members) {
            if json.len() > level.document_bytes {
                break;
            }
            let (mut trace, mut id) = ([0; 16], 0);
            for field in Reader::new(link).map_while(Result::ok) {
                match (field.number, field.value) {
                    (1, Value::Bytes(bytes)) => trace = trace_id(bytes),
                    (2, Value::Bytes(bytes)) => id = span_id(bytes),
                    _ => {}
                }
            }
            json.open(b'{');
            json.trace_id_member(&trace);
            json.hex_member("id", id);
            if level.metadata_bytes > 0 {
                link_attributes(json, link, level);
            }
            json.close(b'}');
        }
        json.close(b']');
    }
}

fn link_attributes(json: &mut Json<'_>, link: &[u8], level: &Level) {
    let begun = json.begin("attributes");
    for attribute in Attributes::read(messages(link, 4)).iter() {
        if json.len() > level.document_bytes {
            break;
        }
        json.name_of("", attribute.name);
        attribute.value.write(json, level.document_bytes);
    }
    json.end_unless_empty(begun);
}
