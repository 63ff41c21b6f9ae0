//! Msgpack, walked in place: markers and lengths, borrowed text, no tree.
//!
//! Cost: about 17 ns for a record of four fields (measured). Lengths come from outside: they are compared with the bytes
//! that are there and never used to allocate.
//!
//! Promises: never reads past the bytes given; says apart "not whole yet" and "cannot become whole".
//! Never: recurses, except to render nested values, and there to a fixed depth.

mod walk;

pub use walk::Walk;

use crate::{
    deliver::{body::Body, escape},
    limits::MSGPACK_DEPTH_MAX,
};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The bytes end within a value.
    Short,
    /// 0xc1, which msgpack never uses.
    Marker,
    /// A value of another type than expected.
    Type,
    /// Nested deeper than [`MSGPACK_DEPTH_MAX`].
    Depth,
    /// More JSON than was asked for.
    Long,
}

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Marker {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A number without a sign.
    Unsigned(u64),
    /// A number with a sign.
    Signed(i64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// Text of so many bytes.
    Str(usize),
    /// So many bytes.
    Bin(usize),
    /// So many values follow.
    Array(usize),
    /// So many keys and values follow.
    Map(usize),
    /// An extension: type and bytes.
    Ext(i8, usize),
}

/// A place in msgpack bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The first byte not read yet.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Reads a marker with its length or number, not what follows it.
    #[inline]
    pub fn marker(&mut self) -> Result<Marker, Broken> {
        let (&first, rest) = self.0.split_first().ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(match first {
            0x00..=0x7f => Marker::Unsigned(u64::from(first)),
            0x80..=0x8f => Marker::Map(usize::from(first & 0x0f)),
            0x90..=0x9f => Marker::Array(usize::from(first & 0x0f)),
            0xa0..=0xbf => Marker::Str(usize::from(first & 0x1f)),
            0xe0..=0xff => Marker::Signed(i64::from(first.cast_signed())),
            _ => return self.long_marker(first),
        })
    }

    fn long_marker(&mut self, first: u8) -> Result<Marker, Broken> {
        Ok(match first {
            0xc0 => Marker::Nil,
            0xc2 => Marker::Bool(false),
            0xc3 => Marker::Bool(true),
            0xc4 => Marker::Bin(self.length::<1>()?),
            0xc5 => Marker::Bin(self.length::<2>()?),
            0xc6 => Marker::Bin(self.length::<4>()?),
            0xc7 => self.extension::<1>()?,
            0xc8 => self.extension::<2>()?,
            0xc9 => self.extension::<4>()?,
            0xca => Marker::F32(f32::from_be_bytes(self.fixed()?)),
            0xcb => Marker::F64(f64::from_be_bytes(self.fixed()?)),
            0xcc => Marker::Unsigned(u64::from(u8::from_be_bytes(self.fixed()?))),
            0xcd => Marker::Unsigned(u64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Marker::Unsigned(u64::from(u32::from_be_bytes(self.fixed()?))),
            0xcf => Marker::Unsigned(u64::from_be_bytes(self.fixed()?)),
            0xd0 => Marker::Signed(i64::from(i8::from_be_bytes(self.fixed()?))),
            0xd1 => Marker::Signed(i64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => Marker::Signed(i64::from(i32::from_be_bytes(self.fixed()?))),
            0xd3 => Marker::Signed(i64::from_be_bytes(self.fixed()?)),
            0xd4..=0xd8 => Marker::Ext(i8::from_be_bytes(self.fixed()?), 1 << (first - 0xd4)),
            0xd9 => Marker::Str(self.length::<1>()?),
            0xda => Marker::Str(self.length::<2>()?),
            0xdb => Marker::Str(self.length::<4>()?),
            0xdc => Marker::Array(self.length::<2>()?),
            0xdd => Marker::Array(self.length::<4>()?),
            0xde => Marker::Map(self.length::<2>()?),
            0xdf => Marker::Map(self.length::<4>()?),
            _ => return Err(Broken::Marker),
        })
    }

    /// Takes the next `n` bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads text of the three usual lengths, or nothing if something else comes next.
    #[inline]
    pub fn usual_text(&mut self) -> Option<&'a [u8]> {
        let (length, after) = match self.0 {
            [first @ 0xa0..=0xbf, after @ ..] => (usize::from(first & 0x1f), after),
            [0xd9, length, after @ ..] => (usize::from(*length), after),
            [0xda, high, low, after @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), after),
            _ => return None,
        };
        let (text, rest) = after.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// Reads text or binary.
    #[inline]
    pub fn text(&mut self) -> Result<&'a [u8], Broken> {
        match self.marker()? {
            Marker::Str(n) | Marker::Bin(n) => self.take(n),
            _ => Err(Broken::Type),
        }
    }

    /// Reads an array's header.
    pub fn array(&mut self) -> Result<usize, Broken> {
        match self.marker()? {
            Marker::Array(n) => Ok(n),
            _ => Err(Broken::Type),
        }
    }

    /// Reads a map's header.
    #[inline]
    pub fn map(&mut self) -> Result<usize, Broken> {
        match self.marker()? {
            Marker::Map(n) => Ok(n),
            _ => Err(Broken::Type),
        }
    }

    /// Passes over one value, however deep, and returns its bytes.
    pub fn value(&mut self) -> Result<&'a [u8], Broken> {
        let start = self.0;
        let mut walk = Walk::default();
        walk.advance(start)?;
        self.take(walk.position)
    }

    /// Passes over one value and returns its bytes, unless it is nested deeper than [`MSGPACK_DEPTH_MAX`].
    pub fn shallow_value(&mut self) -> Result<&'a [u8], Broken> {
        let start = self.0;
        if let values @ 1.. = self.leaf_or_values()? {
            self.nested(values)?;
        }
        Ok(&start[..start.len() - self.0.len()])
    }

    /// Passes over a value that holds no others, or over the header of one that does; returns how many it holds.
    fn leaf_or_values(&mut self) -> Result<u64, Broken> {
        match self.marker()? {
            Marker::Str(n) | Marker::Bin(n) | Marker::Ext(_, n) => self.take(n).map(|_| 0),
            Marker::Array(n) => Ok(n as u64),
            Marker::Map(n) => Ok(n as u64 * 2),
            _ => Ok(0),
        }
    }

    fn nested(&mut self, values: u64) -> Result<(), Broken> {
        let mut left = [0; MSGPACK_DEPTH_MAX];
        left[0] = values;
        let mut depth = 0;
        loop {
            while left[depth] == 0 {
                let Some(outer) = depth.checked_sub(1) else { return Ok(()) };
                depth = outer;
            }
            left[depth] -= 1;
            if let values @ 1.. = self.leaf_or_values()? {
                depth += 1;
                *left.get_mut(depth).ok_or(Broken::Depth)? = values;
            }
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, Broken> {
        Ok(self.fixed::<N>()?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    fn extension<const N: usize>(&mut self) -> Result<Marker, Broken> {
        let length = self.length::<N>()?;
        Ok(Marker::Ext(i8::from_be_bytes(self.fixed()?), length))
    }
}

/// Appends one value as JSON. What JSON cannot say is written as Fluent Bit does: binary as text, extensions as the hex
/// of their bytes, NaN and infinities as null.
pub fn render(body: &mut Body, value: &[u8]) -> Result<(), Broken> {
    render_beginning(body, value, usize::MAX)
}

/// Appends one value as JSON like [`render`], but ends with [`Broken::Long`] or in the middle of a text, which is then
/// not the whole value, once `body` holds more than `bytes_max` bytes.
pub fn render_beginning(body: &mut Body, value: &[u8], bytes_max: usize) -> Result<(), Broken> {
    render_next(body, &mut Cursor(value), MSGPACK_DEPTH_MAX, bytes_max)
}

fn render_next(body: &mut Body, cursor: &mut Cursor<'_>, depth: usize, bytes_max: usize) -> Result<(), Broken> {
    if body.len() > bytes_max {
        return Err(Broken::Long);
    }
    let marker = cursor.marker()?;
    if depth == 0 && matches!(marker, Marker::Array(1..) | Marker::Map(1..)) {
        return Err(Broken::Depth);
    }
    match marker {
        Marker::Str(n) | Marker::Bin(n) => quoted(body, first(cursor.take(n)?, bytes_max)),
        Marker::Ext(_, n) => hex(body, first(cursor.take(n)?, bytes_max)),
        Marker::Array(n) => {
            body.put(b"[");
            for place in 0..n {
                if place > 0 {
                    body.put(b",");
                }
                render_next(body, cursor, depth - 1, bytes_max)?;
            }
            body.put(b"]");
        }
        Marker::Map(n) => {
            body.put(b"{");
            for place in 0..n {
                if place > 0 {
                    body.put(b",");
                }
                render_key(body, cursor, bytes_max)?;
                body.put(b":");
                render_next(body, cursor, depth - 1, bytes_max)?;
            }
            body.put(b"}");
        }
        scalar => render_scalar(body, scalar),
    }
    Ok(())
}

/// Appends one value as the key of a JSON object, which is a string whatever msgpack allows.
pub fn render_as_key(body: &mut Body, value: &[u8]) -> Result<(), Broken> {
    render_key(body, &mut Cursor(value), usize::MAX)
}

/// An array or a map is no name: it is written as the hex of its bytes. As JSON in a string it would double its
/// backslashes at each level of keys in keys, and forty bytes would become terabytes.
fn render_key(body: &mut Body, cursor: &mut Cursor<'_>, bytes_max: usize) -> Result<(), Broken> {
    let start = *cursor;
    match cursor.marker()? {
        Marker::Str(n) | Marker::Bin(n) => quoted(body, first(cursor.take(n)?, bytes_max)),
        Marker::Ext(_, n) => hex(body, first(cursor.take(n)?, bytes_max)),
        Marker::Array(_) | Marker::Map(_) => {
            *cursor = start;
            hex(body, first(cursor.value()?, bytes_max));
        }
        scalar => {
            body.put(b"\"");
            render_scalar(body, scalar);
            body.put(b"\"");
        }
    }
    Ok(())
}

/// At most `bytes_max` bytes. Each becomes one or more: what is left out would stand behind that many.
fn first(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

fn render_scalar(body: &mut Body, marker: Marker) {
    match marker {
        Marker::Bool(value) => body.put(if value { b"true" } else { b"false" }),
        Marker::Unsigned(n) => body.put(n.to_string().as_bytes()),
        Marker::Signed(n) => body.put(n.to_string().as_bytes()),
        Marker::F32(x) => float(body, f64::from(x)),
        Marker::F64(x) => float(body, x),
        _ => body.put(b"null"),
    }
}

fn quoted(body: &mut Body, text: &[u8]) {
    body.put(b"\"");
    escape::once(body, text);
    body.put(b"\"");
}

fn float(body: &mut Body, x: f64) {
    let text = match x {
        x if !x.is_finite() => "null".to_owned(),
        x if x == x.trunc() && x.abs() < 1e16 => format!("{x:.1}"),
        x if x.abs() < 1e-5 || x.abs() >= 1e16 => format!("{x:e}"),
        x => x.to_string(),
    };
    body.put(text.as_bytes());
}

fn hex(body: &mut Body, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    body.put(b"\"");
    for &byte in bytes {
        body.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    body.put(b"\"");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(value: &[u8]) -> Result<String, Broken> {
        let mut body = Body::default();
        render(&mut body, value)?;
        Ok(String::from_utf8(body.into_bytes()).expect("JSON is UTF-8"))
    }

    #[test]
    fn every_type_is_rendered() {
        for (value, expected) in [
            (&[0xc0][..], "null"),
            (&[0xc3], "true"),
            (&[0x7f], "127"),
            (&[0xff], "-1"),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"),
            (&[0xd3, 128, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
            (&[0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a], "0.1"),
            (&[0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0], "2.0"),
            (&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "null"),
            (&[0xcb, 0x7e, 0x37, 0xe4, 0x3c, 0x88, 0, 0x75, 0x9c], "1e300"),
            (&[0xa2, b'h', b'"'], r#""h\"""#),
            (&[0xc4, 2, b'o', b'k'], r#""ok""#),
            (&[0xd4, 5, 0xab], r#""ab""#),
            (&[0x92, 1, 0x81, 0xa1, b'k', 0x90], r#"[1,{"k":[]}]"#),
            (&[0x82, 1, 2, 0xc2, 3], r#"{"1":2,"false":3}"#),
            (&[0x82, 0xd4, 5, 0xab, 2, 0x91, 0xa1, b'"', 3], r#"{"ab":2,"91a122":3}"#),
        ] {
            let text = rendered(value).expect("well-formed");
            assert_eq!(text, expected);
            serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
        }
    }

    #[test]
    fn lying_lengths_and_deep_nesting_are_refused() {
        for (value, broken) in [
            (&[][..], Broken::Short),
            (&[0xc1], Broken::Marker),
            (&[0xdb, 255, 255, 255, 255, b'x'], Broken::Short),
            (&[0xdd, 255, 255, 255, 255], Broken::Short),
            (&[0xdf, 255, 255, 255, 255, 1], Broken::Short),
            (&[0xc9, 255, 255, 255, 255, 0], Broken::Short),
            (&[0x91; 100_000], Broken::Short),
        ] {
            assert_eq!(Cursor::new(value).value(), Err(broken), "{:?}", &value[..value.len().min(8)]);
        }
        let mut deep = vec![0x91; MSGPACK_DEPTH_MAX + 1];
        deep.push(0xc0);
        assert_eq!(Cursor::new(&deep).value().map(<[u8]>::len), Ok(deep.len()));
        assert_eq!(Cursor::new(&deep).shallow_value(), Err(Broken::Depth));
        assert_eq!(Cursor::new(&deep[1..]).shallow_value(), Ok(&deep[1..]));
        assert!(rendered(&deep[1..]).is_ok(), "what is let in can be shown");
        assert_eq!(rendered(&deep), Err(Broken::Depth));
    }

    /// Keys in keys doubled their backslashes at each level.
    #[test]
    fn maps_that_are_keys_of_maps_stay_small() {
        let deep = [&[0x81; 40][..], b"\xa1x", &[0xc0; 40]].concat();
        assert_eq!(rendered(&deep).expect("well-formed").len(), 2 * (deep.len() - 2) + r#"{"":null}"#.len());
    }

    fn any_value() -> impl Strategy<Value = rmpv::Value> {
        let leaf = prop_oneof![
            Just(rmpv::Value::Nil),
            any::<bool>().prop_map(rmpv::Value::from),
            any::<i64>().prop_map(rmpv::Value::from),
            any::<u64>().prop_map(rmpv::Value::from),
            any::<f64>().prop_map(rmpv::Value::from),
            "[ -~é世]{0,40}".prop_map(rmpv::Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(rmpv::Value::from),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(t, d)| rmpv::Value::Ext(t, d)),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(rmpv::Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..8).prop_map(rmpv::Value::Map),
            ]
        })
    }

    proptest! {
        /// A walk that gets the bytes one by one ends where a tree decoder ends, and never before.
        #[test]
        fn property_a_walk_finds_the_end(value in any_value(), after in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).expect("a Vec takes all");
            let whole = bytes.len();
            bytes.extend(after);
            let mut walk = Walk::default();
            for have in 0..whole {
                prop_assert_eq!(walk.advance(&bytes[..have]), Err(Broken::Short));
                prop_assert!(walk.needs > have && walk.needs <= whole);
            }
            prop_assert_eq!(walk.advance(&bytes), Ok(()));
            prop_assert_eq!(walk.position, whole);
            prop_assert_eq!(Cursor::new(&bytes).shallow_value(), Ok(&bytes[..whole]));
            for have in 0..whole {
                prop_assert_eq!(Cursor::new(&bytes[..have]).shallow_value(), Err(Broken::Short));
            }
            let text = rendered(&bytes[..whole]).expect("well-formed");
            serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
        }

        #[test]
        fn property_garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = Cursor::new(&bytes).value() {
                let mut body = Body::default();
                let shallow = Cursor::new(&bytes).shallow_value();
                prop_assert_eq!(render(&mut body, value).is_ok(), shallow.is_ok());
            }
        }
    }
}
