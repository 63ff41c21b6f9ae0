//! A crash between any two operations of a run, with any part of what was not synced.
//!
//! Promises: after each, all that was synced by then is there or was settled, and what was saved as settled stays so; a
//! recovery that crashes itself, or is done twice, changes nothing of that.
//! Never: fails an operation; `model` and `folders` do.

use std::collections::BTreeMap;

use super::{super::*, hostile::Disk, *};

/// What was promised up to some operation.
#[derive(Clone, Debug, Default)]
struct Promises {
    synced: BTreeMap<Id, Vec<u8>>,
    appended: BTreeMap<Id, Vec<u8>>,
    settled: Vec<Id>,
    saved: Vec<Id>,
    /// Records that are being evicted: their segment goes before the cursor says so.
    evicting: u64,
}

/// The disk before each operation of a run, with what was promised by then.
fn history(seed: u64) -> Vec<(Disk, Promises)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Hostile::default();
    disk.disk().history = Some(Vec::new());
    let mut steps = Vec::new();
    let mut now = Promises::default();
    let (mut store, _) = open(&disk);
    let mut take = |disk: &Hostile, promises: &Promises| {
        let states = disk.disk().history.replace(Vec::new()).unwrap_or_default();
        steps.extend(states.into_iter().map(|state| (state, promises.clone())));
    };
    take(&disk, &now);
    for number in 0..random.u64(20..50) {
        // What is promised changes after the operations that make it so; what is taken back, before.
        let before = now.clone();
        match random.u8(0..10) {
            0..5 => {
                let bytes = payload(number, random.usize(0..700));
                let id = append(&mut store, random.u32(1..5), &bytes);
                now.appended.insert(id, bytes);
            }
            5..7 => {
                store.sync().expect("this disk is well until it crashes");
                now.synced = now.appended.clone();
            }
            7..9 => {
                let waiting: Vec<_> = now.appended.keys().filter(|id| !now.settled.contains(id)).copied().collect();
                if let Some(id) = random.choice(waiting.iter().take(6)) {
                    store.settle(*id);
                    now.settled.push(*id);
                }
            }
            _ if random.u8(0..8) == 0 => {
                let evicted = store.evict_oldest().unwrap_or_default();
                // From the first of its operations on, it may have happened.
                now.settled.extend(evicted.ids);
                take(&disk, &Promises { evicting: evicted.records, ..now.clone() });
                now.saved = now.settled.clone();
            }
            _ => {
                store.save_cursor().expect("this disk is well until it crashes");
                now.saved = now.settled.clone();
            }
        }
        let during = Promises { appended: now.appended.clone(), ..before };
        take(&disk, &during);
    }
    let state = disk.disk().clone();
    steps.push((state, now));
    steps
}

fn check(disk: &Hostile, promises: &Promises) {
    let (mut store, found) = open(disk);
    let here: Vec<_> = found.waiting.iter().map(|entry| entry.id).collect();
    assert!(here.is_sorted());
    for (id, bytes) in &promises.synced {
        let is_here = here.contains(id);
        assert!(is_here || promises.settled.contains(id), "{id} was durable, and is gone: {found:?}");
        if is_here {
            assert!(store.read(*id).expect("durable and whole") == *bytes, "{id} is what was written");
        }
    }
    for id in &here {
        assert!(!promises.saved.contains(id), "{id} was settled for good");
        let bytes = promises.appended.get(id).expect("nothing is invented");
        match store.read(*id) {
            Ok(read) => assert!(read == *bytes, "{id} is what was written"),
            Err(error) => assert!(matches!(error, ReadError::Damaged { .. }), "{error}"),
        }
    }
    assert_eq!(found.lost.damaged, 0, "a crash alone damages nothing that was promised");
    assert!(found.lost.missing <= promises.evicting, "{found:?}");
    drop(store);
    let (mut store, again) = open(disk);
    assert_eq!(again, found, "recovery of a recovered spool");
    // A life that crashes before it did anything of use.
    let _ = store.append(count(1), &[b"new"]);
    let _ = store.save_cursor();
}

#[test]
fn after_a_crash_at_any_operation_what_was_promised_is_there() {
    let states = std::cell::Cell::new(0_u64);
    with_seeds(cases(12, 300), |seed| {
        for (place, (state, promises)) in (0..).zip(history(seed)) {
            for subset in 0..cases(4, 10) {
                let crash = seed ^ (place << 8) ^ (subset << 32);
                let disk = state.crashed(crash);
                check(&disk, &promises);
                // The first life after it ends in a crash too.
                let (second, found) = open(&disk.crashed(crash + 1));
                drop(second);
                for id in promises.synced.keys().filter(|id| !promises.settled.contains(id)) {
                    assert!(found.waiting.iter().any(|entry| entry.id == *id), "{id} is gone after a second crash");
                }
                states.set(states.get() + 2);
            }
        }
    });
    assert!(states.get() > 1_000, "only {} states", states.get());
}

/// A start writes little, but what it writes may be cut off at any point, too.
#[test]
fn a_start_that_crashes_or_fails_changes_nothing() {
    with_seeds(cases(20, 400), |seed| {
        let (state, promises) = history(seed).pop().expect("there is a last state");
        let disk = state.crashed(seed);
        let (_, expected) = open(&disk.copied());
        let copy = disk.copied();
        copy.disk().operations = 0;
        drop(open(&copy));
        let operations = copy.disk().operations;
        for at in 1..=operations {
            let copy = disk.copied();
            copy.disk().operations = 0;
            copy.disk().dies_at = Some(at);
            drop(try_open_with(&copy, LIMITS));
            let (_, found) = open(&copy.crashed(seed + at));
            assert_eq!(found, expected, "operation {at} of {operations}");
        }
        assert!(promises.appended.len() > 3);
    });
}
