//! What a connection answers: `{"ack": chunk}` for each message that asks for it.
//!
//! Promises: an answer is written whole or not at all; one that waits for the disk or the service is written as soon as it may
//! be, whatever the connection does meanwhile, and never after a record of its message was lost.
//! Never: keeps a peer that does not read its answers.

use std::{
    future::{Future, pending},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{super::Meters, End, write_all};
use crate::{
    deliver::ack::{Ack, AckLevel},
    net::listen::Polled,
};

/// How long a peer may take to read our acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// The answers of one connection.
#[derive(Debug)]
pub(super) struct Answers {
    level: AckLevel,
    /// May be written.
    pub(super) ready: Vec<u8>,
    late: Arc<Late>,
}

/// Answers that wait for their records. Those who have the records give them.
#[derive(Debug, Default)]
struct Late {
    ready: Mutex<Vec<u8>>,
    waiting: AtomicUsize,
    wake: Notify,
}

impl Late {
    fn ready(&self) -> MutexGuard<'_, Vec<u8>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// None yet.
    pub(super) fn new(level: AckLevel) -> Self {
        Self { level, ready: Vec::new(), late: Arc::default() }
    }

    /// The message `chunk` was accepted. That is answered, if it is enough.
    pub(super) fn accepted(&mut self, chunk: &[u8]) {
        if self.level == AckLevel::Accepted {
            put_ack(&mut self.ready, chunk);
        }
    }

    /// What the records of message `chunk` must hold, if acceptance is not enough and the sender asks at all.
    pub(super) fn later(&self, chunk: Option<&[u8]>, meters: &Meters) -> Option<Arc<Ack>> {
        let chunk = chunk.filter(|_| self.level != AckLevel::Accepted)?;
        let mut answer = Vec::new();
        put_ack(&mut answer, chunk);
        let (late, withheld) = (Arc::downgrade(&self.late), meters.withheld.clone());
        self.late.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Ack::new(self.level, answer.capacity(), move |kept| {
            if !kept {
                withheld.inc();
            }
            // A connection that ended asks no more.
            let Some(late) = late.upgrade() else { return };
            if kept {
                late.ready().extend(answer);
            }
            late.waiting.fetch_sub(1, Ordering::Relaxed);
            late.wake.notify_one();
        })))
    }

    /// True if an answer waits for its records.
    pub(super) fn wait(&self) -> bool {
        self.late.waiting.load(Ordering::Relaxed) > 0
    }

    /// True if there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && (self.level == AckLevel::Accepted || self.late.ready().is_empty())
    }

    /// Completes when an answer that waited was given or taken back. Never while none waits.
    pub(super) fn given(&self) -> impl Future<Output = ()> + use<> {
        let late = self.wait().then(|| Arc::clone(&self.late));
        async move {
            match late {
                Some(late) => late.wake.notified().await,
                None => pending().await,
            }
        }
    }

    /// Writes what may be written. A peer that does not read it is closed: it would not see it anyway.
    pub(super) async fn send(&mut self, polled: &mut Polled, closing: &CancellationToken) -> Result<(), End> {
        if self.level != AckLevel::Accepted {
            self.ready.append(&mut self.late.ready());
        }
        if self.ready.is_empty() {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.ready);
        tokio::select! {
            biased;
            written = write_all(polled, &answers, ACK_TIMEOUT) => written,
            () = closing.cancelled() => Err(End::Closed),
        }
    }
}

/// `{"ack": chunk}`.
pub(super) fn put_ack(acks: &mut Vec<u8>, chunk: &[u8]) {
    acks.extend_from_slice(b"\x81\xa3ack");
    match chunk.len() {
        length @ ..=31 => acks.push(0xa0 | length as u8),
        length @ ..=0xff => acks.extend([0xd9, length as u8]),
        length => {
            acks.push(0xdb);
            acks.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    acks.extend_from_slice(chunk);
}
