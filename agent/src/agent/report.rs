//! What the admin address shows of the whole agent.
//!
//! Promises: healthy means that what comes in goes out: an output that has had something to deliver, and delivered
//! nothing, for longer than the user allows makes the agent unhealthy; ready means that every listener is served; degraded
//! means that a spool that the user wants does not work, which makes it neither unhealthy nor not ready.
//! Never: waits for a job; everything is read from shared numbers.

use std::{
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Spool;
use crate::{
    config::Config,
    deliver::{
        books::{Lost, Refused, Totals},
        collect::Ledger,
    },
    life::Life,
    metrics::{expose, store::Store},
    secrets::standing::Standing,
    tell::{
        admin::Report,
        counters::Counters,
        exposition::{self, Form},
    },
};

/// The pages' source.
pub(super) struct Page {
    started: Instant,
    described: String,
    stuck_after: Duration,
    /// The spool's folder, what outputs left there, and what did not work at the start.
    spool: Value,
    /// Of the secrets job, if there is one.
    secrets: Option<Standing>,
    without_spool: Vec<Arc<str>>,
    spool_failures: Vec<String>,
    ledger: Ledger,
    counters: Counters,
    /// All series of the metrics job, once it runs.
    series: OnceLock<Store>,
    life: Life,
    ready: AtomicBool,
    panics_told: AtomicU64,
}

impl Page {
    pub(super) fn new(
        config: &Config,
        spool: &Spool,
        secrets: Option<Standing>,
        ledger: Ledger,
        counters: Counters,
        life: Life,
    ) -> Self {
        let left = spool.orphans().iter().map(|left| json!({"folder": left.folder, "bytes": left.bytes}));
        Self {
            spool: json!({
                "path": spool.wanted.as_ref().map(|path| path.display().to_string()),
                "open": spool.opened.is_some(),
                "not_configured": left.collect::<Vec<_>>(),
            }),
            secrets,
            without_spool: spool.without.clone(),
            spool_failures: spool.failures.clone(),
            started: Instant::now(),
            described: config.described.clone(),
            stuck_after: config.stuck_after,
            ledger,
            counters,
            series: OnceLock::new(),
            life,
            ready: AtomicBool::new(false),
            panics_told: AtomicU64::new(0),
        }
    }

    /// From now on `/metrics` shows the series of `store` too.
    pub(super) fn shows(&self, store: Store) {
        let _ = self.series.set(store);
    }

    /// When the agent began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Where the configuration came from.
    pub(super) fn described(&self) -> &str {
        &self.described
    }

    /// The last generation of secrets and the versions in it; nothing if there is no secrets job.
    pub(super) fn secret_versions(&self) -> Value {
        self.secrets.as_ref().map_or(Value::Null, Standing::versions)
    }

    /// From now on the agent is ready.
    pub(super) fn is_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

impl Report for Page {
    fn metrics(&self, form: Form) -> String {
        let panics = self.life.panics();
        let told = self.panics_told.swap(panics, Ordering::Relaxed);
        self.counters.life_panics.inc_by(panics.saturating_sub(told));
        if let Some(secrets) = &self.secrets {
            secrets.measure();
        }
        let mut page = exposition::Page::new(form);
        self.counters.expose(&mut page);
        if let Some(store) = self.series.get() {
            expose::expose(store, &mut page);
        }
        page.finish()
    }

    fn status(&self) -> Value {
        let now = Instant::now();
        let totals = self.ledger.books.totals();
        let (used, limit) = self.ledger.memory();
        let mut outputs = Map::new();
        for (name, standing) in self.ledger.standings() {
            outputs.insert(
                name.to_string(),
                json!({
                    "requests_in_flight": standing.flying,
                    "waiting_batches": standing.waiting,
                    "memory_bytes": standing.memory_bytes,
                    "spool_bytes": standing.spool_bytes,
                    "spool_degraded": standing.spool_degraded,
                    "failures_in_a_row": standing.failures,
                    "linger_milliseconds": standing.linger.as_millis(),
                    "stuck_seconds": standing.stuck_since.map_or(0, |since| now.duration_since(since).as_secs()),
                    "last_failure": standing.last_failure,
                }),
            );
        }
        let accounts: Vec<Value> = self
            .ledger
            .books
            .list()
            .into_iter()
            .map(|(holder, totals)| {
                let mut account = books(&totals);
                account["output"] = holder.output.to_string().into();
                account["container"] = holder.source.to_string().into();
                account
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": now.duration_since(self.started).as_secs(),
            "configuration": self.described,
            "alive": self.alive().err().unwrap_or_else(|| "yes".to_owned()),
            "ready": self.ready.load(Ordering::Acquire),
            "degraded": self.degraded(),
            "stopping": self.life.stopping().is_cancelled(),
            "memory": {"used_bytes": used, "limit_bytes": limit},
            "spool": self.spool,
            "secrets": self.secrets.as_ref().map(Standing::status),
            "books": books(&totals),
            "accounts": accounts,
            "outputs": outputs,
        })
    }

    fn alive(&self) -> Result<(), String> {
        // The app begins when ECS calls us healthy (`dependsOn`, HEALTHY), so that must mean that its secrets are there.
        self.has_secrets()?;
        let now = Instant::now();
        for (name, standing) in self.ledger.standings() {
            let Some(since) = standing.stuck_since else { continue };
            let stuck = now.duration_since(since);
            if !self.stuck_after.is_zero() && stuck >= self.stuck_after {
                let why = standing.last_failure.unwrap_or_else(|| "no answer".to_owned());
                return Err(format!("output {name} has delivered nothing for {} s: {why}", stuck.as_secs()));
            }
        }
        Ok(())
    }

    fn degraded(&self) -> Vec<String> {
        let refused = self.ledger.standings().into_iter().filter(|(name, standing)| {
            // Those without one are told by what failed at the start.
            standing.spool_degraded && !self.without_spool.contains(name)
        });
        let refused = refused.map(|(name, _)| format!("the disk refuses the spool of output {name}"));
        let secrets = self.secrets.as_ref().and_then(Standing::degraded);
        self.spool_failures.iter().cloned().chain(refused).chain(secrets).collect()
    }

    fn ready(&self) -> Result<(), String> {
        match self.ready.load(Ordering::Acquire) {
            true => self.has_secrets(),
            false => Err("starting".to_owned()),
        }
    }
}

impl Page {
    fn has_secrets(&self) -> Result<(), String> {
        match self.secrets.as_ref().and_then(Standing::waiting) {
            None => Ok(()),
            Some(names) => Err(format!("secrets are not written yet: {}", names.join(", "))),
        }
    }
}

pub(super) fn books(totals: &Totals) -> Value {
    json!({
        "accepted": totals.accepted,
        "delivered": totals.delivered,
        "refused": totals.refused(),
        "lost": totals.lost(),
        "spooled": totals.spooled,
        "in_flight": totals.in_flight,
        "lost_by_reason": lost_by_reason(totals),
        "refused_by_reason": refused_by_reason(totals),
    })
}

/// `memory_full 12, stopped 3`; empty if nothing was lost.
pub(super) fn lost_by_reason(totals: &Totals) -> String {
    listed(Lost::ALL.map(|reason| (reason.label(), totals.lost[reason as usize])))
}

/// `too_old 12, invalid 1`; empty if nothing was refused.
pub(super) fn refused_by_reason(totals: &Totals) -> String {
    listed(Refused::ALL.map(|reason| (reason.label(), totals.refused[reason as usize])))
}

fn listed(counts: impl IntoIterator<Item = (&'static str, u64)>) -> String {
    let mut text = String::new();
    for (label, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{label} {count}");
    }
    text
}
