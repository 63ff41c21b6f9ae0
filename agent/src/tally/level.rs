//! The level of a log line.
//!
//! ```text
//! {"level":"warn"}   {"severity": "ERROR"}   {"log.level":"info"}   {"level":30}     the first such member, however deep it stands
//! 2026-01-02 03:04:05 [main] INFO  ...                                              a level in capitals
//! [error] ...   Error: ...   level=warn                                             in any letters before a `:` or `]`, or behind `level=`
//! E0102 15:04:05.000000 ...                                                         a letter and four digits at the start (Kubernetes)
//! ```
//!
//! Of JSON the first 4 KiB are looked at, of text the first 64 bytes. Numbers are those of pino and bunyan (10 to 60) or of syslog (0 to 7).
//!
//! What a program writes is alike from line to line, but for digits. So [`Memory`] keeps what stood before the level in the last line, and looks
//! there first: that takes a few nanoseconds where a search takes fifty.
//!
//! Promises: the same line has the same level, whatever the lines before it were; no line costs more than its first 4 KiB.
//! Never: copies a line.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::name::{Level, NAME_BYTES_MAX};

/// Bytes of a text in which a level is looked for: a time, a thread, a name.
const TEXT_BYTES: usize = 64;
/// The same of JSON.
const JSON_BYTES: usize = 4_096;
/// How a colour begins.
const ESCAPE: u8 = 0x1b;
/// Bytes before a level that are kept.
const MEMORY_BYTES: usize = 64;
/// Bytes that are compared at once.
const LANES: usize = 16;
/// Bytes of a text that are looked at: a name may begin where the others end, and what stands behind it counts. A multiple of sixteen.
const LINE_BYTES: usize = (TEXT_BYTES + NAME_BYTES_MAX + 1).next_multiple_of(LANES);

/// Where a level stands, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: Level,
    at: usize,
    form: Form,
}

/// How a level stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Another one than those below.
    #[default]
    Other,
    /// A word in capitals.
    Capitals,
    /// A text of JSON, without its quotes.
    JsonText,
    /// A number of JSON.
    JsonNumber,
}

/// What stood before the level in the last line.
#[derive(Clone, Debug)]
pub struct Memory {
    /// With `0` for every digit.
    before: [u8; MEMORY_BYTES],
    /// All bits of the bytes that count.
    mask: [u8; MEMORY_BYTES],
    /// How many there are.
    at: usize,
    form: Form,
}

impl Default for Memory {
    fn default() -> Self {
        Self { before: [0; MEMORY_BYTES], mask: [0; MEMORY_BYTES], at: 0, form: Form::Other }
    }
}

impl Memory {
    /// The level of `line`.
    #[inline]
    pub fn level(&mut self, line: &[u8]) -> Level {
        match self.known(line) {
            Some(level) => level,
            None => self.search(line),
        }
    }

    /// The level, if it stands where it stood in the last line.
    #[inline]
    fn known(&self, line: &[u8]) -> Option<Level> {
        if self.form == Form::Other || !self.is_alike(line) {
            return None;
        }
        let behind = &line[self.at..];
        match self.form {
            Form::Other => None,
            Form::Capitals => Level::in_capitals(word(behind)),
            Form::JsonText => {
                let word = word(behind);
                Level::named(word).filter(|_| behind.get(word.len()) == Some(&b'"'))
            }
            Form::JsonNumber => number(behind),
        }
    }

    /// True if what stands before the level is the same but for digits.
    #[inline]
    fn is_alike(&self, line: &[u8]) -> bool {
        let compared = self.at.next_multiple_of(LANES);
        let Some(start) = line.get(..compared) else { return false };
        let (known, masks) = (self.before.chunks_exact(LANES), self.mask.chunks_exact(LANES));
        start.chunks_exact(LANES).zip(known).zip(masks).all(|((line, known), mask)| {
            // Without a branch, so that all bytes are compared at once.
            let mut differs = 0;
            for place in 0..LANES {
                differs |= (without_digit(line[place]) ^ known[place]) & mask[place];
            }
            differs == 0
        })
    }

    #[cold]
    fn search(&mut self, line: &[u8]) -> Level {
        let Some(Place { level, at, form }) = find(line) else { return Level::None };
        let is_json = matches!(form, Form::JsonText | Form::JsonNumber);
        // A member before it that says no level may say one in the next line, which differs in a digit.
        let is_first = || MEMBERS.iter().map(|name| name.find_iter(&line[..at]).count()).sum::<usize>() == 1;
        let is_kept = at <= MEMORY_BYTES && (!is_json || is_first());
        self.form = if is_kept { form } else { Form::Other };
        if self.form != Form::Other {
            self.at = at;
            self.mask.fill(0);
            self.mask[..at].fill(u8::MAX);
            for (known, byte) in self.before.iter_mut().zip(&line[..at]) {
                *known = without_digit(*byte);
            }
        }
        level
    }
}

#[inline]
fn without_digit(byte: u8) -> u8 {
    if byte.wrapping_sub(b'0') < 10 { b'0' } else { byte }
}

/// Where the level of a line stands.
fn find(line: &[u8]) -> Option<Place> {
    let blanks = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
    match line.get(blanks) {
        Some(b'{') => in_json(&line[..line.len().min(JSON_BYTES)]),
        _ => in_text(line),
    }
}

/// The letters and digits at the start of `bytes`, at most one more than a name has.
#[inline]
fn word(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(NAME_BYTES_MAX + 1)];
    let end = bytes.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The level that the number at the start of `bytes` is, which something must follow.
#[inline]
fn number(bytes: &[u8]) -> Option<Level> {
    let number = word(bytes);
    let is_number = (1..=2).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    if !is_number || !matches!(bytes.get(number.len()), Some(b',' | b'}' | b' ')) {
        return None;
    }
    Level::numbered(f64::from(number.iter().fold(0_u8, |value, digit| value * 10 + (digit - b'0'))))
}

/// Names of members that say the level, but for the quote before.
static MEMBERS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [&b"level\""[..], b"severity\""].map(|name| Finder::new(name).into_owned()));

fn in_json(text: &[u8]) -> Option<Place> {
    let first_of = |name: &Finder<'_>| name.find_iter(text).find_map(|at| member(text, at, at + name.needle().len()));
    let places = MEMBERS.iter().filter_map(first_of);
    places.min_by_key(|place| place.at)
}

/// The level that a member says whose name ends, with its quote, at `end`.
fn member(text: &[u8], at: usize, end: usize) -> Option<Place> {
    // A quote within a text has a backslash before it, so that this is a name, or a text that no colon follows.
    if !text[..at].ends_with(b"\"") && !text[..at].ends_with(b"\"log.") {
        return None;
    }
    let blanks = |from: usize| from + text[from..].iter().position(|byte| *byte != b' ').unwrap_or(0);
    let colon = blanks(end);
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let at = blanks(colon + 1);
    if text.get(at) == Some(&b'"') {
        let word = word(&text[at + 1..]);
        let level = Level::named(word).filter(|_| text.get(at + 1 + word.len()) == Some(&b'"'))?;
        return Some(Place { level, at: at + 1, form: Form::JsonText });
    }
    number(&text[at..]).map(|level| Place { level, at, form: Form::JsonNumber })
}

fn in_text(line: &[u8]) -> Option<Place> {
    if let Some(level) = of_kubernetes(line) {
        return Some(Place { level, at: 0, form: Form::Other });
    }
    where_it_may_be(line)
}

/// As much of a text as is looked at.
#[inline]
fn looked_at(line: &[u8]) -> &[u8] {
    &line[..line.len().min(TEXT_BYTES + NAME_BYTES_MAX + 1)]
}

/// Looks at the words that may be levels by what stands around them. Most lines have one or two such, or none.
fn where_it_may_be(line: &[u8]) -> Option<Place> {
    let text = looked_at(line);
    let (may_be, first) = match line.first_chunk::<{ LINE_BYTES + 2 }>() {
        // A long line is looked at where it lies, from its second byte on. What is not looked at behind makes no word a level.
        Some(long) if long[0] == ESCAPE => return word_by_word(text),
        Some(long) => {
            let found = if is_capital(long[0]) & is_capital(long[1]) { word_at(text, 0) } else { None };
            if found.is_some() {
                return found;
            }
            (may_be(long), 1)
        }
        None => {
            // A blank before, and at least one behind.
            let mut around = [b' '; LINE_BYTES + 2];
            around[1..=text.len()].copy_from_slice(text);
            (may_be(&around), 0)
        }
    };
    for (number, eight) in may_be.chunks_exact(8).enumerate() {
        if eight == [0; 8] {
            continue;
        }
        for place in (number * 8..number * 8 + 8).filter(|place| may_be[*place] != 0).map(|place| place + first) {
            let at = match *text.get(place)? {
                // A colour has letters in it, which begin no word.
                ESCAPE => return word_by_word(text),
                b'=' => place + 1 + usize::from(text.get(place + 1) == Some(&b'"')),
                _ => {
                    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric();
                    place - text[..place].iter().rev().take_while(is_part).count()
                }
            };
            if let Some(found) = word_at(text, at) {
                return Some(found);
            }
        }
    }
    None
}

/// Of each byte between the first and the last: not 0 if it may be one of a level, a `=` before one, or an escape.
#[inline]
fn may_be(around: &[u8; LINE_BYTES + 2]) -> [u8; LINE_BYTES] {
    let mut may_be = [0; LINE_BYTES];
    for (place, may_be) in may_be.iter_mut().enumerate() {
        let (before, here, behind) = (around[place], around[place + 1], around[place + 2]);
        // Without a branch, so that sixteen bytes are looked at at once.
        let begins = is_letter(here) & !(is_letter(before) | is_digit(before));
        // No name begins with `G` or `H`, as the first words of requests and protocols do, or with `J` to `M`.
        let is_capitals =
            is_capital(here) & is_capital(behind) & (here.wrapping_sub(b'G') > 1) & (here.wrapping_sub(b'J') > 3);
        let ends = is_letter(here) & matches_one(behind, b':', b']');
        let is_key = (here == b'=') & (is_letter(behind) | (behind == b'"'));
        *may_be = u8::from(begins & is_capitals | ends | is_key | (here == ESCAPE));
    }
    may_be
}

/// The level that the word beginning at `at` is.
#[inline]
fn word_at(text: &[u8], at: usize) -> Option<Place> {
    if at >= TEXT_BYTES || !is_letter(*text.get(at)?) {
        return None;
    }
    judged(text, at, run(text, at)).map(|(level, form)| Place { level, at, form })
}

#[inline]
const fn is_letter(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26
}

#[inline]
const fn is_capital(byte: u8) -> bool {
    byte.wrapping_sub(b'A') < 26
}

#[inline]
const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}

#[inline]
const fn matches_one(byte: u8, one: u8, other: u8) -> bool {
    (byte == one) | (byte == other)
}

/// Looks at one word after the other.
fn word_by_word(text: &[u8]) -> Option<Place> {
    let (mut at, end) = (0, text.len().min(TEXT_BYTES));
    while at < end {
        if text[at] == ESCAPE {
            at = behind_colour(text, at);
        } else if text[at].is_ascii_alphanumeric() {
            let run = run(text, at);
            if let Some((level, form)) = judged(text, at, run) {
                return Some(Place { level, at, form });
            }
            at += run;
        } else {
            at += 1;
        }
    }
    None
}

/// How many letters and digits begin at `at`.
fn run(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
}

/// The level that the word of so many bytes is, by what stands around it.
fn judged(text: &[u8], at: usize, run: usize) -> Option<(Level, Form)> {
    let word = &text[at..at + run];
    // Most words end here: there is no shorter name of a level.
    if !(3..=NAME_BYTES_MAX).contains(&run) {
        return None;
    }
    if word[0].is_ascii_uppercase()
        && let Some(level) = Level::in_capitals(word)
    {
        return Some((level, Form::Capitals));
    }
    if !matches!(text.get(at + run), Some(b':' | b']')) && !matches!(text[..at].last(), Some(b'=' | b'"')) {
        return None;
    }
    let before = text[..at].strip_suffix(b"\"").unwrap_or(&text[..at]);
    let is_said = matches!(text.get(at + run), Some(b':' | b']'))
        || [&b"level="[..], b"lvl=", b"severity="].iter().any(|key| before.ends_with(key));
    Level::named(word).filter(|_| is_said).map(|level| (level, Form::Other))
}

/// Where the text goes on behind the escape sequence at `at`.
fn behind_colour(text: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| (0x40..=0x7e).contains(byte) && *byte != b'[';
    text[at..].iter().position(is_end).map_or(text.len(), |length| at + length + 1)
}

/// `I0102 15:04:05`: the first letter of the level, month and day.
fn of_kubernetes(text: &[u8]) -> Option<Level> {
    let (&letter, rest) = text.split_first()?;
    let is_date = rest.get(..5).is_some_and(|rest| rest[..4].iter().all(u8::is_ascii_digit) && rest[4] == b' ');
    let level = match letter {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        b'D' => Level::Debug,
        _ => return None,
    };
    is_date.then_some(level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What known libraries write, and what only looks like it.
    const LINES: [(&str, Level); 56] = [
        ("2026-01-02 03:04:05,678 INFO  [main] com.example.Shop - an ERROR is not one", Level::Info),
        ("2026-01-02T03:04:05.678Z  WARN 1 --- [nio-8080-exec-1] o.s.web : slow", Level::Warn),
        ("[2026-01-02T03:04:05Z ERROR shop::cart] no stock", Level::Error),
        ("WARNING:root:disk", Level::Warn),
        ("2026/01/02 03:04:05 [error] 31#31: *1 open() failed", Level::Error),
        ("[Fri Jan 02 03:04:05 2026] [core:notice] [pid 1] AH00094", Level::Info),
        ("time=2026-01-02T03:04:05Z level=warn msg=slow", Level::Warn),
        ("time=\"2026-01-02\" level=\"fatal\" msg=over", Level::Fatal),
        ("ts=1 lvl=eror", Level::None),
        ("ts=1 lvl=err", Level::Error),
        ("severity=Critical x", Level::Fatal),
        ("I0102 03:04:05.678901       1 server.go:12] started", Level::Info),
        ("E0102 03:04:05.678901       1 server.go:12] broke", Level::Error),
        ("E010203:04:05", Level::None),
        ("info: Microsoft.Hosting.Lifetime[14]", Level::Info),
        ("fail: Microsoft.Hosting.Lifetime[14]", Level::Error),
        ("dbug: x", Level::Debug),
        ("[03:04:05 INF] started", Level::Info),
        ("I, [2026-01-02T03:04:05.678901 #1]  INFO -- : hello", Level::Info),
        ("Error: cannot find module", Level::Error),
        ("\x1b[32mINFO\x1b[0m started", Level::Info),
        ("\x1b[2m2026-01-02T03:04:05Z\x1b[0m \x1b[31mERROR\x1b[0m shop: x", Level::Error),
        ("no error was found", Level::None),
        ("An Error occurred", Level::None),
        ("INFORMATIVE words", Level::None),
        ("XINFO", Level::None),
        ("INFO", Level::Info),
        ("", Level::None),
        ("   ", Level::None),
        ("\x1b", Level::None),
        ("\x1b[", Level::None),
        ("10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] \"GET / HTTP/1.1\" 200 12", Level::None),
        (r#"{"time":"2026-01-02T03:04:05Z","level":"info","msg":"x"}"#, Level::Info),
        (r#"{"level":"WARNING"}"#, Level::Warn),
        (r#"  {"severity" : "Error", "message": "x"}"#, Level::Error),
        (r#"{"@timestamp":"2026","log.level":"debug","message":"x"}"#, Level::Debug),
        (r#"{"log":{"level":"trace"}}"#, Level::Trace),
        (r#"{"level":30,"time":1767323045678,"pid":1,"msg":"x"}"#, Level::Info),
        (r#"{"level":50}"#, Level::Error),
        (r#"{"level": 3}"#, Level::Error),
        (r#"{"level":31}"#, Level::None),
        (r#"{"level":30.5}"#, Level::None),
        (r#"{"level":-1}"#, Level::None),
        (r#"{"level":300}"#, Level::None),
        (r#"{"level":"info"#, Level::None),
        (r#"{"level":"infoo"}"#, Level::None),
        (r#"{"level"#, Level::None),
        (r#"{"level":"#, Level::None),
        (r#"{"loglevel":"info"}"#, Level::None),
        (r#"{"message":"\"level\":\"error\"","level":"info"}"#, Level::Info),
        (r#"{"key":"level","severity":"warn"}"#, Level::Warn),
        (r#"{"level":"odd","severity":"warn"}"#, Level::Warn),
        (r#"{"severity":"warn","level":"error"}"#, Level::Warn),
        (r#"{"level":31,"severity":"warn"}"#, Level::Warn),
        (r#"{"level":30,"severity":"warn"}"#, Level::Info),
        (r#"{"a":1}"#, Level::None),
    ];

    #[test]
    fn levels_are_found_where_libraries_write_them() {
        for (line, level) in LINES {
            assert_eq!(Memory::default().level(line.as_bytes()), level, "{line}");
        }
    }

    /// What stood in the last line leads nowhere else: also not where it is alike.
    #[test]
    fn a_line_has_the_same_level_behind_any_other() {
        let all = || LINES.iter().flat_map(|(line, level)| [(*line, *level), (*line, *level)]);
        for (first, _) in LINES {
            let mut memory = Memory::default();
            memory.level(first.as_bytes());
            for (line, level) in all() {
                assert_eq!(memory.level(line.as_bytes()), level, "`{line}` behind `{first}`");
            }
        }
    }

    #[test]
    fn what_is_alike_is_not_searched_again() {
        for (first, second, level) in [
            ("2026-01-02 03:04:05,678 INFO  [main] x", "2027-11-12 13:14:15,999 FATAL [main] y", Level::Fatal),
            (
                r#"{"time":"2026-01-02","level":"info","msg":"x"}"#,
                r#"{"time":"2031-12-12","level":"ERR","x":1}"#,
                Level::Error,
            ),
            (r#"{"level":30,"time":1767323045678}"#, r#"{"level":60,"time":1}"#, Level::Fatal),
        ] {
            let mut memory = Memory::default();
            memory.level(first.as_bytes());
            assert_eq!(memory.known(second.as_bytes()), Some(level), "{second}");
        }
    }

    #[test]
    fn a_level_far_behind_is_not_found() {
        let text = format!("{} INFO", "x".repeat(TEXT_BYTES));
        assert_eq!(Memory::default().level(text.as_bytes()), Level::None);
        let json = format!("{{\"x\":\"{}\",\"level\":\"info\"}}", "y".repeat(JSON_BYTES));
        assert_eq!(Memory::default().level(json.as_bytes()), Level::None);
        let near = format!("{} INFO", "x".repeat(TEXT_BYTES - 2));
        assert_eq!(Memory::default().level(near.as_bytes()), Level::Info, "it may end behind");
    }

    #[test]
    fn severities_of_opentelemetry_are_four_a_level() {
        for (number, level) in [
            (0.0, None),
            (1.0, Some(Level::Trace)),
            (4.0, Some(Level::Trace)),
            (5.0, Some(Level::Debug)),
            (9.0, Some(Level::Info)),
            (13.0, Some(Level::Warn)),
            (17.0, Some(Level::Error)),
            (24.0, Some(Level::Fatal)),
            (25.0, None),
            (9.5, None),
            (f64::NAN, None),
        ] {
            assert_eq!(Level::of_severity(number), level, "{number}");
        }
    }

    proptest! {
        /// Any lines, one after the other: each has the level that it has alone.
        #[test]
        fn property_memory_changes_no_level(
            lines in prop::collection::vec(
                "[ 0-9:.\\[\\]-]{0,24}(INFO|WARN|error|ERROR|info)?[:\\] ]?[a-z]{0,8}|\\{(\"[a-z]{1,3}\":[0-9]{1,3},)?\"(level|severity|log.level)\":(\"(info|WARN|x)\"|[0-9]{1,3})\\}|.{0,24}",
                0..12,
            ),
        ) {
            let mut memory = Memory::default();
            for line in lines {
                prop_assert_eq!(memory.level(line.as_bytes()), Memory::default().level(line.as_bytes()), "{}", line);
            }
        }

        /// The short way finds what the long one does.
        #[test]
        fn property_looking_where_a_level_may_be_misses_none(
            text in "([ =:\\[\\]\"./-]|level=|lvl=\"|INFO|WARN|error|Warning|ERR|FATAL|GET|\\x1b\\[3[0-9]m|[a-zA-Z0-9]{1,12}|.){0,24}",
        ) {
            prop_assert_eq!(where_it_may_be(text.as_bytes()), word_by_word(looked_at(text.as_bytes())));
        }

        #[test]
        fn property_no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
            let mut memory = Memory::default();
            for line in lines {
                memory.level(&line);
            }
        }
    }
}
