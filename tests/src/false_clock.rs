//! A time of day that is the agent's alone, so that hours pass while it is stopped and the story takes seconds.
//!
//! Promises: CLOCK_REALTIME jumps as it does when a machine wakes up; CLOCK_MONOTONIC goes on (libfaketime, by Debian).
//! Never: changes the clock of anyone else.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::agent::Setup;

/// A clock that can be put forward.
#[derive(Debug)]
pub struct FalseClock {
    folder: TempDir,
}

impl FalseClock {
    /// One that shows the true time.
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("makes a folder") };
        clock.set_ahead(Duration::ZERO);
        clock
    }

    /// How far it is ahead of the true time.
    pub fn set_ahead(&self, by: Duration) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("+{}\n", by.as_secs())).expect("writes");
        // At once, for whoever looks at the time in between.
        fs::rename(new, self.file()).expect("renames");
    }

    /// Gives the agent of `setup` this clock. It must be linked dynamically, as `cargo build` does it on Debian.
    #[must_use]
    pub fn on(&self, setup: Setup) -> Setup {
        setup
            .with("LD_PRELOAD", library().to_string_lossy())
            .with("FAKETIME_TIMESTAMP_FILE", self.file().to_string_lossy())
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with("DONT_FAKE_MONOTONIC", "1")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("time")
    }
}

impl Default for FalseClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Debian puts it into the folder of the architecture.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is there: apt-get install libfaketime")
}
