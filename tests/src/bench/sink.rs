//! Plays CloudWatch Logs for the bench: takes everything at the speed of the loopback, or at a given one, and counts. It can
//! be down for a while ([`Health`]).
//!
//! Promises: lost, duplicated and reordered records are exact; the service's limits are checked on every request; one
//! thread for each connection, nothing shared per record; while it is down it takes nothing.
//! Never: checks signatures or scripts other faults; that is the fake AWS's work.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
/// What it says when it is down.
const UNAVAILABLE: &str =
    r#"{"__type":"ServiceUnavailableException","message":"The service cannot complete the request."}"#;

/// How the service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It takes what comes.
    #[default]
    Well,
    /// It answers 503.
    Error,
    /// Nobody listens; who is connected is hung up on at the next request.
    Refuse,
    /// It reads requests and does not answer. When it is well again, it hangs up on who still waits.
    Hang,
    /// It is slow: requests that come now are taken when it is well again.
    Hold,
}

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
    /// PutLogEvents requests that were taken.
    pub requests: u64,
    /// Requests of any kind that were not, because it was down.
    pub rejected: u64,
    /// When each request was taken, and how many different records there were then.
    pub course: Vec<(Duration, u64)>,
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

    /// How many of the records before number `end` have arrived.
    pub fn arrived_before(&self, end: u64) -> u64 {
        let (words, rest) = ((end / 64) as usize, end % 64);
        let whole: u64 = self.seen.iter().take(words).map(|word| u64::from(word.count_ones())).sum();
        let part = self.seen.get(words).map_or(0, |word| (word & ((1 << rest) - 1)).count_ones());
        whole + u64::from(part)
    }

    /// A request with these records was taken.
    pub fn take(&mut self, marks: impl IntoIterator<Item = Mark>, now: Duration) {
        marks.into_iter().for_each(|mark| self.arrive(mark, now));
        self.course.push((now, self.unique));
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
    health: Mutex<Health>,
    changed: Condvar,
}

impl Sink {
    /// Starts one that takes `speed` bytes a second, or everything at once.
    pub fn start(clock: Clock, speed: Option<u64>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let free = Mutex::new(Instant::now());
        let (ledger, health, changed) = (Mutex::default(), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { ledger, clock, speed, free, health, changed });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("sink".to_owned()).spawn(move || accept(&accepting, listener, port))?;
        Ok(Self { port, shared })
    }

    /// From now on it is so.
    pub fn is(&self, health: Health) {
        let before = std::mem::replace(&mut *lock(&self.shared.health), health);
        self.shared.changed.notify_all();
        if health == Health::Refuse && before != health {
            // Wakes the listening thread, which then goes away. If that fails, somebody else woke it.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        }
    }

    /// What has arrived so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn health(&self) -> Health {
        *lock(&self.health)
    }

    /// Waits until it is so no more.
    fn while_it_is(&self, health: Health) {
        let now = lock(&self.health);
        drop(self.changed.wait_while(now, |now| *now == health).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until `bytes` more fit the speed.
    fn wait_for(&self, bytes: usize) {
        let Some(speed) = self.speed else { return };
        let until = {
            let mut free = lock(&self.free);
            *free = (*free).max(Instant::now()) + Duration::from_nanos(bytes as u64 * 1_000_000_000 / speed);
            *free
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves who connects, each in a thread.
fn accept(shared: &Arc<Shared>, mut listener: TcpListener, port: u16) {
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        if shared.health() != Health::Refuse {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                if let Err(error) = serve(&shared, stream)
                    && error.kind() == io::ErrorKind::InvalidData
                {
                    shared.ledger().violation(format!("not HTTP: {error}"));
                }
            });
            continue;
        }
        drop((stream, listener));
        shared.while_it_is(Health::Refuse);
        listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => listener,
            Err(error) => return shared.ledger().violation(format!("cannot listen again: {error}")),
        };
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    let (mut plain, mut marks) = (Vec::new(), Vec::new());
    while let Some(request) = connection.request()? {
        match shared.health() {
            Health::Well => {}
            Health::Hold => shared.while_it_is(Health::Hold),
            health => {
                shared.ledger().rejected += 1;
                if health != Health::Error {
                    shared.while_it_is(Health::Hang);
                    return Ok(());
                }
                write_answer(connection.stream(), "503 Service Unavailable", UNAVAILABLE)?;
                continue;
            }
        }
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
        write_answer(connection.stream(), "200 OK", answer)?;
    }
    Ok(())
}

fn write_answer(mut stream: &TcpStream, status: &str, answer: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nx-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\
         Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    stream.write_all(head.as_bytes())
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
    ledger.unmarked += marks.iter().filter(|mark| mark.is_none()).count() as u64;
    ledger.take(marks.drain(..).flatten(), now);
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
    use crate::wait;

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
        let before = |end| ledger.arrived_before(end);
        assert_eq!([0, 1, 2, 5, 64, 200, 201, 9_999].map(before), [0, 1, 2, 4, 5, 5, 6, 6]);
    }

    /// Asks for `number` to be taken; the status, or nothing if it is hung up.
    fn ask_at(port: u16, number: u64) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let body = body(&[(1, &format!("@@{number:010x}.000000000000"))]);
        write!(
            stream,
            "POST / HTTP/1.1\r\nX-Amz-Target: Logs_20140328.PutLogEvents\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        let mut status = [0; 12];
        let read = stream.read(&mut status)?;
        Ok(String::from_utf8_lossy(&status[..read]).into_owned())
    }

    #[test]
    fn while_it_is_down_nothing_is_taken_and_afterwards_all_is() {
        let sink = Sink::start(Clock::default(), None).expect("starts");
        let taken = || sink.ledger().unique;
        let ask = |number| ask_at(sink.port, number);
        assert_eq!(ask(0).expect("answered"), "HTTP/1.1 200");
        sink.is(Health::Error);
        assert_eq!(ask(1).expect("answered"), "HTTP/1.1 503");
        sink.is(Health::Refuse);
        assert_eq!(ask(1).unwrap_or_default(), "");
        assert_eq!((taken(), sink.ledger().rejected), (1, 1));
        for (health, taken_later) in [(Health::Hang, false), (Health::Hold, true)] {
            sink.is(Health::Well);
            wait::until(Duration::from_secs(10), || "a listener".to_owned(), || ask(0).is_ok());
            sink.is(health);
            let (rejected, port) = (sink.ledger().rejected, sink.port);
            let asking = thread::spawn(move || ask_at(port, 2));
            if !taken_later {
                wait::until(
                    Duration::from_secs(10),
                    || "the request to hang".to_owned(),
                    || sink.ledger().rejected > rejected,
                );
            }
            assert_eq!(taken(), 1);
            sink.is(Health::Well);
            let answer = asking.join().expect("no panic").unwrap_or_default();
            assert_eq!((answer.as_str(), taken()), if taken_later { ("HTTP/1.1 200", 2) } else { ("", 1) });
        }
    }
}
