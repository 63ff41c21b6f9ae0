//! Where a backend is.
//!
//! Promises: a [`Target`] is a URL with scheme, host and path, and nothing else that could change a request.
//! Never: is at a link-local address, where hosts hand out credentials; asks the network.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    uri::{PathAndQuery, Scheme},
};

use super::config::{Config, Protocol};
use crate::{net::is_metadata_address, otlp::walk::Signal};

/// The URL of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Uri);

/// What is wrong with an address, in words for the user. The text is not repeated: it could hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("not an address; write for example `https://otlp.example.com:4318`")]
    Malformed,
    /// A user name, a query or a fragment.
    #[error(
        "an address is a scheme, a host, a port and a path; leave out user name and query, and use `headers` for keys"
    )]
    TooMuch,
    /// It is where a host offers credentials and metadata.
    #[error("a link-local address, where hosts offer credentials; data is not sent there")]
    LinkLocal,
    /// Neither `endpoint` nor the whole URL nor `aws`.
    #[error("no `endpoint`; write for example `endpoint: https://otlp.example.com:4318`, or `aws: {{}}` for AWS's own")]
    Missing,
    /// A name or a value that no header can have.
    #[error("`{0}` is no header, or its value has a character that none can have")]
    Header(String),
}

impl Target {
    /// Where `config` sends `signal` to; `None` if that is AWS's own endpoint.
    pub fn of(config: &Config, signal: Signal) -> Result<Option<Self>, TargetError> {
        let whole = match signal {
            Signal::Traces => &config.traces_endpoint,
            Signal::Metrics => &config.metrics_endpoint,
            Signal::Logs => &None,
        };
        match (whole, &config.endpoint) {
            (Some(whole), _) => Self::parse(whole, "").map(Some),
            (None, Some(base)) if config.protocol == Protocol::Grpc => Self::parse(base, signal.grpc_path()).map(Some),
            (None, Some(base)) => Self::parse(base, signal.http_path()).map(Some),
            (None, None) if config.aws.is_some() => Ok(None),
            (None, None) => Err(TargetError::Missing),
        }
    }

    /// The URL `text`, with `path` behind its own. Without a scheme it is https.
    fn parse(text: &str, path: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if text.contains(['@', '?', '#']) {
            return Err(TargetError::TooMuch);
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut parts = url.parse::<Uri>().map_err(|_| TargetError::Malformed)?.into_parts();
        let known = parts.scheme.as_ref().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let host = parts.authority.as_ref().map(|authority| authority.host().to_owned()).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if !known || host.is_empty() {
            return Err(TargetError::Malformed);
        }
        if host.parse::<IpAddr>().is_ok_and(is_metadata_address) {
            return Err(TargetError::LinkLocal);
        }
        let own = parts.path_and_query.as_ref().map_or("", PathAndQuery::path);
        let own = if path.is_empty() { own } else { own.trim_end_matches('/') };
        parts.path_and_query = Some(format!("{own}{path}").parse().map_err(|_| TargetError::Malformed)?);
        Uri::from_parts(parts).map(Self).map_err(|_| TargetError::Malformed)
    }

    /// The URL.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        let (scheme, host) =
            (self.0.scheme_str().unwrap_or_default(), self.0.authority().map_or("", |host| host.as_str()));
        format!("{scheme}://{host}")
    }
}

/// The headers that `config` names.
pub fn headers(config: &Config) -> Result<HeaderMap, TargetError> {
    let header = |(name, value): (&String, &super::Hidden)| {
        let (known, held) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value.expose()));
        match (known, held) {
            (Ok(known), Ok(mut held)) => {
                held.set_sensitive(true);
                Ok((known, held))
            }
            _ => Err(TargetError::Header(name.clone())),
        }
    };
    config.headers.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_the_variables_of_sdks_hold() {
        let config = |text: &str| serde_json::from_str::<Config>(text).expect("a config");
        let url =
            |text: &str| Target::of(&config(text), Signal::Traces).map(|target| target.map(|it| it.0.to_string()));
        for (text, expected) in [
            (r#"{"endpoint":"http://127.0.0.1:4318"}"#, "http://127.0.0.1:4318/v1/traces"),
            (r#"{"endpoint":"https://otlp.example.com/"}"#, "https://otlp.example.com/v1/traces"),
            (r#"{"endpoint":"https://example.com/otlp/"}"#, "https://example.com/otlp/v1/traces"),
            (r#"{"endpoint":"otlp.example.com:443"}"#, "https://otlp.example.com:443/v1/traces"),
            (r#"{"traces_endpoint":"https://example.com/in"}"#, "https://example.com/in"),
            (r#"{"traces_endpoint":"https://example.com"}"#, "https://example.com/"),
            (
                r#"{"protocol":"grpc","endpoint":"http://[::1]:4317"}"#,
                "http://[::1]:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            ),
        ] {
            assert_eq!(url(text).expect("an address").as_deref(), Some(expected), "{text}");
        }
        assert_eq!(url(r#"{"aws":{}}"#), Ok(None));
        for (text, expected) in [
            (r"{}", TargetError::Missing),
            (r#"{"endpoint":"ftp://x"}"#, TargetError::Malformed),
            (r#"{"endpoint":"http://"}"#, TargetError::Malformed),
            (r#"{"endpoint":"http://a b"}"#, TargetError::Malformed),
            (r#"{"endpoint":"http://user:word@host"}"#, TargetError::TooMuch),
            (r#"{"endpoint":"http://host/?key=1"}"#, TargetError::TooMuch),
            (r#"{"endpoint":"http://169.254.170.2"}"#, TargetError::LinkLocal),
            (r#"{"endpoint":"http://[fd00:ec2::254]"}"#, TargetError::LinkLocal),
        ] {
            assert_eq!(url(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_header_is_checked_and_its_value_never_shown() {
        let config = |text: &str| serde_json::from_str::<Config>(text).expect("a config");
        let good = config(r#"{"headers":{"X-Api-Key":"canary"}}"#);
        let made = headers(&good).expect("headers");
        assert_eq!(made["x-api-key"], "canary");
        assert!(!format!("{made:?} {good:?}").contains("canary"));
        for text in [r#"{"headers":{"two words":"canary"}}"#, r#"{"headers":{"a":"canary\n"}}"#] {
            let error = headers(&config(text)).expect_err("no header");
            assert!(matches!(&error, TargetError::Header(_)) && !error.to_string().contains("canary"), "{error}");
        }
    }
}
