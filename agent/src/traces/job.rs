//! The traces job put together: outputs with their engines, and sockets with their readers.
//!
//! Promises: an address that is taken, or an output that cannot work, keeps nothing else from working, and is said; stopping
//! follows the way of the segments, sockets first, then outputs.
//! Never: fails.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    choice::{self, Choice},
    out::{
        Sink, SpanSink,
        segments::Segments,
        spans_of_segments::SpansOfSegments,
        xray::{self, Spans as As},
    },
    proxy::{self, Clients, Proxy},
    sampling::{Sampler, Sampling},
    segment,
    settings::{self, Destination, Input, Output, Traces, names},
    spans::Spans,
    udp::Reader,
};
use crate::{
    aws::{Access, Client, Identity},
    deliver::{
        books::{Account, Holder},
        lane,
        outputs::{self, Outputs, ended},
    },
    ecs::Metadata,
    net::{
        burst::{self, Bursts},
        datagram::Datagrams,
        listen::{BindError, Listener},
    },
    otlp::{
        out::{
            self,
            search::{self, Open},
        },
        taker::Taker,
        task::Task,
        walk::Signal,
    },
    tell::chain,
};

/// The containers that segments and spans are booked on: who sent them is not known.
const SEGMENTS: &str = "xray";
const SPANS: &str = "otlp";

/// Sockets of the job, bound before anything else happens, or why not.
#[derive(Debug, Default)]
pub struct Bound {
    datagrams: Vec<Result<Datagrams, BindError>>,
    proxies: Vec<(SocketAddr, settings::Proxy, Result<Listener, BindError>)>,
}

/// An output while the job is put together.
struct Made {
    name: Arc<str>,
    takes_segments: bool,
    /// How spans go there.
    spans: As,
    /// The number of the output that has this one beside it.
    beside: Option<usize>,
    /// For outputs that choose, and the ones beside them: whether X-Ray takes spans.
    open: Arc<Open>,
    to: To,
}

/// What an output became.
enum To {
    Xray(Arc<lane::Output>, Arc<segment::Settings>),
    Otlp(Arc<lane::Output>, Task),
    /// It cannot work.
    Nothing,
}

/// What the job needs of the rest of the agent.
pub struct Means<'a> {
    /// To deliver.
    pub outputs: outputs::Means<'a>,
    /// To speak to AWS.
    pub access: &'a Access,
    /// Who we are.
    pub task: &'a Metadata,
}

/// The running job.
pub struct Job {
    readers: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<Option<()>>>,
    outputs: Outputs,
    spans: Option<Arc<dyn Taker>>,
    closing: CancellationToken,
}

/// Binds all sockets of `traces`. One that cannot be bound is said at the start.
pub fn bind(traces: &Traces) -> Bound {
    let mut bound = Bound::default();
    for input in &traces.inputs {
        match input {
            Input::Xray(xray) => {
                let receive = usize::try_from(xray.receive().0).unwrap_or(usize::MAX);
                bound.datagrams.push(Datagrams::bind(xray.address(), receive));
                let proxy = |address| (address, xray.proxy.clone(), Listener::tcp(address));
                bound.proxies.extend(xray.tcp_address().map(proxy));
            }
            // It is not ours alone; see `otlp::input`.
            Input::Otlp(_) => {}
        }
    }
    bound
}

impl Bound {
    /// Where the job listens, for people.
    pub fn places(&self) -> Vec<String> {
        let proxies = self.proxies.iter().flat_map(|(_, _, listener)| listener).map(Listener::place);
        self.datagrams.iter().flatten().map(Datagrams::place).chain(proxies).collect()
    }
}

impl Job {
    /// Starts everything.
    pub fn start(traces: &Traces, bound: Bound, means: &Means<'_>) -> Self {
        let (outputs, closing) = (Outputs::default(), CancellationToken::new());
        let mut job = Self { readers: Vec::new(), listeners: Vec::new(), outputs, spans: None, closing };
        let outputs = traces.running();
        let opens: Vec<Arc<Open>> = outputs.iter().map(|_| Arc::default()).collect();
        let named = names(&outputs).into_iter().zip(&outputs).enumerate();
        let made: Vec<_> = named
            .map(|(number, (name, output))| {
                let open = Arc::clone(&opens[output.beside.unwrap_or(number)]);
                let to = job.destination(&name, output, &open, means);
                let (takes_segments, spans, beside) = (output.takes_segments(&outputs), output.spans(), output.beside);
                Made { name, takes_segments, spans, beside, open, to }
            })
            .collect();
        for (address, settings, listener) in bound.proxies {
            match listener {
                Ok(listener) => job.pass_on(listener, address, &settings.beside(&outputs), means),
                Err(error) => error!(error = %chain(&error), "sampling rules cannot be asked for there"),
            }
        }
        for datagrams in bound.datagrams {
            match datagrams {
                Ok(datagrams) => job.read_segments(datagrams, &made, means),
                Err(error) => error!(error = %chain(&error), "segments are not taken there"),
            }
        }
        job.spans = traces.otlp().next().map(|_| spans(traces.sampling.as_ref(), &made, means));
        for output in made.iter().filter_map(|made| made.beside).filter(|&number| made[number].spans == As::Auto) {
            let Destination::Xray(config) = &outputs[output].to else { continue };
            follow(&made[output], config, means);
        }
        job
    }

    /// Who takes spans that come by OTLP, if anybody wants some.
    pub fn spans(&self) -> Option<Arc<dyn Taker>> {
        self.spans.clone()
    }

    /// Reads until nothing comes any more. What still comes after `closing` is not read.
    pub async fn inputs_ended(&mut self) {
        ended(&mut self.readers).await;
        ended(&mut self.listeners).await;
    }

    /// Stops waiting for segments.
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

    fn read_segments(&mut self, datagrams: Datagrams, made: &[Made], means: &Means<'_>) {
        let account = |name| account(name, SEGMENTS, means);
        let unmade = &means.outputs.counters.traces.unmade;
        let sinks = made.iter().filter(|made| made.takes_segments).map(|Made { name, to, .. }| match to {
            To::Xray(output, _) => Sink::Xray(xray::Sink::new(Arc::clone(output), account(name))),
            To::Otlp(output, task) => {
                let sink = out::Sink::new(Arc::clone(output), account(name), Signal::Traces);
                Sink::Otlp(Box::new(SpansOfSegments::new(sink, account(name), task.clone(), name, unmade)))
            }
            To::Nothing => Sink::Nowhere(account(name)),
        });
        let sinks: Vec<_> = sinks.collect();
        let asked = sinks.iter().any(Sink::asks_for_sources);
        let datagrams = if asked { datagrams.telling_sources() } else { datagrams };
        let (life, counters) = (means.outputs.life, means.outputs.counters);
        let overflowed = counters.traces.overflowed.clone();
        let bursts = Bursts::new(datagrams, overflowed, life.stopping(), self.closing.clone());
        let reader = Arc::new(Reader::new(bursts, sinks, counters));
        self.readers.push(life.keep("segments", move || burst::run(Arc::clone(&reader), Reader::read)));
    }

    /// Passes on what SDKs ask through `listener`.
    fn pass_on(&mut self, listener: Listener, address: SocketAddr, settings: &settings::Proxy, means: &Means<'_>) {
        let client = |service, endpoint: &Option<String>| {
            client(service, settings.region.as_deref(), endpoint.as_deref(), settings.role_arn.as_deref(), means)
        };
        let clients = Clients {
            xray: client("xray", &settings.endpoint),
            application_signals: client("application-signals", &settings.application_signals_endpoint),
        };
        let proxy = Arc::new(Proxy::new(address, settings, clients, means.outputs.counters));
        let (life, closing) = (means.outputs.life.clone(), self.closing.clone());
        self.listeners.push(means.outputs.life.spawn("xray proxy", async move {
            if let Err(error) = proxy::serve(listener, proxy, &life, closing).await {
                error!(error = %error, "the tcp port for sdks ended; restart the agent");
            }
        }));
    }

    fn destination(&mut self, name: &Arc<str>, output: &Output, open: &Arc<Open>, means: &Means<'_>) -> To {
        let made = match &output.to {
            Destination::Xray(config) => x_ray(config, means).map(|client| {
                let destination = Arc::new(xray::XRay::new(client, config));
                let output = self.outputs.add(name, destination, xray::rules(), &means.outputs);
                To::Xray(output, Arc::new(config.mapping(means.task)))
            }),
            Destination::Otlp(config) => {
                let backend = out::backend(config, Signal::Traces, means.access, means.task.region.as_deref());
                backend.map(|backend| {
                    let backend = Arc::new(backend.telling(Arc::clone(open)));
                    let output = self.outputs.add(name, backend, out::rules(), &means.outputs);
                    To::Otlp(output, config.task(means.task))
                })
            }
        };
        made.unwrap_or_else(|problem| {
            error!(output = &**name, problem, "output cannot work; what goes there is counted as lost");
            To::Nothing
        })
    }
}

/// Who takes spans for the outputs that were `made`.
fn spans(sampling: Option<&Sampling>, made: &[Made], means: &Means<'_>) -> Arc<dyn Taker> {
    let sinks = made.iter().filter_map(|output| {
        let choosing = output.beside.map_or(output.spans, |number| made[number].spans);
        match (choosing, output.beside) {
            (As::Segments, _) | (As::Otlp, Some(_)) => Some(span_sink(output, means)),
            (As::Otlp, None) => None,
            // It has two ways, and goes there once.
            (As::Auto, None) => None,
            (As::Auto, Some(number)) => {
                let (open, segments) = (Arc::clone(&output.open), span_sink(&made[number], means));
                let choice = Choice { open, spans: span_sink(output, means), segments };
                Some(SpanSink::Chosen(Box::new(choice)))
            }
        }
    });
    let spans = Spans::new(sinks.collect());
    match sampling {
        Some(sampling) => Arc::new(Sampler::new(sampling.clone(), spans, &means.outputs.counters.traces.sampled)),
        None => Arc::new(spans),
    }
}

/// How spans get to the output that was made as `to`.
fn span_sink(Made { name, to, .. }: &Made, means: &Means<'_>) -> SpanSink {
    let account = account(name, SPANS, means);
    match to {
        To::Otlp(output, task) => {
            SpanSink::Otlp(out::Sink::new(Arc::clone(output), account, Signal::Traces), task.clone())
        }
        To::Xray(output, mapping) => {
            let shrunk = means.outputs.counters.traces.shrunk.with_label_values(&[&**name]);
            let sink = xray::Sink::new(Arc::clone(output), account);
            SpanSink::Xray(Segments::new(sink, Arc::clone(mapping), shrunk))
        }
        To::Nothing => SpanSink::Nowhere(account),
    }
}

/// Asks X-Ray which way spans go to the output that was `made` of `config`.
fn follow(made: &Made, config: &xray::Config, means: &Means<'_>) {
    // One that has no client cannot work at all, which is said already.
    let Ok(client) = x_ray(config, means) else { return };
    let (name, open, ended) = (Arc::clone(&made.name), Arc::clone(&made.open), means.outputs.life.stopping());
    means.outputs.life.spawn("x-ray's destination", async move {
        ended.run_until_cancelled(choice::follow(&name, &open, || search::is_on(&client))).await;
    });
}

fn account(name: &Arc<str>, source: &str, means: &Means<'_>) -> Arc<Account> {
    means.outputs.ledger.books.account(&Holder { output: Arc::clone(name), source: source.into() })
}

/// X-Ray, as `config` says.
fn x_ray(config: &xray::Config, means: &Means<'_>) -> Result<Client, String> {
    client("xray", config.region.as_deref(), config.endpoint.as_deref(), config.role_arn.as_deref(), means)
}

fn client(
    service: &'static str,
    region: Option<&str>,
    endpoint: Option<&str>,
    role_arn: Option<&str>,
    means: &Means<'_>,
) -> Result<Client, String> {
    let region = region.or(means.access.region()).or(means.task.region.as_deref());
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let identity = Identity { role_arn: role_arn.map(str::to_owned), ..Identity::default() };
    let client = means.access.client(service, region, endpoint, &identity);
    client.map_err(|error| chain(&error).to_string())
}
