//! The addresses on which OTLP comes in.
//!
//! Each section of the configuration that wants a signal names the addresses on which it comes, and unless they say otherwise all name the
//! same two. So an address belongs to no job: it is bound once, and takes the signals of all sections that name it.
//!
//! Promises: an address that is taken keeps nothing else from working, and is said; where sections differ the larger request is taken, and the
//! stronger acknowledgement given.
//! Never: knows a job.

use std::{net::SocketAddr, sync::Arc};

use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    serve,
    taker::{Rules, Taker, Takers},
    walk::Signal,
};
use crate::{
    deliver::{ack::AckLevel, outputs::ended},
    life::Life,
    limits::{OTLP_CONNECTIONS_MAX, OTLP_REQUEST_BYTES_MAX},
    net::listen::{BindError, Listener},
    tell::{chain, counters::Counters},
    units::ByteSize,
};

/// Settings of an `otlp` input. Each address takes gRPC and HTTP, so that a client with the wrong port is served too. Sections that
/// name the same address share it.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address for gRPC. Default `127.0.0.1:4317`.
    pub grpc: Option<SocketAddr>,
    /// Address for HTTP, protobuf or JSON. Default `127.0.0.1:4318`.
    pub http: Option<SocketAddr>,
    /// The largest request taken, before and after decompression, 64 KiB to 64 MiB. Default 16 MiB.
    pub request_bytes_max: Option<ByteSize>,
    /// What it means that a request is answered: its spans or records are `accepted` (default: in memory), `spooled` (on disk or
    /// delivered; needs `spool.path`) or `delivered`. If one of them is lost, the client is told to send the request again.
    pub ack: AckLevel,
}

impl Config {
    /// Where it listens.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        let or = |address: Option<SocketAddr>, port| address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], port)));
        [or(self.grpc, 4317), or(self.http, 4318)]
    }

    /// The largest request taken.
    pub fn request_bytes(&self) -> ByteSize {
        self.request_bytes_max.unwrap_or(ByteSize(OTLP_REQUEST_BYTES_MAX as u64))
    }
}

/// An address, and what is wanted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: SocketAddr,
    signals: Vec<Signal>,
    /// The largest request taken there.
    pub request_bytes_max: usize,
    ack: AckLevel,
}

/// Addresses, bound before anything else happens, or why not.
#[derive(Debug, Default)]
pub struct Bound(Vec<(Place, Result<Listener, BindError>)>);

/// What listens.
pub struct Listening {
    listeners: Vec<JoinHandle<Option<()>>>,
    /// Cancelled when connections must not be waited for any longer.
    closing: CancellationToken,
}

/// The addresses that `inputs` name, each once.
pub fn places<'c>(inputs: impl IntoIterator<Item = (Signal, &'c Config)>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (signal, config) in inputs {
        let request_bytes_max = usize::try_from(config.request_bytes().0).unwrap_or(usize::MAX);
        for address in config.addresses() {
            // Port 0 is another one each time.
            let same = places.iter_mut().find(|place| place.address == address && address.port() != 0);
            match same {
                Some(place) => {
                    place.signals.push(signal);
                    place.request_bytes_max = place.request_bytes_max.max(request_bytes_max);
                    place.ack = place.ack.max(config.ack);
                }
                None => places.push(Place { address, signals: vec![signal], request_bytes_max, ack: config.ack }),
            }
        }
    }
    places
}

/// Binds the addresses that `inputs` name.
pub fn bind<'c>(inputs: impl IntoIterator<Item = (Signal, &'c Config)>) -> Bound {
    let bound = places(inputs).into_iter().map(|place| {
        let listener = Listener::tcp(place.address);
        (place, listener)
    });
    Bound(bound.collect())
}

impl Bound {
    /// Where it listens, for people.
    pub fn places(&self) -> Vec<String> {
        self.0.iter().flat_map(|(_, listener)| listener).map(Listener::place).collect()
    }
}

impl Listening {
    /// Hands what comes to `takers`, on each address the signals that are wanted there.
    pub fn start(bound: Bound, takers: &Takers, life: &Life, counters: &Counters) -> Self {
        let (mut listeners, closing) = (Vec::new(), CancellationToken::new());
        for (place, listener) in bound.0 {
            match listener {
                Ok(listener) => {
                    let serving =
                        serve_place(listener, place, takers, (life.clone(), counters.clone()), closing.clone());
                    listeners.push(life.spawn("otlp", serving));
                }
                Err(error) => error!(error = %chain(&error), "otlp is not taken there"),
            }
        }
        Self { listeners, closing }
    }

    /// Reads until the peers are done. What still comes after [`close`](Self::close) is not read.
    pub async fn ended(&mut self) {
        ended(&mut self.listeners).await;
    }

    /// Stops waiting for peers.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

fn serve_place(
    listener: Listener,
    place: Place,
    takers: &Takers,
    (life, counters): (Life, Counters),
    closing: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let wanted = |signal, taker: &Option<Arc<dyn Taker>>| taker.clone().filter(|_| place.signals.contains(&signal));
    let takers = Takers {
        traces: wanted(Signal::Traces, &takers.traces),
        logs: wanted(Signal::Logs, &takers.logs),
        metrics: wanted(Signal::Metrics, &takers.metrics),
    };
    let Place { request_bytes_max, ack, .. } = place;
    let rules = Rules { request_bytes_max, ack, connections_max: OTLP_CONNECTIONS_MAX };
    async move {
        let place = listener.place();
        if let Err(error) = serve::serve(listener, takers, rules, &life, &counters, closing).await {
            error!(place, error = %chain(&error), "otlp is not taken there");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_name_an_address_share_it() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let traces = Config { ack: AckLevel::Delivered, ..Config::default() };
        let metrics = Config { request_bytes_max: Some(ByteSize::mebibytes(32)), ..Config::default() };
        let logs = Config { grpc: Some(address(9)), ..Config::default() };
        let place = |port, signals: &[Signal], mebibytes: usize, ack| Place {
            address: address(port),
            signals: signals.to_vec(),
            request_bytes_max: mebibytes << 20,
            ack,
        };
        assert_eq!(
            places([(Signal::Traces, &traces), (Signal::Metrics, &metrics), (Signal::Logs, &logs)]),
            [
                place(4317, &[Signal::Traces, Signal::Metrics], 32, AckLevel::Delivered),
                place(4318, &[Signal::Traces, Signal::Metrics, Signal::Logs], 32, AckLevel::Delivered),
                place(9, &[Signal::Logs], 16, AckLevel::Accepted),
            ]
        );
        let any = Config { grpc: Some(address(0)), http: Some(address(0)), ..Config::default() };
        assert_eq!(places([(Signal::Traces, &any), (Signal::Logs, &any)]).len(), 4);
    }
}
