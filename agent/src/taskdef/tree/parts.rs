//! Members and elements: looking at them, putting one in, taking one out, putting it back.
//!
//! Promises: what is put back is checked as if it stood in a file, for it comes out of a label, which anybody can write; if its
//! neighbours were moved in or out since, it is moved with them.
//! Never: changes how the neighbours are written.

use super::{Array, Element, Form, Member, Node, Object, Style, Syntax, Taken, layout};

impl Object {
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.members.iter().find(|member| member.name == name).map(|member| &member.value)
    }

    /// The value of a member, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value)
    }

    /// Names and values, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.members.iter().map(|member| (&*member.name, &member.value))
    }

    /// True if its members stand in lines of their own, without braces.
    pub fn is_block(&self) -> bool {
        matches!(self.form, Form::Block(_))
    }

    /// Puts a member behind all others. `within` is the indentation of this object.
    pub fn push(&mut self, name: &str, value: Node, style: &Style, within: &str) {
        let mut member = Member::new(name, value);
        if let Form::Block(column) = self.form {
            style.lay_out_member(&mut member, column);
            self.members.push(member);
            return;
        }
        let style = &style.in_brackets();
        let right = style.place(self.members.iter().map(|member| &*member.before), within);
        member.between = style.between(self.members.last().map(|member| &*member.between));
        style.lay_out(&mut member.value, right.indentation.as_deref());
        member.before = right.before;
        member.after = match self.members.last_mut() {
            Some(last) => std::mem::take(&mut last.after),
            None => right.end,
        };
        self.members.push(member);
    }

    /// Takes a member out.
    pub fn take(&mut self, name: &str) -> Option<Taken> {
        let index = self.members.iter().position(|member| member.name == name)?;
        let member = self.members.remove(index);
        let is_last = index > 0 && index == self.members.len();
        let left_after = match self.form {
            Form::Block(column) => Some(" ".repeat(column)),
            Form::Flow | Form::Tag => {
                is_last.then(|| std::mem::replace(&mut self.members[index - 1].after, member.after.clone()))
            }
        };
        let head = [member.before, member.key, member.between];
        Some(Taken { index, head, value: member.value.printed(), after: member.after, left_after })
    }

    /// Puts back what [`Object::take`] took. False if it is no member, or is there already.
    pub fn put_back(&mut self, taken: Taken, syntax: Syntax) -> bool {
        let part = taken.read(self.form, syntax, ["{", "}"]);
        let Some((Node::Object(Object { mut members, .. }), before)) = part else { return false };
        let (Some(mut member), true) = (members.pop(), members.is_empty()) else { return false };
        let left = taken.left_after.filter(|_| self.form == Form::Flow);
        if self.get(&member.name).is_some() || !left.iter().all(|left| is_gap(left, syntax)) {
            return false;
        }
        let index = taken.index.min(self.members.len());
        if let Some(left) = left.filter(|_| index > 0) {
            self.members[index - 1].after = left;
        }
        member.before.insert_str(0, &before);
        self.members.insert(index, member);
        true
    }

    /// A member's value as text, so that [`Object::restore`] can give it back: in a block with its name, which tells how far
    /// its lines are moved in.
    pub fn written(&self, name: &str) -> Option<String> {
        let member = self.members.iter().find(|member| member.name == name)?;
        let value = member.value.printed();
        Some(match self.form {
            Form::Block(column) => format!("{}{}{}{value}", " ".repeat(column), member.key, member.between),
            Form::Flow | Form::Tag => value,
        })
    }

    /// Gives a member the value that [`Object::written`] wrote down. False if that is no value, or the member is not there.
    pub fn restore(&mut self, name: &str, was: &str, syntax: Syntax) -> bool {
        let read = match self.form {
            Form::Block(column) => {
                let from = was.len() - was.trim_start_matches(' ').len();
                let text = format!("{}{}\n", " ".repeat(column), moved(&was[from..], from, column));
                syntax.parse(text.as_bytes()).ok().filter(|document| document.after == "\n").and_then(|document| {
                    let Node::Object(Object { mut members, form, .. }) = document.root else { return None };
                    let member = members.pop().filter(|_| members.is_empty() && form == self.form)?;
                    (member.name == name && member.after.is_empty()).then_some((Some(member.between), member.value))
                })
            }
            Form::Flow | Form::Tag => alone(was, syntax).map(|value| (None, value)),
        };
        let member = self.members.iter_mut().find(|member| member.name == name);
        let (Some(member), Some((between, value))) = (member, read) else { return false };
        member.value = value;
        member.between = between.unwrap_or(std::mem::take(&mut member.between));
        true
    }

    /// How far a member's line is moved in, if it has one of its own.
    pub fn indentation(&self, name: &str) -> Option<String> {
        let member = self.members.iter().find(|member| member.name == name)?;
        layout::indentation(&member.before).map(str::to_owned)
    }
}

impl Array {
    /// The elements, in their order.
    pub fn values(&self) -> impl Iterator<Item = &Node> {
        self.elements.iter().map(|element| &element.value)
    }

    /// An element.
    pub fn get(&self, index: usize) -> Option<&Node> {
        self.elements.get(index).map(|element| &element.value)
    }

    /// An element, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.elements.get_mut(index).map(|element| &mut element.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Puts an element behind all others. `within` is the indentation of the line that the array stands in.
    pub fn push(&mut self, mut value: Node, style: &Style, within: &str) {
        if let Form::Block(column) = self.form {
            self.elements.push(style.element(value, column));
            return;
        }
        let style = &style.in_brackets();
        let right = style.place(self.elements.iter().map(|element| &*element.before), within);
        self.inside.clear();
        style.lay_out_like(&mut value, right.indentation.as_deref(), self.elements.last().map(|last| &last.value));
        let after = match self.elements.last_mut() {
            Some(last) => std::mem::take(&mut last.after),
            None => right.end,
        };
        self.elements.push(Element { before: right.before, value, after });
    }

    /// Takes an element out.
    pub fn take(&mut self, index: usize) -> Option<Taken> {
        if index >= self.elements.len() {
            return None;
        }
        let element = self.elements.remove(index);
        let is_last = index > 0 && index == self.elements.len();
        let left_after = match self.form {
            Form::Block(column) => Some(" ".repeat(column)),
            Form::Flow | Form::Tag => {
                is_last.then(|| std::mem::replace(&mut self.elements[index - 1].after, element.after.clone()))
            }
        };
        let head = [element.before, String::new(), String::new()];
        Some(Taken { index, head, value: element.value.printed(), after: element.after, left_after })
    }

    /// Puts back what [`Array::take`] took. False if it is no value.
    pub fn put_back(&mut self, taken: Taken, syntax: Syntax) -> bool {
        let part = taken.read(self.form, syntax, ["[", "]"]);
        let Some((Node::Array(Array { mut elements, .. }), before)) = part else { return false };
        let (Some(mut element), true) = (elements.pop(), elements.is_empty()) else { return false };
        let left = taken.left_after.filter(|_| self.form == Form::Flow);
        if !left.iter().all(|left| is_gap(left, syntax)) {
            return false;
        }
        let index = taken.index.min(self.elements.len());
        if let Some(left) = left.filter(|_| index > 0) {
            self.elements[index - 1].after = left;
        }
        element.before.insert_str(0, &before);
        self.elements.insert(index, element);
        true
    }

    /// White space in an array without elements.
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// Sets the white space that an array without elements has.
    pub fn set_inside(&mut self, inside: &str, syntax: Syntax) {
        if self.form == Form::Flow && is_gap(inside, syntax) {
            inside.clone_into(&mut self.inside);
        }
    }

    /// How far an element's line is moved in, if it has one of its own.
    pub fn indentation(&self, index: usize) -> Option<String> {
        layout::indentation(&self.elements.get(index)?.before).map(str::to_owned)
    }
}

impl Taken {
    /// What was taken as a part of its own, and what stood before it, if it is one.
    fn read(&self, form: Form, syntax: Syntax, [open, close]: [&str; 2]) -> Option<(Node, String)> {
        let [before, key, between] = &self.head;
        let whole = format!("{before}{key}{between}{}{}", self.value, self.after);
        let Form::Block(column) = form else {
            let document = syntax.parse(format!("{open}{whole}{close}").as_bytes()).ok()?;
            return Some((document.root, String::new()));
        };
        let from = self.left_after.as_ref().map_or(column, |spaces| spaces.len());
        // What began in the line of a dash has no line of its own.
        let line = before.rfind('\n');
        let pad = if line.is_some() { String::new() } else { " ".repeat(column) };
        if line.is_some() && !before.starts_with(['\r', '\n']) {
            return None;
        }
        let document = syntax.parse(format!("{pad}{}\n", moved(&whole, from, column)).as_bytes()).ok()?;
        let is_alone = document.after == "\n" && document.root.form() == form;
        let before = document.before.strip_prefix(&*pad)?.to_owned();
        is_alone.then_some((document.root, before))
    }
}

/// The one value that a text is in brackets.
fn alone(text: &str, syntax: Syntax) -> Option<Node> {
    let Node::Array(mut array) = syntax.parse(format!("[{text}]").as_bytes()).ok()?.root else { return None };
    let element = array.elements.pop()?;
    (array.is_empty() && element.before.is_empty() && element.after.is_empty()).then_some(element.value)
}

/// True for what may stand between two values in brackets: white space, and in YAML comments.
fn is_gap(text: &str, syntax: Syntax) -> bool {
    let document = syntax.parse(format!("[0{text}]").as_bytes());
    let array = document.as_ref().ok().and_then(|document| document.root.array());
    array.is_some_and(|array| array.elements.len() == 1 && array.elements[0].after == text)
}

/// The lines of a block behind the first, moved in or out like their block.
fn moved(text: &str, from: usize, to: usize) -> String {
    let mut out = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let spaces = line.len() - line.trim_start_matches(' ').len();
        if number == 0 || line.trim().is_empty() && line.ends_with('\n') {
            out.push_str(line);
        } else if to >= from {
            out.push_str(&" ".repeat(to - from));
            out.push_str(line);
        } else {
            out.push_str(&line[spaces.min(from - to)..]);
        }
    }
    out
}
