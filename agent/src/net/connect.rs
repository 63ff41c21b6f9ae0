//! Connections to services: a name, an address that answers, TLS.
//!
//! Promises: connected or not within one limit, TLS included; an address that is dead delays by
//! [`limits::NEXT_ADDRESS_AFTER`], not by the limit; an error says which [`Reason`] it has.
//! Never: sends a byte of a request before the other side has proved who it is, where it must.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tower_service::Service;

use super::resolve::{ResolveError, Resolver};
use crate::{life::Flock, limits};

/// hyper's and hyper-rustls's own choice.
type BoxError = Box<dyn Error + Send + Sync>;
/// A future of a trait that is used as `dyn`.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Who makes connections.
pub trait Connect: Send + Sync {
    /// Connects to `address`. It may take as long as it likes: it is dropped when it is too late.
    fn connect(&self, address: SocketAddr) -> Connecting;
}

/// TCP.
#[derive(Debug)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, address: SocketAddr) -> Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Why there is no connection, as `/metrics` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The name has no address that we connect to, or the resolver does not say in time.
    Name,
    /// Nobody listens there.
    Refused,
    /// No address answered in time.
    TimedOut,
    /// There is no way to the addresses, or the connection broke at once.
    Unreachable,
    /// The certificate is too old, or too new.
    CertificateTime,
    /// The certificate is for another name.
    CertificateName,
    /// The certificate is signed by nobody whom we trust.
    CertificateAuthority,
    /// The certificate has another fault.
    Certificate,
    /// The other side speaks no version of TLS, or no cipher, that we do.
    TlsVersion,
    /// The handshake was not done in time.
    TlsTimedOut,
    /// The handshake failed otherwise: the other side closed, or does not speak TLS.
    Tls,
    /// Our own side: a file of authorities that cannot be used, or a scheme we do not know.
    Own,
}

impl Reason {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::CertificateTime => "certificate_time",
            Self::CertificateName => "certificate_name",
            Self::CertificateAuthority => "certificate_authority",
            Self::Certificate => "certificate",
            Self::TlsVersion => "tls_version",
            Self::TlsTimedOut => "tls_timed_out",
            Self::Tls => "tls",
            Self::Own => "own",
        }
    }

    /// The reason of an error that [`Connector`] gave, whatever hyper put around it.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref() {
                Some(ConnectError::Name(_)) => return Self::Name,
                Some(ConnectError::Late { .. }) => return Self::TimedOut,
                Some(ConnectError::Address { source, .. }) if source.kind() == io::ErrorKind::ConnectionRefused => {
                    return Self::Refused;
                }
                Some(ConnectError::Address { .. }) => return Self::Unreachable,
                Some(ConnectError::LateTls { .. }) => return Self::TlsTimedOut,
                Some(ConnectError::Tls(error)) => return tls_reason(error),
                Some(ConnectError::NoHost) => return Self::Own,
                None => next = error.source(),
            }
        }
        Self::Own
    }
}

/// rustls's error lies in an `io::Error`, perhaps in another one.
fn tls_reason(error: &io::Error) -> Reason {
    let inner = error.get_ref().map(|inner| (inner.downcast_ref::<io::Error>(), inner.downcast_ref::<rustls::Error>()));
    let Some((None, Some(error))) = inner else {
        return inner.and_then(|(io, _)| io).map_or(Reason::Tls, tls_reason);
    };
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::CertificateTime,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::CertificateName
            }
            CertificateError::UnknownIssuer => Reason::CertificateAuthority,
            _ => Reason::Certificate,
        },
        rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Reason::TlsVersion
        }
        _ => Reason::Tls,
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("no address")]
    Name(#[source] ResolveError),
    #[error("none of {tried} addresses took the connection")]
    Address {
        tried: usize,
        #[source]
        source: io::Error,
    },
    #[error("not connected within {limit:?}")]
    Late { limit: Duration },
    #[error("the TLS handshake was not done within {limit:?}")]
    LateTls { limit: Duration },
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the URI has no host")]
    NoHost,
}

/// Connects and, for https, sets up TLS, within one limit.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) resolver: Resolver,
    pub(super) connect: Arc<dyn Connect>,
    pub(super) limit: Duration,
    pub(super) tls: Arc<ClientConfig>,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.limit;
        // Both limits are one moment, of which the inner one hears first: it knows that TLS was not begun.
        let deadline = Instant::now() + limit;
        let dialer = Dialer { connector: self.clone(), deadline };
        let connecting = HttpsConnector::from((dialer, Arc::clone(&self.tls))).call(uri);
        Box::pin(async move {
            let Ok(result) = timeout_at(deadline, connecting).await else {
                return Err(ConnectError::LateTls { limit }.into());
            };
            result.map_err(with_reason)
        })
    }
}

/// Tells the errors of a handshake, which hyper-rustls wraps twice, from ours and from that of a scheme nobody knows.
fn with_reason(error: BoxError) -> BoxError {
    match error.downcast::<io::Error>() {
        Ok(error) if error.get_ref().is_some_and(|inner| inner.is::<io::Error>()) => ConnectError::Tls(*error).into(),
        Ok(error) => error,
        Err(error) => error,
    }
}

/// What is below TLS.
struct Dialer {
    connector: Connector,
    deadline: Instant,
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connector, deadline) = (self.connector.clone(), self.deadline);
        Box::pin(async move {
            match timeout_at(deadline, connector.dial(&uri)).await {
                Ok(result) => result,
                Err(_) => Err(ConnectError::Late { limit: connector.limit }),
            }
        })
    }
}

impl Connector {
    async fn dial(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut addresses = self.resolver.addresses(host).await.map_err(ConnectError::Name)?;
        addresses.truncate(limits::ADDRESSES_MAX);
        let tried = addresses.len();
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
        let io = self.first_of(addresses).await.map_err(|source| ConnectError::Address { tried, source })?;
        Ok(Stream::new(io))
    }

    /// Tries one address after another, the next one when one failed or is slow, and takes the first that connects.
    async fn first_of(&self, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Box<dyn Io>> {
        let mut addresses = addresses.peekable();
        let mut trying = Flock::default();
        let mut failure = None;
        loop {
            if let Some(address) = addresses.next() {
                trying.start((), self.connect.connect(address));
            }
            let patience = if addresses.peek().is_some() { limits::NEXT_ADDRESS_AFTER } else { self.limit };
            match timeout(patience, trying.next()).await {
                Ok(Some(((), Some(Ok(io))))) => return Ok(io),
                Ok(Some(((), Some(Err(error))))) => failure = failure.or(Some(error)),
                Ok(Some(((), None))) | Err(_) => {}
                Ok(None) => return Err(failure.unwrap_or_else(|| io::ErrorKind::NotConnected.into())),
            }
        }
    }
}

/// A connection, and until when it takes new requests.
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    fresh_until: FreshUntil,
}

/// When a connection takes no new request any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreshUntil(pub(super) Instant);

impl Stream {
    fn new(io: Box<dyn Io>) -> Self {
        // Those of one output, and of a fleet that was started at once, are not renewed at once.
        let age = limits::CONNECTION_AGE_MAX.mul_f64(0.8 + 0.2 * fastrand::f64());
        Self { io: TokioIo::new(io), fresh_until: FreshUntil(Instant::now() + age) }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("fresh_until", &self.fresh_until).finish_non_exhaustive()
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.fresh_until)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
