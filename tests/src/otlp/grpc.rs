//! gRPC by hand on hyper's HTTP/2: the backend's server, and calls to the agent.
//!
//! Promises: frames, trailers and statuses as the specification has them, so that both sides are compared with something that is
//! not the agent's.
//! Never: streams.

use std::{
    convert::Infallible,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2 as client,
    server::conn::http2 as server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Handle, Runtime},
};

use super::backend::{Act, Shared, partial_success};

/// The method of spans.
pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A server on a runtime of its own.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    // Ends the server when it goes.
    _runtime: Runtime,
}

/// The frames of an answer.
#[derive(Debug)]
struct Frames(std::vec::IntoIter<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

impl Server {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                Handle::current().spawn(async move {
                    let service = service_fn(|request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(serve(request, &shared).await) }
                    });
                    let connection = server::Builder::new(TokioExecutor::new());
                    // A client that closes is no fault of ours.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(request: Request<Incoming>, shared: &Shared) -> Response<Frames> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return answered(13, None, Bytes::new()) };
    let body = body.to_bytes();
    let is_good = head.method == "POST"
        && head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc")
        && head.headers.get("te").is_some_and(|te| te == "trailers")
        && body.len() >= 5
        && body.len() - 5 == u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
    let encoding = head.headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    let mut plain = Vec::new();
    let message = match (is_good, body.first(), encoding) {
        (true, Some(1), Some(b"gzip")) => GzDecoder::new(&body[5..]).read_to_end(&mut plain).ok().map(|_| &plain[..]),
        (true, Some(0), _) => Some(&body[5..]),
        _ => None,
    };
    let Some(message) = message else {
        shared.state().violations.push(format!("{head:?}"));
        return answered(3, None, Bytes::new());
    };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    match shared.took(head.uri.path(), headers.collect(), message, body.len()) {
        Act::Take | Act::TakeAndReset => answered(0, None, Bytes::new()),
        Act::Partly(refused) => answered(0, None, partial_success(refused).into()),
        Act::Slow(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            answered(0, None, Bytes::new())
        }
        Act::Grpc(code, after) => answered(code, after, Bytes::new()),
        Act::Poison(_) => answered(3, None, Bytes::new()),
        Act::Reset => answered(14, None, Bytes::new()),
        Act::Status(status, _) => {
            let mut answer = Response::new(Frames(Vec::new().into_iter()));
            *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            answer
        }
    }
}

fn answered(code: u32, after: Option<u64>, message: Bytes) -> Response<Frames> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    if code != 0 {
        trailers.insert("grpc-message", HeaderValue::from_static("told %25"));
    }
    if let Some(seconds) = after {
        trailers.insert("grpc-status-details-bin", retry_info(seconds));
    }
    let mut frames = Vec::new();
    if code == 0 {
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        frames.push(Frame::data([&[0][..], &length, &message].concat().into()));
    }
    frames.push(Frame::trailers(trailers));
    let mut answer = Response::new(Frames(frames.into_iter()));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

/// google.rpc.Status with google.rpc.RetryInfo, in base64.
fn retry_info(seconds: u64) -> HeaderValue {
    use super::span::field;
    assert!(seconds < 128, "one byte is enough");
    let info = field(1, &[8, seconds as u8]);
    let any = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &info)].concat();
    let status = [&[8, 14][..], &field(3, &any)].concat();
    HeaderValue::from_str(&base64(&status)).expect("base64 is a header value")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    bits.chunks(6)
        .map(|six| {
            let value = six.iter().fold(0, |value, bit| value << 1 | bit) << (6 - six.len());
            char::from(DIGITS[value as usize])
        })
        .collect()
}

/// What a call was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// `grpc-status`.
    pub status: u32,
    /// `grpc-message`.
    pub message: String,
    /// True if RetryInfo was there.
    pub may_come_again: bool,
    /// The message of the answer.
    pub body: Vec<u8>,
}

/// A connection for calls.
#[derive(Debug)]
pub struct Caller {
    runtime: Runtime,
    address: SocketAddr,
    sender: client::SendRequest<Full<Bytes>>,
}

impl Caller {
    /// Connects to `address`.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            Handle::current().spawn(connection);
            anyhow::Ok(sender)
        })?;
        Ok(Self { runtime, address, sender })
    }

    /// Calls `path` with this body, frame and all, and these headers besides gRPC's own.
    pub fn call(&mut self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> anyhow::Result<Called> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let said = if head.headers.contains_key("grpc-status") { &head.headers } else { &trailers };
            let text = |name: &str| said.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            Ok(Called {
                status: text("grpc-status").and_then(|status| status.parse().ok()).unwrap_or(u32::MAX),
                message: text("grpc-message").unwrap_or_default(),
                may_come_again: text("grpc-status-details-bin").is_some(),
                body: body.to_bytes().to_vec(),
            })
        })
    }
}

/// A message with what stands before it.
pub fn framed(message: &[u8], is_compressed: u8) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("below 4 GiB").to_be_bytes();
    [&[is_compressed][..], &length, message].concat()
}
