//! Protobuf as it lies on the wire: fields read in place, and the few writers that making such bytes takes.
//!
//! ```text
//! message = field*
//! field   = varint(number << 3 | kind), value
//! value   = kind 0: varint | kind 1: 8 bytes | kind 2: varint(length), so many bytes | kind 5: 4 bytes
//! ```
//!
//! - Kinds 3 and 4 (groups), 6 and 7, and the number 0 are refused. OTLP has no group, and its Go implementation refuses them.
//! - A varint has at most ten bytes. It may be longer than it need be, and bits beyond the 64th are dropped, as in Go.
//! - Fields may come in any order and more than once: of a single value the last one counts, messages are merged.
//!
//! Promises: never reads past the bytes given, never panics, borrows everything it returns.
//! Never: allocates to read; believes a length that is not there; looks at whether text is UTF-8.

use thiserror::Error;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The bytes end within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// A varint that does not end after ten bytes.
    #[error("a number is longer than ten bytes")]
    Varint,
    /// A field's number is 0 or larger than protobuf has.
    #[error("a field has a number that no field has")]
    Number,
    /// A group, or a kind of value that does not exist.
    #[error("a field is of a kind that is not in use")]
    Kind,
    /// A field that is known has a value of another kind.
    #[error("a field is of another kind than its number says")]
    Mismatch,
    /// An id of a trace or a span that has a length of its own.
    #[error("the id of a trace has 16 bytes and that of a span 8")]
    Id,
}

/// Bytes of the longest varint.
const VARINT_BYTES_MAX: usize = 10;
/// The largest number that a field may have.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number, a truth or a name out of a list.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes, a message, or numbers side by side.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which one.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// The whole field, as it lies there.
    pub raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value, if it is one of bytes.
    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Mismatch),
        }
    }
}

/// The fields of a message, one after the other. After an error nothing comes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Bytes that were not read yet.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// Reads one varint. Used alone for numbers side by side in a field.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        match self.0 {
            [byte @ 0..=0x7f, rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, &byte) in self.0.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.0.len() < VARINT_BYTES_MAX { Malformed::Truncated } else { Malformed::Varint })
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline]
    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.0;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(Malformed::Number);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.fixed()?)),
            _ => return Err(Malformed::Kind),
        };
        Ok(Field { number: number as u32, value, raw: &start[..start.len() - self.0.len()] })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The values of the field `number` of `message`, which are of bytes; other fields are passed over.
pub fn each(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Reader::new(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => Some(field.bytes()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint.
pub fn varint_len(value: u64) -> usize {
    // Seven bits a byte; 0 takes one byte, too.
    ((64 - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

/// Appends a field with a whole number.
pub fn put_uint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a field of eight bytes.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of four bytes.
pub fn put_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    put_varint(out, u64::from(number) << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of text, bytes or a message.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_header(out, number, value.len());
    out.extend_from_slice(value);
}

/// Appends what stands before `length` bytes of a field.
pub fn put_header(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

/// Bytes that [`put_header`] appends.
pub fn header_len(number: u32, length: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(length as u64)
}

/// Where a message begins whose length is not known yet.
#[derive(Debug)]
#[must_use = "a message that was begun must be ended"]
pub struct Begun(usize);

/// Begins a field with a message.
pub fn begin(out: &mut Vec<u8>, number: u32) -> Begun {
    put_varint(out, u64::from(number) << 3 | 2);
    // Most messages are shorter than 128 bytes, whose length is one byte.
    out.push(0);
    Begun(out.len())
}

/// Ends the message: everything appended since belongs to it. A long one moves by up to four bytes.
pub fn end(out: &mut Vec<u8>, Begun(start): Begun) {
    let length = out.len() - start;
    let more = varint_len(length as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start..start + length, start + more);
    }
    let mut rest = length as u64;
    for byte in &mut out[start - 1..start + more] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[start - 1 + more] &= 0x7f;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Reader::new(bytes).map(|field| field.map(|field| (field.number, field.value))).collect()
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        let ten = [0x80; 10];
        let long_tag = [&ten[..], &[0]].concat();
        for (bytes, expected) in [
            (&b"\x08"[..], Malformed::Truncated),
            (b"\x08\x80", Malformed::Truncated),
            (b"\x88", Malformed::Truncated),
            (b"\x09\0\0\0\0\0\0\0", Malformed::Truncated),
            (b"\x0d\0\0\0", Malformed::Truncated),
            (b"\x0a", Malformed::Truncated),
            (b"\x0a\x01", Malformed::Truncated),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Malformed::Truncated),
            (b"\x0a\xff\xff\xff\xff\x0f", Malformed::Truncated),
            (&long_tag, Malformed::Varint),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Malformed::Varint),
            (b"\x00\x01", Malformed::Number),
            (b"\x02\x00", Malformed::Number),
            (b"\x80\x80\x80\x80\x80\x01\x00", Malformed::Number),
            (b"\x0b\x0c", Malformed::Kind),
            (b"\x0c", Malformed::Kind),
            (b"\x0e", Malformed::Kind),
            (b"\x0f", Malformed::Kind),
            (b"\x08\x01\x0f", Malformed::Kind),
        ] {
            assert_eq!(read(bytes), Err(expected), "{bytes:x?}");
            let after = Reader::new(bytes).skip_while(Result::is_ok).skip(1).count();
            assert_eq!(after, 0, "nothing comes after an error: {bytes:x?}");
        }
    }

    #[test]
    fn fields_are_read_as_they_lie() {
        for (bytes, expected) in [
            (&b""[..], vec![]),
            (b"\x08\x96\x01", vec![(1, Value::Varint(150))]),
            (b"\x12\x02hi\x12\x00", vec![(2, Value::Bytes(b"hi")), (2, Value::Bytes(b""))]),
            (b"\x39\x01\0\0\0\0\0\0\x80", vec![(7, Value::Fixed64(1 << 63 | 1))]),
            (b"\x85\x01\x00\x01\0\0", vec![(16, Value::Fixed32(256))]),
            (b"\xf8\xff\xff\xff\x0f\x01", vec![(NUMBER_MAX as u32, Value::Varint(1))]),
            // Longer than they need be, tag, length and number.
            (b"\x88\x80\x00\x81\x80\x80\x00", vec![(1, Value::Varint(1))]),
            (b"\x8a\x00\x82\x80\x00hi", vec![(1, Value::Bytes(b"hi"))]),
            (b"\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", vec![(1, Value::Varint(1))]),
            // Bits beyond the 64th are dropped.
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", vec![(1, Value::Varint(u64::MAX))]),
        ] {
            assert_eq!(read(bytes), Ok(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn one_field_is_picked_and_must_be_of_bytes() {
        let picked: Vec<_> = each(b"\x0a\x01a\x12\x01b\x0a\x01c\x08\x01\x0a\x01d\x0f", 1).collect();
        let (a, c, d) = (&b"a"[..], &b"c"[..], &b"d"[..]);
        assert_eq!(picked, [Ok(a), Ok(c), Err(Malformed::Mismatch), Ok(d), Err(Malformed::Kind)]);
    }

    #[test]
    fn a_message_gets_its_length_when_it_ends() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 3_000_000] {
            let text = vec![b'x'; length];
            let mut out = vec![b'!'];
            let outer = begin(&mut out, 3);
            let inner = begin(&mut out, 400);
            out.extend_from_slice(&text);
            end(&mut out, inner);
            end(&mut out, outer);
            let mut inner = Vec::new();
            put_bytes(&mut inner, 400, &text);
            let mut expected = vec![b'!'];
            put_bytes(&mut expected, 3, &inner);
            assert!(out == expected, "{length}");
            assert_eq!(expected.len(), 1 + header_len(3, inner.len()) + header_len(400, length) + length);
        }
    }

    fn value() -> impl Strategy<Value = (u32, u8, u64, Vec<u8>)> {
        (1..=NUMBER_MAX as u32, 0..4u8, any::<u64>(), prop::collection::vec(any::<u8>(), 0..200))
    }

    proptest! {
        /// Whatever the bytes are, they are read to an end, and the fields are pieces of them, one behind the other.
        #[test]
        fn property_fields_are_pieces_of_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let fields: Vec<_> = Reader::new(&bytes).collect();
            let joined: Vec<u8> = fields.iter().flatten().flat_map(|field| field.raw.to_vec()).collect();
            prop_assert!(bytes.starts_with(&joined));
            prop_assert_eq!(fields.iter().all(Result::is_ok), joined.len() == bytes.len());
        }

        /// What the writers write is read back.
        #[test]
        fn property_what_is_written_is_read_back(values in prop::collection::vec(value(), 0..20)) {
            let mut out = Vec::new();
            let mut expected = Vec::new();
            for (number, kind, value, bytes) in &values {
                expected.push((*number, match kind {
                    0 => { put_uint(&mut out, *number, *value); Value::Varint(*value) }
                    1 => { put_fixed64(&mut out, *number, *value); Value::Fixed64(*value) }
                    2 => { put_bytes(&mut out, *number, bytes); Value::Bytes(bytes) }
                    _ => { put_fixed32(&mut out, *number, *value as u32); Value::Fixed32(*value as u32) }
                }));
            }
            prop_assert_eq!(read(&out), Ok(expected));
        }
    }
}
