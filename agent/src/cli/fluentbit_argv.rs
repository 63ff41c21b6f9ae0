//! Fluent Bit's command line, as task definitions use it.
//!
//! Promises: everything that Fluent Bit's own `getopt_long` takes is taken (grouped flags, `-cFILE`, `--config=FILE`,
//! shortened long names, flags after other words), with each flag's value; what has no meaning here is named, so that
//! the agent can warn about it once.
//! Never: refuses a flag it does not know. A task that started with Fluent Bit must start with us.

use std::{ffi::OsString, path::PathBuf};

/// What Fluent Bit was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    #[default]
    Run,
    /// `-D`: read the configuration, and end.
    Check,
    Version,
    Help,
}

/// A call of Fluent Bit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) action: Action,
    /// `-c`, seen from the folder of `-w`.
    pub(super) file: Option<PathBuf>,
    /// `-v`, `-vv` and `-q`.
    pub(super) level: Option<&'static str>,
    /// Flags that have no effect here, as they were written.
    pub(super) ignored: Vec<String>,
}

/// The one mistake that Fluent Bit does not survive either, and whose meaning cannot be guessed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` needs a value")]
pub(super) struct MissingValue(String);

/// One of Fluent Bit's flags, from the option table of its `src/fluent-bit.c` (1.9 to 4.x).
struct Flag {
    /// `\0` if it has none.
    short: char,
    long: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy)]
enum Meaning {
    File,
    Workdir,
    Check,
    Version,
    Help,
    Verbose,
    Quiet,
    /// Has a value; neither has an effect.
    IgnoredWithValue,
    Ignored,
    /// Plugins of ours are built in: nothing is missing, so nothing is said.
    Builtin,
}

const fn flag(short: char, long: &'static str, meaning: Meaning) -> Flag {
    Flag { short, long, meaning }
}

const FLAGS: [Flag; 38] = [
    flag('b', "storage_path", Meaning::IgnoredWithValue),
    flag('c', "config", Meaning::File),
    flag('d', "daemon", Meaning::Ignored),
    flag('D', "dry-run", Meaning::Check),
    flag('f', "flush", Meaning::IgnoredWithValue),
    flag('C', "custom", Meaning::IgnoredWithValue),
    flag('i', "input", Meaning::IgnoredWithValue),
    flag('r', "processor", Meaning::IgnoredWithValue),
    flag('m', "match", Meaning::IgnoredWithValue),
    flag('o', "output", Meaning::IgnoredWithValue),
    flag('F', "filter", Meaning::IgnoredWithValue),
    flag('R', "parser", Meaning::IgnoredWithValue),
    flag('p', "prop", Meaning::IgnoredWithValue),
    flag('e', "plugin", Meaning::Builtin),
    flag('t', "tag", Meaning::IgnoredWithValue),
    flag('T', "sp-task", Meaning::IgnoredWithValue),
    flag('l', "log_file", Meaning::IgnoredWithValue),
    flag('V', "version", Meaning::Version),
    flag('v', "verbose", Meaning::Verbose),
    flag('w', "workdir", Meaning::Workdir),
    flag('q', "quiet", Meaning::Quiet),
    flag('h', "help", Meaning::Help),
    flag('J', "help-json", Meaning::Help),
    flag('s', "coro_stack_size", Meaning::IgnoredWithValue),
    flag('X', "coro_collective_timeslice", Meaning::IgnoredWithValue),
    flag('S', "sosreport", Meaning::Ignored),
    flag('H', "http_server", Meaning::Ignored),
    flag('H', "http", Meaning::Ignored),
    flag('L', "http_listen", Meaning::IgnoredWithValue),
    flag('P', "http_port", Meaning::IgnoredWithValue),
    flag('P', "port", Meaning::IgnoredWithValue),
    flag('Y', "enable-hot-reload", Meaning::Ignored),
    flag('W', "disable-thread-safety-on-hot-reload", Meaning::Ignored),
    flag('Z', "enable-chunk-trace", Meaning::Ignored),
    flag('\0', "trace", Meaning::IgnoredWithValue),
    flag('\0', "trace-input", Meaning::IgnoredWithValue),
    flag('\0', "trace-output", Meaning::IgnoredWithValue),
    flag('\0', "trace-output-property", Meaning::IgnoredWithValue),
];

impl Meaning {
    const fn takes_value(self) -> bool {
        matches!(self, Self::File | Self::Workdir | Self::IgnoredWithValue | Self::Builtin)
    }
}

/// Reads the arguments, without the program's name.
pub(super) fn read(arguments: &[OsString]) -> Result<Call, MissingValue> {
    let mut reader = Reader { rest: arguments.iter(), call: Call::default(), verbose: 0, workdir: None };
    while let Some(argument) = reader.rest.next() {
        let text = argument.to_string_lossy();
        match text.strip_prefix("--") {
            // What follows are plain words, and Fluent Bit takes none.
            Some("") => break,
            Some(long) => reader.long(long)?,
            None => match text.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => reader.short(letters)?,
                _ => reader.ignore(&text),
            },
        }
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    rest: std::slice::Iter<'a, OsString>,
    call: Call,
    verbose: usize,
    workdir: Option<PathBuf>,
}

impl Reader<'_> {
    /// `--name`, `--name=value`, `--name value`, `--nam`.
    fn long(&mut self, text: &str) -> Result<(), MissingValue> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let exact = FLAGS.iter().find(|flag| flag.long == name);
        let mut similar = FLAGS.iter().filter(|flag| flag.long.starts_with(name));
        let only = similar.next().filter(|_| similar.next().is_none());
        match exact.or(only) {
            Some(flag) => self.apply(flag.meaning, &format!("--{name}"), value.map(OsString::from)),
            None => {
                self.ignore(&format!("--{name}"));
                Ok(())
            }
        }
    }

    /// `-c value`, `-cvalue`, `-vvq`.
    fn short(&mut self, letters: &str) -> Result<(), MissingValue> {
        for (place, letter) in letters.char_indices() {
            let written = format!("-{letter}");
            let Some(flag) = FLAGS.iter().find(|flag| flag.short == letter) else {
                self.ignore(&written);
                continue;
            };
            if flag.meaning.takes_value() {
                let attached = &letters[place + letter.len_utf8()..];
                let value = (!attached.is_empty()).then(|| OsString::from(attached));
                return self.apply(flag.meaning, &written, value);
            }
            self.apply(flag.meaning, &written, None)?;
        }
        Ok(())
    }

    fn apply(&mut self, meaning: Meaning, written: &str, attached: Option<OsString>) -> Result<(), MissingValue> {
        let value = match attached {
            None if meaning.takes_value() => {
                self.rest.next().cloned().ok_or_else(|| MissingValue(written.to_owned()))?
            }
            other => other.unwrap_or_default(),
        };
        match meaning {
            Meaning::File => self.call.file = Some(value.into()),
            Meaning::Workdir => self.workdir = Some(value.into()),
            Meaning::Verbose => self.verbose += 1,
            Meaning::Quiet => self.call.level = Some("off"),
            // As in Fluent Bit the first of these ends the reading of flags; a later one changes nothing.
            Meaning::Help if self.call.action != Action::Version => self.call.action = Action::Help,
            Meaning::Version if self.call.action != Action::Help => self.call.action = Action::Version,
            Meaning::Check if self.call.action == Action::Run => self.call.action = Action::Check,
            Meaning::Ignored | Meaning::IgnoredWithValue => self.ignore(written),
            Meaning::Help | Meaning::Version | Meaning::Check | Meaning::Builtin => {}
        }
        Ok(())
    }

    /// The value is not kept: `-p password=...` is a value too.
    fn ignore(&mut self, written: &str) {
        let written = match written.starts_with('-') {
            true => written,
            false => "a word that belongs to no flag",
        };
        if !self.call.ignored.iter().any(|known| known == written) {
            self.call.ignored.push(written.to_owned());
        }
    }

    fn finish(mut self) -> Call {
        self.call.level = match self.verbose {
            0 => self.call.level,
            1 => Some("debug"),
            _ => Some("trace"),
        };
        // An absolute file wins over the folder.
        self.call.file = match (self.workdir, self.call.file) {
            (Some(folder), Some(file)) => Some(folder.join(file)),
            (_, file) => file,
        };
        self.call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn calls_that_task_definitions_make_are_understood() {
        use Action::{Check, Help, Run, Version};
        let image = "-e /fluent-bit/firehose.so -e /fluent-bit/cloudwatch.so -e /fluent-bit/kinesis.so \
                     -c /fluent-bit/etc/fluent-bit.conf";
        for (line, action, file, level, ignored) in [
            ("", Run, None, None, ""),
            (image, Run, Some("/fluent-bit/etc/fluent-bit.conf"), None, ""),
            ("-c /a.conf", Run, Some("/a.conf"), None, ""),
            ("-c/a.conf", Run, Some("/a.conf"), None, ""),
            ("--config /a.conf", Run, Some("/a.conf"), None, ""),
            ("--config=/a.conf", Run, Some("/a.conf"), None, ""),
            ("--conf=/a.conf", Run, Some("/a.conf"), None, ""),
            ("-c /a.conf -c /b.conf", Run, Some("/b.conf"), None, ""),
            ("-c /a=b.conf", Run, Some("/a=b.conf"), None, ""),
            ("-w /etc -c a.conf", Run, Some("/etc/a.conf"), None, ""),
            ("-c /a.conf -w /etc", Run, Some("/a.conf"), None, ""),
            ("-c /a.conf -v", Run, Some("/a.conf"), Some("debug"), ""),
            ("-vv", Run, None, Some("trace"), ""),
            ("-v --verbose", Run, None, Some("trace"), ""),
            ("-q", Run, None, Some("off"), ""),
            ("-vc /a.conf", Run, Some("/a.conf"), Some("debug"), ""),
            ("-D -c /a.conf", Check, Some("/a.conf"), None, ""),
            ("--dry-run", Check, None, None, ""),
            ("-V", Version, None, None, ""),
            ("--version -D", Version, None, None, ""),
            ("-h", Help, None, None, ""),
            ("-J", Help, None, None, ""),
            ("-R /parsers.conf -c /a.conf", Run, Some("/a.conf"), None, "-R"),
            ("-H -L 0.0.0.0 -P 2020 -c /a.conf", Run, Some("/a.conf"), None, "-H -L -P"),
            ("-i forward -p port=1 -F grep -m * -p x=y -o stdout -f 1", Run, None, None, "-i -p -F -m -o -f"),
            ("-b /buffers -T task -C calyptia -r x -s 24576 -S -Y -l /log", Run, None, None, "-b -T -C -r -s -S -Y -l"),
            ("-i cpu -t my.tag", Run, None, None, "-i -t"),
            // The value of a flag may look like a flag.
            ("-p -c -c /a.conf", Run, Some("/a.conf"), None, "-p"),
            // Newer flags, and words that no flag takes, do not keep a task from starting.
            ("-U --frobnicate=1 -c /a.conf", Run, Some("/a.conf"), None, "-U --frobnicate"),
            ("--trace", Run, None, None, "missing"),
            // Ambiguous: --http_listen, --http_port, ...
            ("--http_ -c /a.conf", Run, Some("/a.conf"), None, "--http_"),
            ("-- -c /a.conf", Run, None, None, ""),
        ] {
            if ignored == "missing" {
                assert!(read(&split(line)).is_err(), "{line}");
                continue;
            }
            let expected = Call {
                action,
                file: file.map(PathBuf::from),
                level,
                ignored: split(ignored).into_iter().map(|s| s.into_string().unwrap()).collect(),
            };
            assert_eq!(read(&split(line)), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_flag_without_its_value_is_a_wrong_call() {
        for line in ["-c", "--config", "-v -c", "-R", "-D -w"] {
            let error = read(&split(line)).expect_err(line);
            assert!(error.to_string().ends_with("needs a value"), "{error}");
        }
    }

    /// What is ignored gets logged, and passwords are passed by `-p`.
    #[test]
    fn values_of_ignored_flags_are_not_kept() {
        let call = read(&split("-o http -p http_passwd=hunter2 --prop=http_passwd=hunter2 hunter2")).unwrap();
        assert!(!format!("{call:?}").contains("hunter2"), "{call:?}");
        assert_eq!(call.ignored, ["-o", "-p", "--prop", "a word that belongs to no flag"]);
    }

    proptest::proptest! {
        #[test]
        fn property_no_arguments_make_it_panic(words in proptest::collection::vec("[-=cvDVhXé a]{0,6}", 0..6)) {
            let words: Vec<_> = words.into_iter().map(OsString::from).collect();
            let _ = read(&words);
        }
    }
}
