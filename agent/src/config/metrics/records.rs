//! What is wrong with what is counted of log records.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

use super::{Check, Path, check_publish};
use crate::{
    metrics::settings::{CONTAINER, Records},
    tally::{Rules, rule::BadRule},
    tell::chain,
};

/// Rules: each is asked once a record.
const RULES_MAX: usize = 64;
/// Conditions of a rule.
const CONDITIONS_MAX: usize = 16;
/// Labels of a rule, besides its container.
const LABELS_MAX: usize = 10;

pub(super) fn check_records(records: &Records, path: &Path, check: &mut Check<'_>) {
    check_publish(&records.publish, &path.key("publish"), check);
    let rules = path.key("rules");
    if records.levels == Some(false) && records.rules.is_empty() {
        check.error(path, "counts nothing", "give `rules`, or leave out `levels: false`");
    }
    if records.rules.len() > RULES_MAX {
        let what = format!("more than {RULES_MAX} rules");
        check.error(&rules, what, "join some by `|` in their expressions");
    }
    for (place, rule) in records.rules.iter().enumerate() {
        let path = rules.item(place);
        if rule.when.len() > CONDITIONS_MAX {
            check.error(&path.key("when"), format!("more than {CONDITIONS_MAX} conditions"), "leave some out");
        }
        if rule.labels.len() > LABELS_MAX {
            check.error(&path.key("labels"), format!("more than {LABELS_MAX} labels"), "leave some out");
        }
        if rule.labels.contains_key(CONTAINER) {
            check.error(&path.key("labels").key(CONTAINER), "is there for every series", "leave it out");
        }
    }
    for (place, condition, why) in Rules::new(&records.rules).err().into_iter().flatten() {
        let rule = rules.item(place);
        let path = condition.map_or_else(|| rule.clone(), |condition| rule.key("when").item(condition));
        let hint = match why {
            BadRule::Kinds => "write for example `{field: status, glob: \"5*\"}`",
            BadRule::Name => "write for example `name: orders`",
            BadRule::Regex(_) => "",
        };
        check.error(&path, chain(&why).to_string(), hint);
    }
}
