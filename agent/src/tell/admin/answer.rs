//! One request to the admin address, one answer. Decides, and does no I/O.
//!
//! Promises: an answer for every request: 200 or 503 on the four pages, else 400, 403, 404, 405 or 413.
//! Never: answers under a name that is not ours, as long as the address is loopback.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
    uri::Authority,
};
use http_body_util::Full;
use hyper::body::Body;

use super::Report;
use crate::tell::exposition::{Form, takes_gzip};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Pages from here on are compressed for who takes that.
const COMPRESSED_FROM: usize = 4 * 1024;

const INDEX: &str = "\
pillion: one container beside every ECS task, for its logs, traces, metrics and secrets.

/metrics  the task's metrics, the agent's own counters and the books of every output, for Prometheus
/healthz  200 while the agent does its work, 503 and the reason when it does not
/readyz   200 while the agent takes new work (both say `degraded` while a spool that is wanted does not work)
/status   what runs, what was delivered, what was lost and why, as JSON
";

const UNKNOWN: &str = "there is no such page; there are /metrics /healthz /readyz /status\n";

/// Answers `request`, which came to the listener at `address`.
pub(super) fn answer<B: Body>(request: &Request<B>, address: SocketAddr, report: &dyn Report) -> Response<Full<Bytes>> {
    if !request.body().is_end_stream() {
        // What follows on this connection may be the body: it is closed, so that it is never read as a request.
        let mut answer = text(StatusCode::PAYLOAD_TOO_LARGE, "requests to this address have no body\n");
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return answer;
    }
    if let Err((status, why)) = check_host(request, address) {
        return text(status, why);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD exist here\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => metrics(request, report),
        "/status" => page(StatusCode::OK, JSON, format!("{:#}\n", report.status())),
        "/healthz" => verdict(report.alive(), report),
        "/readyz" => verdict(report.ready(), report),
        _ => text(StatusCode::NOT_FOUND, UNKNOWN),
    }
}

/// The page in the form that is wanted.
fn metrics<B>(request: &Request<B>, report: &dyn Report) -> Response<Full<Bytes>> {
    let texts = |name| request.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let form = Form::wanted(texts(ACCEPT));
    let text = report.metrics(form);
    if text.len() < COMPRESSED_FROM || !takes_gzip(texts(ACCEPT_ENCODING)) {
        return vary(page(StatusCode::OK, form.content_type(), text));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    let mut answer =
        page(StatusCode::OK, form.content_type(), compressed.expect("a Vec takes all that fits in memory"));
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    vary(answer)
}

fn vary(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    answer
}

/// A browser that was lured to `http://evil.example:9464` (whose name then resolves to 127.0.0.1) says so in `Host`.
fn check_host<B>(request: &Request<B>, address: SocketAddr) -> Result<(), (StatusCode, &'static str)> {
    const FOREIGN: (StatusCode, &str) =
        (StatusCode::FORBIDDEN, "this address answers to localhost, 127.0.0.1 and [::1] only\n");
    const BROKEN: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "a request needs exactly one valid Host\n");

    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (Some(host), None) => Some(host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()).ok_or(BROKEN)?),
        _ => return Err(BROKEN),
    };
    if !address.ip().is_loopback() {
        return Ok(());
    }
    let mut names = host.iter().map(Authority::host).chain(request.uri().host());
    if names.all(|name| is_ours(name, address.ip())) { Ok(()) } else { Err(FOREIGN) }
}

fn is_ours(name: &str, address: IpAddr) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip == address || ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Degraded is well: ECS would replace the task, and a disk that is full or missing would be so in the next one too.
fn verdict(verdict: Result<(), String>, report: &dyn Report) -> Response<Full<Bytes>> {
    match verdict {
        Ok(()) => match report.degraded() {
            degraded if degraded.is_empty() => text(StatusCode::OK, "ok\n"),
            degraded => page(StatusCode::OK, TEXT, format!("degraded: {}\n", degraded.join("; "))),
        },
        Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    page(status, TEXT, body)
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
