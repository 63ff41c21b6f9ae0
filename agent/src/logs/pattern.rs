//! `Match`: which tags a filter or an output applies to.
//!
//! Promises: the meaning of Fluent Bit's `Match` (`*` stands for any text, anywhere, any number of times, case matters)
//! and `Match_Regex`; matching is linear in the tag's length times the number of stars.
//! Never: is asked per record. Routes ask once per tag.

use std::sync::Arc;

use serde::Deserialize;

use super::filter::regex::Regex;

/// A pattern of tags.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub enum Pattern {
    /// Text with `*` for any text.
    Wildcard(String),
    /// A regular expression in Ruby's dialect, found anywhere in the tag.
    Regex(Arc<Regex>),
    /// No tag at all: a Fluent Bit section without `Match`.
    Nothing,
}

impl Default for Pattern {
    fn default() -> Self {
        Self::Wildcard("*".to_owned())
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self::Wildcard(text)
    }
}

impl Pattern {
    /// True if records with this tag are meant.
    pub fn fits(&self, tag: &str) -> bool {
        match self {
            Self::Wildcard(pattern) => wildcard(pattern.as_bytes(), tag.as_bytes()),
            Self::Regex(regex) => regex.is_match(tag.as_bytes()),
            Self::Nothing => false,
        }
    }
}

/// Matches greedily and goes back to the last star only, which suffices: an earlier star never needs to take more.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, tag, fits) in [
            ("*", "", true),
            ("*", "app-firelens-0123", true),
            ("app-firelens*", "app-firelens-0123", true),
            ("app-firelens*", "app-firelens-x-firelens-0123", true),
            ("app-firelens*", "App-firelens-0123", false),
            ("app", "app", true),
            ("app", "app2", false),
            ("*.log.*", "a.log.log.b", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXcX", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::from(pattern.to_owned()).fits(tag), fits, "`{pattern}` on `{tag}`");
        }
        assert!(!Pattern::Nothing.fits(""));
    }

    #[test]
    fn a_regular_expression_is_found_anywhere_in_the_tag() {
        let pattern = |text| Pattern::Regex(Arc::new(Regex::new(text).expect("reads")));
        assert!(pattern("^app-\\h+$").fits("app-0af"), "\\h is a hexadecimal digit to Ruby");
        assert!(pattern("(?<name>web|api)").fits("my-api-1") && !pattern("^api").fits("my-api-1"));
    }

    /// Many stars cost their number times the tag's length, not an exponential.
    #[test]
    fn many_stars_do_not_explode() {
        assert!(!Pattern::from("*a".repeat(2_000) + "b").fits(&"a".repeat(20_000)));
    }
}
