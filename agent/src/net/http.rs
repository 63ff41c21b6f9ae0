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
use http_body_util::BodyExt;
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
    pieces::Pieces,
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
    client: OnceLock<Client<Connector, Pieces>>,
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
        let mut request = request.map(Pieces::new);
        // hyper tells which connection a request was given to just before it writes.
        let connection = capture_connection(&mut request);
        let sent = || connection.connection_metadata().is_some();
        match timeout(bounds.time, exchange(client, request, &sent, bounds.answer_bytes)).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { limit: bounds.time, sent: sent() }),
        }
    }

    fn client(&self) -> Result<&Client<Connector, Pieces>, TlsError> {
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
    client: &Client<Connector, Pieces>,
    request: Request<Pieces>,
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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufReader, Read, Write},
        net::{TcpListener, TcpStream as StdStream},
        path::{Path, PathBuf},
        sync::{
            Condvar, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

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
        HttpClient::new(&Tls::new(None))
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

    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn hanging_look_up(_: &str) -> io::Result<Vec<SocketAddr>> {
        STARTED.fetch_add(1, Ordering::Relaxed);
        let released = RELEASED.0.lock().expect("not poisoned");
        drop(RELEASED.1.wait_while(released, |released| !*released).expect("not poisoned"));
        Ok(Vec::new())
    }

    /// getaddrinfo cannot be stopped: without a bound a dead resolver would take all 512 threads of the runtime.
    #[tokio::test]
    async fn a_resolver_that_hangs_holds_four_threads_and_fails_in_time() {
        let client = HttpClient::with(&Tls::new(None), LONG, Resolver::new(Duration::from_millis(20), hanging_look_up));
        for n in 0..12 {
            let error = client.send(request(&format!("http://host{n}.example")), LONG).await.expect_err("no address");
            assert!(chain(&error).to_string().contains("not resolved within 20ms"), "{}", chain(&error));
            assert!(!error.may_have_arrived());
        }
        assert_eq!(STARTED.load(Ordering::Relaxed), limits::RESOLVE_THREADS_MAX);
        *RELEASED.0.lock().expect("not poisoned") = true;
        RELEASED.1.notify_all();
    }

    fn testdata(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(name)
    }

    /// A TLS server with the certificate and key in a file, which answers one request; counts the bytes it could read.
    fn tls_stub(file: &str, bytes_read: &Arc<AtomicUsize>) -> Stub {
        let pem = std::fs::read(testdata(file)).expect("a file in testdata");
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map(Arc::new)
            .expect("a usable configuration");
        let bytes_read = Arc::clone(bytes_read);
        Stub::handling(move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(session, stream);
            bytes_read.fetch_add(stream.read(&mut [0; 1024])?, Ordering::Relaxed);
            stream.write_all(answer("200 OK", "", "over TLS").as_bytes())?;
            stream.conn.send_close_notify();
            stream.flush()
        })
    }

    #[tokio::test]
    async fn a_bundle_adds_an_authority() {
        let stub = tls_stub("good.pem", &Arc::default());
        let client = HttpClient::new(&Tls::new(Some(testdata("authority.pem"))));
        for host in ["localhost", "127.0.0.1"] {
            let answer = client.send(request(&format!("https://{host}:{}/", stub.port())), LONG).await.expect(host);
            assert_eq!(&answer.body()[..], b"over TLS");
        }
    }

    #[tokio::test]
    async fn not_a_byte_is_sent_to_whom_we_do_not_trust() {
        let trusting = Tls::new(Some(testdata("authority.pem")));
        for (file, tls, why) in [
            ("good.pem", Tls::new(None), "UnknownIssuer"),
            ("expired.pem", trusting.clone(), "expired"),
            ("other-name.pem", trusting, "not valid for name"),
        ] {
            let bytes_read = Arc::default();
            let stub = tls_stub(file, &bytes_read);
            let url = format!("https://localhost:{}/", stub.port());
            let error = HttpClient::new(&tls).send(request(&url), LONG).await.expect_err(file);
            assert!(matches!(error, HttpError::Connect { .. }), "{file}: {}", chain(&error));
            assert!(chain(&error).to_string().contains(why), "{file}: {}", chain(&error));
            assert_eq!(bytes_read.load(Ordering::Relaxed), 0, "{file}");
        }
    }

    /// What a server does instead of a handshake.
    type Handshake = (&'static str, fn(StdStream) -> io::Result<()>);

    #[tokio::test]
    async fn a_handshake_that_does_not_happen_is_no_connection() {
        let cases: &[Handshake] = &[
            ("hangs", hold),
            ("closes", |_| Ok(())),
            ("is plain HTTP", |s| write(s, "HTTP/1.1 200 OK\r\n\r\n")),
            // A ServerHello that chooses TLS 1.0, with no cipher suite that we know.
            ("speaks TLS 1.0", |mut s| {
                s.read_exact(&mut [0; 16])?;
                let hello = [&[0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
                s.write_all(&hello)?;
                hold(s)
            }),
        ];
        for (what, serve) in cases {
            let stub = Stub::handling(*serve);
            let client = HttpClient::with(&Tls::new(None), SHORT, Resolver::new(LONG, look_up));
            let url = format!("https://localhost:{}/", stub.port());
            let error = client.send(request(&url), LONG).await.expect_err(what);
            assert!(matches!(error, HttpError::Connect { .. }), "a server that {what}: {}", chain(&error));
        }
    }

    #[tokio::test]
    async fn a_bundle_that_cannot_be_used_is_named_and_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let stub = tls_stub("good.pem", &Arc::default());
        let client = HttpClient::new(&Tls::new(Some(path.clone())));
        let url = format!("https://localhost:{}/", stub.port());

        let missing = client.send(request(&url), LONG).await.expect_err("no file");
        assert!(
            chain(&missing).to_string().contains("ca.pem") && chain(&missing).to_string().contains("No such file"),
            "{}",
            chain(&missing)
        );
        std::fs::write(&path, "no certificate").expect("written");
        let empty = client.send(request(&url), LONG).await.expect_err("no certificate");
        assert!(chain(&empty).to_string().contains("holds no certificate"), "{}", chain(&empty));
        std::fs::copy(testdata("authority.pem"), &path).expect("copied");
        assert_eq!(client.send(request(&url), LONG).await.expect("an answer").status(), StatusCode::OK);
    }
}
