//! The request that a span is about: method, address, who asked, and what was answered.
//!
//! OpenTelemetry has called each of these by two names; both are taken.
//!
//! Promises: what belongs into the block does not appear again among the metadata.
//! Never: makes an address of a request without a host.

use std::io::Write;

use super::{
    json::Json,
    keys::{Key, Keys},
    span::{Kind, Span},
    value::{Any, Attributes, fields},
};

/// That there was a request at all.
const REQUEST: [Key; 14] = [
    Key::HttpMethod,
    Key::HttpRequestMethod,
    Key::HttpClientIp,
    Key::HttpUserAgent,
    Key::UserAgentOriginal,
    Key::HttpStatusCode,
    Key::HttpResponseStatusCode,
    Key::HttpUrl,
    Key::UrlFull,
    Key::HttpScheme,
    Key::UrlScheme,
    Key::HttpHost,
    Key::HttpTarget,
    Key::HttpServerName,
];
/// As well as these.
const REQUEST_TOO: [Key; 2] = [Key::NetHostPort, Key::UrlPath];
/// What says more of it.
const MORE: [Key; 11] = [
    Key::HostName,
    Key::NetHostName,
    Key::NetPeerName,
    Key::NetPeerPort,
    Key::NetPeerIp,
    Key::ServerAddress,
    Key::ServerPort,
    Key::ClientAddress,
    Key::NetworkPeerAddress,
    Key::UrlQuery,
    Key::HttpResponseBodySize,
];

/// The status of the answer.
pub(super) fn status(attributes: &Attributes<'_>) -> Option<i64> {
    attributes.first_int([Key::HttpStatusCode, Key::HttpResponseStatusCode])
}

/// What has its place in this block, also where there is none.
pub(super) fn take(used: &mut Keys) {
    used.add(REQUEST);
    used.add(REQUEST_TOO);
    used.add(MORE);
}

pub(super) fn write(json: &mut Json<'_>, span: &Span<'_>) {
    let attributes = &span.attributes;
    if !REQUEST.iter().chain(&REQUEST_TOO).any(|&key| attributes.has(key)) {
        return;
    }
    json.begin("http");
    let request = json.begin("request");
    json.text_member("method", attributes.first_text([Key::HttpMethod, Key::HttpRequestMethod]));
    let full = attributes.first_text([Key::HttpUrl, Key::UrlFull]);
    if full.is_empty() {
        json.text_member("url", &url(span));
    } else {
        json.text_member("url", full);
    }
    json.text_member("user_agent", attributes.first_text([Key::HttpUserAgent, Key::UserAgentOriginal]));
    let client = client(attributes);
    if !client.is_empty() {
        json.text_member("client_ip", client);
        if !attributes.has(Key::NetPeerIp) && !attributes.has(Key::NetworkPeerAddress) {
            json.truth_member("x_forwarded_for", true);
        }
    }
    json.end_unless_empty(request);
    json.begin("response");
    if let Some(status) = status(attributes) {
        json.name("status");
        json.number(status);
    }
    json.name("content_length");
    json.number(content_length(span));
    json.close(b'}');
    json.close(b'}');
}

/// Who asked. An address that is none is none.
fn client<'a>(attributes: &Attributes<'a>) -> &'a [u8] {
    let address = |key| Some(attributes.text(key)).filter(|text| is_address(text));
    let named = |key| Some(attributes.text(key)).filter(|text: &&[u8]| !text.is_empty());
    address(Key::ClientAddress)
        .or_else(|| named(Key::HttpClientIp))
        .or_else(|| named(Key::NetPeerIp))
        .or_else(|| address(Key::NetworkPeerAddress))
        .unwrap_or_default()
}

fn is_address(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

/// The address of the request, put together of what is known; empty without a host.
fn url(span: &Span<'_>) -> Vec<u8> {
    let attributes = &span.attributes;
    let text = |key| attributes.text(key);
    let server = span.kind == Kind::Server;
    let host = text(Key::HttpHost);
    let (host, port) = match (host, server) {
        (b"", true) => (
            attributes.first_text([Key::HttpServerName, Key::NetHostName, Key::HostName, Key::ServerAddress]),
            port(attributes, [Key::NetHostPort, Key::ServerPort]),
        ),
        (b"", false) => (
            attributes.first_text([Key::NetPeerName, Key::NetPeerIp, Key::ServerAddress]),
            port(attributes, [Key::NetPeerPort, Key::ServerPort]),
        ),
        (host, _) => (host, None),
    };
    let mut url = Vec::new();
    if host.is_empty() {
        return url;
    }
    let scheme = match attributes.first_text([Key::HttpScheme, Key::UrlScheme]) {
        b"" => b"http",
        scheme => scheme,
    };
    url.extend_from_slice(scheme);
    url.extend_from_slice(b"://");
    url.extend_from_slice(host);
    if let Some(port) = port.filter(|&port| !matches!((scheme, port), (b"http", 80) | (b"https", 443))) {
        // Writing into a vector does not fail.
        let _ = write!(url, ":{port}");
    }
    let path = match attributes.first_text([Key::HttpTarget, Key::UrlPath]) {
        b"" => b"/",
        path => path,
    };
    url.extend_from_slice(path);
    // A target has its query.
    let query = text(Key::UrlQuery);
    if !query.is_empty() && text(Key::HttpTarget).is_empty() {
        url.push(b'?');
        url.extend_from_slice(query);
    }
    url
}

fn port<const N: usize>(attributes: &Attributes<'_>, keys: [Key; N]) -> Option<u16> {
    attributes.first_int(keys).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0)
}

/// Bytes of the answer: its own attribute, or the size of a message that came in.
fn content_length(span: &Span<'_>) -> i64 {
    if let Some(size) = span.attributes.first_int([Key::HttpResponseBodySize]) {
        return size;
    }
    let received = |attributes: &Attributes<'_>| {
        let size = attributes.get(Key::MessagingMessagePayloadSizeBytes).and_then(Any::int);
        size.filter(|_| attributes.text(Key::MessageType) == b"RECEIVED")
    };
    received(&span.attributes)
        .or_else(|| span.events.iter().find_map(|event| received(&Attributes::read(fields(event, 3)))))
        .unwrap_or(0)
}
