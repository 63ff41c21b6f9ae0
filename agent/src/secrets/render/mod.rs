//! From what is held to the files that show it. No I/O, no clock: the same secrets always make the same bytes.
//!
//! ```text
//! settings + held ─▶ paths (may it stand there?) ─▶ a format, or a template ─▶ Rendered { path, bytes, of }
//!                                                                          └▶ Fault { path, what, of }
//! ```
//!
//! A file of a secret that is not held, or of a version that there is not, is in neither list: it is absent.
//!
//! Promises: one file that cannot be made holds up no other; a fault names the file and perhaps a member that the settings
//! name, never anything of the value; what we build the text in is wiped. The JSON reader and the template engine make copies
//! of their own, which are freed and not wiped.
//! Never: reads or writes anything; shows a value, or the name of a member that the settings do not name.

mod buffer;
mod document;
mod dotenv;
mod each;
mod fault;
mod filters;
mod my_cnf;
pub mod paths;
mod pgpass;
mod properties;
mod tags;
mod template;
mod url;

use std::{borrow::Cow, collections::BTreeMap};

use self::{buffer::Buffer, document::Members, each::Names};
pub use self::{fault::What, paths::PathFault};
use super::{
    settings::{Combined, File, Format, From, Item, Secrets, Stage},
    value::{Content, Held, Value, Version},
};
use crate::{limits::SECRET_FILE_BYTES_MAX, units::Permissions};

/// A file as it should be.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Where, below the folder.
    pub path: String,
    /// What it holds.
    pub bytes: Value,
    /// Permission bits, if not those of the folder.
    pub mode: Option<Permissions>,
    /// The names of the secrets that it shows.
    pub of: Vec<String>,
}

/// A file that could not be made. What was there should stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`{}: {what}", if of.is_empty() { String::new() } else { format!(" of {}", of.join(", ")) })]
pub struct Fault {
    /// Where it would be, below the folder.
    pub path: String,
    /// The names of the secrets that it would show.
    pub of: Vec<String>,
    /// Why not.
    pub what: What,
}

/// All files, and those that could not be made.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Each path is there once.
    pub files: Vec<Rendered>,
    /// What to say about the others.
    pub faults: Vec<Fault>,
}

/// Something in the settings that can never be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key: `secrets.items[0].files[1].path`.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// Makes all files of what is held, by the names of the items.
pub fn render(secrets: &Secrets, held: &BTreeMap<String, Held>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut verdicts = paths::verdicts(secrets).into_iter().map(|verdict| verdict.map_err(What::Path));
    for item in &secrets.items {
        for file in files_of(item).iter() {
            let allowed = verdicts.next().unwrap_or(Ok(()));
            let Some(version) = held.get(&item.name).and_then(|held| version_of(held, file.of)) else { continue };
            let of = vec![item.name.clone()];
            if file.format == Format::Each {
                let files = allowed.and_then(|()| folder(&file.path, &version.content, names_of(item)));
                outcome.put_all(file, of, files);
                continue;
            }
            let bytes = allowed.and_then(|()| write(&file.format, &version.content));
            outcome.put(&file.path, file.mode, of, bytes);
        }
    }
    for combined in &secrets.files {
        let allowed = verdicts.next().unwrap_or(Ok(()));
        let bytes = allowed.and_then(|()| template::combined(&combined.template, held));
        outcome.put(&combined.path, combined.mode, items_of(combined, secrets), bytes);
    }
    outcome
}

/// A file that the settings name.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Where, below the folder.
    pub path: String,
    /// Permission bits, if not those of the folder.
    pub mode: Option<Permissions>,
    /// The names of the secrets that it shows.
    pub of: Vec<String>,
    /// Which version of its one secret it shows; `None` if it is made of several.
    pub stage: Option<Stage>,
    /// It is a folder, and the files are below it.
    pub is_folder: bool,
}

/// All files that the settings name.
pub fn planned(secrets: &Secrets) -> Vec<Planned> {
    let single = secrets.items.iter().flat_map(|item| {
        let files = files_of(item).into_owned().into_iter();
        files.map(|file| Planned {
            path: file.path,
            mode: file.mode,
            of: vec![item.name.clone()],
            stage: Some(file.of),
            is_folder: file.format == Format::Each,
        })
    });
    let combined = secrets.files.iter().map(|combined| {
        let of = items_of(combined, secrets);
        Planned { path: combined.path.clone(), mode: combined.mode, of, stage: None, is_folder: false }
    });
    single.chain(combined).collect()
}

/// What is wrong with names, paths, URLs and templates, whatever the secrets say.
pub fn mistakes(secrets: &Secrets) -> Vec<Mistake> {
    let mut mistakes = paths::mistakes(secrets);
    let mut check = |place: String, format: &Format| {
        let checked = match format {
            Format::Url(pattern) => url::check(pattern),
            Format::Template(source) => template::check(source),
            _ => Ok(()),
        };
        mistakes.extend(checked.err().map(|what| Mistake { place, what: what.to_string() }));
    };
    for (at, item) in secrets.items.iter().enumerate() {
        for (file_at, file) in item.files.iter().enumerate() {
            check(format!("secrets.items[{at}].files[{file_at}].as"), &file.format);
        }
    }
    for (at, combined) in secrets.files.iter().enumerate() {
        check(format!("secrets.files[{at}].template"), &Format::Template(combined.template.clone()));
    }
    mistakes
}

impl Outcome {
    /// The files of a folder, or why there are none.
    fn put_all(&mut self, folder: &File, of: Vec<String>, files: Result<Vec<(String, Value)>, What>) {
        match files {
            Ok(files) => {
                let all = files.into_iter();
                self.files.extend(all.map(|(path, bytes)| Rendered { path, bytes, mode: folder.mode, of: of.clone() }));
            }
            Err(what) => self.faults.push(Fault { path: folder.path.clone(), of, what }),
        }
    }

    fn put(&mut self, path: &str, mode: Option<Permissions>, of: Vec<String>, bytes: Result<Value, What>) {
        let path = path.to_owned();
        match bytes {
            Ok(bytes) => self.files.push(Rendered { path, bytes, mode, of }),
            Err(what) => self.faults.push(Fault { path, of, what }),
        }
    }
}

/// The files of an item: without any, one that holds the value as it is, or a folder with one for each parameter.
fn files_of(item: &Item) -> Cow<'_, [File]> {
    if !item.files.is_empty() {
        return Cow::Borrowed(&item.files);
    }
    let format = if matches!(item.from, From::Parameters(_)) { Format::Each } else { Format::Raw };
    Cow::Owned(vec![File { path: item.name.clone(), of: Stage::Current, format, mode: None }])
}

/// The version that files of `stage` show.
pub fn version_of(held: &Held, stage: Stage) -> Option<&Version> {
    match stage {
        Stage::Current => Some(&held.current),
        Stage::Previous => held.previous.as_ref(),
        Stage::Pending => held.pending.as_ref(),
    }
}

/// The items whose names stand in a template, perhaps in its plain text: rather one too many than one too few. All of them
/// if it uses `secrets`, in which a name can be computed.
fn items_of(combined: &Combined, secrets: &Secrets) -> Vec<String> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let says = |word: &str| {
        let text = combined.template.as_bytes();
        combined.template.match_indices(word).any(|(at, _)| {
            !at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(letter)
                && !text.get(at + word.len()).is_some_and(letter)
        })
    };
    let all = says("secrets");
    secrets.items.iter().filter(|item| all || says(&item.name)).map(|item| item.name.clone()).collect()
}

/// Whether the names of a secret's members may be told.
fn names_of(item: &Item) -> Names {
    if matches!(item.from, From::Parameters(_)) { Names::Shown } else { Names::Hidden }
}

/// Writes one secret as a folder of files.
fn folder(path: &str, content: &Content, names: Names) -> Result<Vec<(String, Value)>, What> {
    each::write(path, &Members::parse(text_of(content)?)?, names)
}

/// Writes one secret in one format.
fn write(format: &Format, content: &Content) -> Result<Value, What> {
    if *format == Format::Raw {
        let value = content.value();
        return if value.expose().len() > SECRET_FILE_BYTES_MAX { Err(What::TooLarge) } else { Ok(value.clone()) };
    }
    let text = text_of(content)?;
    let mut out = Buffer::default();
    match format {
        // One is to the byte and done; the other is not one file.
        Format::Raw | Format::Each => {}
        Format::Key(name) => out.push(&Members::parse(text)?.wanted(name)?),
        Format::Dotenv => dotenv::write(&Members::parse(text)?, &mut out)?,
        Format::Properties => properties::write(&Members::parse(text)?, &mut out)?,
        Format::Url(pattern) => url::write(pattern, &Members::parse(text)?, &mut out)?,
        Format::Pgpass => pgpass::write(&Members::parse(text)?, &mut out)?,
        Format::MyCnf => my_cnf::write(&Members::parse(text)?, &mut out)?,
        Format::Template(source) => template::single(source, text, &mut out)?,
    }
    out.finish()
}

/// The text of a secret for a format that is text.
fn text_of(content: &Content) -> Result<&str, What> {
    let Content::Text(value) = content else { return Err(What::Binary) };
    let text = value.expose_text().ok_or(What::Binary)?;
    if text.contains('\0') { Err(What::Nul) } else { Ok(text) }
}
#[cfg(test)]
mod tests;
