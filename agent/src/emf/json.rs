//! The members of a JSON object and the elements of a list, each as it was written.
//!
//! Promises: what is given is JSON, in pieces of the text that was read; values are not nested into, however deep they are.
//! Never: copies, but names that have escapes.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MEMBERS_MAX;

/// A member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// Its name.
    pub(super) name: Cow<'a, str>,
    /// Its name as written, in quotes.
    pub(super) key: &'a str,
    /// Its value as written.
    pub(super) value: &'a str,
}

/// The members of the object `text`: at most one more than [`MEMBERS_MAX`].
pub(super) fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let Members(members) = serde_json::from_str(text).ok()?;
    Some(members)
}

/// The elements of the list `text`, if there are no more than [`MEMBERS_MAX`].
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let Elements(elements) = serde_json::from_str(text).ok()?;
    (elements.len() <= MEMBERS_MAX).then_some(elements)
}

/// The text that the JSON `value` stands for, if it is one.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    // Half of a surrogate pair is no text.
    serde_json::from_str::<String>(value).ok().map(Cow::Owned)
}

/// Appends `text` as JSON.
pub(super) fn put_text(out: &mut String, text: &str) {
    let json = serde_json::to_string(text).expect("a text is JSON");
    out.push_str(&json);
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<&RawValue>()? {
                    let key = key.get();
                    let value = map.next_value::<&RawValue>()?.get();
                    // One more than allowed is enough to know that there are too many.
                    if members.len() > MEMBERS_MAX {
                        continue;
                    }
                    // A name that is no text names nothing that anybody asks for.
                    let name = text(key).unwrap_or(Cow::Borrowed(key));
                    members.push(Member { name, key, value });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

struct Elements<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element::<&RawValue>()? {
                    if elements.len() <= MEMBERS_MAX {
                        elements.push(element.get());
                    }
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Visit)
    }
}
