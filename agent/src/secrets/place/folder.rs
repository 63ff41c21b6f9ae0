//! A folder that is open, and what is done in it, each a system call or two on its descriptor.
//!
//! Promises: no name is looked up but in an open folder, and no link is followed; a file has its owner and its mode, whatever
//! the umask, before this returns; each change passes the [`Gate`] first.
//! Never: decides what is ours, or what to do after a failure.

use std::{
    fmt,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat},
    io::{self, Errno},
};

use super::{super::value::Value, PlaceError};

/// Asked before each change of the volume, with its name. Tests refuse it there, or look at what a reader would see.
#[derive(Clone, Default)]
pub(super) struct Gate(pub(super) Option<Arc<Ask>>);

/// What a gate asks.
pub(super) type Ask = dyn Fn(&'static str) -> Result<(), Errno> + Send + Sync;

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// Who may do what with something new.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// Whether it is synced to the disk.
    pub(super) sync: bool,
}

impl Access {
    /// True if something with this status has been given this access.
    fn is_of(&self, stat: &Stat) -> bool {
        let mode = stat.st_mode & 0o7777 == self.mode;
        mode && self.user.is_none_or(|user| user == stat.st_uid) && self.group.is_none_or(|group| group == stat.st_gid)
    }
}

/// What has a name in a folder, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link to this.
    Link(String),
    /// A pipe, a socket, a device.
    Other,
}

impl Kind {
    /// For people.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link(_) => "a link",
            Self::Other => "a pipe, socket or device",
        }
    }
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    gate: Gate,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a pipe that somebody put in place of a file would wait for ever.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder at `path`. Links above it are followed: `/var/run` is one in many images, and who can change those
    /// owns the container.
    pub(super) fn at(path: &Path, gate: Gate) -> Result<Self, Errno> {
        let fd = fs::openat(CWD, path, FOLDER, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned(), gate })
    }

    /// Opens a folder in this one.
    pub(super) fn open(&self, name: &str) -> Result<Self, PlaceError> {
        let opened = fs::openat(&self.fd, name, FOLDER, Mode::empty());
        let fd = opened.map_err(|errno| self.error("open", name, errno))?;
        Ok(Self { fd, path: self.path.join(name), gate: self.gate.clone() })
    }

    /// Makes a folder in this one, and opens it.
    pub(super) fn make(&self, name: &str, access: Access) -> Result<Self, PlaceError> {
        self.change("make", name, || fs::mkdirat(&self.fd, name, Mode::RWXU))?;
        let folder = self.open(name)?;
        folder.give(&folder.fd, "", access)?;
        Ok(folder)
    }

    /// Opens the folder in which the last part of `path` is, and gives that part. The folders between are made if `access`
    /// is given.
    pub(super) fn parent(&self, path: &str, access: Option<Access>) -> Result<(Self, String), PlaceError> {
        let again = || self.fd.try_clone();
        let fd = again().map_err(|source| PlaceError::Failed { action: "open", path: self.path.clone(), source })?;
        let mut folder = Self { fd, path: self.path.clone(), gate: self.gate.clone() };
        let mut parts: Vec<&str> = path.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            folder = match access {
                Some(access) if folder.kind(part)?.is_none() => folder.make(part, access)?,
                _ => folder.open(part)?,
            };
        }
        Ok((folder, last.to_owned()))
    }

    /// Writes a file that must not exist.
    pub(super) fn write(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), PlaceError> {
        let mut file = None;
        self.change("create", name, || {
            file = Some(fs::openat(&self.fd, name, NEW_FILE, Mode::RUSR | Mode::WUSR)?);
            Ok(())
        })?;
        let file = file.expect("it was created, or the change failed");
        let mut left = bytes;
        while !left.is_empty() {
            let mut written = 0;
            self.change("write", name, || {
                written = io::retry_on_intr(|| io::write(&file, left))?;
                if written == 0 { Err(Errno::IO) } else { Ok(()) }
            })?;
            left = &left[written..];
        }
        self.give(&file, name, access)
    }

    /// Owner before mode: a change of the owner may take bits of the mode away.
    fn give(&self, fd: &OwnedFd, name: &str, access: Access) -> Result<(), PlaceError> {
        if access.user.is_some() || access.group.is_some() {
            let (user, group) = (access.user.map(fs::Uid::from_raw), access.group.map(fs::Gid::from_raw));
            self.change("give away", name, || fs::fchown(fd, user, group))?;
        }
        self.change("set the mode of", name, || fs::fchmod(fd, Mode::from_raw_mode(access.mode)))?;
        if access.sync {
            self.change("sync", name, || fs::fsync(fd))?;
        }
        Ok(())
    }

    /// Reads a regular file of at most `bytes_max` bytes. `None` if there is none, or it is something else, or longer.
    pub(super) fn read(&self, name: &str, bytes_max: usize) -> Result<Option<(Value, Stat)>, PlaceError> {
        let file = match fs::openat(&self.fd, name, FILE, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            opened => opened.map_err(|errno| self.error("read", name, errno))?,
        };
        let failed = |errno| self.error("read", name, errno);
        let stat = fs::fstat(&file).map_err(failed)?;
        let bytes = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || bytes > bytes_max {
            return Ok(None);
        }
        // Never grown: what a growing buffer leaves behind would not be wiped.
        let mut buffer = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match io::retry_on_intr(|| io::read(&file, &mut buffer[filled..])).map_err(failed)? {
                0 => break,
                more => filled += more,
            }
        }
        buffer.truncate(filled);
        Ok(Some((Value::new(buffer), stat)))
    }

    /// True if the file at `path` says `value` and has `access`. What cannot be read is not the same.
    pub(super) fn says(&self, path: &str, value: &Value, access: Access) -> bool {
        let read = self.parent(path, None).and_then(|(folder, name)| folder.read(&name, value.expose().len()));
        matches!(read, Ok(Some((found, stat))) if found.is_same(value) && access.is_of(&stat))
    }

    /// What has this name, without following it.
    pub(super) fn kind(&self, name: &str) -> Result<Option<Kind>, PlaceError> {
        let failed = |errno| self.error("look at", name, errno);
        let stat = match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(failed)?,
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => {
                let target = fs::readlinkat(&self.fd, name, Vec::new()).map_err(failed)?;
                Kind::Link(String::from_utf8_lossy(target.as_bytes()).into_owned())
            }
            _ => Kind::Other,
        }))
    }

    /// Whose the thing with this name is.
    pub(super) fn owner(&self, name: &str) -> Result<u32, PlaceError> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(stat.map_err(|errno| self.error("look at", name, errno))?.st_uid)
    }

    /// The names in it that are UTF-8: ours are.
    pub(super) fn names(&self) -> Result<Vec<String>, PlaceError> {
        let failed = |errno| self.error("list", "", errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Makes `name` a link to `target`. It must not exist.
    pub(super) fn link(&self, target: &str, name: &str) -> Result<(), PlaceError> {
        self.change("link", name, || fs::symlinkat(target, &self.fd, name))
    }

    /// Moves `from` to `to` in another folder, in place of what is there.
    pub(super) fn rename(&self, from: &str, folder: &Self, to: &str) -> Result<(), PlaceError> {
        folder.change("replace", to, || fs::renameat(&self.fd, from, &folder.fd, to))
    }

    /// Removes a file or link. Well if it is not there.
    pub(super) fn remove(&self, name: &str) -> Result<(), PlaceError> {
        self.change("remove", name, || gone(fs::unlinkat(&self.fd, name, AtFlags::empty())))
    }

    /// Removes a folder that is empty. Well if it is not there.
    pub(super) fn remove_folder(&self, name: &str) -> Result<(), PlaceError> {
        self.change("remove", name, || gone(fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)))
    }

    /// Removes a folder and what is in it, at most `levels` of folders.
    pub(super) fn remove_all(&self, name: &str, levels: usize) -> Result<(), PlaceError> {
        if self.kind(name)? == Some(Kind::Folder) && levels > 0 {
            let folder = self.open(name)?;
            for name in folder.names()? {
                folder.remove_all(&name, levels - 1)?;
            }
            return self.remove_folder(name);
        }
        self.remove(name)
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> Result<(), PlaceError> {
        self.change("sync", "", || fs::fsync(&self.fd))
    }

    /// Its owner, group and mode.
    pub(super) fn stat(&self) -> Result<Stat, PlaceError> {
        fs::fstat(&self.fd).map_err(|errno| self.error("look at", "", errno))
    }

    /// False if another process has locked it. Where folders cannot be locked (NFS), nobody has.
    pub(super) fn lock(&self) -> bool {
        !matches!(fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK))
    }

    /// Ends the lock now, also if a program that is just being started holds a copy of the descriptor.
    pub(super) fn unlock(&self) {
        let _ = fs::flock(&self.fd, FlockOperation::NonBlockingUnlock);
    }

    /// Where `name` is, for people.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    fn change(
        &self,
        action: &'static str,
        name: &str,
        call: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), PlaceError> {
        let asked = self.gate.0.as_ref().map_or(Ok(()), |ask| ask(action));
        asked.and_then(|()| call()).map_err(|errno| self.error(action, name, errno))
    }

    fn error(&self, action: &'static str, name: &str, errno: Errno) -> PlaceError {
        PlaceError::of(action, self.path_of(name), errno)
    }
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
