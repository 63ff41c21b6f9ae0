//! Sampling at the edge: which spans are not worth sending on.
//!
//! A sidecar sees one task's part of a trace, one request at a time. So what it decides is the same in every task (by the trace's id), or
//! is about what it sees (an error, a slow span), and then all spans of that trace in the same request are kept with it. It cannot know
//! that another task's span of the trace fails, or that one that is still under way will.
//!
//! ```text
//! request ─ first walk: traces with an error or a slow span ─ second walk: groups and spans that stay, by their bytes
//! ```
//!
//! Promises: what stays are the bytes that came; a trace is kept by its id in every task that samples at the same rate or a higher one
//! (the last 56 bits of the id, as in OpenTelemetry's consistent probability sampling).
//! Never: changes a span; looks at segments, which are nobody's business but X-Ray's.

use std::{collections::HashMap, sync::Arc};

use prometheus::{IntCounter, IntCounterVec};
use serde::Deserialize;

use super::spans::Spans;
use crate::{
    deliver::ack::Ack,
    otlp::{
        taker::{Taken, Taker},
        walk::{GROUPS, MEMBERS},
        wire::{Malformed, Reader, Value, begin, end, put_header},
    },
    units::Span,
};

/// Bits of an id that decide.
const BITS: u32 = 56;
/// The fields of a span: trace id, start, end, status; and the code of a status.
const TRACE_ID: u32 = 1;
const START: u32 = 7;
const END: u32 = 8;
const STATUS: u32 = 15;
const CODE: u32 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// Which spans that come by OTLP are sent on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The part of all traces that is kept, by their ids: 0 to 1. Every task with the same number keeps the same traces.
    pub probability: f64,
    /// Whether a trace is kept, as far as it is in the request, if a span of it has the status of an error. Default: true.
    #[serde(default = "yes")]
    pub errors: bool,
    /// The same if a span of it took longer. Default: none is too slow.
    #[serde(default)]
    pub slower_than: Option<Span>,
}

fn yes() -> bool {
    true
}

/// Takes requests of which the rest is not sent on.
pub struct Sampler {
    settings: Sampling,
    spans: Spans,
    meters: Meters,
}

/// Spans kept by each rule, and those that are not.
struct Meters {
    error: IntCounter,
    slow: IntCounter,
    probability: IntCounter,
    dropped: IntCounter,
}

/// Why a span stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Error,
    Slow,
    Probability,
}

/// What became of the spans of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Kept with an error.
    pub error: usize,
    /// Kept with a slow span.
    pub slow: usize,
    /// Kept by their ids.
    pub probability: usize,
    /// Not kept.
    pub dropped: usize,
}

impl Tally {
    fn kept(&self) -> usize {
        self.error + self.slow + self.probability
    }
}

impl Sampler {
    /// Gives what `settings` keep to `spans`, and counts by rule.
    pub fn new(settings: Sampling, spans: Spans, sampled: &IntCounterVec) -> Self {
        let of = |rule| sampled.with_label_values(&[rule]);
        let meters =
            Meters { error: of("error"), slow: of("slow"), probability: of("probability"), dropped: of("dropped") };
        Self { settings, spans, meters }
    }
}

impl Taker for Sampler {
    fn take(&self, request: &[u8], spans: usize, ack: Option<&Arc<Ack>>) -> Taken {
        let mut kept = Vec::new();
        let tally = match self.settings.sample(request, &mut kept) {
            Ok(tally) => tally,
            // It was counted before, so this does not happen; and then all of it is better than nothing.
            Err(_) => return self.spans.take(request, spans, ack),
        };
        let taken = match tally {
            Tally { dropped: 0, .. } => self.spans.take(request, spans, ack),
            _ if tally.kept() == 0 => Taken::Kept,
            _ => self.spans.take(&kept, tally.kept(), ack),
        };
        if taken == Taken::Kept {
            let Meters { error, slow, probability, dropped } = &self.meters;
            for (counter, spans) in
                [(error, tally.error), (slow, tally.slow), (probability, tally.probability), (dropped, tally.dropped)]
            {
                counter.inc_by(spans as u64);
            }
        }
        taken
    }
}

impl Sampling {
    /// Writes the part of `request` that stays to `out`, and says why.
    pub fn sample(&self, request: &[u8], out: &mut Vec<u8>) -> Result<Tally, Malformed> {
        let (mut tally, mut noted) = (Tally::default(), HashMap::new());
        each_span(request, |span| self.note(span, &mut noted))?;
        for group in Reader::new(request) {
            let group = group?;
            if group.number == GROUPS {
                self.copy_group(group.bytes()?, &noted, &mut tally, out)?;
            }
        }
        Ok(tally)
    }

    /// Notes that the trace of `span` is kept because of it.
    fn note<'a>(&self, span: &'a [u8], noted: &mut HashMap<&'a [u8], Kept>) -> Result<(), Malformed> {
        let (mut trace, mut start, mut finish, mut is_error): (&[u8], _, _, _) = (b"", 0, 0, false);
        for field in Reader::new(span) {
            let field = field?;
            match (field.number, field.value) {
                (TRACE_ID, Value::Bytes(id)) => trace = id,
                (START, Value::Fixed64(time)) => start = time,
                (END, Value::Fixed64(time)) => finish = time,
                (STATUS, Value::Bytes(status)) => {
                    for field in Reader::new(status) {
                        let field = field?;
                        is_error |= field.number == CODE && matches!(field.value, Value::Varint(ERROR));
                    }
                }
                _ => {}
            }
        }
        let took = u128::from(finish.saturating_sub(start));
        if self.errors && is_error {
            noted.insert(trace, Kept::Error);
        } else if self.slower_than.is_some_and(|Span(most)| took > most.as_nanos()) {
            noted.entry(trace).or_insert(Kept::Slow);
        }
        Ok(())
    }

    fn copy_group(
        &self,
        group: &[u8],
        noted: &HashMap<&[u8], Kept>,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let (before, kept) = (out.len(), tally.kept());
        let written = begin(out, GROUPS);
        for field in Reader::new(group) {
            let field = field?;
            if field.number == MEMBERS {
                self.copy_scope(field.bytes()?, noted, tally, out)?;
            } else {
                out.extend_from_slice(field.raw);
            }
        }
        end(out, written);
        if tally.kept() == kept {
            out.truncate(before);
        }
        Ok(())
    }

    fn copy_scope(
        &self,
        scope: &[u8],
        noted: &HashMap<&[u8], Kept>,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let mut body = Vec::with_capacity(scope.len());
        let kept = tally.kept();
        for field in Reader::new(scope) {
            let field = field?;
            if field.number != MEMBERS {
                body.extend_from_slice(field.raw);
                continue;
            }
            let count = match self.verdict(trace_of(field.bytes()?)?, noted) {
                Some(Kept::Error) => &mut tally.error,
                Some(Kept::Slow) => &mut tally.slow,
                Some(Kept::Probability) => &mut tally.probability,
                None => {
                    tally.dropped += 1;
                    continue;
                }
            };
            *count += 1;
            body.extend_from_slice(field.raw);
        }
        if tally.kept() > kept {
            put_header(out, MEMBERS, body.len());
            out.extend_from_slice(&body);
        }
        Ok(())
    }

    fn verdict(&self, trace: &[u8], noted: &HashMap<&[u8], Kept>) -> Option<Kept> {
        noted.get(trace).copied().or_else(|| self.keeps(trace).then_some(Kept::Probability))
    }

    /// True if the trace is kept by its id. What has none is kept: nothing would decide.
    fn keeps(&self, trace: &[u8]) -> bool {
        let Some((_, last)) = trace.split_last_chunk::<8>() else { return true };
        let random = u64::from_be_bytes(*last) & ((1 << BITS) - 1);
        // Those above the threshold are kept: with a higher probability all of them, and more.
        let threshold = (1.0 - self.probability) * (1_u64 << BITS) as f64;
        random >= threshold as u64
    }
}

/// Calls `look` with each span of a request.
fn each_span<'a>(request: &'a [u8], mut look: impl FnMut(&'a [u8]) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let members = |message: &'a [u8], number: u32| {
        Reader::new(message).filter_map(move |field| match field {
            Ok(field) if field.number == number => Some(field.bytes()),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    };
    for group in members(request, GROUPS) {
        for scope in members(group?, MEMBERS) {
            for span in members(scope?, MEMBERS) {
                look(span?)?;
            }
        }
    }
    Ok(())
}

fn trace_of(span: &[u8]) -> Result<&[u8], Malformed> {
    let mut trace: &[u8] = b"";
    for field in Reader::new(span) {
        let field = field?;
        if field.number == TRACE_ID {
            trace = field.bytes()?;
        }
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::otlp::{
        walk::{Signal, count},
        wire::{put_bytes, put_fixed64, put_uint},
    };

    /// A span of a trace, that took so many milliseconds and may have failed.
    fn span(trace: u64, milliseconds: u64, is_error: bool) -> Vec<u8> {
        let mut span = Vec::new();
        put_bytes(&mut span, 1, &[[7; 8], trace.to_be_bytes()].concat());
        put_bytes(&mut span, 5, b"name");
        put_fixed64(&mut span, 7, 1_000_000_000);
        put_fixed64(&mut span, 8, 1_000_000_000 + milliseconds * 1_000_000);
        if is_error {
            let status = begin(&mut span, 15);
            put_uint(&mut span, 3, 2);
            end(&mut span, status);
        }
        span
    }

    /// A request with one group for each list of spans.
    fn request(groups: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, spans) in groups.iter().enumerate() {
            let group = begin(&mut out, GROUPS);
            put_bytes(&mut out, 1, format!("resource {number}").as_bytes());
            let scope = begin(&mut out, MEMBERS);
            spans.iter().for_each(|span| put_bytes(&mut out, MEMBERS, span));
            put_bytes(&mut out, 3, b"schema");
            end(&mut out, scope);
            end(&mut out, group);
        }
        out
    }

    fn sampling(probability: f64) -> Sampling {
        Sampling { probability, errors: true, slower_than: Some(Span(Duration::from_secs(1))) }
    }

    const LOW: u64 = 1;
    const HIGH: u64 = (1 << BITS) - 1;

    #[test]
    fn errors_slow_spans_and_the_chosen_part_stay_with_their_traces() {
        let groups = [
            vec![span(LOW, 5, false), span(LOW + 1, 5, true), span(HIGH, 5, false)],
            vec![span(LOW + 1, 1, false), span(LOW + 2, 1_001, false), span(LOW + 2, 1, false)],
            vec![span(LOW + 3, 1_000, false)],
        ];
        let mut out = Vec::new();
        let tally = sampling(0.5).sample(&request(&groups), &mut out).expect("well formed");
        assert_eq!(tally, Tally { error: 2, slow: 2, probability: 1, dropped: 2 });
        let expected = [
            vec![groups[0][1].clone(), groups[0][2].clone()],
            vec![groups[1][0].clone(), groups[1][1].clone(), groups[1][2].clone()],
        ];
        assert_eq!(out, request(&expected));
        let none = Sampling { errors: false, slower_than: None, ..sampling(0.0) };
        out.clear();
        let tally = none.sample(&request(&groups), &mut out).expect("well formed");
        assert_eq!((tally, out.len()), (Tally { dropped: 7, ..Tally::default() }, 0));
    }

    #[test]
    fn a_trace_that_is_kept_at_one_rate_is_kept_at_every_higher_one() {
        let ids: Vec<Vec<u8>> =
            (0..10_000_u64).map(|n| [[0; 8], n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat()).collect();
        let mut before = vec![false; ids.len()];
        for percent in [0, 1, 10, 50, 99, 100] {
            let rate = f64::from(percent) / 100.0;
            let kept: Vec<bool> = ids.iter().map(|id| sampling(rate).keeps(id)).collect();
            assert!(before.iter().zip(&kept).all(|(before, now)| !before || *now), "{percent}");
            let part = kept.iter().filter(|kept| **kept).count() as f64 / ids.len() as f64;
            assert!((part - rate).abs() < 0.02, "{percent}: {part}");
            before = kept;
        }
        assert!(sampling(0.0).keeps(b"short"), "nothing would decide");
    }

    proptest! {
        /// Whatever is kept is a request, of as many spans as are said to be kept.
        #[test]
        fn property_what_stays_is_a_request_of_what_was_kept(
            groups in prop::collection::vec(prop::collection::vec((0u64..6, 0u64..3_000, any::<bool>()), 0..6), 0..4),
            probability in 0.0f64..1.0,
        ) {
            let groups: Vec<Vec<Vec<u8>>> = groups.iter()
                .map(|spans| spans.iter().map(|(trace, took, bad)| span(trace << 53, *took, *bad)).collect()).collect();
            let request = request(&groups);
            let mut out = Vec::new();
            let tally = sampling(probability).sample(&request, &mut out).expect("well formed");
            let all = count(Signal::Traces, &request).expect("well formed");
            prop_assert_eq!(tally.kept() + tally.dropped, all);
            prop_assert_eq!(count(Signal::Traces, &out).expect("a request"), tally.kept());
            if tally.dropped == 0 && groups.iter().all(|spans| !spans.is_empty()) {
                prop_assert_eq!(out, request);
            }
        }

        #[test]
        fn property_any_bytes_are_sampled_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            if sampling(0.5).sample(&bytes, &mut out).is_ok() {
                prop_assert!(out.len() <= bytes.len() + 64);
            }
        }
    }
}
