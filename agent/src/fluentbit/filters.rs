//! `[FILTER]`: `grep` and `record_modifier`.
//!
//! Promises: the rules are in the order of the file; a filter we do not have is a loud warning, and records pass.
//! Never: fails a start because of a rule that cannot work; that is a warning, and the job leaves the filter out.

use super::{
    grammar::Property,
    outputs,
    section::{Reader, pair, value_shown},
};
use crate::logs::{
    filter::{grep, record_modifier},
    settings::Filter,
};

/// What becomes of a filter that cannot be made.
const LEFT_OUT: &str = "the whole filter is left out, and records pass it unchanged";

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Filter> {
    let plugin = reader.plugin()?;
    match plugin.as_str() {
        "grep" => Some(Filter::Grep(grep(reader))),
        "record_modifier" => Some(Filter::RecordModifier(record_modifier(reader))),
        _ => {
            let what = format!("filter `{}` is not supported by this version", reader.plugin_shown());
            reader.section_warning(what, "records pass unchanged");
            reader.pass_over();
            None
        }
    }
}

fn grep(reader: &mut Reader<'_>) -> grep::Config {
    let pattern = outputs::pattern(reader);
    reader.accept(&["alias", "log_level"]);
    let logical_op = match reader.get("logical_op") {
        None => grep::LogicalOp::default(),
        Some(property) => match property.value.to_ascii_lowercase().as_str() {
            "legacy" => grep::LogicalOp::Legacy,
            "and" => grep::LogicalOp::And,
            "or" => grep::LogicalOp::Or,
            _ => {
                let what = format!("{} is not known", value_shown(property));
                reader.warning(property, what, "write `legacy`, `AND` or `OR`; it counts as `legacy`");
                grep::LogicalOp::Legacy
            }
        },
    };
    let (mut rules, mut works) = (Vec::new(), true);
    for property in reader.all(&["regex", "exclude"]) {
        let Some((key, regex)) = rule(property) else {
            reader.error(property, "needs a key and a regular expression", "write for example `Regex log error`");
            continue;
        };
        let rule = match property.key.eq_ignore_ascii_case("regex") {
            true => grep::Rule::Regex { key, regex },
            false => grep::Rule::Exclude { key, regex },
        };
        if let Err(problem) = rule.check() {
            // The text may quote the expression, which may be a secret if a variable gave it.
            let what = if property.hidden { "the value of its variable cannot be read".to_owned() } else { problem };
            reader.warning(property, what, LEFT_OUT);
            works = false;
        }
        rules.push(rule);
    }
    let config = grep::Config { pattern, rules, logical_op };
    if let Err(problem) = grep::Grep::new(&config)
        && works
    {
        reader.section_warning(problem, LEFT_OUT);
    }
    config
}

/// The key and the rest of the line. Quotes are part of a regular expression.
fn rule(property: &Property) -> Option<(String, String)> {
    if property.value.starts_with('"') {
        return pair(&property.value);
    }
    let (key, regex) = property.value.split_once([' ', '\t'])?;
    Some((key.to_owned(), regex.trim().to_owned()))
}

fn record_modifier(reader: &mut Reader<'_>) -> record_modifier::Config {
    let pattern = outputs::pattern(reader);
    reader.accept(&["alias", "log_level"]);
    let mut records = Vec::new();
    for property in reader.all(&["record"]) {
        match pair(&property.value) {
            Some(record) => records.push(record),
            // Fluent Bit leaves such a line out and goes on.
            None => reader.warning(property, "needs a key and a value", "write `Record key value`; it is ignored"),
        }
    }
    let texts = |found: Vec<&Property>| found.into_iter().map(|property| property.value.clone()).collect::<Vec<_>>();
    let removed = reader.all(&["remove_key"]);
    let allowed = reader.all(&["allowlist_key", "whitelist_key"]);
    let exclude_each_other = !removed.is_empty() && !allowed.is_empty();
    if let (Some(_), Some(allowed)) = (removed.first(), allowed.first()) {
        reader.error(allowed, "cannot stand beside `remove_key`", "use one of the two");
    }
    let config = record_modifier::Config {
        pattern,
        records,
        remove_keys: texts(removed),
        allowlist_keys: texts(allowed),
        uuid_key: reader.text("uuid_key"),
    };
    if !exclude_each_other && let Err(what) = record_modifier::Modifier::new(&config) {
        reader.section_warning(what, LEFT_OUT);
    }
    config
}
