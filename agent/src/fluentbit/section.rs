//! One section, property by property.
//!
//! Promises: whatever is not asked for is reported as unknown, with the option that was probably meant.
//! Never: shows a value that came out of a variable.

use std::{cell::RefCell, fmt::Display};

use super::{
    grammar::{Property, Section},
    shown_key,
};
use crate::{
    problem::{Problem, Problems, nearest, shown},
    units::ByteSize,
};

/// Reads a section: every question marks the property as used, `finish` reports the rest.
pub(super) struct Reader<'a> {
    section: &'a Section,
    /// The plugin's name, once it is known; for problems.
    plugin: Option<&'a str>,
    used: Vec<bool>,
    /// Keys that were asked for: the ones a misspelt key may have meant.
    known: Vec<&'static str>,
    problems: RefCell<&'a mut Problems>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(section: &'a Section, problems: &'a mut Problems) -> Self {
        let used = vec![false; section.properties.len()];
        Self { section, plugin: None, used, known: Vec::new(), problems: RefCell::new(problems) }
    }

    /// The plugin's name, in lower case. A section without one is an error, as it is for Fluent Bit.
    pub(super) fn plugin(&mut self) -> Option<String> {
        let Some(name) = self.get("name") else {
            self.section_error("has no `Name`", "name the plugin, for example `Name forward`");
            self.pass_over();
            return None;
        };
        if !name.hidden {
            self.plugin = Some(&name.value);
        }
        Some(name.value.to_ascii_lowercase())
    }

    /// The plugin's name as a problem shows it.
    pub(super) fn plugin_shown(&self) -> &'a str {
        self.plugin.map_or("?", shown_key)
    }

    /// Marks everything as used: the section as a whole has been reported.
    pub(super) fn pass_over(&mut self) {
        self.used.fill(true);
    }

    /// All properties with one of these keys, in the order of the file. The keys are lower case.
    pub(super) fn all(&mut self, keys: &[&'static str]) -> Vec<&'a Property> {
        self.known.extend(keys);
        let mut found = Vec::new();
        for (property, used) in self.section.properties.iter().zip(&mut self.used) {
            if keys.iter().any(|key| property.key.eq_ignore_ascii_case(key)) {
                *used = true;
                found.push(property);
            }
        }
        found
    }

    /// The property with this key. If there are several, the last one counts, and the others are reported.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Property> {
        let mut found = self.all(&[key]);
        let last = found.pop()?;
        for earlier in found {
            self.warning(earlier, "is given again further down", "only the last one counts");
        }
        Some(last)
    }

    /// The text of the property with this key.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key).map(|property| property.value.clone())
    }

    /// A yes or no. What is neither is reported and counts as not given.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let property = self.get(key)?;
        match property.value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => {
                let what = format!("{} is neither on nor off", value_shown(property));
                self.warning(property, what, "write `on` or `off`; it counts as not given");
                None
            }
        }
    }

    /// A size. What is not one is reported and counts as not given.
    pub(super) fn size(&mut self, key: &'static str) -> Option<ByteSize> {
        let property = self.get(key)?;
        let size = ByteSize::parse(&property.value);
        if size.is_err() {
            let what = format!("{} is not a size", value_shown(property));
            self.warning(property, what, "write for example `25MB`; it counts as not given");
        }
        size.ok()
    }

    /// A whole number. What is not one is reported and counts as not given.
    pub(super) fn number(&mut self, key: &'static str) -> Option<(&'a Property, i64)> {
        let property = self.get(key)?;
        match property.value.parse() {
            Ok(number) => Some((property, number)),
            Err(_) => {
                let what = format!("{} is not a whole number", value_shown(property));
                self.warning(property, what, "it counts as not given");
                None
            }
        }
    }

    /// Accepts these keys without a word: what they ask for is done anyway, or does not matter here. A key that ends in
    /// `.` stands for all that start with it.
    pub(super) fn accept(&mut self, keys: &[&'static str]) {
        self.known.extend(keys.iter().filter(|key| !key.ends_with('.')));
        for (property, used) in self.section.properties.iter().zip(&mut self.used) {
            let lower = property.key.to_ascii_lowercase();
            *used |= keys.iter().any(|key| lower == *key || (key.ends_with('.') && lower.starts_with(key)));
        }
    }

    /// Accepts these keys, and says that they have no effect.
    pub(super) fn without_effect(&mut self, keys: &[&'static str], why: &str) {
        for property in self.all(keys) {
            self.warning(property, "has no effect", why);
        }
    }

    /// Accepts this key, and says that what it asks for is done anyway.
    pub(super) fn needs_nothing(&mut self, key: &'static str, why: &str) {
        for property in self.all(&[key]) {
            self.warning(property, "needs nothing", why);
        }
    }

    /// Reports what was not asked for.
    pub(super) fn finish(self) {
        for (property, used) in self.section.properties.iter().zip(&self.used) {
            if *used {
                continue;
            }
            let hint = match nearest(&property.key, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? It is ignored"),
                None => "it is ignored".to_owned(),
            };
            let what = format!("`{}` is not an option that is known", shown_key(&property.key));
            let place = format!("{} {}", property.place, self.title());
            self.problems.borrow_mut().push(Problem::warning(place, what, hint));
        }
    }

    /// A property the agent cannot start with.
    pub(super) fn error(&self, property: &Property, what: impl Display, hint: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::error(self.place(property), what.to_string(), hint));
    }

    /// A property that does not do what was written.
    pub(super) fn warning(&self, property: &Property, what: impl Display, hint: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::warning(self.place(property), what.to_string(), hint));
    }

    /// A section the agent cannot start with.
    pub(super) fn section_error(&self, what: impl Display, hint: impl Into<String>) {
        let place = format!("{} {}", self.section.place, self.title());
        self.problems.borrow_mut().push(Problem::error(place, what.to_string(), hint));
    }

    /// A section because of which records are lost.
    pub(super) fn section_loss(&self, what: impl Display, hint: impl Into<String>) {
        let place = format!("{} {}", self.section.place, self.title());
        self.problems.borrow_mut().push(Problem::loss(place, what.to_string(), hint));
    }

    /// A section that does not do what was written.
    pub(super) fn section_warning(&self, what: impl Display, hint: impl Into<String>) {
        let place = format!("{} {}", self.section.place, self.title());
        self.problems.borrow_mut().push(Problem::warning(place, what.to_string(), hint));
    }

    fn title(&self) -> String {
        match self.plugin {
            Some(plugin) => format!("{} {}", self.section.title, shown_key(plugin)),
            None => self.section.title.clone(),
        }
    }

    /// Where the property stands, for a person.
    pub(super) fn place(&self, property: &Property) -> String {
        format!("{} {} {}", property.place, self.title(), shown_key(&property.key).to_ascii_lowercase())
    }
}

/// The value as a problem may show it.
pub(super) fn value_shown(property: &Property) -> String {
    match property.hidden {
        true => "the value of its variable".to_owned(),
        false => format!("`{}`", shown(&property.value)),
    }
}

/// Splits `key value` at the first blank; either may stand in double quotes, then blanks in it count as letters.
pub(super) fn pair(text: &str) -> Option<(String, String)> {
    let (key, rest) = match text.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None => {
            let (key, rest) = text.split_once([' ', '\t'])?;
            (key.to_owned(), rest)
        }
    };
    let rest = rest.trim();
    let value = match rest.strip_prefix('"').map(unquote) {
        Some(Some((value, ""))) => value,
        _ => rest.to_owned(),
    };
    (!key.is_empty() && !value.is_empty()).then_some((key, value))
}

/// The text up to the closing quote, with `\"` as a quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with('"') => {
                letters.next();
                out.push('"');
            }
            letter => out.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_the_first_blank_outside_quotes() {
        for (text, split) in [
            ("a b", Some(("a", "b"))),
            ("a  b c ", Some(("a", "b c"))),
            ("a\tb", Some(("a", "b"))),
            (r#""a b" "c d""#, Some(("a b", "c d"))),
            (r#""a b" c d"#, Some(("a b", "c d"))),
            (r#"a "c d""#, Some(("a", "c d"))),
            (r#"a "c" d"#, Some(("a", r#""c" d"#))),
            (r#"a say "hi""#, Some(("a", r#"say "hi""#))),
            (r#"a "x\"y""#, Some(("a", r#"x"y"#))),
            (r#"a "open"#, Some(("a", r#""open"#))),
            (r#"a """#, None),
            ("a", None),
            ("", None),
            (r#""a b"#, None),
        ] {
            let got = pair(text);
            assert_eq!(got.as_ref().map(|(k, v)| (k.as_str(), v.as_str())), split, "{text}");
        }
    }
}
