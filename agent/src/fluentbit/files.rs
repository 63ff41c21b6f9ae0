//! Where configuration files come from: the disk, or memory in tests.
//!
//! Promises: a read is bounded and never waits for a writer, whatever lies at the path.
//! Never: writes.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Component, Path, PathBuf},
};

/// The largest configuration file. Real ones are under 100 KB; Fluent Bit's own limit is 32 MiB for a line.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A source of files.
pub trait Files {
    /// The bytes of a file, at most 4 MiB.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a folder, sorted.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// A path that is the same for all names of one file.
    fn identity(&self, path: &Path) -> PathBuf;
}

/// The real files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a pipe would wait for its writer, and a device may never end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        bounded(bytes)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        fs::canonicalize(path).unwrap_or_else(|_| lexical(path))
    }
}

/// Files made up for a test, by path.
#[derive(Clone, Debug, Default)]
pub struct InMemory(pub BTreeMap<PathBuf, Vec<u8>>);

impl InMemory {
    /// One file.
    pub fn one(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        Self(BTreeMap::from([(path.into(), content.into())]))
    }

    /// The same and one more.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.into(), content.into());
        self
    }
}

impl Files for InMemory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.0.get(&lexical(path)) {
            Some(bytes) => bounded(bytes.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let folder = lexical(folder);
        let mut names: Vec<String> = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(&folder).ok()?.components().next()?.as_os_str().to_str())
            .map(str::to_owned)
            .collect();
        names.dedup();
        Ok(names)
    }

    fn identity(&self, path: &Path) -> PathBuf {
        lexical(path)
    }
}

/// Why a file could not be read, for people.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn bounded(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match bytes.len() as u64 {
        0..=FILE_BYTES_MAX => Ok(bytes),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB")),
    }
}

/// The path without `.` and `..`, by its letters only.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_reads_files_only_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.conf");
        fs::write(&file, "x").unwrap();
        assert_eq!(Disk.read(&file).unwrap(), b"x");
        assert_eq!(Disk.names(folder.path()).unwrap(), ["a.conf"]);
        assert_eq!(Disk.identity(&folder.path().join("./a.conf")), Disk.identity(&file));
        assert_eq!(Disk.read(Path::new("/dev/zero")).unwrap_err().to_string(), "not a regular file");
        assert_eq!(Disk.read(folder.path()).unwrap_err().to_string(), "not a regular file");
        fs::write(&file, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(Disk.read(&file).unwrap_err().to_string(), "larger than 4 MiB");
    }

    #[test]
    fn memory_answers_as_a_disk_would() {
        let files = InMemory::one("/etc/a.conf", "a").and("/etc/b/c.conf", "c").and("/etc/b/d.conf", "d");
        assert_eq!(files.names(Path::new("/etc")).unwrap(), ["a.conf", "b"]);
        assert_eq!(files.read(Path::new("/etc/b/../a.conf")).unwrap(), b"a");
        assert_eq!(files.read(Path::new("/etc/x")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
