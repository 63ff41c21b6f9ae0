//! What OpenMetrics demands of lines together.
//!
//! Promises: the rules of OpenMetrics 1.0, each with its test; memory is that of the
//! names of families, and of a number for each group of labels in the family at hand.
//! Never: looks at an exposition in 0.0.4, where libraries break each of these rules.

use std::{borrow::Cow, collections::HashSet, hash::BuildHasher};

use foldhash::fast::RandomState;

use super::{
    Format, Label, Reason,
    family::{Kind, Role},
    labels::{fingerprint, same},
    line::{Metadata, Sample},
    number,
};

/// Hashes of what was there.
type Seen = HashSet<u64, RandomState>;

/// Looks at line after line.
pub(super) struct Rules<'a> {
    state: RandomState,
    /// Names that are taken, those with suffixes too.
    taken: Seen,
    family: Option<Current<'a>>,
    /// Labels of the group at hand, without the one that differs within it.
    group: Vec<Label<'a>>,
    /// Groups of the family at hand.
    groups: Seen,
}

/// The family at hand.
struct Current<'a> {
    name: Cow<'a, str>,
    kind: Option<Kind>,
    unit: Option<&'a str>,
    has_help: bool,
    /// What the last group was like; `None` before the first sample.
    group: Option<Group>,
}

/// Samples with the same labels.
#[derive(Default)]
struct Group {
    timestamp_ms: Option<i64>,
    /// The last bound, and what was below it.
    bucket: Option<(f64, f64)>,
    has_negative_bound: bool,
    count: Option<f64>,
    sum: Option<f64>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(state: &RandomState) -> Self {
        let state = state.clone();
        Self { state, taken: Seen::default(), family: None, group: Vec::new(), groups: Seen::default() }
    }

    /// Metadata came.
    pub(super) fn metadata(&mut self, name: Cow<'a, str>, what: &Metadata<'a>) -> Result<(), Reason> {
        if self.family.as_ref().is_none_or(|family| family.name != name) {
            self.begin(name, None)?;
        }
        let family = self.family.as_mut().expect("it began");
        if family.group.is_some() {
            return Err(Reason::Forbidden("metadata behind samples"));
        }
        let is_again = match *what {
            Metadata::Help(_) => std::mem::replace(&mut family.has_help, true),
            Metadata::Type(kind) => family.kind.replace(kind).is_some(),
            Metadata::Unit(unit) => family.unit.replace(unit).is_some(),
        };
        if is_again { Err(Reason::Forbidden("metadata twice")) } else { Ok(()) }
    }

    /// A sample came.
    #[inline]
    pub(super) fn sample(&mut self, sample: &Sample<'_, 'a>) -> Result<(), Reason> {
        let role = match self.family.as_ref().and_then(|family| family.role(&sample.name)) {
            Some(role) => role,
            None => {
                self.begin(sample.name.clone(), Some(Kind::Unknown))?;
                Role::Value
            }
        };
        let family = self.family.as_mut().expect("it has a role in it");
        let kind = family.kind.unwrap_or_default();
        check_value(kind, role, sample.value)?;
        sample.exemplar.map_or(Ok(()), |_| check_exemplar(kind, role))?;
        let differs = match (kind, role) {
            (Kind::Summary, Role::Value) => Some("quantile"),
            (Kind::Histogram | Kind::GaugeHistogram, Role::Bucket) => Some("le"),
            (Kind::StateSet, _) => Some(&*family.name),
            _ => None,
        };
        check_own_label(kind, differs, sample)?;
        let is_same = family.group.is_some() && (kind == Kind::Info || same(&self.group, sample.labels, differs));
        if is_same {
            let group = family.group.as_mut().expect("it was looked at");
            group.check_timestamp(kind, sample.timestamp_ms)?;
            // Several points of one histogram.
            if group.timestamp_ms != sample.timestamp_ms {
                group.check(kind)?;
                *group = Group { timestamp_ms: sample.timestamp_ms, ..Group::default() };
            }
        } else {
            family.group.as_ref().map_or(Ok(()), |group| group.check(kind))?;
            family.group = Some(Group { timestamp_ms: sample.timestamp_ms, ..Group::default() });
            self.group.clear();
            self.group.extend(sample.labels.iter().filter(|label| Some(&*label.name) != differs).cloned());
            if !self.groups.insert(fingerprint(&self.group, None, &self.state)) {
                return Err(Reason::Forbidden("samples with the same labels apart from each other"));
            }
        }
        let group = family.group.as_mut().expect("it began");
        group.take(role, sample)
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) -> Result<(), Reason> {
        let Some(family) = self.family.take() else { return Ok(()) };
        let kind = family.kind.unwrap_or_default();
        family.group.as_ref().map_or(Ok(()), |group| group.check(kind))?;
        if let Some(unit) = family.unit.filter(|unit| !unit.is_empty()) {
            let is_suffix = family.name.strip_suffix(unit).is_some_and(|name| name.ends_with('_'));
            if !is_suffix || matches!(kind, Kind::Info | Kind::StateSet) {
                return Err(Reason::Forbidden("a unit that is no suffix of the name"));
            }
        }
        let mut name = family.name.into_owned();
        let length = name.len();
        for suffix in [""].into_iter().chain(kind.suffixes().map(|(suffix, _)| suffix)) {
            name.truncate(length);
            name.push_str(suffix);
            if !self.taken.insert(self.state.hash_one(&*name)) {
                return Err(Reason::Forbidden("a name that another family has"));
            }
        }
        Ok(())
    }

    fn begin(&mut self, name: Cow<'a, str>, kind: Option<Kind>) -> Result<(), Reason> {
        self.end()?;
        self.family = Some(Current { name, kind, unit: None, has_help: false, group: None });
        self.groups.clear();
        Ok(())
    }
}

impl Current<'_> {
    /// What a sample with this name is in the family.
    #[inline]
    fn role(&self, sample: &str) -> Option<Role> {
        self.kind.unwrap_or_default().role(sample.strip_prefix(&*self.name)?, Format::OpenMetrics)
    }
}

/// What a number may be.
#[inline]
pub(super) fn check_value(kind: Kind, role: Role, value: f64) -> Result<(), Reason> {
    let counts = matches!(role, Role::Bucket | Role::Count);
    let grows = counts || kind == Kind::Counter && role == Role::Value || role == Role::Sum;
    let may_be_negative = kind == Kind::GaugeHistogram && role == Role::Sum;
    if grows && (value.is_nan() || value < 0.0 && !may_be_negative) {
        return Err(Reason::Forbidden("a count that is negative or no number"));
    }
    if counts && value.fract() != 0.0 {
        return Err(Reason::Forbidden("a count that is not whole"));
    }
    match kind {
        Kind::Info if value != 1.0 => Err(Reason::Forbidden("an info that is not 1")),
        Kind::StateSet if value != 0.0 && value != 1.0 => Err(Reason::Forbidden("a state that is neither 0 nor 1")),
        Kind::Summary if role == Role::Value && value < 0.0 => Err(Reason::Forbidden("a negative quantile")),
        _ => Ok(()),
    }
}

/// Where an exemplar may stand.
pub(super) fn check_exemplar(kind: Kind, role: Role) -> Result<(), Reason> {
    let may_be = role == Role::Bucket || kind == Kind::Counter && role == Role::Value;
    if may_be { Ok(()) } else { Err(Reason::Exemplar) }
}

/// The label that a sample of this kind must have.
#[inline]
fn check_own_label(kind: Kind, differs: Option<&str>, sample: &Sample<'_, '_>) -> Result<(), Reason> {
    let Some(name) = differs else { return Ok(()) };
    let found = sample.labels.iter().find(|label| label.name == name);
    let value = &found.ok_or(Reason::Forbidden("the label that this kind has is missing"))?.value;
    if kind == Kind::StateSet {
        return Ok(());
    }
    let number = number::value(value, Format::OpenMetrics).ok_or(Reason::Forbidden("a bound that is no number"))?;
    let may_be = match kind {
        Kind::Summary => (0.0..=1.0).contains(&number),
        _ => !number.is_nan() && (number != f64::INFINITY || value == "+Inf"),
    };
    if may_be { Ok(()) } else { Err(Reason::Forbidden("a bound that is none")) }
}

impl Group {
    fn check_timestamp(&self, kind: Kind, timestamp_ms: Option<i64>) -> Result<(), Reason> {
        match (self.timestamp_ms, timestamp_ms) {
            (None, None) => Ok(()),
            (Some(before), Some(now)) if before <= now || kind == Kind::Info => Ok(()),
            (Some(_), Some(_)) => Err(Reason::Forbidden("a time before the one before it")),
            _ => Err(Reason::Forbidden("some with a timestamp and some without")),
        }
    }

    fn take(&mut self, role: Role, sample: &Sample<'_, '_>) -> Result<(), Reason> {
        match role {
            Role::Count => self.count = Some(sample.value),
            Role::Sum => self.sum = Some(sample.value),
            Role::Bucket => {
                let le = sample.labels.iter().find(|label| label.name == "le");
                let bound = le.and_then(|le| number::value(&le.value, Format::OpenMetrics)).unwrap_or(f64::NAN);
                if self.bucket.is_some_and(|(before, below)| bound <= before || sample.value < below) {
                    return Err(Reason::Forbidden("buckets that do not grow"));
                }
                self.has_negative_bound |= bound < 0.0;
                self.bucket = Some((bound, sample.value));
            }
            Role::Value | Role::Created => {}
        }
        Ok(())
    }

    /// What a whole histogram must have.
    fn check(&self, kind: Kind) -> Result<(), Reason> {
        if !matches!(kind, Kind::Histogram | Kind::GaugeHistogram) {
            return Ok(());
        }
        let Some((f64::INFINITY, all)) = self.bucket else {
            return Err(Reason::Forbidden("a histogram without the bucket `+Inf`"));
        };
        if self.count.is_some() != self.sum.is_some() || self.count.is_some_and(|count| count != all) {
            return Err(Reason::Forbidden("a histogram whose count, sum and buckets do not agree"));
        }
        let is_wrong = match kind {
            // With negative bounds the sum may fall, which no counter may.
            Kind::Histogram => self.has_negative_bound && self.sum.is_some(),
            _ => !self.has_negative_bound && self.sum.is_some_and(|sum| sum < 0.0),
        };
        if is_wrong { Err(Reason::Forbidden("a sum that buckets like these do not have")) } else { Ok(()) }
    }
}
