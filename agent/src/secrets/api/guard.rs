//! Who may ask: the checks before anything of a request is understood.
//!
//! In this order, of which 2, 3 and 6 are not in the original:
//!
//! | # | what | answer |
//! |---|---|---|
//! | 1 | `X-Forwarded-For`, `Forwarded` or `Via`: a proxy that was talked into asking us | 400 `Forwarded` |
//! | 2 | a whole URL instead of a path, as to a proxy | 400 `Bad Request` |
//! | 3 | not exactly one `Host` with a name of ours, or a browser's `Origin`, `Sec-Fetch-Site` or `-Dest` | 403 `Bad Host`, `Bad Origin` |
//! | 4 | the token, in any of its headers | 403 `Bad Token` |
//! | 5 | the method | 405 `Not allowed` |
//! | 6 | a body, or a URI of more than 8 KiB | 400 `Bad Request`, 414 `URI too long` |
//!
//! `/ping`, which tells nothing, is let through the first four.
//!
//! Promises: what is not `/ping` passes only with the token.
//! Never: reads a body; says how a token was wrong.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use hyper::body::Body;

use super::{
    ApiSettings,
    ask::{PING, REFRESH, allows},
    head::Head,
};
use crate::net::caller::{self, Foreign};

/// Bytes of a URI. An ARN has at most 2,048, three times as many when they are percent-encoded.
pub(super) const URI_BYTES_MAX: usize = 8 * 1024;
/// The method of every plain head.
static GET: Method = Method::GET;

/// An answer to a request that is not let through.
pub(super) type Stopped = (StatusCode, &'static str);

/// A request as far as it is looked at here, whoever has read it.
pub(super) trait Asked: caller::Head {
    /// The method.
    fn method(&self) -> &Method;

    /// Without the query.
    fn path(&self) -> &str;

    /// Empty if there is none.
    fn query(&self) -> &str;

    /// True if something may follow the head.
    fn has_body(&self) -> bool;
}

impl<B: Body> Asked for Request<B> {
    fn method(&self) -> &Method {
        Self::method(self)
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn query(&self) -> &str {
        self.uri().query().unwrap_or_default()
    }

    fn has_body(&self) -> bool {
        !self.body().is_end_stream()
    }
}

impl Asked for Head<'_> {
    fn method(&self) -> &Method {
        &GET
    }

    fn path(&self) -> &str {
        Head::path(self)
    }

    fn query(&self) -> &str {
        Head::query(self)
    }

    fn has_body(&self) -> bool {
        false
    }
}

/// Lets a request through, or says why not.
pub(super) fn check(request: &impl Asked, settings: &ApiSettings, address: SocketAddr) -> Result<(), Stopped> {
    let path = request.path();
    if path != PING {
        if caller::is_forwarded(request) {
            return Err((StatusCode::BAD_REQUEST, "Forwarded"));
        }
        match caller::check(request, address) {
            Ok(()) => {}
            Err(Foreign::WholeUrl) => return Err((StatusCode::BAD_REQUEST, "Bad Request")),
            Err(Foreign::Host) => return Err((StatusCode::FORBIDDEN, "Bad Host")),
            Err(Foreign::Origin) => return Err((StatusCode::FORBIDDEN, "Bad Origin")),
        }
        if !settings.token.is_among(|| settings.token_headers.iter().flat_map(|name| request.values(name))) {
            return Err((StatusCode::FORBIDDEN, "Bad Token"));
        }
    }
    if !allows(path, request.method()) {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "Not allowed"));
    }
    let takes_body = path == REFRESH && request.method() == Method::POST;
    if !takes_body && request.has_body() {
        return Err((StatusCode::BAD_REQUEST, "Bad Request"));
    }
    if path.len() + request.query().len() > URI_BYTES_MAX {
        return Err((StatusCode::URI_TOO_LONG, "URI too long"));
    }
    Ok(())
}
