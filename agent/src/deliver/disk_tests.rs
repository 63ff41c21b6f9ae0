//! An engine with a spool on a real disk, against a service that is down, up, or choosy.
//!
//! The engine's clock is paused and moved by hand, while the disk's thread works in its own time: a test that waits never
//! lets the runtime rest, so that no timer fires of which the test does not know.
//!
//! Promises: every test ends by comparing what the service took with what was appended, and by balancing the books.
//! Never: proves what the disk promises; the spool's own tests do.

mod faults;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::JoinHandle, time::advance};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Cause, Destination, Doing, Key, Limits, Rules, Standing, Verdict,
    ack::{Ack, AckLevel},
    batch::{Batch, Frame},
    books::{Account, Books, Holder, Lost, Refused, Totals},
    budget::Budget,
    deliver,
    disk::WhenFull,
    lane::Output,
    spool::{
        self, Root,
        files::{Files, Real},
    },
};
use crate::{life::Life, tell::counters::Counters};

const MEMORY: u64 = 1_024 * 1_024;
const RECORD_BYTES: usize = 1_000;
const RECORDS_PER_BATCH: usize = 16;

/// How the service answers.
const DOWN: usize = 0;
const UP: usize = 1;
/// The first of each batch is refused, the second is to be sent again, once.
const CHOOSY: usize = 2;

#[derive(Default)]
struct Service {
    mode: AtomicUsize,
    requests: AtomicUsize,
    taken: Mutex<Vec<(u8, u64)>>,
}

impl Service {
    fn taken(&self) -> MutexGuard<'_, Vec<(u8, u64)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(record: &[u8]) -> u64 {
    let text = std::str::from_utf8(&record[..10]).expect("a number");
    text.trim_start().parse().expect("a number")
}

impl Destination for Service {
    fn limits(&self) -> Limits {
        Limits { bytes: RECORDS_PER_BATCH * RECORD_BYTES, records: 1_000, span_milliseconds: u64::MAX }
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame { head: Bytes::from_static(b"["), separator: b",", tail: b"]" }
    }

    fn knows(&self, key: &Key) -> bool {
        key.as_str().parse::<u8>().is_ok()
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async move {
            let records = 0..batch.entries.len();
            let key: u8 = batch.key.as_str().parse().expect("a key of these tests");
            let number = |place: usize| number_of(batch.record(place, &self.frame(&batch.key)));
            let mode = self.mode.load(Ordering::Relaxed);
            self.requests.fetch_add(1, Ordering::Relaxed);
            let whole = records.len() > RECORDS_PER_BATCH / 2;
            let skipped = if mode == CHOOSY && whole { 2 } else { 0 };
            match mode {
                DOWN => Answer::Again { cause: Cause::Unreachable, detail: "down".to_owned(), after: None },
                _ => {
                    self.taken().extend(records.skip(skipped).map(|place| (key, number(place))));
                    match skipped {
                        0 => Answer::Delivered,
                        _ => Answer::Partial(vec![
                            Verdict { records: 0..1, fate: super::Fate::Refused(Refused::TooOld) },
                            Verdict { records: 1..2, fate: super::Fate::Again },
                        ]),
                    }
                }
            }
        })
    }
}

struct Rig {
    output: Arc<Output>,
    service: Arc<Service>,
    budget: Budget,
    books: Books,
    standing: Arc<Mutex<Standing>>,
    stopping: CancellationToken,
    abandon: CancellationToken,
    engine: JoinHandle<Option<()>>,
    _root: Root,
}

impl Rig {
    fn new(folder: &Path, bytes_max: u64, when_full: WhenFull) -> Self {
        Self::with(folder, bytes_max, when_full, false)
    }

    fn with(folder: &Path, bytes_max: u64, when_full: WhenFull, at_once: bool) -> Self {
        Self::over(Arc::new(Real), folder, bytes_max, when_full, at_once)
    }

    fn over(files: Arc<dyn Files>, folder: &Path, bytes_max: u64, when_full: WhenFull, at_once: bool) -> Self {
        let (books, budget) = (Books::default(), Budget::new(MEMORY, 1));
        let service = Arc::new(Service::default());
        let (output, engine) = deliver("out", Arc::clone(&service), Rules::default(), &budget, &Counters::new());
        let mut root = Root::open(files, folder).expect("nobody else has it");
        let (store, found) = root.store("out", spool::Limits::new(bytes_max)).expect("opens");
        let engine = engine.with_spool(store, found, when_full, at_once, books.clone());
        let standing = engine.standing();
        let (stopping, abandon) = (CancellationToken::new(), CancellationToken::new());
        let engine = Life::default().spawn("engine", engine.run(stopping.clone(), abandon.clone()));
        Self { output, service, budget, books, standing, stopping, abandon, engine, _root: root }
    }

    fn push(&self, key: u8, numbers: std::ops::Range<u64>) {
        let account: Arc<Account> = self.books.account(&Holder { output: "out".into(), source: "web".into() });
        let lane = self.output.lane(&Key::new(key.to_string()));
        for number in numbers {
            let mut appending = self.output.append(&lane, &account);
            appending.begin().put(format!("{number:10}{}", "x".repeat(RECORD_BYTES - 10)).as_bytes());
            appending.commit(i64::try_from(number).expect("small"), RECORD_BYTES);
        }
        assert!(self.books.totals().balanced() && self.budget.used() <= MEMORY);
    }

    fn answer(&self, mode: usize) {
        self.service.mode.store(mode, Ordering::Relaxed);
    }

    fn totals(&self) -> Totals {
        let totals = self.books.totals();
        assert!(totals.balanced(), "{totals:?}");
        assert!(self.budget.used() <= MEMORY);
        totals
    }

    /// Lets the engine's time go on until `condition` holds.
    async fn until(&self, what: &str, condition: impl Fn(&Totals) -> bool) {
        self.until_within(usize::MAX, what, condition).await;
    }

    /// The same, but only so many `steps` of the engine's time pass: then the disk has however long it takes.
    async fn until_within(&self, steps: usize, what: &str, condition: impl Fn(&Totals) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut step = 0;
        while !condition(&self.totals()) {
            assert!(std::time::Instant::now() < deadline, "in vain: {what}: {:?}", self.totals());
            if step < steps {
                advance(Duration::from_millis(5)).await;
                step += 1;
            }
            breathe().await;
        }
    }

    /// The end of the process: without the service, unless everything was sent.
    async fn end(mut self, abandoned: bool) -> (Vec<(u8, u64)>, Totals) {
        self.output.close();
        self.stopping.cancel();
        if abandoned {
            self.abandon.cancel();
        }
        while !self.engine.is_finished() {
            breathe().await;
        }
        assert_eq!((&mut self.engine).await.expect("not cancelled"), Some(()), "no panic");
        let totals = self.totals();
        assert_eq!((totals.in_flight, totals.lost[Lost::Unsettled as usize]), (0, 0), "{totals:?}");
        assert_eq!(self.budget.used(), 0, "all memory is given back");
        let taken = self.service.taken().clone();
        (taken, totals)
    }
}

/// The disk's thread works; the runtime does not rest.
async fn breathe() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    thread::sleep(Duration::from_micros(200));
}

fn of_key(taken: &[(u8, u64)], key: u8) -> Vec<u64> {
    taken.iter().filter(|(other, _)| *other == key).map(|(_, number)| *number).collect()
}

fn segments(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("out")).expect("the folder");
    files.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "segment")).count()
}

/// Ten times what fits the memory, for two keys, while the service is down: all of it arrives, in order, once.
#[tokio::test(start_paused = true)]
async fn an_outage_larger_than_the_memory_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    for part in 0..40 {
        rig.push(1, part * 200..part * 200 + 200);
        rig.push(2, part * 50..part * 50 + 50);
        let spilled = |totals: &Totals| totals.in_flight < 300;
        rig.until("it goes to disk", spilled).await;
    }
    let totals = rig.totals();
    assert!(totals.spooled > 9_500 && totals.lost() == 0, "{totals:?}");
    rig.answer(UP);
    rig.until("all is delivered", |totals| totals.delivered == 10_000).await;
    rig.until("the disk is free", |_| segments(folder.path()) <= 1).await;
    let (taken, totals) = rig.end(false).await;
    assert_eq!((totals.delivered, totals.lost()), (10_000, 0));
    assert_eq!(of_key(&taken, 1), (0..8_000).collect::<Vec<_>>());
    assert_eq!(of_key(&taken, 2), (0..2_000).collect::<Vec<_>>());
}

/// What the service did not take is left on disk, and the next process delivers it first.
#[tokio::test(start_paused = true)]
async fn what_is_left_is_delivered_by_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.push(1, 0..100);
    rig.push(2, 0..5);
    let (taken, totals) = rig.end(true).await;
    assert_eq!((taken.len(), totals.spooled, totals.lost()), (0, 105, 0), "{totals:?}");

    // The next one cannot deliver either, and gets more.
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.push(1, 100..120);
    rig.until("the old ones are known", |totals| totals.accepted == 125).await;
    let (_, totals) = rig.end(true).await;
    assert_eq!((totals.spooled, totals.lost()), (125, 0), "{totals:?}");

    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.answer(UP);
    rig.push(1, 120..130);
    rig.until("all is delivered", |totals| totals.delivered == 135).await;
    let (taken, totals) = rig.end(false).await;
    assert_eq!((totals.accepted, totals.spooled), (135, 0));
    assert_eq!(of_key(&taken, 1), (0..130).collect::<Vec<_>>());
    assert_eq!(of_key(&taken, 2), (0..5).collect::<Vec<_>>());

    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.answer(UP);
    rig.until("time goes on", |_| !rig.output.queue().closed).await;
    let (taken, totals) = rig.end(false).await;
    assert_eq!((taken.len(), totals.accepted), (0, 0), "nothing comes twice");
}

/// What waits for five seconds is copied although there is memory; a crash after that costs nothing.
#[tokio::test(start_paused = true)]
async fn what_waits_is_copied_and_survives_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.push(1, 0..40);
    rig.until("it is sent in vain", |_| rig.standing.lock().expect("nobody panics").failures > 0).await;
    rig.until("it is copied", |totals| totals.spooled == 40).await;
    // A crash: nobody says goodbye to the disk.
    rig.engine.abort();
    while !rig.engine.is_finished() {
        breathe().await;
    }
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(folder.path(), copy.path());
    let rig = Rig::new(copy.path(), 64 << 20, WhenFull::DropOldest);
    rig.answer(UP);
    rig.until("all is delivered", |totals| totals.delivered == 40).await;
    let (taken, _) = rig.end(false).await;
    assert_eq!(of_key(&taken, 1), (0..40).collect::<Vec<_>>());
}

fn copy_folder(from: &Path, to: &Path) {
    for file in fs::read_dir(from).expect("the folder").flatten() {
        let to = to.join(file.file_name());
        if file.path().is_dir() {
            fs::create_dir(&to).expect("a folder");
            copy_folder(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).expect("copies");
        }
    }
}

/// A spool that is full gives up its oldest records, and says how many, or keeps them and leaves the newest to the memory.
#[tokio::test(start_paused = true)]
async fn a_full_spool_drops_by_its_rule_and_counts() {
    for (when_full, reason) in [(WhenFull::DropOldest, Lost::SpoolFull), (WhenFull::DropNewest, Lost::MemoryFull)] {
        let folder = tempfile::tempdir().expect("a folder");
        let rig = Rig::new(folder.path(), 6 << 20, when_full);
        for part in 0..150 {
            rig.push(1, part * 100..part * 100 + 100);
            if part < 20 || when_full == WhenFull::DropOldest {
                // The disk may take its time; it is the spool that is to be full, not the memory.
                rig.until("it goes to disk", |totals| totals.in_flight < 450).await;
                continue;
            }
            for _ in 0..20 {
                advance(Duration::from_millis(5)).await;
                breathe().await;
            }
        }
        rig.answer(UP);
        rig.until("the rest is delivered", |totals| totals.in_flight + totals.spooled == 0).await;
        let (taken, totals) = rig.end(false).await;
        let lost = totals.lost[reason as usize];
        assert!(lost > 1_000, "{when_full:?}: {totals:?}");
        assert_eq!(totals.delivered + totals.lost(), 15_000);
        let taken = of_key(&taken, 1);
        assert!(taken.is_sorted_by(|a, b| a < b), "{when_full:?}: in order, once");
        assert_eq!(taken.len() as u64, totals.delivered);
        assert_eq!(taken.last(), Some(&14_999), "{when_full:?}: {totals:?}");
        if when_full == WhenFull::DropOldest {
            // What is missing is the beginning, but for one batch at most, which was being sent when its copy was given up.
            let newest = taken.windows(2).rev().take_while(|pair| pair[1] == pair[0] + 1).count() + 1;
            assert!(
                taken.len() - newest <= RECORDS_PER_BATCH,
                "{} before the newest {newest}: {totals:?}",
                taken.len()
            );
        }
        if when_full == WhenFull::DropNewest {
            assert!(taken[..100].iter().copied().eq(0..100), "the first ones are on disk still");
        }
    }
}

/// Batches that are on disk are settled in parts like any other: refused ones are not sent again, the others are.
#[tokio::test(start_paused = true)]
async fn a_batch_on_disk_is_settled_in_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.push(1, 0..64);
    rig.until("it is copied", |totals| totals.spooled >= 64).await;
    rig.answer(CHOOSY);
    rig.until("all is settled", |totals| totals.delivered + totals.refused() == 64).await;
    let (mut taken, totals) = rig.end(false).await;
    assert_eq!((totals.refused(), totals.lost()), (4, 0), "{totals:?}");
    taken.sort_unstable();
    let expected: Vec<_> = (0..64).filter(|number| number % 16 != 0).map(|number| (1, number)).collect();
    assert_eq!(taken, expected);
}

/// A folder that vanishes costs what memory cannot hold, counted, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_leaves_an_agent_that_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.until("the disk was looked at", |_| true).await;
    fs::remove_dir_all(folder.path().join("out")).expect("it is there");
    for part in 0..30 {
        rig.push(1, part * 100..part * 100 + 100);
        for _ in 0..20 {
            advance(Duration::from_millis(5)).await;
            breathe().await;
        }
    }
    let lost = rig.totals().lost[Lost::MemoryFull as usize];
    assert!(lost > 0 && rig.standing.lock().expect("nobody panics").spool_degraded);
    rig.answer(UP);
    rig.until("the rest is delivered", |totals| totals.in_flight + totals.spooled == 0).await;
    let (taken, totals) = rig.end(false).await;
    assert_eq!(totals.delivered + totals.lost(), 3_000, "{totals:?}");
    assert_eq!(of_key(&taken, 1), (3_000 - totals.delivered..3_000).collect::<Vec<_>>(), "the newest, in order");
}

/// Whoever waits for the disk hears within one sync, while the service is down as while it hangs; what was said survives.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_disk_hears_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::with(folder.path(), 64 << 20, WhenFull::DropOldest, true);
    let heard = Arc::new(AtomicUsize::new(0));
    for number in 0..50 {
        let (tell, level) = (Arc::clone(&heard), AckLevel::Spooled);
        let ack = Arc::new(Ack::new(level, 0, move |kept| {
            tell.fetch_add(usize::from(kept), Ordering::Relaxed);
        }));
        let lane = rig.output.lane(&Key::new("1"));
        let account = rig.books.account(&Holder { output: "out".into(), source: "web".into() });
        let mut appending = rig.output.append(&lane, &account);
        appending.of_message(Some(&ack));
        appending.begin().put(format!("{number:10}").as_bytes());
        appending.commit(number, 10);
        drop((appending, ack));
        // Ten milliseconds, by the engine's clock, and however long the disk takes.
        breathe().await;
        advance(Duration::from_millis(10)).await;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while heard.load(Ordering::Relaxed) as i64 <= number {
            assert!(std::time::Instant::now() < deadline, "nobody heard of {number}: {:?}", rig.totals());
            breathe().await;
        }
    }
    assert_eq!(rig.totals().spooled, 50);
    let (_, totals) = rig.end(true).await;
    assert_eq!((totals.spooled, totals.lost()), (50, 0), "{totals:?}");
    let rig = Rig::new(folder.path(), 64 << 20, WhenFull::DropOldest);
    rig.answer(UP);
    rig.until("all is delivered", |totals| totals.delivered == 50).await;
    let (taken, _) = rig.end(false).await;
    assert_eq!(of_key(&taken, 1), (0..50).collect::<Vec<_>>());
}

/// What is copied at once is sent with company all the same: batches of ten milliseconds leave in one request.
#[tokio::test(start_paused = true)]
async fn what_is_copied_at_once_is_sent_with_company() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::with(folder.path(), 64 << 20, WhenFull::DropOldest, true);
    rig.answer(UP);
    for number in 0..10 {
        rig.push(1, number..number + 1);
        rig.until_within(4, "it is copied", |totals| totals.spooled + totals.delivered > number).await;
    }
    rig.until("all is delivered", |totals| totals.delivered == 10).await;
    let requests = rig.service.requests.load(Ordering::Relaxed);
    let (taken, totals) = rig.end(false).await;
    assert_eq!((of_key(&taken, 1), totals.spooled), ((0..10).collect(), 0));
    assert!(requests <= 5, "{requests} requests for ten batches");
}
