//! A `[client]` section of a MySQL option file.
//!
//! ```text
//! host="value"     with \b \t \n \r, and `\` before `"` and `\`
//! ```
//!
//! Within double quotes `#` begins no comment and spaces stay. MySQL's clients read these escapes; libraries that read the
//! file as an INI file (PyMySQL) take off the quotes only.
//!
//! Promises: a member cannot end its line; a line that the clients would cut is a fault.
//! Never: writes a file without `user` or `password`.

use super::{What, buffer::Buffer, document::Members};
use crate::limits::OPTION_LINE_BYTES_MAX;

/// Writes the section.
pub(super) fn write(members: &Members<'_>, out: &mut Buffer) -> Result<(), What> {
    out.push("[client]\n");
    for name in ["host", "port"] {
        if let Some(value) = members.optional(name)? {
            option(name, name, &value, out)?;
        }
    }
    option("user", "username", &members.wanted("username")?, out)?;
    option("password", "password", &members.wanted("password")?, out)
}

fn option(option: &str, name: &'static str, value: &str, out: &mut Buffer) -> Result<(), What> {
    let start = out.len();
    out.push(option);
    out.push("=\"");
    for letter in value.chars() {
        match letter {
            '\x08' => out.push("\\b"),
            '\t' => out.push("\\t"),
            '\n' => out.push("\\n"),
            '\r' => out.push("\\r"),
            '"' | '\\' => {
                out.push_char('\\');
                out.push_char(letter);
            }
            _ => out.push_char(letter),
        }
    }
    out.push("\"\n");
    if out.len() - start > OPTION_LINE_BYTES_MAX { Err(What::LineTooLong { name }) } else { Ok(()) }
}
