//! A configuration as a tree whose every node knows where it was written.
//!
//! Promises: the tree is bounded in size and depth, whatever the YAML says; duplicate keys are kept, so that they can be
//! reported; a removed item keeps its place, so that the numbers of the items after it stay right.
//! Never: knows what a key means.

use std::{fmt, sync::Arc};

use crate::problem::shown;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Error, Spanned, options::NonFiniteFloatPolicy};

/// Nesting of lists and sections. Ours need eight.
const DEPTH_MAX: usize = 64;
/// Nodes of one file, with aliases filled in. Against the billion laughs.
const NODES_MAX: usize = 200_000;
/// Bytes of a YAML file. It is gone through once for every mistake that is reported.
const BYTES_MAX: usize = 1024 * 1024;

/// Where a node was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Variable(Arc<str>),
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) kind: Kind,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    /// Text of a variable: it may be meant as a number or as yes or no too.
    Loose(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A mistake stood here and has been reported.
    Removed,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) value: Node,
}

/// A step from a node to one in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

/// `logs.outputs[1].to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

/// Why a YAML text could not be read at all.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) line: Option<u64>,
    pub(super) what: String,
}

impl Origin {
    /// The line of the file; 0 of a variable.
    pub(super) fn line(&self) -> u64 {
        match self {
            Self::Line(line) => *line,
            Self::Variable(_) => 0,
        }
    }
}

impl Node {
    /// Reads YAML. An empty text is an empty tree.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        if text.len() > BYTES_MAX {
            return Err(Unreadable { line: None, what: "larger than 1 MiB".to_owned() });
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: NODES_MAX, max_aliases: 1_000 },
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Option<Self>>(text, options) {
            Ok(node) => Ok(node.unwrap_or_else(Self::empty)),
            Err(error) => {
                let line = error.location().map(|at| at.line()).filter(|&line| line > 0);
                let what = reason(&error);
                Err(Unreadable { line, what })
            }
        }
    }

    /// A tree with nothing in it.
    pub(super) fn empty() -> Self {
        Self { origin: Origin::Line(1), kind: Kind::Null }
    }

    /// The node at `path`, and where its key was written.
    pub(super) fn find(&self, path: &Path) -> Option<(&Self, &Origin)> {
        let (mut node, mut origin) = (self, &self.origin);
        for step in &path.0 {
            (node, origin) = match (step, &node.kind) {
                (Step::Key(key), Kind::Map(entries)) => {
                    let entry = entries.iter().find(|entry| entry.key == *key)?;
                    // A variable puts another value under the file's key.
                    let origin = match &entry.value.origin {
                        Origin::Variable(_) => &entry.value.origin,
                        Origin::Line(_) => &entry.origin,
                    };
                    (&entry.value, origin)
                }
                (Step::Item(index), Kind::List(items)) => items.get(*index).map(|item| (item, &item.origin))?,
                _ => return None,
            };
        }
        Some((node, origin))
    }

    /// Takes the node at `path` out of the tree. False if there is none.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let mut node = self;
        for step in &path.0 {
            let next = match (step, &mut node.kind) {
                (Step::Key(key), Kind::Map(entries)) => {
                    entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
                }
                (Step::Item(index), Kind::List(items)) => items.get_mut(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return false,
            }
        }
        node.kind = Kind::Removed;
        true
    }

    /// The entries of a section.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a section.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The items of a list that is the value of a key of a section.
    pub(super) fn items_of(&self, key: &str) -> impl Iterator<Item = &Self> {
        let items = match self.get(key) {
            Some(Self { kind: Kind::List(items), .. }) => items.as_slice(),
            _ => &[],
        };
        items.iter()
    }

    /// A single value, as text.
    pub(super) fn scalar(&self) -> Option<String> {
        Some(match &self.kind {
            Kind::Bool(value) => value.to_string(),
            Kind::Integer(value) => value.to_string(),
            Kind::Unsigned(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Text(text) | Kind::Loose(text) => text.clone(),
            Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Removed => return None,
        })
    }

    /// True if a mistake was found at this node or in it.
    pub(super) fn is_damaged(&self) -> bool {
        match &self.kind {
            Kind::Removed => true,
            Kind::List(items) => items.iter().any(Self::is_damaged),
            Kind::Map(entries) => entries.iter().any(|entry| entry.value.is_damaged()),
            _ => false,
        }
    }

    /// What kind of value it is, for people.
    pub(super) fn described(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "`true` or `false`",
            Kind::Integer(_) | Kind::Unsigned(_) | Kind::Float(_) => "a number",
            Kind::Text(_) | Kind::Loose(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a section",
            Kind::Removed => "a mistake",
        }
    }

    /// Takes all entries out whose key stood in the same section before, and says where they are.
    pub(super) fn remove_duplicates(&mut self, path: &mut Path, found: &mut Vec<(Path, Origin)>) {
        match &mut self.kind {
            Kind::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.0.push(Step::Item(index));
                    item.remove_duplicates(path, found);
                    path.0.pop();
                }
            }
            Kind::Map(entries) => {
                let mut seen = std::collections::HashSet::new();
                entries.retain_mut(|entry| {
                    path.0.push(Step::Key(entry.key.clone()));
                    let first = seen.insert(entry.key.clone());
                    match first {
                        true => entry.value.remove_duplicates(path, found),
                        false => found.push((path.clone(), entry.origin.clone())),
                    }
                    path.0.pop();
                    first
                });
            }
            _ => {}
        }
    }
}

impl Path {
    /// The path of `logs.outputs` and the like.
    pub(super) fn of(keys: &str) -> Self {
        Self(keys.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    /// The path of keys and items: `secrets.items[0].files[1].path`.
    pub(super) fn of_items(text: &str) -> Self {
        let mut path = Self::default();
        for part in text.split('.') {
            let (key, items) = part.split_once('[').unwrap_or((part, ""));
            path = path.key(key);
            for index in items.split(['[', ']']).filter_map(|index| index.parse().ok()) {
                path = path.item(index);
            }
        }
        path
    }

    /// The path of a key in the node at this path.
    pub(super) fn key(&self, key: &str) -> Self {
        self.and(Step::Key(key.to_owned()))
    }

    /// The path of an item in the list at this path.
    pub(super) fn item(&self, index: usize) -> Self {
        self.and(Step::Item(index))
    }

    fn and(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => write!(f, "{}", shown(key))?,
                Step::Key(key) => write!(f, ".{}", shown(key))?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// Why a text is not YAML. Only the messages of the scanner are shown as they are: others hold values of the text, which
/// may be secrets.
fn reason(error: &Error) -> String {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => reason(error),
        Error::Message { msg, .. } | Error::ExternalMessage { msg, .. } => shown(msg),
        Error::Eof { .. } => "the text ends too early".to_owned(),
        Error::MultipleDocuments { .. } => "there is more than one YAML document".to_owned(),
        Error::UnknownAnchor { .. } => "an alias comes without its anchor".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "with its aliases filled in, the text is too large or nested too deeply".to_owned()
        }
        _ => "not YAML that we can read".to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { origin: Origin::Line(spanned.referenced.line()), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let origin = Origin::Line(key.referenced.line());
            entries.push(Entry { key: key.value, origin, value: map.next_value()? });
        }
        Ok(Kind::Map(entries))
    }
}
