//! One line of StatsD or DogStatsD (protocol 1.0 to 1.6), read in place.
//!
//! ```text
//! name:value[:value]*|type[|@rate][|#tag[:value],...][|c:...][|Tseconds][|e:...][|card:...]
//! _e{title bytes,text bytes}:title|text[|d:..][|h:..][|k:..][|p:..][|s:..][|t:..][|#tags]...
//! _sc|name|status[|d:..][|h:..][|#tags][|m:message]...
//! ```
//!
//! Types are `c`, `g`, `ms`, `h`, `d` and `s`; pieces behind the type stand in any order, and those that nobody knows are skipped, so that
//! a newer client is understood. A set's value is all up to the first `|`.
//!
//! Promises: the parts are those that stand in the line; whatever the bytes are, the answer is a line or a reason.
//! Never: looks at a value, allocates, or fails for a piece that it does not know.

use memchr::memchr;

use super::number::number;

/// Rates below are not believed: one sample would stand for a billion.
const RATE_LEAST: f64 = 1e-9;
/// Statuses of a service check: OK, warning, critical, unknown.
const STATUS_MAX: u8 = 3;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line<'a> {
    /// A sample, or several.
    Metric(Metric<'a>),
    /// Something happened.
    Event(Event<'a>),
    /// Something is well or not.
    Check(Check<'a>),
}

/// Samples of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric<'a> {
    /// The name; not empty.
    pub name: &'a [u8],
    /// Values with `:` between them; a set has one.
    pub values: &'a [u8],
    /// The type.
    pub kind: Type,
    /// Of so many samples one was sent: above 0, at most 1.
    pub rate: f64,
    /// Tags with `,` between them.
    pub tags: &'a [u8],
    /// Seconds since 1970 at which it was so.
    pub time: Option<u64>,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `c`
    Counter,
    /// `g`
    Gauge,
    /// `ms`
    Timer,
    /// `h` and `d`
    Distribution,
    /// `s`
    Set,
}

/// An event of DogStatsD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happened.
    pub title: &'a [u8],
    /// More of it.
    pub text: &'a [u8],
    /// `error`, `warning`, `info` or `success`; empty: not said.
    pub alert: &'a [u8],
    /// Tags with `,` between them.
    pub tags: &'a [u8],
}

/// A service check of DogStatsD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// The name of what is checked.
    pub name: &'a [u8],
    /// 0 OK, 1 warning, 2 critical, 3 unknown.
    pub status: u8,
    /// Tags with `,` between them.
    pub tags: &'a [u8],
}

/// Why a line is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There is no `name:value|type`.
    NoMetric,
    /// Nobody knows the type.
    Type,
    /// The rate is not above 0.
    Rate,
    /// An event whose lengths do not fit, or without a title.
    Event,
    /// A service check without a name or a status.
    Check,
    /// A value that is no number.
    Value,
    /// More tags than are taken.
    Tags,
}

impl Rejected {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoMetric => "no_metric",
            Self::Type => "type",
            Self::Rate => "rate",
            Self::Event => "event",
            Self::Check => "check",
            Self::Value => "value",
            Self::Tags => "tags",
        }
    }
}

/// Reads a line, without its end.
#[inline]
pub fn parse(line: &[u8]) -> Result<Line<'_>, Rejected> {
    if line.first() == Some(&b'_') {
        if let Some(event) = line.strip_prefix(b"_e{") {
            return parse_event(event).map(Line::Event).ok_or(Rejected::Event);
        }
        if let Some(check) = line.strip_prefix(b"_sc|") {
            return parse_check(check).map(Line::Check).ok_or(Rejected::Check);
        }
    }
    parse_metric(line).map(Line::Metric)
}

#[inline]
fn parse_metric(line: &[u8]) -> Result<Metric<'_>, Rejected> {
    let bar = memchr(b'|', line).ok_or(Rejected::NoMetric)?;
    let colon = memchr(b':', &line[..bar]).filter(|&colon| colon > 0).ok_or(Rejected::NoMetric)?;
    let mut pieces = Pieces { rest: &line[bar + 1..] };
    let kind = match pieces.next().unwrap_or_default() {
        b"c" => Type::Counter,
        b"g" => Type::Gauge,
        b"ms" => Type::Timer,
        b"h" | b"d" => Type::Distribution,
        b"s" => Type::Set,
        _ => return Err(Rejected::Type),
    };
    let (name, values) = (&line[..colon], &line[colon + 1..bar]);
    let mut metric = Metric { name, values, kind, rate: 1.0, tags: b"", time: None };
    for piece in pieces {
        match piece {
            [b'#', tags @ ..] => metric.tags = tags,
            [b'@', rate @ ..] => {
                let rate = number(rate).filter(|rate| *rate >= RATE_LEAST).ok_or(Rejected::Rate)?;
                metric.rate = rate.min(1.0);
            }
            [b'T', seconds @ ..] => metric.time = whole(seconds),
            _ => {}
        }
    }
    Ok(metric)
}

fn parse_event(event: &[u8]) -> Option<Event<'_>> {
    let (lengths, rest) = event.split_at(memchr(b'}', event)?);
    let rest = rest.strip_prefix(b"}:")?;
    let (title, text) = lengths.split_at(memchr(b',', lengths)?);
    let (title, text) = (usize::try_from(whole(title)?).ok()?, usize::try_from(whole(&text[1..])?).ok()?);
    let (title, rest) = rest.split_at_checked(title).filter(|(title, _)| !title.is_empty())?;
    let (text, rest) = rest.strip_prefix(b"|")?.split_at_checked(text)?;
    let mut event = Event { title, text, alert: b"", tags: b"" };
    if rest.is_empty() {
        return Some(event);
    }
    for piece in (Pieces { rest: rest.strip_prefix(b"|")? }) {
        match piece {
            [b'#', tags @ ..] => event.tags = tags,
            [b't', b':', alert @ ..] => event.alert = alert,
            _ => {}
        }
    }
    Some(event)
}

fn parse_check(check: &[u8]) -> Option<Check<'_>> {
    let mut pieces = Pieces { rest: check };
    let name = pieces.next().filter(|name| !name.is_empty())?;
    let status = match pieces.next()? {
        [digit @ b'0'..=b'9'] if digit - b'0' <= STATUS_MAX => digit - b'0',
        _ => return None,
    };
    let mut tags: &[u8] = b"";
    for piece in pieces {
        if let [b'#', own @ ..] = piece {
            tags = own;
        }
    }
    Some(Check { name, status, tags })
}

/// A whole number of digits alone.
fn whole(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// What stands between `|`.
struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (piece, rest) = match memchr(b'|', self.rest) {
            Some(bar) => (&self.rest[..bar], &self.rest[bar + 1..]),
            None => (self.rest, &b""[..]),
        };
        self.rest = rest;
        Some(piece)
    }
}

/// The lines of a packet that say something.
pub fn lines(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (line, after) = match memchr(b'\n', rest) {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &b""[..]),
            };
            rest = after;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// Names and values of tags; those without a name are skipped.
pub fn tags(tags: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    tags.split(|&byte| byte == b',').filter_map(|tag| {
        let (name, value) = match memchr(b':', tag) {
            Some(colon) => (&tag[..colon], &tag[colon + 1..]),
            None => (tag, &b""[..]),
        };
        (!name.is_empty()).then_some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Metric<'_> =
        Metric { name: b"page.views", values: b"1", kind: Type::Counter, rate: 1.0, tags: b"", time: None };

    #[test]
    fn metrics_of_every_version_are_read() {
        for (line, expected) in [
            ("page.views:1|c", PLAIN),
            ("fuel.level:0.5|g", Metric { name: b"fuel.level", values: b"0.5", kind: Type::Gauge, ..PLAIN }),
            ("page.views:1|c|@0.5", Metric { rate: 0.5, ..PLAIN }),
            ("page.views:1|c|@7", PLAIN),
            ("page.views:1|c|#env:dev,a,b:c:d", Metric { tags: b"env:dev,a,b:c:d", ..PLAIN }),
            ("took:1:2:3|ms", Metric { name: b"took", values: b"1:2:3", kind: Type::Timer, ..PLAIN }),
            ("took:1|d|#a|@0.1", Metric { name: b"took", kind: Type::Distribution, tags: b"a", rate: 0.1, ..PLAIN }),
            ("took:1|h", Metric { name: b"took", kind: Type::Distribution, ..PLAIN }),
            ("users:a:b|s", Metric { name: b"users", values: b"a:b", kind: Type::Set, ..PLAIN }),
            ("page.views:1|c|T1656581400", Metric { time: Some(1_656_581_400), ..PLAIN }),
            ("page.views:1|c|Tsoon", PLAIN),
            (
                "page.views:1|c|#env:dev|c:ci-83c0a99c|T1656581409|e:it-false,cn-redis|card:low|new:thing||",
                Metric { tags: b"env:dev", time: Some(1_656_581_409), ..PLAIN },
            ),
            ("a:|c", Metric { name: b"a", values: b"", ..PLAIN }),
            ("_e:1|c", Metric { name: b"_e", ..PLAIN }),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(Line::Metric(expected)), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_says_why() {
        for (line, expected) in [
            (&b"page.views"[..], Rejected::NoMetric),
            (b"page.views:1", Rejected::NoMetric),
            (b":1|c", Rejected::NoMetric),
            (b"|c", Rejected::NoMetric),
            (b"page.views|1:c", Rejected::NoMetric),
            (b"page.views:1|", Rejected::Type),
            (b"page.views:1|x", Rejected::Type),
            (b"page.views:1|C", Rejected::Type),
            (b"page.views:1|c|@0", Rejected::Rate),
            (b"page.views:1|c|@-1", Rejected::Rate),
            (b"page.views:1|c|@NaN", Rejected::Rate),
            (b"page.views:1|c|@1e-300", Rejected::Rate),
            (b"page.views:1|c|@", Rejected::Rate),
            (b"\xff\x00\x80", Rejected::NoMetric),
            (b"_e{5,4}", Rejected::Event),
            (b"_e{5,4}:title|tex", Rejected::Event),
            (b"_e{0,4}:|text", Rejected::Event),
            (b"_e{-1,4}:title|text", Rejected::Event),
            (b"_e{5,4}:title|textx", Rejected::Event),
            (b"_e{99999999999999999999,4}:title|text", Rejected::Event),
            (b"_e{5}:title|text", Rejected::Event),
            (b"_sc|", Rejected::Check),
            (b"_sc|db", Rejected::Check),
            (b"_sc|db|4", Rejected::Check),
            (b"_sc|db|10", Rejected::Check),
            (b"_sc||0", Rejected::Check),
        ] {
            assert_eq!(parse(line), Err(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn events_and_checks_are_read() {
        let event = Event { title: b"title", text: b"te|t", alert: b"", tags: b"" };
        for (line, expected) in [
            ("_e{5,4}:title|te|t", event),
            (
                "_e{5,4}:title|te|t|d:1|h:host|k:key|p:low|s:src|t:warning|#a,b:c|c:id",
                Event { alert: b"warning", tags: b"a,b:c", ..event },
            ),
            ("_e{5,0}:title|", Event { text: b"", ..event }),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(Line::Event(expected)), "{line}");
        }
        let check = Check { name: b"db", status: 2, tags: b"" };
        for (line, expected) in [
            ("_sc|db|2", check),
            ("_sc|db|2|d:1|h:host|#a:b|m:no answer", Check { tags: b"a:b", ..check }),
            ("_sc|db|0|m:fine|e:it-false", Check { status: 0, ..check }),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(Line::Check(expected)), "{line}");
        }
    }

    #[test]
    fn a_packet_is_its_lines_and_tags_are_names_and_values() {
        let found: Vec<_> = lines(b"\na:1|c\r\n\n\nb:2|c\n").collect();
        assert_eq!(found, [&b"a:1|c"[..], b"b:2|c"]);
        assert_eq!(lines(b"\n\r\n").count(), 0);
        let found: Vec<_> = tags(b"a:b:c,,d,:x,e:").collect();
        assert_eq!(found, [(&b"a"[..], &b"b:c"[..]), (b"d", b""), (b"e", b"")]);
        assert_eq!(tags(b"").count(), 0);
    }

    proptest! {
        #[test]
        fn property_no_bytes_make_it_panic(packet in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(b"_esc|:@#T{},\n1a.".to_vec())
        ], 0..200)) {
            for line in lines(&packet) {
                if let Ok(Line::Metric(metric)) = parse(line) {
                    prop_assert!(!metric.name.is_empty() && metric.rate > 0.0 && metric.rate <= 1.0);
                    prop_assert!(tags(metric.tags).all(|(name, _)| !name.is_empty()));
                }
            }
        }

        /// What a client writes is read as it was meant.
        #[test]
        fn property_what_a_client_writes_is_read(
            name in "[a-zA-Z_][a-zA-Z0-9_./ -]{0,30}", values in prop::collection::vec("-?[0-9]{1,6}(\\.[0-9]{1,3})?", 1..5),
            kind in prop::sample::select(vec!["c", "g", "ms", "h", "d"]), tags in prop::collection::vec("[a-z]{1,8}:[a-z0-9:]{0,8}", 0..4),
            rate in prop::option::of(0.001f64..1.0), order in any::<bool>(),
        ) {
            prop_assume!(!name.starts_with("_e{"));
            let (values, tags) = (values.join(":"), tags.join(","));
            let rate_text = rate.map_or(String::new(), |rate| format!("|@{rate}"));
            let tags_text = if tags.is_empty() { String::new() } else { format!("|#{tags}") };
            let line = if order { format!("{name}:{values}|{kind}{rate_text}{tags_text}") }
                else { format!("{name}:{values}|{kind}{tags_text}|c:abc{rate_text}") };
            let Ok(Line::Metric(metric)) = parse(line.as_bytes()) else { panic!("{line}") };
            prop_assert_eq!((metric.name, metric.values, metric.tags), (name.as_bytes(), values.as_bytes(), tags.as_bytes()));
            prop_assert_eq!(metric.rate, rate.unwrap_or(1.0));
        }
    }
}
