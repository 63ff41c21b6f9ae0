//! What the checks of all sections share: places for problems, addresses and names that are given once.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting; knows a section.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use super::{
    node::{Kind, Node, Path},
    source::Tree,
};
use crate::{
    deliver::spooling,
    problem::{Problem, Problems},
    units::ByteSize,
};

/// Whether a listener asks who is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    None,
    Key,
}

/// A check of a document that was read from a tree.
pub(super) struct Check<'a> {
    tree: &'a Tree,
    problems: &'a mut Problems,
    addresses: HashMap<SocketAddr, Path>,
    /// Those of OTLP, which sections may share.
    shared: HashMap<SocketAddr, Path>,
    pub(super) sockets: HashMap<PathBuf, Path>,
    names: HashMap<Arc<str>, Path>,
}

/// What every output may say of itself.
pub(super) struct Common<'a> {
    /// The name that it has in the end.
    pub(super) name: Arc<str>,
    /// The one that was written.
    pub(super) own: Option<&'a str>,
    pub(super) spool_bytes_max: Option<ByteSize>,
}

impl<'a> Check<'a> {
    pub(super) fn new(tree: &'a Tree, problems: &'a mut Problems) -> Self {
        Self {
            tree,
            problems,
            addresses: HashMap::new(),
            shared: HashMap::new(),
            sockets: HashMap::new(),
            names: HashMap::new(),
        }
    }

    pub(super) fn error(&mut self, path: &Path, what: impl Into<String>, hint: &str) {
        self.problems.push(Problem::error(self.tree.place(path), what, hint));
    }

    pub(super) fn warning(&mut self, path: &Path, what: impl Into<String>, hint: &str) {
        self.problems.push(Problem::warning(self.tree.place(path), what, hint));
    }

    /// The paths of the items of a list that could be read.
    pub(super) fn items(&self, list: &str) -> Vec<Path> {
        let path = Path::of(list);
        let Some((Node { kind: Kind::List(items), .. }, _)) = self.tree.root.find(&path) else { return Vec::new() };
        let live = items.iter().enumerate().filter(|(_, item)| !matches!(item.kind, Kind::Removed));
        live.map(|(index, _)| path.item(index)).collect()
    }

    /// False if something in this node could not be read: what seems to be missing may be what was misspelt.
    pub(super) fn is_whole(&self, path: &Path) -> bool {
        self.tree.root.find(path).is_none_or(|(node, _)| !node.is_damaged())
    }

    pub(super) fn not_empty(&mut self, text: &str, path: &Path) {
        if text.is_empty() {
            self.error(path, "is empty", "");
        }
    }

    /// An address that inputs for OTLP in several sections may name, each once.
    pub(super) fn shared_listener(&mut self, address: SocketAddr, path: &Path) {
        let section = |path: &Path| path.to_string().split('.').next().map(str::to_owned);
        let first = self.shared.entry(address).or_insert_with(|| path.clone()).clone();
        if first == *path || section(&first) == section(path) {
            self.listener(Some(address), path, Protection::None);
        }
    }

    pub(super) fn listener(&mut self, address: Option<SocketAddr>, path: &Path, protection: Protection) {
        let Some(address) = address else { return };
        if !address.ip().is_loopback() && protection == Protection::None {
            let hint = "whoever reaches it can use it; write `127.0.0.1` unless something outside of the task needs it";
            self.warning(path, format!("`{address}` is not a loopback address"), hint);
        }
        // Port 0 is another one each time.
        if address.port() == 0 {
            return;
        }
        if let Some(other) = self.addresses.insert(address, path.clone()) {
            let what = format!("`{address}` is the address of `{other}` too");
            self.error(path, what, "give each listener an address of its own");
        }
    }

    pub(super) fn output(&mut self, common: Common<'_>, path: &Path) {
        let name_path = path.key("name");
        if common.own.is_some_and(|name| !is_name(name)) {
            let hint = "use 1 to 64 of the letters a-z, A-Z, 0-9, `_`, `.`, `-`, `/`";
            self.error(&name_path, "not a name that can stand on `/metrics`", hint);
        }
        if let Some(other) = self.names.insert(common.name, name_path.clone()) {
            self.error(&name_path, format!("is the name of `{other}` too"), "give each output its own");
        }
        if common.spool_bytes_max.is_some_and(|bytes| bytes < spooling::OUTPUT_BYTES_MIN) {
            let least = spooling::OUTPUT_BYTES_MIN;
            self.error(&path.key("spool_bytes_max"), format!("less than {least}"), "give more, or leave it out");
        }
    }
}

/// True for a name that can stand on `/metrics`.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
}

/// A region becomes part of a host name.
pub(super) fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
