//! The socket and what comes over it: listeners, every mode of the protocol, acknowledgements, the handshake, and bytes
//! that are wrong.
//!
//! Promises: one connection's trouble is never another's.
//! Never: uses the agent's own types for the wire.

use std::{
    collections::BTreeMap, fs, io::Write, net::TcpStream, os::unix::net::UnixListener, path::Path, sync::mpsc, thread,
};

use rmp::{decode, encode};
use sha2::{Digest, Sha512};
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::FakeAws,
    forward_client::{Fields, ForwardClient, Options, Time, compressed, forward, message, packed, stream},
    wait,
};

use crate::story::{FIRELENS, SOON, Story, WEB, WEB_STREAM, connect_tcp, connect_unix, line, logs, output, tcp_input};

fn errors(story: &Story, kind: &str) -> f64 {
    story.agent.metrics().sum("pillion_logs_forward_errors_total", &[("kind", kind)])
}

fn opened(story: &Story) -> f64 {
    story.agent.metrics().sum("pillion_logs_connections_open", &[])
}

/// What a process that was killed leaves behind is replaced; a restart in place binds again.
#[test]
fn a_socket_that_nobody_answers_at_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fluent.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let aws = FakeAws::start();
    let setup = Setup::cloudwatch(aws.port(), "");
    let setup = Setup { config: setup.config.replace("{socket}", &path.to_string_lossy()), ..setup };
    let first = Agent::start(&setup).unwrap();
    connect_unix(&path).line(WEB, &line(0)).unwrap();
    aws.wait_for_events(1, SOON);
    first.signal("KILL");
    assert_eq!(first.wait_for_end(SOON).signal, Some(9));
    assert!(path.exists());
    let second = Story::with(aws, &setup);
    connect_unix(&path).line(WEB, &line(1)).unwrap();
    second.settled(1);
    assert_eq!(second.web_lines(), [line(0), line(1)]);
    // The fake has one more than the second agent's books.
    second.aws.assert_no_violations();
    second.agent.stop(SOON).assert_clean();
    assert!(!path.exists(), "a clean end takes the socket away");
}

#[test]
fn anything_else_in_the_socket_s_place_is_left_alone_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fluent.sock");
    fs::write(&path, "precious").unwrap();
    let setup = Setup::cloudwatch(1, "");
    let setup = Setup { config: setup.config.replace("{socket}", &path.to_string_lossy()), ..setup };
    let ended = Agent::start(&setup).unwrap().wait_for_end(SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains("is there and is not a socket; remove it or choose another path"), "{}", ended.log);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// A frame of zstd whose one block is not compressed at all: legal, and made without a library.
fn zstd(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(length.to_le_bytes());
    frame.extend(&(length << 3 | 1).to_le_bytes()[..3]);
    frame.extend(plain);
    frame
}

#[test]
fn every_mode_is_acknowledged_by_its_chunk_over_unix_and_tcp() {
    let aws = FakeAws::start();
    let address = free_address().unwrap();
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-\nlog_key log");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{}{out}", tcp_input(address))));
    let mut sent = 0;
    let mut expected = Vec::new();
    for client in [&mut story.connect(), &mut connect_tcp(address)] {
        let texts: Vec<_> = (sent..sent + 9).map(line).collect();
        let records: Vec<[(&str, &[u8]); 1]> = texts.iter().map(|text| [("log", text.as_bytes())]).collect();
        let time = Time::now();
        let entry = |number: usize| -> (Time, &Fields<'_>) { (time, &records[number]) };
        let options = |chunk| Options { chunk: Some(chunk), ..Options::default() };
        let two = |first: usize| stream(&[entry(first), entry(first + 1)]);
        let modes = [
            message(WEB, time, &records[0], Some(&options("message"))),
            forward(WEB, &[entry(1), entry(2)], Some(&options("forward"))),
            packed(WEB, &two(3), Some(&options("packed"))),
            compressed(WEB, &[&[entry(5)], &[entry(6)]], &options("gzip")),
            packed(WEB, &zstd(&two(7)), Some(&Options { compressed: Some("zstd"), ..options("zstd") })),
        ];
        for (bytes, chunk) in modes.iter().zip(["message", "forward", "packed", "gzip", "zstd"]) {
            client.send(bytes).unwrap();
            assert_eq!(client.acknowledgement().unwrap(), chunk);
        }
        // Several in one write are answered in their order; one in pieces, when it is whole.
        let many: Vec<_> = (0..50).map(|number| format!("{number}-{}", "c".repeat(number * 7))).collect();
        let empty = |chunk: &String| forward(WEB, &[], Some(&Options { chunk: Some(chunk), ..Options::default() }));
        client.send(&many.iter().flat_map(empty).collect::<Vec<_>>()).unwrap();
        for chunk in &many {
            assert_eq!(&client.acknowledgement().unwrap(), chunk);
        }
        for byte in empty(&"slow".to_owned()) {
            client.send(&[byte]).unwrap();
        }
        assert_eq!(client.acknowledgement().unwrap(), "slow");
        sent += 9;
        expected.extend(texts);
    }
    story.settled(18);
    let mut there = story.aws.messages("bench", WEB_STREAM);
    there.sort();
    assert_eq!(there, expected);
    story.end();
}

#[test]
fn a_heartbeat_is_no_message_and_no_mistake() {
    let story = Story::begin("");
    let mut client = story.connect();
    client.send(&[0xc0]).unwrap();
    client.line(WEB, &line(0)).unwrap();
    client.send(&[0xc0, 0xc0]).unwrap();
    client.line(WEB, &line(1)).unwrap();
    story.settled(2);
    assert_eq!(story.web_lines(), [line(0), line(1)]);
    assert_eq!(story.agent.metrics().sum("pillion_logs_forward_errors_total", &[]), 0.0);
    story.end();
}

#[test]
fn json_over_tcp_becomes_records() {
    let aws = FakeAws::start();
    let address = free_address().unwrap();
    let input = format!("[INPUT]\n    Name tcp\n    Tag json\n    Listen 127.0.0.1\n    Port {}\n\n", address.port());
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{input}{out}")));
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"{\"log\":\"a\",\"n\":[1,2.5,null,true]} {\"log\":\"b\"}\n\n{\"lo").unwrap();
    story.settled(2);
    client.write_all(b"g\":\"c\\u20ac\"}\n{broken}\n{\"log\":\"d\"}\n").unwrap();
    story.settled(4);
    drop(client);
    let messages = story.aws.messages("bench", "s-json");
    assert_eq!(
        messages,
        [r#"{"log":"a","n":[1,2.5,null,true]}"#, r#"{"log":"b"}"#, "{\"log\":\"c\u{20ac}\"}", r#"{"log":"d"}"#]
    );
    assert!(story.agent.metrics().sum("pillion_logs_forward_errors_total", &[]) >= 1.0);
    story.end();
}

/// The client's side of the handshake, with its own arithmetic.
struct Handshake {
    nonce: Vec<u8>,
    auth: Vec<u8>,
}

impl Handshake {
    fn hear_helo(client: &mut ForwardClient) -> Self {
        assert_eq!(decode::read_array_len(client).unwrap(), 2);
        assert_eq!(text(client), "HELO");
        let mut handshake = Self { nonce: Vec::new(), auth: Vec::new() };
        for _ in 0..decode::read_map_len(client).unwrap() {
            match text(client).as_str() {
                "nonce" => handshake.nonce = bytes(client),
                "auth" => handshake.auth = bytes(client),
                "keepalive" => assert!(decode::read_bool(client).unwrap()),
                other => panic!("an option `{other}`"),
            }
        }
        handshake
    }

    fn ping(&self, key: &str, user: Option<(&str, &str)>) -> Vec<u8> {
        let (user, password) = user.unwrap_or_default();
        let password = match self.auth.is_empty() {
            true => String::new(),
            false => sha512(&[&self.auth, user.as_bytes(), password.as_bytes()]),
        };
        let digest = sha512(&[b"salt", b"client", &self.nonce, key.as_bytes()]);
        let mut ping = Vec::new();
        encode::write_array_len(&mut ping, 6).unwrap();
        for part in ["PING", "client", "salt", &digest, user, &password] {
            encode::write_str(&mut ping, part).unwrap();
        }
        ping
    }

    /// The `PONG`: whether we may come in, and why not.
    fn hear_pong(&self, client: &mut ForwardClient, key: &str) -> Result<(), String> {
        assert_eq!(decode::read_array_len(client).unwrap(), 5);
        assert_eq!(text(client), "PONG");
        let accepted = decode::read_bool(client).unwrap();
        let (reason, hostname, digest) = (text(client), text(client), text(client));
        if !accepted {
            return Err(reason);
        }
        assert_eq!(digest, sha512(&[b"salt", hostname.as_bytes(), &self.nonce, key.as_bytes()]), "the server's proof");
        Ok(())
    }
}

fn sha512(parts: &[&[u8]]) -> String {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(client: &mut ForwardClient) -> String {
    let length = decode::read_str_len(client).unwrap() as usize;
    String::from_utf8(exactly(client, length)).unwrap()
}

fn bytes(client: &mut ForwardClient) -> Vec<u8> {
    let length = decode::read_bin_len(client).unwrap() as usize;
    exactly(client, length)
}

fn exactly(client: &mut ForwardClient, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    std::io::Read::read_exact(client, &mut bytes).unwrap();
    bytes
}

#[test]
fn who_knows_the_key_and_a_password_may_send_and_nobody_else() {
    let aws = FakeAws::start();
    let address = free_address().unwrap();
    let input = format!(
        "{}    Shared_Key k3y\n    Self_Hostname router\n    Security.Users ann an's\n\n",
        tcp_input(address).trim_end().to_owned() + "\n"
    );
    let out = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let story = Story::with(aws, &Setup::classic(format!("{input}{out}")));

    let mut good = connect_tcp(address);
    let handshake = Handshake::hear_helo(&mut good);
    // What follows the PING in the same write is not lost.
    let ping = handshake.ping("k3y", Some(("ann", "an's")));
    good.send(&[ping, message(WEB, Time::now(), &[("log", b"line 000000")], None)].concat()).unwrap();
    handshake.hear_pong(&mut good, "k3y").unwrap();
    good.line(WEB, &line(1)).unwrap();
    story.settled(2);

    for (key, user, reason) in [
        ("wrong", ("ann", "an's"), "shared_key mismatch"),
        ("k3y", ("ann", "wrong"), "username/password mismatch"),
        ("k3y", ("eve", "an's"), "username/password mismatch"),
        ("", ("", ""), "shared_key mismatch"),
    ] {
        let mut client = connect_tcp(address);
        let handshake = Handshake::hear_helo(&mut client);
        client.send(&handshake.ping(key, Some(user))).unwrap();
        assert_eq!(handshake.hear_pong(&mut client, "k3y"), Err(reason.to_owned()));
        // It may be closed before this is written; what counts is that nobody reads it.
        let _ = client.line(WEB, "an intruder");
        let _ = client.until_closed();
    }
    // Someone who does not know that there is a handshake, and someone who hangs up in it.
    let mut rude = connect_tcp(address);
    rude.line(WEB, "an intruder").unwrap();
    let _ = rude.until_closed();
    let mut gone = connect_tcp(address);
    Handshake::hear_helo(&mut gone);
    drop(gone);

    good.line(WEB, &line(2)).unwrap();
    story.settled(3);
    assert_eq!(story.web_lines(), [line(0), line(1), line(2)]);
    drop(good);
    story.end();
}

/// Bytes that are no Fluent Forward end their own connection, are counted by kind, and harm nobody else.
#[test]
fn bad_messages_end_only_their_own_connection() {
    let story = Story::begin("");
    let mut good = story.connect();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/testdata/forward");
    let mut bad: Vec<_> = fs::read_dir(vectors)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("bad-"))
        .collect();
    bad.sort();
    assert!(bad.len() > 20, "{bad:?}");
    let before = story.agent.status_kb("VmHWM");
    for (number, path) in bad.iter().enumerate() {
        let mut client = story.connect();
        // What came whole before the mistake stays.
        client.line(WEB, &line(2 * number)).unwrap();
        // The agent may close before it has read everything.
        let _ = client.send(&fs::read(path).unwrap());
        if let ForwardClient::Unix(stream) = &client {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let _ = client.until_closed();
        good.line(WEB, &line(2 * number + 1)).unwrap();
        story.agent.wait_for_metrics(SOON, &format!("{} to be counted", path.display()), |metrics| {
            metrics.sum("pillion_logs_forward_errors_total", &[]) >= number as f64 + 1.0
        });
    }
    // Two of them hold whole records before the mistake, three in all.
    story.settled(2 * bad.len() as u64 + 3);
    let mut lines = story.web_lines();
    lines.sort();
    assert_eq!(lines, (0..2 * bad.len()).map(line).collect::<Vec<_>>());
    let total = story.agent.metrics().sum("pillion_logs_forward_errors_total", &[]);
    assert_eq!(total, bad.len() as f64, "one error each");
    for kind in ["not_a_message", "msgpack", "tag", "time", "record", "entry", "option", "compression", "truncated"] {
        assert!(errors(&story, kind) > 0.0, "none was of the kind {kind}");
    }
    let grown = story.agent.status_kb("VmHWM") - before;
    assert!(grown < 24 * 1_024, "grew by {grown} KiB");
    story.end();
}

/// Lengths that lie, nesting without end, and a little gzip that is a lot: memory follows the bytes that came.
#[test]
fn bombs_cost_their_sender_the_connection_and_us_no_memory() {
    let story = Story::begin("");
    story.send_lines(0..10);
    story.settled(10);
    let before = story.agent.status_kb("VmHWM");
    let head = [0x92, 0xa1, b't'];
    let mut zeroes = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        zeroes.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let zeroes = zeroes.finish().unwrap();
    let gzip = Options { compressed: Some("gzip"), chunk: Some("never"), ..Options::default() };
    let bombs = [
        [&head[..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat(),
        [&head[..], &[0xc6, 0xff, 0xff, 0xff, 0xff]].concat(),
        [&[0x93, 0xa1, b't', 5][..], &[0xdf, 0xff, 0xff, 0xff, 0xff]].concat(),
        [&[0x93, 0xa1, b't', 5, 0x81, 0xa1, b'a'][..], &vec![0x91; 1 << 20]].concat(),
        packed("t", &zeroes, Some(&gzip)),
        vec![0xdb; 1 << 20],
    ];
    for bomb in bombs {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let mut client = story.connect();
                // It is closed when it has said enough.
                let _ = client.send(&bomb);
                if let ForwardClient::Unix(stream) = &client {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
                client
            })
            .collect();
        for mut client in clients {
            let answer = client.until_closed().unwrap_or_default();
            assert!(answer.is_empty(), "an acknowledgement of nothing");
        }
    }
    let grown = story.agent.status_kb("VmHWM") - before;
    assert!(grown < 24 * 1_024, "grew by {grown} KiB");
    assert_eq!(story.settled(10).delivered, 10);
    story.end();
}

/// T25: an app that is killed in the middle of a line.
#[test]
fn a_message_that_breaks_off_is_counted_and_what_was_whole_stays() {
    let story = Story::begin("");
    let whole = message(WEB, Time::now(), &[("log", b"line 000000")], None);
    for cut in 1..=3 {
        let mut client = story.connect();
        client.send(&[&whole[..], &whole[..whole.len() - cut * 5]].concat()).unwrap();
        drop(client);
        story.accepted(cut as u64);
    }
    story.agent.wait_for_metrics(SOON, "three truncated messages", |metrics| {
        metrics.sum("pillion_logs_forward_errors_total", &[("kind", "truncated")]) == 3.0
    });
    assert_eq!(story.settled(3).delivered, 3);
    // All three are the same line at the same time, which the fake cannot tell from a duplicate.
    story.end_with_duplicate_texts();
}

/// T28: more connections than there are places. Those beyond wait in the kernel, and none is closed.
#[test]
fn of_two_thousand_connections_each_is_heard() {
    const ALL: usize = 2_000;
    const PLACES: usize = 1_024;
    let story = Story::begin("");
    let socket = story.agent.socket();
    let (give, connections) = mpsc::sync_channel(ALL);
    let opener = thread::spawn(move || {
        for number in 0..ALL {
            // Blocks while the kernel's queue is full.
            let mut client = ForwardClient::unix(&socket).unwrap();
            client.line(WEB, &line(number)).unwrap();
            give.send(client).unwrap();
        }
    });
    wait::until(SOON, || format!("{PLACES} open, not {}", opened(&story)), || opened(&story) >= PLACES as f64);
    story.accepted(PLACES as u64);
    assert!(opened(&story) <= PLACES as f64);
    let idle = story.agent.status_kb("VmHWM");
    for mut client in connections {
        // Before it goes, each one says that it was never closed.
        client.line(WEB, "bye").unwrap();
    }
    opener.join().unwrap();
    let total = story.settled(2 * ALL as u64);
    assert_eq!(total.delivered, 2 * ALL as u64);
    let mut counts = BTreeMap::new();
    for text in logs(&story.aws, "bench", WEB_STREAM) {
        *counts.entry(text).or_insert(0) += 1;
    }
    assert_eq!(counts.remove("bye"), Some(ALL));
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), (0..ALL).map(|number| (line(number), 1)).collect::<Vec<_>>());
    wait::until(SOON, || "all to be closed".to_owned(), || opened(&story) == 0.0);
    assert!(idle < 80 * 1_024, "{idle} KiB");
    story.end_with_duplicate_texts();
}

/// T28: no file descriptor left. Those who are connected go on, and the others come when there is room.
#[test]
fn without_file_descriptors_nobody_who_is_connected_suffers() {
    let aws = FakeAws::start();
    let setup = Setup::cloudwatch(aws.port(), "");
    let setup = setup.by(&["/bin/sh", "-c", "ulimit -n 40; exec \"$0\" \"$@\"", "{pillion}"]);
    let story = Story::with(aws, &setup);
    let mut first = story.connect();
    first.line(WEB, &line(0)).unwrap();
    story.settled(1);
    let mut crowd: Vec<_> = (0..60).map(|_| story.connect()).collect();
    wait::until(
        SOON,
        || format!("a complaint\n{}", story.agent.log()),
        || story.agent.log().contains("a connection could not be accepted"),
    );
    first.line(WEB, &line(1)).unwrap();
    crowd.truncate(10);
    first.line(WEB, &line(2)).unwrap();
    for (number, client) in crowd.iter_mut().enumerate() {
        client.line(WEB, &line(3 + number)).unwrap();
    }
    story.settled(13);
    let mut lines = story.web_lines();
    lines.sort();
    assert_eq!(lines, (0..13).map(line).collect::<Vec<_>>());
    drop(crowd);
    story.end();
}
