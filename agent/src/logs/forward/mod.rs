//! Fluent Forward: the protocol of Docker's `fluentd` log driver and of the fluent-logger libraries.
//!
//! A connection's way: [`net::listen`](crate::net::listen) accepts it, [`session`] reads it when [`gather`] says so,
//! [`frame`] finds messages and reads them in place, and the [`Router`](super::route::Router) sends their records on.
//!
//! Promises: reads as fast as the sender writes, closes no connection because it is busy, and ends a connection at its
//! first malformed message, keeping what came whole before.
//! Never: waits for a destination.

pub mod frame;
pub mod gather;
pub mod handshake;
mod inflate;
pub mod session;
pub mod types;
pub mod usual;

use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::settings;
use crate::{
    deliver::ack::AckLevel,
    limits::{FORWARD_MESSAGE_BYTES_MAX, FORWARD_READ_BYTES, PARTIAL_BYTES_FREE},
    tell::counters::Counters,
};
use frame::Malformed;
use handshake::Handshake;

/// What a listener does with what it reads.
#[derive(Debug)]
pub struct Settings {
    /// The tag of all records, in place of their own.
    pub tag: Option<String>,
    /// Text before each record's tag.
    pub tag_prefix: Option<String>,
    /// The largest message, in bytes, before and after decompression.
    pub message_bytes_max: usize,
    /// What an acknowledgement says.
    pub ack: AckLevel,
    /// Who must prove what, if anyone.
    pub handshake: Option<settings::Forward>,
}

impl From<&settings::Forward> for Settings {
    fn from(forward: &settings::Forward) -> Self {
        let message_bytes_max = forward.message_bytes_max.and_then(|size| usize::try_from(size.0).ok());
        Self {
            tag: forward.tag.clone(),
            tag_prefix: forward.tag_prefix.clone(),
            message_bytes_max: message_bytes_max.unwrap_or(FORWARD_MESSAGE_BYTES_MAX),
            ack: forward.ack,
            handshake: Handshake::is_needed(forward).then(|| forward.clone()),
        }
    }
}

/// Counters of one listener.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Records read.
    pub records: IntCounter,
    /// Bytes read.
    pub bytes: IntCounter,
    opened: IntCounter,
    open: IntGauge,
    errors: IntCounterVec,
    /// Acknowledgements that were not given, because a record of the message was lost.
    withheld: IntCounter,
}

/// A connection that is counted as open until this is dropped.
#[derive(Debug)]
pub struct Opened(IntGauge);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meters {
    /// The counters of the listener called `input`.
    pub fn new(counters: &Counters, input: &str) -> Self {
        Self {
            records: counters.logs_received_records.with_label_values(&[input]),
            bytes: counters.logs_received_bytes.with_label_values(&[input]),
            opened: counters.logs_connections_opened.with_label_values(&[input]),
            open: counters.logs_connections_open.with_label_values(&[input]),
            errors: counters.logs_forward_errors.clone(),
            withheld: counters.logs_withheld_acks.with_label_values(&[input]),
        }
    }

    /// A connection was opened. Hold what is returned for as long as it is.
    #[must_use = "dropping it counts the connection as closed"]
    pub fn opened(&self) -> Opened {
        self.opened.inc();
        self.open.inc();
        Opened(self.open.clone())
    }

    /// A connection ended, or a message was passed over, because it was malformed.
    pub fn malformed(&self, malformed: Malformed) {
        self.broken(malformed.label());
    }

    /// How often something of this `kind` was not understood.
    #[cfg(test)]
    pub(crate) fn errors(&self, kind: &str) -> u64 {
        self.errors.with_label_values(&[kind]).get()
    }

    /// Something of this `kind` was not understood.
    pub fn broken(&self, kind: &'static str) {
        self.errors.with_label_values(&[kind]).inc();
    }
}

/// Buffers to read into, shared by all connections: one that is idle holds none.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Buffers kept for the next reader. More are in use only while more threads read at once.
    const KEPT: usize = 2;

    /// A buffer for one read and the beginning of a message before it. Its content is of no interest.
    pub fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; PARTIAL_BYTES_FREE + FORWARD_READ_BYTES])
    }

    /// Returns a buffer. One that has grown is not kept.
    pub fn give_back(&self, buffer: Vec<u8>) {
        if buffer.len() > PARTIAL_BYTES_FREE + FORWARD_READ_BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}
