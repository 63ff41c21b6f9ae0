//! `PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__GROUP=...`: single values from the environment, over the file's.
//!
//! Promises: every such variable changes the tree or is reported; `{}` is a section in which nothing is set.
//! Never: changes a list or a section as a whole.

use std::sync::Arc;

use super::{
    environment::Environment,
    node::{Entry, Kind, Node, Origin},
};

/// What the names of overriding variables start with.
pub(super) const PREFIX: &str = "PILLION__";
/// Steps of a path. Ours have eight at most.
const STEPS_MAX: usize = 16;

/// A variable that could not be put into the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    pub(super) variable: String,
    pub(super) what: &'static str,
    pub(super) hint: &'static str,
}

/// The overriding variables, split into steps, in the order in which lists can grow.
pub(super) fn of(environment: &Environment) -> Vec<(&str, Vec<String>, &str)> {
    let mut overrides: Vec<(&str, Vec<String>, &str)> = environment
        .variables()
        .iter()
        .filter_map(|(name, value)| {
            let steps = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
            Some((name.as_str(), steps, value.as_str()))
        })
        .collect();
    // Item 10 comes after item 2.
    overrides.sort_by_cached_key(|(_, steps, _)| {
        steps.iter().map(|step| (step.parse::<usize>().ok(), step.clone())).collect::<Vec<_>>()
    });
    overrides
}

/// Puts one value into the tree.
pub(super) fn put(root: &mut Node, variable: &str, steps: &[String], value: &str) -> Result<(), Misplaced> {
    match value.trim() {
        "{}" => put_section(root, variable, steps),
        _ => put_kind(root, variable, steps, Kind::Loose(value.to_owned())),
    }
}

/// Puts a section without settings into the tree, where there is none.
pub(super) fn put_section(root: &mut Node, variable: &str, steps: &[String]) -> Result<(), Misplaced> {
    put_kind(root, variable, steps, Kind::Map(Vec::new()))
}

fn put_kind(root: &mut Node, variable: &str, steps: &[String], value: Kind) -> Result<(), Misplaced> {
    let refuse = |what, hint| Err(Misplaced { variable: variable.to_owned(), what, hint });
    if steps.len() > STEPS_MAX || steps.iter().any(String::is_empty) {
        return refuse("does not name a setting", "write for example `PILLION__ADMIN__LISTEN`");
    }
    let origin = Origin::Variable(Arc::from(variable));
    let mut node = root;
    for step in steps {
        let index = step.parse::<usize>().ok();
        if matches!(node.kind, Kind::Null) {
            let kind = if index.is_some() { Kind::List(Vec::new()) } else { Kind::Map(Vec::new()) };
            *node = Node { origin: origin.clone(), kind };
        }
        let fresh = Node { origin: origin.clone(), kind: Kind::Null };
        node = match (&mut node.kind, index) {
            (Kind::Map(entries), _) => {
                let at = entries.iter().position(|entry| entry.key == *step).unwrap_or_else(|| {
                    entries.push(Entry { key: step.clone(), origin: origin.clone(), value: fresh });
                    entries.len() - 1
                });
                &mut entries[at].value
            }
            (Kind::List(items), Some(index)) if index <= items.len() => {
                if index == items.len() {
                    items.push(fresh);
                }
                &mut items[index]
            }
            (Kind::List(_), Some(_)) => return refuse("leaves a gap in the list", "items are counted from 0"),
            (Kind::List(_), None) => return refuse("leads into a list", "give the number of an item, from 0"),
            _ => return refuse("leads through a value", "only sections and lists have something in them"),
        };
    }
    if matches!((&node.kind, &value), (Kind::Map(_), Kind::Map(_))) {
        return Ok(());
    }
    if matches!(node.kind, Kind::Map(_) | Kind::List(_)) {
        return refuse("is a section or a list", "set the single values in it");
    }
    *node = Node { origin, kind: value };
    Ok(())
}
