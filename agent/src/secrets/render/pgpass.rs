//! A line of PostgreSQL's password file: `host:port:dbname:username:password`.
//!
//! libpq takes the first line whose first four fields match; `*` matches anything. `\` stands before `:` and `\`. A line that
//! begins with `#` is a comment, so a host that does gets a `\` too. There is no way to write a line break.
//! libpq ignores a file that its group or others may read; that is for `mode` to say.
//!
//! Promises: a member cannot end its field, nor its line. Without `host` and `dbname` the password is for any (`*`), without
//! `port` for 5432.
//! Never: writes a line without `username` or `password`.

use super::{What, buffer::Buffer, document::Members};

/// Writes the line.
pub(super) fn write(members: &Members<'_>, out: &mut Buffer) -> Result<(), What> {
    for (name, default) in [("host", "*"), ("port", "5432"), ("dbname", "*")] {
        match members.optional(name)? {
            Some(value) => field(name, &value, out)?,
            None => out.push(default),
        }
        out.push(":");
    }
    field("username", &members.wanted("username")?, out)?;
    out.push(":");
    field("password", &members.wanted("password")?, out)?;
    out.push("\n");
    Ok(())
}

fn field(name: &'static str, value: &str, out: &mut Buffer) -> Result<(), What> {
    // libpq also takes a CR off the end of a line.
    if value.contains(['\n', '\r']) {
        return Err(What::LineBreak { name });
    }
    for letter in value.chars() {
        if matches!(letter, ':' | '\\') || (letter == '#' && out.len() == 0) {
            out.push_char('\\');
        }
        out.push_char(letter);
    }
    Ok(())
}
