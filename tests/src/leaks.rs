//! The last check of a test run: no secret stands in anything that the agents of the run wrote.
//!
//! Agents of stories leave their logs, the pages that were asked of them, and what lay in their folders (spools, output files) in
//! one folder ([`keep`]), if `PILLION_ARTIFACTS` names one; of those in containers Docker's log is kept ([`keep_log`]). Secrets of
//! stories have a [mark](MARKS) in them. Here the marks are looked for, as they are and as programs write bytes, also in what is
//! compressed by gzip, wherever in a file that begins.
//!
//! Promises: finds what it looks for ([`self_check`] plants each form first); says what it searched, and calls a run that left
//! nothing to search a failed one; what is kept of a run is bounded.
//! Never: shows what it found, beyond where and in which form; looks into what an app wrote: its log is its own.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, bail, ensure};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use memchr::memmem;

use crate::fake_aws::SECRET_KEY;

/// What every secret of a story has in it, and the secret key that all agents of stories sign with.
pub const MARKS: [&str; 2] = ["canary", SECRET_KEY];
/// The variable that says where to keep what agents wrote.
const FOLDER: &str = "PILLION_ARTIFACTS";
/// Of a larger file the beginning and the end are kept.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What one test program keeps in all; of spools, which hold records, an eighth of that. What comes behind it is counted.
const ALL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const SPOOL_BYTES_MAX: u64 = ALL_BYTES_MAX / 8;
/// What a compressed body may hold, as large as the largest that is sent; and how often one may be in another.
const OPENED_BYTES_MAX: u64 = 64 * 1024 * 1024;
const OPENED_DEPTH_MAX: usize = 2;
/// The file in which that is counted, a line for each.
const BEYOND: &str = "beyond-the-bound";

/// The file with the log of a container.
const CONTAINER: &str = "container";
/// The file that says what could not be kept.
const LEFT_OUT: &str = "left-out";

static KEPT_BYTES: AtomicU64 = AtomicU64::new(0);
static KEPT_SPOOL_BYTES: AtomicU64 = AtomicU64::new(0);
static KEPT_FOLDERS: Mutex<u64> = Mutex::new(0);

/// What a search found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files and bytes that were read.
    pub files: usize,
    /// See above.
    pub bytes: u64,
    /// Compressed bodies that were opened.
    pub opened: usize,
    /// File, mark by its number, and form.
    pub leaks: Vec<(PathBuf, usize, &'static str)>,
    /// Core files.
    pub cores: Vec<PathBuf>,
}

/// What an agent leaves.
#[derive(Debug)]
pub struct Left<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// Names of files in it that the test wrote.
    pub but: &'a [String],
    /// Folders elsewhere where it has written: spools.
    pub others: &'a [PathBuf],
    /// Paths of pages, and what was last seen there.
    pub pages: &'a [(String, String)],
}

/// Keeps what an agent wrote, if the run is to be searched. What cannot be kept is said there, and fails the search.
pub fn keep(left: &Left<'_>) {
    #[expect(clippy::disallowed_methods, reason = "the rule is about the agent; tests are told by variables")]
    let Some(all) = std::env::var_os(FOLDER) else { return };
    keep_below(Path::new(&all), |folder| keep_in(folder, left));
}

/// Keeps what Docker has of the log of an agent in a container, as [`keep`] does.
pub fn keep_log(log: io::Result<Vec<u8>>) {
    #[expect(clippy::disallowed_methods, reason = "the rule is about the agent; tests are told by variables")]
    let Some(all) = std::env::var_os(FOLDER) else { return };
    keep_below(Path::new(&all), |folder| fs::write(folder.join(CONTAINER), log?));
}

fn keep_below(all: &Path, keep: impl FnOnce(&Path) -> io::Result<()>) {
    let number = {
        let mut folders = KEPT_FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        *folders += 1;
        *folders
    };
    let folder = all.join(format!("{}-{number}", std::process::id()));
    if let Err(why) = fs::create_dir_all(&folder).and_then(|()| keep(&folder)) {
        // Without this file the search does not know; without the folder it finds nothing at all.
        let _ = fs::write(folder.join(LEFT_OUT), why.to_string());
    }
}

fn keep_in(folder: &Path, left: &Left<'_>) -> io::Result<()> {
    for (page, text) in left.pages {
        fs::write(folder.join(format!("page{}", page.replace(['/', '?'], "-"))), text)?;
    }
    for path in files(left.folder)? {
        let name = path.strip_prefix(left.folder).unwrap_or(&path).to_string_lossy().replace('/', "+");
        if !left.but.contains(&name) {
            copy(&path, &folder.join(name), &KEPT_BYTES, ALL_BYTES_MAX)?;
        }
    }
    for other in left.others.iter().filter(|other| other.is_dir()) {
        for path in files(other)? {
            let name = path.strip_prefix(other).unwrap_or(&path).to_string_lossy().replace('/', "+");
            copy(&path, &folder.join(format!("spool+{name}")), &KEPT_SPOOL_BYTES, SPOOL_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// Searches all files below a folder.
pub fn search(folder: &Path) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let forms: Vec<_> = MARKS.iter().map(|mark| forms(mark)).collect();
    for path in files(folder).with_context(|| format!("cannot list `{}`", folder.display()))? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        (found.files, found.bytes) = (found.files + 1, found.bytes + bytes.len() as u64);
        let opened = opened(&bytes, OPENED_DEPTH_MAX);
        found.opened += opened.len();
        for text in opened.iter().chain([&bytes]) {
            for (mark, forms) in forms.iter().enumerate() {
                let hits = forms.iter().filter(|(_, form)| memmem::find(text, form).is_some());
                found.leaks.extend(hits.map(|(name, _)| (path.clone(), mark, *name)));
            }
        }
        if path.file_name().is_some_and(|name| name == "core" || name.to_string_lossy().starts_with("core.")) {
            found.cores.push(path);
        }
    }
    Ok(found)
}

/// What is compressed in `bytes`, wherever it begins: in a spool, other bytes stand in front of a body.
fn opened(bytes: &[u8], depth: usize) -> Vec<Vec<u8>> {
    const BEGINNING: &[u8] = b"\x1f\x8b\x08";
    let mut all = Vec::new();
    for at in memmem::find_iter(bytes, BEGINNING).take_while(|_| depth > 0) {
        let mut text = Vec::new();
        // What comes before damage, or before the end of what was cut, counts.
        let _ = GzDecoder::new(&bytes[at..]).take(OPENED_BYTES_MAX).read_to_end(&mut text);
        if !text.is_empty() {
            all.extend(opened(&text, depth - 1));
            all.push(text);
        }
    }
    all
}

/// Plants each form of each mark in a folder of its own, as it is and compressed, and fails unless that is found.
pub fn self_check() -> anyhow::Result<usize> {
    let mut planted = 0;
    for (mark, text) in MARKS.iter().enumerate() {
        for (name, form) in forms(text) {
            let plain = [b"before ", form.as_slice(), b" behind"].concat();
            let once = [b"head ", gzip(&plain)?.as_slice(), b" foot"].concat();
            for bytes in [gzip(&once)?, once, plain] {
                let folder = tempfile::tempdir()?;
                fs::create_dir(folder.path().join("below"))?;
                let path = folder.path().join("below").join("log");
                fs::write(&path, bytes)?;
                let found = search(folder.path())?;
                ensure!(found.leaks.contains(&(path, mark, name)), "a planted mark was not found: {name}");
                planted += 1;
            }
        }
    }
    Ok(planted)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The whole check, as `tests/run` makes it: an error for each way to fail.
pub fn check(folder: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let planted = self_check()?;
    let found = search(folder)?;
    writeln!(out, "{planted} planted marks found; {} files with {} bytes searched", found.files, found.bytes)?;
    writeln!(out, "{} compressed bodies opened in them", found.opened)?;
    let names: Vec<_> = files(folder)?.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    for part in ["log", "page-metrics", "page-status", "spool", CONTAINER] {
        let count = names.iter().filter(|name| name.starts_with(part)).count();
        writeln!(out, "{count} of the files are named {part}*")?;
        ensure!(count > 0, "no agent of this run left a {part}: there was nothing to search");
    }
    let left_out = names.iter().filter(|name| *name == LEFT_OUT).count();
    let beyond = files(folder)?.into_iter().filter(|path| path.ends_with(BEYOND)).map(fs::read_to_string);
    let beyond: Vec<_> = beyond.collect::<Result<_, _>>()?;
    writeln!(out, "{} files were more than is kept", beyond.iter().map(|text| text.lines().count()).sum::<usize>())?;
    ensure!(left_out == 0, "of {left_out} agents not everything was kept: see the files {LEFT_OUT}");
    // Stories with secrets set the level trace, at which little more is said than at debug.
    let is_fine = |path: &PathBuf| {
        let has = |log: &[u8], level: &str| memmem::find(log, format!("\"level\":\"{level}\"").as_bytes()).is_some();
        path.ends_with("log") && fs::read(path).is_ok_and(|log| has(&log, "TRACE") || has(&log, "DEBUG"))
    };
    ensure!(files(folder)?.iter().any(is_fine), "no log of this run says more than the level info");
    for (path, mark, form) in &found.leaks {
        writeln!(out, "LEAK: mark {mark} as {form} in {}", path.display())?;
    }
    for path in &found.cores {
        writeln!(out, "CORE FILE: {}", path.display())?;
    }
    if !found.leaks.is_empty() || !found.cores.is_empty() {
        bail!("{} leaks, {} core files", found.leaks.len(), found.cores.len());
    }
    Ok(())
}

/// How programs write bytes, by name.
fn forms(mark: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = mark.as_bytes();
    let listed = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<Vec<_>>().join(", ").into_bytes();
    let hex = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<String>().into_bytes();
    let mut forms = vec![
        ("text", bytes.to_vec()),
        ("text in capitals", mark.to_ascii_uppercase().into_bytes()),
        ("UTF-16", bytes.iter().flat_map(|&byte| [byte, 0]).collect()),
        ("percent-encoded", mark.replace('/', "%2F").replace('+', "%2B").into_bytes()),
        ("escaped as JSON may be", mark.replace('/', "\\/").into_bytes()),
        ("hex", hex(|byte| format!("{byte:02x}"))),
        ("HEX", hex(|byte| format!("{byte:02X}"))),
        ("a list of bytes", listed(u8::to_string)),
        ("a list of bytes in hex", listed(|byte| format!("{byte:02x}"))),
    ];
    for (shift, name) in ["base64", "base64, one byte in", "base64, two bytes in"].into_iter().enumerate() {
        forms.push((name, base64_inside(bytes, shift)));
    }
    forms
}

/// The letters of base64 that stand there whatever comes before and behind, if `shift` bytes of a group of three come before.
fn base64_inside(bytes: &[u8], shift: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1));
    // Letters are six bits each, counted from the beginning of the group.
    let (from, to) = ((shift * 8).div_ceil(6), (shift + bytes.len()) * 8 / 6);
    let letter = |letter: usize| (0..6).fold(0, |value, at| value << 1 | bit(letter * 6 + at - shift * 8));
    (from..to).map(|at| LETTERS[letter(at)]).collect()
}

/// All regular files below a folder; links are not followed.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path, kept: &AtomicU64, kept_max: u64) -> io::Result<()> {
    let mut source = fs::File::open(from)?;
    let length = source.metadata()?.len();
    let take = length.min(FILE_BYTES_MAX);
    if kept.fetch_add(take, Ordering::Relaxed) + take > kept_max {
        kept.fetch_sub(take, Ordering::Relaxed);
        let mut beyond = fs::File::options().create(true).append(true).open(to.with_file_name(BEYOND))?;
        return writeln!(beyond, "{}", from.display());
    }
    let mut to = fs::File::create(to)?;
    if length <= FILE_BYTES_MAX {
        return io::copy(&mut source, &mut to).map(drop);
    }
    io::copy(&mut (&mut source).take(FILE_BYTES_MAX / 2), &mut to)?;
    source.seek(SeekFrom::End(-((FILE_BYTES_MAX / 2) as i64)))?;
    io::copy(&mut source, &mut to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_mark_is_found_and_nothing_else() {
        assert_eq!(self_check().unwrap(), 2 * 12 * 3);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log"), "a canar y, and y2FuYXJ5 in no form").unwrap();
        let found = search(folder.path()).unwrap();
        assert_eq!((found.files, found.bytes, found.leaks, found.cores), (1, 34, vec![], vec![]));
    }

    /// A process that was killed leaves half a body, and a disk that is full a damaged one.
    #[test]
    fn what_is_compressed_is_opened_as_far_as_it_goes() {
        let noise: String = (0..20_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
        let body = gzip(&[b"the canary sings".as_slice(), noise.as_bytes()].concat()).unwrap();
        assert!(memmem::find(&body, b"canary").is_none(), "it shows only when it is opened");
        let mut damaged = body.clone();
        let last = damaged.len() - 5;
        damaged[last] ^= 1;
        for (bytes, bodies) in
            [(&body[..], 1), (&body[..body.len() / 2], 1), (&damaged, 1), (b"\x1f\x8b\x08 is no body", 0)]
        {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("spool+1"), bytes).unwrap();
            let found = search(folder.path()).unwrap();
            assert_eq!((found.opened, found.leaks.is_empty()), (bodies, bodies == 0));
        }
    }

    /// What coreutils' `base64` writes.
    #[test]
    fn a_mark_in_base64_is_found_wherever_it_begins() {
        for (text, encoded) in [
            ("canary-1", "Y2FuYXJ5LTE="),
            ("xcanary-1", "eGNhbmFyeS0x"),
            ("xxcanary-1", "eHhjYW5hcnktMQ=="),
            ("xxxcanary", "eHh4Y2FuYXJ5"),
        ] {
            let forms = forms("canary");
            let is_in = |(_, form): &&(&str, Vec<u8>)| memmem::find(encoded.as_bytes(), form).is_some();
            assert!(forms.iter().find(is_in).is_some_and(|(name, _)| name.starts_with("base64")), "{text}");
        }
    }

    #[test]
    fn a_run_that_left_nothing_and_a_run_that_leaks_fail() {
        let folder = tempfile::tempdir().unwrap();
        let why = |folder: &Path| check(folder, &mut io::sink()).unwrap_err().to_string();
        assert_eq!(why(folder.path()), "no agent of this run left a log: there was nothing to search");
        let run = folder.path().join("1-1");
        fs::create_dir(&run).unwrap();
        for part in ["log", "page-metrics", "page-status", "spool+1", CONTAINER] {
            fs::write(run.join(part), "nothing").unwrap();
        }
        assert_eq!(why(folder.path()), "no log of this run says more than the level info");
        fs::write(run.join("log"), r#"{"level":"TRACE"}"#).unwrap();
        check(folder.path(), &mut io::sink()).unwrap();
        fs::write(run.join("spool+1"), "Y2FuYXJ5").unwrap();
        assert_eq!(why(folder.path()), "1 leaks, 0 core files");
        fs::write(run.join("spool+1"), "nothing").unwrap();
        fs::write(run.join("core.17"), "nothing").unwrap();
        assert_eq!(why(folder.path()), "0 leaks, 1 core files");
        fs::write(run.join(LEFT_OUT), "no space").unwrap();
        assert_eq!(why(folder.path()), "of 1 agents not everything was kept: see the files left-out");
    }
}
