//! Keeps or drops records by what a field holds.
//!
//! Promises: Fluent Bit's `grep`, rule by rule; its surprises are listed here and tested.
//! Never: changes a record, or looks at anything but text: a number, a boolean or binary matches no rule there either.
//!
//! In the `legacy` way the first `regex` that matches keeps the record, so rules behind it are not asked. A field that
//! is missing matches nothing: `regex` drops the record, `exclude` keeps it.

use serde::Deserialize;

use super::regex::Regex;
use crate::logs::{
    accessor::Accessor,
    pattern::Pattern,
    record::{Record, Value},
};

/// Settings of a `grep` filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The tags whose records are looked at. Default: all of them.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// How the rules work together.
    pub logical_op: LogicalOp,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Keep the record only if the field matches.
    Regex {
        /// The field: a name, or `$name['sub']`.
        key: String,
        /// The regular expression, in Ruby's dialect.
        regex: String,
    },
    /// Drop the record if the field matches.
    Exclude {
        /// The field: a name, or `$name['sub']`.
        key: String,
        /// The regular expression, in Ruby's dialect.
        regex: String,
    },
}

impl Rule {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        Check::new(self).map(drop)
    }
}

/// How the rules of one `grep` work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum LogicalOp {
    /// In order: a `regex` that does not match drops the record, one that matches keeps it at once; an `exclude` that
    /// matches drops it.
    #[default]
    #[serde(rename = "legacy")]
    Legacy,
    /// All rules must match.
    And,
    /// One rule must match.
    Or,
}

/// A `grep` filter, ready to work.
#[derive(Debug)]
pub struct Grep {
    rules: Vec<Check>,
    logical_op: LogicalOp,
}

#[derive(Debug)]
struct Check {
    kind: Kind,
    field: Accessor,
    regex: Regex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regex,
    Exclude,
}

impl Grep {
    /// Compiles the rules. The error says which one is wrong, and why.
    pub fn new(config: &Config) -> Result<Self, String> {
        let rules = config.rules.iter().map(Check::new).collect::<Result<Vec<_>, _>>()?;
        let mixed = rules.iter().any(|rule| rule.kind != rules[0].kind);
        if config.logical_op != LogicalOp::Legacy && mixed {
            return Err("with the logical_op AND or OR all rules must be `regex`, or all `exclude`".to_owned());
        }
        Ok(Self { rules, logical_op: config.logical_op })
    }

    /// True if the record stays.
    pub fn keeps(&self, record: &Record<'_>) -> bool {
        let found = match self.logical_op {
            LogicalOp::Legacy => return self.keeps_in_order(record),
            LogicalOp::And => self.rules.iter().all(|rule| rule.matches(record)),
            LogicalOp::Or => self.rules.iter().any(|rule| rule.matches(record)),
        };
        match self.rules.first().map(|rule| rule.kind) {
            Some(Kind::Regex) => found,
            Some(Kind::Exclude) => !found,
            None => true,
        }
    }

    fn keeps_in_order(&self, record: &Record<'_>) -> bool {
        for rule in &self.rules {
            match (rule.kind, rule.matches(record)) {
                (Kind::Regex, matches) => return matches,
                (Kind::Exclude, true) => return false,
                (Kind::Exclude, false) => {}
            }
        }
        true
    }
}

impl Check {
    fn new(rule: &Rule) -> Result<Self, String> {
        let (kind, key, regex) = match rule {
            Rule::Regex { key, regex } => (Kind::Regex, key, regex),
            Rule::Exclude { key, regex } => (Kind::Exclude, key, regex),
        };
        Ok(Self { kind, field: Accessor::parse(key)?, regex: Regex::new(regex)? })
    }

    fn matches(&self, record: &Record<'_>) -> bool {
        match self.field.resolve(record) {
            Some(value @ (Value::Str(_) | Value::Fixed(_) | Value::Uuid(_))) => {
                value.with_text(|text| self.regex.is_match(text)).unwrap_or(false)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::{Fixed, Pair};

    fn regex(key: &str, regex: &str) -> Rule {
        Rule::Regex { key: key.to_owned(), regex: regex.to_owned() }
    }

    fn exclude(key: &str, regex: &str) -> Rule {
        Rule::Exclude { key: key.to_owned(), regex: regex.to_owned() }
    }

    fn grep(logical_op: LogicalOp, rules: Vec<Rule>) -> Result<Grep, String> {
        Grep::new(&Config { rules, logical_op, ..Config::default() })
    }

    fn keeps(logical_op: LogicalOp, rules: &[Rule], record: &Record<'_>) -> bool {
        grep(logical_op, rules.to_vec()).expect("compiles").keeps(record)
    }

    fn record<'a>(fields: &[(&'a str, Value<'a>)]) -> Record<'a> {
        let pairs = fields.iter().map(|&(key, value)| Pair { key: Value::Str(key.as_bytes()), value }).collect();
        Record { pairs, ..Record::default() }
    }

    fn text(text: &str) -> Value<'_> {
        Value::Str(text.as_bytes())
    }

    #[test]
    fn in_the_legacy_way_the_first_matching_regex_decides() {
        use LogicalOp::Legacy;
        let a = record(&[("log", text("error in a")), ("source", text("stdout"))]);
        for (rules, kept) in [
            (vec![], true),
            (vec![regex("log", "error")], true),
            (vec![regex("log", "warn")], false),
            (vec![exclude("log", "error")], false),
            (vec![exclude("log", "warn")], true),
            (vec![exclude("log", "warn"), exclude("source", "stdout")], false),
            // The surprise: what stands behind a `regex` is never asked.
            (vec![regex("log", "error"), regex("source", "stderr")], true),
            (vec![regex("log", "error"), exclude("source", "stdout")], true),
            (vec![exclude("source", "stdout"), regex("log", "error")], false),
            (vec![regex("missing", ".*")], false),
            (vec![exclude("missing", ".*")], true),
            (vec![regex("$log", "^error"), exclude("log", "x")], true),
        ] {
            assert_eq!(keeps(Legacy, &rules, &a), kept, "{rules:?}");
        }
    }

    #[test]
    fn and_asks_for_all_and_or_for_one() {
        use LogicalOp::{And, Or};
        let a = record(&[("log", text("error")), ("source", text("stdout"))]);
        for (op, rules, kept) in [
            (And, vec![regex("log", "error"), regex("source", "stdout")], true),
            (And, vec![regex("log", "error"), regex("source", "stderr")], false),
            (Or, vec![regex("log", "warn"), regex("source", "stdout")], true),
            (Or, vec![regex("log", "warn"), regex("source", "stderr")], false),
            (And, vec![exclude("log", "error"), exclude("source", "stdout")], false),
            (And, vec![exclude("log", "error"), exclude("source", "stderr")], true),
            (Or, vec![exclude("log", "warn"), exclude("source", "stdout")], false),
            (Or, vec![exclude("log", "warn"), exclude("source", "stderr")], true),
            (And, vec![], true),
        ] {
            assert_eq!(keeps(op, &rules, &a), kept, "{op:?} {rules:?}");
        }
        let mixed = grep(And, vec![regex("a", "b"), exclude("a", "b")]).expect_err("mixed");
        assert!(mixed.contains("all rules must be `regex`"), "{mixed}");
    }

    /// Only text is looked at, as in Fluent Bit: of the record, nested in it, or added by an earlier filter.
    #[test]
    fn only_text_matches() {
        let nested = [0x81, 0xa1, b'b', 0x81, 0xa1, b'c', 0xa2, b'o', b'k'];
        let fixed = Fixed::new("ecs_cluster", "prod");
        let mut a = record(&[("a", Value::Raw(&nested)), ("n", Value::Raw(&[7])), ("bytes", Value::Bin(b"ok"))]);
        a.pairs.push(Pair::fixed(&fixed));
        for (key, pattern, found) in [
            ("$a['b']['c']", "^ok$", true),
            ("a['b']['c']", "^ok$", true),
            ("$a['b']", ".*", false),
            ("n", "7", false),
            ("bytes", "ok", false),
            ("ecs_cluster", "prod", true),
            ("$TAG", ".*", false),
        ] {
            assert_eq!(keeps(LogicalOp::Legacy, &[regex(key, pattern)], &a), found, "{key}");
        }
    }

    #[test]
    fn a_mistake_in_a_rule_is_told() {
        let error = grep(LogicalOp::Legacy, vec![exclude("log", "*failure*")]).expect_err("invalid in Ruby too");
        assert!(error.contains("write it without `*`"), "{error}");
        let error = grep(LogicalOp::Legacy, vec![exclude("$a[", "x")]).expect_err("no accessor");
        assert!(error.contains("`$a[` does not name a field"), "{error}");
    }
}
