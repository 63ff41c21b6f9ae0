//! The classic grammar: lines to sections of properties, `@INCLUDE` and `@SET` followed.
//!
//! Promises: reads all that Fluent Bit reads, with any indentation by blanks; a line that cannot be read is an error with
//! file and line, and the lines after it are still looked at; the work is bounded by files, bytes and depth.
//! Never: knows what a key means, or expands a value; includes a file twice.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    builtin,
    builtin::Builtin,
    expand,
    files::{Files, reason},
    shown_key,
};
use crate::{
    logs::pattern::Pattern,
    problem::{Problem, Problems, shown},
};

/// Files of one configuration, Fluent Bit's own limit.
const FILES_MAX: usize = 1_000;
/// Includes within includes.
const DEPTH_MAX: usize = 32;
/// Bytes of a path, `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4_096;
/// Bytes of all files together.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

/// What kind of section it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Input,
    Filter,
    Output,
    Other,
}

/// `[NAME]` and what stands under it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// As a problem shows it: `[OUTPUT]`.
    pub(super) title: String,
    pub(super) place: Place,
    pub(super) properties: Vec<Property>,
}

/// `key value`.
#[derive(Clone, Debug)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
    /// The value came out of a variable, so it may be a secret and is never shown.
    pub(super) hidden: bool,
}

/// All that was read, in order.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) sections: Vec<Section>,
    /// What `@SET` says; the last one wins.
    pub(super) set: BTreeMap<String, String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Reads `path` and all that it includes.
pub(super) fn read(
    path: &Path,
    variables: &BTreeMap<String, String>,
    files: &dyn Files,
    problems: &mut Problems,
) -> Source {
    let root = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut walk = Walk {
        variables,
        files,
        root,
        problems,
        source: Source::default(),
        seen: HashSet::new(),
        bytes: 0,
        gave_up: false,
    };
    match files.read(path) {
        Ok(bytes) => walk.file(path, bytes, 0),
        Err(error) => walk.problems.push(Problem::error(
            shown(&path.display().to_string()),
            format!("cannot be read: {}", reason(&error)),
            "give the path of a Fluent Bit configuration",
        )),
    }
    walk.source
}

struct Walk<'a> {
    variables: &'a BTreeMap<String, String>,
    files: &'a dyn Files,
    /// The folder of the first file, Fluent Bit's base for every relative path.
    root: PathBuf,
    problems: &'a mut Problems,
    source: Source,
    seen: HashSet<PathBuf>,
    bytes: usize,
    /// A limit was passed. Nothing is included any more.
    gave_up: bool,
}

/// Where in a file the reader stands.
struct Cursor<'a> {
    path: &'a Path,
    depth: usize,
    /// Index of the section that properties go to.
    section: Option<usize>,
    /// Properties of a group or of a section with a broken header are passed over; the header has been reported.
    skipping: bool,
}

impl Walk<'_> {
    fn file(&mut self, path: &Path, bytes: Vec<u8>, depth: usize) {
        self.seen.insert(self.files.identity(path));
        self.bytes += bytes.len();
        let name: Arc<str> = shown(&path.display().to_string()).into();
        let mut cursor = Cursor { path, depth, section: None, skipping: false };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let place = Place { file: name.clone(), line: index + 1 };
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line.contains(&0) {
                self.error(&place, "the line holds a NUL byte", "remove it");
                continue;
            }
            let text = String::from_utf8_lossy(line);
            if matches!(text, std::borrow::Cow::Owned(_)) {
                let what = "the line is not UTF-8";
                self.problems.push(Problem::warning(place.to_string(), what, "the bytes that are not are replaced"));
            }
            self.line(&text, place, &mut cursor);
        }
    }

    fn line(&mut self, line: &str, place: Place, cursor: &mut Cursor<'_>) {
        match line.as_bytes()[0] {
            b'@' => self.directive(line, &place, cursor),
            b'[' => self.header(line, place, cursor),
            _ => self.property(line, place, cursor),
        }
    }

    fn directive(&mut self, line: &str, place: &Place, cursor: &Cursor<'_>) {
        let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim();
        if name.eq_ignore_ascii_case("@include") {
            return self.include(rest, place, cursor);
        }
        if !name.eq_ignore_ascii_case("@set") {
            let what = format!("`{}` is not a directive", shown_key(name));
            return self.problems.push(Problem::warning(place.to_string(), what, "it is ignored"));
        }
        match rest.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                self.source.set.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            _ => self.error(place, "`@SET` without a name and a value", "write `@SET name=value`"),
        }
    }

    fn header(&mut self, line: &str, place: Place, cursor: &mut Cursor<'_>) {
        cursor.section = None;
        cursor.skipping = true;
        let Some(name) = line[1..].split_once(']').map(|(name, _)| name.trim()).filter(|name| !name.is_empty()) else {
            return self.error(&place, "the section's header is broken", "write for example `[OUTPUT]`");
        };
        let name = name.to_ascii_uppercase();
        cursor.skipping = false;
        cursor.section = Some(self.source.sections.len());
        let kind = match name.as_str() {
            "SERVICE" => Kind::Service,
            "INPUT" => Kind::Input,
            "FILTER" => Kind::Filter,
            "OUTPUT" => Kind::Output,
            _ => Kind::Other,
        };
        let title = format!("[{}]", shown_key(&name));
        self.source.sections.push(Section { kind, title, place, properties: Vec::new() });
    }

    fn property(&mut self, line: &str, place: Place, cursor: &Cursor<'_>) {
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let value = value.trim();
        if cursor.skipping {
            return;
        }
        if value.is_empty() {
            let what = format!("`{}` has no value", shown_key(key));
            return self.error(&place, &what, "give it one, or remove the line");
        }
        let Some(section) = cursor.section else {
            return self.error(&place, "the line stands in no section", "write for example `[SERVICE]` above it");
        };
        self.source.sections[section].properties.push(Property {
            key: key.to_owned(),
            value: value.to_owned(),
            place,
            hidden: false,
        });
    }

    fn include(&mut self, path: &str, place: &Place, cursor: &Cursor<'_>) {
        if cursor.depth >= DEPTH_MAX {
            return self.give_up(place, &format!("includes are nested deeper than {DEPTH_MAX}"));
        }
        let lookup = expand::Lookup { set: &self.source.set, variables: self.variables };
        let expansion = expand::text(path, lookup, PATH_BYTES_MAX);
        for name in expansion.missing {
            let what = format!("the variable `{}` is not set", shown(&name));
            self.problems.push(Problem::warning(place.to_string(), what, "it counts as empty"));
        }
        let path = expansion.text;
        if path.is_empty() {
            return self.error(place, "`@INCLUDE` without a path", "write `@INCLUDE path`");
        }
        let beside = cursor.path.parent().unwrap_or(Path::new(""));
        if path.contains('*') {
            return self.include_all(&path, [beside.to_owned(), self.root.clone()], place, cursor.depth);
        }
        let mut found = (beside.join(&path), self.files.read(&beside.join(&path)));
        if found.1.is_err() && self.root != beside {
            let other = self.root.join(&path);
            found = self.files.read(&other).map_or(found, |bytes| (other, Ok(bytes)));
        }
        self.include_one(&found.0, found.1, place, cursor.depth);
    }

    fn include_all(&mut self, path: &str, folders: [PathBuf; 2], place: &Place, depth: usize) {
        let found = folders.iter().map(|folder| glob(&folder.join(path), self.files)).find(|found| !found.is_empty());
        let Some(found) = found else {
            let what = format!("no file fits `{}`", shown(path));
            return self.error(place, &what, "remove the `@INCLUDE`, or put a file there");
        };
        for path in found {
            let bytes = self.files.read(&path);
            self.include_one(&path, bytes, place, depth);
        }
    }

    fn include_one(&mut self, path: &Path, bytes: io::Result<Vec<u8>>, place: &Place, depth: usize) {
        let name = shown(&path.display().to_string());
        if self.gave_up {
            return;
        }
        let bytes = match (bytes, builtin::builtin(path)) {
            (Ok(bytes), _) => bytes,
            (Err(_), Some(Builtin::Needless)) => return,
            (Err(_), Some(Builtin::NotYet)) => {
                let what = format!("the built-in `{name}` is not supported by this version");
                return self.problems.push(Problem::warning(place.to_string(), what, "it is left out"));
            }
            (Err(error), None) => {
                let what = format!("cannot include `{name}`: {}", reason(&error));
                return self.error(place, &what, "put the file there, or remove the `@INCLUDE`");
            }
        };
        if self.seen.contains(&self.files.identity(path)) {
            return self.error(place, &format!("`{name}` is included twice"), "include it once");
        }
        if self.seen.len() >= FILES_MAX {
            return self.give_up(place, &format!("more than {FILES_MAX} files are included"));
        }
        if self.bytes + bytes.len() > BYTES_MAX {
            return self.give_up(place, "the included files are larger than 16 MiB together");
        }
        self.file(path, bytes, depth + 1);
    }

    fn give_up(&mut self, place: &Place, what: &str) {
        self.gave_up = true;
        self.error(place, what, "include less");
    }

    fn error(&mut self, place: &Place, what: &str, hint: &str) {
        self.problems.push(Problem::error(place.to_string(), what, hint));
    }
}

/// The files that a path with `*` in it means, sorted. As everywhere, `*` leaves out names that start with a dot.
fn glob(path: &Path, files: &dyn Files) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let Some(pattern) = part.as_os_str().to_str().filter(|part| part.contains('*')) else {
            for path in &mut found {
                path.push(part);
            }
            continue;
        };
        let fits = Pattern::Wildcard(pattern.to_owned());
        found = found
            .iter()
            .flat_map(|folder| {
                let names = files.names(folder).unwrap_or_default().into_iter();
                names.filter(|name| !name.starts_with('.') && fits.fits(name)).map(|name| folder.join(name))
            })
            .take(FILES_MAX + 1)
            .collect();
    }
    found
}
