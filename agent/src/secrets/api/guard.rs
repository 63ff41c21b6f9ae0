//! Who may ask: the checks before anything of a request is understood.
//!
//! In this order, of which 2, 3 and 6 are not in the original:
//!
//! | # | what | answer |
//! |---|---|---|
//! | 1 | `X-Forwarded-For`, `Forwarded` or `Via`: a proxy that was talked into asking us | 400 `Forwarded` |
//! | 2 | a whole URL instead of a path, as to a proxy | 400 `Bad Request` |
//! | 3 | not exactly one `Host` with a name of ours, or a browser's `Origin` or `Sec-Fetch-*` | 403 `Bad Host`, `Bad Origin` |
//! | 4 | the token, in any of its headers | 403 `Bad Token` |
//! | 5 | the method | 405 `Not allowed` |
//! | 6 | a body, or a URI of more than 8 KiB | 400 `Bad Request`, 414 `URI too long` |
//!
//! `/ping`, which tells nothing, is let through the first four.
//!
//! Promises: what is not `/ping` passes only with the token.
//! Never: reads a body; says how a token was wrong.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderValue, Method, Request, StatusCode, Version,
    header::{FORWARDED, HOST, ORIGIN, VIA},
    uri::Authority,
};
use hyper::body::Body;

use super::{
    ApiSettings,
    ask::{PING, REFRESH, allows},
};

/// Bytes of a URI. An ARN has at most 2,048, three times as many when they are percent-encoded.
const URI_BYTES_MAX: usize = 8 * 1024;

/// An answer to a request that is not let through.
pub(super) type Stopped = (StatusCode, &'static str);

/// Lets a request through, or says why not.
pub(super) fn check<B: Body>(request: &Request<B>, settings: &ApiSettings, address: SocketAddr) -> Result<(), Stopped> {
    let path = request.uri().path();
    if path != PING {
        forwarded(request)?;
        foreign(request, address)?;
        let headers = request.headers();
        let offered =
            || settings.token_headers.iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes);
        if !settings.token.is_among(offered) {
            return Err((StatusCode::FORBIDDEN, "Bad Token"));
        }
    }
    if !allows(path, request.method()) {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "Not allowed"));
    }
    let takes_body = path == REFRESH && request.method() == Method::POST;
    if !takes_body && !request.body().is_end_stream() {
        return Err((StatusCode::BAD_REQUEST, "Bad Request"));
    }
    let query = request.uri().query().unwrap_or_default();
    if path.len() + query.len() > URI_BYTES_MAX {
        return Err((StatusCode::URI_TOO_LONG, "URI too long"));
    }
    Ok(())
}

fn forwarded<B>(request: &Request<B>) -> Result<(), Stopped> {
    let headers = request.headers();
    let through =
        headers.contains_key("x-forwarded-for") || headers.contains_key(FORWARDED) || headers.contains_key(VIA);
    if through { Err((StatusCode::BAD_REQUEST, "Forwarded")) } else { Ok(()) }
}

/// A page in a browser that was lured to a name which then resolves to us says so in `Host`, `Origin` or `Sec-Fetch-Site`.
fn foreign<B>(request: &Request<B>, address: SocketAddr) -> Result<(), Stopped> {
    const HOST_IS_BAD: Stopped = (StatusCode::FORBIDDEN, "Bad Host");

    if request.uri().authority().is_some() {
        return Err((StatusCode::BAD_REQUEST, "Bad Request"));
    }
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (Some(host), None) => Some(host.to_str().ok().ok_or(HOST_IS_BAD)?),
        _ => return Err(HOST_IS_BAD),
    };
    if address.ip().is_loopback() && !host.is_none_or(|host| is_ours(host, address.ip())) {
        return Err(HOST_IS_BAD);
    }
    if headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")) {
        return Err((StatusCode::FORBIDDEN, "Bad Origin"));
    }
    Ok(())
}

fn is_ours(host: &str, address: IpAddr) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    // `user@localhost` is no host.
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip == address || ip.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}
