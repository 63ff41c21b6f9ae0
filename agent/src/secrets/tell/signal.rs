//! A signal to a process of another container, where the task shares its process ids.
//!
//! Promises: a process that does not catch the signal does not get it, unless the user insists: with `pidMode: task` it is not
//! process 1 any more, and what it ignored there ends it here.
//! Never: signals itself, or a process by a guess: the program's name must be the one that was given.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::Unheard;
use crate::secrets::settings;

/// Signals the processes of one name.
pub(super) struct Signaller {
    process: String,
    name: String,
    force: bool,
}

/// The signals that can be named.
const SIGNALS: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("WINCH", Signal::WINCH),
];

/// The signal of this name, with or without `SIG`.
pub(super) fn signal_of(name: &str) -> Option<Signal> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal)
}

/// A process, as the kernel tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    id: i32,
    /// The signals that it catches, a bit for each.
    caught: u64,
}

impl Signaller {
    pub(super) fn new(signal: &settings::Signal) -> Self {
        Self { process: signal.process.clone(), name: signal.signal.clone(), force: signal.force }
    }

    /// Signals all processes of the name. Heard, if there is one and each of them caught it.
    pub(super) fn signal(&self) -> Result<(), Unheard> {
        let signal = signal_of(&self.name).ok_or_else(|| Unheard(format!("there is no signal `{}`", self.name)))?;
        let found = processes(Path::new("/proc"), &self.process);
        if found.is_empty() {
            let hint = "check its name in `/proc/PID/comm`, and that the task definition has `pidMode: task`";
            return Err(Unheard(format!("no process is called `{}`; {hint}", self.process)));
        }
        for process in found {
            if !self.force && process.caught & (1 << (signal.as_raw() - 1)) == 0 {
                let what = format!("process {} does not catch {}, which would end it", process.id, self.name);
                return Err(Unheard(format!("{what}; name another signal, or write `force: true`")));
            }
            let id = Pid::from_raw(process.id).ok_or_else(|| Unheard("a process without a number".to_owned()))?;
            kill_process(id, signal).map_err(|error| Unheard(format!("process {}: {error}", process.id)))?;
        }
        Ok(())
    }
}

/// The processes below `proc` that are called `name`, but for ourselves.
fn processes(proc: &Path, name: &str) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    // The kernel keeps 15 bytes of a name.
    let name = &name.as_bytes()[..name.len().min(15)];
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<Process> = ids
        .filter(|&id| id != own)
        .filter_map(|id| {
            let comm = fs::read(proc.join(id.to_string()).join("comm")).ok()?;
            let status = fs::read_to_string(proc.join(id.to_string()).join("status")).ok()?;
            (comm.trim_ascii_end() == name).then(|| Process { id, caught: caught(&status).unwrap_or(0) })
        })
        .collect();
    found.sort_unstable_by_key(|process| process.id);
    found
}

/// `SigCgt` of `/proc/PID/status`.
fn caught(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A shell under a name of its own, which says `ready` and then what it catches.
    struct Shell(Child, BufReader<std::process::ChildStdout>);

    impl Shell {
        fn called(folder: &Path, name: &str, script: &str) -> Self {
            let program = folder.join(name);
            fs::copy("/bin/sh", &program).expect("a copy of the shell");
            let script = format!("{script}\necho ready\nwhile :; do sleep 0.01; done");
            let mut child =
                Command::new(&program).args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("a shell");
            let mut lines = BufReader::new(child.stdout.take().expect("its output"));
            let mut line = String::new();
            lines.read_line(&mut line).expect("a line");
            assert_eq!(line, "ready\n");
            Self(child, lines)
        }

        fn line(&mut self) -> String {
            let mut line = String::new();
            self.1.read_line(&mut line).expect("a line");
            line
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn signaller(process: &str, signal: &str, force: bool) -> Signaller {
        Signaller { process: process.to_owned(), name: signal.to_owned(), force }
    }

    #[test]
    fn who_catches_a_signal_gets_it_and_who_does_not_is_spared() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut catches = Shell::called(folder.path(), "pln-catches", "trap 'echo again' USR1");
        let mut does_not = Shell::called(folder.path(), "pln-does-not", "");
        signaller("pln-catches", "USR1", false).signal().expect("it is heard");
        assert_eq!(catches.line(), "again\n");
        let spared = signaller("pln-does-not", "SIGUSR1", false).signal().expect_err("it would end it");
        assert!(spared.0.contains("does not catch"), "{spared}");
        assert_eq!(does_not.0.try_wait().expect("ours"), None, "it lives");
        signaller("pln-does-not", "USR1", true).signal().expect("the user insists");
        assert!(!does_not.0.wait().expect("ours").success());
    }

    #[test]
    fn who_is_not_there_is_told_later() {
        for (process, signal) in [("pln-nobody", "HUP"), ("", "HUP"), ("pln-nobody", "KILL"), ("../x", "HUP")] {
            assert!(signaller(process, signal, true).signal().is_err(), "{process} {signal}");
        }
    }

    #[test]
    fn what_the_kernel_says_is_read_whatever_it_is() {
        for (status, expected) in [
            ("Name:\tx\nSigCgt:\t0000000000000001\n", Some(1)),
            ("SigCgt:\tffffffffffffffff", Some(u64::MAX)),
            ("SigCgt:\tnothing", None),
            ("SigCgt:", None),
            ("", None),
        ] {
            assert_eq!(caught(status), expected, "{status}");
        }
    }
}
