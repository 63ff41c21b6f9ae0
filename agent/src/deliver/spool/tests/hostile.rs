//! A disk for tests that does what disks do on their worst day. In memory.
//!
//! What is written is in the page cache until the file is synced, and a name until its folder is. A crash keeps, of what was
//! not synced, any part: for each sector of 512 or 4096 bytes the state after any of the writes to it, any of the lengths,
//! any of the changes of names. After a failed sync, the pages count as clean, whether they are on the disk or not.
//!
//! Promises: the same seed, the same disk; every operation has a number at which it can be made to fail.
//! Never: refuses what the page cache would take, unless told so.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::super::files::{Access, Files, Handle, Kind, Listed, Lock};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hostile(Arc<Mutex<Disk>>);

/// What is on it and what it does.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What a crash leaves for sure.
    durable: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    random: fastrand::Rng,
    /// Numbers that nobody can guess, so far.
    numbers: u64,
    /// Operations so far.
    pub(crate) operations: u64,
    /// The operation that fails.
    pub(crate) fails_at: Option<u64>,
    /// All operations from that one on fail that change something.
    pub(crate) dies_at: Option<u64>,
    /// So many syncs fail from now on.
    pub(crate) sync_failures: u32,
    /// So many reads fail from now on.
    pub(crate) read_failures: u32,
    pub(crate) read_only: bool,
    /// Bytes that all files together may have.
    pub(crate) room: u64,
    /// Whether a write may stop early, for no reason.
    pub(crate) short_writes: bool,
    /// Paths that somebody else has locked.
    pub(crate) locked: Vec<PathBuf>,
    /// Copies of the disk before each operation that changes something, if wanted.
    pub(crate) history: Option<Vec<Disk>>,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    cache: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(path, _)) = self;
        path.parent() == Some(folder)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>, keeps: impl Fn(usize) -> bool) {
        match self {
            Self::Length(bytes) => content.resize(*bytes, 0),
            Self::Bytes { at, bytes } => {
                content.resize(content.len().max(at + bytes.len()), 0);
                for (place, byte) in (*at..).zip(bytes) {
                    if keeps(place) {
                        content[place] = *byte;
                    }
                }
            }
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            random: fastrand::Rng::with_seed(1),
            numbers: 0,
            operations: 0,
            fails_at: None,
            dies_at: None,
            sync_failures: 0,
            read_failures: 0,
            read_only: false,
            room: u64::MAX,
            short_writes: false,
            locked: Vec::new(),
            history: None,
        }
    }
}

impl Disk {
    fn node(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an operation, which may fail.
    fn operate(&mut self, changes: bool) -> io::Result<()> {
        self.operations += 1;
        if changes {
            if let Some(mut history) = self.history.take() {
                history.push(self.clone());
                self.history = Some(history);
            }
            if self.read_only {
                return Err(io::Error::from_raw_os_error(EROFS));
            }
        }
        let dead = changes && self.dies_at.is_some_and(|at| self.operations >= at);
        if dead || self.fails_at == Some(self.operations) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn add(&mut self, path: &Path, kind: Kind) -> usize {
        self.nodes.push(Node { kind, cache: Vec::new(), durable: Vec::new(), pending: Vec::new() });
        self.change(Change::Add(path.to_owned(), self.nodes.len() - 1));
        self.nodes.len() - 1
    }

    pub(crate) fn used(&self) -> u64 {
        self.names.values().map(|&node| self.nodes[node].cache.len() as u64).sum()
    }

    fn write(&mut self, node: usize, at: usize, mut bytes: Vec<u8>) -> io::Result<usize> {
        if self.short_writes && bytes.len() > 1 && self.random.bool() {
            bytes.truncate(self.random.usize(1..bytes.len()));
        }
        let growth = (at + bytes.len()).saturating_sub(self.nodes[node].cache.len()) as u64;
        let lacking = (self.used() + growth).saturating_sub(self.room).min(growth) as usize;
        if lacking >= bytes.len() && !bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        bytes.truncate(bytes.len() - lacking);
        let written = bytes.len();
        let write = Write::Bytes { at, bytes };
        let node = &mut self.nodes[node];
        write.apply(&mut node.cache, |_| true);
        node.pending.push(write);
        Ok(written)
    }

    /// Lets any part of what was not synced reach the disk.
    fn settle_pending(node: &mut Node, random: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut node.pending);
        let sector = if random.bool() { 512 } else { 4096 };
        let writes = pending.len();
        let longest = pending.iter().map(|write| match write {
            Write::Bytes { at, bytes } => at + bytes.len(),
            Write::Length(bytes) => *bytes,
        });
        let sectors = longest.chain([node.durable.len()]).max().unwrap_or(0) / sector + 1;
        // For each sector, and for the length, how many of the writes it saw.
        let same = random.usize(0..=writes);
        let mode = random.u8(0..4);
        let mut draw = || match mode {
            0 => 0,
            1 => writes,
            2 => same,
            _ => random.usize(0..=writes),
        };
        let seen: Vec<usize> = (0..sectors).map(|_| draw()).collect();
        let length_seen = draw();
        let mut length = node.durable.len();
        for (number, write) in pending.iter().enumerate() {
            if number < length_seen {
                length = match write {
                    Write::Bytes { at, bytes } => length.max(at + bytes.len()),
                    Write::Length(bytes) => *bytes,
                };
            }
            if let Write::Bytes { .. } = write {
                write.apply(&mut node.durable, |place| number < seen[place / sector]);
            }
        }
        node.durable.resize(length, 0);
    }

    /// What a machine finds that starts after a crash now.
    pub(crate) fn crashed(&self, seed: u64) -> Hostile {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = Self { history: None, ..self.clone() };
        let mode = random.u8(0..4);
        let some = random.usize(0..=disk.changes.len());
        for (number, change) in std::mem::take(&mut disk.changes).iter().enumerate() {
            let lasts = match mode {
                0 => false,
                1 => true,
                2 => number < some,
                _ => random.bool(),
            };
            if lasts {
                change.apply(&mut disk.durable);
            }
        }
        for node in &mut disk.nodes {
            Self::settle_pending(node, &mut random);
            node.cache = node.durable.clone();
        }
        disk.names = disk.durable.clone();
        (disk.random, disk.operations, disk.fails_at, disk.dies_at) = (random, 0, None, None);
        (disk.sync_failures, disk.read_failures, disk.read_only, disk.room) = (0, 0, false, u64::MAX);
        disk.locked.clear();
        Hostile(Arc::new(Mutex::new(disk)))
    }
}

impl Hostile {
    /// The disk, to look at it or to make it behave worse.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a machine finds that starts after a crash now.
    pub(crate) fn crashed(&self, seed: u64) -> Self {
        self.disk().crashed(seed)
    }

    /// An equal disk, of its own.
    pub(crate) fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.disk().clone())))
    }

    /// Names of all files and folders.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    /// The content of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        let disk = self.disk();
        disk.nodes[disk.names[path]].cache.clone()
    }

    /// Puts a file there, or changes one, durably.
    pub(crate) fn put(&self, path: &Path, content: Vec<u8>) {
        self.put_node(path, Kind::File, content);
    }

    /// Puts something else there.
    pub(crate) fn put_kind(&self, path: &Path, kind: Kind) {
        self.put_node(path, kind, Vec::new());
    }

    fn put_node(&self, path: &Path, kind: Kind, content: Vec<u8>) {
        let mut disk = self.disk();
        disk.nodes.push(Node { kind, cache: content.clone(), durable: content, pending: Vec::new() });
        let node = disk.nodes.len() - 1;
        disk.names.insert(path.to_owned(), node);
        disk.durable.insert(path.to_owned(), node);
    }

    /// Takes a file away, durably.
    pub(crate) fn take(&self, path: &Path) {
        let mut disk = self.disk();
        disk.names.remove(path);
        disk.durable.remove(path);
    }

    fn open_node(&self, node: usize, access: Access) -> Box<dyn Handle> {
        Box::new(OpenNode { files: self.clone(), node, access })
    }
}

impl Files for Hostile {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        match disk.node(folder).map(|node| disk.nodes[node].kind) {
            Ok(Kind::Folder) => Ok(()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {
                disk.operate(true)?;
                disk.add(folder, Kind::Folder);
                Ok(())
            }
        }
    }

    fn list(&self, folder: &Path, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(false)?;
        for (path, &node) in disk.names.iter().filter(|(path, _)| path.parent() == Some(folder)) {
            each(Listed { name: path.file_name().unwrap_or_default().to_owned(), kind: disk.nodes[node].kind });
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        let mut disk = self.disk();
        disk.operate(true)?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = disk.add(path, Kind::File);
        Ok(self.open_node(node, Access::Write))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Handle>> {
        let mut disk = self.disk();
        disk.operate(false)?;
        let node = disk.node(path)?;
        match disk.nodes[node].kind {
            Kind::File if disk.read_only && access == Access::Write => Err(io::Error::from_raw_os_error(EROFS)),
            Kind::File => Ok(self.open_node(node, access)),
            Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Kind::Other => Err(io::Error::from_raw_os_error(libc::ELOOP)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(true)?;
        disk.node(from)?;
        if disk.node(to).is_ok_and(|node| disk.nodes[node].kind == Kind::Folder) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        disk.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(true)?;
        let node = disk.node(path)?;
        if disk.nodes[node].kind == Kind::Folder {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        disk.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(true)?;
        let (now, later) = std::mem::take(&mut disk.changes).into_iter().partition(|change| change.is_in(folder));
        disk.changes = later;
        let changes: Vec<Change> = now;
        changes.iter().for_each(|change| change.apply(&mut disk.durable));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut disk = self.disk();
        if disk.locked.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        if disk.node(path).is_err() {
            disk.operate(true)?;
            disk.add(path, Kind::File);
        }
        disk.locked.push(path.to_owned());
        Ok(Some(Box::new(Locked { files: self.clone(), path: path.to_owned() })))
    }

    fn random(&self) -> u64 {
        let mut disk = self.disk();
        // Also after a crash with the seed of one before.
        disk.numbers += 1;
        let number = disk.numbers;
        disk.random.u64(..).wrapping_add(number)
    }
}

#[derive(Debug)]
struct Locked {
    files: Hostile,
    path: PathBuf,
}

impl Lock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        self.files.disk().locked.retain(|locked| *locked != path);
    }
}

#[derive(Debug)]
struct OpenNode {
    files: Hostile,
    node: usize,
    access: Access,
}

impl OpenNode {
    fn writable(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.files.disk();
        disk.operate(true)?;
        if self.access == Access::Read { Err(io::Error::from_raw_os_error(libc::EBADF)) } else { Ok(disk) }
    }
}

impl Handle for OpenNode {
    fn bytes(&self) -> io::Result<u64> {
        let mut disk = self.files.disk();
        disk.operate(false)?;
        Ok(disk.nodes[self.node].cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut disk = self.files.disk();
        disk.operate(false)?;
        if disk.read_failures > 0 {
            disk.read_failures -= 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let rest = usize::try_from(at).ok().and_then(|at| disk.nodes[self.node].cache.get(at..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut disk = self.writable()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        disk.write(self.node, usize::try_from(at).expect("small files"), bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.writable()?;
        let disk = &mut *disk;
        let node = &mut disk.nodes[self.node];
        if disk.sync_failures > 0 {
            disk.sync_failures -= 1;
            Disk::settle_pending(node, &mut disk.random);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        node.durable = node.cache.clone();
        node.pending.clear();
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.writable()?;
        let write = Write::Length(usize::try_from(bytes).expect("small files"));
        let node = &mut disk.nodes[self.node];
        write.apply(&mut node.cache, |_| true);
        node.pending.push(write);
        Ok(())
    }
}
