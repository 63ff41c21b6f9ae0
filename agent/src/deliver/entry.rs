//! How a batch lies on disk.
//!
//! ```text
//! length of head u32, crc32c of head u32, head (JSON), entries of 16 bytes, body          (little-endian)
//! entry: time i64, end u32, source u16, records beyond the first u16
//! ```
//!
//! Promises: what does not fit together is no batch; the head can be read without the rest.
//! Never: copies the body.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Key,
    batch::{Batch, Entry},
};

/// Bytes before the head: its length and checksum.
pub(super) const MARK_BYTES: usize = 8;
/// Bytes of an entry's place in the table.
const PLACE_BYTES: usize = 16;

/// What an entry says about its batch.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Head {
    /// The key as text.
    pub(super) key: String,
    /// Which process wrote it, counted from the first that used the spool, and which batch of that process it is. That is
    /// their order: a batch may be written after a newer one, and clocks are set.
    pub(super) run: u64,
    pub(super) number: u64,
    /// When the first record was accepted, in milliseconds since 1970.
    pub(super) since: i64,
    /// The accounts, and how many records of each there are.
    pub(super) sources: Vec<(String, u32)>,
    /// How many records there are in the body. Some may have been settled before.
    pub(super) entries: u32,
}

/// What stands before the body on disk.
pub(super) fn write_head(head: &Head, batch: &Batch) -> Vec<u8> {
    let json = serde_json::to_vec(head).expect("text and numbers are JSON");
    let mut bytes = Vec::with_capacity(MARK_BYTES + json.len() + batch.entries.len() * PLACE_BYTES);
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(&json).to_le_bytes());
    bytes.extend(json);
    for Entry { time, end, source, more } in &batch.entries {
        bytes.extend(time.to_le_bytes());
        bytes.extend(end.to_le_bytes());
        bytes.extend(source.to_le_bytes());
        bytes.extend(more.to_le_bytes());
    }
    bytes
}

/// The batch of an entry. `None` if the entry is not one of ours; its bytes were checked, so that means another version.
pub(super) fn read_batch(bytes: Vec<u8>, key: Key) -> Option<Batch> {
    let (head, after) = read_head(&bytes)?;
    let table = bytes.get(after..)?.get(..(head.entries as usize).checked_mul(PLACE_BYTES)?)?;
    let body = after + table.len();
    let mut last = 0;
    let mut entries = Vec::with_capacity(head.entries as usize);
    for place in table.as_chunks::<PLACE_BYTES>().0 {
        let [time, rest] = *place.as_chunks::<8>().0 else { return None };
        let [end, [a, b, c, d]] = *rest.as_chunks::<4>().0 else { return None };
        let end = u32::from_le_bytes(end);
        let (source, more) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if end < last || end as usize > bytes.len() - body || source as usize >= head.sources.len() {
            return None;
        }
        last = end;
        entries.push(Entry { time: i64::from_le_bytes(time), end, source, more });
    }
    Some(Batch::new(key, Bytes::from(bytes).slice(body..), entries))
}

pub(super) fn head_bytes(start: &[u8]) -> Option<usize> {
    start.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
}

/// The head, and where what follows it begins.
pub(super) fn read_head(bytes: &[u8]) -> Option<(Head, usize)> {
    let after = MARK_BYTES.checked_add(head_bytes(bytes)?)?;
    let crc = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let json = bytes.get(MARK_BYTES..after)?;
    let head = (crc32c::crc32c(json) == crc).then(|| serde_json::from_slice(json).ok()).flatten()?;
    Some((head, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(entries: u32) -> Head {
        Head {
            key: "g:s".into(),
            run: 1,
            number: 2,
            since: 7,
            sources: vec![("web".into(), 2), ("é".into(), 1)],
            entries,
        }
    }

    fn batch() -> Batch {
        let entries = [(5, 4, 0, 0), (-6, 4, 1, u16::MAX), (i64::MAX, 9, 0, 511)];
        let entries = entries.map(|(time, end, source, more)| Entry { time, end, source, more }).to_vec();
        Batch::new(Key::new("g:s"), Bytes::from_static(b"[{},{\"a\"}]"), entries)
    }

    #[test]
    fn a_batch_comes_back_as_it_was() {
        let bytes = [write_head(&head(3), &batch()), batch().body.to_vec()].concat();
        let back = read_batch(bytes, Key::new("g:s")).expect("a batch");
        assert_eq!((back.body, back.entries), (batch().body, batch().entries));
    }

    #[test]
    fn what_does_not_fit_together_is_no_batch() {
        let good = [write_head(&head(3), &batch()), batch().body.to_vec()].concat();
        for length in 0..good.len() {
            let bytes = good[..length].to_vec();
            assert!(read_batch(bytes, Key::new("g:s")).is_none_or(|batch| batch.body.len() >= 9), "cut at {length}");
        }
        let table = good.len() - batch().body.len() - 3 * PLACE_BYTES;
        for (what, place, value) in [("an end before the last", table + 24, 3), ("a strange source", table + 12, 2)] {
            let mut bytes = good.clone();
            bytes[place] = value;
            assert!(read_batch(bytes, Key::new("g:s")).is_none(), "{what}");
        }
        let many = Head { entries: u32::MAX, ..head(3) };
        assert!(read_batch(write_head(&many, &batch()), Key::new("g:s")).is_none());
    }

    proptest! {
        #[test]
        fn property_garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_batch(bytes, Key::new("g:s"));
        }
    }
}
