//! The X-Ray daemon's command line, as task definitions use it.
//!
//! Promises: everything that Go's `flag` package takes for the daemon is taken (`-n x`, `-n=x`, `--region x`, `-o`, `-o=false`; a word
//! that belongs to no flag ends them), with each flag's value; a flag that the daemon does not know is a wrong call, as there.
//! Never: says what a value means; `config` does.

use std::{ffi::OsString, slice};

use crate::config::DaemonCall;

/// What `-h` prints.
pub(super) const HELP: &str = "\
Usage: xray [flags]                 also as: pillion xray-daemon [flags]

Runs as the X-Ray daemon does: segments come in over UDP and go to AWS X-Ray, SDKs ask for sampling rules over TCP.

  -b, --bind ADDRESS           UDP address (127.0.0.1:2000)
  -t, --bind-tcp ADDRESS       TCP address (127.0.0.1:2000)
  -n, --region REGION          region of X-Ray
  -r, --role-arn ARN           role to send as
  -m, --buffer-memory MB       memory for segments that wait
  -c, --config FILE            the daemon's cfg.yaml
  -l, --log-level LEVEL        dev, debug, info, warn, error or prod
  -o, --local-mode             nothing: EC2 is not asked for a region anyway
  -a, --resource-arn ARN       nothing: telemetry is not sent
  -f, --log-file FILE          nothing: the log is on standard error
  -p, --proxy-address ADDRESS  nothing: connections are made without a proxy
  -v, --version                print the version
  -h, --help                   print this
      --check                  show every mistake, or what would run (not in the daemon)

Other settings are variables, for example PILLION__SPOOL__PATH; see docs/traces.md and docs/config.md.
";

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    #[default]
    Run,
    Check,
    Version,
    Help,
}

/// A call of the daemon.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) daemon: DaemonCall,
    /// What has no effect, as it was written.
    pub(super) ignored: Vec<String>,
}

/// A call that the daemon would not run either.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("there is no flag `{0}`")]
    Unknown(String),
    #[error("`{0}` needs a value")]
    MissingValue(String),
    #[error("`{0}` is yes or no: write `true` or `false` behind `=`, or nothing")]
    NotYesOrNo(String),
}

struct Flag {
    short: &'static str,
    long: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy)]
enum Meaning {
    /// The value of a key of the daemon's file.
    Key(&'static str),
    /// The same, and the value is yes or no.
    Switch(&'static str),
    File,
    Action(Action),
}

const fn flag(short: &'static str, long: &'static str, meaning: Meaning) -> Flag {
    Flag { short, long, meaning }
}

/// `cmd/tracing/daemon.go` of the daemon 3.6, and what we add.
const FLAGS: [Flag; 14] = [
    flag("a", "resource-arn", Meaning::Key("ResourceARN")),
    flag("o", "local-mode", Meaning::Switch("LocalMode")),
    flag("m", "buffer-memory", Meaning::Key("TotalBufferSizeMB")),
    flag("n", "region", Meaning::Key("Region")),
    flag("b", "bind", Meaning::Key("Socket.UDPAddress")),
    flag("t", "bind-tcp", Meaning::Key("Socket.TCPAddress")),
    flag("r", "role-arn", Meaning::Key("RoleARN")),
    flag("c", "config", Meaning::File),
    flag("f", "log-file", Meaning::Key("Logging.LogPath")),
    flag("l", "log-level", Meaning::Key("Logging.LogLevel")),
    flag("p", "proxy-address", Meaning::Key("ProxyAddress")),
    flag("v", "version", Meaning::Action(Action::Version)),
    flag("h", "help", Meaning::Action(Action::Help)),
    flag("", "check", Meaning::Action(Action::Check)),
];

/// Reads the arguments, without the program's name.
pub(super) fn read(arguments: &[OsString]) -> Result<Call, Wrong> {
    let (mut rest, mut call) = (arguments.iter(), Call::default());
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
        match name {
            // What follows are plain words, and the daemon takes none.
            Some("") if text == "--" => {}
            Some(name) if !name.is_empty() => {
                call.take(&text, name, &mut rest)?;
                continue;
            }
            _ => call.ignored.push("words that belong to no flag".to_owned()),
        }
        break;
    }
    Ok(call)
}

impl Call {
    fn take(&mut self, written: &str, name: &str, rest: &mut slice::Iter<'_, OsString>) -> Result<(), Wrong> {
        let (name, attached) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let written = written.split('=').next().unwrap_or_default().to_owned();
        let known = FLAGS.iter().find(|flag| flag.long == name || !flag.short.is_empty() && flag.short == name);
        let Some(Flag { meaning, .. }) = known else { return Err(Wrong::Unknown(written)) };
        let mut value = || match attached {
            Some(value) => Ok(OsString::from(value)),
            None => rest.next().cloned().ok_or_else(|| Wrong::MissingValue(written.clone())),
        };
        match meaning {
            Meaning::File => self.daemon.file = Some(value()?).filter(|file| !file.is_empty()).map(Into::into),
            Meaning::Key(key) => {
                let value = value()?.to_string_lossy().into_owned();
                self.daemon.flags.push((key, written, value));
            }
            Meaning::Switch(key) => {
                let is_on = switch(attached).ok_or_else(|| Wrong::NotYesOrNo(written.clone()))?;
                self.daemon.flags.push((key, written, is_on.to_string()));
            }
            Meaning::Action(action) => {
                let is_on = switch(attached).ok_or(Wrong::NotYesOrNo(written))?;
                // Whatever else is asked for, help is given first.
                if is_on && self.action != Action::Help {
                    self.action = *action;
                }
            }
        }
        Ok(())
    }
}

/// Go's `strconv.ParseBool`.
fn switch(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    /// Keys with their values, and the file.
    fn said(line: &str) -> String {
        let call = read(&split(line)).expect(line);
        let file = call.daemon.file.iter().map(|file| format!("file={}", file.display()));
        let flags = call.daemon.flags.iter().map(|(key, flag, value)| format!("{key}={value}({flag})"));
        let ignored = call.ignored.iter().cloned();
        file.chain(flags).chain(ignored).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_flag_is_read_in_every_way_that_go_reads_it() {
        for (line, expected) in [
            ("", ""),
            ("-o -n eu-west-1", "LocalMode=true(-o) Region=eu-west-1(-n)"),
            (
                "-t 0.0.0.0:2000 -b 0.0.0.0:2000",
                "Socket.TCPAddress=0.0.0.0:2000(-t) Socket.UDPAddress=0.0.0.0:2000(-b)",
            ),
            ("--bind-tcp=:2000 -bind :2000", "Socket.TCPAddress=:2000(--bind-tcp) Socket.UDPAddress=:2000(-bind)"),
            ("--n=x -region y", "Region=x(--n) Region=y(-region)"),
            ("-o=false --local-mode=T", "LocalMode=false(-o) LocalMode=true(--local-mode)"),
            ("-m 50 -r arn:x -a arn:y", "TotalBufferSizeMB=50(-m) RoleARN=arn:x(-r) ResourceARN=arn:y(-a)"),
            (
                "-l dev -f /x.log -p proxy:1",
                "Logging.LogLevel=dev(-l) Logging.LogPath=/x.log(-f) ProxyAddress=proxy:1(-p)",
            ),
            ("-c /x.yaml -n=", "file=/x.yaml Region=(-n)"),
            // The value of a flag may look like a flag.
            ("-n -o", "Region=-o(-n)"),
            // Go stops at the first word that is no flag.
            ("-o word -n x", "LocalMode=true(-o) words that belong to no flag"),
            ("-o -- -n x", "LocalMode=true(-o)"),
            ("-o - -n x", "LocalMode=true(-o) words that belong to no flag"),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        for (line, action) in [
            ("-v", Action::Version),
            ("--version", Action::Version),
            ("-h -v", Action::Help),
            ("-n x --help", Action::Help),
            ("-v=false", Action::Run),
            ("--check -o", Action::Check),
        ] {
            assert_eq!(read(&split(line)).expect(line).action, action, "{line}");
        }
    }

    #[test]
    fn what_the_daemon_does_not_take_is_a_wrong_call() {
        for (line, wrong) in [
            ("-k", "there is no flag `-k`"),
            ("--no-verify-ssl=true", "there is no flag `--no-verify-ssl`"),
            ("-on", "there is no flag `-on`"),
            ("-neu-west-1", "there is no flag `-neu-west-1`"),
            ("---n x", "there is no flag `---n`"),
            ("-=x", "there is no flag `-`"),
            ("-n", "`-n` needs a value"),
            ("-o -c", "`-c` needs a value"),
            ("-o=maybe", "`-o` is yes or no: write `true` or `false` behind `=`, or nothing"),
        ] {
            assert_eq!(read(&split(line)).expect_err(line).to_string(), wrong, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn property_no_arguments_make_it_panic(words in proptest::collection::vec("[-=nochvé a]{0,6}", 0..6)) {
            let words: Vec<_> = words.into_iter().map(OsString::from).collect();
            let _ = read(&words);
        }
    }
}
