//! A mistake in what a person wrote: where it is, what is wrong, and what to do about it.
//!
//! Promises: every problem names its place; problems are collected and shown together, errors before warnings.
//! Never: holds a value that could be a secret. `what` quotes keys and short values of options that are not secret.

use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The agent does not start with it.
    Error,
    /// The agent starts, and loses records because of it. `pillion check` takes it for an error.
    Loss,
    /// The agent starts, and does something other than was written.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the agent can start in spite of it.
    pub severity: Severity,
    /// Where: `fluent-bit.conf:12 [OUTPUT]`, `pillion.yaml:7 logs.out[1].cloudwatch.group`, `PILLION_STOP_TIMEOUT`.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty if `what` says it all.
    pub hint: String,
}

/// All the mistakes found so far. Of each severity the first 100 are kept and the rest is counted: a file of garbage
/// must not fill the memory.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    /// How many there are of each severity.
    counts: [usize; 3],
}

/// Problems of one severity that are kept.
const KEPT_MAX: usize = 100;

impl Problem {
    /// A problem that stops the start.
    pub fn error(place: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.into(), what: what.into(), hint: hint.into() }
    }

    /// A problem the agent starts with, and which loses records.
    pub fn loss(place: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Loss, place: place.into(), what: what.into(), hint: hint.into() }
    }

    /// A problem the agent can live with.
    pub fn warning(place: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place: place.into(), what: what.into(), hint: hint.into() }
    }
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        let count = &mut self.counts[problem.severity as usize];
        *count += 1;
        if *count <= KEPT_MAX {
            self.kept.push(problem);
        }
    }

    /// True if one of them stops the start.
    pub fn has_errors(&self) -> bool {
        self.counts[Severity::Error as usize] > 0
    }

    /// All of them: errors first, otherwise in the order in which they were found.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        for (severity, what) in
            [(Severity::Error, "errors"), (Severity::Loss, "losses"), (Severity::Warning, "warnings")]
        {
            let count = self.counts[severity as usize];
            if count > KEPT_MAX {
                let what = format!("{} more {what}", count - KEPT_MAX);
                self.kept.push(Problem { severity, place: "and".to_owned(), what, hint: String::new() });
            }
        }
        self.kept.sort_by_key(|p| p.severity);
        self.kept
    }
}

/// Text of a configuration as a problem may show it: control characters escaped, not longer than a line.
pub fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut out = String::new();
    for letter in text.chars().take(SHOWN_MAX) {
        match letter {
            '\\' | '"' | '\'' => out.push(letter),
            // Also the letters that turn the direction of writing, which could make a problem say something else.
            _ => out.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        out.push('…');
    }
    out
}

/// The known word that is most like `word`, if one is so like it that it was probably meant: up to a third of the
/// letters differ. Case is not looked at.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // Nobody misspells a word into one of more than 64 letters; the bound keeps a hostile key cheap.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|&(far, candidate)| far <= candidate.len().max(3) / 3)
        .min_by_key(|&(far, _)| far)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped with the next to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut rows: Vec<Vec<usize>> = (0..=one.len()).map(|i| vec![i; other.len() + 1]).collect();
    rows[0] = (0..=other.len()).collect();
    for i in 1..=one.len() {
        for j in 1..=other.len() {
            let changed = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            rows[i][j] = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[one.len()][other.len()]
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        for problem in problems {
            self.push(problem);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Loss => "loss",
            Severity::Warning => "warning",
        };
        write!(f, "{kind}: {}: {}", self.place, self.what)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let known = ["log_group_name", "log_stream_name", "region", "tag"];
        for (word, meant) in [
            ("log_group_nam", Some("log_group_name")),
            ("Log_Grup_Name", Some("log_group_name")),
            ("regoin", Some("region")),
            ("tga", Some("tag")),
            ("gta", None),
            ("tags", Some("tag")),
            ("bucket", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        for (text, out) in [
            ("it's \\ \"plain\"", "it's \\ \"plain\""),
            ("a\n\u{1b}[31m\u{202e}b", "a\\n\\u{1b}[31m\\u{202e}b"),
            ("é ٣ 日本", "é ٣ 日本"),
            (&"x".repeat(61), &("x".repeat(60) + "…")),
        ] {
            assert_eq!(shown(text), out);
        }
    }

    #[test]
    fn a_thousand_problems_are_counted_but_not_kept_and_errors_come_first() {
        let mut problems = Problems::default();
        problems.extend((0..1_000).map(|n| Problem::warning(format!("line {n}"), "odd", "")));
        assert!(!problems.has_errors());
        problems.push(Problem::loss("line 7", "gone", ""));
        problems.push(Problem::error("line 1000", "wrong", ""));
        assert!(problems.has_errors());
        let sorted = problems.into_sorted();
        assert_eq!(sorted.len(), 103);
        assert_eq!(sorted[0].to_string(), "error: line 1000: wrong");
        assert_eq!(sorted[1].to_string(), "loss: line 7: gone");
        assert_eq!(sorted[102].to_string(), "warning: and: 900 more warnings");
    }
}
