//! Command lines of our own programs: what to do, and then `--name value` any number of times.
//!
//! Promises: every mistake is named together with what to write instead.
//! Never: reads the environment, or knows an option.

use anyhow::Context as _;

/// Words split up. What the options mean is the program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// What to do.
    pub what: &'a str,
    /// Names, with their dashes, and values.
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> CommandLine<'a> {
    /// Splits the words behind the program's name. Without any, says `hint`.
    pub fn parse(words: &'a [String], hint: &'static str) -> anyhow::Result<Self> {
        let (what, words) = words.split_first().context(hint)?;
        let mut options = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("`{word}` needs a value; see --help"))?;
            options.push((word.as_str(), value.as_str()));
        }
        Ok(Self { what, options })
    }

    /// The first value of the option `name`.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(word, _)| *word == name).map(|(_, value)| *value)
    }

    /// Hands each option to `set`, in order; an error of it is told with the option.
    pub fn each(&self, mut set: impl FnMut(&str, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for (word, value) in &self.options {
            set(word, value).with_context(|| format!("cannot take `{word} {value}`"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_pairs_and_in_order() {
        let words = ["burst", "--rounds", "2", "--rate", "max", "--rounds", "x"].map(str::to_owned);
        let line = CommandLine::parse(&words, "say what").expect("parses");
        assert_eq!((line.what, line.value("--rounds"), line.value("--seed")), ("burst", Some("2"), None));
        let mut seen = Vec::new();
        let outcome = line.each(|word, value| {
            seen.push(format!("{word} {value}"));
            if word == "--rounds" {
                value.parse::<u8>()?;
            }
            Ok(())
        });
        assert_eq!(seen, ["--rounds 2", "--rate max", "--rounds x"]);
        assert_eq!(outcome.expect_err("x is no number").to_string(), "cannot take `--rounds x`");
        let told = |words: &[String]| CommandLine::parse(words, "say what").expect_err("wrong").to_string();
        assert_eq!(told(&[]), "say what");
        assert_eq!(told(&words[..4]), "`--rate` needs a value; see --help");
    }
}
