//! `metric_declaration` of the agent's Prometheus part: which metrics are to be CloudWatch's, as rules for labels.
//!
//! ```text
//! {"source_labels": [..], "label_separator": ";", "label_matcher": regex,   which series; all of them without a matcher
//!  "metric_selectors": [regex, ..],                                         of which names; one that fits is enough
//!  "dimensions": [[..], ..]}
//! ```
//! A series is kept if a declaration fits its labels and its name. The agent's expressions fit anywhere in a text, those of rules the whole.
//!
//! Promises: without a declaration that selects by name there are no rules; the rules are ones that compile, or there are none.
//! Never: drops a series that a declaration selects.

use std::collections::BTreeSet;

use super::text;
use crate::{
    config::node::{Kind, Node},
    metrics::relabel::{Action, NAME, Rule, Rules},
};

/// Labels that rules make for rules: what begins so is of no series.
const IS_NAME: &str = "__tmp_is_name";
const IS_SERIES: &str = "__tmp_is_series";
const IS_KEPT: &str = "__tmp_is_kept";
/// Declarations that become rules, four each at most; an input takes 64.
const DECLARATIONS_MAX: usize = 15;

/// What declarations say.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// All labels that one of them has among its dimensions.
    pub(super) dimensions: BTreeSet<String>,
    /// What keeps the series that they select; `None` if that cannot be said by rules.
    pub(super) rules: Option<Vec<Rule>>,
}

/// Reads the declarations of an `emf_processor`.
pub(super) fn read(processor: &Node) -> Declared {
    let declarations: Vec<&Node> = processor.items_of("metric_declaration").collect();
    let mut declared = Declared::default();
    for Node { kind, .. } in declarations.iter().flat_map(|declaration| declaration.items_of("dimensions")) {
        let Kind::List(names) = kind else { continue };
        declared.dimensions.extend(names.iter().filter_map(Node::scalar));
    }
    // One without a selector selects nothing, as with the agent.
    let selecting: Vec<_> = declarations.into_iter().filter_map(|one| Some((one, selectors(one)?))).collect();
    let mut rules: Vec<Rule> = selecting.iter().flat_map(|(one, selectors)| of_one(one, selectors)).collect();
    if !rules.is_empty() {
        rules.push(Rule { action: Action::Keep, regex: "1".to_owned(), ..from([IS_KEPT]) });
    }
    declared.rules = Some(rules).filter(|rules| selecting.len() <= DECLARATIONS_MAX && Rules::new(rules).is_ok());
    declared
}

/// Rules as settings, each with its path among the rules.
pub(super) fn settings(rules: &[Rule]) -> Vec<(String, String)> {
    let of_one = |(number, rule): (usize, &Rule)| {
        let Rule { source_labels, separator, regex, target_label, replacement, action, .. } = rule.clone();
        let labels = source_labels.into_iter().enumerate();
        let labels = labels.map(|(place, label)| (format!("source_labels.{place}"), label));
        let texts = [
            ("separator", separator),
            ("regex", regex),
            ("replacement", replacement),
            ("target_label", target_label),
            ("action", action.name().to_owned()),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), text));
        let all: Vec<_> = labels.chain(texts).collect();
        all.into_iter().map(move |(path, text)| (format!("{number}.{path}"), text))
    };
    rules.iter().enumerate().flat_map(of_one).collect()
}

/// The expressions for names as one.
fn selectors(declaration: &Node) -> Option<String> {
    let all: Vec<String> = declaration.items_of("metric_selectors").filter_map(Node::scalar).collect();
    (!all.is_empty()).then(|| anywhere(&all.iter().map(|one| format!("(?:{one})")).collect::<Vec<_>>().join("|")))
}

/// Marks what a declaration selects.
fn of_one(declaration: &Node, selectors: &str) -> Vec<Rule> {
    let labels: Vec<String> = declaration.items_of("source_labels").filter_map(Node::scalar).collect();
    let mark = |rule: Rule, regex: String, label: &str| Rule {
        regex,
        target_label: label.to_owned(),
        replacement: "1".to_owned(),
        ..rule
    };
    let Some(matcher) = text(declaration, "label_matcher").filter(|_| !labels.is_empty()) else {
        return vec![mark(from([NAME]), selectors.to_owned(), IS_KEPT)];
    };
    let separator = text(declaration, "label_separator").unwrap_or_else(|| ";".to_owned());
    let of_labels = Rule { source_labels: labels, separator, ..Rule::default() };
    let clear = Rule { action: Action::LabelDrop, regex: format!("{IS_NAME}|{IS_SERIES}"), ..Rule::default() };
    vec![
        clear,
        mark(from([NAME]), selectors.to_owned(), IS_NAME),
        mark(of_labels, anywhere(&format!("(?:{matcher})")), IS_SERIES),
        mark(from([IS_NAME, IS_SERIES]), "1;1".to_owned(), IS_KEPT),
    ]
}

fn from<const N: usize>(labels: [&str; N]) -> Rule {
    Rule { source_labels: labels.map(str::to_owned).to_vec(), ..Rule::default() }
}

/// An expression that fits the whole text if this one fits anywhere in it.
fn anywhere(regex: &str) -> String {
    format!("(?s:.*)(?:{regex})(?s:.*)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::source::Tree, metrics::relabel::Labels, problem::Problems};

    fn declared(text: &str) -> Declared {
        let mut problems = Problems::default();
        let tree = Tree::parse("p.json", text.as_bytes(), &mut problems);
        read(&tree.root)
    }

    /// The series that are kept of some.
    fn kept(declarations: &str) -> Vec<&'static str> {
        let declared = declared(&format!("{{\"metric_declaration\": {declarations}}}"));
        let rules = Rules::new(&declared.rules.expect("rules")).expect("they compile");
        let series = [
            ("jvm_threads", "web", "eu"),
            ("jvm_memory", "web", "us"),
            ("jvm_memory_max", "cart", "eu"),
            ("http_requests", "cart", "us"),
        ];
        let is_kept = |(name, job, region): &(&'static str, &str, &str)| {
            let mut labels = Labels::default();
            for (name, value) in [(NAME, *name), ("job", *job), ("region", *region)] {
                labels.set(name, value.to_owned());
            }
            rules.apply(&mut labels)
        };
        series.into_iter().filter(is_kept).map(|(name, ..)| name).collect()
    }

    #[test]
    fn what_declarations_select_is_kept() {
        let all = ["jvm_threads", "jvm_memory", "jvm_memory_max", "http_requests"];
        for (declarations, expected) in [
            ("[]", &all[..]),
            (r#"[{"dimensions": [["job"]]}]"#, &all),
            (r#"[{"metric_selectors": ["^jvm_memory$"]}]"#, &["jvm_memory"]),
            (r#"[{"metric_selectors": ["memory"]}]"#, &["jvm_memory", "jvm_memory_max"]),
            (r#"[{"metric_selectors": ["^jvm_threads$", "^http_"]}]"#, &["jvm_threads", "http_requests"]),
            (r#"[{"metric_selectors": ["nothing"]}, {"dimensions": [["job"]]}]"#, &[]),
            (
                r#"[{"source_labels": ["job"], "label_matcher": "^web$", "metric_selectors": ["^jvm_"]}]"#,
                &["jvm_threads", "jvm_memory"],
            ),
            (
                r#"[{"source_labels": ["job", "region"], "label_matcher": "^web;eu$", "metric_selectors": ["."]}]"#,
                &["jvm_threads"],
            ),
            (
                r#"[{"source_labels": ["job", "region"], "label_separator": "+", "label_matcher": "art\\+e", "metric_selectors": ["."]}]"#,
                &["jvm_memory_max"],
            ),
            (
                r#"[{"source_labels": ["job"], "label_matcher": "web", "metric_selectors": ["threads"]},
                    {"source_labels": ["job"], "label_matcher": "cart", "metric_selectors": ["http"]}]"#,
                &["jvm_threads", "http_requests"],
            ),
        ] {
            assert_eq!(kept(declarations), expected, "{declarations}");
        }
    }

    /// Rules for an input must compile, and be few enough.
    #[test]
    fn what_cannot_be_said_by_rules_is_no_rules() {
        let many = [r#"{"metric_selectors": ["x"]}"#; DECLARATIONS_MAX + 1].join(",");
        for declarations in [r#"[{"metric_selectors": ["("]}]"#.to_owned(), format!("[{many}]")] {
            let declared = declared(&format!("{{\"metric_declaration\": {declarations}}}"));
            assert!(declared.rules.is_none(), "{declarations}");
        }
        assert!(declared("{\"metric_declaration\": 5}").rules.expect("none").is_empty());
        let few =
            vec![r#"{"source_labels": ["a"], "label_matcher": "b", "metric_selectors": ["x"]}"#; DECLARATIONS_MAX];
        let rules = declared(&format!("{{\"metric_declaration\": [{}]}}", few.join(","))).rules.expect("rules");
        assert!(rules.len() <= 64, "{}", rules.len());
    }
}
