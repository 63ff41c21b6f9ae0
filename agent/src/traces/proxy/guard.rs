//! Who may ask: the checks before anything of a request is read but its head.
//!
//! The task's role signs what is passed on, so a page in a browser or a proxy that was talked into asking us must not pass. Where the
//! port is on an address that others reach, a proxy in between may be meant, and any name may be ours.
//!
//! Promises: a request that is let through has no length beyond the bound.
//! Never: reads a body.

use std::net::SocketAddr;

use http::{Request, StatusCode, header::CONTENT_LENGTH};

use super::answer::{Outcome, Stopped, TOO_LARGE};
use crate::{
    limits::PROXY_BODY_BYTES_MAX,
    net::caller::{self, Foreign},
};

/// Lets a request through that came to `address`, or says why not.
pub(super) fn check<B>(request: &Request<B>, address: SocketAddr) -> Result<(), Stopped> {
    let foreign = |status, text| Err(Stopped(status, Outcome::Foreign, text));
    if address.ip().is_loopback() && caller::is_forwarded(request) {
        return foreign(StatusCode::BAD_REQUEST, "the request came through a proxy");
    }
    match caller::check(request, address) {
        Ok(()) => {}
        Err(Foreign::WholeUrl) => return foreign(StatusCode::BAD_REQUEST, "send a path, not a URL"),
        Err(Foreign::Host) => return foreign(StatusCode::FORBIDDEN, "the header Host names another host"),
        Err(Foreign::Origin) => return foreign(StatusCode::FORBIDDEN, "pages in a browser are not answered"),
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    // What is no number was refused by hyper.
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > PROXY_BODY_BYTES_MAX => Err(TOO_LARGE),
        _ => Ok(()),
    }
}
