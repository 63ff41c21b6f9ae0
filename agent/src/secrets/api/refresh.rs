//! `POST /v1/agent/refresh`: look now, because a service refused what the files say.
//!
//! The body is nothing, for all secrets, or `{"names": ["db"]}`. The answer is the generation that came of it.
//!
//! Promises: at most one refresh is under way and the next begins a second later at the soonest; who asks meanwhile shares that
//! one; a name that the configuration does not have harms nobody else.
//! Never: ends early because a caller went away.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Refusal, Vault, flight::Flights};
use crate::life::Life;

/// Bytes of a request's body: all names of a configuration.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Time to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    names: Vec<String>,
}

/// Refreshes of one vault.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    flights: Flights,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<String>,
    all: bool,
    failed: Option<Refusal>,
}

impl Refreshes {
    /// Reads the wish in `body` and grants it.
    pub(super) async fn refresh<V: Vault>(
        self: &Arc<Self>,
        vault: &Arc<V>,
        life: &Life,
        body: Incoming,
    ) -> Result<(), Refusal> {
        let names = names(body).await?;
        if let Some(name) = names.iter().find(|name| !vault.knows(name)) {
            let what = format!("the configuration has no secret called {name}");
            return Err(Refusal::new(404, "ResourceNotFoundException", &what));
        }
        let ticket = {
            let mut state = self.state();
            state.all |= names.is_empty();
            state.names.extend(names);
            self.flights.next_forced()
        };
        if ticket.drive {
            let (refreshes, vault) = (Arc::clone(self), Arc::clone(vault));
            life.spawn("secrets refresh", async move {
                refreshes.flights.drive(|| refreshes.run(&*vault)).await;
            });
        }
        self.flights.wait(ticket.number).await;
        self.state().failed.clone().map_or(Ok(()), Err)
    }

    async fn run<V: Vault>(&self, vault: &V) {
        let names = {
            let mut state = self.state();
            // Stands if the vault panics.
            state.failed = Some(Refusal::internal());
            let names = std::mem::take(&mut state.names);
            if std::mem::take(&mut state.all) { Vec::new() } else { names.into_iter().collect() }
        };
        let outcome = vault.refresh(names).await;
        self.state().failed = outcome.err();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Replaced member by member, each of which stands for itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn names(body: Incoming) -> Result<Vec<String>, Refusal> {
    let wrong =
        |_| Refusal::new(400, "ValidationException", "the body is nothing, or {\"names\": [..]}, at most 64 KiB");
    let read = timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let bytes = read.map_err(|_| Refusal::late())?.map_err(|_| wrong(()))?.to_bytes();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let wish: Wish = serde_json::from_slice(&bytes).map_err(|_| wrong(()))?;
    Ok(wish.names)
}
