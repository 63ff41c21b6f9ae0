//! Telling others of a new generation: again and again until they have heard.
//!
//! Promises: whoever is to be told hears of the newest generation, also after our own restart, and of each number at most once
//! more than it has answered; one that does not answer holds up nobody else.
//! Never: tells a value, its length or a hash; tells of a generation that is replaced already.

mod signal;
mod webhook;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::IntCounterVec;
use serde::Serialize;
use tokio::{sync::watch, time::sleep};
use tracing::{debug, warn};

use super::{proof, settings};
use crate::net::http::HttpClient;
use signal::Signaller;
use webhook::Caller;

/// First wait behind a failure, and the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What is known of the files' newest generation. No values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Its number, which grows.
    #[serde(rename = "generation")]
    pub number: u64,
    /// The version of each secret that is current, by the secret's name in the configuration.
    pub versions: BTreeMap<String, String>,
}

/// One who is told.
pub struct Teller {
    /// What it is called on `/metrics` and in the log: `webhook.0`.
    pub name: String,
    splay: Duration,
    way: Way,
}

enum Way {
    Webhook(Caller),
    Signal(Signaller),
}

/// Why it was not told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unheard(String);

/// Who has heard of what.
#[derive(Debug)]
pub struct Heard(Mutex<Vec<u64>>);

impl Heard {
    /// So many are told, all of whom have heard of the generations up to `told`.
    pub fn new(tellers: usize, told: u64) -> Self {
        Self(Mutex::new(vec![told; tellers]))
    }

    /// The last generation that everybody has heard of, if there is anybody.
    pub fn by_all(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().min()
    }

    fn note(&self, who: usize, number: u64) {
        if let Some(last) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(who) {
            *last = number;
        }
    }

    fn last(&self, who: usize) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(who).copied().unwrap_or(0)
    }
}

/// True if there is a signal of this name, and it can be sent.
pub fn is_signal(name: &str) -> bool {
    signal::signal_of(name).is_some()
}

/// All who are told, as the settings name them.
pub fn tellers(settings: &[settings::Tell], http: &HttpClient) -> Vec<Teller> {
    let tellers = settings.iter().enumerate().map(|(number, tell)| match tell {
        settings::Tell::Webhook(webhook) => Teller {
            name: format!("webhook.{number}"),
            splay: webhook.splay.map_or(Duration::ZERO, |splay| splay.0),
            way: Way::Webhook(Caller::new(webhook, http.clone())),
        },
        settings::Tell::Signal(signal) => Teller {
            name: format!("signal.{number}"),
            splay: signal.splay.map_or(Duration::ZERO, |splay| splay.0),
            way: Way::Signal(Signaller::new(signal)),
        },
    });
    tellers.collect()
}

impl Teller {
    /// How it proves that it was told.
    pub(super) fn way(&self) -> proof::Way {
        match self.way {
            Way::Webhook(_) => proof::Way::Webhook,
            Way::Signal(_) => proof::Way::Signal,
        }
    }

    /// Tells of every generation that comes, the `who`-th of all who are told. Ends when no more can come.
    pub async fn run(
        self,
        who: usize,
        mut generations: watch::Receiver<Arc<Generation>>,
        heard: Arc<Heard>,
        tells: IntCounterVec,
        mut has_heard: impl FnMut(u64),
    ) {
        loop {
            let generation = Arc::clone(&generations.borrow_and_update());
            if generation.number > heard.last(who) {
                if !self.tell(&generation, &mut generations, &tells).await {
                    continue;
                }
                heard.note(who, generation.number);
                has_heard(generation.number);
            }
            if generations.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tries until it is heard. False if a newer generation came before it was.
    async fn tell(
        &self,
        generation: &Generation,
        generations: &mut watch::Receiver<Arc<Generation>>,
        tells: &IntCounterVec,
    ) -> bool {
        if !self.splay.is_zero() {
            sleep(self.splay.mul_f64(fastrand::f64())).await;
        }
        let mut wait = BACKOFF_FIRST;
        loop {
            let outcome = self.once(generation).await;
            let label = if outcome.is_ok() { "heard" } else { "unheard" };
            tells.with_label_values(&[self.name.as_str(), label]).inc();
            let Err(Unheard(why)) = outcome else {
                debug!(who = self.name, generation = generation.number, "told of a new generation of secrets");
                return true;
            };
            warn!(
                who = self.name,
                generation = generation.number,
                why,
                "not told of a new generation of secrets; it will be"
            );
            tokio::select! {
                () = sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                () = newer(generations) => return false,
            }
            wait = (2 * wait).min(BACKOFF_MAX);
        }
    }

    async fn once(&self, generation: &Generation) -> Result<(), Unheard> {
        match &self.way {
            Way::Webhook(caller) => caller.call(generation).await,
            Way::Signal(signaller) => signaller.signal(),
        }
    }
}

/// Waits for a newer generation; for ever if none can come any more.
async fn newer(generations: &mut watch::Receiver<Arc<Generation>>) {
    if generations.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
