//! The wiring: a configuration becomes listeners, jobs and an admin address, and in the end the books.
//!
//! Promises: listeners are bound before anything that takes time; whatever happens afterwards, reading goes on until the
//! peers are done; the end keeps to the budget of time and says what became of every record.
//! Never: knows how a job works. It reads like a plan.

mod bounds;
mod hide;
mod jobs;
mod parting;
mod report;
mod spool;

use std::{net::TcpListener, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    aws::{Access, Settings},
    config::Config,
    deliver::{
        books::{Holder, Totals},
        budget::Budget,
        collect::Ledger,
        outputs,
    },
    ecs::{self, Metadata, memory},
    life::Life,
    logs::{
        job as logs,
        mask::Masks,
        settings::{Destination, Logs},
    },
    metrics::job as metrics,
    net::listen::BindError,
    otlp::{
        input::{self, Listening},
        own,
        taker::Takers,
    },
    secrets::{
        hide::{Hider, Nobody},
        job as secrets,
    },
    tell::{
        admin, chain,
        counters::Counters,
        spans::{SpanData, Spans},
    },
    traces::job as traces,
    units::ByteSize,
};
pub use bounds::Bounds;
use hide::InLogs;
use jobs::Jobs;
use parting::Parting;
use report::Page;
pub use spool::{Spool, shares};

/// How long the start waits for the task's metadata, if an output cannot do without.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);
/// How long the first record waits for what an earlier process left on the volume to be masked. It takes milliseconds; the
/// kernel keeps what is written meanwhile.
const ADOPTING_PATIENCE: Duration = Duration::from_millis(500);

/// Listeners, bound.
#[derive(Debug)]
pub struct Bound {
    logs: logs::Bound,
    traces: traces::Bound,
    metrics: metrics::Bound,
    otlp: input::Bound,
    secrets: secrets::Bound,
    admin: Option<TcpListener>,
}

/// What became of everything.
#[derive(Debug)]
pub struct Outcome {
    /// The books at the end.
    pub books: Vec<(Holder, Totals)>,
}

/// Binds all listeners. The admin address is the least of them: if it is taken, the agent works without it.
///
/// Sockets for datagrams come first. Who sends one is never told that nobody is there, so that whoever waits for the agent by
/// connecting must find them bound.
pub fn bind(config: &Config) -> Result<Bound, BindError> {
    let traces = traces::bind(&config.traces);
    let metrics = metrics::bind(&config.metrics);
    let otlp = input::bind(config.otlp());
    let logs = logs::bind(&config.logs)?;
    let secrets = secrets::bind(&config.secrets);
    let admin = config.admin.and_then(|address| TcpListener::bind(address).ok());
    Ok(Bound { logs, traces, metrics, otlp, secrets, admin })
}

/// All counters, as the pages describe them.
pub fn counters() -> Counters {
    with_ledger(&Ledger::default())
}

fn with_ledger(ledger: &Ledger) -> Counters {
    let counters = Counters::new();
    counters.register(Box::new(ledger.clone()));
    counters
}

/// Runs until `life` stops and everything is settled.
pub async fn run(config: Config, bound: Bound, spool: Spool, life: Life) -> Outcome {
    let bounds = Bounds::of(&config, memory::limit());
    let budget = Budget::new(bounds.records.0, config.keeping());
    let ledger = Ledger::new(budget.clone());
    ledger.are_without_spool(&spool.without);
    let counters = with_ledger(&ledger);
    let settings = aws_settings(&config);
    let access = Arc::new(Access::new(&settings, &counters));
    let masks = Masks::new(&counters);
    let hider: Hider = Arc::new(InLogs::new(&masks));
    let (spans, ended_spans) = own_spans(&config, &counters);
    let secrets = secrets::Means { life: &life, counters: &counters, access: &access, hider: &hider, spans: &spans };
    let mut secrets = secrets::Job::start(&config.secrets, bound.secrets, &secrets);
    let standing = secrets.as_ref().map(|secrets| secrets.standing().clone());
    let page = Arc::new(Page::new(&config, &spool, standing, ledger.clone(), counters.clone(), life.clone()));
    let _admin = serve_admin(bound.admin, &config, &page);

    let places = [bound.logs.places(), bound.traces.places(), bound.metrics.places(), bound.otlp.places()].concat();
    let task = who_we_are(&config, &access).await;
    let spool_opened = spool.opened.as_ref();
    let outputs = outputs::Means {
        life: &life,
        ledger: &ledger,
        budget: &budget,
        spool: spool_opened,
        counters: &counters,
        spans: &spans,
    };
    let exporting =
        ended_spans.and_then(|(own, ended)| own::start(own, ended, &task, access.http(), (&life, &counters.own_spans)));
    let spans_of_traces = if is_told_to_itself(&config) { Spans::off() } else { spans.clone() };
    let of_traces = outputs::Means { spans: &spans_of_traces, ..outputs };
    let for_traces = traces::Means { outputs: of_traces, access: &access, task: &task };
    let metadata_uri = config.ecs_metadata_uri.as_deref();
    let for_metrics = metrics::Means { outputs, access: &access, task: &task, metadata_uri };
    if let Some(secrets) = &mut secrets {
        secrets.has_hidden_what_was_there(ADOPTING_PATIENCE).await;
    }
    let metrics = metrics::Job::start(&config.metrics, bound.metrics, &for_metrics);
    let (connections_max, documents, tally) = (bounds.connections, metrics.documents(), metrics.tally());
    let for_logs =
        logs::Means { outputs, connections_max, access: &access, masks: &masks, task: &task, documents, tally };
    let logs = logs::Job::start(&config.logs, bound.logs, &for_logs);
    metrics.go_by(|emf| logs.outlet(emf.tag(), emf.group.as_deref(), emf.stream.as_deref()));
    let traces = traces::Job::start(&config.traces, bound.traces, &for_traces);
    let takers = Takers { traces: traces.spans(), logs: logs.records(), metrics: metrics.points() };
    let otlp = Listening::start(bound.otlp, &takers, &life, &counters);
    page.shows(metrics.store().clone());
    let mut jobs = Jobs { logs, traces, metrics, otlp };
    page.is_ready();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = config.described,
        listening = places.join(", "),
        outputs = config.logs.outputs.len() + config.traces.running().len() + config.metrics.running().len(),
        memory = %ByteSize(budget.total()),
        spool = spool.described(),
        admin = config.admin.map(|address| address.to_string()).unwrap_or_default(),
        "started"
    );

    life.stopping().cancelled().await;
    let parting = Parting::begin(metadata_uri, &access, &page, &life).await;
    let last_word = || config.stop_record.as_deref().zip(Some(parting.record(&ledger, &ledger.books.totals())));
    drain(&mut jobs, &life, last_word).await;
    if let Some(exporting) = exporting {
        exporting.end(life.deadline().unwrap_or_else(Instant::now)).await;
    }
    let books = ledger.books.list();
    say_goodbye(&parting, &ledger);
    Outcome { books }
}

/// What the configuration says of AWS as a whole.
pub fn aws_settings(config: &Config) -> Settings {
    let crate::config::Aws { region, ca_bundle, endpoint, sts_endpoint } = config.aws.clone();
    Settings { region, ca_bundle, endpoint, sts_endpoint }
}

/// What makes our own spans, and where they come out.
fn own_spans<'c>(config: &'c Config, counters: &Counters) -> (Spans, Option<(&'c own::Config, Receiver<SpanData>)>) {
    let Some(own) = &config.telemetry.traces else { return (Spans::off(), None) };
    let (spans, ended) = Spans::new(counters.own_spans.with_label_values(&["dropped"]));
    (spans, Some((own, ended)))
}

/// True if our own spans come back to us. The outputs of traces make none then, since each would make another.
fn is_told_to_itself(config: &Config) -> bool {
    let ours = || config.traces.otlp().flat_map(input::Config::addresses);
    config.telemetry.traces.as_ref().is_some_and(|own| own.is_at(ours()))
}

/// Writes all secrets once. Says which could not be written in the time that a start may take.
pub async fn write_secrets(config: &Config) -> Result<(), Vec<String>> {
    let (life, counters) = (Life::default(), Counters::new());
    let settings = aws_settings(config);
    let access = Arc::new(Access::new(&settings, &counters));
    let hider: Hider = Arc::new(Nobody);
    let spans = Spans::off();
    let means = secrets::Means { life: &life, counters: &counters, access: &access, hider: &hider, spans: &spans };
    let mut wanted = config.secrets.clone();
    (wanted.api, wanted.hints, wanted.tell) = (None, None, Vec::new());
    match secrets::Job::start(&wanted, secrets::Bound::default(), &means) {
        Some(mut job) => job.is_written(wanted.startup()).await,
        None => Ok(()),
    }
}

/// Inputs first, then a word of our own if there is one, then outputs, all before the deadline.
async fn drain<'a>(jobs: &mut Jobs, life: &Life, last_word: impl Fn() -> Option<(&'a str, String)>) {
    let now = Instant::now();
    let deadline = life.deadline().unwrap_or(now);
    let halfway = now + deadline.saturating_duration_since(now) / 2;
    let hurrying = life.hurrying();
    let both = async {
        if tokio::time::timeout_at(halfway, jobs.inputs_ended()).await.is_err() {
            warn!("peers were still connected halfway through the time to stop; they are not waited for");
        }
        jobs.close_inputs();
        jobs.inputs_ended().await;
        if let Some((tag, text)) = last_word() {
            jobs.logs.say(tag, &text);
        }
        jobs.outputs_drained().await;
    };
    tokio::select! {
        () = both => return,
        () = hurrying.cancelled() => {}
        () = sleep_until(deadline) => {}
    }
    jobs.abandon();
    // Giving up is a matter of microseconds; this bound is for bugs.
    let _ = timeout(Duration::from_millis(500), async {
        jobs.inputs_ended().await;
        jobs.outputs_drained().await;
    })
    .await;
}

fn serve_admin(listener: Option<TcpListener>, config: &Config, page: &Arc<Page>) -> Option<admin::Admin> {
    let address = config.admin?;
    let Some(listener) = listener else {
        warn!(%address, "admin address is taken; there are no metrics and no health check on it");
        return None;
    };
    let served = admin::serve(listener, Arc::clone(page) as Arc<dyn admin::Report>);
    served.inspect_err(|error| warn!(error = %chain(error), "admin address cannot be served")).ok()
}

/// Asks who we are, if an output needs to know.
async fn who_we_are(config: &Config, access: &Access) -> Metadata {
    let Some(uri) = config.ecs_metadata_uri.as_deref() else { return Metadata::default() };
    let sends_to_aws = !config.traces.running().is_empty() || !config.metrics.running().is_empty();
    let needs_region = access.region().is_none() && sends_to_aws;
    let fills = config.metrics.needs_task() || config.traces.needs_task() || config.telemetry.traces.is_some();
    if !needs_region && !needs_metadata(&config.logs, access.region()) && !fills {
        return Metadata::default();
    }
    match timeout(METADATA_PATIENCE, ecs::fetch(uri, access.http())).await {
        Ok(Ok(task)) => task,
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "task metadata is not known; names that need it fall back");
            Metadata::default()
        }
        Err(_) => {
            warn!("task metadata did not come in time; names that need it fall back");
            Metadata::default()
        }
    }
}

fn needs_metadata(logs: &Logs, region: Option<&str>) -> bool {
    logs.outputs.iter().any(|output| match &output.to {
        Destination::Cloudwatch(config) => {
            let names = [&config.group, &config.stream].into_iter().flatten();
            config.region.is_none() && region.is_none() || names.into_iter().any(|name| name.contains("$(ecs_"))
        }
        _ => false,
    })
}

/// The last line: one event that says what became of every record.
fn say_goodbye(parting: &Parting, ledger: &Ledger) {
    let totals = &ledger.books.totals();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        task = parting.task(),
        definition = parting.definition(),
        stopped_by = parting.stopped_by(),
        ended = parting.ended(),
        uptime_seconds = parting.uptime_seconds(),
        failures = parting::failures_told(ledger),
        accepted = totals.accepted,
        delivered = totals.delivered,
        refused = totals.refused(),
        lost = totals.lost(),
        spooled = totals.spooled,
        unsettled = totals.in_flight,
        lost_by_reason = report::lost_by_reason(totals),
        refused_by_reason = report::refused_by_reason(totals),
        balanced = totals.balanced(),
        "stopped"
    );
}
