//! Who takes what comes.
//!
//! Promises: a job that takes a signal needs to know nothing of connections, protocols and compression.
//! Never: names a job.

use std::sync::Arc;

use super::walk::Signal;
use crate::deliver::ack::{Ack, AckLevel};

/// Takes the requests of one signal.
pub trait Taker: Send + Sync {
    /// Takes a whole request of so many `items`, which was counted and may be joined with others. What is to wait for more than
    /// memory holds the `ack`. Never waits.
    fn take(&self, request: &[u8], items: usize, ack: Option<&Arc<Ack>>) -> Taken;
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on the books.
    Kept,
    /// There is no memory for it now, and the sender has.
    Busy,
}

/// Who takes which signal. A signal that nobody takes is refused.
#[derive(Clone, Default)]
pub struct Takers {
    /// Spans.
    pub traces: Option<Arc<dyn Taker>>,
    /// Records.
    pub logs: Option<Arc<dyn Taker>>,
    /// Metrics.
    pub metrics: Option<Arc<dyn Taker>>,
}

impl Takers {
    pub(super) fn of(&self, signal: Signal) -> Option<&Arc<dyn Taker>> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
        }
    }
}

/// How an input takes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of a request, as it comes and decompressed.
    pub request_bytes_max: usize,
    /// What an answer says.
    pub ack: AckLevel,
    /// Connections at a time.
    pub connections_max: usize,
}
