//! A directive: which members are metrics, and with which dimensions.
//!
//! Promises: what is left of a directive is what CloudWatch takes; what is left out is said.
//! Never: leaves dimensions out of a set, because the metric would be another one.

use std::{borrow::Cow, collections::HashMap};

use super::{
    DIMENSIONS_MAX, METRICS_MAX,
    fault::{Fault, Findings, Repair},
    json::{self, Member},
    target::Values,
};
use crate::aws::Unit;

/// Characters of a namespace, and of a metric's name (the format's schema).
const NAME_CHARS_MAX: usize = 1_024;
/// Characters of a dimension's key (the format's schema).
const KEY_CHARS_MAX: usize = 250;
/// Characters of a dimension's value (the format's schema).
const VALUE_CHARS_MAX: usize = 1_024;

/// How finely CloudWatch keeps a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// By the minute.
    #[default]
    Minute,
    /// By the second.
    Second,
}

/// The document around a directive.
pub(super) struct Root<'d, 'a> {
    pub(super) members: &'d [Member<'a>],
    /// Where a name comes last.
    pub(super) places: HashMap<&'d str, usize>,
    /// The values of the members that metrics name, once they were asked for.
    pub(super) values: Vec<Option<Values<'a>>>,
    /// Members that become text, since they are dimensions.
    pub(super) texts: Vec<bool>,
    /// The texts of the members that dimensions name, once they were asked for. Many sets may name one.
    pub(super) dimensions: Vec<Dimension<'a>>,
}

/// A member as a dimension.
#[derive(Clone, Debug, Default)]
pub(super) enum Dimension<'a> {
    /// Nobody asked.
    #[default]
    Unknown,
    /// It is none.
    Not,
    /// It has this text.
    Text(Cow<'a, str>),
}

/// A directive, as far as CloudWatch takes it.
#[derive(Clone, Debug)]
pub(super) struct Directive<'a> {
    pub(super) namespace: Cow<'a, str>,
    pub(super) sets: Vec<Set<'a>>,
    pub(super) metrics: Vec<Definition<'a>>,
    /// Its members, as written.
    pub(super) members: Vec<Member<'a>>,
    /// All of it, as written, if it says the same.
    pub(super) text: Option<&'a str>,
}

/// A set of dimensions.
#[derive(Clone, Debug)]
pub(super) struct Set<'a> {
    /// Keys, and the places of their values among the document's members.
    pub(super) dimensions: Vec<(Cow<'a, str>, usize)>,
    /// The keys, as written.
    pub(super) text: &'a str,
}

/// A metric of a directive.
#[derive(Clone, Debug)]
pub(super) struct Definition<'a> {
    pub(super) name: Cow<'a, str>,
    /// The name, as written.
    pub(super) key: &'a str,
    pub(super) unit: Option<Unit>,
    pub(super) resolution: Option<Resolution>,
    /// The place of its values among the document's members.
    pub(super) place: usize,
    /// All of it, as written, if it says the same.
    pub(super) text: Option<&'a str>,
}

impl<'d, 'a> Root<'d, 'a> {
    pub(super) fn new(members: &'d [Member<'a>]) -> Self {
        let places = members.iter().enumerate().map(|(place, member)| (&*member.name, place)).collect();
        let (values, texts) = (vec![None; members.len()], vec![false; members.len()]);
        Self { members, places, values, texts, dimensions: vec![Dimension::Unknown; members.len()] }
    }

    /// Forgets what was looked at for directives of which nothing is left.
    pub(super) fn keep_what_is_named(&mut self, directives: &[Directive<'a>]) {
        let (mut values, mut texts) = (vec![false; self.members.len()], vec![false; self.members.len()]);
        for directive in directives {
            directive.metrics.iter().for_each(|metric| values[metric.place] = true);
            for (_, place) in directive.sets.iter().flat_map(|set| &set.dimensions) {
                texts[*place] = true;
            }
        }
        self.values.iter_mut().zip(values).for_each(|(value, is_named)| *value = value.filter(|_| is_named));
        self.texts.iter_mut().zip(texts).for_each(|(text, is_named)| *text &= is_named);
    }

    /// The place of the member with these values.
    fn values(&mut self, name: &str) -> Result<usize, Fault> {
        let place = *self.places.get(name).ok_or(Fault::ValueMissing)?;
        if self.values[place].is_none() {
            if self.texts[place] {
                return Err(Fault::Value);
            }
            self.values[place] = Some(Values::read(self.members[place].value).ok_or(Fault::Value)?);
        }
        Ok(place)
    }

    /// The place of the dimension `key`, if it has a text that CloudWatch takes.
    fn dimension(&mut self, key: &str, findings: &mut Findings) -> Option<usize> {
        let place = *self.places.get(key)?;
        if self.values[place].is_some() {
            return None;
        }
        let value = self.members[place].value;
        if matches!(self.dimensions[place], Dimension::Unknown) {
            self.dimensions[place] = Dimension::read(value);
        }
        if matches!(self.dimensions[place], Dimension::Not) {
            return None;
        }
        if !value.starts_with('"') && !std::mem::replace(&mut self.texts[place], true) {
            findings.repair(Repair::DimensionText);
        }
        Some(place)
    }
}

impl<'a> Dimension<'a> {
    fn read(value: &'a str) -> Self {
        let text = match value.as_bytes().first() {
            Some(b'"') => json::text(value),
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => Some(Cow::Borrowed(value)),
            _ => None,
        };
        let text = text.filter(|text| text.is_ascii() && is_text(text, VALUE_CHARS_MAX));
        text.map_or(Self::Not, Self::Text)
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Unknown | Self::Not => "",
        }
    }
}

/// True for 1 to `most` characters, of which none is a control character and one is no blank.
fn is_text(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

impl<'a> Directive<'a> {
    /// Reads `text`. What is wrong goes to `findings`; `None` if nothing is left.
    pub(super) fn read(text: &'a str, root: &mut Root<'_, 'a>, findings: &mut Findings) -> Option<Self> {
        let members = json::members(text);
        let Some(members) = members.filter(|members| members.len() <= METRICS_MAX) else {
            findings.fault(Fault::Directive);
            return None;
        };
        let of = |name: &str| members.iter().rev().find(|member| member.name == name).map(|member| member.value);
        let namespace = of("Namespace").and_then(json::text).filter(|text| is_text(text, NAME_CHARS_MAX));
        let Some(namespace) = namespace else {
            findings.fault(Fault::Namespace);
            return None;
        };
        let Some(written) = of("Metrics").and_then(json::elements) else {
            findings.fault(Fault::Directive);
            return None;
        };
        // Metrics first: a member that is one does not become text.
        let mut is_as_written = true;
        let mut metrics = Vec::with_capacity(written.len().min(METRICS_MAX));
        for text in written {
            match Definition::read(text, root, findings) {
                Ok(metric) => {
                    is_as_written &= metric.text.is_some();
                    metrics.push(metric);
                }
                Err(fault) => {
                    findings.fault(fault);
                    is_as_written = false;
                }
            }
        }
        let sets = sets(of("Dimensions"), root, findings, &mut is_as_written);
        let directive = Self { namespace, sets, metrics, members, text: is_as_written.then_some(text) };
        (!directive.sets.is_empty() && !directive.metrics.is_empty()).then_some(directive)
    }

    /// Series that it makes.
    pub(super) fn series(&self) -> usize {
        self.sets.len().saturating_mul(self.metrics.len())
    }

    /// Documents that its metrics need, a hundred in each.
    pub(super) fn pages(&self) -> usize {
        self.metrics.len().div_ceil(METRICS_MAX)
    }

    /// The metrics of the `page`th document.
    pub(super) fn page(&self, page: usize) -> &[Definition<'a>] {
        self.metrics.chunks(METRICS_MAX).nth(page).unwrap_or_default()
    }
}

fn sets<'a>(
    written: Option<&'a str>,
    root: &mut Root<'_, 'a>,
    findings: &mut Findings,
    is_as_written: &mut bool,
) -> Vec<Set<'a>> {
    let Some(written) = written.map_or(Some(Vec::new()), json::elements) else {
        findings.fault(Fault::DimensionSet);
        return Vec::new();
    };
    if written.is_empty() {
        findings.repair(Repair::NoDimensions);
        *is_as_written = false;
        return vec![Set { dimensions: Vec::new(), text: "[]" }];
    }
    let mut sets = Vec::with_capacity(written.len());
    for text in written {
        match Set::read(text, root, findings) {
            Ok(set) => sets.push(set),
            Err(fault) => {
                findings.fault(fault);
                *is_as_written = false;
            }
        }
    }
    sets
}

impl<'a> Set<'a> {
    fn read(text: &'a str, root: &mut Root<'_, 'a>, findings: &mut Findings) -> Result<Self, Fault> {
        let keys = json::elements(text).filter(|keys| keys.len() <= DIMENSIONS_MAX).ok_or(Fault::DimensionSet)?;
        let mut dimensions = Vec::with_capacity(keys.len());
        for key in keys {
            let key = json::text(key).ok_or(Fault::DimensionSet)?;
            if !is_text(&key, KEY_CHARS_MAX) || !key.is_ascii() || key.starts_with(':') {
                return Err(Fault::DimensionKey);
            }
            let place = root.dimension(&key, findings).ok_or(Fault::DimensionValue)?;
            dimensions.push((key, place));
        }
        Ok(Self { dimensions, text })
    }
}

impl<'a> Definition<'a> {
    fn read(text: &'a str, root: &mut Root<'_, 'a>, findings: &mut Findings) -> Result<Self, Fault> {
        let members = json::members(text).ok_or(Fault::Name)?;
        let of = |name: &str| members.iter().rev().find(|member| member.name == name).map(|member| member.value);
        let key = of("Name").ok_or(Fault::Name)?;
        let name = json::text(key).filter(|name| is_text(name, NAME_CHARS_MAX) && !name.starts_with(':'));
        let name = name.ok_or(Fault::Name)?;
        let place = root.values(&name)?;
        let written = of("Unit").map(|value| json::text(value).unwrap_or_default());
        let unit = written.as_deref().and_then(Unit::in_any_letters);
        match (&written, unit) {
            (Some(written), Some(unit)) if *written != unit.name() => findings.repair(Repair::Unit),
            (Some(_), None) => findings.fault(Fault::Unit),
            _ => {}
        }
        let resolution = match of("StorageResolution") {
            Some("1") => Some(Resolution::Second),
            Some("60") => Some(Resolution::Minute),
            Some(_) => {
                findings.fault(Fault::Resolution);
                None
            }
            None => None,
        };
        let is_as_written =
            written.as_deref() == unit.map(Unit::name) && resolution.is_some() == of("StorageResolution").is_some();
        Ok(Self { name, key, unit, resolution, place, text: is_as_written.then_some(text) })
    }
}
