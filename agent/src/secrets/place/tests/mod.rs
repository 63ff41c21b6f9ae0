//! Tests of the place on real file systems: a temporary folder, a tmpfs that fills up, a mount that is read-only.
//!
//! Promises: nothing is left behind; a run that depends on a seed prints it.
//! Never: proves that the volume of ECS behaves as these file systems do.

mod crashes;
mod folders;
mod readers;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    super::{settings::Layout, value::Value},
    Adopted, File, Gate, Place, PlaceError, PlaceSettings, Published,
};

const LAYOUTS: [Layout; 2] = [Layout::Swapped, Layout::Plain];
const KEEP_FOR: Duration = Duration::from_secs(60);

fn settings(folder: &Path, layout: Layout) -> PlaceSettings {
    let (folder, keep_for) = (folder.to_owned(), KEEP_FOR);
    let (mode, dir_mode, user, group) = (0o440, 0o755, None, None);
    PlaceSettings { folder, layout, mode, dir_mode, user, group, keep: 2, keep_for, sync: false }
}

fn open(folder: &Path, layout: Layout) -> (Place, Option<Adopted>) {
    Place::open(&settings(folder, layout)).expect("it opens")
}

/// A set of files, by path.
type Files = BTreeMap<String, Value>;

fn set(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(path, text)| ((*path).to_owned(), Value::new(text.as_bytes().to_vec()))).collect()
}

fn versions(id: &str) -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([("db".to_owned(), vec![id.to_owned()])])
}

fn publish(place: &mut Place, files: &Files, id: &str, now: Instant) -> Result<Published, PlaceError> {
    let files: Vec<_> = files.iter().map(|(path, bytes)| File { path: path.clone(), bytes, mode: None }).collect();
    place.publish(&files, &versions(id), now)
}

/// Publishes, and says number and whether anything changed; nothing is left to tidy up.
fn published(place: &mut Place, files: &Files, id: &str) -> (u64, bool) {
    let published = publish(place, files, id, Instant::now()).expect("it is published");
    assert!(published.remains.is_none(), "{:?}", published.remains);
    (published.number, published.changed)
}

/// What a reader sees by path: the text of each file that can be read.
fn seen(folder: &Path, paths: &[&str]) -> BTreeMap<String, String> {
    let read = |path: &&str| Some(((*path).to_owned(), fs::read_to_string(folder.join(path)).ok()?));
    paths.iter().filter_map(read).collect()
}

fn texts(files: &Files) -> BTreeMap<String, String> {
    let text = |value: &Value| value.expose_text().expect("tests write text").to_owned();
    files.iter().map(|(path, value)| (path.clone(), text(value))).collect()
}

/// All names in the folder, sorted, with the random part of a generation's name left out.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("it is listed").file_name().into_string().expect("names are text");
        name.split_once('-').filter(|_| name.starts_with("..g")).map_or(name.clone(), |(front, _)| front.to_owned())
    };
    let mut names: Vec<_> = fs::read_dir(folder).expect("the folder is there").map(name).collect();
    names.sort();
    names
}

/// Counts changes; from number `at` on, or at that one alone, they fail.
fn failing(at: usize, errno: Errno, is_dead: bool) -> (Gate, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let ask = move |_: &'static str| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        if number == at || (is_dead && number > at) { Err(errno) } else { Ok(()) }
    };
    (Gate(Some(Arc::new(ask))), count)
}
