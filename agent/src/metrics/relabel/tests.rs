//! Proves what rules do, after Prometheus' own tests (`model/relabel/relabel_test.go`).
//!
//! Promises: a rule is written as in Prometheus' configuration, in JSON.
//! Never: proves when rules are applied; `scrape` does.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

fn rules(rules: &Value) -> Result<Rules, String> {
    let rules: Vec<Rule> = serde_json::from_value(rules.clone()).map_err(|error| error.to_string())?;
    Rules::new(&rules).map_err(|wrong| format!("{}: {}", wrong[0].0, wrong[0].1))
}

/// Labels after the rules, sorted; `dropped` if they are.
fn after(labels: &[(&str, &str)], of: &Value) -> String {
    let mut all = Labels::default();
    labels.iter().for_each(|(name, value)| all.set(*name, *value));
    if !rules(of).expect("they are rules").apply(&mut all) {
        return "dropped".to_owned();
    }
    let mut all: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.sort_unstable();
    all.join(" ")
}

#[test]
fn rules_do_what_they_do_in_prometheus() {
    let abc = [("a", "foo"), ("b", "bar"), ("c", "baz")];
    for (rule, expected) in [
        (
            json!({"source_labels": ["a"], "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"}),
            "a=foo b=bar c=baz d=choo-choo",
        ),
        (
            json!({"source_labels": ["a", "b"], "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"}),
            "a=boobam b=bar c=baz",
        ),
        (json!({"source_labels": ["a"], "regex": ".*o.*", "action": "drop"}), "dropped"),
        (json!({"source_labels": ["a"], "regex": "o", "action": "drop"}), "a=foo b=bar c=baz"),
        (json!({"source_labels": ["a"], "regex": "no-match", "action": "keep"}), "dropped"),
        (json!({"source_labels": ["a"], "regex": "f|foo", "action": "keep"}), "a=foo b=bar c=baz"),
        (json!({"source_labels": ["a"], "regex": "no-match", "target_label": "d"}), "a=foo b=bar c=baz"),
        // The default expression takes all, and an empty value removes.
        (json!({"source_labels": ["none"], "target_label": "b"}), "a=foo c=baz"),
        (json!({"target_label": "b", "replacement": "x"}), "a=foo b=x c=baz"),
        (json!({"source_labels": ["a"], "target_label": "${1}", "replacement": "x"}), "a=foo b=bar c=baz foo=x"),
        (json!({"source_labels": ["a"], "target_label": "0${1}", "replacement": "x"}), "a=foo b=bar c=baz"),
        (json!({"source_labels": ["a", "b"], "separator": "", "target_label": "d"}), "a=foo b=bar c=baz d=foobar"),
        (
            json!({"source_labels": ["a"], "regex": "(?P<x>.).*", "target_label": "d", "replacement": "$x$$"}),
            "a=foo b=bar c=baz d=f$",
        ),
        (
            json!({"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}),
            "a=foo b=bar c=baz d=976",
        ),
        (json!({"source_labels": ["a"], "target_label": "a", "action": "uppercase"}), "a=FOO b=bar c=baz"),
        (json!({"source_labels": ["a"], "target_label": "a", "action": "lowercase"}), "a=foo b=bar c=baz"),
        (json!({"source_labels": ["a"], "target_label": "b", "action": "keepequal"}), "dropped"),
        (json!({"source_labels": ["a"], "target_label": "b", "action": "dropequal"}), "a=foo b=bar c=baz"),
        (json!({"source_labels": ["a"], "target_label": "a", "action": "dropequal"}), "dropped"),
        (json!({"source_labels": ["a"], "target_label": "a", "action": "keepequal"}), "a=foo b=bar c=baz"),
        (
            json!({"regex": "([ab])", "replacement": "${1}_x", "action": "labelmap"}),
            "a=foo a_x=foo b=bar b_x=bar c=baz",
        ),
        (json!({"regex": "a", "replacement": "b", "action": "labelmap"}), "a=foo b=foo c=baz"),
        (json!({"regex": "[ab]", "action": "labeldrop"}), "c=baz"),
        (json!({"regex": "[ab]", "action": "labelkeep"}), "a=foo b=bar"),
    ] {
        assert_eq!(after(&abc, &json!([rule])), expected, "{rule}");
    }
    // A dot takes a line feed, as in Prometheus.
    let lines = json!([{"source_labels": ["a"], "regex": "x.y", "target_label": "a", "replacement": "taken"}]);
    assert_eq!(after(&[("a", "x\ny")], &lines), "a=taken");
    let chain = json!([
        {"source_labels": ["__name__"], "regex": "go_(.*)", "target_label": "__name__", "replacement": "$1"},
        {"source_labels": ["__name__"], "regex": "gc", "action": "drop"},
    ]);
    assert_eq!(after(&[("__name__", "go_gc")], &chain), "dropped");
    assert_eq!(after(&[("__name__", "go_memory")], &chain), "__name__=memory");
}

#[test]
fn what_is_no_rule_is_told() {
    for (rule, why) in [
        (json!({"regex": "("}), "target_label"),
        (json!({"regex": "(", "action": "drop"}), "no expression"),
        (json!({"regex": "a)(b", "action": "drop"}), "no expression"),
        (json!({"regex": "a".repeat(5_000), "action": "drop"}), "more than 4096"),
        (json!({"regex": "(a{1000}){1000}", "action": "drop"}), "no expression"),
        (json!({"regex": "(?=a)", "action": "drop"}), "no expression"),
        (json!({"action": "hashmod", "source_labels": ["a"], "target_label": "b"}), "modulus"),
        (json!({"action": "hashmod", "modulus": 5}), "target_label"),
        (json!({"action": "keepequal", "target_label": "b"}), "source_labels"),
        (json!({"action": "dropequal", "source_labels": ["b"]}), "target_label"),
        (json!({"action": "lowercase"}), "target_label"),
        (json!({"action": "explode"}), "unknown variant"),
        (json!({"labels": []}), "unknown field"),
    ] {
        let told = rules(&json!([{"action": "drop"}, rule])).expect_err("it is none");
        assert!(told.contains(why), "{rule:.60}: {told}");
    }
}

/// Each rule makes ten of one: after four they would be 10,000 times as long.
#[test]
fn no_label_grows_without_end() {
    let tenfold = json!({"source_labels": ["a"], "target_label": "a", "replacement": "$1$1$1$1$1$1$1$1$1$1"});
    let mut labels = Labels::default();
    labels.set("a", "ä".repeat(100));
    assert!(rules(&json!(vec![tenfold; 8])).expect("they are rules").apply(&mut labels));
    assert_eq!(labels.get("a").len(), VALUE_BYTES_MAX);
}

proptest! {
    /// Whatever rules do, no label is empty, twice there or too long.
    #[test]
    fn property_labels_stay_labels(
        all in vec(("[a-c_]{1,3}", ".{0,5}"), 0..5),
        sources in vec("[a-c_]{1,3}", 0..3),
        (target, replacement, regex) in ("[a-c$1{}]{1,4}", "[a-c$1{}]{0,4}", "[a-c.*(]{0,4}\\)?"),
        action in prop::sample::select(vec!["replace", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "hashmod", "keep"]),
    ) {
        let rule = json!([{"source_labels": sources, "target_label": target, "replacement": replacement, "regex": regex, "action": action, "modulus": 7}]);
        let Ok(rules) = rules(&rule) else { return Ok(()) };
        let mut labels = Labels::default();
        all.iter().for_each(|(name, value)| labels.set(name.clone(), value.clone()));
        rules.apply(&mut labels);
        let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        prop_assert!(labels.iter().all(|(_, value)| !value.is_empty() && value.len() <= VALUE_BYTES_MAX));
        names.sort_unstable();
        prop_assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
