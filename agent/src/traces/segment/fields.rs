//! Annotations, which X-Ray searches by, and metadata, which it shows: all that has no other place.
//!
//! Promises: an attribute that has no other place is among them, under a name of its own; what is searched by has a name that
//! X-Ray takes.
//! Never: annotates what is no text, number or truth.

use super::{
    Settings,
    aws::Part,
    json::{Json, cut},
    keys::{Key, Keys},
    level::{DOCUMENT_BYTES_MAX, Level},
    value::{Any, Attribute, Attributes},
};

/// What attributes of a resource are called.
const RESOURCE: &str = "otel.resource.";
/// Attributes that hold metadata of a namespace of their own.
const NAMESPACES: &[u8] = b"aws.xray.metadata.";
/// What tells of the service that was called, and not of the one that called.
const OF_CALLEE: [Key; 4] =
    [Key::AwsRemoteService, Key::AwsRemoteOperation, Key::RemoteTarget, Key::K8sRemoteNamespace];

/// Names that a span may ask to be annotated, and bytes of a name; with what a resource's are called they are 500, X-Ray's limit.
const ASKED_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 480;

/// What goes where.
pub(super) struct Fields<'s, 'a> {
    pub(super) attributes: &'s Attributes<'a>,
    /// Of a segment; those of a subsegment are in its segment.
    pub(super) resource: Option<&'s Attributes<'a>>,
    pub(super) settings: &'s Settings,
    pub(super) level: &'s Level,
    pub(super) part: Part,
    /// What has another place.
    pub(super) used: Keys,
    /// What the span asks to be annotated.
    pub(super) asked: Vec<&'a [u8]>,
}

/// The names that a span asks to be annotated.
pub(super) fn asked<'a>(attributes: &Attributes<'a>) -> Vec<&'a [u8]> {
    attributes.get(Key::AwsXrayAnnotations).into_iter().flat_map(Any::texts).take(ASKED_MAX).collect()
}

impl<'a> Fields<'_, 'a> {
    pub(super) fn write(&self, json: &mut Json<'_>) {
        let begun = json.begin("annotations");
        self.annotations(json);
        json.end_unless_empty(begun);
        if self.level.metadata_bytes > 0 {
            let begun = json.begin("metadata");
            self.namespaces(json);
            let default = json.begin("default");
            self.metadata(json);
            json.end_unless_empty(default);
            json.end_unless_empty(begun);
        }
    }

    /// The span's attributes that may have a place here.
    fn candidates(&self) -> impl Iterator<Item = &Attribute<'a>> {
        let of_callee = |key| self.part == Part::Service && OF_CALLEE.contains(&key);
        self.attributes
            .iter()
            .filter(move |attribute| attribute.key.is_none_or(|key| key != Key::AwsXrayAnnotations && !of_callee(key)))
    }

    fn is_used(&self, attribute: &Attribute<'_>) -> bool {
        attribute.key.is_some_and(|key| self.used.has(key))
    }

    fn is_indexed(&self, prefix: &str, attribute: &Attribute<'_>) -> bool {
        let named = |name: &[u8]| name.strip_prefix(prefix.as_bytes()) == Some(attribute.name);
        attribute.value.is_scalar()
            && (self.settings.index_all_attributes && !self.is_used(attribute)
                || self.settings.indexed_attributes.iter().any(|name| named(name.as_bytes()))
                || self.asked.iter().any(|name| named(name)))
    }

    fn indexed(&self) -> impl Iterator<Item = (&'static str, &Attribute<'a>)> {
        let of_resource = self.resource.into_iter().flat_map(Attributes::iter).map(|attribute| (RESOURCE, attribute));
        let of_span = self.candidates().map(|attribute| ("", attribute));
        of_resource.chain(of_span).filter(|(prefix, attribute)| match *prefix {
            "" => self.is_indexed("", attribute),
            prefix => {
                attribute.value.is_scalar()
                    && (self.settings.index_all_attributes || self.is_indexed(prefix, attribute))
            }
        })
    }

    fn annotations(&self, json: &mut Json<'_>) {
        let mut names: Vec<String> = Vec::new();
        for (prefix, attribute) in self.indexed() {
            let full = names.len() >= self.level.members || json.len() > self.level.document_bytes;
            let name = annotation_name(prefix, attribute.name);
            // Of two names that become one, the first has the place.
            if full
                || names.contains(&name)
                || (self.level.annotation_bytes == 0 && matches!(attribute.value, Any::Text(_)))
            {
                json.leave_out();
                continue;
            }
            let value = match attribute.value {
                Any::Text(text) => Any::Text(json.cut(text, self.level.annotation_bytes)),
                other => other,
            };
            json.name(&name);
            value.write(json, self.level.document_bytes);
            names.push(name);
        }
    }

    fn metadata(&self, json: &mut Json<'_>) {
        for attribute in self.resource.into_iter().flat_map(Attributes::iter) {
            let annotated = attribute.value.is_scalar()
                && (self.settings.index_all_attributes || self.is_indexed(RESOURCE, attribute));
            if !annotated {
                self.entry(json, RESOURCE, attribute);
            }
        }
        if self.part == Part::Service {
            return;
        }
        for attribute in self.candidates() {
            if !self.is_used(attribute) && !self.is_indexed("", attribute) && namespace(attribute).is_none() {
                self.entry(json, "", attribute);
            }
        }
        // What its sender meant for this place.
        for attribute in self.candidates() {
            if let Some((b"default", members)) =
                namespace(attribute).map(|(name, members)| (lower_default(name), members))
            {
                for (name, value) in &members {
                    if !self.attributes.iter().any(|attribute| attribute.name == name.as_bytes()) {
                        json.name_of("", name.as_bytes());
                        self.value(json, value);
                    }
                }
            }
        }
    }

    fn entry(&self, json: &mut Json<'_>, prefix: &str, attribute: &Attribute<'_>) {
        if json.len() > self.level.document_bytes {
            return;
        }
        let value = match attribute.value {
            Any::Text(text) => Any::Text(json.cut(text, self.level.metadata_bytes)),
            // What is smaller than a text may be is kept. Where all may be, the document becomes too large.
            Any::List(raw) | Any::Map(raw) | Any::Bytes(raw)
                if raw.len() > self.level.metadata_bytes && self.level.metadata_bytes < DOCUMENT_BYTES_MAX =>
            {
                return json.leave_out();
            }
            other => other,
        };
        json.name_of(prefix, attribute.name);
        value.write(json, self.level.document_bytes);
    }

    fn namespaces(&self, json: &mut Json<'_>) {
        if self.part == Part::Service {
            return;
        }
        for attribute in self.candidates() {
            let Some((name, members)) = namespace(attribute) else { continue };
            if lower_default(name) == b"default" || json.len() > self.level.document_bytes {
                continue;
            }
            json.name_of("", name);
            json.open(b'{');
            for (name, value) in &members {
                json.name_of("", name.as_bytes());
                self.value(json, value);
            }
            json.close(b'}');
        }
    }

    fn value(&self, json: &mut Json<'_>, value: &serde_json::Value) {
        let text = value.to_string();
        if text.len() <= self.level.metadata_bytes { json.raw(text.as_bytes()) } else { json.raw(b"\"too long\"") }
    }
}

fn lower_default(name: &[u8]) -> &[u8] {
    if name.eq_ignore_ascii_case(b"default") { b"default" } else { name }
}

/// The namespace of an attribute that holds one, and its members. Text that is no object is an attribute like others.
fn namespace<'a>(attribute: &Attribute<'a>) -> Option<(&'a [u8], serde_json::Map<String, serde_json::Value>)> {
    let name = attribute.name.strip_prefix(NAMESPACES).filter(|name| !name.is_empty())?;
    let text = Some(attribute.value.text()).filter(|text| text.len() <= DOCUMENT_BYTES_MAX)?;
    Some((name, serde_json::from_slice(text).ok()?))
}

/// A name of an annotation: letters of ASCII, digits, dots; each other character becomes `_`.
fn annotation_name(prefix: &str, name: &[u8]) -> String {
    let taken = |character: char| if character.is_ascii_alphanumeric() || character == '.' { character } else { '_' };
    prefix.chars().chain(String::from_utf8_lossy(cut(name, NAME_BYTES_MAX)).chars()).map(taken).collect()
}
