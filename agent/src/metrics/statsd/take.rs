//! Lines of StatsD become samples of series.
//!
//! Promises: a line that is wrong harms no other, and of several values those that are right count; a spelling that was seen before is
//! neither taken apart nor mapped again.
//! Never: reads a clock or a socket.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use super::{
    grammar::{Check, Event, Line, Metric, Rejected, Type, lines, parse, tags},
    mapping::{Mapped, Mappings},
    number::number,
};
use crate::{
    aws::Unit,
    metrics::store::{
        AHEAD, Raw, SeriesId, Writing,
        key::{Key, Kind, Publication, SourceId},
    },
};

/// Tags of a line. Datadog takes 100 of a metric.
const TAGS_MAX: usize = 100;
/// What Datadog's clients say of themselves: some 20 series of each process.
const OF_THE_CLIENT: &[u8] = b"datadog.dogstatsd.client.";
/// A tag by which Datadog's agent finds a pod.
const ENTITY: &str = "dd.internal.entity_id";
/// Reasons for which a line is not taken.
pub const REASONS: [Rejected; 7] = [
    Rejected::NoMetric,
    Rejected::Type,
    Rejected::Rate,
    Rejected::Event,
    Rejected::Check,
    Rejected::Value,
    Rejected::Tags,
];

/// Takes packets.
#[derive(Debug)]
pub struct Taker {
    source: SourceId,
    mappings: Mappings,
    /// Whether `+1` and `-1` move a gauge.
    moves_gauges: bool,
    /// Whether what clients say of themselves is taken.
    takes_clients: bool,
    state: RandomState,
}

/// What packets held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Samples taken.
    pub samples: u64,
    /// Those that a rule or a setting leaves out.
    pub filtered: u64,
    /// Those for which there is no series, because of the cap.
    pub without_series: u64,
    /// Lines or values not taken, in the order of [`REASONS`].
    pub rejected: [u64; REASONS.len()],
}

impl Tally {
    fn reject(&mut self, reason: Rejected) {
        if let Some(place) = REASONS.iter().position(|known| *known == reason) {
            self.rejected[place] += 1;
        }
    }
}

impl Taker {
    /// Takes for `source`.
    pub fn new(source: SourceId, mappings: Mappings, moves_gauges: bool, takes_clients: bool) -> Self {
        Self { source, mappings, moves_gauges, takes_clients, state: RandomState::new() }
    }

    /// Takes a packet.
    pub fn packet(&self, packet: &[u8], writing: &mut Writing<'_>, tally: &mut Tally) {
        let mut all = lines(packet);
        if let (Some(line), None) = (all.next(), all.next()) {
            return self.line(parse(line), writing, tally);
        }
        let mut group = [const { None }; AHEAD];
        let mut hashes = [0; AHEAD];
        let mut count = 0;
        for line in lines(packet) {
            let read = parse(line);
            if let Ok(Line::Metric(metric)) = read {
                (group[count], hashes[count]) = (Some(metric), writing.hash(&self.raw(&metric)));
                count += 1;
                if count == AHEAD {
                    self.group(&group, &hashes, writing, tally);
                    count = 0;
                }
                continue;
            }
            self.group(&group[..count], &hashes, writing, tally);
            count = 0;
            self.line(read, writing, tally);
        }
        self.group(&group[..count], &hashes, writing, tally);
    }

    fn line(&self, read: Result<Line<'_>, Rejected>, writing: &mut Writing<'_>, tally: &mut Tally) {
        match read {
            Ok(Line::Metric(metric)) => self.metric(&metric, writing.hash(&self.raw(&metric)), writing, tally),
            Ok(Line::Event(event)) => self.event(&event, writing, tally),
            Ok(Line::Check(check)) => self.check(&check, writing, tally),
            Err(reason) => tally.reject(reason),
        }
    }

    /// Lines that come one behind the other. With many series each misses the processor's caches several times.
    fn group(&self, group: &[Option<Metric<'_>>], hashes: &[u64; AHEAD], writing: &mut Writing<'_>, tally: &mut Tally) {
        if group.len() > 1 {
            writing.look_ahead(hashes);
        }
        for (metric, hash) in group.iter().flatten().zip(hashes) {
            self.metric(metric, *hash, writing, tally);
        }
    }

    fn raw<'a>(&self, metric: &Metric<'a>) -> Raw<'a> {
        Raw { source: self.source, kind: kind(metric.kind), name: metric.name, tags: metric.tags }
    }

    #[inline]
    fn metric(&self, metric: &Metric<'_>, hash: u64, writing: &mut Writing<'_>, tally: &mut Tally) {
        let raw = self.raw(metric);
        let series = match writing.known_by(&raw, hash) {
            Some(known) => known,
            None => match self.meet(metric, &raw, writing, tally) {
                Ok(series) => series,
                Err(()) => return,
            },
        };
        let Some(series) = series else {
            tally.filtered += 1;
            return;
        };
        if metric.kind == Type::Set {
            writing.see(series, self.state.hash_one(metric.values));
            tally.samples += 1;
            return;
        }
        for value in metric.values.split(|&byte| byte == b':') {
            let Some(amount) = number(value.strip_prefix(b"+").unwrap_or(value)) else {
                tally.reject(Rejected::Value);
                continue;
            };
            self.sample(metric, value, amount, series, writing);
            tally.samples += 1;
        }
    }

    #[inline]
    fn sample(&self, metric: &Metric<'_>, text: &[u8], value: f64, series: SeriesId, writing: &mut Writing<'_>) {
        // What has a time of its own is of that minute; its rate does not count (as with Datadog's agent).
        let at = metric.time.and_then(|seconds| u32::try_from(seconds).ok());
        match (metric.kind, at) {
            (Type::Counter, None) => writing.add(series, value / metric.rate),
            (Type::Counter, Some(_)) => writing.add_at(series, value, at),
            (Type::Gauge, None) if self.moves_gauges && matches!(text.first(), Some(b'+' | b'-')) => {
                writing.shift(series, value);
            }
            (Type::Gauge, _) => writing.set_at(series, value, at),
            (Type::Timer | Type::Distribution, _) => writing.observe(series, value, 1.0 / metric.rate),
            (Type::Set, _) => {}
        }
    }

    /// The series of a spelling that is new. `Ok(None)`: it is not wanted. `Err`: it was counted.
    #[cold]
    fn meet(
        &self,
        metric: &Metric<'_>,
        raw: &Raw<'_>,
        writing: &mut Writing<'_>,
        tally: &mut Tally,
    ) -> Result<Option<SeriesId>, ()> {
        let name = String::from_utf8_lossy(metric.name);
        let is_dropped = !self.takes_clients && metric.name.starts_with(OF_THE_CLIENT);
        let mapped = if is_dropped { Mapped::Dropped } else { self.mappings.apply(&name, metric.kind) };
        let (name, more) = match mapped {
            Mapped::Dropped => {
                writing.remember(raw, None);
                return Ok(None);
            }
            Mapped::AsItIs => (name, Vec::new()),
            Mapped::To(name, more) => (Cow::Owned(name), more),
        };
        let unit = if metric.kind == Type::Timer { Unit::MILLISECONDS } else { Unit::NONE };
        let Some(found) = self.series(&name, metric.tags, &more, (raw.kind, unit), writing) else {
            tally.reject(Rejected::Tags);
            return Err(());
        };
        let Some(series) = found else {
            tally.without_series += 1;
            return Err(());
        };
        writing.remember(raw, Some(series));
        Ok(Some(series))
    }

    /// `None`: too many tags. `Some(None)`: the cap.
    fn series(
        &self,
        name: &str,
        tag_text: &[u8],
        more: &[(String, String)],
        (kind, unit): (Kind, Unit),
        writing: &mut Writing<'_>,
    ) -> Option<Option<SeriesId>> {
        let mut texts = Vec::new();
        for (name, value) in tags(tag_text) {
            if texts.len() == TAGS_MAX {
                return None;
            }
            texts.push((String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        }
        let own = texts.iter().map(|(name, value)| (&**name, &**value)).filter(|(name, _)| *name != ENTITY);
        let labels: Vec<(&str, &str)> = own.chain(more.iter().map(|(name, value)| (&**name, &**value))).collect();
        let publication = Publication::ByPolicy;
        let key = Key { source: self.source, name, shown: None, kind, unit, labels: &labels, publication };
        Some(writing.series(&key))
    }

    /// How often something happened. Titles and texts are without number, so that they are no labels.
    fn event(&self, event: &Event<'_>, writing: &mut Writing<'_>, tally: &mut Tally) {
        let alert = match event.alert {
            b"error" => "error",
            b"warning" => "warning",
            b"success" => "success",
            _ => "info",
        };
        let more = [("alert_type".to_owned(), alert.to_owned())];
        match self.series("statsd.events", event.tags, &more, (Kind::Counter, Unit::COUNT), writing) {
            None => tally.reject(Rejected::Tags),
            Some(None) => tally.without_series += 1,
            Some(Some(series)) => {
                writing.add(series, 1.0);
                tally.samples += 1;
            }
        }
    }

    /// The status as a number: 0 OK, 1 warning, 2 critical, 3 unknown.
    fn check(&self, check: &Check<'_>, writing: &mut Writing<'_>, tally: &mut Tally) {
        let more = [("check".to_owned(), String::from_utf8_lossy(check.name).into_owned())];
        match self.series("statsd.service_check", check.tags, &more, (Kind::Gauge, Unit::NONE), writing) {
            None => tally.reject(Rejected::Tags),
            Some(None) => tally.without_series += 1,
            Some(Some(series)) => {
                writing.set(series, f64::from(check.status));
                tally.samples += 1;
            }
        }
    }
}

fn kind(kind: Type) -> Kind {
    match kind {
        Type::Counter => Kind::Counter,
        Type::Gauge => Kind::Gauge,
        Type::Timer => Kind::Timer,
        Type::Distribution => Kind::Histogram,
        Type::Set => Kind::Set,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::store::{
        Store, Window,
        policy::{Dimensions, Policy},
    };

    fn setting(moves_gauges: bool) -> (Store, Taker) {
        of(moves_gauges, 50)
    }

    fn of(moves_gauges: bool, series_max: usize) -> (Store, Taker) {
        let store = Store::default();
        let source = store.source(Policy {
            is_sent: true,
            namespace: "App".into(),
            dimensions: Dimensions::All,
            fixed: Vec::new(),
            is_high_resolution: false,
            series_max,
            buckets: [1.0].into(),
        });
        (store, Taker::new(source, Mappings::default(), moves_gauges, false))
    }

    /// What a flush tells: the head without the name's key, and sum and count.
    fn told(store: &Store) -> Vec<(String, f64, f64)> {
        let (mut flush, mut told) = (store.flush(), Vec::new());
        while flush.next(|_, datum| {
            let (sum, count) = match &datum.window {
                Window::Sum(sum) => (*sum, 1.0),
                Window::Values(values) => (values.sum(), values.count()),
                Window::Set(seen) => (seen.len() as f64, 1.0),
                Window::Empty => panic!("nothing is told of nothing"),
            };
            let name = datum.head.trim_start_matches("\"MetricName\":").to_owned();
            told.push((datum.at.map_or(name.clone(), |second| format!("{name}@{second}")), sum, count));
        }) {}
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told
    }

    #[test]
    fn samples_go_where_they_belong() {
        let (store, taker) = setting(true);
        let mut tally = Tally::default();
        let mut writing = store.writing(0);
        let packet =
            b"c:1|c|T61\nc:2|c|@0.5|T119\nc:3|c\ng:5|g\ng:-2|g\ng:9|g|T60\nt:1:2|ms|@0.5\ns:a:b|s\ns:a|s\nc:1:x:2|c";
        taker.packet(packet, &mut writing, &mut tally);
        drop(writing);
        let none = "\"Unit\":\"None\"";
        let expected = [
            (format!("\"c\",{none}"), 6.0, 1.0),
            // Of a minute of its own, and the rate does not count there.
            (format!("\"c\",{none}@60"), 3.0, 1.0),
            // It said 9 of minute 1 and nothing since, so that 3 is what was last said of now.
            (format!("\"g\",{none}"), 9.0, 1.0),
            (format!("\"g\",{none}@60"), 9.0, 1.0),
            (format!("\"s\",{none}"), 2.0, 1.0),
            ("\"t\",\"Unit\":\"Milliseconds\"".to_owned(), 6.0, 4.0),
        ];
        assert_eq!(told(&store), expected);
        assert_eq!((tally.samples, tally.rejected.iter().sum::<u64>()), (12, 1), "{tally:?}");
    }

    #[test]
    fn a_sign_moves_a_gauge_only_where_that_is_wanted() {
        for (moves, expected) in [(true, 3.0), (false, -2.0)] {
            let (store, taker) = setting(moves);
            let mut writing = store.writing(0);
            taker.packet(b"g:5|g\ng:-2|g", &mut writing, &mut Tally::default());
            drop(writing);
            assert_eq!(told(&store)[0].1, expected);
        }
    }

    #[test]
    fn more_tags_than_anybody_has_are_refused() {
        let (store, taker) = setting(true);
        let tags: Vec<String> = (0..=TAGS_MAX).map(|n| format!("t{n}:1")).collect();
        let mut tally = Tally::default();
        let packet = format!("c:1|c|#{}\nc:1|c|#{}", tags.join(","), tags[1..].join(","));
        taker.packet(packet.as_bytes(), &mut store.writing(0), &mut tally);
        let expected = Tally { samples: 1, rejected: [0, 0, 0, 0, 0, 0, 1], ..Tally::default() };
        assert_eq!(tally, expected);
    }

    /// A check is a gauge that a line may set, too: what was said last holds.
    #[test]
    fn checks_and_lines_are_taken_in_their_order() {
        for (packet, expected) in [
            (&b"statsd.service_check:7|g|#check:db\n_sc|db|2"[..], 2.0),
            (b"_sc|db|2\nstatsd.service_check:7|g|#check:db", 7.0),
        ] {
            let (store, taker) = setting(true);
            taker.packet(packet, &mut store.writing(0), &mut Tally::default());
            let told = told(&store);
            assert_eq!((told.len(), told[0].1), (1, expected), "{told:?}");
        }
    }

    /// With so many series lines are looked up in groups. What is no metric stands between two, and the last value of a gauge holds.
    #[test]
    fn lines_of_many_series_are_taken_each_and_in_their_order() {
        const SERIES: usize = 5_000;
        let (store, taker) = of(true, 2 * SERIES);
        let lines: Vec<String> = (0..SERIES)
            .map(|n| match n % 40 {
                7 => format!("g:{n}|g"),
                23 => "_e{1,1}:a|b".to_owned(),
                31 => "wrong".to_owned(),
                _ => format!("c{n}:{n}|c"),
            })
            .collect();
        let mut tally = Tally::default();
        for length in [1, 100, 37, 1] {
            let mut writing = store.writing(0);
            lines
                .chunks(length)
                .for_each(|packet| taker.packet(packet.join("\n").as_bytes(), &mut writing, &mut tally));
        }
        assert_eq!(
            (tally.samples, tally.rejected.iter().sum::<u64>()),
            (4 * 39 * SERIES as u64 / 40, 4 * SERIES as u64 / 40)
        );
        let (told, counters) = (told(&store), SERIES - 3 * SERIES / 40);
        assert_eq!(told.len(), counters + 2);
        for (head, sum, _) in told {
            let name = head[1..].split('"').next().expect("a name");
            let expected = match name.strip_prefix('c').map(|number| number.parse::<f64>().expect("a number")) {
                Some(number) => 4.0 * number,
                None if name == "g" => (SERIES - 40 + 7) as f64,
                None => SERIES as f64 / 10.0,
            };
            assert_eq!(sum, expected, "{head}");
        }
    }

    proptest! {
        /// Whatever order lines come in, and whichever spellings their tags have, counters add up as in a naive model.
        #[test]
        fn property_counters_add_up_however_they_are_written(
            lines in prop::collection::vec((0u8..4, -100i32..100, prop::option::of(prop::sample::select(vec![0.5, 0.25])), any::<bool>()), 0..100),
            cuts in prop::collection::vec(1usize..8, 1..20),
        ) {
            let (store, taker) = setting(true);
            let mut tally = Tally::default();
            let mut expected = [0.0; 4];
            let texts: Vec<String> = lines.iter().map(|(series, value, rate, order)| {
                expected[usize::from(*series)] += f64::from(*value) / rate.unwrap_or(1.0);
                let tags = if *order { format!("a:{series},b:1") } else { format!("b:1,a:{series}") };
                let rate = rate.map_or(String::new(), |rate| format!("|@{rate}"));
                format!("hits:{value}|c{rate}|#{tags}")
            }).collect();
            let mut rest = texts.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (packet, after) = rest.split_at((*cut).min(rest.len()));
                taker.packet(packet.join("\n").as_bytes(), &mut store.writing(0), &mut tally);
                rest = after;
            }
            prop_assert_eq!(tally.samples, lines.len() as u64);
            for (name, sum, _) in told(&store) {
                let series = (0..4).find(|n| name.contains(&format!("\"a\",\"Value\":\"{n}\""))).expect("one of four");
                prop_assert_eq!(sum, expected[series]);
            }
        }

        #[test]
        fn property_no_packet_makes_it_panic_or_grow(packet in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(b":|#@,cgms1-.\n".to_vec())
        ], 0..300)) {
            let (store, taker) = setting(true);
            let mut tally = Tally::default();
            taker.packet(&packet, &mut store.writing(0), &mut tally);
            taker.packet(&packet, &mut store.writing(0), &mut tally);
            prop_assert!(store.size().series <= 100);
        }
    }
}
