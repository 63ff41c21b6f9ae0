//! Where metrics go: one destination per file.
//!
//! Promises: what a service would refuse is found before it is sent, and booked.
//! Never: counts or retries; `deliver` does.

use std::sync::Arc;

use super::store::{Datum, Store};
use crate::deliver::books::{Account, Lost};

pub mod cloudwatch;
pub mod emf;
pub mod otlp;

/// Where data go.
pub enum Sink {
    /// Amazon CloudWatch.
    CloudWatch(cloudwatch::Sink),
    /// CloudWatch Logs, as documents of the embedded metric format.
    Emf(Box<emf::Sink>),
    /// A backend of OTLP.
    Otlp(Box<otlp::Sink>),
    /// An output that cannot work.
    Nowhere(Arc<Account>),
}

impl Sink {
    /// Appends what was gathered in the window that began so many seconds after 1970.
    pub fn append(&mut self, namespace: &str, datum: &Datum<'_>, began: u64) {
        match self {
            Self::CloudWatch(sink) => sink.append(namespace, datum, began),
            Self::Emf(sink) => sink.append(namespace, datum, began),
            Self::Otlp(_) => {}
            Self::Nowhere(account) => account.accept(1).lost(1, Lost::OutputUnusable),
        }
    }

    /// Sends on what is whole. Nobody holds the store meanwhile.
    pub fn piece_ended(&mut self) {
        match self {
            Self::Emf(sink) => sink.send(),
            Self::CloudWatch(_) | Self::Otlp(_) | Self::Nowhere(_) => {}
        }
    }

    /// All that was gathered is appended. Appends what series have come to.
    pub fn append_all(&mut self, store: &Store) {
        match self {
            Self::Emf(sink) => sink.finish(),
            Self::Otlp(sink) => sink.append(store),
            Self::CloudWatch(_) | Self::Nowhere(_) => {}
        }
    }

    /// True if it takes what was gathered, and not what series have come to.
    pub fn wants_gathered(&self) -> bool {
        !matches!(self, Self::Otlp(_))
    }
}
