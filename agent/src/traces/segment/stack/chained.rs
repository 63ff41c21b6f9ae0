//! Stack traces of an exception and what caused it: Java (and PHP, whose SDK writes the same), Python.
//!
//! ```text
//! java.lang.IllegalStateException: no       Java: the cause comes last
//!         at java.base/Shop.handle(Shop.java:42)
//!         ... 3 more
//! Caused by: java.io.IOException: gone
//!         at Disk.read(Disk.java:7)
//!
//! Traceback (most recent call last):        Python: the cause comes first, and the newest frame last
//!   File "disk.py", line 7, in read
//!     code()
//! OSError: gone
//!
//! During handling of the above exception, another exception occurred:
//!
//! Traceback (most recent call last):
//!   ...
//! ```
//!
//! Promises: exceptions that were suppressed are passed over, with all that belongs to them.
//! Never: takes a line of a message for a frame unless it has the form of one.

use super::{EXCEPTIONS_MAX, Exception, Frame, path_and_line};

pub(super) fn java(text: &str) -> Vec<Exception<'_>> {
    let mut exceptions = vec![Exception::default()];
    let mut suppressed = false;
    let mut at = text.find('\n').map_or(text.len(), |end| end + 1);
    while at < text.len() {
        let line = line_at(text, at);
        if let Some(cause) = line.strip_prefix("Caused by: ") {
            suppressed = false;
            if exceptions.len() == EXCEPTIONS_MAX {
                break;
            }
            let kind = cause.split_once(':').map_or(cause, |(kind, _)| kind).trim();
            let start = at + line.len() - cause.len() + cause.find(':').map_or(cause.len(), |colon| colon + 1);
            let end = message_end(text, start);
            exceptions.push(Exception { kind, message: text[start..end].trim(), frames: Vec::new() });
            at = end.max(at + line.len());
        } else {
            suppressed |= line.trim_start().starts_with("Suppressed: ");
            if let (false, Some(frame), Some(exception)) = (suppressed, java_frame(line), exceptions.last_mut()) {
                exception.push(frame);
            }
            at += line.len();
        }
        at = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
    }
    exceptions
}

/// A message goes on until a line that belongs to the stack.
fn message_end(text: &str, start: usize) -> usize {
    let mut end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    while end < text.len() {
        let line = line_at(text, end + 1);
        let stack = java_frame(line).is_some()
            || ["... ", "Suppressed: ", "Caused by: "].iter().any(|word| line.trim_start().starts_with(word));
        if stack {
            break;
        }
        end += 1 + line.len();
    }
    end
}

/// The line that begins at `at`, without its end.
fn line_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    rest.split('\n').next().unwrap_or(rest)
}

fn java_frame(line: &str) -> Option<Frame<'_>> {
    let place = line.trim().strip_prefix("at ")?;
    let (label, place) = place.strip_suffix(')')?.split_once('(')?;
    // Before the first slash stands the module or the loader.
    let label = label.split_once('/').map_or(label, |(_, label)| label);
    let (path, line) = path_and_line(place).unwrap_or((place, 0));
    Some(Frame { path, label, line })
}

/// What stands between an exception and the one that came of it.
const LINKS: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

pub(super) fn python(text: &str) -> Vec<Exception<'_>> {
    let mut exceptions: Vec<Exception<'_>> = Vec::new();
    let mut rest = text;
    while exceptions.len() < EXCEPTIONS_MAX {
        // The last of the links, which may be either.
        let link = LINKS.iter().filter_map(|link| Some((rest.rfind(link)?, link.len()))).max();
        let (before, block) = match link {
            Some((at, length)) => (Some(&rest[..at]), &rest[at + length..]),
            None => (None, rest),
        };
        exceptions.push(python_block(block, exceptions.is_empty()));
        match before {
            Some(before) => rest = before,
            None => break,
        }
    }
    exceptions
}

fn python_block(block: &str, first: bool) -> Exception<'_> {
    let mut exception = Exception::default();
    let mut frames = Vec::new();
    let mut end_of_frames = 0;
    let mut at = 0;
    for line in block.split('\n') {
        if let Some(frame) = python_frame(line) {
            frames.push(frame);
            end_of_frames = at + line.len();
        }
        at += line.len() + 1;
    }
    frames.into_iter().rev().for_each(|frame| exception.push(frame));
    if !first {
        // What is not indented after the last frame is the type and its message, to the end.
        let mut start = end_of_frames;
        for line in block[end_of_frames..].split_inclusive('\n') {
            if !line.trim().is_empty() && !line.starts_with([' ', '\t']) {
                break;
            }
            start += line.len();
        }
        let last = block[start..].trim();
        let (kind, message) = last.split_once(':').unwrap_or((last, ""));
        exception.kind = kind.trim();
        exception.message = message.trim();
    }
    exception
}

fn python_frame(line: &str) -> Option<Frame<'_>> {
    let place = line.trim().strip_prefix("File \"")?;
    // A path may have quotes and commas: the last one that is followed by the line ends it.
    let (path, rest) = place.rsplit_once("\", line ")?;
    let (line, label) = rest.split_once(", in ").unwrap_or((rest, ""));
    Some(Frame { path, label, line: line.trim().parse().unwrap_or(0) })
}
