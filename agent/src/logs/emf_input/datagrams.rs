//! Documents that come as datagrams.
//!
//! Promises: as [`Bursts`] has it: an error of the socket never ends the reading, and what the kernel drops is counted.
//! Never: waits for anything but datagrams.

use std::sync::Arc;

use super::Input;
use crate::{logs::record::EventTime, net::burst::Bursts};

/// Reads one socket.
pub struct Reader {
    bursts: Bursts,
    input: Arc<Input>,
}

impl Reader {
    /// Takes what comes in `bursts` for `input`.
    pub fn new(bursts: Bursts, input: Arc<Input>) -> Self {
        Self { bursts, input }
    }

    /// Reads until the agent stops and nothing comes any more. Blocks: it wants a thread of its own.
    pub fn read(&self) {
        let mut taking = self.input.taking();
        self.bursts.read(|burst| {
            let (now, mut pass) = (EventTime::now(), self.input.route.begin());
            while let Some(datagram) = burst.datagram() {
                self.input.meters.bytes.inc_by(datagram.len() as u64);
                for line in datagram.split(|byte| *byte == b'\n') {
                    taking.take(line, &mut pass, now);
                }
            }
            self.input.meters.records.inc_by(pass.records());
        });
    }
}
