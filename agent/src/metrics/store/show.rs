//! What `/metrics` and backends of OTLP see, family by family.
//!
//! Promises: no family comes twice, nor two series of one with the same labels; nobody who writes waits for more than some hundred
//! series.
//! Never: knows how it is written down.

use super::{
    Inner, Store,
    examples::Example,
    key::Kind,
    table::{Family, Value},
};

/// Series told under one lock.
const PIECE: usize = 512;

/// Something to show. A family comes before its series.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A family.
    Family {
        /// Its name, without the ending that samples have.
        name: &'a str,
        /// The name that its source gave it.
        source_name: &'a str,
        /// What its series are.
        kind: Kind,
        /// What it says; may be empty.
        help: &'a str,
    },
    /// A series of it.
    Series {
        /// As they stand between the braces; may be empty.
        labels: &'a str,
        /// When it was made: seconds of the store.
        made: u32,
        /// What it has come to.
        value: ShownValue<'a>,
        /// Examples of what was counted: one of a counter, one of a bucket of a histogram.
        examples: &'a [Example],
    },
}

/// What a series has come to.
#[derive(Debug)]
pub enum ShownValue<'a> {
    /// A number.
    Number(f64),
    /// How many are in each bucket alone.
    Histogram {
        /// Upper bounds; of the last bucket there is none.
        bounds: &'a [f64],
        /// How many are in each.
        counts: &'a [f64],
        /// The sum of all.
        sum: f64,
    },
    /// Quantiles.
    Summary {
        /// Quantile and value.
        quantiles: &'a [(f64, f64)],
        /// The sum of all.
        sum: f64,
        /// How many.
        count: f64,
    },
}

impl Store {
    /// Tells all that `/metrics` shows.
    pub fn show(&self, mut tell: impl FnMut(Shown<'_>)) {
        let families = self.lock().table.families.len();
        for place in 0..families {
            let Some((members, mut is_told)) = self.lock().members(place).map(|members| (members, false)) else {
                continue;
            };
            for piece in members.chunks(PIECE) {
                // Between two pieces any of them may have been forgotten, and its place taken by another one.
                self.lock().show(place, piece, &mut is_told, &mut tell);
            }
        }
    }
}

impl Inner {
    fn members(&self, place: usize) -> Option<Vec<u32>> {
        let family = self.table.families[place].as_ref()?;
        (family.is_shown && !family.members.is_empty()).then(|| family.members.clone())
    }

    fn show(&self, place: usize, members: &[u32], is_told: &mut bool, tell: &mut impl FnMut(Shown<'_>)) {
        let Some(Family { name, source_name, kind, help, .. }) = &self.table.families[place] else { return };
        let all = &self.table.series;
        let of_it = members.iter().filter_map(|&id| Some((id, all.get(id as usize)?.as_ref()?)));
        for (id, series) in of_it.filter(|(_, series)| series.family as usize == place && series.is_shown) {
            let value = match &series.value {
                Value::Counter(total) => ShownValue::Number(*total),
                Value::Gauge { value, .. } => ShownValue::Number(*value),
                Value::Set { last, .. } => ShownValue::Number(*last as f64),
                Value::Histogram(buckets) => {
                    ShownValue::Histogram { bounds: &buckets.bounds, counts: &buckets.counts, sum: buckets.sum }
                }
                Value::Summary(summary) => {
                    ShownValue::Summary { quantiles: &summary.quantiles, sum: summary.sum, count: summary.count }
                }
            };
            if !*is_told {
                *is_told = true;
                tell(Shown::Family { name, source_name, kind: *kind, help });
            }
            tell(Shown::Series { labels: &series.labels, made: series.made, value, examples: self.examples.of(id) });
        }
    }
}
