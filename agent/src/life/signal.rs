//! SIGTERM and SIGINT, also as process 1 of a container, where a signal without a handler is ignored.
//!
//! Promises: once [`Signals::install`] has returned, no signal is missed.
//! Never: decides what a signal means; `cli::run` does.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask us to stop.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a running runtime.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next request to stop and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
