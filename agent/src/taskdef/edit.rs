//! Changes to a task definition, each of which can be taken back.
//!
//! Promises: every change is remembered as what it takes to undo it; undoing all of them, the last one first, gives the bytes
//! that were there, if nobody else changed anything; if somebody did, what they did stays as far as it can, and what cannot
//! is told.
//! Never: knows why something is changed.
//!
//! What is remembered must be small, for it travels in a label: names of what was added, the text of what was taken out.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use serde::{Deserialize, Serialize};

use super::{
    tree::{Array, Node, Style, Syntax, Taken},
    view::{Case, Scope},
};
use crate::{net::inflate, otlp::base64};

/// Bytes of what is remembered, before it is compressed: a task definition has 64 KiB at most.
const MEMORY_BYTES_MAX: usize = 1 << 20;

/// One change, as what it takes to undo it. The first text is the container's name; none for the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A member was added: container, name.
    #[serde(rename = "+")]
    Added(Option<String>, String),
    /// A member got another value: container, name, what it was, checksum of what it became.
    #[serde(rename = "=")]
    Set(Option<String>, String, String, u32),
    /// Elements were put behind those of a list: container, name, what they are called, the space in an empty list.
    #[serde(rename = "*")]
    Pushed(Option<String>, String, Vec<String>, String),
    /// A member was taken out: container, index, head, value, tail, left neighbour's tail.
    #[serde(rename = "-")]
    Taken(Option<String>, usize, [String; 3], String, String, Option<String>),
    /// A container was taken out: the same.
    #[serde(rename = "c")]
    Container(usize, [String; 3], String, String, Option<String>),
}

/// A task definition that is being changed.
pub struct Editor<'a> {
    root: &'a mut Node,
    case: Case,
    style: Style,
    changes: Vec<Change>,
}

impl<'a> Editor<'a> {
    /// Of the task definition at `root`, in a document of that style.
    pub fn new(root: &'a mut Node, case: Case, style: Style) -> Self {
        Self { root, case, style, changes: Vec::new() }
    }

    /// The task definition as it is now.
    pub fn scope(&self) -> Scope<'_> {
        Scope::new(self.root, self.case)
    }

    /// The changes so far.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Puts a container behind the others. It is not remembered: it carries the memory, and goes with it.
    pub fn push_container(&mut self, container: Node) {
        let within = self.containers_indentation();
        let style = self.style.clone();
        if let Some(containers) = containers(self.root, self.case) {
            containers.push(container, &style, &within);
        }
    }

    /// Takes a container out.
    pub fn take_container(&mut self, name: &str) {
        let case = self.case;
        let Some(containers) = containers(self.root, case) else { return };
        let Some(index) = index_of(containers, case, name) else { return };
        let Some(taken) = containers.take(index) else { return };
        let Taken { index, head, value, after, left_after } = taken;
        self.changes.push(Change::Container(index, head, value, after, left_after));
    }

    /// Gives a member of a container (or of the task) a value.
    pub fn set(&mut self, container: Option<&str>, key: &str, value: Node) {
        let (key, style, owner) = (self.case.key(key), self.style.clone(), container.map(str::to_owned));
        let within = self.indentation(container);
        let Some(object) = self.holder(container).and_then(Node::object_mut) else { return };
        let was = object.written(&key).unwrap_or_default();
        let Some(there) = object.get(&key) else {
            object.push(&key, value, &style, &within);
            self.changes.push(Change::Added(owner, key));
            return;
        };
        if there.compact() == value.compact() {
            return;
        }
        let sum = checksum(&value);
        let line = object.indentation(&key);
        style.lay_out_anew(object.get_mut(&key), value, line.as_deref());
        self.changes.push(Change::Set(owner, key, was, sum));
    }

    /// Puts elements behind those of a list, which is made if it is not there.
    pub fn push(&mut self, container: Option<&str>, key: &str, values: Vec<Node>) {
        if values.is_empty() {
            return;
        }
        let case = self.case;
        let (key, style, owner) = (case.key(key), self.style.clone(), container.map(str::to_owned));
        let within = self.indentation(container);
        let names: Vec<String> = values.iter().map(|value| name_of(value, case).unwrap_or_default()).collect();
        let Some(object) = self.holder(container).and_then(Node::object_mut) else { return };
        let mut changes = Vec::new();
        if object.get(&key).is_none() && object.is_block() {
            // A list in lines of its own is never empty.
            object.push(&key, Node::list(values), &style, &within);
            self.changes.push(Change::Added(owner.clone(), key.clone()));
            self.changes.push(Change::Pushed(owner, key, names, String::new()));
            return;
        }
        if object.get(&key).is_none() {
            object.push(&key, Node::Array(Array::default()), &style, &within);
            changes.push(Change::Added(owner.clone(), key.clone()));
        }
        let line = object.indentation(&key);
        let style = if line.is_none() { style.in_one_line() } else { style };
        let line = line.unwrap_or_default();
        // What is no list is computed by a template, and stays.
        let Some(array) = object.get_mut(&key).and_then(Node::array_mut) else { return };
        let inside = array.inside().to_owned();
        for value in values {
            array.push(value, &style, &line);
        }
        changes.push(Change::Pushed(owner, key, names, inside));
        self.changes.append(&mut changes);
    }

    /// Takes a member of a container out.
    pub fn take(&mut self, container: &str, key: &str) {
        let key = self.case.key(key);
        let Some(object) = self.holder(Some(container)).and_then(Node::object_mut) else { return };
        let Some(taken) = object.take(&key) else { return };
        let Taken { index, head, value, after, left_after } = taken;
        self.changes.push(Change::Taken(Some(container.to_owned()), index, head, value, after, left_after));
    }

    /// Sets a label of a container that carries it already. It is not remembered.
    pub fn set_label(&mut self, container: &str, label: &str, text: &str) {
        let labels = self.case.key("dockerLabels");
        let value = self.holder(Some(container)).and_then(Node::object_mut);
        let value =
            value.and_then(|it| it.get_mut(&labels)).and_then(Node::object_mut).and_then(|it| it.get_mut(label));
        if let Some(value) = value {
            *value = Node::of(text);
        }
    }

    fn holder(&mut self, container: Option<&str>) -> Option<&mut Node> {
        holder(self.root, self.case, container)
    }

    /// How far the lines of a container's members stand in its object, one level out.
    fn indentation(&mut self, container: Option<&str>) -> String {
        let case = self.case;
        let Some(name) = container else { return String::new() };
        let Some(containers) = containers(self.root, case) else { return String::new() };
        index_of(containers, case, name).and_then(|index| containers.indentation(index)).unwrap_or_default()
    }

    fn containers_indentation(&self) -> String {
        let key = self.case.key("containerDefinitions");
        self.root.object().and_then(|object| object.indentation(&key)).unwrap_or_default()
    }
}

/// Undoes changes, the last one first. Gives a line for everything that was not as it had been left.
pub fn undo(root: &mut Node, case: Case, syntax: Syntax, changes: Vec<Change>) -> Vec<String> {
    let mut said = Vec::new();
    for change in changes.into_iter().rev() {
        if let Err(what) = undo_one(root, case, syntax, change) {
            said.push(what);
        }
    }
    said
}

fn undo_one(root: &mut Node, case: Case, syntax: Syntax, change: Change) -> Result<(), String> {
    let gone = |container: &Option<String>, what: &str| {
        format!("{}{what} is not there any more: nothing to undo", owner(container.as_deref()))
    };
    match change {
        Change::Added(container, key) => {
            let object = holder(root, case, container.as_deref()).and_then(Node::object_mut);
            let object = object.ok_or_else(|| gone(&container, &key))?;
            // Elements that somebody else added keep their list.
            if object.get(&key).and_then(Node::array).is_none_or(Array::is_empty) {
                object.take(&key);
            }
            Ok(())
        }
        Change::Set(container, key, was, sum) => {
            let object = holder(root, case, container.as_deref()).and_then(Node::object_mut);
            let object = object.ok_or_else(|| gone(&container, &key))?;
            let there = object.get(&key).ok_or_else(|| gone(&container, &key))?;
            let (changed, lost) = (checksum(there) != sum, there.compact());
            if !object.restore(&key, &was, syntax) {
                return Err(format!("{}{key}: what it was is broken", owner(container.as_deref())));
            }
            if !changed {
                return Ok(());
            }
            Err(format!(
                "{}{key} was changed since; it is what it was before, and this is gone: {lost}",
                owner(container.as_deref())
            ))
        }
        Change::Pushed(container, key, names, inside) => {
            let object = holder(root, case, container.as_deref()).and_then(Node::object_mut);
            let array = object.and_then(|object| object.get_mut(&key)).and_then(Node::array_mut);
            let array = array.ok_or_else(|| gone(&container, &key))?;
            for name in names.into_iter().rev() {
                let index = array
                    .values()
                    .collect::<Vec<_>>()
                    .iter()
                    .rposition(|value| name_of(value, case).as_deref() == Some(&name));
                if let Some(index) = index {
                    array.take(index);
                }
            }
            if array.is_empty() {
                array.set_inside(&inside, syntax);
            }
            Ok(())
        }
        Change::Taken(container, index, head, value, after, left_after) => {
            let object = holder(root, case, container.as_deref()).and_then(Node::object_mut);
            let object = object.ok_or_else(|| gone(&container, "the container"))?;
            let name = head[1].clone();
            let put = object.put_back(Taken { index, head, value, after, left_after }, syntax);
            put.then_some(()).ok_or_else(|| format!("{}{name} is there again; it stays", owner(container.as_deref())))
        }
        Change::Container(index, head, value, after, left_after) => {
            let containers = containers(root, case).ok_or("there are no containers any more")?;
            let put = containers.put_back(Taken { index, head, value, after, left_after }, syntax);
            put.then_some(()).ok_or_else(|| "a container that was taken out is broken".to_owned())
        }
    }
}

fn owner(container: Option<&str>) -> String {
    container.map_or(String::new(), |name| format!("{name}: "))
}

/// Takes the container of that name out for good.
pub fn drop_container(root: &mut Node, case: Case, name: &str) {
    if let Some(containers) = containers(root, case)
        && let Some(index) = index_of(containers, case, name)
    {
        containers.take(index);
    }
}

fn containers(root: &mut Node, case: Case) -> Option<&mut Array> {
    if matches!(root, Node::Array(_)) {
        return root.array_mut();
    }
    root.object_mut()?.get_mut(&case.key("containerDefinitions"))?.array_mut()
}

fn index_of(containers: &Array, case: Case, name: &str) -> Option<usize> {
    containers.values().position(|node| Scope::new(node, case).text_of("name").as_deref() == Some(name))
}

fn holder<'a>(root: &'a mut Node, case: Case, container: Option<&str>) -> Option<&'a mut Node> {
    let Some(name) = container else { return Some(root) };
    let containers = containers(root, case)?;
    let index = index_of(containers, case, name)?;
    containers.get_mut(index)
}

/// What an element of a list is called: a text by itself, an object by the member that names it.
fn name_of(value: &Node, case: Case) -> Option<String> {
    let scope = Scope::new(value, case);
    let named = ["name", "containerName", "sourceVolume"].into_iter().find_map(|key| scope.text_of(key));
    named.or_else(|| scope.text())
}

fn checksum(value: &Node) -> u32 {
    crc32c::crc32c(value.compact().as_bytes())
}

/// What a remembered history begins with: the way in which it is written. What was taken out of YAML is YAML.
fn version(syntax: Syntax) -> &'static str {
    match syntax {
        Syntax::Json => "1.",
        Syntax::Yaml => "1y.",
    }
}

/// The history as a text that fits into a label.
pub fn remembered(changes: &[Change], syntax: Syntax) -> String {
    let text = serde_json::to_vec(changes).expect("texts and numbers are JSON");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&text).expect("a Vec takes all that fits in memory");
    let bytes = encoder.finish().expect("a Vec takes all that fits in memory");
    format!("{}{}", version(syntax), base64::encoded(&bytes, false))
}

/// The history that [`remembered`] wrote. `None` if it is none, or was written for a document of the other kind.
pub fn recalled(text: &str, syntax: Syntax) -> Option<Vec<Change>> {
    let bytes = base64::decoded(text.strip_prefix(version(syntax))?.as_bytes())?;
    serde_json::from_slice(&inflate::unzlib(&bytes, MEMORY_BYTES_MAX).ok()?).ok()
}
