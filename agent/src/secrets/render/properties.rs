//! Java properties, as `Properties.load` reads them.
//!
//! ```text
//! name=value      with `\` before space (in a value: only the first), `=`, `:`, `#`, `!`, `\`
//!                 and `\t` `\n` `\r` `\f`; all but printable ASCII as `\uXXXX`, in units of UTF-16
//! ```
//!
//! Promises: ASCII only, which is the same in ISO-8859-1 and UTF-8; `load` gives back each text as it was.
//! Never: writes a comment, not even the date that `Properties.store` writes.

use super::{What, buffer::Buffer, document::Members};

/// Which spaces have a `\` before them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    /// In a name, where one would end it.
    All,
    /// In a value, where those at its beginning are skipped. With the first one escaped there are none.
    First,
}

/// Writes the members that are text, numbers or booleans.
pub(super) fn write(members: &Members<'_>, out: &mut Buffer) -> Result<(), What> {
    for member in members.values() {
        let (_, name, value) = member?;
        escape(name, Spaces::All, out);
        out.push("=");
        value_into(&value, out);
        out.push("\n");
    }
    Ok(())
}

/// One value.
pub(super) fn value_into(value: &str, out: &mut Buffer) {
    escape(value, Spaces::First, out);
}

fn escape(text: &str, spaces: Spaces, out: &mut Buffer) {
    for (at, letter) in text.char_indices() {
        match letter {
            ' ' if at == 0 || spaces == Spaces::All => out.push("\\ "),
            '=' | ':' | '#' | '!' | '\\' => {
                out.push_char('\\');
                out.push_char(letter);
            }
            '\t' => out.push("\\t"),
            '\n' => out.push("\\n"),
            '\r' => out.push("\\r"),
            '\x0c' => out.push("\\f"),
            ' '..='~' => out.push_char(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.push(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}
