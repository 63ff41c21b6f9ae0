//! Whether what one answer calls the current version is to be believed.
//!
//! Promises: a version that was not known before is believed at once; one that was current before the present one only when
//! it was named several times in a row.
//! Never: remembers more than a few versions.

use std::collections::VecDeque;
use std::time::Duration;

/// Equal answers in a row that it takes to go back to an older version, and to believe that a secret is gone.
pub(super) const ANSWERS: u8 = 3;
/// Between these answers.
pub(super) const CONFIRM: Duration = Duration::from_secs(2);
/// Versions that are remembered as older. A rotation makes one.
const PAST_MAX: usize = 16;

/// What we know of versions that were current.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// They, the latest last.
    past: VecDeque<String>,
    /// The one that is named again, and how often in a row.
    named: Option<(String, u8)>,
    /// The one that was believed in the end.
    proved: Option<String>,
}

impl Doubt {
    /// Whether `id` is to be believed, after `believed`.
    pub(super) fn believes(&mut self, believed: Option<&str>, id: &str) -> bool {
        if believed.is_none_or(|believed| believed == id || !self.is_older(believed, id)) {
            self.named = None;
            return true;
        }
        let times = match &self.named {
            Some((named, times)) if named == id => times + 1,
            _ => 1,
        };
        let is_proved = times >= ANSWERS;
        self.named = (!is_proved).then(|| (id.to_owned(), times));
        if is_proved {
            self.proved = Some(id.to_owned());
        }
        is_proved
    }

    /// True if `id` was older, and believed for having been named often enough.
    pub(super) fn is_proved(&self, id: &str) -> bool {
        self.proved.as_deref() == Some(id)
    }

    /// `id`, which was named once, turned out to be an older one.
    pub(super) fn begin(&mut self, id: &str) {
        self.past.push_back(id.to_owned());
        self.named = Some((id.to_owned(), 1));
    }

    /// There was no answer: what is named must be named anew.
    pub(super) fn drop_it(&mut self) {
        self.named = None;
    }

    /// `current` is believed, after `before`. `previous` is what the service calls the one before.
    pub(super) fn passed(&mut self, before: Option<String>, current: &str, previous: Option<String>) {
        if before.is_some() && !self.is_proved(current) {
            self.proved = None;
        }
        for older in before.into_iter().chain(previous) {
            self.past.retain(|past| *past != older);
            self.past.push_back(older);
        }
        self.past.retain(|past| past != current);
        while self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    /// Whether `id` was current before `believed` was. The versions of a parameter are numbers.
    fn is_older(&self, believed: &str, id: &str) -> bool {
        let number = |id: &str| id.parse::<u64>().ok();
        self.past.iter().any(|past| past == id)
            || number(id).zip(number(believed)).is_some_and(|(id, believed)| id < believed)
    }
}
