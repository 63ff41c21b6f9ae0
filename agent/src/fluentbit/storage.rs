//! `storage.*`: Fluent Bit's chunks on disk, as far as our spool does the same.
//!
//! `storage.path` in `[SERVICE]` and `storage.type filesystem` at an input together turn the spool on;
//! `storage.total_limit_size` of an output is its part of it.
//!
//! Promises: the spool lies in a folder of its own below Fluent Bit's, whose files stay as they are; an option that does
//! not do what it does there says why, in one line.
//! Never: fails a start.

use std::path::PathBuf;

use super::section::{Reader, value_shown};
use crate::{
    deliver::spooling::OUTPUT_BYTES_MIN,
    problem::{Problem, Problems},
    units::ByteSize,
};

/// Our folder in Fluent Bit's.
const FOLDER: &str = "pillion";

/// What the sections say about records on disk.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// `storage.path`, and the place where it stands.
    path: Option<(PathBuf, String)>,
    /// The place of the first `storage.type filesystem` of an input.
    wanted: Option<String>,
    /// The same in `[SERVICE]`, for the inputs that name no type.
    wanted_by_default: Option<String>,
    inherits: bool,
    /// An input that names no type.
    some_name_none: bool,
    /// What is to be said if there is a spool.
    notes: Vec<Problem>,
}

/// A spool that a Fluent Bit file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its folder.
    pub path: PathBuf,
    /// Where that was written.
    pub place: String,
}

impl Storage {
    /// Reads the options of `[SERVICE]`.
    pub(super) fn service(&mut self, reader: &mut Reader<'_>) {
        if let Some(path) = reader.get("storage.path") {
            self.path = Some((PathBuf::from(&path.value), reader.place(path)));
        }
        if let Type::Filesystem(place) = storage_type(reader) {
            self.wanted_by_default = Some(place);
        }
        self.inherits |= reader.flag("storage.inherit").unwrap_or(false);
        reader.needs_nothing("storage.sync", "what is on disk counts as kept only when it is synced");
        reader.needs_nothing("storage.checksum", "every entry on disk has a checksum");
        let why =
            "one number bounds the memory of all records, and what is beyond it goes to disk; see `PILLION__MEMORY`";
        reader.without_effect(&["storage.max_chunks_up"], why);
        let why = "what is read back from disk has a part of that output's memory for itself";
        reader.without_effect(&["storage.backlog.mem_limit"], why);
        reader.accept(&[
            "storage.backlog.",
            "storage.metrics",
            "storage.delete_irrecoverable_chunks",
            "storage.trim_files",
            "storage.keep.",
            "storage.rejected.",
        ]);
    }

    /// Reads the options of an input.
    pub(super) fn input(&mut self, reader: &mut Reader<'_>) {
        match storage_type(reader) {
            Type::Filesystem(place) => self.wanted = self.wanted.take().or(Some(place)),
            Type::Memory => {}
            Type::NotNamed => self.some_name_none = true,
        }
        if reader.flag("storage.pause_on_chunks_overlimit") == Some(true) {
            let why = "reading never pauses: what memory does not hold goes to disk, and what the disk does not hold is \
                       given up and counted";
            reader.without_effect(&["storage.pause_on_chunks_overlimit"], why);
        }
    }

    /// Reads an output's `storage.total_limit_size`. `off` and 0 mean no limit there; here the output gets its part of the
    /// whole, then.
    pub(super) fn output(&mut self, reader: &mut Reader<'_>) -> Option<ByteSize> {
        let property = reader.get("storage.total_limit_size")?;
        if ["off", "false", "no", "0"].iter().any(|none| property.value.eq_ignore_ascii_case(none)) {
            return None;
        }
        let size = reader.size("storage.total_limit_size")?;
        if size < OUTPUT_BYTES_MIN {
            let what = format!("{} is less than {OUTPUT_BYTES_MIN}", value_shown(property));
            let hint = format!("it counts as {OUTPUT_BYTES_MIN}, the smallest spool of an output");
            self.notes.push(Problem::warning(reader.place(property), what, hint));
        }
        Some(size.max(OUTPUT_BYTES_MIN))
    }

    /// The spool that all of this asks for. `overridden` if the environment names a folder, which goes before the file.
    pub fn settle(self, overridden: bool, problems: &mut Problems) -> Option<Wanted> {
        let inherited = self.wanted_by_default.filter(|_| self.inherits && self.some_name_none);
        let wanted = match (self.path, self.wanted.or(inherited)) {
            _ if overridden => None,
            (Some((path, place)), Some(_)) => Some(Wanted { path: path.join(FOLDER), place }),
            (Some((_, place)), None) => {
                let hint = "records are kept in memory only; write that at an input, or set `PILLION__SPOOL__PATH`";
                let what = "has no effect, since no input that is opened has `storage.type filesystem`";
                problems.push(Problem::warning(place, what, hint));
                None
            }
            (None, Some(place)) => {
                let hint = "records are kept in memory only; name a folder there, or set `PILLION__SPOOL__PATH`";
                problems.push(Problem::warning(place, "has no effect without `storage.path` in [SERVICE]", hint));
                None
            }
            (None, None) => None,
        };
        if overridden || wanted.is_some() {
            self.notes.into_iter().for_each(|note| problems.push(note));
        }
        wanted
    }
}

/// `storage.type`. Of the kinds of memory, `memrb` is what we do without a spool: the oldest goes.
enum Type {
    NotNamed,
    Memory,
    /// It stands at this place.
    Filesystem(String),
}

fn storage_type(reader: &mut Reader<'_>) -> Type {
    let Some(property) = reader.get("storage.type") else { return Type::NotNamed };
    match property.value.to_ascii_lowercase().as_str() {
        "filesystem" => return Type::Filesystem(reader.place(property)),
        "memory" | "memrb" => {}
        _ => {
            let what = format!("{} is not a type of storage", value_shown(property));
            reader.warning(property, what, "write `filesystem` or `memory`; it counts as `memory`");
        }
    }
    Type::Memory
}
