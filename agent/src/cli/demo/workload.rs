//! Three made-up containers that print, and what carries their lines: Docker's `fluentd` log driver for two of them, an
//! SDK with compression and acknowledgements for the third.
//!
//! Promises: real Fluent Forward over real sockets, bytes as the originals send them; a record counts as sent when the
//! socket took it; ends within a second of being asked.
//! Never: uses the agent's own encoder or decoder, so that the demo also proves them.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use rmp::encode::{write_array_len, write_bin, write_ext_meta, write_map_len, write_str, write_u64, write_uint};

use super::progress::Progress;

/// How often the containers print.
const TICK: Duration = Duration::from_millis(20);
/// How often the third container sends its batch.
const BATCH_EVERY: Duration = Duration::from_secs(1);
/// Records after which it does not wait for the second to end.
const BATCH_RECORDS_MAX: u64 = 1_000;
/// Records that it keeps while nobody acknowledges them.
const KEPT_RECORDS_MAX: u64 = 20_000;
/// The agent reads at once; who waits this long at a socket has lost it.
const IO_TIMEOUT: Duration = Duration::from_secs(1);
/// The task's id in the tags, made up in the form of ECS.
const TASK: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// Prints and sends until `stopped` says so.
pub(super) fn run(
    unix: &Path,
    tcp: SocketAddr,
    records_per_second: u64,
    progress: &Progress,
    stopped: &dyn Fn() -> bool,
) {
    let mut script = Script::new(fastrand::u64(..));
    let (mut web, mut worker) = (Driver::new("web", unix), Driver::new("worker", unix));
    let mut cron = Sdk::new(tcp);
    let start = Instant::now();
    let mut printed = 0;
    while !stopped() {
        let due = (start.elapsed().as_secs_f64() * records_per_second as f64) as u64;
        while printed < due {
            // Of ten records five are the web container's, three the worker's, two the cron job's.
            match printed % 10 {
                0 | 2 | 4 | 6 | 8 => progress.count(web.print(script.now(), "stdout", &script.web())),
                1 | 5 | 9 => {
                    let (stream, line) = script.worker();
                    progress.count(worker.print(script.now(), stream, &line));
                }
                _ => cron.batch.add(script.now(), &script.cron()),
            }
            printed += 1;
            if cron.batch.records >= BATCH_RECORDS_MAX && !cron.failed {
                cron.send(&mut script, progress);
            }
        }
        if cron.sent_last.elapsed() >= BATCH_EVERY {
            cron.send(&mut script, progress);
        }
        thread::sleep(TICK);
    }
    cron.send(&mut script, progress);
}

/// Docker's log driver for one container: a connection of its own, one write per line, dialled again when lost.
struct Driver<'a> {
    container: &'static str,
    path: &'a Path,
    stream: Option<UnixStream>,
    message: Vec<u8>,
}

impl<'a> Driver<'a> {
    fn new(container: &'static str, path: &'a Path) -> Self {
        Self { container, path, stream: None, message: Vec::with_capacity(1024) }
    }

    /// True if the socket took the line.
    fn print(&mut self, time: Duration, stream: &str, line: &str) -> bool {
        self.message.clear();
        message(&mut self.message, self.container, time, stream, line);
        let taken = self.write();
        if taken.is_err() {
            self.stream = None;
        }
        taken.is_ok()
    }

    fn write(&mut self) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = UnixStream::connect(self.path)?;
                stream.set_write_timeout(Some(IO_TIMEOUT))?;
                none.insert(stream)
            }
        };
        stream.write_all(&self.message)
    }
}

/// A logging library that sends compressed batches and waits for their acknowledgements.
struct Sdk {
    address: SocketAddr,
    stream: Option<TcpStream>,
    batch: Entries,
    sent_last: Instant,
    /// The last batch was not acknowledged; the next try waits for its time.
    failed: bool,
}

impl Sdk {
    fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, batch: Entries::default(), sent_last: Instant::now(), failed: false }
    }

    fn send(&mut self, script: &mut Script, progress: &Progress) {
        self.sent_last = Instant::now();
        if self.batch.records == 0 {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let chunk = script.chunk();
        let exchanged = self.exchange(&packed(&batch, &chunk), &acknowledgement(&chunk));
        self.failed = exchanged.is_err();
        match exchanged {
            Ok(()) => {
                progress.count_batch(batch.records);
            }
            Err(_) => {
                self.stream = None;
                // As the originals do: what was not acknowledged is sent again, as long as it is not too much.
                if batch.records <= KEPT_RECORDS_MAX {
                    self.batch = batch;
                }
            }
        }
    }

    fn exchange(&mut self, message: &[u8], expected: &[u8]) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.address, IO_TIMEOUT)?;
                stream.set_write_timeout(Some(IO_TIMEOUT))?;
                stream.set_read_timeout(Some(IO_TIMEOUT))?;
                none.insert(stream)
            }
        };
        stream.write_all(message)?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        if answer == expected { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Entries of a PackedForward message, one after another.
#[derive(Debug, Default)]
struct Entries {
    packed: Vec<u8>,
    records: u64,
}

impl Entries {
    fn add(&mut self, time: Duration, fields: &[(&str, Field)]) {
        let out = &mut self.packed;
        array(out, 2);
        event_time(out, time);
        map(out, fields.len());
        for (key, value) in fields {
            text(out, key);
            match value {
                Field::Text(value) => text(out, value),
                Field::Number(value) => write_u64(out, *value).expect(VEC),
            }
        }
        self.records += 1;
    }
}

/// A value of the third container's records.
#[derive(Debug)]
enum Field {
    Text(String),
    Number(u64),
}

const VEC: &str = "writing to a Vec cannot fail";

/// Docker's message: tag, time, record, empty options.
fn message(out: &mut Vec<u8>, container: &str, time: Duration, stream: &str, line: &str) {
    array(out, 4);
    text(out, &format!("{container}-firelens-{TASK}"));
    event_time(out, time);
    map(out, 4);
    for (key, value) in [
        ("container_id", format!("{:0>64}", format!("{container}{TASK}"))),
        ("container_name", format!("/ecs-demo-1-{container}-{}", &TASK[..16])),
        ("source", stream.to_owned()),
    ] {
        text(out, key);
        text(out, &value);
    }
    text(out, "log");
    text(out, line);
    map(out, 0);
}

/// CompressedPackedForward with a chunk to acknowledge.
fn packed(entries: &Entries, chunk: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&entries.packed).expect(VEC);
    let compressed = gzip.finish().expect(VEC);
    let mut out = Vec::with_capacity(compressed.len() + 256);
    array(&mut out, 3);
    text(&mut out, &format!("cron-firelens-{TASK}"));
    write_bin(&mut out, &compressed).expect(VEC);
    map(&mut out, 3);
    text(&mut out, "chunk");
    text(&mut out, chunk);
    text(&mut out, "size");
    write_uint(&mut out, entries.records).expect(VEC);
    text(&mut out, "compressed");
    text(&mut out, "gzip");
    out
}

fn acknowledgement(chunk: &str) -> Vec<u8> {
    let mut out = Vec::new();
    map(&mut out, 1);
    text(&mut out, "ack");
    text(&mut out, chunk);
    out
}

/// Seconds and nanoseconds since 1970, as extension type 0.
fn event_time(out: &mut Vec<u8>, time: Duration) {
    write_ext_meta(out, 8, 0).expect(VEC);
    // The wire has 32 bits for seconds: until 2106.
    out.extend_from_slice(&(time.as_secs() as u32).to_be_bytes());
    out.extend_from_slice(&time.subsec_nanos().to_be_bytes());
}

fn array(out: &mut Vec<u8>, length: u32) {
    write_array_len(out, length).expect(VEC);
}

fn map(out: &mut Vec<u8>, length: usize) {
    write_map_len(out, length as u32).expect(VEC);
}

fn text(out: &mut Vec<u8>, text: &str) {
    write_str(out, text).expect(VEC);
}

/// What the containers say.
struct Script {
    dice: fastrand::Rng,
    number: u64,
}

impl Script {
    fn new(seed: u64) -> Self {
        Self { dice: fastrand::Rng::with_seed(seed), number: 0 }
    }

    /// The time since 1970.
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// An access log in JSON.
    fn web(&mut self) -> String {
        let number = self.next();
        let path = self.one(&["/api/orders", "/api/orders/8123/items", "/api/cart", "/health", "/search?q=saddle+bag"]);
        let method = self.one(&["GET", "GET", "GET", "POST", "DELETE"]);
        let status = self.one(&["200", "200", "200", "200", "201", "304", "404", "502"]);
        let (micros, peer, id) = (self.dice.u32(800..90_000), self.dice.u8(..), self.dice.u64(..));
        format!(
            "{{\"level\":\"info\",\"seq\":{number},\"method\":\"{method}\",\"path\":\"{path}\",\"status\":{status},\
             \"duration_ms\":{:.3},\"bytes\":{},\"remote\":\"10.0.3.{peer}\",\"request_id\":\"{id:016x}\",\
             \"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"}}",
            f64::from(micros) / 1_000.0,
            micros * 3,
        )
    }

    /// A plain line, and the stream it is printed to.
    fn worker(&mut self) -> (&'static str, String) {
        let number = self.next();
        let (thread, took, depth) = (self.dice.u8(1..9), self.dice.u32(3..4_000), self.dice.u32(0..200));
        let job = self.one(&["resize-image", "send-mail", "charge-card", "rebuild-index"]);
        match self.dice.u8(..16) {
            0 => (
                "stderr",
                format!(
                    "WARN  [worker-{thread}] job {number} ({job}) failed after {took} ms: connection \
                 reset by peer, attempt 1 of 5, next in 2 s; queue depth {depth}"
                ),
            ),
            _ => (
                "stdout",
                format!(
                    "INFO  [worker-{thread}] job {number} ({job}) done in {took} ms, waited {} ms, \
                 heap 312 of 512 MiB, queue depth {depth}, next poll in 50 ms",
                    took / 3
                ),
            ),
        }
    }

    /// A structured record of an SDK.
    fn cron(&mut self) -> [(&'static str, Field); 4] {
        let number = self.next();
        let job = self.one(&["nightly-report", "expire-sessions", "sync-prices"]);
        [
            ("job", Field::Text(job.to_owned())),
            ("run", Field::Number(number)),
            ("rows", Field::Number(self.dice.u64(0..1_000_000))),
            ("message", Field::Text(format!("{job} finished its step without errors"))),
        ]
    }

    /// The name of a batch: in the originals 16 random bytes.
    fn chunk(&mut self) -> String {
        format!("{:032x}", self.dice.u128(..))
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.dice.usize(..of.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::unix::net::UnixListener,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use flate2::read::GzDecoder;
    use rmpv::{Value, decode::read_value};

    use super::*;

    /// An independent decoder sees what Docker's driver sends (facts of moby's `daemon/logger/fluentd`).
    #[test]
    fn a_line_is_sent_as_dockers_driver_sends_it() {
        let mut bytes = Vec::new();
        message(&mut bytes, "web", Duration::new(1_790_000_000, 123_456_789), "stdout", "hello");
        assert_eq!(bytes[0], 0x94);
        let value = read_value(&mut bytes.as_slice()).unwrap();
        assert_eq!(value[0], Value::from(format!("web-firelens-{TASK}")));
        let mut time = 1_790_000_000_u32.to_be_bytes().to_vec();
        time.extend(123_456_789_u32.to_be_bytes());
        assert_eq!(value[1], Value::Ext(0, time));
        assert_eq!(value[2]["source"], Value::from("stdout"));
        assert_eq!(value[2]["log"], Value::from("hello"));
        assert_eq!(value[2]["container_id"].as_str().unwrap().len(), 64);
        assert!(value[2]["container_name"].as_str().unwrap().starts_with("/ecs-demo-1-web-"));
        assert_eq!(value[3], Value::Map(Vec::new()));
        assert_eq!(value.as_array().unwrap().len(), 4);
    }

    #[test]
    fn a_batch_is_compressed_and_carries_its_chunk() {
        let mut script = Script::new(7);
        let mut entries = Entries::default();
        entries.add(Duration::from_secs(1), &script.cron());
        entries.add(Duration::from_secs(2), &script.cron());
        let value = read_value(&mut packed(&entries, "c1").as_slice()).unwrap();
        assert_eq!(value[2]["chunk"], Value::from("c1"));
        assert_eq!(value[2]["compressed"], Value::from("gzip"));
        assert_eq!(value[2]["size"], Value::from(2));
        let mut plain = Vec::new();
        GzDecoder::new(value[1].as_slice().unwrap()).read_to_end(&mut plain).unwrap();
        let mut rest = plain.as_slice();
        let first = read_value(&mut rest).unwrap();
        let second = read_value(&mut rest).unwrap();
        assert_eq!((first[1]["run"].as_u64(), second[1]["run"].as_u64()), (Some(1), Some(2)));
        assert!(rest.is_empty());
        assert_eq!(acknowledgement("c1"), b"\x81\xa3ack\xa2c1");
    }

    #[test]
    fn lines_have_the_size_of_real_ones_and_the_web_container_prints_json() {
        let mut script = Script::new(42);
        for _ in 0..500 {
            let web = script.web();
            serde_json::from_str::<serde_json::Value>(&web).expect("JSON");
            assert!((200..400).contains(&web.len()), "{web}");
            assert!((100..300).contains(&script.worker().1.len()));
        }
    }

    /// Everything the containers count as sent arrives at a bare reader, and everything that arrives was counted.
    #[test]
    fn what_counts_as_sent_has_arrived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let arrived = AtomicU64::new(0);
        thread::scope(|scope| {
            let (progress, stop, arrived, unix) = (&progress, &stop, &arrived, &unix);
            scope.spawn(move || {
                for _ in 0..2 {
                    let (mut stream, _) = unix.accept().unwrap();
                    scope.spawn(move || {
                        while read_value(&mut stream).is_ok() {
                            arrived.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            scope.spawn(move || {
                let (mut stream, _) = tcp.accept().unwrap();
                while let Ok(batch) = read_value(&mut stream) {
                    arrived.fetch_add(batch[2]["size"].as_u64().unwrap(), Ordering::Relaxed);
                    stream.write_all(&acknowledgement(batch[2]["chunk"].as_str().unwrap())).unwrap();
                    // Two batches have come: enough.
                    stop.store(progress.acknowledged() > 0, Ordering::Relaxed);
                }
            });
            run(&path, address, 20_000, progress, &|| stop.load(Ordering::Relaxed));
        });
        assert!(progress.acknowledged() >= 2 && progress.sent() > 1_000);
        assert_eq!(arrived.load(Ordering::Relaxed), progress.sent());
        assert_eq!(progress.sent_since_last_look(), progress.sent());
        assert_eq!(progress.sent_since_last_look(), 0);
    }
}
