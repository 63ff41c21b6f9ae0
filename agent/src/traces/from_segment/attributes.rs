//! Attributes of a resource, a span, an event or a link, written in their place.
//!
//! Promises: what is empty is not written; a value that is nested too deeply is its text.
//! Never: writes a name twice unless it is asked to.

use super::json::Value;
use crate::otlp::{
    value::DEPTH_MAX,
    wire::{Begun, begin, end, put_bytes, put_fixed64, put_uint},
};

/// Writes attributes into the field `number` of a message.
pub(super) struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    number: u32,
}

impl<'o> Attributes<'o> {
    pub(super) const OF_RESOURCE: u32 = 1;
    pub(super) const OF_SPAN: u32 = 9;
    pub(super) const OF_EVENT: u32 = 3;
    pub(super) const OF_LINK: u32 = 4;

    pub(super) fn new(out: &'o mut Vec<u8>, number: u32) -> Self {
        Self { out, number }
    }

    /// Writes the name, whose parts are `prefix` and `name`, and begins the value.
    fn begin(&mut self, prefix: &str, name: &str) -> (Begun, Begun) {
        let attribute = begin(self.out, self.number);
        let key = begin(self.out, 1);
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(name.as_bytes());
        end(self.out, key);
        (attribute, begin(self.out, 2))
    }

    fn end(&mut self, (attribute, value): (Begun, Begun)) {
        end(self.out, value);
        end(self.out, attribute);
    }

    /// Text, unless it is empty.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.text_of("", name, text);
    }

    /// The same under a name of two parts.
    pub(super) fn text_of(&mut self, prefix: &str, name: &str, text: &str) {
        if !text.is_empty() {
            let begun = self.begin(prefix, name);
            put_bytes(self.out, 1, text.as_bytes());
            self.end(begun);
        }
    }

    pub(super) fn truth(&mut self, name: &str, truth: bool) {
        let begun = self.begin("", name);
        put_uint(self.out, 2, u64::from(truth));
        self.end(begun);
    }

    pub(super) fn whole(&mut self, name: &str, number: i64) {
        let begun = self.begin("", name);
        put_uint(self.out, 3, number.cast_unsigned());
        self.end(begun);
    }

    /// A list of texts, unless there are none.
    pub(super) fn texts<T: AsRef<str>>(&mut self, name: &str, texts: impl IntoIterator<Item = T>) {
        let mut texts = texts.into_iter().peekable();
        if texts.peek().is_some() {
            let begun = self.begin("", name);
            let list = begin(self.out, 5);
            for text in texts {
                let value = begin(self.out, 1);
                put_bytes(self.out, 1, text.as_ref().as_bytes());
                end(self.out, value);
            }
            end(self.out, list);
            self.end(begun);
        }
    }

    /// Any value of JSON but `null`.
    pub(super) fn value(&mut self, prefix: &str, name: &str, value: Value<'_>) {
        if !value.is_null() {
            let begun = self.begin(prefix, name);
            put_value(self.out, value, DEPTH_MAX);
            self.end(begun);
        }
    }
}

/// Writes what an `AnyValue` holds.
fn put_value(out: &mut Vec<u8>, value: Value<'_>, depth: usize) {
    if let Some(text) = value.text() {
        put_bytes(out, 1, text.as_bytes());
    } else if let Some(truth) = value.truth() {
        put_uint(out, 2, u64::from(truth));
    } else if let Some(number) = value.whole() {
        put_uint(out, 3, number.cast_unsigned());
    } else if let Some(number) = value.number() {
        put_fixed64(out, 4, number.to_bits());
    } else if depth == 0 {
        put_bytes(out, 1, value.raw().as_bytes());
    } else if value.is_list() {
        let list = begin(out, 5);
        for element in value.elements() {
            let begun = begin(out, 1);
            put_value(out, element, depth - 1);
            end(out, begun);
        }
        end(out, list);
    } else if value.is_object() {
        let map = begin(out, 6);
        for (name, member) in value.members() {
            let entry = begin(out, 1);
            put_bytes(out, 1, name.as_bytes());
            let begun = begin(out, 2);
            put_value(out, member, depth - 1);
            end(out, begun);
            end(out, entry);
        }
        end(out, map);
    }
}
