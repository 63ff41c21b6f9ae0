//! Documents that the metrics job makes, as records.
//!
//! Promises: a document is masked as any record, on the books when it was sent, and goes where the settings say.
//! Never: waits for a destination; looks into a document.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ENTRY, push};
use crate::{
    emf,
    logs::{
        mask::{Masker, Masks},
        record::{Directions, EventTime},
        route::Route,
    },
};

/// Takes documents for a route.
pub struct Made {
    route: Arc<Route>,
    masker: Mutex<Masker>,
    group: Option<String>,
    stream: Option<String>,
}

impl Made {
    /// Sends documents on `route`, to this group and stream if they are named.
    pub fn new(route: Arc<Route>, masks: &Masks, group: Option<&str>, stream: Option<&str>) -> Arc<Self> {
        let (group, stream) = (group.map(str::to_owned), stream.map(str::to_owned));
        Arc::new(Self { route, masker: Mutex::new(masks.masker()), group, stream })
    }
}

impl emf::Outlet for Made {
    fn send(&self, documents: &[emf::Made]) {
        let mut masker = self.masker.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pass = self.route.begin();
        let directions = Directions { group: self.group.as_deref(), stream: self.stream.as_deref() };
        let mut entry = Vec::new();
        for emf::Made { milliseconds, text } in documents {
            entry.clear();
            entry.extend_from_slice(ENTRY);
            let length = u32::try_from(text.len()).expect("a document is far shorter");
            entry.extend_from_slice(&length.to_be_bytes());
            entry.extend_from_slice(text.as_bytes());
            masker.entries(&mut entry, self.route.source());
            push(&entry[ENTRY.len() + 4..], Some(directions), EventTime::of_milliseconds(*milliseconds), &mut pass);
        }
    }
}
