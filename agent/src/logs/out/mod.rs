//! The destinations of log records, one file or folder each.
//!
//! To add one: write a file like `file.rs` (a [`Destination`](crate::deliver::Destination) with its settings, and a `Sink`,
//! `Target` and `Writer`), add a variant to [`settings::Destination`](super::settings::Destination) and to the three enums
//! here; the compiler shows each arm that is missing.
//!
//! Promises: adding a destination touches nothing but its own file, its settings' variant, these enums and the wiring.
//! Never: queues, retries or counts; `deliver` does.

pub mod cloudwatch;
pub mod file;

use std::sync::Arc;

use serde::Deserialize;

use super::{known::Workspace, record::Record};
use crate::deliver::{
    Retry,
    ack::Ack,
    books::{Account, Lost},
};

/// How often a batch is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryLimit {
    /// As long as memory lasts and the service would still take it.
    #[default]
    Unlimited,
    /// Never.
    None,
    /// At least so often, and at least for the time that `docs/decisions/0005-retry-limit.md` gives reasons for.
    AtLeast(u32),
}

impl RetryLimit {
    /// The engine's word for it.
    pub fn rule(self) -> Retry {
        match self {
            Self::Unlimited => Retry::Unlimited,
            Self::None => Retry::Never,
            Self::AtLeast(retries) => Retry::AtLeast(retries),
        }
    }
}

/// An output of any kind.
#[derive(Clone)]
pub enum Sink {
    /// Amazon CloudWatch Logs.
    Cloudwatch(cloudwatch::Sink),
    /// Files in a folder.
    File(file::Sink),
    /// Nowhere, as the user asked.
    Discard,
    /// Nowhere, for this reason.
    Nowhere(Lost),
}

/// The place of one tag's records at an output.
pub enum Target {
    /// In CloudWatch Logs.
    Cloudwatch(cloudwatch::Target),
    /// In a file.
    File(file::Target),
    /// Nowhere.
    Nowhere(Nowhere),
}

/// Appends a chunk's records.
pub enum Writer<'a> {
    /// To CloudWatch Logs.
    Cloudwatch(cloudwatch::Writer<'a>),
    /// To a file.
    File(file::Writer<'a>),
    /// Counts them.
    Nowhere(Counting<'a>),
}

/// Where records end that go nowhere.
pub struct Nowhere {
    account: Arc<Account>,
    /// `None` if that is what the user asked for.
    lost: Option<Lost>,
}

/// Counts records that go nowhere, and books them at the end of the chunk.
pub struct Counting<'a> {
    nowhere: &'a Nowhere,
    records: u32,
}

impl Sink {
    /// The place of records with `tag`, booked on `account`.
    pub fn target(&self, tag: &Arc<str>, account: Arc<Account>) -> Target {
        match self {
            Self::Cloudwatch(sink) => Target::Cloudwatch(sink.target(tag, account)),
            Self::File(sink) => Target::File(sink.target(tag, account)),
            Self::Discard => Target::Nowhere(Nowhere { account, lost: None }),
            Self::Nowhere(reason) => Target::Nowhere(Nowhere { account, lost: Some(*reason) }),
        }
    }
}

impl Target {
    /// Begins to append.
    pub fn writer(&self) -> Writer<'_> {
        match self {
            Self::Cloudwatch(target) => Writer::Cloudwatch(target.writer()),
            Self::File(target) => Writer::File(target.writer()),
            Self::Nowhere(nowhere) => Writer::Nowhere(Counting { nowhere, records: 0 }),
        }
    }
}

impl Writer<'_> {
    /// What comes from here on is of a message that waits for `ack`, or of one that does not wait. What goes nowhere is
    /// not waited for: a sender that repeats it for ever would double it at the other outputs and change nothing here.
    pub fn of_message(&mut self, ack: Option<&Arc<Ack>>) {
        match self {
            Self::Cloudwatch(writer) => writer.of_message(ack),
            Self::File(writer) => writer.of_message(ack),
            Self::Nowhere(_) => {}
        }
    }

    /// Appends one record.
    #[inline]
    pub fn append(&mut self, record: &Record<'_>, workspace: &mut Workspace) {
        match self {
            Self::Cloudwatch(writer) => writer.append(record, workspace),
            Self::File(writer) => writer.append(record, workspace),
            Self::Nowhere(counting) => counting.records += 1,
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let mut receipt = self.nowhere.account.accept(self.records);
        match self.nowhere.lost {
            None => receipt.delivered(self.records),
            Some(reason) => receipt.lost(self.records, reason),
        }
    }
}
