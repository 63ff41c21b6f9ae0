//! Where a service of AWS listens.
//!
//! Promises: an [`Endpoint`] has a scheme, a host, a region to sign for, and nothing else that could change a request.
//! Never: is at a link-local address, where hosts hand out credentials; asks the network.

use std::{fmt, net::IpAddr};

use http::{
    HeaderValue, Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use crate::net::is_metadata_address;

/// The domain of a partition, by how its regions begin; the first that matches counts.
const DOMAINS: &[(&str, &str)] = &[
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("", "amazonaws.com"),
];

/// A service's address, and the region that requests to it are signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    host: HeaderValue,
    region: String,
}

/// What is wrong with an endpoint, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a region's name.
    #[error("`{0}` is not an AWS region; write for example `eu-central-1`")]
    Region(String),
    /// Not a URL.
    #[error("`{0}` is not an endpoint; write for example `https://logs.eu-central-1.amazonaws.com`")]
    Malformed(String),
    /// Neither http nor https.
    #[error("`{0}` is not reached with http or https; write for example `https://logs.eu-central-1.amazonaws.com`")]
    Scheme(String),
    /// It has a user name, a path or a query. The text is not shown: it could hold a password.
    #[error("an endpoint is only a scheme, a host and a port; leave out user name, path and query")]
    TooMuch,
    /// It is where a host offers credentials and metadata.
    #[error("`{0}` is a link-local address, where hosts offer credentials; data is not sent there")]
    LinkLocal(String),
}

impl Endpoint {
    /// The public endpoint of `service` (`logs`, `xray`, ...) in `region`.
    pub fn of(service: &str, region: &str) -> Result<Self, EndpointError> {
        check_region(region)?;
        let (_, domain) =
            DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix)).expect("the last prefix is empty");
        Self::parse(&format!("https://{service}.{region}.{domain}"), None, region)
    }

    /// An endpoint as a user writes it: a URL, or a host, then https. `port` counts if `text` has none.
    pub fn parse(text: &str, port: Option<u16>, region: &str) -> Result<Self, EndpointError> {
        check_region(region)?;
        let text = text.trim();
        let malformed = || EndpointError::Malformed(text.to_owned());
        if text.contains('@') {
            return Err(EndpointError::TooMuch);
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let Parts { scheme: Some(scheme), authority: Some(authority), path_and_query, .. } =
            url.parse::<Uri>().map_err(|_| malformed())?.into_parts()
        else {
            return Err(malformed());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(EndpointError::Scheme(text.to_owned()));
        }
        if path_and_query.is_some_and(|path| path != "/") || url.contains('#') {
            return Err(EndpointError::TooMuch);
        }
        let authority = with_port(&authority, port, &scheme).ok_or_else(malformed)?;
        check_host(authority.host(), text)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?;
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(PathAndQuery::from_static("/"));
        Ok(Self { uri: uri.build().map_err(|_| malformed())?, host, region: region.to_owned() })
    }

    /// The address, with the path `/`.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The address of an operation that has a path of its own.
    pub fn at(&self, path: &str) -> Result<Uri, http::Error> {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path)?);
        Ok(Uri::from_parts(parts)?)
    }

    /// What stands in the `Host` header: no port if it is the scheme's own.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uri, f)
    }
}

/// The authority with its port, if that is not the scheme's own. `None` if the port is not one.
fn with_port(authority: &Authority, port: Option<u16>, scheme: &Scheme) -> Option<Authority> {
    let written = authority.as_str().strip_prefix(authority.host())?;
    let port = match written.strip_prefix(':') {
        None if written.is_empty() => port,
        None => return None,
        Some(number) => Some(number.parse().ok()?),
    };
    let own = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    match port {
        Some(0) => None,
        Some(port) if port != own => format!("{}:{port}", authority.host()).parse().ok(),
        _ => authority.host().parse().ok(),
    }
}

/// Refuses what is plainly no place to send to. Names are checked again by `net::http` when they are resolved.
fn check_host(host: &str, text: &str) -> Result<(), EndpointError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.len() > 253 {
        return Err(EndpointError::Malformed(text.to_owned()));
    }
    match bare.parse::<IpAddr>() {
        Ok(address) if is_metadata_address(address) => Err(EndpointError::LinkLocal(bare.to_owned())),
        _ => Ok(()),
    }
}

fn check_region(region: &str) -> Result<(), EndpointError> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    match region.bytes().all(fits) && (1..=32).contains(&region.len()) && !region.starts_with('-') {
        true => Ok(()),
        false => Err(EndpointError::Region(region.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_domain() {
        for (region, uri) in [
            ("eu-central-1", "https://logs.eu-central-1.amazonaws.com/"),
            ("us-gov-west-1", "https://logs.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", "https://logs.cn-north-1.amazonaws.com.cn/"),
            ("us-iso-east-1", "https://logs.us-iso-east-1.c2s.ic.gov/"),
            ("us-isob-east-1", "https://logs.us-isob-east-1.sc2s.sgov.gov/"),
            ("eusc-de-east-1", "https://logs.eusc-de-east-1.amazonaws.eu/"),
        ] {
            let endpoint = Endpoint::of("logs", region).expect(region);
            assert_eq!((endpoint.to_string().as_str(), endpoint.region()), (uri, region));
        }
    }

    #[test]
    fn an_endpoint_is_read_as_people_write_it() {
        for (text, port, uri, host) in [
            ("https://logs.example.com", None, "https://logs.example.com/", "logs.example.com"),
            ("logs.example.com", None, "https://logs.example.com/", "logs.example.com"),
            ("logs.example.com", Some(443), "https://logs.example.com/", "logs.example.com"),
            ("logs.example.com:443", None, "https://logs.example.com/", "logs.example.com"),
            ("logs.example.com", Some(8443), "https://logs.example.com:8443/", "logs.example.com:8443"),
            ("http://127.0.0.1:5000/", None, "http://127.0.0.1:5000/", "127.0.0.1:5000"),
            ("http://127.0.0.1", Some(5000), "http://127.0.0.1:5000/", "127.0.0.1:5000"),
            ("http://localhost:5000", Some(443), "http://localhost:5000/", "localhost:5000"),
            ("http://localhost:80", None, "http://localhost/", "localhost"),
            ("  http://[::1]:9000 ", None, "http://[::1]:9000/", "[::1]:9000"),
            ("HTTPS://Logs.Example.com", None, "https://Logs.Example.com/", "Logs.Example.com"),
        ] {
            let endpoint = Endpoint::parse(text, port, "eu-central-1").expect(text);
            assert_eq!((endpoint.to_string().as_str(), endpoint.host().as_bytes()), (uri, host.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_advice() {
        for text in ["", "https://", "http://:80", "a b", "host:port", "host:99999", "host:0", "http://[::1", "\u{7f}"]
        {
            let error = Endpoint::parse(text, None, "eu-central-1").expect_err(text).to_string();
            assert!(error.contains("is not an endpoint; write for example"), "{text}: {error}");
        }
        for text in ["ftp://host", "file:///etc/passwd", "unix:///run/x", "gopher://host:70", "://x"] {
            let error = Endpoint::parse(text, None, "eu-central-1").expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is not")), "{text}: {error}");
        }
        for text in
            ["https://me:secret@host", "me@host", "https://host/path", "host?x=1", "https://host/#frag", "host/?q"]
        {
            let error = Endpoint::parse(text, None, "eu-central-1").expect_err(text);
            assert_eq!(error, EndpointError::TooMuch, "{text}");
        }
    }

    /// The addresses of the ECS and EC2 metadata services, in the ways they can be written.
    #[test]
    fn no_endpoint_is_where_credentials_are_offered() {
        for text in [
            "http://169.254.169.254",
            "http://169.254.170.2:80/",
            "169.254.170.23",
            "http://[fd00:ec2::254]/",
            "http://[fd00:ec2:0:0::23]:80",
            "http://[::ffff:169.254.169.254]",
        ] {
            let error = Endpoint::parse(text, None, "eu-central-1").expect_err(text).to_string();
            assert!(error.contains("link-local"), "{text}: {error}");
        }
        for text in ["http://169.253.0.1", "http://[fd00:ec3::1]", "http://10.0.0.1", "http://127.0.0.1"] {
            Endpoint::parse(text, None, "eu-central-1").expect(text);
        }
    }

    #[test]
    fn a_region_cannot_smuggle_another_host() {
        for region in
            ["", "EU-central-1", "eu.evil.com/", "eu-central-1\n", "@evil", "-", &"a".repeat(33), "eu central"]
        {
            assert_eq!(Endpoint::of("logs", region), Err(EndpointError::Region(region.to_owned())));
        }
    }
}
