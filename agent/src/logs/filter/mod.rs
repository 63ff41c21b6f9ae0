//! What is done to a record between input and output.
//!
//! Promises: a filter sees a borrowed view and changes only that; a record that a filter drops is counted as filtered.
//! Never: awaits, or fails at run time: what cannot work is refused when the configuration is read.

pub mod grep;
pub mod record_modifier;
pub mod regex;
mod ruby;

use super::{pattern::Pattern, record::Record, settings};

/// A filter, ready to work.
#[derive(Debug)]
pub struct Filter {
    pattern: Pattern,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Grep(grep::Grep),
    RecordModifier(record_modifier::Modifier),
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It goes no further, as the user asked.
    Drop,
}

impl Filter {
    /// Prepares a filter. The error says what is wrong with its settings.
    pub fn new(settings: &settings::Filter) -> Result<Self, String> {
        let (pattern, kind) = match settings {
            settings::Filter::Grep(config) => (&config.pattern, Kind::Grep(grep::Grep::new(config)?)),
            settings::Filter::RecordModifier(config) => {
                (&config.pattern, Kind::RecordModifier(record_modifier::Modifier::new(config)?))
            }
        };
        Ok(Self { pattern: pattern.clone(), kind })
    }

    /// The tags whose records it is for. [`Filter::apply`] does not ask again.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Looks at a record, or changes it.
    #[must_use]
    pub fn apply<'a>(&'a self, record: &mut Record<'a>) -> Verdict {
        match &self.kind {
            Kind::Grep(grep) if grep.keeps(record) => Verdict::Keep,
            Kind::Grep(_) => Verdict::Drop,
            Kind::RecordModifier(modifier) => modifier.apply(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::{Pair, Value};

    fn grep_for(regex: &str) -> settings::Filter {
        let rule = grep::Rule::Regex { key: "log".to_owned(), regex: regex.to_owned() };
        let pattern = Pattern::from("app-*".to_owned());
        settings::Filter::Grep(grep::Config { pattern, rules: vec![rule], ..grep::Config::default() })
    }

    /// Two filters in a row, the way ECS generates them.
    #[test]
    fn filters_work_one_after_another() {
        let records = vec![("ecs_cluster".to_owned(), "prod".to_owned())];
        let modifier =
            settings::Filter::RecordModifier(record_modifier::Config { records, ..record_modifier::Config::default() });
        let filters = [Filter::new(&grep_for("failure")).expect("valid"), Filter::new(&modifier).expect("valid")];
        assert!(filters[0].pattern().fits("app-1") && !filters[0].pattern().fits("db-1"));
        for (log, cluster) in [("a failure", Some(&b"prod"[..])), ("all is well", None)] {
            let pair = Pair { key: Value::Str(b"log"), value: Value::Str(log.as_bytes()) };
            let mut record = Record { pairs: vec![pair], ..Record::default() };
            let kept = filters.iter().all(|filter| filter.apply(&mut record) == Verdict::Keep);
            assert_eq!(kept.then(|| record.get(b"ecs_cluster").and_then(|value| value.text())).flatten(), cluster);
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(Filter::new(&grep_for("(")).expect_err("open group").contains("a `(` has no `)`"));
    }
}
