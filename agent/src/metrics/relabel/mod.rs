//! Prometheus' relabelling: rules that keep, drop, rename and rewrite by labels.
//!
//! Promises: actions, defaults and anchoring are Prometheus' (`model/relabel`), so that rules can be copied from its configuration;
//! a rule costs time linear in the text; no label grows beyond [`VALUE_BYTES_MAX`].
//! Never: runs once a sample: a series is relabelled when its spelling is seen first.

use std::{borrow::Cow, fmt};

use regex::Regex;
use serde::Deserialize;

use super::expression;

mod md5;
#[cfg(test)]
mod tests;

/// The label that is a metric's name.
pub const NAME: &str = "__name__";
/// Bytes of a label that a rule makes. A longer one is cut, as CloudWatch would cut it (1,024 characters), or is a rule gone wild.
pub const VALUE_BYTES_MAX: usize = 4_096;
/// Bytes of an expression.
const REGEX_BYTES_MAX: usize = 4_096;

/// A rule of relabelling, as Prometheus has it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Labels whose values are looked at, joined by `separator`. The name of the metric is the label `__name__`.
    pub source_labels: Vec<String>,
    /// What stands between the values of several labels. Default `;`.
    pub separator: String,
    /// A regular expression of RE2's kind that must match the whole. Default `(.*)`. At most 4 KiB.
    pub regex: String,
    /// The divisor for `hashmod`.
    pub modulus: u64,
    /// The label that is written. `$1` and the like may stand in it for `replace`.
    pub target_label: String,
    /// What is written, with `$1` and the like for the groups of `regex`. Default `$1`.
    pub replacement: String,
    /// What is done. Default `replace`.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Writes `replacement` into `target_label` if `regex` matches; nothing written removes the label.
    #[default]
    Replace,
    /// Drops the series unless `regex` matches.
    Keep,
    /// Drops the series if `regex` matches.
    Drop,
    /// Drops the series unless the values are that of `target_label`.
    KeepEqual,
    /// Drops the series if the values are that of `target_label`.
    DropEqual,
    /// Writes the remainder of the values' MD5 by `modulus` into `target_label`.
    HashMod,
    /// Copies each label whose name `regex` matches to the name `replacement`.
    LabelMap,
    /// Removes each label whose name `regex` matches.
    LabelDrop,
    /// Removes each label whose name `regex` does not match.
    LabelKeep,
    /// Writes the values in lower case into `target_label`.
    Lowercase,
    /// Writes the values in upper case into `target_label`.
    Uppercase,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// Why a rule is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The expression is none, or too large.
    #[error("`regex` is no expression: {0}")]
    Regex(String),
    /// An action that writes, without a place to write to.
    #[error("`{0}` needs `target_label`")]
    Target(&'static str),
    /// `hashmod` without a divisor.
    #[error("`hashmod` needs `modulus`, 1 or more")]
    Modulus,
    /// An action that compares, without anything to compare.
    #[error("`{0}` needs `source_labels`")]
    Source(&'static str),
}

/// Labels while they are rewritten; none is there twice, and none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Rules, ready to be applied one after the other.
#[derive(Clone, Default)]
pub struct Rules(Vec<(Rule, Regex)>);

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(rule, _)| rule)).finish()
    }
}

impl Action {
    /// Its name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl<'a> Labels<'a> {
    /// The value of a label; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// Writes a label, or removes it if `value` is empty.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let (name, value) = (name.into(), cut(value.into()));
        if value.is_empty() {
            return self.remove(&name);
        }
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => *own = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }

    /// All of them, those that begin with `__` too.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Rules {
    /// Makes rules ready. Says of each that is none why.
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<(usize, RuleError)>> {
        let (mut ready, mut wrong) = (Vec::new(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            match compiled(rule) {
                Ok(regex) => ready.push((rule.clone(), regex)),
                Err(why) => wrong.push((place, why)),
            }
        }
        if wrong.is_empty() { Ok(Self(ready)) } else { Err(wrong) }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rewrites `labels`. False if what has them is dropped.
    pub fn apply(&self, labels: &mut Labels<'_>) -> bool {
        self.0.iter().all(|(rule, regex)| rule.apply(regex, labels))
    }
}

fn compiled(rule: &Rule) -> Result<Regex, RuleError> {
    let action = rule.action;
    let writes = matches!(action, Action::Replace | Action::HashMod | Action::Lowercase | Action::Uppercase);
    let compares = matches!(action, Action::KeepEqual | Action::DropEqual);
    if (writes || compares) && rule.target_label.is_empty() {
        return Err(RuleError::Target(action.name()));
    }
    if compares && rule.source_labels.is_empty() {
        return Err(RuleError::Source(action.name()));
    }
    if action == Action::HashMod && rule.modulus == 0 {
        return Err(RuleError::Modulus);
    }
    if rule.regex.len() > REGEX_BYTES_MAX {
        return Err(RuleError::Regex(format!("it has more than {REGEX_BYTES_MAX} bytes")));
    }
    // The expression alone must be one: `a)(b` would be one between our own parentheses.
    Regex::new(&rule.regex).map_err(|error| RuleError::Regex(error.to_string()))?;
    expression::compiled(&format!("^(?s:{})$", rule.regex)).map_err(|error| RuleError::Regex(error.to_string()))
}

impl Rule {
    fn apply(&self, regex: &Regex, labels: &mut Labels<'_>) -> bool {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name)).collect();
        let joined = values.join(&self.separator);
        match self.action {
            Action::Keep => return regex.is_match(&joined),
            Action::Drop => return !regex.is_match(&joined),
            Action::KeepEqual => return labels.get(&self.target_label) == joined,
            Action::DropEqual => return labels.get(&self.target_label) != joined,
            Action::Replace => self.replace(regex, &joined, labels),
            Action::Lowercase => labels.set(self.target_label.clone(), joined.to_lowercase()),
            Action::Uppercase => labels.set(self.target_label.clone(), joined.to_uppercase()),
            Action::HashMod => {
                // Prometheus takes the last eight bytes of the sum, the first of which is the highest.
                let [.., a, b, c, d, e, f, g, h] = md5::sum(joined.as_bytes());
                let remainder = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % self.modulus;
                labels.set(self.target_label.clone(), remainder.to_string());
            }
            Action::LabelMap => {
                let mapped = labels.0.iter().filter(|(name, _)| regex.is_match(name));
                let renamed = mapped
                    .map(|(name, value)| (regex.replace_all(name, &*self.replacement).into_owned(), value.clone()));
                let copies: Vec<_> = renamed.collect();
                copies
                    .into_iter()
                    .filter(|(name, _)| is_label_name(name))
                    .for_each(|(name, value)| labels.set(name, value));
            }
            Action::LabelDrop => labels.0.retain(|(name, _)| !regex.is_match(name)),
            Action::LabelKeep => labels.0.retain(|(name, _)| regex.is_match(name)),
        }
        true
    }

    fn replace(&self, regex: &Regex, joined: &str, labels: &mut Labels<'_>) {
        let Some(groups) = regex.captures(joined) else { return };
        let (mut target, mut value) = (String::new(), String::new());
        groups.expand(&self.target_label, &mut target);
        groups.expand(&self.replacement, &mut value);
        if is_label_name(&target) {
            labels.set(target, value);
        }
    }
}

/// A name that every Prometheus takes.
fn is_label_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn cut(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.len() <= VALUE_BYTES_MAX {
        return value;
    }
    let end = value.floor_char_boundary(VALUE_BYTES_MAX);
    Cow::Owned(value[..end].to_owned())
}
