//! What stands between a template's braces, looked at before the template engine sees it.
//!
//! The engine has a bound on its steps, but one step can build a text of any size: `"a" * 999999999` at once, and `{% set a = a
//! ~ a %}` by forty lines of doubling. Without multiplication, without names for what was built, and with short expressions,
//! nothing grows beyond what [`TEMPLATE_TAG_BYTES_MAX`] says.
//!
//! Promises: a template that passes has only `if`, `for` and `raw`, and no `*`.
//! Never: understands expressions; the engine does.

use super::What;
use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_TAG_BYTES_MAX};

/// Statements that keep nothing.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// Looks at all tags of a template.
pub(super) fn check(source: &str) -> Result<(), What> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(What::Template { line: None, what: "is longer than 64 KiB" });
    }
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let refused = |what| What::Template { line: Some(line_of(source, rest, at)), what };
        let tag = &rest[at..];
        let length = if tag.starts_with("{#") {
            tag.find("#}").map_or(tag.len(), |end| end + 2)
        } else if tag.starts_with("{{") || tag.starts_with("{%") {
            let inside = inside(&tag[2..]);
            check_inside(inside, tag.starts_with("{%")).map_err(refused)?;
            let end = 2 + inside.len();
            if tag.starts_with("{%") && statement(inside) == "raw" { raw_end(tag, end) } else { end }
        } else {
            1
        };
        rest = &tag[length..];
    }
    Ok(())
}

fn check_inside(inside: &str, is_statement: bool) -> Result<(), &'static str> {
    if inside.len() > TEMPLATE_TAG_BYTES_MAX {
        return Err("has more than 1 KiB within one pair of braces");
    }
    if is_statement && !STATEMENTS.contains(&statement(inside)) {
        return Err("has a statement that is none of `if`, `elif`, `else`, `for`, `raw` and their ends");
    }
    let mut code = String::new();
    outside_of_strings(inside, |letter| {
        code.push(letter);
        true
    });
    if code.contains('*') {
        return Err("multiplies, which is not possible here");
    }
    if is_statement
        && code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "recursive")
    {
        return Err("has a recursive loop, which is not possible here");
    }
    Ok(())
}

/// What comes after the two characters that open a tag, up to those that close it: `}}` or `%}` outside of strings and
/// brackets. Without such, all of it.
fn inside(text: &str) -> &str {
    let (mut open, mut last) = (0_usize, ' ');
    let end = outside_of_strings(text, |letter| {
        let closes = letter == '}' && (last == '%' || (last == '}' && open == 0));
        match letter {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        last = letter;
        !closes
    });
    &text[..end]
}

/// Shows each character that is not within a string, until told to stop. Returns where that was, after the character.
fn outside_of_strings(text: &str, mut next: impl FnMut(char) -> bool) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if !next(letter) => return at + letter.len_utf8(),
            None => {}
        }
    }
    text.len()
}

/// The first word.
fn statement(inside: &str) -> &str {
    let text = inside.trim_start_matches(['-', '+']).trim_start();
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}

/// Where the text ends that is to stay as it is.
fn raw_end(tag: &str, from: usize) -> usize {
    let ends = |(at, _): &(usize, &str)| statement(&tag[from + at + 2..]) == "endraw";
    tag[from..].match_indices("{%").find(ends).map_or(tag.len(), |(at, _)| from + at)
}

fn line_of(source: &str, rest: &str, at: usize) -> usize {
    let place = source.len() - rest.len() + at;
    source.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1
}
