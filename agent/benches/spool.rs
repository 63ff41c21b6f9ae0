//! The spool on the file system that holds the temporary folder: how fast entries become durable, and how soon it opens.
//!
//! ```text
//! cargo bench -p pillion --bench spool
//! ```
//!
//! Promises: wall clock, each entry of 1 MiB appended and synced by itself, then all of them found again and read.
//! Never: leaves anything behind. A file system in memory makes the figures meaningless.

use std::{
    io::Write,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use pillion::deliver::spool::{Found, Limits, Root, Store, files::Real};

const ENTRIES: u32 = 64;
const ENTRY_BYTES: usize = 1024 * 1024;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let payload: Vec<u8> = (0..ENTRY_BYTES).map(|place| (place * 7 % 251) as u8).collect();
    let (mut store, _) = open(folder.path());
    let mut syncs = Vec::new();
    let started = Instant::now();
    for _ in 0..ENTRIES {
        store.append(NonZeroU32::MIN, &[&payload]).expect("there is room");
        let appended = Instant::now();
        store.sync().expect("the disk is well");
        syncs.push(appended.elapsed());
    }
    let written = started.elapsed();
    drop(store);
    let started = Instant::now();
    let (mut store, found) = open(folder.path());
    let opened = started.elapsed();
    let started = Instant::now();
    for entry in &found.waiting {
        store.read(entry.id).expect("it is whole");
    }
    let read = started.elapsed();
    syncs.sort_unstable();
    let rate = |time: Duration| f64::from(ENTRIES) / time.as_secs_f64();
    let mut out = std::io::stdout().lock();
    let lines = [
        format!("append and sync  {:>8.0} MiB/s", rate(written)),
        format!(
            "one sync         {:>8.1} ms median, {:.1} ms at most",
            milliseconds(syncs[syncs.len() / 2]),
            milliseconds(syncs[syncs.len() - 1])
        ),
        format!("open 64 MiB      {:>8.1} ms", milliseconds(opened)),
        format!("read             {:>8.0} MiB/s", rate(read)),
    ];
    for line in lines {
        writeln!(out, "{line}").expect("standard output takes it");
    }
}

fn open(path: &Path) -> (Store, Found) {
    let mut root = Root::open(Arc::new(Real), path).expect("the folder is ours");
    root.store("bench", Limits::new(128 * ENTRY_BYTES as u64)).expect("the folder is ours")
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
