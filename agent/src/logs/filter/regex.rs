//! Regular expressions as Fluent Bit's users write them: Ruby's dialect (Onigmo), found anywhere in the text.
//!
//! Promises: an expression that Fluent Bit takes means the same here, or is refused when the configuration is read;
//! matching is linear in the text, but for look-around, back references and atomic groups, where it gives up after
//! [`BACKTRACK_MAX`] steps and says "no match".
//! Never: matches bytes that are not UTF-8 as if they were: each broken piece counts as one U+FFFD.
//!
//! `ruby` translates; the `regex` crate runs what it can (86 of the 89 valid expressions in AWS's own examples),
//! `fancy-regex` the rest. One difference is left to the matching: Ruby's `^` does not match behind the last newline of
//! a text, so `^$` does not find an empty line at the end of `"text\n"`.

use std::fmt::{self, Display};

use super::ruby::{self, Options, Target};

/// Steps back that one match may take. fancy-regex's own default, 1,000,000, would hold up the other connections.
pub const BACKTRACK_MAX: usize = 20_000;
/// The longest expression, in bytes. Far above any that a person writes; it bounds the work of translating.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Memory of one compiled expression, and again of the tables made while it runs.
const COMPILED_BYTES_MAX: usize = 2 << 20;

/// A compiled expression.
#[derive(Clone)]
pub struct Regex {
    pattern: Box<str>,
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    /// Linear. `behind_newline` decides when the text ends with a newline and the expression holds `^`.
    Linear { regex: regex::Regex, behind_newline: Option<Box<fancy_regex::Regex>> },
    /// Needs to go back.
    Backtracking(Box<fancy_regex::Regex>),
}

impl Regex {
    /// Compiles `pattern`: either the bare expression or `/expression/` with the options `i`, `m`, `x` behind it.
    /// The error says what is wrong and, if we can guess, what was meant.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("the expression has {} bytes; at most {PATTERN_BYTES_MAX} are allowed", pattern.len()));
        }
        let (body, options) = unwrap_slashes(pattern);
        let linear = ruby::translate(body, options, Target::Linear)?;
        let engine = if linear.must_backtrack {
            Engine::Backtracking(Box::new(backtracking(pattern, body, options)?))
        } else {
            let regex = regex::RegexBuilder::new(&linear.text)
                .multi_line(true)
                .dot_matches_new_line(options.dot_matches_newline)
                .case_insensitive(options.ignore_case)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit(COMPILED_BYTES_MAX)
                .build()
                .map_err(|error| refusal(pattern, &error))?;
            let behind_newline = match linear.has_line_start {
                true => Some(Box::new(backtracking(pattern, body, options)?)),
                false => None,
            };
            Engine::Linear { regex, behind_newline }
        };
        Ok(Self { pattern: pattern.into(), engine })
    }

    /// True if the expression is found anywhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        match &self.engine {
            Engine::Linear { regex, behind_newline } => {
                regex.is_match(&text)
                    && match behind_newline {
                        Some(strict) if text.ends_with('\n') => found(strict, &text),
                        _ => true,
                    }
            }
            Engine::Backtracking(regex) => found(regex, &text),
        }
    }

    /// What the user wrote.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.pattern).finish()
    }
}

/// A match that takes too many steps is none.
fn found(regex: &fancy_regex::Regex, text: &str) -> bool {
    regex.is_match(text).unwrap_or(false)
}

fn backtracking(pattern: &str, body: &str, options: Options) -> Result<fancy_regex::Regex, String> {
    let translated = ruby::translate(body, options, Target::Backtracking)?;
    fancy_regex::RegexBuilder::new(&translated.text)
        .multi_line(true)
        .dot_matches_new_line(options.dot_matches_newline)
        .case_insensitive(options.ignore_case)
        .backtrack_limit(BACKTRACK_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .delegate_dfa_size_limit(COMPILED_BYTES_MAX)
        .max_prog_size(10_000)
        .build()
        .map_err(|error| refusal(pattern, &error))
}

/// The engines explain themselves over several lines with a drawing; the last one is the point.
fn refusal(pattern: &str, error: &dyn Display) -> String {
    let error = error.to_string();
    let last = error.lines().last().unwrap_or_default();
    format!("`{pattern}` is not a regular expression: {}", last.trim_start_matches("error: "))
}

/// Takes `/expression/imx` apart as Fluent Bit does: options count only if all of them are known, and a lone pair of
/// slashes is taken off.
fn unwrap_slashes(pattern: &str) -> (&str, Options) {
    if let Some(inner) = pattern.strip_prefix('/')
        && let Some((body, letters)) = inner.rsplit_once('/')
    {
        let mut options = Options::default();
        for letter in letters.chars() {
            match letter {
                'i' => options.ignore_case = true,
                'm' => options.dot_matches_newline = true,
                'x' => options.extended = true,
                'o' => {}
                _ => return (pattern, Options::default()),
            }
        }
        // `o` alone is no option to Fluent Bit, so `/a/o` is the text `/a/o`.
        if letters.is_empty() || options != Options::default() {
            return (body, options);
        }
    }
    (pattern, Options::default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matches: &[&str], others: &[&str]) {
        let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in matches {
            assert!(regex.is_match(text.as_bytes()), "`{pattern}` is in {text:?}");
        }
        for text in others {
            assert!(!regex.is_match(text.as_bytes()), "`{pattern}` is not in {text:?}");
        }
    }

    #[test]
    fn anchors_are_those_of_lines_and_a_last_newline_starts_none() {
        check("^b$", &["b", "a\nb", "b\nc", "a\nb\n"], &["ab", "b\r"]);
        check("^$", &["", "\nx", "a\n\nb"], &["a", "a\n", "abc\n"]);
        check("^", &["", "a\n"], &[]);
        check("a$|^$", &["a\n", "a"], &["b\n"]);
        check(r"\Aa\z", &["a"], &["a\n", "b\na"]);
        check(r"a\Z", &["a", "a\n"], &["a\n\n", "ab"]);
        check("a.b", &["axb", "aéb"], &["a\nb"]);
    }

    #[test]
    fn options_stand_behind_slashes_or_inside() {
        check("/a.b/m", &["a\nb"], &["A\nb"]);
        check("/A.b/i", &["a-B"], &["a\nb"]);
        check("/a b # comment\n c/x", &["abc"], &["a bc"]);
        check("/a [ ]b/mix", &["A B"], &["ab"]);
        check("/abc/", &["xabcx"], &["/ab/"]);
        // Not options, so the slashes are text.
        check("/var/log/app", &["/var/log/app.txt"], &["var/log/app.txt"]);
        check("/a/o", &["/a/o"], &["a"]);
        check("/", &["a/b"], &["ab"]);
        // To the end of the group, across `|`.
        check("a(?i)b|c", &["aB", "aC"], &["C", "Ab", "c"]);
        check("(?:(?i)b|c)D", &["BD", "CD"], &["Cd"]);
        check("x(?m:.)(?-i:y)", &["x\ny"], &["x\nY"]);
        check("(?x) a b (?-x: c)", &["ab c"], &["abc"]);
        check("a(?#nothing)b", &["ab"], &[]);
    }

    #[test]
    fn braces_that_start_no_interval_are_themselves() {
        check(r#"^{"level":"error"}$"#, &[r#"{"level":"error"}"#], &["level"]);
        check("{a", &["{a"], &["a"]);
        check("a{,2}b{1}c{2,}d{0,1}", &["bccd", "aabccc"], &["bcd"]);
        check("^a{2}?$", &["", "aa"], &["a"]);
        check("^(?:a{1,2}+)$", &["aaaaa"], &["b"]);
        check("x{,}", &["x{,}"], &["x"]);
        check("a}b]", &["a}b]"], &["ab"]);
    }

    #[test]
    fn classes_are_read_as_ruby_reads_them() {
        check(r"^[\w-.]+$", &["a-b.c"], &["a b"]);
        check("^[]a]+$", &["]a"], &["b"]);
        check("^[^]]$", &["a"], &["]"]);
        check("^[a-c-]+$", &["a-c"], &["d"]);
        check("^[a&~-]+$", &["a&~-"], &["b"]);
        check("^[a-z&&[^b]]+$", &["ac"], &["ab"]);
        check("^[[:alpha:][:digit:]_]+$", &["aZ9_"], &["-"]);
        check("^[[:^alpha:]]$", &["1"], &["a"]);
        check(r"^\h+$", &["09afAF"], &["g"]);
        check(r"^[\h:]+\H$", &["ff:0x"], &["ff:0f"]);
        // ASCII, unlike the engines' own.
        check(r"^\d$", &["7"], &["٧"]);
        check(r"^\w\W$", &["aé"], &["éa"]);
        check(r"^[^\s\D]$", &["7"], &[" ", "x"]);
        check(r"^\p{Alpha}\P{^Digit}$", &["a1"], &["1a"]);
        check(r"^[\x41-\x43\u00e9\xC3\xA8\n\b]+$", &["ABCéè\n\u{8}"], &["D"]);
        check(r"[\[\]]\/\-\<\>\@\_", &[r"[/-<>@_"], &["x"]);
        check(r"\e\a\f\v\0\101\t", &["\u{1b}\u{7}\u{c}\u{b}\0A\t"], &[]);
        check(r"^a\Rb$", &["a\r\nb", "a\nb"], &["ab"]);
        check("/[#  ]x # c/x", &["#x", " x"], &["ax"]);
    }

    #[test]
    fn look_around_and_its_like_go_to_the_other_engine() {
        check(r"^(?!.*healthz).*GET", &["GET /"], &["GET /healthz"]);
        check(r"(?<!un)known", &["known"], &["unknown"]);
        check(r"foo(?=bar)", &["foobar"], &["foobaz"]);
        check(r"(a|b)\1", &["aa"], &["ab"]);
        check(r"(?<x>a|b)(c)\k<x>", &["aca"], &["acb"]);
        check(r"^a++a", &[], &["aaa"]);
        check(r"^(?>a*)ab", &[], &["aab"]);
        check(r"(?!x)^$", &["", "\na"], &["a\n"]);
        check(r"(?=a)a\Z", &["a\n"], &["ab"]);
    }

    /// Two equal names, names with other characters, and plain groups beside them: all of it only groups.
    #[test]
    fn named_groups_are_taken_as_ruby_writes_them() {
        check(r"(?<a>x)(?<a>y)(?'b-c'z)(w)", &["xyzw"], &["xyz"]);
        check(
            r"^(?<time>.+?) (?<stream>stdout|stderr) (?<_p>F|P) (?<log>.*)$",
            &["2024-01-01T00:00:00.1Z stdout F hello"],
            &["2024 stdin F x"],
        );
    }

    /// Every rule of Fluent Bit's built-in multiline parsers, which users copy into their own files.
    #[test]
    fn the_built_in_rules_of_fluent_bit_are_understood() {
        for (pattern, text) in [
            (r"/(.)(?:Exception|Error|Throwable|V8 errors stack trace)[:\r\n]/", "java.lang.RuntimeException: x"),
            (r"/^[\t ]*nested exception is:[\t ]*/", "  nested exception is: y"),
            (r"/^[\r\n]*$/", "\r"),
            (r"/^[\t ]+(?:eval )?at /", "\tat com.example"),
            (r"/^[\t ]+--- End of inner exception stack trace ---$/", " --- End of inner exception stack trace ---"),
            (r"/^[\t ]*(?:Caused by|Suppressed):/", "Caused by: z"),
            (r"/^[\t ]*... \d+ (?:more|common frames omitted)/", "\t... 7 more"),
            (r"/^Traceback \(most recent call last\):$/", "Traceback (most recent call last):"),
            (r"/^[\t ]+File /", "  File \"x\""),
            (r"/[^\t ]/", "x"),
            (r"/^(?:[^\s.():]+\.)*[^\s.():]+:/", "a.b.ValueError: x"),
            (r"/\bpanic: /", "2024 panic: x"),
            (r"/http: panic serving/", "http: panic serving 1"),
            (r"/^\[signal /", "[signal SIGSEGV"),
            (r"/^goroutine \d+ \[[^\]]+\]:$/", "goroutine 1 [running]:"),
            (r"/^(?:[^\s.:]+\.)*[^\s.():]+\(|^created by /", "main.main("),
            (r"/^\s/", " x"),
            (r"/^.+:\d+:in\s+.*/", "a.rb:1:in `x'"),
            (r"/^\s+from\s+.*:\d+:in\s+.*/", "  from a.rb:1:in `x'"),
            (
                r#"/^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?$/"#,
                r#"1.2.3.4 - bob [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326"#,
            ),
            (
                r"^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$",
                "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            ),
        ] {
            check(pattern, &[text], &[]);
        }
    }

    #[test]
    fn what_ruby_refuses_is_refused_with_a_reason() {
        for (pattern, reason) in [
            ("*failure*", "nothing does; to find a text anywhere write it without `*`"),
            ("a|*", "nothing does"),
            ("(+a)", "nothing does"),
            ("{2}", "nothing does"),
            ("(a", "a `(` has no `)`"),
            ("a)", "write `\\)` for the character"),
            ("[a", "write `\\[` for the character"),
            ("[]", "the class `[]` is empty"),
            ("[b-a]", "the range `b-a` in a class is empty"),
            ("a\\", "nothing follows the last `\\`"),
            (r"\xFF", "must form a UTF-8 character"),
            (r"\p{Greek}", "`\\p{Greek}` is not supported"),
            ("(?~a)", "`(?~` is not supported"),
            ("(?q)", "`(?q` is not supported"),
            ("(?<a", "a `>` is missing"),
            (r"\k", "needs a name"),
            ("a{99999}{99999}", "size limit"),
        ] {
            let error = Regex::new(pattern).expect_err(pattern);
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        let deep = [&"(".repeat(5_000)[..], &")".repeat(5_000)].concat();
        assert_eq!(Regex::new(&deep).unwrap_err(), "more than 100 groups in each other");
        assert_eq!(Regex::new(&"[a".repeat(5_000)).unwrap_err(), "more than 100 classes `[...]` in each other");
        assert!(Regex::new(&"a".repeat(20_000)).unwrap_err().contains("20000 bytes"));
    }

    /// A text that is not UTF-8 (Docker cuts lines at 16 KiB, inside a character) still matches where it is text.
    #[test]
    fn broken_utf8_counts_as_characters() {
        let regex = Regex::new("^.*error.*$").expect("compiles");
        assert!(regex.is_match(b"\xFF error \xE2\x82"));
        assert!(!regex.is_match(b"\xFF err\xFFor"));
    }

    /// Exponential in a backtracking engine: gives up, says no, and does so before anyone waits for it.
    #[test]
    fn a_match_that_takes_too_many_steps_is_none() {
        let regex = Regex::new(r"^(?!x)(a+)+\1$").expect("compiles");
        let started = std::time::Instant::now();
        assert!(!regex.is_match(["a".repeat(5_000), "b".to_owned()].concat().as_bytes()));
        assert!(started.elapsed() < std::time::Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn property_no_expression_and_no_text_makes_it_panic(
            pattern in r"([a-c.^$*+?{},0-3|()\[\]\\\-&:=!<>#/ imxdswhzZAGkgpRnub]|\(\?|\[\[:|\(\?<)*",
            text in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(regex) = Regex::new(&pattern) {
                let _ = regex.is_match(&text);
            }
        }

        #[test]
        fn property_a_text_without_special_characters_finds_itself(text in "[a-zA-Z0-9 _:,;@%\"'é=~&<>!-]{0,30}", around in "[a-z\n]{0,5}") {
            let regex = Regex::new(&text).unwrap();
            let found = regex.is_match(format!("{around}{text}{around}").as_bytes());
            prop_assert!(found);
        }
    }
}
