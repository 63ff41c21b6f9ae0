//! A record as a JSON object, plain or inside a JSON string.
//!
//! Promises: keys in the record's order; of a key that comes twice the last one counts, as in Fluent Bit, so that a field
//! the configuration adds wins.
//! Never: builds a tree. Only values nested in a record inside a string are written twice.

use super::{
    json, msgpack,
    record::{Fixed, Pair, Record, Value},
};
use crate::deliver::body::Body;

/// How an object's text is written.
trait Place {
    /// A quotation mark.
    const QUOTE: &'static [u8];
    /// Between a key and a value that are text.
    const BETWEEN: &'static [u8];
    /// Appends text and says how many bytes the escaping of the place added.
    fn text(body: &mut Body, text: &[u8]) -> usize;
    /// A constant, and how many bytes of it the escaping of the place added.
    fn fixed(fixed: &Fixed) -> (&[u8], usize);
}

struct Plain;
struct InString;

impl Place for Plain {
    const QUOTE: &'static [u8] = b"\"";
    const BETWEEN: &'static [u8] = b"\":\"";

    #[inline]
    fn text(body: &mut Body, text: &[u8]) -> usize {
        json::once(body, text);
        0
    }

    fn fixed(fixed: &Fixed) -> (&[u8], usize) {
        (fixed.once(), 0)
    }
}

impl Place for InString {
    const QUOTE: &'static [u8] = b"\\\"";
    const BETWEEN: &'static [u8] = b"\\\":\\\"";

    #[inline]
    fn text(body: &mut Body, text: &[u8]) -> usize {
        json::twice(body, text)
    }

    fn fixed(fixed: &Fixed) -> (&[u8], usize) {
        (fixed.twice(), fixed.twice().len() - fixed.once().len())
    }
}

/// Appends the record as a JSON object.
pub fn object(body: &mut Body, record: &Record<'_>, scratch: &mut Body) {
    write::<Plain>(body, &record.pairs, scratch);
}

/// Appends the record as a JSON object that stands in a JSON string, and says how many bytes that escaping added.
#[inline]
pub fn object_in_string(body: &mut Body, record: &Record<'_>, scratch: &mut Body) -> usize {
    write::<InString>(body, &record.pairs, scratch)
}

/// Appends a value as it would stand in an object.
pub fn value(body: &mut Body, value: &Value<'_>, scratch: &mut Body) {
    write_value::<Plain>(body, value, scratch);
}

#[inline]
fn write<P: Place>(body: &mut Body, pairs: &[Pair<'_>], scratch: &mut Body) -> usize {
    let repeats = may_repeat(pairs);
    let mut added = 0;
    let mut first = true;
    body.put(b"{");
    for (place, pair) in pairs.iter().enumerate() {
        if repeats && comes_again(pair, &pairs[place + 1..]) {
            continue;
        }
        if !first {
            body.put(b",");
        }
        first = false;
        added += write_pair::<P>(body, pair, scratch);
    }
    body.put(b"}");
    added
}

#[inline]
fn write_pair<P: Place>(body: &mut Body, pair: &Pair<'_>, scratch: &mut Body) -> usize {
    match (pair.key, pair.value) {
        (Value::Str(key), Value::Str(text)) => {
            body.put(P::QUOTE);
            let mut added = P::text(body, key);
            body.put(P::BETWEEN);
            added += P::text(body, text);
            body.put(P::QUOTE);
            added + 4 * (P::QUOTE.len() - 1)
        }
        (Value::Fixed(fixed), Value::Fixed(_)) => {
            let (text, added) = P::fixed(fixed);
            body.put(text);
            added
        }
        (key, value) => {
            let added = write_key::<P>(body, &key, scratch);
            body.put(b":");
            added + write_value::<P>(body, &value, scratch)
        }
    }
}

/// A key is a string in JSON, whatever it was.
fn write_key<P: Place>(body: &mut Body, key: &Value<'_>, scratch: &mut Body) -> usize {
    let Value::Raw(raw) = key else { return write_value::<P>(body, key, scratch) };
    scratch.truncate(0);
    render_or_null(scratch, raw);
    quoted::<P>(body, scratch.as_slice())
}

fn write_value<P: Place>(body: &mut Body, value: &Value<'_>, scratch: &mut Body) -> usize {
    let Value::Raw(raw) = value else { return quoted::<P>(body, value.text().unwrap_or_default()) };
    scratch.truncate(0);
    render_or_null(scratch, raw);
    if P::QUOTE.len() == 1 {
        body.put(scratch.as_slice());
        return 0;
    }
    let before = body.len();
    json::once(body, scratch.as_slice());
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

/// False if surely no key comes twice: each key sets a bit of its own.
#[inline]
fn may_repeat(pairs: &[Pair<'_>]) -> bool {
    let mut seen = 0u128;
    for pair in pairs {
        let name = pair.name().unwrap_or_default();
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        let sum = name.len().wrapping_mul(37) + usize::from(first).wrapping_mul(11) + usize::from(last);
        let bit = 1u128 << (sum % 128);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn both(pairs: Vec<Pair<'_>>) -> (String, String) {
        let record = Record { pairs, ..Record::default() };
        let (mut plain, mut inside, mut scratch) = (Body::default(), Body::default(), Body::default());
        object(&mut plain, &record, &mut scratch);
        inside.put(b"\"");
        let added = object_in_string(&mut inside, &record, &mut scratch);
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

    #[test]
    fn an_empty_record_is_an_empty_object() {
        assert_eq!(both(vec![]), ("{}".to_owned(), "{}".to_owned()));
    }
}
