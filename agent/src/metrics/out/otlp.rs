//! Sends all series to a backend of OTLP, once in a window.
//!
//! What is on `/metrics` is sent, with the names that sources gave: totals since a series was made (cumulative temporality), last values,
//! buckets. A backend that misses a request loses no sums by it.
//!
//! Promises: a request has at most 1,000 points; names, labels and values are those of the store.
//! Never: sends what is no number, which has no meaning there.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    deliver::{books::Account, lane::Output},
    ecs::Metadata,
    metrics::{
        Seconds,
        store::{Shown, ShownValue, Store, key::Kind},
    },
    otlp::{
        out,
        walk::Signal,
        wire::{Begun, begin, end, put_bytes, put_fixed64, put_header, put_uint},
    },
};

/// Points of a request: what CloudWatch takes at most.
const POINTS_MAX: usize = 1_000;
/// Sums since the beginning (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u64 = 2;

/// Where requests are appended.
pub struct Sink {
    sink: out::Sink,
    resource: Vec<u8>,
    /// When the clock of the store began, by the system's clock.
    began: Duration,
}

/// A request while it is written.
struct Writer<'a> {
    sink: &'a Sink,
    now: Duration,
    request: Vec<u8>,
    open: Option<[Begun; 2]>,
    family: Family,
    /// The family's message and that of its points, once it has one.
    metric: Option<[Begun; 2]>,
    points: usize,
}

#[derive(Default)]
struct Family {
    name: String,
    help: String,
    kind: Option<Kind>,
}

impl Sink {
    /// Appends to `output` and books on `account`; `seconds` is the clock of the store.
    pub fn new(output: Arc<Output>, account: Arc<Account>, resource: Vec<u8>, seconds: Seconds) -> Self {
        let elapsed = Duration::from_secs(u64::from(seconds.now()));
        let sink = out::Sink::new(output, account, Signal::Metrics);
        Self { sink, resource, began: now().saturating_sub(elapsed) }
    }

    /// Appends all series of `store`.
    pub fn append(&self, store: &Store) {
        let mut writer = Writer {
            sink: self,
            now: now(),
            request: Vec::new(),
            open: None,
            family: Family::default(),
            metric: None,
            points: 0,
        };
        store.show(|shown| match shown {
            Shown::Family { source_name, kind, help, .. } => {
                writer.end_metric();
                writer.family = Family { name: source_name.to_owned(), help: help.to_owned(), kind: Some(kind) };
            }
            Shown::Series { labels, made, value, .. } => writer.point(labels, made, &value),
        });
        writer.send();
    }
}

impl Writer<'_> {
    fn point(&mut self, labels: &str, made: u32, value: &ShownValue<'_>) {
        let Some(kind) = self.family.kind else { return };
        if matches!(value, ShownValue::Number(number) if !number.is_finite()) {
            return;
        }
        if self.points == POINTS_MAX {
            self.send();
        }
        self.begin(kind);
        let (start, now) = (self.sink.began + Duration::from_secs(u64::from(made)), self.now);
        let out = &mut self.request;
        let point = begin(out, 1);
        put_fixed64(out, 2, nanos(start));
        put_fixed64(out, 3, nanos(now));
        let attributes = put_value(out, value);
        for (name, value) in labels_of(labels) {
            attribute(out, attributes, name, &value);
        }
        end(out, point);
        self.points += 1;
    }

    /// Begins what is not begun yet: the request, the metric.
    fn begin(&mut self, kind: Kind) {
        let out = &mut self.request;
        if self.open.is_none() {
            let group = begin(out, 1);
            put_bytes(out, 1, &self.sink.resource);
            let scope = begin(out, 2);
            let named = begin(out, 1);
            put_bytes(out, 1, b"pillion");
            put_bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
            end(out, named);
            self.open = Some([group, scope]);
        }
        if self.metric.is_some() {
            return;
        }
        let metric = begin(out, 2);
        put_bytes(out, 1, self.family.name.as_bytes());
        if !self.family.help.is_empty() {
            put_bytes(out, 2, self.family.help.as_bytes());
        }
        if kind == Kind::Timer {
            put_bytes(out, 3, b"s");
        }
        // That counters of StatsD may fall is as rare as it is on `/metrics`, where they are counters too.
        let data = match kind {
            Kind::Counter => begin(out, 7),
            Kind::Histogram | Kind::Timer => begin(out, 9),
            Kind::Summary => begin(out, 11),
            Kind::Gauge | Kind::Set | Kind::Info | Kind::StateSet | Kind::Unknown => begin(out, 5),
        };
        if matches!(kind, Kind::Counter | Kind::Histogram | Kind::Timer) {
            put_uint(out, 2, CUMULATIVE);
        }
        if kind == Kind::Counter {
            // It is monotonic.
            put_uint(out, 3, 1);
        }
        self.metric = Some([metric, data]);
    }

    fn end_metric(&mut self) {
        if let Some([metric, data]) = self.metric.take() {
            end(&mut self.request, data);
            end(&mut self.request, metric);
        }
    }

    fn send(&mut self) {
        self.end_metric();
        if let Some([group, scope]) = self.open.take() {
            end(&mut self.request, scope);
            end(&mut self.request, group);
            let sink = &self.sink.sink;
            let appended = sink.append(&mut sink.appending(), &self.request, self.points);
            debug_assert!(appended.is_ok(), "what we write is well formed");
        }
        self.request.clear();
        self.points = 0;
    }
}

/// Writes what a series has come to. Returns the number of the field in which its point has attributes.
fn put_value(out: &mut Vec<u8>, value: &ShownValue<'_>) -> u32 {
    match value {
        ShownValue::Number(number) => {
            put_fixed64(out, 4, number.to_bits());
            7
        }
        ShownValue::Histogram { bounds, counts, sum } => {
            put_fixed64(out, 4, whole(counts.iter().sum()));
            put_fixed64(out, 5, sum.to_bits());
            put_header(out, 6, counts.len() * 8);
            out.extend(counts.iter().flat_map(|count| whole(*count).to_le_bytes()));
            put_header(out, 7, bounds.len() * 8);
            out.extend(bounds.iter().flat_map(|bound| bound.to_le_bytes()));
            9
        }
        ShownValue::Summary { quantiles, sum, count } => {
            put_fixed64(out, 4, whole(*count));
            put_fixed64(out, 5, sum.to_bits());
            for (quantile, value) in *quantiles {
                let at = begin(out, 6);
                put_fixed64(out, 1, quantile.to_bits());
                put_fixed64(out, 2, value.to_bits());
                end(out, at);
            }
            7
        }
    }
}

/// What is known of the task, in OpenTelemetry's words: its service, and what else `config` wants.
pub fn resource(task: &Metadata, config: &out::Config) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(service) = task.service.as_ref().or(task.family.as_ref()) {
        attribute(&mut out, 1, "service.name", service);
    }
    config.task(task).messages().for_each(|message| put_bytes(&mut out, 1, message));
    out
}

fn attribute(out: &mut Vec<u8>, number: u32, name: &str, value: &str) {
    let pair = begin(out, number);
    put_bytes(out, 1, name.as_bytes());
    let held = begin(out, 2);
    put_bytes(out, 1, value.as_bytes());
    end(out, held);
    end(out, pair);
}

/// Names and values of the text between the braces of a page.
fn labels_of(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let (mut value, mut chars, mut end) = (String::new(), after.char_indices(), after.len());
        while let Some((place, c)) = chars.next() {
            match c {
                '"' => {
                    end = place + 1;
                    break;
                }
                '\\' => value.extend(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                c => value.push(c),
            }
        }
        rest = after[end..].strip_prefix(',').unwrap_or_default();
        Some((name, value))
    })
}

/// A count that rates made fractional, as the protocol wants it.
fn whole(count: f64) -> u64 {
    count.round() as u64
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::key::label_text;

    #[test]
    fn labels_are_read_as_they_were_written() {
        let labels = [("a", "x\"\\\n,b=\"c\""), ("b", ""), ("c", "\u{e4}\\n")];
        let mut text = String::new();
        label_text(&labels, &mut text);
        let read: Vec<_> = labels_of(&text).map(|(name, value)| (name.to_owned(), value)).collect();
        let expected: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read, expected);
        assert_eq!(labels_of("").count(), 0);
        assert_eq!(labels_of("broken=\"x").count(), 1, "it ends in any case");
    }
}
