//! Rules: which records are counted, or summed up, under which labels.
//!
//! ```yaml
//! - name: orders
//!   when: [{field: event, equals: order}, {field: status, regex: "^2"}]
//!   labels: {country: address.country}
//!   sum: amount
//! ```
//!
//! A field is one of the record, else one of the JSON object that its line is (`a.b` is also `b` in the object `a`). `@level` is the level
//! of the line. All conditions must hold; each is about a field, or else about the line itself. Members are looked for once a record,
//! and not at all in a line that has none of the texts which the rules want.
//!
//! Promises: a rule that is not for a record changes nothing; a label that a record has not is left out; what is no number, or less than
//! nothing, is not summed up, and is counted.
//! Never: looks at more than 64 KiB of a line.

use std::{borrow::Cow, collections::BTreeMap};

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{Field, Level, Record, json};

/// Bytes that a compiled expression may take: a hundred times what usual ones do.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Bytes of a label's value; what is longer is cut.
pub const LABEL_BYTES_MAX: usize = 256;
/// The field that is the line's level.
const LEVEL: &str = "@level";

/// A rule, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name of the metric. `/metrics` shows it with `_total` behind.
    pub name: String,
    /// What it counts, for people. Default: nothing.
    #[serde(default)]
    pub help: String,
    /// The containers (or tags, of other inputs than FireLens) whose records are counted, with `*` for any text. Default: all.
    #[serde(default)]
    pub container: Option<String>,
    /// What must hold of a record, all of it, at most 16 conditions. Default: nothing, so that all records count.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Labels besides `container`, and the fields whose values they get, at most 10. Every combination of values is a series:
    /// name nothing that has many, such as the number of an order.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The field whose number is added up. Default: records are counted.
    #[serde(default)]
    pub sum: Option<String>,
}

/// What must hold of a record. Exactly one of `equals`, `glob` and `regex` stands there.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// The field that is looked at: one of the record, or one of the JSON in its line, for example `http.status`; `@level` is the level of the
    /// line. Default: the line itself.
    pub field: Option<String>,
    /// It must be this text, or the number or boolean that is written so.
    pub equals: Option<String>,
    /// It must look like this, where `*` stands for any text.
    pub glob: Option<String>,
    /// A regular expression that must be found in it.
    pub regex: Option<String>,
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    /// The expression is none.
    #[error("not a regular expression")]
    Regex(#[source] regex::Error),
    /// None of the three, or several.
    #[error("has not exactly one of `equals`, `glob` and `regex`")]
    Kinds,
    /// No name.
    #[error("has no name")]
    Name,
}

/// Rules, ready to be asked.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Ready>,
    /// The fields that they look at.
    names: Vec<Box<str>>,
}

#[derive(Debug)]
struct Ready {
    container: Option<Regex>,
    when: Vec<Test>,
    labels: Vec<Source>,
    sum: Option<Source>,
    /// A text without which a line that is JSON cannot have what is wanted.
    needs: Option<memmem::Finder<'static>>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Line,
    Level,
    /// By its number among the names.
    Field(usize),
}

#[derive(Debug)]
struct Test {
    of: Source,
    is: Is,
}

#[derive(Debug)]
enum Is {
    Text(Box<[u8]>),
    Like(Regex),
}

/// What is used again for each record.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    places: Vec<Option<(usize, usize)>>,
}

/// What a rule says of a record.
#[derive(Debug)]
pub(super) struct Found<'r> {
    /// The rule's number.
    pub(super) rule: usize,
    /// How much it counts; `None` if there is no number to sum up.
    pub(super) amount: Option<f64>,
    /// The values of the rule's labels, in their order; empty where there is none.
    pub(super) labels: &'r [Cow<'r, str>],
}

impl Rules {
    /// Makes `rules` ready. What cannot be used is told with the rule's place, and that of the condition.
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<(usize, Option<usize>, BadRule)>> {
        let (mut made, mut wrong) = (Self::default(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            match made.ready(rule) {
                Ok(ready) => made.rules.push(ready),
                Err((condition, why)) => wrong.push((place, condition, why)),
            }
        }
        if wrong.is_empty() { Ok(made) } else { Err(wrong) }
    }

    fn ready(&mut self, rule: &Rule) -> Result<Ready, (Option<usize>, BadRule)> {
        if rule.name.trim().is_empty() {
            return Err((None, BadRule::Name));
        }
        let container = rule.container.as_deref().map(glob).transpose().map_err(|why| (None, why))?;
        let mut when = Vec::with_capacity(rule.when.len());
        let mut needs = None;
        for (place, condition) in rule.when.iter().enumerate() {
            let is = condition.is().map_err(|why| (Some(place), why))?;
            let of = condition.field.as_deref().map_or(Source::Line, |field| self.source(field));
            if let (Source::Field(_), Is::Text(text)) = (of, &is)
                && needs.is_none()
                && is_written_as_it_is(text)
            {
                needs = Some(memmem::Finder::new(text).into_owned());
            }
            when.push(Test { of, is });
        }
        let labels = rule.labels.values().map(|field| self.source(field)).collect();
        let sum = rule.sum.as_deref().map(|field| self.source(field));
        Ok(Ready { container, when, labels, sum, needs })
    }

    fn source(&mut self, field: &str) -> Source {
        if field == LEVEL {
            return Source::Level;
        }
        let known = self.names.iter().position(|name| **name == *field);
        Source::Field(known.unwrap_or_else(|| {
            self.names.push(field.into());
            self.names.len() - 1
        }))
    }

    /// The numbers of the rules for records of `container`.
    pub(super) fn of_container(&self, container: &str) -> Vec<usize> {
        let is_for = |rule: &Ready| rule.container.as_ref().is_none_or(|like| like.is_match(container.as_bytes()));
        (0..self.rules.len()).filter(|number| is_for(&self.rules[*number])).collect()
    }

    /// True if one of the rules with `numbers` looks at the level.
    pub(super) fn want_level(&self, numbers: &[usize]) -> bool {
        let of_level = |rule: &Ready| {
            rule.when.iter().any(|test| test.of == Source::Level) || rule.labels.contains(&Source::Level)
        };
        numbers.iter().any(|number| of_level(&self.rules[*number]))
    }

    /// Tells what the rules with `numbers` say of `record`, whose line and level these are.
    pub(super) fn apply(
        &self,
        numbers: &[usize],
        (record, line, level): (&impl Record, &[u8], Level),
        workspace: &mut Workspace,
        mut tell: impl FnMut(Found<'_>),
    ) {
        let is_json = line.trim_ascii_start().first() == Some(&b'{');
        let (names, is_searched, may_search) = (&*self.names, false, true);
        let mut look = Look { names, record, level, line, is_json, is_searched, may_search, workspace };
        for &number in numbers {
            let rule = &self.rules[number];
            look.may_search = rule.needs.as_ref().is_none_or(|needs| look.is_searched || needs.find(line).is_some());
            if !rule.when.iter().all(|test| look.holds(test)) {
                continue;
            }
            let amount = match rule.sum {
                None => Some(1.0),
                Some(of) => look.number(of).filter(|number| number.is_finite() && *number >= 0.0),
            };
            let labels: Vec<Cow<'_, str>> = rule.labels.iter().map(|of| look.label(*of)).collect();
            tell(Found { rule: number, amount, labels: &labels });
        }
    }
}

/// A look at one record.
struct Look<'l, R> {
    names: &'l [Box<str>],
    record: &'l R,
    level: Level,
    line: &'l [u8],
    is_json: bool,
    is_searched: bool,
    may_search: bool,
    workspace: &'l mut Workspace,
}

impl<'l, R: Record> Look<'l, R> {
    fn holds(&mut self, test: &Test) -> bool {
        let is = |text: &[u8]| match &test.is {
            Is::Text(wanted) => **wanted == *text,
            Is::Like(like) => like.is_match(text),
        };
        match test.of {
            Source::Line => is(&self.line[..self.line.len().min(json::BYTES_MAX)]),
            Source::Level => is(self.level.name().as_bytes()),
            Source::Field(number) => self.text(number).is_some_and(|text| is(&text)),
        }
    }

    fn text(&mut self, number: usize) -> Option<Cow<'l, [u8]>> {
        match self.record.field(self.names[number].as_bytes()) {
            Some(Field::Text(text)) => Some(text),
            Some(Field::Number(number)) => Some(Cow::Owned(number.to_string().into_bytes())),
            Some(Field::Nothing) => None,
            None => json::plain(self.member(number)?),
        }
    }

    fn number(&mut self, of: Source) -> Option<f64> {
        let Source::Field(number) = of else { return None };
        if let Some(Field::Number(number)) = self.record.field(self.names[number].as_bytes()) {
            return Some(number);
        }
        std::str::from_utf8(&self.text(number)?).ok()?.trim_ascii().parse().ok()
    }

    fn label(&mut self, of: Source) -> Cow<'l, str> {
        let text = match of {
            Source::Level => return Cow::Borrowed(self.level.name()),
            Source::Line => return Cow::Borrowed(""),
            Source::Field(number) => self.text(number).unwrap_or_default(),
        };
        let cut = |text: &str| text.floor_char_boundary(LABEL_BYTES_MAX);
        match text {
            Cow::Borrowed(text) => match String::from_utf8_lossy(text) {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..cut(text)]),
                Cow::Owned(text) => Cow::Owned(text[..cut(&text)].to_owned()),
            },
            Cow::Owned(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                Cow::Owned(text[..cut(&text)].to_owned())
            }
        }
    }

    /// The value of a member of the line's JSON, as it is written.
    fn member(&mut self, number: usize) -> Option<&'l [u8]> {
        if !self.is_json || !self.may_search {
            return None;
        }
        if !self.is_searched {
            json::find(self.line, self.names, &mut self.workspace.places);
            self.is_searched = true;
        }
        self.workspace.places[number].map(|(start, end)| &self.line[start..end])
    }
}

impl Condition {
    fn is(&self) -> Result<Is, BadRule> {
        match (&self.equals, &self.glob, &self.regex) {
            (Some(text), None, None) => Ok(Is::Text(text.as_bytes().into())),
            (None, Some(text), None) => glob(text).map(Is::Like),
            (None, None, Some(text)) => expression(text).map(Is::Like),
            _ => Err(BadRule::Kinds),
        }
    }
}

/// The expression for a text in which `*` stands for any text.
fn glob(text: &str) -> Result<Regex, BadRule> {
    let pieces: Vec<String> = text.split('*').map(regex::escape).collect();
    // Also what is not UTF-8 is any text.
    expression(&format!("^{}$", pieces.join("(?s-u:.*)")))
}

fn expression(text: &str) -> Result<Regex, BadRule> {
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(BadRule::Regex)
}

/// True if JSON writes the text in one way alone: no library escapes these.
fn is_written_as_it_is(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b" _.:-".contains(byte))
}
