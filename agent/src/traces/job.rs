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
    out::{Sink, xray},
    proxy::{self, Clients, Proxy},
    settings::{self, Destination, Input, Output, Traces},
    udp::{self, Reader},
};
use crate::{
    aws::{Access, Client, Identity},
    deliver::{
        books::Holder,
        lane,
        outputs::{self, Outputs, ended},
    },
    ecs::Metadata,
    net::{
        datagram::Datagrams,
        listen::{BindError, Listener},
    },
    tell::chain,
};

/// The container that segments are booked on: who sent a datagram is not known.
const SOURCE: &str = "xray";

/// Sockets of the job, bound before anything else happens, or why not.
#[derive(Debug, Default)]
pub struct Bound {
    datagrams: Vec<Result<Datagrams, BindError>>,
    proxies: Vec<(SocketAddr, settings::Proxy, Result<Listener, BindError>)>,
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
    proxies: Vec<JoinHandle<Option<()>>>,
    outputs: Outputs,
    closing: CancellationToken,
}

/// Binds all sockets of `traces`. One that cannot be bound is said at the start.
pub fn bind(traces: &Traces) -> Bound {
    let datagrams = traces.inputs.iter().map(|Input::Xray(xray)| {
        let receive = usize::try_from(xray.receive().0).unwrap_or(usize::MAX);
        Datagrams::bind(xray.address(), receive)
    });
    let datagrams = datagrams.collect();
    let proxies = traces.inputs.iter().filter_map(|Input::Xray(xray)| {
        let address = xray.tcp_address()?;
        Some((address, xray.proxy.clone(), Listener::tcp(address)))
    });
    Bound { datagrams, proxies: proxies.collect() }
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
        let mut job = Self { readers: Vec::new(), proxies: Vec::new(), outputs, closing };
        let outputs = traces.running();
        let named: Vec<_> = names(&outputs).into_iter().zip(&outputs).collect();
        let mut destinations = Vec::new();
        for (name, output) in &named {
            destinations.push(job.destination(name, output, means));
        }
        let life = means.outputs.life;
        for (address, settings, listener) in bound.proxies {
            match listener {
                Ok(listener) => job.pass_on(listener, address, &with_output(settings, &outputs), means),
                Err(error) => error!(error = %chain(&error), "sampling rules cannot be asked for there"),
            }
        }
        for bound in bound.datagrams {
            let datagrams = match bound {
                Ok(datagrams) => datagrams,
                Err(error) => {
                    error!(error = %chain(&error), "segments are not taken there");
                    continue;
                }
            };
            let sinks = named.iter().zip(&destinations).map(|((name, _), destination)| {
                let holder = Holder { output: Arc::clone(name), source: SOURCE.into() };
                let account = means.outputs.ledger.books.account(&holder);
                match destination {
                    Some(output) => Sink::Xray(xray::Sink::new(Arc::clone(output), account)),
                    None => Sink::Nowhere(account),
                }
            });
            let (counters, closing) = (means.outputs.counters, job.closing.clone());
            let reader = Arc::new(Reader::new(datagrams, sinks.collect(), counters, life.stopping(), closing));
            job.readers.push(life.keep("segments", move || udp::run(Arc::clone(&reader))));
        }
        job
    }

    /// Reads until nothing comes any more. What still comes after `closing` is not read.
    pub async fn inputs_ended(&mut self) {
        ended(&mut self.readers).await;
        ended(&mut self.proxies).await;
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
        self.proxies.push(means.outputs.life.spawn("xray proxy", async move {
            if let Err(error) = proxy::serve(listener, proxy, &life, closing).await {
                error!(error = %error, "the tcp port for sdks ended; restart the agent");
            }
        }));
    }

    fn destination(
        &mut self,
        name: &Arc<str>,
        output: &Output,
        means: &Means<'_>,
    ) -> Option<Arc<lane::Output<xray::XRay>>> {
        let Destination::Xray(config) = &output.to;
        let xray::Config { region, endpoint, role_arn, .. } = config;
        match client("xray", region.as_deref(), endpoint.as_deref(), role_arn.as_deref(), means) {
            Ok(client) => {
                Some(self.outputs.add(name, Arc::new(xray::XRay::new(client, config)), xray::rules(), &means.outputs))
            }
            Err(problem) => {
                error!(output = &**name, problem, "output cannot work; its segments are counted as lost");
                None
            }
        }
    }
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

/// What the settings of a proxy leave open is as in the first output to X-Ray.
fn with_output(mut settings: settings::Proxy, outputs: &[Output]) -> settings::Proxy {
    let first = outputs.iter().map(|output| {
        let Destination::Xray(config) = &output.to;
        config
    });
    if let Some(first) = first.into_iter().next() {
        settings.region = settings.region.or_else(|| first.region.clone());
        settings.role_arn = settings.role_arn.or_else(|| first.role_arn.clone());
        settings.endpoint = settings.endpoint.or_else(|| first.endpoint.clone());
    }
    settings
}

/// The names of outputs: their own, else the kind and its number.
pub fn names(outputs: &[Output]) -> Vec<Arc<str>> {
    outputs::names(outputs.iter().map(|output| (output.to.kind(), output.name.as_deref())))
}
