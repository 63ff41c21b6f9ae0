//! Translates a regular expression from Ruby's dialect (Onigmo, as Fluent Bit sets it up) to that of our two engines.
//!
//! Promises: what cannot be translated is refused with a reason; the output's length is a small multiple of the
//! input's.
//! Never: relies on an engine's reading of `x`, of nested classes' special characters, or of Unicode classes: all of
//! that is resolved here.
//!
//! Where the dialects differ (Onigmo's `doc/RE`, `regsyntax.c`):
//! - `^` and `$` are always line anchors; `.` excludes the newline unless option `m` (the engines call that `s`);
//! - `\d \s \w \h` are ASCII; `\Z` is the end or before a last newline; `\G` is the start;
//! - a `{` that starts no interval is itself; `{,n}` is `{0,n}`; `{n}?` is an optional `{n}`; `{n,m}+` is a repetition
//!   of a repetition, while `*+ ++ ?+` are possessive;
//! - `(?i)` lasts to the end of its group, across `|`; plain groups do not capture once one is named;
//! - `-`, `~` and a first `]` in a class are themselves.

mod class;

use class::short_class;

/// The options behind `/expression/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) ignore_case: bool,
    pub(super) dot_matches_newline: bool,
    pub(super) extended: bool,
}

/// For which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The `regex` crate: no look-around.
    Linear,
    /// `fancy-regex`.
    Backtracking,
}

/// An expression for one of our engines.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    /// It holds look-around, a back reference, an atomic group or a possessive repetition.
    pub(super) must_backtrack: bool,
    /// It holds `^`.
    pub(super) has_line_start: bool,
}

/// Groups and classes in each other. Each level costs the engines a stack frame.
const DEPTH_MAX: usize = 100;

/// Translates `pattern`.
pub(super) fn translate(pattern: &str, options: Options, target: Target) -> Result<Translated, String> {
    let input: Vec<char> = pattern.chars().collect();
    let named = has_named_group(&input);
    let mut translator = Translator {
        input,
        at: 0,
        target,
        named,
        names: Vec::new(),
        extended: options.extended,
        groups: vec![Group { extended: options.extended, extra: 0 }],
        repeatable: false,
        out: Translated {
            text: String::with_capacity(pattern.len() + 16),
            must_backtrack: false,
            has_line_start: false,
        },
    };
    translator.run()?;
    Ok(translator.out)
}

/// True if plain groups do not capture.
fn has_named_group(input: &[char]) -> bool {
    input
        .windows(4)
        .any(|w| matches!(w, ['(', '?', '<', c] if !matches!(c, '=' | '!')) || matches!(w, ['(', '?', '\'', _]))
}

struct Translator {
    input: Vec<char>,
    at: usize,
    target: Target,
    named: bool,
    names: Vec<String>,
    extended: bool,
    groups: Vec<Group>,
    /// What was written last can be repeated.
    repeatable: bool,
    out: Translated,
}

/// An open group: the option to go back to, and the groups we opened in it for options that last to its end.
struct Group {
    extended: bool,
    extra: usize,
}

impl Translator {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => {
                    self.class(1)?;
                    self.repeatable = true;
                }
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.out.text.push('|');
                    self.repeatable = false;
                }
                '^' => self.line_start(),
                '.' | '$' => self.atom(&c.to_string()),
                '*' | '+' | '?' => self.repeat(&c.to_string())?,
                '{' => match self.interval() {
                    Some(interval) => self.repeat(&interval)?,
                    None => self.literal('{'),
                },
                '#' if self.extended => while self.next().is_some_and(|c| c != '\n') {},
                c if self.extended && c.is_ascii_whitespace() => {}
                c => self.literal(c),
            }
        }
        if self.groups.len() > 1 {
            return Err("a `(` has no `)`".to_owned());
        }
        self.close_extra();
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self, expected: char) -> bool {
        let there = self.peek() == Some(expected);
        self.at += usize::from(there);
        there
    }

    /// Everything up to `end`, which is taken too.
    fn until(&mut self, end: char) -> Result<String, String> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&c| c == end).ok_or_else(|| format!("a `{end}` is missing"))?;
        let text = rest[..length].iter().collect();
        self.at += length + 1;
        Ok(text)
    }

    fn atom(&mut self, text: &str) {
        self.out.text.push_str(text);
        self.repeatable = true;
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out.text, c);
        self.repeatable = true;
    }

    fn line_start(&mut self) {
        self.out.has_line_start = true;
        self.atom(match self.target {
            Target::Linear => "^",
            Target::Backtracking => r"(?:\A|(?<=\n)(?!\z))",
        });
    }

    /// A repetition and what stands behind it.
    fn repeat(&mut self, operator: &str) -> Result<(), String> {
        if !self.repeatable {
            let place = self.at - 1;
            return Err(format!(
                "the `{operator}` at character {place} repeats what stands before it, and nothing does; to find a text \
                 anywhere write it without `*` around it, to match any text write `.*`"
            ));
        }
        self.out.text.push_str(operator);
        if operator.starts_with('{') {
            if self.take('?') {
                // Lazy, but an exact count cannot be: there it means "or not at all".
                self.out.text.push_str(if operator.contains(',') { "?" } else { "{0,1}" });
            } else if self.take('+') {
                self.out.text.push_str("{1,}");
            }
        } else if self.take('?') {
            self.out.text.push('?');
        } else if self.take('+') {
            self.out.must_backtrack = true;
            self.out.text.push('+');
        }
        Ok(())
    }

    /// `{n}`, `{n,}`, `{,m}` or `{n,m}` behind the `{`, as the engines write it; `None` and nothing taken if it is
    /// none.
    fn interval(&mut self) -> Option<String> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&c| c == '}')?;
        let body: String = rest[..length].iter().collect();
        let number = |text: &str| !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
        let interval = match body.split_once(',') {
            None if number(&body) => format!("{{{body}}}"),
            Some((from, "")) if number(from) => format!("{{{from},}}"),
            Some(("", to)) if number(to) => format!("{{0,{to}}}"),
            Some((from, to)) if number(from) && number(to) => format!("{{{from},{to}}}"),
            _ => return None,
        };
        self.at += length + 1;
        Some(interval)
    }

    fn open(&mut self) -> Result<(), String> {
        if self.groups.len() > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} groups in each other"));
        }
        let extended = self.extended;
        if !self.take('?') {
            self.out.text.push_str(if self.named { "(?:" } else { "(" });
        } else {
            match self.next().ok_or("a `(` has no `)`")? {
                '#' => return self.until(')').map(drop),
                ':' => self.out.text.push_str("(?:"),
                c @ ('=' | '!' | '>') => self.look(&format!("(?{c}")),
                '<' if self.take('=') => self.look("(?<="),
                '<' if self.take('!') => self.look("(?<!"),
                '<' => self.name('>')?,
                '\'' => self.name('\'')?,
                'P' if self.take('<') => self.name('>')?,
                c @ ('~' | '(') => return Err(format!("`(?{c}` is not supported")),
                _ => {
                    self.at -= 1;
                    if self.options()? {
                        // Lasts to the end of the group that is already open.
                        return Ok(());
                    }
                }
            }
        }
        self.groups.push(Group { extended, extra: 0 });
        self.repeatable = false;
        Ok(())
    }

    fn look(&mut self, open: &str) {
        self.out.must_backtrack = true;
        self.out.text.push_str(open);
    }

    /// A named group. The engines know fewer names and no name twice; a group whose name they refuse only groups.
    fn name(&mut self, end: char) -> Result<(), String> {
        let name = self.until(end)?;
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain && !self.names.contains(&name) {
            self.out.text.push_str(&format!("(?<{name}>"));
            self.names.push(name);
        } else {
            self.out.text.push_str("(?:");
        }
        Ok(())
    }

    /// `imx-imx` and `:` or `)`. True if it was `)`: then a group for the rest of the open one has been opened.
    fn options(&mut self) -> Result<bool, String> {
        let (mut on, mut off, mut negative) = (String::new(), String::new(), false);
        let isolated = loop {
            let c = self.next().ok_or("a `(` has no `)`")?;
            match c {
                '-' => negative = true,
                'x' => self.extended = !negative,
                'i' | 'm' => {
                    let list = if negative { &mut off } else { &mut on };
                    list.push(if c == 'm' { 's' } else { c });
                }
                // Which characters `\w` and its like mean; they are ASCII here in any case.
                'a' | 'u' | 'd' => {}
                ')' => break true,
                ':' => break false,
                c => return Err(format!("`(?{c}` is not supported")),
            }
        };
        let minus = if off.is_empty() { "" } else { "-" };
        self.out.text.push_str(&format!("(?{on}{minus}{off}:"));
        if isolated && let Some(group) = self.groups.last_mut() {
            group.extra += 1;
            self.repeatable = false;
        }
        Ok(isolated)
    }

    fn close(&mut self) -> Result<(), String> {
        self.close_extra();
        let group = match self.groups.len() {
            0 | 1 => None,
            _ => self.groups.pop(),
        };
        self.extended = group.ok_or("a `)` has no `(`; write `\\)` for the character")?.extended;
        self.atom(")");
        Ok(())
    }

    fn close_extra(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            for _ in 0..std::mem::take(&mut group.extra) {
                self.out.text.push(')');
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let c = self.next().ok_or("nothing follows the last `\\`")?;
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'h' | 'H' => self.atom(&format!("[{}]", short_class(c))),
            'p' | 'P' => {
                let class = self.property(c == 'P')?;
                self.atom(&format!("[{class}]"));
            }
            'b' | 'B' | 'A' | 'z' => self.atom(&format!("\\{c}")),
            'Z' => self.atom(match self.target {
                Target::Linear => r"(?:\n?\z)",
                Target::Backtracking => r"(?=\n?\z)",
            }),
            'G' => self.atom(r"\A"),
            // Where the match starts does not matter to whether there is one.
            'K' => {}
            'R' => self.atom(r"(?:\r\n|[\n\x0B\x0C\r\x{85}\x{2028}\x{2029}])"),
            'X' => return Err("`\\X` is not supported".to_owned()),
            'k' | 'g' => self.reference(c)?,
            '1'..='9' => self.back_reference(c)?,
            c => {
                let c = self.character(c)?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// `\1`. A number of several digits for which there are not enough groups is a character in octal.
    fn back_reference(&mut self, first: char) -> Result<(), String> {
        let digits = self.input[self.at..].iter().take_while(|c| c.is_ascii_digit()).count();
        let number: String = std::iter::once(&first).chain(&self.input[self.at..self.at + digits]).collect();
        let groups = self.input.iter().filter(|&&c| c == '(').count();
        if digits > 0 && first < '8' && number.parse().map_or(true, |number: usize| number > groups) {
            let c = self.character(first)?;
            self.literal(c);
            return Ok(());
        }
        self.at += digits;
        self.out.must_backtrack = true;
        self.atom(&format!("(?:\\{number})"));
        Ok(())
    }

    /// `\k<name>`, `\g<name>`.
    fn reference(&mut self, kind: char) -> Result<(), String> {
        self.out.must_backtrack = true;
        let name = match self.next() {
            Some('<') => self.until('>')?,
            Some('\'') => self.until('\'')?,
            _ => return Err(format!("`\\{kind}` needs a name: `\\{kind}<name>`")),
        };
        self.atom(&format!("\\{kind}<{name}>"));
        Ok(())
    }
}

fn push_literal(out: &mut String, c: char) {
    match c {
        ' ' | '\t' | '\n' => out.push(c),
        c if c.is_ascii_alphanumeric() || !c.is_ascii() || c == '_' => out.push(c),
        c if c.is_ascii_graphic() && !matches!(c, '<' | '>') => out.extend(['\\', c]),
        c => out.push_str(&format!("\\x{:02X}", c as u32)),
    }
}
