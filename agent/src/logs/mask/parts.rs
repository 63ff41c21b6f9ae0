//! Lines that Docker cut into parts of 16 KiB, perhaps in the middle of a secret.
//!
//! ```text
//! {"log": "...4fT$", "partial_message": "true", "partial_id": "8c..", "partial_last": "false", ..}
//!             ^^^^ could be the beginning of a secret: masked
//! {"log": "..9! and so on", "partial_message": "true", "partial_id": "8c..", "partial_last": "true", ..}
//!          ^^^^ with the end of the part before it is one: masked
//! ```
//!
//! Which messages are parts tells the filter: `partial_message: true` as msgpack is one of the things that it looks for.
//!
//! Promises: of a secret that is cut at most three characters stay; memory is the end of a few lines.
//! Never: holds a part back. A part that comes over another connection than the one before is taken for a first one.

use std::ops::Range;

use zeroize::Zeroizing;

use super::filter::{Filter, Found};
use crate::{limits::MASK_PARTS_MAX, logs::msgpack::Cursor};

/// The number of what is no secret: the mark of a part, and the cut end of a line.
pub(super) const MARKER: u32 = u32::MAX;
/// What tells a part, as msgpack.
pub(super) const MARK: &[u8] = b"\xafpartial_message\xa4true";
/// A longer id is no id of Docker's, which has 64 characters.
const ID_BYTES_MAX: usize = 128;

/// What a record says of the part that it is.
#[derive(Debug)]
pub(super) struct PartFields<'a> {
    id: &'a [u8],
    is_last: bool,
    /// Where the part is.
    log: Range<usize>,
}

/// The ends of lines of which more comes.
#[derive(Default)]
pub(super) struct Parts(Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>);

impl<'a> PartFields<'a> {
    /// What the fields of `record` say, whose first byte is at `start`.
    pub(super) fn of(record: &'a [u8], start: usize) -> Option<Self> {
        let mut cursor = Cursor::new(record);
        let (mut id, mut is_last, mut log) = (None, false, None);
        for _ in 0..cursor.map().ok()? {
            let key = Cursor::new(cursor.value().ok()?).text().unwrap_or_default();
            let value = cursor.value().ok()?;
            let Ok(text) = Cursor::new(value).text() else { continue };
            match key {
                b"partial_id" => id = Some(text),
                b"partial_last" => is_last = text == b"true",
                b"log" => {
                    let end = start + record.len() - cursor.rest().len();
                    log = Some(end - text.len()..end);
                }
                _ => {}
            }
        }
        Some(Self { id: id.filter(|id| id.len() <= ID_BYTES_MAX)?, is_last, log: log? })
    }
}

impl Parts {
    /// What of this part belongs to a secret that is cut, before it or behind it.
    pub(super) fn part(&mut self, filter: &Filter, bytes: &[u8], part: &PartFields<'_>) -> Vec<Found> {
        let mut cut = Vec::new();
        let (log, reach) = (part.log.clone(), filter.longest().saturating_sub(1));
        let text = &bytes[log.clone()];
        let mut before = self.take(part.id);
        if !before.is_empty() {
            let length = before.len();
            before.extend_from_slice(&text[..text.len().min(reach)]);
            let mut found = Vec::new();
            filter.scan(&before, &mut found);
            let crossing = found.into_iter().filter(|found| found.start < length && found.end > length);
            cut.extend(crossing.map(|found| Found { start: log.start, end: log.start + found.end - length, ..found }));
            before.truncate(length);
        }
        if !part.is_last {
            if let Some(start) = filter.cut_at(text) {
                cut.push(Found { start: log.start + start, end: log.end, secret: MARKER });
            }
            let mut end = Zeroizing::new(Vec::with_capacity(2 * reach));
            let missing = reach.saturating_sub(text.len()).min(before.len());
            end.extend_from_slice(&before[before.len() - missing..]);
            end.extend_from_slice(&text[text.len().saturating_sub(reach)..]);
            self.keep(part.id, end);
        }
        cut
    }

    fn take(&mut self, id: &[u8]) -> Zeroizing<Vec<u8>> {
        let known = self.0.iter().position(|(known, _)| known == id);
        known.map(|place| self.0.swap_remove(place).1).unwrap_or_default()
    }

    fn keep(&mut self, id: &[u8], end: Zeroizing<Vec<u8>>) {
        if self.0.len() >= MASK_PARTS_MAX {
            self.0.remove(0);
        }
        self.0.push((id.to_vec(), end));
    }
}
