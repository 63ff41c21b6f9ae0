//! The token that callers must know, in a file that the app can read too.
//!
//! Promises: a file that is not there is made whole, with 32 random bytes in hex and mode 0440, and never over another one; a
//! changed file counts within a second, at once for who has the new token; comparing takes as long for a wrong token as for the
//! right one.
//! Never: shows a token; works without one: a file that vanishes or is emptied leaves the last token in force.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::secrets::settings::TokenText;

/// Bytes of the file. Headers have less room.
const FILE_BYTES_MAX: u64 = 4 * 1024;
/// Random bytes of a token that we make, as ECS makes its own.
const RANDOM_BYTES: usize = 32;
/// How often the file is looked at while tokens are right.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The app reads it by its group.
const MODE: u32 = 0o440;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It could not be read.
    #[error("cannot read the token in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be made.
    #[error("cannot make the token `{path}`; its folder must exist and be writable")]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds none.
    #[error("`{path}` holds no token: one line of at most 4 KiB is needed")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A token and its file.
pub struct Token {
    /// Without one it never changes.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    token: Zeroizing<Vec<u8>>,
    /// Which one it is: the first, the second ..
    number: u64,
    stamp: Stamp,
    looked: Instant,
}

/// What changes when a file does: inode, time of change in seconds and nanoseconds, size.
type Stamp = (u64, i64, i64, u64);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "Token({})", path.display()),
            None => f.write_str("Token(..)"),
        }
    }
}

impl Token {
    /// Reads the token, or makes one.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        match make(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
                return Err(TokenError::Make { path: path.to_owned(), source: error });
            }
            // It was there, if only since a moment ago.
            Ok(()) | Err(_) => {}
        }
        let (token, stamp) = read(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        if token.is_empty() {
            return Err(TokenError::Empty { path: path.to_owned() });
        }
        Ok(Self {
            path: Some(path.to_owned()),
            state: Mutex::new(State { token, number: 0, stamp, looked: Instant::now() }),
        })
    }

    /// This one, which stands in no file. `None` if it is none.
    pub fn fixed(text: &TokenText) -> Option<Self> {
        let token = Zeroizing::new(text.bytes().trim_ascii().to_vec());
        let state = State { token, number: 0, stamp: Stamp::default(), looked: Instant::now() };
        (!state.token.is_empty()).then(|| Self { path: None, state: Mutex::new(state) })
    }

    /// True if one of these is the token.
    pub(super) fn is_among<'a, I: Iterator<Item = &'a [u8]>>(&self, offered: impl Fn() -> I) -> bool {
        let mut state = self.looked_at();
        if state.has(offered()) {
            return true;
        }
        // Whoever offers nothing does not even make us look at the file.
        let Some(path) = &self.path else { return false };
        offered().next().is_some() && state.look(path, Instant::now()) && state.has(offered())
    }

    /// Which token counts now: another number for another one. Who was let through with this number would be let through again.
    pub(super) fn number(&self) -> u64 {
        self.looked_at().number
    }

    /// What the file says, or said less than [`LOOK_EVERY`] ago.
    fn looked_at(&self) -> MutexGuard<'_, State> {
        // A new state replaces the old one in one assignment per member; half of it would only be read again.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            let now = Instant::now();
            if now.saturating_duration_since(state.looked) >= LOOK_EVERY {
                state.look(path, now);
            }
        }
        state
    }
}

impl State {
    fn has<'a>(&self, offered: impl Iterator<Item = &'a [u8]>) -> bool {
        let is_right = |token: &[u8]| aws_lc_rs::constant_time::verify_slices_are_equal(token, &self.token).is_ok();
        // All of them are compared, so that the time does not tell which one was right.
        offered.fold(false, |found, token| is_right(token) | found)
    }

    /// True if there is another token now.
    fn look(&mut self, path: &Path, now: Instant) -> bool {
        self.looked = now;
        if fs::metadata(path).is_ok_and(|file| stamp(&file) == self.stamp) {
            return false;
        }
        match read(path) {
            Ok((token, stamp)) if !token.is_empty() => {
                self.token = token;
                self.number += 1;
                self.stamp = stamp;
                true
            }
            _ => false,
        }
    }
}

fn stamp(file: &fs::Metadata) -> Stamp {
    (file.ino(), file.ctime(), file.ctime_nsec(), file.size())
}

fn read(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Stamp)> {
    // A pipe in the file's place must not hang us.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let stamp = stamp(&file.metadata()?);
    let most = usize::try_from(FILE_BYTES_MAX).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() == most {
        bytes.clear();
    }
    let token = Zeroizing::new(bytes.trim_ascii().to_vec());
    Ok((token, stamp))
}

/// Makes the file under another name first, so that nobody reads half a token, and gives it its own only if that is free.
fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| io::Error::other("no random bytes"));
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
    random(&mut *bytes)?;
    let mut suffix = [0; 8];
    random(&mut suffix)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_ne_bytes(suffix)));
    let beside = path.with_file_name(name);
    let made = write(&beside, &hex(&*bytes)).and_then(|()| fs::hard_link(&beside, path));
    // If it cannot be removed it is a token that nobody takes.
    let _ = fs::remove_file(&beside);
    made
}

fn write(path: &Path, token: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(token)?;
    // Whatever the umask took away.
    file.set_permissions(fs::Permissions::from_mode(MODE))
}

fn hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(Vec::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(token: &Token, offered: &[&[u8]]) -> bool {
        token.is_among(|| offered.iter().copied())
    }

    #[test]
    fn a_token_is_made_once_and_then_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        let token = Token::open(&path).expect("makes");
        let text = fs::read(&path).expect("reads");
        assert!(text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit));
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o7777, 0o440);
        assert!(takes(&token, &[&text]) && takes(&token, &[b"other", &text]));
        assert!(!takes(&token, &[]) && !takes(&token, &[b""]) && !takes(&token, &[&text[1..]]));
        assert!(takes(&Token::open(&path).expect("reads"), &[&text]), "a second agent takes the same");
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1, "nothing is left beside it");
        let shown = String::from_utf8(text).expect("hex");
        assert!(!format!("{token:?}").contains(&shown));
    }

    #[test]
    fn a_changed_token_counts_and_an_emptied_file_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        fs::write(&path, "first\n").expect("writes");
        let token = Token::open(&path).expect("reads");
        assert!(takes(&token, &[b"first"]) && !takes(&token, &[b"first\n"]));
        fs::write(folder.path().join("new"), "second").expect("writes");
        fs::rename(folder.path().join("new"), &path).expect("renames");
        assert!(takes(&token, &[b"second"]) && !takes(&token, &[b"first"]));
        for text in [&b""[..], &[b'x'; 5000], b" \n"] {
            fs::write(&path, text).expect("writes");
            assert!(takes(&token, &[b"second"]) && !takes(&token, &[b""]) && !takes(&token, &[text]));
        }
        fs::remove_file(&path).expect("removes");
        assert!(takes(&token, &[b"second"]) && !takes(&token, &[b""]));
    }

    #[test]
    fn what_cannot_be_a_token_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        fs::write(&path, "\n").expect("writes");
        assert!(matches!(Token::open(&path), Err(TokenError::Empty { .. })));
        assert!(matches!(Token::open(folder.path()), Err(TokenError::Read { .. })));
        assert!(matches!(Token::open(&folder.path().join("no/token")), Err(TokenError::Make { .. })));
    }
}
