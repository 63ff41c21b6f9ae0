//! What must hold of any bytes that a client sends as its PING.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use std::collections::BTreeMap;

use pillion::logs::{
    forward::{
        handshake::{Handshake, PING_BYTES_MAX},
        types::{Ack, Forward, Helo, Message, PackedForward, Ping, Pong},
    },
    settings,
};

/// Nobody comes in without the key, everybody gets an answer, and what is read is written and read again.
pub(crate) fn check(bytes: &[u8]) {
    let user = settings::User { name: "alice".to_owned(), password: settings::Secret::new("wonderland".to_owned()) };
    let key = Some(settings::Secret::new("s3cr3t-key".to_owned()));
    let settings = settings::Forward { shared_key: key, users: vec![user], ..settings::Forward::default() };
    let (handshake, helo) = Handshake::new(&settings, [1; 16], [2; 16]);
    rmp_serde::from_slice::<Helo>(&helo).expect("our HELO");
    let (pong, outcome) = handshake.ping(bytes);
    let pong: Pong = rmp_serde::from_slice(&pong).expect("our PONG");
    assert!(outcome.is_err() && !pong.accepted && pong.digest.is_empty(), "nobody guesses SHA-512");
    if let Ok(ping) = rmp_serde::from_slice::<Ping>(bytes) {
        let again = rmp_serde::to_vec(&ping).expect("encodes");
        assert_eq!(rmp_serde::from_slice::<Ping>(&again).expect("decodes"), ping);
    }
    if bytes.len() <= PING_BYTES_MAX {
        let _ = rmp_serde::from_slice::<Helo>(bytes);
        let _ = rmp_serde::from_slice::<Pong>(bytes);
        let _ = rmp_serde::from_slice::<Ack>(bytes);
        let _ = rmp_serde::from_slice::<PackedForward>(bytes);
        let _ = rmp_serde::from_slice::<Message<BTreeMap<String, String>>>(bytes);
        let _ = rmp_serde::from_slice::<Forward<BTreeMap<String, String>>>(bytes);
    }
}
