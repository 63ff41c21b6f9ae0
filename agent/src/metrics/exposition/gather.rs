//! Samples become points: one for each counter or gauge, one for a whole histogram or summary.
//!
//! Promises: a point is told once, with its family's kind, help and unit; the buckets of a histogram are sorted, grow, and end with
//! `+Inf`, whatever came, since libraries read them one after the other while the app goes on counting.
//! Never: tells when something was born as if it were a value; guesses at a histogram without a single count.

use std::collections::{HashMap, hash_map::Entry};

use foldhash::fast::RandomState;

use super::{
    Example, Format, Label, Limits, Survey,
    family::{Family, Kind, Role},
    labels::{fingerprint, same},
    lesson::Lesson,
    line::{Exemplar, Glance, Line, Reader, Sample},
    number,
    point::{Bucket, Histogram, Known, Point, Summary, Told, Value},
};

/// A histogram or summary whose samples are still coming.
struct Open<'a> {
    family: usize,
    labels: Vec<Label<'a>>,
    spelling: Option<&'a str>,
    /// What stands before the bound in the last bucket, if that is its last label.
    before_bound: Option<&'a str>,
    buckets: Vec<Bucket>,
    quantiles: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
    timestamp_ms: Option<i64>,
    examples: Vec<Example<'a>>,
}

/// All of them.
#[derive(Default)]
struct Gathered<'a> {
    open: Vec<Open<'a>>,
    by_labels: HashMap<(usize, u64), usize, RandomState>,
    /// The one that the sample before belonged to.
    last: usize,
}

/// Goes through `text`, of which `survey` is known, and tells every point. Says how many histograms had nothing to tell.
pub fn points<'a>(
    text: &'a [u8],
    limits: (Format, Limits),
    survey: &mut Survey<'a>,
    mut each: impl FnMut(&Point<'_, 'a>),
) -> usize {
    points_again(text, limits, survey, |told| match told {
        Told::Known(_) => false,
        Told::Point(point) => {
            each(point);
            true
        }
    })
}

/// The same for who may have met points before, by their spelling.
pub fn points_again<'a>(
    text: &'a [u8],
    (format, limits): (Format, Limits),
    survey: &mut Survey<'a>,
    mut tell: impl FnMut(Told<'_, '_, 'a>) -> bool,
) -> usize {
    let is_plain = format == Format::Text && survey.is_plain();
    let mut gathered = Gathered::default();
    let mut reader = Reader::new(text, format, limits);
    while let Some(raw) = reader.raw() {
        let Ok(line) = raw else { continue };
        if is_plain
            && !line.starts_with('#')
            && let Some(glance) = reader.glance(line)
            && at_a_glance((line, glance), survey, &mut gathered, &mut tell)
        {
            continue;
        }
        // What is wrong with a line was counted at the first look.
        let Some(Ok(Line::Sample(sample))) = reader.read(line) else {
            survey.lesson.said(line);
            continue;
        };
        if sample.timestamp_ms.is_some() {
            survey.lesson = Lesson::default();
        }
        let place = survey.families.place(&sample);
        let spelled = (line, &*sample.name, sample.spelling);
        match place.family {
            None => {
                survey.lesson.number(spelled, Kind::Unknown);
                tell(Told::Point(&simple(&sample, &Family::default(), None)));
            }
            Some(number) => {
                let family = survey.families.get(number);
                match (family.kind, place.role) {
                    (_, Role::Created) => survey.lesson.born(line, &sample),
                    (kind @ (Kind::Histogram | Kind::GaugeHistogram | Kind::Summary), role) => {
                        let bound = gathered.take(number, role, &sample, &survey.state);
                        survey.lesson.part(spelled, (gathered.last, kind, role), bound);
                    }
                    (kind, _) => {
                        survey.lesson.number(spelled, kind);
                        let born = survey.born(Some(number), sample.labels);
                        tell(Told::Point(&simple(&sample, family, born)));
                    }
                }
            }
        }
    }
    let mut broken = 0;
    for mut open in gathered.open {
        let family = survey.families.get(open.family);
        let born = survey.born(Some(open.family), &open.labels);
        match open.finish(family, born) {
            Some(point) => {
                tell(Told::Point(&point));
            }
            None => broken += 1,
        }
    }
    broken
}

/// Takes a sample without its labels. False if they are needed.
#[inline]
fn at_a_glance<'a>(
    (line, glance): (&str, Glance<'a>),
    survey: &mut Survey<'a>,
    gathered: &mut Gathered<'a>,
    tell: &mut impl FnMut(Told<'_, '_, 'a>) -> bool,
) -> bool {
    let Glance { name, spelling, value } = glance;
    let place = survey.families.place_of(name);
    let kind = place.family.map_or(Kind::Unknown, |number| survey.families.get(number).kind);
    let spelled = (line, name, spelling);
    match (kind, place.family) {
        (Kind::Histogram | Kind::GaugeHistogram, Some(number)) => {
            let bound = gathered.glance(number, place.role, spelling, value);
            if let Some(bound) = bound {
                survey.lesson.part(spelled, (gathered.last, kind, place.role), bound);
            }
            bound.is_some()
        }
        (Kind::Summary, _) => false,
        _ => {
            let is_taken = tell(Told::Known(Known { name, kind, spelling, value }));
            if is_taken {
                survey.lesson.number(spelled, kind);
            }
            is_taken
        }
    }
}

/// What stands before the bound of a bucket that is written last among its labels, and the bound.
#[inline]
fn bound_of(spelling: &str) -> Option<(&str, f64)> {
    // Within a text there is a backslash before a quote, so that this is a label.
    let (before, bound) = spelling.strip_suffix('"')?.rsplit_once("le=\"")?;
    let is_label = before.is_empty() || before.ends_with(',');
    let bound = number::value(bound, Format::Text).filter(|bound| is_label && !bound.is_nan())?;
    Some((before, bound))
}

fn simple<'r, 'a>(sample: &'r Sample<'r, 'a>, family: &'r Family<'a>, born: Option<f64>) -> Point<'r, 'a> {
    Point {
        name: &sample.name,
        kind: family.kind,
        help: &family.help,
        unit: family.unit,
        labels: sample.labels,
        spelling: Some(sample.spelling),
        value: Value::Number(sample.value),
        timestamp_ms: sample.timestamp_ms,
        born,
        exemplar: sample.exemplar,
        examples: &[],
    }
}

impl<'a> Gathered<'a> {
    /// Takes a sample of the histogram that the sample before belonged to, by its spelling, and gives its bound, if it has one. `None` if it may
    /// be of another histogram.
    #[inline]
    fn glance(&mut self, family: usize, role: Role, spelling: &str, value: f64) -> Option<Option<f64>> {
        let open = self.open.get_mut(self.last).filter(|open| open.family == family)?;
        let (before, mut bound) = (open.before_bound?, None);
        match role {
            Role::Bucket => match bound_of(spelling) {
                Some((own, le)) if own == before => {
                    open.buckets.push(Bucket { le, count: value });
                    bound = Some(le);
                }
                _ => return None,
            },
            Role::Sum | Role::Count if spelling == before.strip_suffix(',').unwrap_or(before) => {
                *(if role == Role::Sum { &mut open.sum } else { &mut open.count }) = Some(value);
                open.spelling = before.strip_suffix(',').or(Some(before));
            }
            _ => return None,
        }
        open.timestamp_ms = None;
        Some(bound)
    }

    /// Takes a sample, and gives its bound, or which quantile it is.
    fn take(&mut self, family: usize, role: Role, sample: &Sample<'_, 'a>, state: &RandomState) -> Option<f64> {
        let differs = match role {
            Role::Bucket => Some("le"),
            Role::Value => Some("quantile"),
            Role::Sum | Role::Count | Role::Created => None,
        };
        let of_label = differs.and_then(|name| sample.labels.iter().find(|label| label.name == name));
        let bound =
            of_label.and_then(|label| number::value(&label.value, Format::Text)).filter(|bound| !bound.is_nan());
        let open = self.open(family, sample, differs, state);
        match (role, bound) {
            (Role::Sum, _) => {
                open.sum = Some(sample.value);
                open.spelling.get_or_insert(sample.spelling);
            }
            (Role::Count, _) => {
                open.count = Some(sample.value);
                open.spelling = Some(sample.spelling);
            }
            (Role::Bucket, Some(le)) => {
                open.buckets.push(Bucket { le, count: sample.value });
                open.before_bound = bound_of(sample.spelling).map(|(before, _)| before);
                open.examples.extend(sample.exemplar.map(|Exemplar { labels, value, timestamp_ms }| Example {
                    labels: labels.to_vec(),
                    value,
                    timestamp_ms,
                }));
            }
            (Role::Value, Some(quantile)) => open.quantiles.push((quantile, sample.value)),
            // A bucket without a bound says nothing.
            (Role::Bucket | Role::Value | Role::Created, _) => {}
        }
        open.timestamp_ms = sample.timestamp_ms;
        bound
    }

    fn open(
        &mut self,
        family: usize,
        sample: &Sample<'_, 'a>,
        differs: Option<&str>,
        state: &RandomState,
    ) -> &mut Open<'a> {
        let is_last = |open: &Open<'a>| open.family == family && same(&open.labels, sample.labels, differs);
        if !self.open.get(self.last).is_some_and(is_last) {
            let known = self.by_labels.entry((family, fingerprint(sample.labels, differs, state)));
            self.last = match known {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let own = sample.labels.iter().filter(|label| Some(&*label.name) != differs);
                    self.open.push(Open {
                        family,
                        labels: own.cloned().collect(),
                        spelling: None,
                        before_bound: None,
                        buckets: Vec::new(),
                        quantiles: Vec::new(),
                        sum: None,
                        count: None,
                        timestamp_ms: None,
                        examples: Vec::new(),
                    });
                    *new.insert(self.open.len() - 1)
                }
            };
        }
        &mut self.open[self.last]
    }
}

impl<'a> Open<'a> {
    fn finish<'r>(&'r mut self, family: &'r Family<'a>, born: Option<f64>) -> Option<Point<'r, 'a>> {
        let value = match family.kind {
            Kind::Summary => {
                let quantiles = &self.quantiles;
                Value::Summary(Summary { quantiles, sum: self.sum, count: self.count })
            }
            _ => {
                grow(&mut self.buckets, self.count)?;
                Value::Histogram(Histogram { buckets: &self.buckets, sum: self.sum })
            }
        };
        Some(Point {
            name: &family.name,
            kind: family.kind,
            help: &family.help,
            unit: family.unit,
            labels: &self.labels,
            spelling: self.spelling,
            value,
            timestamp_ms: self.timestamp_ms,
            born,
            exemplar: None,
            examples: &self.examples,
        })
    }
}

/// Sorts buckets by bound, each once, has their counts grow, and adds the infinite one. `None` if there is no count at all.
///
/// Of what does not agree the largest is taken: each number by itself only grows, and so does the largest of them.
pub(super) fn grow(buckets: &mut Vec<Bucket>, count: Option<f64>) -> Option<()> {
    buckets.retain(|bucket| bucket.count >= 0.0 && bucket.count.is_finite());
    buckets.extend(
        count.filter(|count| *count >= 0.0 && count.is_finite()).map(|count| Bucket { le: f64::INFINITY, count }),
    );
    buckets.sort_by(|a, b| a.le.total_cmp(&b.le));
    let mut below = 0.0_f64;
    for bucket in &mut *buckets {
        below = below.max(bucket.count);
        bucket.count = below;
    }
    // The later one of the same bound has the larger count.
    buckets.dedup_by(|later, earlier| {
        let is_same = later.le == earlier.le;
        if is_same {
            earlier.count = later.count;
        }
        is_same
    });
    if buckets.last()?.le != f64::INFINITY {
        buckets.push(Bucket { le: f64::INFINITY, count: below });
    }
    Some(())
}
