//! A secret that is a JSON object: its members as they are written.
//!
//! Promises: numbers keep their spelling (`1e3`, `5432`, `1.50`); of members with the same name the last one counts, at the
//! place of the first; text is unescaped into memory that is wiped.
//! Never: goes deeper than it is told; the JSON below a member is not looked at.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::What;

/// The members of an object, in their order.
pub(super) struct Members<'a>(Vec<Member<'a>>);

/// One member.
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: &'a RawValue,
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    Null,
    Array,
    Object,
}

impl<'a> Members<'a> {
    /// Reads an object.
    pub(super) fn parse(text: &'a str) -> Result<Self, What> {
        // The reader's own error would show the text around the place.
        serde_json::from_str(text).map_err(|_| What::NotObject)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<'a>> {
        self.0.iter()
    }

    /// One that may be missing. JSON's null is missing, too.
    pub(super) fn optional(&self, name: &str) -> Result<Option<Zeroizing<String>>, What> {
        match self.find(name) {
            Some(value) if kind_of(value) != Kind::Null => value_of(name, value).map(Some),
            _ => Ok(None),
        }
    }

    /// One that must be there.
    pub(super) fn wanted(&self, name: &str) -> Result<Zeroizing<String>, What> {
        let value = self.find(name).ok_or_else(|| What::NoMember { name: name.to_owned() })?;
        value_of(name, value)
    }

    /// The members that are text, numbers or booleans, with what they say, and their places, counted from 1.
    pub(super) fn values(&self) -> impl Iterator<Item = Result<(usize, &str, Zeroizing<String>), What>> {
        let simple = |member: &&Member<'_>| !matches!(kind_of(member.value), Kind::Null | Kind::Array | Kind::Object);
        self.0
            .iter()
            .enumerate()
            .filter(move |(_, member)| simple(member))
            .map(|(at, member)| Ok((at + 1, &*member.name, unescaped(member.value)?)))
    }

    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|member| member.name == name).map(|member| member.value)
    }
}

/// What a JSON value is, by how it begins.
pub(super) fn kind_of(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

/// Text as it is meant, without NUL; anything else as it is written.
pub(super) fn unescaped(value: &RawValue) -> Result<Zeroizing<String>, What> {
    if kind_of(value) != Kind::Text {
        return Ok(Zeroizing::new(value.get().to_owned()));
    }
    let text: Zeroizing<String> =
        serde_json::from_str(value.get()).map(Zeroizing::new).map_err(|_| What::NotUnicode)?;
    if text.contains('\0') { Err(What::Nul) } else { Ok(text) }
}

fn value_of(name: &str, value: &RawValue) -> Result<Zeroizing<String>, What> {
    let kind = match kind_of(value) {
        Kind::Null => "null",
        Kind::Array => "an array",
        Kind::Object => "an object",
        Kind::Text | Kind::Number | Kind::Boolean => return unescaped(value),
    };
    Err(What::MemberKind { name: name.to_owned(), kind })
}

/// A name that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<Member<'de>> = Vec::new();
                let mut places: BTreeMap<Cow<'de, str>, usize> = BTreeMap::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if let Some(&at) = places.get(&name) {
                        members[at].value = value;
                        continue;
                    }
                    places.insert(name.clone(), members.len());
                    members.push(Member { name, value });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
