//! Calls one service of AWS. `X-Amz-Target` says the operation (JSON 1.1 or 1.0) or the path does (REST); the body is ready.
//!
//! Promises: each sending is signed for its own moment. A wrong clock is learned from the answer, and new credentials are
//! fetched when the old ones are refused; each leads to one immediate resend of a request that the service did not take.
//! Never: resends a request that may have been taken.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

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
use crate::{
    limits,
    net::http::{Bounds, HttpClient},
    tell::spans,
};

/// The name of the header by which an answer of AWS is known.
const REQUEST_ID: &str = "x-amzn-requestid";
/// Bytes of a request id that are kept. AWS uses UUIDs.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Bounds of one request, if nobody sets others.
const BOUNDS: Bounds = Bounds { time: limits::REQUEST_TIMEOUT, answer_bytes: limits::ANSWER_BYTES_MAX };

/// A client of one service, at one endpoint, as one identity.
#[derive(Clone, Debug)]
pub struct Client {
    service: Cow<'static, str>,
    endpoint: Endpoint,
    credentials: Credentials,
    http: HttpClient,
    user_agent: HeaderValue,
    content_type: HeaderValue,
    bounds: Bounds,
    is_aws: bool,
}

/// The answer to a call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The body, at most [`limits::ANSWER_BYTES_MAX`] if nobody set another bound.
    pub body: Bytes,
    /// What AWS's support asks for. Empty if there is none ([`Client::of_anybody`]).
    pub request_id: String,
}

/// How a service is told what to do.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// By the header `X-Amz-Target`: `Logs_20140328.PutLogEvents`.
    Target(&'a str),
    /// By the path of the URL: `/TraceSegments`.
    Path(&'a str),
}

/// A request but for its signature.
struct Call<'a> {
    operation: Operation<'a>,
    body: Bytes,
    body_sha256: &'a str,
    headers: &'a [(HeaderName, HeaderValue)],
}

impl Client {
    /// A client of the service that is signed for as `service` (`logs`). It uses the clock of `credentials`.
    pub fn new(
        service: impl Into<Cow<'static, str>>,
        endpoint: Endpoint,
        credentials: Credentials,
        http: HttpClient,
    ) -> Self {
        let service = service.into();
        let user_agent = HeaderValue::from_static(concat!("pillion/", env!("CARGO_PKG_VERSION")));
        let content_type = HeaderValue::from_static("application/x-amz-json-1.1");
        Self { service, endpoint, credentials, http, user_agent, content_type, bounds: BOUNDS, is_aws: true }
    }

    /// Speaks JSON 1.0, as SQS does. The difference is in the errors, all of which are read.
    pub fn with_json_1_0(mut self) -> Self {
        self.content_type = HeaderValue::from_static("application/x-amz-json-1.0");
        self
    }

    /// Takes a success for one also without a request id: what stands behind an address of the user's need not be AWS itself.
    pub fn of_anybody(mut self) -> Self {
        self.is_aws = false;
        self
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
        self.bounds.time = timeout;
        self
    }

    /// Sets the largest answer that is read, in bytes; else it is [`limits::ANSWER_BYTES_MAX`].
    pub fn with_answer_bytes_max(mut self, bytes: usize) -> Self {
        self.bounds.answer_bytes = bytes;
        self
    }

    /// Where the service is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Calls the operation `target` (`Logs_20140328.PutLogEvents`). `headers` are sent and signed too.
    pub async fn call(&self, target: &str, body: Bytes, headers: &[(HeaderName, HeaderValue)]) -> Result<Reply, Fault> {
        let body_sha256 = sha256_hex(&body).await;
        self.call_hashed(Operation::Target(target), body, &body_sha256, headers).await
    }

    /// The same with a body of which [`sha256_hex`] is known already.
    pub async fn call_hashed(
        &self,
        operation: Operation<'_>,
        body: Bytes,
        body_sha256: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Reply, Fault> {
        let call = Call { operation, body_sha256, body, headers };
        let answer = self.exchange(&call).await.map_err(|refused| refused.fault)?;
        reply(&answer, self.is_aws)
    }

    /// Passes on what somebody else wants of the service: the same, but the answer comes as it is, also one that refuses. A fault
    /// is what is no answer of the service.
    pub async fn pass(
        &self,
        path: &str,
        body: Bytes,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Bytes>, Fault> {
        let body_sha256 = sha256_hex(&body).await;
        let call = Call { operation: Operation::Path(path), body_sha256: &body_sha256, body, headers };
        match self.exchange(&call).await {
            Ok(answer) => Ok(answer),
            Err(Refused { answer: Some(answer), .. }) => Ok(*answer),
            Err(Refused { answer: None, fault }) => Err(fault),
        }
    }

    /// The time by the clock that signs.
    pub fn now(&self) -> SystemTime {
        self.credentials.clock().now()
    }

    /// The answer that says yes.
    async fn exchange(&self, call: &Call<'_>) -> Result<Response<Bytes>, Refused> {
        let clock = self.credentials.clock();
        let (mut may_set_clock, mut may_renew) = (true, true);
        let mut before: Option<Refused> = None;
        loop {
            // If there are no new credentials, what the service said about the old ones tells more.
            let held = self.credentials.get().await.map_err(|fault| before.take().unwrap_or(fault.into()))?;
            let offset = clock.offset_seconds();
            let answer = self.http.send_within(self.signed(call, &held)?, self.bounds).await.map_err(Fault::from)?;
            let Err(fault) = reply(&answer, self.is_aws) else { return Ok(answer) };
            let is_credentials = fault.kind == FaultKind::Credentials;
            // Another call may have set the clock while this one was on its way.
            let is_our_clock =
                || fault.may_be_our_clock() && (clock.learn(answer.headers()) || clock.offset_seconds() != offset);
            if is_credentials && may_set_clock && is_our_clock() {
                may_set_clock = false;
            } else if is_credentials && may_renew {
                self.credentials.forget(&held);
                may_renew = false;
            } else {
                return Err(Refused::by(answer, fault));
            }
            before = Some(Refused::by(answer, fault));
        }
    }

    fn signed(&self, call: &Call<'_>, held: &Held) -> Result<Request<Bytes>, Fault> {
        let unusable = |error: &dyn std::error::Error| Fault::own(FaultKind::Transient, "cannot_sign", &chain(error));
        let request = Request::builder()
            .method(Method::POST)
            .header(HOST, self.endpoint.host())
            .header(USER_AGENT, &self.user_agent);
        let request = match call.operation {
            Operation::Target(target) => {
                request.uri(self.endpoint.uri()).header(CONTENT_TYPE, &self.content_type).header("x-amz-target", target)
            }
            Operation::Path(path) => {
                let uri = self.endpoint.at(path).map_err(|error| unusable(&error))?;
                request.uri(uri).header(CONTENT_TYPE, "application/json")
            }
        };
        let mut request = request.body(call.body.clone()).map_err(|error| unusable(&error))?;
        for (name, value) in call.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let scope =
            Scope { service: &self.service, region: self.endpoint.region(), time: self.credentials.clock().now() };
        sign(&mut request, call.body_sha256.to_owned(), &held.identity, scope).map_err(|error| unusable(&error))?;
        Ok(request)
    }
}

/// Why there is no answer that says yes.
struct Refused {
    fault: Fault,
    /// What the service said.
    answer: Option<Box<Response<Bytes>>>,
}

impl Refused {
    /// A success that is none is nobody's answer.
    fn by(answer: Response<Bytes>, fault: Fault) -> Self {
        let is_refusal = !answer.status().is_success();
        Self { fault, answer: is_refusal.then(|| Box::new(answer)) }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, answer: None }
    }
}

/// A success has the service's request id. Without one it comes from a proxy or a captive portal, and nothing was taken.
fn reply(answer: &Response<Bytes>, is_aws: bool) -> Result<Reply, Fault> {
    if !answer.status().is_success() {
        return Err(classify(answer.status(), answer.headers(), answer.body()));
    }
    let id = answer.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    match id {
        Some(id) => {
            spans::note("aws.request_id", id);
            Ok(Reply { body: answer.body().clone(), request_id: id.chars().take(REQUEST_ID_BYTES_MAX).collect() })
        }
        None if !is_aws => Ok(Reply { body: answer.body().clone(), request_id: String::new() }),
        None => Err(Fault::no_request_id()),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::UNIX_EPOCH};

    use aws_credential_types::{
        Credentials as Keys,
        provider::{ProvideCredentials, error::CredentialsError, future},
    };

    use super::*;
    use crate::{
        aws::Clock,
        net::{
            stub::{Stub, answer},
            tls::Tls,
        },
        tell::counters::Counters,
    };

    const ID: &str = "x-amzn-RequestId: 7f6d\r\n";

    /// 2023-11-14T22:13:20Z.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    /// Gives other keys each time, or none.
    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicUsize, Option<SystemTime>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let keys = self.1.map(|end| Keys::new(format!("AKID{count}"), "SECRET", None, Some(end), "test"));
            future::ProvideCredentials::ready(keys.ok_or_else(|| CredentialsError::not_loaded("none")))
        }
    }

    fn client(url: &str) -> Client {
        let keys = Counting(Default::default(), Some(now() + Duration::from_secs(48 * 3_600)));
        let endpoint = Endpoint::parse(url, None, "eu-central-1").expect("an endpoint");
        let credentials = Credentials::from_provider(keys, Clock::new(now));
        Client::new("logs", endpoint, credentials, HttpClient::new(&Tls::new(None), &Counters::new()))
            .with_timeout(Duration::from_secs(30))
    }

    async fn put(client: &Client) -> Result<Reply, Fault> {
        client.call("Logs_20140328.PutLogEvents", Bytes::from_static(b"{}"), &[]).await
    }

    /// A second later, so that credentials may be fetched again. The sockets are real, so time is paused only here.
    async fn a_second_passes() {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
    }

    fn refusal(code: &str, date: &str) -> String {
        let headers = format!("{ID}date: {date}\r\n");
        answer("403 Forbidden", &headers, &format!(r#"{{"__type":"{code}","message":"no"}}"#))
    }

    #[tokio::test]
    async fn a_call_arrives_signed_with_all_that_the_service_needs() {
        let stub = Stub::answering([answer("200 OK", ID, r#"{"ok":1}"#)]);
        let client = client(&stub.url()).with_user_agent("exec-env/AWS_ECS_FARGATE\r\nx: y");
        let format = (HeaderName::from_static("x-amzn-logs-format"), HeaderValue::from_static("json/emf"));
        let reply = client.call("Logs_20140328.PutLogEvents", Bytes::from_static(b"{}"), &[format]).await;
        let body = Bytes::from_static(br#"{"ok":1}"#);
        assert_eq!(reply, Ok(Reply { body, request_id: "7f6d".into() }));

        let [seen] = &stub.seen()[..] else { panic!("one request") };
        assert_eq!(seen.line, "POST / HTTP/1.1");
        assert_eq!(seen.body, b"{}");
        let version = env!("CARGO_PKG_VERSION");
        for (name, value) in [
            ("host", format!("127.0.0.1:{}", stub.port()).as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "Logs_20140328.PutLogEvents"),
            ("x-amzn-logs-format", "json/emf"),
            ("x-amz-date", "20231114T221320Z"),
            ("user-agent", &format!("pillion/{version} exec-env/AWS_ECS_FARGATEx: y")),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name}");
        }
        let signed = "Credential=AKID0/20231114/eu-central-1/logs/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date;x-amz-target;x-amzn-logs-format, ";
        assert!(seen.header("authorization").is_some_and(|a| a.contains(signed)), "{seen:?}");
    }

    #[tokio::test]
    async fn a_wrong_clock_is_learned_from_the_answer_and_the_request_sent_again_at_once() {
        for code in ["RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired"] {
            for (date, signed) in [
                ("Tue, 14 Nov 2023 22:33:20 GMT", "20231114T223320Z"),
                ("Tue, 14 Nov 2023 21:53:20 GMT", "20231114T215320Z"),
                ("Wed, 15 Nov 2023 22:13:20 GMT", "20231115T221320Z"),
            ] {
                let ok = answer("200 OK", ID, "{}");
                let stub = Stub::answering([refusal(code, date), ok.clone(), ok]);
                let client = client(&stub.url());
                put(&client).await.expect(code);
                put(&client).await.expect("the clock stays right");
                let dates: Vec<_> =
                    stub.seen().iter().filter_map(|r| r.header("x-amz-date").map(str::to_owned)).collect();
                assert_eq!(dates, ["20231114T221320Z", signed, signed], "{code}");
            }
        }
    }

    #[tokio::test]
    async fn a_clock_that_stays_wrong_is_not_tried_for_ever() {
        let wrong = |date| refusal("RequestTimeTooSkewed", date);
        let dates = ["Tue, 14 Nov 2023 22:33:20 GMT", "Tue, 14 Nov 2023 23:33:20 GMT", "Wed, 15 Nov 2023 22:13:20 GMT"];
        let stub = Stub::answering(dates.map(wrong));
        let fault = put(&client(&stub.url())).await.expect_err("refused");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Credentials, "RequestTimeTooSkewed"));
        assert_eq!(stub.seen().len(), 2);
    }

    #[tokio::test]
    async fn refused_credentials_are_replaced_once() {
        let expired = answer("400 Bad Request", ID, r#"{"__type":"ExpiredTokenException","message":"expired"}"#);
        let stub = Stub::answering([&answer("200 OK", ID, ""), &expired, &answer("200 OK", ID, "")]);
        let client = client(&stub.url());
        put(&client).await.expect("good ones");
        a_second_passes().await;
        put(&client).await.expect("new ones");
        let keys: Vec<_> =
            stub.seen().iter().filter_map(|r| r.header("authorization").map(|a| a[28..33].to_owned())).collect();
        assert_eq!(keys, ["AKID0", "AKID0", "AKID1"]);

        let stub = Stub::answering([&expired, &expired, &expired]);
        let client = self::client(&stub.url());
        let fault = put(&client).await.expect_err("refused; too early for others");
        assert_eq!(
            (fault.kind, fault.code.as_str(), stub.seen().len()),
            (FaultKind::Credentials, "ExpiredTokenException", 1)
        );
        a_second_passes().await;
        let fault = put(&client).await.expect_err("refused");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Credentials, "ExpiredTokenException"));
    }

    #[tokio::test]
    async fn without_credentials_nothing_is_sent() {
        let stub = Stub::answering([answer("200 OK", ID, "")]);
        let mut client = client(&stub.url());
        client.credentials = Credentials::from_provider(Counting(Default::default(), None), Clock::new(now));
        let fault = put(&client).await.expect_err("no credentials");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Credentials, "no_credentials"));
        assert_eq!(stub.connections(), 0);
    }

    #[tokio::test]
    async fn faults_are_told_apart_and_not_resent() {
        let ok = |headers: &str| answer("200 OK", headers, "{}");
        for (what, script, kind, code) in [
            (
                "throttling",
                Some(answer("400 Bad Request", ID, r#"{"__type":"ThrottlingException"}"#)),
                FaultKind::Throttled,
                "ThrottlingException",
            ),
            ("a proxy's page", Some(ok("content-type: text/html\r\n")), FaultKind::Transient, "no_request_id"),
            ("an empty id", Some(ok("x-amzn-RequestId:\r\n")), FaultKind::Transient, "no_request_id"),
            (
                "half an answer",
                Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".into()),
                FaultKind::Ambiguous,
                "broken_connection",
            ),
            (
                "half a refusal",
                Some("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\n{}".into()),
                FaultKind::Transient,
                "broken_connection",
            ),
            (
                "a huge success",
                Some("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".into()),
                FaultKind::Ambiguous,
                "answer_too_large",
            ),
            (
                "a huge refusal",
                Some("HTTP/1.1 413 Big\r\ncontent-length: 99999999\r\n\r\n".into()),
                FaultKind::TooLarge,
                "answer_too_large",
            ),
            ("no answer", None, FaultKind::Ambiguous, "broken_connection"),
        ] {
            let stub = Stub::answering(script);
            let fault = put(&client(&stub.url())).await.expect_err(what);
            assert_eq!((fault.kind, fault.code.as_str()), (kind, code), "{what}: {fault}");
            assert_eq!(stub.seen().len(), 1, "{what}");
        }
        let closed =
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port that nobody listens on");
        let fault = put(&client(&format!("http://{closed}"))).await.expect_err("nobody there");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Unreachable, "no_connection"));
        assert!(fault.message.starts_with(&format!("cannot connect to {closed}: ")), "{fault}");
    }
}
