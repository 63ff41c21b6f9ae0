//! Takes what SDKs send to the X-Ray daemon's UDP port. All datagrams of a burst are appended under one lock.
//!
//! Promises: a datagram that is wrong is counted and harms no other.
//! Never: waits for anything but datagrams.

use std::{net::SocketAddr, time::Duration};

use prometheus::{IntCounter, IntCounterVec};
use tokio::time::Instant;
use tracing::warn;

use super::{
    header::document,
    out::{Appender, Sink},
};
use crate::{
    net::burst::Bursts,
    tell::{RateLimited, counters::Counters},
};

/// A warning of one kind, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Reads one socket.
pub struct Reader {
    bursts: Bursts,
    sinks: Vec<Sink>,
    received: IntCounter,
    rejected: IntCounterVec,
    warned: RateLimited,
}

impl Reader {
    /// Appends the documents that come in `bursts` to each of `sinks`.
    pub fn new(bursts: Bursts, sinks: Vec<Sink>, counters: &Counters) -> Self {
        Self {
            bursts,
            sinks,
            received: counters.traces.received.clone(),
            rejected: counters.traces.rejected.clone(),
            warned: RateLimited::new(WARN_EVERY),
        }
    }

    /// Reads until the agent stops and nothing comes any more. Blocks: it wants a thread of its own.
    pub fn read(&self) {
        self.bursts.read(|burst| {
            let mut appenders: Vec<Appender<'_>> = self.sinks.iter().map(Sink::appender).collect();
            while let Some((datagram, source)) = burst.datagram_and_source() {
                self.append(datagram, source, &mut appenders);
            }
        });
    }

    fn append(&self, datagram: &[u8], source: Option<SocketAddr>, appenders: &mut [Appender<'_>]) {
        if datagram.is_empty() {
            return;
        }
        self.received.inc();
        match document(datagram) {
            Ok(document) => appenders.iter_mut().for_each(|appender| appender.append(document, source)),
            Err(rejected) => {
                self.rejected.with_label_values(&[rejected.label()]).inc();
                if let Some(suppressed) = self.warned.allow(Instant::now()) {
                    let why = rejected.label();
                    warn!(why, suppressed, "a datagram is no segment as the X-Ray daemon takes them");
                }
            }
        }
    }
}
