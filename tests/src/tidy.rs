//! The rules of the agent's source that no compiler checks; `tests/tests/tidy.rs` applies them to the tree.
//!
//! Promises: pure functions from a file's path and text to complaints; each complaint says where, what, and what to do.
//! Never: complains about a comment or about the inside of a string (apart from whole words that no string here needs).

use std::collections::BTreeMap;

/// The layers, highest first. A module may use those below it, and its neighbours one way.
pub const LAYERS: [&[&str]; 10] = [
    &["main", "lib"],
    &["cli"],
    &["agent"],
    &["config", "fluentbit", "taskdef"],
    JOBS,
    &["otlp", "aws", "ecs", "emf", "tally"],
    &["deliver", "net"],
    &["tell"],
    &["life"],
    &["units", "limits", "problem"],
];

/// The four jobs. They never use each other: where two must meet, `agent.rs` hands one a handle of the other.
const JOBS: &[&str] = &["logs", "traces", "metrics", "secrets"];
/// Lines of a file without its tests.
const LINES_MAX: usize = 400;
/// How the environment can be read.
const ENVIRONMENT: [&str; 3] = ["env::var", "env::vars", "option_env!"];
/// How a task can be spawned. Threads and `spawn_blocking` are another matter: whoever starts one waits for it.
const SPAWNING: [&str; 5] = ["tokio::spawn", "task::spawn(", "spawn_local", "JoinSet", "TaskTracker"];

/// A source file of the agent.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path below `agent/src`, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The top module it belongs to: `logs` for `logs/out/mod.rs`, `limits` for `limits.rs`.
    pub fn top(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The lines of code, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }

    /// The code before the tests.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.is_test();
        self.code().take_while(move |(_, line)| !tests && line.trim() != "#[cfg(test)]")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    fn complain(&self, line: usize, what: &str) -> String {
        format!("agent/src/{}:{line}: {what}", self.path)
    }
}

/// Everything that is wrong with `sources` as a whole and with each of them.
pub fn check(sources: &[Source]) -> Vec<String> {
    let mut complaints = directions(sources);
    for source in sources {
        complaints.extend(module_doc(source));
        complaints.extend(length(source));
        complaints.extend(words(source));
    }
    complaints
}

/// ARCHITECTURE.md must name every folder of the agent.
pub fn architecture(page: &str, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let Some((folder, _)) = source.path.split_once('/') else { continue };
        let named = page.contains(&format!("`{folder}")) || page.contains(&format!("{folder}/"));
        let complaint = format!("ARCHITECTURE.md: does not name `{folder}/`; say in its code map what lives there");
        if !named && !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }
    complaints
}

fn layer(top: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&top))
}

fn directions(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    // The first use of one top module by its neighbour, to find pairs that use each other.
    let mut neighbours: BTreeMap<(String, String), String> = BTreeMap::new();
    for source in sources {
        let top = source.top();
        let Some(own) = layer(top) else {
            complaints.push(source.complain(1, &format!("`{top}` has no layer; give it one in tests/src/tidy.rs")));
            continue;
        };
        for (line, used) in uses(source) {
            let Some(other) = layer(&used) else { continue };
            if used == top || used == "main" || used == "lib" {
                continue;
            }
            if other < own {
                let what =
                    format!("`{top}` uses `{used}`, which is above it; hand it what it needs from there instead");
                complaints.push(source.complain(line, &what));
            } else if other == own && JOBS.contains(&top) {
                let what = format!("the job `{top}` uses the job `{used}`; let agent.rs hand it a small typed handle");
                complaints.push(source.complain(line, &what));
            } else if other == own {
                let place = source.complain(line, "");
                neighbours.entry((top.to_owned(), used)).or_insert(place);
            }
        }
    }
    for ((from, to), place) in &neighbours {
        if from < to && neighbours.contains_key(&(to.clone(), from.clone())) {
            complaints.push(format!("{place}`{from}` and `{to}` use each other; one of them must not know the other"));
        }
    }
    complaints
}

/// The top modules that a file names, with the line.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: Vec<_> = source.code().collect();
    let joined: String = code.iter().flat_map(|(_, line)| [line, "\n"]).collect();
    // Only the binary is outside of the crate; elsewhere this stands in texts, as a filter for log messages.
    let starts: &[&str] = if source.top() == "main" { &["pillion::"] } else { &["crate::"] };
    for &start in starts {
        for (at, _) in joined.match_indices(start) {
            let before = joined[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '$') {
                continue;
            }
            let line = joined[..at].matches('\n').count() + 1;
            for name in names(&joined[at + start.len()..]) {
                found.push((line, name));
            }
        }
    }
    let folders = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count();
    let up = "super::".repeat(folders);
    for (line, text) in source.product() {
        // `super::` as often as the file lies deep is the crate itself.
        if let Some(at) = text.find(&up).filter(|_| source.top() != "lib" && source.top() != "main") {
            found.extend(names(&text[at + up.len()..]).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first names of a path: one, or those of a group in braces.
fn names(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn module_doc(source: &Source) -> Vec<String> {
    let doc: Vec<_> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let mut complaints = Vec::new();
    if doc.is_empty() {
        complaints.push(source.complain(1, "begin with `//!`: what this is, what it promises, what it never does"));
        return complaints;
    }
    let says = |word: &str| doc.iter().any(|line| line.contains(word));
    if !says("Promises:") && !says("Promise:") {
        complaints.push(source.complain(1, "the `//!` does not say what it promises; add a line `Promises: ...`"));
    }
    if !says("Never:") {
        complaints.push(source.complain(1, "the `//!` does not say what it never does; add a line `Never: ...`"));
    }
    complaints
}

fn length(source: &Source) -> Option<String> {
    let lines = source.product().count();
    (lines > LINES_MAX).then(|| {
        let what =
            format!("{lines} lines before its tests, {LINES_MAX} are enough; move one idea to a file of its own");
        source.complain(LINES_MAX + 1, &what)
    })
}

fn words(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, text) in source.code() {
        if has_word(text, "unsafe") && !text.contains("unsafe_code") {
            complaints.push(source.complain(line, "`unsafe` is forbidden; find another way, or a crate that is kept"));
        }
    }
    for (line, text) in source.product() {
        if source.top() != "config" && ENVIRONMENT.iter().any(|way| text.contains(way)) {
            complaints
                .push(source.complain(line, "only `config` reads the environment; take the value as an argument"));
        }
        if source.top() != "life" && SPAWNING.iter().any(|way| text.contains(way)) {
            complaints.push(source.complain(line, "only `life` spawns; use `Life::spawn` or `Life::keep`"));
        }
    }
    complaints
}

fn has_word(text: &str, word: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// The line up to `//`, if that does not stand in a string.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut previous) = (false, ' ');
    for (at, letter) in line.char_indices() {
        match letter {
            '"' if previous != '\\' && previous != '\'' => quoted = !quoted,
            '/' if !quoted && previous == '/' => return &line[..at - 1],
            _ => {}
        }
        previous = if previous == '\\' { ' ' } else { letter };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "//! It. Promises: this.\n//! Never: that.\n";

    fn source(path: &str, code: &str) -> Source {
        Source { path: path.to_owned(), text: format!("{DOC}{code}") }
    }

    /// Each rule, with a snippet that it must find and one beside it that it must not.
    #[test]
    fn every_rule_finds_what_it_forbids_and_nothing_beside_it() {
        let long = "fn x() {}\n".repeat(LINES_MAX);
        let tested = format!("#[cfg(test)]\n{long}");
        let table: &[(&str, &str, Option<&str>)] = &[
            ("logs/mod.rs", "use crate::deliver::books::Books;", None),
            ("logs/mod.rs", "use crate::agent::run;", Some("`logs` uses `agent`, which is above it")),
            ("logs/mod.rs", "// use crate::agent::run;\n/// [`x`](crate::agent::x)", None),
            ("deliver/books.rs", "fn x(c: &crate::config::Config) {}", Some(":3: `deliver` uses `config`")),
            (
                "tell/logs.rs",
                "use crate::{\n    limits::X,\n    deliver::{books::{A, B}, C},\n};",
                Some("uses `deliver`"),
            ),
            ("tell/logs.rs", "use crate::{limits::{deliver, X}, life::Life};", None),
            (
                "logs/forward/frame.rs",
                "use super::super::super::metrics::X;",
                Some("the job `logs` uses the job `metrics`"),
            ),
            ("logs/forward/frame.rs", "use super::super::record::X;", None),
            ("logs/mod.rs", "use super::traces::X;", Some("the job `logs` uses the job `traces`")),
            ("units.rs", "use super::agent;", Some("`units` uses `agent`")),
            ("main.rs", "fn main() { pillion::cli::main() }", None),
            ("tell/logs.rs", "let filter = \"pillion::logs=debug\";", None),
            ("helpers/mod.rs", "", Some("`helpers` has no layer")),
            ("net/http.rs", "fn x() { unsafe { y() } }", Some("`unsafe` is forbidden")),
            ("net/http.rs", "#![forbid(unsafe_code)] // no unsafe here", None),
            ("net/http.rs", "let x = std::env::var(\"X\");", Some("only `config` reads the environment")),
            ("config/load.rs", "let x = std::env::var(\"X\");", None),
            ("net/http.rs", "tokio::spawn(async {});", Some("only `life` spawns")),
            ("net/http.rs", "let tasks = tokio::task::JoinSet::new();", Some("only `life` spawns")),
            ("life/mod.rs", "tokio::spawn(async {});", None),
            ("net/http.rs", "#[cfg(test)]\nmod tests { fn x() { tokio::spawn(async {}); } }", None),
            ("net/http.rs", &long, Some("402 lines before its tests")),
            ("net/http.rs", &tested, None),
            ("net/tests.rs", &long, None),
        ];
        for (path, code, expected) in table {
            let complaints = check(&[source(path, code)]);
            match expected {
                None => assert!(complaints.is_empty(), "{path}: {code}: {complaints:?}"),
                Some(part) => {
                    assert!(complaints.len() == 1 && complaints[0].contains(part), "{path}: {code}: {complaints:?}");
                }
            }
        }
    }

    #[test]
    fn neighbours_may_use_each_other_one_way_only() {
        let there = source("config/mod.rs", "use crate::fluentbit::read;");
        let back = source("fluentbit/mod.rs", "use crate::config::Config;");
        assert!(check(std::slice::from_ref(&there)).is_empty() && check(std::slice::from_ref(&back)).is_empty());
        let complaints = check(&[there, back]);
        assert!(complaints.len() == 1 && complaints[0].contains("use each other"), "{complaints:?}");
    }

    #[test]
    fn a_module_without_a_promise_is_found() {
        for (text, part) in [
            ("use x;", "begin with `//!`"),
            ("//! It.\n//! Never: that.\n", "what it promises"),
            ("//! Promise: this.\n", "what it never does"),
        ] {
            let complaints = check(&[Source { path: "net/mod.rs".to_owned(), text: text.to_owned() }]);
            assert!(complaints.len() == 1 && complaints[0].contains(part), "{text}: {complaints:?}");
        }
    }

    #[test]
    fn a_folder_that_the_map_forgets_is_found() {
        let sources =
            [source("logs/mod.rs", ""), source("net/mod.rs", ""), source("net/http.rs", ""), source("lib.rs", "")];
        assert_eq!(architecture("| `logs/` | ... |", &sources).len(), 1);
        assert!(architecture("- `logs`: x\n- agent/src/net/: y", &sources).is_empty());
    }
}
