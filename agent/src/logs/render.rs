//! A record as a JSON object, plain or inside a JSON string.
//!
//! Promises: keys in the record's order; of a key that comes twice the last one counts, as in Fluent Bit, so that a field
//! the configuration adds wins.
//! Never: builds a tree. Only values nested in a record inside a string are written twice.

use super::{
    known::Workspace,
    msgpack::{self, Broken},
    record::{Fixed, Pair, Record, Value},
};
use crate::deliver::{body::Body, escape};

/// Keys up to which each is compared with each other.
const COMPARED_MAX: usize = 32;

/// How an object's text is written.
trait Place {
    /// A quotation mark.
    const QUOTE: &'static [u8];
    /// Appends text and says how many bytes the escaping of the place added.
    fn text(body: &mut Body, text: &[u8]) -> usize;
    /// Appends a field whose name and value are text, and says how many bytes the escaping of the place added.
    fn pair(body: &mut Body, key: &[u8], text: &[u8], workspace: &mut Workspace) -> usize;
    /// A constant, and how many bytes of it the escaping of the place added.
    fn fixed(fixed: &Fixed) -> (&[u8], usize);
}

struct Plain;
struct InString;

impl Place for Plain {
    const QUOTE: &'static [u8] = b"\"";

    #[inline]
    fn text(body: &mut Body, text: &[u8]) -> usize {
        escape::once(body, text);
        0
    }

    fn pair(body: &mut Body, key: &[u8], text: &[u8], _: &mut Workspace) -> usize {
        body.put(b"\"");
        escape::once(body, key);
        body.put(b"\":\"");
        escape::once(body, text);
        body.put(b"\"");
        0
    }

    fn fixed(fixed: &Fixed) -> (&[u8], usize) {
        (fixed.once(), 0)
    }
}

impl Place for InString {
    const QUOTE: &'static [u8] = b"\\\"";

    #[inline]
    fn text(body: &mut Body, text: &[u8]) -> usize {
        escape::twice(body, text)
    }

    #[inline]
    fn pair(body: &mut Body, key: &[u8], text: &[u8], workspace: &mut Workspace) -> usize {
        workspace.known.put_pair(body, key, text)
    }

    fn fixed(fixed: &Fixed) -> (&[u8], usize) {
        (fixed.twice(), fixed.twice().len() - fixed.once().len())
    }
}

/// Appends the record as a JSON object.
pub fn object(body: &mut Body, record: &Record<'_>, workspace: &mut Workspace) {
    write::<Plain>(body, &record.pairs, workspace);
}

/// Appends the record as a JSON object that stands in a JSON string, and says how many bytes that escaping added.
#[inline]
pub fn object_in_string(body: &mut Body, record: &Record<'_>, workspace: &mut Workspace) -> usize {
    write::<InString>(body, &record.pairs, workspace)
}

/// Appends the record as a JSON object to an empty body, but not much more than `bytes_max` bytes of it. What stands
/// behind them need not be JSON.
pub fn object_beginning(body: &mut Body, record: &Record<'_>, workspace: &mut Workspace, bytes_max: usize) {
    body.put(b"{");
    for pair in remaining(&record.pairs) {
        if body.len() > bytes_max {
            return;
        }
        if body.len() > 1 {
            body.put(b",");
        }
        match pair {
            Pair { key: Value::Fixed(fixed), value: Value::Fixed(_) } => body.put(fixed.once()),
            Pair { key, value } => {
                let key = key.text().map_or(*key, |text| Value::Str(&text[..text.len().min(bytes_max)]));
                write_key::<Plain>(body, &key, workspace);
                body.put(b":");
                value_beginning(body, value, workspace, bytes_max);
            }
        }
    }
    body.put(b"}");
}

/// Appends a value as it would stand in an object, but not much more than `bytes_max` bytes of it.
pub fn value_beginning(body: &mut Body, value: &Value<'_>, workspace: &mut Workspace, bytes_max: usize) {
    match value {
        Value::Raw(raw) => {
            let scratch = &mut workspace.scratch;
            scratch.truncate(0);
            match msgpack::render_beginning(scratch, raw, bytes_max) {
                Ok(()) | Err(Broken::Long) => body.put(scratch.as_slice()),
                Err(_) => body.put(b"null"),
            }
        }
        text => {
            let text = text.text().unwrap_or_default();
            quoted::<Plain>(body, &text[..text.len().min(bytes_max)]);
        }
    }
}

#[inline]
fn write<P: Place>(body: &mut Body, pairs: &[Pair<'_>], workspace: &mut Workspace) -> usize {
    if may_repeat(pairs) {
        return write_all::<P>(body, remaining(pairs), workspace);
    }
    write_all::<P>(body, pairs.iter(), workspace)
}

#[inline]
fn write_all<'p, P: Place>(
    body: &mut Body,
    pairs: impl Iterator<Item = &'p Pair<'p>>,
    workspace: &mut Workspace,
) -> usize {
    let mut added = 0;
    body.put(b"{");
    for (place, pair) in pairs.enumerate() {
        if place > 0 {
            body.put(b",");
        }
        added += write_pair::<P>(body, pair, workspace);
    }
    body.put(b"}");
    added
}

#[inline]
fn write_pair<P: Place>(body: &mut Body, pair: &Pair<'_>, workspace: &mut Workspace) -> usize {
    match (pair.key, pair.value) {
        (Value::Str(key), Value::Str(text)) => P::pair(body, key, text, workspace),
        (Value::Fixed(fixed), Value::Fixed(_)) => {
            let (text, added) = P::fixed(fixed);
            body.put(text);
            added
        }
        (key, value) => {
            let added = write_key::<P>(body, &key, workspace);
            body.put(b":");
            added + write_value::<P>(body, &value, workspace)
        }
    }
}

/// A key is a string in JSON, whatever it was.
fn write_key<P: Place>(body: &mut Body, key: &Value<'_>, workspace: &mut Workspace) -> usize {
    let Value::Raw(raw) = key else { return write_value::<P>(body, key, workspace) };
    let scratch = &mut workspace.scratch;
    scratch.truncate(0);
    // The key was walked when its record was read: it is whole.
    let _ = msgpack::render_as_key(scratch, raw);
    from_scratch::<P>(body, scratch)
}

fn write_value<P: Place>(body: &mut Body, value: &Value<'_>, workspace: &mut Workspace) -> usize {
    let Value::Raw(raw) = value else {
        return value.with_text(|text| quoted::<P>(body, text)).unwrap_or_default();
    };
    let scratch = &mut workspace.scratch;
    scratch.truncate(0);
    render_or_null(scratch, raw);
    from_scratch::<P>(body, scratch)
}

/// Appends JSON that was written beside.
fn from_scratch<P: Place>(body: &mut Body, scratch: &Body) -> usize {
    if P::QUOTE.len() == 1 {
        body.put(scratch.as_slice());
        return 0;
    }
    let before = body.len();
    escape::once(body, scratch.as_slice());
    body.len() - before - scratch.len()
}

fn quoted<P: Place>(body: &mut Body, text: &[u8]) -> usize {
    body.put(P::QUOTE);
    let added = P::text(body, text);
    body.put(P::QUOTE);
    added + 2 * (P::QUOTE.len() - 1)
}

/// The value was walked when its record was read, so only its depth can be wrong: then it is too deep to show.
fn render_or_null(body: &mut Body, raw: &[u8]) {
    if msgpack::render(body, raw).is_err() {
        body.truncate(0);
        body.put(b"null");
    }
}

/// The pairs that count: without those whose key comes again.
fn remaining<'p, 'a>(pairs: &'p [Pair<'a>]) -> impl Iterator<Item = &'p Pair<'a>> {
    let repeats = may_repeat(pairs);
    let known = if repeats && pairs.len() > COMPARED_MAX { repeated(pairs) } else { Vec::new() };
    pairs.iter().enumerate().filter_map(move |(place, pair)| {
        let again = repeats && known.get(place).copied().unwrap_or_else(|| comes_again(pair, &pairs[place + 1..]));
        (!again).then_some(pair)
    })
}

/// False if surely no key comes twice: each key sets a bit of its own.
#[inline]
fn may_repeat(pairs: &[Pair<'_>]) -> bool {
    let mut seen = 0u128;
    for pair in pairs {
        let bit = 1u128 << pair.mark();
        if seen & bit != 0 {
            return true;
        }
        seen |= bit;
    }
    false
}

#[cold]
fn comes_again(pair: &Pair<'_>, later: &[Pair<'_>]) -> bool {
    pair.name().is_some_and(|name| later.iter().any(|other| other.name() == Some(name)))
}

/// For each of many pairs, whether its key comes again: found by sorting, because to compare each key with each other
/// took hours for the most that fit a message.
#[cold]
fn repeated(pairs: &[Pair<'_>]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_unstable_by_key(|&place| (pairs[place].name(), place));
    let mut repeated = vec![false; pairs.len()];
    for both in order.windows(2) {
        let name = pairs[both[0]].name();
        repeated[both[0]] = name.is_some() && name == pairs[both[1]].name();
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RECORD_FIELDS_MAX;
    use crate::logs::record::Uuid;

    fn both(pairs: Vec<Pair<'_>>) -> (String, String) {
        let record = Record { pairs, ..Record::default() };
        let (mut plain, mut inside, mut workspace) = (Body::default(), Body::default(), Workspace::default());
        object(&mut plain, &record, &mut workspace);
        inside.put(b"\"");
        let added = object_in_string(&mut inside, &record, &mut workspace);
        inside.put(b"\"");
        let plain = String::from_utf8(plain.into_bytes()).expect("JSON is UTF-8");
        let inside: String = serde_json::from_slice(inside.as_slice())
            .inspect(|inner: &String| {
                assert_eq!(inner.len() + added + 2, inside.len(), "added bytes of {inner}");
            })
            .expect("a JSON string");
        (plain, inside)
    }

    fn text<'a>(key: &'a str, value: &'a str) -> Pair<'a> {
        Pair { key: Value::Str(key.as_bytes()), value: Value::Str(value.as_bytes()) }
    }

    #[test]
    fn an_object_is_the_same_plain_and_in_a_string() {
        let fixed = Fixed::new("ecs_cluster", "my \"cluster\"\n");
        let nested = [0x81, 0xa1, b'"', 0x92, 0x01, 0xa1, b'\\'];
        let pairs = vec![
            text("log", "a \"quoted\" line\t\\"),
            Pair { key: Value::Str(b"n"), value: Value::Raw(&nested) },
            Pair { key: Value::Raw(&[7]), value: Value::Bin(b"x\"y") },
            Pair { key: Value::Str(b"nil"), value: Value::Raw(&[0xc0]) },
            Pair::fixed(&fixed),
        ];
        let uuid = Uuid::random();
        let (plain, inside) = both(vec![Pair { key: Value::Str(b"id"), value: Value::Uuid(uuid) }]);
        assert_eq!(plain, format!("{{\"id\":\"{}\"}}", String::from_utf8_lossy(&uuid.text())));
        assert_eq!(plain, inside);
        let (plain, inside) = both(pairs);
        assert_eq!(plain, inside);
        assert_eq!(
            plain,
            r#"{"log":"a \"quoted\" line\t\\","n":{"\"":[1,"\\"]},"7":"x\"y","nil":null,"ecs_cluster":"my \"cluster\"\n"}"#
        );
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_one_counts() {
        let fixed = Fixed::new("a", "added");
        let (plain, inside) = both(vec![text("a", "1"), text("b", "2"), text("a", "3"), Pair::fixed(&fixed)]);
        assert_eq!(plain, r#"{"b":"2","a":"added"}"#);
        assert_eq!(plain, inside);
    }

    /// Beyond a few keys they are sorted, and the same comes out.
    #[test]
    fn many_keys_are_told_apart_like_few() {
        let names: Vec<String> = (0..RECORD_FIELDS_MAX).map(|n| format!("k{}", n % 1_000)).collect();
        let mut pairs: Vec<_> = names.iter().map(|name| text(name, name)).collect();
        pairs.push(Pair { key: Value::Raw(&[7]), value: Value::Raw(&[8]) });
        pairs.push(Pair { key: Value::Raw(&[7]), value: Value::Raw(&[9]) });
        let (plain, inside) = both(pairs.clone());
        assert_eq!(plain, inside);
        assert_eq!(plain.matches("\"k17\":").count(), 1);
        assert_eq!(plain.matches("\":").count(), 1_000 + 2, "what is no text is not compared");
        for count in [31, 32, 33, 40] {
            let few: Vec<_> = pairs[..count].iter().chain(&pairs[5..9]).copied().collect();
            let (plain, _) = both(few);
            assert_eq!(plain.matches("\":").count(), count);
            assert!(plain.ends_with(r#""k5":"k5","k6":"k6","k7":"k7","k8":"k8"}"#), "{plain}");
        }
    }

    #[test]
    fn the_beginning_is_that_of_the_whole() {
        let nested = [&[0x92, 0xda, 0x01, 0x2c][..], &[b'"'; 300], &[0x93, 1, 2, 3]].concat();
        let fixed = Fixed::new("ecs_cluster", "c");
        let pairs = vec![
            text("log", "a \"line\""),
            Pair { key: Value::Str(b"nested"), value: Value::Raw(&nested) },
            text("again", "1"),
            text("again", "\u{fffd}2"),
            Pair { key: Value::Raw(&[0x91, 1]), value: Value::Bin(b"\xff\xe4\xb8") },
            Pair::fixed(&fixed),
        ];
        let record = Record { pairs, ..Record::default() };
        let (mut whole, mut workspace) = (Body::default(), Workspace::default());
        object(&mut whole, &record, &mut workspace);
        for bytes_max in 0..whole.len() + 10 {
            let mut beginning = Body::default();
            object_beginning(&mut beginning, &record, &mut workspace, bytes_max);
            let same = bytes_max.min(whole.len());
            assert_eq!(beginning.as_slice()[..same], whole.as_slice()[..same], "{bytes_max}");
            assert_eq!(beginning.len() > bytes_max, whole.len() > bytes_max, "{bytes_max}");
            assert!(beginning.len() <= 7 * bytes_max + 100, "{bytes_max}: {}", beginning.len());
        }
    }

    #[test]
    fn an_empty_record_is_an_empty_object() {
        assert_eq!(both(vec![]), ("{}".to_owned(), "{}".to_owned()));
    }
}
