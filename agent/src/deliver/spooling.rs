//! The one folder on disk, and each output's part of it.
//!
//! Promises: a spool that cannot be opened is reported, with what to do, and costs nothing but itself: the outputs go on in
//! memory, unless the user wants no start without it; what an output left that is configured no more is told.
//! Never: fails a start by itself; removes what an output left.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{error, warn};

use super::{
    Engine,
    books::Books,
    disk::WhenFull,
    spool::{self, Found, OpenError, Root, Store, files::Real},
};
use crate::{tell::chain, units::ByteSize};

/// Bytes on disk, if the user does not say how many.
pub const BYTES_DEFAULT: ByteSize = ByteSize::mebibytes(1_024);
/// The smallest spool of an output: three segments of 4 MiB, two of which are kept free, and one to spare.
pub const OUTPUT_BYTES_MIN: ByteSize = ByteSize::mebibytes(16);

/// The folder, and what is in it.
#[derive(Debug)]
pub struct Spooling {
    path: PathBuf,
    when_full: WhenFull,
    at_once: bool,
    /// What was opened for each output and is not attached yet.
    stores: Mutex<HashMap<Arc<str>, (Store, Found)>>,
    without: Vec<Without>,
    orphans: Vec<Orphan>,
}

/// What is to be opened.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The folder.
    pub path: PathBuf,
    /// The outputs, and the bytes of each.
    pub outputs: Vec<(Arc<str>, ByteSize)>,
    /// What goes when that is not enough.
    pub when_full: WhenFull,
    /// Everything is copied as soon as it is accepted.
    pub at_once: bool,
}

/// An output that should have a spool and has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Without {
    /// Its name.
    pub output: Arc<str>,
    /// Why.
    pub why: String,
}

/// What an output left that is configured no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The name of its folder.
    pub folder: String,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Spooling {
    /// Opens the folder, and the part of each output. An output whose part cannot be opened goes [`without`](Self::without).
    pub fn open(wish: Wish) -> Result<Self, OpenError> {
        let mut root = Root::open(Arc::new(Real), &wish.path)?;
        let mut spooling = Self {
            path: wish.path,
            when_full: wish.when_full,
            at_once: wish.at_once,
            stores: Mutex::default(),
            without: Vec::new(),
            orphans: Vec::new(),
        };
        let mut stores = HashMap::new();
        for (name, bytes) in wish.outputs {
            match root.store(&name, spool::Limits::new(bytes.0)) {
                Ok((store, found)) => {
                    for damage in &found.damage {
                        warn!(output = &*name, %damage, "the spool is damaged");
                    }
                    stores.insert(name, (store, found));
                }
                Err(error) => {
                    error!(output = &*name, error = %chain(&error), "this output has no spool; its records are kept in memory only");
                    spooling.without.push(Without { output: name, why: chain(&error).to_string() });
                }
            }
        }
        spooling.stores = Mutex::new(stores);
        for (folder, bytes) in root.others() {
            warn!(
                folder,
                bytes, "the spool holds records of an output that is not configured; they stay there until it is"
            );
            spooling.orphans.push(Orphan { folder, bytes });
        }
        Ok(spooling)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The outputs that should have a part and have none.
    pub fn without(&self) -> &[Without] {
        &self.without
    }

    /// What outputs left that are configured no more.
    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// Gives an engine its part, and what an earlier process left in it.
    pub fn attach(&self, engine: Engine, books: &Books) -> Engine {
        let opened = self.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(&*engine.name());
        match opened {
            Some((store, found)) => engine.with_spool(store, found, self.when_full, self.at_once, books.clone()),
            None => engine,
        }
    }
}

/// The least that holds what outputs ask for, and the smallest spool for each of the others.
pub fn least(parts: &[Option<ByteSize>]) -> ByteSize {
    let least = parts.iter().map(|part| part.unwrap_or(OUTPUT_BYTES_MIN).0);
    ByteSize(least.fold(0, u64::saturating_add).max(OUTPUT_BYTES_MIN.0))
}

/// Bytes for each output, of `bytes_max` for all: what it asks for, else an equal part of what is left. Without a
/// `bytes_max` that is the default.
pub fn shared_out(bytes_max: Option<ByteSize>, parts: &[Option<ByteSize>]) -> Vec<ByteSize> {
    let named = parts.iter().flatten().fold(0, |sum: u64, part| sum.saturating_add(part.0));
    let rest = bytes_max.map_or(BYTES_DEFAULT.0, |all| all.0.saturating_sub(named));
    let others = parts.iter().filter(|part| part.is_none()).count().max(1) as u64;
    parts.iter().map(|part| part.unwrap_or(ByteSize(rest / others))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mib(n: u64) -> ByteSize {
        ByteSize::mebibytes(n)
    }

    #[test]
    fn outputs_get_what_they_ask_for_and_the_others_equal_parts_of_the_rest() {
        for (bytes_max, parts, expected) in [
            (None, vec![], vec![]),
            (None, vec![None, None], vec![mib(512), mib(512)]),
            (None, vec![Some(mib(20)), None], vec![mib(20), mib(1_024)]),
            (None, vec![Some(mib(20)), Some(mib(5_000))], vec![mib(20), mib(5_000)]),
            (Some(mib(100)), vec![Some(mib(20)), None, None], vec![mib(20), mib(40), mib(40)]),
            (Some(mib(100)), vec![None], vec![mib(100)]),
        ] {
            assert_eq!(shared_out(bytes_max, &parts), expected, "{bytes_max:?} {parts:?}");
        }
        assert_eq!(least(&[Some(mib(20)), None, None]), mib(52));
        assert_eq!(least(&[Some(ByteSize(u64::MAX)), None]), ByteSize(u64::MAX));
        assert_eq!(least(&[]), mib(16));
    }

    fn wish(path: &Path, names: &[&str]) -> Wish {
        let outputs = names.iter().map(|&name| (Arc::from(name), mib(16))).collect();
        Wish { path: path.to_owned(), outputs, when_full: WhenFull::default(), at_once: false }
    }

    #[test]
    fn what_an_output_left_that_is_configured_no_more_is_told_and_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Spooling::open(wish(folder.path(), &["old/one", "b"])).expect("opens");
        assert_eq!(first.orphans(), []);
        drop(first);
        std::fs::write(folder.path().join("old%2fone/0000000000000001.segment"), [0; 500]).expect("writes");
        std::fs::create_dir(folder.path().join("lost+found")).expect("not ours, and empty");
        let second = Spooling::open(wish(folder.path(), &["b", "c"])).expect("opens");
        let [Orphan { folder: name, bytes }] = second.orphans() else { panic!("{:?}", second.orphans()) };
        assert!(name == "old%2fone" && *bytes >= 500, "{name} {bytes}");
        assert!(folder.path().join("old%2fone/0000000000000001.segment").exists());
    }

    #[test]
    fn an_output_whose_part_cannot_be_opened_goes_without_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a"), "in the way").expect("writes");
        let spooling = Spooling::open(wish(folder.path(), &["a", "b"])).expect("opens");
        let [Without { output, why }] = spooling.without() else { panic!("{:?}", spooling.without()) };
        assert!(&**output == "a" && why.contains("is not a folder"), "{output} {why}");
    }
}
