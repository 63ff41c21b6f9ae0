//! A backend that takes OTLP: by HTTP or gRPC, any vendor's or AWS's own.
//!
//! ```text
//! requests that came ─ laid one behind the other ─▶ one request: compressed, signed if AWS, sent
//! ```
//!
//! What came is sent as it came: bodies of OTLP may be joined by laying one behind the other, and nothing is decoded.
//!
//! Promises: what the specification calls retryable is sent again when the backend says, what is not is booked as refused; what a
//! backend took partly is not sent again; a fault of the configuration (a wrong address, key or setting of the account) is told as one.
//! Never: shows a header's value; follows a redirect.

mod backend;
mod config;
mod grpc;
mod meaning;
pub mod search;
mod target;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use tracing::error;

use search::Open;

pub use backend::{backend, of_aws};
pub use config::{Aws, Compression, Config, Hidden, Protocol};
pub use target::{Target, TargetError, headers};

use super::{
    walk::{Signal, Splitter},
    wire::Malformed,
};
use crate::{
    aws::{Client, Fault, Operation, sha256_hex},
    deliver::{
        Answer, Destination, Doing, Fate, Key, Limits, Rules, Verdict,
        batch::{Batch, Frame},
        books::{Account, Refused},
        lane::{Appending, Lane, Output},
    },
    limits::{OTLP_BATCH_ITEMS_MAX, OTLP_PIECE_BYTES_MAX},
    net::{
        deflate::gzip,
        http::{Bounds, HttpClient},
    },
    tell::RateLimited,
};

/// How long spans wait for others. A second of company makes one request of some hundred; nobody looks at a trace sooner.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of an answer. A specification's wish is 4 MiB; what is of interest has under 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A warning of one kind, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Who we are.
pub(super) const AGENT: HeaderValue = HeaderValue::from_static(concat!("pillion/", env!("CARGO_PKG_VERSION")));

/// A backend, as one output speaks to it.
pub struct Otlp {
    signal: Signal,
    way: Way,
    limits: Limits,
    compression: Compression,
    bounds: Bounds,
    warned: RateLimited,
    /// Whether X-Ray takes spans, for those who can do without.
    open: Arc<Open>,
}

/// How a request gets there.
pub enum Way {
    /// By HTTP/1.1 with these headers.
    Http {
        /// The client.
        client: HttpClient,
        /// Where.
        target: Target,
        /// Of every request.
        headers: HeaderMap,
    },
    /// By gRPC with this metadata.
    Grpc {
        /// A client of HTTP/2.
        client: HttpClient,
        /// Where.
        target: Target,
        /// Of every request.
        headers: HeaderMap,
    },
    /// By HTTP/1.1, signed for AWS.
    Signed {
        /// The client.
        client: Box<Client>,
        /// The path of the URL.
        path: String,
        /// Of every request.
        headers: HeaderMap,
        /// True for X-Ray's own endpoint, which refuses everything while Transaction Search is off.
        is_x_ray: bool,
    },
}

/// Where requests are appended.
pub struct Sink {
    output: Arc<Output>,
    lane: Arc<Lane>,
    account: Arc<Account>,
    signal: Signal,
}

/// How requests are delivered: in any order, so beside each other.
pub fn rules() -> Rules {
    Rules { linger: LINGER, workers_per_key: 8, ..Rules::default() }
}

impl Otlp {
    /// Sends requests of `signal` on this `way`, as large as `limits` say.
    pub fn new(signal: Signal, way: Way, limits: Limits, config: &Config) -> Self {
        let bounds = Bounds { time: config.timeout.0, answer_bytes: ANSWER_BYTES_MAX };
        let warned = RateLimited::new(WARN_EVERY);
        Self { signal, way, limits, compression: config.compression, bounds, warned, open: Arc::default() }
    }

    /// Says in `open` if X-Ray turns out to take no spans.
    pub fn telling(self, open: Arc<Open>) -> Self {
        Self { open, ..self }
    }

    async fn put(&self, batch: &Batch) -> Answer {
        match &self.way {
            Way::Http { client, target, headers } => self.post(client, target, headers, &batch.body).await,
            Way::Grpc { client, target, headers } => self.call(client, target, headers, &batch.body).await,
            Way::Signed { client, path, headers, is_x_ray } => {
                match self.post_signed(client, path, headers, &batch.body).await {
                    Ok(answer) => answer,
                    Err(fault) => self.fault(client, *is_x_ray, batch, fault).await,
                }
            }
        }
    }

    async fn post(&self, client: &HttpClient, target: &Target, headers: &HeaderMap, body: &Bytes) -> Answer {
        let mut request = Request::new(self.compressed(body).await);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri().clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().extend(self.describing_headers());
        request.headers_mut().insert(USER_AGENT, AGENT);
        match client.send_within(request, self.bounds).await {
            Ok(answer) => meaning::of_http(&answer),
            Err(error) => Answer::from(Fault::from(error)),
        }
    }

    async fn post_signed(
        &self,
        client: &Client,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Fault> {
        let body = self.compressed(body).await;
        let hash = sha256_hex(&body).await;
        let named = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let headers: Vec<_> = named.chain(self.describing_headers()).collect();
        let reply = client.call_hashed(Operation::Path(path), body, &hash, &headers).await?;
        Ok(meaning::of_success(&reply.body))
    }

    async fn compressed(&self, body: &Bytes) -> Bytes {
        match self.compression {
            Compression::Gzip => gzip(body).await.into(),
            Compression::None => body.clone(),
        }
    }

    fn describing_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let encoding = match self.compression {
            Compression::Gzip => Some((CONTENT_ENCODING, HeaderValue::from_static("gzip"))),
            Compression::None => None,
        };
        [(CONTENT_TYPE, PROTOBUF)].into_iter().chain(encoding)
    }

    /// What a fault of AWS means. A request that is bad may be so because the account does not take spans at all.
    async fn fault(&self, client: &Client, is_x_ray: bool, batch: &Batch, fault: Fault) -> Answer {
        if fault.status != Some(400) || fault.is_about_who() {
            return Answer::from(fault);
        }
        if is_x_ray && !takes_spans(client, &fault).await {
            self.open.set(false);
            if let Some(suppressed) = self.warned.allow(tokio::time::Instant::now()) {
                error!(
                    spans = batch.entries.iter().map(|entry| u64::from(entry.records())).sum::<u64>(),
                    fault = %fault,
                    suppressed,
                    "x-ray takes no spans by otlp while transaction search is off; turn it on (xray:UpdateTraceSegmentDestination), \
                     or use the output `xray`"
                );
            }
            let all = Verdict { records: 0..batch.entries.len(), fate: Fate::Refused(Refused::NotEnabled) };
            return Answer::Partial(vec![all]);
        }
        Answer::Divide { detail: fault.to_string() }
    }
}

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Asks X-Ray whether spans are taken. If it does not say, what it said of the request is all there is.
async fn takes_spans(client: &Client, fault: &Fault) -> bool {
    search::is_on(client).await.unwrap_or_else(|_| {
        let message = fault.message.to_ascii_lowercase();
        !["transaction search", "destination", "not enabled"].iter().any(|words| message.contains(words))
    })
}

impl Destination for Otlp {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame::default()
    }

    fn knows(&self, key: &Key) -> bool {
        *key == key_of(self.signal)
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(self.put(batch))
    }
}

/// The only key of an output: what is sent needs no order.
fn key_of(signal: Signal) -> Key {
    Key::new(signal.label())
}

impl Sink {
    /// Books requests of `signal` that are appended to `output` on `account`.
    pub fn new(output: Arc<Output>, account: Arc<Account>, signal: Signal) -> Self {
        let lane = output.lane(&key_of(signal));
        Self { output, lane, account, signal }
    }

    /// True if `bytes` more cost nobody else's.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.output.has_room(bytes)
    }

    /// Begins to append requests.
    pub fn appending(&self) -> Appending<'_> {
        self.output.append(&self.lane, &self.account)
    }

    /// Appends a request of so many `items`, in pieces if it is larger than backends take.
    pub fn append(&self, appending: &mut Appending<'_>, request: &[u8], items: usize) -> Result<(), Malformed> {
        if request.len() <= OTLP_PIECE_BYTES_MAX && items <= OTLP_BATCH_ITEMS_MAX {
            put(appending, request, items);
            return Ok(());
        }
        let splitter =
            Splitter { signal: self.signal, bytes_max: OTLP_PIECE_BYTES_MAX, items_max: OTLP_BATCH_ITEMS_MAX };
        splitter.split(request, |piece| put(appending, piece.bytes, piece.items))
    }
}

fn put(appending: &mut Appending<'_>, request: &[u8], items: usize) {
    // A piece that could not be made small enough may have more than an entry can say: it is booked for as many as it can.
    let records = u32::try_from(items).unwrap_or(u32::MAX).min(crate::deliver::batch::Entry::RECORDS_MAX);
    if records == 0 {
        return;
    }
    appending.begin().put(request);
    // Spans have times, but to find them would be to decode; no backend wants them in order.
    appending.commit_records(0, request.len(), records);
}
