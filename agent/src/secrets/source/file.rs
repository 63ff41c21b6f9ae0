//! A local file, for development.
//!
//! Promises: a version is known by when and where the file was written; a file that changes while it is read is read again
//! later, not shown half.
//! Never: makes a version's name of what is in the file, or of its length; opens what is not a plain file.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{CURRENT, Followed, Seen, Source, SourceFault, SourceFaultKind, Wanted};
use crate::{
    limits,
    secrets::value::{Content, Value, Version},
};

/// One file.
pub struct File {
    path: PathBuf,
    followed: Followed,
}

impl File {
    /// The file at `path`, which need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, followed: Followed::Stage(CURRENT.to_owned()) }
    }

    /// Which version is the current one: the file as it is.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Does `work` with the path where blocking is allowed.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, SourceFault> + Send + 'static,
    ) -> Result<T, SourceFault> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        done.unwrap_or_else(|_| Err(fault(SourceFaultKind::Transient, &self.path, "cannot be read just now")))
    }
}

impl Source for File {
    async fn look(&self) -> Result<Seen, SourceFault> {
        self.apart(|path| {
            let id = version(&stat(path, fs::metadata(path))?);
            let versions = BTreeMap::from([(id, vec![CURRENT.to_owned()])]);
            Ok(Seen { id: path.display().to_string(), versions, ..Seen::default() })
        })
        .await
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
        let wanted = wanted.clone();
        self.apart(move |path| {
            // Before it is opened: opening a pipe would wait for its writer.
            stat(path, fs::metadata(path))?;
            let mut file = fs::File::open(path).map_err(|error| of_io(path, &error))?;
            let before = stat(path, file.metadata())?;
            let id = version(&before);
            if !matches!(&wanted, Wanted::Id(wanted) if *wanted == id) && wanted != Wanted::Stage(CURRENT.to_owned()) {
                return Err(fault(SourceFaultKind::Missing, path, "has no such version any more"));
            }
            // With the whole room at once, no grown buffer leaves a copy behind.
            let mut bytes = Vec::with_capacity(limits::SECRET_BYTES_MAX + 1);
            let read = Read::by_ref(&mut file).take(limits::SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
            let value = Value::new(bytes);
            read.map_err(|error| of_io(path, &error))?;
            if value.expose().len() > limits::SECRET_BYTES_MAX {
                return Err(fault(SourceFaultKind::Invalid, path, "is larger than a secret may be, which is 64 KiB"));
            }
            if version(&stat(path, file.metadata())?) != id {
                return Err(fault(SourceFaultKind::Transient, path, "was written while it was read"));
            }
            let content = if value.expose_text().is_some() { Content::Text(value) } else { Content::Binary(value) };
            Ok(Version { id, stages: vec![CURRENT.to_owned()], created: Some(before.mtime().to_string()), content })
        })
        .await
    }
}

fn stat(path: &Path, found: io::Result<Metadata>) -> Result<Metadata, SourceFault> {
    match found {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(_) => Err(fault(SourceFaultKind::Invalid, path, "is not a plain file")),
        Err(error) => Err(of_io(path, &error)),
    }
}

/// A name for the file as it is: the times of its last change, and its place on the disk.
fn version(found: &Metadata) -> String {
    let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    format!("{}.{:09}-{}.{:09}-{}", mtime.0, mtime.1, ctime.0, ctime.1, found.ino())
}

fn of_io(path: &Path, error: &io::Error) -> SourceFault {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceFaultKind::Missing,
        io::ErrorKind::PermissionDenied => SourceFaultKind::Denied,
        _ => SourceFaultKind::Transient,
    };
    fault(kind, path, &format!("cannot be read: {error}"))
}

fn fault(kind: SourceFaultKind, path: &Path, what: &str) -> SourceFault {
    SourceFault::own(kind, format!("the file `{}` {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn only(seen: &Seen) -> Wanted {
        Wanted::Id(seen.version_of(CURRENT).expect("a current version").to_owned())
    }

    #[tokio::test]
    async fn a_file_is_a_secret_with_one_version_that_changes_as_it_is_replaced() {
        let folder = folder();
        let path = folder.path().join("db.json");
        let file = File::new(path.clone());
        assert_eq!(file.look().await.expect_err("not there").kind, SourceFaultKind::Missing);
        fs::write(&path, "one").expect("written");
        let first = file.look().await.expect("there");
        let version = file.fetch(&only(&first)).await.expect("fetched");
        assert_eq!(version.content.value().expose(), b"one");
        assert!(matches!(version.content, Content::Text(_)));

        fs::write(folder.path().join("new"), [0xff, 0]).expect("written");
        fs::rename(folder.path().join("new"), &path).expect("replaced");
        let second = file.look().await.expect("there");
        assert_ne!(first, second);
        assert_eq!(file.fetch(&only(&first)).await.expect_err("gone").kind, SourceFaultKind::Missing);
        let version = file.fetch(&Wanted::Stage(CURRENT.to_owned())).await.expect("fetched");
        assert_eq!((Wanted::Id(version.id), version.content.value().expose()), (only(&second), &[0xff, 0][..]));
        assert!(matches!(version.content, Content::Binary(_)));
    }

    /// A pipe in its place must not hang the job, and the name of a version must tell nothing of the value.
    #[tokio::test]
    async fn what_is_no_secret_is_refused_without_a_word_of_its_content() {
        let folder = folder();
        let big = folder.path().join("big");
        fs::write(&big, "x".repeat(limits::SECRET_BYTES_MAX + 1)).expect("written");
        let refused = File::new(big).fetch(&Wanted::Stage(CURRENT.to_owned())).await.expect_err("too large");
        assert_eq!(refused.kind, SourceFaultKind::Invalid);
        assert!(!refused.to_string().contains("xx") && !refused.to_string().contains("65537"), "{refused}");

        let fits = folder.path().join("fits");
        fs::write(&fits, "x".repeat(limits::SECRET_BYTES_MAX)).expect("written");
        File::new(fits).fetch(&Wanted::Stage(CURRENT.to_owned())).await.expect("it fits");

        let refused = File::new(folder.path().to_owned()).look().await.expect_err("a folder");
        assert_eq!(refused.kind, SourceFaultKind::Invalid);
        let below_a_file = folder.path().join("big/x");
        assert_eq!(File::new(below_a_file).look().await.expect_err("no folder").kind, SourceFaultKind::Missing);
        let wanted = Wanted::Stage("AWSPREVIOUS".to_owned());
        let fault = File::new(folder.path().join("fits")).fetch(&wanted).await.expect_err("no such stage");
        assert_eq!(fault.kind, SourceFaultKind::Missing);
    }
}
