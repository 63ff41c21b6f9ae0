//! JSON and YAML that remember how they were written.
//!
//! A task definition belongs to a person and stands in their repository. What we do not touch keeps its bytes: white
//! space, comments, order of members, the way a number or a text is written. A tree of `serde_json` forgets all of that.
//!
//! Promises: a document that is printed unchanged has the bytes that were read; what is added is laid out like what stands
//! beside it; a member or an element that is taken out and put back leaves no trace.
//! Never: reads more than [`BYTES_MAX`], or deeper than [`DEPTH_MAX`].
//!
//! ```text
//! object    = "{" inside "}"  |  "{" member *("," member) "}"        member  = before key between value after
//! array     = "[" inside "]"  |  "[" element *("," element) "]"      element = before value after
//! ```
//!
//! That is JSON, and the flow style of YAML; in YAML's block style the parts are the same, without brackets and commas
//! ([`yaml`]). A tag, `!Sub x`, is an object with the one member that it is short for, `Fn::Sub`: who reads a template sees no
//! difference.

mod blocks;
pub mod json;
mod layout;
mod parts;
mod scalar;
#[cfg(test)]
pub(super) mod tests;
pub mod yaml;
#[cfg(test)]
mod yaml_tests;

pub use json::{BYTES_MAX, DEPTH_MAX, Mistake};
pub use layout::{Style, pretty};
use scalar::quoted;
pub use scalar::truth;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `{...}`
    Object(Object),
    /// `[...]`
    Array(Array),
    /// `"..."`, with its quotes and escapes; in YAML also `'...'`, `|...`, `>...`, and text without quotes.
    Text(String),
    /// A number, `true`, `false` or `null`, as it was written.
    Bare(String),
}

/// How an object or an array is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With brackets and commas.
    #[default]
    Flow,
    /// A line for each part, whose names or dashes stand in this column, counted from 0.
    Block(usize),
    /// `!Name value`
    Tag,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Members in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<Member>,
    /// What stands between the braces if there is no member.
    inside: String,
    form: Form,
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
    form: Form,
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
    syntax: Syntax,
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
    /// What stood behind its neighbour to the left, which takes over `after` from who was last. In a block: how far its lines were moved
    /// in.
    pub left_after: Option<String>,
}

impl Node {
    /// The text of a string. `None` for everything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(raw) => scalar::text(raw),
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
        Self::Array(Array { elements: values.into_iter().map(element).collect(), ..Array::default() })
    }

    /// A new object.
    pub fn map<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let members = members.into_iter().map(|(name, value)| Member::new(name, value)).collect();
        Self::Object(Object { members, ..Object::default() })
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
        let (open, close, comma) = self.brackets();
        out.push_str(open);
        match self {
            Self::Object(object) => {
                out.push_str(if object.members.is_empty() { &object.inside } else { "" });
                for (number, member) in object.members.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { comma });
                    out.extend([&*member.before, &member.key, &member.between]);
                    member.value.print(out);
                    out.push_str(&member.after);
                }
            }
            Self::Array(array) => {
                out.push_str(if array.elements.is_empty() { &array.inside } else { "" });
                for (number, element) in array.elements.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { comma });
                    out.push_str(&element.before);
                    element.value.print(out);
                    out.push_str(&element.after);
                }
            }
            Self::Text(raw) | Self::Bare(raw) => out.push_str(raw),
        }
        out.push_str(close);
    }

    fn form(&self) -> Form {
        match self {
            Self::Object(Object { form, .. }) | Self::Array(Array { form, .. }) => *form,
            Self::Text(_) | Self::Bare(_) => Form::Flow,
        }
    }

    fn brackets(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Object(Object { form: Form::Flow, .. }) => ("{", "}", ","),
            Self::Array(Array { form: Form::Flow, .. }) => ("[", "]", ","),
            Self::Object(_) | Self::Array(_) | Self::Text(_) | Self::Bare(_) => ("", "", ""),
        }
    }

    fn strip(&mut self) {
        match self {
            Self::Object(object) => {
                object.inside.clear();
                object.form = Form::Flow;
                for member in &mut object.members {
                    member.before.clear();
                    member.after.clear();
                    member.between = ":".to_owned();
                    member.strip_key();
                    member.value.strip();
                }
            }
            Self::Array(array) => {
                array.inside.clear();
                array.form = Form::Flow;
                for element in &mut array.elements {
                    element.before.clear();
                    element.after.clear();
                    element.value.strip();
                }
            }
            Self::Text(raw) => *raw = as_json(raw),
            Self::Bare(raw) => *raw = scalar::bare_as_json(raw).to_owned(),
        }
    }
}

/// A text as JSON writes it; as it is written, if it is not known what it says.
fn as_json(raw: &str) -> String {
    match serde_json::from_str::<String>(raw) {
        Ok(_) => raw.to_owned(),
        Err(_) => quoted(&scalar::text(raw).unwrap_or_else(|| raw.to_owned())),
    }
}

impl Member {
    fn new(name: &str, value: Node) -> Self {
        let (before, after) = (String::new(), String::new());
        Self { before, key: quoted(name), name: name.to_owned(), between: ":".to_owned(), value, after }
    }

    /// Its name as JSON writes it.
    fn strip_key(&mut self) {
        if serde_json::from_str::<String>(&self.key).is_err() {
            self.key = quoted(&self.name);
        }
    }
}

impl Syntax {
    /// Reads a document.
    pub fn parse(self, bytes: &[u8]) -> Result<Document, Mistake> {
        match self {
            Self::Json => json::parse(bytes),
            Self::Yaml => yaml::parse(bytes),
        }
    }

    /// That of a document, by how it begins: what begins with a bracket is JSON.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.trim_ascii_start().first() {
            Some(b'{' | b'[') | None => Self::Json,
            Some(_) => Self::Yaml,
        }
    }
}

impl Document {
    /// The whole text.
    pub fn printed(&self) -> String {
        let mut out = self.before.clone();
        self.root.print(&mut out);
        out.push_str(&self.after);
        out
    }

    /// JSON or YAML.
    pub fn syntax(&self) -> Syntax {
        self.syntax
    }
}
