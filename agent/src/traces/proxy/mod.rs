//! The X-Ray daemon's TCP port: SDKs without credentials ask X-Ray through us, above all for sampling rules and targets.
//!
//! ```text
//! connection ─ guard: who asks, for what ─▶ routes ─▶ kept rules, or: read the body, sign, pass on ─▶ X-Ray
//!     ▲                                                                                    │
//!     └───────────── the service's answer, byte for byte; or one of ours ◀─────────────────┘
//! ```
//!
//! The daemon passes on whatever it is asked, to whoever reaches it, with the task's role; and unsigned, if it has no credentials. Here a
//! list says what is passed on. Answers about rules are kept for some seconds: a hundred processes of an app ask for the same.
//! Targets are each process's own, and never kept.
//!
//! Promises: what is passed on is on the list, signed, and its body is not changed, nor is that of the answer; many who ask for rules
//! at once are one request; an answer of ours says in words what is wrong. SDKs then sample by their local rules.
//! Never: sends without a signature; passes on a header that it does not know; keeps an answer that is one process's own.

mod answer;
mod guard;
mod keep;
mod routes;
mod serve;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use prometheus::{IntCounter, IntCounterVec};
use tokio::{sync::Semaphore, time::Instant};
use tracing::warn;

pub use routes::{Service, is_path};
pub use serve::serve;

use self::{
    answer::{Answer, Outcome, Stopped},
    keep::Kept,
    routes::{Route, Routes},
};
use super::settings;
use crate::{
    aws::Client,
    limits::{PROXY_ANSWER_BYTES_MAX, PROXY_LARGE_BODIES_MAX, PROXY_UNDER_WAY_MAX},
    tell::{RateLimited, chain, counters::Counters},
};

/// A warning about what could not be passed on, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Headers of a request that say what its body is. All others stay here.
const PASSED_ON: [HeaderName; 2] = [CONTENT_TYPE, CONTENT_ENCODING];
/// Bytes of a body that asks for rules: nothing, or a token for the next page.
const KEY_BYTES_MAX: usize = 4 * 1024;

/// One port.
pub struct Proxy {
    address: SocketAddr,
    routes: Routes,
    clients: Clients,
    kept: Kept,
    requests: IntCounterVec,
    /// Connections that gave way to others.
    gave_way: IntCounter,
    under_way: Semaphore,
    large: Semaphore,
    warned: RateLimited,
}

/// The clients of the services that requests may be for, or why there is none.
pub struct Clients {
    /// Of X-Ray.
    pub xray: Result<Client, String>,
    /// Of Application Signals.
    pub application_signals: Result<Client, String>,
}

impl Clients {
    fn of(&self, service: Service) -> Result<&Client, &str> {
        let client = match service {
            Service::Xray => &self.xray,
            Service::ApplicationSignals => &self.application_signals,
        };
        client.as_ref().map_err(String::as_str)
    }
}

impl Proxy {
    /// Passes on what is usual, and what `settings` allow besides.
    pub fn new(address: SocketAddr, settings: &settings::Proxy, clients: Clients, counters: &Counters) -> Self {
        let bounded = |client: Client| client.with_answer_bytes_max(PROXY_ANSWER_BYTES_MAX);
        let Clients { xray, application_signals } = clients;
        Self {
            address,
            routes: Routes::new(&settings.allow),
            clients: Clients { xray: xray.map(bounded), application_signals: application_signals.map(bounded) },
            kept: Kept::default(),
            requests: counters.traces.proxied.clone(),
            gave_way: counters.connections_gave_way.with_label_values(&["xray_proxy"]),
            under_way: Semaphore::new(PROXY_UNDER_WAY_MAX),
            large: Semaphore::new(PROXY_LARGE_BODIES_MAX),
            warned: RateLimited::new(WARN_EVERY),
        }
    }

    /// Answers a request that was let through.
    async fn answer(&self, route: &Route, headers: &HeaderMap, body: Bytes) -> Answer {
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        if route.is_kept && is_plain && body.len() <= KEY_BYTES_MAX {
            // Whoever asks first must not decide for the others what the same bytes are.
            return self.kept.get(&body, self.pass(route, &[], body.clone())).await;
        }
        let headers: Vec<_> = PASSED_ON
            .into_iter()
            .filter_map(|name| {
                let value = headers.get(&name).filter(|value| value.to_str().is_ok())?;
                Some((name, value.clone()))
            })
            .collect();
        self.pass(route, &headers, body).await
    }

    async fn pass(&self, route: &Route, headers: &[(HeaderName, HeaderValue)], body: Bytes) -> Answer {
        let client = match self.clients.of(route.service) {
            Ok(client) => client,
            Err(problem) => return Answer::own(StatusCode::SERVICE_UNAVAILABLE, Outcome::Failed, problem),
        };
        let _place = self.under_way.acquire().await;
        match client.pass(&route.path, body, headers).await {
            Ok(answer) => Answer::of_service(answer),
            Err(fault) => {
                if let Some(suppressed) = self.warned.allow(Instant::now()) {
                    let path = &*route.path;
                    warn!(path, error = %chain(&fault), suppressed, "a request of an sdk could not be passed on");
                }
                Answer::of_fault(&fault)
            }
        }
    }

    /// The route of a request, or the answer to one that is not let through.
    fn judge<B>(&self, request: &http::Request<B>) -> Result<&Route, Stopped> {
        guard::check(request, self.address)?;
        let text = "this path is not passed on; name it under traces.inputs[].xray.proxy.allow";
        let unknown = Stopped(StatusCode::FORBIDDEN, Outcome::NotAllowed, text);
        let route = self.routes.find(request.uri()).ok_or(unknown)?;
        match *request.method() {
            Method::POST => Ok(route),
            _ => Err(Stopped(StatusCode::METHOD_NOT_ALLOWED, Outcome::NotAllowed, "only POST is passed on")),
        }
    }

    fn count(&self, path: &str, outcome: Outcome) {
        self.requests.with_label_values(&[path, outcome.label()]).inc();
    }
}
