//! How something new is laid out in blocks of YAML.
//!
//! Promises: a record is a block, a list of records too, all else stands in one line; text is in quotes unless it is a word that
//! nobody takes for something else.
//! Never: leaves a value in the form of where it was copied from, if that says something else where it stands now.

use super::{
    Array, Element, Form, Member, Node, Object, Style,
    scalar::{plain, quoted, text},
};

impl Style {
    /// A new member of a block whose names stand in this column.
    pub(super) fn lay_out_member(&self, member: &mut Member, column: usize) {
        member.before = self.line(column);
        member.key = plain(&member.name);
        member.after.clear();
        let below = match &member.value {
            value if is_record(value) => Some(column + self.step()),
            Node::Array(array) if !array.is_empty() && array.values().all(is_record) => Some(column + self.dash),
            _ => None,
        };
        member.between = if below.is_some() { ":" } else { ": " }.to_owned();
        match below {
            Some(column) => self.lay_out_block(&mut member.value, column),
            None => self.lay_out_line(&mut member.value),
        }
    }

    /// A new element of a block whose dashes stand in this column.
    pub(super) fn element(&self, mut value: Node, column: usize) -> Element {
        if is_record(&value) {
            self.lay_out_block(&mut value, column + 2);
            if let Some(first) = value.object_mut().and_then(|object| object.members.first_mut()) {
                first.before.clear();
            }
        } else {
            self.lay_out_line(&mut value);
        }
        Element { before: self.line(column) + "- ", value, after: String::new() }
    }

    /// A value as a block in this column.
    pub(super) fn lay_out_block(&self, value: &mut Node, column: usize) {
        match value {
            Node::Object(object) => {
                object.form = Form::Block(column);
                object.members.iter_mut().for_each(|member| self.lay_out_member(member, column));
            }
            Node::Array(array) => {
                let values = std::mem::take(&mut array.elements).into_iter().map(|element| element.value);
                array.elements = values.map(|value| self.element(value, column)).collect();
                array.form = Form::Block(column);
            }
            Node::Text(_) | Node::Bare(_) => {}
        }
    }

    /// A value in the line of its name or its dash.
    fn lay_out_line(&self, value: &mut Node) {
        match value {
            Node::Text(raw) if raw.starts_with('"') || raw.contains('\n') => {
                *raw = text(raw).map_or_else(|| std::mem::take(raw), |text| plain(&text));
            }
            Node::Text(_) => {}
            Node::Object(Object { members, form: Form::Tag, .. }) => {
                for member in members {
                    member.between = " ".to_owned();
                    self.lay_out_line(&mut member.value);
                }
            }
            Node::Object(_) | Node::Array(_) | Node::Bare(_) => self.in_one_line().lay_out(value, None),
        }
    }
}

/// True for an object that is worth a block: it has members, and is nothing that a template computes.
fn is_record(value: &Node) -> bool {
    value.object().is_some_and(|object| object.form != Form::Tag && !object.members.is_empty())
}

impl Node {
    /// What was written in a block, or without quotes, as it may stand in brackets.
    pub(super) fn put_in_brackets(&mut self) {
        match self {
            Self::Object(Object { members, form, inside }) => {
                inside.clear();
                for member in members.iter_mut() {
                    (member.before, member.after) = (String::new(), String::new());
                    match form {
                        Form::Tag => member.between = " ".to_owned(),
                        Form::Flow | Form::Block(_) => member.key = quoted(&member.name),
                    }
                    member.value.put_in_brackets();
                }
                *form = if *form == Form::Tag { Form::Tag } else { Form::Flow };
            }
            Self::Array(Array { elements, form, inside }) => {
                inside.clear();
                *form = Form::Flow;
                for element in elements {
                    (element.before, element.after) = (String::new(), String::new());
                    element.value.put_in_brackets();
                }
            }
            Self::Text(raw) if !raw.contains('\n') && (raw.starts_with(['"', '\'']) || plain(raw) == *raw) => {}
            Self::Text(raw) => *raw = text(raw).map_or_else(|| std::mem::take(raw), |text| quoted(&text)),
            Self::Bare(raw) if raw.is_empty() => "null".clone_into(raw),
            Self::Bare(_) => {}
        }
    }
}
