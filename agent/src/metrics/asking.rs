//! The inputs that ask: targets that are scraped, the task's stats, queues.
//!
//! Promises: an input that cannot work keeps no other from working, and is said; each ends when the agent stops, after a last look.
//! Never: asks before the job begins.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Seconds,
    out::emf::Way,
    queue::{self, Watcher},
    scrape::run::{self as scrape, Scraper},
    settings::Input,
    store::Store,
    task::run::{self as task, Looker},
};
use crate::{aws::Access, ecs::Metadata, life::Life, tell::counters::Counters};

/// What they need of the job and the agent.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Where samples go.
    pub store: &'a Store,
    /// Its clock.
    pub seconds: Seconds,
    /// Whether anything is sent to CloudWatch.
    pub has_outputs: bool,
    /// Ends everything at once.
    pub closing: &'a CancellationToken,
    /// To run in.
    pub life: &'a Life,
    /// To count.
    pub counters: &'a Counters,
    /// To ask with.
    pub access: &'a Access,
    /// Who we are.
    pub task: &'a Metadata,
    /// How the input's documents go by the logs, if it makes some.
    pub way: &'a Way,
    /// Where the task's metadata are told.
    pub metadata_uri: Option<&'a str>,
}

/// Starts an input that asks; one of another kind is not started here. `name` is its name on `/metrics`.
pub fn start(input: &Input, name: &str, means: &Means<'_>) -> Option<JoinHandle<()>> {
    let Means { store, seconds, closing, life, counters, access, .. } = *means;
    match input {
        Input::Scrape(settings) => {
            let policy = settings.publish.policy(means.has_outputs);
            let means_of_it = scrape::Means { store, seconds, http: access.http(), counters, life, closing };
            let scraper = Scraper::new(settings, name, policy, &means_of_it);
            let metadata = means.metadata_uri.map(str::to_owned);
            let settings = settings.clone();
            Some(life.keep("scrape", move || Arc::clone(&scraper).run((*settings).clone(), metadata.clone())))
        }
        Input::Task(settings) => {
            let Some(uri) = means.metadata_uri else {
                warn!(input = name, "there is no task metadata endpoint; nothing is known of the task");
                return None;
            };
            let means_of_it = task::Means { store, seconds, http: access.http(), counters, way: means.way };
            let looker = Arc::new(Looker::new(settings, name, uri, means.has_outputs, &means_of_it));
            let (stopping, closing) = (life.stopping(), closing.clone());
            Some(life.keep("task stats", move || {
                let (looker, stopping, closing) = (Arc::clone(&looker), stopping.clone(), closing.clone());
                async move { looker.run(stopping, closing).await }
            }))
        }
        Input::Queue(settings) => {
            let means_of_it = queue::Means { store, seconds, counters, access, task: means.task };
            let watcher = Arc::new(Watcher::new(settings, name, means.has_outputs, &means_of_it)?);
            let stopping = life.stopping();
            Some(life.keep("queue", move || {
                let (watcher, stopping) = (Arc::clone(&watcher), stopping.clone());
                async move { watcher.run(stopping).await }
            }))
        }
        Input::Statsd(_) | Input::Emf(_) | Input::Logs(_) | Input::Otlp(_) => None,
    }
}
