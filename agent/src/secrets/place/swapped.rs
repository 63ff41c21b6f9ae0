//! The swapped layout: a generation is a folder, and one rename makes it the newest.
//!
//! Promises: everything before the rename is out of a reader's sight, but for links to names that are not there yet; all
//! after it is tidying up, and is done again by the next publish.
//! Never: changes a file of a generation; its marker alone is replaced when versions are new but files are not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{File, Old, Place, PlaceError, Stored, folder::Kind, folder_access, is_trusted, marker, random};
use crate::limits::{SECRET_GENERATIONS_MAX, SECRET_MARKER_BYTES_MAX, SECRET_PATH_PARTS_MAX};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";
const MARKER_NEW: &str = "..generation_tmp";

impl Place {
    /// Learns what is on the volume.
    pub(super) fn find_swapped(&mut self) -> Result<(), PlaceError> {
        if self.folder.kind(marker::NAME)?.is_some() {
            return Err(PlaceError::OtherLayout { path: self.folder.path_of(marker::NAME) });
        }
        self.current = match self.folder.kind(DATA)? {
            None => None,
            Some(Kind::Link(target)) if number_of(&target).is_some() && is_trusted(self.folder.owner(DATA)?) => {
                self.read_generation(target)?
            }
            Some(kind) => return Err(self.foreign(DATA, &kind)),
        };
        for name in self.folder.names()? {
            let Some(number) = number_of(&name) else { continue };
            self.last = self.last.max(number);
            if self.current.as_ref().is_some_and(|(stored, current)| number < stored.number && *current != name) {
                self.old.push(Old { number, name, replaced: None });
            }
        }
        Ok(())
    }

    /// `None` if it is gone. A marker that cannot be read leaves the number, which the folder's name has.
    fn read_generation(&self, name: String) -> Result<Option<(Stored, String)>, PlaceError> {
        match self.folder.kind(&name)? {
            None => return Ok(None),
            Some(Kind::Folder) if is_trusted(self.folder.owner(&name)?) => {}
            Some(kind) => return Err(self.foreign(&name, &kind)),
        }
        let read = self.folder.open(&name).and_then(|folder| folder.read(marker::NAME, SECRET_MARKER_BYTES_MAX));
        let mut stored = read.ok().flatten().map(|(value, _)| Stored::parse(value.expose())).unwrap_or_default();
        stored.number = number_of(&name).unwrap_or_default();
        Ok(Some((stored, name)))
    }

    /// Removes what was never published, and makes the links that are missing.
    pub(super) fn repair_swapped(&self) -> Result<(), PlaceError> {
        self.folder.remove(DATA_NEW)?;
        for name in self.folder.names()? {
            let is_known = |(_, current): &(Stored, String)| *current == name;
            let known = self.current.as_ref().is_some_and(is_known) || self.old.iter().any(|old| old.name == name);
            if number_of(&name).is_some() && !known && is_trusted(self.folder.owner(&name)?) {
                self.folder.remove_all(&name, SECRET_PATH_PARTS_MAX + 1)?;
            }
        }
        self.links_of_current()
    }

    /// Makes the links of the newest generation, and removes all others of ours.
    fn links_of_current(&self) -> Result<(), PlaceError> {
        let Some((stored, _)) = &self.current else { return self.remove_links(&BTreeSet::new()) };
        let names = first_parts(stored.files.iter().map(String::as_str));
        self.make_links(&names)?;
        self.remove_links(&names)
    }

    /// Says whether files changed, and whether all was tidied up.
    pub(super) fn publish_swapped(
        &mut self,
        files: &[File<'_>],
        versions: &BTreeMap<String, Vec<String>>,
        now: Instant,
    ) -> Result<(bool, Result<(), PlaceError>), PlaceError> {
        let names = first_parts(files.iter().map(|file| file.path.as_str()));
        self.is_data_ours()?;
        self.repair()?;
        if self.is_current(files) {
            self.renew_versions(versions)?;
            return Ok((false, Ok(())));
        }
        let number = self.last + 1;
        let name = format!("..g{number}-{:016x}", random());
        let stored = Stored::new(number, versions, files.iter().map(|file| file.path.clone()).collect());
        if let Err(error) = self.write_generation(&name, &stored, files).and_then(|()| self.swap(&name, &names)) {
            // The generation before is untouched. What cannot be removed now is removed by the next publish.
            let _ = self.folder.remove_all(&name, SECRET_PATH_PARTS_MAX + 1);
            let _ = self.folder.remove(DATA_NEW);
            let _ = self.links_of_current();
            return Err(error);
        }
        self.last = number;
        if let Some((before, name)) = self.current.replace((stored, name)) {
            self.old.push(Old { number: before.number, name, replaced: Some(now) });
        }
        let synced = if self.settings.sync { self.folder.sync() } else { Ok(()) };
        Ok((true, synced.and(self.remove_links(&names))))
    }

    fn is_current(&self, files: &[File<'_>]) -> bool {
        let Some((stored, name)) = &self.current else { return false };
        let points = matches!(self.folder.kind(DATA), Ok(Some(Kind::Link(target))) if target == *name);
        points && self.folder.open(name).is_ok_and(|folder| self.has(&folder, stored, files))
    }

    /// New versions that say the same are no new generation, but after a restart we must know them.
    fn renew_versions(&mut self, versions: &BTreeMap<String, Vec<String>>) -> Result<(), PlaceError> {
        let access = self.own_access();
        let Some((stored, name)) = &mut self.current else { return Ok(()) };
        if stored.versions != *versions {
            let next = Stored::new(stored.number, versions, stored.files.clone());
            let folder = self.folder.open(name)?;
            folder.remove(MARKER_NEW)?;
            let written = folder.write(MARKER_NEW, &next.bytes(), access);
            written.and_then(|()| folder.rename(MARKER_NEW, &folder, marker::NAME)).inspect_err(|_| {
                let _ = folder.remove(MARKER_NEW);
            })?;
            *stored = next;
        }
        Ok(())
    }

    fn write_generation(&self, name: &str, stored: &Stored, files: &[File<'_>]) -> Result<(), PlaceError> {
        let access = folder_access(&self.settings);
        let generation = self.folder.make(name, access)?;
        for file in files {
            let (folder, last) = generation.parent(&file.path, Some(access))?;
            folder.write(&last, file.bytes.expose(), self.access(file.mode))?;
            if self.settings.sync {
                folder.sync()?;
            }
        }
        generation.write(marker::NAME, &stored.bytes(), self.own_access())?;
        if self.settings.sync { generation.sync() } else { Ok(()) }
    }

    /// The moment of truth is the rename.
    fn swap(&self, generation: &str, names: &BTreeSet<String>) -> Result<(), PlaceError> {
        self.make_links(names)?;
        self.folder.link(generation, DATA_NEW)?;
        self.folder.rename(DATA_NEW, &self.folder, DATA)
    }

    /// True if the visible name is our link; an error if it is anything else.
    fn is_linked(&self, name: &str) -> Result<bool, PlaceError> {
        match self.folder.kind(name)? {
            None => Ok(false),
            Some(Kind::Link(target)) if target == target_of(name) => Ok(true),
            Some(kind) => Err(self.foreign(name, &kind)),
        }
    }

    /// An error if somebody put something else in the place of the newest generation since it was opened.
    fn is_data_ours(&self) -> Result<(), PlaceError> {
        match self.folder.kind(DATA)? {
            None => Ok(()),
            Some(Kind::Link(target)) if number_of(&target).is_some() => Ok(()),
            Some(kind) => Err(self.foreign(DATA, &kind)),
        }
    }

    fn make_links(&self, names: &BTreeSet<String>) -> Result<(), PlaceError> {
        for name in names {
            if !self.is_linked(name)? {
                self.folder.link(&target_of(name), name)?;
            }
        }
        Ok(())
    }

    /// Removes links of ours whose names are not among `names`.
    fn remove_links(&self, names: &BTreeSet<String>) -> Result<(), PlaceError> {
        for name in self.folder.names()? {
            let is_stale = !names.contains(&name);
            if is_stale && self.folder.kind(&name)? == Some(Kind::Link(target_of(&name))) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes generations that are neither among the newest nor young.
    pub(super) fn prune_swapped(&mut self, now: Instant) -> Result<(), PlaceError> {
        self.old.sort_unstable_by_key(|old| std::cmp::Reverse(old.number));
        let mut pruned = Ok(());
        let mut kept = Vec::new();
        for (newer, mut old) in std::mem::take(&mut self.old).into_iter().enumerate() {
            let replaced = *old.replaced.get_or_insert(now);
            let is_young = now.saturating_duration_since(replaced) < self.settings.keep_for;
            if newer >= SECRET_GENERATIONS_MAX || (newer >= self.settings.keep && !is_young) {
                match self.folder.remove_all(&old.name, SECRET_PATH_PARTS_MAX + 1) {
                    Ok(()) => continue,
                    Err(error) => pruned = Err(error),
                }
            }
            kept.push(old);
        }
        self.old = kept;
        pruned
    }
}

/// The number of the generation with this folder; `None` if the name is not one of ours.
fn number_of(name: &str) -> Option<u64> {
    let (number, random) = name.strip_prefix("..g")?.split_once('-')?;
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_random && number.bytes().all(|byte| byte.is_ascii_digit()) { number.parse().ok() } else { None }
}

fn target_of(name: &str) -> String {
    format!("{DATA}/{name}")
}

fn first_parts<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    paths.filter_map(|path| path.split('/').next()).map(str::to_owned).collect()
}
