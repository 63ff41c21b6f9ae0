//! The metrics job put together: sockets with their readers, the store, and the outputs that it is flushed to.
//!
//! Promises: an address that is taken, or an output that cannot work, keeps nothing else from working, and is said; stopping follows the
//! way of the samples: sockets, the last flush, outputs.
//! Never: fails.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    Seconds, asking,
    emf::{Documents, Setup},
    flush::Flusher,
    otlp::Points,
    out::{self as sinks, Sink, cloudwatch, otlp},
    records::{self, Records},
    settings::{self, Deliver, Destination, Emf, Input, Metrics, Otlp, Output, Statsd},
    statsd::{
        listen::{self, Intake, Reader},
        mapping::Mappings,
        take::Taker,
    },
    store::Store,
    task::settings::TaskStats,
};
use crate::{
    aws::{Access, Client, Identity},
    deliver::{
        books::{Account, Holder},
        outputs::{self, Outputs, ended},
    },
    ecs::Metadata,
    emf,
    limits::STATSD_CONNECTIONS_MAX,
    net::{
        burst::{self, Bursts},
        datagram::Datagrams,
        listen::{BindError, Listener, serve},
    },
    otlp::{out, taker, walk::Signal},
    tally::{Rules, Tally},
    tell::{chain, counters::Counters},
};

/// The source that data are booked on: what they were made of is not known any more.
const METRICS: &str = "metrics";

/// Sockets of the job, bound before anything else happens, or why not.
#[derive(Debug, Default)]
pub struct Bound {
    statsd: Vec<BoundStatsd>,
}

/// Those of one `statsd` input.
#[derive(Debug, Default)]
struct BoundStatsd {
    datagrams: Vec<Result<Datagrams, BindError>>,
    streams: Vec<Result<Listener, BindError>>,
}

/// What the job needs of the rest of the agent.
pub struct Means<'a> {
    /// To deliver.
    pub outputs: outputs::Means<'a>,
    /// To speak to AWS.
    pub access: &'a Access,
    /// Who we are.
    pub task: &'a Metadata,
    /// Where that is told.
    pub metadata_uri: Option<&'a str>,
}

/// The running job.
pub struct Job {
    store: Store,
    readers: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<Option<()>>>,
    flusher: Arc<Flusher>,
    flushing: Vec<JoinHandle<()>>,
    outputs: Outputs,
    documents: Option<Arc<dyn emf::Taker>>,
    points: Option<Arc<dyn taker::Taker>>,
    tally: Option<Arc<Tally>>,
    /// Outputs and inputs whose documents go by the logs.
    ways: Vec<(sinks::emf::Config, sinks::emf::Way)>,
    closing: CancellationToken,
}

/// What inputs need that are handed what comes by others.
struct From<'a> {
    has_outputs: bool,
    seconds: Seconds,
    counters: &'a Counters,
}

/// Binds all sockets of `metrics`. One that cannot be bound is said at the start.
pub fn bind(metrics: &Metrics) -> Bound {
    let of = |input: &Input| match input {
        Input::Statsd(statsd) => bind_statsd(statsd),
        // They come by others (the logs, and `otlp::input`), or are asked for.
        _ => BoundStatsd::default(),
    };
    Bound { statsd: metrics.inputs.iter().map(of).collect() }
}

fn bind_statsd(statsd: &Statsd) -> BoundStatsd {
    let receive = usize::try_from(statsd.receive().0).unwrap_or(usize::MAX);
    let udp = statsd.udp_address().map(|address| Datagrams::bind(address, receive));
    let unix = statsd.unix.as_ref().map(|path| Datagrams::bind_unix(path, statsd.permissions()));
    let stream = statsd.unix_stream.as_ref().map(|path| Listener::unix(path, Some(statsd.permissions())));
    BoundStatsd { datagrams: udp.into_iter().chain(unix).collect(), streams: stream.into_iter().collect() }
}

impl Bound {
    /// Where it listens, for people.
    pub fn places(&self) -> Vec<String> {
        let of = |bound: &BoundStatsd| {
            let datagrams = bound.datagrams.iter().flatten().map(Datagrams::place);
            datagrams.chain(bound.streams.iter().flatten().map(Listener::place)).collect::<Vec<_>>()
        };
        self.statsd.iter().flat_map(of).collect()
    }
}

impl Job {
    /// Starts everything.
    pub fn start(metrics: &Metrics, bound: Bound, means: &Means<'_>) -> Self {
        let (store, seconds, closing) = (Store::default(), Seconds::new(), CancellationToken::new());
        let mut outputs = Outputs::default();
        let names = names(metrics.running());
        let running = metrics.running().iter().zip(names);
        let mut ways = Vec::new();
        let made = running.map(|(output, name)| {
            let way = sinks::emf::Way::default();
            let sink = sink((output, &name, &way), &mut outputs, (seconds, metrics.flush_every()), means);
            if let Destination::Emf(config) = &output.to {
                ways.push((config.clone(), way));
            }
            sink
        });
        let sinks: Vec<Sink> = made.collect();
        let counters = means.outputs.counters.clone();
        let has_outputs = sinks.iter().any(Sink::wants_gathered);
        let times = (metrics.flush_every(), metrics.forget_after());
        let flusher = Arc::new(Flusher::new(store.clone(), seconds, times, sinks, counters));
        let (flushing, until) = (Arc::clone(&flusher), closing.clone());
        let is_needed = !metrics.inputs.is_empty();
        let flushing = is_needed.then(|| {
            means.outputs.life.keep("metrics", move || {
                let (flusher, until) = (Arc::clone(&flushing), until.clone());
                async move { flusher.run(until).await }
            })
        });
        let (readers, listeners, flushing) = (Vec::new(), Vec::new(), flushing.into_iter().collect());
        let (documents, points, tally) = (None, None, None);
        let mut job =
            Self { store, readers, listeners, flusher, flushing, outputs, documents, points, tally, ways, closing };
        for (number, (input, bound)) in metrics.inputs.iter().zip(bound.statsd).enumerate() {
            let (from, name) = (From { has_outputs, seconds, counters: means.outputs.counters }, input.name(number));
            match input {
                Input::Statsd(statsd) => job.take_statsd(&name, statsd, bound, (has_outputs, seconds), means),
                Input::Emf(emf) => job.documents = Some(documents_of(emf, name, &job.store, from)),
                Input::Logs(records) => job.tally = Some(tally_of(records, name, &job.store, from)),
                Input::Otlp(otlp) => job.points = Some(points_of(otlp, name, &job.store, from)),
                Input::Scrape(_) | Input::Task(_) | Input::Queue(_) => {
                    job.ask(input, &name, (has_outputs, seconds), means);
                }
            }
        }
        job
    }

    /// Who takes metrics in documents of the embedded metric format, if anybody wants some.
    pub fn documents(&self) -> Option<Arc<dyn emf::Taker>> {
        self.documents.clone()
    }

    /// Who takes metrics that come by OTLP, if anybody wants some.
    pub fn points(&self) -> Option<Arc<dyn taker::Taker>> {
        self.points.clone()
    }

    /// What is counted of log records, if anybody wants that.
    pub fn tally(&self) -> Option<Arc<Tally>> {
        self.tally.clone()
    }

    /// All series, for `/metrics`.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads until nothing comes any more. What still comes after [`close_inputs`](Self::close_inputs) is not read.
    pub async fn inputs_ended(&mut self) {
        ended(&mut self.readers).await;
        ended(&mut self.listeners).await;
    }

    /// Stops waiting for samples.
    pub fn close_inputs(&self) {
        self.closing.cancel();
    }

    /// Has documents that go by the logs sent by what `outlet` makes for them.
    pub fn go_by(&self, outlet: impl Fn(&sinks::emf::Config) -> Arc<dyn emf::Outlet>) {
        for (config, way) in &self.ways {
            // It is told once.
            let _ = way.set(outlet(config));
        }
    }

    /// Flushes what was gathered last: into other jobs' outputs, too.
    pub async fn flushed(&mut self) {
        self.closing.cancel();
        ended(&mut self.flushing).await;
        self.flusher.flush_rest();
    }

    /// Sends everything that is left.
    pub async fn outputs_drained(&mut self) {
        self.outputs.drained().await;
    }

    /// Gives up what is left.
    pub fn abandon(&self) {
        self.closing.cancel();
        self.outputs.abandon();
    }

    /// Starts an input that asks.
    fn ask(&mut self, input: &Input, name: &str, (has_outputs, seconds): (bool, Seconds), means: &Means<'_>) {
        let way = sinks::emf::Way::default();
        if let Input::Task(TaskStats { performance_events: Some(events), .. }) = input {
            self.ways.push((events.way(means.task), Arc::clone(&way)));
        }
        let asking = asking::Means {
            store: &self.store,
            seconds,
            has_outputs,
            closing: &self.closing,
            life: means.outputs.life,
            counters: means.outputs.counters,
            access: means.access,
            task: means.task,
            way: &way,
            metadata_uri: means.metadata_uri,
        };
        self.readers.extend(asking::start(input, name, &asking));
    }

    fn take_statsd(
        &mut self,
        name: &str,
        statsd: &Statsd,
        bound: BoundStatsd,
        (has_outputs, seconds): (bool, Seconds),
        means: &Means<'_>,
    ) {
        let (life, counters) = (means.outputs.life, means.outputs.counters);
        let source = self.store.source(statsd.publish.policy(has_outputs));
        // `config` has told what is wrong with them.
        let mappings = Mappings::new(&statsd.mappings).unwrap_or_default();
        let taker = Taker::new(source, mappings, statsd.signs_move_gauges.unwrap_or(true), statsd.client_metrics);
        let intake = Arc::new(Intake::new(taker, self.store.clone(), seconds, name, counters));
        for datagrams in bound.datagrams {
            match datagrams {
                Ok(datagrams) => {
                    let dropped = counters.metrics.dropped.clone();
                    let bursts = Bursts::new(datagrams, dropped, life.stopping(), self.closing.clone());
                    let reader = Arc::new(Reader::new(bursts, Arc::clone(&intake)));
                    self.readers.push(life.keep("statsd", move || burst::run(Arc::clone(&reader), Reader::read)));
                }
                Err(error) => error!(error = %chain(&error), "statsd is not taken there"),
            }
        }
        for listener in bound.streams {
            match listener {
                Ok(listener) => {
                    let serving = streams(listener, Arc::clone(&intake), life.clone(), self.closing.clone());
                    self.listeners.push(life.spawn("statsd", serving));
                }
                Err(error) => error!(error = %chain(&error), "statsd is not taken there"),
            }
        }
    }
}

fn documents_of(emf: &Emf, name: String, store: &Store, from: From<'_>) -> Arc<Documents> {
    let is_instead_of_logs = emf.deliver == Deliver::Metrics;
    let source = store.source(emf.publish().policy(from.has_outputs && is_instead_of_logs));
    let (store, counters, seconds) = (store.clone(), from.counters, from.seconds);
    let (rejected, samples) = (counters.metrics.rejected.clone(), counters.metrics.samples.clone());
    let setup =
        Setup { name, store, source, is_instead_of_logs, wants_records: emf.in_records, seconds, rejected, samples };
    Documents::new(setup)
}

fn tally_of(settings: &settings::Records, name: String, store: &Store, from: From<'_>) -> Arc<Tally> {
    let taker = Records::new(records::Setup {
        name,
        store: store.clone(),
        source: store.source(settings.publish().policy(from.has_outputs)),
        rules: settings.rules.clone(),
        seconds: from.seconds,
        rejected: from.counters.metrics.rejected.clone(),
        samples: from.counters.metrics.samples.clone(),
    });
    // `config` has told what is wrong with them.
    let rules = Rules::new(&settings.rules).unwrap_or_default();
    Arc::new(Tally { levels: settings.levels.unwrap_or(true), rules, taker })
}

fn points_of(otlp: &Otlp, name: String, store: &Store, from: From<'_>) -> Arc<Points> {
    let source = store.source(otlp.publish.policy(from.has_outputs));
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Points::new(super::otlp::Setup {
        name,
        store: store.clone(),
        source,
        resource_labels: otlp.resource_labels(),
        series_max: otlp.publish.series_max(),
        began: u64::try_from(began.as_nanos()).unwrap_or(u64::MAX),
        seconds: from.seconds,
        rejected: from.counters.metrics.rejected.clone(),
        samples: from.counters.metrics.samples.clone(),
    })
}

async fn streams(listener: Listener, intake: Arc<Intake>, life: crate::life::Life, closing: CancellationToken) {
    let (place, stopping) = (listener.place(), life.stopping());
    let one = |socket| listen::serve(Arc::clone(&intake), socket, stopping.clone(), closing.clone());
    let serving = serve(listener, STATSD_CONNECTIONS_MAX, &life, "statsd", stopping.clone(), closing.clone(), one);
    if let Err(error) = serving.await {
        error!(place, error = %chain(&error), "statsd is not taken there");
    }
}

fn sink(
    (output, name, way): (&Output, &Arc<str>, &sinks::emf::Way),
    outputs: &mut Outputs,
    (seconds, every): (Seconds, Duration),
    means: &Means<'_>,
) -> Sink {
    let account = means.outputs.ledger.books.account(&Holder { output: Arc::clone(name), source: METRICS.into() });
    match &output.to {
        Destination::Cloudwatch(config) => match client(config, means) {
            Ok(client) => {
                let destination = Arc::new(cloudwatch::CloudWatch::new(client));
                let output = outputs.add(name, destination, cloudwatch::rules(every), &means.outputs);
                Sink::CloudWatch(cloudwatch::Sink::new(output, account))
            }
            Err(problem) => unusable(name, &problem, account),
        },
        Destination::Emf(_) => Sink::Emf(Box::new(sinks::emf::Sink::new(Arc::clone(way), account))),
        Destination::Otlp(config) => {
            match out::backend(config, Signal::Metrics, means.access, means.task.region.as_deref()) {
                Ok(backend) => {
                    let output = outputs.add(name, Arc::new(backend), out::rules(), &means.outputs);
                    Sink::Otlp(Box::new(otlp::Sink::new(output, account, otlp::resource(means.task, config), seconds)))
                }
                Err(problem) => unusable(name, &problem, account),
            }
        }
    }
}

fn unusable(output: &Arc<str>, problem: &str, account: Arc<Account>) -> Sink {
    error!(output = &**output, problem, "output cannot work; what goes there is counted as lost");
    Sink::Nowhere(account)
}

fn client(config: &cloudwatch::Config, means: &Means<'_>) -> Result<Client, String> {
    let region = config.region.as_deref().or(means.access.region()).or(means.task.region.as_deref());
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let identity = Identity { role_arn: config.role_arn.clone(), ..Identity::default() };
    let client = means.access.client("monitoring", region, config.endpoint.as_deref(), &identity);
    client.map_err(|error| chain(&error).to_string())
}

/// The names of outputs: their own, else the kind and its number.
pub fn names(outputs: &[Output]) -> Vec<Arc<str>> {
    outputs::names(outputs.iter().map(|output| (output.to.kind(), output.name.as_deref())))
}
