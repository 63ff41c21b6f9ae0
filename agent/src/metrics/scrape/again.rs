//! A page that has the lines of the one before is taken by its numbers alone.
//!
//! Promises: what it writes is what [`Taker::take`] would write of the whole page, or it says that it cannot. Then that page is taken as a
//! whole: what was written before is written again, which changes nothing, since all that is scraped are totals and values of now.
//! Never: takes the page of a process that was started again, of which totals mean something else.

use super::take::{Moment, PIECE, Taken, Taker, exemplify, kind_of, write};
use crate::metrics::{
    exposition::{
        Format, Limits, Value, family,
        replay::{Played, Script, exemplar},
    },
    store::{Kept, Store, Writing},
};

/// A page, and where its points go.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) script: Script,
    /// By point; none of those that rules drop.
    pub(super) series: Vec<Option<Kept>>,
}

impl Taker {
    /// Takes a page like the last one. `None` if it is another one.
    pub(super) fn again(&mut self, store: &Store, now: u32, text: &[u8], how: (Format, Limits)) -> Option<Taken> {
        // Put back only if it was good for all of the page.
        let learned = self.learned.take()?;
        let taken = self.play(store, now, text, (how, &learned))?;
        self.learned = Some(learned);
        Some(taken)
    }

    fn play(
        &mut self,
        store: &Store,
        now: u32,
        text: &[u8],
        (how, learned): ((Format, Limits), &Learned),
    ) -> Option<Taken> {
        let numbers = learned.script.numbers(text, how)?;
        if self.is_another_process(numbers.process_start) {
            return None;
        }
        let moment = self.moment(numbers.process_start);
        let mut taken = Taken { samples: numbers.count(), ..Taken::default() };
        let (mut writing, mut written) = (Some(store.writing(now)), 0);
        let is_whole = learned.script.play(&numbers, |played| {
            written += 1;
            if written % PIECE == 0 {
                // Others write meanwhile. First it is let go, then asked for.
                writing = None;
            }
            let writing = writing.get_or_insert_with(|| store.writing(now));
            let (Played::Point(number, ..) | Played::Exemplar(number, _)) = played;
            match learned.series.get(number) {
                None => false,
                Some(None) => {
                    taken.dropped += usize::from(matches!(played, Played::Point(..)));
                    true
                }
                Some(Some(kept)) => self.play_one((&played, *kept), moment, writing, how.1),
            }
        });
        is_whole.then_some(taken)
    }

    /// Writes what was played to its series. False if that is gone, or cannot be written.
    #[inline]
    fn play_one(
        &mut self,
        (played, kept): (&Played<'_, '_>, Kept),
        moment: Moment,
        writing: &mut Writing<'_>,
        limits: Limits,
    ) -> bool {
        let Some(id) = writing.kept(kept) else { return false };
        match *played {
            Played::Point(_, kind, Value::Number(number)) => write(writing, (id, kind_of(kind)), number, moment),
            Played::Point(_, family::Kind::Histogram, Value::Histogram(histogram)) => {
                let told = self.apart(&histogram);
                return writing.histogram_total(id, &told, moment.first);
            }
            Played::Point(_, _, Value::Histogram(_)) => return false,
            Played::Point(_, _, Value::Summary(summary)) => {
                let (sum, count) = (summary.sum.unwrap_or(0.0), summary.count.unwrap_or(0.0));
                if !(sum.is_finite() && count.is_finite()) {
                    return false;
                }
                writing.summary_total(id, summary.quantiles, sum, count, moment.first);
            }
            Played::Exemplar(_, line) => exemplar(line, limits, |sample| {
                if let Some(one) = sample.exemplar {
                    exemplify(writing, id, one.labels, one.value, one.timestamp_ms);
                }
            }),
        }
        true
    }
}
