//! Acknowledgements that wait, over real socket pairs, before an output whose engine runs when the test says so.
//!
//! Promises: what the peer reads is compared to the byte with what was settled by then.
//! Never: shows when records are settled; the engine's tests do.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

use super::{answers::put_ack, tests::Rig, *};
use crate::{
    deliver::{Engine, Rules, ack::AckLevel, budget::Budget, deliver},
    logs::{
        out::{Sink, file},
        settings,
    },
    tell::counters::Counters,
};

/// A message with one record, which asks to be answered.
fn message(chunk: &str) -> Vec<u8> {
    let mut bytes = b"\x94\xa1t\x01\x81\xa3log\xa4text\x81\xa5chunk".to_vec();
    rmp::encode::write_str(&mut bytes, chunk).expect("a Vec takes all");
    bytes
}

fn answers(chunks: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunks.iter().for_each(|chunk| put_ack(&mut bytes, chunk.as_bytes()));
    bytes
}

/// Sessions before an output of files, and its engine, which does not run yet.
fn rig(folder: &tempfile::TempDir) -> (Rig, Engine) {
    let config: file::Config =
        serde_json::from_value(serde_json::json!({ "folder": folder.path() })).expect("a configuration");
    let (budget, counters) = (Budget::new(1 << 20, 1), Counters::new());
    let folder = Arc::new(file::Folder::new(&config));
    let (output, engine) = deliver("out", folder, Rules::default(), &budget, &counters);
    let forward = settings::Forward { ack: AckLevel::Delivered, ..settings::Forward::default() };
    (Rig::to(&forward, Sink::File(file::Sink::new(output))), engine)
}

/// What the peer can read now.
fn read_now(peer: &UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 1_024];
    let read = peer.try_read(&mut bytes).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

/// Nothing is said before the records are delivered, everything after, and the connection reads on meanwhile.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test has no Life")]
async fn a_message_is_answered_when_it_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, engine) = rig(&folder);
    let (mut peer, served) = rig.connect();
    peer.write_all(&message("one")).await.expect("writes");
    rig.has_read(message("one").len()).await;
    let rest = [message("two"), message("three")].concat();
    peer.write_all(&rest).await.expect("writes");
    rig.has_read(message("one").len() + rest.len()).await;
    sleep(Duration::from_secs(60)).await;
    assert!(read_now(&peer).is_empty());
    tokio::spawn(engine.run(CancellationToken::new(), CancellationToken::new()));
    let mut answer = vec![0; answers(&["one", "two", "three"]).len()];
    peer.read_exact(&mut answer).await.expect("answers");
    assert_eq!(answer, answers(&["one", "two", "three"]));
    // And again, on the same connection.
    peer.write_all(&message("four")).await.expect("writes");
    let mut answer = vec![0; answers(&["four"]).len()];
    peer.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, answers(&["four"]));
    drop(peer);
    served.await.expect("no panic");
}

/// What is lost is not answered, and counted; the connection is kept.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_lost_is_not_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, engine) = rig(&folder);
    let (mut peer, served) = rig.connect();
    peer.write_all(&message("one")).await.expect("writes");
    rig.has_read(message("one").len()).await;
    let abandoned = CancellationToken::new();
    abandoned.cancel();
    engine.run(CancellationToken::new(), abandoned).await;
    sleep(Duration::from_secs(60)).await;
    assert!(read_now(&peer).is_empty() && !served.is_finished());
    assert_eq!(rig.context.meters.withheld.get(), 1);
}

/// A message that is not whole is not answered, although what came before the damage is on its way.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test has no Life")]
async fn a_message_that_is_malformed_is_not_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, engine) = rig(&folder);
    let (mut peer, served) = rig.connect();
    peer.write_all(b"\x93\xa1t\x92\x92\x01\x80\x92\x01\x05\x81\xa5chunk\xa3one").await.expect("writes");
    tokio::spawn(engine.run(CancellationToken::new(), CancellationToken::new()));
    served.await.expect("no panic");
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("the end");
    assert!(answer.is_empty(), "{answer:?}");
    assert_eq!(rig.context.meters.records.get(), 1);
}

/// While the agent stops, a peer that waits for its answer is quiet, and is kept until it has it.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test has no Life")]
async fn who_waits_for_an_answer_is_not_closed_for_being_quiet() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rig, engine) = rig(&folder);
    let (mut peer, served) = rig.connect();
    peer.write_all(&message("one")).await.expect("writes");
    rig.has_read(message("one").len()).await;
    rig.context.stopping.cancel();
    sleep(10 * QUIET).await;
    assert!(!served.is_finished());
    tokio::spawn(engine.run(CancellationToken::new(), CancellationToken::new()));
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("the end");
    assert_eq!(answer, answers(&["one"]));
    served.await.expect("no panic");
}
