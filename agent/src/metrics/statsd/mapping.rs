//! Rules that give names of StatsD other names and labels, as statsd_exporter's do.
//!
//! ```yaml
//! - match: "shop.*.orders.*"
//!   name: orders
//!   labels: {country: "$1", state: "$2"}
//! - match: "debug\\..*"
//!   match_type: regex
//!   action: drop
//! ```
//!
//! A `*` stands for all between two dots. The first rule that matches counts. They are asked once for each spelling of a series, not for
//! each sample.
//!
//! Promises: a name that matches nothing stays as it is.
//! Never: looks at a value or a tag.

use std::{collections::BTreeMap, fmt};

use regex::{Captures, Regex};
use serde::Deserialize;

use super::grammar::Type;
use crate::metrics::expression::compiled;

/// A rule, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which names it is for: with `*` for what stands between two dots, for example `shop.*.orders`. Or a regular expression.
    pub r#match: String,
    /// What `match` is. Default `glob`.
    #[serde(default)]
    pub match_type: MatchType,
    /// Only metrics of this type: `counter`, `gauge`, `timer`, `distribution` or `set`; `observer` means timers and
    /// distributions. Default: all.
    #[serde(default)]
    pub match_metric_type: Option<MetricType>,
    /// The new name. `$1`, `$2`, ... are what the stars or groups stood for. Default: as it was.
    #[serde(default)]
    pub name: Option<String>,
    /// Labels that it gets besides its tags, with `$1`, `$2`, ... likewise.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What is done with it. Default `map`.
    #[serde(default)]
    pub action: Action,
}

/// What a pattern is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MatchType {
    /// Stars stand for all between two dots.
    #[default]
    Glob,
    /// A regular expression that the whole name must match.
    Regex,
}

/// Types of metrics, as rules name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// `c`
    Counter,
    /// `g`
    Gauge,
    /// `ms`
    Timer,
    /// `h` and `d`
    Distribution,
    /// `s`
    Set,
    /// `ms`, `h` and `d`
    Observer,
}

/// What is done with a metric that matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It gets the name and the labels.
    #[default]
    Map,
    /// It is not taken.
    Drop,
}

/// Rules, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Mappings(Vec<Ready>);

#[derive(Clone, Debug)]
struct Ready {
    pattern: Regex,
    rule: Rule,
}

/// What rules make of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// No rule is for it.
    AsItIs,
    /// It is not wanted.
    Dropped,
    /// It has this name, and these labels more.
    To(String, Vec<(String, String)>),
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    /// The expression is none.
    #[error("not a regular expression")]
    Regex(#[source] regex::Error),
    /// It would match the empty name.
    #[error("matches nothing")]
    Empty,
}

impl MetricType {
    fn is(self, kind: Type) -> bool {
        match self {
            Self::Counter => kind == Type::Counter,
            Self::Gauge => kind == Type::Gauge,
            Self::Timer => kind == Type::Timer,
            Self::Distribution => kind == Type::Distribution,
            Self::Set => kind == Type::Set,
            Self::Observer => matches!(kind, Type::Timer | Type::Distribution),
        }
    }
}

impl Rule {
    /// The expression that the whole name must match.
    fn pattern(&self) -> Result<Regex, BadRule> {
        if self.r#match.is_empty() {
            return Err(BadRule::Empty);
        }
        let inner = match self.match_type {
            MatchType::Regex => self.r#match.clone(),
            MatchType::Glob => {
                let pieces: Vec<String> = self.r#match.split('*').map(regex::escape).collect();
                pieces.join("([^.]*)")
            }
        };
        compiled(&format!("^(?:{inner})$")).map_err(BadRule::Regex)
    }
}

impl Mappings {
    /// Makes `rules` ready. The first that cannot be used is told with its place.
    pub fn new(rules: &[Rule]) -> Result<Self, (usize, BadRule)> {
        let ready = rules.iter().enumerate().map(|(place, rule)| {
            let pattern = rule.pattern().map_err(|error| (place, error))?;
            Ok(Ready { pattern, rule: rule.clone() })
        });
        ready.collect::<Result<_, _>>().map(Self)
    }

    /// What they make of `name`.
    pub fn apply(&self, name: &str, kind: Type) -> Mapped {
        let of_kind = |ready: &&Ready| ready.rule.match_metric_type.is_none_or(|wanted| wanted.is(kind));
        let mut found = self.0.iter().filter(of_kind);
        let Some((rule, found)) = found.find_map(|ready| Some((&ready.rule, ready.pattern.captures(name)?))) else {
            return Mapped::AsItIs;
        };
        if rule.action == Action::Drop {
            return Mapped::Dropped;
        }
        let new = rule.name.as_deref().map_or_else(|| name.to_owned(), |new| filled(new, &found));
        let labels = rule.labels.iter().map(|(label, value)| (label.clone(), filled(value, &found))).collect();
        Mapped::To(new, labels)
    }
}

/// `template` with what was found in place of `$1` and `${1}`.
fn filled(template: &str, found: &Captures<'_>) -> String {
    let mut text = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (is_braced, inner) = rest.strip_prefix('{').map_or((false, rest), |inner| (true, inner));
        let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
        let after = if is_braced { inner[digits..].strip_prefix('}') } else { Some(&inner[digits..]) };
        match (inner[..digits].parse::<usize>(), after) {
            (Ok(number), Some(after)) => {
                text.push_str(found.get(number).map_or("", |group| group.as_str()));
                rest = after;
            }
            _ => text.push('$'),
        }
    }
    text.push_str(rest);
    text
}

impl fmt::Display for MatchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glob => "glob",
            Self::Regex => "regex",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, name: Option<&str>) -> Rule {
        Rule {
            r#match: pattern.to_owned(),
            match_type: MatchType::Glob,
            match_metric_type: None,
            name: name.map(str::to_owned),
            labels: BTreeMap::new(),
            action: Action::Map,
        }
    }

    fn to(name: &str, labels: &[(&str, &str)]) -> Mapped {
        Mapped::To(
            name.to_owned(),
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let mut labelled = rule("shop.*.orders.*", Some("orders_${2}"));
        labelled.labels =
            BTreeMap::from([("country".to_owned(), "$1".to_owned()), ("x".to_owned(), "$9-$$".to_owned())]);
        let dropped = Rule { action: Action::Drop, match_type: MatchType::Regex, ..rule("debug\\..+", None) };
        let timers = Rule { match_metric_type: Some(MetricType::Observer), ..rule("took", Some("took_seconds")) };
        let rest = Rule { match_type: MatchType::Regex, ..rule("(shop)\\.(.*)", Some("$2_of_$1")) };
        let mappings = Mappings::new(&[labelled, dropped, timers, rest]).expect("good rules");
        for (name, kind, expected) in [
            ("shop.de.orders.new", Type::Counter, to("orders_new", &[("country", "de"), ("x", "-$$")])),
            ("shop.de.orders.new.more", Type::Counter, to("de.orders.new.more_of_shop", &[])),
            ("debug.x", Type::Gauge, Mapped::Dropped),
            ("a.debug.x", Type::Gauge, Mapped::AsItIs),
            ("took", Type::Timer, to("took_seconds", &[])),
            ("took", Type::Distribution, to("took_seconds", &[])),
            ("took", Type::Counter, Mapped::AsItIs),
            ("other", Type::Counter, Mapped::AsItIs),
        ] {
            assert_eq!(mappings.apply(name, kind), expected, "{name}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_told_with_its_place() {
        let of = |pattern: &str, match_type| {
            Mappings::new(&[rule("a", None), Rule { match_type, ..rule(pattern, None) }])
                .map(|_| ())
                .map_err(|(place, error)| (place, error.to_string()))
        };
        assert_eq!(of("(", MatchType::Regex), Err((1, "not a regular expression".to_owned())));
        assert_eq!(of("", MatchType::Glob), Err((1, "matches nothing".to_owned())));
        assert_eq!(of("(a{1000}){1000}", MatchType::Regex), Err((1, "not a regular expression".to_owned())));
        assert_eq!(of("a(.b", MatchType::Glob), Ok(()));
    }
}
