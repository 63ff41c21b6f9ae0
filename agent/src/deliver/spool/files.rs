//! The few things a spool does with files, behind a trait, so that tests can put a hostile disk in their place.
//!
//! Promises: no symbolic link is followed in the last part of a path; what is created is for this user alone and is not
//! inherited by other programs; a lock ends with the process, however that ends.
//! Never: decides, caches or tries again.

use std::{
    ffi::OsString,
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
};

/// Files and folders. Paths of one store are used by one thread.
pub trait Files: Debug + Send + Sync {
    /// Makes `folder` and those above it, for this user alone. Well if it exists.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Calls `each` for everything in `folder`, in no order.
    fn list(&self, folder: &Path, each: &mut dyn FnMut(Listed)) -> io::Result<()>;
    /// Creates a file that must not exist, to be read and written.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>>;
    /// Opens a file that must exist.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Handle>>;
    /// Gives a file another name in its folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Locks the file at `path`, which is created if need be. `None` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
    /// A number that nobody can guess.
    fn random(&self) -> u64;
}

/// An open file.
pub trait Handle: Debug + Send {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads at `at`, maybe less than asked for; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes `parts` one after another at `at`, maybe only the beginning of them.
    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize>;
    /// Makes its bytes and its length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts it off, or fills it up with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
}

/// A lock that is held until it is dropped.
pub trait Lock: Debug + Send + Sync {}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be read and written.
    Write,
}

/// Something in a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// What something in a folder is; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a socket, a device.
    Other,
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Files for Real {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn list(&self, folder: &Path, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = match entry.file_type()? {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Folder,
                _ => Kind::Other,
            };
            each(Listed { name: entry.file_name(), kind });
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(options().write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(options().write(access == Access::Write).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        options().custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = match options().write(true).create(true).truncate(false).open(path) {
            // On a volume that became read-only, what is there can still be read, and must still be ours alone.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                options().open(path).map_err(|_| error)?
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).expect("aws-lc-rs ends the process rather than go without randomness");
        u64::from_le_bytes(bytes)
    }
}

/// Without `O_NONBLOCK`, opening a named pipe that somebody put in place of a file would wait for ever.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

impl Handle for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        // The standard library has no pwritev. One thread uses a store, so that position and write stay together.
        let mut file = self;
        file.seek(SeekFrom::Start(at))?;
        file.write_vectored(parts)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }
}

impl Lock for File {}

/// Writes all of `parts` at `at`. An error comes with the number of bytes that were written before it.
pub(super) fn write_all(file: &dyn Handle, mut parts: &mut [IoSlice<'_>], at: u64) -> Result<(), (u64, io::Error)> {
    let mut written = 0;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_at(parts, at + written) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => {
                written += more as u64;
                IoSlice::advance_slices(&mut parts, more);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Reads at `at` until `buffer` is full or the file ends; says how much was read.
pub(super) fn read_up_to(file: &dyn Handle, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
