//! Random lives of a store beside a model of what it promised.
//!
//! Promises: after whatever was done and whatever the disk did, what was promised is there, nothing else is, and what is
//! lost is counted; and the lives that were tried really met rotations, torn tails, evictions, failed syncs and full disks.
//! Never: corrupts twice before a recovery: the exact counts are promised for one damage at a time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{super::*, *};

/// So small that many lives meet its limit.
const SMALL: Limits = Limits { bytes_max: 48 * 1024, segment_bytes: 2 * 1024 };

fn open(disk: &Hostile) -> (Store, Found) {
    try_open_with(disk, SMALL).expect("it opens")
}

#[derive(Clone, Debug)]
enum Action {
    Append {
        records: u32,
        bytes: usize,
    },
    Sync,
    Read(usize),
    Settle(usize),
    SaveCursor,
    Evict,
    Crash(u64),
    /// Damage something, then crash.
    Corrupt {
        what: Corruption,
        seed: u64,
    },
    /// So much room is left on the disk, or any amount.
    Room(Option<u64>),
    FailSyncs(u32),
    FailOperation(u64),
    ReadOnly(bool),
    ShortWrites(bool),
}

#[derive(Clone, Copy, Debug)]
enum Corruption {
    FlipInSegment(u64, u64),
    TruncateSegment(u64, u64),
    ZeroInSegment(u64, u64),
    FlipInCursor(u64),
    LoseCursor,
    LoseSegment(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let corruption = prop_oneof![
        4 => any::<(u64, u64)>().prop_map(|(file, at)| Corruption::FlipInSegment(file, at)),
        2 => any::<(u64, u64)>().prop_map(|(file, at)| Corruption::TruncateSegment(file, at)),
        2 => any::<(u64, u64)>().prop_map(|(file, at)| Corruption::ZeroInSegment(file, at)),
        1 => any::<u64>().prop_map(Corruption::FlipInCursor),
        1 => Just(Corruption::LoseCursor),
        1 => any::<u64>().prop_map(Corruption::LoseSegment),
    ];
    let bytes = prop_oneof![6 => 0..400_usize, 2 => 400..1_200_usize, 1 => 1_200..9_000_usize];
    let action = prop_oneof![
        40 => (1..9_u32, bytes).prop_map(|(records, bytes)| Action::Append { records, bytes }),
        14 => Just(Action::Sync),
        6 => any::<usize>().prop_map(Action::Read),
        24 => any::<usize>().prop_map(Action::Settle),
        7 => Just(Action::SaveCursor),
        2 => Just(Action::Evict),
        4 => any::<u64>().prop_map(Action::Crash),
        3 => (corruption, any::<u64>()).prop_map(|(what, seed)| Action::Corrupt { what, seed }),
        3 => prop::option::weighted(0.5, 0..6_000_u64).prop_map(Action::Room),
        3 => (0..3_u32).prop_map(Action::FailSyncs),
        4 => (1..12_u64).prop_map(Action::FailOperation),
        1 => prop::bool::weighted(0.3).prop_map(Action::ReadOnly),
        1 => any::<bool>().prop_map(Action::ShortWrites),
    ];
    prop::collection::vec(action, 1..140)
}

/// What was promised of an entry.
#[derive(Clone, Debug)]
struct Known {
    payload: Vec<u8>,
    records: u64,
    synced: bool,
    settled: bool,
    /// Its settlement is in a cursor that was saved.
    saved: bool,
    /// Given back, or evicted: it may not come back from below a later segment.
    void: bool,
    /// Its bytes were damaged by us.
    damaged: bool,
}

/// How often things that must happen did.
#[derive(Debug, Default)]
struct Seen {
    rotations: u64,
    torn: u64,
    evictions: u64,
    failed_syncs: u64,
    no_space: u64,
    full: u64,
    read_only: u64,
    io: u64,
    damaged: u64,
    exact_losses: u64,
    removed_segments: u64,
    settled_came_back: u64,
    unsynced_survived: u64,
}

struct Model<'a> {
    disk: Hostile,
    store: Option<Store>,
    known: BTreeMap<Id, Known>,
    /// What is no more. It may come back if the cursor is lost before the removal of a segment was durable.
    past: BTreeMap<Id, Known>,
    /// Records that were refused since the start: what a full disk took of their frames may be found after a crash.
    refused: u64,
    /// Ids that no entry has, from earlier lives.
    burned: u64,
    /// Bytes in use at the start: removals that did not last count again until the next.
    used_at_start: u64,
    /// Segments whose header we damaged.
    headless: BTreeSet<u64>,
    /// The cursor was damaged, or could not be saved before something was removed: settled entries may count as lost.
    overcounts: bool,
    number: u64,
    seen: &'a RefCell<Seen>,
}

impl Model<'_> {
    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open between actions")
    }

    fn pick(&self, choice: usize) -> Option<Id> {
        let waiting: Vec<_> =
            self.known.iter().filter(|(_, known)| !known.settled && !known.void).map(|(id, _)| *id).collect();
        (!waiting.is_empty()).then(|| waiting[choice % waiting.len()])
    }

    fn act(&mut self, action: &Action) {
        let removed = self.store().removed.clone();
        match *action {
            Action::Append { records, bytes } => self.append(records, bytes),
            Action::Sync => self.sync(),
            Action::Read(choice) => {
                let Some(id) = self.pick(choice) else { return };
                let read = self.store().read(id);
                self.check_read(id, read);
            }
            Action::Settle(choice) => {
                // Mostly the oldest, as keys that proceed do.
                let Some(id) = self.pick(if choice % 4 > 0 { 0 } else { choice }) else { return };
                assert!(self.store().settle(id));
                self.known.get_mut(&id).expect("picked").settled = true;
            }
            Action::SaveCursor => {
                if self.store().save_cursor().is_ok() {
                    self.note_saved();
                }
            }
            Action::Evict => self.evict(),
            Action::Crash(seed) => self.reopen(seed),
            Action::Corrupt { what, seed } => self.corrupt(what, seed),
            Action::Room(room) => {
                let mut disk = self.disk.disk();
                disk.room = room.map_or(u64::MAX, |room| disk.used() + room);
            }
            Action::FailSyncs(count) => self.disk.disk().sync_failures = count,
            Action::FailOperation(after) => {
                let mut disk = self.disk.disk();
                disk.fails_at = Some(disk.operations + after);
            }
            Action::ReadOnly(read_only) => self.disk.disk().read_only = read_only,
            Action::ShortWrites(short) => self.disk.disk().short_writes = short,
        }
        let store = self.store();
        let used = store.used();
        assert!(self.disk.disk().used() <= used + 4096, "what it counts for is what it takes");
        assert!(used <= SMALL.bytes_max.max(self.used_at_start), "{used} bytes are used");
        self.used_at_start = self.used_at_start.min(used);
        let store = self.store();
        if store.removed != removed {
            self.seen.borrow_mut().removed_segments += 1;
        }
        self.note_forced_removals();
    }

    /// What went from the disk before a cursor said so counts as lost after a crash.
    fn note_forced_removals(&mut self) {
        let store = self.store.as_ref().expect("it is open");
        let durable = store.cursor.durable().map(|cursor| cursor.settled.clone()).unwrap_or_default();
        self.overcounts |= store.removed.iter().any(|range| !durable.covers(range));
    }

    /// All that is settled is now in a cursor; unless it had more ranges than it holds, which these few never have.
    fn note_saved(&mut self) {
        self.known.values_mut().filter(|known| known.settled).for_each(|known| known.saved = true);
    }

    fn append(&mut self, records: u32, bytes: usize) {
        self.number += 1;
        let payload = payload(self.number, bytes);
        let (left, right) = payload.split_at(bytes / 3);
        let segments = self.store().segments.len();
        match self.store().append(count(records), &[left, right]) {
            Ok(id) => {
                let known = Known {
                    payload,
                    records: records.into(),
                    synced: false,
                    settled: false,
                    saved: false,
                    void: false,
                    damaged: false,
                };
                assert!(self.known.insert(id, known).is_none(), "an id is given once");
                if self.store().segments.len() > segments && segments > 0 {
                    self.seen.borrow_mut().rotations += 1;
                }
            }
            Err(error) => {
                self.refused += u64::from(records);
                let mut seen = self.seen.borrow_mut();
                match error {
                    AppendError::Full => seen.full += 1,
                    AppendError::NoSpace(_) => seen.no_space += 1,
                    AppendError::ReadOnly(_) => seen.read_only += 1,
                    AppendError::Io(_) => seen.io += 1,
                    AppendError::TooLarge { .. } => panic!("none here is too large"),
                }
            }
        }
    }

    fn sync(&mut self) {
        let (failed, all) = match self.store().sync() {
            // If all that failed was settled, that is no failure.
            Ok(()) => (Vec::new(), !self.store().is_degraded()),
            Err(error) => {
                self.seen.borrow_mut().failed_syncs += 1;
                (error.ids, false)
            }
        };
        for (id, known) in &mut self.known {
            if failed.contains(id) {
                assert!(!known.synced && !known.settled, "only what was never durable is given back");
                known.void = true;
            } else if !all && known.settled && !known.synced {
                // It may have been given back too, but for being settled.
                known.void = true;
            } else if !known.void {
                known.synced = true;
            }
        }
    }

    fn evict(&mut self) {
        let Some(evicted) = self.store().evict_oldest() else { return };
        let mut records = 0;
        for id in &evicted.ids {
            let known = self.known.get_mut(id).expect("only what was appended is evicted");
            assert!(!known.settled, "what is settled is not given up again");
            known.settled = true;
            records += known.records;
        }
        assert_eq!(records, evicted.records);
        self.seen.borrow_mut().evictions += u64::from(records > 0);
        if !self.store().is_degraded() {
            self.note_saved();
        }
    }

    fn check_read(&self, id: Id, read: Result<Vec<u8>, ReadError>) {
        let known = &self.known[&id];
        match read {
            Ok(bytes) => assert_eq!(bytes, known.payload, "{id} is what was written"),
            Err(ReadError::Io { .. }) => {}
            // A failed sync on the way through `append` gave it back already; the next sync will say so.
            Err(ReadError::Gone) => assert!(!known.synced, "{id} was durable"),
            Err(ReadError::Damaged { records }) => {
                assert_eq!(u64::from(records), known.records);
                assert!(known.damaged || !known.synced, "{id} was durable and not damaged");
                self.seen.borrow_mut().damaged += 1;
            }
        }
    }

    fn corrupt(&mut self, what: Corruption, seed: u64) {
        // Damage befalls what is on the disk.
        self.sync();
        let store = self.store.as_ref().expect("it is open");
        let segments: Vec<_> = store.segments.iter().map(|segment| segment.sequence).collect();
        let choose = |choice: u64| (!segments.is_empty()).then(|| segments[(choice % segments.len() as u64) as usize]);
        let path = |sequence: u64| segment::path(&folder(), sequence);
        match what {
            Corruption::FlipInCursor(at) => self.change(&cursor_path(), |content| {
                let at = at as usize % (content.len() * 8).max(1);
                content.get_mut(at / 8).into_iter().for_each(|byte| *byte ^= 1 << (at % 8));
            }),
            Corruption::LoseCursor => self.disk.take(&cursor_path()),
            Corruption::LoseSegment(choice) => {
                if let Some(sequence) = choose(choice) {
                    self.disk.take(&path(sequence));
                    self.damage(sequence, 0..u64::MAX);
                }
            }
            Corruption::FlipInSegment(choice, at) => {
                if let Some(sequence) = choose(choice) {
                    let mut flipped = 0;
                    self.change(&path(sequence), |content| {
                        flipped = at as usize % (content.len() * 8);
                        content[flipped / 8] ^= 1 << (flipped % 8);
                    });
                    let byte = (flipped / 8) as u64;
                    self.damage(sequence, byte..byte + 1);
                }
            }
            Corruption::TruncateSegment(choice, at) => {
                if let Some(sequence) = choose(choice) {
                    let mut cut = 0;
                    self.change(&path(sequence), |content| {
                        cut = at as usize % content.len();
                        content.truncate(cut);
                    });
                    self.damage(sequence, cut as u64..u64::MAX);
                }
            }
            Corruption::ZeroInSegment(choice, at) => {
                if let Some(sequence) = choose(choice) {
                    let mut zeroed = 0..0;
                    self.change(&path(sequence), |content| {
                        let start = at as usize % content.len();
                        zeroed = start..(start + 700).min(content.len());
                        content[zeroed.clone()].fill(0);
                    });
                    self.damage(sequence, zeroed.start as u64..zeroed.end as u64);
                }
            }
        }
        if matches!(what, Corruption::FlipInCursor(_) | Corruption::LoseCursor) {
            // The nonce is in the cursor and in each header. Where both are gone, so is the segment.
            for sequence in std::mem::take(&mut self.headless) {
                if segments.contains(&sequence) {
                    self.damage(sequence, 0..u64::MAX);
                }
            }
            self.known.values_mut().for_each(|known| known.saved = false);
            self.overcounts = true;
        }
        self.reopen(seed);
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if self.disk.paths().iter().any(|other| other == path) {
            let mut content = self.disk.content(path);
            if !content.is_empty() {
                change(&mut content);
            }
            self.disk.put(path, content);
        }
    }

    /// Notes which entries have a byte in `bytes` of the segment.
    fn damage(&mut self, sequence: u64, bytes: std::ops::Range<u64>) {
        if bytes.start < frame::SEGMENT_HEADER_BYTES {
            self.headless.insert(sequence);
        }
        let store = self.store.as_ref().expect("it is open");
        let segment = store.segments.iter().find(|segment| segment.sequence == sequence).expect("it was chosen");
        for stored in &segment.entries {
            let end = stored.at + u64::from(stored.frame.bytes);
            let start = stored.at - frame::FRAME_BYTES;
            if start < bytes.end && bytes.start < end {
                let id = Id(stored.frame.id);
                let known = self.known.get_mut(&id).or_else(|| self.past.get_mut(&id)).expect("it was appended");
                known.damaged = true;
            }
        }
    }

    fn reopen(&mut self, seed: u64) {
        let crashed = self.disk.crashed(seed);
        // Beyond this, what is missing at the end of the last segment leaves no trace.
        let promised = self.store().cursor.durable().map_or(0, |cursor| cursor.promised);
        self.store = None;
        self.disk = crashed;
        let (_, first) = open(&self.disk);
        let (mut store, found) = open(&self.disk);
        // Without a saved cursor, each start finds the same.
        assert_eq!(first, found);
        assert!(found.waiting.is_sorted_by(|one, next| one.id.0 + u64::from(one.records) <= next.id.0));
        let here: BTreeMap<Id, Entry> = found.waiting.iter().map(|entry| (entry.id, *entry)).collect();
        let known_to = here.keys().last().map_or(promised, |last| promised.max(last.0));
        let (mut least, mut most) = (0, 0);
        for id in here.keys().filter(|id| !self.known.contains_key(id)).collect::<Vec<_>>() {
            // Also where the header was damaged that called it void.
            assert!(self.overcounts || !self.headless.is_empty(), "{id} is invented, or was settled");
            let known = self.past.remove(id).expect("nothing is invented");
            // Damage meanwhile was not noted: the store did not say where it is.
            self.known.insert(*id, Known { saved: false, damaged: true, ..known });
        }
        for (id, known) in &self.known {
            match here.get(id) {
                Some(entry) => {
                    assert_eq!((u64::from(entry.records), entry.bytes as usize), (known.records, known.payload.len()));
                    assert!(!known.saved, "{id} was settled, and that was saved");
                    self.seen.borrow_mut().settled_came_back += u64::from(known.settled);
                    self.seen.borrow_mut().unsynced_survived += u64::from(!known.synced);
                    self.check_read(*id, store.read(*id));
                }
                None if known.synced && !known.settled => {
                    assert!(known.damaged, "{id} was durable, and is gone");
                    least += if id.0 < known_to { known.records } else { 0 };
                    most += known.records;
                }
                None if known.saved && !self.overcounts => {}
                None => most += known.records,
            }
        }
        if self.overcounts || !self.headless.is_empty() {
            // What was lost and booked before, or void, counts as lost once more.
            most += self.past.values().map(|known| known.records).sum::<u64>() + self.burned;
        }
        let lost = found.lost.records();
        most += self.refused;
        assert!(lost <= most, "{lost} of at most {most} records are counted as lost: {found:?}");
        // Without a cursor, it is not known how many records a segment had that is not there, or where the last one ended.
        let is_torn = found.damage.iter().any(|damage| damage.path == cursor_path());
        if !self.overcounts && !is_torn {
            assert!(lost >= least, "{lost} of at least {least} records are counted as lost: {found:?}");
            self.seen.borrow_mut().exact_losses += u64::from(least > 0 && least == most);
        }
        self.seen.borrow_mut().torn += found.lost.torn;
        self.start_anew(store, &found, &here);
    }

    /// What is found is durable now, and what is not is forgotten.
    fn start_anew(&mut self, mut store: Store, found: &Found, here: &BTreeMap<Id, Entry>) {
        self.past.extend(self.known.extract_if(.., |id, _| !here.contains_key(id)));
        for (id, known) in &mut self.known {
            (known.synced, known.settled, known.void) = (true, false, false);
            known.damaged |= store.read(*id).is_err();
        }
        if found.lost.records() > 0 || self.overcounts {
            store.save_cursor().expect("the disk is well after a start");
            // Twice, so that the other slot is whole too.
            store.degrade_cursor_for_test();
            self.burned += 1;
            store.save_cursor().expect("the disk is well after a start");
        }
        self.burned += self.refused;
        (self.overcounts, self.refused, self.used_at_start) = (false, 0, store.used());
        self.store = Some(store);
    }
}

impl Store {
    /// Makes the next save write, though nothing changed.
    fn degrade_cursor_for_test(&mut self) {
        self.next += 1;
        self.promised += 1;
        self.settled.insert(self.next - 1..self.next);
    }
}

#[test]
fn property_what_was_promised_is_there_and_what_is_lost_is_counted() {
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let cases = u32::try_from(cases(600, 40_000)).expect("few");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let seen = RefCell::new(Seen::default());
    let outcome = TestRunner::new_with_rng(config, rng).run(&actions(), |actions| {
        let disk = Hostile::default();
        let (store, _) = open(&disk);
        let mut model = Model {
            disk,
            store: Some(store),
            known: BTreeMap::new(),
            past: BTreeMap::new(),
            refused: 0,
            burned: 0,
            used_at_start: 0,
            headless: BTreeSet::new(),
            overcounts: false,
            number: 0,
            seen: &seen,
        };
        for action in &actions {
            model.act(action);
        }
        model.reopen(7);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("repeat it with PILLION_TEST_SEED={seed}\n{error}");
    }
    let seen = seen.into_inner();
    let sometimes = [
        ("rotations", seen.rotations),
        ("torn entries", seen.torn),
        ("evictions", seen.evictions),
        ("failed syncs", seen.failed_syncs),
        ("full disks", seen.no_space),
        ("full stores", seen.full),
        ("read-only disks", seen.read_only),
        ("failed writes", seen.io),
        ("damaged entries", seen.damaged),
        ("losses counted exactly", seen.exact_losses),
        ("removed segments", seen.removed_segments),
        ("settled entries that came back", seen.settled_came_back),
        ("entries that survived without a sync", seen.unsynced_survived),
    ];
    for (what, times) in sometimes {
        assert!(times > 0, "no life saw {what}; PILLION_TEST_SEED={seed}: {seen:?}");
    }
}
