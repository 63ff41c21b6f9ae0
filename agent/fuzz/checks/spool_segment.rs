//! What must hold of a spool whose segment is any bytes, or was damaged in any way.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: touches the disk: its files are in memory.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pillion::deliver::spool::{
    Found, Limits, ReadError, Root, Store,
    files::{Access, Files, Handle, Kind, Listed, Lock},
};

/// Checks `bytes`: the first says whether the others are a segment, or places to damage in a good one (two bytes where, one
/// what).
pub(crate) fn check(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let memory = Memory::default();
    let segment = Path::new("/spool/out/0000000000000000.segment");
    let mut known = BTreeMap::new();
    {
        let (mut store, _) = open(&memory);
        for number in 0..8_u8 {
            let payload = vec![number; usize::from(number) * 40];
            let records = NonZeroU32::new(u32::from(number) + 1).expect("at least one");
            known.insert(store.append(records, &[&payload]).expect("there is room"), payload);
        }
        store.sync().expect("memory is durable");
        store.save_cursor().expect("there is room");
    }
    {
        let mut files = memory.files();
        let content = files.get_mut(segment).expect("it was written");
        if how % 2 == 0 {
            *content = bytes.to_vec();
        } else {
            for damage in bytes.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % content.len();
                content[at] ^= damage[2];
            }
        }
    }
    let (mut store, found) = open(&memory);
    let mut records = found.lost.records();
    for pair in found.waiting.windows(2) {
        assert!(pair[0].id < pair[1].id, "in order");
    }
    for entry in &found.waiting {
        records += u64::from(entry.records);
        match store.read(entry.id) {
            Ok(read) if how % 2 == 1 => assert!(known.get(&entry.id) == Some(&read), "nothing is invented"),
            Ok(read) => assert_eq!(read.len(), entry.bytes as usize),
            Err(error) => assert!(matches!(error, ReadError::Damaged { records } if records == entry.records)),
        }
    }
    if how % 2 == 1 {
        assert_eq!(records, 36, "each record is there or lost");
    }
    drop(store);
    let (mut store, again) = open(&memory);
    assert_eq!(again, found, "a start changes nothing");
    store.save_cursor().expect("there is room");
    store.append(NonZeroU32::MIN, &[b"goes on"]).expect("there is room");
    store.sync().expect("memory is durable");
}

fn open(memory: &Memory) -> (Store, Found) {
    let files: Arc<dyn Files> = Arc::new(memory.clone());
    let limits = Limits { bytes_max: 1024 * 1024, segment_bytes: 64 * 1024 };
    let mut root = Root::open(files, Path::new("/spool")).expect("memory is well");
    root.store("out", limits).expect("memory is well")
}

/// Files in memory, in one folder.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Memory {
    fn make_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        for path in self.files().keys().filter(|path| path.parent() == Some(folder)) {
            each(Listed { name: path.file_name().unwrap_or_default().to_owned(), kind: Kind::File });
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        if self.files().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.files().insert(path.to_owned(), Vec::new());
        Ok(Box::new(OpenFile { memory: self.clone(), path: Mutex::new(path.to_owned()) }))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn Handle>> {
        if !self.files().contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(OpenFile { memory: self.clone(), path: Mutex::new(path.to_owned()) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // An open file goes on under its first name: both are one file from here on.
        let mut files = self.files();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(Some(Box::new(Held)))
    }

    fn random(&self) -> u64 {
        7
    }
}

#[derive(Debug)]
struct Held;

impl Lock for Held {}

#[derive(Debug)]
struct OpenFile {
    memory: Memory,
    path: Mutex<PathBuf>,
}

impl OpenFile {
    /// Calls `with` on the content. A file that was renamed is found under its new name, which has another ending.
    fn with<T>(&self, with: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = self.memory.files();
        if !files.contains_key(&*path) {
            let renamed = ["segment", ""].map(|ending| path.with_extension(ending));
            *path = renamed.into_iter().find(|path| files.contains_key(path)).ok_or(io::ErrorKind::NotFound)?;
        }
        files.get_mut(&*path).map(with).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Handle for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        self.with(|content| content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|content| {
            let rest = usize::try_from(at).ok().and_then(|at| content.get(at..)).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            read
        })
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.with(|content| {
            let at = at as usize;
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|content| content.resize(bytes as usize, 0))
    }
}
