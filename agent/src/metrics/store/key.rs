//! What tells series apart, and how names become those of `/metrics` and of CloudWatch.
//!
//! Promises: a name on `/metrics` is one that every Prometheus takes; labels are sorted, each name once; the texts of two series are the
//! same only if their labels are.
//! Never: keeps anything.

use std::fmt::Write;

use crate::{
    aws::Unit,
    tell::exposition::{Type, escape_label},
};

/// Which series is meant.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Who says so.
    pub source: SourceId,
    /// Its name, as the source has it.
    pub name: &'a str,
    /// Its name on `/metrics`, if that is another one than [`shown_name`] makes of `name`.
    pub shown: Option<&'a str>,
    /// What it counts or measures.
    pub kind: Kind,
    /// The unit for CloudWatch.
    pub unit: Unit,
    /// What tells it from others of its name, in any order.
    pub labels: &'a [(&'a str, &'a str)],
    /// As what CloudWatch gets it.
    pub publication: Publication<'a>,
}

/// As what CloudWatch gets a series.
#[derive(Clone, Copy, Debug)]
pub enum Publication<'a> {
    /// As its source's policy says.
    ByPolicy,
    /// As the source says itself.
    Own {
        /// The namespace.
        namespace: &'a str,
        /// The dimensions of each metric that it becomes.
        sets: &'a [&'a [(&'a str, &'a str)]],
        /// Whether CloudWatch keeps seconds.
        is_high_resolution: bool,
    },
}

/// A source of series, for which one policy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub(super) u16);

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It has a value now.
    Gauge,
    /// How many different ones there were.
    Set,
    /// Values of which many are seen.
    Histogram,
    /// Durations in milliseconds: `/metrics` shows seconds.
    Timer,
    /// Quantiles that somebody else worked out.
    Summary,
    /// Shown on `/metrics` and sent nowhere: `info` of OpenMetrics.
    Info,
    /// The same: `stateset`.
    StateSet,
    /// A number of which nobody says what it is.
    Unknown,
}

impl Kind {
    /// The type on `/metrics`.
    pub const fn shown(self) -> Type {
        match self {
            Self::Counter => Type::Counter,
            Self::Gauge | Self::Set => Type::Gauge,
            Self::Histogram | Self::Timer => Type::Histogram,
            Self::Summary => Type::Summary,
            Self::Info => Type::Info,
            Self::StateSet => Type::StateSet,
            Self::Unknown => Type::Unknown,
        }
    }

    /// True if CloudWatch can have it.
    pub const fn is_sent(self) -> bool {
        !matches!(self, Self::Info | Self::StateSet)
    }
}

/// The name of the family on `/metrics`: letters, digits, `_` and `:`, all else becomes `_`; without the ending that samples have.
pub fn shown_name(name: &str, kind: Kind) -> String {
    let mut shown = String::with_capacity(name.len() + 1);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == ':') {
        shown.push('_');
    }
    shown.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }));
    if let Some(bare) = shown.strip_suffix(kind.shown().ending()).filter(|bare| !bare.is_empty()) {
        let length = bare.len();
        shown.truncate(length);
    }
    shown
}

/// The same for the name of a label, which has no `:`.
fn label_name(name: &str, into: &mut String) {
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        into.push('_');
    }
    into.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
}

/// Characters of the names and values of `labels`, as `/metrics` shows them.
pub fn label_characters(labels: &[(&str, &str)]) -> usize {
    let mut shown = String::new();
    let of_one = |(name, value): &(&str, &str)| {
        shown.clear();
        label_name(name, &mut shown);
        shown.len() + value.chars().count()
    };
    labels.iter().map(of_one).sum()
}

/// `labels` as they stand between the braces on `/metrics`, sorted by name; of two that have one name the last counts.
pub fn label_text(labels: &[(&str, &str)], text: &mut String) {
    text.clear();
    let mut names: Vec<(String, &str)> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        let mut shown = String::with_capacity(name.len());
        label_name(name, &mut shown);
        names.push((shown, value));
    }
    // Stable, so that the last of a name stays the last.
    names.sort_by(|a, b| a.0.cmp(&b.0));
    for (place, (name, value)) in names.iter().enumerate() {
        if names.get(place + 1).is_some_and(|next| next.0 == *name) {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}=\"");
        escape_label(value, text);
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ones_that_prometheus_takes() {
        for (name, kind, expected) in [
            ("api.requests", Kind::Counter, "api_requests"),
            ("api_requests_total", Kind::Counter, "api_requests"),
            ("_total", Kind::Counter, "_total"),
            ("9lives", Kind::Gauge, "_9lives"),
            ("total_total", Kind::Gauge, "total_total"),
            ("größe-a/b", Kind::Gauge, "gr__e_a_b"),
            ("a:b", Kind::Gauge, "a:b"),
            ("build_info", Kind::Info, "build"),
        ] {
            assert_eq!(shown_name(name, kind), expected, "{name}");
        }
    }

    #[test]
    fn labels_are_sorted_escaped_and_there_once() {
        let mut text = String::from("old");
        label_text(&[("z", "1"), ("a.b", "x\"\\\n"), ("a-b", "last"), ("0", "")], &mut text);
        assert_eq!(text, "_0=\"\",a_b=\"last\",z=\"1\"");
        label_text(&[("le gal", "ü\"\\\n")], &mut text);
        assert_eq!(text, "le_gal=\"ü\\\"\\\\\\n\"");
        label_text(&[], &mut text);
        assert_eq!(text, "");
    }
}
