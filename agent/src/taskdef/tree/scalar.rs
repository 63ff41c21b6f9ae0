//! Text as it is written, and what it says.
//!
//! Promises: what is written here, in quotes or without, is read as the same text by every reader of JSON or YAML.
//! Never: guesses: text whose lines are moved in by a given number has no words here.

use super::json::is_number;

/// Words that YAML takes for true, false, or nothing; 1.1 takes more of them than 1.2.
const TRUE: [&str; 3] = ["true", "yes", "on"];
const FALSE: [&str; 3] = ["false", "no", "off"];
const NOTHING: [&str; 3] = ["", "~", "null"];

/// What raw text says: with the quotes of JSON or YAML, in a block, or without quotes. `None` if it is not known.
pub(super) fn text(raw: &str) -> Option<String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).ok().or_else(|| folded(raw.get(1..raw.len() - 1)?, Quotes::Double)),
        Some(b'\'') => folded(raw.get(1..raw.len() - 1)?, Quotes::Single),
        Some(b'|' | b'>') => block(raw),
        Some(_) | None => folded(raw, Quotes::None),
    }
}

/// True for what is no text when it has no quotes.
pub(super) fn is_bare(raw: &str) -> bool {
    is_number(raw) || truth(raw).is_some() || is_nothing(raw)
}

/// True or false, in all spellings of YAML.
pub fn truth(raw: &str) -> Option<bool> {
    let known = |words: [&str; 3]| words.iter().any(|word| raw.eq_ignore_ascii_case(word));
    if known(TRUE) { Some(true) } else { known(FALSE).then_some(false) }
}

fn is_nothing(raw: &str) -> bool {
    NOTHING.iter().any(|word| raw.eq_ignore_ascii_case(word))
}

/// What is no text, as JSON writes it.
pub(super) fn bare_as_json(raw: &str) -> &str {
    match truth(raw) {
        Some(true) => "true",
        Some(false) => "false",
        None if is_number(raw) => raw,
        None => "null",
    }
}

/// `text` as JSON writes it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// `text` without quotes, where no reader of YAML takes it for something else; otherwise as JSON writes it.
pub(super) fn plain(text: &str) -> String {
    // Dates, numbers in other bases and `1:30` begin with digits, so that no text that does is written without quotes.
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/');
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/' | ':' | '@');
    let is_safe = begins && text.chars().all(is_word) && !text.ends_with(':') && !is_bare(text);
    // `y` and `n` are true and false to readers of 1.1.
    if is_safe && text.len() > 1 { text.to_owned() } else { quoted(text) }
}

/// Text over several lines as one: a line end is a space, and behind it each blank line is a line end.
fn folded(text: &str, quotes: Quotes) -> Option<String> {
    let mut out = String::new();
    // White space before a line end goes, but not if it was escaped.
    let mut kept = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quotes == Quotes::Double => {
                if let Some(letter) = escaped(&mut letters)? {
                    out.push(letter);
                }
                kept = out.len();
            }
            '\'' if quotes == Quotes::Single => {
                letters.next();
                out.push('\'');
            }
            '\n' => {
                let end = out.trim_end_matches([' ', '\t', '\r']).len().max(kept);
                out.truncate(end);
                let mut blank = 0;
                while let Some(letter) = letters.next_if(|letter| matches!(letter, ' ' | '\t' | '\n' | '\r')) {
                    blank += usize::from(letter == '\n');
                }
                out.push_str(&if blank == 0 { " ".to_owned() } else { "\n".repeat(blank) });
                kept = out.len();
            }
            letter => out.push(letter),
        }
    }
    Some(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// What stands behind a backslash. Nothing for the end of a line, which joins it with the next one; `None` if there is no such
/// escape.
fn escaped(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Option<char>> {
    let digits = match letters.next()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        letter @ ('\r' | '\n') => {
            if letter == '\r' {
                letters.next_if_eq(&'\n')?;
            }
            while letters.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
            return Some(None);
        }
        letter => return simple(letter).map(Some),
    };
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + letters.next()?.to_digit(16)?;
    }
    char::from_u32(code).map(Some)
}

fn simple(letter: char) -> Option<char> {
    Some(match letter {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        ' ' | '"' | '/' | '\\' => letter,
        _ => return None,
    })
}

/// The lines behind `|` or `>`.
fn block(raw: &str) -> Option<String> {
    let mut lines = raw.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let header = lines.next()?.split(['#', ' ']).next()?;
    if header.contains(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let lines: Vec<&str> = lines.collect();
    let moved_in = |line: &&&str| line.len() - line.trim_start_matches(' ').len();
    let indentation = lines.iter().find(|line| !line.trim().is_empty()).as_ref().map_or(0, moved_in);
    let (mut out, mut blank, mut before) = (String::new(), 0, None);
    for line in lines {
        let line = line.get(indentation..).unwrap_or_default();
        if line.is_empty() {
            blank += 1;
            continue;
        }
        // `>` joins lines that are moved in as far as the first.
        let is_even = header.starts_with('>') && !line.starts_with([' ', '\t']);
        match before {
            None => {}
            Some(true) if is_even => out.push_str(if blank == 0 { " " } else { "" }),
            Some(_) => out.push('\n'),
        }
        out.push_str(&"\n".repeat(blank));
        out.push_str(line);
        (blank, before) = (0, Some(is_even));
    }
    if header.ends_with('-') || before.is_none() && !header.ends_with('+') {
        return Some(out);
    }
    out.push_str(if before.is_some() { "\n" } else { "" });
    out.push_str(&"\n".repeat(if header.ends_with('+') { blank } else { 0 }));
    Some(out)
}
