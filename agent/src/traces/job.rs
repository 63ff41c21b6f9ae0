//! The traces job put together: outputs with their engines, and sockets with their readers.
//!
//! Promises: an address that is taken, or an output that cannot work, keeps nothing else from working, and is said; stopping
//! follows the way of the segments, sockets first, then outputs.
//! Never: fails.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    out::{Sink, xray},
    settings::{Destination, Input, Output, Traces},
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
    net::{datagram::Datagrams, listen::BindError},
    tell::chain,
};

/// The container that segments are booked on: who sent a datagram is not known.
const SOURCE: &str = "xray";

/// Sockets of the job, bound before anything else happens, or why not.
#[derive(Debug, Default)]
pub struct Bound(Vec<Result<Datagrams, BindError>>);

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
    outputs: Outputs,
    closing: CancellationToken,
}

/// Binds all sockets of `traces`. One that cannot be bound is said at the start.
pub fn bind(traces: &Traces) -> Bound {
    let sockets = traces.inputs.iter().map(|Input::Xray(xray)| {
        let receive = usize::try_from(xray.receive().0).unwrap_or(usize::MAX);
        Datagrams::bind(xray.address(), receive)
    });
    Bound(sockets.collect())
}

impl Bound {
    /// Where the job listens, for people.
    pub fn places(&self) -> Vec<String> {
        self.0.iter().flatten().map(Datagrams::place).collect()
    }
}

impl Job {
    /// Starts everything.
    pub fn start(traces: &Traces, bound: Bound, means: &Means<'_>) -> Self {
        let mut job = Self { readers: Vec::new(), outputs: Outputs::default(), closing: CancellationToken::new() };
        let outputs = traces.running();
        let named: Vec<_> = names(&outputs).into_iter().zip(&outputs).collect();
        let mut destinations = Vec::new();
        for (name, output) in &named {
            destinations.push(job.destination(name, output, means));
        }
        let life = means.outputs.life;
        for bound in bound.0 {
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

    fn destination(
        &mut self,
        name: &Arc<str>,
        output: &Output,
        means: &Means<'_>,
    ) -> Option<Arc<lane::Output<xray::XRay>>> {
        let Destination::Xray(config) = &output.to;
        match client(config, means) {
            Ok(client) => {
                Some(self.outputs.add(name, Arc::new(xray::XRay::new(client)), xray::rules(), &means.outputs))
            }
            Err(problem) => {
                error!(output = &**name, problem, "output cannot work; its segments are counted as lost");
                None
            }
        }
    }
}

fn client(config: &xray::Config, means: &Means<'_>) -> Result<Client, String> {
    let region = config.region.as_deref().or(means.access.region()).or(means.task.region.as_deref());
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let identity = Identity { role_arn: config.role_arn.clone(), ..Identity::default() };
    let client = means.access.client("xray", region, config.endpoint.as_deref(), &identity);
    client.map_err(|error| chain(&error).to_string())
}

/// The names of outputs: their own, else the kind and its number.
pub fn names(outputs: &[Output]) -> Vec<Arc<str>> {
    let mut numbers = HashMap::new();
    let name = |output: &Output| {
        let kind = output.to.kind();
        let number = numbers.entry(kind).or_insert(0);
        let name = output.name.clone().unwrap_or_else(|| format!("{kind}.{number}"));
        *number += 1;
        name.into()
    };
    outputs.iter().map(name).collect()
}
