//! Plain GETs of secrets, answered in front of hyper.
//!
//! ```text
//! read ─▶ head::read: whole and plain? ─▶ guard::check ─▶ ask::route ─▶ Vault::get ─▶ head and body in one write
//!              │ no                          │ no            │ no            │ no
//!              └─────────────────────────────┴───────────────┴───────────────┴──▶ hyper, with all bytes, for good
//! ```
//!
//! Three fifths of what such a request costs is the kernel's. Of the rest most was HTTP: headers into a map, the map of the
//! answer, its encoding. So what the known clients ask all day long is read in place and answered with bytes that are ready.
//! Guards, routes and the vault are the same as behind hyper, and nothing is refused here: whatever is not answered with a secret
//! goes to hyper as it came, which says why. A client sends the same head again and again, or the same headers behind another path:
//! what was let through once on a connection is known by its bytes, for as long as the token is the same.
//!
//! Promises: an answer has the very bytes that hyper would send; a caller that goes away ends its connection, also while AWS is
//! asked; a connection that is used is never cut.
//! Never: answers what `guard` did not let through; copies a value.

use std::{
    future::pending,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    time::SystemTime,
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
    time::{Instant, Sleep, sleep},
};
use zeroize::Zeroizing;

use super::{
    ApiSettings, Ask, Freshness, Vault,
    answer::begin,
    ask::{Route, route},
    guard,
    head::{self, Target},
    serve::HEAD_TIMEOUT,
};

/// Bytes that are read at once. Heads have 150 to 400, and a session token as the token 4 KiB more.
const READ_BYTES: usize = 6 * 1024;
// Then no path is too long.
const _: () = assert!(READ_BYTES <= guard::URI_BYTES_MAX);
/// Room for the head of an answer: the version twice, and 150 bytes around it.
const HEAD_BYTES: usize = 512;

/// What was read and not answered yet. It holds the token, so it is wiped.
struct Unanswered {
    bytes: Zeroizing<Vec<u8>>,
    from: usize,
    to: usize,
}

/// The last head that was let through. It holds the token, so it is wiped.
#[derive(Default)]
struct Before {
    head: Zeroizing<Vec<u8>>,
    /// Where its headers begin.
    headers: usize,
    ask: Ask,
    /// Of the token that counted then.
    token: u64,
}

/// The time, as `Date` has it.
struct Date {
    second: Option<u64>,
    text: String,
}

/// Answers for as long as all that comes is plain. Gives back what was read and is not, or nothing if the connection is over.
pub(super) async fn answer<V: Vault, S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    vault: &V,
    settings: &ApiSettings,
    address: SocketAddr,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut unanswered = Unanswered { bytes: Zeroizing::new(vec![0; READ_BYTES]), from: 0, to: 0 };
    let (mut date, mut written) = (Date { second: None, text: String::new() }, Vec::with_capacity(HEAD_BYTES));
    let mut before = Before::default();
    let mut timer = pin!(sleep(HEAD_TIMEOUT));
    let mut used = Instant::now();
    loop {
        let read = select! {
            biased;
            read = unanswered.read(stream) => read?,
            () = idle(timer.as_mut(), used) => 0,
        };
        if read == 0 {
            return Ok(None);
        }
        while !unanswered.there().is_empty() {
            let Some(length) = before.lets_through(unanswered.there(), settings, address) else {
                return Ok(Some(unanswered.there().to_vec().into()));
            };
            let given = select! {
                biased;
                given = vault.get(&before.ask, Freshness::Cached) => given,
                gone = unanswered.gone(stream) => return gone.map(|()| None),
            };
            let Ok(given) = given else {
                // What was refused a moment ago is refused again without another look.
                return Ok(Some(unanswered.there().to_vec().into()));
            };
            written.clear();
            begin(&given, date.now(), &mut written);
            write(stream, &written, given.answer.body()).await?;
            unanswered.from += length;
            used = Instant::now();
        }
    }
}

impl Before {
    /// The length of the head that `bytes` begin with, if it is plain, may ask, and asks for a secret of any age, which is noted.
    fn lets_through(&mut self, bytes: &[u8], settings: &ApiSettings, address: SocketAddr) -> Option<usize> {
        // Asked for first: who is let through with the next one is then looked at again.
        let token = settings.token.number();
        let is_known = token == self.token && !self.head.is_empty();
        if is_known && bytes.starts_with(&self.head) {
            return Some(self.head.len());
        }
        let target = head::target(bytes)?;
        let headers = &self.head[self.headers..];
        let length = if is_known && bytes[target.length..].starts_with(headers) {
            target.length + headers.len()
        } else {
            let head = head::read(bytes)?;
            guard::check(&head, settings, address).ok()?;
            head.length()
        };
        self.ask = asked(target, settings)?;
        self.note(&bytes[..length], target.length, token);
        Some(length)
    }

    fn note(&mut self, head: &[u8], headers: usize, token: u64) {
        if self.head.capacity() < head.len() {
            // What grows leaves a copy behind.
            self.head = Zeroizing::new(Vec::with_capacity(head.len().next_power_of_two()));
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        (self.headers, self.token) = (headers, token);
    }
}

/// What is asked for, if that is a secret of any age. What `guard` minds in a first line is the path of something else.
fn asked(target: Target<'_>, settings: &ApiSettings) -> Option<Ask> {
    match route(target.path, target.query, &settings.path_prefix) {
        Ok(Route::Get(ask, Freshness::Cached)) => Some(ask),
        _ => None,
    }
}

/// Until the connection was not used for too long. The timer is only armed anew when it ran out, not with each request.
async fn idle(mut timer: Pin<&mut Sleep>, used: Instant) {
    loop {
        timer.as_mut().await;
        let until = used + HEAD_TIMEOUT;
        if Instant::now() >= until {
            return;
        }
        timer.as_mut().reset(until);
    }
}

/// Both in one write, unless the kernel takes less.
async fn write(stream: &mut (impl AsyncWrite + Unpin), head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut parts = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = &mut parts[..];
    while !left.is_empty() {
        match stream.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => IoSlice::advance_slices(&mut left, count),
        }
    }
    Ok(())
}

impl Unanswered {
    fn there(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// Reads once, when all is answered.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        (self.from, self.to) = (0, 0);
        self.more(stream).await
    }

    /// Reads what fits behind the rest. There must be room.
    async fn more(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let read = stream.read(&mut self.bytes[self.to..]).await?;
        self.to += read;
        Ok(read)
    }

    /// Until the peer has closed. What it sends meanwhile waits here, and then in the kernel.
    async fn gone(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        while self.to < self.bytes.len() {
            if self.more(stream).await? == 0 {
                return Ok(());
            }
        }
        pending().await
    }
}

impl Date {
    /// The text of this second.
    fn now(&mut self) -> &str {
        let second = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if self.second != Some(second) {
            let time = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
            self.text.clear();
            // It fails for years with five digits only.
            let _ = DateTimePrinter::new().print_timestamp_rfc9110(&time.unwrap_or_default(), &mut self.text);
            self.second = Some(second);
        }
        &self.text
    }
}
