//! One request for an exposition, and its answer.
//!
//! Promises: ends within its time and its bytes, before and after decompression; whatever is answered becomes an exposition or one
//! [`Failure`]; a page without a content type is read as text, since simple servers send none.
//! Never: follows a redirect; asks with credentials.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, Request, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
};

use crate::{
    metrics::exposition::{Format, Refused},
    net::{
        connect::Reason,
        http::{Bounds, HttpClient, HttpError},
        inflate::{InflateError, gunzip},
    },
};

/// What we read, the best first: what Prometheus itself sends, without protobuf.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                        application/openmetrics-text;version=0.0.1;q=0.5,\
                        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// By which clients know how long we wait.
const PATIENCE: &str = "x-prometheus-scrape-timeout-seconds";

/// Why a scrape brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No answer, or not all of it.
    #[error("there was no answer")]
    NoAnswer(#[source] HttpError),
    /// An answer that is none.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// The body is compressed, and cannot be read.
    #[error("the answer cannot be decompressed")]
    Compressed(#[source] InflateError),
    /// An encoding that was not asked for.
    #[error("the answer is encoded in a way that was not asked for")]
    Encoding,
    /// Not an exposition.
    #[error("the answer is no exposition that can be taken")]
    Refused(#[source] Refused),
    /// A bug of ours, which was told.
    #[error("what read the answer panicked")]
    Panicked,
}

impl Failure {
    /// The kind, as a label of a counter.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoAnswer(HttpError::Timeout { .. }) => "timeout",
            Self::NoAnswer(HttpError::TooLarge { .. }) | Self::Compressed(InflateError::TooLarge { .. }) => "too_large",
            Self::NoAnswer(HttpError::Tls(_) | HttpError::Connect { .. }) => "unreachable",
            Self::NoAnswer(HttpError::Broken { .. } | HttpError::BrokenAnswer { .. }) => "broken",
            Self::Status(_) => "status",
            Self::Compressed(_) | Self::Encoding => "encoding",
            Self::Refused(Refused::TooManySamples(_)) => "samples_max",
            Self::Refused(Refused::Invalid(_) | Refused::Cut) => "invalid",
            Self::Panicked => "panic",
        }
    }

    /// True if the body is larger than was allowed.
    pub fn is_too_large(&self) -> bool {
        self.label() == "too_large"
    }

    /// True if nobody listens there, so that who answers later began later.
    pub fn is_nobody_there(&self) -> bool {
        matches!(self, Self::NoAnswer(error) if error.unconnected() == Some(Reason::Refused))
    }
}

/// A body as it came.
#[derive(Debug)]
pub struct Fetched {
    body: Bytes,
    is_compressed: bool,
    /// In which language it is.
    pub format: Format,
}

impl Fetched {
    /// Bytes as they came.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// True if more will be there than came.
    pub fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// The text, of at most `bytes_max`.
    pub fn text(self, bytes_max: usize) -> Result<Bytes, Failure> {
        match self.is_compressed {
            true => gunzip(&self.body, bytes_max).map(Bytes::from).map_err(Failure::Compressed),
            false => Ok(self.body),
        }
    }
}

/// Asks for the exposition at `uri`.
pub async fn fetch(uri: &Uri, http: &HttpClient, bounds: Bounds) -> Result<Fetched, Failure> {
    let answer = http.send_within(request(uri, bounds.time), bounds).await.map_err(Failure::NoAnswer)?;
    if answer.status() != StatusCode::OK {
        return Err(Failure::Status(answer.status()));
    }
    let format = format_of(answer.headers());
    let is_compressed = match answer.headers().get(CONTENT_ENCODING).map(|coding| coding.as_bytes().trim_ascii()) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Err(Failure::Encoding),
    };
    Ok(Fetched { body: answer.into_body(), is_compressed, format })
}

fn request(uri: &Uri, patience: Duration) -> Request<Bytes> {
    let host = uri.authority().map_or("", http::uri::Authority::as_str);
    let request = Request::get(uri.clone())
        .header(HOST, host)
        .header(ACCEPT, ACCEPTED)
        .header(ACCEPT_ENCODING, "gzip")
        .header(USER_AGENT, concat!("pillion/", env!("CARGO_PKG_VERSION")))
        .header(PATIENCE, patience.as_secs_f64().to_string());
    request.body(Bytes::new()).expect("an address that was read makes a request")
}

fn format_of(headers: &HeaderMap) -> Format {
    let said = headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let media = said.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
}
