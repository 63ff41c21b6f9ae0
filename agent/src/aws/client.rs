//! Calls one service of AWS that speaks JSON 1.1: `X-Amz-Target` says the operation, the body is ready.
//!
//! Promises: each sending is signed for its own moment. A wrong clock is learned from the answer, and new credentials are
//! fetched when the old ones are refused; each leads to one immediate resend of a request that the service did not take.
//! Never: resends a request that may have been taken.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};

use super::{
    Credentials, Endpoint, Fault, FaultKind,
    credentials::Held,
    error::{chain, classify},
    sign::{Scope, sha256_hex, sign},
};
use crate::{limits, net::http::HttpClient};

/// The name of the header by which an answer of AWS is known.
const REQUEST_ID: &str = "x-amzn-requestid";
/// Bytes of a request id that are kept. AWS uses UUIDs.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A client of one service, at one endpoint, as one identity.
#[derive(Clone, Debug)]
pub struct Client {
    service: &'static str,
    endpoint: Endpoint,
    credentials: Credentials,
    http: HttpClient,
    user_agent: HeaderValue,
    timeout: Duration,
}

/// The answer to a call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The body, at most [`limits::ANSWER_BYTES_MAX`].
    pub body: Bytes,
    /// What AWS's support asks for.
    pub request_id: String,
}

/// A request but for its signature.
struct Call<'a> {
    target: &'a str,
    body: Bytes,
    body_sha256: String,
    headers: &'a [(HeaderName, HeaderValue)],
}

impl Client {
    /// A client of the service that is signed for as `service` (`logs`). It uses the clock of `credentials`.
    pub fn new(service: &'static str, endpoint: Endpoint, credentials: Credentials, http: HttpClient) -> Self {
        let user_agent = HeaderValue::from_static(concat!("pillion/", env!("CARGO_PKG_VERSION")));
        Self { service, endpoint, credentials, http, user_agent, timeout: limits::REQUEST_TIMEOUT }
    }

    /// Adds a text to the user agent. Characters that have no place in a header are left out.
    pub fn with_user_agent(mut self, extra: &str) -> Self {
        let visible: String = extra.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        let text = format!("pillion/{} {}", env!("CARGO_PKG_VERSION"), visible.trim());
        self.user_agent = HeaderValue::from_str(text.trim_end()).expect("visible ASCII is a header value");
        self
    }

    /// Sets the time for one request, answer included; else it is [`limits::REQUEST_TIMEOUT`].
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where the service is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls the operation `target` (`Logs_20140328.PutLogEvents`). `headers` are sent and signed too.
    pub async fn call(&self, target: &str, body: Bytes, headers: &[(HeaderName, HeaderValue)]) -> Result<Reply, Fault> {
        let call = Call { target, body_sha256: sha256_hex(&body), body, headers };
        let clock = self.credentials.clock();
        let (mut may_set_clock, mut may_renew) = (true, true);
        let mut before: Option<Fault> = None;
        loop {
            // If there are no new credentials, what the service said about the old ones tells more.
            let held = self.credentials.get().await.map_err(|fault| before.take().unwrap_or(fault))?;
            let offset = clock.offset_seconds();
            let answer = self.http.send(self.signed(&call, &held)?, self.timeout).await?;
            let (head, body) = answer.into_parts();
            let fault = match reply(Response::from_parts(head.clone(), body)) {
                Ok(reply) => return Ok(reply),
                Err(fault) if fault.kind != FaultKind::Credentials => return Err(fault),
                Err(fault) => fault,
            };
            // Another call may have set the clock while this one was on its way.
            if may_set_clock
                && fault.may_be_our_clock()
                && (clock.learn(&head.headers) || clock.offset_seconds() != offset)
            {
                may_set_clock = false;
            } else if may_renew {
                self.credentials.forget(&held);
                may_renew = false;
            } else {
                return Err(fault);
            }
            before = Some(fault);
        }
    }

    fn signed(&self, call: &Call<'_>, held: &Held) -> Result<Request<Bytes>, Fault> {
        let unusable = |error: &dyn std::error::Error| Fault::own(FaultKind::Transient, "cannot_sign", &chain(error));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.uri())
            .header(HOST, self.endpoint.host())
            .header(USER_AGENT, &self.user_agent)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", call.target)
            .body(call.body.clone())
            .map_err(|error| unusable(&error))?;
        request.headers_mut().extend(call.headers.iter().cloned());
        let scope =
            Scope { service: self.service, region: self.endpoint.region(), time: self.credentials.clock().now() };
        sign(&mut request, call.body_sha256.clone(), &held.identity, scope).map_err(|error| unusable(&error))?;
        Ok(request)
    }
}

/// A success has the service's request id. Without one it comes from a proxy or a captive portal, and nothing was taken.
fn reply(answer: Response<Bytes>) -> Result<Reply, Fault> {
    let (head, body) = answer.into_parts();
    if !head.status.is_success() {
        return Err(classify(head.status, &head.headers, &body));
    }
    let id = head.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    match id {
        Some(id) => Ok(Reply { body, request_id: id.chars().take(REQUEST_ID_BYTES_MAX).collect() }),
        None => {
            let text = "the answer has no x-amzn-RequestId: it is not from AWS; is there a proxy in between?";
            Err(Fault::own(FaultKind::Transient, "no_request_id", text))
        }
    }
}
