//! Single characters and classes of characters: `\x41`, `\u00e9`, `[^a-z&&[:alpha:]]`, `\p{Digit}`.
//!
//! Promises: writes every special character of a class in hexadecimal, so that no engine gives it a meaning of its own.
//! Never: uses Unicode's tables of letters: they are not in the binary, and no expression in AWS's examples needs them.

use super::{DEPTH_MAX, Translator};

impl Translator {
    /// The character that the escape `\c...` stands for.
    pub(super) fn character(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'a' => '\u{7}',
            'e' => '\u{1b}',
            'c' | 'C' | 'M' => return Err(format!("`\\{c}` is not supported; write the character as `\\xHH`")),
            'x' if self.take('{') => scalar(&self.until('}')?)?,
            'x' => {
                let first = self.hex(2);
                let code = u8::from_str_radix(&first, 16).map_err(|_| "`\\x` needs two hexadecimal digits")?;
                if code < 0x80 { char::from(code) } else { self.utf8(code)? }
            }
            'u' => scalar(&self.hex(4))?,
            '0'..='7' => {
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                char::from_u32(code).unwrap_or('\0')
            }
            c => c,
        })
    }

    /// Up to `digits` hexadecimal digits.
    fn hex(&mut self, digits: usize) -> String {
        let rest = &self.input[self.at..];
        let text: String = rest.iter().take(digits).take_while(|c| c.is_ascii_hexdigit()).collect();
        self.at += text.len();
        text
    }

    /// A character written as its UTF-8 bytes: `\xC3\xA9`.
    fn utf8(&mut self, first: u8) -> Result<char, String> {
        let mut bytes = vec![first];
        while bytes.len() < 4 && std::str::from_utf8(&bytes).is_err() {
            let [Some('\\'), Some('x')] = [self.peek(), self.input.get(self.at + 1).copied()] else { break };
            self.at += 2;
            let digits = self.hex(2);
            bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| "`\\x` needs two hexadecimal digits")?);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| "`\\x` bytes above 7F must form a UTF-8 character")?;
        text.chars().next().ok_or_else(|| "`\\x` needs two hexadecimal digits".to_owned())
    }

    /// `{Name}` behind `\p` as the inside of a class.
    pub(super) fn property(&mut self, negative: bool) -> Result<String, String> {
        if !self.take('{') {
            return Err("`\\p` needs a name: `\\p{Alpha}`".to_owned());
        }
        let name = self.until('}')?;
        let (caret, plain) = name.strip_prefix('^').map_or((false, &*name), |plain| (true, plain));
        posix(&plain.to_ascii_lowercase(), negative != caret)
            .ok_or_else(|| format!("`\\p{{{name}}}` is not supported; write the characters as a class `[...]`"))
    }

    /// A class behind its `[`.
    pub(super) fn class(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} classes `[...]` in each other"));
        }
        self.out.text.push('[');
        if self.take('^') {
            self.out.text.push('^');
        }
        if self.peek() == Some(']') {
            if !self.input[self.at + 1..].contains(&']') {
                return Err("the class `[]` is empty".to_owned());
            }
            self.at += 1;
            self.out.text.push_str("\\]");
        }
        loop {
            let c = self.next().ok_or("a `[` has no `]`; write `\\[` for the character")?;
            match c {
                ']' => break,
                '[' => match self.bracket() {
                    Some(class) => self.out.text.push_str(&class),
                    None => self.class(depth + 1)?,
                },
                '&' if self.take('&') => self.out.text.push_str("&&"),
                c => self.class_item(c)?,
            }
        }
        self.out.text.push(']');
        Ok(())
    }

    /// `[:alpha:]` behind its `[`.
    fn bracket(&mut self) -> Option<String> {
        let rest: String = self.input[self.at..].iter().take(12).collect();
        let (name, _) = rest.strip_prefix(':')?.split_once(":]")?;
        let (negative, plain) = name.strip_prefix('^').map_or((false, name), |plain| (true, plain));
        let class = posix(plain, negative)?;
        self.at += name.len() + 3;
        Some(class)
    }

    /// A character, a range or a short class.
    fn class_item(&mut self, c: char) -> Result<(), String> {
        let Some(from) = self.class_character(c)? else { return Ok(()) };
        push_class_literal(&mut self.out.text, from);
        let [Some('-'), Some(to)] = [self.peek(), self.input.get(self.at + 1).copied()] else { return Ok(()) };
        let next_is_class = to == '\\'
            && matches!(self.input.get(self.at + 2), Some('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'h' | 'H' | 'p' | 'P'));
        if matches!(to, ']' | '[') || next_is_class {
            return Ok(());
        }
        self.at += 2;
        let Some(to) = self.class_character(to)? else { return Ok(()) };
        if to < from {
            return Err(format!("the range `{from}-{to}` in a class is empty"));
        }
        self.out.text.push('-');
        push_class_literal(&mut self.out.text, to);
        Ok(())
    }

    /// The character that `c` or its escape stands for; `None` if it was a short class, which is then written.
    fn class_character(&mut self, c: char) -> Result<Option<char>, String> {
        if c != '\\' {
            return Ok(Some(c));
        }
        let c = self.next().ok_or("nothing follows the last `\\`")?;
        match c {
            'd' | 's' | 'w' | 'h' => self.out.text.push_str(short_class(c)),
            'D' | 'S' | 'W' | 'H' => self.out.text.push_str(&format!("[{}]", short_class(c))),
            'p' | 'P' => {
                let class = self.property(c == 'P')?;
                self.out.text.push_str(&class);
            }
            'b' => return Ok(Some('\u{8}')),
            c => return self.character(c).map(Some),
        }
        Ok(None)
    }
}

fn push_class_literal(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        out.push_str(&format!("\\x{:02X}", c as u32));
    } else {
        out.push(c);
    }
}

/// The inside of the class that a short escape stands for: ASCII, as Ruby has it.
pub(super) fn short_class(c: char) -> &'static str {
    match c {
        'd' => "0-9",
        'D' => "^0-9",
        's' => r"\t-\r\x20",
        'S' => r"^\t-\r\x20",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        'h' => "0-9A-Fa-f",
        _ => "^0-9A-Fa-f",
    }
}

/// The POSIX bracket `name`. Letters beyond ASCII are not in it.
fn posix(name: &str, negative: bool) -> Option<String> {
    let known = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "word", "xdigit",
    ];
    let caret = if negative { "^" } else { "" };
    known.contains(&name).then(|| format!("[:{caret}{name}:]"))
}

/// The character with the hexadecimal number `digits`.
fn scalar(digits: &str) -> Result<char, String> {
    u32::from_str_radix(digits, 16)
        .ok()
        .and_then(char::from_u32)
        .ok_or_else(|| format!("`{digits}` is not the hexadecimal number of a character"))
}
