//! JSON that remembers how it was written.
//!
//! A task definition belongs to a person and stands in their repository. What we do not touch keeps its bytes: white
//! space, order of members, the way a number or an escape is written. A tree of `serde_json` forgets all of that.
//!
//! Promises: a document that is printed unchanged has the bytes that were read; what is added is laid out like what stands
//! beside it; a member or an element that is taken out and put back leaves no trace.
//! Never: reads more than [`BYTES_MAX`], or deeper than [`DEPTH_MAX`].
//!
//! ```text
//! object    = "{" inside "}"  |  "{" member *("," member) "}"        member  = before key between value after
//! array     = "[" inside "]"  |  "[" element *("," element) "]"      element = before value after
//! ```

mod layout;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt::Write;

pub use layout::{Style, pretty};
pub use parse::{BYTES_MAX, DEPTH_MAX, Mistake, parse, value};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `{...}`
    Object(Object),
    /// `[...]`
    Array(Array),
    /// `"..."`, with its quotes and escapes.
    Text(String),
    /// A number, `true`, `false` or `null`, as it was written.
    Bare(String),
}

/// Members in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<Member>,
    /// What stands between the braces if there is no member.
    inside: String,
}

/// A name and its value, with the white space around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    before: String,
    /// The name as it was written.
    key: String,
    name: String,
    between: String,
    value: Node,
    after: String,
}

/// Elements in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array {
    elements: Vec<Element>,
    inside: String,
}

/// An element with the white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    before: String,
    value: Node,
    after: String,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    before: String,
    /// The value that it holds.
    pub root: Node,
    after: String,
}

/// What was taken out, and what it takes to put it back where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its place, counted from 0.
    pub index: usize,
    /// White space, and for a member its name: what stood before the value.
    pub head: [String; 3],
    /// The value as it was written.
    pub value: String,
    /// What stood behind the value.
    pub after: String,
    /// What stood behind its neighbour to the left, which takes over `after` from who was last.
    pub left_after: Option<String>,
}

impl Node {
    /// The text of a string. `None` for everything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(raw) => serde_json::from_str(raw).ok(),
            Self::Object(_) | Self::Array(_) | Self::Bare(_) => None,
        }
    }

    /// The object that this is.
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Array(_) | Self::Text(_) | Self::Bare(_) => None,
        }
    }

    /// The object that this is, to be changed.
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Array(_) | Self::Text(_) | Self::Bare(_) => None,
        }
    }

    /// The array that this is.
    pub fn array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            Self::Object(_) | Self::Text(_) | Self::Bare(_) => None,
        }
    }

    /// The array that this is, to be changed.
    pub fn array_mut(&mut self) -> Option<&mut Array> {
        match self {
            Self::Array(array) => Some(array),
            Self::Object(_) | Self::Text(_) | Self::Bare(_) => None,
        }
    }

    /// A new string.
    pub fn of(text: &str) -> Self {
        Self::Text(quoted(text))
    }

    /// A new number.
    pub fn number(number: u64) -> Self {
        Self::Bare(number.to_string())
    }

    /// A new `true` or `false`.
    pub fn truth(truth: bool) -> Self {
        Self::Bare(truth.to_string())
    }

    /// A new array.
    pub fn list(values: impl IntoIterator<Item = Self>) -> Self {
        let element = |value| Element { before: String::new(), value, after: String::new() };
        Self::Array(Array { elements: values.into_iter().map(element).collect(), inside: String::new() })
    }

    /// A new object.
    pub fn map<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let members = members.into_iter().map(|(name, value)| Member::new(name, value)).collect();
        Self::Object(Object { members, inside: String::new() })
    }

    /// The value as it is written.
    pub fn printed(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    /// The value without the white space around its parts: two that differ in nothing else are the same.
    pub fn compact(&self) -> String {
        let mut copy = self.clone();
        copy.strip();
        copy.printed()
    }

    fn print(&self, out: &mut String) {
        match self {
            Self::Object(object) => {
                out.push('{');
                out.push_str(if object.members.is_empty() { &object.inside } else { "" });
                for (number, member) in object.members.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { "," });
                    out.extend([&*member.before, &member.key, &member.between]);
                    member.value.print(out);
                    out.push_str(&member.after);
                }
                out.push('}');
            }
            Self::Array(array) => {
                out.push('[');
                out.push_str(if array.elements.is_empty() { &array.inside } else { "" });
                for (number, element) in array.elements.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { "," });
                    out.push_str(&element.before);
                    element.value.print(out);
                    out.push_str(&element.after);
                }
                out.push(']');
            }
            Self::Text(raw) | Self::Bare(raw) => out.push_str(raw),
        }
    }

    fn strip(&mut self) {
        match self {
            Self::Object(object) => {
                object.inside.clear();
                for member in &mut object.members {
                    member.before.clear();
                    member.after.clear();
                    member.between = ":".to_owned();
                    member.value.strip();
                }
            }
            Self::Array(array) => {
                array.inside.clear();
                for element in &mut array.elements {
                    element.before.clear();
                    element.after.clear();
                    element.value.strip();
                }
            }
            Self::Text(_) | Self::Bare(_) => {}
        }
    }
}

/// `text` as JSON writes it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

fn is_space(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

impl Taken {
    /// True if what stands around it is white space: it comes out of a label, which anybody can write.
    fn is_laid_out(&self) -> bool {
        let around = [&self.head[0], &self.after].into_iter().chain(&self.left_after);
        around.into_iter().all(|text| is_space(text))
    }
}

impl Member {
    fn new(name: &str, value: Node) -> Self {
        let (before, after) = (String::new(), String::new());
        Self { before, key: quoted(name), name: name.to_owned(), between: ":".to_owned(), value, after }
    }
}

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

    /// Puts a member behind all others. `within` is the indentation of this object.
    pub fn push(&mut self, name: &str, value: Node, style: &Style, within: &str) {
        let mut member = Member::new(name, value);
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
        let left_after = (index > 0 && index == self.members.len())
            .then(|| std::mem::replace(&mut self.members[index - 1].after, member.after.clone()));
        let head = [member.before, member.key, member.between];
        Some(Taken { index, head, value: member.value.printed(), after: member.after, left_after })
    }

    /// Puts back what [`Object::take`] took. False if it is no member, or is there already.
    pub fn put_back(&mut self, taken: Taken) -> bool {
        let (Ok(value), Ok(name)) = (value(&taken.value), serde_json::from_str::<String>(&taken.head[1])) else {
            return false;
        };
        let between = taken.head[2].split_once(':').is_some_and(|(left, right)| is_space(left) && is_space(right));
        if self.get(&name).is_some() || !between || !taken.is_laid_out() {
            return false;
        }
        let index = taken.index.min(self.members.len());
        if let Some(left) = taken.left_after.filter(|_| index > 0) {
            self.members[index - 1].after = left;
        }
        let [before, key, between] = taken.head;
        self.members.insert(index, Member { before, key, name, between, value, after: taken.after });
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
        let left_after = (index > 0 && index == self.elements.len())
            .then(|| std::mem::replace(&mut self.elements[index - 1].after, element.after.clone()));
        let head = [element.before, String::new(), String::new()];
        Some(Taken { index, head, value: element.value.printed(), after: element.after, left_after })
    }

    /// Puts back what [`Array::take`] took. False if it is no value.
    pub fn put_back(&mut self, taken: Taken) -> bool {
        let Some(value) = value(&taken.value).ok().filter(|_| taken.is_laid_out()) else { return false };
        let index = taken.index.min(self.elements.len());
        if let Some(left) = taken.left_after.filter(|_| index > 0) {
            self.elements[index - 1].after = left;
        }
        let [before, ..] = taken.head;
        self.elements.insert(index, Element { before, value, after: taken.after });
        true
    }

    /// White space in an array without elements.
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// Sets the white space that an array without elements has.
    pub fn set_inside(&mut self, inside: &str) {
        if is_space(inside) {
            inside.clone_into(&mut self.inside);
        }
    }

    /// How far an element's line is moved in, if it has one of its own.
    pub fn indentation(&self, index: usize) -> Option<String> {
        layout::indentation(&self.elements.get(index)?.before).map(str::to_owned)
    }
}

impl Document {
    /// The whole text.
    pub fn printed(&self) -> String {
        let mut out = self.before.clone();
        self.root.print(&mut out);
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", self.after);
        out
    }
}
