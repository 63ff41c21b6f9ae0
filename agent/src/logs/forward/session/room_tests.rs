//! Tests of how many large messages that are not whole may wait at once.
//!
//! Promises: real socket pairs.
//! Never: sleeps.

use std::os::unix::net::UnixStream;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::{deliver::books::Books, limits::PARTIAL_MESSAGES_MAX, logs::settings, tell::counters::Counters};

fn context() -> Arc<Context> {
    let counters = Counters::new();
    Arc::new(Context {
        settings: Settings::from(&settings::Forward::default()),
        router: Arc::new(Router::new(Vec::new(), Vec::new(), Books::default(), counters.clone())),
        masks: Masks::new(&counters),
        meters: Meters::new(&counters, "forward.0"),
        buffers: Arc::default(),
        partials: Arc::default(),
        stopping: CancellationToken::new(),
        closing: CancellationToken::new(),
    })
}

/// A connection to a session of its own.
fn connect(context: &Arc<Context>) -> tokio::net::UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    for socket in [&ours, &theirs] {
        socket.set_nonblocking(true).expect("does not block");
    }
    crate::life::Life::default().spawn("session", Session::serve(Arc::clone(context), Socket::Unix(ours)));
    tokio::net::UnixStream::from_std(theirs).expect("is watched")
}

/// One record with `length` bytes of text.
fn message(length: u32) -> Vec<u8> {
    let text = vec![b'x'; length as usize];
    [&b"\x93\xa3app\x01\x81\xa3log\xdb"[..], &length.to_be_bytes(), &text].concat()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// A thousand connections in the middle of large messages would hold six gigabytes.
#[tokio::test]
async fn large_messages_wait_until_there_is_room_and_small_ones_do_not() {
    let context = context();
    let large = message(200_000);
    let mut halves = Vec::new();
    for _ in 0..PARTIAL_MESSAGES_MAX {
        let mut peer = connect(&context);
        peer.write_all(&large[..100_000]).await.expect("takes it");
        halves.push(peer);
    }
    until("all rooms are taken", || context.partials.free() == 0).await;
    let mut next = connect(&context);
    next.write_all(&large[..150_000]).await.expect("takes it");
    until("the next waits", || context.partials.waiting() == 1).await;
    let mut small = connect(&context);
    small.write_all(&message(20_000)).await.expect("takes it");
    until("a small one is read", || context.meters.records.get() == 1).await;
    halves[0].write_all(&large[100_000..]).await.expect("takes it");
    next.write_all(&large[150_000..]).await.expect("takes it");
    until("both are read", || context.meters.records.get() == 3).await;
    drop(halves);
    until("all rooms are free", || context.partials.free() == PARTIAL_MESSAGES_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_in_the_middle_of_a_large_message_is_gone_in_time() {
    let context = context();
    let mut peer = connect(&context);
    peer.write_all(&message(200_000)[..100_000]).await.expect("takes it");
    peer.readable().await.expect("ends");
    assert_eq!(peer.try_read(&mut [0]).expect("is at its end"), 0);
    assert_eq!(context.meters.errors("truncated"), 1);
    assert_eq!(context.partials.free(), PARTIAL_MESSAGES_MAX);
}
