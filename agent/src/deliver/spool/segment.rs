//! One segment: what of it is known in memory, how it is found in a folder, written and scanned.
//!
//! Promises: a scan ends, whatever the bytes are, reads each of them at most a few times, and keeps memory in proportion
//! to the entries that it finds; a segment appears in its folder whole or not at all.
//! Never: reads a payload, unless it looks there for the next frame after a damaged one.

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
};

use memchr::memmem::Finder;

use super::{
    Entry, Id,
    files::{Files, Handle, read_up_to, write_all},
    frame::{FRAME_BYTES, FRAME_MAGIC, Frame, SegmentHeader},
};

/// Segments are numbered below this, so that names sort and numbers never run out.
const SEQUENCE_END: u64 = 1_000_000_000_000_000;
/// Bytes of a segment that are looked at. None is written that is longer than its largest entry with what is around it.
const SCANNED_BYTES_MAX: u64 = super::ENTRY_BYTES_MAX as u64 + 1024 * 1024;
/// Bytes read at once while frames follow each other: several small ones, and what a disk reads anyway.
const WINDOW_BYTES: usize = 4096;
/// Bytes read at once in search of a frame.
const SEARCH_BYTES: usize = 64 * 1024;
/// Disks give space in blocks of this size.
const BLOCK_BYTES: u64 = 4096;
/// The least that an entry counts for, so that the number of entries, which memory knows one by one, has a bound too.
const ENTRY_CHARGE_BYTES: u64 = 512;

/// A segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Its number.
    pub(super) sequence: u64,
    /// Its first id.
    pub(super) first: u64,
    /// The ids that must be known to be settled before it may go: its own, those it declares void, those lost in it.
    pub(super) territory: Range<u64>,
    /// Length of the file.
    pub(super) bytes: u64,
    /// Its entries, in the order of their ids.
    pub(super) entries: Vec<Stored>,
    /// Entries that are not settled.
    pub(super) live: usize,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) frame: Frame,
    /// Where its payload begins.
    pub(super) at: u64,
}

impl Stored {
    pub(super) fn entry(&self) -> Entry {
        Entry { id: Id(self.frame.id), records: self.frame.records, bytes: self.frame.bytes }
    }
}

impl Segment {
    /// The bytes that it counts for.
    pub(super) fn charge(&self) -> u64 {
        charge(self.bytes, self.entries.len())
    }

    /// The bytes that it would count for with one more entry, of `bytes` with its frame.
    pub(super) fn charge_with(&self, bytes: u64) -> u64 {
        charge(self.bytes + bytes, self.entries.len() + 1)
    }

    /// The entry with this id.
    pub(super) fn find(&self, id: Id) -> Option<&Stored> {
        let place = self.entries.binary_search_by_key(&id.0, |stored| stored.frame.id).ok()?;
        Some(&self.entries[place])
    }
}

fn charge(bytes: u64, entries: usize) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES).max(entries as u64 * ENTRY_CHARGE_BYTES)
}

/// The name of segment `sequence`.
pub(super) fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:016}.segment"))
}

/// Its name until it is whole.
fn new_path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:016}.tmp"))
}

/// The number of the segment that is called so.
pub(super) fn sequence_of(name: &OsStr) -> Option<u64> {
    numbered(name, ".segment")
}

/// The number of the unfinished segment that is called so.
pub(super) fn unfinished_sequence_of(name: &OsStr) -> Option<u64> {
    numbered(name, ".tmp")
}

fn numbered(name: &OsStr, ending: &str) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(ending)?;
    let plain = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|&sequence| plain && sequence < SEQUENCE_END)
}

/// Makes a segment with `header` and nothing else. When this fails, nothing is left of it unless the disk refuses that too;
/// then it is an empty segment, which does no harm.
pub(super) fn create(files: &dyn Files, folder: &Path, header: &SegmentHeader) -> io::Result<Box<dyn Handle>> {
    let [new, path] = [new_path(folder, header.sequence), path(folder, header.sequence)];
    let handle = create_anew(files, &new)?;
    let finish = || {
        write_all(&*handle, &mut [IoSlice::new(&header.encode())], 0).map_err(|(_, error)| error)?;
        handle.sync_data()?;
        files.rename(&new, &path)?;
        files.sync_folder(folder)
    };
    if let Err(error) = finish() {
        // Either may exist, and a failure to remove it tells nothing that `error` does not.
        let _ = files.remove(&new);
        let _ = files.remove(&path);
        return Err(error);
    }
    Ok(handle)
}

/// Creates a file in place of the one that a failure may have left there.
pub(super) fn create_anew(files: &dyn Files, path: &Path) -> io::Result<Box<dyn Handle>> {
    match files.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(path)?;
            files.create(path)
        }
        created => created,
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Frames in the order of their ids; none overlaps another.
    pub(super) entries: Vec<Stored>,
    /// Frames whose payload ends beyond the end of the file.
    pub(super) torn: Vec<Frame>,
    /// Where the first bytes are that are no frame and should be.
    pub(super) damaged_at: Option<u64>,
    /// Why it ended early.
    pub(super) error: Option<io::Error>,
}

/// Finds the frames of segment `sequence` from byte `begin` on.
pub(super) fn scan(file: &dyn Handle, bytes: u64, begin: u64, nonce: u64, sequence: u64) -> Scan {
    let mut scan = Scan::default();
    let scanner =
        Scanner { file, bytes: bytes.min(SCANNED_BYTES_MAX), nonce, sequence, window: Vec::new(), window_at: 0 };
    if let Err(error) = scanner.run(begin, &mut scan) {
        scan.error = Some(error);
    }
    // Frames that somebody moved or doubled are still what they are.
    scan.entries.sort_by_key(|stored| stored.frame.id);
    let mut end = 0;
    scan.entries.retain(|stored| {
        let apart = stored.frame.id >= end;
        if apart {
            end = stored.frame.end();
        }
        apart
    });
    scan
}

struct Scanner<'a> {
    file: &'a dyn Handle,
    bytes: u64,
    nonce: u64,
    sequence: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Scanner<'_> {
    fn run(mut self, begin: u64, scan: &mut Scan) -> io::Result<()> {
        // `next` is where a frame should be; `resume` is behind the last header that was one. If there is no frame at
        // `next`, the payload before may be shorter than its header says, so the search begins at `resume`.
        let (mut next, mut resume) = (begin, begin);
        while next < self.bytes {
            let found = self.frame(next)?;
            if let Some(frame) = found {
                let at = next + FRAME_BYTES;
                let end = at + u64::from(frame.bytes);
                resume = at;
                if end <= self.bytes {
                    scan.entries.push(Stored { frame, at });
                    next = end;
                    continue;
                }
                scan.torn.push(frame);
            }
            scan.damaged_at.get_or_insert(next);
            match self.search(resume)? {
                Some(found) => next = found,
                None => break,
            }
        }
        Ok(())
    }

    /// The frame whose header is at `at`.
    fn frame(&mut self, at: u64) -> io::Result<Option<Frame>> {
        if at + FRAME_BYTES > self.bytes {
            return Ok(None);
        }
        let inside = at >= self.window_at && at + FRAME_BYTES <= self.window_at + self.window.len() as u64;
        if !inside {
            self.fill(at, WINDOW_BYTES)?;
        }
        let start = usize::try_from(at - self.window_at).expect("a window is small");
        Ok(Frame::decode(&self.window[start..], self.nonce, self.sequence))
    }

    /// Where the first frame at or after `from` begins.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let finder = Finder::new(&FRAME_MAGIC);
        let mut at = from;
        while at + FRAME_BYTES <= self.bytes {
            self.fill(at, SEARCH_BYTES)?;
            let whole = self.window.len().saturating_sub(FRAME_BYTES as usize - 1);
            if whole == 0 {
                break;
            }
            for place in finder.find_iter(&self.window).take_while(|&place| place < whole) {
                if Frame::decode(&self.window[place..], self.nonce, self.sequence).is_some() {
                    return Ok(Some(at + place as u64));
                }
            }
            at += whole as u64;
        }
        Ok(None)
    }

    fn fill(&mut self, at: u64, bytes: usize) -> io::Result<()> {
        let bytes = usize::try_from(self.bytes - at).map_or(bytes, |left| left.min(bytes));
        self.window.resize(bytes, 0);
        self.window_at = at;
        let filled = read_up_to(self.file, &mut self.window, at)?;
        self.window.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_one_name() {
        let name = path(Path::new("/spool"), 42);
        assert_eq!(name.to_str(), Some("/spool/0000000000000042.segment"));
        assert_eq!(sequence_of(name.file_name().expect("a name")), Some(42));
        for name in [
            "42.segment",
            "+000000000000042.segment",
            "0000000000000042.segment.bak",
            "0000000000000042",
            "00000000000000042.segment",
            "1000000000000000.segment",
            "0000000000000042.tmp",
            "cursor",
        ] {
            assert_eq!(sequence_of(OsStr::new(name)), None, "{name}");
        }
        assert_eq!(unfinished_sequence_of(OsStr::new("0000000000000042.tmp")), Some(42));
        assert_eq!(unfinished_sequence_of(OsStr::new("mine.tmp")), None);
    }
}
