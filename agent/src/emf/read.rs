//! A document, read.
//!
//! Promises: what it says of the route and the time is read whatever is wrong with the rest; one with nothing left that CloudWatch takes goes
//! on as it came.
//! Never: changes a document; see [`super::part`].

use std::borrow::Cow;

use super::{
    DOCUMENT_BYTES_MAX, MEMBERS_MAX, Metric, SERIES_MAX,
    directive::{Dimension, Directive, Resolution, Root},
    fault::{Fault, Findings, Repair},
    json::{self, Member},
    target::Values,
};

/// How far back CloudWatch takes what happened, and how far ahead (PutLogEvents, PutMetricData).
const BACK_MILLISECONDS: i64 = 14 * 24 * 3_600 * 1_000;
const AHEAD_MILLISECONDS: i64 = 2 * 3_600 * 1_000;

/// Members of the metadata. The format has four.
const METADATA_MAX: usize = 100;

/// A document.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    pub(super) text: &'a str,
    /// The members of the object.
    pub(super) members: Vec<Member<'a>>,
    /// Where the metadata are.
    pub(super) metadata: Metadata<'a>,
    pub(super) directives: Vec<Directive<'a>>,
    /// Of the members: values of metrics.
    pub(super) values: Vec<Option<Values<'a>>>,
    /// Of the members: which become text.
    pub(super) texts: Vec<bool>,
    /// Of the members: their texts as dimensions.
    dimensions: Vec<Dimension<'a>>,
    /// Of the members: the last ones with their names.
    pub(super) is_last: Vec<bool>,
    /// Of the members: those that say where the document is to go, and nothing else.
    pub(super) routes: Vec<usize>,
    /// What is written in place of the time.
    pub(super) new_time: Option<i64>,
    /// True if the directives say something else than what was written.
    pub(super) is_changed: bool,
    time: Option<i64>,
    now: i64,
    group: Option<Cow<'a, str>>,
    stream: Option<Cow<'a, str>>,
    findings: Findings,
}

/// Where the metadata of a document are.
#[derive(Clone, Debug)]
pub(super) enum Metadata<'a> {
    /// In this member of the object, which has these members.
    Member(usize, Vec<Member<'a>>),
    /// Among the members of the object, as in the older form.
    Root,
}

/// The member `name`, if there is one: the last.
pub(super) fn place(members: &[Member<'_>], name: &str) -> Option<usize> {
    members.iter().rposition(|member| member.name == name)
}

fn value<'a>(members: &[Member<'a>], name: &str) -> Option<&'a str> {
    place(members, name).map(|place| members[place].value)
}

/// Reads `text`, which came `now`, in milliseconds since 1970.
pub fn read(text: &[u8], now: i64) -> Result<Document<'_>, Fault> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    let text = str::from_utf8(text).map_err(|_| Fault::Malformed)?.trim_ascii();
    let members = json::members(text).ok_or(Fault::Malformed)?;
    if members.len() > MEMBERS_MAX {
        return Err(Fault::TooMany);
    }
    let metadata = match place(&members, "_aws") {
        Some(place) => {
            let inner = json::members(members[place].value).filter(|inner| inner.len() <= METADATA_MAX);
            Metadata::Member(place, inner.ok_or(Fault::NoMetadata)?)
        }
        None => Metadata::Root,
    };
    let around = match &metadata {
        Metadata::Member(_, inner) => inner,
        Metadata::Root => &members,
    };
    let directives = value(around, "CloudWatchMetrics").and_then(json::elements).ok_or(Fault::NoMetadata)?;
    let mut findings = Findings::default();
    let (time, new_time) = time(value(around, "Timestamp"), now, &mut findings);
    let name = |new: &str, old: &str| {
        let name = value(around, new).or_else(|| value(&members, old)).and_then(json::text);
        name.filter(|name| !name.is_empty())
    };
    let (group, stream) = (name("LogGroupName", "log_group_name"), name("LogStreamName", "log_stream_name"));
    let mut root = Root::new(&members);
    let written = directives.len();
    let directives: Vec<_> =
        directives.into_iter().filter_map(|text| Directive::read(text, &mut root, &mut findings)).collect();
    let is_changed = directives.len() < written || directives.iter().any(|directive| directive.text.is_none());
    root.keep_what_is_named(&directives);
    let Root { values, texts, places, dimensions, .. } = root;
    let is_last: Vec<_> =
        members.iter().enumerate().map(|(place, member)| places.get(&*member.name) == Some(&place)).collect();
    let of_root: &[&str] = match metadata {
        Metadata::Member(..) => &["log_group_name", "log_stream_name"],
        Metadata::Root => &["log_group_name", "log_stream_name", "LogGroupName", "LogStreamName"],
    };
    let routes = of_root.iter().filter_map(|name| places.get(name).copied());
    let routes = routes.filter(|place| values[*place].is_none() && !is_dimension(&directives, &members[*place].name));
    let routes = routes.collect();
    let mut document = Document {
        text,
        metadata,
        directives,
        values,
        texts,
        dimensions,
        is_last,
        routes,
        new_time,
        is_changed,
        time,
        now,
        group,
        stream,
        findings,
        members,
    };
    if let Err(fault) = document.check() {
        document.findings.fault(fault);
        document.directives.clear();
    }
    Ok(document)
}

fn is_dimension(directives: &[Directive<'_>], name: &str) -> bool {
    let mut sets = directives.iter().flat_map(|directive| &directive.sets);
    sets.any(|set| set.dimensions.iter().any(|(key, _)| key == name))
}

/// The time that the JSON `written` says, if CloudWatch takes it, and what must be written in its place.
fn time(written: Option<&str>, now: i64, findings: &mut Findings) -> (Option<i64>, Option<i64>) {
    let limits = now.saturating_sub(BACK_MILLISECONDS)..=now.saturating_add(AHEAD_MILLISECONDS);
    let Some(written) = written.filter(|written| *written != "null") else {
        findings.repair(Repair::Timestamp);
        return (Some(now), Some(now));
    };
    if let Ok(time) = written.parse::<i64>()
        && limits.contains(&time)
    {
        return (Some(time), None);
    }
    // A fraction of a millisecond, a text, or another unit: what makes a time of today of it.
    let number = json::text(written).unwrap_or(Cow::Borrowed(written)).parse::<f64>().unwrap_or(f64::NAN);
    let times = [1.0, 1e3, 1e-3, 1e-6].map(|unit| (number * unit) as i64);
    match times.into_iter().find(|time| limits.contains(time)) {
        Some(time) => {
            findings.repair(Repair::Timestamp);
            (Some(time), Some(time))
        }
        None => {
            findings.fault(Fault::Timestamp);
            (None, None)
        }
    }
}

impl Document<'_> {
    /// Whether it can be looked at and passed on in parts.
    fn check(&self) -> Result<(), Fault> {
        let series = self.directives.iter().map(Directive::series).fold(0, usize::saturating_add);
        if series > SERIES_MAX { Err(Fault::TooMany) } else { self.fits() }
    }

    /// The log group that it is to go to, if it says so.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The log stream that it is to go to, if it says so.
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// When it happened, in milliseconds since 1970, if CloudWatch takes that.
    pub fn time(&self) -> Option<i64> {
        self.time
    }

    /// The second since 1970 in which it happened, if the metric's resolution tells that from the minute in which it came.
    pub fn other_time(&self, resolution: Resolution) -> Option<u32> {
        let time = self.time?;
        let is_of_now = resolution == Resolution::Minute && time.div_euclid(60_000) == self.now.div_euclid(60_000);
        u32::try_from(time.div_euclid(1_000)).ok().filter(|_| !is_of_now)
    }

    /// True if all that it says is taken, and at its time.
    pub fn is_whole(&self) -> bool {
        !self.directives.is_empty() && self.findings.faults().next().is_none()
    }

    /// What was wrong with it, and what was mended.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Shows each metric to `visit`, once for each directive that names it.
    pub fn metrics(&self, mut visit: impl FnMut(Metric<'_>)) {
        for directive in &self.directives {
            let sets: Vec<Vec<(&str, &str)>> = directive
                .sets
                .iter()
                .map(|set| set.dimensions.iter().map(|(key, place)| (&**key, self.dimensions[*place].text())).collect())
                .collect();
            let sets: Vec<&[(&str, &str)]> = sets.iter().map(Vec::as_slice).collect();
            for metric in &directive.metrics {
                let Some(values) = self.values[metric.place] else { continue };
                visit(Metric {
                    namespace: &directive.namespace,
                    sets: &sets,
                    name: &metric.name,
                    unit: metric.unit,
                    resolution: metric.resolution.unwrap_or_default(),
                    values,
                    time: self.time,
                });
            }
        }
    }
}
