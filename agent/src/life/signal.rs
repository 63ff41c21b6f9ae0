//! SIGTERM and SIGINT, also as process 1 of a container, where a signal without a handler is ignored; and SIGHUP, which would end any
//! other process.
//!
//! Promises: once [`Signals::install`] has returned, no signal is missed; SIGHUP, by which other routers read their configuration
//! again, is told and changes nothing, unless it says that our terminal was closed.
//! Never: decides what a request to stop means; `cli::run` does.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// The signals that ask us to stop.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    has_terminal: bool,
}

impl Signals {
    /// Installs the handlers. Needs a running runtime.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            // Of one that was closed nothing can be asked any more.
            has_terminal: io::stdin().is_terminal(),
        })
    }

    /// Waits for the next request to stop and names it.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    if self.has_terminal {
                        return "SIGHUP";
                    }
                    warn!("SIGHUP changes nothing: there is no reload; a new configuration is a new task");
                }
            }
        }
    }
}
