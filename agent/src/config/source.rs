//! Where our own configuration was written: a YAML text with a name, and the variables put over it.
//!
//! Promises: a place is `file:line path` for what stands in the file, and the variable's name for what does not.
//! Never: decides which source counts; `load` does.

use super::{
    document::Document,
    environment::Environment,
    node::{Node, Origin, Path},
    overrides, typed,
};
use crate::problem::{Problem, Problems};

/// A tree and the name of the text it came from.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) name: String,
    pub(super) root: Node,
}

impl Tree {
    /// A tree without a text: only variables give it values.
    pub(super) fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), root: Node::empty() }
    }

    /// Reads a text. What cannot be read at all is one error and an empty tree.
    pub(super) fn parse(name: &str, text: &[u8], problems: &mut Problems) -> Self {
        let mut tree = Self::empty(name);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let line = text[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
                problems.push(Problem::error(format!("{name}:{line}"), "not UTF-8", "save the file as UTF-8"));
                return tree;
            }
        };
        match Node::parse(text) {
            Ok(root) => tree.root = root,
            Err(unreadable) => {
                let place = unreadable.line.map_or(name.to_owned(), |line| format!("{name}:{line}"));
                problems.push(Problem::error(place, unreadable.what, "the rest of the text could not be looked at"));
            }
        }
        let mut duplicates = Vec::new();
        tree.root.remove_duplicates(&mut Path::default(), &mut duplicates);
        for (path, origin) in duplicates {
            problems.push(Problem::error(tree.place_at(&path, &origin), "the key is given twice", "remove one"));
        }
        tree
    }

    /// Puts the overriding variables over the tree.
    pub(super) fn put_overrides(&mut self, environment: &Environment, problems: &mut Problems) {
        for (variable, steps, value) in overrides::of(environment) {
            if let Err(misplaced) = overrides::put(&mut self.root, variable, &steps, value) {
                problems.push(Problem::error(misplaced.variable, misplaced.what, misplaced.hint));
            }
        }
    }

    /// Makes the document of the tree. What could not be read is reported, and taken out of the tree.
    pub(super) fn document(&mut self, problems: &mut Problems) -> Document {
        let mut mistakes = Vec::new();
        let document = typed::read(&mut self.root, |root, path, mistake| {
            // Now, since the node is taken out next.
            let origin = nearest_origin(root, path);
            mistakes.push((path.clone(), origin, mistake));
        });
        // In the order of the text, which is the order in which they are mended.
        mistakes.sort_by_key(|(_, origin, _)| match origin {
            Origin::Line(line) => *line,
            Origin::Variable(_) => u64::MAX,
        });
        for (path, origin, mistake) in mistakes {
            problems.push(Problem::error(self.place_at(&path, &origin), mistake.what, mistake.hint));
        }
        document
    }

    /// The place of the node at `path`, or of the innermost one around it that exists.
    pub(super) fn place(&self, path: &Path) -> String {
        self.place_at(path, &nearest_origin(&self.root, path))
    }

    fn place_at(&self, path: &Path, origin: &Origin) -> String {
        match origin {
            Origin::Line(_) if path.0.is_empty() => self.name.clone(),
            Origin::Line(line) => format!("{}:{line} {path}", self.name),
            Origin::Variable(name) => name.to_string(),
        }
    }
}

fn nearest_origin(root: &Node, path: &Path) -> Origin {
    let mut path = path.clone();
    loop {
        if let Some((_, origin)) = root.find(&path) {
            return origin.clone();
        }
        path.0.pop();
    }
}
