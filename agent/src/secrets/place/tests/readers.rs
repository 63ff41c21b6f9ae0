//! Readers beside a writer: never torn, empty, missing or mixed; what a watcher is told; who may read.
//!
//! Promises: bounded by the number of generations, not by time.
//! Never: promises anything of two files read by their paths.

use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    process::Command,
    sync::atomic::AtomicBool,
    thread,
};

use rustix::fs::{CWD, Mode, OFlags, inotify, openat};

use super::*;

/// Generations of each layout. Between two of them every reader reads, so that each swap has readers under way.
const GENERATIONS: usize = 1_000;
/// What is read of each layout until all generations are there: a million in all. A pair counts once.
const SINGLES_SWAPPED: usize = 300_000;
const PAIRS_SWAPPED: usize = 300_000;
const SINGLES_PLAIN: usize = 400_000;
/// Readers of each kind that read at a time.
const READERS: usize = 2;

/// What a file of generation `number` holds: its number in four digits, again and again, so that a torn one shows.
fn text(number: usize) -> String {
    format!("{number:04}\n").repeat(500)
}

/// The number of the generation that a file is of.
fn number(text: &[u8], texts: &[String]) -> usize {
    let number = text.get(..4).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    let number = number.expect("never empty or torn");
    assert!(texts[number].as_bytes() == text, "torn or mixed: generation {number} and {} bytes", text.len());
    number
}

/// Reads a whole file into `buffer`, as a program does: open, read until nothing comes, close.
fn read_at(folder: impl AsFd, name: impl rustix::path::Arg, buffer: &mut [u8; 4096]) -> &[u8] {
    let file = openat(folder, name, OFlags::RDONLY, Mode::empty()).expect("a kept generation has its files");
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut buffer[length..]).expect("it is read") {
            0 => return &buffer[..length],
            count => length += count,
        }
    }
}

/// Tells everybody to end when one ends, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads again and again until somebody ends; what `read` gives never goes back to an older generation.
fn read_on(done: &AtomicBool, reads: &AtomicUsize, mut read: impl FnMut() -> usize) {
    let _ends = Ends(done);
    let mut last = 0;
    while !done.load(Ordering::Relaxed) {
        let next = read();
        assert!(next >= last, "back from {last} to {next}");
        last = next;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes all generations beside readers: of one file by its name, and of a pair through one open folder. Each kind reads
/// its share before the next generation, however busy the machine is.
fn read_beside_a_writer(layout: Layout, singles: usize, pairs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let (mut place, _) = open(path, layout);
    let texts: Vec<String> = (0..=GENERATIONS).map(text).collect();
    let files = |number: usize| set(&["json", "password", "user"].map(|name| (name, texts[number].as_str())));
    published(&mut place, &files(0), "0");
    let (json, data) = (path.join("json"), path.join("..data"));
    let single = || {
        let mut buffer = [0; 4096];
        number(read_at(CWD, &json, &mut buffer), &texts)
    };
    let pair = || {
        let data = openat(CWD, &data, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let data = data.expect("there is a generation at any time");
        let (mut user, mut password) = ([0; 4096], [0; 4096]);
        let (user, password) = (read_at(&data, "user", &mut user), read_at(&data, "password", &mut password));
        assert!(user == password, "mixed");
        number(user, &texts)
    };
    let done = AtomicBool::new(false);
    let (done, counts) = (&done, [AtomicUsize::new(0), AtomicUsize::new(0)]);
    thread::scope(|scope| {
        let _ends = Ends(done);
        for _ in 0..READERS {
            scope.spawn(|| read_on(done, &counts[0], single));
            if pairs > 0 {
                scope.spawn(|| read_on(done, &counts[1], pair));
            }
        }
        for number in 1..=GENERATIONS {
            published(&mut place, &files(number), &number.to_string());
            for (count, all) in counts.iter().zip([singles, pairs]) {
                while count.load(Ordering::Relaxed) < all * number / GENERATIONS && !done.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            }
        }
    });
    let counts = counts.map(AtomicUsize::into_inner);
    assert!(counts[0] >= singles && counts[1] >= pairs, "a reader ended early: {counts:?}");
}

/// A million reads while a thousand generations come: no file torn, empty or missing, no pair mixed, none older than the last.
#[test]
fn a_million_reads_beside_a_writer_see_whole_generations_in_order() {
    read_beside_a_writer(Layout::Swapped, SINGLES_SWAPPED, PAIRS_SWAPPED);
    read_beside_a_writer(Layout::Plain, SINGLES_PLAIN, 0);
}

/// The names of the events of a watched folder since the last look.
fn events(watch: &OwnedFd) -> Vec<String> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut events = Vec::new();
    while let Ok(event) = reader.next() {
        let name = event.file_name().map(CStr::to_string_lossy).unwrap_or_default();
        events.push(name.into_owned());
    }
    events
}

/// What docs/secrets.md tells those who watch: the folder, for `..data` or for the name.
#[test]
fn a_watcher_of_the_folder_sees_what_the_page_says() {
    for (layout, expected) in [(Layout::Swapped, "..data"), (Layout::Plain, "user")] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut place, _) = open(folder.path(), layout);
        published(&mut place, &set(&[("user", "a")]), "v1");
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("it watches");
        inotify::add_watch(&watch, folder.path(), inotify::WatchFlags::MOVED_TO).expect("it watches");
        for text in ["b", "c"] {
            published(&mut place, &set(&[("user", text)]), text);
            let seen: Vec<_> = events(&watch).into_iter().filter(|name| name != ".generation").collect();
            assert_eq!(seen, [expected], "{layout:?}, each time");
        }
        published(&mut place, &set(&[("user", "c")]), "c");
        assert_eq!(events(&watch), [""; 0], "nothing changed, nobody is woken");
    }
}

/// `/bin/sh` as the user 4242 of the group 4343. The suite runs as root.
fn as_app(script: &str, folder: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4242", "--regid=4343", "--clear-groups", "/bin/sh", "-c", script]).arg("sh").arg(folder);
    command.stderr(std::process::Stdio::null()).status().expect("setpriv is there, and the tests run as root").success()
}

#[test]
fn the_group_of_the_app_can_read_and_not_write() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let own = PlaceSettings { group: Some(4343), dir_mode: 0o750, ..settings(folder.path(), layout) };
        let (mut place, _) = Place::open(&own).expect("it opens");
        let files = set(&[("sub/user", "a"), ("user", "a")]);
        assert_eq!(published(&mut place, &files, "v1"), (1, true));
        let status = fs::metadata(folder.path().join("sub/user")).expect("it is there");
        assert_eq!((status.mode() & 0o7777, status.gid()), (0o440, 4343));
        assert!(as_app("cat \"$1\"/user \"$1\"/sub/user >/dev/null", folder.path()), "{layout:?}: it reads");
        for script in ["echo >>\"$1\"/user", "rm -f \"$1\"/sub/user", "ln -s x \"$1\"/new", "rm -f \"$1\"/user"] {
            assert!(!as_app(script, folder.path()), "{layout:?}: `{script}` must fail");
        }
        // A mode or an owner that is not as it should be is a change.
        assert_eq!(published(&mut place, &files, "v1"), (1, false));
        drop(place);
        let other = PlaceSettings { mode: 0o400, user: Some(4242), ..own };
        let (mut place, _) = Place::open(&other).expect("it opens");
        assert_eq!(published(&mut place, &files, "v1"), (2, true), "{layout:?}");
        let status = fs::metadata(folder.path().join("user")).expect("it is there");
        assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o400, 4242, 4343));
    }
}

/// What the app has is a mount of its own, read-only: it sees each swap, and cannot write even as root.
#[test]
fn a_read_only_mount_of_the_folder_sees_each_change() {
    for layout in LAYOUTS {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, view) = (root.path().join("here"), root.path().join("view"));
        fs::create_dir(&view).expect("it is made");
        let (mut place, _) = open(&folder, layout);
        published(&mut place, &set(&[("user", "a")]), "v1");
        let script = "mount --bind \"$1\" \"$2\" && mount -o remount,bind,ro \"$2\" && cat \"$2\"/user && echo && read line \
                      && cat \"$2\"/user && ! echo >\"$2\"/other";
        let mut app = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
            .args([&folder, &view])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("unshare is there, and the tests run as root");
        let mut says = std::io::BufReader::new(app.stdout.take().expect("it is piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut says, &mut line).expect("it is mounted and read");
        published(&mut place, &set(&[("user", "b")]), "v2");
        std::io::Write::write_all(&mut app.stdin.take().expect("it is piped"), b"\n").expect("it waits for it");
        let rest = std::io::read_to_string(says).expect("it is read again");
        assert_eq!((line.trim(), rest.as_str()), ("a", "b"), "{layout:?}");
        assert!(app.wait().expect("it ends").success(), "{layout:?}: the mount must be read-only");
    }
}
