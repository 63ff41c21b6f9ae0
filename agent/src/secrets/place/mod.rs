//! The only writer of secret bytes: generations of files on the shared volume.
//!
//! ```text
//! /run/secrets/                          the folder; everything below is looked up in it, never by a whole path
//!   db.json -> ..data/db.json            one link for each first part of a path; never changes
//!   ..data  -> ..g7-3f0c9a...            the newest generation; this link is replaced by one rename
//!   ..g7-3f0c9a.../db.json               files with their owner and mode, never changed again
//!   ..g7-3f0c9a.../.generation           its number and the version ids, no values
//!   ..g6-e41b77.../                      the one before, for programs that still read it
//!   .told                                the last generation that everybody was told of
//! ```
//!
//! With the plain layout `db.json` is a file, replaced by a rename of its own, and `.generation` stands beside it.
//!
//! Promises: with the swapped layout a reader sees one whole generation at any moment, wherever we are killed; what fails
//! leaves the generation before; what a crash left behind is repaired by the next open or publish; nothing that is not ours
//! is replaced or removed.
//! Never: follows a link in the folder; shows a value, its length or a hash; waits, retries or tells anybody.

mod errors;
mod folder;
mod marker;
mod paths;
mod plain;
mod swapped;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::{getegid, geteuid, getgroups};

pub use self::{errors::PlaceError, marker::Marker, paths::check as check_path};
use self::{
    folder::{Access, Folder, Gate, Kind},
    marker::Stored,
};
use super::{settings::Layout, value::Value};
use crate::limits::SECRET_FILE_BYTES_MAX;

/// The user that the image's `/run/secrets` belongs to; an agent that runs as root finds it so on a fresh volume.
const IMAGE_USER: u32 = 65_532;
/// The last generation that everybody was told of.
const TOLD: &str = ".told";
const TOLD_NEW: &str = "..told_tmp";
/// More than a number has digits.
const TOLD_BYTES_MAX: usize = 32;
const STICKY: u32 = 0o1000;

/// Where and how files are placed.
#[derive(Clone, Debug)]
pub struct PlaceSettings {
    /// The folder, which is made if it is not there.
    pub folder: PathBuf,
    /// How files are replaced.
    pub layout: Layout,
    /// Permission bits of files.
    pub mode: u32,
    /// Permission bits of folders that we make.
    pub dir_mode: u32,
    /// The user that files belong to, if it is not ours. Folders stay ours.
    pub user: Option<u32>,
    /// The group of files and folders, if it is not ours.
    pub group: Option<u32>,
    /// Generations that are kept beside the newest.
    pub keep: usize,
    /// How long one is kept after it was replaced, however many there are.
    pub keep_for: Duration,
    /// Whether files and folders are synced.
    pub sync: bool,
}

/// One file of a generation.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its path below the folder.
    pub path: String,
    /// What it says.
    pub bytes: &'a Value,
    /// Its permission bits, if not those of the settings.
    pub mode: Option<u32>,
}

/// What was on the volume when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The newest generation.
    pub marker: Marker,
    /// The last generation that everybody was told of. If it is less than the marker's number, somebody was not.
    pub told: u64,
}

/// What became of a generation.
#[derive(Debug)]
pub struct Published {
    /// The number of the newest generation.
    pub number: u64,
    /// False if the files were as they should be. Version ids may be new all the same; the marker has them.
    pub changed: bool,
    /// What could not be tidied up or synced after the new files were in place. It is tried again with the next publish.
    pub remains: Option<PlaceError>,
}

/// An open folder of secrets.
#[derive(Debug)]
pub struct Place {
    folder: Folder,
    settings: PlaceSettings,
    /// The newest generation, and with the swapped layout its folder.
    current: Option<(Stored, String)>,
    old: Vec<Old>,
    told: u64,
    /// The highest number that was ever used here, as far as can be known.
    last: u64,
}

/// A generation that was replaced.
#[derive(Debug)]
struct Old {
    number: u64,
    name: String,
    /// Unknown until the first prune after a start: readers may have opened it just before.
    replaced: Option<Instant>,
}

impl Place {
    /// Opens the folder, repairs what a crash left behind, and says what is there. Nothing is blanked.
    pub fn open(settings: &PlaceSettings) -> Result<(Self, Option<Adopted>), PlaceError> {
        Self::open_with(settings, Gate::default())
    }

    fn open_with(settings: &PlaceSettings, gate: Gate) -> Result<(Self, Option<Adopted>), PlaceError> {
        let folder = Self::folder(settings, gate)?;
        check_owner(&folder, settings)?;
        if !folder.lock() {
            return Err(PlaceError::InUse { path: settings.folder.clone() });
        }
        let (current, old, told) = (None, Vec::new(), read_told(&folder));
        let mut place = Self { folder, settings: settings.clone(), current, old, told, last: told };
        match settings.layout {
            Layout::Swapped => place.find_swapped()?,
            Layout::Plain => place.find_plain()?,
        }
        // A volume that cannot be written just now is told by the next publish.
        let _ = place.repair();
        let adopted = place.current.as_ref().map(|(stored, _)| Adopted { marker: stored.marker(), told });
        Ok((place, adopted))
    }

    /// Makes `files` the newest generation, unless they are. `versions` has the version ids they show for each secret.
    /// After an error the generation before is there, whole; with the plain layout perhaps some files of the new one.
    pub fn publish(
        &mut self,
        files: &[File<'_>],
        versions: &BTreeMap<String, Vec<String>>,
        now: Instant,
    ) -> Result<Published, PlaceError> {
        paths::check_all(files.iter().map(|file| file.path.as_str()))?;
        let (changed, tidied) = match self.settings.layout {
            Layout::Swapped => self.publish_swapped(files, versions, now)?,
            Layout::Plain => self.publish_plain(files, versions)?,
        };
        let number = self.current.as_ref().map_or(self.last, |(stored, _)| stored.number);
        let remains = tidied.and_then(|()| self.prune(now)).err();
        Ok(Published { number, changed, remains })
    }

    /// What the newest generation says at `path`, if it has that file.
    pub fn shown(&self, path: &str) -> Option<Value> {
        let (_, name) = self.current.as_ref().filter(|(stored, _)| stored.files.iter().any(|file| file == path))?;
        let generation = match self.settings.layout {
            Layout::Swapped => Some(self.folder.open(name).ok()?),
            Layout::Plain => None,
        };
        let (folder, name) = generation.as_ref().unwrap_or(&self.folder).parent(path, None).ok()?;
        folder.read(&name, SECRET_FILE_BYTES_MAX).ok().flatten().map(|(value, _)| value)
    }

    /// The files of the newest generation below `folder`, with their paths.
    pub fn shown_below(&self, folder: &str) -> Vec<(String, Value)> {
        let is_below = |path: &&String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let paths = self.current.iter().flat_map(|(stored, _)| stored.files.iter().filter(is_below));
        paths.filter_map(|path| Some((path.clone(), self.shown(path)?))).collect()
    }

    /// Removes generations that nobody needs any more.
    pub fn prune(&mut self, now: Instant) -> Result<(), PlaceError> {
        self.prune_swapped(now)
    }

    /// Remembers on the volume that everybody was told of the generations up to `number`.
    pub fn told(&mut self, number: u64) -> Result<(), PlaceError> {
        if number > self.told {
            self.replace(TOLD_NEW, TOLD, format!("{number}\n").as_bytes())?;
            self.told = number;
        }
        Ok(())
    }

    /// Opens the folder, or makes it.
    fn folder(settings: &PlaceSettings, gate: Gate) -> Result<Folder, PlaceError> {
        let path = &settings.folder;
        let failed = |action, errno| PlaceError::of(action, path.clone(), errno);
        match Folder::at(path, gate.clone()) {
            Err(rustix::io::Errno::NOENT) => {}
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(PlaceError::Foreign { path: path.clone(), what: "a file or a link" });
            }
            opened => return opened.map_err(|errno| failed("open", errno)),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(failed("make", rustix::io::Errno::NOENT));
        };
        std::fs::create_dir_all(parent).map_err(|error| {
            failed("make", rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        })?;
        let above = Folder::at(parent, gate).map_err(|errno| failed("open", errno))?;
        above.make(name, folder_access(settings))
    }

    /// What a crash left behind: half a generation, a link that was not renamed, visible links that are missing.
    fn repair(&mut self) -> Result<(), PlaceError> {
        self.folder.remove(TOLD_NEW)?;
        match self.settings.layout {
            Layout::Swapped => self.repair_swapped(),
            Layout::Plain => self.repair_plain(),
        }
    }

    /// Replaces a small file of ours in the folder.
    fn replace(&self, new: &str, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.folder.remove(new)?;
        let written = self.folder.write(new, bytes, self.own_access());
        written.and_then(|()| self.folder.rename(new, &self.folder, name)).inspect_err(|_| {
            // What stays is removed by the next open or publish.
            let _ = self.folder.remove(new);
        })
    }

    /// The access of a file whose own mode is `mode`.
    fn access(&self, mode: Option<u32>) -> Access {
        let PlaceSettings { user, group, sync, .. } = self.settings;
        Access { mode: mode.unwrap_or(self.settings.mode), user, group, sync }
    }

    /// The access of our own files, which hold no secret. They stay ours, so that the next start knows them.
    fn own_access(&self) -> Access {
        Access { mode: 0o444, user: None, ..self.access(None) }
    }

    /// True if the newest generation has exactly these files, as they should be.
    fn has(&self, folder: &Folder, stored: &Stored, files: &[File<'_>]) -> bool {
        let wanted: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
        let same = wanted == stored.files.iter().collect();
        same && files.iter().all(|file| folder.says(&file.path, file.bytes, self.access(file.mode)))
    }

    fn foreign(&self, name: &str, kind: &Kind) -> PlaceError {
        PlaceError::Foreign { path: self.folder.path_of(name), what: kind.what() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.folder.unlock();
    }
}

/// Folders stay ours, so that no reader can change what is in them.
fn folder_access(settings: &PlaceSettings) -> Access {
    Access { mode: settings.dir_mode, user: None, group: settings.group, sync: settings.sync }
}

/// True for a user whose things in the folder we take for our own.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == IMAGE_USER || user == geteuid().as_raw()
}

/// Nobody else may change the folder. With the sticky bit (a tmpfs that Docker mounts has mode 1777) others can add names to
/// it, but not change ours, and what we take over is looked at one by one.
fn check_owner(folder: &Folder, settings: &PlaceSettings) -> Result<(), PlaceError> {
    let stat = folder.stat()?;
    let groups = || getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw());
    let is_our_group = |group| group == 0 || group == getegid().as_raw() || groups().any(|ours| ours == group);
    let by_group = stat.st_mode & 0o020 != 0 && !is_our_group(stat.st_gid);
    let by_others = stat.st_mode & 0o002 != 0;
    let is_open = (by_group || by_others) && stat.st_mode & STICKY == 0;
    if is_open || !(is_trusted(stat.st_uid) || settings.user == Some(stat.st_uid)) {
        let (path, mode) = (settings.folder.clone(), stat.st_mode & 0o7777);
        return Err(PlaceError::Unsafe { path, user: stat.st_uid, mode });
    }
    Ok(())
}

/// What cannot be read counts as not told: better twice than never.
fn read_told(folder: &Folder) -> u64 {
    if !folder.owner(TOLD).is_ok_and(is_trusted) {
        return 0;
    }
    let read = folder.read(TOLD, TOLD_BYTES_MAX).ok().flatten();
    read.and_then(|(value, _)| value.expose_text()?.trim().parse().ok()).unwrap_or(0)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("aws-lc-rs ends the process rather than go without randomness");
    u64::from_le_bytes(bytes)
}
