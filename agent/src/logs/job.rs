//! The logs job put together: outputs with their engines, filters, routes, listeners.
//!
//! Promises: an output that cannot work (no region) does not keep the others from working: its records are counted as lost;
//! stopping follows the way of the records, listeners first, then outputs.
//! Never: fails once the listeners are bound.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    emf_input::{self, Reader},
    filter::Filter,
    forward::{self, Buffers, Meters, session},
    json_input,
    mask::Masks,
    otlp_input,
    out::{Sink, cloudwatch, file},
    record::{EventTime, Pair, Record, Uuid, Value},
    route::{Branch, Router},
    settings::{self, Input, Logs},
};
use crate::{
    aws::Access,
    deliver::{
        Rules,
        books::Lost,
        outputs::{self, Outputs, ended},
    },
    ecs::Metadata,
    emf,
    net::{
        burst::{self, Bursts},
        datagram::Datagrams,
        listen::{self, BindError, Listener},
        partial::Partials,
    },
    otlp::taker::Taker,
    tally::Tally,
    tell::chain,
};

/// Bytes of documents in datagrams that the kernel may keep until they are read.
const RECEIVE_BYTES: usize = 1 << 20;

/// Listeners of the job, bound before anything else happens.
#[derive(Debug, Default)]
pub struct Bound {
    listeners: Vec<(Input, Listener)>,
    datagrams: Vec<(settings::Emf, Datagrams)>,
}

/// What the job needs of the rest of the agent.
pub struct Means<'a> {
    /// To deliver.
    pub outputs: outputs::Means<'a>,
    /// Connections of one listener at a time.
    pub connections_max: usize,
    /// To speak to AWS.
    pub access: &'a Access,
    /// What is masked in records.
    pub masks: &'a Masks,
    /// Who we are.
    pub task: &'a Metadata,
    /// Who takes metrics out of documents of the embedded metric format.
    pub documents: Option<Arc<dyn emf::Taker>>,
    /// What is counted of records.
    pub tally: Option<Arc<Tally>>,
}

/// The running job.
pub struct Job {
    readers: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<Option<()>>>,
    outputs: Outputs,
    records: Option<Arc<dyn Taker>>,
    router: Arc<Router>,
    masks: Masks,
    /// Cancelled when connections must not be waited for any longer.
    closing: CancellationToken,
}

/// Binds all listeners of `logs`.
pub fn bind(logs: &Logs) -> Result<Bound, BindError> {
    let mut bound = Bound::default();
    for input in &logs.inputs {
        match input {
            Input::Forward(forward) => {
                if let Some(path) = &forward.unix {
                    let permissions = forward.unix_permissions.map(|permissions| permissions.0);
                    bound.listeners.push((input.clone(), Listener::unix(path, permissions)?));
                }
                if let Some(address) = forward.tcp {
                    bound.listeners.push((input.clone(), Listener::tcp(address)?));
                }
            }
            Input::Json(json) => bound.listeners.push((input.clone(), Listener::tcp(json.tcp)?)),
            Input::Emf(emf) => {
                if let Some(address) = emf.udp_address() {
                    bound.datagrams.push((emf.clone(), Datagrams::bind(address, RECEIVE_BYTES)?));
                }
                if let Some(address) = emf.tcp_address() {
                    bound.listeners.push((input.clone(), Listener::tcp(address)?));
                }
            }
            // It is not ours alone; see `otlp::input`.
            Input::Otlp(_) => {}
        }
    }
    Ok(bound)
}

impl Bound {
    /// Where the job listens, for people.
    pub fn places(&self) -> Vec<String> {
        let datagrams = self.datagrams.iter().map(|(_, datagrams)| datagrams.place());
        self.listeners.iter().map(|(_, listener)| listener.place()).chain(datagrams).collect()
    }
}

impl Job {
    /// Starts everything.
    pub fn start(logs: &Logs, bound: Bound, means: &Means<'_>) -> Self {
        let (mut outputs, closing) = (Outputs::default(), CancellationToken::new());
        let branches = names(&logs.outputs).into_iter().zip(&logs.outputs).map(|(name, output)| Branch {
            sink: sink(&mut outputs, &name, &output.to, means),
            name,
            pattern: output.pattern.clone(),
        });
        let branches = branches.collect();
        let router =
            Router::new(filters(logs), branches, means.outputs.ledger.books.clone(), means.outputs.counters.clone());
        let router = match means.documents.as_ref().filter(|taker| taker.wants_records()) {
            Some(taker) => router.with_documents_for(Arc::clone(taker)),
            None => router,
        };
        let router = Arc::new(router.counting(means.tally.clone()));
        let records = logs.otlp().next().map(|_| {
            let meters = Meters::new(means.outputs.counters, "otlp");
            otlp_input::Records::new(router.route(otlp_input::TAG), means.masks, meters) as Arc<dyn Taker>
        });
        let (readers, listeners, masks) = (Vec::new(), Vec::new(), means.masks.clone());
        let mut job = Self { readers, listeners, outputs, records, router: Arc::clone(&router), masks, closing };
        job.listen(bound, &router, means);
        job
    }

    /// Sends a record of the agent's own on its way: `text` in the field `log`, as a container's line has it. Before the outputs are drained.
    pub fn say(&self, tag: &str, text: &str) {
        let (route, now) = (self.router.route(tag.as_bytes()), EventTime::now());
        let pair = Pair { key: Value::Str(b"log"), value: Value::Str(text.as_bytes()) };
        let mut record = Record { time: now, bytes: text.len(), pairs: vec![pair], ..Record::default() };
        route.begin().push_one(&mut record, now);
    }

    /// Who takes records that come by OTLP, if anybody wants some.
    pub fn records(&self) -> Option<Arc<dyn Taker>> {
        self.records.clone()
    }

    /// Takes documents that the metrics job makes, with this tag, to this group and stream if they are named.
    pub fn outlet(&self, tag: &str, group: Option<&str>, stream: Option<&str>) -> Arc<dyn emf::Outlet> {
        emf_input::Made::new(self.router.route(tag.as_bytes()), &self.masks, group, stream)
    }

    /// Reads until the peers are done. What still comes after `closing` is not read.
    pub async fn inputs_ended(&mut self) {
        ended(&mut self.readers).await;
        ended(&mut self.listeners).await;
    }

    /// Stops waiting for peers.
    pub fn close_inputs(&self) {
        self.closing.cancel();
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

    fn listen(&mut self, bound: Bound, router: &Arc<Router>, means: &Means<'_>) {
        let (buffers, partials) = (Arc::new(Buffers::default()), Arc::new(Partials::default()));
        let stopping = means.outputs.life.stopping();
        for (number, (config, datagrams)) in bound.datagrams.into_iter().enumerate() {
            let input = documents(&config, &format!("emf_udp.{number}"), router, means);
            let dropped = means.outputs.counters.emf.overflowed.clone();
            let bursts = Bursts::new(datagrams, dropped, stopping.clone(), self.closing.clone());
            let reader = Arc::new(Reader::new(bursts, input));
            self.readers.push(means.outputs.life.keep("emf", move || burst::run(Arc::clone(&reader), Reader::read)));
        }
        for (number, (input, listener)) in bound.listeners.into_iter().enumerate() {
            let (life, most) = (means.outputs.life.clone(), means.connections_max);
            let closing = self.closing.clone();
            let stopping = stopping.clone();
            let served: Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> = match input {
                Input::Forward(config) => {
                    let meters = Meters::new(means.outputs.counters, &format!("forward.{number}"));
                    let context = Arc::new(session::Context {
                        settings: forward::Settings::from(&config),
                        router: Arc::clone(router),
                        masks: means.masks.clone(),
                        meters,
                        buffers: Arc::clone(&buffers),
                        partials: Arc::clone(&partials),
                        stopping: stopping.clone(),
                        closing: closing.clone(),
                    });
                    let serve = move |socket| session::Session::serve(Arc::clone(&context), socket);
                    Box::pin(
                        async move { listen::serve(listener, most, &life, "forward", stopping, closing, serve).await },
                    )
                }
                Input::Json(config) => {
                    let context = Arc::new(json_input::session::Context {
                        route: router.route(config.tag.as_bytes()),
                        masks: means.masks.clone(),
                        meters: Meters::new(means.outputs.counters, &format!("json.{number}")),
                        buffers: Arc::clone(&buffers),
                        partials: Arc::clone(&partials),
                        stopping: stopping.clone(),
                        closing: closing.clone(),
                    });
                    let serve = move |socket| json_input::session::serve(Arc::clone(&context), socket);
                    Box::pin(
                        async move { listen::serve(listener, most, &life, "json", stopping, closing, serve).await },
                    )
                }
                Input::Emf(config) => {
                    let context = Arc::new(emf_input::session::Context {
                        input: documents(&config, &format!("emf.{number}"), router, means),
                        buffers: Arc::clone(&buffers),
                        partials: Arc::clone(&partials),
                        stopping: stopping.clone(),
                        closing: closing.clone(),
                    });
                    let serve = move |socket| emf_input::session::serve(Arc::clone(&context), socket);
                    Box::pin(async move { listen::serve(listener, most, &life, "emf", stopping, closing, serve).await })
                }
                // Has no listener here.
                Input::Otlp(_) => continue,
            };
            self.listeners.push(means.outputs.life.spawn("listener", async move {
                if let Err(error) = served.await {
                    error!(error = %error, "a listener ended; restart the agent");
                }
            }));
        }
    }
}

fn sink(outputs: &mut Outputs, name: &Arc<str>, to: &settings::Destination, means: &Means<'_>) -> Sink {
    match to {
        settings::Destination::Cloudwatch(config) => {
            cloudwatch(outputs, name, config, means).unwrap_or_else(|problem| {
                error!(output = &**name, problem, "output cannot work; its records are counted as lost");
                Sink::Nowhere(Lost::OutputUnusable)
            })
        }
        settings::Destination::File(config) => {
            let output = outputs.add(name, Arc::new(file::Folder::new(config)), Rules::default(), &means.outputs);
            Sink::File(file::Sink::new(output))
        }
        settings::Destination::Discard(_) => Sink::Discard,
        settings::Destination::Unsupported { plugin } => {
            warn!(output = &**name, plugin, "output is not supported; its records are counted as lost");
            Sink::Nowhere(Lost::OutputNotSupported)
        }
    }
}

fn cloudwatch(
    outputs: &mut Outputs,
    name: &Arc<str>,
    config: &cloudwatch::Config,
    means: &Means<'_>,
) -> Result<Sink, String> {
    let region = config.region.as_deref().or(means.access.region()).or(means.task.region.as_deref());
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let client = means.access.client("logs", region, config.endpoint.as_deref(), &config.identity());
    let client = client.map_err(|error| chain(&error).to_string())?;
    let client = client.with_user_agent(config.extra_user_agent.as_deref().unwrap_or_default());
    let unique = String::from_utf8_lossy(&Uuid::random().text()).into_owned();
    let naming = cloudwatch::Naming::new(config, means.task, &unique)?;
    let log_key = config.log_key.clone();
    let message = log_key.map_or(cloudwatch::Message::Record, |key| cloudwatch::Message::Field(key.into()));
    let destination = Arc::new(cloudwatch::CloudWatch::new(client, config));
    let output = outputs.add(name, destination, config.rules(), &means.outputs);
    let truncated = means.outputs.counters.logs_truncated_records.with_label_values(&[&**name]);
    Ok(Sink::Cloudwatch(cloudwatch::Sink::new(output, naming, message, truncated)))
}

/// What becomes of documents that come to an input called `name`.
fn documents(config: &settings::Emf, name: &str, router: &Arc<Router>, means: &Means<'_>) -> Arc<emf_input::Input> {
    Arc::new(emf_input::Input {
        route: router.route(config.tag().as_bytes()),
        masks: means.masks.clone(),
        meters: Meters::new(means.outputs.counters, name),
        routing: config.routing,
        log_group: config.log_group.clone(),
        taker: means.documents.clone(),
        counters: means.outputs.counters.emf.clone(),
    })
}

fn filters(logs: &Logs) -> Vec<Filter> {
    let made = logs.filters.iter().filter_map(|settings| {
        // Our own YAML was checked with the same function before the start; a Fluent Bit file was warned about.
        Filter::new(settings).inspect_err(|problem| error!(problem, "filter is left out")).ok()
    });
    made.collect()
}

/// The names of outputs: their own, else the kind and its number.
pub fn names(outputs: &[settings::Output]) -> Vec<Arc<str>> {
    outputs::names(outputs.iter().map(|output| (output.to.kind(), output.name.as_deref())))
}
