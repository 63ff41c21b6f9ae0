//! What is settled, on disk: two slots of 4 KiB in a file of its own, written in turn.
//!
//! ```text
//! slot  magic 8 | major u16 | minor u16 | ranges u32 | generation u64 | nonce u64 | promised u64 | next u64
//!       | next sequence u64 | (start u64, end u64) * ranges | 0 ... | crc32c of the 4092 bytes before u32
//! ```
//!
//! The slot with the higher generation counts. The other one is written next, so that a torn write costs what was settled
//! since the last save and nothing else. Both are there from the beginning: saving needs no room on the disk.
//!
//! Promises: a save that failed leaves the last good one alone; what a slot has no room for is only sent again.
//! Never: syncs the same bytes twice: after a failed sync they are written again first.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    files::{Access, Files, Handle, read_up_to, write_all},
    frame::{MAJOR, number_u32, number_u64},
    ranges::Ranges,
    segment::create_anew,
};

/// Bytes of a slot: what disks write whole most often.
pub(super) const SLOT_BYTES: usize = 4096;
/// Ranges that a slot has room for.
pub(super) const RANGES_MAX: usize = (CHECKED - RANGES_AT) / 16;
/// The file's name.
pub(super) const NAME: &str = "cursor";
/// Its name until it is whole.
pub(super) const NEW_NAME: &str = "cursor.tmp";
const MAGIC: [u8; 8] = *b"pilCURSR";
const MINOR: u16 = 0;
const RANGES_AT: usize = 56;
const CHECKED: usize = SLOT_BYTES - 4;

/// What is saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Random, one for the whole store.
    pub(super) nonce: u64,
    /// All entries below this were durable or settled.
    pub(super) promised: u64,
    /// The id of the next entry.
    pub(super) next: u64,
    /// The number of the next segment.
    pub(super) next_sequence: u64,
    /// Ids that are settled. At most [`RANGES_MAX`] ranges.
    pub(super) settled: Ranges,
}

/// What could be made of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Whole(u64, Cursor),
    /// Never written.
    Empty,
    Damaged,
    Newer(u16),
}

/// What could be made of the file.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The newest slot, if one is whole.
    pub(super) cursor: Option<Cursor>,
    /// What is wrong, if something is. Then what is settled may be more than `cursor` knows.
    pub(super) damage: Option<String>,
}

/// The file.
#[derive(Debug)]
pub(super) struct CursorFile {
    folder: PathBuf,
    /// `None` while it could not be created or opened.
    handle: Option<Box<dyn Handle>>,
    /// The generation and the contents of the last good slot, once there is one.
    durable: Option<(u64, Cursor)>,
    /// The slot to write next.
    slot: u64,
    /// The highest generation that may be on disk.
    generation: u64,
}

impl CursorFile {
    /// Reads the file in `folder`, if there is one. An error is the newer major version of it, which must not be
    /// written over.
    pub(super) fn load(files: &dyn Files, folder: &Path) -> Result<(Self, Loaded), u16> {
        let mut file = Self { folder: folder.to_owned(), handle: None, durable: None, slot: 0, generation: 0 };
        let (handle, bytes) = match read(files, &folder.join(NAME)) {
            Ok(read) => read,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let damage = (!missing).then(|| format!("cannot be read: {error}; records may be sent twice"));
                return Ok((file, Loaded { cursor: None, damage }));
            }
        };
        let slots = [0, 1].map(|slot| bytes.get(slot * SLOT_BYTES..(slot + 1) * SLOT_BYTES));
        let mut damage = None;
        for (slot, found) in (0..).zip(slots.map(|bytes| bytes.map_or(Slot::Damaged, decode))) {
            match found {
                Slot::Whole(generation, cursor) if file.durable.is_none() || generation > file.generation => {
                    (file.generation, file.slot) = (generation, 1 - slot);
                    file.durable = Some((generation, cursor));
                }
                Slot::Whole(..) | Slot::Empty => {}
                Slot::Damaged => damage = Some("is damaged; records may be sent twice".to_owned()),
                Slot::Newer(major) => return Err(major),
            }
        }
        // Where neither slot is whole, a new file takes the place of this one, so that both are again.
        file.handle = file.durable.is_some().then_some(handle);
        let cursor = file.durable().cloned();
        Ok((file, Loaded { cursor, damage }))
    }

    /// What the last good slot says.
    pub(super) fn durable(&self) -> Option<&Cursor> {
        self.durable.as_ref().map(|(_, cursor)| cursor)
    }

    /// Makes `cursor` durable.
    pub(super) fn save(&mut self, files: &dyn Files, cursor: Cursor) -> io::Result<()> {
        self.generation += 1;
        let bytes = encode(self.generation, &cursor);
        match &self.handle {
            None => self.handle = Some(self.create(files, &bytes)?),
            Some(handle) => {
                write_all(&**handle, &mut [IoSlice::new(&bytes)], self.slot * SLOT_BYTES as u64)
                    .map_err(|(_, error)| error)?;
                handle.sync_data()?;
            }
        }
        // Only now: until a slot is durable, the other one must stay as it is.
        self.slot = 1 - self.slot;
        self.durable = Some((self.generation, cursor));
        Ok(())
    }

    /// Makes the file with `bytes` in the first slot.
    fn create(&self, files: &dyn Files, bytes: &[u8]) -> io::Result<Box<dyn Handle>> {
        let [path, new] = [NAME, NEW_NAME].map(|name| self.folder.join(name));
        let handle = create_anew(files, &new)?;
        write_all(&*handle, &mut [IoSlice::new(bytes), IoSlice::new(&[0; SLOT_BYTES])], 0)
            .map_err(|(_, error)| error)?;
        handle.sync_data()?;
        files.rename(&new, &path)?;
        files.sync_folder(&self.folder)?;
        Ok(handle)
    }
}

fn read(files: &dyn Files, path: &Path) -> io::Result<(Box<dyn Handle>, Vec<u8>)> {
    let handle = match files.open(path, Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => files.open(path, Access::Read)?,
        opened => opened?,
    };
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let filled = read_up_to(&*handle, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok((handle, bytes))
}

fn encode(generation: u64, cursor: &Cursor) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&MAJOR.to_le_bytes());
    bytes.extend_from_slice(&MINOR.to_le_bytes());
    let ranges: Vec<Range<u64>> = cursor.settled.iter().take(RANGES_MAX).collect();
    bytes.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
    let numbers = [generation, cursor.nonce, cursor.promised, cursor.next, cursor.next_sequence];
    let bounds = ranges.iter().flat_map(|range| [range.start, range.end]);
    for number in numbers.into_iter().chain(bounds) {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.resize(CHECKED, 0);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Slot {
    if bytes.iter().all(|&byte| byte == 0) {
        return Slot::Empty;
    }
    let whole = bytes.len() == SLOT_BYTES
        && bytes[..8] == MAGIC
        && number_u32(bytes, CHECKED) == crc32c::crc32c(&bytes[..CHECKED]);
    if !whole {
        return Slot::Damaged;
    }
    let major = u16::from_le_bytes([bytes[8], bytes[9]]);
    if major > MAJOR {
        return Slot::Newer(major);
    }
    let [generation, nonce, promised, next, next_sequence] = [16, 24, 32, 40, 48].map(|at| number_u64(bytes, at));
    let ranges = number_u32(bytes, 12) as usize;
    if ranges > RANGES_MAX {
        return Slot::Damaged;
    }
    let range = |place| number_u64(bytes, RANGES_AT + 16 * place)..number_u64(bytes, RANGES_AT + 16 * place + 8);
    let settled = (0..ranges).map(range).collect();
    Slot::Whole(generation, Cursor { nonce, promised, next, next_sequence, settled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_as_it_was_written() {
        let settled: Ranges = (0..RANGES_MAX as u64).map(|place| 10 * place..10 * place + 5).collect();
        let cursor = Cursor { nonce: 1, promised: 2, next: 3, next_sequence: 4, settled };
        let bytes = encode(9, &cursor);
        assert_eq!(bytes.len(), SLOT_BYTES);
        assert_eq!(decode(&bytes), Slot::Whole(9, cursor));
        assert_eq!(decode(&[0; SLOT_BYTES]), Slot::Empty);
        assert_eq!(RANGES_MAX, 252);
    }

    #[test]
    fn each_flipped_bit_of_a_slot_is_found() {
        let settled = [0..7, 9..10].into_iter().collect();
        let bytes = encode(9, &Cursor { nonce: 1, promised: 2, next: 3, next_sequence: 4, settled });
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), Slot::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_major_version_of_a_slot_is_told_from_damage() {
        let mut bytes = encode(9, &Cursor::default());
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&bytes), Slot::Newer(2));
    }
}
