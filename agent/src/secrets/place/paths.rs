//! Which paths files of secrets may have.
//!
//! Promises: a path that passes stays below the folder and meets none of our own names.
//! Never: looks at a disk.

use std::collections::BTreeSet;

use super::{PlaceError, TOLD, marker};
use crate::limits::{NAME_BYTES_MAX, SECRET_PATH_BYTES_MAX, SECRET_PATH_PARTS_MAX};

/// Says what is wrong with a path.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("it begins with `/`; write it as seen from the folder");
    }
    if path.len() > SECRET_PATH_BYTES_MAX || path.split('/').any(|part| part.len() > NAME_BYTES_MAX) {
        return Err("it is too long; a name has 255 bytes at most, all of it 1024");
    }
    if path.split('/').count() > SECRET_PATH_PARTS_MAX {
        return Err("it has more than 16 parts; use fewer folders");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("one of its parts is empty, `.` or `..`");
    }
    if path.chars().any(char::is_control) {
        return Err("it contains a control character");
    }
    let first = path.split('/').next().unwrap_or_default();
    if first.starts_with("..") || first == marker::NAME || first == TOLD {
        return Err("its first part is kept for pillion's own files: `..` at the beginning, `.generation`, `.told`");
    }
    Ok(())
}

/// Checks paths that are to be files of one folder.
pub(super) fn check_all<'a>(paths: impl Iterator<Item = &'a str>) -> Result<(), PlaceError> {
    let mut seen = BTreeSet::new();
    let wrong = |path: &str, what| PlaceError::Path { path: path.to_owned(), what };
    for path in paths {
        check(path).map_err(|what| wrong(path, what))?;
        if !seen.insert(path) {
            return Err(wrong(path, "two files have it"));
        }
    }
    for path in &seen {
        if path.match_indices('/').any(|(at, _)| seen.contains(&path[..at])) {
            return Err(wrong(path, "another file has the name of one of its folders"));
        }
    }
    Ok(())
}
