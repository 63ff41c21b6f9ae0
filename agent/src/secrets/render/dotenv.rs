//! Lines `NAME=value` that a shell and the dotenv libraries read.
//!
//! ```text
//! NAME     the member's name in capitals; what is not a letter, a digit or `_` becomes `_`; `_` before a leading digit
//! value    bare:    empty, or only letters, digits and @ % + = : , . / _ -
//!          'value': anything else without `'` and `\\`, and without `\` at the end. Nothing is escaped
//!          "value": the rest. `"`, `\`, `$` and "`" have a `\` before them
//! ```
//!
//! Line breaks and tabs stand as they are within quotes. Where readers disagree, the shell is right: `\n` would be two
//! characters to it, as would `$` without its `\` be a variable. What the others then make of it:
//! - python-dotenv fills in `${NAME}` in any value unless it is told `interpolate=False`; keeps the `\` before `$` and "`" in
//!   `"value"`; reads CR as LF, since it opens the file as text.
//! - Docker's `--env-file` knows no quotes and one line for each variable: only bare values are right.
//!
//! Promises: `set -a; . file` in bash sets each variable to the member's text, whatever it is.
//! Never: writes two lines with one name.

use std::collections::BTreeMap;

use super::{What, buffer::Buffer, document::Members};

/// Writes the members that are text, numbers or booleans.
pub(super) fn write(members: &Members<'_>, out: &mut Buffer) -> Result<(), What> {
    let mut places = BTreeMap::new();
    for member in members.values() {
        let (second, name, value) = member?;
        let name = variable(name);
        out.push(&name);
        if let Some(first) = places.insert(name, second) {
            return Err(What::SameName { first, second });
        }
        out.push("=");
        quoted(&value, out);
        out.push("\n");
    }
    Ok(())
}

/// The name of a variable.
fn variable(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    let prefix = if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() { "_" } else { "" };
    prefix.chars().chain(name.chars().map(letter)).collect()
}

fn quoted(value: &str, out: &mut Buffer) {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    if value.bytes().all(bare) {
        out.push(value);
    } else if !value.contains('\'') && !value.contains(r"\\") && !value.ends_with('\\') {
        out.push("'");
        out.push(value);
        out.push("'");
    } else {
        out.push("\"");
        for letter in value.chars() {
            if matches!(letter, '"' | '\\' | '$' | '`') {
                out.push_char('\\');
            }
            out.push_char(letter);
        }
        out.push("\"");
    }
}
