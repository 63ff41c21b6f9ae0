//! The way to the end of a value, without looking at what it says.
//!
//! Promises: no byte is looked at twice, in however many pieces a value arrives; no stack, however deep it is.
//! Never: reads past the bytes given, or trusts a length with memory.

use super::{Broken, Cursor, Marker};

/// Passes over one value that may arrive in pieces, without looking at any byte of it twice.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Bytes passed.
    pub position: usize,
    /// Values still to pass. A nested array or map adds its own, so no stack is needed.
    left: u64,
    /// Bytes that must be there before the walk can go on.
    pub needs: usize,
    /// Where the last element begins, if the value is an array.
    pub last: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { position: 0, left: 1, needs: 1, last: 0 }
    }
}

impl Walk {
    /// Walks on through `bytes`, which begin where the value begins. `Short` means: call again with more bytes, at least
    /// [`needs`](Self::needs) of them.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        while self.left > 0 {
            // What records are made of, without a detour: short text, small numbers, small arrays and maps.
            let (passed, values) = match bytes.get(self.position..) {
                Some(&[first @ 0xa0..=0xbf, ..]) => (1 + usize::from(first & 0x1f), 0),
                Some(&[0xd9, length, ..]) => (2 + usize::from(length), 0),
                Some(&[0xda, high, low, ..]) => (3 + usize::from(u16::from_be_bytes([high, low])), 0),
                Some(&[0x00..=0x7f | 0xe0..=0xff, ..]) => (1, 0),
                Some(&[first @ 0x80..=0x8f, ..]) => (1, 2 * u64::from(first & 0x0f)),
                Some(&[first @ 0x90..=0x9f, ..]) => (1, u64::from(first & 0x0f)),
                rest => Self::any(rest.unwrap_or_default()).inspect_err(|_| self.needs = bytes.len() + 1)?,
            };
            let position = self.position + passed;
            if position > bytes.len() {
                self.needs = position;
                return Err(Broken::Short);
            }
            self.position = position;
            // At most 2^33 a step and one step a byte received: this cannot overflow.
            self.left = self.left - 1 + values;
            if self.left == 1 && self.last == 0 {
                // The first time that one is left: inside an earlier element there are always more.
                self.last = self.position;
            }
        }
        Ok(())
    }

    /// How many bytes the value at the beginning of `rest` takes without what is nested in it, and how many values are.
    fn any(rest: &[u8]) -> Result<(usize, u64), Broken> {
        let mut cursor = Cursor::new(rest);
        let marker = cursor.marker()?;
        let header = rest.len() - cursor.rest().len();
        Ok(match marker {
            Marker::Str(n) | Marker::Bin(n) | Marker::Ext(_, n) => (header + n, 0),
            Marker::Array(n) => (header, n as u64),
            Marker::Map(n) => (header, n as u64 * 2),
            _ => (header, 0),
        })
    }
}
