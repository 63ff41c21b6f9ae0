//! Why a file cannot be made.
//!
//! Promises: says what to look at, in words that hold only what the settings say.
//! Never: holds anything of a secret.

use super::paths::PathFault;

/// Why a file cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// Only raw files hold any bytes.
    #[error("the secret is binary, which only a raw file can hold")]
    Binary,
    /// No reader of text files takes it.
    #[error("there is a NUL character, which only a raw file can hold")]
    Nul,
    /// The format needs members.
    #[error("the secret is not a JSON object")]
    NotObject,
    /// The settings name a member that it has not.
    #[error("the secret has no member `{name}`")]
    NoMember {
        /// As the settings, or the format, call it.
        name: String,
    },
    /// The settings name a member that is no value.
    #[error("member `{name}` is {kind}, not text, a number, true or false")]
    MemberKind {
        /// As the settings, or the format, call it.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A `\ud800` without its other half.
    #[error("a member's text is not Unicode")]
    NotUnicode,
    /// The format has no way to write it.
    #[error("member `{name}` has a line break, which this format cannot hold")]
    LineBreak {
        /// As the format calls it.
        name: &'static str,
    },
    /// The readers cut it.
    #[error("the line of member `{name}` is longer than MySQL's clients read")]
    LineTooLong {
        /// As the format calls it.
        name: &'static str,
    },
    /// `a.b` and `A_B`. Which ones is not said: a member's name may be a secret, too.
    #[error("members {first} and {second}, as they stand in the secret, become the same name")]
    SameName {
        /// Counted from 1.
        first: usize,
        /// Counted from 1.
        second: usize,
    },
    /// A member's name is no path. Counted from 1 if its name may not be told.
    #[error("member {member} of the secret cannot be a file: {}", fault.of_member())]
    NoFile {
        /// Which member.
        member: String,
        /// Why not.
        fault: PathFault,
    },
    /// `a` and `a/b`.
    #[error("member {file} of the secret would have to be a folder, too, because of member {below}")]
    FileAndFolder {
        /// Which member is the file.
        file: String,
        /// Which one would be below it.
        below: String,
    },
    /// See [`crate::limits::SECRET_FILE_BYTES_MAX`].
    #[error("the file would be larger than 1 MiB")]
    TooLarge,
    /// See [`crate::limits::SECRET_DEPTH_MAX`].
    #[error("the secret's JSON is nested too deeply")]
    TooDeep,
    /// Braces that do not match.
    #[error("the URL has a `{brace}` without its other half; write `{brace}{brace}` for the character itself")]
    Brace {
        /// Which one.
        brace: char,
    },
    /// The template cannot be read, or not be filled in.
    #[error("template{}: {what}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template {
        /// Counted from 1.
        line: Option<usize>,
        /// From a closed list.
        what: &'static str,
    },
    /// It must not stand there.
    #[error(transparent)]
    Path(PathFault),
}
