//! Makes typed settings of a tree, and finds every mistake on the way.
//!
//! serde stops at the first mistake. So a mistake is noted with its path, its node is taken out of the tree, and the tree
//! is read again, until nothing is wrong any more. That way no type has to know about it.
//!
//! Promises: every mistake that does not follow from another one is found, up to 100; each names its path and origin.
//! Never: shows a value of the wrong type, since it may be a secret.

use std::fmt;

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor, value},
};

use super::node::{Entry, Kind, Node, Path, Step};
use crate::problem::{nearest, shown};

/// Mistakes after which the search ends.
const MISTAKES_MAX: usize = 99;

/// Something serde did not like.
#[derive(Debug)]
pub(super) struct Mistake {
    /// From the mistake outwards while it travels up; the other way round when it has arrived.
    path: Vec<Step>,
    pub(super) what: String,
    pub(super) hint: String,
    /// A required field that is not there.
    missing: Option<&'static str>,
    /// Steps at the end of the path that stay in the tree's place when the node is taken out: 1 for an unknown kind,
    /// whose path names the kind, but whose whole value is of no use.
    spare: usize,
    /// It follows from a mistake that has been reported.
    follows: bool,
}

/// Reads `T` out of the tree. The mistakes are handed to `report`; what they are about is taken out of the tree.
pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(
    root: &mut Node,
    mut report: impl FnMut(&Node, &Path, Mistake),
) -> T {
    for _ in 0..MISTAKES_MAX {
        let mut mistake = match T::deserialize(Value(root)) {
            Ok(value) => return value,
            Err(mistake) => mistake,
        };
        let mut path = Path(std::mem::take(&mut mistake.path).into_iter().rev().collect());
        let spare = mistake.spare;
        if !mistake.follows && !is_missing_for_a_reason(root, &path, &mistake) {
            report(root, &path, mistake);
        }
        path.0.truncate(path.0.len().saturating_sub(spare));
        if !root.remove(&path) || path.0.is_empty() {
            return T::default();
        }
    }
    report(root, &Path::default(), Mistake::new("there are more mistakes", "mend these first"));
    T::default()
}

/// True if the missing field is missing because it was taken out.
fn is_missing_for_a_reason(root: &Node, path: &Path, mistake: &Mistake) -> bool {
    let Some(field) = mistake.missing else { return false };
    root.find(&path.key(field)).is_some_and(|(node, _)| matches!(node.kind, Kind::Removed))
}

impl Mistake {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into(), hint: hint.into(), missing: None, spare: 0, follows: false }
    }

    fn following() -> Self {
        Self { follows: true, ..Self::new("", "") }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn of_type(node: &Node, expected: &str) -> Self {
        let hint = match (&node.kind, expected) {
            (Kind::Bool(_) | Kind::Integer(_) | Kind::Unsigned(_) | Kind::Float(_), "text") => "put it in quotes",
            _ => "",
        };
        Self::new(format!("expected {expected}, found {}", node.described()), hint)
    }
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        if message.starts_with("invalid socket address") {
            return Self::new("not an IP address with a port", "write for example `127.0.0.1:24224`");
        }
        if message.starts_with("data did not match any variant") {
            return Self::new("expected text or a whole number", "");
        }
        match message.split_once("; ") {
            Some((what, hint)) => Self::new(cut(what), cut(hint)),
            None => Self::new(cut(&message), ""),
        }
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}", plain(&expected.to_string())), "")
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}", plain(&expected.to_string())), "")
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found {length} items", plain(&expected.to_string())), "")
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let hint = match nearest(field, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are: {}", known.join(", ")),
        };
        Self::new("there is no such key", hint)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are: {}", known.join(", ")),
        };
        Self::new(format!("`{}` is not known here", shown(variant)), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("`{field}` is missing"), "") }
    }
}

/// A message that quotes what was written is as long as what was written.
fn cut(message: &str) -> String {
    const MESSAGE_MAX: usize = 160;
    let end = message.char_indices().nth(MESSAGE_MAX);
    end.map_or(message.to_owned(), |(end, _)| format!("{}…", &message[..end])).replace(char::is_control, " ")
}

/// What serde expects, in the words of a person.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" | "path string" | "a borrowed string" => "text",
        "a boolean" => "`true` or `false`",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        "a sequence" => "a list",
        "newtype variant" | "struct variant" => "a section",
        "a tuple of size 2" => "a list of two texts",
        text if text.starts_with("struct") || text == "a map" => "a section",
        text if text.starts_with("enum") || text == "variant identifier" => "one of its kinds",
        text => text,
    }
}

/// A node, as serde reads it.
struct Value<'a>(&'a Node);

macro_rules! numbers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            match &self.0.kind {
                Kind::Loose(text) => match (text.parse::<u64>(), text.parse::<i64>()) {
                    (Ok(number), _) => visitor.visit_u64(number),
                    (_, Ok(number)) => visitor.visit_i64(number),
                    _ => Err(Mistake::of_type(self.0, "a whole number")),
                },
                Kind::Integer(_) | Kind::Unsigned(_) => self.deserialize_any(visitor),
                _ => Err(Mistake::of_type(self.0, "a whole number")),
            }
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Value<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Null | Kind::Removed => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Integer(value) => visitor.visit_i64(*value),
            Kind::Unsigned(value) => visitor.visit_u64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(value) | Kind::Loose(value) => visitor.visit_str(value),
            Kind::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Kind::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
    }

    numbers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Loose(text) if matches!(text.as_str(), "true" | "false") => visitor.visit_bool(text == "true"),
            _ => Err(Mistake::of_type(self.0, "`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Text(text) | Kind::Loose(text) => visitor.visit_str(text),
            _ => Err(Mistake::of_type(self.0, "text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::List(_) => self.deserialize_any(visitor),
            // `inputs:` with nothing after it.
            Kind::Null => visitor.visit_seq(Items { items: [].iter().enumerate() }),
            _ => Err(Mistake::of_type(self.0, "a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Map(_) => self.deserialize_any(visitor),
            // `logs:` with nothing under it.
            Kind::Null => visitor.visit_map(Entries { entries: [].iter(), value: None }),
            _ => Err(Mistake::of_type(self.0, "a section")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0.kind {
            Kind::Text(text) | Kind::Loose(text) => {
                // `to: discard` is `to: {discard: }`.
                let value = Node { origin: self.0.origin.clone(), kind: Kind::Null };
                let entry = Entry { key: text.clone(), origin: self.0.origin.clone(), value };
                visitor.visit_enum(Variant(&entry)).map_err(|mut mistake| {
                    // The tree has no such step.
                    mistake.path.pop();
                    Mistake { spare: 0, ..mistake }
                })
            }
            Kind::Map(entries) => {
                let mut live = entries.iter().filter(|entry| !matches!(entry.value.kind, Kind::Removed));
                match (live.next(), live.next()) {
                    (Some(entry), None) => visitor.visit_enum(Variant(entry)),
                    (None, _) if !entries.is_empty() => Err(Mistake::following()),
                    _ => Err(Mistake::new("give exactly one kind", format!("known are: {}", known.join(", ")))),
                }
            }
            _ => Err(Mistake::new(
                format!("expected one of its kinds, found {}", self.0.described()),
                format!("known are: {}", known.join(", ")),
            )),
        }
    }

    serde::forward_to_deserialize_any! { f32 f64 char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some((index, item)) = self.items.find(|(_, item)| !matches!(item.kind, Kind::Removed)) else {
            return Ok(None);
        };
        seed.deserialize(Value(item)).map(Some).map_err(|mistake| mistake.within(Step::Item(index)))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        self.value = self.entries.find(|entry| !matches!(entry.value.kind, Kind::Removed));
        let Some(entry) = self.value else { return Ok(None) };
        let key = value::StrDeserializer::<Mistake>::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|mistake| mistake.within(Step::Key(entry.key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let entry = self.value.expect("serde asks for a value only after its key");
        seed.deserialize(Value(&entry.value)).map_err(|mistake| mistake.within(Step::Key(entry.key.clone())))
    }
}

/// `kind: settings`.
struct Variant<'a>(&'a Entry);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let kind = seed
            .deserialize(self.0.key.as_str().into_deserializer())
            .map_err(|mistake: Mistake| Mistake { spare: 1, ..mistake.within(Step::Key(self.0.key.clone())) })?;
        Ok((kind, self))
    }
}

impl Variant<'_> {
    fn within(&self, mistake: Mistake) -> Mistake {
        mistake.within(Step::Key(self.0.key.clone()))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match &self.0.value.kind {
            Kind::Null => Ok(()),
            _ => Err(self.within(Mistake::new("has no settings", format!("write just `{}`", shown(&self.0.key))))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        seed.deserialize(Value(&self.0.value)).map_err(|mistake| self.within(mistake))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        de::Deserializer::deserialize_seq(Value(&self.0.value), visitor).map_err(|mistake| self.within(mistake))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mistake> {
        de::Deserializer::deserialize_map(Value(&self.0.value), visitor).map_err(|mistake| self.within(mistake))
    }
}
