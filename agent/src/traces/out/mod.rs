//! The destinations of segments, one file each.
//!
//! Promises: adding one touches its own file, its settings' variant, the enums here, and the wiring.
//! Never: queues, retries or counts; `deliver` does.

pub mod xray;

use std::sync::Arc;

use crate::deliver::{
    books::{Account, Lost},
    lane::Appending,
};

/// An output of any kind.
pub enum Sink {
    /// AWS X-Ray.
    Xray(xray::Sink),
    /// One that cannot work here: what goes there is lost, and counted.
    Nowhere(Arc<Account>),
}

/// Appends what came together.
pub enum Appender<'a> {
    /// To AWS X-Ray.
    Xray(Appending<'a, xray::XRay>),
    /// Counts it.
    Nowhere(Counting<'a>),
}

/// Counts documents that go nowhere, and books them at the end.
pub struct Counting<'a> {
    account: &'a Arc<Account>,
    documents: u32,
}

impl Sink {
    /// Begins to append.
    pub fn appender(&self) -> Appender<'_> {
        match self {
            Self::Xray(sink) => Appender::Xray(sink.appending()),
            Self::Nowhere(account) => Appender::Nowhere(Counting { account, documents: 0 }),
        }
    }
}

impl Appender<'_> {
    /// Appends one document.
    pub fn append(&mut self, document: &[u8]) {
        match self {
            Self::Xray(appending) => xray::append(appending, document),
            Self::Nowhere(counting) => counting.documents += 1,
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.account.accept(self.documents).lost(self.documents, Lost::OutputUnusable);
    }
}
