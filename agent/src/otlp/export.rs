//! A request from its headers to its answer.
//!
//! ```text
//! by HTTP   POST /v1/{traces,metrics,logs}; application/x-protobuf or application/json; Content-Encoding
//! by gRPC   POST /opentelemetry.proto.collector.{trace,metrics,logs}.v1.{Trace,Metrics,Logs}Service/Export; application/grpc;
//!           grpc-encoding; body: compressed u8, length u32 (big-endian), message; answer with trailers
//! ```
//!
//! Promises: a request is answered once: taken whole, or not at all with its reason; what is refused for its headers is never read
//! into memory; each refusal is counted.
//! Never: says that something was taken before it stands in the books.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use super::{
    frame,
    intake::{Around, Coding, Intake},
    json::{NotJson, transcode},
    reply::Reply,
    status::{Media, RETRY_SECONDS, Reason, Refusal},
    taker::{Rules, Taken, Takers},
    walk::{Signal, count},
};
use crate::{
    deliver::ack::{Ack, AckLevel},
    limits,
    net::seats::Sitter,
    tell::{
        RateLimited,
        counters::{Counters, Otlp},
    },
};

/// How much of a body that is refused is read and thrown away, and for how long: whoever still sends would not see the answer.
const DISCARDED_BYTES_MAX: usize = 64 << 20;
const DISCARDING: Duration = Duration::from_secs(2);
/// A warning, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What answers the requests of one input.
pub(super) struct Exports {
    takers: Takers,
    intake: Intake,
    ack: AckLevel,
    counters: Otlp,
    warned: RateLimited,
}

/// What the headers of a request say.
#[derive(Clone, Copy, Debug)]
struct Asked {
    signal: Signal,
    media: Media,
    coding: Coding,
}

impl Exports {
    pub(super) fn new(takers: Takers, rules: Rules, counters: &Counters) -> Self {
        Self {
            takers,
            intake: Intake::new(rules.request_bytes_max),
            ack: rules.ack,
            counters: counters.otlp.clone(),
            warned: RateLimited::new(WARN_EVERY),
        }
    }

    /// The answer to `request`, which came on the connection of `sitter`.
    pub(super) async fn answer(&self, request: Request<Incoming>, sitter: &Sitter) -> Response<Reply> {
        let (head, mut body) = request.into_parts();
        if is_grpc(&head.headers) {
            let within = head.headers.get("grpc-timeout").and_then(grpc_timeout);
            let within = within.unwrap_or(limits::OTLP_BODY_TIMEOUT).min(limits::OTLP_BODY_TIMEOUT);
            let done = async { self.grpc(&head, &mut body, within, sitter).await };
            return match done.await {
                Ok(()) => grpc_answer(Reply::success()),
                Err(refusal) => self.grpc_refusal(&refusal),
            };
        }
        // Errors are said in the encoding of the request, as far as that is known.
        let media = media(&head.headers);
        match self.http(&head, &mut body, media, sitter).await {
            Ok(asked) => http_success(asked.media),
            Err(refusal) => {
                if !head.headers.contains_key(EXPECT) {
                    discard(body).await;
                }
                self.http_refusal(&refusal, media)
            }
        }
    }

    async fn http(
        &self,
        head: &http::request::Parts,
        body: &mut Incoming,
        media: Option<Media>,
        sitter: &Sitter,
    ) -> Result<Asked, Refusal> {
        let signal = http_signal(head.uri.path()).ok_or_else(|| {
            Refusal::new(Reason::Path, "there is nothing here; OTLP comes to /v1/traces, /v1/metrics and /v1/logs")
        })?;
        if head.method != Method::POST {
            return Err(Refusal::new(Reason::Method, "OTLP is sent with POST"));
        }
        self.taken_at_all(signal)?;
        let media = media
            .ok_or_else(|| Refusal::new(Reason::MediaType, "OTLP is application/x-protobuf or application/json"))?;
        let coding = coding(&head.headers, CONTENT_ENCODING.as_str())?;
        let asked = Asked { signal, media, coding };
        let held = within(limits::OTLP_BODY_TIMEOUT, self.intake.read(body, Around::Nothing)).await?;
        let _answering = sitter.answering();
        self.counters.received_bytes.inc_by(held.bytes.len() as u64);
        let request = self.intake.open(asked.coding, held.bytes.clone()).await?;
        let request = self.as_protobuf(asked, request)?;
        self.take(asked.signal, &request, "http").await?;
        Ok(asked)
    }

    async fn grpc(
        &self,
        head: &http::request::Parts,
        body: &mut Incoming,
        patience: Duration,
        sitter: &Sitter,
    ) -> Result<(), Refusal> {
        let signal = grpc_signal(head.uri.path())
            .filter(|_| head.method == Method::POST)
            .ok_or_else(|| Refusal::new(Reason::Path, "this is no method of OTLP"))?;
        self.taken_at_all(signal)?;
        let coding = coding(&head.headers, "grpc-encoding")?;
        let held = within(patience, self.intake.read(body, Around::Grpc)).await?;
        let _answering = sitter.answering();
        self.counters.received_bytes.inc_by(held.bytes.len() as u64);
        let (is_compressed, message) = message(&held.bytes)?;
        if is_compressed && coding == Coding::Identity {
            return Err(Refusal::new(Reason::Frame, "the message is compressed, and grpc-encoding does not say how"));
        }
        let coding = if is_compressed { coding } else { Coding::Identity };
        let request = self.intake.open(coding, message).await?;
        self.take(signal, &request, "grpc").await
    }

    fn as_protobuf(&self, asked: Asked, request: Bytes) -> Result<Bytes, Refusal> {
        if asked.media == Media::Protobuf {
            return Ok(request);
        }
        let mut out = Vec::new();
        match transcode(asked.signal, &request, self.intake.bytes_max(), &mut out) {
            Ok(()) => Ok(out.into()),
            Err(error @ NotJson::TooLarge) => Err(Refusal::new(Reason::TooLarge, error.to_string())),
            Err(error) => Err(Refusal::new(Reason::Malformed, error.to_string())),
        }
    }

    fn taken_at_all(&self, signal: Signal) -> Result<(), Refusal> {
        let what = signal.label();
        let refusal =
            || Refusal::new(Reason::NoTaker, format!("nothing takes {what} here; see `{what}` in the configuration"));
        self.takers.of(signal).map(|_| ()).ok_or_else(refusal)
    }

    async fn take(&self, signal: Signal, request: &[u8], protocol: &str) -> Result<(), Refusal> {
        let items = count(signal, request).map_err(|error| Refusal::new(Reason::Malformed, error.to_string()))?;
        let Some(taker) = self.takers.of(signal) else { return Ok(()) };
        let (ack, told) = self.ack();
        if items > 0 && taker.take(request, items, ack.as_ref()) == Taken::Busy {
            return Err(Refusal::new(Reason::Busy, "there is no memory for more now; send it again"));
        }
        self.counters.received_requests.with_label_values(&[protocol]).inc();
        self.counters.received_items.with_label_values(&[signal.label()]).inc_by(items as u64);
        drop(ack);
        let Some(told) = told else { return Ok(()) };
        match timeout(limits::OTLP_ACK_TIMEOUT, told).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Refusal::new(Reason::NotKept, "it was not kept as the acknowledgement promises; send it again")),
        }
    }

    /// What waits for more than memory, if the user wants that.
    fn ack(&self) -> (Option<Arc<Ack>>, Option<oneshot::Receiver<bool>>) {
        if self.ack == AckLevel::Accepted {
            return (None, None);
        }
        let (tell, told) = oneshot::channel();
        let ack = Ack::new(self.ack, size_of::<bool>(), move |kept| {
            // Who asked may be gone.
            let _ = tell.send(kept);
        });
        (Some(Arc::new(ack)), Some(told))
    }

    fn count_refusal(&self, refusal: &Refusal) {
        self.counters.refused_requests.with_label_values(&[refusal.reason.label()]).inc();
        if let Some(suppressed) = self.warned.allow(tokio::time::Instant::now()) {
            warn!(
                reason = refusal.reason.label(),
                message = &*refusal.message,
                suppressed,
                "a request of otlp was refused"
            );
        }
    }

    fn http_refusal(&self, refusal: &Refusal, media: Option<Media>) -> Response<Reply> {
        self.count_refusal(refusal);
        let body = match media {
            Some(media) => refusal.body(media),
            None => Bytes::from(refusal.message.to_string()),
        };
        let mut answer = Response::new(Reply::of(body));
        *answer.status_mut() = refusal.reason.http();
        let name = media.map_or(HeaderValue::from_static("text/plain; charset=utf-8"), Media::name);
        answer.headers_mut().insert(CONTENT_TYPE, name);
        if refusal.reason.passes() {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into());
        }
        if refusal.reason == Reason::Method {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }

    /// All in the headers, as gRPC has it for a call without a message.
    fn grpc_refusal(&self, refusal: &Refusal) -> Response<Reply> {
        self.count_refusal(refusal);
        let mut answer = grpc_answer(Reply::empty());
        let headers = answer.headers_mut();
        headers.insert("grpc-status", u16::from(refusal.reason.grpc()).into());
        headers.insert("grpc-message", refusal.grpc_message());
        headers.extend(refusal.grpc_details().map(|details| (GRPC_DETAILS, details)));
        if refusal.reason == Reason::Encoding {
            headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity, gzip, zstd, deflate"));
        }
        answer
    }
}

const GRPC_DETAILS: http::HeaderName = http::HeaderName::from_static("grpc-status-details-bin");

fn http_success(media: Media) -> Response<Reply> {
    // A message without fields: everything was taken.
    let body = if media == Media::Json { Bytes::from_static(b"{}") } else { Bytes::new() };
    let mut answer = Response::new(Reply::of(body));
    answer.headers_mut().insert(CONTENT_TYPE, media.name());
    answer
}

fn grpc_answer(reply: Reply) -> Response<Reply> {
    let mut answer = Response::new(reply);
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

async fn within<T>(patience: Duration, reading: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let slow = || Refusal::new(Reason::Slow, "the request did not come in time");
    timeout(patience, reading).await.unwrap_or_else(|_| Err(slow()))
}

/// Reads what is still to come, and forgets it.
async fn discard(mut body: Incoming) {
    let mut bytes = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARDED_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever takes longer does not get to see the answer.
    let _ = timeout(DISCARDING, reading).await;
}

/// The message of a call, and whether it is compressed.
fn message(body: &Bytes) -> Result<(bool, Bytes), Refusal> {
    let message = frame::message(body).map_err(|error| Refusal::new(Reason::Frame, error.to_string()))?;
    Ok((message.is_compressed, body.slice_ref(message.bytes)))
}

fn http_signal(path: &str) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| signal.http_path() == path)
}

fn grpc_signal(path: &str) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| signal.grpc_path() == path)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = media_type(headers).unwrap_or_default();
    kind.eq_ignore_ascii_case("application/grpc") || kind.to_ascii_lowercase().starts_with("application/grpc+")
}

/// The media type of a body, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

fn media(headers: &HeaderMap) -> Option<Media> {
    let kind = media_type(headers)?;
    match kind {
        _ if kind.eq_ignore_ascii_case("application/x-protobuf") => Some(Media::Protobuf),
        _ if kind.eq_ignore_ascii_case("application/protobuf") => Some(Media::Protobuf),
        _ if kind.eq_ignore_ascii_case("application/json") => Some(Media::Json),
        _ => None,
    }
}

fn coding(headers: &HeaderMap, name: &str) -> Result<Coding, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (first, more) = (values.next(), values.next());
    let known = match (first, more) {
        (None, _) => Some(Coding::Identity),
        (Some(value), None) => value.to_str().ok().and_then(Coding::named),
        (Some(_), Some(_)) => None,
    };
    known.ok_or_else(|| Refusal::new(Reason::Encoding, "bodies are taken as they are, or as gzip, zstd or deflate"))
}

/// `100m` and the like: at most eight digits and a unit.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
