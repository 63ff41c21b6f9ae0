//! Who may have sent a request to an HTTP listener that is meant for programs beside us.
//!
//! A page in a browser that was lured to a name which then resolves to us says so in `Host`, `Origin` or `Sec-Fetch-Site`; a proxy
//! that was talked into asking us says so in `Forwarded` and its like, or sends a whole URL.
//!
//! Promises: on a loopback address just names and addresses of this host pass.
//! Never: reads a body; decides what the answer is.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderName, HeaderValue, Request, Version,
    header::{FORWARDED, HOST, ORIGIN, VIA},
    uri::Authority,
};

/// What proxies add.
static FORWARDERS: [HeaderName; 3] = [HeaderName::from_static("x-forwarded-for"), FORWARDED, VIA];
/// What browsers send with each request, and nobody else. Node's `fetch` sends `sec-fetch-mode`, alone.
static FETCHED: [HeaderName; 2] =
    [HeaderName::from_static("sec-fetch-site"), HeaderName::from_static("sec-fetch-dest")];

/// What gives away that a request is not from a program that means us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A URL instead of a path, as to a proxy.
    WholeUrl,
    /// Not exactly one `Host`, or one that is not ours.
    Host,
    /// It was made by a page in a browser.
    Origin,
}

/// The head of a request, whoever has read it.
pub trait Head {
    /// True if there is a URL where the path belongs.
    fn is_whole_url(&self) -> bool;

    /// As the first line says.
    fn version(&self) -> Version;

    /// All values of a header.
    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]>;

    /// True if there is a header of this name.
    fn has(&self, name: &HeaderName) -> bool {
        self.values(name).next().is_some()
    }
}

impl<B> Head for Request<B> {
    fn is_whole_url(&self) -> bool {
        self.uri().authority().is_some()
    }

    fn version(&self) -> Version {
        Self::version(self)
    }

    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.headers().get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

/// True if the request came through a proxy that says so.
pub fn is_forwarded(head: &impl Head) -> bool {
    FORWARDERS.iter().any(|name| head.has(name))
}

/// Looks at a request that came to `address` of ours.
pub fn check(head: &impl Head, address: SocketAddr) -> Result<(), Foreign> {
    if head.is_whole_url() {
        return Err(Foreign::WholeUrl);
    }
    let name = HOST;
    let mut hosts = head.values(&name);
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if head.version() < Version::HTTP_11 => None,
        (Some(host), None) => Some(visible(host).ok_or(Foreign::Host)?),
        _ => return Err(Foreign::Host),
    };
    if address.ip().is_loopback() && !host.is_none_or(|host| is_ours(host, address.ip())) {
        return Err(Foreign::Host);
    }
    if head.has(&ORIGIN) || FETCHED.iter().any(|name| head.has(name)) {
        return Err(Foreign::Origin);
    }
    Ok(())
}

/// A value of nothing but visible letters of ASCII.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    std::str::from_utf8(value).ok().filter(|_| value.iter().all(is_visible))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_just_this_host_is_meant() {
        let loopback: SocketAddr = "127.0.0.1:2000".parse().expect("an address");
        let outside: SocketAddr = "10.0.0.7:2000".parse().expect("an address");
        for (host, here, there) in [
            ("localhost", true, true),
            ("LOCALHOST:2000", true, true),
            ("127.0.0.1:2000", true, true),
            ("[::1]:2000", true, true),
            ("127.9.9.9", true, true),
            ("10.0.0.7", false, true),
            ("evil.example", false, true),
            ("127.0.0.1.evil.example", false, true),
            ("localhost@evil.example", false, true),
            ("evil@localhost", false, true),
            ("", false, true),
        ] {
            let request = Request::get("/").header(HOST, host).body(()).expect("a request");
            assert_eq!((check(&request, loopback).is_ok(), check(&request, outside).is_ok()), (here, there), "{host}");
        }
        let request = |headers: &[(&str, &str)]| {
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value)).body(())
        };
        for (headers, expected) in [
            (&[][..], Err(Foreign::Host)),
            (&[("host", "localhost"), ("host", "localhost")][..], Err(Foreign::Host)),
            (&[("host", "localhost"), ("origin", "null")][..], Err(Foreign::Origin)),
            (&[("host", "localhost"), ("sec-fetch-site", "none")][..], Err(Foreign::Origin)),
            (
                &[("host", "localhost"), ("sec-fetch-dest", "empty"), ("sec-fetch-mode", "cors")][..],
                Err(Foreign::Origin),
            ),
            // Node's own `fetch` was taken for a page: it sends just this one.
            (&[("host", "localhost"), ("sec-fetch-mode", "cors")][..], Ok(())),
            (&[("host", "localhost"), ("x-amzn-trace-id", "Root=1")][..], Ok(())),
        ] {
            assert_eq!(check(&request(headers).expect("a request"), loopback), expected, "{headers:?}");
        }
        let whole = Request::get("http://localhost/").header(HOST, "localhost").body(()).expect("a request");
        assert_eq!(check(&whole, loopback), Err(Foreign::WholeUrl));
    }
}
