//! The text of a file while it is written.
//!
//! Promises: no more than a file may have; what it leaves behind as it grows is wiped.
//! Never: shows what it holds.

use std::io;

use zeroize::Zeroizing;

use super::{super::value::Value, What};
use crate::limits::SECRET_FILE_BYTES_MAX;

/// Text that grows.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    overflown: bool,
}

impl Buffer {
    /// Appends, unless there would be too much. [`finish`](Self::finish) says so then.
    pub(super) fn push(&mut self, text: &str) {
        self.append(text.as_bytes());
    }

    /// Appends one character.
    pub(super) fn push_char(&mut self, letter: char) {
        self.push(letter.encode_utf8(&mut [0; 4]));
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if something did not fit.
    pub(super) fn is_overflown(&self) -> bool {
        self.overflown
    }

    /// The file.
    pub(super) fn finish(mut self) -> Result<Value, What> {
        if self.overflown {
            return Err(What::TooLarge);
        }
        if self.bytes.contains(&0) {
            return Err(What::Nul);
        }
        Ok(Value::new(std::mem::take(&mut *self.bytes)))
    }

    fn append(&mut self, more: &[u8]) {
        let needed = self.bytes.len() + more.len();
        if self.overflown || needed > SECRET_FILE_BYTES_MAX {
            self.overflown = true;
            return;
        }
        if needed > self.bytes.capacity() {
            // A vector that grows by itself leaves its old bytes in freed memory.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(256)));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(more);
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        if self.overflown { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
