//! A program beside the agent that is spoken to in lines of JSON: the one who rotates, and the apps.
//!
//! Promises: an answer or a panic with what the program said last; it is gone when the handle goes.
//! Never: waits for ever.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{SOON, environment};

/// A running program.
pub(crate) struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: NamedTempFile,
}

impl Program {
    /// A script of `tests/python`.
    pub(crate) fn python(script: &str, arguments: &[&str]) -> Self {
        Self::start(format!("{script} {}", arguments.first().unwrap_or(&"")), command(script, arguments))
    }

    /// A script of `tests/node`.
    pub(crate) fn node(script: &str, arguments: &[&str]) -> Self {
        Self::start(script.to_owned(), command(script, arguments))
    }

    /// A script of either, with variables.
    pub(crate) fn beside(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(script, arguments);
        command.envs(variables.iter().copied());
        Self::start(script.to_owned(), command)
    }

    fn start(name: String, mut command: Command) -> Self {
        let errors = NamedTempFile::new().unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors.reopen().unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        // It says one line for each of ours.
        let (said, lines) = sync_channel(4);
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let input = child.stdin.take();
        Self { name, child, input, lines, errors }
    }

    /// Says a line, and gives the line that is answered.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let input = self.input.as_mut().unwrap();
        let sent = writeln!(input, "{line}").and_then(|()| input.flush());
        let answer = self.lines.recv_timeout(SOON);
        let answer = sent.ok().and(answer.ok());
        let answer = answer.unwrap_or_else(|| panic!("no answer of {}:\n{}", self.name, self.errors()));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{}: {error}: {answer}", self.name))
    }

    /// Ends it, as it should end.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.input.take();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.errors());
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.errors.path()).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of JSON that a script prints, which ends well.
#[track_caller]
pub(crate) fn lines(script: &str, arguments: &[&str]) -> Vec<Value> {
    let output = command(script, arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The call of a script, by the language that it is in.
pub(crate) fn command(script: &str, arguments: &[&str]) -> Command {
    let (program, folder) = match script.ends_with(".py") {
        true => (environment("PILLION_PYTHON"), "python"),
        false => ("node".to_owned(), "node"),
    };
    let mut command = Command::new(program);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(script)).args(arguments);
    if folder == "node" {
        command.env("NODE_PATH", environment("PILLION_NODE_MODULES"));
    }
    command
}
