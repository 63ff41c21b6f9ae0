//! Stack traces of one exception: JavaScript, .NET, Go.
//!
//! ```text
//! TypeError: x is not a function            JavaScript
//!     at handler (/app/web.js:10:5)
//!     at file:///app/web.mjs:3:1
//! System.Exception: x                       .NET
//!    at Shop.Web.Handle(String a) in /src/Web.cs:line 42
//! goroutine 1 [running]:                    Go
//! main.handle(...)
//!         /src/web.go:42 +0x1d
//! ```
//!
//! Promises: a line that has another form is passed over.
//! Never: takes a colon of an address or a drive for the one before the line.

use super::{Exception, Frame, path_and_line};

pub(super) fn javascript(text: &str) -> Exception<'_> {
    let mut exception = Exception::default();
    for line in text.lines().skip(1) {
        let Some(place) = line.trim().strip_prefix("at ") else { continue };
        let place = place.trim();
        // A label may have brackets of its own: `Object.<anonymous>`, `fn [as name]`, `eval (eval at f (a.js:1:2))`.
        let (label, place) = match place.strip_suffix(')').and_then(|place| place.split_once(" (")) {
            Some((label, place)) => (label, place),
            None => ("", place.strip_prefix("async ").unwrap_or(place)),
        };
        let frame = match path_and_line(place) {
            // The last number is the column.
            Some((before, column)) => match path_and_line(before) {
                Some((path, line)) => Frame { path, label, line },
                None => Frame { path: before, label, line: column },
            },
            None => Frame { path: place, label, line: 0 },
        };
        exception.push(frame);
    }
    exception
}

pub(super) fn dotnet(text: &str) -> Exception<'_> {
    let mut exception = Exception::default();
    for line in text.lines() {
        let Some(place) = line.trim().strip_prefix("at ") else { continue };
        match place.rsplit_once(" in ").and_then(|(label, place)| Some((label, place.rsplit_once(":line ")?))) {
            Some((label, (path, line))) => {
                exception.push(Frame { path, label, line: line.trim().parse().unwrap_or(0) });
            }
            None if place.contains('(') => exception.push(Frame { path: "", label: place, line: 0 }),
            None => {}
        }
    }
    exception
}

pub(super) fn go(text: &str) -> Exception<'_> {
    let mut exception = Exception::default();
    let mut label = "";
    for line in text.lines().filter(|line| !line.starts_with("goroutine ")) {
        let indented = line.starts_with(['\t', ' ']);
        let line = line.trim();
        if !indented {
            label = line;
            continue;
        }
        let place = line.split_once(" +0x").map_or(line, |(place, _)| place);
        if let Some((path, line)) = path_and_line(place)
            && !label.is_empty()
        {
            exception.push(Frame { path, label, line });
            label = "";
        }
    }
    exception
}
