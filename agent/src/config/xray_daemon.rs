//! The X-Ray daemon's command line and its `cfg.yaml`, as settings of ours.
//!
//! A flag stands for a key of the file and goes before it; `PILLION__...` variables go before both. The file is the one named, else the
//! first that is there of `/etc/amazon/xray/cfg.yaml` and `cfg.yaml`.
//!
//! Promises: what the daemon takes is taken; what it refuses to start with is an error, with place and hint; what has no meaning here is
//! a warning, once.
//! Never: reads a flag (`cli` does) or the environment; knows what the traces job does.

use std::{
    io,
    net::SocketAddr,
    path::{Path as FilePath, PathBuf},
};

use super::{
    Sources,
    node::{Entry, Kind, Node},
    overrides,
    source::Tree,
};
use crate::{
    fluentbit,
    problem::{Problem, Problems, nearest, shown},
    units::ByteSize,
};

/// Where the daemon looks for its file if none is named.
const USUAL_FILES: [&str; 2] = ["/etc/amazon/xray/cfg.yaml", "cfg.yaml"];
/// The daemon's address, for UDP and TCP.
const ADDRESS: &str = "127.0.0.1:2000";
/// The input of ours that all settings are of, and the output.
const INPUT: &str = "traces.inputs.0.xray";
const OUTPUT: &str = "traces.outputs.0.to.xray";
/// Versions of the file's form.
const VERSIONS: [&str; 2] = ["1", "2"];

/// How the X-Ray daemon was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonCall {
    /// The file that was named.
    pub file: Option<PathBuf>,
    /// What flags say: the key of the file that each stands for, the flag as it was written, its value.
    pub flags: Vec<(&'static str, String, String)>,
}

/// What a key of the file means here.
#[derive(Clone, Copy)]
enum Meaning {
    /// A setting of ours, by its steps.
    Setting(&'static str, &'static str),
    /// The same; the value is an address.
    Address(&'static str, &'static str),
    /// Memory for segments, in MiB.
    Memory,
    Level,
    /// Nothing, and nothing is missing.
    Builtin,
    /// Nothing, if the value says so; else this should be known.
    Unused(&'static str),
    Version,
}

use Meaning::{Address, Builtin, Level, Memory, Setting, Unused, Version};

/// The keys of `cfg.yaml` (`pkg/cfg/cfg.go` of the daemon 3.6).
const KEYS: [(&str, Meaning); 19] = [
    ("TotalBufferSizeMB", Memory),
    ("Concurrency", Unused("requests are sent beside each other as X-Ray takes them")),
    ("Endpoint", Setting(OUTPUT, "endpoint")),
    ("Region", Setting(OUTPUT, "region")),
    ("Socket.UDPAddress", Address(INPUT, "udp")),
    ("Socket.TCPAddress", Address(INPUT, "tcp")),
    ("ProxyServer.idleconntimeout", Builtin),
    ("ProxyServer.maxidleconnsperhost", Builtin),
    ("ProxyServer.maxidleconns", Builtin),
    ("Logging.LogRotation", Builtin),
    ("Logging.LogLevel", Level),
    ("Logging.LogPath", Unused("the agent's log is on standard error, which a log driver takes")),
    // The region is never asked of EC2.
    ("LocalMode", Builtin),
    ("ResourceARN", Unused("telemetry is not sent; see /metrics")),
    ("RoleARN", Setting(OUTPUT, "role_arn")),
    ("Profile", Unused("give the variable AWS_PROFILE")),
    ("NoVerifySSL", Unused("certificates are always verified; name your own authority with AWS_CA_BUNDLE")),
    ("ProxyAddress", Unused("connections are made without a proxy; give X-Ray a VPC endpoint, or `Endpoint`")),
    ("Version", Version),
];
/// Keys of the first form that the daemon refuses, and what stands for them.
const MOVED: [(&str, &str); 5] = [
    ("LogRotation", "Logging.LogRotation"),
    ("Processor.Region", "Region"),
    ("Processor.Endpoint", "Endpoint"),
    ("Processor.Routine", "Concurrency"),
    ("MemoryLimit", "TotalBufferSizeMB"),
];
/// Keys of the first form that are gone.
const REMOVED: [&str; 5] =
    ["Profile.CPU", "Profile.Memory", "Socket.BufferSizeKB", "Logging.LogFormat", "Processor.BatchProcessorQueueSize"];
/// Sections of the file.
const SECTIONS: [&str; 5] = ["Socket", "ProxyServer", "Logging", "Processor", "Profile"];
/// Variables of a daemon's container that have no meaning here.
const VARIABLES: [(&str, &str); 3] = [
    ("AWS_XRAY_DAEMON_ADDRESS", "SDKs read it; where we listen is said by `-b` and `-t`"),
    ("HTTPS_PROXY", "connections are made without a proxy; give X-Ray a VPC endpoint"),
    ("https_proxy", "connections are made without a proxy; give X-Ray a VPC endpoint"),
];

/// What came of it.
pub(super) struct Reading {
    pub(super) tree: Tree,
    pub(super) memory_hint: Option<ByteSize>,
}

/// Reads the file and puts the flags over it.
pub(super) fn read(call: &DaemonCall, sources: &Sources<'_>, problems: &mut Problems) -> Reading {
    let mut given = Vec::new();
    let described = match file(call, sources, problems) {
        Some((name, text)) => {
            // The daemon checks only a file that was named.
            given.extend(in_file(&Tree::parse(&name, &text, problems), call.file.is_some(), problems));
            format!("the X-Ray daemon's command line and {name}")
        }
        None => "the X-Ray daemon's command line".to_owned(),
    };
    given.extend(call.flags.iter().map(|(key, flag, value)| Given {
        key: (*key).to_owned(),
        place: flag.clone(),
        value: value.clone(),
    }));
    for (name, hint) in VARIABLES {
        if sources.environment.get(name).is_some() {
            problems.push(Problem::warning(name, "has no effect here", hint));
        }
    }
    let mut writer = Writer { tree: Tree::empty(&described), memory_hint: None, problems };
    for (path, key, value) in [(INPUT, "udp", ADDRESS), (INPUT, "tcp", ADDRESS), (OUTPUT, "log_batches", "true")] {
        writer.put(path, key, "the X-Ray daemon", value);
    }
    for given in settled(given) {
        writer.apply(&given);
    }
    Reading { tree: writer.tree, memory_hint: writer.memory_hint }
}

/// A value of a key, and where it was written.
struct Given {
    key: String,
    place: String,
    value: String,
}

/// The last value of each key; one that is empty says nothing, as in the daemon.
fn settled(given: Vec<Given>) -> Vec<Given> {
    let mut last: Vec<Given> = Vec::new();
    for one in given.into_iter().filter(|one| !one.value.is_empty()) {
        last.retain(|other| other.key != one.key);
        last.push(one);
    }
    last
}

fn file(call: &DaemonCall, sources: &Sources<'_>, problems: &mut Problems) -> Option<(String, Vec<u8>)> {
    let read = |path: &FilePath| sources.files.read(path);
    let name = |path: &FilePath| shown(&path.display().to_string());
    let paths = call.file.as_ref().map_or_else(|| USUAL_FILES.map(PathBuf::from).to_vec(), |file| vec![file.clone()]);
    for path in paths {
        match read(&path) {
            Ok(text) => return Some((name(&path), text)),
            Err(error) if call.file.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("cannot be read: {}", fluentbit::reason(&error));
                problems.push(Problem::error(name(&path), what, "give the path of a cfg.yaml of the X-Ray daemon"));
                return None;
            }
        }
    }
    None
}

fn in_file(tree: &Tree, was_named: bool, problems: &mut Problems) -> Vec<Given> {
    let mut given = Vec::new();
    let mut has_version = false;
    for (key, line, node) in leaves(&tree.root) {
        let place = format!("{}:{line} {key}", tree.name);
        has_version |= key == "Version";
        if !KEYS.iter().any(|(known, _)| *known == key) {
            let problem = unknown(&key, place);
            problems.push(if was_named {
                problem
            } else {
                Problem::warning(problem.place, problem.what, problem.hint)
            });
            continue;
        }
        let is_nothing = matches!(node.kind, Kind::Null);
        match node.scalar().or_else(|| is_nothing.then(String::new)) {
            Some(value) => given.push(Given { key, place, value }),
            None => problems.push(Problem::error(place, "is not a single value", "write it behind the colon")),
        }
    }
    if !has_version && !given.is_empty() {
        problems.push(Problem::error(&*tree.name, "has no `Version`", "add `Version: 2`"));
    }
    given
}

/// All keys that have a value, as the daemon counts them: two steps at most.
fn leaves(root: &Node) -> Vec<(String, u64, &Node)> {
    let mut leaves = Vec::new();
    for Entry { key, origin, value } in root.entries() {
        match value.entries() {
            [] if SECTIONS.contains(&key.as_str()) && matches!(value.kind, Kind::Null) => {}
            [] => leaves.push((key.clone(), origin.line(), value)),
            inner => {
                leaves.extend(
                    inner.iter().map(|entry| (format!("{key}.{}", entry.key), entry.origin.line(), &entry.value)),
                );
            }
        }
    }
    leaves
}

fn unknown(key: &str, place: String) -> Problem {
    if let Some((_, now)) = MOVED.iter().find(|(old, _)| *old == key) {
        return Problem::error(place, "is of an older form of the file", format!("write `{now}`"));
    }
    if REMOVED.contains(&key) {
        return Problem::error(place, "is not supported any more, neither by the X-Ray daemon", "remove the line");
    }
    let hint = match nearest(key, KEYS.iter().map(|(known, _)| *known)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "remove the line".to_owned(),
    };
    Problem::error(place, "the X-Ray daemon has no such key", hint)
}

struct Writer<'a> {
    tree: Tree,
    memory_hint: Option<ByteSize>,
    problems: &'a mut Problems,
}

impl Writer<'_> {
    fn apply(&mut self, Given { key, place, value }: &Given) {
        let Some((_, meaning)) = KEYS.iter().find(|(known, _)| known == key) else { return };
        match meaning {
            Setting(path, key) => self.put(path, key, place, value),
            Address(path, key) => match address(value) {
                Some(address) => self.put(path, key, place, &address.to_string()),
                None => {
                    let hint = "write an IP address and a port, for example `0.0.0.0:2000`";
                    self.problems.push(Problem::error(&**place, format!("`{}` is no address", shown(value)), hint));
                }
            },
            Memory => self.memory(place, value),
            Level => self.level(place, value),
            Builtin => {}
            Unused(hint) => {
                if !["false", "0"].contains(&value.as_str()) {
                    self.problems.push(Problem::warning(&**place, "has no effect here", *hint));
                }
            }
            Version => {
                if !VERSIONS.contains(&value.as_str()) {
                    self.problems.push(Problem::error(&**place, "is not 1 or 2", "write `Version: 2`"));
                }
            }
        }
    }

    fn memory(&mut self, place: &str, value: &str) {
        match value.parse::<u64>() {
            Ok(0) => {}
            Ok(megabytes) => self.memory_hint = Some(ByteSize(megabytes.saturating_mul(1 << 20))),
            Err(_) => {
                let hint = "write a whole number; here it is bytes, not slots of 64 KiB";
                self.problems.push(Problem::error(place, "not a number of megabytes", hint));
            }
        }
    }

    fn level(&mut self, place: &str, value: &str) {
        let level = match value.to_ascii_lowercase().as_str() {
            "dev" | "trace" => "trace",
            "debug" => "debug",
            "warn" => "warn",
            "error" => "error",
            "info" | "prod" => "info",
            _ => {
                let hint = "write dev, debug, info, warn, error or prod; it counts as prod";
                return self.problems.push(Problem::warning(place, "not a level", hint));
            }
        };
        self.put("log", "level", place, level);
    }

    fn put(&mut self, path: &str, key: &str, place: &str, value: &str) {
        let steps: Vec<String> = path.split('.').chain([key]).map(str::to_owned).collect();
        overrides::put(&mut self.tree.root, place, &steps, value)
            .expect("paths of ours lead through sections and lists");
    }
}

/// An address as Go reads it: without a host it is all of ours.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    match host {
        "" => format!("0.0.0.0:{port}").parse().ok(),
        "localhost" => format!("127.0.0.1:{port}").parse().ok(),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
#[path = "xray_daemon_tests.rs"]
mod tests;
