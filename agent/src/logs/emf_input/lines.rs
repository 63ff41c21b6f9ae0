//! Lines out of a byte stream.
//!
//! Promises: gives the same lines however the bytes are cut into reads; holds at most one unfinished line, of at most
//! [`DOCUMENT_BYTES_MAX`] bytes; of a longer one nothing is given, and what comes behind it is.
//! Never: touches a socket or a clock.

use crate::emf::DOCUMENT_BYTES_MAX;

/// Why a line was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is longer than allowed.
    TooLong,
    /// There is no room for a long line now, or its end did not come.
    NoRoom,
}

impl Broken {
    /// The kind, as a label of a counter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "emf_too_long",
            Self::NoRoom => "emf_no_room",
        }
    }
}

/// Finds the lines of one connection.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line that is not whole.
    pending: Vec<u8>,
    /// True within a line that was given up.
    is_skipping: bool,
}

impl Lines {
    /// Buffers above this are given back when they are empty.
    const KEPT_BYTES: usize = 64 * 1024;

    /// Takes what was read. `each` gets every line that is now whole, without its end, and every mistake, in order.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Result<&[u8], Broken>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            if self.pending.len() + line.len() > DOCUMENT_BYTES_MAX {
                each(Err(Broken::TooLong));
            } else if self.pending.is_empty() {
                each(Ok(line));
            } else {
                self.pending.extend_from_slice(line);
                each(Ok(&self.pending));
            }
            self.forget();
        }
        if self.is_skipping {
            return;
        }
        if self.pending.len() + bytes.len() > DOCUMENT_BYTES_MAX {
            each(Err(self.give_up(Broken::TooLong)));
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Gives up the line that is not whole, for this reason. Its rest is passed over.
    pub fn give_up(&mut self, broken: Broken) -> Broken {
        self.forget();
        self.is_skipping = true;
        broken
    }

    /// The connection has ended. What was a line without an end is one.
    pub fn finish(&mut self, each: impl FnOnce(&[u8])) {
        if !std::mem::take(&mut self.is_skipping) && !self.pending.is_empty() {
            each(&self.pending);
        }
        self.forget();
    }

    /// Bytes held for a line that is not whole.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn forget(&mut self) {
        if self.pending.capacity() > Self::KEPT_BYTES {
            self.pending = Vec::new();
        } else {
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| {
                seen.push(line.map_or_else(
                    |broken| broken.label().to_owned(),
                    |line| String::from_utf8_lossy(line).into_owned(),
                ));
            });
        }
        lines.finish(|line| seen.push(format!("end:{}", String::from_utf8_lossy(line))));
        seen
    }

    #[test]
    fn lines_end_at_line_feeds_and_at_the_end() {
        assert_eq!(run(&[b"a\nb", b"c\n\n", b"d"]), ["a", "bc", "", "end:d"]);
        assert_eq!(run(&[b""]), Vec::<String>::new());
        assert_eq!(run(&[b"a\r\n"]), ["a\r"]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_document_and_no_longer() {
        let most = vec![b'x'; DOCUMENT_BYTES_MAX];
        assert_eq!(run(&[&most, b"\nb\n"]).iter().map(String::len).collect::<Vec<_>>(), [DOCUMENT_BYTES_MAX, 1]);
        assert_eq!(run(&[&most, b"x", &most, b"\nb\n"]), ["emf_too_long", "b"]);
        assert_eq!(run(&[&[&most[..], b"x\nb\n"].concat()]), ["emf_too_long", "b"]);
    }

    #[test]
    fn a_line_that_never_ends_holds_no_more_than_the_limit_and_is_told_once() {
        let (mut lines, mut broken) = (Lines::default(), 0);
        for _ in 0..1_000 {
            lines.feed(&[b'x'; 10_000], |line| broken += usize::from(line.is_err()));
            assert!(lines.pending_bytes() <= DOCUMENT_BYTES_MAX && lines.pending.capacity() <= 2 * DOCUMENT_BYTES_MAX);
        }
        assert_eq!((broken, lines.pending_bytes()), (1, 0));
    }

    #[test]
    fn a_line_that_was_given_up_is_passed_over_to_its_end() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        lines.feed(b"abc", |_| {});
        assert_eq!(lines.give_up(Broken::NoRoom).label(), "emf_no_room");
        lines.feed(b"def\ng\n", |line| seen.push(line.map(<[u8]>::to_vec)));
        assert_eq!(seen, [Ok(b"g".to_vec())]);
        lines.give_up(Broken::NoRoom);
        lines.finish(|_| panic!("it was given up"));
    }

    proptest! {
        #[test]
        fn property_cuts_do_not_matter(text in "[ab\n]{0,40}", cuts in prop::collection::vec(0..40usize, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(run(&pieces), run(&[text.as_bytes()]));
        }
    }
}
