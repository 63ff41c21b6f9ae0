//! The HTTP client for everything that leaves the task: pooled connections, HTTP/1.1, plain or TLS.
//!
//! Promises: a request ends within its time, whatever the other side does; an answer larger than its cap ends the
//! connection; an error says whether the service may have seen the request. Name look-ups go through getaddrinfo, so
//! that `/etc/hosts`, search domains and VPC resolvers work as everywhere else, on at most
//! `limits::RESOLVE_THREADS_MAX` threads.
//! Never: follows redirects, decodes answers, retries what may have reached a service, or connects to a link-local
//! address because a name resolved to one.
//!
//! A request waits for a pooled connection or a new one (name, TCP and TLS within `limits::CONNECT_TIMEOUT`), is
//! written, and its answer is read to the end. hyper itself sends again only what it could not even begin to write
//! because an idle connection had just been closed.

use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{HttpConnector, capture_connection, dns::Name},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower_service::Service;

use super::{
    is_metadata_address,
    tls::{Tls, TlsError},
};
use crate::limits;

/// A pooled client; clones share the pool.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    tls: Tls,
    resolver: Resolver,
    connect_timeout: Duration,
    client: OnceLock<Client<Connector, Full<Bytes>>>,
}

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the call to the last byte of the answer.
    pub time: Duration,
    /// The largest body of an answer, in bytes.
    pub answer_bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS is not set up. Nothing was sent.
    #[error("cannot connect: no TLS")]
    Tls(#[source] TlsError),
    /// No connection: no such name, refused, no route, a certificate we do not trust, or too slow. Nothing was sent.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: legacy::Error,
    },
    /// The time was up before the answer was complete.
    #[error("no complete answer within {limit:?}")]
    Timeout {
        /// The bound that was reached.
        limit: Duration,
        /// The service may have seen the request.
        sent: bool,
    },
    /// The connection broke, or what came over it was not HTTP.
    #[error("the connection broke before the answer")]
    Broken {
        /// The service may have seen the request.
        sent: bool,
        /// Why.
        #[source]
        source: legacy::Error,
    },
    /// The connection broke within the answer.
    #[error("the connection broke within the answer (status {status})")]
    BrokenAnswer {
        /// The status of the answer, which had come.
        status: StatusCode,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The answer is larger than we read.
    #[error("the answer (status {status}) is larger than {limit} bytes")]
    TooLarge {
        /// The status of the answer.
        status: StatusCode,
        /// The bound that was reached.
        limit: usize,
    },
}

impl HttpError {
    /// True if the service may have seen, and acted on, the request; false if it surely has not.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Connect { .. } => false,
            Self::Timeout { sent, .. } | Self::Broken { sent, .. } => *sent,
            Self::BrokenAnswer { .. } | Self::TooLarge { .. } => true,
        }
    }

    /// The status, if the answer came at least that far.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::BrokenAnswer { status, .. } | Self::TooLarge { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl HttpClient {
    /// A client with the limits of [`crate::limits`].
    pub fn new(tls: &Tls) -> Self {
        Self::with(tls, limits::CONNECT_TIMEOUT, Resolver::new(limits::RESOLVE_TIMEOUT, look_up))
    }

    fn with(tls: &Tls, connect_timeout: Duration, resolver: Resolver) -> Self {
        Self(Arc::new(Shared { tls: tls.clone(), resolver, connect_timeout, client: OnceLock::new() }))
    }

    /// Sends a request and reads its whole answer, at most [`limits::ANSWER_BYTES_MAX`] of it, within `time`.
    pub async fn send(&self, request: Request<Bytes>, time: Duration) -> Result<Response<Bytes>, HttpError> {
        self.send_within(request, Bounds { time, answer_bytes: limits::ANSWER_BYTES_MAX }).await
    }

    /// Sends a request, whose URI must have a scheme and a host, and reads its whole answer.
    pub async fn send_within(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, HttpError> {
        let client = self.client().map_err(HttpError::Tls)?;
        let mut request = request.map(Full::new);
        // hyper tells which connection a request was given to just before it writes.
        let connection = capture_connection(&mut request);
        let sent = || connection.connection_metadata().is_some();
        match timeout(bounds.time, exchange(client, request, &sent, bounds.answer_bytes)).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { limit: bounds.time, sent: sent() }),
        }
    }

    fn client(&self) -> Result<&Client<Connector, Full<Bytes>>, TlsError> {
        let shared = &self.0;
        if let Some(client) = shared.client.get() {
            return Ok(client);
        }
        let mut tcp = HttpConnector::new_with_resolver(shared.resolver.clone());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnector::from((tcp, shared.tls.client_config()?));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::POOL_IDLE)
            .pool_max_idle_per_host(limits::POOL_CONNECTIONS_MAX)
            .http1_max_buf_size(limits::ANSWER_HEAD_BYTES_MAX)
            .build(Connector { https, limit: shared.connect_timeout });
        Ok(shared.client.get_or_init(|| client))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("tls", &self.0.tls).finish_non_exhaustive()
    }
}

async fn exchange(
    client: &Client<Connector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    sent: &impl Fn() -> bool,
    answer_bytes_max: usize,
) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().authority().cloned();
    let answer = client.request(request).await.map_err(|source| match source.is_connect() {
        true => HttpError::Connect { host: host.map(|host| host.to_string()).unwrap_or_default(), source },
        false => HttpError::Broken { sent: sent(), source },
    })?;
    let (head, body) = answer.into_parts();
    let body = collect(head.status, body, answer_bytes_max).await?;
    Ok(Response::from_parts(head, body))
}

/// Reads a body to its end. A connection whose body was not read to the end is closed by hyper, not pooled.
async fn collect(status: StatusCode, mut body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
    let too_large = HttpError::TooLarge { status, limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| HttpError::BrokenAnswer { status, source })?;
        let Ok(data) = frame.into_data() else {
            continue; // Trailers: nobody asks for them.
        };
        if whole.len() + data.len() > limit {
            return Err(too_large);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Connects with TCP and, for https, TLS, within one limit.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>; // hyper's and hyper-rustls's own choice
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match timeout(limit, connecting).await {
                Ok(result) => result,
                Err(_) => Err(late(format!("not connected within {limit:?}")).into()),
            }
        })
    }
}

/// Looks names up with getaddrinfo, which blocks: for 30 s and more if a resolver is silent, and cannot be stopped. So
/// it runs on threads beside the runtime; a look-up that found no free thread in time fails, as a slow one does.
#[derive(Clone)]
struct Resolver {
    limit: Duration,
    threads: Arc<Semaphore>,
    look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
}

impl Resolver {
    fn new(limit: Duration, look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Self {
        Self { limit, threads: Arc::new(Semaphore::new(limits::RESOLVE_THREADS_MAX)), look_up }
    }

    async fn addresses(self, name: String) -> io::Result<vec::IntoIter<SocketAddr>> {
        // The permit goes with the thread, not with this future: a hanging thread counts until it ends.
        let permit = self.threads.acquire_owned().await.map_err(io::Error::other)?;
        let look_up = self.look_up;
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look_up(&name)
        });
        let mut addresses = found.await.map_err(io::Error::other)??;
        addresses.retain(|address| !is_metadata_address(address.ip()));
        match addresses.is_empty() {
            true => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "the name has no address that is not link-local"))
            }
            false => Ok(addresses.into_iter()),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let limit = resolver.limit;
            match timeout(limit, resolver.addresses(name.as_str().to_owned())).await {
                Ok(result) => result,
                Err(_) => Err(late(format!("the name was not resolved within {limit:?}"))),
            }
        })
    }
}

fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

fn late(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
