//! From YAML to the tree.
//!
//! CloudFormation reads YAML 1.1 less anchors, aliases and merges; people write block style, with short tags (`!Ref`, `!Sub`),
//! comments and block scalars in it. That is what is read here, and each byte of it is kept.
//!
//! Promises: what is read says what a reader of YAML reads, and is printed to the byte; what is not known is refused with line
//! and column, not guessed; no input makes the stack overflow or time run away.
//! Never: follows an anchor or an alias; takes a name twice, or a second document.
//!
//! ```text
//! mapping  = member *member        member  = before key between value after      between = spaces ":" tail
//! sequence = element *element      element = before value after                  before  = gap indentation ["-" spaces]
//! tag      = "!Sub" between value: an object with the one member `Fn::Sub`
//! ```
//!
//! A tail is what follows on the same line: spaces and a comment. A gap is all between two lines that say something. A tail
//! belongs to what it stands behind, a gap to what it stands before.

mod flow;
mod line;

use std::collections::BTreeSet;

use line::{Style, plain_end, plain_start, quoted_end};

use super::{
    Array, DEPTH_MAX, Document, Element, Form, Member, Mistake, Node, Object, Syntax,
    json::{mistake, text_of},
    scalar,
};

/// What is wrong, in words.
type What = &'static str;

/// Reads a whole document.
pub fn parse(bytes: &[u8]) -> Result<Document, Mistake> {
    let text = text_of(bytes)?;
    let lone = text.match_indices('\r').find(|(at, _)| !text[at + 1..].starts_with('\n'));
    if let Some((at, _)) = lone {
        return Err(mistake(bytes, at, "a carriage return without a line feed behind it"));
    }
    let mut reader = Reader { text, place: 0 };
    reader.document().map_err(|what| mistake(bytes, reader.place, what))
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Document, What> {
        let first = self.content()?;
        if let Some((at, 0)) = first.filter(|(at, _)| self.is_marker(*at)) {
            self.place = at + "---".len();
            self.tail();
            if !self.at_line_end() {
                return Err("what follows `---` stands in a line of its own");
            }
        }
        let Some((at, column)) = self.content()? else {
            let root = Node::Bare(String::new());
            return Ok(Document { before: self.text.to_owned(), root, after: String::new(), syntax: Syntax::Yaml });
        };
        self.place = at;
        let before = self.text[..at].to_owned();
        let root = match self.begins_block() {
            true => self.block(column, String::new(), 0)?,
            false => self.inline(0, Owner::Sequence, 0)?,
        };
        let end = self.place;
        self.tail();
        if !self.at_line_end() {
            return Err("something follows the value");
        }
        if let Some((at, _)) = self.content()? {
            self.place = at;
            return Err("does not belong to what it follows");
        }
        Ok(Document { before, root, after: self.text[end..].to_owned(), syntax: Syntax::Yaml })
    }

    fn begins_block(&self) -> bool {
        self.is_dash(self.place) || self.key().is_some()
    }

    /// A block mapping or sequence whose names or dashes stand in this column.
    fn block(&mut self, column: usize, before: String, depth: usize) -> Result<Node, What> {
        if depth > DEPTH_MAX {
            return Err("is nested deeper than 64");
        }
        match self.is_dash(self.place) {
            true => self.sequence(column, before, depth).map(Node::Array),
            false => self.mapping(column, before, depth).map(Node::Object),
        }
    }

    fn mapping(&mut self, column: usize, mut before: String, depth: usize) -> Result<Object, What> {
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        loop {
            let (key, name) = self.take_key(&mut names)?;
            let mut between = self.tail();
            // `key` saw the colon.
            self.place += 1;
            between.push(':');
            between.push_str(&self.tail());
            let value = match self.at_line_end() {
                true => self.below(column + 1, Owner::Mapping, &mut between, depth)?,
                false => self.inline(column + 1, Owner::Mapping, depth)?,
            };
            let after = self.end_of_value()?;
            members.push(Member { before, key, name, between, value, after });
            match self.content()? {
                Some((at, here)) if here == column && !self.is_dash(at) => {
                    before = self.text[self.place..at].to_owned();
                    self.place = at;
                }
                Some((at, here)) if here >= column => {
                    self.place = at;
                    return Err("is moved in further than what it belongs to");
                }
                Some(_) | None => return Ok(Object { members, inside: String::new(), form: Form::Block(column) }),
            }
        }
    }

    fn sequence(&mut self, column: usize, mut before: String, depth: usize) -> Result<Array, What> {
        let mut elements = Vec::new();
        loop {
            // We are at a dash.
            self.place += 1;
            let gap = self.tail();
            let has_tab = gap.contains('\t');
            before.push('-');
            before.push_str(&gap);
            let value = if self.at_line_end() {
                self.below(column + 1, Owner::Sequence, &mut before, depth)?
            } else if self.begins_block() {
                if has_tab {
                    return Err("a tab stands before this; in YAML spaces move it in");
                }
                self.block(column + 1 + gap.len(), String::new(), depth + 1)?
            } else {
                self.inline(column + 1, Owner::Sequence, depth)?
            };
            let after = self.end_of_value()?;
            elements.push(Element { before, value, after });
            match self.content()? {
                Some((at, here)) if here == column && self.is_dash(at) => {
                    before = self.text[self.place..at].to_owned();
                    self.place = at;
                }
                Some((at, here)) if here > column => {
                    self.place = at;
                    return Err("is moved in further than what it belongs to");
                }
                Some(_) | None => return Ok(Array { elements, inside: String::new(), form: Form::Block(column) }),
            }
        }
    }

    /// What stands on the lines below a name, a dash or a tag; nothing, if they are moved in less than `floor`.
    fn below(&mut self, floor: usize, owner: Owner, between: &mut String, depth: usize) -> Result<Node, What> {
        let next = self.content()?.filter(|&(at, column)| {
            // The elements of a member may stand below its name without being moved in.
            column >= floor || owner == Owner::Mapping && column + 1 == floor && self.is_dash(at)
        });
        let Some((at, column)) = next else { return Ok(Node::Bare(String::new())) };
        let gap = self.text[self.place..at].to_owned();
        self.place = at;
        if self.begins_block() {
            return self.block(column, gap, depth + 1);
        }
        between.push_str(&gap);
        self.inline(floor, owner, depth)
    }

    fn end_of_value(&mut self) -> Result<String, What> {
        let after = self.tail();
        if self.at_line_end() { Ok(after) } else { Err("something follows the value; text like this stands in quotes") }
    }

    /// Where the name ends that this line begins with; `None` if it begins with none.
    fn key(&self) -> Option<usize> {
        let line = &self.text[..self.end_of_line(self.place)];
        let end = match self.byte(self.place)? {
            quote @ (b'"' | b'\'') => quoted_end(line, self.place, quote)?,
            _ => {
                plain_start(line, self.place).ok()?;
                plain_end(line, self.place, Style::Block).0
            }
        };
        let colon = end + line[end..].find(|letter| letter != ' ' && letter != '\t')?;
        (line.as_bytes()[colon] == b':' && self.is_blank(colon + 1)).then_some(end)
    }

    fn take_key(&mut self, names: &mut BTreeSet<String>) -> Result<(String, String), What> {
        let Some(end) = self.key() else {
            return Err("a name and a colon are expected");
        };
        let raw = self.text[self.place..end].to_owned();
        let name = scalar::text(&raw).ok_or("this name is no text")?;
        if raw == "<<" {
            return Err("merges are not followed, and CloudFormation takes none; write it out");
        }
        if !names.insert(name.clone()) {
            return Err("this name is given twice");
        }
        self.place = end;
        Ok((raw, name))
    }

    /// A value that begins in this line. Its further lines are moved in by `floor` at least.
    fn inline(&mut self, floor: usize, owner: Owner, depth: usize) -> Result<Node, What> {
        match self.byte(self.place) {
            Some(b'|' | b'>') => self.block_scalar(floor),
            Some(b'!') => {
                let (tag, name) = self.tag()?;
                let mut between = self.tail();
                let value = match self.at_line_end() {
                    true => self.below(floor, owner, &mut between, depth + 1)?,
                    false => self.inline(floor, owner, self.deeper(depth)?)?,
                };
                Ok(tagged(tag, name, between, value))
            }
            Some(b'"' | b'\'' | b'[' | b'{') => self.flow(depth),
            Some(_) | None => self.plain(floor),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, What> {
        if depth < DEPTH_MAX { Ok(depth + 1) } else { Err("is nested deeper than 64") }
    }

    /// A tag, and what CloudFormation calls it in full.
    fn tag(&mut self) -> Result<(String, String), What> {
        let start = self.place;
        let rest = &self.text[start + 1..];
        let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':').unwrap_or(rest.len());
        if length == 0 {
            return Err("a tag of YAML's own; CloudFormation's are called like `!Ref`");
        }
        self.place += 1 + length;
        if !self.is_blank(self.place) && !matches!(self.byte(self.place), Some(b',' | b']' | b'}')) {
            return Err("this tag is none of CloudFormation's");
        }
        let short = &rest[..length];
        let name = if matches!(short, "Ref" | "Condition") { short.to_owned() } else { format!("Fn::{short}") };
        Ok((self.text[start..self.place].to_owned(), name))
    }

    /// Text without quotes, over lines that are moved in by `floor` at least.
    fn plain(&mut self, floor: usize) -> Result<Node, What> {
        let start = self.place;
        plain_start(self.text, start)?;
        loop {
            let (end, colon) = plain_end(self.text, self.place, Style::Block);
            if let Some(colon) = colon {
                self.place = colon;
                return Err("text with `: ` in it stands in quotes");
            }
            self.place = end;
            let line_end = self.end_of_line(end);
            if !self.text[end..line_end].trim().is_empty() {
                break;
            }
            // The text goes on behind blank lines, but not behind a comment.
            let at = std::mem::replace(&mut self.place, line_end);
            let next = self.content()?;
            let goes_on = next.filter(|&(next, column)| column >= floor && !self.text[end..next].contains('#'));
            match goes_on {
                Some((next, _)) => self.place = next,
                None => {
                    self.place = at;
                    break;
                }
            }
        }
        let raw = self.text[start..self.place].to_owned();
        Ok(if scalar::is_bare(&raw) { Node::Bare(raw) } else { Node::Text(raw) })
    }

    /// `|` or `>` and its lines.
    fn block_scalar(&mut self, floor: usize) -> Result<Node, What> {
        let start = self.place;
        let rest = &self.text[start + 1..];
        let header: String = rest.chars().take_while(|letter| matches!(letter, '+' | '-' | '1'..='9')).collect();
        self.place += 1 + header.len();
        self.tail();
        if header.len() > 2 || !self.at_line_end() {
            return Err("behind `|` and `>` the text begins in the next line");
        }
        let keeps = header.contains('+');
        let given = header.bytes().find(u8::is_ascii_digit).map(|digit| usize::from(digit - b'0'));
        let mut indentation = given.map(|given| (floor + given).saturating_sub(1));
        let (mut end, mut at) = (self.place, self.place);
        while let Some(length) = self.line_end(at) {
            let line = &self.text[at + length..self.end_of_line(at + length)];
            if at + length == self.text.len() {
                break;
            }
            at += length + line.len();
            let column = line.len() - line.trim_start_matches(' ').len();
            if line.trim().is_empty() {
                end = if keeps { at } else { end };
                continue;
            }
            if column < *indentation.get_or_insert(column.max(floor)) {
                break;
            }
            end = at;
        }
        self.place = end;
        Ok(Node::Text(self.text[start..end].to_owned()))
    }
}

/// What a value belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Mapping,
    Sequence,
}

fn tagged(tag: String, name: String, between: String, value: Node) -> Node {
    let (before, after) = (String::new(), String::new());
    let member = Member { before, key: tag, name, between, value, after };
    Node::Object(Object { members: vec![member], inside: String::new(), form: Form::Tag })
}
