//! `${NAME}`: variables in values.
//!
//! Promises: any character but `}` may stand in a name, since ECS makes names such as `apikey_1` or `a.b-c@d_0` of the
//! names of options; what comes out of a variable is not expanded again.
//! Never: shows what came out.

use std::collections::BTreeMap;

use super::grammar::{Section, Source};
use crate::problem::{Problem, Problems, shown};

/// Where names are looked up: `@SET` first, then the environment, as Fluent Bit does.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    pub(super) set: &'a BTreeMap<String, String>,
    pub(super) variables: &'a BTreeMap<String, String>,
}

/// A text after expansion.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) text: String,
    /// A variable's value is in the text.
    pub(super) filled: bool,
    /// Names that have no value.
    pub(super) missing: Vec<String>,
    /// The text was cut, since it had become longer than it may.
    pub(super) cut: bool,
}

/// Bytes of all values together. Without a bound, a few megabytes of `${X}` become gigabytes.
const VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Expands the values of all properties. One that comes out empty is left out, as if it were not written.
pub(super) fn sections(source: Source, variables: &BTreeMap<String, String>, problems: &mut Problems) -> Vec<Section> {
    let Source { mut sections, set } = source;
    let lookup = Lookup { set: &set, variables };
    let mut room = VALUES_BYTES_MAX;
    for section in &mut sections {
        section.properties.retain_mut(|property| {
            let expansion = text(&property.value, lookup, room);
            room = room.saturating_sub(expansion.text.len());
            if expansion.cut {
                let what = "with its variables filled in, the configuration is larger than 16 MiB";
                problems.push(Problem::error(property.place.to_string(), what, "use shorter variables"));
            }
            let empty = expansion.text.trim().is_empty();
            for name in expansion.missing {
                let hint = match empty {
                    true => "the option counts as not given",
                    false => "it counts as empty",
                };
                let place = format!("{} {}", property.place, section.title);
                problems.push(Problem::warning(place, format!("the variable `{}` is not set", shown(&name)), hint));
            }
            property.hidden = expansion.filled;
            property.value = expansion.text.trim().to_owned();
            !empty
        });
    }
    sections
}

/// Expands one text to little more than `room` bytes. `${` without an end is data.
pub(super) fn text(text: &str, lookup: Lookup<'_>, room: usize) -> Expansion {
    let mut out = Expansion::default();
    let mut rest = text;
    while let Some((before, name, after)) = next(rest) {
        if out.text.len() > room {
            out.cut = true;
            return out;
        }
        out.text.push_str(before);
        rest = after;
        let (name, fallback) = match name.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (name, None),
        };
        let value = lookup.set.get(name).or_else(|| lookup.variables.get(name));
        match (value, fallback) {
            (Some(value), Some(fallback)) if value.is_empty() => out.text.push_str(fallback),
            (None, Some(fallback)) => out.text.push_str(fallback),
            (Some(value), _) => {
                out.text.push_str(value);
                out.filled = true;
            }
            (None, None) => out.missing.push(name.to_owned()),
        }
    }
    out.text.push_str(rest);
    out
}

/// The text before the first variable, the variable, and the text after it.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_once() {
        let names = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let variables = names(&[
            ("A", "1"),
            ("apikey_1", "k"),
            ("a.b-c@d_0", "odd"),
            ("LOOP", "${LOOP}"),
            ("EMPTY", ""),
            ("S", "env"),
        ]);
        let set = names(&[("S", "set"), ("T", "${A}")]);
        for (text_in, out, missing) in [
            ("plain", "plain", vec![]),
            ("${A}", "1", vec![]),
            ("x${A}y${apikey_1}", "x1yk", vec![]),
            ("${a.b-c@d_0}", "odd", vec![]),
            ("${LOOP}", "${LOOP}", vec![]),
            ("${S} ${T}", "set ${A}", vec![]),
            ("a${GONE}b", "ab", vec!["GONE"]),
            ("${GONE:-x-y}", "x-y", vec![]),
            ("${EMPTY:-d}${EMPTY}", "d", vec![]),
            ("${A", "${A", vec![]),
            ("$A $(A) {A} $", "$A $(A) {A} $", vec![]),
            ("${}", "", vec![""]),
            ("${A${A}}", "}", vec!["A${A"]),
        ] {
            let got = text(text_in, Lookup { set: &set, variables: &variables }, 1_000);
            assert_eq!(
                (got.text.as_str(), got.missing),
                (out, missing.iter().map(|s| s.to_string()).collect()),
                "{text_in}"
            );
        }
    }

    /// A line of nothing but `${` costs time in proportion to its length.
    #[test]
    fn a_megabyte_of_openings_is_data() {
        let line = "${".repeat(512 * 1024);
        let none = BTreeMap::new();
        assert_eq!(text(&line, Lookup { set: &none, variables: &none }, 0).text, line);
    }

    #[test]
    fn a_bomb_of_variables_is_cut() {
        let variables = BTreeMap::from([("X".to_owned(), "x".repeat(1_000))]);
        let bomb = text(&"${X}".repeat(1_000_000), Lookup { set: &BTreeMap::new(), variables: &variables }, 10_000);
        assert!(bomb.cut);
        assert_eq!(bomb.text.len(), 11_000);
    }
}
