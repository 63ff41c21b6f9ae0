//! What changes in the containers that are there.
//!
//! Promises: nothing is set that is set; who waited for a sidecar that goes waits for pillion.
//! Never: touches a member that it has nothing to put into.

use super::{
    Container, Editor, NAME, Options, Scope, SecretsAs, Wait,
    container::record,
    plan::Plan,
    secrets::{FOLDER, VOLUME},
};
use crate::taskdef::{tree::Node, view::Task};

/// All changes but our own container.
pub(super) fn change(editor: &mut Editor<'_>, plan: &Plan, options: &Options) {
    let gone: Vec<String> = plan.replaced().map(|sidecar| sidecar.name.clone()).collect();
    let names: Vec<String> =
        Task(editor.scope()).containers().iter().filter_map(|container| container.name()).collect();
    for name in names.iter().filter(|name| *name != NAME && !gone.contains(name)) {
        let is_app = plan.apps.contains(name);
        if is_app && let Some((_, logs)) = plan.logs.iter().find(|(owner, _)| owner == name) {
            editor.set(Some(name), "logConfiguration", logs.clone());
        }
        if is_app {
            variables(editor, plan, name);
            files(editor, plan, options, name);
        }
        dependencies(editor, options, name, is_app, &gone);
        links(editor, plan, name, is_app, &gone);
    }
    // After the containers: what is taken out of the middle is put back first.
    for name in &gone {
        editor.take_container(name);
    }
    if plan.has_files() {
        let case = editor.scope().case();
        editor.push(None, "volumes", vec![record(case, [("name", Node::of(VOLUME))])]);
    }
}

fn with<T>(editor: &Editor<'_>, name: &str, look: impl FnOnce(Container<'_>) -> T) -> Option<T> {
    Task(editor.scope()).container(name).map(look)
}

fn variables(editor: &mut Editor<'_>, plan: &Plan, name: &str) {
    let case = editor.scope().case();
    let all = plan.inputs.iter().flat_map(|input| input.variables(plan));
    let files = plan.secrets.files.get(name).into_iter().flatten();
    let files = files.map(|(variable, path)| (format!("{variable}_FILE"), format!("{FOLDER}/{path}")));
    let wanted: Vec<(String, String)> = all.map(|(name, value)| (name.to_owned(), value)).chain(files).collect();
    let missing = with(editor, name, |container| {
        let missing = wanted.iter().filter(|(variable, _)| !container.has_variable(variable));
        missing
            .map(|(variable, value)| record(case, [("name", Node::of(variable)), ("value", Node::of(value))]))
            .collect()
    });
    editor.push(Some(name), "environment", missing.unwrap_or_default());
}

fn files(editor: &mut Editor<'_>, plan: &Plan, options: &Options, name: &str) {
    let Some(moved) = plan.secrets.files.get(name) else { return };
    let case = editor.scope().case();
    let mount =
        [("sourceVolume", Node::of(VOLUME)), ("containerPath", Node::of(FOLDER)), ("readOnly", Node::truth(true))];
    editor.push(Some(name), "mountPoints", vec![record(case, mount)]);
    if options.secrets == SecretsAs::Both {
        return;
    }
    let is_moved = |secret: &Scope<'_>| {
        let named = secret.text_of("name");
        secret.text_of("valueFrom").is_some() && moved.iter().any(|(variable, _)| Some(variable) == named.as_ref())
    };
    let left: Option<Vec<Node>> = with(editor, name, |container| {
        container.0.items_of("secrets").filter(|secret| !is_moved(secret)).map(|secret| secret.node.clone()).collect()
    });
    match left {
        Some(left) if left.is_empty() => editor.take(name, "secrets"),
        Some(left) => editor.set(Some(name), "secrets", Node::list(left)),
        None => {}
    }
}

/// Apps wait for pillion; nobody waits for what is gone.
fn dependencies(editor: &mut Editor<'_>, options: &Options, name: &str, is_app: bool, gone: &[String]) {
    let case = editor.scope().case();
    let condition = match options.wait {
        Wait::Healthy => "HEALTHY",
        Wait::Start => "START",
    };
    let ours = || record(case, [("containerName", Node::of(NAME)), ("condition", Node::of(condition))]);
    let kept: Option<(Vec<Node>, usize)> = with(editor, name, |container| {
        let all: Vec<Scope<'_>> = container.0.items_of("dependsOn").collect();
        let waits = |item: &&Scope<'_>| !item.text_of("containerName").is_some_and(|other| gone.contains(&other));
        (all.iter().filter(waits).map(|item| item.node.clone()).collect(), all.len())
    });
    let Some((mut kept, all)) = kept else { return };
    if kept.len() == all {
        if is_app {
            editor.push(Some(name), "dependsOn", vec![ours()]);
        }
        return;
    }
    if is_app {
        kept.push(ours());
    }
    replace(editor, name, "dependsOn", kept);
}

/// In the network mode `bridge` a container finds another by its link. A link to a sidecar that is gone leads to pillion, by
/// the name that clients know.
fn links(editor: &mut Editor<'_>, plan: &Plan, name: &str, is_app: bool, gone: &[String]) {
    if plan.host != NAME {
        return;
    }
    let links: Option<Vec<String>> =
        with(editor, name, |container| container.0.items_of("links").filter_map(|link| link.text()).collect());
    let links = links.unwrap_or_default();
    let mut led = false;
    let redirected: Vec<Node> = links
        .iter()
        .map(|link| {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            let leads_here = gone.iter().any(|gone| gone == target);
            led |= leads_here;
            if leads_here { Node::of(&format!("{NAME}:{alias}")) } else { Node::of(link) }
        })
        .collect();
    if led {
        let own = is_app.then(|| Node::of(NAME));
        replace(editor, name, "links", redirected.into_iter().chain(own).collect());
    } else if is_app {
        editor.push(Some(name), "links", vec![Node::of(NAME)]);
    }
}

fn replace(editor: &mut Editor<'_>, name: &str, key: &str, values: Vec<Node>) {
    if values.is_empty() {
        editor.take(name, key);
    } else {
        editor.set(Some(name), key, Node::list(values));
    }
}
