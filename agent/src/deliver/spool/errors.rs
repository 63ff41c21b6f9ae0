//! What can go wrong, as far as callers must tell it apart.
//!
//! Promises: each message says what to do where a person can do something; the cause is the source.
//! Never: shows what an entry contains.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{ENTRY_BYTES_MAX, Id};

/// Why a spool or a store could not be opened. It goes without, then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the spool `{path}` is in use by another process; give each agent a spool folder of its own")]
    InUse {
        /// The root.
        path: PathBuf,
    },
    /// This process has it open already.
    #[error("the spool `{path}` is in use by another output; give each output a name of its own")]
    OpenTwice {
        /// The store's folder.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the spool `{path}` is on a read-only volume; mount it without `readOnly`")]
    ReadOnly {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is somebody else's.
    #[error("the spool `{path}` may not be used by this user; let the user that pillion runs as own the folder")]
    Denied {
        /// What could not be used.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else has its name.
    #[error("the spool `{path}` is not a folder; name another one, or remove what is there")]
    NotAFolder {
        /// What is not a folder.
        path: PathBuf,
    },
    /// The name cannot be one of a folder.
    #[error("`{name}` is no name for a folder in the spool; shorten the output's name to 60 letters")]
    Name {
        /// The store's name.
        name: String,
    },
    /// A newer version wrote it.
    #[error("`{path}` has format {major}, which a newer version wrote; run that one, or name another folder")]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        major: u16,
    },
    /// Anything else.
    #[error("the spool `{path}` cannot be opened")]
    Io {
        /// What could not be opened.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source },
            ErrorKind::PermissionDenied => Self::Denied { path, source },
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder { path },
            _ => Self::Io { path, source },
        }
    }
}

/// Why an entry was not appended. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The store has its size: evict the oldest, or keep it.
    #[error("the spool is full")]
    Full,
    /// The disk has no room.
    #[error("the disk of the spool has no room; make some, or give the spool a volume of its own")]
    NoSpace(#[source] io::Error),
    /// The disk became read-only.
    #[error("the disk of the spool is read-only")]
    ReadOnly(#[source] io::Error),
    /// Anything else that the disk answered.
    #[error("the disk of the spool failed")]
    Io(#[source] io::Error),
    /// It never fits.
    #[error(
        "an entry of {bytes} bytes is too large for the spool; at most {ENTRY_BYTES_MAX} fit, or what its size allows"
    )]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if is_no_space(&error) => Self::NoSpace(error),
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(error),
            _ => Self::Io(error),
        }
    }
}

pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// A sync failed. These entries are not durable, and gone from the store: append them again. All others are durable.
#[derive(Debug, thiserror::Error)]
#[error("{} entries could not be made durable", ids.len())]
pub struct NotDurable {
    /// Their ids, which are void now; what is settled already is not among them.
    pub ids: Vec<Id>,
    /// What the system said first.
    pub source: io::Error,
}

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes are not those that were written. Book it as lost, and settle it.
    #[error("{records} records in the spool are damaged")]
    Damaged {
        /// Records in it.
        records: u32,
    },
    /// The disk failed. It may not fail the next time.
    #[error("{records} records in the spool cannot be read")]
    Io {
        /// Records in it.
        records: u32,
        /// What the system said.
        source: io::Error,
    },
    /// No such entry: evicted, given back as not durable, or removed after it was settled.
    #[error("no such entry is in the spool")]
    Gone,
}
