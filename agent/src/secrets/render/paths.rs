//! Where files may stand below the folder, and how secrets may be called.
//!
//! ```text
//! path    relative; up to 16 names of 1 to 255 bytes between `/`, 1,024 bytes in all; no `.`, no `..`, no control characters;
//!         does not begin with `..` (generations are kept there), nor with `.generation` or `.told`
//! name    letters, digits, `-`, `_`; at most 255 bytes
//! ```
//!
//! Promises: what passes stays below the folder and is written by nobody else, neither as a file nor as a folder.
//! Never: asks the disk; a link there is `place`'s to notice.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::settings::{Api, Secrets},
    Mistake, files_of,
};
use crate::limits::{NAME_BYTES_MAX, SECRET_PATH_BYTES_MAX, SECRET_PATH_PARTS_MAX};

/// Where the local API keeps its token unless it is told otherwise.
const TOKEN: &str = "token";
/// The files that say which generation this is, and who was told of it.
const OWN: [&str; 2] = [".generation", ".told"];
/// The folder unless the user sets another.
const FOLDER: &str = "/run/secrets";

/// Why a file must not stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing is written.
    #[error("a path cannot be empty")]
    Empty,
    /// It begins with `/`.
    #[error("the path must not begin with `/`: it is below the folder")]
    Absolute,
    /// `a//b`, `a/`.
    #[error("the path has an empty name between two `/` or at its end")]
    EmptyName,
    /// `.` or `..`.
    #[error("the path must not have `.` or `..` in it")]
    Dots,
    /// NUL, a line break, another one.
    #[error("the path has a control character in it")]
    Control,
    /// A name of more than 255 bytes, or more than 1,024 together.
    #[error("the path is too long: 255 bytes for each name, 1024 in all")]
    TooLong,
    /// More than 16 names.
    #[error("the path has more than 16 names between its `/`")]
    TooDeep,
    /// It is the agent's.
    #[error("`{name}` is kept for the agent's own files")]
    Reserved {
        /// The first name of the path.
        name: String,
    },
    /// Two files in one place.
    #[error("{other} has the same path")]
    Taken {
        /// The key of the other one.
        other: String,
    },
    /// A file cannot be a folder, too.
    #[error("`{name}` would be both a file and a folder, because of {other}")]
    FileAndFolder {
        /// The path that is both.
        name: String,
        /// The key of the other one.
        other: String,
    },
}

/// Whether a file may have this path, others aside.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    if path.len() > SECRET_PATH_BYTES_MAX || path.split('/').any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(PathFault::TooLong);
    }
    if path.split('/').count() > SECRET_PATH_PARTS_MAX {
        return Err(PathFault::TooDeep);
    }
    if path.contains(char::is_control) {
        return Err(PathFault::Control);
    }
    for name in path.split('/') {
        match name {
            "" => return Err(PathFault::EmptyName),
            "." | ".." => return Err(PathFault::Dots),
            _ => {}
        }
    }
    let first = path.split('/').next().unwrap_or(path);
    if first.starts_with("..") || OWN.contains(&first) {
        return Err(PathFault::Reserved { name: first.to_owned() });
    }
    Ok(())
}

/// Whether a secret may be called so.
pub fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(letter)
}

/// Whether each file may stand where it should: those of the items in their order, then those made of several. Of two in one
/// place the first one may.
pub(super) fn verdicts(secrets: &Secrets) -> Vec<Result<(), PathFault>> {
    let mut taken = Taken::default();
    if let Some(token) = secrets.api.as_ref().and_then(|api| token_path(secrets, api)) {
        // It is the first, so it is in nobody's way.
        let _ = taken.claim(&token, "the token of secrets.api");
    }
    all(secrets).into_iter().map(|(place, path)| check_path(&path).and_then(|()| taken.claim(&path, &place))).collect()
}

/// What is wrong with names and paths.
pub(super) fn mistakes(secrets: &Secrets) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut names = BTreeMap::new();
    for (at, item) in secrets.items.iter().enumerate() {
        let place = format!("secrets.items[{at}].name");
        if !is_name(&item.name) {
            let what = "a name has letters, digits, `-` and `_`, at most 255 of them".to_owned();
            mistakes.push(Mistake { place, what });
        } else if let Some(first) = names.insert(&item.name, at) {
            mistakes.push(Mistake { place, what: format!("secrets.items[{first}] has the same name") });
        }
    }
    for ((place, _), verdict) in all(secrets).into_iter().zip(verdicts(secrets)) {
        mistakes.extend(verdict.err().map(|fault| Mistake { place, what: fault.to_string() }));
    }
    mistakes
}

/// Each file's place in the settings, and its path.
fn all(secrets: &Secrets) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (at, item) in secrets.items.iter().enumerate() {
        for (file_at, file) in files_of(item).iter().enumerate() {
            let place = match item.files.len() {
                0 => format!("secrets.items[{at}].name"),
                _ => format!("secrets.items[{at}].files[{file_at}].path"),
            };
            all.push((place, file.path.clone()));
        }
    }
    let combined = secrets.files.iter().enumerate();
    all.extend(combined.map(|(at, file)| (format!("secrets.files[{at}].path"), file.path.clone())));
    all
}

/// The path of the API's token, if it is below the folder.
fn token_path(secrets: &Secrets, api: &Api) -> Option<String> {
    let folder = secrets.folder.as_deref().unwrap_or(Path::new(FOLDER));
    match &api.token_file {
        None => Some(TOKEN.to_owned()),
        Some(file) => Some(file.strip_prefix(folder).ok()?.to_str()?.to_owned()),
    }
}

/// Paths that are given away, each with its place in the settings.
#[derive(Default)]
struct Taken {
    files: BTreeMap<String, String>,
    folders: BTreeMap<String, String>,
}

impl Taken {
    fn claim(&mut self, path: &str, place: &str) -> Result<(), PathFault> {
        if let Some(other) = self.files.get(path) {
            return Err(PathFault::Taken { other: other.clone() });
        }
        let parents = || path.match_indices('/').map(|(at, _)| &path[..at]);
        let both =
            |name: &str, other: &String| PathFault::FileAndFolder { name: name.to_owned(), other: other.clone() };
        if let Some(other) = self.folders.get(path) {
            return Err(both(path, other));
        }
        if let Some((name, other)) = parents().find_map(|name| Some((name, self.files.get(name)?))) {
            return Err(both(name, other));
        }
        for name in parents() {
            self.folders.entry(name.to_owned()).or_insert_with(|| place.to_owned());
        }
        self.files.insert(path.to_owned(), place.to_owned());
        Ok(())
    }
}
