//! A Fluent Bit file, mostly the one that ECS generates, and what variables say beside it.
//!
//! Promises: what the file says stays as it is: variables add inputs and outputs behind the file's, and say everything that is not logs.
//! Never: lets a variable change an input, a filter or an output of the file: which one it would be is the file's own business.

use std::path::Path;

use super::{
    Level, Loaded, Sources, check,
    node::{self, Origin},
    secrets,
    source::Tree,
    spool,
};
use crate::{
    fluentbit,
    logs::settings::Logs,
    problem::{Problem, Problems, shown},
};

/// Reads the file.
pub(super) fn load(path: &Path, sources: &Sources<'_>, problems: &mut Problems) -> Loaded {
    let described = shown(&path.display().to_string());
    let mut tree = Tree::empty("the environment");
    tree.put_overrides(&sources.environment, problems);
    refuse_changes(&mut tree, problems);
    let mut document = tree.document(problems);
    let reading = fluentbit::read(path, sources.environment.variables(), sources.files);
    // Before the file's are put in front: places in the tree are those of the variables.
    check::check(&document, &tree, problems);
    secrets::check(&document, &tree, problems);
    problems.extend(reading.problems);
    document.logs = behind(reading.logs, document.logs);
    let mut spool_place = tree.place(&node::Path::of("spool.path"));
    if let Some(wanted) = reading.storage.settle(document.spool.path.is_some(), problems) {
        document.spool.path = Some(wanted.path);
        spool_place = wanted.place;
    }
    spool::required(&document, &tree, problems);
    spool::settle_parts(&mut document, &tree, problems);
    let level = reading.service.log_level.and_then(Level::parse);
    document.log.level = document.log.level.or(level);
    let memory_place = tree.place(&node::Path::of("memory"));
    let memory_hint = reading.memory_hint;
    Loaded { document, spool_place, memory_place, memory_hint, described, has_logs: true }
}

/// Filters stand in an order, and a variable could not say where among the file's.
fn refuse_changes(tree: &mut Tree, problems: &mut Problems) {
    let path = node::Path::of("logs.filters");
    if let Some((_, Origin::Variable(name))) = tree.root.find(&path) {
        let what = "cannot change what a Fluent Bit file says about logs";
        problems.push(Problem::error(&**name, what, "change the file, or remove the variable"));
        tree.root.remove(&path);
    }
}

/// What a file says, and behind it what variables add.
fn behind(mut file: Logs, added: Logs) -> Logs {
    file.inputs.extend(added.inputs);
    file.outputs.extend(added.outputs);
    file
}
