//! Readers beside a writer: never torn, empty, missing or mixed; what a watcher is told; who may read.
//!
//! Promises: bounded by the number of generations, not by time.
//! Never: promises anything of two files read by their paths.

use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    process::Command,
    sync::atomic::AtomicBool,
    thread,
};

use rustix::fs::{CWD, Mode, OFlags, inotify, openat};

use super::*;

const GENERATIONS: usize = 400;

fn read_at(folder: &OwnedFd, name: &str) -> String {
    let file = openat(folder, name, OFlags::RDONLY, Mode::empty()).expect("a kept generation has its files");
    std::io::read_to_string(fs::File::from(file)).expect("it is text")
}

/// The number that a file of generation `number` repeats, so that a torn one shows.
fn text(number: usize) -> String {
    format!("{number}\n").repeat(500)
}

fn number(text: &str) -> usize {
    let number: usize = text.lines().next().and_then(|line| line.parse().ok()).expect("never empty or torn");
    assert_eq!(text.lines().count(), 500, "torn");
    assert!(text.lines().all(|line| line == number.to_string()), "torn or mixed");
    number
}

/// Tells everybody to end when one ends, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads again and again until somebody ends; what `read` gives never goes back to an older generation.
fn read_on(done: &AtomicBool, reads: &AtomicUsize, read: impl Fn() -> usize) {
    let _ends = Ends(done);
    let mut last = 0;
    while !done.load(Ordering::Relaxed) {
        let next = read();
        assert!(next >= last, "back from {last} to {next}");
        last = next;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn readers_beside_a_writer_see_whole_generations_in_order() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let (mut place, _) = open(path, layout);
        let files = |number| {
            set(&["json", "password", "user"]
                .map(|name| (name, text(number)))
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect::<Vec<_>>())
        };
        published(&mut place, &files(0), "0");
        let single = || number(&fs::read_to_string(path.join("json")).expect("never missing"));
        let pair = || {
            let data = openat(CWD, path.join("..data"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            let data = data.expect("there is a generation at any time");
            let (user, password) = (number(&read_at(&data, "user")), number(&read_at(&data, "password")));
            assert_eq!(user, password, "mixed");
            user
        };
        let done = AtomicBool::new(false);
        let (done, counts) = (&done, [AtomicUsize::new(0), AtomicUsize::new(0)]);
        thread::scope(|scope| {
            let _ends = Ends(done);
            let readers = if layout == Layout::Swapped { 2 } else { 1 };
            scope.spawn(|| read_on(done, &counts[0], single));
            if readers == 2 {
                scope.spawn(|| read_on(done, &counts[1], pair));
            }
            let mut before = [0; 2];
            for number in 1..=GENERATIONS {
                published(&mut place, &files(number), &number.to_string());
                // However busy the machine is, no reader falls behind by more generations than are kept.
                if number % 50 == 0 {
                    for (count, before) in counts.iter().zip(&mut before).take(readers) {
                        while count.load(Ordering::Relaxed) < *before + 2 && !done.load(Ordering::Relaxed) {
                            thread::yield_now();
                        }
                        *before = count.load(Ordering::Relaxed);
                    }
                }
            }
        });
    }
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
