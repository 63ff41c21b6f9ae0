//! Families: which samples belong together, and what they are to each other.
//!
//! ```text
//! TYPE x          0.0.4                     OpenMetrics
//! counter         x                         x_total x_created
//! gauge, unknown  x                         x
//! histogram       x_bucket x_sum x_count x_created
//! gaugehistogram                            x_bucket x_gsum x_gcount
//! summary         x x_sum x_count x_created
//! info, stateset                            x_info / x
//! ```
//!
//! Promises: a sample without a `# TYPE` is unknown, whatever its name ends with; a family that has the very name of a sample goes
//! before one that has it with a suffix. The exception is what Python's client writes in 0.0.4, a gauge `x_created` beside the
//! counter `x_total` or the histogram `x`: it says when these were born.
//! Never: allocates for a sample whose name the sample before it had.

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::RandomState;

use super::{
    Format,
    line::{Metadata, Sample},
};

/// The kinds of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What only grows.
    Counter,
    /// What goes up and down.
    Gauge,
    /// Counts by size, since the beginning.
    Histogram,
    /// Counts by size, now.
    GaugeHistogram,
    /// Sum and count, and perhaps quantiles.
    Summary,
    /// Texts that do not change, as labels.
    Info,
    /// States, of which some are on.
    StateSet,
    /// Nobody says.
    #[default]
    Unknown,
}

/// What a sample is in its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The value itself: of a counter, a gauge, a quantile, a state.
    Value,
    /// What lies below the bound `le`.
    Bucket,
    /// The sum of all.
    Sum,
    /// How many there are.
    Count,
    /// When it was born, in seconds since 1970.
    Created,
}

/// A family.
#[derive(Clone, Debug, Default)]
pub struct Family<'a> {
    /// Its name, without suffixes.
    pub name: Cow<'a, str>,
    /// Its kind.
    pub kind: Kind,
    /// What it means, for people.
    pub help: Cow<'a, str>,
    /// In what it is measured.
    pub unit: &'a str,
}

/// All suffixes, with what they mean and for which kinds.
const SUFFIXES: [(&str, Role, &[Kind]); 8] = [
    ("_total", Role::Value, &[Kind::Counter]),
    ("_bucket", Role::Bucket, &[Kind::Histogram, Kind::GaugeHistogram]),
    ("_sum", Role::Sum, &[Kind::Histogram, Kind::Summary]),
    ("_count", Role::Count, &[Kind::Histogram, Kind::Summary]),
    ("_created", Role::Created, &[Kind::Counter, Kind::Histogram, Kind::Summary]),
    ("_gsum", Role::Sum, &[Kind::GaugeHistogram]),
    ("_gcount", Role::Count, &[Kind::GaugeHistogram]),
    ("_info", Role::Value, &[Kind::Info]),
];

impl Kind {
    /// The kind that `word` names. 0.0.4 takes OpenMetrics' words as well: some libraries write them in both.
    pub(super) fn parse(word: &str, format: Format) -> Option<Self> {
        match word {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            "histogram" => Some(Self::Histogram),
            "gaugehistogram" => Some(Self::GaugeHistogram),
            "summary" => Some(Self::Summary),
            "info" => Some(Self::Info),
            "stateset" => Some(Self::StateSet),
            "unknown" => Some(Self::Unknown),
            "untyped" if format == Format::Text => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The suffixes that samples of this kind have.
    pub(super) fn suffixes(self) -> impl Iterator<Item = (&'static str, Role)> {
        SUFFIXES.iter().filter(move |(_, _, kinds)| kinds.contains(&self)).map(|(suffix, role, _)| (*suffix, *role))
    }

    /// What a sample is that has `suffix` behind the name of a family of this kind.
    pub(super) fn role(self, suffix: &str, format: Format) -> Option<Role> {
        if suffix.is_empty() {
            let needs_suffix = match self {
                Self::Histogram | Self::GaugeHistogram => true,
                Self::Counter | Self::Info => format == Format::OpenMetrics,
                Self::Gauge | Self::Summary | Self::StateSet | Self::Unknown => false,
            };
            return (!needs_suffix).then_some(Role::Value);
        }
        self.suffixes().find(|(own, _)| *own == suffix).map(|(_, role)| role)
    }
}

/// Which family a sample belongs to, by its number in [`Families`], and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `None` if it has none: nobody told its kind.
    pub(super) family: Option<usize>,
    pub(super) role: Role,
}

/// All families of which something is said.
#[derive(Debug)]
pub(super) struct Families<'a> {
    format: Format,
    list: Vec<Family<'a>>,
    by_name: HashMap<Cow<'a, str>, usize, RandomState>,
    /// The sample before, whose place is usually that of the next.
    before: Option<(Cow<'a, str>, Place)>,
}

impl<'a> Families<'a> {
    pub(super) fn new(format: Format) -> Self {
        Self { format, list: Vec::new(), by_name: HashMap::default(), before: None }
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, number: usize) -> &Family<'a> {
        &self.list[number]
    }

    /// Keeps what is said about a family. What was said first stays, since that is what its samples were read as.
    pub(super) fn say(&mut self, name: Cow<'a, str>, what: Metadata<'a>) {
        self.before = None;
        let number = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.list.push(Family { name: name.clone(), ..Family::default() });
            self.list.len() - 1
        });
        let family = &mut self.list[number];
        match what {
            Metadata::Help(help) if family.help.is_empty() => family.help = help,
            Metadata::Type(kind) if family.kind == Kind::Unknown => family.kind = kind,
            Metadata::Unit(unit) if family.unit.is_empty() => family.unit = unit,
            _ => {}
        }
    }

    /// Where a sample belongs.
    #[inline]
    pub(super) fn place(&mut self, sample: &Sample<'_, 'a>) -> Place {
        match &self.before {
            Some((before, place)) if *before == sample.name => *place,
            _ => {
                let place = self.find(&sample.name);
                self.before = Some((sample.name.clone(), place));
                place
            }
        }
    }

    /// Where a sample of this name belongs.
    #[inline]
    pub(super) fn place_of(&mut self, name: &'a str) -> Place {
        match &self.before {
            Some((before, place)) if **before == *name => *place,
            _ => {
                let place = self.find(name);
                self.before = Some((Cow::Borrowed(name), place));
                place
            }
        }
    }

    fn find(&self, name: &str) -> Place {
        let known = |family: &str, suffix: &str| {
            let number = *self.by_name.get(family)?;
            let role = self.list[number].kind.role(suffix, self.format)?;
            Some(Place { family: Some(number), role })
        };
        if let Some(place) = name.strip_suffix("_created").and_then(|base| self.born(base)) {
            return place;
        }
        let with_suffix = || SUFFIXES.iter().find_map(|(suffix, ..)| known(name.strip_suffix(suffix)?, suffix));
        known(name, "").or_else(with_suffix).unwrap_or(Place { family: None, role: Role::Value })
    }

    /// The family of which `base` and `_created` tells when it was born, if that is a gauge beside it.
    fn born(&self, base: &str) -> Option<Place> {
        let named = |name: &str| self.by_name.get(name).copied();
        let counts = |number: &usize| matches!(self.list[*number].kind, Kind::Histogram | Kind::Summary);
        let of_counter = || named(&format!("{base}_total")).filter(|number| self.list[*number].kind == Kind::Counter);
        let family = named(base).filter(counts).or_else(of_counter);
        family.map(|number| Place { family: Some(number), role: Role::Created })
    }
}
