//! An engine whose disk stops in the middle of its work, or whose thread dies.
//!
//! Promises: what the books say at the end is what the next process finds.
//! Never: proves what a power cut does; the spool's own tests do.

use std::{
    io::{self, IoSlice},
    sync::Condvar,
};

use super::*;
use crate::deliver::spool::files::{Access, Handle, Listed, Lock};

/// The file system of the machine, of which a sync waits or panics when the test says so.
#[derive(Debug, Default)]
struct Stuck {
    how: Arc<(Mutex<How>, Condvar)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum How {
    #[default]
    Well,
    Waits,
    Panics,
}

#[derive(Debug)]
struct StuckHandle(Box<dyn Handle>, Arc<(Mutex<How>, Condvar)>);

impl Stuck {
    fn be(&self, how: How) {
        *self.how.0.lock().unwrap_or_else(PoisonError::into_inner) = how;
        self.how.1.notify_all();
    }

    fn around(&self, handle: Box<dyn Handle>) -> Box<dyn Handle> {
        Box::new(StuckHandle(handle, Arc::clone(&self.how)))
    }
}

impl Files for Stuck {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        Real.make_folder(folder)
    }
    fn list(&self, folder: &Path, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        Real.list(folder, each)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Real.create(path).map(|handle| self.around(handle))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Handle>> {
        Real.open(path, access).map(|handle| self.around(handle))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Real.sync_folder(folder)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Real.lock(path)
    }
    fn random(&self) -> u64 {
        Real.random()
    }
}

impl Handle for StuckHandle {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.0.write_at(parts, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        let how = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        let how = self.1.1.wait_while(how, |how| *how == How::Waits).unwrap_or_else(PoisonError::into_inner);
        assert!(*how != How::Panics, "the test wants it");
        drop(how);
        self.0.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}

/// A disk that hangs at the end was not waited for, and its records were counted as lost; the next process found and delivered
/// what had been written all the same. What is written and not synced is the next process's.
#[tokio::test(start_paused = true)]
async fn what_a_hanging_disk_has_written_at_the_end_is_not_called_lost() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), Arc::new(Stuck::default()));
    let rig = Rig::over(Arc::clone(&disk) as Arc<dyn Files>, folder.path(), 64 << 20, WhenFull::DropOldest, true);
    rig.push(1, 0..10);
    rig.until("the first are synced", |totals| totals.spooled == 10).await;
    disk.be(How::Waits);
    rig.push(1, 10..20);
    rig.until("the next are written", |_| is_written(folder.path(), 19)).await;
    // These wait behind the sync that hangs.
    rig.push(1, 20..30);
    for _ in 0..20 {
        advance(Duration::from_millis(5)).await;
        breathe().await;
    }
    rig.output.close();
    rig.stopping.cancel();
    rig.abandon.cancel();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !rig.engine.is_finished() {
        assert!(std::time::Instant::now() < deadline, "the end waits for the disk: {:?}", rig.totals());
        advance(Duration::from_millis(5)).await;
        breathe().await;
    }
    let totals = rig.totals();
    assert_eq!((totals.spooled, totals.lost[Lost::Stopped as usize]), (20, 10), "{totals:?}");
    // The process is gone; what the disk has is what it had then.
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(folder.path(), copy.path());
    disk.be(How::Well);
    let next = Rig::new(copy.path(), 64 << 20, WhenFull::DropOldest);
    next.answer(UP);
    next.until("all is delivered", |totals| totals.delivered == 20).await;
    let (taken, totals) = next.end(false).await;
    assert_eq!((of_key(&taken, 1), totals.accepted), ((0..20).collect(), 20));
    // The thread goes on when the disk does, and must not write what was called lost.
    while Arc::strong_count(&disk.how) > 1 {
        assert!(std::time::Instant::now() < deadline, "the thread goes on");
        breathe().await;
    }
    assert!(is_written(folder.path(), 19) && !is_written(folder.path(), 20), "what was called lost is on disk");
}

/// A thread that dies is said to be a spool that does not work; what memory holds is delivered.
#[tokio::test(start_paused = true)]
async fn a_spool_whose_thread_died_is_called_degraded_and_costs_no_record() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), Arc::new(Stuck::default()));
    let rig = Rig::over(Arc::clone(&disk) as Arc<dyn Files>, folder.path(), 64 << 20, WhenFull::DropOldest, true);
    rig.push(1, 0..10);
    rig.until("the first are synced", |totals| totals.spooled == 10).await;
    disk.be(How::Panics);
    rig.push(1, 10..20);
    let degraded = || rig.standing.lock().expect("nobody panics").spool_degraded;
    rig.until("it is said", |_| degraded()).await;
    rig.answer(UP);
    rig.until("all is delivered", |totals| totals.delivered == 20).await;
    let (taken, totals) = rig.end(false).await;
    assert_eq!((of_key(&taken, 1), totals.lost()), ((0..20).collect(), 0));
}

/// Whether this record lies in a segment.
fn is_written(folder: &Path, number: u64) -> bool {
    let files = fs::read_dir(folder.join("out")).expect("the folder").flatten().map(|file| file.path());
    let mut segments = files.filter(|path| path.extension().is_some_and(|ending| ending == "segment"));
    let record = format!("{number:10}xxx");
    segments.any(|path| fs::read(path).expect("it is there").windows(13).any(|bytes| bytes == record.as_bytes()))
}
