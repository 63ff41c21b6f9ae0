//! `awslogs` as `awsfirelens`: the same lines in the same streams of the same groups.
//!
//! Promises: streams are called as before, `prefix/container/task`, and an event is the line and nothing else, so that metric
//! filters, queries and bookmarks stay right (unless whole records are asked for); an option that has no match is told.
//! Never: makes up a group.

use super::{Options, Records};
use crate::{
    problem::Problem,
    taskdef::{
        tree::Node,
        view::{Container, Scope},
    },
};

/// Options that need no match: the driver of FireLens never blocks, and has a buffer of its own.
const WITHOUT_MATCH: [&str; 3] = ["mode", "max-buffer-size", "awslogs-force-flush-interval-seconds"];
/// Options that have one.
const WITH_MATCH: [&str; 5] =
    ["awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "awslogs-endpoint"];

/// The log configuration for a container that has `awslogs`, and what to look at. `place` names it.
pub(super) fn translated(container: Container<'_>, place: &str, options: &Options) -> (Option<Node>, Vec<Problem>) {
    let mut care = Vec::new();
    let case = container.0.case();
    let Some(given) = container.log_options() else { return (None, care) };
    let at = |option: &str| format!("{place}logConfiguration.options.{option}");
    let Some(group) = given.raw("awslogs-group") else {
        let what = "names no log group";
        care.push(Problem::warning(at("awslogs-group"), what, "name one; until then the log stays as it is"));
        return (None, care);
    };
    let name = container.name().unwrap_or_default();
    let mut made = vec![("Name", Node::of("cloudwatch"))];
    if let Some(region) = given.raw("awslogs-region") {
        made.push(("region", region.node.clone()));
    }
    made.push(("log_group_name", group.node.clone()));
    made.push(("log_stream_name", stream(given.raw("awslogs-stream-prefix"), &name)));
    if given.raw("awslogs-stream-prefix").is_none() {
        let what = "is not given, so streams were called after Docker's id of the container";
        let hint = format!("they are called `{name}/<task id>` now");
        care.push(Problem::warning(at("awslogs-stream-prefix"), what, hint));
    }
    if let Some(create) = given.raw("awslogs-create-group") {
        made.push(("auto_create_group", create.node.clone()));
    }
    if let Some(endpoint) = given.raw("awslogs-endpoint") {
        made.push(("endpoint", endpoint.node.clone()));
    }
    if options.records == Records::Lines {
        made.push(("log_key", Node::of("log")));
    }
    for (option, _) in given.members() {
        if WITH_MATCH.contains(&option) || WITHOUT_MATCH.contains(&option) {
            continue;
        }
        let (what, hint) = match option {
            "awslogs-multiline-pattern" | "awslogs-datetime-format" => (
                "has no match: each line becomes an event of its own",
                "join lines in the app, or leave it on awslogs with --keep-logs",
            ),
            _ => (
                "has no match in pillion and has no effect any more",
                "see whether you need it; --keep-logs leaves logs alone",
            ),
        };
        care.push(Problem::warning(at(option), what, hint));
    }
    let key = |key| case.key(key);
    let (driver, of_driver) = (key("logDriver"), key("options"));
    let made = Node::map([(&*driver, Node::of("awsfirelens")), (&*of_driver, Node::map(made))]);
    (Some(made), care)
}

/// The name that `awslogs` gives a stream, in the words of the plugin `cloudwatch`.
fn stream(prefix: Option<Scope<'_>>, container: &str) -> Node {
    let tail = format!("{container}/$(ecs_task_id)");
    match prefix {
        None => Node::of(&tail),
        Some(prefix) => match prefix.text() {
            Some(text) => Node::of(&format!("{text}/{tail}")),
            // A template computes it: so is the whole.
            None => {
                let parts = Node::list([prefix.node.clone(), Node::of(&format!("/{tail}"))]);
                Node::map([("Fn::Join", Node::list([Node::of(""), parts]))])
            }
        },
    }
}

/// Where pillion's own dozen lines go: the group of the first container that names one.
pub(super) fn own(containers: &[Container<'_>]) -> Option<Node> {
    containers.iter().find_map(|container| {
        let given = container.log_options()?;
        let [group, region] = match container.log_driver()?.as_str() {
            "awslogs" => ["awslogs-group", "awslogs-region"],
            "awsfirelens" => ["log_group_name", "region"],
            _ => return None,
        };
        let group = given.raw(group)?;
        let mut options = vec![("awslogs-group", group.node.clone())];
        if let Some(region) = given.raw(region) {
            options.push(("awslogs-region", region.node.clone()));
        }
        options.push(("awslogs-stream-prefix", Node::of("pillion")));
        // A sidecar must not wait for the service.
        options.push(("mode", Node::of("non-blocking")));
        let key = |key| container.0.case().key(key);
        let (driver, of_driver) = (key("logDriver"), key("options"));
        Some(Node::map([(&*driver, Node::of("awslogs")), (&*of_driver, Node::map(options))]))
    })
}
