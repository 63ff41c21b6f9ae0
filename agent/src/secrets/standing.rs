//! How the secrets job stands, for the pages of the admin address.
//!
//! Promises: names, version ids, numbers and times; read from shared numbers.
//! Never: waits for the job; holds a value.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{proof::Proof, tell::Generation};

/// How the job stands.
#[derive(Clone)]
pub struct Standing {
    state: Arc<Mutex<State>>,
    proof: Proof,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Nothing is waited for any more.
    pub(super) ready: bool,
    pub(super) waiting: Vec<String>,
    pub(super) degraded: Option<String>,
    pub(super) generation: Generation,
}

impl Standing {
    pub(super) fn new(proof: Proof) -> Self {
        Self { state: Arc::default(), proof }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The required secrets that are not there yet, if any is waited for.
    pub fn waiting(&self) -> Option<Vec<String>> {
        let state = self.state();
        (!state.ready).then(|| state.waiting.clone())
    }

    /// What does not work, for a person.
    pub fn degraded(&self) -> Option<String> {
        self.state().degraded.clone()
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        self.proof.measure();
    }

    /// The number of the last generation, and the versions in it.
    pub fn versions(&self) -> serde_json::Value {
        let generation = self.state().generation.clone();
        serde_json::json!({"generation": generation.number, "versions": generation.versions})
    }

    /// What `/status` shows.
    pub fn status(&self) -> serde_json::Value {
        let generation = self.state().generation.clone();
        serde_json::json!({
            "waiting": self.waiting().unwrap_or_default(),
            "generation": generation.number,
            "versions": generation.versions,
            "acknowledged": self.proof.acknowledgements(),
            "items": self.proof.secrets(),
        })
    }
}
