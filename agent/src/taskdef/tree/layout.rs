//! How something new is laid out, so that it looks like what stands beside it.
//!
//! Promises: a document without line breaks gets none; indentation is that of the neighbours.
//! Never: touches the white space of what was there, but that a new last one takes over what stood behind the old last one.

use super::{Array, Document, Element, Form, Member, Node, Object, Syntax};

/// How a document is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// What ends a line; none if all stands in one.
    line_end: Option<&'static str>,
    /// What each level is moved in by.
    unit: String,
    /// What stands between a name and its value.
    between: String,
    syntax: Syntax,
    /// How far a list's dashes stand behind the name of the list, in blocks of YAML.
    pub(super) dash: usize,
}

/// Where a new member or element comes to stand.
pub(super) struct Right {
    pub(super) before: String,
    /// How far its line is moved in, if it has one of its own.
    pub(super) indentation: Option<String>,
    /// What stands behind it if it is alone.
    pub(super) end: String,
}

/// What a line is moved in by, if white space before something holds a line break.
pub(super) fn indentation(before: &str) -> Option<&str> {
    before.rfind('\n').map(|end| &before[end + 1..])
}

/// A new value as a document, moved in by two for each level.
pub fn pretty(mut value: Node) -> String {
    let (unit, between) = ("  ".to_owned(), ": ".to_owned());
    let style = Style { line_end: Some("\n"), unit, between, syntax: Syntax::Json, dash: 0 };
    style.lay_out(&mut value, Some(""));
    value.printed() + "\n"
}

impl Style {
    /// That of a document, as its outermost object or array shows it.
    pub fn of(document: &Document) -> Self {
        match document.syntax {
            Syntax::Json => Self::of_json(&document.root),
            Syntax::Yaml => Self::of_blocks(document),
        }
    }

    fn of_json(root: &Node) -> Self {
        let (before, between) = match root {
            Node::Object(Object { members, .. }) => (
                members.first().map_or("\n  ", |member| &*member.before),
                members.first().map_or(": ", |member| &*member.between),
            ),
            Node::Array(Array { elements, .. }) => {
                let first = elements.first().and_then(|element| element.value.object()?.members.first());
                (
                    elements.first().map_or("\n  ", |element| &*element.before),
                    first.map_or(": ", |member| &*member.between),
                )
            }
            Node::Text(_) | Node::Bare(_) => ("", ": "),
        };
        let line_end = before.contains('\n').then(|| if before.contains("\r\n") { "\r\n" } else { "\n" });
        let unit = indentation(before).unwrap_or_default().to_owned();
        let between = if between.contains('\n') { ": " } else { between }.to_owned();
        let unit = if line_end.is_some() && unit.is_empty() { "  ".to_owned() } else { unit };
        Self { line_end, unit, between, syntax: Syntax::Json, dash: 0 }
    }

    /// Blocks differ in how far they are moved in, and in whether dashes are.
    fn of_blocks(document: &Document) -> Self {
        let is_windows = document.printed().contains("\r\n");
        let (mut unit, mut dash) = (None, None);
        offsets(&document.root, None, &mut unit, &mut dash);
        let line_end = Some(if is_windows { "\r\n" } else { "\n" });
        let unit = " ".repeat(unit.unwrap_or(2));
        Self { line_end, unit, between: ": ".to_owned(), syntax: Syntax::Yaml, dash: dash.unwrap_or(2) }
    }

    /// How far a block is moved in within another.
    pub(super) fn step(&self) -> usize {
        self.unit.len()
    }

    /// The beginning of a new line.
    pub(super) fn line(&self, column: usize) -> String {
        format!("{}{}", self.line_end.unwrap_or("\n"), " ".repeat(column))
    }

    /// The same for what stands in brackets: in YAML that is one line.
    pub(super) fn in_brackets(&self) -> Self {
        match self.syntax {
            Syntax::Json => self.clone(),
            Syntax::Yaml => self.in_one_line(),
        }
    }

    /// The same without line breaks, for what stands in a line of its own.
    pub fn in_one_line(&self) -> Self {
        Self { line_end: None, ..self.clone() }
    }

    /// What stands between a new name and its value.
    pub(super) fn between(&self, neighbour: Option<&str>) -> String {
        neighbour.filter(|between| !between.contains('\n')).unwrap_or(&self.between).to_owned()
    }

    /// The place behind neighbours that have this before them. `within` is the indentation around.
    pub(super) fn place<'a>(&self, neighbours: impl Iterator<Item = &'a str>, within: &str) -> Right {
        let neighbours: Vec<&str> = neighbours.collect();
        match (neighbours.last(), self.line_end) {
            (Some(last), _) if last.contains('\n') => Right {
                before: line_break(last),
                indentation: indentation(last).map(str::to_owned),
                end: String::new(),
            },
            (Some(last), _) => {
                let gap = if neighbours.len() > 1 { (*last).to_owned() } else { self.gap() };
                Right { before: gap, indentation: None, end: String::new() }
            }
            (None, Some(line_end)) => {
                let inner = format!("{within}{}", self.unit);
                let (before, end) = (format!("{line_end}{inner}"), format!("{line_end}{within}"));
                Right { before, indentation: Some(inner), end }
            }
            (None, None) => Right { before: String::new(), indentation: None, end: String::new() },
        }
    }

    /// What follows a comma within a line.
    fn gap(&self) -> String {
        if self.between == ":" { String::new() } else { " ".to_owned() }
    }

    /// Lays out a new value whose line is moved in by `within`, or which stands in the line of others.
    pub(super) fn lay_out(&self, value: &mut Node, within: Option<&str>) {
        self.lay_out_like(value, within, None);
    }

    /// The same, with an object in one line if the neighbour is one.
    pub(super) fn lay_out_like(&self, value: &mut Node, within: Option<&str>, neighbour: Option<&Node>) {
        if self.syntax == Syntax::Yaml {
            value.put_in_brackets();
        }
        let inline = neighbour.and_then(Node::object).and_then(|object| object.members.first());
        match (inline, within, self.line_end) {
            (Some(first), _, _) if !first.before.contains('\n') => self.in_a_line(value, &first.before),
            (_, Some(within), Some(line_end)) => self.in_lines(value, within, line_end),
            _ => self.in_a_line(value, ""),
        }
    }

    /// Puts a new value in the place of an old one, in one line if the old one stood in one.
    pub fn lay_out_anew(&self, place: Option<&mut Node>, mut value: Node, within: Option<&str>) {
        let Some(place) = place else { return };
        if let Form::Block(column) = place.form() {
            self.lay_out_block(&mut value, column);
            *place = value;
            return;
        }
        let neighbour = place.object().is_some_and(|object| !object.members.is_empty()).then(|| place.clone());
        self.in_brackets().lay_out_like(&mut value, within, neighbour.as_ref());
        *place = value;
    }

    /// `pad` stands inside of the braces of an object.
    fn in_a_line(&self, value: &mut Node, pad: &str) {
        match value {
            Node::Object(Object { members, form: Form::Tag, .. }) => {
                for member in members {
                    self.in_a_line(&mut member.value, pad);
                }
            }
            Node::Object(Object { members, .. }) => {
                let last = members.len().saturating_sub(1);
                for (number, member) in members.iter_mut().enumerate() {
                    member.before = if number == 0 { pad.to_owned() } else { self.gap() };
                    member.between.clone_from(&self.between);
                    member.after = if number == last { pad.to_owned() } else { String::new() };
                    self.in_a_line(&mut member.value, pad);
                }
            }
            Node::Array(Array { elements, .. }) => {
                for (number, element) in elements.iter_mut().enumerate() {
                    element.before = if number == 0 { String::new() } else { self.gap() };
                    self.in_a_line(&mut element.value, pad);
                }
            }
            Node::Text(_) | Node::Bare(_) => {}
        }
    }

    fn in_lines(&self, value: &mut Node, within: &str, line_end: &str) {
        let inner = format!("{within}{}", self.unit);
        let before = format!("{line_end}{inner}");
        let end = format!("{line_end}{within}");
        match value {
            Node::Object(Object { members, .. }) => {
                let last = members.len().saturating_sub(1);
                for (number, Member { before: place, between, value, after, .. }) in members.iter_mut().enumerate() {
                    place.clone_from(&before);
                    between.clone_from(&self.between);
                    *after = if number == last { end.clone() } else { String::new() };
                    self.in_lines(value, &inner, line_end);
                }
            }
            // Lists of words, such as a command, read better in a line.
            Node::Array(array) if array.values().all(|value| matches!(value, Node::Text(_) | Node::Bare(_))) => {
                self.in_a_line(value, "");
            }
            Node::Array(Array { elements, .. }) => {
                let last = elements.len().saturating_sub(1);
                for (number, Element { before: place, value, after }) in elements.iter_mut().enumerate() {
                    place.clone_from(&before);
                    *after = if number == last { end.clone() } else { String::new() };
                    self.in_lines(value, &inner, line_end);
                }
            }
            Node::Text(_) | Node::Bare(_) => {}
        }
    }
}

/// How far blocks are moved in within the members that hold them.
fn offsets(node: &Node, owner: Option<usize>, unit: &mut Option<usize>, dash: &mut Option<usize>) {
    let offset = |column: usize| owner.map(|owner| column - owner);
    match node {
        Node::Object(Object { members, form, .. }) => {
            let own = if let Form::Block(column) = form { Some(*column) } else { None };
            *unit = unit.or(own.and_then(offset));
            members.iter().for_each(|member| offsets(&member.value, own, unit, dash));
        }
        Node::Array(Array { elements, form, .. }) => {
            let own = if let Form::Block(column) = form { Some(*column) } else { None };
            *dash = dash.or(own.and_then(offset));
            elements.iter().for_each(|element| offsets(&element.value, None, unit, dash));
        }
        Node::Text(_) | Node::Bare(_) => {}
    }
}

/// The last line break before something, and its indentation: blank lines are not repeated.
fn line_break(before: &str) -> String {
    let end = before.rfind('\n').unwrap_or(0);
    let start = if before[..end].ends_with('\r') { end - 1 } else { end };
    before[start..].to_owned()
}
