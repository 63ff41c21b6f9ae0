//! Adds and removes fields.
//!
//! Promises: Fluent Bit's `record_modifier`; a field that is added stands after the record's own and wins over one of
//! the same name. Names are compared without regard to ASCII case, and a `*` at the end of a name stands for any rest.
//! Never: looks into a value, or leaves an empty record: one that has lost all its fields is dropped, as there.

use serde::Deserialize;

use super::Verdict;
use crate::logs::{
    pattern::Pattern,
    record::{Fixed, Pair, Record, Uuid, Value},
};

/// Settings of a `record_modifier` filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The tags whose records are changed. Default: all of them.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// Fields to add: name and text.
    pub records: Vec<(String, String)>,
    /// Fields to take out. Case does not matter; `name*` means all that start so.
    pub remove_keys: Vec<String>,
    /// If not empty, the only fields to keep, compared as in `remove_keys`. Not together with `remove_keys`.
    pub allowlist_keys: Vec<String>,
    /// A field to add with a new UUID in each record.
    pub uuid_key: Option<String>,
}

/// A `record_modifier` filter, ready to work.
#[derive(Debug)]
pub struct Modifier {
    added: Vec<Fixed>,
    uuid_key: Option<String>,
    names: Vec<Name>,
    named: Named,
}

/// What happens to the fields that are named.
#[derive(Clone, Copy, Debug)]
enum Named {
    Goes,
    Stays,
}

/// The name of a field, or with `any_rest` the start of it.
#[derive(Debug)]
struct Name {
    text: Box<[u8]>,
    any_rest: bool,
}

impl Modifier {
    /// Prepares the fields. The error says what cannot be done.
    pub fn new(config: &Config) -> Result<Self, String> {
        let (names, named) = match (&config.remove_keys[..], &config.allowlist_keys[..]) {
            (names, []) => (names, Named::Goes),
            ([], names) => (names, Named::Stays),
            _ => return Err("`remove_keys` and `allowlist_keys` exclude each other; give one of them".to_owned()),
        };
        let keys = config.records.iter().map(|(key, _)| key).chain(&config.uuid_key).chain(names);
        if keys.into_iter().any(String::is_empty) {
            return Err("a field without a name".to_owned());
        }
        let added = config.records.iter().map(|(key, value)| Fixed::new(key, value)).collect();
        let names = names.iter().map(|name| Name::new(name)).collect();
        Ok(Self { added, uuid_key: config.uuid_key.clone(), names, named })
    }

    /// Changes the record.
    #[must_use]
    pub fn apply<'a>(&'a self, record: &mut Record<'a>) -> Verdict {
        if !self.names.is_empty() {
            let before = record.pairs.len();
            record.pairs.retain(|pair| match self.named {
                Named::Goes => !self.names(pair),
                Named::Stays => self.names(pair),
            });
            if record.pairs.is_empty() && before > 0 && self.added.is_empty() && self.uuid_key.is_none() {
                return Verdict::Drop;
            }
        }
        record.pairs.extend(self.added.iter().map(Pair::fixed));
        if let Some(key) = &self.uuid_key {
            record.pairs.push(Pair { key: Value::Str(key.as_bytes()), value: Value::Uuid(Uuid::random()) });
        }
        Verdict::Keep
    }

    fn names(&self, pair: &Pair<'_>) -> bool {
        pair.name().is_some_and(|text| self.names.iter().any(|name| name.fits(text)))
    }
}

impl Name {
    fn new(text: &str) -> Self {
        let any_rest = text.ends_with('*');
        Self { text: text.strip_suffix('*').unwrap_or(text).as_bytes().into(), any_rest }
    }

    fn fits(&self, name: &[u8]) -> bool {
        match name.get(..self.text.len()) {
            Some(start) => start.eq_ignore_ascii_case(&self.text) && (self.any_rest || name.len() == start.len()),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    /// The names of the fields after the filter, or nothing if it dropped the record.
    fn names(config: &Config, fields: &[&str]) -> Option<Vec<String>> {
        let modifier = Modifier::new(config).expect("is valid");
        let pair = |key| Pair { key, value: Value::Str(b"v") };
        let mut pairs: Vec<_> = fields.iter().map(|name| pair(Value::Str(name.as_bytes()))).collect();
        pairs.push(pair(Value::Raw(&[7])));
        if fields.is_empty() {
            pairs.clear();
        }
        let mut record = Record { pairs, ..Record::default() };
        let text = |pair: &Pair<'_>| pair.name().map_or("7".into(), |name| String::from_utf8_lossy(name).into_owned());
        match modifier.apply(&mut record) {
            Verdict::Keep => Some(record.pairs.iter().map(text).collect()),
            Verdict::Drop => None,
        }
    }

    #[test]
    fn added_fields_stand_behind_and_win() {
        let records = vec![("ecs_cluster".to_owned(), "prod".to_owned()), ("log".to_owned(), "new".to_owned())];
        let config = Config { records, ..Config::default() };
        assert_eq!(names(&config, &["log"]), Some(strings(&["log", "7", "ecs_cluster", "log"])));
        assert_eq!(names(&config, &[]), Some(strings(&["ecs_cluster", "log"])));
        let modifier = Modifier::new(&config).expect("is valid");
        let mut record =
            Record { pairs: vec![Pair { key: Value::Str(b"log"), value: Value::Str(b"old") }], ..Record::default() };
        assert_eq!(modifier.apply(&mut record), Verdict::Keep);
        assert_eq!(record.get(b"log").and_then(|value| value.text()), Some(&b"new"[..]));
    }

    #[test]
    fn names_are_compared_without_case_and_with_a_star_behind() {
        let fields = ["container_id", "Container_Name", "container", "source", "log"];
        for (keys, removed) in [
            (&["source"][..], &["source"][..]),
            (&["SOURCE", "Log"], &["source", "log"]),
            (&["container*"], &["container_id", "Container_Name", "container"]),
            (&["container_*"], &["container_id", "Container_Name"]),
            (&["contain"], &[]),
            (&["*_id"], &[]),
            (&["missing"], &[]),
        ] {
            let config = Config { remove_keys: strings(keys), ..Config::default() };
            let left: Vec<_> = fields.iter().chain(&["7"]).copied().filter(|name| !removed.contains(name)).collect();
            assert_eq!(names(&config, &fields), Some(strings(&left)), "remove {keys:?}");
            let config = Config { allowlist_keys: strings(keys), ..Config::default() };
            let left = (!removed.is_empty()).then(|| strings(removed));
            assert_eq!(names(&config, &fields), left, "keep {keys:?}");
        }
    }

    #[test]
    fn a_record_that_has_lost_all_its_fields_is_dropped() {
        let config = Config { allowlist_keys: strings(&["other"]), ..Config::default() };
        assert_eq!(names(&config, &["log"]), None);
        assert_eq!(names(&config, &[]), Some(vec![]), "an empty record has lost nothing");
        let config = Config { records: vec![("a".to_owned(), "b".to_owned())], ..config };
        assert_eq!(names(&config, &["log"]), Some(strings(&["a"])));
    }

    #[test]
    fn each_record_gets_a_uuid_of_its_own() {
        let config = Config { uuid_key: Some("id".to_owned()), ..Config::default() };
        assert_eq!(names(&config, &["log"]), Some(strings(&["log", "7", "id"])));
        assert_eq!(
            names(&Config { allowlist_keys: strings(&["x"]), ..config.clone() }, &["log"]),
            Some(strings(&["id"]))
        );
        let modifier = Modifier::new(&config).expect("is valid");
        let ids: Vec<Vec<u8>> = (0..2)
            .map(|_| {
                let mut record = Record::default();
                assert_eq!(modifier.apply(&mut record), Verdict::Keep);
                record.get(b"id").and_then(|value| value.with_text(<[u8]>::to_vec)).expect("a UUID")
            })
            .collect();
        assert!(ids[0] != ids[1] && ids[0].len() == 36, "{ids:?}");
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        for (config, reason) in [
            (
                Config { remove_keys: strings(&["a"]), allowlist_keys: strings(&["b"]), ..Config::default() },
                "exclude each other",
            ),
            (Config { uuid_key: Some(String::new()), ..Config::default() }, "without a name"),
            (Config { remove_keys: strings(&[""]), ..Config::default() }, "without a name"),
            (Config { records: vec![(String::new(), "x".to_owned())], ..Config::default() }, "without a name"),
        ] {
            let error = Modifier::new(&config).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
