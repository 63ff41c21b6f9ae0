//! The HTTP client for everything that leaves the task: pooled connections, HTTP/1.1 (for gRPC HTTP/2), plain or TLS.
//!
//! Promises: a request ends within its time, whatever the other side does; an answer larger than its cap ends the
//! connection; an error says whether the service may have seen the request; every connection that could not be made is
//! counted with its reason; no connection takes a new request when it is older than [`limits::CONNECTION_AGE_MAX`] and
//! was not idle since, so that a service that moves to other addresses is followed.
//! Never: follows redirects, decodes answers, retries what may have reached a service.
//!
//! A request waits for a pooled connection or a new one ([`connect`](super::connect)), is written, and its answer is
//! read to the end. hyper itself sends again only what it could not even begin to write because an idle connection had
//! just been closed.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::{
    connect::{Connect, Connector, FreshUntil, Reason, Tcp},
    pieces::Pieces,
    resolve::{Resolve, Resolver, System},
    tls::{Tls, TlsError},
};
use crate::{limits, tell::counters::Counters};

/// A pooled client; clones share the pool.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    tls: Tls,
    speaks: Speaks,
    counters: Counters,
    resolver: Resolver,
    connect: Arc<dyn Connect>,
    connect_timeout: Duration,
    client: OnceLock<Client<Connector, Pieces>>,
}

/// The protocol of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    /// From the first byte; by TLS it is agreed upon.
    Http2,
}

/// What came behind the body of an answer, among its extensions.
#[derive(Clone, Debug)]
pub struct Trailers(pub HeaderMap);

/// The world around a client: how names are looked up, how connections are made, and how long that may take.
pub struct Network {
    /// Who knows the addresses of names.
    pub resolve: Arc<dyn Resolve>,
    /// The time for one look-up.
    pub resolve_timeout: Duration,
    /// Who makes connections.
    pub connect: Arc<dyn Connect>,
    /// The time for look-up, connection and TLS together.
    pub connect_timeout: Duration,
}

impl Default for Network {
    /// The real one, with the limits of [`crate::limits`].
    fn default() -> Self {
        Self {
            resolve: Arc::new(System),
            resolve_timeout: limits::RESOLVE_TIMEOUT,
            connect: Arc::new(Tcp),
            connect_timeout: limits::CONNECT_TIMEOUT,
        }
    }
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

    /// Why there was no connection, if there was none.
    pub fn unconnected(&self) -> Option<Reason> {
        match self {
            Self::Tls(_) => Some(Reason::Own),
            Self::Connect { source, .. } => Some(Reason::of(source)),
            _ => None,
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
    /// A client of the real network, which counts the connections that it could not make.
    pub fn new(tls: &Tls, counters: &Counters) -> Self {
        Self::over(Network::default(), tls, counters)
    }

    /// A client of another network.
    pub fn over(network: Network, tls: &Tls, counters: &Counters) -> Self {
        Self(Arc::new(Shared {
            tls: tls.clone(),
            speaks: Speaks::Http1,
            counters: counters.clone(),
            resolver: Resolver::new(network.resolve_timeout, network.resolve),
            connect: network.connect,
            connect_timeout: network.connect_timeout,
            client: OnceLock::new(),
        }))
    }

    /// A client of the same network that speaks HTTP/2, with connections of its own.
    pub fn http2(&self) -> Self {
        let shared = &self.0;
        Self(Arc::new(Shared {
            tls: shared.tls.clone(),
            speaks: Speaks::Http2,
            counters: shared.counters.clone(),
            resolver: shared.resolver.clone(),
            connect: Arc::clone(&shared.connect),
            connect_timeout: shared.connect_timeout,
            client: OnceLock::new(),
        }))
    }

    /// Sends a request and reads its whole answer, at most [`limits::ANSWER_BYTES_MAX`] of it, within `time`.
    pub async fn send(&self, request: Request<Bytes>, time: Duration) -> Result<Response<Bytes>, HttpError> {
        self.send_within(request, Bounds { time, answer_bytes: limits::ANSWER_BYTES_MAX }).await
    }

    /// Sends a request, whose URI must have a scheme and a host, and reads its whole answer.
    pub async fn send_within(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, HttpError> {
        self.send_pieces(request.map(Pieces::new), bounds).await
    }

    /// The same with a body of pieces.
    pub async fn send_pieces(&self, request: Request<Pieces>, bounds: Bounds) -> Result<Response<Bytes>, HttpError> {
        let result = self.exchange_within(request, bounds).await;
        if let Err(reason) = result.as_ref().map_err(HttpError::unconnected)
            && let Some(reason) = reason
        {
            self.0.counters.net_connect_failures.with_label_values(&[reason.label()]).inc();
        }
        result
    }

    async fn exchange_within(
        &self,
        mut request: Request<Pieces>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, HttpError> {
        let client = self.client().map_err(HttpError::Tls)?;
        // hyper tells which connection a request was given to just before it writes.
        let connection = capture_connection(&mut request);
        match timeout(bounds.time, exchange(client, request, &connection, bounds.answer_bytes)).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { limit: bounds.time, sent: is_sent(&connection) }),
        }
    }

    fn client(&self) -> Result<&Client<Connector, Pieces>, TlsError> {
        let shared = &self.0;
        if let Some(client) = shared.client.get() {
            return Ok(client);
        }
        let connector = Connector {
            resolver: shared.resolver.clone(),
            connect: Arc::clone(&shared.connect),
            limit: shared.connect_timeout,
            tls: match shared.speaks {
                Speaks::Http1 => shared.tls.client_config()?,
                Speaks::Http2 => {
                    let mut config = ClientConfig::clone(&*shared.tls.client_config()?);
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    Arc::new(config)
                }
            },
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::POOL_IDLE)
            .pool_max_idle_per_host(limits::POOL_CONNECTIONS_MAX)
            .http1_max_buf_size(limits::ANSWER_HEAD_BYTES_MAX)
            .http2_only(shared.speaks == Speaks::Http2)
            .http2_max_header_list_size(limits::ANSWER_HEAD_BYTES_MAX as u32)
            .http2_initial_stream_window_size(limits::ANSWER_BYTES_MAX as u32)
            .http2_initial_connection_window_size(4 * limits::ANSWER_BYTES_MAX as u32)
            .build(connector);
        Ok(shared.client.get_or_init(|| client))
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("tls", &self.0.tls).finish_non_exhaustive()
    }
}

async fn exchange(
    client: &Client<Connector, Pieces>,
    request: Request<Pieces>,
    connection: &CaptureConnection,
    answer_bytes_max: usize,
) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().authority().cloned();
    let answer = client.request(request).await.map_err(|source| match source.is_connect() {
        true => HttpError::Connect { host: host.map(|host| host.to_string()).unwrap_or_default(), source },
        false => HttpError::Broken { sent: is_sent(connection), source },
    })?;
    retire(connection, Instant::now());
    let (head, body) = answer.into_parts();
    let (body, trailers) = collect(head.status, body, answer_bytes_max).await?;
    let mut answer = Response::from_parts(head, body);
    if let Some(trailers) = trailers {
        answer.extensions_mut().insert(Trailers(trailers));
    }
    Ok(answer)
}

fn is_sent(connection: &CaptureConnection) -> bool {
    connection.connection_metadata().is_some()
}

/// Keeps an old connection from being pooled: an output that is always busy would otherwise hold on to an address that
/// the name left long ago.
fn retire(connection: &CaptureConnection, now: Instant) {
    if let Some(connected) = &*connection.connection_metadata() {
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        if extensions.get().is_some_and(|&FreshUntil(end)| end <= now) {
            connected.poison();
        }
    }
}

/// Reads a body to its end. A connection whose body was not read to the end is closed by hyper, not pooled.
async fn collect(
    status: StatusCode,
    mut body: Incoming,
    limit: usize,
) -> Result<(Bytes, Option<HeaderMap>), HttpError> {
    let mut trailers = None;
    let too_large = HttpError::TooLarge { status, limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| HttpError::BrokenAnswer { status, source })?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        if whole.len() + data.len() > limit {
            return Err(too_large);
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), trailers))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufReader, Read, Write},
        net::{TcpListener, TcpStream as StdStream},
    };

    use super::*;
    use crate::{
        net::stub::{Stub, answer, read_head},
        tell::chain,
    };

    /// What a test waits for something that never comes.
    const SHORT: Duration = Duration::from_millis(300);
    /// What a test gives to something that comes.
    const LONG: Duration = Duration::from_secs(30);

    fn client() -> HttpClient {
        HttpClient::new(&Tls::new(None), &Counters::new())
    }

    fn request(url: &str) -> Request<Bytes> {
        Request::post(url).body(Bytes::from_static(b"{\"a\":1}")).expect("a request")
    }

    #[tokio::test]
    async fn an_answer_comes_back_whole_and_the_connection_is_used_again() {
        let stub = Stub::answering([answer("200 OK", "x-a: 1\r\n", "first"), answer("400 Bad Request", "", "second")]);
        let client = client();
        let first = client.send(request(&stub.url()), LONG).await.expect("an answer");
        assert_eq!(
            (first.status(), &first.headers()["x-a"], &first.body()[..]),
            (StatusCode::OK, &"1".parse().expect("a header value"), &b"first"[..])
        );
        let second = client.send(request(&stub.url()), LONG).await.expect("an answer");
        assert_eq!((second.status(), &second.body()[..]), (StatusCode::BAD_REQUEST, &b"second"[..]));
        assert_eq!(stub.connections(), 1);
        assert_eq!(stub.seen()[1].body, b"{\"a\":1}");
        assert_eq!(stub.seen()[1].header("host"), Some(format!("127.0.0.1:{}", stub.port()).as_str()));
    }

    #[tokio::test]
    async fn what_the_body_is_compressed_with_is_not_our_business() {
        let stub = Stub::answering([answer("200 OK", "content-encoding: gzip\r\n", "not even gzip")]);
        let answer = client().send(request(&stub.url()), LONG).await.expect("an answer");
        assert_eq!(&answer.body()[..], b"not even gzip");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let other = Stub::answering([answer("200 OK", "", "")]);
        let there = format!("location: {}/latest/meta-data\r\n", other.url());
        let stub = Stub::answering([answer("302 Found", &there, ""), answer("307 Temporary Redirect", &there, "")]);
        for status in [302, 307] {
            let answer = client().send(request(&stub.url()), LONG).await.expect("an answer");
            assert_eq!(answer.status().as_u16(), status);
        }
        assert_eq!(other.connections(), 0);
    }

    /// What the other side does after it has read the head of the request, and what we make of it.
    type Hostile = (&'static str, fn(StdStream) -> io::Result<()>, fn(&HttpError) -> bool);

    fn write(mut stream: StdStream, text: &str) -> io::Result<()> {
        stream.write_all(text.as_bytes())
    }

    /// Writes the same again and again until the client is gone.
    fn repeat(mut stream: StdStream, head: &str, text: &str, pause: Duration) -> io::Result<()> {
        stream.write_all(head.as_bytes())?;
        loop {
            stream.write_all(text.as_bytes())?;
            std::thread::park_timeout(pause);
        }
    }

    /// Keeps the connection until the client closes it.
    fn hold(mut stream: StdStream) -> io::Result<()> {
        io::copy(&mut stream, &mut io::sink()).map(drop)
    }

    #[tokio::test]
    #[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
    async fn a_hostile_service_costs_one_request_and_a_bounded_time() {
        const OK: &str = "HTTP/1.1 200 OK\r\n";
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        const DRIP: Duration = Duration::from_millis(10);
        let cases: &[Hostile] = &[
            ("accepts and never answers", hold, |e| matches!(e, HttpError::Timeout { sent: true, .. })),
            ("drips its head", |s| repeat(s, OK, "x", DRIP), |e| matches!(e, HttpError::Timeout { sent: true, .. })),
            (
                "drips its body",
                |s| repeat(s, CHUNKED, "1\r\nx\r\n", DRIP),
                |e| matches!(e, HttpError::Timeout { sent: true, .. }),
            ),
            (
                "promises 1 GB",
                |s| repeat(s, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", "x", DRIP),
                |e| matches!(e, HttpError::TooLarge { limit: limits::ANSWER_BYTES_MAX, .. }),
            ),
            (
                "sends chunks without end",
                |s| repeat(s, CHUNKED, &format!("400\r\n{}\r\n", "x".repeat(1024)), Duration::ZERO),
                |e| matches!(e, HttpError::TooLarge { .. }),
            ),
            (
                "sends a body without end",
                |s| repeat(s, "HTTP/1.1 500 Oh\r\n\r\n", &"x".repeat(1024), Duration::ZERO),
                |e| matches!(e, HttpError::TooLarge { status: StatusCode::INTERNAL_SERVER_ERROR, .. }),
            ),
            (
                "lies about a chunk's length",
                |s| write(s, &format!("{CHUNKED}ffffffffffffffffff\r\nx")),
                |e| matches!(e, HttpError::BrokenAnswer { .. }),
            ),
            (
                "ends within its body",
                |s| write(s, "HTTP/1.1 503 Slow\r\ncontent-length: 100\r\n\r\nhalf"),
                |e| matches!(e, HttpError::BrokenAnswer { status: StatusCode::SERVICE_UNAVAILABLE, .. }),
            ),
            (
                "ends within its head",
                |s| write(s, "HTTP/1.1 200 OK\r\ncontent-le"),
                |e| matches!(e, HttpError::Broken { sent: true, .. }),
            ),
            ("closes without a word", |_| Ok(()), |e| matches!(e, HttpError::Broken { sent: true, .. })),
            (
                "has a million headers",
                |s| repeat(s, OK, &"a: b\r\n".repeat(1000), Duration::ZERO),
                |e| matches!(e, HttpError::Broken { sent: true, .. }),
            ),
            (
                "has one endless header",
                |s| repeat(s, "HTTP/1.1 200 OK\r\na: ", &"b".repeat(1024), Duration::ZERO),
                |e| matches!(e, HttpError::Broken { sent: true, .. }),
            ),
            (
                "says 100 Continue for ever",
                |s| repeat(s, "", "HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO),
                |e| matches!(e, HttpError::Timeout { sent: true, .. }),
            ),
            (
                "is an SSH server",
                |s| write(s, "SSH-2.0-OpenSSH_9.2\r\n"),
                |e| matches!(e, HttpError::Broken { sent: true, .. }),
            ),
            (
                "speaks HTTP/2 only",
                |s| write(s, "\0\0\u{12}\u{4}\0\0\0\0\0"),
                |e| matches!(e, HttpError::Broken { sent: true, .. }),
            ),
        ];
        for (what, serve, expected) in cases {
            let serve = *serve;
            let stub = Stub::handling(move |stream| {
                let mut reader = BufReader::new(stream.try_clone()?);
                read_head(&mut reader)?;
                reader.read_exact(&mut [0; 7])?;
                serve(stream)
            });
            // Cases that end by the time are given little of it; the others, and a slow machine, get more.
            let mut error = client().send(request(&stub.url()), SHORT).await.expect_err(what);
            if !expected(&error) {
                error = client().send(request(&stub.url()), LONG).await.expect_err(what);
            }
            assert!(expected(&error), "a service that {what}: {}", chain(&error));
            assert!(error.may_have_arrived(), "a service that {what}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_reached_has_surely_not_seen_the_request() {
        let closed =
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port that nobody listens on");
        for (url, why) in [
            (format!("http://{closed}"), "refused"),
            ("http://name.invalid".to_owned(), ""),
            // inet_aton still reads numbers as addresses; this one is 169.254.169.254.
            ("http://2852039166/latest/meta-data".to_owned(), "link-local"),
            ("http://0xa9.0xfe.0xaa.2/".to_owned(), "link-local"),
            ("ftp://127.0.0.1/".to_owned(), "unsupported scheme"),
        ] {
            let error = client().send(request(&url), LONG).await.expect_err(&url);
            let text = chain(&error).to_string().to_lowercase();
            assert!(matches!(error, HttpError::Connect { .. }) && !error.may_have_arrived(), "{url}: {text}");
            assert!(text.contains(why), "{url}: {text}");
        }
    }
}
