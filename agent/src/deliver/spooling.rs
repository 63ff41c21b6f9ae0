//! The one folder on disk, and each output's part of it.
//!
//! Promises: a spool that cannot be opened is reported, with what to do, and costs nothing but itself: the outputs go on in
//! memory.
//! Never: fails a start.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{error, warn};

use super::{
    Destination, Engine,
    books::Books,
    disk::WhenFull,
    spool::{self, Root, files::Real},
};
use crate::tell::chain;

/// The folder, and how it is shared.
#[derive(Debug)]
pub struct Spooling {
    root: Mutex<Root>,
    path: PathBuf,
    bytes_each: u64,
    when_full: WhenFull,
    at_once: bool,
}

impl Spooling {
    /// Opens the folder at `path`, with `bytes_max` bytes for `outputs` outputs. With `at_once`, everything is copied there
    /// as soon as it is accepted. `None` if it cannot be opened.
    pub fn open(path: &Path, bytes_max: u64, outputs: usize, when_full: WhenFull, at_once: bool) -> Option<Self> {
        let root = Root::open(Arc::new(Real), path);
        let root = root
            .inspect_err(|error| error!(error = %chain(error), "there is no spool; records are kept in memory only"));
        let bytes_each = bytes_max / outputs.max(1) as u64;
        Some(Self { root: Mutex::new(root.ok()?), path: path.to_owned(), bytes_each, when_full, at_once })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives an engine its part, and what an earlier process left in it.
    pub fn attach<D: Destination>(&self, engine: Engine<D>, books: &Books) -> Engine<D> {
        let name = engine.name();
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        match root.store(&name, spool::Limits::new(self.bytes_each)) {
            Ok((store, found)) => {
                for damage in &found.damage {
                    warn!(output = &*name, %damage, "the spool is damaged");
                }
                engine.with_spool(store, found, self.when_full, self.at_once, books.clone())
            }
            Err(error) => {
                error!(output = &*name, error = %chain(&error), "this output has no spool; its records are kept in memory only");
                engine
            }
        }
    }
}
