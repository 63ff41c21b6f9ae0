//! Connections and their requests.
//!
//! Promises: beyond the limit a connection gets one answer, 429, and ends (`/ping` has two places more); a peer that sends no
//! whole head, or does not read, costs its own connection and only for a while; a connection that is used is never cut.
//! Never: answers anything that `guard` did not let through.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONNECTION},
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zeroize::Zeroizing;

use super::{
    ApiSettings, Vault, Way,
    answer::{Body, json, refusal, secret, text},
    ask::{PING, Route, Wrong, route},
    events::{self, WAITING_MAX},
    guard, plain,
    refresh::Refreshes,
};
use crate::{
    life::Life,
    net::{
        listen::{self, Listener, Polled},
        rewound::Rewound,
        stall::Unstalled,
    },
    tell::chain,
};

/// Bytes of a request's head. Session tokens of AWS, which some use as the token, have up to 4 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request; SDKs send fewer than 20.
const HEADERS_MAX: usize = 64;
/// Time to send a request's head, and the longest pause between two requests: longer than the 90 s for which Go keeps a
/// connection. Twice that if a head comes in parts after a pause.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// The same for a connection over the limit.
const HEAD_TIMEOUT_OVER: Duration = Duration::from_secs(5);
/// Connections over the limit that are told so. The next ones wait in the kernel.
const OVER_MAX: usize = 64;
/// Connections over the limit on which `/ping` is answered, as the original has it.
const PINGS_OVER: usize = 2;
/// Whether a connection stays on this host. A router lowers it before it looks, so that no packet gets further.
const TTL: u32 = 1;

/// What all connections share.
struct Shared<V> {
    vault: Arc<V>,
    settings: ApiSettings,
    address: SocketAddr,
    life: Life,
    open: AtomicUsize,
    waiting: Arc<Semaphore>,
    refreshes: Arc<Refreshes>,
}

/// A connection's place among those that are open.
struct Place<V> {
    shared: Arc<Shared<V>>,
    number: usize,
}

impl<V> Drop for Place<V> {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers on `listener` until the agent stops and nobody is connected any more, or until `closing`.
pub async fn serve<V: Vault>(
    listener: Listener,
    vault: Arc<V>,
    settings: ApiSettings,
    life: &Life,
    closing: CancellationToken,
) -> io::Result<()> {
    let address = match &listener {
        Listener::Tcp(listener) => listener.local_addr()?,
        // Whoever can open it is on this host.
        Listener::Unix(..) => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let shared = Arc::new(Shared {
        vault,
        settings,
        address,
        life: life.clone(),
        open: AtomicUsize::new(0),
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        refreshes: Arc::default(),
    });
    let close = closing.clone();
    let most = shared.settings.connections_max + OVER_MAX;
    listen::serve(listener, most, life, "secrets api connection", life.stopping(), closing, move |socket| {
        let number = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place { shared: Arc::clone(&shared), number };
        let close = close.clone();
        async move {
            match socket.polled() {
                Ok(Polled::Tcp(stream)) => {
                    // Neither is needed for an answer.
                    let _ = stream.set_nodelay(true);
                    if place.shared.address.ip().is_loopback() {
                        let _ = stream.set_ttl(TTL);
                    }
                    close.run_until_cancelled(converse(stream, place)).await;
                }
                Ok(Polled::Unix(stream)) => {
                    close.run_until_cancelled(converse(stream, place)).await;
                }
                Err(error) => debug!(error = %chain(&error), "a connection of the local api could not be read"),
            }
        }
    })
    .await
}

async fn converse<V: Vault, S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S, place: Place<V>) {
    let mut stream = Unstalled::new(stream);
    let Shared { vault, settings, address, .. } = &*place.shared;
    let over = place.number > settings.connections_max;
    let read = match over {
        true => Ok(Some(Zeroizing::default())),
        false => plain::answer(&mut stream, &**vault, settings, *address).await,
    };
    match read {
        Ok(Some(read)) => whole(Rewound::new(read, stream), &place, over).await,
        Ok(None) => {}
        Err(error) => tell_end(&error),
    }
}

/// Answers whatever comes.
async fn whole<V: Vault, S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S, place: &Place<V>, over: bool) {
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(place.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if over { HEAD_TIMEOUT_OVER } else { HEAD_TIMEOUT })
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(!over)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tell_end(&error);
    }
}

fn tell_end(error: &dyn Error) {
    debug!(error = %chain(error), "a connection of the local api ended");
}

impl<V: Vault> Place<V> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let Shared { settings, address, .. } = &*self.shared;
        let pings = if request.uri().path() == PING { PINGS_OVER } else { 0 };
        if self.number > settings.connections_max + pings {
            return text(StatusCode::TOO_MANY_REQUESTS, "Connection limit exceeded");
        }
        if let Err((status, what)) = guard::check(&request, settings, *address) {
            let mut answer = text(status, what);
            if status == StatusCode::METHOD_NOT_ALLOWED {
                let allowed = if *request.method() == Method::GET { "POST" } else { "GET" };
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            }
            if !request.body().is_end_stream() {
                // What follows may be the body: it is never read as a request.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            return answer;
        }
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        match route(path, query, &settings.path_prefix) {
            Ok(Route::Ping) => text(StatusCode::OK, "healthy"),
            Ok(Route::Get(ask, freshness)) => match self.shared.vault.get(&ask, freshness).await {
                Ok(given) => secret(&given, request.headers()),
                Err(error) => refusal(&error),
            },
            Ok(Route::Events(since)) => self.events(&request, since).await,
            Ok(Route::Ack(number)) => self.acknowledged(number),
            Ok(Route::Refresh) => self.refresh(request.into_body()).await,
            Err(Wrong::Text(status, what)) => match what {
                std::borrow::Cow::Borrowed(what) => text(status, what),
                std::borrow::Cow::Owned(what) => text(status, what),
            },
            Err(Wrong::Name) => refusal(&super::Refusal::new(
                400,
                "ValidationException",
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
            )),
        }
    }

    async fn events(&self, request: &Request<Incoming>, since: Option<u64>) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.shared.waiting).try_acquire_owned() else {
            return text(StatusCode::TOO_MANY_REQUESTS, "Connection limit exceeded");
        };
        let since = since.or_else(|| events::last_event(request.headers()));
        if let Some(number) = since {
            // Whoever comes back with a number has what it stands for.
            self.shared.vault.acknowledged(Way::Events, number);
        }
        let news = self.shared.vault.generations();
        if events::wants_stream(request.headers()) {
            return events::stream(news, since, place);
        }
        events::answer(news, since).await
    }

    fn acknowledged(&self, number: u64) -> Response<Body> {
        match self.shared.vault.acknowledged(Way::Ack, number) {
            true => text(StatusCode::OK, "OK"),
            false => text(StatusCode::CONFLICT, "there is no such generation"),
        }
    }

    async fn refresh(&self, body: Incoming) -> Response<Body> {
        let Shared { vault, life, refreshes, .. } = &*self.shared;
        match refreshes.refresh(vault, life, body).await {
            Ok(()) => json(StatusCode::OK, &**vault.generations().borrow()),
            Err(error) => refusal(&error),
        }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plain_tests.rs"]
mod plain_tests;
