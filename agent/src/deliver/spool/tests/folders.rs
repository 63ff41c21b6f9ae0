//! Folders that are not as they should be, disks that refuse at each step, and the real file system.
//!
//! Promises: each is refused with a message that says what to do, or borne; nothing that is not ours is touched.
//! Never: needs a user that is not root: who may write what is left to the kernel.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::{
    super::{
        files::{Files, Kind, Real},
        frame::SegmentHeader,
        segment, *,
    },
    *,
};

fn with_entries(disk: &Hostile, count: u64) -> Vec<Id> {
    let (mut store, _) = open(disk);
    let ids = (0..count).map(|number| append(&mut store, 2, &payload(number, 900))).collect();
    store.sync().expect("durable");
    store.save_cursor().expect("saved");
    ids
}

fn ids(found: &Found) -> Vec<Id> {
    found.waiting.iter().map(|entry| entry.id).collect()
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let disk = Hostile::default();
    let ids_before = with_entries(&disk, 6);
    let strays =
        ["readme.txt", "0.segment", "0000000000000001.segment.bak", "x.tmp", "core", "9999999999999999.segment"];
    for name in strays {
        disk.put(&folder().join(name), b"not yours".to_vec());
    }
    disk.put_kind(&folder().join("subfolder"), Kind::Folder);
    disk.put_kind(&segment::path(&folder(), 50), Kind::Folder);
    disk.put_kind(&segment::path(&folder(), 51), Kind::Other);
    disk.put(&folder().join("0000000000000077.tmp"), b"ours, unfinished".to_vec());
    let (mut store, found) = open(&disk);
    assert_eq!(ids(&found), ids_before);
    assert_eq!(found.lost, Lost::default());
    let messages: Vec<_> = found.damage.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "`/spool/out/0000000000000050.segment` is not a file; left alone",
            "`/spool/out/0000000000000051.segment` is not a file; left alone",
        ]
    );
    while store.evict_oldest().is_some() {}
    (0..100)
        .for_each(|_| while store.append(count(1), &[&payload(1, 900)]).is_err() && store.evict_oldest().is_some() {});
    for name in strays {
        assert_eq!(disk.content(&folder().join(name)), b"not yours");
    }
    let paths = disk.paths();
    assert!(paths.contains(&segment::path(&folder(), 50)) && paths.contains(&segment::path(&folder(), 51)));
    assert!(!paths.contains(&folder().join("0000000000000077.tmp")));
}

#[test]
fn a_segment_of_another_spool_is_left_alone_and_its_number_is_not_used() {
    let (disk, other) = (Hostile::default(), Hostile::default());
    other.random();
    with_entries(&other, 2);
    let ids_before = with_entries(&disk, 2);
    let foreign = other.content(&segment::path(&folder(), 0));
    let renamed = disk.content(&segment::path(&folder(), 0));
    disk.put(&segment::path(&folder(), 1), foreign.clone());
    disk.put(&segment::path(&folder(), 2), renamed.clone());
    let (mut store, found) = open(&disk);
    assert_eq!((ids(&found), found.damage.len()), (ids_before, 2));
    for number in 0..8 {
        append(&mut store, 1, &payload(number, 1_500));
    }
    assert_eq!(disk.content(&segment::path(&folder(), 1)), foreign);
    assert_eq!(disk.content(&segment::path(&folder(), 2)), renamed);
    assert!(disk.paths().contains(&segment::path(&folder(), 3)));
}

/// Made by hand: the header of a version to come, whatever it holds.
fn newer_segment(sequence: u64) -> Vec<u8> {
    let mut bytes = SegmentHeader { nonce: 1, sequence, void_from: 0, first: 0 }.encode().to_vec();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&[7; 500]);
    bytes
}

#[test]
fn a_segment_of_a_newer_version_is_left_for_it() {
    let disk = Hostile::default();
    let ids_before = with_entries(&disk, 3);
    let path = segment::path(&folder(), 9);
    disk.put(&path, newer_segment(9));
    let (mut store, found) = open(&disk);
    assert_eq!((ids(&found), found.lost), (ids_before.clone(), Lost::default()));
    let message = "`/spool/out/0000000000000009.segment` has format 2, which a newer version wrote; left alone";
    assert_eq!(found.damage[0].to_string(), message);
    let id = append(&mut store, 1, b"after");
    assert!(id.0 > 6 + 500, "its ids are not given to others");
    store.sync().expect("durable");
    store.save_cursor().expect("saved");
    drop(store);
    let (mut store, found) = open(&disk);
    assert_eq!((ids(&found), found.lost), ([ids_before, vec![id]].concat(), Lost::default()));
    while store.evict_oldest().is_some() {}
    assert_eq!(disk.content(&path), newer_segment(9));
}

#[test]
fn an_older_minor_version_is_read() {
    let disk = Hostile::default();
    let ids_before = with_entries(&disk, 1);
    let path = segment::path(&folder(), 0);
    let mut content = disk.content(&path);
    content[10] = 9;
    let crc = crc32c::crc32c(&content[..60]);
    content[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path, content);
    assert_eq!(ids(&open(&disk).1), ids_before, "so is a newer one of the same major version");
}

#[test]
fn a_cursor_of_a_newer_version_closes_the_store() {
    let disk = Hostile::default();
    with_entries(&disk, 1);
    let mut content = disk.content(&cursor_path());
    for slot in [0, 4096] {
        content[slot + 8] = 3;
        let crc = crc32c::crc32c(&content[slot..slot + 4092]);
        content[slot + 4092..slot + 4096].copy_from_slice(&crc.to_le_bytes());
    }
    disk.put(&cursor_path(), content.clone());
    let error = try_open_with(&disk, LIMITS).expect_err("refused");
    assert!(matches!(error, OpenError::NewerVersion { major: 3, .. }), "{error}");
    assert_eq!(disk.content(&cursor_path()), content);
}

#[test]
fn folders_that_cannot_be_used_are_refused_with_advice() {
    let read_only = Hostile::default();
    read_only.disk().read_only = true;
    let file = Hostile::default();
    file.put(&root_path(), Vec::new());
    let link = Hostile::default();
    drop(Root::open(Arc::new(link.clone()), &root_path()).expect("opens"));
    link.put_kind(&folder(), Kind::Other);
    let table = [
        (read_only, "the spool `/spool` is on a read-only volume; mount it without `readOnly`"),
        (file, "the spool `/spool` is not a folder; name another one, or remove what is there"),
        (link, "the spool `/spool/out` is not a folder; name another one, or remove what is there"),
    ];
    for (disk, expected) in table {
        assert_eq!(try_open_with(&disk, LIMITS).expect_err("refused").to_string(), expected);
    }
}

#[test]
fn a_root_has_one_process_and_a_store_one_output() {
    let disk = Hostile::default();
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let mut root = Root::open(Arc::clone(&files), &root_path()).expect("opens");
    let store = root.store("out", LIMITS).expect("opens");
    assert!(matches!(root.store("out", LIMITS), Err(OpenError::OpenTwice { .. })));
    let error = Root::open(Arc::clone(&files), &root_path()).expect_err("one at a time");
    let expected = "the spool `/spool` is in use by another process; give each agent a spool folder of its own";
    assert_eq!(error.to_string(), expected);
    drop(root);
    assert!(Root::open(Arc::clone(&files), &root_path()).is_err(), "the store holds the lock too");
    drop(store);
    assert!(Root::open(files, &root_path()).is_ok());
}

/// A short life, on a disk that may refuse anything. What it says was durable is returned.
fn live(disk: &Hostile, promised: &mut Vec<(Id, Vec<u8>)>) {
    let Ok((mut store, _)) = try_open_with(disk, LIMITS) else { return };
    let mut unsynced: Vec<(Id, Vec<u8>)> = Vec::new();
    for number in 0..12 {
        let bytes = payload(number, 500);
        if let Ok(id) = store.append(count(1), &[&bytes]) {
            unsynced.push((id, bytes));
        }
        if number % 3 == 2 {
            let failed = store.sync().err().map(|error| error.ids).unwrap_or_default();
            promised.extend(unsynced.drain(..).filter(|(id, _)| !failed.contains(id)));
        }
        if number % 5 == 4 && !promised.is_empty() {
            let (id, _) = promised.remove(0);
            store.settle(id);
            let _ = store.save_cursor();
        }
        let _ = store.read(Id(0));
    }
    assert!(store.used() <= LIMITS.bytes_max);
}

/// After a life with trouble, and without manual repair, all is there and it goes on.
fn goes_on(disk: &Hostile, promised: &[(Id, Vec<u8>)], what: &str) {
    for seed in 0..3 {
        let (mut store, found) = open(&disk.crashed(seed));
        for (id, bytes) in promised {
            assert!(ids(&found).contains(id), "{what}: {id} was durable, and is gone: {found:?}");
            assert!(store.read(*id).expect("whole") == *bytes, "{what}: {id}");
        }
        append(&mut store, 1, b"goes on");
        store.sync().expect("the disk is well again");
        store.save_cursor().expect("the disk is well again");
        assert!(!store.is_degraded());
    }
}

#[test]
fn a_disk_that_fails_at_any_operation_loses_nothing_that_was_promised() {
    let mut all = Vec::new();
    let disk = Hostile::default();
    live(&disk, &mut all);
    let operations = disk.disk().operations;
    assert!(operations > 60 && all.len() > 8);
    for at in 1..=operations {
        for for_good in [false, true] {
            let disk = Hostile::default();
            if for_good {
                disk.disk().dies_at = Some(at);
            } else {
                disk.disk().fails_at = Some(at);
            }
            let mut promised = Vec::new();
            live(&disk, &mut promised);
            goes_on(&disk, &promised, &format!("operation {at}, for good: {for_good}"));
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing_that_was_promised() {
    for room in (0..20_000).step_by(97) {
        let disk = Hostile::default();
        disk.disk().room = room;
        disk.disk().short_writes = room % 2 == 0;
        let mut promised = Vec::new();
        live(&disk, &mut promised);
        goes_on(&disk, &promised, &format!("{room} bytes"));
    }
}

#[test]
fn a_disk_that_becomes_well_is_used_again() {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    for trouble in 0..3 {
        {
            let mut disk = disk.disk();
            match trouble {
                0 => disk.read_only = true,
                1 => disk.room = 0,
                _ => disk.dies_at = Some(0),
            }
        }
        for number in 0..50 {
            store.append(count(1), &[&payload(number, 900)]).expect_err("refused");
            assert!(store.sync().is_ok() && store.is_degraded());
        }
        {
            let mut disk = disk.disk();
            (disk.read_only, disk.room, disk.dies_at) = (false, u64::MAX, None);
        }
        append(&mut store, 1, &payload(trouble, 900));
        store.sync().expect("durable");
        assert!(!store.is_degraded());
        assert!(segment_paths(&disk).len() <= 4, "a disk in trouble is not filled with empty segments");
    }
}

/// The same on the file system of the machine.
#[test]
fn the_real_file_system_keeps_what_was_synced() {
    let outside = tempfile::tempdir().expect("a folder");
    let path = outside.path().join("deep/spool");
    let open = || {
        let mut root = Root::open(Arc::new(Real), &path).expect("opens");
        root.store("out", LIMITS).expect("opens")
    };
    let (mut store, _) = open();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let bytes: Vec<_> = (0..9).map(|number| payload(number, 700)).collect();
    let all: Vec<_> = bytes.iter().map(|bytes| append(&mut store, 3, bytes)).collect();
    store.sync().expect("durable");
    store.settle(all[0]);
    store.save_cursor().expect("saved");
    let error = Root::open(Arc::new(Real), &path).expect_err("locked");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(store);
    assert_eq!([mode(&path), mode(&path.join("out"))], [0o700; 2]);
    assert_eq!([mode(&path.join("lock")), mode(&path.join("out/cursor"))], [0o600; 2]);
    assert_eq!(mode(&segment::path(&path.join("out"), 0)), 0o600);
    let secret = outside.path().join("secret");
    fs::write(&secret, b"not yours").expect("written");
    symlink(&secret, segment::path(&path.join("out"), 70)).expect("linked");
    symlink(&secret, path.join("out/0000000000000004.tmp")).expect("linked");
    let (mut store, found) = open();
    assert_eq!((ids(&found), found.lost), (all[1..].to_vec(), Lost::default()));
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
    for (id, bytes) in all.iter().zip(&bytes).skip(1) {
        assert!(store.read(*id).expect("whole") == *bytes);
    }
    for number in 0..20 {
        append(&mut store, 1, &payload(number, 900));
    }
    store.sync().expect("durable");
    while store.evict_oldest().is_some() {}
    assert_eq!(fs::read(&secret).expect("read"), b"not yours");
}

/// A link in place of a file is not followed, neither to read nor to write.
#[test]
fn the_real_file_system_follows_no_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, b"target").expect("written");
    symlink(&target, &link).expect("linked");
    for access in [files::Access::Read, files::Access::Write] {
        assert!(Real.open(&link, access).is_err());
    }
    assert!(Real.create(&link).is_err() && Real.lock(&link).is_err() && Real.sync_folder(&link).is_err());
    assert_eq!(fs::read(&target).expect("read"), b"target");
}
