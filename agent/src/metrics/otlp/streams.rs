//! What apps accumulate, as what is new.
//!
//! A stream is what one process counts of one series from one start: several processes of an app send the same names and labels, and each
//! begins at a time of its own. So is told that a process began anew, and that two of them are two.
//!
//! The extremes that a histogram tells are those of its whole life. Of what is new, no value is outside of them; and where one of them moved,
//! it is a new value.
//!
//! Promises: what a stream counts between two looks is given once; there are never more streams than allowed, nor more buckets than
//! [`BUCKETS_MAX`].
//! Never: reads a clock; tells streams apart by more than a hash of 64 bits.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::metrics::store::{Extremes, First, Histogram, counts_between};

/// Seconds after which a stream of which nothing came may make room for another. SDKs send every 60 s unless told otherwise.
const QUIET_SECONDS: u32 = 600;
/// Buckets of all histograms together, of 16 bytes each. A histogram of an SDK has 16, or 160 if it is exponential.
pub const BUCKETS_MAX: usize = 1_000_000;

/// All streams.
pub(super) struct Streams {
    by_hash: HashMap<u64, Stream, RandomState>,
    most: usize,
    /// Buckets of all of them.
    buckets: usize,
    /// When it was last looked for quiet ones.
    cleaned: u32,
}

struct Stream {
    /// When something came last: seconds of a clock.
    touched: u32,
    last: Last,
}

/// Where a stream stands.
enum Last {
    Number(f64),
    Buckets { bounds: Box<[f64]>, counts: Box<[f64]>, sum: f64, extremes: Option<(f64, f64)> },
}

/// What is new in a histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct New {
    /// In each of its buckets.
    pub(super) counts: Vec<f64>,
    pub(super) sum: f64,
    pub(super) extremes: Option<Extremes>,
}

/// There are too many streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Stream {
    fn buckets(&self) -> usize {
        match &self.last {
            Last::Number(_) => 0,
            Last::Buckets { counts, .. } => counts.len(),
        }
    }
}

impl Streams {
    pub(super) fn new(most: usize) -> Self {
        Self { by_hash: HashMap::default(), most, buckets: 0, cleaned: 0 }
    }

    /// How much is new in `stream`, which stands at `total` at the second `now`.
    pub(super) fn number(&mut self, stream: u64, total: f64, first: First, now: u32) -> Result<Option<f64>, Full> {
        let new = match self.at(stream, now)? {
            Some(Stream { last: Last::Number(before), .. }) if total >= *before => Some(total - *before),
            Some(_) => Some(total),
            None => (first == First::Keep).then_some(total),
        };
        self.put(stream, Stream { touched: now, last: Last::Number(total) });
        Ok(new)
    }

    /// What is new in `stream`, which stands at `told`, with what may be known of its extremes.
    pub(super) fn histogram(
        &mut self,
        stream: u64,
        (told, extremes): (&Histogram<'_>, Option<(f64, f64)>),
        first: First,
        now: u32,
    ) -> Result<Option<New>, Full> {
        if self.buckets + told.counts.len() > BUCKETS_MAX {
            return Err(Full);
        }
        let whole =
            || Some(New { counts: told.counts.to_vec(), sum: told.sum, extremes: extremes.map(Extremes::known) });
        let new = match self.at(stream, now)? {
            Some(Stream { last: Last::Buckets { bounds, counts, sum, extremes: known }, .. }) => {
                let before = counts_between(bounds, counts, told.bounds);
                let before = before.filter(|before| before.iter().zip(told.counts).all(|(before, now)| now >= before));
                match before {
                    Some(before) => {
                        let counts: Vec<f64> =
                            told.counts.iter().zip(before).map(|(now, before)| now - before).collect();
                        let extremes = extremes.zip(*known).and_then(|moved| new_extremes(&counts, told.bounds, moved));
                        Some(New { counts, sum: told.sum - *sum, extremes })
                    }
                    None => whole(),
                }
            }
            Some(_) => whole(),
            None if first == First::Keep => whole(),
            None => None,
        };
        let (bounds, counts) = (told.bounds.into(), told.counts.into());
        let last = Last::Buckets { bounds, counts, sum: told.sum, extremes };
        self.put(stream, Stream { touched: now, last });
        Ok(new)
    }

    fn put(&mut self, hash: u64, stream: Stream) {
        self.buckets += stream.buckets();
        let before = self.by_hash.insert(hash, stream);
        self.buckets -= before.map_or(0, |before| before.buckets());
    }

    /// The stream as it stood, or room for it.
    fn at(&mut self, stream: u64, now: u32) -> Result<Option<&Stream>, Full> {
        if self.by_hash.len() >= self.most && !self.by_hash.contains_key(&stream) {
            // To look at all of them is for once in a while.
            if now.saturating_sub(self.cleaned) >= QUIET_SECONDS / 10 {
                self.cleaned = now;
                self.by_hash.retain(|_, stream| now.saturating_sub(stream.touched) < QUIET_SECONDS);
                self.buckets = self.by_hash.values().map(Stream::buckets).sum();
            }
            if self.by_hash.len() >= self.most {
                return Err(Full);
            }
        }
        Ok(self.by_hash.get(&stream))
    }
}

/// What is known of the extremes of new values, of which so many are in each bucket, where those of all values moved from `before` to `now`.
fn new_extremes(counts: &[f64], bounds: &[f64], (now, before): ((f64, f64), (f64, f64))) -> Option<Extremes> {
    let ((least, greatest), (least_before, greatest_before)) = (now, before);
    // Those of a whole life take nothing back. An app that does tells those of the time between two looks, or of no time at all.
    if least > least_before || greatest < greatest_before {
        return None;
    }
    let is_new = |value: &f64| {
        let place = bounds.partition_point(|bound| *bound < *value);
        counts.get(place).is_some_and(|count| *count > 0.0)
    };
    Some(Extremes {
        within: now,
        least: Some(least).filter(|least| *least < least_before && is_new(least)),
        greatest: Some(greatest).filter(|greatest| *greatest > greatest_before && is_new(greatest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_given_once() {
        let mut streams = Streams::new(10);
        let mut look = |stream, total, first| streams.number(stream, total, first, 0).expect("room");
        assert_eq!(look(1, 10.0, First::Baseline), None);
        assert_eq!(look(1, 12.5, First::Baseline), Some(2.5));
        assert_eq!(look(1, 12.5, First::Baseline), Some(0.0));
        assert_eq!(look(1, 3.0, First::Baseline), Some(3.0), "it began anew");
        // Another process counts the same: neither is taken for the other.
        assert_eq!(look(2, 100.0, First::Keep), Some(100.0));
        assert_eq!((look(1, 4.0, First::Keep), look(2, 101.0, First::Keep)), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn a_histogram_s_buckets_are_compared_one_by_one() {
        let mut streams = Streams::new(10);
        let mut look = |bounds: &[f64], counts: &[f64], sum| {
            let told = Histogram { bounds, counts, sum };
            streams.histogram(7, (&told, None), First::Keep, 0).expect("room").map(|new| (new.counts, new.sum))
        };
        assert_eq!(look(&[1.0, 2.0, 4.0], &[1.0, 2.0, 0.0, 0.0], 5.0), Some((vec![1.0, 2.0, 0.0, 0.0], 5.0)));
        assert_eq!(look(&[1.0, 2.0, 4.0], &[1.0, 4.0, 0.0, 0.0], 8.0), Some((vec![0.0, 2.0, 0.0, 0.0], 3.0)));
        // Coarser: what was below 2 is below 4.
        assert_eq!(look(&[1.0, 4.0, 8.0], &[1.0, 4.0, 3.0, 0.0], 23.0), Some((vec![0.0, 0.0, 3.0, 0.0], 15.0)));
        assert_eq!(look(&[1.0, 4.0, 8.0], &[0.0, 1.0, 0.0, 0.0], 3.0), Some((vec![0.0, 1.0, 0.0, 0.0], 3.0)));
    }

    /// Of what is new an extreme is known only if it moved.
    #[test]
    fn extremes_of_a_whole_life_say_what_they_can_of_what_is_new() {
        let known = |within, least, greatest| Some(Extremes { within, least, greatest });
        let whole = |extremes| Some(Extremes::known(extremes));
        for (counts, before, now, expected) in [
            ([3.0, 1.0, 0.0], Some((0.5, 1.5)), Some((0.5, 1.5)), [whole((0.5, 1.5)), known((0.5, 1.5), None, None)]),
            (
                [3.0, 1.0, 1.0],
                Some((0.5, 1.5)),
                Some((0.2, 9.0)),
                [whole((0.5, 1.5)), known((0.2, 9.0), Some(0.2), Some(9.0))],
            ),
            // It says that something greater is new, and has nothing new where that would be.
            ([3.0, 1.0, 0.0], Some((0.5, 1.5)), Some((0.5, 9.0)), [whole((0.5, 1.5)), known((0.5, 9.0), None, None)]),
            // It takes something back, or says nothing any more, or did not say.
            ([3.0, 1.0, 0.0], Some((0.5, 1.5)), Some((0.7, 1.5)), [whole((0.5, 1.5)), None]),
            ([3.0, 1.0, 0.0], Some((0.5, 1.5)), Some((0.5, 1.2)), [whole((0.5, 1.5)), None]),
            ([3.0, 1.0, 0.0], Some((0.5, 1.5)), None, [whole((0.5, 1.5)), None]),
            ([3.0, 1.0, 0.0], None, Some((0.5, 1.5)), [None, None]),
            // It began anew: all of it is new.
            ([1.0, 0.0, 0.0], Some((0.5, 1.5)), Some((0.7, 0.7)), [whole((0.5, 1.5)), whole((0.7, 0.7))]),
        ] {
            let mut streams = Streams::new(10);
            let mut look = |counts: &[f64], extremes| {
                let told = Histogram { bounds: &[1.0, 2.0], counts, sum: 3.0 };
                streams.histogram(7, (&told, extremes), First::Keep, 0).expect("room").expect("new").extremes
            };
            assert_eq!([look(&[2.0, 1.0, 0.0], before), look(&counts, now)], expected, "{before:?} {now:?} {counts:?}");
        }
    }

    #[test]
    fn all_histograms_together_have_no_more_buckets_than_allowed() {
        let mut streams = Streams::new(usize::MAX);
        let (bounds, counts): (Vec<f64>, _) = ((0..999).map(f64::from).collect(), vec![1.0; 1_000]);
        let told = Histogram { bounds: &bounds, counts: &counts, sum: 1.0 };
        let kept =
            (0..2_000).filter(|stream| streams.histogram(*stream, (&told, None), First::Keep, 0).is_ok()).count();
        assert_eq!((kept, streams.buckets), (1_000, BUCKETS_MAX));
    }

    #[test]
    fn there_are_never_more_than_allowed_and_quiet_ones_make_room() {
        let mut streams = Streams::new(2);
        for stream in [1, 2] {
            assert_eq!(streams.number(stream, 1.0, First::Keep, 100), Ok(Some(1.0)));
        }
        assert_eq!(streams.number(3, 1.0, First::Keep, 100), Err(Full));
        assert_eq!(streams.number(2, 2.0, First::Keep, 650), Ok(Some(1.0)));
        assert_eq!(streams.number(3, 1.0, First::Keep, 699), Err(Full));
        assert_eq!(streams.number(3, 1.0, First::Keep, 760), Ok(Some(1.0)));
        assert_eq!(streams.number(1, 1.0, First::Keep, 760), Err(Full));
        assert_eq!(streams.number(2, 3.0, First::Keep, 760), Ok(Some(1.0)), "it is known still");
    }
}
