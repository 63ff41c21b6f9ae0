//! What can go wrong on the shared volume.
//!
//! Promises: each message names the path and says what to do where a person can do something; the cause is the source.
//! Never: shows anything of what a file contains.

use std::{io, path::PathBuf};

use rustix::io::Errno;

/// Why secrets could not be placed. What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// No room.
    #[error("no room to write `{path}`; the files that were there stay. Give the volume more room")]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A volume that cannot be written.
    #[error("`{path}` is on a read-only volume; mount it without `readOnly` into pillion's own container")]
    ReadOnly {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let us.
    #[error(
        "pillion may not {action} `{path}`; let its user write the folder, or run it as root with the capabilities CHOWN \
         and DAC_OVERRIDE if `user` or `group` are set"
    )]
    Denied {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system refused.
    #[error("cannot {action} `{path}`")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could put files of their own there.
    #[error(
        "the folder `{path}` of user {user} with mode {mode:o} may be changed by others; let root or the user that pillion \
         runs as own it, and nobody else write it"
    )]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        user: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process writes there.
    #[error("another process places secrets in `{path}`; give each a folder of its own")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Something is in the way that we did not put there.
    #[error(
        "`{path}` is {what} that pillion did not put there, and it stays; remove it, or name another folder or file"
    )]
    Foreign {
        /// What is in the way.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The folder was used with the other layout.
    #[error("`{path}` is left from another `layout`; empty the folder to change it")]
    OtherLayout {
        /// What is left.
        path: PathBuf,
    },
    /// A path that cannot be one of a file.
    #[error("`{path}` is no path for a file of secrets: {what}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl PlaceError {
    /// What the system's refusal of `action` means.
    pub(super) fn of(action: &'static str, path: PathBuf, errno: Errno) -> Self {
        let source = io::Error::from(errno);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::Full { path, source },
            Errno::ROFS => Self::ReadOnly { path, source },
            Errno::ACCESS | Errno::PERM => Self::Denied { action, path, source },
            _ => Self::Failed { action, path, source },
        }
    }
}
