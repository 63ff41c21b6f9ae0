//! Configurations of other agents as variables of ours, for who puts pillion in the place of one.
//!
//! Promises: the variables mean what the agent would do if it were given the configuration itself; a configuration of which something
//! has no meaning here gives that, and no variables.
//! Never: fills in a variable of the other agent's: what it will be is not known here.

use super::{
    cloudwatch_agent, collector,
    environment::Environment,
    node::{Kind, Node},
    source::Tree,
};
use crate::problem::{Problem, Problems};

/// A setting of ours: the steps to it, and its value.
pub type Setting = (Vec<String>, String);

/// The settings that a configuration of ADOT's collector or of the CloudWatch agent means.
pub fn settings_of(name: &str, text: &str) -> Result<Vec<Setting>, Problem> {
    if text.contains("${") {
        return Err(Problem::error(name, "is filled in by variables", ""));
    }
    let mut problems = Problems::default();
    let environment = Environment::default();
    let tree = Tree::parse(name, text.as_bytes(), &mut problems);
    let translated = if collector::is_one(&tree.root) {
        collector::translated(&tree, &environment, &mut problems)
    } else if cloudwatch_agent::is_one(&tree.root) {
        cloudwatch_agent::translated(&tree, &environment, &mut problems)
    } else {
        problems.push(Problem::error(name, "is no configuration that is known here", ""));
        tree
    };
    if let Some(first) = problems.into_sorted().into_iter().next() {
        return Err(first);
    }
    let mut settings = Vec::new();
    gather(&translated.root, &mut Vec::new(), &mut settings);
    Ok(settings)
}

/// What the file of this path is in the image of ADOT's collector, if it is one of those.
pub fn file_of_collector(path: &str) -> Option<String> {
    collector::of_image(path)
}

fn gather(node: &Node, steps: &mut Vec<String>, settings: &mut Vec<Setting>) {
    match &node.kind {
        Kind::List(items) => {
            for (number, item) in items.iter().enumerate() {
                steps.push(number.to_string());
                gather(item, steps, settings);
                steps.pop();
            }
        }
        Kind::Map(entries) if entries.is_empty() => settings.push((steps.clone(), "{}".to_owned())),
        Kind::Map(entries) => {
            for entry in entries {
                steps.push(entry.key.clone());
                gather(&entry.value, steps, settings);
                steps.pop();
            }
        }
        _ => settings.extend(node.scalar().map(|value| (steps.clone(), value))),
    }
}
