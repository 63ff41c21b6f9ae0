//! Stack traces as text, taken apart: exceptions, their causes, and where in the code they came from.
//!
//! Which form a text has is known by the language of the SDK that sent it. What does not look like that form gives fewer frames,
//! never a fault.
//!
//! Promises: whatever the text is, the exceptions are at most [`EXCEPTIONS_MAX`] with at most [`FRAMES_MAX`] frames each, and all
//! they hold are pieces of the text; the work is linear in its length.
//! Never: guesses the language.

mod chained;
mod plain;

/// Exceptions of one text: causes of causes.
pub(super) const EXCEPTIONS_MAX: usize = 16;
/// Frames of an exception. Java's stacks end at 1,024, the upper ones say where it happened.
pub(super) const FRAMES_MAX: usize = 256;

/// A place in the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The file.
    pub path: &'a str,
    /// The function.
    pub label: &'a str,
    /// The line, 0 if it is not known.
    pub line: u32,
}

/// An exception. The first of a text is the one that was recorded, each next one the cause of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception<'a> {
    /// Its type; of the first the event says it.
    pub kind: &'a str,
    /// Its message, with a line break for each that it has; of the first the event says it.
    pub message: &'a str,
    /// Where it came from, the newest first.
    pub frames: Vec<Frame<'a>>,
}

impl<'a> Exception<'a> {
    fn push(&mut self, frame: Frame<'a>) {
        if self.frames.len() < FRAMES_MAX {
            self.frames.push(frame);
        }
    }
}

/// Takes `text` apart as `language` writes it. There is always one exception, if only without frames.
pub fn parse<'a>(language: &str, text: &'a str) -> Vec<Exception<'a>> {
    match language {
        "java" | "php" => chained::java(text),
        "python" => chained::python(text),
        "javascript" | "nodejs" | "webjs" => vec![plain::javascript(text)],
        "dotnet" => vec![plain::dotnet(text)],
        "go" => vec![plain::go(text)],
        _ => vec![Exception::default()],
    }
}

/// Splits `text` at its last colon if a number follows, as in `path:line`.
fn path_and_line(text: &str) -> Option<(&str, u32)> {
    let (path, line) = text.rsplit_once(':')?;
    Some((path, line.parse().ok()?))
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
