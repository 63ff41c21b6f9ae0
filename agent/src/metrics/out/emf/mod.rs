//! Sends metrics as documents of the embedded metric format, by way of the logs: CloudWatch makes metrics of them there.
//!
//! It costs what logs cost, and no requests for metrics; the documents can be searched. They are records of the logs job with a tag of their own, and
//! go to its outputs, as those do that come to its `emf` input.
//!
//! Promises: what was gathered is in one document, or is booked as refused; documents keep the format's limits.
//! Never: delivers, queues or retries; the logs' outputs do.

mod document;

use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use crate::{
    deliver::books::{Account, Refused},
    emf::{Made, Outlet},
    metrics::store::Datum,
};
use document::Documents;

/// The tag of the documents, unless the output says another one.
pub const TAG: &str = "metrics";

/// Settings of the `emf` output. It needs an output of the logs, to CloudWatch Logs, whose `match` fits its `tag`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The tag of the documents, by which the logs' filters and outputs know them. Default `metrics`.
    pub tag: Option<String>,
    /// The log group. Default: the one that the logs' output names.
    pub group: Option<String>,
    /// The log stream. Default: the one that the logs' output names.
    pub stream: Option<String>,
}

impl Config {
    /// The tag of the documents.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(TAG)
    }
}

/// Who sends documents, once the logs run.
pub type Way = Arc<OnceLock<Arc<dyn Outlet>>>;

/// Where data are appended.
pub struct Sink {
    way: Way,
    /// On which is booked what fits into no document.
    account: Arc<Account>,
    documents: Documents,
    made: Vec<Made>,
}

impl Sink {
    /// Sends by `way`.
    pub fn new(way: Way, account: Arc<Account>) -> Self {
        Self { way, account, documents: Documents::default(), made: Vec::new() }
    }

    /// Appends what was gathered in the window that began so many seconds after 1970, or in the minute that it says itself.
    pub fn append(&mut self, namespace: &str, datum: &Datum<'_>, began: u64) {
        let made = &mut self.made;
        if self.documents.add((namespace, datum), began, |document| made.push(document)).is_err() {
            self.account.accept(1).refused(1, Refused::Invalid);
        }
    }

    /// Sends what is ready; to be called while nobody holds the store.
    pub fn send(&mut self) {
        if let Some(way) = self.way.get()
            && !self.made.is_empty()
        {
            way.send(&self.made);
        }
        self.made.clear();
    }

    /// All was appended.
    pub fn finish(&mut self) {
        let made = &mut self.made;
        self.documents.finish(|document| made.push(document));
        self.send();
    }
}
