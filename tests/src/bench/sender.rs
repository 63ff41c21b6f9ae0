//! The load generator: writes records to a FireLens socket on a precise schedule, or as fast as they are taken.
//!
//! Promises: each record is written whole and in order, also over a new connection when the agent closed the old one
//! (as Docker's driver does); every write is tried without blocking first, so that the time spent blocked is the
//! agent's and not the clock's.
//! Never: encodes anything; sends a record twice.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use super::{
    clock::Clock,
    process::sleep_precisely,
    records::{Mark, Pool},
};

/// The pause between attempts to dial again.
const REDIAL: Duration = Duration::from_millis(10);
/// A socket that cannot be dialled for so long is gone.
const REDIAL_MAX: Duration = Duration::from_secs(30);

/// How many records go into one write(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One: what Docker's driver does.
    One,
    /// 32: what a busy library does.
    ThirtyTwo,
}

impl Shape {
    /// Records in a write.
    pub fn records(self) -> usize {
        match self {
            Self::One => 1,
            Self::ThirtyTwo => 32,
        }
    }

    /// For reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::ThirtyTwo => "32",
        }
    }
}

/// How fast, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Records in a write.
    pub shape: Shape,
    /// Records per second; `None`: as fast as they are taken.
    pub rate: Option<u64>,
    /// Ends after this time, ...
    pub time: Duration,
    /// ... or after so many records.
    pub records_max: u64,
}

/// What was sent, and how it went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Records written whole.
    pub records: u64,
    /// When the first record was due, on the bench's clock.
    pub begun: Duration,
    /// From the first write to the last.
    pub time: Duration,
    /// Connections that the other side closed.
    pub closed: u64,
    /// Writes that could not be done at once.
    pub blocked_times: u64,
    /// Time spent in them.
    pub blocked: Duration,
    /// The longest of them.
    pub blocked_worst: Duration,
}

/// Sends `load` to `socket` and closes the connection.
pub fn send(socket: &Path, load: &Load, clock: &Clock) -> io::Result<Sent> {
    sleep_precisely();
    let mut pool = Pool::default();
    let mut line = Line { socket, stream: dial(socket)?, sent: Sent::default() };
    let block = load.shape.records();
    let begun = clock.now();
    line.sent.begun = begun;
    while line.sent.records + block as u64 <= load.records_max {
        let due = match load.rate {
            Some(rate) => begun + Duration::from_nanos(line.sent.records * 1_000_000_000 / rate),
            None => clock.now(),
        };
        if due >= begun + load.time {
            break;
        }
        if let Some(early) = due.checked_sub(clock.now()) {
            thread::sleep(early);
        }
        let mark = Mark { sequence: line.sent.records, sent_us: due.as_micros() as u64 };
        pool.next(block, mark, clock.unix_nanos(due));
        line.write(&pool, block)?;
        line.sent.records += block as u64;
    }
    line.sent.time = clock.now() - begun;
    Ok(line.sent)
}

struct Line<'a> {
    socket: &'a Path,
    stream: UnixStream,
    sent: Sent,
}

impl Line<'_> {
    /// Writes the pool's last block of `count` records.
    fn write(&mut self, pool: &Pool, count: usize) -> io::Result<()> {
        let bytes = pool.last(count);
        let mut done = 0;
        loop {
            match self.write_from(bytes, &mut done) {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    self.sent.closed += 1;
                    self.stream = dial(self.socket)?;
                    // A record that was cut goes again from its beginning; those before it were taken.
                    done = pool.whole(count, done).1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn write_from(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        while *done < bytes.len() {
            #[expect(clippy::disallowed_methods, reason = "how much went without blocking is what we measure")]
            match self.stream.write(&bytes[*done..]) {
                Ok(count) => *done += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write_blocking(bytes, done)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_blocking(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        let begun = std::time::Instant::now();
        self.stream.set_nonblocking(false)?;
        #[expect(clippy::disallowed_methods, reason = "how much was taken must be known when the peer closes")]
        let outcome = self.stream.write(&bytes[*done..]);
        self.stream.set_nonblocking(true)?;
        let blocked = begun.elapsed();
        self.sent.blocked_times += 1;
        self.sent.blocked += blocked;
        self.sent.blocked_worst = self.sent.blocked_worst.max(blocked);
        *done += outcome?;
        Ok(())
    }
}

fn dial(socket: &Path) -> io::Result<UnixStream> {
    let begun = std::time::Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) if begun.elapsed() > REDIAL_MAX => return Err(error),
            Err(_) => thread::sleep(REDIAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener};

    use memchr::memmem;

    use super::{super::records::MARK_START, *};

    fn marks(bytes: &[u8]) -> Vec<u64> {
        memmem::find_iter(bytes, MARK_START).filter_map(|at| Some(Mark::read(&bytes[at..])?.sequence)).collect()
    }

    /// The peer closes in the middle of everything. What it read to the end of a record, and what the next connection
    /// brings, is every record once, apart from those that lay unread in the closed socket.
    #[test]
    fn a_closed_connection_is_dialled_again_and_nothing_goes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let reader = thread::spawn(move || {
            let mut first = vec![0; 100_000];
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut first).unwrap();
            drop(stream);
            let mut second = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut second).unwrap();
            (marks(&first), marks(&second))
        });
        let load = Load { shape: Shape::ThirtyTwo, rate: None, time: Duration::from_secs(60), records_max: 6_400 };
        let sent = send(&socket, &load, &Clock::default()).unwrap();
        let (first, second) = reader.join().unwrap();
        assert_eq!((sent.records, sent.closed), (6_400, 1));
        assert!(first.iter().copied().eq(0..first.len() as u64));
        let all: std::collections::BTreeSet<_> = second.iter().copied().collect();
        assert_eq!(all.len(), second.len(), "nothing goes twice");
        assert_eq!(second.last(), Some(&6_399));
        assert!(second[0] as usize + 1 >= first.len(), "{} after {}", second[0], first.len());
    }
}
