//! Fluent Bit's record accessor: `$log`, `$kubernetes['labels']['app']`, `$list[0]`, `$TAG`, `$TAG[1]`.
//!
//! Promises: finds the last of several fields with one name, as the JSON of the record would show it; walks nested
//! msgpack without recursion and without trusting a length.
//! Never: copies a value. What it finds points into the record.
//!
//! One difference to Fluent Bit: `$a['b']` of a record whose `a` is not a map is nothing here; there it is `a` itself.

use std::borrow::Cow;

use super::{
    msgpack::{Cursor, Marker},
    record::{Record, Value},
};

/// The longest text that one value gives to a name: the length CloudWatch Logs allows a group or stream.
pub const NAME_BYTES_MAX: usize = 512;

/// A place in a record, or its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accessor {
    /// `$TAG`.
    Tag,
    /// `$TAG[n]`: the n-th of the tag's parts between dots, from 0.
    TagPart(usize),
    /// `$name` and the steps behind it.
    Field {
        /// The field of the record.
        name: String,
        /// The way from the field's value inwards.
        steps: Vec<Step>,
    },
}

/// A step into a nested value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `['key']` of a map.
    Key(String),
    /// `[index]` of an array.
    Index(usize),
}

impl Accessor {
    /// Reads an accessor. The `$` may be missing, as in Fluent Bit's `grep`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_prefix('$').unwrap_or(text);
        let end = body.find('[').unwrap_or(body.len());
        let (name, brackets) = body.split_at(end);
        let steps = steps(brackets).ok_or_else(|| {
            format!("`{text}` does not name a field; write `name`, `$name['key']['key']` or `$name['key'][0]`")
        })?;
        match (name, &steps[..]) {
            ("", _) => Err(format!("`{text}` does not name a field; write `name` or `$name['key']`")),
            ("TAG", []) if text.starts_with('$') => Ok(Self::Tag),
            ("TAG", [Step::Index(index)]) if text.starts_with('$') => Ok(Self::TagPart(*index)),
            _ => Ok(Self::Field { name: name.to_owned(), steps }),
        }
    }

    /// What stands there in `record`; nothing for the tag, which is not in the record.
    pub fn resolve<'a>(&self, record: &Record<'a>) -> Option<Value<'a>> {
        let Self::Field { name, steps } = self else { return None };
        let value = record.get(name.as_bytes())?;
        if steps.is_empty() {
            return Some(value);
        }
        let Value::Raw(mut bytes) = value else { return None };
        for step in steps {
            bytes = match step {
                Step::Key(key) => map_value(bytes, key.as_bytes())?,
                Step::Index(index) => array_element(bytes, *index)?,
            };
        }
        Some(value_of(bytes))
    }

    /// The text for a name: of the tag, or of what stands there in `record` (see [`plain_text`]).
    pub fn text<'a>(&self, tag: &'a str, record: &Record<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Tag => Some(capped(tag.as_bytes())),
            Self::TagPart(index) => tag.split('.').nth(*index).map(|part| capped(part.as_bytes())),
            Self::Field { .. } => plain_text(&self.resolve(record)?),
        }
    }
}

/// A value as text for a name: text as it is, numbers and booleans as Fluent Bit prints them, nil as `null`; nothing
/// for arrays, maps and extensions. At most [`NAME_BYTES_MAX`] bytes, cut between characters; broken UTF-8 becomes
/// U+FFFD.
pub fn plain_text<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    match *value {
        Value::Raw(bytes) => scalar(bytes).map(Cow::from),
        Value::Uuid(uuid) => Some(capped(&uuid.text()).into_owned().into()),
        _ => value.text().map(capped),
    }
}

fn scalar(bytes: &[u8]) -> Option<String> {
    match Cursor::new(bytes).marker().ok()? {
        Marker::Nil => Some("null".to_owned()),
        Marker::Bool(value) => Some(value.to_string()),
        Marker::Unsigned(n) => Some(n.to_string()),
        Marker::Signed(n) => Some(n.to_string()),
        Marker::F32(x) => Some(format!("{x:.6}")),
        Marker::F64(x) => Some(format!("{x:.6}")),
        Marker::Str(_) | Marker::Bin(_) | Marker::Array(_) | Marker::Map(_) | Marker::Ext(..) => None,
    }
}

/// At most [`NAME_BYTES_MAX`] bytes of `text`.
fn capped(text: &[u8]) -> Cow<'_, str> {
    let cut = &text[..text.len().min(NAME_BYTES_MAX + 3)];
    let mut text = String::from_utf8_lossy(cut);
    if text.len() > NAME_BYTES_MAX {
        let end = text.floor_char_boundary(NAME_BYTES_MAX);
        match &mut text {
            Cow::Borrowed(text) => *text = &text[..end],
            Cow::Owned(text) => text.truncate(end),
        }
    }
    text
}

/// `['key']` and `[index]`, one after another. `''` in a key is one quote.
fn steps(mut text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !text.is_empty() {
        let inner = text.strip_prefix('[')?;
        let (step, rest) = match inner.chars().next()? {
            quote @ ('\'' | '"') => quoted(&inner[1..], quote).map(|(key, rest)| (Step::Key(key), rest))?,
            _ => {
                let end = inner.find(']')?;
                (Step::Index(inner[..end].trim().parse().ok()?), &inner[end..])
            }
        };
        steps.push(step);
        text = rest.strip_prefix(']')?;
    }
    Some(steps)
}

/// The key up to its closing quote, and what stands behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(quote)?;
        key.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(more) => {
                key.push(quote);
                rest = more;
            }
            None => return Some((key, rest)),
        }
    }
}

/// The last value of `key` in the map that `bytes` are.
fn map_value<'a>(bytes: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(bytes);
    let pairs = cursor.map().ok()?;
    let mut found = None;
    for _ in 0..pairs {
        let name = cursor.value().ok()?;
        let value = cursor.value().ok()?;
        if Cursor::new(name).text() == Ok(key) {
            found = Some(value);
        }
    }
    found
}

/// The element at `index` of the array that `bytes` are.
fn array_element(bytes: &[u8], index: usize) -> Option<&[u8]> {
    let mut cursor = Cursor::new(bytes);
    if index >= cursor.array().ok()? {
        return None;
    }
    for _ in 0..index {
        cursor.value().ok()?;
    }
    cursor.value().ok()
}

/// The value that `bytes` are.
fn value_of(bytes: &[u8]) -> Value<'_> {
    let mut cursor = Cursor::new(bytes);
    match cursor.marker() {
        Ok(Marker::Str(n)) => cursor.take(n).map_or(Value::Raw(bytes), Value::Str),
        Ok(Marker::Bin(n)) => cursor.take(n).map_or(Value::Raw(bytes), Value::Bin),
        _ => Value::Raw(bytes),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value as Tree;

    use super::*;
    use crate::logs::record::{Fixed, Pair};

    fn msgpack(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, tree).expect("a vector takes all");
        bytes
    }

    /// A record of one field `a` that holds `bytes`.
    fn record(bytes: &[u8]) -> Record<'_> {
        let value = value_of(bytes);
        Record { pairs: vec![Pair { key: Value::Str(b"a"), value }], ..Record::default() }
    }

    fn text(accessor: &str, bytes: &[u8]) -> Option<String> {
        let accessor = Accessor::parse(accessor).expect(accessor);
        accessor.text("app.firelens.0123", &record(bytes)).map(Cow::into_owned)
    }

    #[test]
    fn accessors_are_read() {
        let field = |name: &str, steps: Vec<Step>| Accessor::Field { name: name.to_owned(), steps };
        for (written, meant) in [
            ("log", field("log", vec![])),
            ("$log", field("log", vec![])),
            ("$a.b-c/d_e", field("a.b-c/d_e", vec![])),
            ("$a['b']", field("a", vec![Step::Key("b".into())])),
            (
                "a['b'][12]['it''s]']",
                field("a", vec![Step::Key("b".into()), Step::Index(12), Step::Key("it's]".into())]),
            ),
            ("$TAG", Accessor::Tag),
            ("$TAG[2]", Accessor::TagPart(2)),
            ("TAG", field("TAG", vec![])),
            ("$TAG['x']", field("TAG", vec![Step::Key("x".into())])),
        ] {
            assert_eq!(Accessor::parse(written), Ok(meant), "{written}");
        }
        for wrong in
            ["", "$", "$['a']", "$a[", "$a['b'", "$a[b]", "$a[-1]", "$a['b']c", "$a['b", "$a[99999999999999999999999]"]
        {
            assert!(Accessor::parse(wrong).expect_err(wrong).contains("does not name a field"), "{wrong}");
        }
    }

    #[test]
    fn nested_values_are_found_and_the_last_of_a_name_wins() {
        let map = msgpack(&Tree::Map(vec![
            ("b".into(), "first".into()),
            (7.into(), "number as a name".into()),
            ("list".into(), Tree::Array(vec![1.into(), Tree::Map(vec![("c".into(), "deep".into())])])),
            ("b".into(), "last".into()),
            ("bytes".into(), Tree::Binary(b"raw".to_vec())),
        ]));
        for (accessor, expected) in [
            ("$a['b']", Some("last")),
            ("$a['list'][0]", Some("1")),
            ("$a['list'][1]['c']", Some("deep")),
            ("$a['bytes']", Some("raw")),
            ("$a['list'][2]", None),
            ("$a['list']['c']", None),
            ("$a[0]", None),
            ("$a['b']['c']", None),
            ("$a['missing']", None),
            ("$missing['b']", None),
            ("$a", None),
            ("$TAG", Some("app.firelens.0123")),
            ("$TAG[0]", Some("app")),
            ("$TAG[2]", Some("0123")),
            ("$TAG[3]", None),
        ] {
            assert_eq!(text(accessor, &map).as_deref(), expected, "{accessor}");
        }
        assert!(Accessor::Tag.resolve(&record(&map)).is_none());
    }

    #[test]
    fn scalars_are_printed_as_fluent_bit_prints_them() {
        for (tree, expected) in [
            (Tree::Nil, Some("null")),
            (true.into(), Some("true")),
            (false.into(), Some("false")),
            ((-1).into(), Some("-1")),
            (i64::MIN.into(), Some("-9223372036854775808")),
            (u64::MAX.into(), Some("18446744073709551615")),
            (300.into(), Some("300")),
            (1.5_f64.into(), Some("1.500000")),
            (0.25_f32.into(), Some("0.250000")),
            ("é".into(), Some("é")),
            (Tree::Ext(0, vec![0; 8]), None),
            (Tree::Array(vec![]), None),
        ] {
            assert_eq!(text("$a", &msgpack(&tree)).as_deref(), expected, "{tree}");
        }
        let fixed = Fixed::new("ecs_cluster", "prod");
        let record = Record { pairs: vec![Pair::fixed(&fixed)], ..Record::default() };
        let accessor = Accessor::parse("$ecs_cluster").expect("reads");
        assert_eq!(accessor.text("", &record).as_deref(), Some("prod"));
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        let long = format!("{}é{}", "x".repeat(NAME_BYTES_MAX - 1), "y".repeat(1 << 20));
        assert_eq!(text("$a", &msgpack(&long.into())).map(|name| name.len()), Some(NAME_BYTES_MAX - 1));
        assert_eq!(plain_text(&Value::Str(&[0xFF; 600])).map(|name| name.len()), Some(510));
        assert_eq!(Accessor::Tag.text(&"t".repeat(600), &Record::default()).map(|name| name.len()), Some(512));
    }

    /// Lengths that lie, and nesting that would overflow a stack.
    #[test]
    fn hostile_values_are_nothing() {
        for hostile in [
            &[0xdf, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0x81, 0xa5, b'x'],
            &[0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, b'b'],
            &[0x81, 0xa1, b'b', 0xc9, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x81, 0xa1, b'b'],
            &[],
            &[0x91; 1_000_000],
        ] {
            let record =
                Record { pairs: vec![Pair { key: Value::Str(b"a"), value: Value::Raw(hostile) }], ..Record::default() };
            for accessor in ["$a['b']", "$a[0]", "$a['b']['c']"] {
                let accessor = Accessor::parse(accessor).expect("reads");
                assert!(
                    accessor.text("", &record).is_none(),
                    "{accessor:?} of {:x?}",
                    &hostile[..hostile.len().min(9)]
                );
            }
        }
        assert!(plain_text(&Value::Raw(&[])).is_none() && plain_text(&Value::Raw(&[0xcb, 1])).is_none());
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nil),
            any::<bool>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            any::<f64>().prop_map(Tree::from),
            "[a-c]{0,40}".prop_map(Tree::from),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Binary),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Tree::Ext(5, bytes)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
                prop::collection::vec(("[a-c]{1,2}".prop_map(Tree::from), inner), 0..20).prop_map(Tree::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn property_a_field_is_found_as_in_a_tree(tree in tree(), key in "[a-c]{1,2}", index in 0_usize..4) {
            let bytes = msgpack(&tree);
            let expected = match &tree {
                Tree::Map(pairs) => pairs.iter().rev().find(|(name, _)| name.as_str() == Some(&*key)).map(|(_, value)| msgpack(value)),
                _ => None,
            };
            let found = map_value(&bytes, key.as_bytes()).map(<[u8]>::to_vec);
            prop_assert_eq!(found, expected);
            let expected = tree.as_array().and_then(|list| list.get(index)).map(msgpack);
            let found = array_element(&bytes, index).map(<[u8]>::to_vec);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn property_noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let record = Record { pairs: vec![Pair { key: Value::Str(b"a"), value: Value::Raw(&bytes) }], ..Record::default() };
            for accessor in ["$a['b']", "$a[1]", "$a"] {
                let _ = Accessor::parse(accessor).unwrap().text("", &record);
            }
        }
    }
}
