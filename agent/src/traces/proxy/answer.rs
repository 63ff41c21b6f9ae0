//! What is answered: the service's own words, or ours where there are none.
//!
//! Promises: the body of the service's answer is its bytes; a text of ours says what to do.
//! Never: passes on what belongs to one connection.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::Full;
use serde_json::json;

use crate::aws::{Fault, FaultKind};

/// Headers that are about a connection, and the length, which hyper writes anew (RFC 9110, 7.6.1).
const OF_A_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-connection"),
];

/// How a request ended, for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service said yes.
    Answered,
    /// Another request for the same had that answer.
    Kept,
    /// The service said no.
    Refused,
    /// There was no answer of the service, or nothing could be asked.
    Failed,
    /// It is not on the list.
    NotAllowed,
    /// Not from a program beside us.
    Foreign,
    /// Larger than what is passed on.
    TooLarge,
    /// The body did not come.
    NoBody,
}

impl Outcome {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NotAllowed => "not_allowed",
            Self::Foreign => "foreign",
            Self::TooLarge => "too_large",
            Self::NoBody => "no_body",
        }
    }
}

/// A request that is not passed on: with which status, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped(pub(super) StatusCode, pub(super) Outcome, pub(super) &'static str);

/// The request has more than we pass on.
pub(super) const TOO_LARGE: Stopped =
    Stopped(StatusCode::PAYLOAD_TOO_LARGE, Outcome::TooLarge, "at most 1 MiB is passed on");

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) outcome: Outcome,
}

impl Answer {
    pub(super) fn of_service(answer: Response<Bytes>) -> Self {
        let (head, body) = answer.into_parts();
        let mut headers = head.headers;
        for name in OF_A_CONNECTION {
            headers.remove(name);
        }
        let outcome = if head.status.is_success() { Outcome::Answered } else { Outcome::Refused };
        Self { status: head.status, headers, body, outcome }
    }

    /// Says that there is no answer of the service, and why.
    pub(super) fn of_fault(fault: &Fault) -> Self {
        let status = match fault.kind {
            FaultKind::Credentials => StatusCode::SERVICE_UNAVAILABLE,
            FaultKind::Ambiguous => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::own(status, Outcome::Failed, &fault.to_string())
    }

    /// A text of ours, in the form of the service's errors.
    pub(super) fn own(status: StatusCode, outcome: Outcome, text: &str) -> Self {
        let body = json!({ "message": format!("pillion: {text}") }).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers, body: body.into(), outcome }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Stopped> for Answer {
    fn from(Stopped(status, outcome, text): Stopped) -> Self {
        Self::own(status, outcome, text)
    }
}
