//! A folder with a file for each member of a secret.
//!
//! Promises: all members that are text, numbers or booleans have a file, or none has; a name stays below the folder.
//! Never: says what a member is called, unless its name is that of a parameter, which is no secret.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{
    What,
    document::Members,
    paths::{PathFault, check_path},
};
use crate::secrets::value::Value;

/// Whether members' names may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// They are names of parameters.
    Shown,
    /// They are part of the secret.
    Hidden,
}

/// The files below `folder`: path and bytes.
pub(super) fn write(folder: &str, members: &Members<'_>, names: Names) -> Result<Vec<(String, Value)>, What> {
    let mut files: BTreeMap<String, (usize, Zeroizing<String>)> = BTreeMap::new();
    for member in members.values() {
        let (at, name, value) = member?;
        let path = format!("{folder}/{name}");
        check_path(&path).map_err(|fault| What::NoFile { member: called(at, name, names), fault })?;
        files.insert(path, (at, value));
    }
    for (path, (at, _)) in &files {
        let below = || path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some((parent, (other, _))) = below().find_map(|parent| files.get_key_value(parent)) {
            let name = |path: &str, at| called(at, &path[folder.len() + 1..], names);
            return Err(What::FileAndFolder { file: name(parent, *other), below: name(path, *at) });
        }
    }
    Ok(files.into_iter().map(|(path, (_, text))| (path, Value::new(text.as_bytes().to_vec()))).collect())
}

/// A member, for a person.
fn called(at: usize, name: &str, names: Names) -> String {
    match names {
        Names::Shown => format!("`{}`", crate::problem::shown(name)),
        Names::Hidden => at.to_string(),
    }
}

impl PathFault {
    /// What is wrong with a name, in words that hold nothing of it.
    pub(super) fn of_member(&self) -> &'static str {
        match self {
            Self::Empty | Self::EmptyName | Self::Absolute => "it has an empty name before, between or behind its `/`",
            Self::Dots => "it has `.` or `..` in it",
            Self::Control => "it has a control character in it",
            Self::TooLong | Self::TooDeep => "it is too long, or has too many `/`",
            Self::Reserved { .. } => "its folder is kept for the agent's own files",
            Self::Taken { .. } | Self::FileAndFolder { .. } => "another file is there",
        }
    }
}
