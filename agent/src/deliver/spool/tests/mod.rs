//! Tests of the spool on a disk that may do anything ([`hostile`]), and on the real one.
//!
//! Promises: each run prints nothing and each failure the seed that repeats it; `PILLION_TEST_SEED` sets it, and
//! `PILLION_TEST_LONG` multiplies the cases.
//! Never: needs root, or a disk of its own.

mod crashes;
mod damage;
mod folders;
pub(crate) mod hostile;
mod model;
mod stories;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use hostile::Hostile;

use super::{Found, Id, Limits, OpenError, Root, Store};

/// Small enough that a test fills it, with segments that hold a few entries.
const LIMITS: Limits = Limits { bytes_max: 128 * 1024, segment_bytes: 2 * 1024 };

/// The root of all spools here.
fn root_path() -> PathBuf {
    PathBuf::from("/spool")
}

/// The folder of the store.
fn folder() -> PathBuf {
    root_path().join("out")
}

fn try_open_with(disk: &Hostile, limits: Limits) -> Result<(Store, Found), OpenError> {
    Root::open(Arc::new(disk.clone()), &root_path())?.store("out", limits)
}

fn open(disk: &Hostile) -> (Store, Found) {
    try_open_with(disk, LIMITS).expect("it opens")
}

fn count(records: u32) -> NonZeroU32 {
    NonZeroU32::new(records).expect("at least one")
}

/// The bytes of the entry number `number`: each looks different, and some contain what looks like a frame.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut payload: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
    if bytes > 40 && number.is_multiple_of(3) {
        payload[bytes / 2..][..4].copy_from_slice(&super::frame::FRAME_MAGIC);
    }
    payload
}

fn append(store: &mut Store, records: u32, bytes: &[u8]) -> Id {
    store.append(count(records), &[bytes]).expect("it is appended")
}

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "tests are steered from outside, the agent is not")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of this run.
fn seed() -> u64 {
    setting("PILLION_TEST_SEED").unwrap_or_else(|| fastrand::u64(..))
}

/// How many cases to run where `few` are enough for every day.
fn cases(few: u64, many: u64) -> u64 {
    if setting("PILLION_TEST_LONG").is_some() { many } else { few }
}

/// Runs `check` with `count` seeds, all different in each run, and names the one that fails.
fn with_seeds(count: u64, check: impl Fn(u64)) {
    if let Some(seed) = setting("PILLION_TEST_SEED") {
        return check(seed);
    }
    let first = seed();
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed)));
        assert!(outcome.is_ok(), "repeat it with PILLION_TEST_SEED={seed}");
    }
}

/// The segments' files.
fn segment_paths(disk: &Hostile) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    disk.paths().into_iter().filter(is_segment).collect()
}

fn cursor_path() -> PathBuf {
    folder().join(super::cursor::NAME)
}
