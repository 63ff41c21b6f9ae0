//! Declarations: which metrics CloudWatch gets, and each in which sets of dimensions.
//!
//! Promises: expressions fit anywhere in a text, and take time linear in it; a metric that no declaration selects, or that lacks a label of
//! every set, is no metric of CloudWatch, and stays on `/metrics`.
//! Never: runs once a sample: a series is looked at when it is made.

use regex::Regex;
use serde::Deserialize;

use super::expression::compiled;

/// Declarations of an input: each is asked once for each new series.
pub const DECLARATIONS_MAX: usize = 64;

/// Some metrics, and their sets of dimensions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Declaration {
    /// Regular expressions of RE2's kind, of which one must fit the metric's name, anywhere in it. Default: every name.
    pub names: Vec<String>,
    /// Of which one must fit the labels. Default: whatever they are.
    pub labels: Vec<Matcher>,
    /// Sets of labels that are dimensions together; each is a metric that costs money. A series gets those of which it has every label.
    /// Default: one set, which is empty.
    pub dimensions: Vec<Vec<String>>,
}

/// What labels must be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    /// Labels whose values are looked at, joined by `separator`. One that a series does not have is empty.
    pub names: Vec<String>,
    /// What stands between the values of several labels. Default `;`.
    pub separator: Option<String>,
    /// A regular expression that must fit the values, anywhere.
    pub regex: String,
}

/// Declarations, ready to select.
#[derive(Clone, Debug, Default)]
pub struct Declared(Vec<Ready>);

#[derive(Clone, Debug)]
struct Ready {
    names: Vec<Regex>,
    labels: Vec<(Matcher, Regex)>,
    sets: Vec<Vec<String>>,
}

impl Declared {
    /// Prepares `declarations`. What is wrong with an expression is told with the declaration's place.
    pub fn new(declarations: &[Declaration]) -> Result<Self, (usize, String)> {
        let ready = |(place, one): (usize, &Declaration)| Ready::new(one).map_err(|why| (place, why.to_string()));
        declarations.iter().enumerate().map(ready).collect::<Result<_, _>>().map(Self)
    }

    /// The sets of dimensions of a metric with these labels; those of several declarations may be the same.
    pub fn sets<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = Vec<(&'a str, &'a str)>> {
        let of = |wanted: &String| labels.iter().copied().find(|(label, _)| label == wanted);
        let selecting = self.0.iter().filter(|one| one.selects(name, labels));
        selecting.flat_map(|one| &one.sets).filter_map(move |set| set.iter().map(of).collect())
    }
}

impl Ready {
    fn new(declaration: &Declaration) -> Result<Self, regex::Error> {
        let Declaration { names, labels, dimensions } = declaration;
        let labels = labels.iter().map(|matcher| Ok((matcher.clone(), compiled(&matcher.regex)?)));
        Ok(Self {
            names: names.iter().map(|name| compiled(name)).collect::<Result<_, _>>()?,
            labels: labels.collect::<Result<_, regex::Error>>()?,
            sets: if dimensions.is_empty() { vec![Vec::new()] } else { dimensions.clone() },
        })
    }

    fn selects(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        (self.names.is_empty() || self.names.iter().any(|regex| regex.is_match(name)))
            && (self.labels.is_empty()
                || self.labels.iter().any(|(matcher, regex)| regex.is_match(&matcher.text(labels))))
    }
}

impl Matcher {
    /// The values that are looked at.
    fn text(&self, labels: &[(&str, &str)]) -> String {
        let value = |wanted: &String| labels.iter().find(|(label, _)| label == wanted).map_or("", |(_, value)| value);
        self.names.iter().map(value).collect::<Vec<_>>().join(self.separator.as_deref().unwrap_or(";"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A declaration in short: names, matchers (labels, separator, expression), and sets.
    fn declaration(names: &[&str], labels: &[(&[&str], Option<&str>, &str)], sets: &[&[&str]]) -> Declaration {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let matcher = |(names, separator, regex): &(&[&str], Option<&str>, &str)| Matcher {
            names: texts(names),
            separator: separator.map(str::to_owned),
            regex: (*regex).to_owned(),
        };
        Declaration {
            names: texts(names),
            labels: labels.iter().map(matcher).collect(),
            dimensions: sets.iter().map(|set| texts(set)).collect(),
        }
    }

    /// The sets of dimensions of a metric, in one text.
    fn sets(declarations: &[Declaration], name: &str, labels: &[(&str, &str)]) -> String {
        let declared = Declared::new(declarations).expect("expressions");
        let sets = declared.sets(name, labels).map(|set| {
            let pairs: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", pairs.join(","))
        });
        sets.collect()
    }

    #[test]
    fn metrics_get_the_sets_of_the_declarations_that_select_them() {
        let labels = [("container", "envoy"), ("route", "/cart"), ("code", "500")];
        let all = declaration(&[], &[], &[&["route"]]);
        for (declarations, expected) in [
            (vec![], ""),
            (vec![all.clone()], "[route=/cart]"),
            (vec![declaration(&[], &[], &[])], "[]"),
            (vec![declaration(&["^hits$"], &[], &[])], ""),
            (vec![declaration(&["^hits$", "otal"], &[], &[])], "[]"),
            // A set of which a label is missing is none; the others are.
            (vec![declaration(&["hits"], &[], &[&["route", "user"], &["code", "route"]])], "[code=500,route=/cart]"),
            (vec![declaration(&["hits"], &[], &[&["user"]])], ""),
            (vec![declaration(&["hits"], &[(&["container"], None, "^envoy$")], &[])], "[]"),
            (vec![declaration(&["hits"], &[(&["container"], None, "^app$")], &[])], ""),
            (vec![declaration(&["hits"], &[(&["container", "code"], None, "^envoy;5..$")], &[])], "[]"),
            (vec![declaration(&["hits"], &[(&["container", "user", "code"], Some("+"), r"y\+\+5")], &[])], "[]"),
            // One that fits is enough.
            (vec![declaration(&[], &[(&["code"], None, "4.."), (&["code"], None, "5..")], &[])], "[]"),
            (vec![all.clone(), declaration(&["total"], &[], &[&["code"]])], "[route=/cart][code=500]"),
            (vec![declaration(&["none"], &[], &[&["code"]]), all], "[route=/cart]"),
        ] {
            assert_eq!(sets(&declarations, "hits_total", &labels), expected, "{declarations:?}");
        }
    }

    #[test]
    fn what_is_no_expression_or_grows_without_measure_is_told_with_its_place() {
        let good = declaration(&["^a$"], &[], &[]);
        for (bad, what) in [
            (declaration(&["("], &[], &[]), "unclosed group"),
            (declaration(&[], &[(&["a"], None, "[")], &[]), "unclosed character class"),
            (declaration(&[r"\w{100}"], &[], &[]), "exceeds size limit"),
        ] {
            let (place, why) = Declared::new(&[good.clone(), bad]).expect_err(what);
            assert!(place == 1 && why.contains(what), "{why}");
        }
    }

    proptest! {
        /// Whatever is declared, dimensions are labels that the metric has, in the order of the set.
        #[test]
        fn property_sets_are_of_labels_that_are_there(
            names in prop::collection::vec("[a-c.^$|*]{0,4}", 0..3), sets in prop::collection::vec(prop::collection::vec("[a-d]", 0..3), 0..4),
            regex in "[ab;.*]{0,4}", name in "[a-c]{0,4}", values in prop::collection::vec(("[a-d]", "[ab]{0,2}"), 0..4),
        ) {
            let one = Declaration {
                names, labels: vec![Matcher { names: vec!["a".into(), "b".into()], separator: None, regex }], dimensions: sets,
            };
            let labels: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, &**value)).collect();
            if let Ok(declared) = Declared::new(std::slice::from_ref(&one)) {
                for set in declared.sets(&name, &labels) {
                    let named: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
                    prop_assert!(one.dimensions.iter().any(|wanted| *wanted == named) || named.is_empty());
                    prop_assert!(set.iter().all(|pair| labels.contains(pair)));
                }
            }
        }
    }
}
