//! A memory limit as a container has it: a cgroup of its own, of version 1 or 2, whichever limits memory on this machine.
//!
//! Promises: the kernel enforces the limit on the agent alone, the agent finds it where a container does, and what the
//! kernel killed for it is counted by the kernel. Panics with what to do where no limit can be set; gone when dropped.
//! Never: limits anything but the agent; leaves its mounts to the host (they are in a namespace of the agent's own).

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::agent::{PILLION, Setup};

/// What to do about a machine without memory limits.
const ADVICE: &str = "these tests need root and the memory controller: mount cgroup2 on /sys/fs/cgroup, or cgroup v1 with \
                      `mount -t cgroup -o memory memory /sys/fs/cgroup/memory`; in a container, start it with --privileged";
/// How often a group is asked to go while its last process does.
const TRIES: usize = 500;
/// The pause between.
const LOOK: Duration = Duration::from_millis(2);

/// Which interface the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group with a limit.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    version: Version,
}

impl MemoryGroup {
    /// Makes one that may use `bytes`, and no swap.
    pub fn new(bytes: u64) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
        let (version, root) = find(&mounts).unwrap_or_else(|| panic!("no cgroup limits memory here; {ADVICE}"));
        let name = format!("pillion-test-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let group = Self { folder: root.join(name), version };
        if version == Version::Two {
            // Fails if it is on already and may not be touched; then the limit below still can be set.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        fs::create_dir(&group.folder)
            .unwrap_or_else(|error| panic!("cannot make `{}`: {error}; {ADVICE}", group.folder.display()));
        match version {
            Version::One => {
                group.set("memory.limit_in_bytes", bytes);
                // A kernel without swap accounting has no such file.
                let _ = fs::write(group.folder.join("memory.memsw.limit_in_bytes"), bytes.to_string());
            }
            Version::Two => {
                group.set("memory.max", bytes);
                let _ = fs::write(group.folder.join("memory.swap.max"), "0");
            }
        }
        group
    }

    /// Starts the agent of `setup` in this group, which is then the root of what it sees of cgroups.
    #[must_use]
    pub fn around(&self, setup: Setup) -> Setup {
        let (folder, seen) = (
            self.folder.display(),
            match self.version {
                Version::One => "/sys/fs/cgroup/memory",
                Version::Two => "/sys/fs/cgroup",
            },
        );
        let script = format!("echo $$ > {folder}/cgroup.procs && mount --bind {folder} {seen} && exec \"$0\" \"$@\"");
        setup.by(&["unshare", "--mount", "--fork", "--kill-child", "/bin/sh", "-c", &script, PILLION])
    }

    /// Processes that the kernel ended because the limit was reached.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = self.get(file);
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or_else(|| panic!("`{file}` does not count kills:\n{text}"))
    }

    fn number(&self, file: &str) -> u64 {
        self.get(file).trim().parse().unwrap_or_else(|error| panic!("`{file}`: {error}"))
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_else(|error| panic!("cannot read `{file}`: {error}"))
    }

    fn set(&self, file: &str, bytes: u64) {
        let path = self.folder.join(file);
        fs::write(&path, bytes.to_string())
            .unwrap_or_else(|error| panic!("cannot set `{}`: {error}; {ADVICE}", path.display()));
        assert_eq!(self.number(file), bytes, "the kernel did not take the limit; {ADVICE}");
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that was killed leaves its group a moment later.
        for _ in 0..TRIES {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

/// The hierarchy that limits memory.
fn find(mounts: &str) -> Option<(Version, PathBuf)> {
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (place, kind, options) = (Path::new(words.next()?), words.next()?, words.next()?);
        if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
            return Some((Version::One, place.to_owned()));
        }
        let controls = || fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
        if kind == "cgroup2" && controls().split_whitespace().any(|controller| controller == "memory") {
            return Some((Version::Two, place.to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_of_version_1_is_found_by_its_options() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n";
        assert_eq!(find(mounts), Some((Version::One, "/sys/fs/cgroup/memory".into())));
        assert_eq!(find("cgroup2 /nowhere cgroup2 rw 0 0\n"), None);
    }

    /// Without this the stories would prove nothing: the kernel ends who goes beyond the limit, and counts it.
    #[test]
    fn who_goes_beyond_the_limit_is_killed_and_counted() {
        let group = MemoryGroup::new(16 << 20);
        let procs = group.folder.join("cgroup.procs");
        // The shell keeps what it reads.
        let script = format!("echo $$ > {} && x=$(head -c 100000000 /dev/zero | tr '\\0' x)", procs.display());
        let status = process::Command::new("/bin/sh").args(["-c", &script]).stdout(process::Stdio::null()).status();
        assert!(!status.expect("a shell runs").success());
        assert!(group.oom_kills() >= 1);
    }
}
