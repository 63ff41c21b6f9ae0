//! Strange, hostile, full and read-only folders; generations that come and go.
//!
//! Promises: what is not ours stays as it is, and the error names it.
//! Never: shows what a file contains.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;
use crate::secrets::place::check_path;

fn one(text: &str) -> Files {
    set(&[("user", text)])
}

#[test]
fn what_is_not_ours_is_named_and_stays() {
    type Prepare = fn(&Path);
    let cases: [(&str, Layout, &str, Prepare); 9] = [
        ("a file in the way", Layout::Swapped, "/user` is a file", |at| fs::write(at.join("user"), "x").expect("ours")),
        ("a file in the way", Layout::Plain, "/user` is a file", |at| fs::write(at.join("user"), "x").expect("ours")),
        ("a link in the way", Layout::Swapped, "/user` is a link", |at| {
            symlink("/etc/passwd", at.join("user")).expect("ours");
        }),
        ("a link in the way", Layout::Plain, "/user` is a link", |at| {
            symlink("/etc/passwd", at.join("user")).expect("ours");
        }),
        ("a folder in the way", Layout::Plain, "/user` is a folder", |at| {
            fs::create_dir(at.join("user")).expect("ours");
        }),
        ("data is a folder", Layout::Swapped, "/..data` is a folder", |at| {
            fs::create_dir(at.join("..data")).expect("ours");
        }),
        ("data of another", Layout::Swapped, "/..data` is a link", |at| {
            symlink("/etc", at.join("..data")).expect("ours");
        }),
        ("the other layout", Layout::Swapped, "another `layout`", |at| drop(open_and_publish(at, Layout::Plain))),
        ("the other layout", Layout::Plain, "another `layout`", |at| drop(open_and_publish(at, Layout::Swapped))),
    ];
    for (name, layout, expected, prepare) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let before = names(folder.path());
        let opened = Place::open(&settings(folder.path(), layout));
        let outcome = opened.and_then(|(mut place, _)| publish(&mut place, &one("a"), "v1", Instant::now()));
        let error = outcome.expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(names(folder.path()), before, "{name}, {layout:?}");
    }
}

fn open_and_publish(folder: &Path, layout: Layout) -> Place {
    let (mut place, _) = open(folder, layout);
    published(&mut place, &one("a"), "v1");
    place
}

/// kubernetes/kubernetes#121472: links that were missing stayed so, since nothing had changed.
#[test]
fn missing_links_and_dangling_ones_are_repaired_though_nothing_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = open_and_publish(folder.path(), Layout::Swapped);
    fs::remove_file(folder.path().join("user")).expect("it is a link");
    symlink("..data/old", folder.path().join("old")).expect("ours");
    assert_eq!(published(&mut place, &one("a"), "v1"), (1, false));
    assert_eq!(names(folder.path()), ["..data", "..g1", "user"]);
    fs::remove_file(folder.path().join("user")).expect("it is a link");
    drop(place);
    let _place = open(folder.path(), Layout::Swapped);
    assert_eq!(seen(folder.path(), &["user"]), texts(&one("a")), "a start repairs them, too");
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let cases = [
        (0o755, 0, 0, true),
        (0o777, 0, 0, false),
        (0o1777, 0, 0, true),
        (0o775, 65_532, 0, true),
        (0o775, 0, 4343, false),
        (0o755, 4242, 0, false),
        (0o755, 65_532, 65_532, true),
    ];
    for (mode, user, group, is_well) in cases {
        let root = tempfile::tempdir().expect("a folder");
        chown(root.path(), Some(user), Some(group)).expect("the tests run as root");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).expect("the tests run as root");
        let opened = Place::open(&settings(root.path(), Layout::Swapped));
        let refused = matches!(opened, Err(PlaceError::Unsafe { .. }));
        assert_eq!(!refused, is_well, "{mode:o} {user}:{group}: {opened:?}");
    }
}

/// A newest generation that somebody else put in place, where others can add names.
#[test]
fn a_generation_of_another_user_is_not_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open_and_publish(folder.path(), Layout::Swapped));
    std::os::unix::fs::lchown(folder.path().join("..data"), Some(4242), None).expect("the tests run as root");
    let opened = Place::open(&settings(folder.path(), Layout::Swapped));
    assert!(matches!(opened, Err(PlaceError::Foreign { .. })), "{opened:?}");
}

#[test]
fn one_process_places_secrets_in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = open_and_publish(folder.path(), Layout::Swapped);
    let second = Place::open(&settings(folder.path(), Layout::Swapped));
    assert!(matches!(second, Err(PlaceError::InUse { .. })), "{second:?}");
    drop(place);
    assert_eq!(open(folder.path(), Layout::Swapped).1.map(|adopted| adopted.marker.number), Some(1));
}

/// A marker of a newer version, or one that nobody can read, is no reason to fail or to blank anything.
#[test]
fn a_marker_that_cannot_be_read_has_no_versions() {
    for text in [r#"{"format":2,"generation":9,"versions":{"db":["v9"]}}"#, "", "{", "[]"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut place = open_and_publish(folder.path(), Layout::Swapped);
        place.told(1).expect("it is remembered");
        drop(place);
        fs::write(folder.path().join("..data/.generation"), text).expect("we are root");
        let (mut place, adopted) = open(folder.path(), Layout::Swapped);
        let adopted = adopted.expect("it is there all the same");
        assert_eq!((adopted.marker.number, adopted.marker.versions.len(), adopted.told), (1, 0, 1), "{text}");
        assert_eq!(published(&mut place, &one("a"), "v1"), (2, true), "{text}");
        assert_eq!(seen(folder.path(), &["user"]), texts(&one("a")), "{text}");
    }
}

/// Else a generation could have a number that everybody seems to have been told of.
#[test]
fn numbers_never_go_back_though_everything_else_is_gone() {
    for (layout, newest) in [(Layout::Swapped, "..data"), (Layout::Plain, ".generation")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut place = open_and_publish(folder.path(), layout);
        place.told(7).expect("it is remembered");
        drop(place);
        fs::remove_file(folder.path().join("user")).expect("it is there");
        fs::remove_file(folder.path().join(newest)).expect("it is there");
        let (mut place, adopted) = open(folder.path(), layout);
        assert_eq!((adopted, published(&mut place, &one("a"), "v1")), (None, (8, true)), "{layout:?}");
    }
}

#[test]
fn new_versions_that_say_the_same_are_remembered_and_change_nothing() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut place = open_and_publish(folder.path(), layout);
        assert_eq!(published(&mut place, &one("a"), "v2"), (1, false));
        drop(place);
        let (_, adopted) = open(folder.path(), layout);
        assert_eq!(adopted.expect("it is there").marker.versions, versions("v2"));
    }
}

#[test]
fn old_generations_are_kept_by_number_and_by_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut place, _) = open(folder.path(), Layout::Swapped);
    let start = Instant::now();
    for number in 0..6 {
        publish(&mut place, &one(&number.to_string()), "v", start).expect("it is published");
    }
    place.prune(start + KEEP_FOR - Duration::from_millis(1)).expect("nothing is old enough");
    assert_eq!(names(folder.path()), ["..data", "..g1", "..g2", "..g3", "..g4", "..g5", "..g6", "user"]);
    drop(place);
    // A start does not know when they were replaced, and gives each its time again.
    let (mut place, _) = open(folder.path(), Layout::Swapped);
    place.prune(start).expect("nothing is old enough");
    assert_eq!(names(folder.path()).len(), 8);
    place.prune(start + KEEP_FOR).expect("they are removed");
    assert_eq!(names(folder.path()), ["..data", "..g4", "..g5", "..g6", "user"]);
    for number in 0..200 {
        publish(&mut place, &one(&format!("again {number}")), "v", start).expect("it is published");
    }
    assert_eq!(names(folder.path()).len(), crate::limits::SECRET_GENERATIONS_MAX + 3, "bounded, however young");
}

/// Mounts `what` over a folder of this test alone, and unmounts it when it is dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &folder.path().to_string_lossy()]);
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", &self.0.path().to_string_lossy()]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status();
    assert!(status.expect("the tests run as root").success(), "{program} {arguments:?}");
}

#[test]
fn a_full_volume_keeps_the_generation_before() {
    for layout in LAYOUTS {
        let mounted = Mounted::tmpfs("size=64k,mode=0755");
        let mut place = open_and_publish(mounted.0.path(), layout);
        let before = names(mounted.0.path());
        let large = set(&[("other", "b"), ("user", &"wxyz".repeat(25_000))]);
        let error = publish(&mut place, &large, "v2", Instant::now()).expect_err("there is no room");
        assert!(matches!(error, PlaceError::Full { .. }), "{error}");
        assert!(!error.to_string().contains("xyz"), "nothing of what is written");
        assert_eq!((names(mounted.0.path()), seen(mounted.0.path(), &["user"])), (before, texts(&one("a"))));
        assert_eq!(published(&mut place, &one("c"), "v3"), (2, true), "{layout:?}: there is room again");
    }
}

#[test]
fn a_read_only_volume_is_said_and_stays_readable() {
    for layout in LAYOUTS {
        let mounted = Mounted::tmpfs("mode=0755");
        drop(open_and_publish(mounted.0.path(), layout));
        run("mount", &["-o", "remount,ro", &mounted.0.path().to_string_lossy()]);
        let (mut place, adopted) = open(mounted.0.path(), layout);
        assert_eq!(adopted.map(|adopted| adopted.marker.number), Some(1), "it is adopted all the same");
        let error = publish(&mut place, &one("b"), "v2", Instant::now()).expect_err("it cannot be written");
        assert!(matches!(error, PlaceError::ReadOnly { .. }), "{error}");
        assert_eq!(seen(mounted.0.path(), &["user"]), texts(&one("a")));
    }
}

#[test]
fn paths_stay_in_the_folder_and_meet_none_of_our_names() {
    let deep = vec!["a"; 17].join("/");
    let long = "a".repeat(256);
    for path in [
        "",
        "/a",
        "a//b",
        "a/",
        "../a",
        "a/../b",
        "./a",
        "..data",
        "..data/a",
        "..x",
        ".generation",
        ".told",
        ".told/a",
        "a\nb",
        "a\0b",
        &deep,
        &long,
    ] {
        assert!(check_path(path).is_err(), "{path:?}");
    }
    for path in ["a", "a/b/c", ".pgpass", "a..b", "a/..b", "a/.told", "db.json", "ä"] {
        assert_eq!(check_path(path), Ok(()), "{path:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (mut place, _) = open(folder.path(), Layout::Swapped);
    let error =
        publish(&mut place, &set(&[("a", "x"), ("a/b", "y")]), "v", Instant::now()).expect_err("a file and a folder");
    assert!(matches!(error, PlaceError::Path { .. }), "{error}");
}

/// Files that were given to the app are known again after a restart, also where everybody may add names.
#[test]
fn files_of_another_user_on_a_tmpfs_are_ours_after_a_restart() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
        let own = PlaceSettings { user: Some(4242), ..settings(folder.path(), layout) };
        let (mut place, _) = Place::open(&own).expect("it opens");
        published(&mut place, &one("a"), "v1");
        place.told(1).expect("it is remembered");
        drop(place);
        let (mut place, adopted) = Place::open(&own).expect("it opens again");
        let adopted = adopted.expect("it is there");
        assert_eq!((adopted.marker.number, adopted.told), (1, 1), "{layout:?}");
        assert_eq!(published(&mut place, &one("b"), "v2"), (2, true), "{layout:?}");
    }
}

/// Whoever can put a link or a pipe in place of a file of ours gets neither what it leads to compared, nor us to wait.
#[test]
fn a_link_or_a_pipe_in_place_of_a_file_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = open_and_publish(folder.path(), Layout::Swapped);
    let mode = fs::Permissions::from_mode(0o440);
    let same = folder.path().join("same");
    fs::write(&same, "a").and_then(|()| fs::set_permissions(&same, mode)).expect("ours");
    let user = folder.path().join("..data/user");
    fs::remove_file(&user).and_then(|()| symlink("../same", &user)).expect("ours");
    assert_eq!(published(&mut place, &one("a"), "v1"), (2, true), "a link is not our file, whatever it leads to");
    let user = folder.path().join("..data/user");
    fs::remove_file(&user).expect("ours");
    run("mkfifo", &["-m", "0440", &user.to_string_lossy(), &folder.path().join(".told").to_string_lossy()]);
    assert_eq!(published(&mut place, &one("a"), "v1"), (3, true), "a pipe is not our file");
    drop(place);
    assert_eq!(open(folder.path(), Layout::Swapped).1.map(|adopted| adopted.told), Some(0), "nor is it waited for");
}

#[test]
fn nothing_is_synced_unless_it_is_set() {
    for layout in LAYOUTS {
        for sync in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let gate = Gate(Some(Arc::new(move |action: &'static str| {
                counted.fetch_add(usize::from(action == "sync"), Ordering::Relaxed);
                Ok(())
            })));
            let own = PlaceSettings { sync, ..settings(folder.path(), layout) };
            let (mut place, _) = Place::open_with(&own, gate).expect("it opens");
            published(&mut place, &one("a"), "v1");
            let synced = count.load(Ordering::Relaxed);
            // At least the file, the marker, and the folder with the names.
            assert!(if sync { synced >= 3 } else { synced == 0 }, "{layout:?} {sync}: {synced}");
        }
    }
}

/// The mode is as it was asked for, whatever the umask: 0666 survives the usual 0022 only by a chmod.
#[test]
fn a_mode_is_not_cut_by_the_umask() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut place, _) = open(folder.path(), Layout::Swapped);
    let value = Value::new(b"a".to_vec());
    let file = File { path: "user".to_owned(), bytes: &value, mode: Some(0o666) };
    place.publish(&[file], &versions("v1"), Instant::now()).expect("it is published");
    let mode = fs::metadata(folder.path().join("user")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o666);
}
