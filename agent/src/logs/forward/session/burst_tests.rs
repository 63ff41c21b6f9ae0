//! Bursts over real socket pairs: whatever comes, and however it is cut, nothing of it is lost by being put aside.
//!
//! Promises: the bytes go through [`Session::read_burst`], which the tests assert.
//! Never: proves how fast it is; the bench does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    super::{frame::Malformed, gather::Brought},
    tests::Rig,
    *,
};
use crate::limits::PARTIAL_MESSAGES_MAX as ROOMS;

/// A message of Docker's form with `length` bytes of text, and perhaps an id to be answered.
fn message(length: usize, chunk: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![0x94];
    rmp::encode::write_str(&mut bytes, "app-firelens-1").expect("a Vec takes all");
    bytes.extend(b"\xd7\x00\x65\x53\xf1\x00\x07\x5b\xcd\x15\x81\xa3log");
    rmp::encode::write_str(&mut bytes, &"x".repeat(length)).expect("a Vec takes all");
    match chunk {
        None => bytes.push(0x80),
        Some(id) => {
            bytes.extend(b"\x81\xa5chunk");
            rmp::encode::write_str(&mut bytes, id).expect("a Vec takes all");
        }
    }
    bytes
}

/// A session in the middle of a burst, with our end of its connection.
fn session(rig: &Rig) -> (Session, Socket, tokio::net::UnixStream) {
    let mut session = rig.session();
    for _ in 0..100 {
        let _ = session.gather.in_poll(Brought { bytes: 424, messages: 1 }, Duration::from_micros(10));
    }
    assert!(session.gather.is_burst() && session.gather.is_young());
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    for socket in [&ours, &theirs] {
        socket.set_nonblocking(true).expect("does not block");
    }
    (session, Socket::Unix(theirs), tokio::net::UnixStream::from_std(ours).expect("is watched"))
}

/// Messages of all sizes, one of them larger than a piece and than a read, cut in many ways, and then the end.
#[tokio::test(start_paused = true)]
async fn a_burst_is_read_whole_however_it_is_cut() {
    let mut stream = Vec::new();
    let mut messages = 0;
    for length in (0..300).chain([300_000]).chain((0..600).map(|n| n * 13 % 700)) {
        stream.extend(message(length, None));
        messages += 1;
    }
    for cut in [1, 7, 97, 424, 5_000, 70_000, stream.len()] {
        let stream = if cut == 1 { &stream[..40_000] } else { &stream[..] };
        let rig = Rig::new();
        let (mut session, socket, mut peer) = session(&rig);
        let write = async {
            for piece in stream.chunks(cut) {
                peer.write_all(piece).await.expect("takes it");
            }
            drop(peer);
        };
        let read = async {
            while session.read_burst(&socket).await.is_ok() {
                // The beginning of a large message is for the other way of reading.
                let _ = session.read(|buffer| match socket.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                    read => Poll::Ready(read),
                });
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(write, read);
        assert_eq!(rig.context.meters.bytes.get(), stream.len() as u64, "cut as {cut}");
        if cut > 1 {
            assert_eq!((rig.records(), session.tail.len()), (messages, 0), "cut as {cut}");
        }
        assert_eq!(rig.context.partials.free(), ROOMS);
    }
}

/// What came whole before a malformed message stays, and is answered.
#[tokio::test(start_paused = true)]
async fn a_malformed_message_in_a_burst_ends_it_after_what_came_before() {
    let rig = Rig::new();
    let (mut session, socket, mut peer) = session(&rig);
    peer.write_all(&[message(10, None), message(20, Some("id")), b"GET /".to_vec()].concat()).await.expect("takes it");
    let end = session.read_burst(&socket).await;
    assert!(matches!(end, Err(End::Malformed(Malformed::NotAMessage))), "{end:?}");
    assert_eq!((rig.records(), session.tail.len()), (2, 0));
    let mut polled = socket.polled().expect("is watched");
    session.answers.send(&mut polled, &rig.context.closing).await.expect("takes it");
    let mut answer = [0; 8];
    peer.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"\x81\xa3ack\xa2id");
}

/// A burst ends when nothing comes, with the beginning of a message kept, and another has the room.
#[tokio::test(start_paused = true)]
async fn a_burst_that_pauses_is_looked_at_in_time() {
    let rig = Rig::new();
    let (mut session, socket, mut peer) = session(&rig);
    let whole = message(100, None);
    peer.write_all(&[&whole[..], &whole[..50]].concat()).await.expect("takes it");
    let begun = Instant::now();
    session.read_burst(&socket).await.expect("goes on");
    assert!(begun.elapsed() <= Duration::from_millis(21), "{:?}", begun.elapsed());
    assert_eq!((rig.records(), session.tail.len()), (1, 50));
    peer.write_all(&whole[50..]).await.expect("takes it");
    session.read_burst(&socket).await.expect("goes on");
    assert_eq!((rig.records(), session.tail.len()), (2, 0));
}

/// Without a room nothing is put aside: a thousand bursts at once would hold gigabytes.
#[tokio::test(start_paused = true)]
async fn without_room_nothing_is_put_aside() {
    let rig = Rig::new();
    let (mut session, socket, mut peer) = session(&rig);
    let rooms: Vec<_> = (0..ROOMS).map_while(|_| rig.context.partials.try_room()).collect();
    peer.write_all(&message(100, None)).await.expect("takes it");
    session.read_burst(&socket).await.expect("goes on");
    assert_eq!(rig.context.meters.bytes.get(), 0);
    drop(rooms);
    session.read_burst(&socket).await.expect("goes on");
    assert_eq!(rig.records(), 1);
}
