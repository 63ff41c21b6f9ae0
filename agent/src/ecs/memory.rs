//! How much memory our container may use.
//!
//! Promises: the smallest limit that the kernel enforces on us, from cgroup v2 or v1.
//! Never: fails: a host without limits has none.

use std::{fs, path::Path};

/// A v1 limit of this size or more means "none": the kernel writes the largest multiple of its page size.
const NO_LIMIT: u64 = 1 << 62;

/// The container's memory limit in bytes, if it has one.
pub fn limit() -> Option<u64> {
    limit_below(Path::new("/sys/fs/cgroup"))
}

fn limit_below(root: &Path) -> Option<u64> {
    // In a container its own group is the root of what it sees.
    ["memory.max", "memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|file| fs::read_to_string(root.join(file)).ok()?.trim().parse().ok())
        .filter(|&bytes| bytes < NO_LIMIT)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_read_and_no_limit_is_none() {
        for (file, text, expected) in [
            ("memory.max", "67108864\n", Some(64 << 20)),
            ("memory.max", "max\n", None),
            ("memory/memory.limit_in_bytes", "67108864\n", Some(64 << 20)),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
            ("memory.max", "", None),
            ("other", "1", None),
        ] {
            let root = tempfile::tempdir().expect("a temporary folder");
            fs::create_dir_all(root.path().join("memory")).expect("makes a folder");
            fs::write(root.path().join(file), text).expect("writes");
            assert_eq!(limit_below(root.path()), expected, "{file}: {text}");
        }
    }
}
