//! Plays X-Ray for the bench: takes all segments at the speed of the loopback, and counts.
//!
//! Promises: lost and doubled segments are exact; a request with more than fifty documents is a violation; one thread for each
//! connection.
//! Never: checks signatures; that is the fake AWS's work.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use memchr::memmem;

use super::load::DIGITS;
use crate::{bench::clock::Clock, http::Connection};

/// What stands before a segment's number, escaped as in a string of JSON. Nothing else in the bench's segments is named so.
const BEFORE: &[u8] = b"\\\"id\\\":\\\"";
/// Documents of a request.
const DOCUMENTS_MAX: usize = 50;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 1-2\r\nContent-Type: application/json\r\n\
    Content-Length: 31\r\n\r\n{\"UnprocessedTraceSegments\":[]}";

/// What has arrived.
#[derive(Debug, Default)]
pub(in crate::bench) struct Ledger {
    seen: Vec<u64>,
    clock: Clock,
    /// Different segments.
    pub(in crate::bench) unique: u64,
    /// Segments that had arrived before.
    pub(in crate::bench) duplicated: u64,
    /// Requests that the service would not have taken.
    pub(in crate::bench) violations: u64,
    pub(in crate::bench) requests: u64,
    /// Bytes of their bodies.
    pub(in crate::bench) bytes: u64,
    /// When the last new one arrived.
    pub(in crate::bench) last_arrival: Option<Duration>,
}

/// The service while it runs. Its threads end with the connections.
#[derive(Debug)]
pub(in crate::bench) struct Sink {
    pub(in crate::bench) port: u16,
    ledger: Arc<Mutex<Ledger>>,
}

impl Sink {
    pub(in crate::bench) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (port, ledger) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Ledger::default())));
        let shared = Arc::clone(&ledger);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ledger = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &ledger));
            }
        });
        Ok(Self { port, ledger })
    }

    /// Tells times by `clock` from now on.
    pub(in crate::bench) fn begin(&self, clock: Clock) {
        self.ledger().clock = clock;
    }

    pub(in crate::bench) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers until the client has had enough.
fn serve(stream: TcpStream, ledger: &Mutex<Ledger>) {
    let mut connection = Connection::new(stream);
    let mut numbers = Vec::new();
    while let Ok(Some(request)) = connection.request() {
        numbers.clear();
        numbers.extend(memmem::find_iter(connection.body(), BEFORE).filter_map(|place| {
            let digits = connection.body().get(place + BEFORE.len()..place + BEFORE.len() + DIGITS)?;
            u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }));
        let is_good = request.path == "/TraceSegments" && (1..=DOCUMENTS_MAX).contains(&numbers.len());
        {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.requests += 1;
            ledger.bytes += connection.body().len() as u64;
            ledger.violations += u64::from(!is_good);
            numbers.iter().for_each(|number| ledger.arrive(*number));
        }
        if connection.stream().write_all(ANSWER).is_err() {
            return;
        }
    }
}

impl Ledger {
    fn arrive(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.unique += 1;
        self.last_arrival = Some(self.clock.now());
    }
}
