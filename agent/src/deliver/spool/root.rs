//! The folder of all stores.
//!
//! Promises: held by one process at a time; the lock lasts until the root and its last store are dropped; each store is
//! open once.
//! Never: changes folders that it was not asked for.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Found, Limits, OpenError, Store,
    files::{Access, Files, Kind, Lock},
    segment,
};

/// Letters of a store's name; file systems take 255 bytes, and each of ours may become three.
const NAME_LETTERS_MAX: usize = 60;
const LOCK: &str = "lock";
/// Folders of others that are looked into. A person who has renamed more outputs than this knows.
const OTHERS_MAX: usize = 64;

/// The folder of all stores, locked.
#[derive(Debug)]
pub struct Root {
    files: Arc<dyn Files>,
    path: PathBuf,
    lock: Arc<dyn Lock>,
    open: BTreeSet<String>,
    /// The folders that were asked for, also in vain.
    asked: BTreeSet<String>,
}

impl Root {
    /// Makes the folder at `path` if need be, and locks it.
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Self, OpenError> {
        files.make_folder(path).map_err(|error| OpenError::of(path, error))?;
        let lock = files.lock(&path.join(LOCK)).map_err(|error| OpenError::of(path, error))?;
        let lock = lock.ok_or_else(|| OpenError::InUse { path: path.to_owned() })?;
        Ok(Self { files, path: path.to_owned(), lock: lock.into(), open: BTreeSet::new(), asked: BTreeSet::new() })
    }

    /// Opens the store called `name`, and says what it holds. Makes it if need be.
    pub fn store(&mut self, name: &str, limits: Limits) -> Result<(Store, Found), OpenError> {
        let folder_name = folder_name(name)?;
        let folder = self.path.join(&folder_name);
        self.asked.insert(folder_name.clone());
        if self.open.contains(&folder_name) {
            return Err(OpenError::OpenTwice { path: folder });
        }
        let mut kind = None;
        let of = |error| OpenError::of(&folder, error);
        let mut look = |listed: super::files::Listed| {
            if listed.name == *folder_name {
                kind = Some(listed.kind);
            }
        };
        self.files.list(&self.path, &mut look).map_err(|error| OpenError::of(&self.path, error))?;
        match kind {
            Some(Kind::Folder) => {}
            Some(_) => return Err(OpenError::NotAFolder { path: folder }),
            None => {
                self.files.make_folder(&folder).map_err(of)?;
                self.files.sync_folder(&self.path).map_err(of)?;
            }
        }
        let opened = Store::open(Arc::clone(&self.files), Arc::clone(&self.lock), &folder, limits)?;
        self.open.insert(folder_name);
        Ok(opened)
    }

    /// The folders of stores that nobody asked for and that hold something, with the bytes of their segments. What cannot
    /// be read is passed over: this is for people.
    pub fn others(&self) -> Vec<(String, u64)> {
        let mut names = BTreeSet::new();
        let mut look = |listed: super::files::Listed| {
            if let (Kind::Folder, Some(name)) = (listed.kind, listed.name.to_str())
                && !self.asked.contains(name)
                && names.len() < OTHERS_MAX
            {
                names.insert(name.to_owned());
            }
        };
        let _ = self.files.list(&self.path, &mut look);
        let held = names.into_iter().map(|name| {
            let bytes = self.bytes_of_segments(&self.path.join(&name));
            (name, bytes)
        });
        held.filter(|(_, bytes)| *bytes > 0).collect()
    }

    fn bytes_of_segments(&self, folder: &Path) -> u64 {
        let mut bytes = 0;
        let mut look = |listed: super::files::Listed| {
            if listed.kind == Kind::File && segment::sequence_of(&listed.name).is_some() {
                let opened = self.files.open(&folder.join(&listed.name), Access::Read);
                bytes += opened.and_then(|file| file.bytes()).unwrap_or(0);
            }
        };
        let _ = self.files.list(folder, &mut look);
        bytes
    }
}

/// Letters, digits, `_`, `-` and inner dots stay; every other byte becomes `%` and two digits.
fn folder_name(name: &str) -> Result<String, OpenError> {
    if name.is_empty() || name.len() > NAME_LETTERS_MAX {
        return Err(OpenError::Name { name: name.to_owned() });
    }
    let mut folder = String::with_capacity(name.len());
    for (place, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if place > 0 => folder.push('.'),
            b'_' | b'-' => folder.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => folder.push(byte.into()),
            _ => write!(folder, "%{byte:02x}").expect("a string takes what is written to it"),
        }
    }
    // The only name that the root itself uses.
    Ok(if folder == LOCK { "%6cock".to_owned() } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_one_of_a_folder() {
        for (name, expected) in [
            ("cloudwatch_logs.0", "cloudwatch_logs.0"),
            ("..", "%2e."),
            (".", "%2e"),
            ("a/b", "a%2fb"),
            ("ü%", "%c3%bc%25"),
            ("lock", "%6cock"),
            ("a\0", "a%00"),
        ] {
            assert_eq!(folder_name(name).expect("a name"), expected);
        }
        assert!(matches!(folder_name(""), Err(OpenError::Name { .. })));
        assert!(matches!(folder_name(&"x".repeat(61)), Err(OpenError::Name { .. })));
    }
}
