//! The plain layout: each file is replaced by a rename of its own, in the order in which the files are given.
//!
//! Promises: each file is whole, old or new, at any moment; what fails before the first rename leaves all as it was; a file
//! that the marker does not name is not ours and stays.
//! Never: promises that two files are of one generation; the swapped layout does.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Place, PlaceError, Stored, folder::Kind, folder_access, is_trusted, marker, paths, random};
use crate::limits::SECRET_MARKER_BYTES_MAX;

/// What a temporary file's name begins with.
const NEW: &str = "..p-";
const MARKER_NEW: &str = "..generation_tmp";

impl Place {
    /// Learns what is on the volume.
    pub(super) fn find_plain(&mut self) -> Result<(), PlaceError> {
        if self.folder.kind("..data")?.is_some() {
            return Err(PlaceError::OtherLayout { path: self.folder.path_of("..data") });
        }
        self.current = match self.folder.kind(marker::NAME)? {
            None => None,
            Some(Kind::File) if is_trusted(self.folder.owner(marker::NAME)?) => {
                let read = self.folder.read(marker::NAME, SECRET_MARKER_BYTES_MAX)?;
                let mut stored = read.map(|(value, _)| Stored::parse(value.expose())).unwrap_or_default();
                stored.number = stored.number.max(self.told);
                Some((stored, String::new()))
            }
            Some(kind) => return Err(self.foreign(marker::NAME, &kind)),
        };
        self.last = self.last.max(self.current.as_ref().map_or(0, |(stored, _)| stored.number));
        Ok(())
    }

    /// Removes temporary files.
    pub(super) fn repair_plain(&self) -> Result<(), PlaceError> {
        self.folder.remove(MARKER_NEW)?;
        for name in self.folder.names()? {
            let is_new = name.strip_prefix(NEW).is_some_and(|rest| rest.len() == 16);
            let user = if is_new { self.folder.owner(&name)? } else { continue };
            if is_trusted(user) || self.settings.user == Some(user) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Says whether files changed, and whether all was tidied up.
    pub(super) fn publish_plain(
        &mut self,
        files: &[File<'_>],
        versions: &BTreeMap<String, Vec<String>>,
    ) -> Result<(bool, Result<(), PlaceError>), PlaceError> {
        let before = self.current.as_ref().map(|(stored, _)| stored.clone()).unwrap_or_default();
        let known: BTreeSet<String> = before.files.iter().cloned().collect();
        for file in files {
            self.is_free_or_known(&file.path, &known)?;
        }
        self.repair()?;
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        let is_there = self.current.is_some() && !before.unfinished;
        if is_there && self.has(&self.folder, &before, files) {
            if before.versions != *versions {
                self.mark(Stored::new(before.number, versions, before.files))?;
            }
            return Ok((false, Ok(())));
        }
        // From here on the marker names all files that may be ours, so that after a crash they are known as such.
        let all: BTreeSet<String> = known.iter().chain(&paths).cloned().collect();
        let mut intent = Stored::new(before.number, &before.versions, all.into_iter().collect());
        intent.unfinished = true;
        let written = self.write_all(files).and_then(|news| {
            let renamed = self.mark(intent).and_then(|()| self.rename_all(&news));
            renamed.inspect_err(|_| self.remove_all(&news))
        });
        written?;
        let vanished = known.iter().filter(|path| !paths.contains(path));
        for path in vanished {
            self.remove_file(path)?;
        }
        self.mark(Stored::new(self.last + 1, versions, paths))?;
        self.last += 1;
        let synced = if self.settings.sync { self.folder.sync() } else { Ok(()) };
        Ok((true, synced))
    }

    /// Writes the marker.
    fn mark(&mut self, stored: Stored) -> Result<(), PlaceError> {
        self.replace(MARKER_NEW, marker::NAME, &stored.bytes())?;
        self.current = Some((stored, String::new()));
        Ok(())
    }

    /// Writes each file that is not yet as it should be beside its place. All of them before the first rename: a full disk
    /// shows here.
    fn write_all(&self, files: &[File<'_>]) -> Result<Vec<(String, String)>, PlaceError> {
        let mut news = Vec::new();
        for file in files {
            if self.folder.says(&file.path, file.bytes, self.access(file.mode)) {
                continue;
            }
            let new = format!("{NEW}{:016x}", random());
            news.push((new.clone(), file.path.clone()));
            if let Err(error) = self.folder.write(&new, file.bytes.expose(), self.access(file.mode)) {
                self.remove_all(&news);
                return Err(error);
            }
        }
        Ok(news)
    }

    fn rename_all(&self, news: &[(String, String)]) -> Result<(), PlaceError> {
        for (new, path) in news {
            let (folder, name) = self.folder.parent(path, Some(folder_access(&self.settings)))?;
            self.folder.rename(new, &folder, &name)?;
            if self.settings.sync {
                folder.sync()?;
            }
        }
        Ok(())
    }

    /// What cannot be removed now is removed by the next publish.
    fn remove_all(&self, news: &[(String, String)]) {
        for (new, _) in news {
            let _ = self.folder.remove(new);
        }
    }

    /// Removes a file of ours, and the folders above it that are empty then.
    fn remove_file(&self, path: &str) -> Result<(), PlaceError> {
        if paths::check(path).is_err() || self.kind_at(path)?.is_none() {
            return Ok(());
        }
        let (folder, name) = self.folder.parent(path, None)?;
        folder.remove(&name)?;
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            let (folder, name) = self.folder.parent(above, None)?;
            // The usual end of this: it is not empty.
            if folder.remove_folder(&name).is_err() {
                break;
            }
            rest = above;
        }
        Ok(())
    }

    /// What is at `path`; an error if a part of it before the last is no folder.
    fn kind_at(&self, path: &str) -> Result<Option<Kind>, PlaceError> {
        for (at, _) in path.match_indices('/') {
            let (folder, name) = self.folder.parent(&path[..at], None)?;
            match folder.kind(&name)? {
                None => return Ok(None),
                Some(Kind::Folder) => {}
                Some(kind) => return Err(self.foreign(&path[..at], &kind)),
            }
        }
        let (folder, name) = self.folder.parent(path, None)?;
        folder.kind(&name)
    }

    fn is_free_or_known(&self, path: &str, known: &BTreeSet<String>) -> Result<(), PlaceError> {
        match self.kind_at(path)? {
            None => Ok(()),
            Some(Kind::File) if known.contains(path) => Ok(()),
            Some(kind) => Err(self.foreign(path, &kind)),
        }
    }
}
