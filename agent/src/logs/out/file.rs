//! Writes records to files in a folder, one JSON line a record, one file a tag.
//!
//! ```text
//! {"date":1700000000.123456789,"log":"...", ...}
//! ```
//!
//! Promises: a line is whole unless the disk refuses the rest of it; a file has at most the size the user set, and one
//! older file beside it.
//! Never: writes outside its folder, whatever the tag says, or through a symbolic link.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    deliver::{
        Answer, Cause, Destination, Doing, Key, Limits,
        ack::Ack,
        batch::{Batch, Frame},
        books::Account,
        lane::{Appending, Lane, Output},
    },
    limits::CONTAINER_LABELS_MAX,
    logs::{known::Workspace, record::Record, render},
    units::ByteSize,
};

/// Longest name of a file, in bytes; file systems take 255.
const NAME_BYTES_MAX: usize = 200;
/// Files beside the one for all other tags. A task has a tag for each container.
const FILES_MAX: usize = CONTAINER_LABELS_MAX;
/// The name of the file for all other tags.
const OTHERS: &str = "other";
/// Size at which a file is renamed, unless the user sets another.
const FILE_BYTES_MAX: ByteSize = ByteSize::mebibytes(64);
/// `O_NOFOLLOW` of Linux.
const NO_FOLLOW: i32 = 0o400_000;

/// Settings of the `file` destination.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder. Created if it is missing.
    pub folder: PathBuf,
    /// A file that has grown to this size is renamed to `.1`, in place of the one before. Default 64 MiB.
    #[serde(default)]
    pub file_bytes_max: Option<ByteSize>,
}

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    file_bytes_max: u64,
}

impl Folder {
    /// Writes as `config` says.
    pub fn new(config: &Config) -> Self {
        Self { path: config.folder.clone(), file_bytes_max: config.file_bytes_max.unwrap_or(FILE_BYTES_MAX).0 }
    }

    async fn put(&self, batch: &Batch) -> Answer {
        let (folder, name, lines) = (self.path.clone(), batch.key.clone(), batch.body.clone());
        let file_bytes_max = self.file_bytes_max;
        let written = tokio::task::spawn_blocking(move || write(&folder, name.as_str(), &lines, file_bytes_max));
        let failed = |cause, detail| Answer::Again { cause, detail, after: None };
        match written.await {
            Ok(Ok(())) => Answer::Delivered,
            Ok(Err(error)) => failed(Cause::Unavailable, format!("cannot write to `{}`: {error}", self.path.display())),
            Err(_) => failed(Cause::Ambiguous, "the write was interrupted".to_owned()),
        }
    }
}

impl Destination for Folder {
    fn limits(&self) -> Limits {
        // Not of any service: enough to make a write worth it, and no more than a reader of the file would wait for.
        Limits { bytes: 256 * 1024, records: 100_000, span_milliseconds: u64::MAX }
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame { head: Bytes::new(), separator: b"\n", tail: b"\n" }
    }

    fn knows(&self, key: &Key) -> bool {
        // Only a name that we would make is a name.
        *file_name(key.as_str()) == *key.as_str()
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(self.put(batch))
    }
}

fn write(folder: &Path, name: &str, lines: &[u8], file_bytes_max: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.log"));
    let mut file = open(&path)?;
    let length = file.metadata()?.len();
    if length > 0 && length + lines.len() as u64 > file_bytes_max {
        fs::rename(&path, folder.join(format!("{name}.log.1")))?;
        file = open(&path)?;
    }
    let before = file.metadata()?.len();
    file.write_all(lines).inspect_err(|_| {
        // Takes back what was written, so that the batch can be sent again whole. If that fails too, a reader sees
        // the beginning of these lines twice: at least once is what we promise.
        let _ = file.set_len(before);
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).custom_flags(NO_FOLLOW).mode(0o640).open(path)
}

/// The name of the file for `tag`: letters, digits, `-`, `_` and inner dots; everything else becomes `_`.
fn file_name(tag: &str) -> Arc<str> {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = tag.chars().take(NAME_BYTES_MAX).map(legal).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "untagged".into() } else { name.into() }
}

/// An output of this kind.
#[derive(Clone)]
pub struct Sink {
    output: Arc<Output>,
    names: Arc<Mutex<HashSet<Arc<str>>>>,
}

/// The place of one tag's records.
pub struct Target {
    sink: Sink,
    account: Arc<Account>,
    lane: Arc<Lane>,
}

/// Appends a chunk's records.
pub struct Writer<'a> {
    appending: Appending<'a>,
}

impl Sink {
    /// Appends to `output`.
    pub fn new(output: Arc<Output>) -> Self {
        Self { output, names: Arc::default() }
    }

    /// The place of records with `tag`, booked on `account`.
    pub fn target(&self, tag: &str, account: Arc<Account>) -> Target {
        Target { sink: self.clone(), account, lane: self.output.lane(&Key::new(self.name(tag))) }
    }

    /// The name of the file for `tag`, or that of the file for all others: a sender that makes up tags makes no files.
    fn name(&self, tag: &str) -> Arc<str> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let name = file_name(tag);
        if names.len() >= FILES_MAX && !names.contains(&name) {
            return OTHERS.into();
        }
        names.insert(Arc::clone(&name));
        name
    }
}

impl Target {
    /// Begins to append.
    pub fn writer(&self) -> Writer<'_> {
        Writer { appending: self.sink.output.append(&self.lane, &self.account) }
    }
}

impl Writer<'_> {
    /// What comes from here on is of a message that waits for `ack`, or of one that does not wait.
    pub fn of_message(&mut self, ack: Option<&Arc<Ack>>) {
        self.appending.of_message(ack);
    }

    /// Appends one record.
    pub fn append(&mut self, record: &Record<'_>, workspace: &mut Workspace) {
        let body = self.appending.begin();
        let start = body.len();
        body.put(b"{\"date\":");
        body.put(format!("{}.{:09}", record.time.seconds, record.time.nanos).as_bytes());
        let brace = body.len();
        render::object(body, record, workspace);
        // `{"date":1` and `{"log":...}` become one object.
        let empty = body.len() == brace + 2;
        body.overwrite(brace, if empty { b' ' } else { b',' });
        let counted = body.len() - start;
        self.appending.commit(record.time.milliseconds(), counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deliver::{self, Rules, budget::Budget},
        tell::counters::Counters,
    };

    #[test]
    fn a_tag_never_leads_out_of_the_folder() {
        for (tag, name) in [
            ("app-firelens-0123", "app-firelens-0123"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/abs", "_abs"),
            ("..", "untagged"),
            ("", "untagged"),
            ("a\0b\nc", "a_b_c"),
            ("é", "_"),
        ] {
            assert_eq!(&*file_name(tag), name, "{tag:?}");
        }
        assert_eq!(file_name(&"x".repeat(1_000)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_sender_that_makes_up_tags_makes_no_files() {
        let folder = Arc::new(Folder { path: "unused".into(), file_bytes_max: 1 });
        let budget = Budget::new(1 << 20, 1);
        let (output, _engine) = deliver::deliver("file", folder, Rules::default(), &budget, &Counters::new());
        let sink = Sink::new(output);
        let names: HashSet<_> = (0..1_000).map(|number| sink.name(&format!("tag.{number}"))).collect();
        assert_eq!(names.len(), FILES_MAX + 1);
        assert_eq!((&*sink.name("tag.0"), &*sink.name("tag.999")), ("tag.0", OTHERS));
    }

    #[test]
    fn a_file_that_is_full_is_put_aside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for text in ["one\n", "two\n", "three\n"] {
            write(folder.path(), "app", text.as_bytes(), 8).expect("writes");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("reads");
        assert_eq!(read("app.log.1"), "one\ntwo\n");
        assert_eq!(read("app.log"), "three\n");
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = folder.path().join("secret");
        fs::write(&secret, "keep").expect("writes");
        std::os::unix::fs::symlink(&secret, folder.path().join("app.log")).expect("links");
        assert!(write(folder.path(), "app", b"bad\n", 100).is_err());
        assert_eq!(fs::read_to_string(secret).expect("reads"), "keep");
    }
}
