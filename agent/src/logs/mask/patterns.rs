//! The texts that are looked for, until a filter is made of them.
//!
//! Fifty thousand small buffers would be left to the allocator, which keeps what it has given in small pieces; a few large ones go back to
//! the system.
//!
//! Promises: no buffer grows, so that no copy of a secret is left behind; all are wiped.
//! Never: shows a text.

use zeroize::Zeroizing;

/// Bytes of a buffer: so many that allocators give it pages of its own (from 128 KiB on).
const CHUNK_BYTES: usize = 256 * 1_024;

/// Texts of secrets, each with the number of its secret.
#[derive(Default)]
pub(super) struct Patterns {
    chunks: Vec<Zeroizing<Vec<u8>>>,
    all: Vec<Pattern>,
}

/// Where a text stands.
struct Pattern {
    chunk: u16,
    is_form: bool,
    start: u32,
    length: u32,
    secret: u32,
}

impl Patterns {
    /// Adds a text of the secret with this number.
    pub(super) fn push(&mut self, text: &[u8], secret: u32) {
        self.push_forms([text], secret);
    }

    /// Adds the forms of a text.
    pub(super) fn push_forms<'a>(&mut self, forms: impl IntoIterator<Item = &'a [u8]>, secret: u32) {
        for (place, text) in forms.into_iter().enumerate() {
            self.add(text, secret, place > 0);
        }
    }

    fn add(&mut self, text: &[u8], secret: u32, is_form: bool) {
        let fits = |chunk: &Zeroizing<Vec<u8>>| chunk.capacity() - chunk.len() >= text.len();
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(Zeroizing::new(Vec::with_capacity(CHUNK_BYTES.max(text.len()))));
        }
        let chunk = self.chunks.len() - 1;
        let bytes = &mut self.chunks[chunk];
        let (start, length) = (bytes.len() as u32, text.len() as u32);
        bytes.extend_from_slice(text);
        self.all.push(Pattern { chunk: chunk as u16, is_form, start, length, secret });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// True if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Each text, the number of its secret, and whether it is a form of the one before, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u32, bool)> {
        self.all.iter().map(|pattern| {
            let (chunk, start) = (&self.chunks[usize::from(pattern.chunk)], pattern.start as usize);
            (&chunk[start..start + pattern.length as usize], pattern.secret, pattern.is_form)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_and_no_buffer_grows() {
        let mut patterns = Patterns::default();
        assert!(patterns.is_empty());
        let texts: Vec<Vec<u8>> = [CHUNK_BYTES - 1, 1, 1, 0, 7, CHUNK_BYTES + 1, 40]
            .iter()
            .enumerate()
            .map(|(number, &length)| vec![number as u8; length])
            .collect();
        for (number, text) in texts.iter().enumerate() {
            let before: Vec<*const u8> = patterns.chunks.iter().map(|chunk| chunk.as_ptr()).collect();
            patterns.push(text, 10 + number as u32);
            let after: Vec<*const u8> = patterns.chunks.iter().map(|chunk| chunk.as_ptr()).collect();
            assert!(after.starts_with(&before), "nothing moved");
        }
        let all: Vec<(Vec<u8>, u32)> = patterns.iter().map(|(text, secret, _)| (text.to_vec(), secret)).collect();
        let expected: Vec<(Vec<u8>, u32)> = texts.into_iter().zip(10..).collect();
        assert!(all == expected && patterns.len() == 7);
    }
}
