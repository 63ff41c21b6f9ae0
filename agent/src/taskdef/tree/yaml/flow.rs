//! Values in brackets and quotes.
//!
//! Promises: as in JSON, but that text may go without quotes, tags stand before values, and comments and line ends anywhere between.
//! Never: takes a name without a value, or a comma before the end.

use std::collections::BTreeSet;

use super::{
    Array, Element, Form, Member, Node, Object, Reader, What,
    line::{Style, plain_end, plain_start, quoted_end},
    scalar, tagged,
};

impl Reader<'_> {
    /// A value within brackets or braces, or one that has quotes.
    pub(super) fn flow(&mut self, depth: usize) -> Result<Node, What> {
        let depth = self.deeper(depth)?;
        match self.byte(self.place) {
            Some(b'{') => self.flow_mapping(depth).map(Node::Object),
            Some(b'[') => self.flow_sequence(depth).map(Node::Array),
            Some(quote @ (b'"' | b'\'')) => {
                let end = quoted_end(self.text, self.place, quote).ok_or("this text does not end")?;
                let raw = self.text[self.place..end].to_owned();
                scalar::text(&raw).ok_or("an escape in this text does not exist")?;
                self.place = end;
                Ok(Node::Text(raw))
            }
            Some(b'!') => {
                let (tag, name) = self.tag()?;
                let between = self.flow_space();
                let value = match self.byte(self.place) {
                    Some(b',' | b']' | b'}') => Node::Bare(String::new()),
                    Some(_) | None => self.flow(depth)?,
                };
                Ok(tagged(tag, name, between, value))
            }
            Some(_) | None => {
                plain_start(self.text, self.place)?;
                let (end, _) = plain_end(self.text, self.place, Style::Flow);
                let raw = self.text[self.place..end].to_owned();
                self.place = end;
                Ok(if scalar::is_bare(&raw) { Node::Bare(raw) } else { Node::Text(raw) })
            }
        }
    }

    /// White space, line ends and comments.
    fn flow_space(&mut self) -> String {
        let start = self.place;
        loop {
            match self.byte(self.place) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.place += 1,
                Some(b'#') if self.is_blank(self.place.wrapping_sub(1)) => self.place = self.end_of_line(self.place),
                Some(_) | None => return self.text[start..self.place].to_owned(),
            }
        }
    }

    fn flow_mapping(&mut self, depth: usize) -> Result<Object, What> {
        self.place += 1;
        let mut before = self.flow_space();
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        if self.flow_ends(b'}')? {
            return Ok(Object { members, inside: before, form: Form::Flow });
        }
        loop {
            let start = self.place;
            let (Node::Text(key) | Node::Bare(key)) = self.flow(depth)? else {
                self.place = start;
                return Err("a name is expected");
            };
            let name = scalar::text(&key).ok_or("this name is no text")?;
            if key == "<<" || !names.insert(name.clone()) {
                self.place = start;
                return Err("this name is given twice, or a merge, which is not followed");
            }
            let mut between = self.flow_space();
            if self.byte(self.place) != Some(b':') {
                return Err("a colon is expected");
            }
            self.place += 1;
            between.push(':');
            between.push_str(&self.flow_space());
            let value = match self.byte(self.place) {
                Some(b',' | b'}') => Node::Bare(String::new()),
                Some(_) | None => self.flow(depth)?,
            };
            let after = self.flow_space();
            members.push(Member { before, key, name, between, value, after });
            if self.flow_ends(b'}')? {
                return Ok(Object { members, inside: String::new(), form: Form::Flow });
            }
            before = self.flow_comma()?;
        }
    }

    fn flow_sequence(&mut self, depth: usize) -> Result<Array, What> {
        self.place += 1;
        let mut before = self.flow_space();
        let mut elements = Vec::new();
        if self.flow_ends(b']')? {
            return Ok(Array { elements, inside: before, form: Form::Flow });
        }
        loop {
            let value = self.flow(depth)?;
            let after = self.flow_space();
            elements.push(Element { before, value, after });
            if self.flow_ends(b']')? {
                return Ok(Array { elements, inside: String::new(), form: Form::Flow });
            }
            before = self.flow_comma()?;
        }
    }

    fn flow_ends(&mut self, bracket: u8) -> Result<bool, What> {
        let next = self.byte(self.place).ok_or("ends too early")?;
        self.place += usize::from(next == bracket);
        Ok(next == bracket)
    }

    fn flow_comma(&mut self) -> Result<String, What> {
        if self.byte(self.place) != Some(b',') {
            return Err("a comma or the closing bracket is expected");
        }
        self.place += 1;
        let before = self.flow_space();
        match self.byte(self.place) {
            Some(b']' | b'}') => Err("a comma before the end is one too many"),
            Some(_) | None => Ok(before),
        }
    }
}
