//! A stop before any change of the volume, and a failure of any one.
//!
//! Promises: from outside, a killed process is one whose changes stop at some call, so each call is tried.
//! Never: cuts a write in the middle; it goes to a file that nobody sees yet.

use std::sync::Mutex;

use super::*;

const PATHS: [&str; 4] = ["user", "password", "sub/url", "gone"];

fn before() -> Files {
    set(&[("user", "a"), ("password", "1"), ("gone", "x")])
}

fn after() -> Files {
    set(&[("user", "b"), ("password", "2"), ("sub/url", "b:2")])
}

/// A folder with the generation [`before`], and a place whose gate is `gate`.
fn prepared(layout: Layout, gate: Gate) -> (tempfile::TempDir, Place) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut place, adopted) = open(folder.path(), layout);
    assert_eq!((adopted, published(&mut place, &before(), "v1")), (None, (1, true)));
    drop(place);
    let (place, _) = Place::open_with(&settings(folder.path(), layout), gate).expect("it opens");
    (folder, place)
}

/// True if what a reader sees is one generation. A file by itself, with the plain layout.
fn is_whole(layout: Layout, seen: &BTreeMap<String, String>) -> bool {
    let (old, new) = (texts(&before()), texts(&after()));
    match layout {
        Layout::Swapped => *seen == old || *seen == new,
        Layout::Plain => {
            PATHS.iter().all(|path| seen.get(*path) == old.get(*path) || seen.get(*path) == new.get(*path))
        }
    }
}

/// What a crash or a failure at each change leaves is seen whole, and the next start repairs it.
#[test]
fn a_stop_at_any_change_leaves_one_whole_generation_that_the_next_start_repairs() {
    for layout in LAYOUTS {
        for is_dead in [true, false] {
            let mut at = 0;
            loop {
                let (gate, count) = failing(at, Errno::NOSPC, is_dead);
                let (folder, mut place) = prepared(layout, gate);
                let outcome = publish(&mut place, &after(), "v2", Instant::now());
                let was_reached = count.load(Ordering::Relaxed) > at;
                let context = format!("{layout:?}, change {at}, dead {is_dead}: {outcome:?}");
                let here = seen(folder.path(), &PATHS);
                assert!(is_whole(layout, &here), "{context}: {here:?}");
                if layout == Layout::Swapped {
                    let expected = if outcome.is_ok() { texts(&after()) } else { texts(&before()) };
                    assert_eq!(here, expected, "{context}");
                }
                drop(place);
                let (mut place, adopted) = open(folder.path(), layout);
                let adopted = adopted.unwrap_or_else(|| panic!("{context}: nothing was adopted"));
                assert!([1, 2].contains(&adopted.marker.number) && adopted.told == 0, "{context}: {adopted:?}");
                let (number, changed) = published(&mut place, &after(), "v2");
                // Whoever was not told before the crash is told now: the number is new, or was never told.
                assert!(number >= 2 && changed == (adopted.marker.number == 1), "{context}: {adopted:?}, {number}");
                assert_eq!(seen(folder.path(), &PATHS), texts(&after()), "{context}");
                let swapped = ["..data", "..g1", &format!("..g{number}"), "password", "sub", "user"];
                let plain = [".generation", "password", "sub", "user"];
                let expected = if layout == Layout::Swapped { &swapped[..] } else { &plain[..] };
                assert_eq!(names(folder.path()), expected, "{context}");
                assert_eq!(published(&mut place, &after(), "v2"), (number, false), "{context}");
                if !was_reached {
                    assert!(outcome.is_ok_and(|published| published.changed) && at > 15, "{context}");
                    break;
                }
                at += 1;
            }
        }
    }
}

/// The same for what the repair itself does, and for a very first generation.
#[test]
fn a_start_and_a_repair_that_are_stopped_are_repaired_by_the_next_one() {
    for layout in LAYOUTS {
        for first in 0..24 {
            for second in 0..12 {
                let folder = tempfile::tempdir().expect("a folder");
                for at in [first, second] {
                    let (gate, _) = failing(at, Errno::IO, true);
                    let opened = Place::open_with(&settings(folder.path(), layout), gate);
                    let (mut place, _) = opened.expect("a repair that fails is tried again");
                    let _ = publish(&mut place, &before(), "v1", Instant::now());
                }
                let (mut place, _) = open(folder.path(), layout);
                // Number 0 would be a generation that nobody is told of.
                assert!(published(&mut place, &before(), "v1").0 > 0, "{layout:?} {first} {second}");
                assert_eq!(seen(folder.path(), &PATHS), texts(&before()), "{layout:?} {first} {second}");
                let left = names(folder.path());
                assert!(!left.iter().any(|name| name.contains("tmp") || name.starts_with("..p-")), "{left:?}");
            }
        }
    }
}

/// Before each single change a reader looks.
#[test]
fn a_reader_that_looks_before_each_change_sees_one_generation() {
    for layout in LAYOUTS {
        let watched = Arc::new(Mutex::new(None::<std::path::PathBuf>));
        let looked = Arc::clone(&watched);
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let gate = Gate(Some(Arc::new(move |action: &'static str| {
            let looked = looked.lock().expect("no panic holds it");
            let Some(folder) = &*looked else { return Ok(()) };
            let here = seen(folder, &PATHS);
            assert!(is_whole(layout, &here), "{layout:?} before `{action}`: {here:?}");
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })));
        let (folder, mut place) = prepared(layout, gate);
        *watched.lock().expect("no panic holds it") = Some(folder.path().to_owned());
        assert_eq!(published(&mut place, &after(), "v2"), (2, true));
        assert!(looks.load(Ordering::Relaxed) > 15, "{looks:?} looks");
    }
}

/// A notification is never lost, and not doubled, by a restart.
#[test]
fn who_was_told_is_known_after_a_restart() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut place, _) = open(folder.path(), layout);
        published(&mut place, &before(), "v1");
        place.told(1).expect("it is remembered");
        published(&mut place, &after(), "v2");
        drop(place);
        let (place, adopted) = open(folder.path(), layout);
        let adopted = adopted.expect("a generation is there");
        assert_eq!((adopted.marker.number, adopted.marker.versions, adopted.told), (2, versions("v2"), 1));
        drop(place);
        for at in 0..8 {
            let (gate, _) = failing(at, Errno::NOSPC, true);
            let (mut place, adopted) = Place::open_with(&settings(folder.path(), layout), gate).expect("it opens");
            let before = adopted.expect("a generation is there").told;
            let told = place.told(before + 1).is_ok();
            drop(place);
            let (_, adopted) = open(folder.path(), layout);
            assert_eq!(adopted.expect("a generation is there").told, before + u64::from(told), "{layout:?} {at}");
        }
    }
}
