//! Sessions over real socket pairs, with the clock paused, and the vectors of `testdata/forward` however they are cut.
//!
//! Promises: what is sent, counted and answered is compared to the byte.
//! Never: proves how fast a session is; the bench does.

use std::{fs, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::advance,
};

use super::{answers::put_ack, *};
use crate::{
    deliver::books::Books,
    logs::{
        forward::{
            handshake::Denied,
            types::{self, Helo, Ping, Pong},
        },
        out::Sink,
        pattern::Pattern,
        route::Branch,
        settings::{self, Secret},
    },
    tell::counters::Counters,
};

/// Everything around sessions.
pub(super) struct Rig {
    pub(super) context: Arc<Context>,
    books: Books,
    counters: Counters,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(&settings::Forward::default())
    }

    fn with(forward: &settings::Forward) -> Self {
        Self::to(forward, Sink::Discard)
    }

    pub(super) fn to(forward: &settings::Forward, sink: Sink) -> Self {
        let (books, counters) = (Books::default(), Counters::new());
        let branch = Branch { name: "out".into(), pattern: Pattern::default(), sink };
        let router = Router::new(Vec::new(), vec![branch], books.clone(), counters.clone());
        let context = Arc::new(Context {
            settings: Settings::from(forward),
            router: Arc::new(router),
            masks: Masks::new(&counters),
            meters: Meters::new(&counters, "forward.0"),
            buffers: Arc::default(),
            partials: Arc::default(),
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
        });
        Self { context, books, counters }
    }

    /// A connection that is served, our end of it, and what tells that it ended.
    #[expect(clippy::disallowed_methods, reason = "a test has no Life")]
    pub(super) fn connect(&self) -> (UnixStream, tokio::task::JoinHandle<()>) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        theirs.set_nonblocking(true).expect("a socket");
        let served = tokio::task::spawn(Session::serve(Arc::clone(&self.context), Socket::Unix(theirs)));
        (UnixStream::from_std(ours).expect("a socket"), served)
    }

    pub(super) fn records(&self) -> u64 {
        let totals = self.books.totals();
        assert!(totals.balanced());
        assert_eq!(totals.accepted, self.context.meters.records.get());
        totals.delivered
    }

    fn errors(&self, kind: &str) -> u64 {
        self.counters.logs_forward_errors.with_label_values(&[kind]).get()
    }

    /// Waits until so many bytes were read.
    pub(super) async fn has_read(&self, bytes: usize) {
        while self.context.meters.bytes.get() < bytes as u64 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.context))
    }
}

/// A vector and what its description says.
struct Vector {
    name: String,
    bytes: Vec<u8>,
    refused: bool,
    records: u64,
    acks: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/forward");
    let mut vectors = Vec::new();
    for file in fs::read_dir(folder).expect("the folder") {
        let file = file.expect("a file").path();
        if file.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let text = fs::read_to_string(file.with_extension("md")).expect("a description");
        let said = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{} says `{key}`", file.display())).to_owned()
        };
        let mut acks = Vec::new();
        for ack in said("acks").split(' ').filter(|&ack| ack != "none") {
            acks.extend(rmp_serde::to_vec_named(&types::Ack { ack: ack.to_owned() }).expect("encodes"));
        }
        vectors.push(Vector {
            name: file.file_stem().expect("a name").to_string_lossy().into_owned(),
            bytes: fs::read(&file).expect("the vector"),
            refused: said("messages") == "refused",
            records: said("records").parse().expect("a number"),
            acks,
        });
    }
    assert!(vectors.len() >= 80, "only {} vectors", vectors.len());
    vectors
}

/// Feeds `pieces` to a session as reads that bring them.
fn feed<'a>(session: &mut Session, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Malformed> {
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let mut left = piece;
        while !left.is_empty() {
            let read = session.read(|buffer| {
                let bytes = left.len().min(buffer.len());
                buffer[..bytes].copy_from_slice(&left[..bytes]);
                left = &left[bytes..];
                Poll::Ready(Ok(bytes))
            });
            match read {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(End::Malformed(malformed))) => return Err(malformed),
                Poll::Ready(Err(End::Closed)) | Poll::Pending => panic!("the peer is there"),
            }
        }
    }
    Ok(())
}

/// Every vector over a real socket: its records, its acks to the byte, and how the connection ends.
#[tokio::test(start_paused = true)]
async fn every_vector_is_read_as_its_description_says() {
    for vector in vectors() {
        let rig = Rig::new();
        let (mut peer, served) = rig.connect();
        // A peer that is refused may find its connection closed while it still writes.
        let written = peer.write_all(&vector.bytes).await;
        assert!(written.is_ok() || vector.refused, "{}", vector.name);
        let _ = peer.shutdown().await;
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer).await;
        served.await.expect("no panic");
        assert_eq!((rig.records(), &answer), (vector.records, &vector.acks), "{}", vector.name);
        let errors: u64 = rig.counters.render().lines().filter_map(error_count).sum();
        assert_eq!(errors, u64::from(vector.refused), "{}", vector.name);
        assert_eq!(rig.counters.logs_connections_open.with_label_values(&["forward.0"]).get(), 0);
        assert_eq!(rig.counters.logs_connections_opened.with_label_values(&["forward.0"]).get(), 1);
    }
}

fn error_count(line: &str) -> Option<u64> {
    line.strip_prefix("pillion_logs_forward_errors_total{")?.rsplit_once(' ')?.1.parse().ok()
}

/// The same however the bytes are cut into reads: in two at every place, and byte by byte.
#[tokio::test]
async fn every_vector_is_read_however_it_is_cut() {
    for vector in vectors() {
        // A bomb of 6 MB takes its time each time.
        let places_most = if vector.name.contains("bomb") { 4 } else { 400 };
        let whole = vector.bytes.len();
        for cut in (0..whole).step_by(whole / places_most + 1) {
            let (first, second) = vector.bytes.split_at(cut);
            check_cut(&vector, &[first, second], cut);
        }
        if whole < 2_000 {
            let bytes: Vec<&[u8]> = vector.bytes.chunks(1).collect();
            check_cut(&vector, &bytes, 1);
        }
    }
}

fn check_cut(vector: &Vector, pieces: &[&[u8]], cut: usize) {
    let rig = Rig::new();
    let mut session = rig.session();
    let end = feed(&mut session, pieces.iter().copied());
    let whole = end.is_ok() && session.tail.is_empty();
    assert_eq!(whole, !vector.refused, "{} cut at {cut}: {end:?}", vector.name);
    assert_eq!((rig.records(), &session.answers.ready), (vector.records, &vector.acks), "{} cut at {cut}", vector.name);
}

/// What came whole before stays and is answered; what is malformed ends the connection and is counted by kind.
#[tokio::test(start_paused = true)]
async fn a_malformed_message_ends_the_connection_after_what_came_whole_before() {
    let chunk = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/forward/packed-chunk.bin"));
    let chunk = chunk.expect("the vector");
    for (bad, kind) in [
        (&b"GET / HTTP/1.1\r\n"[..], "not_a_message"),
        (b"\x93\xa1t\xc1", "msgpack"),
        (b"\x93\x01\x01\x80", "tag"),
        (b"\x93\xa1t\xc2\x80", "time"),
        (b"\x93\xa1t\x01\xa1x", "record"),
        (b"\x92\xa1t\x91\x01", "entry"),
        (b"\x94\xa1t\x01\x80\x01", "option"),
        (b"\x92\xa1t\xc6\xff\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\xa1x\x81\xaacompressed\xa4gzip", "compression"),
    ] {
        let rig = Rig::new();
        let (mut peer, served) = rig.connect();
        peer.write_all(&[&chunk, bad].concat()).await.expect("writes");
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.expect("it is closed by the other side");
        served.await.expect("no panic");
        assert_eq!((rig.records(), rig.errors(kind)), (3, 1), "{kind}");
        assert_eq!(answer, b"\x81\xa3ack\xb8p8n9gmxTQVC8/nh2wlKKeQ==", "{kind}: answered before the end");
    }
}

/// Fluent Bit's metrics are passed over; the connection goes on.
#[tokio::test(start_paused = true)]
async fn metrics_are_counted_and_passed_over() {
    let rig = Rig::new();
    let mut session = rig.session();
    let metrics = b"\x93\xa1t\xc4\x03abc\x81\xadfluent_signal\x01";
    assert_eq!(feed(&mut session, [&metrics[..], b"\x93\xa1t\x01\x80"]), Ok(()));
    assert_eq!((rig.records(), rig.errors("signal")), (1, 1));
}

/// An app that is killed leaves the beginning of a message: what was whole stays, the rest is counted.
#[tokio::test(start_paused = true)]
async fn a_message_cut_by_the_end_of_the_connection_is_counted() {
    let rig = Rig::new();
    let (mut peer, served) = rig.connect();
    peer.write_all(b"\x93\xa1t\x01\x80\x93\xa1t\x01").await.expect("writes");
    drop(peer);
    served.await.expect("no panic");
    assert_eq!((rig.records(), rig.errors("truncated")), (1, 1));
}

/// 5 MB in pieces: memory grows with what came, not with what was announced, and is given back.
#[tokio::test]
async fn a_large_message_holds_no_more_memory_than_it_sent() {
    let entry = b"\x92\x01\x81\xa3log\xda\x03\xe8".iter().copied().chain([b'x'; 1_000]);
    let entry: Vec<u8> = entry.collect();
    let entries = entry.repeat(5_000_000 / entry.len());
    let mut message = b"\x93\xa1t\xc6".to_vec();
    message.extend(u32::try_from(entries.len()).expect("5 MB").to_be_bytes());
    message.extend(&entries);
    message.extend(b"\x81\xa5chunk\xa1c");
    let rig = Rig::new();
    let mut session = rig.session();
    let mut sent = 0;
    for piece in message.chunks(10_007) {
        assert_eq!(feed(&mut session, [piece]), Ok(()));
        sent += piece.len();
        let held = session.tail.capacity();
        assert!(held <= sent + sent / 4 + 2 * FORWARD_READ_BYTES, "{held} bytes for {sent}");
    }
    assert_eq!((rig.records(), session.answers.ready.len()), (entries.len() as u64 / entry.len() as u64, 7));
    assert_eq!(feed(&mut session, [&b"\xc0"[..]]), Ok(()));
    assert!(session.tail.is_empty() && session.tail.capacity() <= PARTIAL_BYTES_FREE);
}

/// While the agent stops, whoever still writes is read; who is quiet for a while is closed.
#[tokio::test(start_paused = true)]
async fn a_stopping_agent_reads_who_writes_and_closes_who_is_quiet() {
    let rig = Rig::new();
    let (mut busy, busy_served) = rig.connect();
    let (mut quiet, quiet_served) = rig.connect();
    busy.write_all(b"\x93\xa1t\x01\x80").await.expect("writes");
    rig.has_read(5).await;
    rig.context.stopping.cancel();
    let begun = Instant::now();
    for number in 2..30 {
        sleep(QUIET * 9 / 10).await;
        busy.write_all(b"\x93\xa1t\x01\x80").await.expect("is not closed");
        rig.has_read(5 * number).await;
    }
    assert_eq!(rig.records(), 29);
    assert!(quiet_served.is_finished() && !busy_served.is_finished());
    assert_eq!(quiet.read(&mut [0; 1]).await.expect("reads"), 0, "closed");
    drop(busy);
    busy_served.await.expect("no panic");
    assert_eq!(rig.errors("truncated"), 0);
    assert!(begun.elapsed() > 20 * QUIET);
}

/// A peer that is there but silent is never closed while the agent does not stop.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept() {
    let rig = Rig::new();
    let (mut peer, served) = rig.connect();
    advance(Duration::from_secs(24 * 3_600)).await;
    peer.write_all(b"\x93\xa1t\x01\x80").await.expect("writes");
    rig.has_read(5).await;
    assert!(!served.is_finished());
    assert_eq!(rig.records(), 1);
    rig.context.stopping.cancel();
    served.await.expect("no panic");
}

/// A peer that never stops writing cannot hold up the end.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test has no Life")]
async fn closing_ends_a_connection_that_never_pauses() {
    let rig = Rig::new();
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    theirs.set_nonblocking(true).expect("a socket");
    let writer = std::thread::spawn(move || {
        let messages = b"\x93\xa1t\x01\x80".repeat(10_000);
        // Ends with an error when the connection is closed.
        while io::Write::write_all(&mut ours, &messages).is_ok() {}
    });
    let served = tokio::spawn(Session::serve(Arc::clone(&rig.context), Socket::Unix(theirs)));
    rig.has_read(1 << 20).await;
    rig.context.stopping.cancel();
    rig.context.closing.cancel();
    served.await.expect("no panic");
    writer.join().expect("no panic");
    assert!(rig.records() > 100_000);
}

/// Nothing is waited for any more: also a connection that was busy a moment ago is closed when it is read empty.
#[tokio::test(start_paused = true)]
async fn closing_ends_every_connection_that_is_read_empty() {
    let rig = Rig::new();
    let (mut peer, served) = rig.connect();
    peer.write_all(&b"\x93\xa1t\x01\x80".repeat(1_000)).await.expect("writes");
    rig.context.stopping.cancel();
    rig.context.closing.cancel();
    let begun = Instant::now();
    served.await.expect("no panic");
    assert!(begun.elapsed() < QUIET);
    assert_eq!(rig.records(), 1_000);
}

/// Small writes at a high rate are read by the clock, and each is there, in order, also across that change.
#[tokio::test(start_paused = true)]
async fn a_connection_read_by_the_clock_loses_nothing() {
    let rig = Rig::new();
    let (mut peer, served) = rig.connect();
    for _ in 0..20_000 {
        peer.write_all(b"\x93\xa1t\x01\x81\xa3log\xa5hello").await.expect("writes");
        tokio::task::yield_now().await;
    }
    drop(peer);
    served.await.expect("no panic");
    assert_eq!((rig.records(), rig.errors("truncated")), (20_000, 0));
}

fn keyed() -> settings::Forward {
    settings::Forward { shared_key: Some(Secret::new("s3cr3t".to_owned())), ..settings::Forward::default() }
}

fn sha512_hex(parts: &[&[u8]]) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says PING with the digest of `key` and, in the same write, `after`. Returns the PONG.
async fn greet(peer: &mut UnixStream, key: &str, after: &[u8]) -> Pong {
    let mut bytes = vec![0; 4_096];
    let read = peer.read(&mut bytes).await.expect("HELO");
    let Helo(helo) = rmp_serde::from_slice(&bytes[..read]).expect("HELO");
    let digest = sha512_hex(&[b"salt", b"client", &helo.nonce.0, key.as_bytes()]);
    let ping = Ping { hostname: "client".to_owned(), salt: b"salt".to_vec(), digest, ..Ping::default() };
    let ping = rmp_serde::to_vec(&ping).expect("encodes");
    peer.write_all(&[&ping, after].concat()).await.expect("writes");
    let read = peer.read(&mut bytes).await.expect("PONG");
    rmp_serde::from_slice(&bytes[..read]).expect("PONG")
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_key_may_send_at_once() {
    let rig = Rig::with(&keyed());
    let (mut peer, served) = rig.connect();
    let pong = greet(&mut peer, "s3cr3t", b"\x93\xa1t\x01\x80\x93\xa1t").await;
    assert!(pong.accepted, "{pong:?}");
    peer.write_all(b"\x01\x80").await.expect("writes");
    drop(peer);
    served.await.expect("no panic");
    assert_eq!((rig.records(), rig.errors("truncated")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_know_the_key_is_told_so_and_closed() {
    let rig = Rig::with(&keyed());
    let (mut peer, served) = rig.connect();
    let pong = greet(&mut peer, "guess", b"\x93\xa1t\x01\x80").await;
    assert_eq!((pong.accepted, pong.reason.as_str()), (false, "shared_key mismatch"));
    served.await.expect("no panic");
    assert_eq!((rig.records(), rig.errors(Denied::SharedKey.label())), (0, 1));
}

/// Silence, a message without a handshake, and a PING without end.
#[tokio::test(start_paused = true)]
async fn who_does_not_shake_hands_is_let_go() {
    for (said, kind) in [
        (&b""[..], "handshake"),
        (b"\x93\xa1t\x01\x80", "handshake_malformed"),
        (b"\xc1", "handshake"),
        (b"\x96\xa4PING\xdb\xff\xff\xff\xff", "handshake"),
    ] {
        let rig = Rig::with(&keyed());
        let (mut peer, served) = rig.connect();
        peer.write_all(said).await.expect("writes");
        let begun = Instant::now();
        served.await.expect("no panic");
        assert_eq!((rig.records(), rig.errors(kind)), (0, 1), "{said:x?}");
        assert_eq!(begun.elapsed() >= Duration::from_secs(10), said.is_empty(), "{said:x?}");
    }
}

/// Acks of every length of chunk id are msgpack that a client reads.
#[test]
fn an_ack_holds_any_chunk_id() {
    for length in [0, 1, 24, 31, 32, 255, 256, 70_000] {
        let chunk = "c".repeat(length);
        let mut acks = Vec::new();
        put_ack(&mut acks, chunk.as_bytes());
        let ack: types::Ack = rmp_serde::from_slice(&acks).expect("reads");
        assert_eq!(ack.ack, chunk);
    }
}
