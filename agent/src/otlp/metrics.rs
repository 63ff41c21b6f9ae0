//! The points of a request with metrics, one after the other, read in place.
//!
//! ```text
//! Metric = 1: name, 2: description, 3: unit, 5: gauge | 7: sum | 9: histogram | 10: exponential histogram | 11: summary
//! data   = 1: point*, 2: temporality, 3: is monotonic
//! ```
//! An exponential histogram is given as one with bounds, see [`super::exponential`].
//!
//! Promises: each point that can be read is given once; a point that cannot is counted, and the others are given; no point, whatever it
//! says, takes more memory than a few times its bytes, and no histogram has more than [`BOUNDS_MAX`] buckets.
//! Never: keeps anything from one point to the next but room.

use super::{
    exemplar::{self, Exemplar},
    exponential::{BUCKETS_MAX, Exponential, Exponents, zigzag},
    value::{Any, entry, fields},
    walk::{GROUPS, HEAD, MEMBERS},
    wire::{Malformed, Reader, Value},
};

/// Bounds of a histogram that has some. Prometheus' own examples end at 20; all of them are shown on `/metrics`.
pub const BOUNDS_MAX: usize = 1_000;

/// What a number means over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// What came on top since the point before.
    Delta,
    /// All since the start. So is taken what says neither.
    #[default]
    Cumulative,
}

/// A metric, as far as it is the same for all of its points.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metric<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it is, for people.
    pub description: &'a [u8],
    /// The unit, in UCUM.
    pub unit: &'a [u8],
    /// What its numbers mean over time.
    pub temporality: Temporality,
    /// True if it only grows.
    pub is_monotonic: bool,
}

/// A point.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// Of what.
    pub metric: Metric<'a>,
    /// The resource's attributes, as messages.
    pub resource: &'a [&'a [u8]],
    /// Who measured, as a message.
    pub scope: &'a [u8],
    /// Its own attributes, as messages.
    pub attributes: &'a [&'a [u8]],
    /// When counting began, in nanoseconds since 1970; 0 if that is not known.
    pub start: u64,
    /// When it was so, in nanoseconds since 1970.
    pub time: u64,
    /// What was measured.
    pub data: Data<'a>,
    /// The least and the greatest value of a histogram, if they are known and not nonsense: of a cumulative one those since the start.
    pub extremes: Option<(f64, f64)>,
    /// Examples of what it counted, as messages.
    exemplars: &'a [&'a [u8]],
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data<'a> {
    /// A value of now.
    Gauge(f64),
    /// A count.
    Sum(f64),
    /// How many values were in each bucket.
    Histogram {
        /// Upper bounds, rising.
        bounds: &'a [f64],
        /// One more than there are bounds: the last is of what is beyond them.
        counts: &'a [f64],
        /// The sum of all values, if it is known.
        sum: Option<f64>,
    },
    /// Quantiles that the app worked out.
    Summary {
        /// Quantiles and values.
        quantiles: &'a [(f64, f64)],
        /// The sum of all values.
        sum: f64,
        /// How many.
        count: f64,
    },
}

impl<'a> Point<'a> {
    /// Names and values of the resource's attributes.
    pub fn resource(&self) -> impl Iterator<Item = (&'a [u8], Any<'a>)> {
        self.resource.iter().map(|attribute| entry(attribute))
    }

    /// Names and values of its own attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Any<'a>)> {
        self.attributes.iter().map(|attribute| entry(attribute))
    }

    /// Examples of what a counter or a histogram counted.
    pub fn exemplars(&self) -> impl Iterator<Item = Exemplar<'a>> {
        self.exemplars.iter().filter_map(|message| Exemplar::read(message))
    }
}

/// How many points were given, and how many not because they say nothing that can be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Given.
    pub points: usize,
    /// Not understood: counts that do not fit their bounds, a scale that does not exist, a value that is missing.
    pub odd: usize,
    /// Points that say that there is no value now.
    pub absent: usize,
}

/// Room that is used again for each point.
#[derive(Debug, Default)]
struct Room {
    bounds: Vec<f64>,
    counts: Vec<f64>,
    quantiles: Vec<(f64, f64)>,
}

/// Hands each point of `request`, which [`count`](super::walk::count) took, to `visit`.
pub fn points(request: &[u8], mut visit: impl FnMut(&Point<'_>)) -> Result<Seen, Malformed> {
    let (mut seen, mut room) = (Seen::default(), Room::default());
    for group in fields(request, GROUPS) {
        // The resource may stand behind its metrics, and in pieces.
        let resource: Vec<&[u8]> = fields(group, HEAD).flat_map(|resource| fields(resource, 1)).collect();
        for scope in fields(group, MEMBERS) {
            let around = (&resource[..], fields(scope, HEAD).last().unwrap_or_default());
            for metric in fields(scope, MEMBERS) {
                of_metric(metric, around, &mut room, &mut seen, &mut visit)?;
            }
        }
    }
    Ok(seen)
}

fn of_metric(
    message: &[u8],
    (resource, scope): (&[&[u8]], &[u8]),
    room: &mut Room,
    seen: &mut Seen,
    visit: &mut impl FnMut(&Point<'_>),
) -> Result<(), Malformed> {
    let (mut metric, mut data) = (Metric::default(), None);
    for field in Reader::new(message) {
        let field = field?;
        match field.number {
            1 => metric.name = field.bytes()?,
            2 => metric.description = field.bytes()?,
            3 => metric.unit = field.bytes()?,
            5 | 7 | 9 | 10 | 11 => data = Some((field.number, field.bytes()?)),
            _ => {}
        }
    }
    let Some((kind, data)) = data else { return Ok(()) };
    for field in Reader::new(data) {
        let field = field?;
        match (field.number, field.value) {
            (2, Value::Varint(1)) if kind != 11 => metric.temporality = Temporality::Delta,
            (2, Value::Varint(_)) => metric.temporality = Temporality::Cumulative,
            (3, Value::Varint(truth)) if kind == 7 => metric.is_monotonic = truth != 0,
            _ => {}
        }
    }
    let (mut attributes, mut exemplars) = (Vec::new(), Vec::new());
    for message in fields(data, 1) {
        attributes.clear();
        exemplars.clear();
        let Ok(written) = Written::read(kind, message, (&mut attributes, &mut exemplars), room) else {
            seen.odd += 1;
            continue;
        };
        if written.is_absent {
            seen.absent += 1;
            continue;
        }
        let Some(data) = written.data(kind, room) else {
            seen.odd += 1;
            continue;
        };
        seen.points += 1;
        let Written { start, time, .. } = written;
        let (attributes, exemplars, extremes) = (&attributes, &exemplars, written.extremes(&data));
        visit(&Point { metric, resource, scope, attributes, start, time, data, extremes, exemplars });
    }
    Ok(())
}

/// A point as it was written, whatever its kind.
#[derive(Default)]
struct Written<'a> {
    start: u64,
    time: u64,
    is_absent: bool,
    value: Option<f64>,
    count: u64,
    sum: Option<f64>,
    least: Option<f64>,
    greatest: Option<f64>,
    exponential: Exponential<'a>,
}

/// The field with the attributes of a point.
const fn attributes_of(kind: u32) -> u32 {
    match kind {
        9 => 9,
        10 => 1,
        _ => 7,
    }
}

impl<'a> Written<'a> {
    fn read(
        kind: u32,
        message: &'a [u8],
        (attributes, exemplars): (&mut Vec<&'a [u8]>, &mut Vec<&'a [u8]>),
        room: &mut Room,
    ) -> Result<Self, Malformed> {
        let mut point = Self::default();
        room.bounds.clear();
        room.counts.clear();
        room.quantiles.clear();
        for field in Reader::new(message) {
            let field = field?;
            if field.number == attributes_of(kind) {
                attributes.push(field.bytes()?);
                continue;
            }
            if field.number == exemplar::exemplars_of(kind) {
                exemplar::keep(field.value, exemplars);
                continue;
            }
            match (field.number, field.value) {
                (2, Value::Fixed64(time)) => point.start = time,
                (3, Value::Fixed64(time)) => point.time = time,
                _ => match kind {
                    5 | 7 => point.number(field.number, field.value),
                    9 => point.histogram(field.number, field.value, room)?,
                    10 => point.exponential(field.number, field.value)?,
                    _ => point.summary(field.number, field.value, room),
                },
            }
        }
        Ok(point)
    }

    fn flags(&mut self, flags: u64) {
        // DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK.
        self.is_absent = flags & 1 == 1;
    }

    fn number(&mut self, number: u32, value: Value<'_>) {
        match (number, value) {
            (4, Value::Fixed64(bits)) => self.value = Some(f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) => self.value = Some(bits.cast_signed() as f64),
            (8, Value::Varint(flags)) => self.flags(flags),
            _ => {}
        }
    }

    fn histogram(&mut self, number: u32, value: Value<'_>, room: &mut Room) -> Result<(), Malformed> {
        match (number, value) {
            (4, Value::Fixed64(count)) => self.count = count,
            (5, Value::Fixed64(bits)) => self.sum = Some(f64::from_bits(bits)),
            // Side by side, or each in a field of its own.
            (6, Value::Bytes(counts)) => room.counts.extend(eights(counts)?.map(|bits| bits as f64)),
            (6, Value::Fixed64(count)) => room.counts.push(count as f64),
            (7, Value::Bytes(bounds)) => room.bounds.extend(eights(bounds)?.map(f64::from_bits)),
            (7, Value::Fixed64(bits)) => room.bounds.push(f64::from_bits(bits)),
            (10, Value::Varint(flags)) => self.flags(flags),
            (11, Value::Fixed64(bits)) => self.least = Some(f64::from_bits(bits)),
            (12, Value::Fixed64(bits)) => self.greatest = Some(f64::from_bits(bits)),
            _ => {}
        }
        Ok(())
    }

    fn exponential(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
        match (number, value) {
            (4, Value::Fixed64(count)) => self.count = count,
            (5, Value::Fixed64(bits)) => self.sum = Some(f64::from_bits(bits)),
            (6, Value::Varint(scale)) => self.exponential.scale = zigzag(scale),
            (7, Value::Fixed64(zeros)) => self.exponential.zeros = zeros,
            (8, Value::Bytes(buckets)) => self.exponential.positive = Exponents::read(buckets)?,
            (9, Value::Bytes(buckets)) => self.exponential.negative = Exponents::read(buckets)?,
            (10, Value::Varint(flags)) => self.flags(flags),
            (12, Value::Fixed64(bits)) => self.least = Some(f64::from_bits(bits)),
            (13, Value::Fixed64(bits)) => self.greatest = Some(f64::from_bits(bits)),
            _ => {}
        }
        Ok(())
    }

    fn summary(&mut self, number: u32, value: Value<'_>, room: &mut Room) {
        match (number, value) {
            (4, Value::Fixed64(count)) => self.count = count,
            (5, Value::Fixed64(bits)) => self.sum = Some(f64::from_bits(bits)),
            (6, Value::Bytes(quantile)) => {
                let (mut place, mut at) = (0.0, 0.0);
                for field in Reader::new(quantile).map_while(Result::ok) {
                    match (field.number, field.value) {
                        (1, Value::Fixed64(bits)) => place = f64::from_bits(bits),
                        (2, Value::Fixed64(bits)) => at = f64::from_bits(bits),
                        _ => {}
                    }
                }
                if room.quantiles.len() < BUCKETS_MAX {
                    room.quantiles.push((place, at));
                }
            }
            (8, Value::Varint(flags)) => self.flags(flags),
            _ => {}
        }
    }

    /// The extremes of a histogram, if each is in the bucket in which it must be.
    fn extremes(&self, data: &Data<'_>) -> Option<(f64, f64)> {
        let (&Data::Histogram { bounds, counts, .. }, least, greatest) = (data, self.least?, self.greatest?) else {
            return None;
        };
        let holds = |place: Option<usize>, value: f64| {
            let place = place?;
            let above = place.checked_sub(1).is_none_or(|before| bounds[before] <= value);
            (value.is_finite() && above && bounds.get(place).is_none_or(|bound| value <= *bound)).then_some(value)
        };
        let is_filled = |count: &f64| *count > 0.0;
        let least = holds(counts.iter().position(is_filled), least)?;
        let greatest = holds(counts.iter().rposition(is_filled), greatest)?;
        (least <= greatest).then_some((least, greatest))
    }

    fn data<'r>(&self, kind: u32, room: &'r mut Room) -> Option<Data<'r>> {
        match kind {
            5 => self.value.map(Data::Gauge),
            7 => self.value.map(Data::Sum),
            9 => self.explicit(room),
            10 => {
                self.exponential.bounded(&mut room.bounds, &mut room.counts)?;
                Some(Data::Histogram { bounds: &room.bounds, counts: &room.counts, sum: self.sum })
            }
            _ => {
                let sum = self.sum.unwrap_or(0.0);
                Some(Data::Summary { quantiles: &room.quantiles, sum, count: self.count as f64 })
            }
        }
    }

    fn explicit<'r>(&self, room: &'r mut Room) -> Option<Data<'r>> {
        if room.counts.is_empty() && room.bounds.is_empty() {
            // A histogram without buckets knows how many, and their sum.
            room.counts.push(self.count as f64);
        }
        let fits = room.counts.len() == room.bounds.len() + 1 && room.bounds.len() <= BOUNDS_MAX;
        let is_rising = room.bounds.is_sorted_by(|a, b| a < b) && room.bounds.iter().all(|bound| bound.is_finite());
        (fits && is_rising).then_some(Data::Histogram { bounds: &room.bounds, counts: &room.counts, sum: self.sum })
    }
}

/// Numbers of eight bytes, side by side.
fn eights(bytes: &[u8]) -> Result<impl Iterator<Item = u64> + '_, Malformed> {
    let (eights, rest) = bytes.as_chunks::<8>();
    if rest.is_empty() { Ok(eights.iter().map(|eight| u64::from_le_bytes(*eight))) } else { Err(Malformed::Truncated) }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
