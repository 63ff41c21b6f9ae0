//! What a store does when all is well, and when the disk is not: one story each.
//!
//! Promises: each rule of the module's page has its story.
//! Never: proves that no other order of events breaks a rule; `model` and `crashes` try those.

use std::io;

use super::{super::*, *};

/// Everything that is read of what waits.
fn read_all(store: &mut Store, found: &Found) -> Vec<Vec<u8>> {
    found.waiting.iter().map(|entry| store.read(entry.id).expect("it is whole")).collect()
}

#[test]
fn what_was_synced_is_there_after_a_crash() {
    let disk = Hostile::default();
    let (mut store, found) = open(&disk);
    assert_eq!(found, Found::default());
    let bytes: Vec<_> = (0..20).map(|number| payload(number, 300)).collect();
    let ids: Vec<_> = bytes.iter().map(|bytes| append(&mut store, 3, bytes)).collect();
    store.sync().expect("durable");
    assert!(store.segments.len() > 1, "it went on in a second segment");
    let (mut again, found) = open(&disk.crashed(1));
    assert_eq!(found.waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
    assert!(found.waiting.iter().all(|entry| entry.records == 3 && entry.bytes == 300));
    assert_eq!(read_all(&mut again, &found), bytes);
    assert_eq!((found.lost, found.damage), (Lost::default(), Vec::new()));
    assert_eq!(append(&mut again, 1, b"next"), Id(60), "ids go on");
}

#[test]
fn the_parts_of_an_entry_are_written_one_after_another() {
    let disk = Hostile::default();
    disk.disk().short_writes = true;
    let (mut store, _) = open(&disk);
    let id = store.append(count(1), &[b"head", b"", b"tail"]).expect("appended");
    let empty = store.append(count(1), &[]).expect("appended");
    assert_eq!(store.read(id).expect("read"), b"headtail");
    assert_eq!(store.read(empty).expect("read"), b"");
}

#[test]
fn what_was_settled_and_saved_does_not_come_back() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let ids: Vec<_> = (0..8).map(|number| append(&mut store, 2, &payload(number, 200))).collect();
    store.sync().expect("durable");
    // Not in order: keys proceed independently.
    assert!(store.settle(ids[5]) && store.settle(ids[0]) && store.settle(ids[2]));
    assert!(!store.settle(ids[5]) && !store.settle(Id(999)) && !store.settle(Id(1)));
    store.save_cursor().expect("saved");
    store.settle(ids[7]);
    let (_, found) = open(&disk.crashed(1));
    let waiting: Vec<_> = found.waiting.iter().map(|entry| entry.id).collect();
    assert_eq!(waiting, [1, 3, 4, 6, 7].map(|place| ids[place]), "the last was not saved, so it is sent again");
    assert_eq!(found.lost, Lost::default());
}

#[test]
fn a_segment_goes_when_it_holds_nothing_that_is_needed() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let empty = store.used();
    let ids: Vec<_> = (0..30).map(|number| append(&mut store, 1, &payload(number, 400))).collect();
    store.sync().expect("durable");
    let segments = segment_paths(&disk).len();
    for id in &ids[..29] {
        store.settle(*id);
    }
    assert_eq!(segment_paths(&disk).len(), segments, "the cursor comes first");
    store.save_cursor().expect("saved");
    assert_eq!(segment_paths(&disk).len(), 1);
    assert_eq!(store.read(ids[29]).expect("it is there"), payload(29, 400));
    assert!(matches!(store.read(ids[0]), Err(ReadError::Gone)));
    store.settle(ids[29]);
    store.save_cursor().expect("saved");
    assert_eq!((segment_paths(&disk).len(), store.used()), (0, empty));
    let (mut again, found) = open(&disk.crashed(1));
    assert_eq!(found, Found::default());
    assert_eq!(append(&mut again, 1, b"x"), Id(30));
}

#[test]
fn a_store_is_full_at_its_limit_and_has_room_again_after_an_eviction() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let mut ids = Vec::new();
    let full = loop {
        match store.append(count(7), &[&payload(1, 500)]) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full));
    assert!(store.used() <= LIMITS.bytes_max && ids.len() > 40, "{} entries", ids.len());
    let evicted = store.evict_oldest().expect("there is something");
    assert_eq!(evicted.ids, ids[..evicted.ids.len()]);
    assert_eq!(evicted.records, 7 * evicted.ids.len() as u64);
    assert!(!evicted.ids.is_empty());
    append(&mut store, 7, &payload(1, 500));
    let waiting = open(&disk.crashed(2)).1.waiting;
    assert!(waiting.iter().all(|entry| entry.id > *evicted.ids.last().expect("some")));
}

#[test]
fn evicting_takes_what_is_settled_first_and_ends_with_the_last_entry() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    assert_eq!(store.evict_oldest(), None);
    let ids: Vec<_> = (0..12).map(|number| append(&mut store, 1, &payload(number, 400))).collect();
    let in_first = store.segments[0].entries.len();
    assert!(ids[..in_first].iter().all(|id| store.settle(*id)));
    assert_eq!(store.evict_oldest(), Some(Evicted::default()), "room, at no cost");
    let mut evicted = Vec::new();
    while let Some(more) = store.evict_oldest() {
        evicted.extend(more.ids);
    }
    assert_eq!(evicted, ids[in_first..]);
    assert_eq!(segment_paths(&disk).len(), 0);
    store.sync().expect("nothing is left that could fail");
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let small = append(&mut store, 1, b"small");
    let large = append(&mut store, 1, &payload(1, 50_000));
    let after = append(&mut store, 1, b"after");
    store.sync().expect("durable");
    assert_eq!(store.segments.iter().map(|segment| segment.entries.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let (mut again, _) = open(&disk.crashed(1));
    for (id, bytes) in [(small, b"small".to_vec()), (large, payload(1, 50_000)), (after, b"after".to_vec())] {
        assert_eq!(again.read(id).expect("whole"), bytes);
    }
    let too_large = again.append(count(1), &[&vec![0; 128 * 1024]]);
    assert!(matches!(too_large, Err(AppendError::TooLarge { bytes: 131_072 })));
}

/// The lesson of Postgres in 2018: after a failed fsync the pages count as clean, and the next one says that all is well.
#[test]
fn after_a_failed_sync_the_segment_is_left_and_its_entries_are_given_back() {
    for seed in 0..20 {
        let disk = Hostile::default();
        let (mut store, _) = open(&disk);
        let kept = append(&mut store, 1, b"kept");
        store.sync().expect("durable");
        let (settled, failed) = (append(&mut store, 2, b"settled"), append(&mut store, 4, b"failed"));
        store.settle(settled);
        disk.disk().sync_failures = 1;
        let error = store.sync().expect_err("it failed");
        assert_eq!((error.ids, error.source.raw_os_error()), (vec![failed], Some(5)));
        assert!(store.is_degraded() && matches!(store.read(failed), Err(ReadError::Gone)));
        let again = append(&mut store, 4, b"failed");
        store.sync().expect("in another segment it is durable");
        assert!(!store.is_degraded());
        assert_eq!(store.segments.len(), 2);
        let (mut found_store, found) = open(&disk.crashed(seed));
        assert_eq!(found.waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), [kept, again]);
        assert_eq!(found.lost, Lost::default(), "what was given back is not lost");
        assert_eq!(found_store.read(again).expect("whole"), b"failed");
    }
}

#[test]
fn a_failed_sync_between_two_segments_is_told_by_the_next_sync() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let first = append(&mut store, 1, &payload(1, 1_500));
    disk.disk().sync_failures = 1;
    let second = append(&mut store, 1, &payload(2, 1_500));
    let error = store.sync().expect_err("the first one failed");
    assert_eq!(error.ids, [first]);
    store.sync().expect("told once");
    let (_, found) = open(&disk.crashed(1));
    assert_eq!(found.waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);
    assert_eq!(found.lost, Lost::default());
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let first = append(&mut store, 1, &payload(1, 600));
    store.sync().expect("durable");
    for room in [0, 100, 650, 1_000] {
        disk.disk().room = room;
        let refused = store.append(count(1), &[&payload(2, 600)]);
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
        assert!(store.is_degraded());
        // What is there can still be read, settled and saved.
        assert_eq!(store.read(first).expect("whole"), payload(1, 600));
        store.save_cursor().expect("its room is its own");
    }
    disk.disk().room = u64::MAX;
    let second = append(&mut store, 1, &payload(2, 600));
    store.sync().expect("durable");
    for seed in 0..20 {
        let (_, found) = open(&disk.crashed(seed));
        assert_eq!(found.waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), [first, second]);
        assert_eq!(found.lost, Lost::default(), "what was refused is not lost");
    }
}

#[test]
fn a_failing_write_goes_on_in_another_segment() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let first = append(&mut store, 1, b"first");
    let operations = disk.disk().operations;
    disk.disk().fails_at = Some(operations + 1);
    assert!(matches!(store.append(count(1), &[b"second"]), Err(AppendError::Io(_))));
    let second = append(&mut store, 1, b"second");
    store.sync().expect("durable");
    assert_eq!(store.segments.len(), 2);
    assert_eq!(
        (store.read(first).expect("read"), store.read(second).expect("read")),
        (b"first".into(), b"second".into())
    );
}

#[test]
fn a_disk_that_became_read_only_is_said_to_be_so() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let first = append(&mut store, 1, b"first");
    store.sync().expect("durable");
    disk.disk().read_only = true;
    assert!(matches!(store.append(count(1), &[b"second"]), Err(AppendError::ReadOnly(_))));
    store.settle(first);
    assert_eq!(store.save_cursor().expect_err("read-only").kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(store.evict_oldest(), None, "nothing is given up for nothing");
    drop(store);
    let (mut store, found) = open(&disk);
    assert_eq!(found.waiting.len(), 1, "what was settled is not noted, so it is sent again");
    assert_eq!(store.read(first).expect("read"), b"first");
    assert_eq!(store.evict_oldest(), None);
    assert_eq!(store.read(first).expect("still there"), b"first");
}

#[test]
fn a_failing_read_may_succeed_later() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let id = append(&mut store, 9, b"bytes");
    disk.disk().read_failures = 1;
    assert!(matches!(store.read(id), Err(ReadError::Io { records: 9, .. })));
    assert_eq!(store.read(id).expect("read"), b"bytes");
}

/// A cursor has room for 252 ranges. What does not fit is sent again; what is on disk no more must fit.
#[test]
fn more_settled_ranges_than_the_cursor_holds_cost_copies_and_no_loss() {
    let disk = Hostile::default();
    let limits = Limits { bytes_max: 4 * 1024 * 1024, segment_bytes: 2 * 1024 };
    let (mut store, _) = try_open_with(&disk, limits).expect("opens");
    let ids: Vec<_> = (0..2_000).map(|number| append(&mut store, 1, &payload(number, 60))).collect();
    store.sync().expect("durable");
    assert!(ids.iter().skip(1).step_by(2).all(|id| store.settle(*id)));
    store.save_cursor().expect("saved");
    let (_, found) = try_open_with(&disk.crashed(1), limits).expect("opens");
    assert_eq!(found.lost, Lost::default());
    assert!(ids.iter().step_by(2).all(|id| found.waiting.iter().any(|entry| entry.id == *id)), "none is missing");
    assert_eq!(found.waiting.len(), 2_000 - 252);
}

/// The same with more ranges than fit while segments go: one that the cursor cannot call settled stays, and those that went
/// before keep their place in it.
#[test]
fn a_segment_stays_while_the_cursor_has_no_room_for_it() {
    let disk = Hostile::default();
    let limits = Limits { bytes_max: 4 * 1024 * 1024, segment_bytes: 2 * 1024 };
    let (mut store, _) = try_open_with(&disk, limits).expect("opens");
    let ids: Vec<_> = (0..2_000).map(|number| append(&mut store, 1, &payload(number, 60))).collect();
    store.sync().expect("durable");
    let whole = |store: &mut Store, place: usize| {
        let entries = store.segments[place].entries.clone();
        entries.iter().for_each(|stored| assert!(store.settle(Id(stored.frame.id))));
        store.segments[place].sequence
    };
    let early = whole(&mut store, 70);
    store.save_cursor().expect("saved");
    assert!(ids.iter().take(1_000).step_by(2).all(|id| store.settle(*id)));
    let late = whole(&mut store, 75);
    store.save_cursor().expect("saved");
    let there: Vec<_> = store.segments.iter().map(|segment| segment.sequence).collect();
    assert!(!there.contains(&early) && there.contains(&late));
    let (_, found) = try_open_with(&disk.crashed(1), limits).expect("opens");
    assert_eq!(found.lost, Lost::default());
    assert!(ids.iter().skip(1).take(999).step_by(2).all(|id| store.settle(*id)));
    store.save_cursor().expect("saved");
    assert!(!store.segments.iter().any(|segment| segment.sequence == late), "there is room for it now");
}

/// The slots that one start could not read, the next one might read: they know of ids that were given again meanwhile.
#[test]
fn a_cursor_that_could_not_be_read_once_is_replaced() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    for number in 0..5 {
        let id = append(&mut store, 1, &payload(number, 100));
        store.sync().expect("durable");
        store.settle(id);
        store.save_cursor().expect("saved");
    }
    drop(store);
    disk.disk().read_failures = 1;
    let (mut store, found) = open(&disk);
    assert_eq!(found.damage.len(), 1);
    store.save_cursor().expect("saved");
    let id = append(&mut store, 1, b"under an id that was settled once");
    store.sync().expect("durable");
    let (_, found) = open(&disk.crashed(1));
    assert_eq!(found.waiting.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id]);
}
