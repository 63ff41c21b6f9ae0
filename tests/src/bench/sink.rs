//! Plays CloudWatch Logs for the bench: takes everything at the speed of the loopback, or at a given one, and counts.
//!
//! Promises: lost, duplicated and reordered records are exact; the service's limits are checked on every request; one
//! thread for each connection, nothing shared per record.
//! Never: checks signatures or scripts faults; that is the fake AWS's work.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use memchr::memmem;

use super::{
    clock::Clock,
    records::{MARK_START, Mark},
    scan,
};
use crate::http::{Connection, Request};

/// Bytes in one request: UTF-8 of the messages and 26 for each event.
const REQUEST_BYTES_MAX: usize = 1_048_576;
/// What the service adds for each event.
const EVENT_BYTES_EXTRA: usize = 26;
/// Events in one request.
const EVENTS_MAX: usize = 10_000;
/// Milliseconds between the first and the last event of a request.
const SPAN_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// What has arrived.
#[derive(Debug, Default)]
pub struct Ledger {
    seen: Vec<u64>,
    highest: Option<u64>,
    /// Different records.
    pub unique: u64,
    /// Records that had arrived before.
    pub duplicated: u64,
    /// Records that arrived after a later one.
    pub reordered: u64,
    /// Events without a mark; always a fault of the one under test.
    pub unmarked: u64,
    /// PutLogEvents requests.
    pub requests: u64,
    /// Bytes of their bodies, as sent.
    pub bytes: u64,
    /// From the time a record was to be written to its arrival, in microseconds, for each record.
    pub latencies_us: Vec<u32>,
    /// Requests that the service would not have taken, and the first few reasons.
    pub violations: u64,
    /// Why.
    pub reasons: Vec<String>,
    /// When the last new record arrived, on the bench's clock.
    pub last_arrival: Duration,
}

impl Ledger {
    /// The `percent` percentile of the latencies in milliseconds.
    pub fn latency_ms(&mut self, percent: usize) -> f64 {
        if self.latencies_us.is_empty() {
            return 0.0;
        }
        let place = (self.latencies_us.len() - 1) * percent / 100;
        f64::from(*self.latencies_us.select_nth_unstable(place).1) / 1_000.0
    }

    fn arrive(&mut self, mark: Mark, now: Duration) {
        let (word, bit) = ((mark.sequence / 64) as usize, 1 << (mark.sequence % 64));
        if word >= self.seen.len() {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.unique += 1;
        self.last_arrival = now;
        if self.highest.is_some_and(|highest| mark.sequence < highest) {
            self.reordered += 1;
        }
        self.highest = self.highest.max(Some(mark.sequence));
        self.latencies_us.push((now.as_micros() as u64).saturating_sub(mark.sent_us) as u32);
    }

    fn violation(&mut self, reason: String) {
        self.violations += 1;
        if self.reasons.len() < 5 {
            self.reasons.push(reason);
        }
    }
}

/// A running sink. Its threads end with their connections; the listening one with the process.
#[derive(Debug)]
pub struct Sink {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    clock: Clock,
    /// Bytes taken per second; `None`: no limit.
    speed: Option<u64>,
    /// When the next body may be taken.
    free: Mutex<Instant>,
}

impl Sink {
    /// Starts one that takes `speed` bytes a second, or everything at once.
    pub fn start(clock: Clock, speed: Option<u64>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let free = Mutex::new(Instant::now());
        let shared = Arc::new(Shared { ledger: Mutex::default(), clock, speed, free });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    if let Err(error) = serve(&shared, stream)
                        && error.kind() == io::ErrorKind::InvalidData
                    {
                        shared.ledger().violation(format!("not HTTP: {error}"));
                    }
                });
            }
        })?;
        Ok(Self { port, shared })
    }

    /// What has arrived so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more fit the speed.
    fn wait_for(&self, bytes: usize) {
        let Some(speed) = self.speed else { return };
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + Duration::from_nanos(bytes as u64 * 1_000_000_000 / speed);
            *free
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    let (mut plain, mut marks) = (Vec::new(), Vec::new());
    while let Some(request) = connection.request()? {
        let operation = request.header("x-amz-target").and_then(|target| target.rsplit_once('.')).map(|(_, name)| name);
        let answer = match operation {
            Some("PutLogEvents") => {
                shared.wait_for(connection.body().len());
                put_log_events(shared, &request, connection.body(), &mut plain, &mut marks);
                r#"{"nextSequenceToken":"1"}"#
            }
            Some("CreateLogGroup" | "CreateLogStream" | "PutRetentionPolicy" | "TagResource") => "{}",
            _ => {
                shared.ledger().violation(format!("unknown operation in {request:?}"));
                "{}"
            }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\
             Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        connection.stream().write_all(head.as_bytes())?;
    }
    Ok(())
}

fn put_log_events(shared: &Shared, request: &Request, body: &[u8], plain: &mut Vec<u8>, marks: &mut Vec<Option<Mark>>) {
    let sent_bytes = body.len();
    let body = match request.header("content-encoding") {
        Some("gzip") => {
            plain.clear();
            // What does not unpack is found malformed by the scan.
            let _ = flate2::read::MultiGzDecoder::new(body).read_to_end(plain);
            plain.as_slice()
        }
        _ => body,
    };
    marks.clear();
    let fault = check(body, marks);
    let now = shared.clock.now();
    let mut ledger = shared.ledger();
    ledger.requests += 1;
    ledger.bytes += sent_bytes as u64;
    if let Some(fault) = fault {
        ledger.violation(fault);
    }
    for mark in marks.drain(..) {
        match mark {
            Some(mark) => ledger.arrive(mark, now),
            None => ledger.unmarked += 1,
        }
    }
}

/// Collects the marks of a body and says why the service would not take it.
fn check(body: &[u8], marks: &mut Vec<Option<Mark>>) -> Option<String> {
    let finder = memmem::Finder::new(MARK_START);
    let (mut bytes, mut first, mut last, mut fault) = (0, None, i64::MIN, None);
    let scanned = scan::put_log_events(body, |event| {
        bytes += event.utf8_bytes + EVENT_BYTES_EXTRA;
        if event.timestamp_ms < last && fault.is_none() {
            fault =
                Some(format!("event {} is {} ms older than the one before", marks.len(), last - event.timestamp_ms));
        }
        if event.utf8_bytes == 0 {
            fault = Some(format!("event {} is empty", marks.len()));
        }
        last = event.timestamp_ms;
        let span = last - *first.get_or_insert(last);
        if span > SPAN_MS_MAX {
            fault = Some(format!("a span of {span} ms"));
        }
        marks.push(finder.find(event.escaped).and_then(|at| Mark::read(&event.escaped[at..])));
    });
    match scanned {
        Err(scan::Malformed(at)) => Some(format!("malformed at byte {at} of {}", body.len())),
        Ok(target) if target.group.is_empty() || target.stream.is_empty() => Some("no group or stream".to_owned()),
        Ok(_) if marks.is_empty() || marks.len() > EVENTS_MAX => Some(format!("{} events", marks.len())),
        Ok(_) if bytes > REQUEST_BYTES_MAX => Some(format!("{bytes} bytes as the service counts them")),
        Ok(_) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(events: &[(i64, &str)]) -> Vec<u8> {
        let events: Vec<_> =
            events.iter().map(|(at, text)| serde_json::json!({"timestamp": at, "message": text})).collect();
        serde_json::json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events}).to_string().into_bytes()
    }

    fn fault(body: &[u8]) -> Option<String> {
        check(body, &mut Vec::new())
    }

    #[test]
    fn the_limits_of_the_service_are_exact() {
        let text = "x".repeat(REQUEST_BYTES_MAX - EVENT_BYTES_EXTRA);
        assert_eq!(fault(&body(&[(1, &text)])), None);
        assert!(fault(&body(&[(1, &(text + "x"))])).is_some_and(|text| text.contains("1048577 bytes")));
        assert_eq!(fault(&body(&vec![(1, "x"); EVENTS_MAX])), None);
        assert!(fault(&body(&vec![(1, "x"); EVENTS_MAX + 1])).is_some());
        assert!(fault(&body(&[])).is_some());
        assert!(fault(&body(&[(2, "a"), (1, "b")])).is_some_and(|text| text.contains("older")));
        assert_eq!(fault(&body(&[(0, "a"), (SPAN_MS_MAX, "b")])), None);
        assert!(fault(&body(&[(0, "a"), (SPAN_MS_MAX + 1, "b")])).is_some());
        assert!(fault(&body(&[(0, "")])).is_some_and(|text| text.contains("empty")));
        assert!(fault(b"{}").is_some());
    }

    #[test]
    fn lost_duplicated_and_reordered_records_are_told_apart() {
        let mut ledger = Ledger::default();
        for sequence in [0, 1, 5, 3, 5, 200, 4] {
            ledger.arrive(Mark { sequence, sent_us: 1_000 }, Duration::from_millis(3));
        }
        assert_eq!((ledger.unique, ledger.duplicated, ledger.reordered), (6, 1, 2));
        assert!((ledger.latency_ms(99) - 2.0).abs() < f64::EPSILON);
    }
}
