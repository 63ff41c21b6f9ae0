//! The bytes of a request body while it is being written.
//!
//! A `Vec` that is filled by many small appends pays a length check and a call to `memcpy` for each. This one keeps
//! itself initialised to its full length and moves a cursor, so that an append of a constant size is a plain store.
//! Written without `unsafe`: the price is that growing fills with zeros, which recycled buffers do not pay again.
//!
//! Promises: what stands before the cursor was written; growing never moves the cursor.
//! Never: knows what the bytes mean, or how many are allowed.

/// A request body being written.
#[derive(Debug, Default)]
pub struct Body {
    /// Initialised to its whole length; the bytes from `end` on are left over from earlier use.
    bytes: Vec<u8>,
    end: usize,
}

impl Body {
    /// The smallest buffer, in bytes.
    const LEAST: usize = 4 * 1024;

    /// A body that writes into `buffer`, whose old content is of no interest.
    pub fn reusing(buffer: Vec<u8>) -> Self {
        Self { bytes: buffer, end: 0 }
    }

    /// A body with room for `bytes` bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], end: 0 }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.end
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// What was written, and the buffer behind it cut to that.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.end);
        self.bytes
    }

    /// The whole buffer and how much of it was written.
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.bytes, self.end)
    }

    /// Forgets all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(len);
    }

    /// Replaces a byte that was written before.
    pub fn overwrite(&mut self, place: usize, byte: u8) {
        debug_assert!(place < self.end, "only what was written can be replaced");
        self.bytes[place] = byte;
    }

    /// Makes sure that the next `more` bytes fit.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        if self.bytes.len() - self.end < more {
            self.grow(more);
        }
    }

    /// Appends text of any length.
    #[inline]
    pub fn put(&mut self, text: &[u8]) {
        self.reserve(text.len());
        self.bytes[self.end..self.end + text.len()].copy_from_slice(text);
        self.end += text.len();
    }

    /// Appends the first `used` bytes of `block`. The caller has reserved `N` bytes: all of them are stored, which
    /// makes this one instruction instead of a loop.
    #[inline]
    pub fn put_block<const N: usize>(&mut self, block: &[u8; N], used: usize) {
        debug_assert!(used <= N, "uses {used} of {N} bytes");
        self.bytes[self.end..self.end + N].copy_from_slice(block);
        self.end += used;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let wanted = (self.end + more).max(self.bytes.len() * 2).max(Self::LEAST);
        self.bytes.reserve_exact(wanted - self.bytes.len());
        self.bytes.resize(wanted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_what_was_put_whatever_the_buffer_held_before() {
        let mut body = Body::reusing(vec![b'x'; 8]);
        body.put(b"hello ");
        body.reserve(16);
        body.put_block(b"world...........", 5);
        assert_eq!(body.as_slice(), b"hello world");
        body.truncate(5);
        body.put(&[b'!'; 10_000]);
        assert_eq!(body.len(), 10_005);
        assert_eq!(&body.into_bytes()[..6], b"hello!");
    }
}
