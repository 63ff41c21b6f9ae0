//! Masks what was found, where it may be masked: wholly within one text of a record.
//!
//! The filter looks at raw bytes, so that text without a secret costs nothing else. A length byte can look like the first
//! character of a secret; whoever masks that breaks the stream (in 188 of 190 tries of a prototype). So when something was found,
//! which is seldom, the messages are walked, those of Docker's driver in the one pass in which they are read too, and only what lies
//! within one text, one binary or one extension of a record is filled. Tags, times, options and lengths are never touched.
//!
//! ```text
//! [tag, time, {"log": "connecting as shop with 4fT$..9!"}, option]
//!                                              ********             as long as before
//! ```
//!
//! A line that Docker cut into parts of 16 KiB may have its cut in a secret: then the end of the one part is masked if it could be
//! a beginning, and the beginning of the other if both together are a secret.
//!
//! Promises: the bytes of a message keep their number and their framing; a line of JSON stays JSON; what is found overlapping is
//! masked as one.
//! Never: masks compressed bytes; they are opened first.

use std::ops::Range;

use super::{
    filter::{Filter, Found},
    parts::{MARKER, PartFields, Parts},
};
use crate::logs::{
    forward::{
        frame::{Entries, Finder, Frame, Malformed},
        usual::{Usual, usual},
    },
    msgpack::{Broken, Cursor, Marker},
    record::Record,
};

/// What is masked is written so.
const MASK: u8 = b'*';

/// What is to be done to the bytes of a read. It is kept from read to read, so that a record with a secret allocates nothing.
#[derive(Default)]
pub(super) struct Plan {
    fills: Vec<Range<usize>>,
    /// The secrets that are masked, once for each run of bytes.
    masked: Vec<u32>,
    /// The tags of messages, and where in `masked` begins what is masked in them.
    tags: Vec<(Range<usize>, usize)>,
    /// What lies within one text.
    whole: Vec<Found>,
}

impl Plan {
    /// Masks.
    pub(super) fn carry_out(&self, bytes: &mut [u8]) {
        for fill in &self.fills {
            bytes[fill.clone()].fill(MASK);
        }
    }

    /// What is masked from here on is of messages with this tag. Those of one tag that follow each other are counted together.
    pub(super) fn begin(&mut self, bytes: &[u8], tag: Range<usize>) {
        let masked = self.masked.len();
        match self.tags.last_mut() {
            Some((last, _)) if bytes[last.clone()] == bytes[tag.clone()] => {}
            Some((last, first)) if *first == masked => *last = tag,
            _ => self.tags.push((tag, masked)),
        }
    }

    /// The tags of messages in which something is masked, with the secrets.
    pub(super) fn masked(&self) -> impl Iterator<Item = (Range<usize>, &[u32])> {
        let ends = self.tags.iter().skip(1).map(|&(_, first)| first).chain([self.masked.len()]);
        let all = self.tags.iter().zip(ends).map(|((tag, first), end)| (tag.clone(), &self.masked[*first..end]));
        all.filter(|(_, secrets)| !secrets.is_empty())
    }

    pub(super) fn clear(&mut self) {
        self.fills.clear();
        self.masked.clear();
        self.tags.clear();
    }
}

/// Takes what begins before `end` away from what was found.
fn before<'found>(found: &mut &'found [Found], end: usize) -> &'found [Found] {
    let (before, after) = found.split_at(found.iter().take_while(|found| found.start < end).count());
    *found = after;
    before
}

/// What all steps of one look need.
pub(super) struct Look<'a> {
    pub(super) filter: &'a Filter,
    pub(super) bytes: &'a [u8],
    /// Sorted by where they begin.
    pub(super) found: &'a [Found],
    /// There was too much to find all of it: then all text is masked.
    pub(super) is_flooded: bool,
}

impl Look<'_> {
    /// Plans for the whole messages that the bytes begin with. `finder` is where the session stands; what it finds it will find
    /// again.
    pub(super) fn messages(&self, finder: &mut Finder, bytes_max: usize, parts: &mut Parts, plan: &mut Plan) {
        let (mut at, mut found) = (0, self.found);
        let (mut own, mut record) = (Finder::default(), Record::default());
        // Nothing behind the last find needs a look.
        while self.is_flooded || !found.is_empty() {
            if let Some(length) = self.usual(at, &mut found, &mut record, plan) {
                at += length;
                continue;
            }
            let finder = if at == 0 { &mut *finder } else { &mut own };
            let rest = &self.bytes[at..];
            // What is not a message is told by the session, which comes to the same place.
            let Ok(Some(length)) = finder.find(rest, bytes_max) else { return };
            let last = finder.last_element();
            let end = at + length;
            let here = before(&mut found, end);
            if (self.is_flooded || !here.is_empty())
                && self.message(at, &rest[..length], last, here, parts, plan).is_err()
            {
                return;
            }
            at = end;
        }
    }

    /// Plans for the message at `at`, and gives its length, if it is one that is read in one pass. One that may be a part of a line is not.
    fn usual<'a>(
        &'a self,
        at: usize,
        found: &mut &'a [Found],
        record: &mut Record<'a>,
        plan: &mut Plan,
    ) -> Option<usize> {
        if self.is_flooded {
            return None;
        }
        let message = &self.bytes[at..];
        let Usual { tag, length } = usual(message, record)?;
        let mut rest = *found;
        let mut here = before(&mut rest, at + length);
        if here.iter().any(|found| found.secret == MARKER) {
            return None;
        }
        *found = rest;
        if !here.is_empty() {
            let range = |text: &[u8]| {
                let start = at + offset_in(message, text);
                start..start + text.len()
            };
            plan.begin(self.bytes, range(tag));
            for text in record.pairs.iter().flat_map(|pair| [pair.key, pair.value]).filter_map(|text| text.text()) {
                self.text(range(text), &mut here, &[], plan);
            }
        }
        Some(length)
    }

    fn message(
        &self,
        at: usize,
        message: &[u8],
        last: usize,
        found: &[Found],
        parts: &mut Parts,
        plan: &mut Plan,
    ) -> Result<(), Malformed> {
        let Frame::Message(read) = Frame::parse_found(message, last)? else { return Ok(()) };
        if read.is_compressed() {
            return Ok(());
        }
        let (Entries::One(bytes) | Entries::Many(_, bytes) | Entries::Packed(bytes)) = read.entries;
        let within = at + offset_in(message, bytes);
        let tag = at + offset_in(message, read.tag);
        plan.begin(self.bytes, tag..tag + read.tag.len());
        self.entries(read.entries, within, found, parts, plan).map_err(Malformed::from)
    }

    /// Plans for entries, which begin at `at`.
    pub(super) fn entries(
        &self,
        entries: Entries<'_>,
        at: usize,
        found: &[Found],
        parts: &mut Parts,
        plan: &mut Plan,
    ) -> Result<(), Broken> {
        let (bytes, mut left, enclosed) = match entries {
            Entries::One(bytes) => (bytes, 1, false),
            Entries::Many(count, bytes) => (bytes, count, true),
            Entries::Packed(bytes) => (bytes, usize::MAX, true),
        };
        let mut cursor = Cursor::new(bytes);
        let mut found = found;
        while left > 0 && !cursor.rest().is_empty() {
            left -= 1;
            if enclosed {
                cursor.array()?;
            }
            cursor.value()?;
            let start = at + bytes.len() - cursor.rest().len();
            let record = cursor.value()?;
            let end = start + record.len();
            before(&mut found, start);
            let here = before(&mut found, end);
            if self.is_flooded || !here.is_empty() {
                self.record(record, start, here, parts, plan)?;
            }
        }
        Ok(())
    }

    fn record(
        &self,
        record: &[u8],
        start: usize,
        found: &[Found],
        parts: &mut Parts,
        plan: &mut Plan,
    ) -> Result<(), Broken> {
        let mut cut = Vec::new();
        if found.iter().any(|found| found.secret == MARKER)
            && let Some(fields) = PartFields::of(record, start)
        {
            cut = parts.part(self.filter, self.bytes, &fields);
        }
        let mut found = found;
        each_text(record, start, |text| {
            if self.is_flooded {
                return plan.fills.push(text);
            }
            self.text(text, &mut found, &cut, plan);
        })
    }

    /// Plans for what was found within `text`, and for what is `cut` there.
    fn text(&self, text: Range<usize>, found: &mut &[Found], cut: &[Found], plan: &mut Plan) {
        before(found, text.start);
        let here = before(found, text.end);
        plan.whole.clear();
        plan.whole.extend(here.iter().filter(|found| found.end <= text.end && found.secret != MARKER));
        if !cut.is_empty() {
            plan.whole.extend(cut.iter().filter(|cut| text.start <= cut.start && cut.end <= text.end));
            plan.whole.sort_unstable();
        }
        if !plan.whole.is_empty() {
            self.runs(text, plan);
        }
    }

    /// Plans to mask what overlaps or touches, of what is whole within `text`, as one.
    fn runs(&self, text: Range<usize>, plan: &mut Plan) {
        let mut at = 0;
        while let Some(&Found { start, mut end, .. }) = plan.whole.get(at) {
            let counted = plan.masked.len();
            while let Some(next) = plan.whole.get(at).filter(|next| next.start <= end) {
                end = end.max(next.end);
                at += 1;
                if next.secret != MARKER && !plan.masked[counted..].contains(&next.secret) {
                    plan.masked.push(next.secret);
                }
            }
            let run = keeping_escapes(&self.bytes[text.clone()], start - text.start..end - text.start);
            plan.fills.push(text.start + run.start..text.start + run.end);
        }
    }
}

/// `run` without what belongs to an escape of JSON that begins before it or goes on behind it: `\n` and the rest of a secret whose
/// first letter is an `n`, or a secret that ends with a backslash before a quotation mark that is escaped by it.
fn keeping_escapes(text: &[u8], run: Range<usize>) -> Range<usize> {
    let is_escaped = |at: usize| text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
    let mut start = run.start;
    if is_escaped(start) {
        let unicode = text[start] == b'u' && text.len() > start + 4;
        let unicode = unicode && text[start + 1..start + 5].iter().all(u8::is_ascii_hexdigit);
        start += if unicode { 5 } else { 1 };
    } else if let Some(u) = (1..=4).find(|&back| start > back && text[start - back] == b'u')
        && is_escaped(start - u)
        && text[start - u + 1..start].iter().all(u8::is_ascii_hexdigit)
    {
        start += 5 - u;
    }
    let mut end = run.end;
    if end < text.len() && is_escaped(end) {
        end -= 1;
    }
    start.min(end)..end
}

/// Calls `each` with where every text, binary and extension of the value `bytes` is, whose first byte is at `start`.
fn each_text(bytes: &[u8], start: usize, mut each: impl FnMut(Range<usize>)) -> Result<(), Broken> {
    let mut cursor = Cursor::new(bytes);
    let mut left: u64 = 1;
    while left > 0 {
        left -= 1;
        match cursor.marker()? {
            Marker::Str(length) | Marker::Bin(length) | Marker::Ext(_, length) => {
                let begins = start + bytes.len() - cursor.rest().len();
                cursor.take(length)?;
                each(begins..begins + length);
            }
            Marker::Array(count) => left += count as u64,
            Marker::Map(pairs) => left += 2 * pairs as u64,
            _ => {}
        }
    }
    Ok(())
}

/// Where `inner` begins in `outer`, of which it is a part.
pub(super) fn offset_in(outer: &[u8], inner: &[u8]) -> usize {
    let offset = inner.as_ptr().addr().wrapping_sub(outer.as_ptr().addr());
    debug_assert!(offset + inner.len() <= outer.len(), "it is a part");
    offset
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
