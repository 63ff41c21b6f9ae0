//! Small file systems of a test's own, that can be full, broken or read-only.
//!
//! Promises: mounted when made, unmounted when dropped; panics with the reason where nothing can be mounted.
//! Never: touches a file system that it did not mount.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    folder: TempDir,
}

impl Mounted {
    /// A tmpfs of so many bytes.
    pub fn tmpfs(bytes: u64) -> Self {
        let disk = Self::at_new_folder();
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
        disk
    }

    /// An ext4 of so many bytes in the file `image`, which is made. `options` are those of mkfs.
    pub fn ext4(image: &Path, bytes: u64, options: &[&str], mount: &str) -> Self {
        let file = fs::File::create(image).expect("makes the image");
        file.set_len(bytes).expect("the file is sparse");
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).args(options).arg(image).output();
        let made = made.expect("mkfs.ext4 is there (Debian's e2fsprogs)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let disk = Self::at_new_folder();
        disk.mount(&["-t", "ext4", "-o", &format!("loop,{mount}"), &image.to_string_lossy()]);
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()).output();
        let mounted = mounted.expect("mount is there");
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }

    /// Has ext4 find a mistake in itself, as a bad disk makes it. What it does then is its option `errors`.
    pub fn find_mistake(&self) {
        let device = fs::metadata(self.path()).expect("it is mounted").dev();
        let (major, minor) = (device >> 8 & 0xfff, device & 0xff);
        let name =
            fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).expect("a block device has a place in sysfs");
        let name = name.file_name().expect("its last part is the name").to_owned();
        let switch = PathBuf::from("/sys/fs/ext4").join(name).join("trigger_fs_error");
        fs::write(&switch, "1").unwrap_or_else(|error| panic!("cannot write `{}`: {error}", switch.display()));
    }

    fn at_new_folder() -> Self {
        Self { folder: tempfile::tempdir().expect("makes a folder") }
    }

    fn mount(&self, words: &[&str]) {
        let mounted = Command::new("mount").args(words).arg(self.path()).output().expect("mount is there");
        let text = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "these tests mount, which only root may (with loop devices): {text}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // An agent that is being killed may still have a file open; the kernel unmounts when it has gone.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
