//! The handshake on a connection, before its first message.
//!
//! Promises: a peer that is silent or talks too much is let go after a bounded time and number of bytes; what it sent
//! right behind its PING is not lost.
//! Never: says which of key, user and password was wrong to more than the counter.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{End, Session, write_all};
use crate::{
    logs::{
        forward::{
            frame::Malformed,
            handshake::{Handshake, NONCE_BYTES, PING_BYTES_MAX},
        },
        msgpack::{Broken, Walk},
    },
    net::listen::Polled,
};

/// How long a peer may take to answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Session {
    /// Says HELO, hears PING, says PONG. What the peer sent after its PING stays in the tail.
    pub(super) async fn shake_hands(&mut self, polled: &mut Polled) -> Result<(), End> {
        let context = Arc::clone(&self.context);
        let Some(settings) = &context.settings.handshake else { return Ok(()) };
        let (handshake, helo) = Handshake::new(settings, random()?, random()?);
        write_all(polled, &helo, HANDSHAKE_TIMEOUT).await?;
        let ping = timeout(HANDSHAKE_TIMEOUT, self.hear_ping(polled)).await.map_err(|_| Malformed::Handshake)??;
        let (pong, outcome) = handshake.ping(&ping);
        write_all(polled, &pong, HANDSHAKE_TIMEOUT).await?;
        if let Err(denied) = outcome {
            context.meters.broken(denied.label());
            return Err(End::Closed);
        }
        let mut after = std::mem::take(&mut self.tail);
        let taken = self.take_masked(&mut after)?;
        self.tail.extend_from_slice(&after[taken..]);
        Ok(())
    }

    async fn hear_ping(&mut self, polled: &mut Polled) -> Result<Vec<u8>, End> {
        let mut walk = Walk::default();
        loop {
            match walk.advance(&self.tail) {
                Ok(()) => {
                    let after = self.tail.split_off(walk.position);
                    return Ok(std::mem::replace(&mut self.tail, after));
                }
                Err(Broken::Short) if walk.needs <= PING_BYTES_MAX => {}
                Err(_) => return Err(Malformed::Handshake.into()),
            }
            let mut bytes = [0; 1_024];
            match poll_fn(|cx| polled.poll_read(cx, &mut bytes)).await? {
                0 => return Err(End::Closed),
                read => self.tail.extend_from_slice(&bytes[..read]),
            }
        }
    }
}

/// Bytes that nobody can guess.
fn random() -> Result<[u8; NONCE_BYTES], Malformed> {
    let mut bytes = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Malformed::Handshake)?;
    Ok(bytes)
}
