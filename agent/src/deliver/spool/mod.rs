//! Batches on disk, for the time when memory does not hold them: one store per output, each a folder of segments.
//!
//! ```text
//! ROOT/lock                                  held while the process lives: a spool belongs to one process
//! ROOT/NAME/cursor                           what is settled (cursor.rs)
//! ROOT/NAME/0000000000000042.segment         a header, then entries one after another (frame.rs)
//! ```
//!
//! An entry is opaque bytes and a number of records. Its [`Id`] is the number of records that were appended before it, ever.
//! So ids rise, a gap between two entries is the exact number of records that are missing there, and what is settled is a
//! set of ranges of ids.
//!
//! How an entry lives: [`Store::append`] puts it into the page cache; [`Store::sync`] makes it durable, with all before it;
//! [`Store::read`] checks and returns it; [`Store::settle`] notes that it was delivered or given up; and
//! [`Store::save_cursor`] makes durable what was settled, and then removes the segments that hold nothing else.
//!
//! - A segment is begun only when all before is durable or given back to the caller. Its header says which ids before it are
//!   void: what a failed sync left in an older segment is not found again beside its second copy.
//! - After a failed sync the kernel may have dropped the pages and call them clean. So the segment is written no more, what
//!   was not durable in it is returned ([`NotDurable`]), and the same pages are never synced again.
//! - A segment is removed only when the cursor that settles all of it is durable, so that what is missing without that is
//!   lost, and counted. (Two exceptions, so that a full disk cannot lock itself: [`Store::evict_oldest`], and a cursor that
//!   cannot be saved for want of room. A crash after that counts settled records as lost, never the other way round.)
//! - What is missing at the end of the last segment, and newer than the last saved cursor, leaves no trace and cannot be
//!   counted. So the cursor is worth saving every second or so also while nothing is settled.
//! - A write of which only a part succeeded uses up its ids: some of the frame may be found after a crash.
//! - A start reads the headers of frames and jumps over payloads. Where a header is damaged, the next one is searched for:
//!   each is its own mark, since its checksum covers a random number that no payload can know.
//!
//! Promises: what was synced is read back, byte for byte and in order, until it is settled or evicted, or else it is counted;
//! two processes never share a spool; the disk holds at most [`Limits::bytes_max`]; after any crash, damage or refusal of
//! the disk it opens and goes on by itself.
//! Never: knows what a record is, touches what is not its own, reads a length from disk without measuring it against the
//! file, waits for anything but the disk. It blocks: call it from a thread of its own.

mod cursor;
mod errors;
pub mod files;
mod frame;
mod ranges;
mod recover;
mod room;
mod root;
mod segment;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, path::PathBuf};

pub use errors::{AppendError, NotDurable, OpenError, ReadError};
pub use root::Root;
pub use store::Store;

/// Bytes of the largest entry. Batches have a few MiB at most; a larger length on disk is not believed.
pub const ENTRY_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// Bytes of a segment, unless its only entry is larger: small enough to give room back soon, large enough that the two or
/// three syncs which it costs do not count.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Ids stay below this; a million records a second reach it after 146,000 years.
const ID_MAX: u64 = 1 << 62;

/// How large a store may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk. Two segments of it are kept free: on a full disk the cursor and the removal of segments may still need
    /// a little.
    pub bytes_max: u64,
    /// Bytes of a segment. At most [`ENTRY_BYTES_MAX`], and an eighth of `bytes_max`.
    pub segment_bytes: u64,
}

impl Limits {
    /// Segments of the usual size.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, segment_bytes: SEGMENT_BYTES }
    }
}

/// Which entry: how many records were appended to the store before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An entry that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: Id,
    /// How many records are in it.
    pub records: u32,
    /// Its length.
    pub bytes: u32,
}

/// What a store held when it was opened. Once `lost` is booked, call [`Store::save_cursor`]: until then, the next start
/// finds the same losses again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Entries that are not settled, in the order in which they were appended.
    pub waiting: Vec<Entry>,
    /// Records that are gone.
    pub lost: Lost,
    /// What is wrong in the folder, for a person. Some dozens at most.
    pub damage: Vec<Damage>,
}

/// Records that are gone, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Their bytes are damaged, or could not be read.
    pub damaged: u64,
    /// Their segment is not there.
    pub missing: u64,
    /// They were being written, and most likely not promised yet, when the last process ended.
    pub torn: u64,
}

impl Lost {
    /// All of them.
    pub fn records(&self) -> u64 {
        self.damaged + self.missing + self.torn
    }
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` {}", self.path.display(), self.what)
    }
}

/// What made room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The entries that are gone. None, if it was enough to remove what was settled.
    pub ids: Vec<Id>,
    /// Records in them.
    pub records: u64,
}
